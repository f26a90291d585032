"""llama.cpp (cyllama's build of it): prefill of 1,024 tokens, decoding at batch 1, 8, 32, 64, without drawing tokens.

usage: llama_cpp_decode.py FILE.gguf      THREADS. Prints one JSON line."""
import importlib.metadata
import json
import os
import sys
import time

import cyllama.llama.llama_cpp as llama

PREFILL, PROMPT, NEW, TRIES = 1024, 64, 24, 2
threads = int(os.environ.get("THREADS", os.cpu_count()))
llama.disable_logging()
llama.ggml_backend_load_all()
model = llama.LlamaModel(path_model=sys.argv[1], params=llama.LlamaModelParams(), verbose=False)


def context(sequences, length):
    params = llama.LlamaContextParams()
    params.n_ctx = sequences * length
    params.n_batch = max(PREFILL, sequences)
    params.n_ubatch = 512
    params.n_seq_max = sequences
    params.n_threads = params.n_threads_batch = threads
    return llama.LlamaContext(model=model, params=params, verbose=False)


def decode(ctx, places):
    """One call for (token, position, sequence, wants logits) each."""
    batch = llama.LlamaBatch(n_tokens=len(places), embd=0, n_seq_max=1)
    for token, position, sequence, logits in places:
        batch.add(token, position, [sequence], logits)
    began = time.perf_counter()
    ctx.decode(batch)
    ctx.synchronize()
    return time.perf_counter() - began


def prefill():
    return decode(context(1, PREFILL), [(3 + i * 7919 % 40000, i, 0, i == PREFILL - 1) for i in range(PREFILL)])


def decoding(batch):
    ctx = context(batch, PROMPT + NEW)
    for s in range(batch):
        decode(ctx, [(3 + i * 7919 % 40000, i, s, False) for i in range(PROMPT)])
    return sum(decode(ctx, [(100 + s, PROMPT + t, s, True) for s in range(batch)]) for t in range(NEW))


prefill()  # warms up
result = {"program": f"llama.cpp (cyllama {importlib.metadata.version('cyllama')})",
          "prefill_tps": PREFILL / min(prefill() for _ in range(TRIES)),
          "decode_tps": {str(b): b * NEW / min(decoding(b) for _ in range(TRIES)) for b in (1, 8, 32, 64)}}
print(json.dumps(result))
