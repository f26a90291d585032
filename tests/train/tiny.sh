# Sourced by the tests of this folder: a folder $dir that goes away, the command $grpo, and a tiny language model
# $dir/model that can be sampled from. A random model with the SmolLM2 tokenizer does not fit its vocabulary, so tokens
# come from a byte-level tokenizer of 101 tokens made here. Skips the test, aloud, where ../shared is absent.
set -euo pipefail
shared=${GRPO_SHARED:-$GRPO_SOURCE_DIR/../shared}
if [ ! -d "$shared/models" ]; then
    echo "SKIPPED: ../shared is absent (set GRPO_SHARED)" >&2
    exit 77
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
grpo=$GRPO_BINARY

mkdir "$dir/model"
cp "$shared/models/llama-tied/config.json" "$shared/models/llama-tied/model.safetensors" "$dir/model/"
python3 - "$dir/model" 2>/dev/null <<'PY' || { echo "SKIPPED: python3 is absent" >&2; exit 77; }
import json, sys
chars = [chr(c) for c in range(33, 127)]
vocab = {"<pad>": 0, "<s>": 1, "</s>": 2, "\u0120": 3, "\u010a": 4}
for c in chars:
    if len(vocab) < 101: vocab[c] = len(vocab)
json.dump({"version": "1.0", "truncation": None, "padding": None,
  "added_tokens": [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
                   for i, t in enumerate(["<pad>", "<s>", "</s>"])],
  "normalizer": None, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
  "post_processor": None, "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
  "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocab, "merges": []}},
  open(sys.argv[1] + "/tokenizer.json", "w"))
json.dump({"eos_token": "</s>", "bos_token": "<s>", "pad_token": "<pad>"}, open(sys.argv[1] + "/tokenizer_config.json", "w"))
PY

# Makes $dir/data.jsonl: sums as prompts. How many.
sums() { for i in $(seq "$1"); do echo "{\"prompt\": \"$i + $i =\", \"answer\": \"$((i + i))\"}"; done >"$dir/data.jsonl"; }

# Makes $dir/run.yaml: what most of these tests' runs have in common, then the lines of stdin.
small_run() {
    { cat <<YAML && cat; } >"$dir/run.yaml"
model: $dir/model
reward_type: 'format:^[^aeiou]*$'
data.path: $dir/data.jsonl
data.chat: never
group_size: 4
rollout.prompts_per_step: 4
rollout.max_new_tokens: 12
YAML
}

# Hashes of every weight and moment in a checkpoint: run folder, step.
weights() { (cd "$1/checkpoints/$(printf 'step-%08d' "$2")" && sha256sum -- *.safetensors); }

# A number of the last line of a run's metrics: run folder, key.
metric() { python3 -c 'import json,sys; print(json.loads(open(sys.argv[1]+"/metrics.jsonl").readlines()[-1])[sys.argv[2]])' "$1" "$2"; }

fail() { echo "$*"; exit 1; }
