#!/usr/bin/env bash
# A LoRA run: resumed after a kill it has the bits of never having stopped, whatever the threads, micro-batches and
# memory policy; the ratio is exactly 1 while on policy and the KL to the base exactly 0 at the start; its run folder
# is a model, can be exported merged, and another run can start from it.
source "$(dirname "$0")/tiny.sh"

sums 9
small_run <<YAML
kl_coef: 0.05
rollout: {top_p: 0.9}
train: {steps: 6, learning_rate: 0.01, updates_per_rollout: 2, mini_batches: 2, lr_schedule: cosine, warmup_steps: 2}
lora: {rank: 3, alpha: 7, rslora: true}
checkpoint: {every: 1, keep_last: 3}
YAML
newest() { echo "$1/checkpoints/step-00000006"; }
bits() { weights "$1" 6; }

"$grpo" train "$dir/run.yaml" output_dir="$dir/whole" 2>"$dir/said"
whole=$(bits "$dir/whole")
grep -q 'LoRA rank 3, alpha 7, scale 4.04.* (alpha / sqrt(rank)) on q_proj, .*down_proj' "$dir/said" || fail "the adapter is not described"
[ ! -e "$(newest "$dir/whole")/model.safetensors" ] || fail "a checkpoint holds the whole model"

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
[ "$(bits "$dir/torn")" = "$whole" ] || fail "the resumed adapter differs from the uninterrupted run's"

for how in train.activations=recompute train.activations=checkpoint train.activations=keep train.micro_batch_rows=20 rollout.slots=2; do
    "$grpo" train "$dir/run.yaml" output_dir="$dir/other" $how --quiet --overwrite
    [ "$(bits "$dir/other")" = "$whole" ] || fail "$how changes the adapter"
done

# a run goes on as it began
refused() { # words, settings
    if "$grpo" train "$dir/run.yaml" output_dir="$dir/whole" --resume train.steps=7 $2 2>"$dir/said"; then fail "$2 was accepted"; fi
    grep -q "$1" "$dir/said" || fail "$2: $(cat "$dir/said")"
}
refused 'this run trains every weight' 'lora.rank=0 lora.alpha=null lora.rslora=false'
refused 'other modules, ranks or scale' lora.alpha=6
refused 'other modules, ranks or scale' lora.targets=q_proj
refused 'ratio would not be 1' lora.dropout=0.1
cp -r "$dir/model" "$dir/changed"
printf '\x3f' | dd of="$dir/changed/model.safetensors" bs=1 seek=30000 conv=notrunc 2>/dev/null
refused 'a base model with other weights' model="$dir/changed"

# on policy: the ratio is 1, and the base is the reference
"$grpo" train "$dir/run.yaml" output_dir="$dir/once" train.updates_per_rollout=1 train.mini_batches=1 --quiet
python3 - "$dir/once/metrics.jsonl" <<'PY' || fail "ratio or KL"
import json, sys
steps = [json.loads(line) for line in open(sys.argv[1])]
assert len(steps) == 6, len(steps)
assert all(s["ratio_min"] == s["ratio_max"] == 1 for s in steps), steps
assert steps[0]["kl"] == 0 and steps[5]["kl"] > 0, [s["kl"] for s in steps]
PY

# the run folder is a model: base and adapter; so is the base with the adapter beside it, and the merged export
ask() { echo '{"ids": [5, 17, 33, 60, 8, 90]}' | "$grpo" logprob "$@"; }
ask --model "$dir/whole" >"$dir/run.out"
ask --model "$dir/model" --adapter "$dir/whole" >"$dir/beside.out"
cmp -s "$dir/run.out" "$dir/beside.out" || fail "a run folder is not its base with its adapter"
ask --model "$dir/model" >"$dir/base.out"
! cmp -s "$dir/run.out" "$dir/base.out" || fail "the adapter does nothing"
"$grpo" export --model "$dir/whole" --out "$dir/merged" >/dev/null
ask --model "$dir/merged" >"$dir/merged.out"
python3 - "$dir/run.out" "$dir/merged.out" <<'PY' || fail "the merged model answers otherwise"
import json, sys
a, b = (json.load(open(f))["logprobs"] for f in sys.argv[1:])
assert max(abs(x - y) for x, y in zip(a, b)) < 1e-5, (a, b)
PY
"$grpo" export --model "$dir/whole" --adapter-only --out "$dir/alone" >/dev/null
cmp -s "$dir/alone/adapter_model.safetensors" "$(newest "$dir/whole")/adapter_model.safetensors" || fail "the exported adapter differs"
if "$grpo" export --model "$dir/model" --adapter-only --out "$dir/none" 2>"$dir/said"; then fail "a model was exported as an adapter"; fi

# another run starts from it, and that start is its reference
more() { "$grpo" train "$dir/run.yaml" lora.rank=0 lora.alpha=null lora.rslora=false train.steps=6 output_dir="$dir/more" --overwrite --quiet "$@"; }
more lora.path="$dir/whole" train.learning_rate=0
cmp -s "$(newest "$dir/more")/adapter_model.safetensors" "$(newest "$dir/whole")/adapter_model.safetensors" || fail "lora.path was not the start"
python3 -c "
import json
assert all(json.loads(l)['kl'] == 0 for l in open('$dir/more/metrics.jsonl'))" || fail "the start is not the reference"
from_path=$(bits "$dir/more")
more model="$dir/whole" train.learning_rate=0
[ "$(bits "$dir/more")" = "$from_path" ] || fail "model: a run folder is not the same as lora.path"
if more lora.path="$dir/alone" lora.rank=8 2>"$dir/said"; then fail "another rank was accepted"; fi
grep -q 'has rank 3' "$dir/said" || fail "$(cat "$dir/said")"

# the reference may follow, and PPO's value network stands beside: both are part of the checkpoint
for how in reference.sync_steps=2 algorithm=ppo; do # a schedule would end elsewhere after 3 steps
    "$grpo" train "$dir/run.yaml" output_dir="$dir/one" $how train.lr_schedule=constant --quiet --overwrite
    "$grpo" train "$dir/run.yaml" output_dir="$dir/two" $how train.lr_schedule=constant train.steps=3 --quiet --overwrite
    "$grpo" train "$dir/run.yaml" output_dir="$dir/two" $how train.lr_schedule=constant --quiet --resume 2>"$dir/said" || fail "$how: $(cat "$dir/said")"
    [ "$(bits "$dir/one")" = "$(bits "$dir/two")" ] || fail "$how: the resumed run has other bits"
done
if "$grpo" train "$dir/run.yaml" output_dir="$dir/one" reference.sync_steps=1 reference.mixup=0.5 --overwrite 2>"$dir/said"; then fail "a mixture was accepted"; fi
grep -q 'reference.mixup=0.5 with a LoRA adapter' "$dir/said" || fail "$(cat "$dir/said")"
echo "a LoRA run: resume, policies, ratio, run folder, export, another start"
