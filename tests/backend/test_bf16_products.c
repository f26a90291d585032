/* BF16_DOT and BF16_TILE: every operation on them against its plain loops, bit for bit, on every instruction set of
 * this machine (with AVX512-BF16 and with AMX that compares the instruction with fmas); rows alone and together, 1 to
 * 3 threads. */
#include "kernels.h"
#include "pools.h"

static pool **const pools = pools_by_threads + 1; /* 1, 2, 3 threads */
static const ops_type types[] = {OPS_BF16_DOT, OPS_BF16_TILE};

static int set_up(void **state)
{
    static const char *const own[][2] = {{"avx512bf16", "AVX512-BF16"}, {"amx", "AMX"}};
    pools_set_up(state);
    for (int i = 0; i < 2; i++)
        if (ops_select_isa(own[i][0]) != 0)
            print_message("SKIPPED: this processor has no %s; the other instruction sets are tested\n", own[i][1]);
    return 0;
}

static ops_matrix bf16_matrix(ops_type type, int n, int k, uint32_t seed)
{
    ops_matrix w = kernels_matrix(n, k, seed), r = kernels_rounded(w);
    kernels_free(w.data);
    r.type = type;
    return r;
}

/* Numbers of every size, denormal ones and zeros of both signs among them. */
static void spread(float *p, size_t n, uint32_t seed)
{
    kernels_fill(p, n, seed);
    uint32_t state = seed + 77u;
    for (size_t i = 0; i < n; i++) {
        const uint32_t r = kernels_next(&state) % 16;
        p[i] = ldexpf(p[i], r == 0 ? -130 : r == 1 ? -126 : r == 2 ? -100 : r == 3 ? 20 : -(int)r);
    }
}

static void check_gemm(ops_type type, int n, int k, int m, int wide_range)
{
    const int ldx = k + 5, ldy = n + 7;
    const size_t size = (size_t)m * ldy;
    ops_matrix w = bf16_matrix(type, n, k, 1);
    float *x = kernels_random((size_t)m * ldx, 3), *bias = kernels_random((size_t)n, 4);
    float *want = kernels_random(size, 6), *got = kernels_alloc(size);
    if (wide_range)
        spread(x, (size_t)m * ldx, 3);
    uint64_t fp = pool_fp_enter();
    ref_gemm(&(ops_product){w, want, ldy, bias, NULL, 0}, 1, x, ldx, m);
    pool_fp_leave(fp);
    for_each_isa(isa)
        for (int t = 0; t < 4; t++) { /* case 3: every row alone */
            kernels_fill(got, size, 6);
            for (int row = 0; row < (t < 3 ? 1 : m); row++)
                ops_gemm(pools[t % 3], &(ops_product){w, got + (size_t)row * ldy, ldy, bias, NULL, 0}, 1,
                         x + (size_t)row * ldx, ldx, t < 3 ? m : 1);
            assert_same_bits(got, want, size, "gemm, type %d m=%d n=%d k=%d, %s, case %d", type, m, n, k, isa, t);
        }
    float *const all[] = {w.data, x, bias, want, got};
    for (int i = 0; i < 5; i++)
        kernels_free(all[i]);
}

static void gemm_matches_reference(void **state)
{
    (void)state;
    for (int t = 0; t < 2; t++) {
        for_each_product(s, m)
            check_gemm(types[t], kernels_shapes[s][0], kernels_shapes[s][1], m, s > 0 || m % 2);
        check_gemm(types[t], 97, 601, 300, 1);
        check_gemm(types[t], 130, 40, 700, 0);
        check_gemm(types[t], 3, 20000, 15, 0); /* rows that leave room for few in a tile */
    }
}

static void check_transposed(ops_type type)
{
    static const int shapes[][2] = {{36, 24}, {1, 1}, {33, 17}, {65, 70}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        ops_matrix w = bf16_matrix(type, shapes[s][0], shapes[s][1], 2);
        const size_t words = ops_matrix_bytes(type, w.k, w.n) / 4;
        ops_matrix want = ops_transposed(w, kernels_random(words, 3)), got = ops_transposed(w, kernels_alloc(words));
        assert_int_equal(want.type, type);
        ref_pack_transposed(want, w);
        for_each_isa(isa)
            for (int t = 0; t < 3; t++) {
                kernels_fill(got.data, words, 4);
                ops_pack_transposed(pools[t], got, w);
                assert_same_bits(got.pairs, want.pairs, words, "transpose %d x %d, %s", w.n, w.k, isa);
            }
        kernels_free(w.data), kernels_free(want.data), kernels_free(got.data);
    }
}

static void transposed_matches_reference(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++)
        check_transposed(types[i]);
}

static void check_dw(ops_type type, int n, int k, int m)
{
    const int lddy = n + 3, ldx = k + 1;
    const size_t size = ops_matrix_elements(n, k);
    ops_matrix want = kernels_matrix(n, k, 5), got = ops_matrix_f32(n, k, kernels_alloc(size));
    float *start = kernels_alloc(size), *x = kernels_alloc((size_t)m * ldx), *dy = kernels_alloc((size_t)m * lddy);
    memcpy(start, want.data, size * sizeof *start);
    spread(x, (size_t)m * ldx, 6);
    spread(dy, (size_t)m * lddy, 7);
    uint64_t fp = pool_fp_enter();
    ref_gemm_dw(type, want, dy, lddy, x, ldx, m);
    pool_fp_leave(fp);
    for_each_isa(isa)
        for (int t = 0; t < 3; t++) {
            memcpy(got.data, start, size * sizeof *start);
            ops_gemm_dw(pools[t], type, got, dy, lddy, x, ldx, m);
            assert_same_bits(got.data, want.data, size, "dw, type %d m=%d n=%d k=%d, %s", type, m, n, k, isa);
        }
    float *const all[] = {want.data, got.data, start, x, dy};
    for (int i = 0; i < 5; i++)
        kernels_free(all[i]);
}

static void gradients_match_reference(void **state)
{
    (void)state;
    static const int shapes[][3] = {{1, 1, 1}, {36, 24, 7}, {33, 150, 513}, {200, 61, 40}, {70, 17, 1100}};
    for (int i = 0; i < 2; i++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            check_dw(types[i], shapes[s][0], shapes[s][1], shapes[s][2]);
}

static void check_head(ops_type type, int vocab, int k, int m)
{
    const size_t size = ops_matrix_elements(vocab, k), logits = (size_t)m * vocab, wide = (size_t)m * k;
    ops_matrix w = bf16_matrix(type, vocab, k, 1), want_dw = ops_matrix_f32(vocab, k, kernels_alloc(size)),
               dw = ops_matrix_f32(vocab, k, kernels_alloc(size));
    float *h = kernels_random(wide, 2), *coef = kernels_random(m, 3), *room = kernels_alloc((size_t)m * (vocab + k));
    float *want_z = kernels_alloc(logits), *z = kernels_alloc(logits), *want_lp = kernels_alloc(m), *lp = kernels_alloc(m);
    float *want_dh = kernels_alloc(wide), *dh = kernels_alloc(wide);
    ops_softmax_row *want_rows = mem_calloc(m, sizeof *want_rows), *rows = mem_calloc(m, sizeof *rows);
    int32_t *target = mem_calloc(m, sizeof *target);
    for (int i = 0; i < m; i++)
        target[i] = i * 37 % vocab;
    uint64_t fp = pool_fp_enter();
    ref_head_logits(w, h, k, 0.8f, want_z, vocab, want_rows, m);
    ref_head_logprob(w, h, k, 0.8f, target, NULL, want_lp, want_rows, m, room);
    ref_head_grad(w, want_dw, h, k, 0.8f, target, NULL, want_rows, coef, NULL, want_dh, k, m, room);
    pool_fp_leave(fp);
    for_each_isa(isa)
        for (int t = 0; t < 3; t++) {
            float *scratch = kernels_alloc(ops_head_scratch(pools[t], k, vocab, m));
            memset(dw.data, 0, size * sizeof(float));
            ops_head_logits(pools[t], w, h, k, 0.8f, z, vocab, rows, 1, m, scratch);
            ops_head_logprob(pools[t], w, h, k, 0.8f, target, NULL, lp, rows, 1, m, scratch);
            ops_head_grad(pools[t], w, dw, h, k, 0.8f, target, NULL, rows, coef, NULL, dh, k, m, scratch);
            assert_same_bits(z, want_z, logits, "logits, type %d v=%d k=%d m=%d, %s", type, vocab, k, m, isa);
            assert_same_bits(lp, want_lp, m, "logprob, type %d v=%d k=%d m=%d, %s", type, vocab, k, m, isa);
            assert_same_bits(dh, want_dh, wide, "dh, type %d v=%d k=%d m=%d, %s", type, vocab, k, m, isa);
            assert_same_bits(dw.data, want_dw.data, size, "dw, type %d v=%d k=%d m=%d, %s", type, vocab, k, m, isa);
            kernels_free(scratch);
        }
    mem_free(rows), mem_free(want_rows), mem_free(target);
    float *const all[] = {w.data, want_dw.data, dw.data, h, coef, room, want_z, z, want_lp, lp, want_dh, dh};
    for (int i = 0; i < 12; i++)
        kernels_free(all[i]);
}

static void head_matches_reference(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        check_head(types[i], 100, 24, 5);
        check_head(types[i], 513, 17, 1);
        check_head(types[i], 1100, 25, 40);
        check_head(types[i], 700, 600, 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm_matches_reference),
        cmocka_unit_test(transposed_matches_reference),
        cmocka_unit_test(gradients_match_reference),
        cmocka_unit_test(head_matches_reference),
    };
    return cmocka_run_group_tests(tests, set_up, pools_tear_down);
}
