/* Attention and the key/value store: fast kernels against the plain loops, bit for bit, on every instruction
 * set, with 1 to 3 threads and without a pool, rows together and alone. What lies in the store beyond a
 * sequence is NaN throughout. */
#include "kernels.h"
#include "pools.h"

static pool **const pools = pools_by_threads; /* none; 1, 2, 3 threads */

/* Spans of several sequences, in groups that share their first blocks. */
typedef struct scene {
    ops_kv kv;
    size_t kv_size;
    ops_span spans[64];
    int count, rows, ldq, ldkv;
    int32_t *tables;
    float *q, *k, *v; /* by row; k and v of `total` positions of each span for the store */
} scene;

typedef struct scene_shape {
    int heads, kv_heads, dim, window;
    int groups, per_group, shared, first_pos, rows; /* shared: positions that a group has in common */
} scene_shape;

/* Sequence s of the scene fills positions [0, first_pos + rows). */
static void scene_store(scene *s, const ops_span *span)
{
    ops_span whole = {span->blocks, 0, span->first_pos + span->rows, 0};
    float *k = kernels_random((size_t)whole.rows * s->ldkv, 91), *v = kernels_random((size_t)whole.rows * s->ldkv, 92);
    ref_kv_write(s->kv, &whole, 1, k, s->ldkv, v, s->ldkv);
    kernels_free(k);
    kernels_free(v);
}

static scene scene_create(scene_shape f)
{
    scene s = {.kv = {.heads = f.heads, .kv_heads = f.kv_heads, .head_dim = f.dim, .window = f.window,
                      .scale = 1.7f / sqrtf((float)f.dim),
                      .block_stride = (size_t)(f.kv_heads * 32 * f.dim + 16)}};
    const int per = (f.first_pos + f.rows + f.per_group + 15) / 16, shared = f.shared / 16;
    const int blocks = f.groups * f.per_group * per;
    s.count = f.groups * f.per_group;
    s.ldq = f.heads * f.dim + 5;
    s.ldkv = f.kv_heads * f.dim + 1;
    s.kv_size = (size_t)blocks * s.kv.block_stride;
    s.kv.base = kernels_alloc(s.kv_size);
    for (size_t i = 0; i < s.kv_size; i++)
        s.kv.base[i] = NAN;
    s.tables = mem_calloc((size_t)blocks, sizeof *s.tables);
    for (int i = 0; i < s.count; i++) {
        int32_t *table = s.tables + i * per;
        for (int b = 0; b < per; b++)
            table[b] = blocks - 1 - ((b < shared ? i / f.per_group * f.per_group : i) * per + b);
        /* lengths and starts differ a little inside a group */
        s.spans[i] = (ops_span){table, s.rows, f.rows, f.first_pos + i % f.per_group};
        s.rows += f.rows;
        scene_store(&s, &s.spans[i]);
    }
    s.q = kernels_random((size_t)s.rows * s.ldq, 7);
    return s;
}

static void scene_destroy(scene *s)
{
    kernels_free(s->kv.base);
    kernels_free(s->q);
    mem_free(s->tables);
}

static void attend_alone(const scene *s, float *out)
{
    for (int i = 0; i < s->count; i++)
        for (int r = 0; r < s->spans[i].rows; r++) {
            ops_span one = s->spans[i];
            one.first_row += r;
            one.first_pos += r;
            one.rows = 1;
            ops_attention(pools[r % 4], s->kv, &one, 1, s->q, s->ldq, out, s->ldq);
        }
}

static void check(scene_shape f)
{
    scene s = scene_create(f);
    const size_t size = (size_t)s.rows * s.ldq;
    float *want = kernels_random(size, 8), *got = kernels_alloc(size);
    uint64_t fp = pool_fp_enter();
    ref_attention(s.kv, s.spans, s.count, s.q, s.ldq, want, s.ldq);
    pool_fp_leave(fp);
    for (size_t i = 0; i < size; i++)
        assert_false(isnan(want[i]));
    for_each_isa(isa)
        for (int t = 0; t < 5; t++) {
            kernels_fill(got, size, 8);
            if (t < 4)
                ops_attention(pools[t], s.kv, s.spans, s.count, s.q, s.ldq, got, s.ldq);
            else
                attend_alone(&s, got);
            assert_same_bits(got, want, size,
                             "heads %d/%d, dim %d, window %d, %d spans of %d rows at %d, %s, way %d", f.heads,
                             f.kv_heads, f.dim, f.window, s.count, f.rows, f.first_pos, isa, t);
        }
    kernels_free(want);
    kernels_free(got);
    scene_destroy(&s);
}

/* heads, kv_heads, dim, window, groups, per_group, shared, first_pos, rows */
static void prefill(void **state)
{
    (void)state;
    check((scene_shape){3, 1, 64, 0, 1, 1, 0, 0, 75});
    check((scene_shape){2, 2, 6, 0, 2, 1, 0, 0, 19});
    check((scene_shape){7, 1, 10, 0, 1, 1, 0, 3, 34});
    check((scene_shape){8, 2, 16, 0, 1, 2, 16, 40, 21});
    check((scene_shape){5, 1, 80, 0, 1, 1, 0, 0, 33});
    check((scene_shape){2, 1, 96, 0, 1, 1, 0, 17, 20});
    check((scene_shape){1, 1, 128, 0, 1, 1, 0, 0, 40});
    check((scene_shape){2, 1, 256, 0, 1, 1, 0, 30, 18});
    check((scene_shape){1, 1, 1, 0, 1, 1, 0, 0, 5});
}

static void decode_with_shared_prompts(void **state)
{
    (void)state;
    check((scene_shape){9, 3, 64, 0, 2, 16, 96, 100, 1});
    check((scene_shape){3, 1, 16, 0, 3, 7, 48, 60, 1});
    check((scene_shape){4, 4, 10, 0, 2, 5, 16, 15, 1});
    check((scene_shape){3, 1, 8, 0, 1, 20, 32, 40, 3});
    check((scene_shape){2, 1, 8, 0, 4, 4, 0, 5, 2});
    check((scene_shape){49, 1, 8, 0, 1, 3, 16, 20, 1}); /* one row is more than a tile */
}

static void windows(void **state)
{
    (void)state;
    check((scene_shape){3, 1, 64, 33, 1, 1, 0, 0, 90});
    check((scene_shape){2, 2, 10, 1, 1, 1, 0, 0, 20});
    check((scene_shape){6, 2, 16, 20, 2, 6, 64, 70, 1});
    check((scene_shape){1, 1, 6, 5, 1, 2, 0, 30, 40});
    check((scene_shape){4, 1, 8, 1000, 1, 2, 0, 3, 20});
}

/* Contexts that do not fit into a thread's scratch at once: scores are computed twice. */
static void long_contexts(void **state)
{
    (void)state;
    check((scene_shape){3, 1, 8, 0, 1, 2, 1600, 1700, 2});
    check((scene_shape){2, 1, 6, 1300, 1, 1, 0, 2500, 3});
    check((scene_shape){13, 1, 4, 0, 1, 1, 0, 22000, 1});
}

static void store(void **state)
{
    (void)state;
    static const int dims[] = {1, 6, 16, 20, 64};
    for (int c = 0; c < 5; c++)
        for (int first_pos = 0; first_pos < 20; first_pos += 7) {
            scene s = scene_create((scene_shape){2, 2, dims[c], 0, 1, 3, 0, first_pos, 83});
            const size_t size = (size_t)s.rows * s.ldkv;
            float *k = kernels_random(size, 3), *v = kernels_random(size, 4);
            float *k2 = kernels_random(size, 5), *v2 = kernels_random(size, 6);
            float *want = kernels_alloc(s.kv_size), *before = kernels_alloc(s.kv_size);
            memcpy(before, s.kv.base, s.kv_size * sizeof(float));
            ref_kv_write(s.kv, s.spans, s.count, k, s.ldkv, v, s.ldkv);
            memcpy(want, s.kv.base, s.kv_size * sizeof(float));
            for_each_isa(isa)
                for (int t = 0; t < 4; t++) {
                    memcpy(s.kv.base, before, s.kv_size * sizeof(float));
                    ops_kv_write(pools[t], s.kv, s.spans, s.count, k, s.ldkv, v, s.ldkv);
                    assert_same_bits(s.kv.base, want, s.kv_size, "kv_write, dim %d, %s", dims[c], isa);
                    kernels_fill(k2, size, 5);
                    kernels_fill(v2, size, 6);
                    ops_kv_read(pools[t], s.kv, s.spans, s.count, k2, s.ldkv, v2, s.ldkv);
                    for (int r = 0; r < s.rows; r++) { /* the gap column keeps its own */
                        assert_same_bits(k2 + r * s.ldkv, k + r * s.ldkv, s.ldkv - 1, "kv_read, %s", isa);
                        assert_same_bits(v2 + r * s.ldkv, v + r * s.ldkv, s.ldkv - 1, "kv_read, %s", isa);
                        assert_true(k2[(r + 1) * s.ldkv - 1] != k[(r + 1) * s.ldkv - 1]);
                    }
                }
            float *const all[] = {k, v, k2, v2, want, before};
            for (int i = 0; i < 6; i++)
                kernels_free(all[i]);
            scene_destroy(&s);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefill),       cmocka_unit_test(decode_with_shared_prompts),
        cmocka_unit_test(windows),       cmocka_unit_test(long_contexts),
        cmocka_unit_test(store),
    };
    return cmocka_run_group_tests(tests, pools_set_up, pools_tear_down);
}
