#!/usr/bin/env bash
# What a step's metrics say of groups, judges, advantages and updates, computed again from samples.jsonl; and that the
# lines of samples.jsonl can be scored again.
source "$(dirname "$0")/tiny.sh"

cat >"$dir/run.yaml" <<YAML
model: $dir/model
data: {path: $dir/data.jsonl, chat: never, shuffle: false}
group_size: 16
rollout: {prompts_per_step: 8, max_new_tokens: 1}
train: {steps: 2, learning_rate: 0.001}
checkpoint: {every: 0}
reward: {unscored_limit: 1}
rewards:
  - {spec: math, name: odd, when: kind=odd}
  - {spec: "math:partial=1", name: even, when: kind=even}
  - {spec: "format:^[a-m5-9]", name: form, weight: 0.5}
YAML
# the reference of each prompt is the digit that the model answers it with most often (answers do not depend on rewards)
write_data() { # a file of samples, or none
    python3 - "$@" <<'PY'
import collections, json, sys
given = [json.loads(l) for l in open(sys.argv[1])] if len(sys.argv) > 1 else []
for i in range(8):
    prompt = "%d + %d =" % (i, i)
    digits = collections.Counter(s["completion"] for s in given if s["prompt"] == prompt and s["completion"].isdigit())
    print(json.dumps({"question": prompt, "solution": (digits.most_common(1) or [("0", 0)])[0][0],
                      "kind": "free" if i % 4 == 0 else "even" if i % 2 == 0 else "odd"}))
PY
}
write_data >"$dir/data.jsonl"
"$grpo" train "$dir/run.yaml" output_dir="$dir/first" train.steps=1 rewards=[] reward_type=format:x --quiet
write_data "$dir/first/samples.jsonl" >"$dir/new.jsonl"
mv "$dir/new.jsonl" "$dir/data.jsonl"

"$grpo" train "$dir/run.yaml" output_dir="$dir/judged" --quiet
python3 - "$dir/judged" <<'PY'
import json, sys
lines = [json.loads(l) for l in open(sys.argv[1] + "/metrics.jsonl")]
samples = [json.loads(l) for l in open(sys.argv[1] + "/samples.jsonl")]
seen = set()
for m in lines:
    step = [s for s in samples if s["step"] == m["step"]]
    groups = {}
    for s in step:
        want = s["rewards"]["odd"] if s["kind"] == "odd" else s["rewards"]["even"] # None for the free ones
        assert s["correct"] == (None if want is None else want >= 1), s
        groups.setdefault(s["group"], []).append(s["correct"])
        seen.add(s["correct"])
    judged = [g for g in groups.values() if g[0] is not None]
    assert len(judged) == 6 and len(groups) == 8
    assert m["frac_groups_all_wrong"] == sum(not any(g) for g in judged) / 6, m
    assert m["frac_groups_all_right"] == sum(all(g) for g in judged) / 6, m
    flat = [c for g in judged for c in g]
    assert abs(m["accuracy"] - sum(flat) / len(flat)) < 1e-12, m
assert seen == {True, False, None}, seen
PY

# a line of samples.jsonl has all that rewards need: scored again it gives the same number
"$grpo" score --reward math --name odd --when kind=odd --reward math:partial=1 --name even --when kind=even \
    --reward "format:^[a-m5-9]" --name form --weight 0.5 "$dir/judged/samples.jsonl" >"$dir/again.jsonl"
python3 - "$dir" <<'PY'
import json, sys
before, after = ([json.loads(l) for l in open(sys.argv[1] + f)] for f in ("/judged/samples.jsonl", "/again.jsonl"))
data = [json.loads(l) for l in open(sys.argv[1] + "/data.jsonl")]
assert len(before) == 256 and [b["reward"] for b in before] == [a["reward"] for a in after]
for b in before:
    r = data[b["line"] - 1]
    assert b["prompt"] == r["question"] and b["answer"] == r["solution"] and b["kind"] == r["kind"] and "rendered" not in b, b
PY

# without a reward that judges, nothing is called right or wrong, in training and in an evaluation
"$grpo" train "$dir/run.yaml" output_dir="$dir/unjudged" rewards=[] 'reward_type=format:^[a-m5-9]' data.held_out=2 2>"$dir/log"
python3 - "$dir/unjudged" <<'PY'
import json, sys
for m in map(json.loads, open(sys.argv[1] + "/metrics.jsonl")):
    assert not {"accuracy", "eval_accuracy", "frac_groups_all_wrong", "frac_groups_all_right"} & m.keys(), m
    assert "every completion is" not in json.dumps(m.get("diagnoses", [])), m
PY
grep -q 'held-out reward' "$dir/log" && ! grep -q accuracy "$dir/log" || fail "said of an accuracy that nobody judged: $(cat "$dir/log")"
"$grpo" eval --model "$dir/model" --raw --data "$dir/data.jsonl" --template "{question}" --n 2 --max-new-tokens 1 \
    --reward "format:^[a-m5-9]" --quiet | grep -q '"accuracy":null.*"judged":0,"correct":0.*"pass_at_k":{"1":null,"2":null}' ||
    fail "an accuracy without a judge"
sed '1,2s/"solution"/"nothing"/' "$dir/data.jsonl" >"$dir/holes.jsonl" # two records that nobody can judge
"$grpo" eval --model "$dir/model" --raw --data "$dir/holes.jsonl" --template "{question}" --n 2 --max-new-tokens 1 \
    --out "$dir/eval.jsonl" --quiet >"$dir/eval.json"
python3 - "$dir" <<'PY'
import json, sys
e = json.load(open(sys.argv[1] + "/eval.json"))
answers = [json.loads(l) for l in open(sys.argv[1] + "/eval.jsonl")]
right = [a["correct"] for a in answers if a["correct"] is not None]
assert e["judged"] == len(right) == 12 and e["unscored"] == 4 and e["accuracy"] == sum(right) / 12, e
pairs = [right[i:i + 2] for i in range(0, 12, 2)]
assert abs(e["pass_at_k"]["2"] - sum(any(p) for p in pairs) / 6) < 1e-12, e
PY

# the KL in the reward tells answers apart that the reward does not: groups are flat all the same
"$grpo" train "$dir/run.yaml" output_dir="$dir/rloo" algorithm=rloo entropy_coef=0.1 rewards=[] 'reward_type=format:.*' --quiet
python3 - "$dir/rloo" <<'PY'
import json, sys
last = [json.loads(l) for l in open(sys.argv[1] + "/metrics.jsonl")][-1]
assert last["kl"] != 0 and last["advantage_max"] > 0 and last["frac_groups_flat"] == 1, last
PY

# several updates of a rollout: the entropy is that of the policy that drew it, the loss a mean over the updates. With a
# learning rate of 0 and answers of one token, that of all is the mean of the mini-batches'
more=(rewards=[] 'reward_type=format:^[a-m5-9]' entropy_coef=0.1 train.steps=1)
several=(train.mini_batches=4 train.updates_per_rollout=2)
"$grpo" train "$dir/run.yaml" output_dir="$dir/one" "${more[@]}" --quiet
"$grpo" train "$dir/run.yaml" output_dir="$dir/four" "${more[@]}" "${several[@]}" --quiet
[ "$(metric "$dir/one" entropy)" = "$(metric "$dir/four" entropy)" ] || fail "the entropy depends on the mini-batches"
"$grpo" train "$dir/run.yaml" output_dir="$dir/still" "${more[@]}" "${several[@]}" train.learning_rate=0 --quiet
python3 -c 'import sys; a, b = map(float, sys.argv[1:]); sys.exit(not (a < -0.1 and abs(a - b) < 1e-9))' \
    "$(metric "$dir/one" loss)" "$(metric "$dir/still" loss)" || fail "the loss is not the mean over the mini-batches"
echo "judges, groups, samples, updates: as computed again"
