/* v16 on AVX-512 (F, BW, DQ, VL, and BF16 where compiled for it): one register. Contract in simd.h, which alone includes this. */
#ifndef BACKEND_CPU_SIMD_AVX512_H
#define BACKEND_CPU_SIMD_AVX512_H

#include <immintrin.h>

/* Rows and vectors of the accumulators that a matrix kernel keeps in registers. */
enum { SIMD_TILE_ROWS = 14, SIMD_TILE_VECS = 2 };
#define SIMD_TILE_CASES(X) X(1) X(2) X(3) X(4) X(5) X(6)                                                      \
    X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)

typedef __m512 v16;
typedef __m512i v16i;
typedef __mmask16 v16m;

SIMD_INLINE v16 v16_zero(void) { return _mm512_setzero_ps(); }
SIMD_INLINE v16 v16_set1(float a) { return _mm512_set1_ps(a); }
SIMD_INLINE v16 v16_load(const float *p) { return _mm512_loadu_ps(p); }
SIMD_INLINE void v16_store(float *p, v16 a) { _mm512_storeu_ps(p, a); }

SIMD_INLINE v16m v16m_bits(unsigned bits) { return (__mmask16)bits; }
SIMD_INLINE unsigned v16m_to_bits(v16m m) { return m; }
/* The first n lanes; the others are zero and their memory is not touched. */
SIMD_INLINE v16 v16_load_n(const float *p, int n)
{
    if (__builtin_constant_p(n) && n == 16)
        return v16_load(p);
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
}
SIMD_INLINE void v16_store_n(float *p, v16 a, int n)
{
    if (__builtin_constant_p(n) && n == 16) {
        v16_store(p, a);
        return;
    }
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), a);
}

SIMD_INLINE v16 v16_add(v16 a, v16 b) { return _mm512_add_ps(a, b); }
SIMD_INLINE v16 v16_sub(v16 a, v16 b) { return _mm512_sub_ps(a, b); }
SIMD_INLINE v16 v16_mul(v16 a, v16 b) { return _mm512_mul_ps(a, b); }
SIMD_INLINE v16 v16_div(v16 a, v16 b) { return _mm512_div_ps(a, b); }
SIMD_INLINE v16 v16_fma(v16 a, v16 b, v16 c) { return _mm512_fmadd_ps(a, b, c); }
SIMD_INLINE v16 v16_max(v16 a, v16 b) { return _mm512_max_ps(a, b); }
SIMD_INLINE v16 v16_min(v16 a, v16 b) { return _mm512_min_ps(a, b); }
SIMD_INLINE v16 v16_sqrt(v16 a) { return _mm512_sqrt_ps(a); }
SIMD_INLINE v16 v16_neg(v16 a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
SIMD_INLINE v16 v16_abs(v16 a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
SIMD_INLINE v16 v16_round(v16 a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

SIMD_INLINE v16m v16_lt(v16 a, v16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
SIMD_INLINE v16m v16_le(v16 a, v16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
SIMD_INLINE v16m v16_eq(v16 a, v16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
SIMD_INLINE v16 v16_select(v16m m, v16 a, v16 b) { return _mm512_mask_blend_ps(m, b, a); }

SIMD_INLINE v16i v16i_load(const uint32_t *p) { return _mm512_loadu_si512(p); }
SIMD_INLINE void v16i_store(uint32_t *p, v16i a) { _mm512_storeu_si512(p, a); }
SIMD_INLINE v16i v16i_set1(int a) { return _mm512_set1_epi32(a); }
SIMD_INLINE v16i v16i_add(v16i a, v16i b) { return _mm512_add_epi32(a, b); }
SIMD_INLINE v16i v16i_sub(v16i a, v16i b) { return _mm512_sub_epi32(a, b); }
SIMD_INLINE v16i v16i_and(v16i a, v16i b) { return _mm512_and_si512(a, b); }
SIMD_INLINE v16i v16i_or(v16i a, v16i b) { return _mm512_or_si512(a, b); }
SIMD_INLINE v16i v16i_shl(v16i a, int n) { return _mm512_sll_epi32(a, _mm_cvtsi32_si128(n)); }
SIMD_INLINE v16i v16i_shr(v16i a, int n) { return _mm512_srl_epi32(a, _mm_cvtsi32_si128(n)); }
SIMD_INLINE v16i v16_to_int(v16 a) { return _mm512_cvtps_epi32(a); }
SIMD_INLINE v16 v16_from_int(v16i a) { return _mm512_cvtepi32_ps(a); }
SIMD_INLINE v16i v16_as_int(v16 a) { return _mm512_castps_si512(a); }
SIMD_INLINE v16 v16_as_float(v16i a) { return _mm512_castsi512_ps(a); }

/* a * 2^n for whole n in [-126, 128] and results that are normal or overflow. */
SIMD_INLINE v16 v16_scale2(v16 a, v16 n) { return _mm512_scalef_ps(a, n); }

SIMD_INLINE float v16_sum(v16 a)
{
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}

SIMD_INLINE float v16_hmax(v16 a)
{
    __m256 h = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

#if defined(__AVX512BF16__)
#define SIMD_BF16
SIMD_INLINE v16 v16_dot_bf16(v16i a, v16i b, v16 c) { return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b); }
SIMD_INLINE void v16_store_bf16(void *to, v16 a, v16 b)
{
    _mm512_storeu_si512(to, (v16i)_mm512_cvtne2ps_pbh(b, a));
}
SIMD_INLINE v16i v16_operands_bf16(v16 low, v16 high)
{
    const v16i i_and_16_i = _mm512_set_epi32(0x1f000f, 0x1e000e, 0x1d000d, 0x1c000c, 0x1b000b, 0x1a000a, 0x190009, 0x180008,
                                             0x170007, 0x160006, 0x150005, 0x140004, 0x130003, 0x120002, 0x110001, 0x100000);
    return _mm512_permutexvar_epi16(i_and_16_i, (v16i)_mm512_cvtne2ps_pbh(high, low));
}
#endif

/* Pairs of rows, then pairs of pairs inside each quarter, then the quarters. */
#define SIMD_TRANSPOSE
SIMD_INLINE void v16_transpose(v16 r[16])
{
    __m512d u[16];
    SIMD_UNROLL
    for (int i = 0; i < 16; i += 4) {
        __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(r[i], r[i + 1]));
        __m512d b = _mm512_castps_pd(_mm512_unpackhi_ps(r[i], r[i + 1]));
        __m512d c = _mm512_castps_pd(_mm512_unpacklo_ps(r[i + 2], r[i + 3]));
        __m512d d = _mm512_castps_pd(_mm512_unpackhi_ps(r[i + 2], r[i + 3]));
        u[i] = _mm512_unpacklo_pd(a, c);
        u[i + 1] = _mm512_unpackhi_pd(a, c);
        u[i + 2] = _mm512_unpacklo_pd(b, d);
        u[i + 3] = _mm512_unpackhi_pd(b, d);
    }
    SIMD_UNROLL
    for (int i = 0; i < 4; i++) { /* quarter q of u[4 g + i]: column 4 q + i of rows 4 g .. 4 g + 3 */
        __m512d a = _mm512_shuffle_f64x2(u[i], u[4 + i], 0x44), b = _mm512_shuffle_f64x2(u[i], u[4 + i], 0xee);
        __m512d c = _mm512_shuffle_f64x2(u[8 + i], u[12 + i], 0x44);
        __m512d d = _mm512_shuffle_f64x2(u[8 + i], u[12 + i], 0xee);
        r[i] = _mm512_castpd_ps(_mm512_shuffle_f64x2(a, c, 0x88));
        r[4 + i] = _mm512_castpd_ps(_mm512_shuffle_f64x2(a, c, 0xdd));
        r[8 + i] = _mm512_castpd_ps(_mm512_shuffle_f64x2(b, d, 0x88));
        r[12 + i] = _mm512_castpd_ps(_mm512_shuffle_f64x2(b, d, 0xdd));
    }
}

#endif
