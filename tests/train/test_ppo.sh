#!/usr/bin/env bash
# PPO: the value network starts at 0, learns, and belongs to the checkpoint; memory policies and micro-batches change no
# bit of either network.
source "$(dirname "$0")/tiny.sh"

for i in 1 2 3 4 5 6 7 8 9; do echo "{\"prompt\": \"$i + $i =\", \"answer\": \"$((i + i))\"}"; done >"$dir/data.jsonl"
cat >"$dir/run.yaml" <<YAML
model: $dir/model
algorithm: ppo
reward_type: 'format:^[^aeiou]*$'
data: {path: $dir/data.jsonl, chat: never}
group_size: 4
rollout: {prompts_per_step: 4, max_new_tokens: 12}
train: {steps: 6, learning_rate: 0.0001, updates_per_rollout: 2, mini_batches: 2}
value: {learning_rate: 0.003}
checkpoint: {every: 1, keep_last: 6}
YAML

"$grpo" train "$dir/run.yaml" output_dir="$dir/whole" --quiet
whole=$(weights "$dir/whole" 6)
[[ $whole == *value.safetensors* ]] || fail "the checkpoint has no value network"
python3 - "$dir/whole/metrics.jsonl" <<'PY' || fail "the value network's metrics are not as they must be"
import json, sys
steps = [json.loads(line) for line in open(sys.argv[1])]
assert steps[0]["value_mean"] == 0, "the head starts at zero"
assert all(s["value_grad_norm"] > 0 for s in steps)
assert all(s["ratio_min"] <= 1 <= s["ratio_max"] for s in steps)
assert all(s["kl"] == 0 for s in steps[:1]), "the reference is the policy at first"
# with gamma 1 the returns are the rewards (the KL is small): V must come near their mean
mean = sum(s["reward"] for s in steps) / len(steps)
assert abs(steps[-1]["value_mean"] - mean) < 0.25 * mean, (steps[-1]["value_mean"], mean)
PY

# killed after step 3, resumed: the same bits
cp -r "$dir/whole" "$dir/torn"
rm -r "$dir/torn/checkpoints/step-0000000"[456]
"$grpo" train "$dir/run.yaml" output_dir="$dir/torn" --quiet --resume threads=3
[ "$(weights "$dir/torn" 6)" = "$whole" ] || fail "resumed weights differ from the uninterrupted run's"

for how in train.activations=recompute train.activations=checkpoint train.micro_batch_rows=20; do
    "$grpo" train "$dir/run.yaml" output_dir="$dir/other" $how --quiet --overwrite
    [ "$(weights "$dir/other" 6)" = "$whole" ] || fail "$how changes the weights"
done

# only the value network learns during its warm-up
"$grpo" train "$dir/run.yaml" output_dir="$dir/warm" value.warmup_rollouts=6 >"$dir/said" 2>&1
grep -q '^algorithm  [a-z]*: advantage_estimator gae, .*loss clip, .*kl_coef ' "$dir/said" ||
    fail "the run does not say what its algorithm is: $(head -c 400 "$dir/said")"
"$grpo" export --model "$dir/warm" --out "$dir/exported" >/dev/null 2>&1
python3 - "$dir/model" "$dir/exported" <<'PY' || fail "the policy moved during value.warmup_rollouts"
import json, struct, sys
def tensors(path):
    data = open(path + "/model.safetensors", "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + n])
    return {k: data[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]] for k, v in header.items() if k != "__metadata__"}
a, b = tensors(sys.argv[1]), tensors(sys.argv[2])
assert a == b
PY
# the default is the policy's trunk with a head of zeros, which a language model given by name is too
"$grpo" train "$dir/run.yaml" output_dir="$dir/own" value.model="$dir/model" --quiet
[ "$(weights "$dir/own" 6)" = "$whole" ] || fail "value.model=the policy gives other weights than the default"
"$grpo" train "$dir/run.yaml" output_dir="$dir/wrong" value.model="$shared/models/llama-value" --quiet 2>"$dir/said" &&
    fail "a value network with another vocabulary was accepted"
grep -q 'vocabulary of 103' "$dir/said" || fail "the refusal does not say why: $(cat "$dir/said")"
echo "ppo: resume, policies, warm-up"
