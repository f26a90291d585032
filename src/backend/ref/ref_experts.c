/* Mixtures of experts, plainly. */
#include <math.h>

#include "backend/ref/ref.h"

/* How many of the row's logits come before entry i: larger ones, and equal ones with a lower id. */
static int rank_of(const float *z, int i, int experts)
{
    int rank = 0;
    for (int k = 0; k < experts; k++)
        rank += z[k] > z[i] || (z[k] == z[i] && k < i);
    return rank;
}

void ref_route(int32_t *expert, float *weight, float *z, int ldz, int experts, int used, int renormalise, int m)
{
    for (int r = 0; r < m; r++, z += ldz, expert += used, weight += used) {
        float largest = -INFINITY, lanes[OPS_LANES] = {0}, sum = 0;
        for (int i = 0, n = 0; i < experts; i++)
            if (rank_of(z, i, experts) < used)
                expert[n++] = i;
        for (int i = 0; i < experts; i++)
            largest = z[i] > largest ? z[i] : largest;
        for (int i = 0; i < experts; i++) {
            z[i] = ref_exp(z[i] - largest);
            lanes[i % OPS_LANES] = lanes[i % OPS_LANES] + z[i];
        }
        float total = ref_lanes_sum(lanes);
        for (int i = 0; i < experts; i++)
            z[i] = z[i] / total;
        for (int j = 0; j < used; j++)
            sum = sum + z[expert[j]];
        for (int j = 0; j < used; j++)
            weight[j] = renormalise ? z[expert[j]] / sum : z[expert[j]];
    }
}

void ref_route_grad(float *z, int ldz, const int32_t *expert, const float *weight, const float *dweight, int experts,
                    int used, int renormalise, int m)
{
    for (int r = 0; r < m; r++, z += ldz, expert += used, weight += used, dweight += used) {
        float mean = 0;
        for (int j = 0; j < used; j++)
            mean = fmaf(weight[j], dweight[j], mean);
        for (int i = 0, j = 0; i < experts; i++) {
            if (j < used && expert[j] == i) {
                z[i] = (renormalise ? weight[j] : z[i]) * (dweight[j] - mean);
                j++;
            } else
                z[i] = renormalise ? 0 : -(z[i] * mean);
        }
    }
}

void ref_combine(float *y, int ldy, const float *x, int ldx, const int32_t *place, const float *weight, int used,
                 int first, int count, int n, int m)
{
    for (int r = 0; r < m; r++)
        for (int j = 0; j < used; j++) {
            int i = place[r * used + j] - first;
            if (i < 0 || i >= count)
                continue;
            for (int c = 0; c < n; c++) {
                float a = x[(size_t)i * ldx + c], *to = &y[(size_t)r * ldy + c];
                *to = weight ? fmaf(weight[r * used + j], a, *to) : *to + a;
            }
        }
}

void ref_scale_grad(float *dot, float *d, int ldd, float *x, int ldx, const float *weight, int n, int m)
{
    for (int r = 0; r < m; r++) {
        float lanes[OPS_LANES] = {0};
        for (int c = 0; c < n; c++) {
            float *a = &d[(size_t)r * ldd + c], *b = &x[(size_t)r * ldx + c];
            lanes[c % OPS_LANES] = fmaf(*a, *b, lanes[c % OPS_LANES]);
            *a = *a * weight[r];
            *b = *b * weight[r];
        }
        dot[r] = ref_lanes_sum(lanes);
    }
}
