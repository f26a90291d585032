#!/usr/bin/env bash
# Which checkpoints a run keeps and when it writes them: damaged ones do not push intact ones out, a step that is written
# again replaces its folder only when complete, an interrupt writes nothing twice, and an evaluation that was interrupted
# is made when the run goes on. A plot goes with every checkpoint.
source "$(dirname "$0")/tiny.sh"

sums 9
small_run <<YAML
train: {steps: 6, learning_rate: 0.001}
checkpoint: {every: 1, keep_last: 3}
log: {plot: false}
YAML
train() { "$grpo" train "$dir/run.yaml" --quiet "$@" 2>"$dir/said" || { code=$?; cat "$dir/said"; return $code; }; }
kept() { ls "$1/checkpoints" | sed 's/step-0*//' | tr '\n' ' '; }
inode() { stat -c %i "$1/checkpoints/$(printf 'step-%08d' "$2")"; }
damage() { printf x | dd of="$1/checkpoints/step-0000000$2/model.safetensors" bs=1 seek=5000 conv=notrunc 2>/dev/null; }

train output_dir="$dir/whole"
[ "$(kept "$dir/whole")" = "4 5 6 " ] || fail "keep_last=3 kept $(kept "$dir/whole")"

# damaged folders of later steps are not the newest ones
cp -r "$dir/whole" "$dir/damaged"
damage "$dir/damaged" 5
damage "$dir/damaged" 6
train output_dir="$dir/damaged" --resume train.steps=5 checkpoint.keep_last=1
[ "$(kept "$dir/damaged")" = "5 " ] || fail "after step 5 there are: $(kept "$dir/damaged")"
train output_dir="$dir/damaged" --resume
[ "$(weights "$dir/damaged" 6)" = "$(weights "$dir/whole" 6)" ] || fail "going on from the kept checkpoint gives other weights"

# a run whose metrics are lost is still a run
rm "$dir/damaged/metrics.jsonl"
train output_dir="$dir/damaged" >/dev/null && fail "checkpoints of an earlier run were not noticed"
grep -q -- '--overwrite' "$dir/said" || fail "$(cat "$dir/said")"
train output_dir="$dir/damaged" --overwrite train.steps=1
[ "$(kept "$dir/damaged")" = "1 " ] || fail "--overwrite left $(kept "$dir/damaged")"

# a reward that interrupts the run at the first completion of a prompt of its own
cat >"$dir/stop.py" <<'PY'
import json, os, signal, sys, time
for line in sys.stdin:
    stop = sys.argv[1]
    if "stop" in json.loads(line)["prompt"] and os.path.exists(stop):
        os.kill(int(open(stop).read()), signal.SIGINT)
        os.unlink(stop)
    print(0.5, flush=True)
PY
interrupted() { # arguments: a run that is interrupted
    local code=0
    ( echo $BASHPID >"$dir/pid"; exec "$grpo" train "$dir/run.yaml" "reward_type=command:python3 $dir/stop.py $dir/pid" --quiet "$@" ) \
        2>"$dir/said" || code=$?
    [ ! -e "$dir/pid" ] || fail "nothing interrupted the run"
    grep -q 'stopped after step' "$dir/said" || fail "exit code $code: $(cat "$dir/said")"
}

# in a rollout, behind a checkpoint that stands already
{ for i in $(seq 8); do echo "{\"prompt\": \"$i =\"}"; done; for i in $(seq 400); do echo "{\"prompt\": \"stop $i\"}"; done; } >"$dir/stop.jsonl"
rollout="data.path=$dir/stop.jsonl data.shuffle=false rollout.slots=1"
"$grpo" train "$dir/run.yaml" $rollout output_dir="$dir/rollout" "reward_type=command:python3 $dir/stop.py $dir/none" --quiet train.steps=2
before=$(inode "$dir/rollout" 2)
interrupted $rollout output_dir="$dir/rollout" rollout.prompts_per_step=300 rollout.max_new_tokens=100 --resume
[ "$(inode "$dir/rollout" 2)" = "$before" ] || fail "the interrupt wrote a checkpoint again that stood there"
[ "$(kept "$dir/rollout")" = "1 2 " ] || fail "an interrupt in step 3 left $(kept "$dir/rollout")"

# in the last evaluation
for i in $(seq 600); do echo "{\"prompt\": \"stop $i\"}"; done >"$dir/held-out.jsonl"
evaluated="data.eval_path=$dir/held-out.jsonl rollout.slots=1 train.steps=2 rollout.max_new_tokens=100 eval.every=0 log.plot=true"
interrupted $evaluated output_dir="$dir/evaluated"
steps_evaluated() { python3 -c 'import json,sys; print(*(d["step"] for d in map(json.loads, open(sys.argv[1])) if "eval_reward" in d))' "$1/metrics.jsonl"; }
[ "$(kept "$dir/evaluated")" = "1 2 " ] || fail "an interrupt in the evaluation left $(kept "$dir/evaluated")"
[ -s "$dir/evaluated/plot.svg" ] || fail "an interrupted run has no plot"
[ "$(steps_evaluated "$dir/evaluated")" = "" ] || fail "the interrupted evaluation is in metrics.jsonl"
for _ in 1 2; do # the second time there is nothing left to do
    "$grpo" train "$dir/run.yaml" "reward_type=command:python3 $dir/stop.py $dir/pid" $evaluated output_dir="$dir/evaluated" --quiet --resume
    [ "$(steps_evaluated "$dir/evaluated")" = "2" ] || fail "evaluated after steps $(steps_evaluated "$dir/evaluated")"
done
[ "$(grep -c '"loss"' "$dir/evaluated/metrics.jsonl")" = 2 ] || fail "not two steps in metrics.jsonl"
echo "checkpoints: kept, replaced, interrupted"
