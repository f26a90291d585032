#!/usr/bin/env python3
"""Writes the first inputs of the fuzz targets that read several files, tokenizers, templates, data and YAML.

usage: make-seeds.py        (standard library only; writes below tests/fuzz/corpus)

Fuzzers grow the corpora from there; see fuzz.h.
"""
import json
import pathlib
import struct

ROOT = pathlib.Path(__file__).resolve().parent / "corpus"
CUT = b"=====\n"


def put(target, name, *parts):
    folder = ROOT / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(CUT.join(p if isinstance(p, bytes) else p.encode() for p in parts))


def text(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


# ---- safetensors and GGUF ------------------------------------------------------------------------------

SIZES = {"F32": 4, "BF16": 2, "F16": 2}


def safetensors(tensors, dtype="F32"):
    header, at = {}, 0
    for name, shape in tensors.items():
        n = SIZES[dtype]
        for d in shape:
            n *= d
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + n]}
        at += n
    head = text(header).encode()
    return struct.pack("<Q", len(head)) + head + bytes(at)


def gguf_string(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def gguf_value(v):
    """(type, bytes): bool, int as u32, float, str, list of one of them."""
    if isinstance(v, bool):
        return 7, struct.pack("<?", v)
    if isinstance(v, int):
        return 4, struct.pack("<I", v)
    if isinstance(v, float):
        return 6, struct.pack("<f", v)
    if isinstance(v, str):
        return 8, gguf_string(v)
    items = [gguf_value(x) for x in v]
    kind = items[0][0] if items else 4
    if kind == 4:  # token types are i32
        kind = 5
    return 9, struct.pack("<IQ", kind, len(items)) + b"".join(b for _, b in items)


GGML = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q8_0": (8, 32, 34), "BF16": (30, 1, 2)}


def gguf(pairs, tensors):
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs))
    for key, value in pairs.items():
        kind, data = gguf_value(value)
        out += gguf_string(key) + struct.pack("<I", kind) + data
    at, sizes = 0, []
    for name, (kind, ne) in tensors.items():
        number, elements, size = GGML[kind]
        n = 1
        for d in ne:
            n *= d
        n = n // elements * size
        out += gguf_string(name) + struct.pack("<I", len(ne)) + b"".join(struct.pack("<Q", d) for d in ne)
        out += struct.pack("<IQ", number, at)
        sizes.append((n + 31) // 32 * 32)
        at += sizes[-1]
    return out + bytes(-len(out) % 32) + bytes(at)


# ---- models --------------------------------------------------------------------------------------------

SMALL = {"hidden_size": 8, "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2,
         "num_key_value_heads": 1, "vocab_size": 6, "max_position_embeddings": 32}


def layer(h=8, f=4, kv=4, extra=()):
    p = "model.layers.0."
    t = {p + "input_layernorm.weight": [h], p + "post_attention_layernorm.weight": [h],
         p + "self_attn.q_proj.weight": [h, h], p + "self_attn.k_proj.weight": [kv, h],
         p + "self_attn.v_proj.weight": [kv, h], p + "self_attn.o_proj.weight": [h, h],
         p + "mlp.gate_proj.weight": [f, h], p + "mlp.up_proj.weight": [f, h], p + "mlp.down_proj.weight": [h, f]}
    t.update({p + name: shape for name, shape in extra})
    return t


def folder(name, config, tensors, dtype="F32"):
    index = {"metadata": {"total_size": 1}, "weight_map": {t: "a" for t in tensors}}
    put("folder", name, text({**SMALL, **config}), text(index), safetensors(tensors, dtype))


def folders():
    base = {"model.embed_tokens.weight": [6, 8], **layer(), "model.norm.weight": [8]}
    folder("llama", {"model_type": "llama", "tie_word_embeddings": True}, base)
    folder("untied", {"model_type": "llama", "tie_word_embeddings": False}, {**base, "lm_head.weight": [6, 8]}, "BF16")
    folder("reward", {"model_type": "llama", "architectures": ["LlamaForSequenceClassification"], "id2label": {"0": "x"}},
           {**base, "score.weight": [1, 8]})
    biases = [("self_attn.q_proj.bias", [8]), ("self_attn.k_proj.bias", [4]), ("self_attn.v_proj.bias", [4])]
    folder("qwen2", {"model_type": "qwen2", "tie_word_embeddings": True},
           {"model.embed_tokens.weight": [6, 8], **layer(extra=biases), "model.norm.weight": [8]}, "F16")
    moe = {k: v for k, v in layer(extra=[("self_attn.q_norm.weight", [4]), ("self_attn.k_norm.weight", [4]),
                                         ("mlp.gate.weight", [2, 8])]).items() if "_proj" not in k or "attn" in k}
    for e in range(2):
        for part, shape in (("gate", [2, 8]), ("up", [2, 8]), ("down", [8, 2])):
            moe[f"model.layers.0.mlp.experts.{e}.{part}_proj.weight"] = shape
    folder("moe", {"model_type": "qwen3_moe", "head_dim": 4, "num_experts": 2, "num_experts_per_tok": 1,
                   "moe_intermediate_size": 2, "tie_word_embeddings": True},
           {"model.embed_tokens.weight": [6, 8], **moe, "model.norm.weight": [8]})


def gguf_models():
    sizes = {"block_count": 1, "context_length": 32, "embedding_length": 32, "feed_forward_length": 32,
             "attention.head_count": 4, "attention.head_count_kv": 2, "attention.layer_norm_rms_epsilon": 1e-5,
             "rope.freq_base": 1e4, "vocab_size": 6}
    kinds = {"blk.0.attn_q.weight": (32, 32), "blk.0.attn_k.weight": (32, 16), "blk.0.attn_v.weight": (32, 16),
             "blk.0.attn_output.weight": (32, 32), "blk.0.ffn_gate.weight": (32, 32), "blk.0.ffn_up.weight": (32, 32),
             "blk.0.ffn_down.weight": (32, 32), "token_embd.weight": (32, 6)}
    norms = {"blk.0.attn_norm.weight": ("F32", [32]), "blk.0.ffn_norm.weight": ("F32", [32]),
             "output_norm.weight": ("F32", [32])}
    for kind in ("F32", "Q8_0", "Q4_0"):
        pairs = {"general.architecture": "llama", **{f"llama.{k}": v for k, v in sizes.items()},
                 "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": list("abcdef")}
        put("gguf_model", kind, gguf(pairs, {**{k: (kind, list(v)) for k, v in kinds.items()}, **norms}))
    pairs = {"general.architecture": "qwen2", **{f"qwen2.{k}": v for k, v in sizes.items()}, "general.alignment": 64}
    biases = {"blk.0.attn_q.bias": ("F32", [32]), "blk.0.attn_k.bias": ("F32", [16]), "blk.0.attn_v.bias": ("F32", [16])}
    put("gguf_model", "qwen2", gguf(pairs, {**{k: ("F16", list(v)) for k, v in kinds.items()}, **norms, **biases}))


def adapters():
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM",
              "base_model_name_or_path": "x"}
    a = "base_model.model.model.layers.%d.self_attn.q_proj.lora_%s.weight"
    tensors = {a % (i, s): ([2, 8] if s == "A" else [8, 2]) for i in (0, 1) for s in "AB"}
    put("adapter", "plain", text(config), safetensors(tensors))
    more = {**config, "use_rslora": True, "rank_pattern": {"q_proj": 1}, "alpha_pattern": {"x": 3}, "bias": "none"}
    put("adapter", "patterns", text(more), safetensors({k: [1, 8] if "A" in k[-9:] else [8, 1] for k in tensors}, "BF16"))


# ---- tokenizers ----------------------------------------------------------------------------------------

def tokenizers():
    letters = [chr(c) for c in range(33, 127)] + ["Ġ", "Ċ", "Ã", "©", "ä", "¸", "Ń"]
    vocab = {c: i for i, c in enumerate(letters)}
    for merge in ("it", "Ġx", "Ġb"):
        vocab[merge] = len(vocab)
    added = [{"id": len(vocab), "content": "<s>", "single_word": False, "lstrip": True, "rstrip": False,
              "normalized": False, "special": True}]
    end = {"id": len(vocab) + 1, "content": "</s>", "single_word": False, "lstrip": False, "rstrip": False,
           "normalized": True, "special": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {"type": "BPE", "vocab": vocab, "merges": ["i t", "Ġ x", ["Ġ", "b"]], "ignore_merges": False}
    processor = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                                                          {"Sequence": {"id": "A", "type_id": 0}}],
                 "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [len(vocab)], "tokens": ["<s>"]}}}
    gpt = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added + [end], "normalizer": None,
           "pre_tokenizer": level, "post_processor": processor, "decoder": level, "model": model}
    config = {"eos_token": "</s>", "bos_token": {"content": "<s>"}, "chat_template": "{{ bos_token }}"}
    put("tokenizer_json", "gpt2", text(gpt), text(config))
    digits = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, level]}
    normal = {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}, {"type": "StripAccents"},
              {"type": "Replace", "pattern": {"Regex": "b+|\\d"}, "content": "x"}, {"type": "Strip", "strip_left": True,
                                                                                      "strip_right": True}]}
    put("tokenizer_json", "digits", text({**gpt, "pre_tokenizer": digits, "normalizer": normal}))
    split = {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "(?i:'s|'t)|\\p{L}+| ?[^\\s\\p{L}]+|\\s+(?!\\S)|\\s+"},
             "behavior": "Isolated", "invert": False}, {**level, "use_regex": False}]}
    put("tokenizer_json", "split", text({**gpt, "pre_tokenizer": split, "model": {**model, "ignore_merges": True}}))
    plain = {"<unk>": 0, **{f"<0x{i:02X}>": i + 1 for i in range(256)}, "a": 257, "b": 258, "▁": 259, "▁a": 260}
    llama = {"version": "1.0", "added_tokens": [{**added[0], "id": 0, "content": "<unk>"}],
             "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
                            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
             "pre_tokenizer": None, "post_processor": None,
             "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                         {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
             "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True, "vocab": plain,
                       "merges": ["▁ a"]}}
    put("tokenizer_json", "llama2", text(llama), text({"unk_token": "<unk>"}))
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}
    put("tokenizer_json", "metaspace", text({**llama, "normalizer": None, "pre_tokenizer": metaspace, "decoder": metaspace}))
    tokens = list(vocab) + ["<s>", "</s>"]
    pairs = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm", "tokenizer.ggml.tokens": tokens,
             "tokenizer.ggml.token_type": [1] * len(vocab) + [3, 4], "tokenizer.ggml.merges": ["i t", "Ġ x", "Ġ b"],
             "tokenizer.ggml.bos_token_id": len(vocab), "tokenizer.ggml.eos_token_id": len(vocab) + 1,
             "tokenizer.ggml.add_bos_token": True, "tokenizer.chat_template": "{{ bos_token }}"}
    for pre in ("smollm", "llama-bpe", "qwen2", "gpt-2"):
        put("tokenizer_gguf", pre, gguf({**pairs, "tokenizer.ggml.pre": pre}, {}))
    pairs = {"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": list(plain), "tokenizer.ggml.scores": [0.0] * 260 + [-1.0],
             "tokenizer.ggml.token_type": [2] + [6] * 256 + [1] * 4, "tokenizer.ggml.unknown_token_id": 0,
             "tokenizer.ggml.add_space_prefix": True}
    put("tokenizer_gguf", "llama", gguf(pairs, {}))


# ---- texts ---------------------------------------------------------------------------------------------

def templates():
    snippets = (ROOT.parent.parent / "text/data/template_snippets.txt").read_text().split("\n----\n")
    for i in range(0, len(snippets), 8):
        put("template", f"snippets-{i:03d}", "\n".join(snippets[i:i + 8]))
    put("template", "chatml", "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
        '[{"role":"user","content":"x"}]')
    put("template", "macro", "{%- macro f(a, b=2) -%}{{ a|tojson(indent=b) }}{%- endmacro -%}{% set ns = namespace(i=0) %}"
        "{% for m in messages[1:] if m.role != 'system' %}{% set ns.i = ns.i + loop.index0 %}{{ f(m) }}{% else %}-{% endfor %}"
        "{{ ns.i ~ range(3)|list|join(',') }}{{ raise_exception('x') if ns.i > 9 }}")


def data():
    lines = '{"prompt":"a","answer":1}\n{"question":"q","answer":"#### 4"}\n\n{"prompt":[{"role":"user","content":"b"}]}\n'
    put("data", "lines", b"\0" + lines.encode())
    put("data", "template", b"\2" + b'{"prompt":"p","a":"x","b":{"c":[1,2.5]}}\n')
    put("data", "array", b"\4" + b'[{"problem":"p","solution":"s"},{"instruction":"i"}]')
    put("data", "csv", b"\1" + b'prompt,answer\n"a ""b"", c\nd",2\r\nx,\n')
    put("data", "verl", b"\0" + text({"data_source": "s", "prompt": [{"role": "user", "content": "b"}],
                                      "reward_model": {"ground_truth": "4"}, "extra_info": {}}).encode())


def yaml():
    for path in (ROOT.parent.parent.parent / "configs").glob("*.yaml"):
        put("yaml", path.stem, path.read_bytes())
    put("yaml", "rewards", "rewards:\n  - {spec: math, weight: 0.5}\n  - spec: 'format:^a$'\n    name: \"f\"\n"
        "rollout: {stop: [a, \"\\n\"], temperature: 1e-1}\ntrain: {memory_budget: 1.5GiB, steps: 0x10}\n")


for make in (folders, gguf_models, adapters, tokenizers, templates, data, yaml):
    make()
