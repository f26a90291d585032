#!/usr/bin/env bash
# Resume gives the bits of never having stopped: 6 steps, against 3 steps, a killed process, and --resume.
# A damaged checkpoint is passed over, and what is torn by the kill is not kept. Runs on a tiny model of
# ../shared/models with a tokenizer of ../shared/tokenizer.
set -euo pipefail
shared=${GRPO_SHARED:-$GRPO_SOURCE_DIR/../shared}
if [ ! -d "$shared/models" ]; then
    echo "SKIPPED: ../shared is absent (set GRPO_SHARED)" >&2
    exit 77
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
grpo=$GRPO_BINARY

# A tiny language model that can be sampled from: a random model with the SmolLM2 tokenizer does not fit its
# vocabulary, so tokens come from a byte-level tokenizer of 101 tokens made here.
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
for i in 1 2 3 4 5 6 7 8 9; do echo "{\"prompt\": \"$i + $i =\", \"answer\": \"$((i + i))\"}"; done >"$dir/data.jsonl"
cat >"$dir/run.yaml" <<YAML
model: $dir/model
reward_type: "length:min=3,max=8,unit=tokens"
data: {path: $dir/data.jsonl, held_out: 2, chat: never}
group_size: 4
kl_coef: 0.05
rollout: {prompts_per_step: 4, max_new_tokens: 12, top_p: 0.9}
train: {steps: 6, learning_rate: 0.001, updates_per_rollout: 2, mini_batches: 2, lr_schedule: cosine, warmup_steps: 2}
eval: {every: 2}
checkpoint: {every: 1, keep_last: 3}
YAML

weights() { sha256sum "$1/checkpoints/step-00000006/model.safetensors" "$1/checkpoints/step-00000006/optimizer.safetensors" | cut -d' ' -f1; }

"$grpo" train "$dir/run.yaml" output_dir="$dir/whole" --quiet
whole=$(weights "$dir/whole")

# killed after some checkpoint between the first and the last
"$grpo" train "$dir/run.yaml" output_dir="$dir/torn" --quiet threads=1 &
pid=$!
for _ in $(seq 2000); do
    [ -d "$dir/torn/checkpoints/step-00000003" ] && break
    sleep 0.002
done
kill -9 $pid 2>/dev/null || true
wait $pid 2>/dev/null || true
"$grpo" train "$dir/run.yaml" output_dir="$dir/torn" --quiet --resume threads=3
[ "$(weights "$dir/torn")" = "$whole" ] || { echo "resumed weights differ from the uninterrupted run's"; exit 1; }
steps=$(grep -c '"loss"' "$dir/torn/metrics.jsonl")
[ "$steps" = 6 ] || { echo "metrics.jsonl has $steps steps where 6 were made"; exit 1; }

# a damaged newest checkpoint is passed over
cp -r "$dir/whole" "$dir/damaged"
printf 'x' | dd of="$dir/damaged/checkpoints/step-00000006/model.safetensors" bs=1 seek=5000 conv=notrunc 2>/dev/null
"$grpo" train "$dir/run.yaml" output_dir="$dir/damaged" --resume 2>"$dir/said"
grep -q 'damaged' "$dir/said" || { echo "the damaged checkpoint was not mentioned"; cat "$dir/said"; exit 1; }
[ "$(weights "$dir/damaged")" = "$whole" ] || { echo "going on from step 5 gives other weights"; exit 1; }

# other memory policies and micro-batches: the same bits
for how in train.activations=recompute train.activations=checkpoint train.micro_batch_rows=20 rollout.slots=2; do
    "$grpo" train "$dir/run.yaml" output_dir="$dir/other" $how --quiet --overwrite
    [ "$(weights "$dir/other")" = "$whole" ] || { echo "$how changes the weights"; exit 1; }
done

# an earlier run is not written over without being asked to
if "$grpo" train "$dir/run.yaml" output_dir="$dir/whole" --quiet 2>"$dir/said"; then
    echo "an earlier run was overwritten"; exit 1
fi
grep -q -- '--resume' "$dir/said"
echo "resume, damage, policies: the same bits"
