/* Gradient of attention: fast kernels against the plain loops, bit for bit, on every instruction set, with
 * 1 to 3 threads and without a pool, groups in one call or in several, with little scratch or much. */
#include "kernels.h"
#include "pools.h"

static pool **const pools = pools_by_threads; /* none; 1, 2, 3 threads */

typedef struct shape {
    int heads, kv_heads, dim, window;
    int groups, answers, prompt, length; /* answer a of a group has length + a rows */
    int prompt_rows;                     /* whether the prompt's own rows are among the spans */
} shape;

enum { SPANS = 32, GROUPS = 4 };

typedef struct scene {
    ops_kv kv;
    int rows, ldq, ldkv, count, positions;
    size_t q_size, kv_size; /* floats of row arrays, and of dk or dv */
    ops_span_grad spans[SPANS];
    ops_group groups[GROUPS];
    int n_groups;
    int32_t *tables;
    float *q, *out, *dout;
    float *dq, *dk, *dv; /* results of the run under way */
} scene;

/* Rows of k and v of a span go to the store; the store holds NaN elsewhere. */
static void fill_store(scene *s, int blocks)
{
    const size_t size = (size_t)blocks * s->kv.block_stride;
    s->kv.base = kernels_alloc(size);
    for (size_t i = 0; i < size; i++)
        s->kv.base[i] = NAN;
    for (int i = 0; i < s->count; i++) {
        ops_span whole = {s->spans[i].span.blocks, 0, s->spans[i].span.first_pos + s->spans[i].span.rows, 0};
        float *k = kernels_random((size_t)whole.rows * s->ldkv, 91 + (uint32_t)i);
        float *v = kernels_random((size_t)whole.rows * s->ldkv, 151 + (uint32_t)i);
        ref_kv_write(s->kv, &whole, 1, k, s->ldkv, v, s->ldkv);
        kernels_free(k);
        kernels_free(v);
    }
}

static void add_span(scene *s, shape f, int group, int per, int answer, size_t *own, size_t prefix)
{
    const int32_t *blocks = s->tables + (group * f.answers + (answer < f.answers ? answer : 0)) * per;
    const int is_prompt = answer == f.answers, rows = is_prompt ? f.prompt : f.length + answer;
    s->spans[s->count++] = (ops_span_grad){
        .span = {blocks, s->rows, rows, is_prompt ? 0 : f.prompt}, .prefix = f.prompt,
        .dk_own = s->dk + *own, .dv_own = s->dv + *own, .dk_prefix = s->dk + prefix, .dv_prefix = s->dv + prefix};
    s->rows += rows;
    *own += is_prompt ? 0 : (size_t)rows * s->ldkv;
}

static scene scene_create(shape f)
{
    scene s = {.kv = {.heads = f.heads, .kv_heads = f.kv_heads, .head_dim = f.dim, .window = f.window,
                      .scale = 1.7f / sqrtf((float)f.dim), .block_stride = (size_t)(f.kv_heads * 32 * f.dim)},
               .ldq = f.heads * f.dim + 3, .ldkv = f.kv_heads * f.dim + 2, .n_groups = f.groups};
    const int per = (f.prompt + f.length + f.answers + 15) / 16, blocks = f.groups * f.answers * per;
    s.positions = f.prompt + f.length + f.answers;
    s.kv_size = (size_t)f.groups * (size_t)(f.prompt + f.answers * (f.length + f.answers)) * (size_t)s.ldkv;
    s.dk = kernels_alloc(s.kv_size);
    s.dv = kernels_alloc(s.kv_size);
    s.tables = mem_calloc((size_t)blocks, sizeof *s.tables);
    for (int i = 0; i < blocks; i++)
        s.tables[i] = blocks - 1 - (i % per < f.prompt / 16 ? i / per / f.answers * f.answers * per + i % per : i);
    size_t own = 0;
    for (int g = 0; g < f.groups; g++) {
        const size_t prefix = own;
        own += (size_t)f.prompt * s.ldkv;
        s.groups[g] = (ops_group){s.count, f.answers + (f.prompt_rows ? 1 : 0)};
        for (int a = 0; a < f.answers + (f.prompt_rows ? 1 : 0); a++)
            add_span(&s, f, g, per, a, &own, prefix);
    }
    fill_store(&s, blocks);
    s.q_size = (size_t)s.rows * s.ldq;
    s.q = kernels_random(s.q_size, 7);
    s.dout = kernels_random(s.q_size, 9);
    s.out = kernels_random(s.q_size, 10);
    s.dq = kernels_alloc(s.q_size);
    ops_span spans[SPANS];
    for (int i = 0; i < s.count; i++)
        spans[i] = s.spans[i].span;
    ops_attention(NULL, s.kv, spans, s.count, s.q, s.ldq, s.out, s.ldq);
    return s;
}

static void scene_destroy(scene *s)
{
    float *const all[] = {s->kv.base, s->q, s->out, s->dout, s->dq, s->dk, s->dv};
    for (int i = 0; i < 7; i++)
        kernels_free(all[i]);
    mem_free(s->tables);
}

static void scene_clear(scene *s)
{
    kernels_fill(s->dq, s->q_size, 20);
    kernels_fill(s->dk, s->kv_size, 21);
    kernels_fill(s->dv, s->kv_size, 22);
}

static void run_groups(const scene *s, pool *p, int first, int count, size_t extra)
{
    const size_t each = ops_attention_grad_scratch(s->kv, s->positions) + extra;
    float *scratch = kernels_random(each * (size_t)pool_threads(p), 30);
    ops_attention_grad(p, s->kv, s->spans, s->groups + first, count, s->q, s->ldq, s->out, s->ldq, s->dout,
                       s->ldq, s->dq, s->ldq, s->ldkv, scratch, each);
    kernels_free(scratch);
}

static void check(shape f)
{
    scene s = scene_create(f);
    float *dq = kernels_alloc(s.q_size), *dk = kernels_alloc(s.kv_size), *dv = kernels_alloc(s.kv_size);
    scene_clear(&s);
    uint64_t fp = pool_fp_enter();
    ref_attention_grad(s.kv, s.spans, s.groups, s.n_groups, s.q, s.ldq, s.out, s.ldq, s.dout, s.ldq, s.dq,
                       s.ldq, s.ldkv);
    pool_fp_leave(fp);
    memcpy(dq, s.dq, s.q_size * sizeof *dq);
    memcpy(dk, s.dk, s.kv_size * sizeof *dk);
    memcpy(dv, s.dv, s.kv_size * sizeof *dv);
    for_each_isa(isa)
        for (int t = 0; t < 6; t++) {
            scene_clear(&s);
            for (int g = 0; g < s.n_groups; g += t < 5 ? s.n_groups : 1) /* 5: a call for each group */
                run_groups(&s, pools[t % 4], g, t < 5 ? s.n_groups : 1, t == 4 ? 1 << 20 : 0);
            char what[160];
            snprintf(what, sizeof what, "heads %d/%d, dim %d, window %d, %d groups of %d, %d + %d, %s, way %d",
                     f.heads, f.kv_heads, f.dim, f.window, f.groups, f.answers, f.prompt, f.length, isa, t);
            assert_same_bits(s.dq, dq, s.q_size, "dq, %s", what);
            assert_same_bits(s.dk, dk, s.kv_size, "dk, %s", what);
            assert_same_bits(s.dv, dv, s.kv_size, "dv, %s", what);
        }
    for (size_t i = 0; i < s.kv_size; i++)
        assert_false(isnan(dk[i]) || isnan(dv[i]));
    kernels_free(dq);
    kernels_free(dk);
    kernels_free(dv);
    scene_destroy(&s);
}

/* heads, kv_heads, dim, window, groups, answers, prompt, length, prompt_rows */
static void shapes(void **state)
{
    (void)state;
    check((shape){3, 1, 64, 0, 1, 2, 37, 30, 1});
    check((shape){2, 2, 6, 0, 2, 3, 5, 9, 1});
    check((shape){7, 1, 10, 0, 1, 1, 33, 20, 1});
    check((shape){4, 2, 16, 0, 3, 2, 16, 17, 0});
    check((shape){5, 1, 80, 0, 1, 1, 20, 13, 1});
    check((shape){2, 1, 128, 0, 1, 2, 0, 21, 0}); /* nothing shared */
    check((shape){1, 1, 96, 0, 1, 1, 18, 3, 1});
    check((shape){2, 1, 256, 0, 1, 1, 3, 30, 1});
    check((shape){49, 1, 4, 0, 1, 2, 20, 2, 1}); /* a row is more than a tile */
}

static void windows(void **state)
{
    (void)state;
    check((shape){3, 1, 16, 20, 1, 2, 37, 40, 1});
    check((shape){2, 2, 6, 1, 2, 2, 18, 9, 1});
    check((shape){1, 1, 10, 64, 1, 1, 90, 40, 1});
    check((shape){1, 1, 10, 1000, 1, 1, 9, 40, 1});
}

/* Enough rows and positions for several rounds. */
static void several_rounds(void **state)
{
    (void)state;
    check((shape){6, 2, 8, 0, 2, 8, 150, 120, 1});
    check((shape){1, 1, 4, 0, 1, 1, 700, 900, 1});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes),
        cmocka_unit_test(windows),
        cmocka_unit_test(several_rounds),
    };
    return cmocka_run_group_tests(tests, pools_set_up, pools_tear_down);
}
