/* v16 on NEON (AArch64): four registers. Contract in simd.h, which alone includes this. */
#ifndef BACKEND_CPU_SIMD_NEON_H
#define BACKEND_CPU_SIMD_NEON_H

#include <arm_neon.h>

/* Rows and vectors of the accumulators that a matrix kernel keeps in registers. */
enum { SIMD_TILE_ROWS = 6, SIMD_TILE_VECS = 1 };
#define SIMD_TILE_CASES(X) X(1) X(2) X(3) X(4) X(5) X(6)

typedef struct v16 {
    float32x4_t a, b, c, d;
} v16;
typedef struct v16i {
    int32x4_t a, b, c, d;
} v16i;
typedef struct v16m {
    uint32x4_t a, b, c, d;
} v16m;

#define SIMD_EACH1(T, fn, x) ((T){fn((x).a), fn((x).b), fn((x).c), fn((x).d)})
#define SIMD_EACH2(T, fn, x, y)                                                                    \
    ((T){fn((x).a, (y).a), fn((x).b, (y).b), fn((x).c, (y).c), fn((x).d, (y).d)})
#define SIMD_EACH3(T, fn, x, y, z)                                                                 \
    ((T){fn((x).a, (y).a, (z).a), fn((x).b, (y).b, (z).b), fn((x).c, (y).c, (z).c),                \
         fn((x).d, (y).d, (z).d)})

SIMD_INLINE v16 v16_set1(float s)
{
    float32x4_t q = vdupq_n_f32(s);
    return (v16){q, q, q, q};
}
SIMD_INLINE v16 v16_zero(void) { return v16_set1(0.0f); }
SIMD_INLINE v16 v16_load(const float *p)
{
    return (v16){vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)};
}
SIMD_INLINE void v16_store(float *p, v16 x)
{
    vst1q_f32(p, x.a);
    vst1q_f32(p + 4, x.b);
    vst1q_f32(p + 8, x.c);
    vst1q_f32(p + 12, x.d);
}

SIMD_INLINE v16m v16m_bits(unsigned bits)
{
    static const uint32_t lane[4] = {1, 2, 4, 8};
    uint32x4_t l = vld1q_u32(lane), b = vdupq_n_u32(bits);
    return (v16m){vtstq_u32(b, l), vtstq_u32(vshrq_n_u32(b, 4), l), vtstq_u32(vshrq_n_u32(b, 8), l),
                  vtstq_u32(vshrq_n_u32(b, 12), l)};
}
SIMD_INLINE unsigned v16m_to_bits(v16m m)
{
    static const uint32_t lane[4] = {1, 2, 4, 8};
    uint32x4_t l = vld1q_u32(lane);
    return vaddvq_u32(vandq_u32(m.a, l)) | vaddvq_u32(vandq_u32(m.b, l)) << 4 |
           vaddvq_u32(vandq_u32(m.c, l)) << 8 | vaddvq_u32(vandq_u32(m.d, l)) << 12;
}
/* The first n lanes; the others are zero and their memory is not touched. */
SIMD_INLINE v16 v16_load_n(const float *p, int n)
{
    if (n == 16)
        return v16_load(p);
    float t[16] = {0};
    memcpy(t, p, (size_t)n * sizeof *t);
    return v16_load(t);
}
SIMD_INLINE void v16_store_n(float *p, v16 x, int n)
{
    float t[16];
    v16_store(t, x);
    memcpy(p, t, (size_t)n * sizeof *t);
}

SIMD_INLINE v16 v16_add(v16 x, v16 y) { return SIMD_EACH2(v16, vaddq_f32, x, y); }
SIMD_INLINE v16 v16_sub(v16 x, v16 y) { return SIMD_EACH2(v16, vsubq_f32, x, y); }
SIMD_INLINE v16 v16_mul(v16 x, v16 y) { return SIMD_EACH2(v16, vmulq_f32, x, y); }
SIMD_INLINE v16 v16_div(v16 x, v16 y) { return SIMD_EACH2(v16, vdivq_f32, x, y); }
SIMD_INLINE v16 v16_fma(v16 x, v16 y, v16 z) { return SIMD_EACH3(v16, vfmaq_f32, z, x, y); }
SIMD_INLINE v16 v16_sqrt(v16 x) { return SIMD_EACH1(v16, vsqrtq_f32, x); }
SIMD_INLINE v16 v16_neg(v16 x) { return SIMD_EACH1(v16, vnegq_f32, x); }
SIMD_INLINE v16 v16_abs(v16 x) { return SIMD_EACH1(v16, vabsq_f32, x); }
SIMD_INLINE v16 v16_round(v16 x) { return SIMD_EACH1(v16, vrndnq_f32, x); }

SIMD_INLINE v16m v16_lt(v16 x, v16 y) { return SIMD_EACH2(v16m, vcltq_f32, x, y); }
SIMD_INLINE v16m v16_le(v16 x, v16 y) { return SIMD_EACH2(v16m, vcleq_f32, x, y); }
SIMD_INLINE v16m v16_eq(v16 x, v16 y) { return SIMD_EACH2(v16m, vceqq_f32, x, y); }
SIMD_INLINE v16 v16_select(v16m m, v16 x, v16 y) { return SIMD_EACH3(v16, vbslq_f32, m, x, y); }
SIMD_INLINE v16 v16_max(v16 x, v16 y) { return v16_select(v16_lt(y, x), x, y); }
SIMD_INLINE v16 v16_min(v16 x, v16 y) { return v16_select(v16_lt(x, y), x, y); }

SIMD_INLINE v16i v16i_load(const uint32_t *p)
{
    const int32_t *q = (const int32_t *)p;
    return (v16i){vld1q_s32(q), vld1q_s32(q + 4), vld1q_s32(q + 8), vld1q_s32(q + 12)};
}
SIMD_INLINE void v16i_store(uint32_t *p, v16i x)
{
    int32_t *q = (int32_t *)p;
    vst1q_s32(q, x.a);
    vst1q_s32(q + 4, x.b);
    vst1q_s32(q + 8, x.c);
    vst1q_s32(q + 12, x.d);
}
SIMD_INLINE v16i v16i_set1(int s)
{
    int32x4_t q = vdupq_n_s32(s);
    return (v16i){q, q, q, q};
}
SIMD_INLINE int32x4_t simd_shr(int32x4_t x, int32x4_t n)
{
    return vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(x), n));
}
SIMD_INLINE v16i v16i_add(v16i x, v16i y) { return SIMD_EACH2(v16i, vaddq_s32, x, y); }
SIMD_INLINE v16i v16i_sub(v16i x, v16i y) { return SIMD_EACH2(v16i, vsubq_s32, x, y); }
SIMD_INLINE v16i v16i_and(v16i x, v16i y) { return SIMD_EACH2(v16i, vandq_s32, x, y); }
SIMD_INLINE v16i v16i_or(v16i x, v16i y) { return SIMD_EACH2(v16i, vorrq_s32, x, y); }
SIMD_INLINE v16i v16i_shl(v16i x, int n) { return SIMD_EACH2(v16i, vshlq_s32, x, v16i_set1(n)); }
SIMD_INLINE v16i v16i_shr(v16i x, int n) { return SIMD_EACH2(v16i, simd_shr, x, v16i_set1(-n)); }
SIMD_INLINE v16i v16_to_int(v16 x) { return SIMD_EACH1(v16i, vcvtnq_s32_f32, x); }
SIMD_INLINE v16 v16_from_int(v16i x) { return SIMD_EACH1(v16, vcvtq_f32_s32, x); }
SIMD_INLINE v16i v16_as_int(v16 x) { return SIMD_EACH1(v16i, vreinterpretq_s32_f32, x); }
SIMD_INLINE v16 v16_as_float(v16i x) { return SIMD_EACH1(v16, vreinterpretq_f32_s32, x); }

/* a * 2^n for whole n in [-126, 128] and results that are normal or overflow: n in two halves. */
SIMD_INLINE v16 v16_scale2(v16 x, v16 n)
{
    const v16i one = v16i_set1(127);
    v16i k = v16_to_int(n);
    v16i half = v16_to_int(v16_mul(n, v16_set1(0.5f)));
    v16i rest = v16i_sub(k, half);
    x = v16_mul(x, v16_as_float(v16i_shl(v16i_add(half, one), 23)));
    return v16_mul(x, v16_as_float(v16i_shl(v16i_add(rest, one), 23)));
}

SIMD_INLINE float v16_sum(v16 x)
{
    float32x4_t q = vaddq_f32(vaddq_f32(x.a, x.c), vaddq_f32(x.b, x.d));
    float32x2_t h = vadd_f32(vget_low_f32(q), vget_high_f32(q));
    return vget_lane_f32(h, 0) + vget_lane_f32(h, 1);
}

SIMD_INLINE float32x4_t simd_max(float32x4_t x, float32x4_t y) { return vbslq_f32(vcltq_f32(y, x), x, y); }
SIMD_INLINE float v16_hmax(v16 x)
{
    float32x4_t q = simd_max(simd_max(x.a, x.c), simd_max(x.b, x.d));
    q = simd_max(q, vextq_f32(q, q, 2));
    float lo = vgetq_lane_f32(q, 0), hi = vgetq_lane_f32(q, 1);
    return lo > hi ? lo : hi;
}

#undef SIMD_EACH1
#undef SIMD_EACH2
#undef SIMD_EACH3

#endif
