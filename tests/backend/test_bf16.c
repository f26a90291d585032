/* Matrices stored as bf16: rounding, packing, and every operation that reads one gives, bit for bit, what it
 * gives on an f32 matrix of the rounded numbers; every instruction set, odd sizes, 1 to 3 threads. */
#include "kernels.h"
#include "pools.h"

static pool **const pools = pools_by_threads + 1; /* 1, 2, 3 threads */

/* Numbers as bits, and what they round to: IEEE 754 roundTiesToEven on the upper 16 bits. */
static void rounding_is_to_nearest_even(void **state)
{
    (void)state;
    static const uint32_t cases[][2] = {
        {0x00000000, 0x0000}, {0x80000000, 0x8000}, {0x3f800000, 0x3f80}, {0x3f807fff, 0x3f80}, {0x3f808000, 0x3f80},
        {0x3f808001, 0x3f81}, {0x3f818000, 0x3f82}, {0x3f817fff, 0x3f81}, {0xbf818000, 0xbf82}, {0x3fffffff, 0x4000},
        {0x7f7f7fff, 0x7f7f}, {0x7f7f8000, 0x7f80}, {0xff7fffff, 0xff80}, {0x7f800000, 0x7f80}, {0xff800000, 0xff80},
        {0x7f800001, 0x7fc0}, {0x7fffffff, 0x7fff}, {0xffc00000, 0xffc0}, {0x00000001, 0x0000}, {0x00018000, 0x0002},
    };
    enum { CASES = sizeof cases / sizeof *cases };
    float src[32 * CASES];
    for (int i = 0; i < 32; i++)
        for (int j = 0; j < CASES; j++)
            memcpy(&src[i * CASES + j], &cases[(i + j) % CASES][0], sizeof *src);
    ops_matrix w = ops_matrix_bf16(32, CASES, (uint32_t *)kernels_alloc(ops_matrix_bytes(OPS_BF16, 32, CASES) / 4));
    for_each_isa(isa) {
        ops_pack(NULL, w, src, CASES);
        for (int i = 0; i < 32; i++)
            for (int j = 0; j < CASES; j++) {
                const uint32_t pair = w.pairs[(size_t)(j / 2) * 32 + i], got = j % 2 ? pair >> 16 : pair & 0xffff;
                if (got != cases[(i + j) % CASES][1])
                    fail_msg("%08x became %04x, should be %04x (%s)", cases[(i + j) % CASES][0], got,
                             cases[(i + j) % CASES][1], isa);
            }
    }
    kernels_free(w.data);
}

static void packing_matches_reference(void **state)
{
    (void)state;
    for (int s = 0; s < KERNELS_SHAPES; s++) {
        const int n = kernels_shapes[s][0], k = kernels_shapes[s][1], ld = k + 3;
        const size_t words = ops_matrix_bytes(OPS_BF16, n, k) / 4, tsize = ops_matrix_elements(k, n);
        float *src = kernels_random((size_t)n * ld, 1), *back = kernels_random((size_t)n * ld, 6);
        ops_matrix plain = ops_matrix_f32(n, k, kernels_alloc(ops_matrix_elements(n, k)));
        ops_matrix want = ops_matrix_bf16(n, k, (uint32_t *)kernels_random(words, 2));
        ops_matrix got = ops_matrix_bf16(n, k, (uint32_t *)kernels_alloc(words));
        ops_matrix twant = ops_matrix_f32(k, n, kernels_random(tsize, 3));
        ops_matrix tgot = ops_matrix_f32(k, n, kernels_alloc(tsize));
        ref_pack(want, src, ld);
        ref_pack(plain, src, ld);
        ref_pack_transposed(twant, want);
        for_each_isa(isa)
            for (int t = 0; t < 3; t++) {
                kernels_fill(got.data, words, 4);
                ops_pack(pools[t], got, src, ld);
                assert_same_bits(got.pairs, want.pairs, words, "pack %d x %d, %s", n, k, isa);
                kernels_fill(got.data, words, 4);
                ops_round(pools[t], got, plain);
                assert_same_bits(got.pairs, want.pairs, words, "round %d x %d, %s", n, k, isa);
                kernels_fill(tgot.data, tsize, 5);
                ops_pack_transposed(pools[t], tgot, want);
                assert_same_bits(tgot.data, twant.data, tsize, "transpose %d x %d, %s", n, k, isa);
                ops_unpack(pools[t], back, ld, want);
                for (int i = 0; i < n; i++)
                    for (int j = 0; j < k; j++) {
                        float x = ref_round_bf16(src[(size_t)i * ld + j]);
                        assert_memory_equal(&back[(size_t)i * ld + j], &x, sizeof x);
                    }
            }
        float *const all[] = {src, back, plain.data, want.data, got.data, twant.data, tgot.data};
        for (int i = 0; i < 7; i++)
            kernels_free(all[i]);
    }
}

/* Two products of the same rows, one of each type; rows together, and alone. */
static void check_gemm(int n, int k, int m)
{
    const int ldx = k + 5, n2 = n / 2 + 1, ldy = n + 7;
    ops_matrix w = kernels_matrix(n, k, 1), w2 = kernels_matrix(n2, k, 2), r = kernels_rounded(w);
    float *x = kernels_random((size_t)m * ldx, 3), *bias = kernels_random((size_t)n, 4);
    const size_t size = (size_t)m * ldy;
    float *want = kernels_random(size, 6), *want2 = kernels_random(size, 7);
    float *got = kernels_alloc(size), *got2 = kernels_alloc(size);
    uint64_t fp = pool_fp_enter();
    ref_gemm((ops_product[]){{w, want, ldy, bias, NULL, 0}, {w2, want2, ldy, NULL, want, ldy}}, 2, x, ldx, m);
    pool_fp_leave(fp);
    for_each_isa(isa)
        for (int t = 0; t < 4; t++) {
            kernels_fill(got, size, 6);
            kernels_fill(got2, size, 7);
            for (int row = 0; row < (t < 3 ? 1 : m); row++) {
                float *y = got + (size_t)row * ldy, *y2 = got2 + (size_t)row * ldy;
                ops_product first = {r, y, ldy, bias, NULL, 0};
                ops_gemm(pools[t % 3], &first, 1, x + (size_t)row * ldx, ldx, t < 3 ? m : 1);
                ops_product both[] = {first, {w2, y2, ldy, NULL, y, ldy}};
                ops_gemm(pools[0], both, 2, x + (size_t)row * ldx, ldx, t < 3 ? m : 1);
            }
            assert_same_bits(got, want, size, "gemm m=%d n=%d k=%d, %s, case %d", m, n, k, isa, t);
            assert_same_bits(got2, want2, size, "mixed m=%d n=%d k=%d, %s, case %d", m, n2, k, isa, t);
        }
    float *const all[] = {w.data, w2.data, r.data, x, bias, want, want2, got, got2};
    for (int i = 0; i < 9; i++)
        kernels_free(all[i]);
}

static void gemm_equals_that_of_rounded_f32(void **state)
{
    (void)state;
    for_each_product(s, m)
        check_gemm(kernels_shapes[s][0], kernels_shapes[s][1], m);
    check_gemm(97, 601, 300);
}

static void embedding_equals_that_of_rounded_f32(void **state)
{
    (void)state;
    enum { N = 75, K = 37, M = 29, LD = 80 };
    int32_t token[M];
    for (int i = 0; i < M; i++)
        token[i] = i * 31 % N;
    ops_matrix w = kernels_matrix(N, K, 3), r = kernels_rounded(w);
    float *want = kernels_alloc(M * LD), *got = kernels_alloc(M * LD);
    ref_embed(want, LD, w, token, M, 24.0f);
    for_each_isa(isa) {
        memset(got, 0, M * LD * sizeof *got);
        ops_embed(pools[1], got, LD, r, token, M, 24.0f);
        assert_same_bits(got, want, M * LD, "embed, %s", isa);
    }
    float *const all[] = {w.data, r.data, want, got};
    for (int i = 0; i < 4; i++)
        kernels_free(all[i]);
}

/* Logits, log-probs and both gradients of a head of each type. */
static void check_head(int vocab, int k, int m)
{
    const size_t size = ops_matrix_elements(vocab, k), logits = (size_t)m * vocab, wide = (size_t)m * k;
    ops_matrix w = kernels_matrix(vocab, k, 1), r = kernels_rounded(w);
    ops_matrix dw[2] = {ops_matrix_f32(vocab, k, kernels_alloc(size)), ops_matrix_f32(vocab, k, kernels_alloc(size))};
    float *h = kernels_random(wide, 2), *coef = kernels_random(m, 3);
    float *z[2] = {kernels_alloc(logits), kernels_alloc(logits)}, *lp[2] = {kernels_alloc(m), kernels_alloc(m)};
    float *dh[2] = {kernels_alloc(wide), kernels_alloc(wide)};
    ops_softmax_row *rows = mem_calloc(m, sizeof *rows);
    int32_t *target = mem_calloc(m, sizeof *target);
    for (int i = 0; i < m; i++)
        target[i] = i * 37 % vocab;
    for_each_isa(isa)
        for (int t = 0; t < 3; t++) {
            float *scratch = kernels_alloc(ops_head_scratch(pools[t], k, vocab, m));
            for (int which = 0; which < 2; which++) {
                ops_matrix head = which ? r : w;
                memset(dw[which].data, 0, size * sizeof(float));
                ops_head_logits(pools[t], head, h, k, 0.8f, z[which], vocab, rows, 1, m, scratch);
                ops_head_logprob(pools[t], head, h, k, 0.8f, target, NULL, lp[which], rows, 1, m, scratch);
                ops_head_grad(pools[t], head, dw[which], h, k, 0.8f, target, NULL, rows, coef, NULL, dh[which], k, m,
                              scratch);
            }
            assert_same_bits(z[1], z[0], logits, "logits v=%d k=%d m=%d, %s", vocab, k, m, isa);
            assert_same_bits(lp[1], lp[0], m, "logprob v=%d k=%d m=%d, %s", vocab, k, m, isa);
            assert_same_bits(dh[1], dh[0], wide, "dh v=%d k=%d m=%d, %s", vocab, k, m, isa);
            assert_same_bits(dw[1].data, dw[0].data, size, "dw v=%d k=%d m=%d, %s", vocab, k, m, isa);
            kernels_free(scratch);
        }
    mem_free(rows), mem_free(target);
    float *const all[] = {w.data, r.data, dw[0].data, dw[1].data, h, coef, z[0], z[1], lp[0], lp[1], dh[0], dh[1]};
    for (int i = 0; i < 12; i++)
        kernels_free(all[i]);
}

static void head_equals_that_of_rounded_f32(void **state)
{
    (void)state;
    check_head(100, 24, 5);
    check_head(512, 17, 1);
    check_head(1100, 25, 40);
    check_head(700, 600, 3);
    check_head(530, 20, 260);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounding_is_to_nearest_even),
        cmocka_unit_test(packing_matches_reference),
        cmocka_unit_test(gemm_equals_that_of_rounded_f32),
        cmocka_unit_test(embedding_equals_that_of_rounded_f32),
        cmocka_unit_test(head_equals_that_of_rounded_f32),
    };
    return cmocka_run_group_tests(tests, pools_set_up, pools_tear_down);
}
