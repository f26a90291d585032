/* AdamW, sums of squares and sums of rows: fast kernels against the plain loops, bit for bit, and AdamW
 * against the textbook's formula in double. */
#include "kernels.h"

enum { SIZES = 6 };
static const int sizes[SIZES] = {1, 15, 16, 100, 4097, 12345};

static const ops_adamw example = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01,
                                  .bias1 = 1 - 0.9 * 0.9, .bias2 = 1 - 0.999 * 0.999, .grad_scale = 0.37};

typedef struct tensors {
    float *p, *g, *m, *v;
} tensors;

static tensors make(size_t n)
{
    tensors t = {kernels_random(n, 1), kernels_random(n, 2), kernels_random(n, 3), kernels_random(n, 4)};
    for (size_t i = 0; i < n; i++)
        t.v[i] = fabsf(t.v[i]);
    return t;
}

static void discard(tensors t)
{
    kernels_free(t.p), kernels_free(t.g), kernels_free(t.m), kernels_free(t.v);
}

static void adamw_matches_reference(void **state)
{
    (void)state;
    pool *p;
    grpo_error err;
    assert_ok(pool_create(&p, 2, &err), err);
    for (int s = 0; s < SIZES; s++) {
        const size_t n = (size_t)sizes[s];
        tensors want = make(n);
        ref_adamw_step(example, want.p, want.g, want.m, want.v, n);
        for_each_isa(isa) {
            tensors got = make(n);
            ops_adamw_step(p, example, got.p, got.g, got.m, got.v, n);
            assert_same_bits(got.p, want.p, n, "p, %s", isa);
            assert_same_bits(got.m, want.m, n, "m, %s", isa);
            assert_same_bits(got.v, want.v, n, "v, %s", isa);
            discard(got);
        }
        discard(want);
    }
    pool_destroy(p);
}

static void adamw_is_the_textbook(void **state)
{
    (void)state;
    enum { N = 500 };
    tensors t = make(N), old = make(N);
    ops_adamw a = example;
    ops_adamw_step(NULL, a, t.p, t.g, t.m, t.v, N);
    for (int i = 0; i < N; i++) {
        double g = old.g[i] * a.grad_scale;
        double m = a.beta1 * old.m[i] + (1 - a.beta1) * g, v = a.beta2 * old.v[i] + (1 - a.beta2) * g * g;
        double p = old.p[i] - a.lr * a.weight_decay * old.p[i] -
                   a.lr * (m / a.bias1) / (sqrt(v / a.bias2) + a.eps);
        assert_true(fabs(t.m[i] - m) < 2e-7 * (1 + fabs(m)));
        assert_true(fabs(t.v[i] - v) < 2e-7 * (1 + fabs(v)));
        assert_true(fabs(t.p[i] - p) < 2e-7 * (1 + fabs(p)));
        assert_true(fabs(old.p[i] - p) > 1e-7); /* the step is visible */
    }
    discard(t), discard(old);
}

static void zeros_stay_zero(void **state)
{
    (void)state;
    float p[20] = {0}, g[20] = {0}, m[20] = {0}, v[20] = {0};
    for_each_isa(isa) {
        ops_adamw_step(NULL, example, p, g, m, v, 20);
        for (int i = 0; i < 20; i++)
            if (p[i] != 0.0f || m[i] != 0.0f || v[i] != 0.0f)
                fail_msg("padding moved, %s", isa);
    }
}

static void sum_squares_matches_reference(void **state)
{
    (void)state;
    pool *p;
    grpo_error err;
    assert_ok(pool_create(&p, 3, &err), err);
    const size_t most = (size_t)4096 * 1030 + 17; /* more items than one slab */
    for (int s = 0; s <= SIZES; s++) {
        const size_t n = s < SIZES ? (size_t)sizes[s] : most;
        float *x = kernels_random(n, 9);
        double want = ref_sum_squares(x, n), plain = 0;
        for (size_t i = 0; i < n; i++)
            plain += (double)x[i] * x[i];
        assert_true(fabs(want - plain) < 1e-9 * plain);
        for_each_isa(isa) {
            double got = ops_sum_squares(p, x, n);
            assert_same_bits(&got, &want, 1, "sum of %zu squares, %s", n, isa);
        }
        x[n / 2] = NAN;
        assert_true(isnan(ops_sum_squares(p, x, n)));
        x[n / 2] = INFINITY;
        assert_true(ops_sum_squares(p, x, n) == INFINITY);
        kernels_free(x);
    }
    pool_destroy(p);
}

static void add_matches_reference(void **state)
{
    (void)state;
    enum { M = 7, LD = 50 };
    for (int n = 1; n <= 48; n++) {
        float *x = kernels_random(M * LD, 1), *want = kernels_random(M * LD, 2), *got = kernels_alloc(M * LD);
        ref_add(want, LD, x, LD, n, M);
        for_each_isa(isa) {
            kernels_fill(got, M * LD, 2);
            ops_add(NULL, got, LD, x, LD, n, M);
            assert_same_bits(got, want, M * LD, "add, %s", isa);
        }
        kernels_free(x), kernels_free(want), kernels_free(got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adamw_matches_reference), cmocka_unit_test(adamw_is_the_textbook),
        cmocka_unit_test(zeros_stay_zero),         cmocka_unit_test(sum_squares_matches_reference),
        cmocka_unit_test(add_matches_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
