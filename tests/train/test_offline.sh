#!/usr/bin/env bash
# Rollouts from a file: those of `grpo generate` train to the same bits as sampling them in the run; those of another
# distribution are corrected, rejected, or enter the ratio, as configured.
source "$(dirname "$0")/tiny.sh"

sums 4
small_run <<YAML
data: {shuffle: false}
train: {steps: 1, learning_rate: 0.001}
YAML
"$grpo" generate --model "$dir/model" --raw --n 4 --logprobs --max-new-tokens 12 <"$dir/data.jsonl" >"$dir/rollouts.jsonl"

"$grpo" train "$dir/run.yaml" output_dir="$dir/sampled" 2>"$dir/said"
grep -q 'prompts to train on, as raw text$' "$dir/said" || fail "said: $(cat "$dir/said")"
stored=(data.path="$dir/rollouts.jsonl" rollout.source=data)
for how in keep recompute; do
    "$grpo" train "$dir/run.yaml" output_dir="$dir/stored" "${stored[@]}" train.activations=$how --overwrite 2>"$dir/said"
    grep -q 'prompts to train on, as token ids$' "$dir/said" || fail "said: $(cat "$dir/said")"
    [ "$(weights "$dir/stored" 1)" = "$(weights "$dir/sampled" 1)" ] || fail "stored rollouts give other weights ($how)"
    [ "$(metric "$dir/stored" sampler_kl)" = 0 ] || fail "the log-probs of generate are not those of the training pass"
done

# answers of a sampler whose log-probs are 0.1 higher in every second completion
python3 - "$dir" <<'PY'
import json, sys
d = sys.argv[1]
with open(d + "/other.jsonl", "w") as shifted, open(d + "/lists.jsonl", "w") as lists, open(d + "/bare.jsonl", "w") as bare:
    for line in open(d + "/rollouts.jsonl"):
        r = json.loads(line)
        for i, c in enumerate(r["completions"]):
            c["logprobs"] = [x + 0.1 * (i % 2) for x in c["logprobs"]]
        shifted.write(json.dumps(r) + "\n")
        c = r.pop("completions")
        r["completion_ids"] = [x["completion_ids"] for x in c]
        r["logprobs"] = [x["logprobs"] for x in c]
        lists.write(json.dumps(r) + "\n")
        del r["logprobs"]
        bare.write(json.dumps(r) + "\n")
PY
run() { # name, overrides
    local name=$1
    shift
    "$grpo" train "$dir/run.yaml" output_dir="$dir/$name" rollout.source=data --quiet "$@"
}
near() { python3 -c 'import sys; a, b = map(float, sys.argv[1:3]); sys.exit(abs(a - b) > 1e-6)' "$1" "$2"; }

run plain data.path="$dir/other.jsonl"
[ "$(weights "$dir/plain" 1)" = "$(weights "$dir/sampled" 1)" ] || fail "without a correction the sampler's log-probs must not matter"
run lists data.path="$dir/lists.jsonl"
[ "$(weights "$dir/lists" 1)" = "$(weights "$dir/sampled" 1)" ] || fail "the form with lists gives other weights"

run corrected data.path="$dir/other.jsonl" sampler_correction=token_truncate sampler_min=0 sampler_max=2 \
    importance_sampling_level=token loss_aggregation=token_mean
python3 - "$dir" <<'PY' || fail "the weights of sampler_correction are not exp(-0.1) on the shifted completions"
import json, math, sys
d = sys.argv[1]
got = json.loads(open(d + "/corrected/metrics.jsonl").readlines()[-1])
n = [0, 0]
for line in open(d + "/rollouts.jsonl"):
    for i, c in enumerate(json.loads(line)["completions"]):
        n[i % 2] += len(c["logprobs"])
want = (n[0] + n[1] * math.exp(-0.1)) / sum(n)
assert abs(got["sampler_weight_mean"] - want) < 1e-6, (got["sampler_weight_mean"], want)
assert abs(got["sampler_kl"] - 0.1 * n[1] / sum(n)) < 1e-6
PY

run bypass data.path="$dir/other.jsonl" rollout.old_logprobs=sampler importance_sampling_level=token loss_aggregation=token_mean
near "$(metric "$dir/bypass" ratio_min)" "$(python3 -c 'import math; print(math.exp(-0.1))')" || fail "bypass: the ratio is not to the sampler"

run rejected data.path="$dir/other.jsonl" rollout.reject=seq_mean_k1 rollout.reject_threshold=1.05
python3 -c 'import sys; sys.exit(not 0.2 < float(sys.argv[1]) < 0.8)' "$(metric "$dir/rejected" frac_rejected)" || fail "the shifted completions were not rejected"

# the optimal token baseline, recomputed from the logits of the stored answers' tokens
run token_baseline data.path="$dir/rollouts.jsonl" advantage_estimator=optimal_token_baseline
python3 - "$dir" >"$dir/ids.jsonl" <<'PY'
import json, sys
for r in map(json.loads, open(sys.argv[1] + "/rollouts.jsonl")):
    for c in r["completions"]:
        print(json.dumps({"ids": r["prompt_ids"] + c["completion_ids"], "n": len(c["completion_ids"])}))
PY
"$grpo" logprob --model "$dir/model" --logits <"$dir/ids.jsonl" >"$dir/logits.jsonl"
python3 - "$dir" <<'PY' || fail "the token baseline's advantages are not those of its formula"
import json, math, sys
d = sys.argv[1]
def energy(z, id):
    top = max(z)
    e = [math.exp(x - top) for x in z]
    p = [x / sum(e) for x in e]
    return 1 - 2 * p[id] + sum(x * x for x in p)
def weights(row): # W_t of the answer's tokens
    first, total, out = len(row["ids"]) - row["n"], 0, []
    for t in range(first, len(row["ids"])):
        total += energy(row["logits"][t - 1], row["ids"][t])
        out.append(total)
    return out
rows = [json.loads(l) for l in open(d + "/logits.jsonl")]
samples = [json.loads(l) for l in open(d + "/token_baseline/samples.jsonl")]
every = []
for g in range(4):
    answers = samples[4 * g:4 * g + 4]
    W = [weights(r) for r in rows[4 * g:4 * g + 4]]
    for s, own in zip(answers, W):
        a = []
        for t in range(len(own)):
            there = [(x["reward"], w[t]) for x, w in zip(answers, W) if t < len(w)]
            a.append(s["reward"] - sum(r * w for r, w in there) / (sum(w for r, w in there) + 1e-8))
        assert abs(s["advantage"] - sum(a) / len(a)) < 1e-5, (s["advantage"], a)
        every += a
m = json.loads(open(d + "/token_baseline/metrics.jsonl").readlines()[-1])
assert abs(m["advantage_min"] - min(every)) < 1e-5 and abs(m["advantage_max"] - max(every)) < 1e-5, (m, min(every), max(every))
assert abs(m["advantage_abs"] - sum(map(abs, every)) / len(every)) < 1e-5
PY

refused() { # pattern, overrides
    local pattern=$1
    shift
    if "$grpo" train "$dir/run.yaml" output_dir="$dir/refused" "$@" --quiet --overwrite 2>"$dir/said"; then fail "accepted: $*"; fi
    grep -q -- "$pattern" "$dir/said" || fail "$* said: $(cat "$dir/said")"
}
refused 'no log-prob of the engine' rollout.source=data data.path="$dir/bare.jsonl" sampler_correction=token_mask
refused 'group_size is 8' rollout.source=data data.path="$dir/lists.jsonl" group_size=8
refused 'longer than rollout.max_new_tokens' rollout.source=data data.path="$dir/lists.jsonl" rollout.max_new_tokens=3
refused 'rollouts of another engine' sampler_correction=token_mask
sed 's/"completion_ids": \[\[[0-9]*/"completion_ids": [[9999/' "$dir/lists.jsonl" >"$dir/broken.jsonl"
refused 'outside the model.s vocabulary' rollout.source=data data.path="$dir/broken.jsonl"
# how an answer ended: without its end token it is not one that ended, and unknown words are not taken for an end
sed 's/"finish":"[a-z]*"/"finish":"eos"/g' "$dir/rollouts.jsonl" >"$dir/broken.jsonl"
refused 'completion [0-9]*: its finish is "eos", but its last id is no end token of the model (2)' rollout.source=data data.path="$dir/broken.jsonl"
sed 's/"finish":"[a-z]*"/"finish":"abort"/' "$dir/rollouts.jsonl" >"$dir/broken.jsonl"
refused 'completion 1: its finish must be "eos", "stop" or "length"' rollout.source=data data.path="$dir/broken.jsonl"
sed 's/"finish":"[a-z]*"/"finish":"stop"/g' "$dir/rollouts.jsonl" >"$dir/stopped.jsonl"
run stopped data.path="$dir/stopped.jsonl"
[ "$(metric "$dir/stopped" frac_truncated)" = 0 ] || fail "answers that a text ended count as cut"
echo "offline: the same bits, corrections, rejection, bypass, refusals"
