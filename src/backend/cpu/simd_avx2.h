/* v16 on AVX2 + FMA: two registers. Contract in simd.h, which alone includes this. */
#ifndef BACKEND_CPU_SIMD_AVX2_H
#define BACKEND_CPU_SIMD_AVX2_H

#include <immintrin.h>

/* Rows and vectors of the accumulators that a matrix kernel keeps in registers. */
enum { SIMD_TILE_ROWS = 6, SIMD_TILE_VECS = 1 };
#define SIMD_TILE_CASES(X) X(1) X(2) X(3) X(4) X(5) X(6)

typedef struct v16 {
    __m256 lo, hi;
} v16;
typedef struct v16i {
    __m256i lo, hi;
} v16i;
typedef v16 v16m; /* all bits of a lane set or clear */

#define SIMD_EACH1(fn, a) ((v16){fn((a).lo), fn((a).hi)})
#define SIMD_EACH2(fn, a, b) ((v16){fn((a).lo, (b).lo), fn((a).hi, (b).hi)})
#define SIMD_EACH2I(fn, a, b) ((v16i){fn((a).lo, (b).lo), fn((a).hi, (b).hi)})
#define SIMD_CMP(a, b, op)                                                                         \
    ((v16){_mm256_cmp_ps((a).lo, (b).lo, op), _mm256_cmp_ps((a).hi, (b).hi, op)})

SIMD_INLINE v16 v16_zero(void) { return (v16){_mm256_setzero_ps(), _mm256_setzero_ps()}; }
SIMD_INLINE v16 v16_set1(float a)
{
    __m256 s = _mm256_set1_ps(a);
    return (v16){s, s};
}
SIMD_INLINE v16 v16_load(const float *p) { return (v16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
SIMD_INLINE void v16_store(float *p, v16 a)
{
    _mm256_storeu_ps(p, a.lo);
    _mm256_storeu_ps(p + 8, a.hi);
}

SIMD_INLINE v16m v16m_bits(unsigned bits)
{
    const __m256i lo = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i hi = _mm256_slli_epi32(lo, 8);
    __m256i b = _mm256_set1_epi32((int)bits);
    return (v16m){_mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(b, lo), lo)),
                  _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(b, hi), hi))};
}
SIMD_INLINE unsigned v16m_to_bits(v16m m)
{
    return (unsigned)_mm256_movemask_ps(m.lo) | (unsigned)_mm256_movemask_ps(m.hi) << 8;
}
/* The first n lanes; the others are zero and their memory is not touched. */
SIMD_INLINE v16 v16_load_n(const float *p, int n)
{
    if (__builtin_constant_p(n) && n == 16)
        return v16_load(p);
    v16m m = v16m_bits((1u << n) - 1u);
    return (v16){_mm256_maskload_ps(p, _mm256_castps_si256(m.lo)),
                 n > 8 ? _mm256_maskload_ps(p + 8, _mm256_castps_si256(m.hi)) : _mm256_setzero_ps()};
}
SIMD_INLINE void v16_store_n(float *p, v16 a, int n)
{
    if (__builtin_constant_p(n) && n == 16) {
        v16_store(p, a);
        return;
    }
    v16m m = v16m_bits((1u << n) - 1u);
    _mm256_maskstore_ps(p, _mm256_castps_si256(m.lo), a.lo);
    if (n > 8)
        _mm256_maskstore_ps(p + 8, _mm256_castps_si256(m.hi), a.hi);
}

SIMD_INLINE v16 v16_add(v16 a, v16 b) { return SIMD_EACH2(_mm256_add_ps, a, b); }
SIMD_INLINE v16 v16_sub(v16 a, v16 b) { return SIMD_EACH2(_mm256_sub_ps, a, b); }
SIMD_INLINE v16 v16_mul(v16 a, v16 b) { return SIMD_EACH2(_mm256_mul_ps, a, b); }
SIMD_INLINE v16 v16_div(v16 a, v16 b) { return SIMD_EACH2(_mm256_div_ps, a, b); }
SIMD_INLINE v16 v16_fma(v16 a, v16 b, v16 c)
{
    return (v16){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
SIMD_INLINE v16 v16_max(v16 a, v16 b) { return SIMD_EACH2(_mm256_max_ps, a, b); }
SIMD_INLINE v16 v16_min(v16 a, v16 b) { return SIMD_EACH2(_mm256_min_ps, a, b); }
SIMD_INLINE v16 v16_sqrt(v16 a) { return SIMD_EACH1(_mm256_sqrt_ps, a); }
SIMD_INLINE v16 v16_neg(v16 a)
{
    const __m256 s = _mm256_set1_ps(-0.0f);
    return (v16){_mm256_xor_ps(a.lo, s), _mm256_xor_ps(a.hi, s)};
}
SIMD_INLINE v16 v16_abs(v16 a)
{
    const __m256 s = _mm256_set1_ps(-0.0f);
    return (v16){_mm256_andnot_ps(s, a.lo), _mm256_andnot_ps(s, a.hi)};
}
SIMD_INLINE v16 v16_round(v16 a)
{
    return (v16){_mm256_round_ps(a.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
                 _mm256_round_ps(a.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}

SIMD_INLINE v16m v16_lt(v16 a, v16 b) { return SIMD_CMP(a, b, _CMP_LT_OQ); }
SIMD_INLINE v16m v16_le(v16 a, v16 b) { return SIMD_CMP(a, b, _CMP_LE_OQ); }
SIMD_INLINE v16m v16_eq(v16 a, v16 b) { return SIMD_CMP(a, b, _CMP_EQ_OQ); }
SIMD_INLINE v16 v16_select(v16m m, v16 a, v16 b)
{
    return (v16){_mm256_blendv_ps(b.lo, a.lo, m.lo), _mm256_blendv_ps(b.hi, a.hi, m.hi)};
}

SIMD_INLINE v16i v16i_load(const uint32_t *p)
{
    return (v16i){_mm256_loadu_si256((const __m256i *)p), _mm256_loadu_si256((const __m256i *)(p + 8))};
}
SIMD_INLINE void v16i_store(uint32_t *p, v16i a)
{
    _mm256_storeu_si256((__m256i *)p, a.lo);
    _mm256_storeu_si256((__m256i *)(p + 8), a.hi);
}
SIMD_INLINE v16i v16i_set1(int a)
{
    __m256i s = _mm256_set1_epi32(a);
    return (v16i){s, s};
}
SIMD_INLINE v16i v16i_add(v16i a, v16i b) { return SIMD_EACH2I(_mm256_add_epi32, a, b); }
SIMD_INLINE v16i v16i_sub(v16i a, v16i b) { return SIMD_EACH2I(_mm256_sub_epi32, a, b); }
SIMD_INLINE v16i v16i_and(v16i a, v16i b) { return SIMD_EACH2I(_mm256_and_si256, a, b); }
SIMD_INLINE v16i v16i_or(v16i a, v16i b) { return SIMD_EACH2I(_mm256_or_si256, a, b); }
SIMD_INLINE v16i v16i_shl(v16i a, int n)
{
    __m128i c = _mm_cvtsi32_si128(n);
    return (v16i){_mm256_sll_epi32(a.lo, c), _mm256_sll_epi32(a.hi, c)};
}
SIMD_INLINE v16i v16i_shr(v16i a, int n)
{
    __m128i c = _mm_cvtsi32_si128(n);
    return (v16i){_mm256_srl_epi32(a.lo, c), _mm256_srl_epi32(a.hi, c)};
}
SIMD_INLINE v16i v16_to_int(v16 a) { return (v16i){_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi)}; }
SIMD_INLINE v16 v16_from_int(v16i a) { return (v16){_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)}; }
SIMD_INLINE v16i v16_as_int(v16 a) { return (v16i){_mm256_castps_si256(a.lo), _mm256_castps_si256(a.hi)}; }
SIMD_INLINE v16 v16_as_float(v16i a) { return (v16){_mm256_castsi256_ps(a.lo), _mm256_castsi256_ps(a.hi)}; }

/* a * 2^n for whole n in [-126, 128] and results that are normal or overflow: 2^(n - 1) fits in
 * the exponent field only from n = -125 on, so n is split in two halves, each exact. */
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
    __m256 h = _mm256_add_ps(a.lo, a.hi);
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}

SIMD_INLINE float v16_hmax(v16 a)
{
    __m256 h = _mm256_max_ps(a.lo, a.hi);
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

SIMD_INLINE void simd_transpose8(__m256 r[8])
{
    __m256 u[8];
    SIMD_UNROLL
    for (int i = 0; i < 8; i += 4) {
        __m256 a = _mm256_unpacklo_ps(r[i], r[i + 1]), b = _mm256_unpackhi_ps(r[i], r[i + 1]);
        __m256 c = _mm256_unpacklo_ps(r[i + 2], r[i + 3]), d = _mm256_unpackhi_ps(r[i + 2], r[i + 3]);
        u[i] = _mm256_shuffle_ps(a, c, 0x44);
        u[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
        u[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
        u[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
    }
    SIMD_UNROLL
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(u[i], u[4 + i], 0x20);
        r[4 + i] = _mm256_permute2f128_ps(u[i], u[4 + i], 0x31);
    }
}

/* Four quarters of 8 x 8; the mixed ones change places. */
#define SIMD_TRANSPOSE
SIMD_INLINE void v16_transpose(v16 r[16])
{
    __m256 a[8], b[8], c[8], d[8];
    SIMD_UNROLL
    for (int i = 0; i < 8; i++) {
        a[i] = r[i].lo;
        b[i] = r[i].hi;
        c[i] = r[8 + i].lo;
        d[i] = r[8 + i].hi;
    }
    simd_transpose8(a);
    simd_transpose8(b);
    simd_transpose8(c);
    simd_transpose8(d);
    SIMD_UNROLL
    for (int i = 0; i < 8; i++) {
        r[i] = (v16){a[i], c[i]};
        r[8 + i] = (v16){b[i], d[i]};
    }
}

#undef SIMD_EACH1
#undef SIMD_EACH2
#undef SIMD_EACH2I
#undef SIMD_CMP

#endif
