#!/usr/bin/env bash
# Resume gives the bits of never having stopped: 6 steps, against 3 steps, a killed process, and --resume.
# A damaged checkpoint is passed over, and what is torn by the kill is not kept. Runs on a tiny model of
# ../shared/models with a tokenizer of ../shared/tokenizer.
source "$(dirname "$0")/tiny.sh"

sums 9
small_run <<YAML
data: {held_out: 2}
kl_coef: 0.05
rollout: {top_p: 0.9}
train: {steps: 6, learning_rate: 0.001, updates_per_rollout: 2, mini_batches: 2, lr_schedule: cosine, warmup_steps: 2}
eval: {every: 2}
checkpoint: {every: 1, keep_last: 3}
YAML

for precision in f32 bf16_weights bf16 bf16_amx; do
    "$grpo" train "$dir/run.yaml" precision=$precision output_dir="$dir/whole-$precision" --quiet
    whole=$(weights "$dir/whole-$precision" 6)

    # killed after some checkpoint between the first and the last
    "$grpo" train "$dir/run.yaml" precision=$precision output_dir="$dir/torn-$precision" --quiet threads=1 &
    pid=$!
    for _ in $(seq 2000); do
        [ -d "$dir/torn-$precision/checkpoints/step-00000003" ] && break
        sleep 0.002
    done
    kill -9 $pid 2>/dev/null || true
    wait $pid 2>/dev/null || true
    "$grpo" train "$dir/run.yaml" precision=$precision output_dir="$dir/torn-$precision" --quiet --resume threads=3
    [ "$(weights "$dir/torn-$precision" 6)" = "$whole" ] || { echo "resumed weights differ from the uninterrupted run's"; exit 1; }
    steps=$(grep -c '"loss"' "$dir/torn-$precision/metrics.jsonl")
    [ "$steps" = 6 ] || { echo "metrics.jsonl has $steps steps where 6 were made"; exit 1; }

    # a damaged newest checkpoint is passed over
    cp -r "$dir/whole-$precision" "$dir/damaged-$precision"
    printf 'x' | dd of="$dir/damaged-$precision/checkpoints/step-00000006/model.safetensors" bs=1 seek=5000 conv=notrunc 2>/dev/null
    "$grpo" train "$dir/run.yaml" precision=$precision output_dir="$dir/damaged-$precision" --resume 2>"$dir/said"
    grep -q 'damaged' "$dir/said" || { echo "the damaged checkpoint was not mentioned"; cat "$dir/said"; exit 1; }
    [ "$(weights "$dir/damaged-$precision" 6)" = "$whole" ] || { echo "going on from step 5 gives other weights"; exit 1; }

    # other memory policies and micro-batches: the same bits
    for how in train.activations=recompute train.activations=checkpoint train.micro_batch_rows=20 rollout.slots=2; do
        "$grpo" train "$dir/run.yaml" precision=$precision output_dir="$dir/other-$precision" $how --quiet --overwrite
        [ "$(weights "$dir/other-$precision" 6)" = "$whole" ] || { echo "$how changes the weights"; exit 1; }
    done

    # the reference is the starting model and the first update is on-policy
    python3 - "$dir/whole-$precision/metrics.jsonl" <<'PY'
import json, sys
first = next(line for line in map(json.loads, open(sys.argv[1])) if "loss" in line)
assert first["kl"] == 0, first["kl"]
assert first["grad_norm"] > 0, "nothing was trained"
PY
done
[ "$(weights "$dir/whole-f32" 6)" != "$(weights "$dir/whole-bf16_weights" 6)" ] || { echo "precision changes nothing"; exit 1; }
[ "$(weights "$dir/whole-bf16" 6)" != "$(weights "$dir/whole-bf16_weights" 6)" ] || { echo "bf16 products change nothing"; exit 1; }
[ "$(weights "$dir/whole-bf16" 6)" != "$(weights "$dir/whole-bf16_amx" 6)" ] || { echo "the order of the terms changes nothing"; exit 1; }

# a run goes on in its own precision only, and its model answers in it
if "$grpo" train "$dir/run.yaml" precision=f32 output_dir="$dir/whole-bf16_weights" --resume --quiet 2>"$dir/said"; then
    echo "resumed in another precision"; exit 1
fi
grep -q 'precision=bf16_weights' "$dir/said" || { cat "$dir/said"; exit 1; }
answer() { "$grpo" logprob --model "$1" "${@:2}" <<<'{"ids": [5, 9, 40, 33, 71]}'; }
[ "$(answer "$dir/whole-bf16_weights")" = "$(answer "$dir/whole-bf16_weights" --precision bf16_weights)" ]
[ "$(answer "$dir/whole-bf16_weights")" != "$(answer "$dir/whole-bf16_weights" --precision f32)" ]

# an earlier run is not written over without being asked to
if "$grpo" train "$dir/run.yaml" output_dir="$dir/whole-f32" --quiet 2>"$dir/said"; then
    echo "an earlier run was overwritten"; exit 1
fi
grep -q -- '--resume' "$dir/said"
echo "resume, damage, policies: the same bits"
