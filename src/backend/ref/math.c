/* exp and log, one number at a time. The polynomials are those of cpu/simd.h. */
#include <math.h>
#include <string.h>

#include "backend/ref/ref.h"

float ref_lanes_sum(const float lanes[OPS_LANES])
{
    float a[OPS_LANES];
    memcpy(a, lanes, sizeof a);
    for (int half = OPS_LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            a[l] = a[l] + a[l + half];
    return a[0];
}

float ref_exp(float x)
{
    if (isnan(x))
        return x;
    if (x < -87.33654f)
        return 0.0f;
    x = x > 89.0f ? 89.0f : x;
    float n = rintf(x * 1.44269504f);
    float r = fmaf(n, -0.693145752f, x);
    r = fmaf(n, -1.42860677e-6f, r);
    float p = fmaf(0x1.6a2352p-10f, r, 0x1.123a6cp-7f);
    p = fmaf(p, r, 0x1.5558f4p-5f);
    p = fmaf(p, r, 0x1.55549p-3f);
    p = fmaf(p, r, 0x1.fffffcp-2f);
    return ldexpf(fmaf(r * r, p, r) + 1.0f, (int)n);
}

float ref_log(float x)
{
    if (x < 0x1p-126f) /* denormals are zero */
        return x <= -0x1p-126f ? NAN : -INFINITY;
    if (!(x < INFINITY))
        return x;
    int n;
    float m = frexpf(x, &n);
    if (m < 0x1.6a09e6p-1f) { /* below sqrt(1/2), as the bits 3f3504f3 have it */
        m *= 2.0f;
        n--;
    }
    float f = m - 1.0f, e = (float)n;
    static const float c[] = {7.0376836292e-2f,  -1.1514610310e-1f, 1.1676998740e-1f,
                              -1.2420140846e-1f, 1.4249322787e-1f,  -1.6668057665e-1f,
                              2.0000714765e-1f,  -2.4999993993e-1f, 3.3333331174e-1f};
    float p = c[0];
    for (int i = 1; i < 9; i++)
        p = fmaf(p, f, c[i]);
    float ff = f * f;
    float low = fmaf(e, -2.12194440e-4f, p * f * ff);
    low = fmaf(-0.5f, ff, low);
    return fmaf(e, 0.693359375f, f + low);
}
