"""Two run folders side by side: what they cost, and reward and held-out accuracy against step and time."""
import json
import statistics
import sys


def load(folder):
    lines = [json.loads(line) for line in open(folder + "/metrics.jsonl")]
    steps = [s for s in lines if "loss" in s]
    clock = 0
    for s in lines:
        clock += s.get("time_step", 0)
        s["clock"] = clock
    return steps, [s for s in lines if s.get("eval_accuracy") is not None]


runs = [load(folder) for folder in sys.argv[1:]]
names = [folder.rstrip("/").split("/")[-1] for folder in sys.argv[1:]]


def row(label, values):
    print(f"| {label} | " + " | ".join(values) + " |")


def median(steps, key):
    return statistics.median(s.get(key) or 0 for s in steps)


row("", names)
row("---", ["---"] * len(names))
row("peak memory, GiB", [f"{steps[-1]['peak_bytes'] / 2**30:.2f}" for steps, _ in runs])
for key, label in [("time_step", "seconds a step, median"), ("time_rollout", "... sampling"), ("time_train", "... training"),
                   ("time_value", "... of it the value network")]:
    row(label, [f"{median(steps, key):.1f}" for steps, _ in runs])
for at in range(9, len(runs[0][0]), 10):
    row(f"reward, steps {at - 8} to {at + 1}",
        [f"{statistics.mean(s['reward'] for s in steps[at - 9:at + 1]):.3f} ({steps[at]['clock']:.0f} s)" for steps, _ in runs])
for i in range(min(len(evals) for _, evals in runs)):
    row(f"held-out accuracy after step {runs[0][1][i]['step']}",
        [f"{100 * evals[i]['eval_accuracy']:.1f}% ({evals[i]['clock']:.0f} s)" for _, evals in runs])
