/* Gated activations and their gradient, plainly. Both activations are x sigmoid(t(x)): SiLU with
 * t = x, GELU's tanh form with t = 2 sqrt(2 / pi) (x + 0.044715 x^3), since
 * (1 + tanh u) / 2 = sigmoid(2 u). */
#include <math.h>

#include "backend/ref/ref.h"

#define GELU_A 1.5957691216057308f /* 2 sqrt(2 / pi) */
#define GELU_B 0.044715f

static float sigmoid_of(ops_activation act, float x)
{
    float t = act == OPS_SILU ? x : GELU_A * x * fmaf(GELU_B * x, x, 1.0f);
    return 1.0f / (1.0f + ref_exp(-t));
}

void ref_glu(ops_activation act, float *y, int ldy, const float *gate, int ldg, const float *up,
             int ldu, int n, int m)
{
    for (int r = 0; r < m; r++)
        for (int i = 0; i < n; i++) {
            float g = gate[(size_t)r * ldg + i];
            y[(size_t)r * ldy + i] = g * sigmoid_of(act, g) * up[(size_t)r * ldu + i];
        }
}

void ref_glu_grad(ops_activation act, float *dgate, int lddg, float *dup, int lddu, float *y, int ldy,
                  const float *dy, int lddy, const float *gate, int ldg, const float *up, int ldu,
                  int n, int m)
{
    for (int r = 0; r < m; r++)
        for (int i = 0; i < n; i++) {
            float g = gate[(size_t)r * ldg + i], u = up[(size_t)r * ldu + i];
            float d = dy[(size_t)r * lddy + i];
            float s = sigmoid_of(act, g), a = g * s;
            float slope = act == OPS_SILU ? 1.0f : GELU_A * fmaf(3 * GELU_B * g, g, 1.0f); /* t'(g) */
            if (y)
                y[(size_t)r * ldy + i] = a * u;
            dup[(size_t)r * lddu + i] = d * a;
            dgate[(size_t)r * lddg + i] = d * u * fmaf(a * slope, 1.0f - s, s);
        }
}
