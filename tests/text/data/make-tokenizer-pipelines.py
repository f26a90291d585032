#!/usr/bin/env python3
"""Makes tokenizer_pipelines.jsonl: small tokenizers with the pipelines of families in use and with every part that
is supported, and what Hugging Face tokenizers 0.23.3 makes of texts with them.

usage: make-tokenizer-pipelines.py > tokenizer_pipelines.jsonl

Two vocabularies of 300-odd tokens are trained on the texts here and stand in the first two lines under "model"; a
line after those names one of them and has the other blocks of a tokenizer.json, and "cases". A case leaves out
ids_without_added equal to ids, ids_specials_as_text equal to ids_without_added, and decoded_skip_special equal to
decoded.
"""
import json
import random

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

TEXTS = ["", " ", "Hello world", "  two  spaces \n\n", "don't we'll I'M x'S", "1234567 v1.2.3 ½ ٣٤", "naïve cafe\u0301 ﬁ Å",
         "日本語のテキスト、中文。", "👩‍👩‍👧 👍🏽", "<s>a</s> <tag> <tag>x the<tag>", "a\r\nb\tc\u00a0d\u3000e", "...!?(x)[y]",
         "the theatre The THE", "▁x▁ ▁", "<0x41>\x00\x7f\ufeff", "аб вг ΑΒΓ"]
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
DEEPSEEK = [r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
            r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
            r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]
BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]


def train(kind):
    tok = Tokenizer(models.BPE(unk_token=None if kind == "bytes" else "<unk>", byte_fallback=kind != "bytes"))
    if kind == "bytes":
        tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=["<s>", "</s>", "<unk>"], show_progress=False,
                                      initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    else:
        tok.normalizer = normalizers.Replace(" ", "▁")
        trainer = trainers.BpeTrainer(vocab_size=420, show_progress=False, limit_alphabet=80,
                                      special_tokens=["<s>", "</s>", "<unk>"] + ["<0x%02X>" % i for i in range(256)])
    tok.train_from_iterator([t.replace("\0", "") for t in TEXTS] * 4, trainer)  # Jansson has no keys with a NUL in them
    model = json.loads(tok.to_str())["model"]
    model["fuse_unk"] = kind != "bytes"
    return model


def bytes_level(prefix=False, regex=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def split(regex, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert}


def sequence(key, *parts):
    return {"type": "Sequence", key: list(parts)}


def template(*items, ids=(0,)):
    parts = [{"Sequence": {"id": "A", "type_id": 0}} if i == "A" else {"SpecialToken": {"id": i, "type_id": 0}} for i in items]
    return {"type": "TemplateProcessing", "single": parts, "pair": parts + [{"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {i: {"id": i, "ids": list(ids), "tokens": [i] * len(ids)} for i in items if i != "A"}}


def added(content, **flags):
    return {"id": 0, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            "special": False, **flags}


def metaspace(scheme, split=True):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split}


REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
BACK = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
FALLBACK = [BACK, {"type": "ByteFallback"}, {"type": "Fuse"}]
BYTES = {"decoder": bytes_level(True, True)}
PIECES = {"decoder": sequence("decoders", *FALLBACK, STRIP)}


def pipelines():
    pre = lambda *parts: {"pre_tokenizer": sequence("pretokenizers", *parts, bytes_level())}
    yield "gpt2", "bytes", {**BYTES, "pre_tokenizer": bytes_level(False, True)}
    yield "gpt2 with a space in front", "bytes", {**BYTES, "pre_tokenizer": bytes_level(True, True)}
    yield "no expression", "bytes", {**BYTES, "pre_tokenizer": bytes_level(True, False)}
    yield "smollm", "bytes", {**BYTES, "pre_tokenizer": sequence(
        "pretokenizers", {"type": "Digits", "individual_digits": True}, bytes_level(False, True))}
    yield "llama 3", "bytes", {**BYTES, **pre(split(LLAMA3)), "ignore_merges": True, "post_processor": sequence(
        "processors", bytes_level(True, True), template("<s>", "A"))}
    yield "qwen", "bytes", {**BYTES, **pre(split(LLAMA3.replace("{1,3}", ""))), "normalizer": {"type": "NFC"}}
    yield "deepseek", "bytes", {**BYTES, **pre(*[split(x) for x in DEEPSEEK]), "post_processor": template("<s>", "A")}
    for behavior in BEHAVIORS:
        yield "split " + behavior, "bytes", {**BYTES, **pre(split(r"\s+", behavior))}
        yield "split inverted " + behavior, "bytes", {**BYTES, **pre(split(r"[a-z]+", behavior, True))}
        yield "punctuation " + behavior, "bytes", {**BYTES, **pre({"type": "Punctuation", "behavior": behavior})}
    yield "digits together", "bytes", {**BYTES, **pre({"type": "Digits", "individual_digits": False})}
    yield "white space", "bytes", {**BYTES, **pre({"type": "WhitespaceSplit"})}
    yield "words", "bytes", {**BYTES, **pre({"type": "Whitespace"})}
    for name in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt"):
        yield name, "bytes", {**BYTES, "pre_tokenizer": bytes_level(False, True), "normalizer": {"type": name}}
    yield "strip and replace", "bytes", {**BYTES, "pre_tokenizer": bytes_level(False, True), "normalizer": sequence(
        "normalizers", {"type": "Strip", "strip_left": True, "strip_right": False},
        {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": "_"}, {"type": "Lowercase"})}
    yield "llama 2", "pieces", {**PIECES, "normalizer": sequence("normalizers", {"type": "Prepend", "prepend": "▁"}, REPLACE),
                                "post_processor": template("<s>", "A")}
    yield "gemma", "pieces", {"decoder": sequence("decoders", *FALLBACK), "normalizer": REPLACE, "pre_tokenizer": {
        "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
        "post_processor": template("<s>", "A")}
    for scheme in ("always", "first", "never"):
        yield "metaspace " + scheme, "pieces", {**PIECES, "pre_tokenizer": metaspace(scheme)}
        yield "metaspace unsplit " + scheme, "pieces", {**PIECES, "pre_tokenizer": metaspace(scheme, False)}
        yield "metaspace decoder " + scheme, "pieces", {"decoder": metaspace(scheme), "pre_tokenizer": metaspace(scheme)}
    yield "no byte fallback", "pieces", {**PIECES, "normalizer": REPLACE, "byte_fallback": False}
    yield "unknown tokens apart", "pieces", {**PIECES, "normalizer": REPLACE, "byte_fallback": False, "fuse_unk": False}
    yield "ids in front and behind", "bytes", {**BYTES, "pre_tokenizer": bytes_level(False, True),
                                               "post_processor": template("<s>", "A", "</s>", ids=(0, 1))}
    yield "roberta", "bytes", {**BYTES, "pre_tokenizer": bytes_level(True, True), "post_processor": {
        "type": "RobertaProcessing", "sep": ["</s>", 1], "cls": ["<s>", 0], "trim_offsets": True, "add_prefix_space": True}}
    for flags in ({}, {"lstrip": True}, {"rstrip": True}, {"lstrip": True, "rstrip": True}, {"single_word": True},
                  {"normalized": True}, {"special": True}, {"normalized": True, "single_word": True, "lstrip": True}):
        yield "added %s" % " ".join(flags), "bytes", {
            **BYTES, "pre_tokenizer": bytes_level(False, True), "normalizer": {"type": "Lowercase"},
            "added_tokens": [added("<tag>", **flags), added("the", **flags), added("<tag>x", **flags), added("TWO", **flags)]}


def tokenizer_json(model, blocks):
    model = {**model, **{k: blocks[k] for k in ("byte_fallback", "fuse_unk", "ignore_merges") if k in blocks}}
    specials = [dict(added(t, special=True), id=model["vocab"][t]) for t in ("<s>", "</s>", "<unk>")]
    ids = dict(model["vocab"])
    own = [dict(a, id=ids.setdefault(a["content"], len(ids))) for a in blocks.get("added_tokens", [])]
    both = sorted(specials + own, key=lambda a: a["id"])
    parts = {k: blocks.get(k) for k in ("normalizer", "pre_tokenizer", "post_processor", "decoder")}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": both, **parts, "model": model}


def cases(tok, rand):
    for text in TEXTS + ["".join(rand.choices(TEXTS, k=4))]:
        tok.encode_special_tokens = True
        as_text = tok.encode(text, add_special_tokens=False).ids
        tok.encode_special_tokens = False
        ids = tok.encode(text).ids
        bare, decoded = tok.encode(text, add_special_tokens=False).ids, tok.decode(ids, skip_special_tokens=False)
        case = {"text": text, "ids": ids, "decoded": decoded}
        others = {"ids_without_added": (bare, ids), "ids_specials_as_text": (as_text, bare),
                  "decoded_skip_special": (tok.decode(ids, skip_special_tokens=True), decoded)}
        yield {**case, **{k: v for k, (v, usual) in others.items() if v != usual}}


def main():
    show = lambda line: print(json.dumps(line, ensure_ascii=False, separators=(",", ":")))
    rand = random.Random(1)
    known = {kind: train(kind) for kind in ("bytes", "pieces")}
    for kind, model in known.items():
        show({"name": kind, "model": model})
    for name, kind, blocks in pipelines():
        whole = tokenizer_json(known[kind], blocks)
        tok = Tokenizer.from_str(json.dumps(whole))
        model = {k: v for k, v in whole["model"].items() if k not in ("vocab", "merges")}
        show({"name": name, "vocabulary": kind, "tokenizer": {**whole, "model": model}, "cases": list(cases(tok, rand))})


main()
