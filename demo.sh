#!/usr/bin/env bash
# From a fresh Debian 12 or Ubuntu 24.04 to a language model that got better at a task by GRPO:
# installs what is missing, builds, fetches SmolLM2-135M-Instruct, makes a data set, evaluates,
# trains, evaluates again, exports.
#   ./demo.sh [key=value …]      changes to configs/demo.yaml, for instance train.steps=20
set -euo pipefail
cd "$(dirname "$0")"
began=$SECONDS
run=${DEMO_RUN:-runs/demo}
task=${DEMO_TASK:-largest,smallest}
parameters=${DEMO_PARAMETERS:-numbers=4 digits=2}
held_out=${DEMO_HELD_OUT:-200}

say() { printf '\n== %s\n' "$*"; }

say "What this machine lacks"
scripts/install-deps.sh

say "Building"
generator=()
command -v ninja >/dev/null && [ ! -e build/Makefile ] && generator=(-G Ninja)
cmake -S . -B build "${generator[@]}" -DGRPO_TESTS=OFF >build.log 2>&1 || { tail -n 30 build.log; exit 1; }
cmake --build build --target grpo -j "$(nproc)" >>build.log 2>&1 || { tail -n 40 build.log; exit 1; }
grpo=build/grpo

say "Fetching the model"
model=$(scripts/fetch-model.sh)
echo "$model"

say "Making problems: $task ($parameters)"
mkdir -p "$run/data"
# shellcheck disable=SC2086
$grpo data make "$task" $parameters --split train --count 4000 --seed 1 --out "$run/data/train.jsonl"
# shellcheck disable=SC2086
$grpo data make "$task" $parameters --split test --test-share 0.2 --count "$held_out" --seed 2 --out "$run/data/test.jsonl"
head -n 2 "$run/data/train.jsonl"

evaluate() { # model, output
    $grpo eval --model "$1" --data "$run/data/test.jsonl" --template "{prompt} Answer with the number only." --reward math --max-new-tokens 32 --out "$2"
}
say "Before training: greedy answers to $held_out problems that training never sees"
evaluate "$model" "$run/before.jsonl"

say "Training"
$grpo train configs/demo.yaml --overwrite "model=$model" "output_dir=$run" "data.path=$run/data/train.jsonl" \
    "data.eval_path=$run/data/test.jsonl" "$@"

say "Exporting"
$grpo export --model "$run" --out "$run/model" --overwrite

say "After training: the exported model, the same problems"
evaluate "$run/model" "$run/after.jsonl"

say "Before and after"
$grpo compare "$run/before.jsonl" "$run/after.jsonl" --show 4

say "Where things are"
echo "run folder:     $run (config.yaml, metrics.jsonl, samples.jsonl, checkpoints)"
echo "plot:           $run/plot.svg"
echo "exported model: $run/model (loads in transformers, vLLM, llama.cpp's converter)"
read -r n before after < <($grpo compare --brief "$run/before.jsonl" "$run/after.jsonl")
echo
awk -v n="$n" -v a="$before" -v b="$after" -v s="$((SECONDS - began))" 'BEGIN {
    printf "accuracy: %.1f%% -> %.1f%% on %d held-out problems, %.1f min\n", 100 * a / n, 100 * b / n, n, s / 60 }'
