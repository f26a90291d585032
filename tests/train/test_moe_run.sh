#!/usr/bin/env bash
# Training a tiny mixture of experts (tests/model/data/moe-plain: dense layer between, weights not renormalised):
# on-policy ratios are exactly 1, activation policies, threads and micro-batches give the same weights, which differ
# from the start; the checkpoint is a model again.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
grpo=$GRPO_BINARY

# 23 tokens: <pad>, <s>, </s>, digits, space, + and =, letters.
mkdir "$dir/model"
cp "$GRPO_SOURCE_DIR/tests/model/data/moe-plain/"{config.json,model.safetensors} "$dir/model/"
special='"single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true'
vocab='"<pad>":0,"<s>":1,"</s>":2,"Ġ":3,"+":4,"=":5'
id=6
for c in 0 1 2 3 4 5 6 7 8 9 a b c d e f g; do
    vocab+=",\"$c\":$id"
    id=$((id + 1))
done
cat >"$dir/model/tokenizer.json" <<JSON
{"version":"1.0","truncation":null,"padding":null,
 "added_tokens":[{"id":0,"content":"<pad>",$special},{"id":1,"content":"<s>",$special},{"id":2,"content":"</s>",$special}],
 "normalizer":null,"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},
 "post_processor":null,"decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},
 "model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,
          "fuse_unk":false,"byte_fallback":false,"ignore_merges":false,"vocab":{$vocab},"merges":[]}}
JSON
echo '{"eos_token":"</s>","bos_token":"<s>","pad_token":"<pad>"}' >"$dir/model/tokenizer_config.json"
for i in 1 2 3 4 5 6 7 8 9; do echo "{\"prompt\": \"$i + $i =\", \"answer\": \"$((i + i))\"}"; done >"$dir/data.jsonl"
cat >"$dir/run.yaml" <<YAML
model: $dir/model
reward_type: "length:min=3,max=8,unit=tokens"
data: {path: $dir/data.jsonl, chat: never}
group_size: 4
rollout: {prompts_per_step: 4, max_new_tokens: 12}
train: {steps: 3, learning_rate: 0.01}
checkpoint: {every: 3}
YAML

run() {
    local name=$1
    shift
    "$grpo" train "$dir/run.yaml" output_dir="$dir/$name" --quiet "$@"
    sha256sum <"$dir/$name/checkpoints/step-00000003/model.safetensors"
}

first=$(run keep train.activations=keep threads=2)
ratios=$(grep -o '"ratio_m[a-z]*": *[^,}]*' "$dir/keep/metrics.jsonl" | sed 's/.*: *//' | sort -u)
[ "$ratios" = 1 ] || [ "$ratios" = 1.0 ] || { echo "on-policy ratios are not 1: $ratios"; exit 1; }
[ "$(grep -c '"ratio_max"' "$dir/keep/metrics.jsonl")" = 3 ] || { echo "three steps have no ratio each"; exit 1; }
for way in "checkpoint 1 0" "recompute 3 16" "checkpoint 2 40"; do
    set -- $way
    other=$(run "$1-$2" train.activations=$1 threads=$2 train.micro_batch_rows=$3)
    [ "$other" = "$first" ] || { echo "activations $1, $2 threads, micro-batches of $3 rows: other weights"; exit 1; }
done
still=$(run still train.learning_rate=0)
[ "$still" != "$first" ] || { echo "the weights did not move"; exit 1; }
"$grpo" export --model "$dir/keep" --out "$dir/out" >/dev/null
echo '{"prompt": "4 + 4 =", "completion": " 8"}' | "$grpo" logprob --model "$dir/out" | grep -q '"logprobs"'
