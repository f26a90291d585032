/* Speed of attention (GFLOP/s of its products) and of the per-row operations (GB/s of their arguments) at
 * SmolLM2-135M's shapes. Best of the calls of a third of a second. One JSON object a line.
 * A pair of a query and a key that it sees counts 4 d FLOPs forward and 10 d backward, a pair that it does not
 * see none. "ratio": time over the time of those FLOPs at the rate of a product of matrices in the same run,
 * measured first and last. usage: bench_attention [threads] [PART OF A NAME] */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/ops.h"
#include "base/mem.h"

enum { HEADS = 9, KV_HEADS = 3, HIDDEN = 576, FFN = 1536, COLD_LAYERS = 16 };

static pool *threads;
static const char *only = "";
static double ceiling; /* GFLOP/s of a product of matrices */

/* With one thread its processor time, which other jobs on the machine disturb less. */
static double now(void)
{
    struct timespec t;
    clock_gettime(pool_threads(threads) == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "bench_attention: %s\n", what);
    exit(1);
}

/* Numbers of both signs; lives until the end. */
static float *numbers(size_t n)
{
    mem_arena arena;
    grpo_error err;
    if (mem_arena_init(&arena, n * sizeof(float), "the benchmark", &err) != GRPO_OK)
        die(err.message);
    float *p = (float *)arena.base;
    for (size_t i = 0; i < n; i++)
        p[i] = 0.02f * (float)((int)(i * 7919 % 101) - 50);
    return p;
}

#define BEST(seconds, body)                                                                        \
    do {                                                                                           \
        const double stop_ = now() + 0.33;                                                         \
        (seconds) = 1e9;                                                                           \
        for (int i_ = 0; i_ < 3 || now() < stop_; i_++) {                                          \
            double t_ = now();                                                                     \
            body;                                                                                  \
            t_ = now() - t_;                                                                       \
            (seconds) = t_ < (seconds) ? t_ : (seconds);                                           \
        }                                                                                          \
    } while (0)

static void report(const char *name, const char *unit, double amount, double seconds)
{
    printf("{\"what\": \"%s\", \"isa\": \"%s\", \"threads\": %d, \"us\": %.1f, \"%s\": %.1f}\n", name, ops_isa(),
           pool_threads(threads), seconds * 1e6, unit, amount / seconds / 1e9);
    fflush(stdout);
}

static void report_products(const char *name, double flops, double seconds)
{
    printf("{\"what\": \"%s\", \"isa\": \"%s\", \"threads\": %d, \"us\": %.1f, \"gflops\": %.1f, \"ratio\": %.2f}\n", name, ops_isa(),
           pool_threads(threads), seconds * 1e6, flops / seconds / 1e9, seconds * ceiling * 1e9 / flops);
    fflush(stdout);
}

static int wanted(const char *name)
{
    return strstr(name, only) != NULL;
}

/* ---- attention ------------------------------------------------------------------------------ */

/* Groups of answers after a shared prompt: `rows` rows of each answer, the last ones, and perhaps the prompt's
 * own rows after them. Each call uses the next of `layers` stores, so that decoding finds none in a cache. */
typedef struct scene {
    ops_kv kv;
    int layers;
    size_t layer_size;
    int count, rows, n_groups, positions;
    ops_span spans[64];
    ops_span_grad grads[64];
    ops_group groups[8];
    float *q, *out, *dout, *dq, *dk, *dv;
    double pairs; /* of a query and a key that it sees */
} scene;

static void scene_add(scene *s, int group, ops_span_grad span)
{
    s->spans[s->count] = span.span;
    s->grads[s->count++] = span;
    s->groups[group].count++;
    s->rows += span.span.rows;
    for (int r = 0; r < span.span.rows; r++)
        s->pairs += (double)HEADS * (span.span.first_pos + r + 1);
}

static scene scene_create(int dim, int n_groups, int answers, int prompt, int length, int rows, int prompt_rows)
{
    scene s = {.kv = {.heads = HEADS, .kv_heads = KV_HEADS, .head_dim = dim, .scale = 0.125f,
                      .block_stride = (size_t)KV_HEADS * 32 * (size_t)dim},
               .n_groups = n_groups, .positions = prompt + length};
    const int per = (prompt + length + 15) / 16, kvn = KV_HEADS * dim;
    const size_t group_kv = (size_t)(prompt + answers * length) * (size_t)kvn;
    int32_t *tables = mem_calloc((size_t)(n_groups * answers * per), sizeof *tables);
    s.layers = rows == 1 ? COLD_LAYERS : 1;
    s.layer_size = (size_t)(n_groups * answers * per) * s.kv.block_stride;
    s.kv.base = numbers((size_t)s.layers * s.layer_size);
    s.dk = numbers((size_t)n_groups * group_kv);
    s.dv = numbers((size_t)n_groups * group_kv);
    for (int i = 0; i < n_groups * answers; i++) {
        const int g = i / answers;
        float *dk = s.dk + (size_t)g * group_kv, *dv = s.dv + (size_t)g * group_kv;
        const size_t own = (size_t)(prompt + i % answers * length) * (size_t)kvn;
        for (int b = 0; b < per; b++)
            tables[i * per + b] = (b < prompt / 16 ? g * answers : i) * per + b;
        if (i % answers == 0)
            s.groups[g].first = s.count;
        scene_add(&s, g, (ops_span_grad){{tables + i * per, s.rows, rows, prompt + length - rows}, prompt, dk + own, dv + own, dk, dv});
        if (i % answers == answers - 1 && prompt_rows)
            scene_add(&s, g, (ops_span_grad){{tables + i * per, s.rows, prompt, 0}, prompt, dk, dv, dk, dv});
    }
    const size_t width = (size_t)s.rows * (size_t)(HEADS * dim);
    s.q = numbers(width);
    s.out = numbers(width);
    s.dout = numbers(width);
    s.dq = numbers(width);
    return s;
}

static void bench_forward(const char *name, scene s)
{
    if (!wanted(name))
        return;
    const int ld = HEADS * s.kv.head_dim;
    float *const first = s.kv.base;
    double t;
    int call = 0;
    BEST(t, s.kv.base = first + (size_t)(call++ % s.layers) * s.layer_size;
         ops_attention(threads, s.kv, s.spans, s.count, s.q, ld, s.out, ld));
    report_products(name, s.pairs * 4 * s.kv.head_dim, t);
}

static void bench_backward(const char *name, scene s)
{
    if (!wanted(name))
        return;
    const int ld = HEADS * s.kv.head_dim;
    const size_t each = ops_attention_grad_scratch(s.kv, s.positions);
    float *scratch = numbers(each * (size_t)pool_threads(threads));
    double t;
    ops_attention(threads, s.kv, s.spans, s.count, s.q, ld, s.out, ld);
    BEST(t, ops_attention_grad(threads, s.kv, s.grads, s.groups, s.n_groups, s.q, ld, s.out, ld, s.dout, ld, s.dq,
                               ld, KV_HEADS * s.kv.head_dim, scratch, each));
    report_products(name, s.pairs * 10 * s.kv.head_dim, t);
}

static void bench_attention(void)
{
    bench_forward("attention: 1 x 2048", scene_create(64, 1, 1, 0, 2048, 2048, 0));
    bench_forward("attention: 1 x 1000", scene_create(64, 1, 1, 0, 1000, 1000, 0));
    bench_forward("attention: 8 x 1024 and their prompt of 1024", scene_create(64, 1, 8, 1024, 1024, 1024, 1));
    bench_forward("attention: 16 x 200 after 120", scene_create(64, 1, 16, 120, 200, 200, 0));
    bench_forward("attention: head_dim 128, 1 x 1000", scene_create(128, 1, 1, 0, 1000, 1000, 0));
    bench_forward("attention: head_dim 80, 1 x 1000", scene_create(80, 1, 1, 0, 1000, 1000, 0));
    bench_forward("attention: decode 4 at 1536, prompt 1024", scene_create(64, 1, 4, 1024, 512, 1, 0));
    bench_forward("attention: decode 2 at 1536, prompt 1024", scene_create(64, 1, 2, 1024, 512, 1, 0));
    bench_forward("attention: decode 8 at 2048, prompt 1024", scene_create(64, 1, 8, 1024, 1024, 1, 0));
    bench_forward("attention: decode 8 at 96, prompt 64", scene_create(64, 1, 8, 64, 32, 1, 0));
    bench_forward("attention: decode 4 x 8 at 160, prompt 96", scene_create(64, 4, 8, 96, 64, 1, 0));
    bench_forward("attention: decode 2 x 16 at 250, prompt 120", scene_create(64, 2, 16, 120, 131, 1, 0));
    bench_forward("attention: decode 2 x 16 at 250, prompt 16", scene_create(64, 2, 16, 16, 235, 1, 0));
    bench_forward("attention: decode 1 at 1000", scene_create(64, 1, 1, 0, 1001, 1, 0));
    bench_backward("attention_grad: 1 x 2048", scene_create(64, 1, 1, 0, 2048, 2048, 0));
    bench_backward("attention_grad: 1 x 1000", scene_create(64, 1, 1, 0, 1000, 1000, 0));
    bench_backward("attention_grad: 8 x 1024 and their prompt of 1024", scene_create(64, 1, 8, 1024, 1024, 1024, 1));
    bench_backward("attention_grad: 16 x 200 after 120", scene_create(64, 1, 16, 120, 200, 200, 0));
    bench_backward("attention_grad: head_dim 128, 1 x 1000", scene_create(128, 1, 1, 0, 1000, 1000, 0));
}

static void bench_store(const char *name, scene s)
{
    if (!wanted(name))
        return;
    const int ld = KV_HEADS * s.kv.head_dim;
    double t;
    BEST(t, ops_kv_write(threads, s.kv, s.spans, s.count, s.q, ld, s.dout, ld));
    report(name, "gbytes", 16.0 * s.rows * ld, t);
}

/* ---- rows ------------------------------------------------------------------------------------- */

static void bench_rows(int m)
{
    const size_t hidden = (size_t)m * HIDDEN, ffn = (size_t)m * FFN;
    float *x = numbers(hidden), *y = numbers(hidden), *dy = numbers(hidden), *w = numbers(HIDDEN), *dw = numbers(HIDDEN);
    float *gate = numbers(ffn), *up = numbers(ffn), *h = numbers(ffn), *dh = numbers(ffn), *dup = numbers(ffn);
    float *c = numbers(2048 * 32), *s = numbers(2048 * 32);
    int32_t *pos = mem_calloc((size_t)m, sizeof *pos);
    for (int r = 0; r < m; r++)
        pos[r] = r % 2048;
    char name[64];
    double t;
#define ROWS(what, bytes, body)                                                                    \
    snprintf(name, sizeof name, what ": %d rows", m);                                              \
    if (wanted(name)) {                                                                            \
        BEST(t, body);                                                                             \
        report(name, "gbytes", bytes, t);                                                          \
    }
    ROWS("rmsnorm", 8.0 * (double)hidden, ops_rmsnorm(threads, y, HIDDEN, x, HIDDEN, w, 0, 1e-5f, 1, HIDDEN, m))
    ROWS("rmsnorm_grad", 16.0 * (double)hidden,
         ops_rmsnorm_grad(threads, y, HIDDEN, 1, dw, dy, HIDDEN, x, HIDDEN, w, 0, 1e-5f, 1, HIDDEN, m))
    ROWS("rope", 8.0 * (double)hidden, ops_rope(threads, y, HIDDEN, HEADS, 64, 64, c, s, pos, 0, m))
    ROWS("glu", 12.0 * (double)ffn, ops_glu(threads, OPS_SILU, h, FFN, gate, FFN, up, FFN, FFN, m))
    ROWS("glu gelu", 12.0 * (double)ffn, ops_glu(threads, OPS_GELU_TANH, h, FFN, gate, FFN, up, FFN, FFN, m))
    ROWS("glu_grad", 24.0 * (double)ffn,
         ops_glu_grad(threads, OPS_SILU, dh, FFN, dup, FFN, h, FFN, up, FFN, gate, FFN, up, FFN, FFN, m))
#undef ROWS
}

static void bench_gemm(void)
{
    enum { M = 2048 };
    static ops_product q;
    static float *x;
    if (!x) {
        x = numbers((size_t)M * HIDDEN);
        q = (ops_product){.w = ops_matrix_f32(FFN, HIDDEN, numbers(ops_matrix_elements(FFN, HIDDEN))), .y = numbers((size_t)M * FFN), .ldy = FFN};
    }
    const double flops = 2.0 * M * FFN * HIDDEN;
    double t;
    BEST(t, ops_gemm(threads, &q, 1, x, HIDDEN, M));
    ceiling = flops / t / 1e9 > ceiling ? flops / t / 1e9 : ceiling;
    report_products("for comparison: gemm 2048 x 1536 x 576", flops, t);
}

int main(int argc, char **argv)
{
    grpo_error err;
    if (ops_check(&err) != GRPO_OK || pool_create(&threads, argc > 1 ? atoi(argv[1]) : 0, &err) != GRPO_OK)
        die(err.message);
    only = argc > 2 ? argv[2] : "";
    bench_gemm();
    bench_attention();
    bench_store("kv_write: 2048 rows", scene_create(64, 1, 1, 0, 2048, 2048, 0));
    bench_store("kv_write: decode 32", scene_create(64, 2, 16, 120, 131, 1, 0));
    bench_rows(32);
    bench_rows(2048);
    bench_gemm(); /* again: other work on the machine comes and goes */
    pool_destroy(threads);
    return 0;
}
