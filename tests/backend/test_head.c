/* The head: fast kernels against the plain loops (bit for bit, every instruction set, 1 to 3 threads,
 * rows together and alone), and both against the definition in double with finite differences. */
#include "kernels.h"
#include "pools.h"

static pool **const pools = pools_by_threads + 1; /* 1, 2, 3 threads */

/* A head of `vocab` entries of k and m rows; every third row has a bitmap when `truncated`. */
typedef struct head_case {
    int vocab, k, m, ldh, ldz;
    float inv_temperature;
    ops_matrix w;
    float *h, *coef, *entropy_coef;
    int32_t *target;
    uint32_t *bits;
    const uint32_t **allowed; /* NULL: nothing is truncated */
} head_case;

static head_case make_case(int vocab, int k, int m, int truncated)
{
    head_case c = {.vocab = vocab, .k = k, .m = m, .ldh = k + 3, .ldz = vocab + 5, .inv_temperature = 1.25f};
    const int words = (vocab + 31) / 32;
    c.w = kernels_matrix(vocab, k, 1);
    c.h = kernels_random((size_t)m * c.ldh, 2);
    c.coef = kernels_random((size_t)m, 3);
    c.entropy_coef = kernels_random((size_t)m, 4);
    c.target = mem_calloc((size_t)m, sizeof *c.target);
    c.bits = mem_calloc((size_t)m * words, sizeof *c.bits);
    c.allowed = truncated ? mem_calloc((size_t)m, sizeof *c.allowed) : NULL;
    uint32_t seed = 99;
    for (int r = 0; r < m; r++) {
        c.target[r] = (int32_t)(kernels_next(&seed) % (uint32_t)vocab);
        for (int i = 0; i < words; i++) /* whole blocks without an entry too */
            c.bits[r * words + i] = i / 16 % 2 ? 0 : kernels_next(&seed) & kernels_next(&seed);
        if (r % 5 != 4) /* a forbidden target now and then */
            c.bits[r * words + c.target[r] / 32] |= 1u << c.target[r] % 32;
        else
            c.bits[r * words + c.target[r] / 32] &= ~(1u << c.target[r] % 32);
        if (truncated && r % 3 == 0)
            c.allowed[r] = c.bits + r * words;
        if (r % 4 == 1)
            c.coef[r] = 0.0f;
        if (r % 8 == 1)
            c.entropy_coef[r] = 0.0f;
    }
    return c;
}

static void free_case(head_case c)
{
    kernels_free(c.w.data), kernels_free(c.h), kernels_free(c.coef), kernels_free(c.entropy_coef);
    mem_free(c.target), mem_free(c.bits), mem_free(c.allowed);
}

static float *scratch_for(const head_case *c, pool *p)
{
    size_t n = ops_head_scratch(p, c->k, c->vocab, c->m);
    float *s = kernels_alloc(n);
    for (size_t i = 0; i < n; i++)
        s[i] = NAN; /* nothing may be expected of it */
    return s;
}

static void check_forward(int vocab, int k, int m, int truncated)
{
    head_case c = make_case(vocab, k, m, truncated);
    const size_t size = (size_t)m * c.ldz;
    float *z = kernels_random(size, 5), *got_z = kernels_alloc(size);
    float *room = kernels_alloc((size_t)m * vocab), *lp = kernels_alloc(m), *got_lp = kernels_alloc(m);
    ops_softmax_row *all = mem_calloc(m, sizeof *all), *some = mem_calloc(m, sizeof *some);
    ops_softmax_row *got = mem_calloc(m, sizeof *got);
    uint64_t fp = pool_fp_enter();
    ref_head_logits(c.w, c.h, c.ldh, c.inv_temperature, z, c.ldz, all, m);
    ref_head_logprob(c.w, c.h, c.ldh, c.inv_temperature, c.target, c.allowed, lp, some, m, room);
    pool_fp_leave(fp);
    for_each_isa(isa)
        for (int t = 0; t < 3; t++) {
            float *s = scratch_for(&c, pools[t]);
            kernels_fill(got_z, size, 5);
            ops_head_logits(pools[t], c.w, c.h, c.ldh, c.inv_temperature, got_z, c.ldz, got, 1, m, s);
            assert_same_bits(got_z, z, size, "logits v=%d k=%d m=%d, %s", vocab, k, m, isa);
            assert_same_bits(&got[0].max, &all[0].max, 3 * m, "logits' rows, %s", isa);
            ops_softmax_stats(pools[t], got_z, c.ldz, vocab, c.allowed, got, 1, m);
            assert_same_bits(&got[0].max, &some[0].max, 3 * m, "softmax, %s", isa);
            memset(got, 0, (size_t)m * sizeof *got);
            ops_head_logprob(pools[t], c.w, c.h, c.ldh, c.inv_temperature, c.target, c.allowed, got_lp, got, 1,
                             m, s);
            assert_same_bits(&got[0].max, &some[0].max, 3 * m, "logprob's rows, %s", isa);
            assert_same_bits(got_lp, lp, m, "logprob v=%d k=%d m=%d, %s", vocab, k, m, isa);
            for (int r = 0; r < m; r++) { /* alone, and without the entropy */
                ops_head_logprob(pools[t], c.w, c.h + (size_t)r * c.ldh, c.ldh, c.inv_temperature,
                                 c.target + r, c.allowed ? c.allowed + r : NULL, got_lp + r, got + r, 0, 1, s);
                assert_same_bits(&got[r].max, &some[r].max, 2, "row alone, %s", isa);
            }
            assert_same_bits(got_lp, lp, m, "logprob alone, %s", isa);
            kernels_free(s);
        }
    mem_free(all), mem_free(some), mem_free(got);
    float *const buffers[] = {z, got_z, room, lp, got_lp};
    for (int i = 0; i < 5; i++)
        kernels_free(buffers[i]);
    free_case(c);
}

static void forward_matches_reference(void **state)
{
    (void)state;
    check_forward(100, 24, 5, 0);
    check_forward(512, 17, 1, 0);
    check_forward(1100, 24, 40, 0);
    check_forward(1100, 24, 17, 1);
    check_forward(2050, 36, 13, 1);
    check_forward(700, 600, 3, 1);
    check_forward(530, 20, 260, 1);
}

/* The draws of one row for many uniform numbers, ends included, against the plain loops and the definition. */
static void check_draws(int vocab, int truncated)
{
    enum { DRAWS = 400 };
    head_case c = make_case(vocab, 8, 1, truncated);
    float *z = kernels_random((size_t)vocab, 5);
    for (int v = 0; v < vocab; v++)
        z[v] = v == vocab / 2 ? -200.0f : 8.0f * z[v]; /* one that can never be drawn */
    uint64_t fp = pool_fp_enter();
    ops_softmax_row row;
    ref_softmax_stats(z, vocab, vocab, c.allowed, &row, 1);
    for (int i = 0; i < DRAWS; i++) {
        const double uniform = i == DRAWS - 1 ? 1 - 0x1p-53 : (double)i * i / (DRAWS * DRAWS);
        const uint32_t *bits = truncated ? c.allowed[0] : NULL;
        const int32_t want = ref_softmax_draw(z, vocab, bits, row, uniform);
        double below = 0, all = 0;
        for (int v = 0; v < vocab; v++) {
            const double e = !bits || bits[v / 32] >> v % 32 & 1 ? exp((double)z[v] - row.max) : 0;
            below += v < want ? e : 0;
            all += e;
        }
        const double own = exp((double)z[want] - row.max);
        assert_true(!bits || bits[want / 32] >> want % 32 & 1);
        if (!(below <= (uniform + 1e-6) * all && below + own >= (uniform - 1e-6) * all && z[want] > -100.0f))
            fail_msg("entry %d of %d for %.17g: mass below %g of %g", want, vocab, uniform, below, all);
        for_each_isa(isa)
            assert_int_equal(ops_softmax_draw(z, vocab, bits, row, uniform), want);
    }
    pool_fp_leave(fp);
    kernels_free(z);
    free_case(c);
}

static void draws_match_reference_and_definition(void **state)
{
    (void)state;
    check_draws(2, 0);
    check_draws(100, 0);
    check_draws(512, 0);
    check_draws(1111, 0);
    check_draws(1111, 1);
    check_draws(4100, 1);
}

static void check_backward(int vocab, int k, int m, int truncated, int entropy, int frozen)
{
    head_case c = make_case(vocab, k, m, truncated);
    const int lddh = k + 2;
    const size_t size = ops_matrix_elements(vocab, k);
    float *room = kernels_alloc((size_t)m * (vocab + k)), *lp = kernels_alloc(m);
    float *dh = kernels_random((size_t)m * lddh, 6), *got_dh = kernels_alloc((size_t)m * lddh);
    ops_matrix dw = kernels_matrix(vocab, k, 7), got_dw = ops_matrix_f32(vocab, k, kernels_alloc(size));
    float *start = kernels_alloc(size);
    memcpy(start, dw.data, size * sizeof *start);
    ops_softmax_row *rows = mem_calloc(m, sizeof *rows);
    const float *ec = entropy ? c.entropy_coef : NULL;
    const ops_matrix none = ops_matrix_f32(vocab, k, NULL);
    uint64_t fp = pool_fp_enter();
    ref_head_logprob(c.w, c.h, c.ldh, c.inv_temperature, c.target, c.allowed, lp, rows, m, room);
    ref_head_grad(c.w, frozen ? none : dw, c.h, c.ldh, c.inv_temperature, c.target, c.allowed, rows, c.coef, ec,
                  dh, lddh, m, room);
    pool_fp_leave(fp);
    for_each_isa(isa)
        for (int t = 0; t < 3; t++) {
            float *s = scratch_for(&c, pools[t]);
            memcpy(got_dw.data, start, size * sizeof *start);
            kernels_fill(got_dh, (size_t)m * lddh, 6);
            ops_head_grad(pools[t], c.w, frozen ? none : got_dw, c.h, c.ldh, c.inv_temperature, c.target,
                          c.allowed, rows, c.coef, ec, got_dh, lddh, m, s);
            assert_same_bits(got_dh, dh, (size_t)m * lddh, "dh v=%d k=%d m=%d, %s, %d threads", vocab, k, m, isa,
                             t + 1);
            assert_same_bits(got_dw.data, dw.data, size, "dw v=%d k=%d m=%d, %s, %d threads", vocab, k, m, isa,
                             t + 1);
            kernels_free(s);
        }
    mem_free(rows);
    float *const buffers[] = {room, lp, dh, got_dh, dw.data, got_dw.data, start};
    for (int i = 0; i < 7; i++)
        kernels_free(buffers[i]);
    free_case(c);
}

static void backward_matches_reference(void **state)
{
    (void)state;
    check_backward(100, 24, 5, 0, 1, 0);
    check_backward(100, 24, 2, 0, 0, 0);
    check_backward(1100, 24, 40, 1, 1, 0);
    check_backward(1100, 40, 17, 1, 0, 1);
    check_backward(700, 600, 3, 0, 1, 0);
    check_backward(530, 20, 620, 1, 1, 0);
}

/* ---- against the definition in double -------------------------------------------------------- */

static double weight_at(const head_case *c, int v, int j)
{
    return c->w.data[((size_t)(v / 32) * c->k + j) * 32 + v % 32];
}

/* log p of the target and the entropy of one row, in double. */
static void exact_row(const head_case *c, int r, const double *h, double *logprob, double *entropy)
{
    double *z = mem_calloc(c->vocab, sizeof *z), max = -INFINITY, sum = 0, mean = 0;
    const uint32_t *bits = c->allowed ? c->allowed[r] : NULL;
    for (int v = 0; v < c->vocab; v++) {
        for (int j = 0; j < c->k; j++)
            z[v] += h[j] * weight_at(c, v, j);
        z[v] *= c->inv_temperature;
        if (bits && !(bits[v / 32] >> v % 32 & 1))
            z[v] = -INFINITY;
        max = fmax(max, z[v]);
    }
    for (int v = 0; v < c->vocab; v++)
        sum += exp(z[v] - max);
    for (int v = 0; v < c->vocab; v++)
        if (z[v] > -INFINITY)
            mean += exp(z[v] - max) / sum * (z[v] - max);
    *logprob = z[c->target[r]] - max - log(sum);
    *entropy = log(sum) - mean;
    mem_free(z);
}

static void forward_is_the_definition(void **state)
{
    (void)state;
    head_case c = make_case(1300, 30, 12, 1);
    float lp[12];
    ops_softmax_row rows[12];
    float *s = scratch_for(&c, pools[1]);
    ops_head_logprob(pools[1], c.w, c.h, c.ldh, c.inv_temperature, c.target, c.allowed, lp, rows, 1, c.m, s);
    int forbidden = 0;
    for (int r = 0; r < c.m; r++) {
        double h[30], want, entropy;
        for (int j = 0; j < c.k; j++)
            h[j] = c.h[(size_t)r * c.ldh + j];
        exact_row(&c, r, h, &want, &entropy);
        if (isinf(want))
            forbidden++, assert_true(lp[r] == -INFINITY);
        else
            assert_true(fabs(lp[r] - want) < 5e-6);
        assert_true(fabs(rows[r].entropy - entropy) < 5e-6);
    }
    assert_true(forbidden > 0);
    kernels_free(s);
    free_case(c);
}

/* sum_r coef logprob + entropy_coef entropy as a function of one row's h: central differences. */
static void dh_is_the_derivative(void **state)
{
    (void)state;
    enum { K = 20, M = 9 };
    head_case c = make_case(700, K, M, 1);
    for (int r = 0; r < M; r++) /* finite objectives only */
        if (c.allowed[r])
            c.bits[r * 22 + c.target[r] / 32] |= 1u << c.target[r] % 32;
    float lp[M], dh[M * K];
    ops_softmax_row rows[M];
    float *s = scratch_for(&c, pools[1]);
    const ops_matrix none = ops_matrix_f32(700, K, NULL);
    ops_head_logprob(pools[1], c.w, c.h, c.ldh, c.inv_temperature, c.target, c.allowed, lp, rows, 1, M, s);
    ops_head_grad(pools[1], c.w, none, c.h, c.ldh, c.inv_temperature, c.target, c.allowed, rows, c.coef,
                  c.entropy_coef, dh, K, M, s);
    for (int r = 0; r < M; r++)
        for (int j = 0; j < K; j++) {
            double h[K], side[2];
            for (int up = 0; up < 2; up++) {
                double logprob, entropy;
                for (int i = 0; i < K; i++)
                    h[i] = c.h[(size_t)r * c.ldh + i] + (i == j ? (up ? 1e-5 : -1e-5) : 0);
                exact_row(&c, r, h, &logprob, &entropy);
                side[up] = c.coef[r] * logprob + c.entropy_coef[r] * entropy;
            }
            double want = (side[1] - side[0]) / 2e-5;
            if (!(fabs(dh[r * K + j] - want) < 2e-5 * (1 + fabs(want))))
                fail_msg("dh[%d][%d] is %g, should be %g", r, j, (double)dh[r * K + j], want);
        }
    kernels_free(s);
    free_case(c);
}

/* The same for dW, through one entry of the head. */
static void dw_is_the_derivative(void **state)
{
    (void)state;
    enum { K = 12, M = 7, V = 600 };
    head_case c = make_case(V, K, M, 0);
    float lp[M], dh[M * K];
    ops_softmax_row rows[M];
    float *s = scratch_for(&c, pools[1]);
    ops_matrix dw = ops_matrix_f32(V, K, kernels_alloc(ops_matrix_elements(V, K)));
    ops_head_logprob(pools[1], c.w, c.h, c.ldh, c.inv_temperature, c.target, NULL, lp, rows, 1, M, s);
    ops_head_grad(pools[1], c.w, dw, c.h, c.ldh, c.inv_temperature, c.target, NULL, rows, c.coef,
                  c.entropy_coef, dh, K, M, s);
    for (int i = 0; i < 40; i++) {
        const int v = i < M ? c.target[i] : i * 14, j = i % K;
        float *entry = &c.w.data[((size_t)(v / 32) * K + j) * 32 + v % 32], before = *entry;
        double side[2], at[2];
        for (int up = 0; up < 2; up++) {
            *entry = before + (up ? 0x1p-10f : -0x1p-10f);
            at[up] = *entry;
            side[up] = 0;
            for (int r = 0; r < M; r++) {
                double h[K], logprob, entropy;
                for (int q = 0; q < K; q++)
                    h[q] = c.h[(size_t)r * c.ldh + q];
                exact_row(&c, r, h, &logprob, &entropy);
                side[up] += c.coef[r] * logprob + c.entropy_coef[r] * entropy;
            }
        }
        *entry = before;
        double want = (side[1] - side[0]) / (at[1] - at[0]);
        float got = dw.data[((size_t)(v / 32) * K + j) * 32 + v % 32];
        if (!(fabs(got - want) < 2e-5 * (1 + fabs(want))))
            fail_msg("dW[%d][%d] is %g, should be %g", v, j, (double)got, want);
    }
    kernels_free(s), kernels_free(dw.data);
    free_case(c);
}

static void nan_shows(void **state)
{
    (void)state;
    head_case c = make_case(600, 8, 3, 0);
    c.w.data[5] = NAN;
    for_each_isa(isa) {
        float lp[3];
        ops_softmax_row rows[3];
        float *s = scratch_for(&c, NULL);
        ops_head_logprob(NULL, c.w, c.h, c.ldh, 1.0f, c.target, NULL, lp, rows, 1, 3, s);
        for (int r = 0; r < 3; r++)
            assert_true(isnan(lp[r]) && isnan(rows[r].sum));
        kernels_free(s);
    }
    free_case(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_matches_reference), cmocka_unit_test(backward_matches_reference),
        cmocka_unit_test(forward_is_the_definition), cmocka_unit_test(dh_is_the_derivative),
        cmocka_unit_test(dw_is_the_derivative),      cmocka_unit_test(nan_shows),
        cmocka_unit_test(draws_match_reference_and_definition),
    };
    return cmocka_run_group_tests(tests, pools_set_up, pools_tear_down);
}
