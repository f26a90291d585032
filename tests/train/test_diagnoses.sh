#!/usr/bin/env bash
# What a run says of itself: its commands can be run as they stand, its remedies fit the configuration, a run that goes on
# remembers its earlier steps, and a model without an end token is told of before the first step.
source "$(dirname "$0")/tiny.sh"
mkdir "$dir/bin"
ln -s "$grpo" "$dir/bin/grpo"
PATH=$dir/bin:$PATH

for i in 1 2 3 4 5 6 7 8; do echo "{\"question\": \"$i + $i =\", \"solution\": \"no number\", \"task\": \"a b\"}"; done >"$dir/data.jsonl"
cat >"$dir/it's.py" <<'PY'
"""0, or no reward where asked so."""
import json, sys
for line in sys.stdin:
    print(0 if sys.argv[1] == "zero" else json.dumps({"reward": None, "problem": "the judge sleeps"}), flush=True)
PY
cat >"$dir/run.yaml" <<YAML
model: $dir/model
output_dir: "$dir/a run's"
data: {path: $dir/data.jsonl, chat: never, shuffle: false}
group_size: 4
rollout: {prompts_per_step: 4, max_new_tokens: 8}
train: {steps: 1, learning_rate: 0.001}
rewards:
  - {spec: math, when: task=a b}
  - {spec: "command:python3 \"$dir/it's.py\" zero", weight: 0.5}
YAML
message() { # run folder, id: of the last step
    python3 - "$@" <<'PY'
import json, sys
for d in json.loads(open(sys.argv[1] + "/metrics.jsonl").readlines()[-1]).get("diagnoses", []):
    if d["id"] == sys.argv[2]: print(d["message"])
PY
}
command_in() { sed 's/[^`]*`\([^`]*\)`.*/\1/'; }

# all wrong: the command that it names explains the same answers
"$grpo" train "$dir/run.yaml" --quiet
said=$(message "$dir/a run's" all_wrong)
case $said in "every advantage is 0 because every completion is wrong"*) ;; *) fail "said: $said" ;; esac
eval "$(command_in <<<"$said")" >"$dir/explained.jsonl" || fail "not a command: $(command_in <<<"$said")"
python3 - "$dir" <<'PY'
import json, sys
lines = [json.loads(l) for l in open(sys.argv[1] + "/explained.jsonl")]
assert len(lines) == 4 and all(l["reward"] == 0 and "reason" in l["explain"]["math"] and l["parts"]["command"] == 0 for l in lines), lines
PY

# nothing could be scored: the run stops and names a command that says why
if "$grpo" train "$dir/run.yaml" --overwrite --quiet 2>"$dir/err" \
    "rewards=[{spec: 'command:python3 \"$dir/it''s.py\" none'}]"; then fail "the run went on without rewards"; fi
eval "$(command_in <"$dir/err")" | grep -q 'the judge sleeps' || fail "said: $(cat "$dir/err")"

# the reward does not rise: said at step 20, also where the run was stopped after step 18 and went on
"$grpo" train "$dir/run.yaml" output_dir="$dir/slow" --quiet train.steps=22 train.learning_rate=0 checkpoint.every=1 \
    checkpoint.keep_last=9 rewards=[] 'reward_type=format:^[a-m]'
at() { python3 -c 'import json,sys; print(*[json.loads(l)["step"] for l in open(sys.argv[1]+"/metrics.jsonl") if "slow_small_groups" in l])' "$1"; }
[ "$(at "$dir/slow")" = 20 ] || fail "slow progress was said at step: $(at "$dir/slow")"
rm -r "$dir/slow/checkpoints/step-000000"{19,20,21,22}
"$grpo" train "$dir/run.yaml" output_dir="$dir/slow" --quiet train.steps=22 train.learning_rate=0 checkpoint.every=1 \
    checkpoint.keep_last=9 rewards=[] 'reward_type=format:^[a-m]' --resume
[ "$(at "$dir/slow")" = 20 ] || fail "a run that goes on forgets its first 18 steps"

# no end token anywhere
"$grpo" train "$dir/run.yaml" --overwrite 2>"$dir/log"
if grep -q 'no end token' "$dir/log"; then fail "the model has an end token: $(cat "$dir/log")"; fi
cp -r "$dir/model" "$dir/endless"
python3 - "$dir/endless" <<'PY'
import json, sys
for name, key in (("config.json", "eos_token_id"), ("tokenizer_config.json", "eos_token")):
    path = sys.argv[1] + "/" + name
    settings = json.load(open(path))
    settings[key] = None # absent, it would be the family's
    json.dump(settings, open(path, "w"))
PY
"$grpo" train "$dir/run.yaml" model="$dir/endless" --overwrite 2>"$dir/log"
sed '/^step 1/,$d' "$dir/log" | grep -q 'careful: the model names no end token.*rollout.stop' || fail "said: $(cat "$dir/log")"
message "$dir/a run's" never_ends | grep -q 'the model names no end token: set rollout.stop' || fail "never_ends: $(cat "$dir/log")"
"$grpo" train "$dir/run.yaml" model="$dir/endless" 'rollout.stop=[a, e, i]' --overwrite 2>"$dir/log"
if grep -q careful "$dir/log"; then fail "rollout.stop is set: $(cat "$dir/log")"; fi
echo "diagnoses: commands, memory, end tokens"
