"""transformers' generate in f32: prefill of 1,024 tokens, decoding at batch 1, 8, 32, 64.

usage: transformers_generate.py MODEL_FOLDER      THREADS: of torch. Prints one JSON line."""
import json
import os
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", os.environ.get("THREADS", str(os.cpu_count())))
import torch
import transformers
from transformers import AutoModelForCausalLM, GenerationConfig

PREFILL, PROMPT, NEW, TRIES = 1024, 64, 24, 2
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
torch.manual_seed(0)
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()


def fastest(work):
    seconds = []
    with torch.no_grad():
        for _ in range(1 + TRIES):  # the first warms up
            began = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


def generate(ids, new):
    how = GenerationConfig(max_new_tokens=new, min_new_tokens=new, do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
                           pad_token_id=0, eos_token_id=2, disable_compile=True)
    out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=how)
    assert out.shape[1] == ids.shape[1] + new


def tokens(batch, length):
    return torch.randint(3, model.config.vocab_size, (batch, length))


long = tokens(1, PREFILL)
result = {"program": f"transformers {transformers.__version__}",
          "prefill_tps": PREFILL / fastest(lambda: model(input_ids=long, use_cache=True, logits_to_keep=1)),
          "decode_tps": {}}
for batch in (1, 8, 32, 64):
    ids = tokens(batch, PROMPT)
    each = (fastest(lambda: generate(ids, 2 + NEW)) - fastest(lambda: generate(ids, 2))) / NEW
    result["decode_tps"][str(batch)] = batch / each
print(json.dumps(result))
