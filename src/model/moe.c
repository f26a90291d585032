/* Mixture-of-experts layers, forward and backward. Experts are taken in batches of consecutive ones whose
 * assignments fit into the scratch; nothing depends on where batches end. */
#include <string.h>

#include "model/forward_layer.h"
#include "model/moe.h"

/* ---- sizes ------------------------------------------------------------------------------------------ */

int moe_dense_width(const model_config *c)
{
    for (int i = 0; i < c->layers; i++)
        if (!c->layer[i].moe)
            return c->ffn;
    return 0;
}

int moe_kept_width(const model_config *c, int layer)
{
    return c->layer[layer].moe ? c->experts_used * c->expert_ffn : c->ffn;
}

size_t moe_transposed_elements(const model_config *c)
{
    if (c->experts == 0)
        return 0;
    size_t down = ops_matrix_elements(c->expert_ffn, c->hidden), up = ops_matrix_elements(c->hidden, c->expert_ffn),
           router = ops_matrix_elements(c->hidden, c->experts);
    size_t best = down > up ? down : up;
    return best > router ? best : router;
}

typedef struct part {
    void **field;
    size_t elements; /* float or int32: the same size */
} part;

enum { PARTS = 17 };

static void list_parts(part parts[PARTS], moe_scratch *s, const model_config *c, int max_rows, int backward)
{
    size_t rows = (size_t)max_rows, pairs = rows * (size_t)c->experts_used, hidden = rows * (size_t)c->hidden,
           ffn = rows * (size_t)c->expert_ffn, experts = (size_t)c->experts, when = (size_t)backward;
    part list[PARTS] = {
        {(void **)&s->logits, rows * experts},
        {(void **)&s->expert, pairs},
        {(void **)&s->place, pairs},
        {(void **)&s->weight, pairs},
        {(void **)&s->row, pairs},
        {(void **)&s->slot, pairs},
        {(void **)&s->start, experts + 1},
        {(void **)&s->x, hidden},
        {(void **)&s->out, hidden},
        {(void **)&s->gate, ffn},
        {(void **)&s->up, ffn},
        {(void **)&s->dy, when * hidden},
        {(void **)&s->act, when * ffn},
        {(void **)&s->dact, when * ffn},
        {(void **)&s->dot, when * pairs},
        {(void **)&s->sorted, when * pairs},
        {(void **)&s->dweight, when * pairs},
    };
    memcpy(parts, list, sizeof list);
}

size_t moe_scratch_bytes(const model_config *c, int max_rows, int backward)
{
    moe_scratch s;
    part parts[PARTS];
    size_t bytes = 0;
    if (c->experts == 0)
        return 0;
    list_parts(parts, &s, c, max_rows, backward);
    for (int i = 0; i < PARTS; i++)
        bytes += mem_arena_size(parts[i].elements, sizeof(float));
    return bytes;
}

void moe_scratch_carve(moe_scratch *s, mem_arena *arena, const model_config *c, int max_rows, int backward)
{
    part parts[PARTS];
    memset(s, 0, sizeof *s);
    if (c->experts == 0)
        return;
    s->rows = max_rows;
    list_parts(parts, s, c, max_rows, backward);
    for (int i = 0; i < PARTS; i++)
        *parts[i].field = mem_arena_alloc(arena, parts[i].elements, sizeof(float));
}

/* ---- routing ------------------------------------------------------------------------------------------- */

/* Router and choice for rows of h, then the assignments sorted by expert. */
static void route(const layer_pass *lp, const moe_scratch *s, const float *h, int m)
{
    const model_config *c = &lp->model->config;
    int k = c->experts_used;
    ops_product product = {.w = lp->w->router, .y = s->logits, .ldy = c->experts};
    ops_gemm(lp->threads, &product, 1, h, c->hidden, m);
    ops_route(lp->threads, s->expert, s->weight, s->logits, c->experts, c->experts, k, c->norm_topk_prob, m);
    memset(s->start, 0, (size_t)(c->experts + 1) * sizeof *s->start);
    for (int i = 0; i < m * k; i++)
        s->start[s->expert[i] + 1]++;
    for (int e = 0; e < c->experts; e++)
        s->start[e + 1] += s->start[e];
    for (int i = 0; i < m * k; i++) {
        int place = s->start[s->expert[i]]++; /* leaves start[e] where expert e ends */
        s->place[i] = place;
        s->row[place] = i / k;
        s->slot[place] = i;
    }
    for (int e = c->experts; e > 0; e--)
        s->start[e] = s->start[e - 1];
    s->start[0] = 0;
}

/* Experts [begin, end) with the places [first, first + count). */
typedef struct batch {
    int begin, end, first, count;
} batch;

/* The next batch that has assignments; starts from {0}. */
static int next_batch(batch *b, const moe_scratch *s, int experts)
{
    b->begin = b->end;
    b->first += b->count;
    while (b->end < experts && s->start[b->end + 1] - b->first <= s->rows)
        b->end++;
    b->count = s->start[b->end] - b->first;
    return b->count > 0;
}

/* Calls body for every expert of the batch that has rows; they stand from `at` on in the batch's arrays. */
#define FOR_EACH_EXPERT(b, s, e, at, n)                                                                           \
    for (int e = (b).begin, at, n; e < (b).end; e++)                                                              \
        if (at = (s)->start[e] - (b).first, n = (s)->start[e + 1] - (s)->start[e], n > 0)

static float *row_of(float *base, int row, int width)
{
    return base + (size_t)row * (size_t)width;
}

/* ---- forward -------------------------------------------------------------------------------------------- */

static void gate_up(const layer_pass *lp, const moe_scratch *s, batch b)
{
    const model_config *c = &lp->model->config;
    int ffn = c->expert_ffn;
    FOR_EACH_EXPERT(b, s, e, at, n) {
        ops_product products[2] = {
            {.w = lp->w->expert[e].gate, .y = row_of(s->gate, at, ffn), .ldy = ffn},
            {.w = lp->w->expert[e].up, .y = row_of(s->up, at, ffn), .ldy = ffn},
        };
        ops_gemm(lp->threads, products, 2, row_of(s->x, at, c->hidden), c->hidden, n);
    }
}

void moe_forward(const layer_pass *lp, const moe_scratch *s, float *y, const float *x_mid, const moe_rows *rows)
{
    const model_config *c = &lp->model->config;
    int hidden = c->hidden, ffn = c->expert_ffn, m = rows->m;
    route(lp, s, rows->h, m);
    memcpy(y, x_mid, (size_t)m * (size_t)hidden * sizeof *y);
    for (batch b = {0}; next_batch(&b, s, c->experts);) {
        ops_gather(lp->threads, s->x, hidden, rows->h, hidden, s->row + b.first, hidden, b.count);
        gate_up(lp, s, b);
        if (rows->kept_gate) {
            ops_scatter(lp->threads, rows->kept_gate, ffn, s->slot + b.first, s->gate, ffn, ffn, b.count);
            ops_scatter(lp->threads, rows->kept_up, ffn, s->slot + b.first, s->up, ffn, ffn, b.count);
        }
        ops_glu(lp->threads, c->activation, s->gate, ffn, s->gate, ffn, s->up, ffn, ffn, b.count);
        FOR_EACH_EXPERT(b, s, e, at, n) {
            ops_product product = {.w = lp->w->expert[e].down, .y = row_of(s->out, at, hidden), .ldy = hidden};
            ops_gemm(lp->threads, &product, 1, row_of(s->gate, at, ffn), ffn, n);
        }
        ops_combine(lp->threads, y, hidden, s->out, hidden, s->place, s->weight, c->experts_used, b.first, b.count,
                    hidden, m);
    }
}

/* ---- backward --------------------------------------------------------------------------------------------- */

/* dx (=, or += when residual is dx) dy W. */
static void product_dx(const layer_pass *lp, float *transposed, ops_matrix w, float *dx, const float *residual,
                       const float *dy, int m)
{
    ops_matrix t = ops_transposed(w, transposed);
    ops_pack_transposed(lp->threads, t, w);
    ops_product product = {.w = t, .y = dx, .ldy = w.k, .residual = residual, .ldr = w.k};
    ops_gemm(lp->threads, &product, 1, dy, w.n, m);
}

static void product_dw(const layer_pass *lp, ops_matrix dw, const float *dy, const float *x, int m)
{
    if (dw.data)
        ops_gemm_dw(lp->threads, lp->model->type, dw, dy, dw.n, x, dw.k, m);
}

/* Inputs, gradients and gate and up of a batch's assignments. */
static void load_batch(const layer_pass *lp, const moe_scratch *s, batch b, const float *dy, const moe_rows *rows,
                       const int32_t *tape_row)
{
    const model_config *c = &lp->model->config;
    int hidden = c->hidden, ffn = c->expert_ffn, k = c->experts_used;
    ops_gather(lp->threads, s->x, hidden, rows->h, hidden, s->row + b.first, hidden, b.count);
    ops_gather(lp->threads, s->dy, hidden, dy, hidden, s->row + b.first, hidden, b.count);
    if (!rows->kept_gate) {
        gate_up(lp, s, b);
        return;
    }
    for (int i = b.first; i < b.first + b.count; i++)
        s->slot[i] += (tape_row[s->row[i]] - s->row[i]) * k; /* from the call's rows to the tape's */
    ops_gather(lp->threads, s->gate, ffn, rows->kept_gate, ffn, s->slot + b.first, ffn, b.count);
    ops_gather(lp->threads, s->up, ffn, rows->kept_up, ffn, s->slot + b.first, ffn, b.count);
}

/* Gradients of a batch: the weights' into s->dot, with respect to inputs added into dh. */
static void batch_grad(const layer_pass *lp, const moe_scratch *s, batch b, const model_layer *grad, float *transposed,
                       float *dh, int m)
{
    const model_config *c = &lp->model->config;
    int hidden = c->hidden, ffn = c->expert_ffn;
    ops_glu(lp->threads, c->activation, s->act, ffn, s->gate, ffn, s->up, ffn, ffn, b.count);
    FOR_EACH_EXPERT(b, s, e, at, n)
        product_dx(lp, transposed, lp->w->expert[e].down, row_of(s->dact, at, ffn), NULL, row_of(s->dy, at, hidden), n);
    ops_scale_grad(lp->threads, s->dot + b.first, s->dact, ffn, s->act, ffn, s->sorted + b.first, ffn, b.count);
    FOR_EACH_EXPERT(b, s, e, at, n)
        product_dw(lp, grad->expert[e].down, row_of(s->dy, at, hidden), row_of(s->act, at, ffn), n);
    ops_glu_grad(lp->threads, c->activation, s->dact, ffn, s->up, ffn, NULL, 0, s->dact, ffn, s->gate, ffn, s->up, ffn,
                 ffn, b.count);
    /* dact is now dgate, up is dup */
    FOR_EACH_EXPERT(b, s, e, at, n) {
        const model_expert *w = &lp->w->expert[e], *g = &grad->expert[e];
        float *dx = row_of(s->out, at, hidden), *dgate = row_of(s->dact, at, ffn), *dup = row_of(s->up, at, ffn);
        product_dx(lp, transposed, w->gate, dx, NULL, dgate, n);
        product_dx(lp, transposed, w->up, dx, dx, dup, n);
        product_dw(lp, g->gate, dgate, row_of(s->x, at, hidden), n);
        product_dw(lp, g->up, dup, row_of(s->x, at, hidden), n);
    }
    ops_combine(lp->threads, dh, hidden, s->out, hidden, s->place, NULL, c->experts_used, b.first, b.count, hidden, m);
}

void moe_backward(const layer_pass *lp, const moe_scratch *s, model_layer *grad, float *transposed, float *dh,
                  const float *dy, const moe_rows *rows, const int32_t *tape_row)
{
    const model_config *c = &lp->model->config;
    int m = rows->m, pairs = m * c->experts_used;
    route(lp, s, rows->h, m);
    for (int i = 0; i < pairs; i++)
        s->sorted[s->place[i]] = s->weight[i];
    memset(dh, 0, (size_t)m * (size_t)c->hidden * sizeof *dh);
    for (batch b = {0}; next_batch(&b, s, c->experts);) {
        load_batch(lp, s, b, dy, rows, tape_row);
        batch_grad(lp, s, b, grad, transposed, dh, m);
    }
    for (int i = 0; i < pairs; i++)
        s->dweight[i] = s->dot[s->place[i]];
    ops_route_grad(lp->threads, s->logits, c->experts, s->expert, s->weight, s->dweight, c->experts, c->experts_used,
                   c->norm_topk_prob, m);
    product_dx(lp, transposed, lp->w->router, dh, dh, s->logits, m);
    product_dw(lp, grad->router, s->logits, rows->h, m);
}
