/* RMSNorm, rotary embedding and gated activations against double precision: values directly, gradients
 * by central finite differences of a double-precision forward pass. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/ops.h"
#include "random.h"
#include "support.h"

enum { M = 3, MAX = 256 };

/* A loss over double arrays: the forward pass of an operation, contracted with fixed weights. */
typedef double loss_fn(const void *context, const double *input);

static void check_gradient(loss_fn *loss, const void *context, const float *input, int n,
                           const float *gradient, double tolerance)
{
    double x[4 * MAX];
    for (int i = 0; i < n; i++)
        x[i] = input[i];
    for (int i = 0; i < n; i++) {
        double h = 1e-5, keep = x[i];
        x[i] = keep + h;
        double up = loss(context, x);
        x[i] = keep - h;
        double down = loss(context, x);
        x[i] = keep;
        assert_near(gradient[i], (up - down) / (2 * h), tolerance);
    }
}

/* ---- RMSNorm: inputs are x[M][groups * n], then w[n] ---------------------------------- */

typedef struct norm_case {
    int groups, n;
    float offset, eps;
    float dy[MAX];
} norm_case;

static double norm_value(const norm_case *c, const double *x, const double *w, int r, int g, int i)
{
    const double *xg = x + (r * c->groups + g) * c->n;
    double sum = 0;
    for (int j = 0; j < c->n; j++)
        sum += xg[j] * xg[j];
    return xg[i] / sqrt(sum / c->n + (double)c->eps) * (w[i] + (double)c->offset);
}

static double norm_loss(const void *context, const double *input)
{
    const norm_case *c = context;
    double sum = 0;
    for (int r = 0; r < M; r++)
        for (int g = 0; g < c->groups; g++)
            for (int i = 0; i < c->n; i++)
                sum += (double)c->dy[(r * c->groups + g) * c->n + i] *
                       norm_value(c, input, input + M * c->groups * c->n, r, g, i);
    return sum;
}

static void check_norm(int groups, int n, float offset)
{
    norm_case c = {.groups = groups, .n = n, .offset = offset, .eps = 1e-3f};
    int row = groups * n, total = M * row;
    float input[MAX + MAX], y[MAX], gradient[MAX + MAX] = {0};
    random_fill(input, total + n, -2, 2);
    random_fill(c.dy, total, -1, 1);
    ops_rmsnorm(NULL, y, row, input, row, input + total, offset, c.eps, groups, n, M);
    double wide[MAX + MAX];
    for (int i = 0; i < total + n; i++)
        wide[i] = input[i];
    for (int i = 0; i < total; i++)
        assert_near(y[i], norm_value(&c, wide, wide + total, i / row, i % row / n, i % n), 1e-6);
    ops_rmsnorm_grad(NULL, gradient, row, 0, gradient + total, c.dy, row, input, row, input + total,
                     offset, c.eps, groups, n, M);
    check_gradient(norm_loss, &c, input, total + n, gradient, 1e-5);
    /* accumulate, no dw, in place of dy */
    float twice[MAX];
    memcpy(twice, gradient, sizeof(float) * (size_t)total);
    ops_rmsnorm_grad(NULL, twice, row, 1, NULL, c.dy, row, input, row, input + total, offset, c.eps,
                     groups, n, M);
    for (int i = 0; i < total; i++)
        assert_true(twice[i] == gradient[i] + gradient[i]);
    ops_rmsnorm_grad(NULL, c.dy, row, 0, NULL, c.dy, row, input, row, input + total, offset, c.eps,
                     groups, n, M);
    assert_memory_equal(c.dy, gradient, sizeof(float) * (size_t)total);
}

static void test_rmsnorm(void **unused)
{
    (void)unused;
    check_norm(1, 5, 0);
    check_norm(1, 64, 1);
    check_norm(3, 10, 0);
    check_norm(2, 33, 1);
}

/* ---- rotary embedding ----------------------------------------------------------------- */

static void test_rope(void **unused)
{
    (void)unused;
    enum { HEADS = 2, DIM = 10, ROT = 6, HALF = ROT / 2, POSITIONS = 7 };
    float cos_table[POSITIONS * HALF], sin_table[POSITIONS * HALF];
    for (int i = 0; i < POSITIONS * HALF; i++) {
        cos_table[i] = cosf(0.3f * (float)i);
        sin_table[i] = sinf(0.3f * (float)i);
    }
    int32_t pos[M] = {5, 0, 6};
    float x[M * HEADS * DIM], y[M * HEADS * DIM];
    random_fill(x, M * HEADS * DIM, -1, 1);
    memcpy(y, x, sizeof y);
    ops_rope(NULL, y, HEADS * DIM, HEADS, DIM, ROT, cos_table, sin_table, pos, 0, M);
    for (int i = 0; i < M * HEADS * DIM; i++) {
        int d = i % DIM, r = i / (HEADS * DIM), j = d % HALF;
        double c = cos_table[pos[r] * HALF + j], s = sin_table[pos[r] * HALF + j], want = x[i];
        if (d < HALF)
            want = (double)x[i] * c - (double)x[i + HALF] * s;
        else if (d < ROT)
            want = (double)x[i] * c + (double)x[i - HALF] * s;
        assert_near(y[i], want, 1e-6);
    }
    ops_rope(NULL, y, HEADS * DIM, HEADS, DIM, ROT, cos_table, sin_table, pos, 1, M);
    for (int i = 0; i < M * HEADS * DIM; i++)
        assert_near(y[i], x[i], 1e-6);
}

/* ---- gated activations: inputs are gate[M][n], then up[M][n] --------------------------- */

typedef struct glu_case {
    ops_activation act;
    int n;
    float dy[MAX];
} glu_case;

static double glu_value(ops_activation act, double g, double u)
{
    if (act == OPS_SILU)
        return g / (1 + exp(-g)) * u;
    return 0.5 * g * (1 + tanh(sqrt(2 / acos(-1)) * (g + 0.044715 * g * g * g))) * u;
}

static double glu_loss(const void *context, const double *input)
{
    const glu_case *c = context;
    double sum = 0;
    for (int i = 0; i < M * c->n; i++)
        sum += (double)c->dy[i] * glu_value(c->act, input[i], input[M * c->n + i]);
    return sum;
}

static void check_glu(ops_activation act, int n)
{
    glu_case c = {.act = act, .n = n};
    int total = M * n;
    float input[2 * MAX], y[MAX], again[MAX], gradient[2 * MAX];
    float *up = input + total;
    random_fill(input, 2 * total, -6, 6);
    random_fill(c.dy, total, -1, 1);
    ops_glu(NULL, act, y, n, input, n, up, n, n, M);
    for (int i = 0; i < total; i++)
        assert_near(y[i], glu_value(act, input[i], up[i]), 1e-6);
    ops_glu_grad(NULL, act, gradient, n, gradient + total, n, again, n, c.dy, n, input, n, up, n, n, M);
    assert_memory_equal(y, again, sizeof(float) * (size_t)total);
    check_gradient(glu_loss, &c, input, 2 * total, gradient, 1e-5);
    ops_glu_grad(NULL, act, c.dy, n, again, n, NULL, 0, c.dy, n, input, n, up, n, n, M); /* in place */
    assert_memory_equal(c.dy, gradient, sizeof(float) * (size_t)total);
    ops_glu(NULL, act, input, n, input, n, up, n, n, M);
    assert_memory_equal(input, y, sizeof(float) * (size_t)total);
}

/* Far out the activations are 0 or the identity, not NaN. */
static void test_glu_limits(void **unused)
{
    (void)unused;
    float gate[4] = {-1e4f, -100, 100, 1e4f}, up[4] = {1, 1, 1, 1}, y[4], dgate[4], dup[4];
    for (int act = OPS_SILU; act <= OPS_GELU_TANH; act++) {
        ops_glu(NULL, (ops_activation)act, y, 4, gate, 4, up, 4, 4, 1);
        ops_glu_grad(NULL, (ops_activation)act, dgate, 4, dup, 4, NULL, 0, up, 4, gate, 4, up, 4, 4, 1);
        for (int i = 0; i < 4; i++) {
            assert_near(y[i], i < 2 ? 0 : (double)gate[i], 1e-6);
            assert_near(dgate[i], i < 2 ? 0 : 1, 1e-6);
        }
    }
}

static void test_glu(void **unused)
{
    (void)unused;
    check_glu(OPS_SILU, 64);
    check_glu(OPS_SILU, 7);
    check_glu(OPS_GELU_TANH, 33);
    check_glu(OPS_GELU_TANH, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rmsnorm),
        cmocka_unit_test(test_rope),
        cmocka_unit_test(test_glu),
        cmocka_unit_test(test_glu_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
