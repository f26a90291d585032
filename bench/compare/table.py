"""One table from the JSON lines in a folder.   usage: table.py FOLDER"""
import json
import os
import sys

ORDER = ("grpo", "trl", "transformers", "llama_cpp")
PRECISIONS = ("bf16_weights", "bf16", "bf16_amx")  # beside grpo's f32; the other programs compute in f32


def number(x, digits=0, scale=1):
    return "–" if x is None else f"{x / scale:,.{digits}f}"


rows = []
for name in ORDER:
    path = os.path.join(sys.argv[1], name + ".json")
    if os.path.exists(path):
        with open(path) as f:
            figures = json.load(f)
        label = figures.get("program", name)
        if "precision" in figures:
            label += ", " + figures["precision"]
        rows.append({**figures, "program": label})
        rows += [{**figures[p], "program": f"{name}, {p}"} for p in PRECISIONS if p in figures]
print("| program | prefill, tokens/s | decode 1 | 8 | 32 | 64 | step 32 x 128, s | peak, GiB |")
print("| --- | --- | --- | --- | --- | --- | --- | --- |")
for r in rows:
    decode = [number(r.get("decode_tps", {}).get(b)) for b in ("1", "8", "32", "64")]
    print("|", " | ".join([r["program"], number(r.get("prefill_tps")), *decode, number(r.get("step_seconds"), 1),
                           number(r.get("peak_bytes"), 2, 1 << 30)]), "|")
