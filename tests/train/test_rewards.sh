#!/usr/bin/env bash
# Rewards in a run: several with weights, conditions and gates, the same offline; a program's number of workers changes
# no bit; answers that cannot be scored are left out and said, and too many stop the run; a reward model.
. "${BASH_SOURCE%/*}/tiny.sh"

for i in 1 2 3 4 5 6 7 8 9; do
    echo "{\"prompt\": \"$i + $i =\", \"answer\": \"$((i + i))\", \"kind\": {\"name\": \"$([ $((i % 2)) = 0 ] && echo even || echo odd)\"}}"
done >"$dir/data.jsonl"
cat >"$dir/vowels.py" <<'PY'
"""The share of digits in an answer; null for one that holds a Q, NaN for all when asked so."""
import json, sys, time
for line in sys.stdin:
    text = json.loads(line)["completion"]
    if len(sys.argv) > 1: time.sleep(float(sys.argv[1]))
    if sys.argv[2:] == ["nan"]: print("NaN", flush=True)
    elif "Q" in text: print(json.dumps({"reward": None, "problem": "there is a Q"}), flush=True)
    else: print(json.dumps(sum(c.isdigit() for c in text) / (1 + len(text))), flush=True)
PY
cat >"$dir/run.yaml" <<YAML
model: $dir/model
data: {path: $dir/data.jsonl, chat: never, shuffle: false}
group_size: 4
rollout: {prompts_per_step: 4, max_new_tokens: 12}
train: {steps: 3, learning_rate: 0.001}
checkpoint: {every: 0}
reward: {unscored_limit: 0.5}
rewards:
  - {spec: "length:min=3,max=11,unit=characters,ramp=4", name: size, weight: 0.25}
  - {spec: "format:[a-m]", name: form, gate: 0.5}
  - {spec: "command:python3 $dir/vowels.py 0.005", name: digits, weight: 2, workers: 4}
  - {spec: "repetition:n=2,unit=words", name: odd_only, when: kind.name=odd}
YAML
"$grpo" train "$dir/run.yaml" output_dir="$dir/four" 2>"$dir/log"
"$grpo" train "$dir/run.yaml" output_dir="$dir/one" threads=1 --quiet \
    "rewards=[{spec: 'length:min=3,max=11,unit=characters,ramp=4', name: size, weight: 0.25}, {spec: 'format:[a-m]', name: form, gate: 0.5}, {spec: 'command:python3 $dir/vowels.py', name: digits, weight: 2}, {spec: 'repetition:n=2,unit=words', name: odd_only, when: kind.name=odd}]"
[ "$(weights "$dir/four" 3)" = "$(weights "$dir/one" 3)" ] || fail "the number of workers or threads changes the weights"

# the same rewards offline give the same numbers, to the last bit
python3 - "$dir" <<'PY'
import json, sys
prompts = {json.loads(l)["prompt"]: json.loads(l) for l in open(sys.argv[1] + "/data.jsonl")}
with open(sys.argv[1] + "/answers.jsonl", "w") as out:
    for line in open(sys.argv[1] + "/four/samples.jsonl"):
        s = json.loads(line)
        print(json.dumps({**prompts[s["prompt"]], "completion": s["completion"], "online": s["reward"], "rewards": s["rewards"]}), file=out)
PY
"$grpo" score --reward "length:min=3,max=11,unit=characters,ramp=4" --name size --weight 0.25 \
    --reward "format:[a-m]" --name form --gate 0.5 --reward "command:python3 $dir/vowels.py" --name digits --weight 2 \
    --reward "repetition:n=2,unit=words" --name odd_only --when kind.name=odd "$dir/answers.jsonl" >"$dir/offline.jsonl"
python3 - "$dir" <<'PY'
import json, sys
offline = [json.loads(l) for l in open(sys.argv[1] + "/offline.jsonl")]
assert len(offline) == 48
for o in offline:
    assert o["reward"] == o["online"] and o["parts"] == o["rewards"], o
    p = o["parts"]
    assert (p["odd_only"] is None) == (o["kind"]["name"] == "even"), o
    if o["reward"] is not None and p["form"] == 0: # the gate's own 0 and nothing else
        assert o["reward"] == 0, o
assert any(o["parts"]["form"] == 0 for o in offline) and any(o["parts"]["form"] == 1 for o in offline)
lines = [json.loads(l) for l in open(sys.argv[1] + "/four/metrics.jsonl")]
samples = [json.loads(l) for l in open(sys.argv[1] + "/four/samples.jsonl")]
for m in lines:
    step = [s for s in samples if s["step"] == m["step"]]
    missing = [s for s in step if s["reward"] is None]
    assert m["frac_unscored"] == len(missing) / len(step)
    assert all(s["advantage"] == 0 and "there is a Q" in s["unscored"] for s in missing)
    for name in ("size", "form", "digits", "odd_only"):
        given = [s["rewards"][name] for s in step if s["rewards"][name] is not None]
        assert abs(m["reward/" + name] - sum(given) / len(given)) < 1e-12 if given else m["reward/" + name] is None
    assert 0 <= m["time_reward"] and 0.004 * 16 < m["time_scoring"], m
unscored = sum(s["reward"] is None for s in samples)
assert (unscored > 0) == ("could not be scored and were left out; the first: digits: there is a Q" in open(sys.argv[1] + "/log").read())
PY

# each reward normalised on its own (GDPO) is not the sum normalised
"$grpo" train "$dir/run.yaml" output_dir="$dir/gdpo" advantage_estimator=gdpo --quiet
[ "$(weights "$dir/gdpo" 3)" != "$(weights "$dir/four" 3)" ] || fail "gdpo does not see the parts"

# a reward that gives no numbers stops the run, says why, and leaves the samples to be looked at
set +e
"$grpo" train "$dir/run.yaml" output_dir="$dir/nan" "rewards=[{spec: 'command:python3 $dir/vowels.py 0 nan'}]" 2>"$dir/err"
code=$?
set -e
[ $code = 1 ] || fail "a reward of NaN: exit code $code"
grep -q "16 of 16 answers of step 1 could not be scored (reward.unscored_limit is 0.5); the first: command: the reward is not a number: NaN" "$dir/err" ||
    fail "said: $(cat "$dir/err")"
[ "$(grep -c '"unscored":' "$dir/nan/samples.jsonl")" = 16 ] || fail "the samples of the step that failed are not there"

# a reward model: what `grpo logprob --score` says of the same conversation
cp -r "$shared/models/llama-reward" "$dir/judge"
cp "$dir/model/tokenizer.json" "$dir/judge/"
python3 - "$dir" <<'PY'
import json, sys
folder = sys.argv[1]
template = "{% for m in messages %}{{ m['role'] }}:{{ m['content'] }}\n{% endfor %}"
json.dump({"eos_token": "</s>", "chat_template": template}, open(folder + "/judge/tokenizer_config.json", "w"))
with open(folder + "/asked.jsonl", "w") as asked, open(folder + "/said.jsonl", "w") as said:
    for i in range(6):
        prompt, answer = "the question of the day: what is %d" % (i // 3), "it is %d" % (i * i)
        print(json.dumps({"prompt": prompt if i % 2 else [{"role": "user", "content": prompt}], "completion": answer}), file=asked)
        print(json.dumps({"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]}), file=said)
PY
"$grpo" score --reward "model:$dir/judge" "$dir/asked.jsonl" >"$dir/rewards.jsonl"
"$grpo" logprob --model "$dir/judge" --score "$dir/said.jsonl" >"$dir/scores.jsonl"
python3 - "$dir" <<'PY'
import json, sys
a, b = ([json.loads(l) for l in open(sys.argv[1] + f)] for f in ("/rewards.jsonl", "/scores.jsonl"))
assert len(a) == 6 and [x["reward"] for x in a] == [x["score"] for x in b] and len({x["reward"] for x in a}) == 6, (a, b)
PY
"$grpo" train "$dir/run.yaml" output_dir="$dir/judged" rewards=[] "reward_type=reward_model:$dir/judge,squash=sigmoid" --quiet
[ "$(metric "$dir/judged" frac_unscored)" = 0.0 ] || [ "$(metric "$dir/judged" frac_unscored)" = 0 ] || fail "the reward model left answers unscored"
