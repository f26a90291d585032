/* Attention against double precision: values directly, gradients by central finite differences, and the
 * gradients of a shared prompt against those of separate sequences. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/ops.h"
#include "random.h"
#include "support.h"

#define SCALE 0.4f

/* A prompt and `answers` continuations of it, laid out as rows: answers first, prompt last. */
typedef struct problem {
    int heads, kv_heads, dim, window, prompt, answers, length;
    int rows, qn, kvn;       /* rows = answers * length + prompt; row widths */
    float *q, *k, *v, *dout; /* [rows][qn or kvn] */
} problem;

static void problem_init(problem *p)
{
    p->rows = p->answers * p->length + p->prompt;
    p->qn = p->heads * p->dim;
    p->kvn = p->kv_heads * p->dim;
    p->q = random_floats(p->rows * p->qn, -1.5f, 1.5f);
    p->k = random_floats(p->rows * p->kvn, -1.5f, 1.5f);
    p->v = random_floats(p->rows * p->kvn, -1.5f, 1.5f);
    p->dout = random_floats(p->rows * p->qn, -1.5f, 1.5f);
}

static void problem_deinit(problem *p)
{
    free(p->q);
    free(p->k);
    free(p->v);
    free(p->dout);
}

/* The row that holds position j of answer a's sequence. */
static int row_of(const problem *p, int a, int j)
{
    return j < p->prompt ? p->answers * p->length + j : a * p->length + j - p->prompt;
}

/* ---- in double ------------------------------------------------------------------------ */

static void attend(const problem *p, const double *q, const double *k, const double *v, int a, int pos,
                   int head, double *out)
{
    double weight[256], max = -INFINITY, sum = 0;
    int kvh = head / (p->heads / p->kv_heads), from = p->window ? pos - p->window + 1 : 0;
    from = from < 0 ? 0 : from;
    for (int j = from; j <= pos; j++) {
        weight[j] = 0;
        for (int d = 0; d < p->dim; d++)
            weight[j] += q[row_of(p, a, pos) * p->qn + head * p->dim + d] *
                         k[row_of(p, a, j) * p->kvn + kvh * p->dim + d];
        weight[j] *= (double)SCALE;
        max = fmax(max, weight[j]);
    }
    for (int j = from; j <= pos; j++)
        sum += weight[j] = exp(weight[j] - max);
    for (int d = 0; d < p->dim; d++) {
        out[d] = 0;
        for (int j = from; j <= pos; j++)
            out[d] += weight[j] / sum * v[row_of(p, a, j) * p->kvn + kvh * p->dim + d];
    }
}

static double query_loss(const problem *p, const double *q, const double *k, const double *v, int a,
                         int pos)
{
    double out[64], sum = 0;
    for (int h = 0; h < p->heads; h++) {
        attend(p, q, k, v, a, pos, h, out);
        for (int d = 0; d < p->dim; d++)
            sum += out[d] * (double)p->dout[row_of(p, a, pos) * p->qn + h * p->dim + d];
    }
    return sum;
}

static double loss(const problem *p, const double *q, const double *k, const double *v)
{
    double sum = 0;
    for (int pos = 0; pos < p->prompt; pos++)
        sum += query_loss(p, q, k, v, 0, pos);
    for (int a = 0; a < p->answers; a++)
        for (int pos = p->prompt; pos < p->prompt + p->length; pos++)
            sum += query_loss(p, q, k, v, a, pos);
    return sum;
}

/* ---- by the operations ------------------------------------------------------------------ */

typedef struct result {
    float *out, *dq, *dk, *dv; /* by row */
} result;

static void result_deinit(result *r)
{
    free(r->out);
    free(r->dq);
    free(r->dk);
    free(r->dv);
}

/* Block tables of the answers: whole prompt blocks are shared, the rest is each answer's own. */
static int32_t *block_tables(const problem *p, int per_answer)
{
    int32_t *table = malloc(sizeof *table * (size_t)(p->answers * per_answer));
    assert_non_null(table);
    for (int a = 0; a < p->answers; a++)
        for (int b = 0; b < per_answer; b++)
            table[a * per_answer + b] = (b + 1) * 16 <= p->prompt ? b : a * per_answer + b;
    return table;
}

static void run_grad(const problem *p, ops_kv kv, const ops_span *spans, result *r)
{
    ops_span_grad *g = malloc(sizeof *g * (size_t)(p->answers + 1));
    int prompt_row = p->answers * p->length, total = p->prompt + p->length;
    for (int a = 0; a <= p->answers; a++)
        g[a] = (ops_span_grad){spans[a], p->prompt, r->dk + a * p->length * p->kvn,
                               r->dv + a * p->length * p->kvn, r->dk + prompt_row * p->kvn,
                               r->dv + prompt_row * p->kvn};
    size_t need = ops_attention_grad_scratch(kv, total);
    float *scratch = random_floats((long)need, -1, 1);
    ops_group group = {0, p->answers + 1};
    ops_attention_grad(NULL, kv, g, &group, 1, p->q, p->qn, r->out, p->qn, p->dout, p->qn, r->dq, p->qn,
                       p->kvn, scratch, need);
    free(scratch);
    free(g);
}

static result run(const problem *p)
{
    int per_answer = (p->prompt + p->length + 15) / 16, prompt_row = p->answers * p->length;
    ops_kv kv = {.heads = p->heads, .kv_heads = p->kv_heads, .head_dim = p->dim, .window = p->window,
                 .scale = SCALE, .block_stride = (size_t)(p->kvn * 32)};
    kv.base = random_floats((long)kv.block_stride * per_answer * p->answers, -9, 9);
    int32_t *table = block_tables(p, per_answer);
    ops_span *spans = malloc(sizeof *spans * (size_t)(p->answers + 1));
    for (int a = 0; a < p->answers; a++) {
        ops_span prompt = {table + a * per_answer, prompt_row, p->prompt, 0};
        spans[a] = (ops_span){table + a * per_answer, a * p->length, p->length, p->prompt};
        ops_kv_write(NULL, kv, &prompt, 1, p->k, p->kvn, p->v, p->kvn);
    }
    spans[p->answers] = (ops_span){table, prompt_row, p->prompt, 0};
    ops_kv_write(NULL, kv, spans, p->answers + 1, p->k, p->kvn, p->v, p->kvn);
    result r = {random_floats(p->rows * p->qn, 0, 1), random_floats(p->rows * p->qn, 0, 1),
                random_floats(p->rows * p->kvn, 0, 0), random_floats(p->rows * p->kvn, 0, 0)};
    ops_attention(NULL, kv, spans, p->answers + 1, p->q, p->qn, r.out, p->qn);
    run_grad(p, kv, spans, &r);
    free(spans);
    free(table);
    free(kv.base);
    return r;
}

/* ---- tests -------------------------------------------------------------------------------- */

static double *widen(const float *x, int n)
{
    double *y = malloc(sizeof *y * (size_t)n);
    assert_non_null(y);
    for (int i = 0; i < n; i++)
        y[i] = x[i];
    return y;
}

typedef struct inputs {
    double *q, *k, *v;
} inputs;

static void check_differences(const problem *p, inputs in, double *x, int n, const float *gradient)
{
    for (int i = 0; i < n; i++) {
        double keep = x[i], h = 1e-5;
        x[i] = keep + h;
        double up = loss(p, in.q, in.k, in.v);
        x[i] = keep - h;
        double down = loss(p, in.q, in.k, in.v);
        x[i] = keep;
        assert_near(gradient[i], (up - down) / (2 * h), 2e-5);
    }
}

static void check_values(const problem *p, inputs in, const float *got)
{
    double out[64];
    for (int a = 0; a < p->answers; a++)
        for (int pos = 0; pos < p->prompt + p->length; pos++)
            for (int h = 0; h < p->heads; h++) {
                attend(p, in.q, in.k, in.v, a, pos, h, out);
                for (int d = 0; d < p->dim; d++)
                    assert_near(got[row_of(p, a, pos) * p->qn + h * p->dim + d], out[d], 3e-6);
            }
}

static void check_problem(int heads, int kv_heads, int dim, int window, int prompt, int answers,
                          int length)
{
    problem p = {.heads = heads, .kv_heads = kv_heads, .dim = dim, .window = window,
                 .prompt = prompt, .answers = answers, .length = length};
    problem_init(&p);
    inputs in = {widen(p.q, p.rows * p.qn), widen(p.k, p.rows * p.kvn), widen(p.v, p.rows * p.kvn)};
    result r = run(&p);
    check_values(&p, in, r.out);
    check_differences(&p, in, in.q, p.rows * p.qn, r.dq);
    check_differences(&p, in, in.k, p.rows * p.kvn, r.dk);
    check_differences(&p, in, in.v, p.rows * p.kvn, r.dv);
    free(in.q);
    free(in.k);
    free(in.v);
    result_deinit(&r);
    problem_deinit(&p);
}

static void test_gradients(void **unused)
{
    (void)unused;
    check_problem(2, 1, 6, 0, 5, 1, 3);
    check_problem(2, 2, 10, 0, 17, 2, 4);
    check_problem(3, 1, 16, 7, 10, 2, 9);
    check_problem(4, 2, 5, 1, 3, 1, 2); /* window 1: a query sees itself alone */
}

/* Answer a of p as a problem of its own. The prompt's own loss counts for the first answer only. */
static problem single_answer(const problem *p, int a)
{
    problem one = *p;
    one.answers = 1;
    problem_init(&one);
    for (int j = 0; j < p->prompt + p->length; j++) {
        int to = row_of(&one, 0, j), from = row_of(p, a, j);
        memcpy(one.q + to * p->qn, p->q + from * p->qn, sizeof(float) * (size_t)p->qn);
        memcpy(one.k + to * p->kvn, p->k + from * p->kvn, sizeof(float) * (size_t)p->kvn);
        memcpy(one.v + to * p->kvn, p->v + from * p->kvn, sizeof(float) * (size_t)p->kvn);
        for (int i = 0; i < p->qn; i++)
            one.dout[to * p->qn + i] = j < p->prompt && a > 0 ? 0 : p->dout[from * p->qn + i];
    }
    return one;
}

/* The prompt's gradient with sharing is the sum over the answers computed one by one. */
static void test_shared_prefix(void **unused)
{
    (void)unused;
    problem p = {.heads = 2, .kv_heads = 1, .dim = 8, .prompt = 21, .answers = 3, .length = 20};
    problem_init(&p);
    result shared = run(&p);
    int own_q = p.length * p.qn, own_kv = p.length * p.kvn, prompt_kv = p.prompt * p.kvn;
    double *sum = calloc((size_t)prompt_kv, sizeof *sum);
    for (int a = 0; a < p.answers; a++) {
        problem one = single_answer(&p, a);
        result r = run(&one);
        assert_memory_equal(r.out, shared.out + a * own_q, sizeof(float) * (size_t)own_q);
        assert_memory_equal(r.dq, shared.dq + a * own_q, sizeof(float) * (size_t)own_q);
        assert_memory_equal(r.dk, shared.dk + a * own_kv, sizeof(float) * (size_t)own_kv);
        assert_memory_equal(r.dv, shared.dv + a * own_kv, sizeof(float) * (size_t)own_kv);
        for (int i = 0; i < prompt_kv; i++)
            sum[i] += r.dk[own_kv + i];
        result_deinit(&r);
        problem_deinit(&one);
    }
    for (int i = 0; i < prompt_kv; i++)
        assert_near(shared.dk[p.answers * own_kv + i], sum[i], 3e-6);
    free(sum);
    result_deinit(&shared);
    problem_deinit(&p);
}

/* What is written can be read back, into other strides, and leaves the columns beside it alone. */
static void test_store(void **unused)
{
    (void)unused;
    enum { KV_HEADS = 2, DIM = 6, ROWS = 37, N = KV_HEADS * DIM, LD = N + 3 };
    ops_kv kv = {.heads = 2, .kv_heads = KV_HEADS, .head_dim = DIM, .block_stride = KV_HEADS * 32 * DIM};
    kv.base = random_floats((long)kv.block_stride * 4, -1, 1);
    int32_t table[4] = {3, 0, 2, 1};
    ops_span spans[2] = {{table, 20, 17, 5}, {table, 0, 20, 22}};
    float k[ROWS * N], v[ROWS * N], k2[ROWS * LD], v2[ROWS * LD];
    random_fill(k, ROWS * N, -1, 1);
    random_fill(v, ROWS * N, -1, 1);
    random_fill(k2, ROWS * LD, 5, 5);
    random_fill(v2, ROWS * LD, 5, 5);
    ops_kv_write(NULL, kv, spans, 2, k, N, v, N);
    ops_kv_read(NULL, kv, spans, 2, k2, LD, v2, LD);
    for (int i = 0; i < ROWS * LD; i++) {
        int r = i / LD, c = i % LD;
        assert_true(k2[i] == (c < N ? k[r * N + c] : 5));
        assert_true(v2[i] == (c < N ? v[r * N + c] : 5));
    }
    /* position 25 is row 3 of the second span, in block 1 = table[1] = 0 at offset 9 */
    assert_true(kv.base[1 * 2 * 16 * DIM + 4 * 16 + 9] == k[3 * N + DIM + 4]);
    assert_true(kv.base[1 * 2 * 16 * DIM + 16 * DIM + 9 * DIM + 4] == v[3 * N + DIM + 4]);
    free(kv.base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_shared_prefix),
        cmocka_unit_test(test_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
