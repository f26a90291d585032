#!/usr/bin/env bash
# Dynamic sampling: flat groups give way to the next prompts, up to the bound; the answers are those that the same prompts get
# without it; memory policies, slots and resume change no bit.
source "$(dirname "$0")/tiny.sh"

sums 9
cat >"$dir/run.yaml" <<YAML
model: $dir/model
algorithm: dapo
overlong_buffer: 0
reward_type: 'format:^[^aeiou]*$'
data: {path: $dir/data.jsonl, chat: never, shuffle: false}
group_size: 2
rollout: {prompts_per_step: 4, max_new_tokens: 12}
train: {steps: 4, learning_rate: 0.001}
checkpoint: {every: 1, keep_last: 4}
YAML
"$grpo" train "$dir/run.yaml" output_dir="$dir/whole" --quiet
whole=$(weights "$dir/whole" 4)
"$grpo" train "$dir/run.yaml" output_dir="$dir/plain" dynamic_sampling=false rollout.prompts_per_step=40 train.steps=1 --quiet
python3 - "$dir" <<'PY' || fail "dynamic sampling does not do what it says"
import json, sys
read = lambda name: [json.loads(l) for l in open(f"{sys.argv[1]}/{name}")]
steps = read("whole/metrics.jsonl")
assert all(s["frac_groups_flat"] == 0 for s in steps), "a flat group was left though the bound was not reached"
assert all(s["dynamic_rounds"] <= 10 for s in steps)
assert sum(s["dynamic_replaced"] for s in steps) > 0, "the test needs flat groups"
assert all(s["ratio_min"] == 1 == s["ratio_max"] for s in steps)
# every answer of the first step is the one that its prompt gets without dynamic sampling
plain = {(s["group"], s["sample"]): s for s in read("plain/samples.jsonl")}
first = [s for s in read("whole/samples.jsonl") if s["step"] == 1]
assert len(first) == 8
for s in first:
    other = plain[s["group"], s["sample"]]
    assert s["completion"] == other["completion"] and s["logprob"] == other["logprob"]
# and those that were left out are exactly the flat groups before the last one taken
taken, last = {s["group"] for s in first}, max(s["group"] for s in first)
for g in range(last):
    flat = plain[g, 0]["reward"] == plain[g, 1]["reward"]
    assert flat != (g in taken), g
PY

for how in train.activations=recompute train.activations=checkpoint rollout.slots=3 threads=1; do
    "$grpo" train "$dir/run.yaml" output_dir="$dir/other" $how --quiet --overwrite
    [ "$(weights "$dir/other" 4)" = "$whole" ] || fail "$how changes the weights"
done
cp -r "$dir/whole" "$dir/torn"
rm -r "$dir/torn/checkpoints/step-0000000"[34]
"$grpo" train "$dir/run.yaml" output_dir="$dir/torn" --quiet --resume
[ "$(weights "$dir/torn" 4)" = "$whole" ] || fail "resumed weights differ from the uninterrupted run's"

# a reward that never differs: the bound holds
"$grpo" train "$dir/run.yaml" output_dir="$dir/bound" reward_type='length:min=1,max=100,unit=tokens' dynamic_sampling_tries=3 \
    train.steps=1 --quiet
[ "$(metric "$dir/bound" dynamic_rounds) $(metric "$dir/bound" dynamic_replaced)" = "4 12" ] || fail "the bound on tries is not kept"
echo "dynamic sampling: bound, answers, policies, resume"
