#!/usr/bin/env python3
"""Random blocks of every tensor type that is decoded, and what the gguf package makes of them.

    python3 make_quants.py        writes quants.bin beside this file: for each type
                                  name [16], u32 blocks, u32 bytes and u32 elements of a block, the blocks, the f32 values

Scales are zero, negative, subnormal, the largest, and random. Made with gguf 0.19.0, numpy 2.4.6.
"""
import os
import struct

import gguf
import numpy as np

SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2],
          "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "F16": [0], "BF16": [], "F32": []}
SPECIAL = [0x0000, 0x8000, 0x0001, 0x83FF, 0x7BFF, 0xFBFF, 0x2C13, 0xA7E1]  # binary16

rng = np.random.default_rng(20)
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "quants.bin"), "wb") as out:
    for name, offsets in SCALES.items():
        kind = gguf.GGMLQuantizationType[name]
        elements, size = gguf.constants.GGML_QUANT_SIZES[kind]
        n = len(SPECIAL)
        blocks = rng.integers(0, 256, (n, size), dtype=np.uint8)
        for i, offset in enumerate(offsets):
            blocks[:, offset:offset + 2] = np.roll(np.array(SPECIAL, "<u2"), i).view(np.uint8).reshape(n, 2)
        if name in ("BF16", "F32"):
            blocks[:, -1] = 0x3C + np.arange(n)  # exponents of finite numbers
        values = blocks.view("<f4") if name == "F32" else gguf.quants.dequantize(blocks.reshape(1, -1), kind)
        assert values.size == n * elements and np.isfinite(values).all()
        out.write(struct.pack("<16sIII", name.encode(), n, size, elements))
        out.write(blocks.tobytes() + np.ascontiguousarray(values, "<f4").tobytes())
