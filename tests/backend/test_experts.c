/* Routing, combining and their gradients: fast kernels against the plain loops, bit for bit, on every instruction
 * set, with 1 to 3 threads, rows together and alone; the choice's ties; the router's gradient by differences. */
#include "kernels.h"
#include "pools.h"

static pool **const pools = pools_by_threads + 1; /* 1, 2, 3 threads */

enum { GAP = 3 }; /* columns beside the matrix that must stay as they are */

/* Logits with many ties: few different values. */
static void fill_logits(float *z, size_t n, uint32_t seed)
{
    kernels_fill(z, n, seed);
    for (size_t i = 0; i < n; i++)
        z[i] = i % 3 ? 12 * z[i] : rintf(4 * z[i]);
}

/* ---- router ------------------------------------------------------------------------------- */

static void check_route(int experts, int used, int renormalise, int m)
{
    const int ld = experts + GAP;
    const size_t size = (size_t)m * ld, pairs = (size_t)m * used;
    float *want = kernels_alloc(size), *got = kernels_alloc(size), *dw = kernels_random(pairs, 5);
    float *want_w = kernels_alloc(pairs), *got_w = kernels_alloc(pairs);
    int32_t *want_e = (int32_t *)kernels_alloc(pairs), *got_e = (int32_t *)kernels_alloc(pairs);
    fill_logits(want, size, 1);
    uint64_t fp = pool_fp_enter();
    ref_route(want_e, want_w, want, ld, experts, used, renormalise, m);
    pool_fp_leave(fp);
    float *want_d = kernels_alloc(size);
    memcpy(want_d, want, size * sizeof *want);
    fp = pool_fp_enter();
    ref_route_grad(want_d, ld, want_e, want_w, dw, experts, used, renormalise, m);
    pool_fp_leave(fp);
    for_each_isa(isa)
        for (int t = 0; t < 4; t++) {
            const int step = t < 3 ? m : 1;
            pool *p = t < 3 ? pools[t] : NULL;
            fill_logits(got, size, 1);
            for (int r = 0; r < m; r += step)
                ops_route(p, got_e + r * used, got_w + r * used, got + (size_t)r * ld, ld, experts, used, renormalise,
                          step);
            assert_memory_equal(got_e, want_e, pairs * sizeof *got_e);
            assert_same_bits(got_w, want_w, pairs, "weights, %d of %d, %s", used, experts, isa);
            assert_same_bits(got, want, size, "p, %d of %d, %s", used, experts, isa);
            for (int r = 0; r < m; r += step)
                ops_route_grad(p, got + (size_t)r * ld, ld, got_e + r * used, got_w + r * used, dw + r * used, experts,
                               used, renormalise, step);
            assert_same_bits(got, want_d, size, "dz, %d of %d, %s", used, experts, isa);
        }
    float *const all[] = {want, got, dw, want_w, got_w, (float *)want_e, (float *)got_e, want_d};
    for (int i = 0; i < 8; i++)
        kernels_free(all[i]);
}

static void router_matches_reference(void **state)
{
    (void)state;
    static const int shapes[][3] = {{1, 1, 3}, {2, 1, 5}, {6, 2, 9}, {16, 16, 4}, {17, 5, 40}, {128, 8, 33}, {300, 299, 3}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int renormalise = 0; renormalise < 2; renormalise++)
            check_route(shapes[s][0], shapes[s][1], renormalise, shapes[s][2]);
}

static void equal_logits_go_to_the_lower_ids(void **state)
{
    (void)state;
    for_each_isa(isa) {
        float z[7] = {1, 3, 2, 3, 2, 2, 0}, weight[4];
        int32_t expert[4];
        ops_route(NULL, expert, weight, z, 7, 7, 4, 1, 1);
        static const int32_t want[4] = {1, 2, 3, 4};
        assert_memory_equal(expert, want, sizeof want);
        assert_true(weight[0] == weight[2] && weight[1] == weight[3] && weight[0] > weight[1]);
        assert_close((double)weight[0] + weight[1] + weight[2] + weight[3], 1, 1e-6);
    }
}

/* Whatever comes in, the ids can be used as indices. */
static void logits_that_are_not_finite_choose_different_experts(void **state)
{
    (void)state;
    static const float odd[] = {NAN, INFINITY, -INFINITY, 1};
    for (int pattern = 0; pattern < 4 * 4 * 4 * 4 * 4; pattern++) {
        float z[5], weight[3];
        int32_t expert[3];
        for (int i = 0, rest = pattern; i < 5; i++, rest /= 4)
            z[i] = odd[rest % 4];
        ops_route(NULL, expert, weight, z, 5, 5, 3, 1, 1);
        assert_true(expert[0] >= 0 && expert[0] < expert[1] && expert[1] < expert[2] && expert[2] < 5);
    }
}

/* The gradient of sum_j c_j weight_j by central differences; steps are small enough to keep the choice. */
static void router_gradient_is_the_derivative(void **state)
{
    (void)state;
    enum { E = 7, K = 3 };
    static const float c[K] = {0.7f, -1.1f, 0.4f};
    for (int renormalise = 0; renormalise < 2; renormalise++) {
        const float start[E] = {0.3f, 2.0f, -1.0f, 1.1f, 0.0f, 0.7f, -0.4f}, h = 1e-2f;
        float z[E], weight[K];
        int32_t expert[K], moved[K];
        memcpy(z, start, sizeof z);
        ops_route(NULL, expert, weight, z, E, E, K, renormalise, 1);
        ops_route_grad(NULL, z, E, expert, weight, c, E, K, renormalise, 1);
        for (int i = 0; i < E; i++) {
            double value[2];
            for (int side = 0; side < 2; side++) {
                float at[E];
                memcpy(at, start, sizeof at);
                at[i] += side ? h : -h;
                ops_route(NULL, moved, weight, at, E, E, K, renormalise, 1);
                assert_memory_equal(moved, expert, sizeof expert);
                value[side] = 0;
                for (int j = 0; j < K; j++)
                    value[side] += (double)c[j] * weight[j];
            }
            assert_close(z[i], (value[1] - value[0]) / (2 * (double)h), 3e-5);
        }
    }
}

/* ---- moving and combining rows ------------------------------------------------------------------ */

static void rows_are_copied_there_and_back(void **state)
{
    (void)state;
    enum { N = 37, M = 9, LD = N + GAP };
    static const int32_t row[M] = {4, 0, 11, 7, 2, 9, 1, 12, 5};
    float *x = kernels_random(13 * LD, 1), *y = kernels_random(M * LD, 2), *back = kernels_random(13 * LD, 3);
    for (int t = 0; t < 3; t++) {
        ops_gather(pools[t], y, LD, x, LD, row, N, M);
        ops_scatter(pools[t], back, LD, row, y, LD, N, M);
        for (int i = 0; i < M; i++) {
            assert_memory_equal(y + i * LD, x + row[i] * LD, N * sizeof *x);
            assert_memory_equal(back + row[i] * LD, x + row[i] * LD, N * sizeof *x);
        }
    }
    kernels_free(x);
    kernels_free(y);
    kernels_free(back);
}

/* Places of `used` assignments of each row, rising with j and all different. */
static int32_t *make_places(int used, int m)
{
    int32_t *place = mem_calloc((size_t)(used * m), sizeof *place);
    for (int j = 0; j < used; j++)
        for (int r = 0; r < m; r++)
            place[r * used + j] = j * m + (r * 5 + j) % m;
    return place;
}

static void check_combine(int used, int n, int m, int weighted)
{
    const int ld = n + GAP, pairs = used * m;
    const size_t size = (size_t)m * ld;
    float *x = kernels_random((size_t)pairs * ld, 1), *w = kernels_random((size_t)pairs, 2);
    float *want = kernels_random(size, 3), *got = kernels_alloc(size);
    int32_t *place = make_places(used, m);
    uint64_t fp = pool_fp_enter();
    ref_combine(want, ld, x, ld, place, weighted ? w : NULL, used, 0, pairs, n, m);
    pool_fp_leave(fp);
    for_each_isa(isa)
        for (int t = 0; t < 4; t++) {
            const int cut = t == 0 ? pairs : t + 1; /* a stretch at a time gives the same bits */
            kernels_fill(got, size, 3);
            for (int first = 0; first < pairs; first += cut) {
                const int count = pairs - first < cut ? pairs - first : cut;
                ops_combine(t < 3 ? pools[t] : NULL, got, ld, x + (size_t)first * ld, ld, place, weighted ? w : NULL,
                            used, first, count, n, m);
            }
            assert_same_bits(got, want, size, "combine %d of %d columns, %s, cut %d", used, n, isa, cut);
        }
    kernels_free(x);
    kernels_free(w);
    kernels_free(want);
    kernels_free(got);
    mem_free(place);
}

static void combining_matches_reference(void **state)
{
    (void)state;
    for (int weighted = 0; weighted < 2; weighted++) {
        check_combine(1, 5, 4, weighted);
        check_combine(3, 33, 7, weighted);
        check_combine(8, 64, 11, weighted);
    }
}

static void check_scale_grad(int n, int m)
{
    const int ld = n + GAP;
    const size_t size = (size_t)m * ld;
    float *w = kernels_random((size_t)m, 1), *dot = kernels_alloc((size_t)m), *want_dot = kernels_alloc((size_t)m);
    float *d = kernels_alloc(size), *x = kernels_alloc(size), *want_d = kernels_random(size, 2), *want_x = kernels_random(size, 3);
    uint64_t fp = pool_fp_enter();
    ref_scale_grad(want_dot, want_d, ld, want_x, ld, w, n, m);
    pool_fp_leave(fp);
    for_each_isa(isa)
        for (int t = 0; t < 4; t++) {
            const int step = t < 3 ? m : 1;
            kernels_fill(d, size, 2);
            kernels_fill(x, size, 3);
            for (int r = 0; r < m; r += step)
                ops_scale_grad(t < 3 ? pools[t] : NULL, dot + r, d + (size_t)r * ld, ld, x + (size_t)r * ld, ld, w + r, n, step);
            assert_same_bits(dot, want_dot, m, "dot of %d, %s", n, isa);
            assert_same_bits(d, want_d, size, "d of %d, %s", n, isa);
            assert_same_bits(x, want_x, size, "x of %d, %s", n, isa);
        }
    float *const all[] = {w, dot, want_dot, d, x, want_d, want_x};
    for (int i = 0; i < 7; i++)
        kernels_free(all[i]);
}

static void scaling_gradient_matches_reference(void **state)
{
    (void)state;
    check_scale_grad(1, 3);
    check_scale_grad(37, 9);
    check_scale_grad(768, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(router_matches_reference),
        cmocka_unit_test(equal_logits_go_to_the_lower_ids),
        cmocka_unit_test(logits_that_are_not_finite_choose_different_experts),
        cmocka_unit_test(router_gradient_is_the_derivative),
        cmocka_unit_test(rows_are_copied_there_and_back),
        cmocka_unit_test(combining_matches_reference),
        cmocka_unit_test(scaling_gradient_matches_reference),
    };
    return cmocka_run_group_tests(tests, pools_set_up, pools_tear_down);
}
