/* RMSNorm, rotary embedding and gated activations: fast kernels against the plain loops, bit for bit, on
 * every instruction set, with 1 to 3 threads, rows together and alone. */
#include "kernels.h"
#include "pools.h"

static pool **const pools = pools_by_threads + 1; /* 1, 2, 3 threads */

enum { GAP = 3 }; /* columns beside the matrix that must stay as they are */

/* ---- RMSNorm ---------------------------------------------------------------------------- */

static void check_norm(int groups, int n, int m, float offset)
{
    const int row = groups * n, ld = row + GAP;
    const size_t size = (size_t)m * ld;
    float *x = kernels_random(size, 1), *w = kernels_random((size_t)n, 2);
    float *want = kernels_random(size, 3), *got = kernels_alloc(size);
    uint64_t fp = pool_fp_enter();
    ref_rmsnorm(want, ld, x, ld, w, offset, 1e-5f, groups, n, m);
    pool_fp_leave(fp);
    for_each_isa(isa)
        for (int t = 0; t < 5; t++) {
            kernels_fill(got, size, 3);
            if (t < 3) {
                ops_rmsnorm(pools[t], got, ld, x, ld, w, offset, 1e-5f, groups, n, m);
            } else {
                for (int r = 0; r < m; r++) { /* rows alone, the second time in place */
                    if (t == 4)
                        memcpy(got + (size_t)r * ld, x + (size_t)r * ld, (size_t)row * sizeof *got);
                    ops_rmsnorm(NULL, got + (size_t)r * ld, ld, (t == 4 ? got : x) + (size_t)r * ld, ld, w,
                                offset, 1e-5f, groups, n, 1);
                }
            }
            assert_same_bits(got, want, size, "rmsnorm %d x %d, %d rows, %s, way %d", groups, n, m, isa, t);
        }
    kernels_free(x);
    kernels_free(w);
    kernels_free(want);
    kernels_free(got);
}

static void check_norm_grad(int groups, int n, int m, int accumulate, int with_dw)
{
    const int ld = groups * n + GAP;
    const size_t size = (size_t)m * ld;
    float *x = kernels_random(size, 1), *w = kernels_random((size_t)n, 2), *dy = kernels_random(size, 3);
    float *want = kernels_random(size, 4), *got = kernels_alloc(size);
    float *want_dw = kernels_random((size_t)n, 5), *got_dw = kernels_alloc((size_t)n);
    uint64_t fp = pool_fp_enter();
    ref_rmsnorm_grad(want, ld, accumulate, with_dw ? want_dw : NULL, dy, ld, x, ld, w, 1, 1e-5f, groups, n, m);
    pool_fp_leave(fp);
    for_each_isa(isa)
        for (int t = 0; t < 4; t++) {
            kernels_fill(got, size, 4);
            kernels_fill(got_dw, (size_t)n, 5);
            ops_rmsnorm_grad(t < 3 ? pools[t] : NULL, got, ld, accumulate, with_dw ? got_dw : NULL, dy, ld, x, ld, w, 1,
                             1e-5f, groups, n, m);
            assert_same_bits(got, want, size, "dx %d x %d, %d rows, %s", groups, n, m, isa);
            assert_same_bits(got_dw, want_dw, n, "dw %d x %d, %d rows, %s", groups, n, m, isa);
        }
    float *const all[] = {x, w, dy, want, got, want_dw, got_dw};
    for (int i = 0; i < 7; i++)
        kernels_free(all[i]);
}

static void rmsnorm_matches_reference(void **state)
{
    (void)state;
    static const int shapes[][3] = {{1, 1, 3}, {1, 6, 5}, {1, 33, 9}, {3, 10, 7}, {9, 64, 11}, {1, 576, 37}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        check_norm(shapes[s][0], shapes[s][1], shapes[s][2], 0);
        check_norm(shapes[s][0], shapes[s][1], shapes[s][2], 1);
        check_norm_grad(shapes[s][0], shapes[s][1], shapes[s][2], 0, 1);
        check_norm_grad(shapes[s][0], shapes[s][1], shapes[s][2], 1, 0);
    }
    check_norm_grad(1, 17, 65, 0, 1); /* chunks of 64 rows */
    check_norm_grad(1, 36, 1100, 1, 1);
    check_norm_grad(1, 4000, 300, 0, 1); /* several rounds without a pool */
    check_norm_grad(200, 4, 130, 0, 1);
}

/* ---- rotary embedding ------------------------------------------------------------------- */

static void check_rope(int heads, int dim, int rot, int m, int inverse)
{
    const int ld = heads * dim + GAP, positions = 50;
    const size_t size = (size_t)m * ld, table = (size_t)positions * (rot / 2);
    float *c = kernels_random(table, 1), *s = kernels_random(table, 2);
    float *want = kernels_random(size, 3), *got = kernels_alloc(size);
    int32_t pos[64];
    for (int r = 0; r < m; r++)
        pos[r] = (r * 37 + 11) % positions;
    uint64_t fp = pool_fp_enter();
    ref_rope(want, ld, heads, dim, rot, c, s, pos, inverse, m);
    pool_fp_leave(fp);
    for_each_isa(isa)
        for (int t = 0; t < 4; t++) {
            kernels_fill(got, size, 3);
            for (int r = 0; r < (t == 3 ? m : 1); r++)
                ops_rope(t == 3 ? NULL : pools[t], got + (size_t)r * ld, ld, heads, dim, rot, c, s, pos + r,
                         inverse, t == 3 ? 1 : m);
            assert_same_bits(got, want, size, "rope %d x %d, rot %d, %s", heads, dim, rot, isa);
        }
    float *const all[] = {c, s, want, got};
    for (int i = 0; i < 4; i++)
        kernels_free(all[i]);
}

static void rope_matches_reference(void **state)
{
    (void)state;
    for (int inverse = 0; inverse < 2; inverse++) {
        check_rope(9, 64, 64, 40, inverse);
        check_rope(2, 10, 6, 5, inverse);
        check_rope(3, 6, 6, 7, inverse);
        check_rope(1, 80, 20, 3, inverse);
        check_rope(2, 50, 44, 4, inverse);
        check_rope(2, 8, 0, 2, inverse);
    }
}

/* ---- gated activations -------------------------------------------------------------------- */

typedef struct glu_arrays {
    float *gate, *up, *dy, *y, *dgate, *dup;
} glu_arrays;

static glu_arrays glu_alloc(size_t size)
{
    glu_arrays a = {kernels_random(size, 1), kernels_random(size, 2), kernels_random(size, 3),
                    kernels_random(size, 4), kernels_random(size, 5), kernels_random(size, 6)};
    for (size_t i = 0; i < size; i++)
        a.gate[i] *= i % 7 ? 8 : 100; /* saturation too */
    return a;
}

static void glu_free(glu_arrays a)
{
    float *const all[] = {a.gate, a.up, a.dy, a.y, a.dgate, a.dup};
    for (int i = 0; i < 6; i++)
        kernels_free(all[i]);
}

static void check_glu(ops_activation act, int n, int m)
{
    const int ld = n + GAP;
    const size_t size = (size_t)m * ld;
    glu_arrays a = glu_alloc(size), b = glu_alloc(size);
    float *want = kernels_random(size, 7), *got = kernels_alloc(size);
    uint64_t fp = pool_fp_enter();
    ref_glu(act, want, ld, a.gate, ld, a.up, ld, n, m);
    ref_glu_grad(act, a.dgate, ld, a.dup, ld, a.y, ld, a.dy, ld, a.gate, ld, a.up, ld, n, m);
    pool_fp_leave(fp);
    for_each_isa(isa)
        for (int t = 0; t < 4; t++) {
            pool *p = t < 3 ? pools[t] : NULL;
            const int step = t < 3 ? m : 1;
            kernels_fill(got, size, 7);
            for (int r = 0; r < m; r += step) {
                const size_t at = (size_t)r * ld;
                ops_glu(p, act, got + at, ld, a.gate + at, ld, a.up + at, ld, n, step);
                ops_glu_grad(p, act, b.dgate + at, ld, b.dup + at, ld, t == 1 ? NULL : b.y + at, ld,
                             a.dy + at, ld, a.gate + at, ld, a.up + at, ld, n, step);
            }
            assert_same_bits(got, want, size, "glu %d, n %d, %s", act, n, isa);
            assert_same_bits(b.y, a.y, size, "glu_grad y %d, n %d, %s", act, n, isa);
            assert_same_bits(b.dgate, a.dgate, size, "dgate %d, n %d, %s", act, n, isa);
            assert_same_bits(b.dup, a.dup, size, "dup %d, n %d, %s", act, n, isa);
        }
    glu_free(a);
    glu_free(b);
    kernels_free(want);
    kernels_free(got);
}

static void glu_matches_reference(void **state)
{
    (void)state;
    for (int act = OPS_SILU; act <= OPS_GELU_TANH; act++) {
        check_glu((ops_activation)act, 1536, 13);
        check_glu((ops_activation)act, 48, 3);
        check_glu((ops_activation)act, 37, 5);
        check_glu((ops_activation)act, 5, 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rmsnorm_matches_reference),
        cmocka_unit_test(rope_matches_reference),
        cmocka_unit_test(glu_matches_reference),
    };
    return cmocka_run_group_tests(tests, pools_set_up, pools_tear_down);
}
