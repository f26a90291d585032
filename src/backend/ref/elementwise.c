/* The optimiser's step, the gradient's norm, sums of rows as plain loops. */
#include <math.h>

#include "backend/ref/ref.h"

void ref_adamw_step(ops_adamw a, float *param, const float *grad, float *m, float *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float g = grad[i] * (float)a.grad_scale;
        param[i] = param[i] * (float)(1.0 - a.lr * a.weight_decay);
        m[i] = m[i] + (g - m[i]) * (float)(1.0 - a.beta1);
        v[i] = v[i] * (float)a.beta2 + (float)(1.0 - a.beta2) * g * g;
        float under = sqrtf(v[i]) / (float)sqrt(a.bias2) + (float)a.eps;
        param[i] = param[i] - (float)(a.lr / a.bias1) * (m[i] / under);
    }
}

double ref_sum_squares(const float *x, size_t n)
{
    double total = 0.0;
    for (size_t i0 = 0; i0 < n; i0 += 4096) {
        double lane[OPS_LANES] = {0};
        for (size_t i = i0; i < n && i < i0 + 4096; i++)
            lane[i % OPS_LANES] += (double)x[i] * (double)x[i];
        for (int half = OPS_LANES / 2; half > 0; half /= 2)
            for (int l = 0; l < half; l++)
                lane[l] += lane[l + half];
        total += lane[0];
    }
    return total;
}

void ref_add(float *y, int ldy, const float *x, int ldx, int n, int m)
{
    for (int r = 0; r < m; r++)
        for (int i = 0; i < n; i++)
            y[(size_t)r * ldy + i] = y[(size_t)r * ldy + i] + x[(size_t)r * ldx + i];
}
