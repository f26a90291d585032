#!/usr/bin/env python3
"""GGUF files of the models in families/, as llama.cpp's convert_hf_to_gguf.py writes them (names, metadata, row order).

    python3 make_gguf.py [FOLDER]            (default: families/ beside this file; make_families.py goes first)

writes FOLDER/gguf-NAME.gguf and FOLDER/gguf.json, which says which case of cases.json has a file's expected values.

Made with Python 3.11, gguf 0.19.0, safetensors 0.8.0, torch 2.15.0.
"""
import json
import math
import os
import sys

import gguf
import numpy as np
import torch
from safetensors.torch import load_file

ARCH = {"llama": "llama", "mistral": "llama", "smollm3": "smollm3", "qwen2": "qwen2", "qwen3": "qwen3", "gemma3_text": "gemma3",
        "olmo2": "olmo2", "qwen3_moe": "qwen3moe"}
PERMUTED = {"llama", "mistral", "smollm3"}
NAMES = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate": "ffn_gate_inp",
         "post_attention_layernorm": "ffn_norm", "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm"}

# (case, alignment, type of matrices or None: as stored, metadata beside the usual one, committed)
FILES = [
    ("llama", 32, None, {}, False),
    ("llama-linear", 64, "F32", {}, False),
    ("llama-llama3", 8, None, {}, True),
    ("llama-yarn", 32, None, {}, False),
    ("llama-yarn-betas", 32, None, {}, False),
    ("llama-plain", 32, None, {}, False),
    ("llama-bias", 1, None, {}, True),
    ("smollm3", 32, None, {}, True),
    ("smollm3-yarn", 32, None, {}, False),
    ("mistral", 256, None, {}, False),
    ("qwen2", 32, None, {}, True),
    ("qwen2-yarn", 32, None, {}, False),
    ("qwen3", 32, None, {}, True),
    ("qwen3-yarn", 32, None, {}, False),
    ("gemma3-gguf", 32, None, {}, True),
    ("gemma3-gguf-linear", 32, None, {}, False),
    ("gemma3-gguf-pattern", 32, None, {"attention.sliding_window_pattern": [True, True, False, True], "rope.freq_base_swa": 30.0}, True),
    ("gemma3-gguf-period", 32, None, {"attention.sliding_window_pattern": 3, "rope.freq_base_swa": 30.0}, False),
    ("gemma3-gguf-global", 32, None, {}, False),
    ("olmo2", 32, None, {}, True),
    ("olmo2-linear", 32, None, {}, False),
]


def permute(w, heads):
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def gguf_name(name, config):
    if not name.startswith("model.layers."):
        return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
                "lm_head.weight": "output.weight"}[name]
    layer, rest = name[len("model.layers."):].split(".", 1)
    stem, kind = rest.rsplit(".", 1)
    out = NAMES[stem]
    if stem == "post_attention_layernorm" and config["model_type"] in ("gemma3_text", "olmo2"):
        out = "post_attention_norm"
    return f"blk.{layer}.{out}.{kind}"


def rope_of(config):
    parameters = config.get("rope_scaling") or config.get("rope_parameters") or {}
    parameters = parameters.get("full_attention", parameters)
    theta = parameters.get("rope_theta", config.get("rope_theta"))
    return parameters, theta, parameters.get("rope_type", parameters.get("type", "default"))


def llama3_factors(config, head_dim):
    p, theta, _ = rope_of(config)
    low, high, factor, original = p["low_freq_factor"], p["high_freq_factor"], p["factor"], p["original_max_position_embeddings"]
    out = []
    for frequency in 1.0 / theta ** (np.arange(0, head_dim, 2, dtype=np.float32) / head_dim):
        wave = 2 * math.pi / frequency
        smooth = (original / wave - low) / (high - low)
        out.append(1 if wave < original / high else factor if wave > original / low else 1 / ((1 - smooth) / factor + smooth))
    return np.array(out, dtype=np.float32)


def write_metadata(w, config, head_dim, more):
    arch, (rope, theta, kind) = ARCH[config["model_type"]], rope_of(config)
    w.add_type(gguf.GGUFType.MODEL)
    w.add_name("tiny")
    w.add_block_count(config["num_hidden_layers"])
    w.add_context_length(config["max_position_embeddings"])
    w.add_embedding_length(config["hidden_size"])
    w.add_feed_forward_length(config["intermediate_size"])
    w.add_head_count(config["num_attention_heads"])
    w.add_head_count_kv(config.get("num_key_value_heads") or config["num_attention_heads"])
    w.add_layer_norm_rms_eps(config["rms_norm_eps"])
    w.add_rope_freq_base(theta)
    if config.get("head_dim"):
        w.add_key_length(head_dim)
        w.add_value_length(head_dim)
    if arch in ("llama", "smollm3"):
        w.add_vocab_size(config["vocab_size"])
        w.add_rope_dimension_count(head_dim)
    if kind == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(rope["factor"])
    if kind == "yarn":
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(rope["factor"])
        w.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        if rope.get("beta_fast"):
            w.add_float32(f"{arch}.rope.scaling.yarn_beta_fast", rope["beta_fast"])
        if rope.get("beta_slow"):
            w.add_float32(f"{arch}.rope.scaling.yarn_beta_slow", rope["beta_slow"])
    if arch == "gemma3" and config.get("sliding_window_pattern") != 1:
        w.add_sliding_window(config["sliding_window"])
    for key, value in more.items():
        key = f"{arch}.{key}"
        if isinstance(value, list):
            w.add_array(key, value)
        elif isinstance(value, float):
            w.add_float32(key, value)
        else:
            w.add_uint32(key, value)


def write_vocabulary(w, n):
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("default")
    w.add_token_list([f"<{i}>" for i in range(n)])
    w.add_token_types([gguf.TokenType.NORMAL] * n)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)


def add_tensor(w, name, x, kind):
    kind = kind if x.ndim > 1 else "F32"
    if kind is None:
        kind = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}[x.dtype]
    x = x.to(torch.float32).numpy()
    t = gguf.GGMLQuantizationType[kind]
    w.add_tensor(name, x if kind == "F32" else gguf.quants.quantize(x, t), raw_dtype=t)


def convert(path, config, weights, alignment, kind, more):
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    w = gguf.GGUFWriter(path, ARCH[config["model_type"]])
    if alignment != 32:
        w.add_custom_alignment(alignment)
    write_metadata(w, config, head_dim, more)
    write_vocabulary(w, config["vocab_size"])
    if rope_of(config)[2] == "llama3":
        w.add_tensor("rope_freqs.weight", llama3_factors(config, head_dim))
    for name, x in weights.items():
        if config["model_type"] in PERMUTED and "q_proj" in name:
            x = permute(x, config["num_attention_heads"])
        if config["model_type"] in PERMUTED and "k_proj" in name:
            x = permute(x, config.get("num_key_value_heads") or config["num_attention_heads"])
        if config["model_type"] == "gemma3_text" and name.endswith("norm.weight"):
            x = x.to(torch.float32) + 1
        add_tensor(w, gguf_name(name, config), x, kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main(folder, everything):
    cases = {c["name"]: c for c in json.load(open(os.path.join(folder, "cases.json")))["cases"]}
    listed = []
    for name, alignment, kind, more, committed in FILES:
        if not committed and not everything:
            continue
        c = cases[name]
        weights = load_file(os.path.join(folder, c["weights"] + ".safetensors"))
        file = f"gguf-{name}.gguf"
        convert(os.path.join(folder, file), c["config"], weights, alignment, kind, more)
        listed.append({"file": file, "like": name})
    with open(os.path.join(folder, "gguf.json"), "w") as f:
        f.write(json.dumps(listed, indent=0) + "\n")


if __name__ == "__main__":
    arguments = [a for a in sys.argv[1:] if a != "--everything"]
    main(arguments[0] if arguments else os.path.join(os.path.dirname(os.path.abspath(__file__)), "families"),
         "--everything" in sys.argv)
