#!/usr/bin/env bash
# PPO: values start at 0, learn, and belong to the checkpoint; memory policies and micro-batches change no bit of them or
# of the policy.
source "$(dirname "$0")/tiny.sh"

sums 9
small_run <<YAML
algorithm: ppo
train: {steps: 6, learning_rate: 0.0001, updates_per_rollout: 2, mini_batches: 2}
value: {learning_rate: 0.003}
checkpoint: {every: 1, keep_last: 6}
YAML

# what GAE is fed from: a network of its own, or a head on the policy's trunk
check_trunk() { # own or policy, learning rate
    local run="$dir/$1" trunk="value.trunk=$1 value.learning_rate=$2"
    "$grpo" train "$dir/run.yaml" $trunk output_dir="$run" --quiet
    local whole
    whole=$(weights "$run" 6)
    [[ $whole == *value.safetensors* ]] || fail "$trunk: the checkpoint has no values"
    python3 - "$run/metrics.jsonl" <<'PY' || fail "$trunk: the metrics of the values are not as they must be"
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
    cp -r "$run" "$dir/torn"
    rm -r "$dir/torn/checkpoints/step-0000000"[456]
    "$grpo" train "$dir/run.yaml" $trunk output_dir="$dir/torn" --quiet --resume threads=3
    [ "$(weights "$dir/torn" 6)" = "$whole" ] || fail "$trunk: resumed weights differ from the uninterrupted run's"
    rm -r "$dir/torn"

    for how in train.activations=recompute train.activations=checkpoint train.micro_batch_rows=20; do
        "$grpo" train "$dir/run.yaml" $trunk output_dir="$dir/other" $how --quiet --overwrite
        [ "$(weights "$dir/other" 6)" = "$whole" ] || fail "$trunk: $how changes the weights"
    done

    # only the values learn during their warm-up
    "$grpo" train "$dir/run.yaml" $trunk output_dir="$dir/warm" value.warmup_rollouts=6 --overwrite >"$dir/said" 2>&1
    grep -q '^algorithm  [a-z]*: advantage_estimator gae, .*loss clip, .*kl_coef ' "$dir/said" ||
        fail "the run does not say what its algorithm is: $(head -c 400 "$dir/said")"
    rm -rf "$dir/exported"
    "$grpo" export --model "$dir/warm" --out "$dir/exported" >/dev/null 2>&1
    python3 - "$dir/model" "$dir/exported" "$dir/warm/metrics.jsonl" <<'PY' || fail "$trunk: value.warmup_rollouts"
import json, struct, sys
def tensors(path):
    data = open(path + "/model.safetensors", "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + n])
    return {k: data[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]] for k, v in header.items() if k != "__metadata__"}
assert tensors(sys.argv[1]) == tensors(sys.argv[2]), "the policy moved"
steps = [json.loads(line) for line in open(sys.argv[3])]
assert steps[-1]["value_mean"] > 0, "the values did not"
PY
}
check_trunk own 0.003
check_trunk policy 0.01
[ "$(weights "$dir/own" 6)" != "$(weights "$dir/policy" 6)" ] || fail "value.trunk makes no difference"
whole=$(weights "$dir/own" 6)

# while only values are trained nothing may measure the KL: an adaptive weight of it stays a number, and adapts afterwards
for trunk in own policy; do
    "$grpo" train "$dir/run.yaml" value.trunk=$trunk kl_place=loss kl_coef=0.1 kl_control=adaptive value.warmup_rollouts=2 \
        output_dir="$dir/adaptive" train.steps=4 --quiet --overwrite
    python3 - "$dir/adaptive/metrics.jsonl" <<'PY' || fail "value.trunk=$trunk: the adaptive kl_coef behind the warm-up"
import json, sys
coef = [json.loads(line)["kl_coef"] for line in open(sys.argv[1])]
assert len(coef) == 4 and all(c > 0 for c in coef) and coef[3] != coef[2], coef
PY
done

# on the policy's trunk the value loss moves the policy, value_coef as much as it says; an adapter's trunk too
for coef in 0 1; do
    "$grpo" train "$dir/run.yaml" value.trunk=policy value_coef=$coef output_dir="$dir/coef$coef" train.steps=1 --quiet
done
"$grpo" train "$dir/run.yaml" value.trunk=policy value_coef=0 train.micro_batch_rows=30 output_dir="$dir/coef" train.steps=1 --quiet
policy_of() { sha256sum <"$1/checkpoints/step-00000001/model.safetensors"; }
[ "$(policy_of "$dir/coef0")" = "$(policy_of "$dir/coef")" ] || fail "value_coef=0: two runs differ"
[ "$(policy_of "$dir/coef0")" != "$(policy_of "$dir/coef1")" ] || fail "the value loss does not reach the trunk"
"$grpo" train "$dir/run.yaml" value.trunk=policy lora.rank=4 output_dir="$dir/lora" --quiet
for how in train.activations=recompute train.micro_batch_rows=20; do
    "$grpo" train "$dir/run.yaml" value.trunk=policy lora.rank=4 $how output_dir="$dir/other" --quiet --overwrite
    [ "$(weights "$dir/other" 6)" = "$(weights "$dir/lora" 6)" ] || fail "lora: $how changes the weights"
done
"$grpo" train "$dir/run.yaml" value.trunk=policy lora.rank=4 precision=bf16 output_dir="$dir/plan" --plan >"$dir/said"
grep -q '^  LoRA adapter' "$dir/said" || fail "no plan: $(cat "$dir/said")"
! grep -q '^  master' "$dir/said" || fail "f32 weights are held that nothing trains: $(cat "$dir/said")"
"$grpo" train "$dir/run.yaml" value.trunk=policy value.model="$dir/model" output_dir="$dir/wrong" --quiet 2>"$dir/said" &&
    fail "value.model beside value.trunk=policy was accepted"
grep -q 'keep one of them' "$dir/said" || fail "the refusal does not say why: $(cat "$dir/said")"

# the default is the policy's trunk with a head of zeros, which a language model given by name is too
"$grpo" train "$dir/run.yaml" output_dir="$dir/named" value.model="$dir/model" --quiet
[ "$(weights "$dir/named" 6)" = "$whole" ] || fail "value.model=the policy gives other weights than the default"
"$grpo" train "$dir/run.yaml" output_dir="$dir/wrong" value.model="$shared/models/llama-value" --quiet 2>"$dir/said" &&
    fail "a value network with another vocabulary was accepted"
grep -q 'vocabulary of 103' "$dir/said" || fail "the refusal does not say why: $(cat "$dir/said")"
echo "ppo: resume, policies, warm-up"
