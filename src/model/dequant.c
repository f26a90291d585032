/* Decoding of weight blocks to f32. Every loop over a block has a constant trip count and no
 * branch, so that the compiler makes vector code of it. */
#include <string.h>

#include "model/dequant.h"

/* On x86 each decoder is compiled for several instruction sets and chosen once at start-up; the
 * arithmetic, and so every bit, is the same. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define DECODER __attribute__((target_clones("avx512f", "avx2", "default"))) static void
#else
#define DECODER static void
#endif

#define INLINE static inline __attribute__((always_inline))

enum { SMALL = 32, SUPER = 256 }; /* elements in a block */

INLINE uint16_t load16(const unsigned char *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

INLINE uint32_t load32(const unsigned char *p)
{
    return (uint32_t)load16(p) | (uint32_t)load16(p + 2) << 16;
}

INLINE float float_of_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

INLINE uint32_t bits_of_float(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* Without branches and without f32 subnormals on the way (threads may flush them). */
INLINE float half(uint16_t h)
{
    uint32_t magnitude = (uint32_t)(h & 0x7FFF), sign = (uint32_t)(h & 0x8000) << 16;
    /* Normal numbers, infinity, NaN: the exponent moves from bias 15 to 127; 31 becomes 255. */
    uint32_t normal = (magnitude << 13) + (magnitude >= 0x7C00 ? 0x70000000u : 0x38000000u);
    /* Subnormals are m * 2^-24 = (0.5 + m * 2^-24) - 0.5. */
    uint32_t tiny = bits_of_float(float_of_bits(0x3F000000u | magnitude) - 0.5f);
    return float_of_bits(sign | (magnitude < 0x0400 ? tiny : normal));
}

float dequant_half(uint16_t h)
{
    return half(h);
}

static void decode_f32(float *dst, const unsigned char *src, size_t blocks)
{
    memcpy(dst, src, blocks * sizeof *dst);
}

DECODER decode_f16(float *dst, const unsigned char *src, size_t blocks)
{
    for (size_t i = 0; i < blocks; i++) {
        uint16_t h;
        memcpy(&h, src + 2 * i, sizeof h);
        dst[i] = half(h);
    }
}

DECODER decode_bf16(float *dst, const unsigned char *src, size_t blocks)
{
    for (size_t i = 0; i < blocks; i++) {
        uint16_t h;
        memcpy(&h, src + 2 * i, sizeof h);
        uint32_t bits = (uint32_t)h << 16;
        memcpy(dst + i, &bits, sizeof bits);
    }
}

DECODER decode_q8_0(float *dst, const unsigned char *src, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 34, dst += SMALL) {
        float d = half(load16(src));
        const signed char *q = (const signed char *)src + 2;
        for (int i = 0; i < SMALL; i++)
            dst[i] = (float)q[i] * d;
    }
}

DECODER decode_q4_0(float *dst, const unsigned char *src, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 18, dst += SMALL) {
        float d = half(load16(src));
        const unsigned char *q = src + 2;
        for (int i = 0; i < SMALL / 2; i++) {
            dst[i] = d * (float)((q[i] & 15) - 8);
            dst[i + SMALL / 2] = d * (float)((q[i] >> 4) - 8);
        }
    }
}

DECODER decode_q4_1(float *dst, const unsigned char *src, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 20, dst += SMALL) {
        float d = half(load16(src)), m = half(load16(src + 2));
        const unsigned char *q = src + 4;
        for (int i = 0; i < SMALL / 2; i++) {
            dst[i] = d * (float)(q[i] & 15) + m;
            dst[i + SMALL / 2] = d * (float)(q[i] >> 4) + m;
        }
    }
}

/* Five-bit values of a block: low nibbles as in the four-bit types, bit i of `high` is bit 4 of value i. */
INLINE void five_bits(int q[SMALL], const unsigned char *low, uint32_t high)
{
    for (int i = 0; i < SMALL / 2; i++) {
        q[i] = (low[i] & 15) | (int)((high >> i & 1) << 4);
        q[i + SMALL / 2] = (low[i] >> 4) | (int)((high >> (i + SMALL / 2) & 1) << 4);
    }
}

DECODER decode_q5_0(float *dst, const unsigned char *src, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 22, dst += SMALL) {
        float d = half(load16(src));
        int q[SMALL];
        five_bits(q, src + 6, load32(src + 2));
        for (int i = 0; i < SMALL; i++)
            dst[i] = d * (float)(q[i] - 16);
    }
}

DECODER decode_q5_1(float *dst, const unsigned char *src, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 24, dst += SMALL) {
        float d = half(load16(src)), m = half(load16(src + 2));
        int q[SMALL];
        five_bits(q, src + 8, load32(src + 4));
        for (int i = 0; i < SMALL; i++)
            dst[i] = d * (float)q[i] + m;
    }
}

DECODER decode_iq4_nl(float *dst, const unsigned char *src, size_t blocks)
{
    static const signed char level[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};
    for (; blocks > 0; blocks--, src += 18, dst += SMALL) {
        float d = half(load16(src));
        const unsigned char *q = src + 2;
        for (int i = 0; i < SMALL / 2; i++) {
            dst[i] = d * (float)level[q[i] & 15];
            dst[i + SMALL / 2] = d * (float)level[q[i] >> 4];
        }
    }
}

/* Q2_K: scales[16] (low nibble scale, high nibble minimum), 2-bit values [64], d, dmin. */
DECODER decode_q2_k(float *dst, const unsigned char *src, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 84, dst += SUPER) {
        const unsigned char *scales = src, *q = src + 16;
        float d = half(load16(src + 80)), dmin = half(load16(src + 82));
        for (int group = 0; group < 16; group++) {
            float scale = d * (float)(scales[group] & 15), min = dmin * (float)(scales[group] >> 4);
            const unsigned char *bytes = q + group / 8 * 32 + group % 2 * 16;
            int shift = group % 8 / 2 * 2;
            for (int i = 0; i < 16; i++)
                dst[group * 16 + i] = scale * (float)(bytes[i] >> shift & 3) - min;
        }
    }
}

/* Q3_K: high bits [32], low two bits [64], sixteen 6-bit scales in 12 bytes, d. */
DECODER decode_q3_k(float *dst, const unsigned char *src, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 110, dst += SUPER) {
        const unsigned char *high = src, *q = src + 32, *packed = src + 96;
        float d = half(load16(src + 108));
        for (int group = 0; group < 16; group++) {
            int low_scale = packed[group % 8] >> (group < 8 ? 0 : 4) & 15;
            int high_scale = packed[8 + group % 4] >> (group / 4 * 2) & 3;
            float scale = d * (float)((low_scale | high_scale << 4) - 32);
            const unsigned char *low = q + group / 8 * 32 + group % 2 * 16;
            const unsigned char *mask = high + group % 2 * 16;
            int shift = group % 8 / 2 * 2, bit = group / 2;
            for (int i = 0; i < 16; i++) { /* the offset is 4 where the mask bit is 0 */
                int value = (low[i] >> shift & 3) - 4 + ((mask[i] >> bit & 1) << 2);
                dst[group * 16 + i] = scale * (float)value;
            }
        }
    }
}

/* Eight 6-bit scales and eight 6-bit minima in 12 bytes (Q4_K, Q5_K). */
INLINE void scales_and_minima(int scale[8], int minimum[8], const unsigned char *p)
{
    for (int i = 0; i < 4; i++) {
        scale[i] = p[i] & 63;
        minimum[i] = p[i + 4] & 63;
        scale[i + 4] = (p[i + 8] & 15) | (p[i] >> 2 & 48);
        minimum[i + 4] = p[i + 8] >> 4 | (p[i + 4] >> 2 & 48);
    }
}

/* Q4_K: d, dmin, packed scales [12], nibbles [128]. */
DECODER decode_q4_k(float *dst, const unsigned char *src, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 144, dst += SUPER) {
        float d = half(load16(src)), dmin = half(load16(src + 2));
        int scale[8], minimum[8];
        scales_and_minima(scale, minimum, src + 4);
        for (int group = 0; group < 8; group++) {
            float s = d * (float)scale[group], m = dmin * (float)minimum[group];
            const unsigned char *q = src + 16 + group / 2 * 32;
            int shift = group % 2 * 4;
            for (int i = 0; i < 32; i++)
                dst[group * 32 + i] = s * (float)(q[i] >> shift & 15) - m;
        }
    }
}

/* Q5_K: as Q4_K with a fifth bit [32] before the nibbles; bit g of byte i belongs to value i of group g. */
DECODER decode_q5_k(float *dst, const unsigned char *src, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 176, dst += SUPER) {
        float d = half(load16(src)), dmin = half(load16(src + 2));
        int scale[8], minimum[8];
        scales_and_minima(scale, minimum, src + 4);
        const unsigned char *high = src + 16;
        for (int group = 0; group < 8; group++) {
            float s = d * (float)scale[group], m = dmin * (float)minimum[group];
            const unsigned char *q = src + 48 + group / 2 * 32;
            int shift = group % 2 * 4;
            for (int i = 0; i < 32; i++) {
                int value = (q[i] >> shift & 15) | (high[i] >> group & 1) << 4;
                dst[group * 32 + i] = s * (float)value - m;
            }
        }
    }
}

/* Q6_K: low nibbles [128], high two bits [64], signed scales [16], d. */
DECODER decode_q6_k(float *dst, const unsigned char *src, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 210, dst += SUPER) {
        const unsigned char *low = src, *high = src + 128;
        const signed char *scales = (const signed char *)src + 192;
        float d = half(load16(src + 208));
        for (int group = 0; group < 16; group++) {
            float scale = d * (float)scales[group];
            int half_block = group / 8, row = group % 8 / 2, column = group % 2 * 16;
            const unsigned char *l = low + half_block * 64 + row % 2 * 32 + column;
            const unsigned char *h = high + half_block * 32 + column;
            int low_shift = row / 2 * 4, high_shift = row * 2;
            for (int i = 0; i < 16; i++) {
                int value = (l[i] >> low_shift & 15) | (h[i] >> high_shift & 3) << 4;
                dst[group * 16 + i] = scale * (float)(value - 32);
            }
        }
    }
}

static const tensor_type types[] = {
    {"F32", 0, 1, 4, decode_f32},           {"F16", 1, 1, 2, decode_f16},
    {"BF16", 30, 1, 2, decode_bf16},        {"Q4_0", 2, SMALL, 18, decode_q4_0},
    {"Q4_1", 3, SMALL, 20, decode_q4_1},    {"Q5_0", 6, SMALL, 22, decode_q5_0},
    {"Q5_1", 7, SMALL, 24, decode_q5_1},    {"Q8_0", 8, SMALL, 34, decode_q8_0},
    {"Q2_K", 10, SUPER, 84, decode_q2_k},   {"Q3_K", 11, SUPER, 110, decode_q3_k},
    {"Q4_K", 12, SUPER, 144, decode_q4_k},  {"Q5_K", 13, SUPER, 176, decode_q5_k},
    {"Q6_K", 14, SUPER, 210, decode_q6_k},  {"IQ4_NL", 20, SMALL, 18, decode_iq4_nl},
    {"Q8_1", 9, SMALL, 40, NULL},           {"Q8_K", 15, SUPER, 292, NULL},
    {"IQ2_XXS", 16, SUPER, 66, NULL},       {"IQ2_XS", 17, SUPER, 74, NULL},
    {"IQ3_XXS", 18, SUPER, 98, NULL},       {"IQ1_S", 19, SUPER, 50, NULL},
    {"IQ3_S", 21, SUPER, 110, NULL},        {"IQ2_S", 22, SUPER, 82, NULL},
    {"IQ4_XS", 23, SUPER, 136, NULL},       {"I8", 24, 1, 1, NULL},
    {"I16", 25, 1, 2, NULL},                {"I32", 26, 1, 4, NULL},
    {"I64", 27, 1, 8, NULL},                {"F64", 28, 1, 8, NULL},
    {"IQ1_M", 29, SUPER, 56, NULL},         {"TQ1_0", 34, SUPER, 54, NULL},
    {"TQ2_0", 35, SUPER, 66, NULL},         {"MXFP4", 39, SMALL, 17, NULL},
    {"NVFP4", 40, 64, 36, NULL},            {"Q1_0", 41, 128, 18, NULL},
};

const tensor_type *tensor_type_of_ggml(uint32_t ggml)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].ggml == ggml)
            return &types[i];
    return NULL;
}

const tensor_type *tensor_type_named(const char *name)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, name) == 0)
            return &types[i];
    return NULL;
}

const char *tensor_type_list(void)
{
    return "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL";
}
