/* Speed of the matrix kernels on the shapes of a small model (hidden 576, feed-forward 1536, vocabulary
 * 49152, 30 layers): GFLOP/s for training, tokens/s of the products of one decoding step. Prints one
 * JSON object a line. usage: bench_kernels [threads] [gemm|dw|decode|head|elementwise] */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/ops.h"
#include "base/mem.h"

enum { RUNS = 15, LAYERS = 30, HIDDEN = 576, FFN = 1536, QKV = 960, VOCAB = 49152 };

static pool *threads;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Small numbers of both signs in fresh huge-page memory that lives until the end. */
static float *numbers(size_t n)
{
    mem_arena arena;
    grpo_error err;
    if (mem_arena_init(&arena, n * sizeof(float), "the benchmark", &err) != GRPO_OK) {
        fprintf(stderr, "bench_kernels: %s\n", err.message);
        exit(1);
    }
    float *p = (float *)arena.base;
    for (size_t i = 0; i < n; i++)
        p[i] = 0.01f * (float)((int)(i * 7919 % 101) - 50);
    return p;
}

static const char *const type_names[] = {"f32", "bf16", "bf16_dot", "bf16_tile"};

static void report(const char *what, ops_type type, int m, int n, int k, double flops, double seconds)
{
    printf("{\"what\": \"%s\", \"type\": \"%s\", \"threads\": %d, \"isa\": \"%s\", \"m\": %d, \"n\": %d, \"k\": %d, \"gflops\": %.1f}\n", what,
           type_names[type], pool_threads(threads), ops_isa(), m, n, k, flops / seconds / 1e9);
    fflush(stdout);
}

/* Best time of one `body` (a statement) among those of half a second: single calls, so that other jobs
 * on the machine miss some of them. */
#define BEST(seconds, body)                                                                        \
    do {                                                                                           \
        const double stop_ = now() + 0.5;                                                          \
        (seconds) = 1e9;                                                                           \
        for (int i_ = 0; i_ < 3 || now() < stop_; i_++) {                                          \
            double t_ = now();                                                                     \
            body;                                                                                  \
            t_ = now() - t_;                                                                       \
            (seconds) = t_ < (seconds) ? t_ : (seconds);                                           \
        }                                                                                          \
    } while (0)

static const int shapes[][2] = {{HIDDEN, HIDDEN}, {FFN, HIDDEN}, {HIDDEN, FFN}, {VOCAB, HIDDEN}};

static void bench_gemm(ops_type type, int m)
{
    for (int s = 0; s < 4; s++) {
        const int n = shapes[s][0], k = shapes[s][1];
        ops_product q = {.w = {.n = n, .k = k, .data = numbers(ops_matrix_elements(n, k)), .type = type},
                         .y = numbers((size_t)m * n), .ldy = n};
        float *x = numbers((size_t)m * k);
        double t;
        BEST(t, ops_gemm(threads, &q, 1, x, k, m));
        report("gemm", type, m, n, k, 2.0 * m * n * k, t);
    }
}

static void bench_dw(ops_type type, int m)
{
    for (int s = 0; s < 3; s++) {
        const int n = shapes[s][0], k = shapes[s][1];
        ops_matrix dw = ops_matrix_f32(n, k, numbers(ops_matrix_elements(n, k)));
        float *x = numbers((size_t)m * k), *dy = numbers((size_t)m * n);
        double t;
        BEST(t, ops_gemm_dw(threads, type, dw, dy, n, x, k, m));
        report("dw", type, m, n, k, 2.0 * m * n * k, t);
    }
}

/* One decoding step's products: distinct weights for every layer, then the head. */
static void bench_decode(ops_type type)
{
    const int part[][2] = {{QKV, HIDDEN}, {HIDDEN, HIDDEN}, {2 * FFN, HIDDEN}, {HIDDEN, FFN}};
    float *layers = numbers((size_t)LAYERS * (QKV + HIDDEN + 3 * FFN) * HIDDEN);
    float *head = numbers((size_t)VOCAB * HIDDEN), *x = numbers(64 * FFN), *y = numbers(64 * 2 * FFN);
    float *z = numbers((size_t)64 * VOCAB), *scratch = numbers(ops_head_scratch(threads, HIDDEN, VOCAB, 64));
    ops_softmax_row rows[64];
    for (int m = 1; m <= 64; m = m < 8 ? m * 2 : m < 32 ? m + 8 : m * 2) {
        double best_layers = 1e9, best_head = 1e9;
        for (int r = 0; r < RUNS; r++) {
            double t = now(); /* layers and head have their best times apart */
            ops_product q = {.w = {.data = layers, .type = type}, .y = y};
            for (int l = 0; l < LAYERS; l++)
                for (int i = 0; i < 4; i++) {
                    q.w.n = q.ldy = part[i][0];
                    q.w.k = part[i][1];
                    ops_gemm(threads, &q, 1, x, q.w.k, m);
                    q.w.data += (size_t)(q.w.n / OPS_PANEL) * ops_panel_words(q.w);
                }
            double middle = now();
            ops_head_logits(threads, (ops_matrix){.n = VOCAB, .k = HIDDEN, .data = head, .type = type}, x, HIDDEN, 1.0f, z, VOCAB, rows, 0, m, scratch);
            double end = now();
            best_layers = middle - t < best_layers ? middle - t : best_layers;
            best_head = end - middle < best_head ? end - middle : best_head;
        }
        printf("{\"what\": \"decode\", \"weights\": \"%s\", \"threads\": %d, \"isa\": \"%s\", \"rows\": %d, \"layers_ms\": %.2f, "
               "\"head_ms\": %.2f, \"tokens_per_s\": %.0f}\n",
               type_names[type], pool_threads(threads), ops_isa(), m, best_layers * 1e3, best_head * 1e3,
               m / (best_layers + best_head));
        fflush(stdout);
    }
}

static void bench_head(int m)
{
    const ops_matrix w = ops_matrix_f32(VOCAB, HIDDEN, numbers((size_t)VOCAB * HIDDEN)), dw = ops_matrix_f32(VOCAB, HIDDEN, numbers((size_t)VOCAB * HIDDEN));
    float *h = numbers((size_t)m * HIDDEN), *dh = numbers((size_t)m * HIDDEN), *lp = numbers((size_t)m);
    float *coef = numbers((size_t)m), *scratch = numbers(ops_head_scratch(threads, HIDDEN, VOCAB, m));
    ops_softmax_row *rows = (ops_softmax_row *)numbers(3 * (size_t)m);
    int32_t *target = (int32_t *)numbers((size_t)m);
    for (int r = 0; r < m; r++) {
        target[r] = r * 47 % VOCAB;
        coef[r] = 1e-3f * (float)(1 + r % 3);
    }
    const double flops = 2.0 * m * VOCAB * HIDDEN;
    double t;
    BEST(t, ops_head_logprob(threads, w, h, HIDDEN, 1.0f, target, NULL, lp, rows, 1, m, scratch));
    report("head_logprob", OPS_F32, m, VOCAB, HIDDEN, flops, t);
    BEST(t, ops_head_grad(threads, w, dw, h, HIDDEN, 1.0f, target, NULL, rows, coef, NULL, dh, HIDDEN, m, scratch));
    report("head_grad", OPS_F32, m, VOCAB, HIDDEN, 3 * flops, t);
}

static void bench_elementwise(void)
{
    const size_t n = (size_t)VOCAB * HIDDEN;
    float *p = numbers(n), *g = numbers(n), *m = numbers(n), *v = numbers(n), *t2 = numbers(n);
    for (size_t i = 0; i < n; i++)
        v[i] = v[i] * v[i];
    const ops_adamw a = {1e-6, 0.9, 0.999, 1e-8, 0.01, 0.1, 0.001, 1.0};
    double t, sum = 0;
    BEST(t, ops_adamw_step(threads, a, p, g, m, v, n));
    printf("{\"what\": \"adamw\", \"gb_per_s\": %.1f}\n", 28e-9 * (double)n / t);
    BEST(t, sum += ops_sum_squares(threads, g, n));
    printf("{\"what\": \"sum_squares\", \"gb_per_s\": %.1f, \"sum\": %g}\n", 4e-9 * (double)n / t, sum);
    BEST(t, ops_pack_transposed(threads, ops_matrix_f32(HIDDEN, VOCAB, t2), ops_matrix_f32(VOCAB, HIDDEN, p)));
    printf("{\"what\": \"pack_transposed\", \"gb_per_s\": %.1f}\n", 8e-9 * (double)n / t);
    BEST(t, ops_pack(threads, ops_matrix_f32(VOCAB, HIDDEN, p), t2, HIDDEN));
    printf("{\"what\": \"pack\", \"gb_per_s\": %.1f}\n", 8e-9 * (double)n / t);
}

int main(int argc, char **argv)
{
    grpo_error err;
    if (ops_check(&err) != GRPO_OK || pool_create(&threads, argc > 1 ? atoi(argv[1]) : 0, &err) != GRPO_OK) {
        fprintf(stderr, "bench_kernels: %s\n", err.message);
        return 1;
    }
    const char *only = argc > 2 ? argv[2] : "";
    if (strstr("gemm", only))
        bench_gemm(OPS_F32, 1024), bench_gemm(OPS_BF16, 1024), bench_gemm(OPS_BF16_DOT, 1024), bench_gemm(OPS_BF16_TILE, 1024);
    if (strstr("dw", only))
        bench_dw(OPS_F32, 1024), bench_dw(OPS_BF16_DOT, 1024), bench_dw(OPS_BF16_TILE, 1024);
    if (strstr("decode", only))
        bench_decode(OPS_F32), bench_decode(OPS_BF16), bench_decode(OPS_BF16_DOT), bench_decode(OPS_BF16_TILE);
    if (strstr("head", only))
        bench_head(1024);
    if (strstr("elementwise", only))
        bench_elementwise();
    pool_destroy(threads);
    return 0;
}
