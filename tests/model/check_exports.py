#!/usr/bin/env python3
"""Exports of small random models and of SmolLM2, loaded by transformers and by llama.cpp.

usage: check_exports.py GRPO_BINARY TOKENIZERS FOLDER [MODEL.gguf]

TOKENIZERS is ../shared/tokenizer; FOLDER gets the models. Not part of the test run: needs torch, transformers, gguf
and, for the GGUF part, cyllama (last run with transformers 5.23.0, gguf 0.19.0, cyllama 0.2.18).

For every family: folder -> folder in float32 gives the same tensors bit for bit, in bfloat16 what PyTorch rounds to;
folder -> GGUF -> folder in float32 gives the same tensors again; llama.cpp's log-probs of the GGUF file agree with
transformers', and its token ids with those of the tokenizer.json. SmolLM2 (MODEL.gguf) is exported in every type, and
llama.cpp continues texts as `grpo generate --greedy` does, with the same log-probs.
"""
import json
import math
import pathlib
import subprocess
import sys

import torch
import transformers as tr
from transformers.utils import logging
from safetensors.torch import load_file

torch.set_num_threads(1)
logging.disable_progress_bar()
GRPO, TOKENIZERS, FOLDER = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
SMOLLM2 = sys.argv[4] if len(sys.argv) > 4 else None
try:
    from cyllama.llama import llama_cpp
except ImportError:
    llama_cpp = None
    print("cyllama is missing: GGUF files are checked by reading them back only")

TEXTS = ["Natalia sold 48 clips in 2024.", "  x   1 + 2 = 3\n\n\tdef f(a):\n    return a*10", "Größe 中文 😀 it's we'll", "a"]
BASE = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=512)
FAMILIES = {
    "llama-tied": ("llama2_style", tr.LlamaConfig, dict(tie_word_embeddings=True)),
    "llama-untied": ("llama3_style", tr.LlamaConfig, dict(tie_word_embeddings=False, rope_theta=5e5, rope_scaling={
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64})),
    "llama-odd": ("gpt2_style", tr.LlamaConfig, dict(hidden_size=48, intermediate_size=80, head_dim=12)),
    "mistral": ("llama3_style", tr.MistralConfig, dict(sliding_window=None)),
    "qwen2": ("qwen2_style", tr.Qwen2Config, dict(tie_word_embeddings=True)),
    "qwen3": ("qwen2_style", tr.Qwen3Config, dict(head_dim=32)),
    "gemma3": ("gemma_style", tr.Gemma3TextConfig, dict(num_hidden_layers=7, head_dim=32, query_pre_attn_scalar=32,
                                                         sliding_window=8, hidden_activation="gelu_pytorch_tanh")),
    "olmo2": ("llama3_style", tr.Olmo2Config, dict()),
    "smollm3": ("llama3_style", tr.SmolLM3Config, dict(num_hidden_layers=5, pad_token_id=None)),
    "qwen3-moe": ("qwen2_style", tr.Qwen3MoeConfig, dict(head_dim=32, num_experts=6, num_experts_per_tok=2,
                                                          moe_intermediate_size=64, norm_topk_prob=True)),
}
failures = []


def check(what, ok, detail=""):
    print(("ok      " if ok else "FAILED  ") + what, detail, flush=True)
    if not ok:
        failures.append(what)


def grpo(*arguments):
    got = subprocess.run([GRPO, *map(str, arguments)], capture_output=True, text=True)
    if got.returncode:
        raise RuntimeError(got.stderr)
    return got.stderr


def make(name):
    style, cls, more = FAMILIES[name]
    folder = FOLDER / name
    tokenizer = json.loads((TOKENIZERS / style / "tokenizer.json").read_text())
    folder.mkdir(parents=True, exist_ok=True)
    ids = {t["content"]: t["id"] for t in tokenizer["added_tokens"]}
    size = max([*ids.values(), *tokenizer["model"]["vocab"].values()]) + 1
    first = lambda *names: next((n for n in names if n in ids), None)
    special = {"bos_token": first("<bos>", "<s>", "<|begin_of_text|>"),
               "eos_token": first("<eos>", "</s>", "<|end_of_text|>", "<|im_end|>", "<|endoftext|>")}
    special = {k: v for k, v in special.items() if v}
    torch.manual_seed(1)
    config = cls(vocab_size=size + 5, **{**BASE, "pad_token_id": None, "bos_token_id": ids.get(special.get("bos_token")),
                                         "eos_token_id": ids[special["eos_token"]], **more})
    model = tr.AutoModelForCausalLM.from_config(config, torch_dtype=torch.float32)
    with torch.no_grad():
        for key, p in model.named_parameters():
            p.copy_(torch.randn_like(p) * 0.3 + (1 if "norm" in key and "gemma" not in name else 0)
                    if p.dim() == 1 else torch.randn_like(p) * (1.5 / math.sqrt(p.shape[-1])))
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **special}))
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    return folder, model.eval()


def weights(folder):
    found = {}
    for shard in folder.glob("*.safetensors"):
        found.update(load_file(shard))
    return found


def hf_names(tensors):
    """transformers 5 stores experts as one tensor; the folders here have one each, as version 4 did."""
    out = {}
    for key, t in tensors.items():
        if key.endswith("experts.gate_up_proj"):
            for e in range(t.shape[0]):
                gate, up = t[e].chunk(2, 0)
                out[key.replace("gate_up_proj", f"{e}.gate_proj.weight")] = gate
                out[key.replace("gate_up_proj", f"{e}.up_proj.weight")] = up
        elif key.endswith("experts.down_proj"):
            for e in range(t.shape[0]):
                out[key.replace("down_proj", f"{e}.down_proj.weight")] = t[e]
        else:
            out[key] = t
    return out


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def logprobs(model, ids):
    with torch.no_grad():
        return torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)


if llama_cpp:
    class Model(llama_cpp.LlamaModel):
        n_vocab = property(lambda self: self.get_vocab().n_vocab)  # LlamaContext.get_logits_ith asks for it


class Llama:
    """llama.cpp with keys and values in float32 and without flash attention."""

    def __init__(self, path, length):
        self.length = length
        self.model = Model(str(path), verbose=False)
        params = llama_cpp.LlamaContextParams()
        params.n_ctx = params.n_batch = params.n_ubatch = length
        params.n_threads = params.n_threads_batch = 1
        params.type_k = params.type_v = 0
        params.flash_attn_type = 0
        self.context = llama_cpp.LlamaContext(self.model, params, verbose=False)
        self.vocab = self.model.get_vocab()

    def run(self, ids, first, wanted):
        batch = llama_cpp.LlamaBatch(n_tokens=len(ids), embd=0, n_seq_max=1)
        for i, token in enumerate(ids):
            batch.add(token, first + i, [0], wanted(i))
        self.context.decode(batch)
        return torch.tensor([self.context.get_logits_ith(i) for i in range(len(ids)) if wanted(i)])

    def logprobs(self, ids):
        self.context.kv_cache_clear()
        return torch.log_softmax(self.run(ids, 0, lambda i: True).double(), -1)

    def margin(self, ids, continuation):
        """0 when this is the greedy continuation, else by how much its first other token is less probable (log)."""
        rows = self.logprobs(ids + continuation)[len(ids) - 1:]
        return next((m for m in (float(row.max() - row[t]) for row, t in zip(rows, continuation)) if m > 0), 0)

    def tokenize(self, text, added=True, special=True):
        return list(self.vocab.tokenize(text, added, special))


def distance(a, b):
    """Of log-probs: mean absolute difference weighted by probability."""
    return float((a.exp() * (a - b).abs()).sum(-1).mean())


def check_folder(name, folder, model, tokenizer):
    ids = [i % model.config.vocab_size for i in tokenizer("  ".join(TEXTS)).input_ids][:60]
    own = hf_names(weights(folder))
    grpo("export", "--model", folder, "--out", FOLDER / f"{name}-f32", "--overwrite")
    grpo("export", "--model", folder, "--out", FOLDER / f"{name}-bf16", "--dtype", "bf16", "--overwrite")
    check(f"{name}: float32 folder has the same tensors", same(own, weights(FOLDER / f"{name}-f32")))
    rounded = {k: v.bfloat16() for k, v in own.items()}
    check(f"{name}: bfloat16 folder has what PyTorch rounds to", same(rounded, weights(FOLDER / f"{name}-bf16")))
    out = tr.AutoModelForCausalLM.from_pretrained(FOLDER / f"{name}-f32", torch_dtype=torch.float32).eval()
    check(f"{name}: transformers computes the same", torch.equal(logprobs(out, ids), logprobs(model, ids)))
    again = tr.AutoTokenizer.from_pretrained(FOLDER / f"{name}-f32")
    check(f"{name}: transformers' token ids", all(again(t).input_ids == tokenizer(t).input_ids for t in TEXTS))
    messages = [{"role": "user", "content": "x"}]
    check(f"{name}: chat template", again.apply_chat_template(messages, tokenize=False) ==
          tokenizer.apply_chat_template(messages, tokenize=False))
    return ids, own


def check_gguf(name, folder, model, tokenizer, ids, own):
    for kind, most in (("f32", 2e-3 if name == "gemma3" else 1e-5), ("f16", 2e-2), ("bf16", 1e-1), ("q8_0", 2e-1)):
        path = FOLDER / f"{name}-{kind}.gguf"
        note = grpo("export", "--model", folder, "--out", path, "--dtype", kind, "--overwrite")
        if kind == "f32":
            grpo("export", "--model", path, "--out", FOLDER / f"{name}-back", "--overwrite")
            back = weights(FOLDER / f"{name}-back")
            if name == "gemma3":  # GGUF stores its norms with 1 added, in float32: that is what must be the same
                own, back = ({k: 1 + t if "norm" in k else t for k, t in x.items()} for x in (own, back))
            check(f"{name}: folder -> GGUF -> folder", same(own, back))
            back = tr.AutoModelForCausalLM.from_pretrained(FOLDER / f"{name}-back", torch_dtype=torch.float32).eval()
            d = distance(logprobs(model, ids), logprobs(back, ids))
            check(f"{name}: transformers computes the same from the way back", d < 1e-5, f"{d:.2g}")
            again = tr.AutoTokenizer.from_pretrained(FOLDER / f"{name}-back")
            check(f"{name}: token ids on the way back", all(again(t).input_ids == tokenizer(t).input_ids for t in TEXTS))
        if not llama_cpp:
            continue
        try:
            m = Llama(path, 64)
        except Exception as e:
            check(f"{name}: llama.cpp loads {kind}", False, str(e))
            continue
        # Gemma in f32: llama.cpp looks GELU up in a table of halves
        d = distance(logprobs(model, ids), m.logprobs(ids))
        check(f"{name}: llama.cpp's log-probs, {kind}", d < most, f"{d:.2g} {note.strip()}")
        if kind == "f32":
            for t in TEXTS:
                want, got = tokenizer(t).input_ids, m.tokenize(t)
                check(f"{name}: llama.cpp's ids of {t!r}", got == want, "" if got == want else f"{got} {want}")


def lines(command, objects, *arguments):
    text = "".join(json.dumps(o) + "\n" for o in objects)
    got = subprocess.run([GRPO, command, *map(str, arguments)], input=text, capture_output=True, text=True)
    if got.returncode:
        raise RuntimeError(got.stderr)
    return [json.loads(line) for line in got.stdout.split("\n") if line]


def check_smollm2():
    prompts = ["The capital of France is", "def add(a, b):\n", "Once upon a time", "2 + 2 =", "Water boils at"]
    back = FOLDER / "smollm2"
    grpo("export", "--model", SMOLLM2, "--out", back, "--overwrite")
    for source, kinds in ((SMOLLM2, ("f32", "f16", "bf16", "q8_0")), (back, ("f32", "q8_0"))):
        for kind, most in [(k, {"f32": 1e-3, "f16": 5e-3, "bf16": 5e-2, "q8_0": 1e-1}[k]) for k in kinds]:
            path = FOLDER / f"smollm2-{kind}.gguf"
            grpo("export", "--model", source, "--out", path, "--dtype", kind, "--overwrite")
            what = f"smollm2 from {'GGUF' if source == SMOLLM2 else 'folder'}, {kind}"
            m = Llama(path, 96)
            asked = [{"ids": m.tokenize(p)} for p in prompts]
            own = lines("generate", asked, "--model", path, "--greedy", "--max-new-tokens", 16)
            margins = [m.margin(a["ids"], g["completion_ids"]) for a, g in zip(asked, own)]
            same = sum(x == 0 for x in margins)
            # llama.cpp rounds activations to the type of the weights (8 bits for quantised ones): near ties may fall otherwise
            check(f"{what}: greedy continuations", max(margins) < {"f32": 1e-4, "f16": 1e-2, "bf16": 5e-2, "q8_0": 0.3}[kind],
                  f"{same} of {len(own)}, the others at a margin of at most {max(margins):.2f}")
            whole = [{"ids": a["ids"] + g["completion_ids"]} for a, g in zip(asked, own)]
            worst = 0
            for o in lines("logprob", whole, "--model", path):
                theirs = m.logprobs(o["ids"])
                given = [float(theirs[i, t]) for i, t in enumerate(o["ids"][1:])]
                worst = max(worst, sum(abs(x - y) for x, y in zip(given, o["logprobs"])) / len(given))
            check(f"{what}: log-probs", worst < most, f"mean difference {worst:.2g}")
            if kind == "q8_0":
                golden = [json.loads(line) for line in (TOKENIZERS / "smollm2/golden.jsonl").open()]
                wrong = [g for g in golden if m.tokenize(g["text"]) != g["ids"]]
                check(f"{what}: llama.cpp's token ids", not wrong, f"{len(wrong)} of {len(golden)} differ")


if SMOLLM2:
    check_smollm2()
for name in FAMILIES:
    try:
        folder, model = make(name)
        tokenizer = tr.AutoTokenizer.from_pretrained(folder)
        ids, own = check_folder(name, folder, model, tokenizer)
        check_gguf(name, folder, model, tokenizer, ids, own)
    except Exception as e:
        check(name, False, repr(e)[:600])

print(f"{len(failures)} failures", *failures, sep="\n")
sys.exit(bool(failures))
