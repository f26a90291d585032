#!/usr/bin/env python3
"""Tiny random models of every supported family and what transformers computes from them.

    python3 make_families.py [FOLDER]        (default: families/ beside this file)

writes FOLDER/NAME.safetensors (weights of one structure, in the names and types of published files) and
FOLDER/cases.json: configurations over those weights with log-probabilities, logits, greedy tokens and gradients, and the
defaults of the configuration classes. Everything is computed in float64: parameters are read from the file, and the places
where transformers drops to float32 (norms, softmax, rotary tables) are kept in float64 too.

Made with Python 3.11, torch 2.15.0, transformers 5.24.0, safetensors 0.8.0, numpy 2.4.6.
"""
import copy
import json
import os
import sys
import tempfile
import zlib

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.set_num_threads(1)
VOCAB, LENGTH = 48, 56
ENDS = {1, 2, 6}  # ids that some configuration takes for the end of a sequence: continuations go on without them
TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


# ---- structures: what tensors there are ------------------------------------------------------------------------------

def base(model_type, prefix, **more):
    c = {"architectures": [prefix + "ForCausalLM"], "model_type": model_type, "hidden_size": 16, "intermediate_size": 24,
         "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": VOCAB,
         "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 100.0, "hidden_act": "silu",
         "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float32",
         "initializer_range": 0.02, "use_cache": True, "transformers_version": "4.51.0"}
    c.update(more)
    return c


LLAMA = base("llama", "Llama", attention_bias=False, mlp_bias=False, pretraining_tp=1)
GEMMA = base("gemma3_text", "Gemma3", hidden_activation="gelu_pytorch_tanh", query_pre_attn_scalar=12, sliding_window=6,
             sliding_window_pattern=3, rope_local_base_freq=30.0, attn_logit_softcapping=None, final_logit_softcapping=None,
             eos_token_id=1, bos_token_id=2, pad_token_id=0)
for key in ("hidden_act", "tie_word_embeddings"):
    del GEMMA[key]
VISION = {"model_type": "siglip_vision_model", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
          "num_attention_heads": 1, "image_size": 8, "patch_size": 4}
GEMMA_IMAGE = {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "boi_token_index": 40,
               "eoi_token_index": 41, "image_token_index": 42, "mm_tokens_per_image": 4, "eos_token_id": [1, 6],
               "initializer_range": 0.02, "torch_dtype": "bfloat16", "transformers_version": "4.50.0.dev0",
               "text_config": {k: v for k, v in GEMMA.items()
                               if k not in ("architectures", "torch_dtype", "transformers_version", "eos_token_id")},
               "vision_config": VISION}

# name: (configuration, type of the stored tensors, or "mixed")
STRUCTURES = {
    "llama": (LLAMA, "bfloat16"),
    "llama-plain": (dict(LLAMA, head_dim=None, num_key_value_heads=None, tie_word_embeddings=True), "float16"),
    "llama-bias": (dict(LLAMA, attention_bias=True, mlp_bias=True), "mixed"),
    "smollm3": (base("smollm3", "SmolLM3", attention_bias=False, mlp_bias=False, tie_word_embeddings=True, pad_token_id=3),
                "bfloat16"),
    "mistral": (base("mistral", "Mistral", sliding_window=None), "bfloat16"),
    "qwen2": (base("qwen2", "Qwen2", use_sliding_window=False, sliding_window=7, max_window_layers=2), "float16"),
    "qwen3": (base("qwen3", "Qwen3", attention_bias=False, use_sliding_window=False, sliding_window=None, max_window_layers=4,
                   tie_word_embeddings=True), "bfloat16"),
    "qwen3-bias": (base("qwen3", "Qwen3", attention_bias=True, tie_word_embeddings=True), "mixed"),
    "gemma3": (GEMMA, "bfloat16"),
    "gemma3-image": (GEMMA_IMAGE, "bfloat16"),
    "olmo2": (base("olmo2", "Olmo2", attention_bias=False, head_dim=4), "bfloat16"),
    "olmo2-bias": (base("olmo2", "Olmo2", attention_bias=True), "mixed"),
}


# ---- variants: what is computed from them ----------------------------------------------------------------------------

def modern(c):
    """The spelling of transformers 5."""
    c = copy.deepcopy(c)
    text = c.get("text_config", c)
    rope = dict(text.pop("rope_scaling", None) or {"rope_type": "default"})
    theta, local = text.pop("rope_theta", None), text.pop("rope_local_base_freq", None)
    if theta is not None:
        rope["rope_theta"] = theta
    if text["model_type"] == "gemma3_text":
        pattern = text.pop("sliding_window_pattern", 6)
        text.setdefault("layer_types", ["sliding_attention" if (i + 1) % pattern else "full_attention"
                                        for i in range(text["num_hidden_layers"])])
        text["rope_parameters"] = {"full_attention": rope, "sliding_attention": {"rope_type": "default"}}
        if local is not None:
            text["rope_parameters"]["sliding_attention"]["rope_theta"] = local
    else:
        text["rope_parameters"] = rope
    if "torch_dtype" in c:
        c["dtype"] = c.pop("torch_dtype")
    c["transformers_version"] = "5.24.0"
    return c


def linear(factor=3.0, **more):
    return dict({"rope_type": "linear", "factor": factor}, **more)


def yarn(**more):
    return dict({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 4}, **more)


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}
F, S = "full_attention", "sliding_attention"
ABSENT = object()

# (name, structure, changes to its configuration, gradients, spelling of transformers 5)
VARIANTS = [
    ("llama", "llama", {}, True, False),
    ("llama-modern", "llama", {}, False, True),
    ("llama-defaults", "llama", {k: ABSENT for k in ("rms_norm_eps", "rope_theta", "hidden_act", "tie_word_embeddings",
     "attention_bias", "mlp_bias", "pretraining_tp", "bos_token_id", "eos_token_id", "torch_dtype")}, False, False),
    ("llama-eps", "llama", {"rms_norm_eps": 1e-2}, False, False),
    ("llama-swish", "llama", {"hidden_act": "swish"}, False, False),
    ("llama-gelu", "llama", {"hidden_act": "gelu_pytorch_tanh"}, True, False),
    ("llama-gelu-new", "llama", {"hidden_act": "gelu_new"}, False, False),
    ("llama-layer-types", "llama", {"layer_types": [F] * 4}, False, False),
    ("llama-tensor-parallel", "llama", {"pretraining_tp": 2}, False, False),
    ("llama-linear", "llama", {"rope_scaling": linear()}, True, False),
    ("llama-linear-old-key", "llama", {"rope_scaling": {"type": "linear", "factor": 2}}, False, False),
    ("llama-linear-both-keys", "llama", {"rope_scaling": {"type": "yarn", "rope_type": "linear", "factor": 2}}, False, False),
    ("llama-linear-modern", "llama", {"rope_scaling": linear()}, False, True),
    ("llama-rope-both", "llama", {"rope_scaling": linear(), "rope_parameters": {"rope_type": "default", "rope_theta": 7.0}},
     False, False),
    ("llama-dynamic", "llama", {"rope_scaling": {"rope_type": "dynamic", "factor": 4.0}}, False, False),
    ("llama-llama3", "llama", {"rope_scaling": LLAMA3}, True, False),
    ("llama-llama3-modern", "llama", {"rope_scaling": LLAMA3}, False, True),
    ("llama-llama3-no-original", "llama", {"rope_scaling": {k: v for k, v in LLAMA3.items() if not k.startswith("orig")}},
     False, False),
    ("llama-llama3-outer-original", "llama", {"rope_scaling": LLAMA3, "original_max_position_embeddings": 16}, False, False),
    ("llama-yarn", "llama", {"rope_scaling": yarn()}, True, False),
    ("llama-yarn-modern", "llama", {"rope_scaling": yarn()}, False, True),
    ("llama-yarn-default-betas", "llama", {"rope_theta": 10.0, "rope_scaling": yarn(beta_fast=None)}, False, False),
    ("llama-yarn-betas", "llama", {"rope_scaling": yarn(beta_fast=8.5, beta_slow=2)}, False, False),
    ("llama-yarn-attention-factor", "llama", {"rope_scaling": yarn(attention_factor=0.7)}, True, False),
    ("llama-yarn-mscale", "llama", {"rope_scaling": yarn(mscale=0.707, mscale_all_dim=0.2)}, False, False),
    ("llama-yarn-mscale-alone", "llama", {"rope_scaling": yarn(mscale=0.707)}, False, False),
    ("llama-yarn-no-truncate", "llama", {"rope_scaling": yarn(truncate=False)}, False, False),
    ("llama-yarn-null-factor", "llama", {"rope_scaling": yarn(factor=None, original_max_position_embeddings=16)}, False, False),
    ("llama-yarn-outer-original", "llama", {"rope_scaling": yarn(factor=None), "original_max_position_embeddings": 32}, False,
     False),
    ("llama-yarn-no-original", "llama", {"rope_scaling": {"type": "yarn", "factor": 4.0}}, False, False),
    ("llama-yarn-finetuned", "llama", {"rope_scaling": yarn(finetuned=True)}, False, False),
    ("llama-plain", "llama-plain", {}, True, False),
    ("llama-plain-absent", "llama-plain", {"head_dim": ABSENT, "num_key_value_heads": ABSENT}, False, False),
    ("llama-bias", "llama-bias", {}, True, False),
    ("smollm3", "smollm3", {}, True, False),
    ("smollm3-defaults", "smollm3", {"tie_word_embeddings": ABSENT, "rope_theta": ABSENT}, False, False),
    ("smollm3-list", "smollm3", {"no_rope_layers": [0, 1, 1, 0], "no_rope_layer_interval": 4}, True, False),
    ("smollm3-interval", "smollm3", {"no_rope_layer_interval": 2}, False, False),
    ("smollm3-window", "smollm3", {"use_sliding_window": True, "sliding_window": 5, "no_rope_layers": [1, 0, 1, 0]}, True,
     False),
    ("smollm3-layer-types", "smollm3", {"use_sliding_window": True, "sliding_window": 5, "layer_types": [S, F, F, S]}, False,
     False),
    ("smollm3-unused-window", "smollm3", {"use_sliding_window": False, "sliding_window": 5}, False, False),
    ("smollm3-yarn", "smollm3", {"rope_scaling": yarn()}, False, True),
    ("mistral", "mistral", {}, False, False),
    ("mistral-window", "mistral", {"sliding_window": 5}, True, False),
    ("mistral-window-default", "mistral", {"sliding_window": ABSENT, "num_key_value_heads": 2}, False, True),
    ("mistral-yarn", "mistral", {"sliding_window": 9, "rope_scaling": yarn()}, False, False),
    ("qwen2", "qwen2", {}, True, False),
    ("qwen2-window", "qwen2", {"use_sliding_window": True}, True, False),
    ("qwen2-window-modern", "qwen2", {"use_sliding_window": True, "layer_types": [F, F, S, S]}, False, True),
    ("qwen2-layer-types", "qwen2", {"use_sliding_window": True, "layer_types": [S, F, S, F]}, False, False),
    ("qwen2-yarn", "qwen2", {"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}}, False,
     False),
    ("qwen3", "qwen3", {}, True, False),
    ("qwen3-modern", "qwen3", {}, False, True),
    ("qwen3-window", "qwen3", {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1}, False, False),
    ("qwen3-yarn", "qwen3", {"rope_scaling": yarn()}, False, False),
    ("qwen3-bias", "qwen3-bias", {}, True, False),
    ("gemma3", "gemma3", {}, True, False),
    ("gemma3-modern", "gemma3", {}, False, True),
    ("gemma3-defaults", "gemma3", {k: ABSENT for k in ("rope_theta", "rope_local_base_freq", "query_pre_attn_scalar",
     "sliding_window_pattern", "hidden_activation", "rms_norm_eps")}, False, False),
    ("gemma3-modern-defaults", "gemma3", {"rope_theta": ABSENT, "rope_local_base_freq": ABSENT}, False, True),
    ("gemma3-layer-types", "gemma3", {"layer_types": [F, S, S, F], "_sliding_window_pattern": 6}, False, False),
    ("gemma3-linear", "gemma3", {"rope_scaling": linear(8.0)}, True, False),
    ("gemma3-linear-modern", "gemma3", {"rope_scaling": linear(8.0)}, False, True),
    ("gemma3-local-linear", "gemma3", {"layer_types": [S, S, F, S], "rope_parameters": {
        F: {"rope_type": "llama3", "rope_theta": 200.0, **{k: v for k, v in LLAMA3.items() if k != "rope_type"}},
        S: linear(2.0, rope_theta=20.0)}, "rope_theta": ABSENT, "rope_local_base_freq": ABSENT}, False, False),
    ("gemma3-all-global", "gemma3", {"sliding_window_pattern": 1}, False, False),
    # what GGUF files of Gemma 3 can express: attention scale head_dim^-0.5
    ("gemma3-gguf", "gemma3", {"query_pre_attn_scalar": 8, "sliding_window_pattern": 6, "rope_local_base_freq": 10000.0}, False,
     False),
    ("gemma3-gguf-linear", "gemma3", {"query_pre_attn_scalar": 8, "sliding_window_pattern": 1, "rope_scaling": linear(8.0)}, False,
     False),
    ("gemma3-gguf-pattern", "gemma3", {"query_pre_attn_scalar": 8}, False, False),
    ("gemma3-gguf-period", "gemma3", {"query_pre_attn_scalar": 8}, False, True),
    ("gemma3-gguf-global", "gemma3", {"query_pre_attn_scalar": 8, "sliding_window_pattern": 1}, False, False),
    ("gemma3-image", "gemma3-image", {}, False, False),
    ("gemma3-image-modern", "gemma3-image", {}, False, True),
    ("olmo2", "olmo2", {}, True, False),
    ("olmo2-linear", "olmo2", {"rope_scaling": linear()}, False, True),
    ("olmo2-yarn", "olmo2", {"rope_scaling": yarn()}, False, False),
    ("olmo2-defaults", "olmo2", {"head_dim": ABSENT, "rms_norm_eps": ABSENT, "rope_theta": ABSENT}, False, False),
    ("olmo2-bias", "olmo2-bias", {}, True, False),
]


def change(config, changes):
    c = copy.deepcopy(config)
    text = c.get("text_config", c)
    for key, value in changes.items():
        if value is ABSENT:
            text.pop(key, None)
        else:
            text[key] = copy.deepcopy(value)
    return c


# ---- weights ----------------------------------------------------------------------------------------------------------

def published_name(name):
    """transformers 5 renames Gemma 3's tensors while loading; published files have the older names."""
    for new, old in (("model.language_model.", "language_model.model."), ("model.vision_tower.", "vision_tower."),
                     ("model.multi_modal_projector.", "multi_modal_projector.")):
        if name.startswith(new):
            return old + name[len(new):]
    return name


def draw(name, shape, gemma, generator):
    x = torch.from_numpy(generator.standard_normal(tuple(shape)))
    if "norm" in name:
        return 0.3 * x + (0 if gemma else 1)
    if len(shape) == 1:
        return 0.3 * x
    if "embed_tokens" in name or "lm_head" in name:
        return x * (0.4 if gemma else 0.7)
    scale = 1.6 if "q_proj" in name or "k_proj" in name else 1.1
    return scale * x / shape[-1] ** 0.5


def write_weights(path, name, config, dtype):
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    with tempfile.TemporaryDirectory() as folder:
        write_json(os.path.join(folder, "config.json"), config)
        c = AutoConfig.from_pretrained(folder)
    auto = AutoModelForImageTextToText if "text_config" in config else AutoModelForCausalLM
    model = auto.from_config(c)
    tied, tensors = set(model.all_tied_weights_keys), {}
    for i, (key, value) in enumerate(model.state_dict().items()):
        if key in tied:
            continue
        kind = ["float32", "float16", "bfloat16"][i % 3] if dtype == "mixed" else dtype
        stored = published_name(key) if "text_config" in config else key
        tensors[stored] = draw(key, value.shape, "gemma3" in config["model_type"], generator).to(TYPES[kind]).contiguous()
    save_file(tensors, path, metadata={"format": "pt"})


# ---- expected values --------------------------------------------------------------------------------------------------

class Double:
    """Everything that asks for float32 gets float64."""

    def __enter__(self):
        self.kept = torch.float32, torch.float, torch.Tensor.float
        torch.float32 = torch.float = torch.float64
        torch.Tensor.float = torch.Tensor.double

    def __exit__(self, *_):
        torch.float32, torch.float, torch.Tensor.float = self.kept


def load(folder, config):
    auto = AutoModelForImageTextToText if "text_config" in config else AutoModelForCausalLM
    model, info = auto.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    model.eval()
    text = model.model.language_model if "text_config" in config else model.model
    with Double():
        text.rotary_emb = type(text.rotary_emb)(text.config)
    if hasattr(text.embed_tokens, "embed_scale"):
        text.embed_tokens.embed_scale = torch.tensor(text.config.hidden_size ** 0.5, dtype=torch.float64)
    return model


def logits_of(model, ids):
    with Double():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


def logprobs_of(model, ids):
    z = torch.log_softmax(logits_of(model, ids), -1)
    return z[:-1].gather(-1, torch.tensor(ids[1:])[:, None])[:, 0]


def short(x, digits=9):
    if isinstance(x, torch.Tensor):
        x = x.detach().tolist()
    if isinstance(x, list):
        return [short(v, digits) for v in x]
    return float(f"{x:.{digits}g}") if isinstance(x, float) else x


def greedy(model, generator):
    for _ in range(50):
        ids = [int(t) for t in generator.integers(0, VOCAB, 9)]
        prompt, gap = list(ids), 1.0
        for _ in range(14):
            top = torch.topk(logits_of(model, ids)[-1], 2)
            gap = min(gap, float(top.values[0] - top.values[1]))
            ids.append(int(top.indices[0]))
        if gap > 5e-3 and not ENDS & set(ids[len(prompt):]):
            return {"prompt": prompt, "tokens": ids[len(prompt):]}
    raise SystemExit("no clear greedy continuation")


def surrogate(ratio, advantage, eps=0.2):
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - eps, 1 + eps) * advantage)


def gradient_case(model, generator):
    """One group in the form of `grpo grad --case`, with the loss of one ratio a sequence."""
    prompt = [int(t) for t in generator.integers(4, VOCAB, 19)]  # no padding tokens: torch keeps their lookups out
    completions = [[int(t) for t in generator.integers(4, VOCAB, n)] for n in (24, 9, 31)]
    rewards = torch.tensor([1.0, 0.0, 0.25], dtype=torch.float64)
    logps = [logprobs_of(model, prompt + c)[len(prompt) - 1:] for c in completions]
    while True:
        old = [[round(float(p) + 0.03 * generator.standard_normal(), 6) for p in l] for l in logps]
        ratios = [torch.exp((l - torch.tensor(o, dtype=torch.float64)).sum()) for l, o in zip(logps, old)]
        if all(abs(float(r) - e) > 0.01 for r in ratios for e in (0.8, 1.2)):
            break
    advantage = rewards - rewards.mean()
    loss = torch.stack([surrogate(r, a) for r, a in zip(ratios, advantage)]).mean()
    model.zero_grad()
    loss.backward()
    grads = {}
    for name, p in model.named_parameters():
        g = p.grad.flatten()
        grads[name] = short([float(g.sum()), float(g.norm()), float(g[0]), float(g[1]), float(g[-1])])
    return {"prompt": prompt, "completions": completions, "loss_mask": [[1] * len(c) for c in completions],
            "rewards": rewards.tolist(), "old_logprobs": old, "clip_eps": 0.2, "kl_beta": 0.0, "fixed_length": 32,
            "losses": {"seq": {"loss": float(loss), "grad": grads}}}


def expected(folder, name, config, gradients):
    model = load(folder, config)
    generator = np.random.default_rng(zlib.crc32(b"values of " + name.encode()))
    ids = [int(t) for t in generator.integers(0, VOCAB, LENGTH)]
    with torch.no_grad():
        logits = logits_of(model, ids)
        case = {"ids": ids, "logprobs": short(logprobs_of(model, ids)), "logits_last": short(logits[-1]),
                "greedy": greedy(model, generator)}
        if FULL:
            save_file({"logits": logits.to(torch.float64).contiguous()}, os.path.join(FULL, name + ".logits.safetensors"))
    if gradients:
        case["grpo"] = gradient_case(model, generator)
    return case


# ---- defaults of the classes ------------------------------------------------------------------------------------------

def defaults():
    keys = ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size",
            "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id",
            "num_experts", "num_experts_per_tok", "moe_intermediate_size", "norm_topk_prob", "query_pre_attn_scalar",
            "sliding_window"]
    out = {}
    for family in ("llama", "smollm3", "mistral", "qwen2", "qwen3", "qwen3_moe", "gemma3_text", "olmo2"):
        c = AutoConfig.for_model(family)
        d = {k: getattr(c, k) for k in keys if hasattr(c, k)}
        rope = c.rope_parameters
        d["head_dim"] = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
        d["rope_theta"] = rope.get("full_attention", rope)["rope_theta"]
        if "sliding_attention" in rope:
            d["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        out[family] = d
    return out


def write_json(path, value, **how):
    with open(path, "w") as f:
        json.dump(value, f, **how)


def main(out):
    os.makedirs(out, exist_ok=True)
    for name, (config, dtype) in STRUCTURES.items():
        write_weights(os.path.join(out, name + ".safetensors"), name, config, dtype)
    cases = []
    for name, structure, changes, gradients, new in VARIANTS:
        config = change(STRUCTURES[structure][0], changes)
        config = modern(config) if new else config
        with tempfile.TemporaryDirectory() as folder:
            write_json(os.path.join(folder, "config.json"), config)
            os.symlink(os.path.abspath(os.path.join(out, structure + ".safetensors")),
                       os.path.join(folder, "model.safetensors"))
            case = {"name": name, "weights": structure, "config": config}
            try:
                case.update(expected(folder, name, config, gradients))
            except Exception as e:
                if not FULL:
                    raise
                print("FAILED", name, type(e).__name__, str(e)[:300])
                continue
        cases.append(case)
        print(name)
    with open(os.path.join(out, "cases.json"), "w") as f:
        f.write('{"made_with": %s,\n"defaults": %s,\n"cases": [\n' % (
            json.dumps({"torch": torch.__version__, "transformers": transformers.__version__}), json.dumps(defaults())))
        f.write(",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]}\n")


if __name__ == "__main__":
    FULL = os.environ.get("FULL_LOGITS")  # a folder for the logits of every position
    main(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "families"))
