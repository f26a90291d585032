/* Matrix operations: fast kernels against the plain loops, bit for bit, on every instruction set, at
 * every number of rows, with 1 to 3 threads. */
#include "kernels.h"

static pool *pools[3]; /* 1, 2, 3 threads */

static int set_up(void **state)
{
    (void)state;
    grpo_error err;
    for (int i = 0; i < 3; i++)
        assert_ok(pool_create(&pools[i], i + 1, &err), err);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        pool_destroy(pools[i]);
    return 0;
}

static const int shapes[][2] = {{36, 24}, {1, 1}, {33, 17}, {64, 600}, {20, 1536}, {48, 1600}, {31, 2500}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void pack_matches_reference(void **state)
{
    (void)state;
    for (int s = 0; s < SHAPES; s++) {
        const int n = shapes[s][0], k = shapes[s][1], ld = k + 3;
        const size_t size = ops_matrix_elements(n, k), tsize = ops_matrix_elements(k, n);
        float *src = kernels_random((size_t)n * ld, 1);
        ops_matrix want = {n, k, kernels_random(size, 2)}, got = {n, k, kernels_alloc(size)};
        ops_matrix twant = {k, n, kernels_random(tsize, 3)}, tgot = {k, n, kernels_alloc(tsize)};
        float *back = kernels_alloc((size_t)n * ld);
        ref_pack(want, src, ld);
        ref_pack_transposed(twant, want);
        for_each_isa(isa)
            for (int t = 0; t < 3; t++) {
                kernels_fill(got.data, size, 4);
                ops_pack(pools[t], got, src, ld);
                assert_same_bits(got.data, want.data, size, "pack %d x %d, %s", n, k, isa);
                kernels_fill(tgot.data, tsize, 5);
                ops_pack_transposed(pools[t], tgot, want);
                assert_same_bits(tgot.data, twant.data, tsize, "transpose %d x %d, %s", n, k, isa);
                memcpy(back, src, (size_t)n * ld * sizeof *back);
                for (int i = 0; i < n; i++)
                    memset(back + (size_t)i * ld, 0, (size_t)k * sizeof *back);
                ops_unpack(pools[t], back, ld, want);
                assert_same_bits(back, src, (size_t)n * ld, "unpack %d x %d, %s", n, k, isa);
            }
        float *const all[] = {src, want.data, got.data, twant.data, tgot.data, back};
        for (int i = 0; i < 6; i++)
            kernels_free(all[i]);
    }
}

/* Two products of the same rows, the second with bias and residual, rows given one by one too. */
static void check_gemm(int n, int k, int m)
{
    const int ldx = k + 5, ldy = n + 7, n2 = n / 2 + 1, ldr = n2 + 2;
    ops_matrix w = kernels_matrix(n, k, 1), w2 = kernels_matrix(n2, k, 2);
    float *x = kernels_random((size_t)m * ldx, 3);
    float *bias = kernels_random((size_t)n2, 4), *residual = kernels_random((size_t)m * ldr, 5);
    const size_t size = (size_t)m * ldy;
    float *want = kernels_random(size, 6), *want2 = kernels_random(size, 7);
    float *got = kernels_alloc(size), *got2 = kernels_alloc(size);
    uint64_t fp = pool_fp_enter();
    ref_gemm((ops_product[]){{w, want, ldy, NULL, NULL, 0}, {w2, want2, ldy, bias, residual, ldr}}, 2, x,
             ldx, m);
    pool_fp_leave(fp);
    for_each_isa(isa)
        for (int t = 0; t < 4; t++) {
            kernels_fill(got, size, 6);
            kernels_fill(got2, size, 7);
            if (t < 3)
                ops_gemm(pools[t],
                         (ops_product[]){{w, got, ldy, NULL, NULL, 0}, {w2, got2, ldy, bias, residual, ldr}},
                         2, x, ldx, m);
            else
                for (int r = 0; r < m; r++) /* the row law: each row alone */
                    ops_gemm(pools[1],
                             (ops_product[]){{w, got + (size_t)r * ldy, ldy, NULL, NULL, 0},
                                             {w2, got2 + (size_t)r * ldy, ldy, bias,
                                              residual + (size_t)r * ldr, ldr}},
                             2, x + (size_t)r * ldx, ldx, 1);
            assert_same_bits(got, want, size, "gemm m=%d n=%d k=%d, %s, case %d", m, n, k, isa, t);
            assert_same_bits(got2, want2, size, "gemm m=%d n=%d k=%d, %s, bias, case %d", m, n2, k, isa, t);
        }
    float *const all[] = {w.data, w2.data, x, bias, residual, want, want2, got, got2};
    for (int i = 0; i < 9; i++)
        kernels_free(all[i]);
}

static void gemm_matches_reference_at_every_m(void **state)
{
    (void)state;
    for (int m = 1; m <= 40; m++)
        check_gemm(36, 24, m);
    for (int s = 0; s < SHAPES; s++)
        for (int m = 1; m <= 40; m += 1 + m / 3)
            check_gemm(shapes[s][0], shapes[s][1], m);
    check_gemm(97, 600, 300);
}

static void residual_may_be_the_output(void **state)
{
    (void)state;
    enum { N = 70, K = 530, M = 19 };
    ops_matrix w = kernels_matrix(N, K, 1);
    float *x = kernels_random(M * K, 2), *want = kernels_random(M * N, 3), *got = kernels_alloc(M * N);
    ref_gemm(&(ops_product){w, want, N, NULL, want, N}, 1, x, K, M);
    for_each_isa(isa) {
        kernels_fill(got, M * N, 3);
        ops_gemm(pools[1], &(ops_product){w, got, N, NULL, got, N}, 1, x, K, M);
        assert_same_bits(got, want, M * N, "gemm in place, %s", isa);
    }
    kernels_free(w.data), kernels_free(x), kernels_free(want), kernels_free(got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pack_matches_reference),
        cmocka_unit_test(gemm_matches_reference_at_every_m),
        cmocka_unit_test(residual_may_be_the_output),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
