"""TRL's GRPOTrainer on the training step "32 x 128" in f32: 4 prompts x 8 answers of exactly 128 tokens, no KL.

usage: trl_step.py MODEL_FOLDER      THREADS: of torch. Prints one JSON line."""
import json
import os
import resource
import sys
import tempfile
import time

os.environ.setdefault("OMP_NUM_THREADS", os.environ.get("THREADS", str(os.cpu_count())))
import torch
import trl
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

STEPS = 3  # the first warms up
PROMPT = "Write down, one after the other, what a ship needs on a journey of many days. " * 4


class Clock(TrainerCallback):
    def __init__(self):
        self.seconds = []

    def on_step_begin(self, args, state, control, **kwargs):
        self.began = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        self.seconds.append(time.perf_counter() - self.began)


def reward(completions, **kwargs):
    return [sum(c.isdigit() or c == "e" for c in answer) / 100 for answer in completions]


torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
folder = sys.argv[1]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
data = Dataset.from_list([{"prompt": f"{PROMPT}Ship {i}."} for i in range(4 * STEPS)])
with tempfile.TemporaryDirectory() as output:
    config = GRPOConfig(
        output_dir=output, use_cpu=True, bf16=False, report_to="none", save_strategy="no", disable_tqdm=True, seed=1,
        per_device_train_batch_size=8, gradient_accumulation_steps=4, num_generations=8, max_completion_length=128,
        generation_kwargs={"min_new_tokens": 128}, temperature=1.0, beta=0.0, num_iterations=1, max_steps=STEPS,
        learning_rate=1e-6, gradient_checkpointing=False, shuffle_dataset=False)
    clock = Clock()
    sys.stdout, kept = sys.stderr, sys.stdout  # the trainer prints its log
    GRPOTrainer(model=model, reward_funcs=reward, args=config, train_dataset=data, processing_class=tokenizer,
                callbacks=[clock]).train()
    sys.stdout = kept
print(json.dumps({"program": f"TRL {trl.__version__}", "step_seconds": min(clock.seconds[1:]),
                  "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
