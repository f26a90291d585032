/* v16 in plain C: an array. Slow (fmaf is a library call on baseline x86-64) and exact; it states what
 * the other instruction sets must give. Contract in simd.h, which alone includes this. */
#ifndef BACKEND_CPU_SIMD_PORTABLE_H
#define BACKEND_CPU_SIMD_PORTABLE_H

#include <math.h>

/* Rows and vectors of the accumulators that a matrix kernel keeps in registers. */
enum { SIMD_TILE_ROWS = 4, SIMD_TILE_VECS = 1 };
#define SIMD_TILE_CASES(X) X(1) X(2) X(3) X(4)

typedef struct v16 {
    float f[16];
} v16;
typedef struct v16i {
    int32_t i[16];
} v16i;
typedef struct v16m {
    unsigned bits;
} v16m;

/* A vector of type T whose lane l of member `m` is expr. */
#define SIMD_LANES(T, m, expr)                                                                     \
    T r_;                                                                                          \
    for (int l = 0; l < 16; l++)                                                                   \
        r_.m[l] = (expr);                                                                          \
    return r_
#define SIMD_MASK(expr)                                                                            \
    v16m r_ = {0};                                                                                 \
    for (int l = 0; l < 16; l++)                                                                   \
        r_.bits |= (unsigned)(expr) << l;                                                          \
    return r_

SIMD_INLINE v16 v16_set1(float a) { SIMD_LANES(v16, f, a); }
SIMD_INLINE v16 v16_zero(void) { return v16_set1(0.0f); }
SIMD_INLINE v16 v16_load(const float *p) { SIMD_LANES(v16, f, p[l]); }
SIMD_INLINE void v16_store(float *p, v16 a) { memcpy(p, a.f, sizeof a.f); }

SIMD_INLINE v16m v16m_bits(unsigned bits) { return (v16m){bits & 0xffffu}; }
SIMD_INLINE unsigned v16m_to_bits(v16m m) { return m.bits; }
/* The first n lanes; the others are zero and their memory is not touched. */
SIMD_INLINE v16 v16_load_n(const float *p, int n) { SIMD_LANES(v16, f, l < n ? p[l] : 0.0f); }
SIMD_INLINE void v16_store_n(float *p, v16 a, int n) { memcpy(p, a.f, (size_t)n * sizeof *p); }

SIMD_INLINE v16 v16_add(v16 a, v16 b) { SIMD_LANES(v16, f, a.f[l] + b.f[l]); }
SIMD_INLINE v16 v16_sub(v16 a, v16 b) { SIMD_LANES(v16, f, a.f[l] - b.f[l]); }
SIMD_INLINE v16 v16_mul(v16 a, v16 b) { SIMD_LANES(v16, f, a.f[l] * b.f[l]); }
SIMD_INLINE v16 v16_div(v16 a, v16 b) { SIMD_LANES(v16, f, a.f[l] / b.f[l]); }
SIMD_INLINE v16 v16_fma(v16 a, v16 b, v16 c) { SIMD_LANES(v16, f, fmaf(a.f[l], b.f[l], c.f[l])); }
SIMD_INLINE v16 v16_max(v16 a, v16 b) { SIMD_LANES(v16, f, a.f[l] > b.f[l] ? a.f[l] : b.f[l]); }
SIMD_INLINE v16 v16_min(v16 a, v16 b) { SIMD_LANES(v16, f, a.f[l] < b.f[l] ? a.f[l] : b.f[l]); }
SIMD_INLINE v16 v16_sqrt(v16 a) { SIMD_LANES(v16, f, sqrtf(a.f[l])); }
SIMD_INLINE v16 v16_neg(v16 a) { SIMD_LANES(v16, f, -a.f[l]); }
SIMD_INLINE v16 v16_abs(v16 a) { SIMD_LANES(v16, f, fabsf(a.f[l])); }
SIMD_INLINE v16 v16_round(v16 a) { SIMD_LANES(v16, f, rintf(a.f[l])); }

SIMD_INLINE v16m v16_lt(v16 a, v16 b) { SIMD_MASK(a.f[l] < b.f[l]); }
SIMD_INLINE v16m v16_le(v16 a, v16 b) { SIMD_MASK(a.f[l] <= b.f[l]); }
SIMD_INLINE v16m v16_eq(v16 a, v16 b) { SIMD_MASK(a.f[l] == b.f[l]); }
SIMD_INLINE v16 v16_select(v16m m, v16 a, v16 b) { SIMD_LANES(v16, f, m.bits >> l & 1 ? a.f[l] : b.f[l]); }

/* Integers wrap around, as in the registers. */
SIMD_INLINE v16i v16i_load(const uint32_t *p)
{
    v16i r;
    memcpy(r.i, p, sizeof r.i);
    return r;
}
SIMD_INLINE void v16i_store(uint32_t *p, v16i a) { memcpy(p, a.i, sizeof a.i); }
SIMD_INLINE v16i v16i_set1(int a) { SIMD_LANES(v16i, i, a); }
SIMD_INLINE v16i v16i_add(v16i a, v16i b) { SIMD_LANES(v16i, i, (int32_t)((uint32_t)a.i[l] + (uint32_t)b.i[l])); }
SIMD_INLINE v16i v16i_sub(v16i a, v16i b) { SIMD_LANES(v16i, i, (int32_t)((uint32_t)a.i[l] - (uint32_t)b.i[l])); }
SIMD_INLINE v16i v16i_and(v16i a, v16i b) { SIMD_LANES(v16i, i, a.i[l] & b.i[l]); }
SIMD_INLINE v16i v16i_or(v16i a, v16i b) { SIMD_LANES(v16i, i, a.i[l] | b.i[l]); }
SIMD_INLINE v16i v16i_shl(v16i a, int n) { SIMD_LANES(v16i, i, (int32_t)((uint32_t)a.i[l] << n)); }
SIMD_INLINE v16i v16i_shr(v16i a, int n) { SIMD_LANES(v16i, i, (int32_t)((uint32_t)a.i[l] >> n)); }
/* Values out of range (NaN too) give INT32_MIN, as on x86; no kernel uses such a result. */
SIMD_INLINE v16i v16_to_int(v16 a)
{
    SIMD_LANES(v16i, i, fabsf(a.f[l]) < 2147483648.0f ? (int32_t)rintf(a.f[l]) : INT32_MIN);
}
SIMD_INLINE v16 v16_from_int(v16i a) { SIMD_LANES(v16, f, (float)a.i[l]); }
SIMD_INLINE v16i v16_as_int(v16 a)
{
    v16i r;
    memcpy(r.i, a.f, sizeof r.i);
    return r;
}
SIMD_INLINE v16 v16_as_float(v16i a)
{
    v16 r;
    memcpy(r.f, a.i, sizeof r.f);
    return r;
}

/* a * 2^n for whole n in [-126, 128] and results that are normal or overflow: n in two halves. */
SIMD_INLINE v16 v16_scale2(v16 a, v16 n)
{
    const v16i one = v16i_set1(127);
    v16i k = v16_to_int(n);
    v16i half = v16_to_int(v16_mul(n, v16_set1(0.5f)));
    v16i rest = v16i_sub(k, half);
    a = v16_mul(a, v16_as_float(v16i_shl(v16i_add(half, one), 23)));
    return v16_mul(a, v16_as_float(v16i_shl(v16i_add(rest, one), 23)));
}

SIMD_INLINE float v16_sum(v16 a)
{
    for (int half = 8; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            a.f[l] += a.f[l + half];
    return a.f[0];
}

SIMD_INLINE float v16_hmax(v16 a)
{
    for (int half = 8; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            a.f[l] = a.f[l] > a.f[l + half] ? a.f[l] : a.f[l + half];
    return a.f[0];
}

#undef SIMD_LANES
#undef SIMD_MASK

#endif
