#!/usr/bin/env bash
# The reference of the KL penalty: frozen, refreshed, a moving average; ReMax's greedy baseline; adaptive kl_coef; the soft
# overlong punishment. Each where its effect can be computed by hand.
source "$(dirname "$0")/tiny.sh"

sums 9
small_run <<YAML
train: {steps: 4, learning_rate: 0.001}
checkpoint: {every: 1, keep_last: 4}
YAML
column() { python3 -c 'import json,sys; print(" ".join(str(json.loads(l)[sys.argv[2]]) for l in open(sys.argv[1]+"/metrics.jsonl")))' "$1" "$2"; }

# refreshed after every step: the KL is exactly 0 in every step; frozen: it is not
"$grpo" train "$dir/run.yaml" output_dir="$dir/refreshed" kl_coef=0.1 reference.sync_steps=1 --quiet
[ "$(column "$dir/refreshed" kl)" = "0 0 0 0" ] || fail "a refreshed reference has KL $(column "$dir/refreshed" kl)"
"$grpo" train "$dir/run.yaml" output_dir="$dir/frozen" kl_coef=0.1 --quiet
"$grpo" train "$dir/run.yaml" output_dir="$dir/average" kl_coef=0.1 reference.sync_steps=1 reference.mixup=0.5 --quiet
python3 - $(column "$dir/frozen" kl) $(column "$dir/average" kl) <<'PY' || fail "the KL to a moving average must lie between 0 and that to a frozen reference"
import sys
x = list(map(float, sys.argv[1:]))
frozen, average = x[:4], x[4:]
assert frozen[0] == average[0] == 0 and frozen[1] > average[1] > 0, x
assert frozen[3] > average[3] > 0, x
PY

# measured without a penalty: the KL is that of the run before, whose weights do not change; absent it is null
for more in "" lora.rank=2; do
    "$grpo" train "$dir/run.yaml" output_dir="$dir/free" $more --quiet --overwrite
    "$grpo" train "$dir/run.yaml" output_dir="$dir/measured" log.kl=true $more --quiet --overwrite
    [ "$(weights "$dir/measured" 4)" = "$(weights "$dir/free" 4)" ] || fail "log.kl changes the weights ($more)"
    [ "$(column "$dir/free" kl)" = "None None None None" ] || fail "a KL without a reference: $(column "$dir/free" kl)"
    python3 - $(column "$dir/measured" kl) <<'PY' || fail "log.kl measures no KL ($more)"
import sys
x = list(map(float, sys.argv[1:]))
assert x[0] == 0 and 0 < x[1] < x[3], x
PY
done

# a moving average belongs to the checkpoint
cp -r "$dir/average" "$dir/torn"
rm -r "$dir/torn/checkpoints/step-0000000"[34]
"$grpo" train "$dir/run.yaml" output_dir="$dir/torn" kl_coef=0.1 reference.sync_steps=1 reference.mixup=0.5 --quiet --resume
[ "$(weights "$dir/torn" 4)" = "$(weights "$dir/average" 4)" ] || fail "resume with a moving reference gives other bits"

# with rounded weights too: what is compared is the rounded policy, what moves is an f32 array
rounded=(kl_coef=0.1 precision=bf16_weights reference.sync_steps=1)
"$grpo" train "$dir/run.yaml" output_dir="$dir/rounded" "${rounded[@]}" --quiet
[ "$(column "$dir/rounded" kl)" = "0 0 0 0" ] || fail "a refreshed rounded reference has KL $(column "$dir/rounded" kl)"
"$grpo" train "$dir/run.yaml" output_dir="$dir/mixed" "${rounded[@]}" reference.mixup=0.5 --quiet
cp -r "$dir/mixed" "$dir/mixed-torn"
rm -r "$dir/mixed-torn/checkpoints/step-0000000"[34]
"$grpo" train "$dir/run.yaml" output_dir="$dir/mixed-torn" "${rounded[@]}" reference.mixup=0.5 --quiet --resume
[ "$(weights "$dir/mixed-torn" 4)" = "$(weights "$dir/mixed" 4)" ] || fail "resume with a moving rounded reference gives other bits"

# adaptive: KL 0 is below the target, so kl_coef falls by 0.2 * 16 / 1600 after the first step
"$grpo" train "$dir/run.yaml" output_dir="$dir/adaptive" kl_coef=0.1 kl_control=adaptive kl_target=1e9 kl_horizon=1600 --quiet
python3 - $(column "$dir/adaptive" kl_coef) <<'PY' || fail "kl_control=adaptive does not follow its formula"
import sys
x = list(map(float, sys.argv[1:]))
assert all(abs(x[i] - 0.1 * (1 - 0.2 * 16 / 1600) ** i) < 1e-12 for i in range(4)), x
PY

# ReMax: advantage = reward - reward of the greedy answer, on every token
"$grpo" train "$dir/run.yaml" output_dir="$dir/remax" algorithm=remax train.steps=1 --quiet
sed 's/"answer"/"ids_of"/' "$dir/data.jsonl" | "$grpo" generate --model "$dir/model" --raw --greedy --max-new-tokens 12 |
    "$grpo" score --reward 'format:^[^aeiou]*$' >"$dir/greedy.jsonl"
python3 - "$dir" <<'PY' || fail "remax: the baseline is not the greedy answer's reward"
import json, sys
d = sys.argv[1]
greedy = {r["prompt"]: r["reward"] for r in map(json.loads, open(d + "/greedy.jsonl"))}
for s in map(json.loads, open(d + "/remax/samples.jsonl")):
    assert s["advantage"] == s["reward"] - greedy[s["prompt"]], s
PY

# overlong: every completion that reaches the limit loses overlong_factor
"$grpo" train "$dir/run.yaml" output_dir="$dir/overlong" overlong_buffer=0.5 overlong_factor=0.25 train.steps=1 --quiet
python3 - "$dir" <<'PY' || fail "overlong_buffer does not follow its formula"
import json, sys
for s in map(json.loads, open(sys.argv[1] + "/overlong/samples.jsonl")):
    penalty = -max(0, s["tokens"] - 6) / 6 * 0.25
    assert abs(s["reward"] - s["rewards"]["format"] - penalty) < 1e-12, s
PY
echo "reference, controller, greedy baseline, overlong: as computed by hand"
