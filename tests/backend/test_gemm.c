/* Matrix operations: fast kernels against the plain loops, bit for bit, on every instruction set, at
 * every number of rows, with 1 to 3 threads. */
#include "kernels.h"
#include "pools.h"

static pool **const pools = pools_by_threads + 1; /* 1, 2, 3 threads */

static void pack_matches_reference(void **state)
{
    (void)state;
    for (int s = 0; s < KERNELS_SHAPES; s++) {
        const int n = kernels_shapes[s][0], k = kernels_shapes[s][1], ld = k + 3;
        const size_t size = ops_matrix_elements(n, k), tsize = ops_matrix_elements(k, n);
        float *src = kernels_random((size_t)n * ld, 1);
        ops_matrix want = ops_matrix_f32(n, k, kernels_random(size, 2)), got = ops_matrix_f32(n, k, kernels_alloc(size));
        ops_matrix twant = ops_matrix_f32(k, n, kernels_random(tsize, 3)), tgot = ops_matrix_f32(k, n, kernels_alloc(tsize));
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
    for_each_product(s, m)
        check_gemm(kernels_shapes[s][0], kernels_shapes[s][1], m);
    check_gemm(97, 601, 300);
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

static void check_dw(int n, int k, int m)
{
    const int ldx = k + 5, lddy = n + 3;
    const size_t size = ops_matrix_elements(n, k);
    ops_matrix want = kernels_matrix(n, k, 1), got = ops_matrix_f32(n, k, kernels_alloc(size));
    float *start = kernels_alloc(size);
    memcpy(start, want.data, size * sizeof *start);
    float *x = kernels_random((size_t)m * ldx, 2), *dy = kernels_random((size_t)m * lddy, 3);
    uint64_t fp = pool_fp_enter();
    ref_gemm_dw(OPS_F32, want, dy, lddy, x, ldx, m);
    pool_fp_leave(fp);
    for_each_isa(isa)
        for (int t = 0; t < 3; t++) {
            memcpy(got.data, start, size * sizeof *start);
            ops_gemm_dw(pools[t], OPS_F32, got, dy, lddy, x, ldx, m);
            assert_same_bits(got.data, want.data, size, "dw m=%d n=%d k=%d, %s, %d threads", m, n, k, isa, t + 1);
        }
    float *const all[] = {want.data, got.data, start, x, dy};
    for (int i = 0; i < 5; i++)
        kernels_free(all[i]);
}

static void gemm_dw_matches_reference(void **state)
{
    (void)state;
    for (int m = 1; m <= 40; m += 3)
        check_dw(36, 24, m);
    for (int s = 0; s < KERNELS_SHAPES; s++)
        check_dw(kernels_shapes[s][0], kernels_shapes[s][1], 21);
    check_dw(33, 29, 511);
    check_dw(33, 29, 512);
    check_dw(33, 45, 1100);
    check_dw(300, 600, 30);
}

static void padding_stays_zero_beside_infinities(void **state)
{
    (void)state;
    float x[2] = {INFINITY, NAN}, dy[5] = {1, 2, 3, 4, 5};
    for_each_isa(isa) {
        ops_matrix dw = ops_matrix_f32(5, 2, kernels_alloc(ops_matrix_elements(5, 2)));
        ops_gemm_dw(NULL, OPS_F32, dw, dy, 5, x, 2, 1);
        for (int j = 0; j < 2; j++)
            for (int i = 0; i < 32; i++)
                assert_true(i < 5 ? !isfinite(dw.data[j * 32 + i]) : dw.data[j * 32 + i] == 0.0f);
        kernels_free(dw.data);
    }
}

static void bias_and_embedding_match_reference(void **state)
{
    (void)state;
    enum { N = 75, K = 37, M = 29, LD = 80 };
    const size_t size = ops_matrix_elements(N, K);
    int32_t token[M];
    uint32_t seed = 3;
    for (int r = 0; r < M; r++)
        token[r] = (int32_t)(kernels_next(&seed) % 7 * 12); /* many twice */
    float *dy = kernels_random(M * LD, 1);
    float *bias = kernels_random(N, 2), *y = kernels_alloc(M * LD), *got = kernels_alloc(M * LD);
    ops_matrix w = kernels_matrix(N, K, 3), dw = ops_matrix_f32(N, K, kernels_alloc(size));
    ref_bias_grad(bias, dy, LD, N, M);
    ref_embed(y, LD, w, token, M, 24.0f);
    ops_matrix want = ops_matrix_f32(N, K, kernels_alloc(size));
    memcpy(want.data, w.data, size * sizeof *w.data);
    ref_embed_grad(want, dy, LD, token, M, 0.7f);
    for_each_isa(isa)
        for (int t = 0; t < 3; t++) {
            kernels_fill(got, N, 2);
            ops_bias_grad(pools[t], got, dy, LD, N, M);
            assert_same_bits(got, bias, N, "bias, %s", isa);
            memset(got, 0, M * LD * sizeof *got);
            ops_embed(pools[t], got, LD, w, token, M, 24.0f);
            assert_same_bits(got, y, M * LD, "embed, %s", isa);
            memcpy(dw.data, w.data, size * sizeof *w.data);
            ops_embed_grad(pools[t], dw, dy, LD, token, M, 0.7f);
            assert_same_bits(dw.data, want.data, size, "embed grad, %s", isa);
        }
    float *const all[] = {dy, bias, y, got, w.data, dw.data, want.data};
    for (int i = 0; i < 7; i++)
        kernels_free(all[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pack_matches_reference),
        cmocka_unit_test(gemm_matches_reference_at_every_m),
        cmocka_unit_test(residual_may_be_the_output),
        cmocka_unit_test(gemm_dw_matches_reference),
        cmocka_unit_test(padding_stays_zero_beside_infinities),
        cmocka_unit_test(bias_and_embedding_match_reference),
    };
    return cmocka_run_group_tests(tests, pools_set_up, pools_tear_down);
}
