#!/usr/bin/env bash
# The memory plan is what a run takes: peak resident memory (the process's, files that are mapped included) of runs on
# SmolLM2 within 5% of what --plan says, with an evaluation at the start and checkpoints; "32 x 128" in 3 GiB.
set -euo pipefail
model=${GRPO_MODEL:-$HOME/.cache/grpo/SmolLM2-135M-Instruct.Q4_1.gguf}
[ -f "$model" ] || { echo "SKIPPED: $model is absent (scripts/fetch-model.sh)" >&2; exit 77; }
command -v python3 >/dev/null || { echo "SKIPPED: python3 is absent" >&2; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
grpo=$GRPO_BINARY

"$grpo" data make addition,largest --split train --count 60 --seed 1 >"$dir/data.jsonl"
cat >"$dir/run.yaml" <<YAML
model: $model
output_dir: $dir/run
reward_type: math_verifier
group_size: 4
data: {path: $dir/data.jsonl, held_out: 4}
rollout: {prompts_per_step: 2, max_new_tokens: 24}
train: {steps: 1, learning_rate: 1.0e-6, memory_budget: 8G}
eval: {at_start: true}
YAML

planned=$("$grpo" train "$dir/run.yaml" --plan group_size=8 rollout.prompts_per_step=4 rollout.max_new_tokens=128 \
    train.activations=checkpoint train.memory_budget=3G)
echo "$planned" | tail -n 1

python3 - "$grpo" "$dir/run.yaml" <<'PY'
import os, re, subprocess, sys

grpo, config = sys.argv[1:]
units = {"MiB": 1 << 20, "GiB": 1 << 30}
available = int(re.search(r"MemAvailable:\s+(\d+)", open("/proc/meminfo").read())[1]) << 10
wrong = 0
for settings in (["train.activations=checkpoint"], ["train.activations=keep", "kl_coef=0.05"],
                 ["train.activations=recompute", "rollout.top_p=0.9"], ["lora.rank=8"], ["algorithm=ppo"]):
    command = [grpo, "train", config, "--overwrite", *settings]
    text = subprocess.run([*command, "--plan"], capture_output=True, text=True, check=True).stdout
    number, unit = re.search(r"together at most\s+([\d.]+) (\w+)", text).groups()
    planned = float(number) * units[unit]
    if planned > available:
        print(f"{' '.join(settings)}: SKIPPED, the plan's {number} {unit} are not free here")
        continue
    child = subprocess.Popen([*command, "--quiet"])
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{' '.join(settings)}: the run failed")
    peak = usage.ru_maxrss * 1024
    print(f"{' '.join(settings)}: planned {planned / 2**20:.0f} MiB, peak {peak / 2**20:.0f} MiB, {peak / planned:.3f}")
    wrong += abs(peak / planned - 1) > 0.05
sys.exit("the plan is off by more than 5%" if wrong else 0)
PY
