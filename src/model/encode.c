/* Encoders of weights. */
#include <math.h>
#include <string.h>

#include "model/encode.h"

enum { GGML_F32 = 0, GGML_F16 = 1, GGML_Q8_0 = 8, GGML_BF16 = 30, BLOCK = 32 };

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

uint16_t encode_half(float x)
{
    uint32_t bits = bits_of(x), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;
    if (magnitude > 0x7F800000) /* NaN: quiet, upper payload kept */
        return (uint16_t)(sign | 0x7E00 | (magnitude >> 13 & 0x3FF));
    if (magnitude >= 0x477FF000) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7C00);
    uint32_t mantissa = magnitude, shift = 13, exponent = magnitude >> 23;
    if (exponent < 113) { /* below 2^-14: a subnormal half */
        if (exponent < 102)
            return (uint16_t)sign;
        mantissa = (magnitude & 0x7FFFFF) | 0x800000;
        shift = 126 - exponent;
    } else
        mantissa -= 112u << 23;
    uint32_t kept = mantissa >> shift, rest = mantissa & ((1u << shift) - 1), middle = 1u << (shift - 1);
    kept += rest > middle || (rest == middle && (kept & 1));
    return (uint16_t)(sign | kept);
}

uint16_t encode_bfloat(float x)
{
    uint32_t bits = bits_of(x);
    if ((bits & 0x7FFFFFFF) > 0x7F800000)
        return (uint16_t)(bits >> 16 | 64); /* quiet NaN */
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

static void put16(unsigned char *p, uint16_t v)
{
    p[0] = (unsigned char)v;
    p[1] = (unsigned char)(v >> 8);
}

/* d = max |x| / 127; q = round half away from zero (x / d). */
static void encode_q8_0(unsigned char *dst, const float *x)
{
    float peak = 0;
    for (int i = 0; i < BLOCK; i++)
        peak = fabsf(x[i]) > peak ? fabsf(x[i]) : peak;
    float d = peak / 127, inverse = d == 0 ? 0 : 1 / d;
    put16(dst, encode_half(d));
    for (int i = 0; i < BLOCK; i++)
        dst[2 + i] = (unsigned char)(signed char)roundf(x[i] * inverse);
}

int encode_elements(uint32_t ggml_type, unsigned char *dst, const float *src, size_t n)
{
    switch (ggml_type) {
    case GGML_F32:
        memcpy(dst, src, n * sizeof *src);
        return 0;
    case GGML_F16:
        for (size_t i = 0; i < n; i++)
            put16(dst + 2 * i, encode_half(src[i]));
        return 0;
    case GGML_BF16:
        for (size_t i = 0; i < n; i++)
            put16(dst + 2 * i, encode_bfloat(src[i]));
        return 0;
    case GGML_Q8_0:
        for (size_t i = 0; i < n / BLOCK; i++)
            encode_q8_0(dst + 34 * i, src + BLOCK * i);
        return 0;
    default:
        return -1;
    }
}
