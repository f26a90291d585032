/* The vector type of all kernels: v16, sixteen f32 lanes on every machine (one AVX-512 register, two
 * of AVX2, four of NEON, or an array), and exp and log on it.
 *
 * A kernel source is compiled once for each instruction set; exactly one of SIMD_AVX512, SIMD_AVX2,
 * SIMD_NEON and SIMD_PORTABLE is defined by the file that includes it (kernels_*.c). Every function
 * here gives the same bits on all of them (payloads and signs of NaN apart):
 *   - v16_fma(a, b, c) is a * b + c rounded once; nothing else is ever fused;
 *   - v16_max(a, b) is a > b ? a : b and v16_min(a, b) is a < b ? a : b (so b when one is NaN);
 *   - comparisons are false for NaN; rounding is to nearest, ties to even;
 *   - v16_dot_bf16(a, b, c) of pairs of bf16 (the lower half of a lane is element 0) is
 *     fma(a_0, b_0, fma(a_1, b_1, c));
 *   - v16_sum and v16_hmax combine lanes by halving: lane j with j + 8, then j + 4, j + 2, j + 1.
 * Loads and stores need no alignment. Denormals count as zero in every computing thread (pool.h). */
#ifndef BACKEND_CPU_SIMD_H
#define BACKEND_CPU_SIMD_H

#include <stdint.h>
#include <string.h>

#define SIMD_INLINE static inline __attribute__((always_inline, unused))
/* Kept out of its callers, so that their code leaves its loops as they are. */
#define SIMD_APART static __attribute__((noinline))
#if defined(__clang__)
#define SIMD_UNROLL _Pragma("clang loop unroll(full)")
#else
#define SIMD_UNROLL _Pragma("GCC unroll 16")
#endif

#if defined(SIMD_AVX512)
#include "backend/cpu/simd_avx512.h"
#elif defined(SIMD_AVX2)
#include "backend/cpu/simd_avx2.h"
#elif defined(SIMD_NEON)
#include "backend/cpu/simd_neon.h"
#elif defined(SIMD_PORTABLE)
#include "backend/cpu/simd_portable.h"
#else
#error "include simd.h from a kernels_*.c only: it chooses the instruction set"
#endif

/* c - a * b, rounded once. */
SIMD_INLINE v16 v16_fnma(v16 a, v16 b, v16 c)
{
    return v16_fma(v16_neg(a), b, c);
}

/* ---- bf16: the upper half of an f32 ------------------------------------------------------------------ */

SIMD_INLINE v16 v16_from_low(v16i pairs)
{
    return v16_as_float(v16i_shl(pairs, 16));
}

SIMD_INLINE v16 v16_from_high(v16i pairs)
{
    return v16_as_float(v16i_and(pairs, v16i_set1((int)0xffff0000u)));
}

/* Rounded to nearest even, in the low half of each lane. Adding carries into the exponent where it must;
 * a NaN is made quiet instead, for the sum could turn it into infinity. */
SIMD_INLINE v16i v16_round_bf16(v16 a)
{
    const v16i bits = v16_as_int(a), upper = v16i_shr(bits, 16), odd = v16i_and(upper, v16i_set1(1));
    const v16i rounded = v16i_shr(v16i_add(bits, v16i_add(odd, v16i_set1(0x7fff))), 16);
    const v16 quiet = v16_as_float(v16i_or(upper, v16i_set1(0x40)));
    return v16_as_int(v16_select(v16_eq(a, a), v16_as_float(rounded), quiet));
}

SIMD_INLINE v16i v16_pair_bf16(v16 low, v16 high)
{
    return v16i_or(v16_round_bf16(low), v16i_shl(v16_round_bf16(high), 16));
}

/* Denormals become zeros of their sign (they compare equal to zero here). */
SIMD_INLINE v16 v16_flush(v16 a)
{
    const v16 sign = v16_as_float(v16i_and(v16_as_int(a), v16i_set1((int)0x80000000u)));
    return v16_select(v16_eq(a, v16_zero()), sign, a);
}

/* As an operand of a product takes it: flushed and rounded, still an f32. */
SIMD_INLINE v16 v16_operand_bf16(v16 a)
{
    return v16_from_low(v16_round_bf16(v16_flush(a)));
}

#if !defined(SIMD_BF16)
SIMD_INLINE v16 v16_dot_bf16(v16i a, v16i b, v16 c)
{
    return v16_fma(v16_from_low(a), v16_from_low(b), v16_fma(v16_from_high(a), v16_from_high(b), c));
}

/* v16_pair_bf16 of operands. */
SIMD_INLINE v16i v16_operands_bf16(v16 low, v16 high)
{
    return v16_pair_bf16(v16_flush(low), v16_flush(high));
}

/* Element i of (a, b), flushed and rounded, becomes half i of the 16 words. */
SIMD_INLINE void v16_store_bf16(void *to, v16 a, v16 b)
{
    uint32_t half[32], word[16];
    v16i_store(half, v16_round_bf16(v16_flush(a)));
    v16i_store(half + 16, v16_round_bf16(v16_flush(b)));
    for (int i = 0; i < 16; i++)
        word[i] = half[2 * i] | half[2 * i + 1] << 16;
    memcpy(to, word, sizeof word);
}
#endif

/* The first n lanes (0 <= n <= 16). */
SIMD_INLINE v16m v16m_first(int n)
{
    return v16m_bits((1u << n) - 1u);
}

#if !defined(SIMD_TRANSPOSE)
/* rows[i] lane j <-> rows[j] lane i. */
SIMD_INLINE void v16_transpose(v16 rows[16])
{
    float a[16][16];
    for (int i = 0; i < 16; i++)
        v16_store(a[i], rows[i]);
    float t[16][16];
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 16; j++)
            t[i][j] = a[j][i];
    for (int i = 0; i < 16; i++)
        rows[i] = v16_load(t[i]);
}
#endif

/* e^x to about 1 ulp. Exactly 0 below EXP_MIN = ln of the smallest normal number (and for -inf), inf
 * above 88.72, NaN for NaN. x = n ln 2 + r, |r| <= ln 2 / 2; e^r = 1 + r + r^2 p(r) with p the minimax
 * polynomial of degree 4, relative error 4.4e-9 (fitted by Lawson's iteration). */
#define SIMD_EXP_MIN (-87.33654f)
SIMD_INLINE v16 v16_exp(v16 x)
{
    v16 t = v16_max(v16_set1(SIMD_EXP_MIN), x); /* this order of operands lets NaN through */
    t = v16_min(v16_set1(89.0f), t);
    v16 n = v16_round(v16_mul(t, v16_set1(1.44269504f)));
    v16 r = v16_fma(n, v16_set1(-0.693145752f), t);      /* ln 2, leading bits: n * it is exact */
    r = v16_fma(n, v16_set1(-1.42860677e-6f), r);        /* the rest of ln 2 */
    v16 p = v16_set1(0x1.6a2352p-10f);
    p = v16_fma(p, r, v16_set1(0x1.123a6cp-7f));
    p = v16_fma(p, r, v16_set1(0x1.5558f4p-5f));
    p = v16_fma(p, r, v16_set1(0x1.55549p-3f));
    p = v16_fma(p, r, v16_set1(0x1.fffffcp-2f));
    v16 e = v16_fma(v16_mul(r, r), p, r);
    e = v16_scale2(v16_add(e, v16_set1(1.0f)), n);
    return v16_select(v16_lt(x, v16_set1(SIMD_EXP_MIN)), v16_zero(), e);
}

/* ln x to about 1 ulp; -inf for 0 (denormals are 0), NaN below 0, inf for inf. x = 2^n m with m in
 * [sqrt(1/2), sqrt 2); ln m by a polynomial in m - 1 (coefficients: Cephes logf, Moshier). */
SIMD_INLINE v16 v16_log(v16 x)
{
    v16i bits = v16_as_int(x);
    /* Adding the distance from sqrt(1/2) to 1 carries into the exponent exactly when m >= sqrt(1/2). */
    v16i up = v16i_add(bits, v16i_set1(0x3f800000 - 0x3f3504f3));
    v16i n = v16i_sub(v16i_shr(up, 23), v16i_set1(127));
    v16i mant = v16i_add(v16i_and(up, v16i_set1(0x007fffff)), v16i_set1(0x3f3504f3));
    v16 f = v16_sub(v16_as_float(mant), v16_set1(1.0f));
    v16 e = v16_from_int(n);
    v16 p = v16_set1(7.0376836292e-2f);
    p = v16_fma(p, f, v16_set1(-1.1514610310e-1f));
    p = v16_fma(p, f, v16_set1(1.1676998740e-1f));
    p = v16_fma(p, f, v16_set1(-1.2420140846e-1f));
    p = v16_fma(p, f, v16_set1(1.4249322787e-1f));
    p = v16_fma(p, f, v16_set1(-1.6668057665e-1f));
    p = v16_fma(p, f, v16_set1(2.0000714765e-1f));
    p = v16_fma(p, f, v16_set1(-2.4999993993e-1f));
    p = v16_fma(p, f, v16_set1(3.3333331174e-1f));
    v16 ff = v16_mul(f, f);
    v16 low = v16_fma(e, v16_set1(-2.12194440e-4f), v16_mul(v16_mul(p, f), ff));
    low = v16_fma(v16_set1(-0.5f), ff, low);
    v16 y = v16_fma(e, v16_set1(0.693359375f), v16_add(f, low));
    const v16 inf = v16_set1(__builtin_inff());
    y = v16_select(v16_lt(x, v16_set1(1.17549435e-38f)), v16_neg(inf), y);
    y = v16_select(v16_lt(x, v16_zero()), v16_set1(__builtin_nanf("")), y);
    return v16_select(v16_lt(x, inf), y, v16_add(x, v16_zero())); /* inf and NaN pass through */
}

#endif
