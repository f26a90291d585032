/* RMSNorm and its gradient, plainly. */
#include <math.h>

#include "backend/ref/ref.h"
#include "base/mem.h"

enum { DW_ROWS = 64 }; /* rows whose contributions to dw are summed before they are added */

static float reciprocal_rms(const float *x, float eps, int n)
{
    float lanes[OPS_LANES] = {0};
    for (int i = 0; i < n; i++)
        lanes[i % OPS_LANES] = fmaf(x[i], x[i], lanes[i % OPS_LANES]);
    return 1.0f / sqrtf(ref_lanes_sum(lanes) / (float)n + eps);
}

void ref_rmsnorm(float *y, int ldy, const float *x, int ldx, const float *w, float offset, float eps,
                 int groups, int n, int m)
{
    for (int r = 0; r < m; r++)
        for (int g = 0; g < groups; g++) {
            const float *xg = x + (size_t)r * ldx + (size_t)g * n;
            float *yg = y + (size_t)r * ldy + (size_t)g * n;
            float rstd = reciprocal_rms(xg, eps, n);
            for (int i = 0; i < n; i++)
                yg[i] = xg[i] * rstd * (w[i] + offset);
        }
}

/* With gw = dy (w + offset): dx = gw rstd - x rstd^3 (gw . x) / n. */
static void norm_grad(float *dx, int accumulate, const float *dy, const float *x, const float *w,
                      float offset, float rstd, int n)
{
    float lanes[OPS_LANES] = {0};
    for (int i = 0; i < n; i++)
        lanes[i % OPS_LANES] = fmaf(dy[i] * (w[i] + offset), x[i], lanes[i % OPS_LANES]);
    float c = ref_lanes_sum(lanes) * rstd * rstd * rstd / (float)n;
    for (int i = 0; i < n; i++) {
        float d = fmaf(-c, x[i], dy[i] * (w[i] + offset) * rstd);
        dx[i] = accumulate ? dx[i] + d : d;
    }
}

static void norm_dw(float *dw, const float *dy, int lddy, const float *x, int ldx, const float *rstd,
                    int groups, int n, int m)
{
    for (int first = 0; first < m; first += DW_ROWS) {
        int end = first + DW_ROWS < m ? first + DW_ROWS : m;
        for (int i = 0; i < n; i++) {
            float sum = 0;
            for (int r = first; r < end; r++)
                for (int g = 0; g < groups; g++) {
                    float xhat = x[(size_t)r * ldx + (size_t)g * n + i] * rstd[r * groups + g];
                    sum = fmaf(dy[(size_t)r * lddy + (size_t)g * n + i], xhat, sum);
                }
            dw[i] += sum;
        }
    }
}

void ref_rmsnorm_grad(float *dx, int lddx, int accumulate, float *dw, const float *dy, int lddy,
                      const float *x, int ldx, const float *w, float offset, float eps, int groups,
                      int n, int m)
{
    float *rstd = mem_calloc((size_t)m * (size_t)groups, sizeof *rstd);
    for (int u = 0; u < m * groups; u++)
        rstd[u] = reciprocal_rms(x + (size_t)(u / groups) * ldx + (size_t)(u % groups) * n, eps, n);
    if (dw)
        norm_dw(dw, dy, lddy, x, ldx, rstd, groups, n, m);
    for (int r = 0; r < m; r++)
        for (int g = 0; g < groups; g++)
            norm_grad(dx + (size_t)r * lddx + (size_t)g * n, accumulate,
                      dy + (size_t)r * lddy + (size_t)g * n, x + (size_t)r * ldx + (size_t)g * n, w, offset,
                      rstd[r * groups + g], n);
    mem_free(rstd);
}
