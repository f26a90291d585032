/* Speed of attention (GFLOP/s of its products) and of the per-row operations (GB/s of their arguments) at
 * SmolLM2-135M's shapes, and for comparison of one product of matrices in the same run. Best of the calls
 * of a third of a second. One JSON object a line. usage: bench_attention [threads] [PART OF A NAME] */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/ops.h"
#include "base/mem.h"

enum { HEADS = 9, KV_HEADS = 3, HIDDEN = 576, FFN = 1536 };

static pool *threads;
static const char *only = "";

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

static int wanted(const char *name)
{
    return strstr(name, only) != NULL;
}

/* ---- attention ------------------------------------------------------------------------------ */

/* Groups of answers after a shared prompt; `rows` rows of each answer, the last ones. */
typedef struct scene {
    ops_kv kv;
    int count, rows;
    ops_span spans[64];
    ops_span_grad grads[64];
    ops_group groups[8];
    float *q, *out, *dout, *dq, *dk, *dv;
    double pairs; /* of a query and a key that it sees */
} scene;

static scene scene_create(int dim, int n_groups, int answers, int prompt, int length, int rows)
{
    scene s = {.kv = {.heads = HEADS, .kv_heads = KV_HEADS, .head_dim = dim, .scale = 0.125f,
                      .block_stride = (size_t)KV_HEADS * 32 * (size_t)dim}};
    const int per = (prompt + length + 15) / 16, blocks = n_groups * answers * per, kvn = KV_HEADS * dim;
    int32_t *tables = mem_calloc((size_t)blocks, sizeof *tables);
    s.kv.base = numbers((size_t)blocks * s.kv.block_stride);
    s.rows = n_groups * answers * rows;
    s.q = numbers((size_t)s.rows * HEADS * dim);
    s.out = numbers((size_t)s.rows * HEADS * dim);
    s.dout = numbers((size_t)s.rows * HEADS * dim);
    s.dq = numbers((size_t)s.rows * HEADS * dim);
    s.dk = numbers((size_t)n_groups * (prompt + answers * length) * kvn);
    s.dv = numbers((size_t)n_groups * (prompt + answers * length) * kvn);
    for (int i = 0; i < n_groups * answers; i++) {
        const int g = i / answers;
        for (int b = 0; b < per; b++)
            tables[i * per + b] = (b < prompt / 16 ? g * answers : i) * per + b;
        s.spans[i] = (ops_span){tables + i * per, i * rows, rows, prompt + length - rows};
        const size_t prefix = (size_t)g * (prompt + answers * length) * kvn;
        const size_t own = prefix + (size_t)(prompt + i % answers * length) * kvn;
        s.grads[i] = (ops_span_grad){s.spans[i], prompt, s.dk + own, s.dv + own, s.dk + prefix, s.dv + prefix};
        s.groups[g] = (ops_group){g * answers, answers};
        for (int r = 0; r < rows; r++)
            s.pairs += (double)HEADS * (prompt + length - rows + r + 1);
    }
    s.count = n_groups * answers;
    return s;
}

static void bench_forward(const char *name, scene s)
{
    if (!wanted(name))
        return;
    const int ld = HEADS * s.kv.head_dim;
    double t;
    BEST(t, ops_attention(threads, s.kv, s.spans, s.count, s.q, ld, s.out, ld));
    report(name, "gflops", s.pairs * 4 * s.kv.head_dim, t);
}

static void bench_backward(const char *name, scene s, int n_groups, int positions)
{
    if (!wanted(name))
        return;
    const int ld = HEADS * s.kv.head_dim;
    const size_t each = ops_attention_grad_scratch(s.kv, positions);
    float *scratch = numbers(each * (size_t)pool_threads(threads));
    double t;
    ops_attention(threads, s.kv, s.spans, s.count, s.q, ld, s.out, ld);
    BEST(t, ops_attention_grad(threads, s.kv, s.grads, s.groups, n_groups, s.q, ld, s.out, ld, s.dout, ld, s.dq,
                               ld, KV_HEADS * s.kv.head_dim, scratch, each));
    report(name, "gflops", s.pairs * 10 * s.kv.head_dim, t);
}

static void bench_attention(void)
{
    bench_forward("attention: 1 x 2048", scene_create(64, 1, 1, 0, 2048, 2048));
    bench_forward("attention: 1 x 1000", scene_create(64, 1, 1, 0, 1000, 1000));
    bench_forward("attention: 16 x 200 after 120", scene_create(64, 1, 16, 120, 200, 200));
    bench_forward("attention: head_dim 128, 1 x 1000", scene_create(128, 1, 1, 0, 1000, 1000));
    bench_forward("attention: head_dim 80, 1 x 1000", scene_create(80, 1, 1, 0, 1000, 1000));
    bench_forward("attention: decode 2 x 16 at 250, prompt 120", scene_create(64, 2, 16, 120, 131, 1));
    bench_forward("attention: decode 2 x 16 at 250, prompt 16", scene_create(64, 2, 16, 16, 235, 1));
    bench_forward("attention: decode 1 at 1000", scene_create(64, 1, 1, 0, 1001, 1));
    bench_backward("attention_grad: 1 x 2048", scene_create(64, 1, 1, 0, 2048, 2048), 1, 2048);
    bench_backward("attention_grad: 1 x 1000", scene_create(64, 1, 1, 0, 1000, 1000), 1, 1000);
    bench_backward("attention_grad: 16 x 200 after 120", scene_create(64, 1, 16, 120, 200, 200), 1, 320);
    bench_backward("attention_grad: head_dim 128, 1 x 1000", scene_create(128, 1, 1, 0, 1000, 1000), 1, 1000);
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
    const int m = 2048;
    ops_product q = {.w = {FFN, HIDDEN, numbers(ops_matrix_elements(FFN, HIDDEN))}, .y = numbers((size_t)m * FFN), .ldy = FFN};
    float *x = numbers((size_t)m * HIDDEN);
    double t;
    BEST(t, ops_gemm(threads, &q, 1, x, HIDDEN, m));
    report("for comparison: gemm 2048 x 1536 x 576", "gflops", 2.0 * m * FFN * HIDDEN, t);
}

int main(int argc, char **argv)
{
    grpo_error err;
    if (ops_check(&err) != GRPO_OK || pool_create(&threads, argc > 1 ? atoi(argv[1]) : 0, &err) != GRPO_OK)
        die(err.message);
    only = argc > 2 ? argv[2] : "";
    bench_gemm();
    bench_attention();
    bench_store("kv_write: 2048 rows", scene_create(64, 1, 1, 0, 2048, 2048));
    bench_store("kv_write: decode 32", scene_create(64, 2, 16, 120, 131, 1));
    bench_rows(32);
    bench_rows(2048);
    pool_destroy(threads);
    return 0;
}
