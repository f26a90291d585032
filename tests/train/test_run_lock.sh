#!/usr/bin/env bash
# A run folder belongs to one process: a second `grpo train` in it is refused, in all its forms, and disturbs nothing; a
# killed run's folder is free at once.
source "$(dirname "$0")/tiny.sh"

sums 4
cat >"$dir/run.yaml" <<YAML
model: $dir/model
output_dir: $dir/run
reward_type: math_verifier
data: {path: $dir/data.jsonl, chat: never}
group_size: 4
rollout: {prompts_per_step: 2, max_new_tokens: 8}
train: {steps: 1000000}
checkpoint: {every: 1000000}
YAML
"$grpo" train "$dir/run.yaml" --quiet &
pid=$!
trap 'kill -9 $pid 2>/dev/null || true; rm -rf "$dir"' EXIT
for _ in $(seq 1000); do [ -s "$dir/run/metrics.jsonl" ] && break; sleep 0.01; done

for how in "" --resume --overwrite; do
    code=0
    timeout 20 "$grpo" train "$dir/run.yaml" --quiet $how 2>"$dir/said" || code=$?
    [ $code = 2 ] || fail "a second run ($how) ended with $code: $(cat "$dir/said")"
    grep -q "^grpo train: $dir/run is in use by process $pid on .*output_dir" "$dir/said" || fail "$(cat "$dir/said")"
done
kill -0 $pid || fail "the first run did not survive"
python3 - "$dir/run/metrics.jsonl" <<'PY'
import json, sys
steps = [json.loads(line)["step"] for line in open(sys.argv[1]) if line.endswith("\n")]
assert steps == list(range(1, len(steps) + 1)), "the first run's lines were disturbed"
PY
kill -9 $pid
wait $pid 2>/dev/null || true
"$grpo" train "$dir/run.yaml" --quiet --resume train.steps=2 || fail "the lock of a killed run was not free"
echo "one run in one folder"
