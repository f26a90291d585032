/* Backward pass: head, then layer by layer from the last to the first.
 *
 * Rows of a group stand in canonical order (answers, prompt last). Everything but attention works on
 * units: at most MODEL_UNIT_ROWS consecutive rows of one group. A unit's weight gradient is one addend,
 * and units are added in order, so how many groups share a call changes nothing. Attention works on whole
 * groups, since the answers' queries send gradients to the prompt's keys and values.
 *
 * Names: d<x> is the gradient of the loss with respect to <x>. */
#include <string.h>

#include "model/forward_layer.h"

typedef struct unit {
    int first, rows; /* rows of the call */
} unit;

/* W^T of a layer's matrices, packed once for all units of a call; `rest` is scratch for what is packed by unit. */
typedef struct layer_transposed {
    ops_matrix q, k, v, o, gate, up, down;
    float *rest;
} layer_transposed;

/* What all pieces of one call share. */
typedef struct backward_call {
    const model *m;
    const model_weights *w;
    model_weights *grad;
    pool *threads;
    backward_workspace *ws;
    const tape *t;
    const kv_store *kv;
    const backward_group *groups;
    int n_groups;
    layer_transposed *transposed; /* of the layer at hand */
} backward_call;

static float *row_of(float *base, int row, int width)
{
    return base + (size_t)row * (size_t)width;
}

/* Calls body for every unit of every group, in order. */
#define FOR_EACH_UNIT(call, u, g)                                                                                 \
    for (int g = 0, first_ = 0; g < (call)->n_groups; first_ += (call)->groups[g].rows, g++)                      \
        for (unit u = {first_, 0};                                                                                \
             u.rows = first_ + (call)->groups[g].rows - u.first,                                                  \
                  u.rows = u.rows < MODEL_UNIT_ROWS ? u.rows : MODEL_UNIT_ROWS, u.rows > 0;                       \
             u.first += u.rows)

/* ---- gathering rows of the tape ---------------------------------------------------------------- */

static void gather(pool *threads, float *dst, const float *src, int width, const int32_t *row, int m)
{
    ops_gather(threads, dst, width, src, width, row, width, m);
}

static const int32_t *unit_tape_rows(const backward_call *b, int g, int first_of_group, unit u)
{
    return b->groups[g].tape_row + (u.first - first_of_group);
}

/* ---- gradients of one product, of the adapter beside it, and of one norm ---------------------------------------------------- */

/* W^T at *room, which moves behind it. */
static ops_matrix transpose(const backward_call *b, ops_matrix w, float **room)
{
    ops_matrix t = ops_transposed(w, *room);
    ops_pack_transposed(b->threads, t, w);
    *room += ops_matrix_elements(t.n, t.k);
    return t;
}

/* dx (=, or += when residual is dx) dy W; dw += dy^T x; db += column sums of dy. t: W^T. */
static void product_grad(const backward_call *b, ops_matrix w, ops_matrix t, ops_matrix dw, float *db, float *dx,
                         const float *residual, const float *dy, const float *x, int m)
{
    ops_product product = {.w = t, .y = dx, .ldy = w.k, .residual = residual, .ldr = w.k};
    ops_gemm(b->threads, &product, 1, dy, w.n, m);
    if (dw.data)
        ops_gemm_dw(b->threads, w.type, dw, dy, w.n, x, w.k, m);
    if (db)
        ops_bias_grad(b->threads, db, dy, w.n, w.n, m);
}

/* The same of an adapter's scale (x A^T) B^T, after product_grad has written dx: dx += …, dA += …, dB += …. */
static void adapter_grad(const backward_call *b, const model_low_rank *low, const model_low_rank *grad, float *dx,
                         const float *dy, const float *x, int m)
{
    if (!low->a.data)
        return;
    low_rank_grad_input(b->threads, low, dx, dy, m, b->ws->dlow, b->transposed->rest);
    if (grad->a.data)
        low_rank_grad_weights(b->threads, low, grad, dy, x, m, b->ws->dlow, b->ws->low);
}

static void norm_grad(const backward_call *b, float *dx, int accumulate, float *dw, const float *dy, const float *x,
                      const float *w, int groups, int n, int m)
{
    const model_config *c = &b->m->config;
    int width = groups * n;
    ops_rmsnorm_grad(b->threads, dx, width, accumulate, dw, dy, width, x, width, w, c->norm_offset, c->norm_eps,
                     groups, n, m);
}

/* ---- MLP half: from d(layer output) in dx to d(x_mid) in dx ---------------------------------------- */

/* x_mid of the unit's rows: from the tape, or recomputed from x and attn. */
static const float *unit_x_mid(const backward_call *b, const layer_pass *lp, const int32_t *rows, const float *attn,
                               int m)
{
    const model_config *c = &b->m->config;
    const tape_layer *l = &b->t->layer[lp->index];
    backward_workspace *ws = b->ws;
    if (l->x_mid) {
        gather(b->threads, ws->x_mid, l->x_mid, c->hidden, rows, m);
    } else {
        gather(b->threads, ws->x, l->x, c->hidden, rows, m);
        layer_attention_output(lp, ws->x_mid, attn, ws->x, ws->dh, m);
    }
    return ws->x_mid;
}

static void unit_gate_up(const backward_call *b, const layer_pass *lp, const int32_t *rows, const float *h, int m)
{
    const model_config *c = &b->m->config;
    const tape_layer *l = &b->t->layer[lp->index];
    backward_workspace *ws = b->ws;
    if (l->gate) {
        gather(b->threads, ws->gate, l->gate, c->ffn, rows, m);
        gather(b->threads, ws->up, l->up, c->ffn, rows, m);
    } else {
        layer_gate_up(lp, ws->gate, ws->up, h, m);
    }
}

/* With post norms the branch's output before its norm is needed: y = x W^T + bias (+ the adapter), into scratch. */
static void branch_output(const backward_call *b, ops_matrix w, const model_low_rank *low, const float *bias, float *y,
                          const float *x, int m)
{
    ops_product product = {.w = w, .y = y, .ldy = w.n, .bias = bias};
    low_rank_gemm(b->threads, &product, &low, 1, x, w.k, m, b->ws->low);
}

/* dh of a dense MLP; returns where it is. */
static const float *dense_grad(const backward_call *b, const layer_pass *lp, model_layer *g, const int32_t *rows,
                               const float *dx, const float *h, int m)
{
    const model_config *c = &b->m->config;
    backward_workspace *ws = b->ws;
    const model_layer *w = lp->w;
    unit_gate_up(b, lp, rows, h, m);
    const float *dy = dx;
    if (c->post_norms) {
        ops_glu(b->threads, c->activation, ws->act, c->ffn, ws->gate, c->ffn, ws->up, c->ffn, c->ffn, m);
        branch_output(b, w->down, &w->lora.down, w->down_bias, ws->x, ws->act, m);
        norm_grad(b, ws->dh, 0, g->post_mlp_norm, dx, ws->x, w->post_mlp_norm, 1, c->hidden, m);
        dy = ws->dh;
    }
    /* dact = dy Wdown needs no activation; dWdown needs act, which glu_grad rebuilds on its way. */
    ops_product product = {.w = b->transposed->down, .y = ws->dact, .ldy = c->ffn};
    ops_gemm(b->threads, &product, 1, dy, c->hidden, m);
    if (w->lora.down.a.data)
        low_rank_grad_input(b->threads, &w->lora.down, ws->dact, dy, m, ws->dlow, b->transposed->rest);
    ops_glu_grad(b->threads, c->activation, ws->dact, c->ffn, ws->up, c->ffn, ws->act, c->ffn, ws->dact, c->ffn,
                 ws->gate, c->ffn, ws->up, c->ffn, c->ffn, m);
    if (g->down.data)
        ops_gemm_dw(b->threads, w->down.type, g->down, dy, c->hidden, ws->act, c->ffn, m);
    if (g->down_bias)
        ops_bias_grad(b->threads, g->down_bias, dy, c->hidden, c->hidden, m);
    if (g->lora.down.a.data)
        low_rank_grad_weights(b->threads, &w->lora.down, &g->lora.down, dy, ws->act, m, ws->dlow, ws->low);
    /* dact is now dgate, up is dup */
    float *dh = c->post_norms ? ws->x : ws->dh;
    product_grad(b, w->gate, b->transposed->gate, g->gate, g->gate_bias, dh, NULL, ws->dact, h, m);
    product_grad(b, w->up, b->transposed->up, g->up, g->up_bias, dh, dh, ws->up, h, m);
    adapter_grad(b, &w->lora.gate, &g->lora.gate, dh, ws->dact, h, m);
    adapter_grad(b, &w->lora.up, &g->lora.up, dh, ws->up, h, m);
    return dh;
}

static const float *mixture_grad(const backward_call *b, const layer_pass *lp, model_layer *g, const int32_t *rows,
                                 const float *dx, const float *h, int m)
{
    const tape_layer *l = &b->t->layer[lp->index];
    moe_backward(lp, &b->ws->moe, g, b->transposed->rest, b->ws->dh, dx, &(moe_rows){m, h, l->gate, l->up}, rows);
    return b->ws->dh;
}

static void mlp_grad(const backward_call *b, const layer_pass *lp, model_layer *g, const int32_t *rows, float *dx,
                     const float *attn, int m)
{
    const model_config *c = &b->m->config;
    backward_workspace *ws = b->ws;
    const float *x_mid = unit_x_mid(b, lp, rows, attn, m), *h = x_mid;
    if (c->pre_norms) {
        layer_mlp_norm(lp, ws->h, x_mid, m);
        h = ws->h;
    }
    const float *dh = c->layer[lp->index].moe ? mixture_grad(b, lp, g, rows, dx, h, m)
                                              : dense_grad(b, lp, g, rows, dx, h, m);
    if (c->pre_norms)
        norm_grad(b, dx, 1, g->mlp_norm, dh, x_mid, lp->w->mlp_norm, 1, c->hidden, m);
    else
        ops_add(b->threads, dx, c->hidden, dh, c->hidden, c->hidden, m);
}

/* From d(x_mid) in dx to d(attn). */
static void attention_output_grad(const backward_call *b, const layer_pass *lp, model_layer *g, const float *dx,
                                  const float *attn, float *dattn, int m)
{
    const model_config *c = &b->m->config;
    backward_workspace *ws = b->ws;
    const float *dy = dx;
    if (c->post_norms) {
        branch_output(b, lp->w->o, &lp->w->lora.o, lp->w->o_bias, ws->x, attn, m);
        norm_grad(b, ws->dh, 0, g->post_attn_norm, dx, ws->x, lp->w->post_attn_norm, 1, c->hidden, m);
        dy = ws->dh;
    }
    product_grad(b, lp->w->o, b->transposed->o, g->o, g->o_bias, dattn, NULL, dy, attn, m);
    adapter_grad(b, &lp->w->lora.o, &g->lora.o, dattn, dy, attn, m);
}

/* ---- attention half: from dq, dk, dv to d(layer input) in dx ------------------------------------------ */

static void unrotate(const backward_call *b, int layer, float *x, int ldx, int heads, const int32_t *pos, int m)
{
    const model_config *c = &b->m->config;
    int which = c->layer[layer].rope;
    if (which < 0)
        return;
    const rope_table *t = &b->m->rope[which];
    ops_rope(b->threads, x, ldx, heads, c->head_dim, c->rotary_dim, t->cos, t->sin, pos, 1, m);
}

/* Gradient through the norm of queries or keys: recomputes the projection before the norm. */
static void qk_norm_grad(const backward_call *b, ops_matrix w, const model_low_rank *low, const float *bias,
                         const float *norm, float *dnorm, float *dx, const float *h, int heads, float *scratch, int m)
{
    const model_config *c = &b->m->config;
    branch_output(b, w, low, bias, scratch, h, m);
    int groups = c->qk_norm == 2 ? 1 : heads, n = c->qk_norm == 2 ? heads * c->head_dim : c->head_dim;
    norm_grad(b, dx, 0, dnorm, dx, scratch, norm, groups, n, m);
}

static void copy_columns(float *dst, const float *src, int lds, int n, int m)
{
    for (int i = 0; i < m; i++)
        memcpy(dst + (size_t)i * (size_t)n, src + (size_t)i * (size_t)lds, (size_t)n * sizeof *dst);
}

static void qkv_grad(const backward_call *b, const layer_pass *lp, model_layer *g, const int32_t *rows,
                     const int32_t *pos, float *dx, float *dq, const float *dkv, int m)
{
    const model_config *c = &b->m->config;
    backward_workspace *ws = b->ws;
    const model_layer *w = lp->w;
    int kv_width = c->kv_heads * c->head_dim;
    float *dk = ws->tmp_kv, *dv = ws->tmp_kv + (size_t)m * (size_t)kv_width;
    gather(b->threads, ws->x, b->t->layer[lp->index].x, c->hidden, rows, m);
    const float *h = ws->x;
    if (c->pre_norms) {
        layer_input_norm(lp, ws->h, ws->x, m);
        h = ws->h;
    }
    copy_columns(dk, dkv, 2 * kv_width, kv_width, m);
    copy_columns(dv, dkv + kv_width, 2 * kv_width, kv_width, m);
    unrotate(b, lp->index, dq, c->heads * c->head_dim, c->heads, pos, m);
    unrotate(b, lp->index, dk, kv_width, c->kv_heads, pos, m);
    if (c->qk_norm) {
        qk_norm_grad(b, w->q, &w->lora.q, w->q_bias, w->q_norm, g->q_norm, dq, h, c->heads, ws->tmp_q, m);
        qk_norm_grad(b, w->k, &w->lora.k, w->k_bias, w->k_norm, g->k_norm, dk, h, c->kv_heads, ws->tmp_q, m);
    }
    product_grad(b, w->q, b->transposed->q, g->q, g->q_bias, ws->dh, NULL, dq, h, m);
    product_grad(b, w->k, b->transposed->k, g->k, g->k_bias, ws->dh, ws->dh, dk, h, m);
    product_grad(b, w->v, b->transposed->v, g->v, g->v_bias, ws->dh, ws->dh, dv, h, m);
    adapter_grad(b, &w->lora.q, &g->lora.q, ws->dh, dq, h, m);
    adapter_grad(b, &w->lora.k, &g->lora.k, ws->dh, dk, h, m);
    adapter_grad(b, &w->lora.v, &g->lora.v, ws->dh, dv, h, m);
    if (c->pre_norms)
        norm_grad(b, dx, 1, g->attn_norm, ws->dh, ws->x, w->attn_norm, 1, c->hidden, m);
    else
        ops_add(b->threads, dx, c->hidden, ws->dh, c->hidden, c->hidden, m);
}

/* Queries and attention outputs of all rows of the call: from the tape, or recomputed. */
static void load_attention(const backward_call *b, const layer_pass *lp)
{
    const model_config *c = &b->m->config;
    const tape_layer *l = &b->t->layer[lp->index];
    backward_workspace *ws = b->ws;
    int width = c->heads * c->head_dim, first = 0;
    for (int g = 0; g < b->n_groups; first += b->groups[g].rows, g++) {
        const backward_group *group = &b->groups[g];
        float *q = row_of(ws->q, first, width), *attn = row_of(ws->attn, first, width);
        if (l->q) {
            gather(b->threads, q, l->q, width, group->tape_row, group->rows);
            gather(b->threads, attn, l->attn, width, group->tape_row, group->rows);
            continue;
        }
        for (int done = 0, m; done < group->rows; done += m) {
            m = group->rows - done < MODEL_UNIT_ROWS ? group->rows - done : MODEL_UNIT_ROWS;
            gather(b->threads, ws->x, l->x, c->hidden, group->tape_row + done, m);
            const float *h = ws->x;
            if (c->pre_norms) {
                layer_input_norm(lp, ws->h, ws->x, m);
                h = ws->h;
            }
            layer_query(lp, row_of(q, done, width), h, group->pos + done, m);
        }
        ops_attention(b->threads, kv_layer(b->kv, c, lp->index), group->spans, group->n_spans, q, width, attn, width);
    }
}

/* Attention backward for every group; spans get the addresses of their key/value gradients. */
static void attention_core_grad(const backward_call *b, int layer)
{
    const model_config *c = &b->m->config;
    backward_workspace *ws = b->ws;
    int width = c->heads * c->head_dim, kv_width = c->kv_heads * c->head_dim, first = 0;
    for (int g = 0; g < b->n_groups; first += b->groups[g].rows, g++) {
        const backward_group *group = &b->groups[g];
        float *dkv = row_of(ws->dkv, first, 2 * kv_width);
        memset(dkv, 0, (size_t)group->rows * 2 * (size_t)kv_width * sizeof *dkv);
        float *prompt = row_of(dkv, group->rows - group->prompt, 2 * kv_width);
        ops_span_grad spans[group->n_spans];
        for (int s = 0; s < group->n_spans; s++) {
            const ops_span *span = &group->spans[s];
            float *own = row_of(dkv, span->first_row, 2 * kv_width);
            spans[s] = (ops_span_grad){.span = *span,
                                       .prefix = group->prompt,
                                       .dk_own = own,
                                       .dv_own = own + kv_width,
                                       .dk_prefix = prompt,
                                       .dv_prefix = prompt + kv_width};
        }
        ops_group whole = {0, group->n_spans};
        ops_attention_grad(b->threads, kv_layer(b->kv, c, layer), spans, &whole, 1, row_of(ws->q, first, width), width,
                           row_of(ws->attn, first, width), width, row_of(ws->dattn, first, width), width,
                           row_of(ws->dq, first, width), width, 2 * kv_width, ws->attention_scratch,
                           ws->attention_scratch_each);
    }
}

/* Before the units go from dx to d(attn), and before they go from dq, dk, dv to dx. */
static void transpose_output_and_mlp(const backward_call *b, const model_layer *w, int moe)
{
    layer_transposed *t = b->transposed;
    t->rest = b->ws->transposed;
    t->o = transpose(b, w->o, &t->rest);
    if (moe)
        return;
    t->gate = transpose(b, w->gate, &t->rest);
    t->up = transpose(b, w->up, &t->rest);
    t->down = transpose(b, w->down, &t->rest);
}

static void transpose_input(const backward_call *b, const model_layer *w)
{
    layer_transposed *t = b->transposed;
    t->rest = b->ws->transposed;
    t->q = transpose(b, w->q, &t->rest);
    t->k = transpose(b, w->k, &t->rest);
    t->v = transpose(b, w->v, &t->rest);
}

static void layer_backward(const backward_call *b, int index)
{
    const model_config *c = &b->m->config;
    backward_workspace *ws = b->ws;
    layer_pass lp = {b->m, &b->w->layer[index], b->threads, index, ws->low};
    model_layer *g = &b->grad->layer[index];
    int width = c->heads * c->head_dim, kv_width = c->kv_heads * c->head_dim;
    load_attention(b, &lp);
    transpose_output_and_mlp(b, lp.w, b->m->config.layer[index].moe);
    FOR_EACH_UNIT(b, u, n) {
        const int32_t *rows = unit_tape_rows(b, n, first_, u);
        float *dx = row_of(ws->dx, u.first, c->hidden), *attn = row_of(ws->attn, u.first, width);
        mlp_grad(b, &lp, g, rows, dx, attn, u.rows);
        attention_output_grad(b, &lp, g, dx, attn, row_of(ws->dattn, u.first, width), u.rows);
    }
    attention_core_grad(b, index);
    transpose_input(b, lp.w);
    FOR_EACH_UNIT(b, u, n) {
        const int32_t *rows = unit_tape_rows(b, n, first_, u);
        qkv_grad(b, &lp, g, rows, b->groups[n].pos + (u.first - first_), row_of(ws->dx, u.first, c->hidden),
                 row_of(ws->dq, u.first, width), row_of(ws->dkv, u.first, 2 * kv_width), u.rows);
    }
}

/* ---- head ------------------------------------------------------------------------------------------------ */

/* d(loss)/d(residual stream after the last layer) of one group, added into dx; head rows in units. */
static void head_backward(const backward_call *b, const backward_group *group, float *dx)
{
    const model_config *c = &b->m->config;
    backward_workspace *ws = b->ws;
    const head_rows *head = &group->head;
    const float *last = b->t->layer[c->layers].x;
    int32_t tape_row[MODEL_UNIT_ROWS];
    for (int done = 0, m; done < head->m; done += m) {
        m = head->m - done < MODEL_UNIT_ROWS ? head->m - done : MODEL_UNIT_ROWS;
        for (int i = 0; i < m; i++)
            tape_row[i] = group->tape_row[head->row[done + i]];
        gather(b->threads, ws->x, last, c->hidden, tape_row, m);
        model_final_norm(b->m, b->w, b->threads, ws->h, ws->x, m);
        ops_head_grad(b->threads, b->w->head, b->grad->head, ws->h, c->hidden, head->inv_temperature,
                      head->target + done, head->allowed ? head->allowed + done : NULL, head->stats + done,
                      head->coef + done, head->entropy_coef ? head->entropy_coef + done : NULL, ws->dh, c->hidden, m,
                      ws->head_scratch);
        norm_grad(b, ws->x_mid, 0, b->grad->final_norm, ws->dh, ws->x, b->w->final_norm, 1, c->hidden, m);
        for (int i = 0; i < m; i++)
            ops_add(NULL, row_of(dx, head->row[done + i], c->hidden), c->hidden, row_of(ws->x_mid, i, c->hidden),
                    c->hidden, c->hidden, 1);
    }
}

/* One number per row (value and score heads): y = w . norm(x) + b. Added into dx. */
static void scalar_head_backward(const backward_call *b, const backward_group *group, float *dx)
{
    const model_config *c = &b->m->config;
    backward_workspace *ws = b->ws;
    float *room = ws->transposed;
    const ops_matrix t = transpose(b, b->w->scalar, &room);
    for (int done = 0, m; done < group->rows; done += m) {
        m = group->rows - done < MODEL_UNIT_ROWS ? group->rows - done : MODEL_UNIT_ROWS;
        const float *dy = group->dvalue + done;
        gather(b->threads, ws->x, b->t->layer[c->layers].x, c->hidden, group->tape_row + done, m);
        model_final_norm(b->m, b->w, b->threads, ws->h, ws->x, m);
        product_grad(b, b->w->scalar, t, b->grad->scalar, b->grad->scalar_bias, ws->dh, NULL, dy, ws->h, m);
        norm_grad(b, row_of(dx, done, c->hidden), 1, b->grad->final_norm, ws->dh, ws->x, b->w->final_norm, 1,
                  c->hidden, m);
    }
}

/* Gradients of a group's embedding lookups, for model_backward_finish. The padding token's row gets none, whatever
 * stands there: nn.Embedding's padding_idx, which every family sets to pad_token_id. */
static void keep_lookups(const backward_call *b, const backward_group *group, const float *dx)
{
    backward_workspace *ws = b->ws;
    int hidden = b->m->config.hidden;
    for (int i = 0; i < group->rows; i++) {
        if (group->token[i] == b->m->config.pad)
            continue;
        memcpy(row_of(ws->embed_dx, ws->embed_rows, hidden), dx + (size_t)i * (size_t)hidden, (size_t)hidden * sizeof *dx);
        ws->embed_token[ws->embed_rows++] = group->token[i];
    }
}

void model_backward(const model *m, const model_weights *w, model_weights *grad, pool *threads,
                    backward_workspace *ws, const tape *t, const kv_store *kv, const backward_group *groups,
                    int n_groups)
{
    layer_transposed transposed;
    backward_call b = {m, w, grad, threads, ws, t, kv, groups, n_groups, &transposed};
    const model_config *c = &m->config;
    int first = 0;
    for (int g = 0; g < n_groups; first += groups[g].rows, g++) {
        float *dx = row_of(ws->dx, first, c->hidden);
        memset(dx, 0, (size_t)groups[g].rows * (size_t)c->hidden * sizeof *dx);
        head_backward(&b, &groups[g], dx);
        if (groups[g].dvalue)
            scalar_head_backward(&b, &groups[g], dx);
    }
    int lookups = grad->embed.data != NULL;
    for (int i = c->layers - 1; i >= grad->lowest_layer; i--)
        layer_backward(&b, i);
    for (int g = 0, row = 0; lookups && g < n_groups; row += groups[g].rows, g++)
        keep_lookups(&b, &groups[g], row_of(ws->dx, row, c->hidden));
}

void model_backward_finish(const model *m, model_weights *grad, pool *threads, backward_workspace *ws)
{
    const model_config *c = &m->config;
    if (grad->embed.data)
        ops_embed_grad(threads, grad->embed, ws->embed_dx, c->hidden, ws->embed_token, ws->embed_rows,
                       c->embedding_scale);
    ws->embed_rows = 0;
}

/* ---- workspace ----------------------------------------------------------------------------------------------- */

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Room for layer_transposed: the larger of its two halves, and `rest`. */
static size_t transposed_elements(const model *m)
{
    const model_config *c = &m->config;
    int h = c->hidden, width = c->heads * c->head_dim, kv_width = c->kv_heads * c->head_dim, ffn = moe_dense_width(c);
    size_t output = ops_matrix_elements(width, h) + 2 * ops_matrix_elements(h, ffn) + ops_matrix_elements(ffn, h);
    size_t input = ops_matrix_elements(h, width) + 2 * ops_matrix_elements(h, kv_width);
    size_t rest = moe_transposed_elements(c);
    for (int i = 0; m->adapter && i < m->adapter->count; i++) {
        const adapter_module *a = &m->adapter->modules[i];
        rest = larger(rest, low_rank_transposed(a->rank, a->in, a->out));
    }
    return larger(output, input) + rest;
}

typedef struct workspace_part {
    void **field;
    size_t floats; /* or int32: the same size */
} workspace_part;

enum { WORKSPACE_PARTS = 23 };

static void list_parts(workspace_part parts[WORKSPACE_PARTS], backward_workspace *ws, const model *m, pool *threads,
                       int max_rows, int max_batch_rows, int max_positions)
{
    const model_config *c = &m->config;
    size_t hidden = (size_t)c->hidden, width = (size_t)(c->heads * c->head_dim),
           kv_width = (size_t)(c->kv_heads * c->head_dim), ffn = (size_t)moe_dense_width(c), rows = (size_t)max_rows,
           batch = (size_t)max_batch_rows, low_width = model_low_width(m);
    /* head rows can outnumber trunk rows */
    size_t unit_rows = rows < MODEL_UNIT_ROWS && c->head != MODEL_HEAD_LM ? rows : MODEL_UNIT_ROWS;
    size_t head = c->head == MODEL_HEAD_LM ? ops_head_scratch(threads, c->hidden, c->vocab, (int)unit_rows) : 0;
    ws->max_rows = max_rows;
    ws->max_batch_rows = max_batch_rows;
    ws->attention_scratch_each = ops_attention_grad_scratch(kv_layer(&(kv_store){0}, c, 0), max_positions);
    workspace_part list[WORKSPACE_PARTS] = {
        {(void **)&ws->dx, rows * hidden},
        {(void **)&ws->q, rows * width},
        {(void **)&ws->attn, rows * width},
        {(void **)&ws->dattn, rows * width},
        {(void **)&ws->dq, rows * width},
        {(void **)&ws->dkv, rows * 2 * kv_width},
        {(void **)&ws->x, unit_rows * hidden},
        {(void **)&ws->h, unit_rows * hidden},
        {(void **)&ws->x_mid, unit_rows * hidden},
        {(void **)&ws->dh, unit_rows * hidden},
        {(void **)&ws->gate, unit_rows * ffn},
        {(void **)&ws->up, unit_rows * ffn},
        {(void **)&ws->act, unit_rows * ffn},
        {(void **)&ws->dact, unit_rows * ffn},
        {(void **)&ws->tmp_q, c->qk_norm ? unit_rows * width : 0},
        {(void **)&ws->tmp_kv, unit_rows * 2 * kv_width},
        {(void **)&ws->transposed, transposed_elements(m)},
        {(void **)&ws->low, unit_rows * low_width},
        {(void **)&ws->dlow, unit_rows * low_width},
        {(void **)&ws->head_scratch, head},
        {(void **)&ws->attention_scratch, ws->attention_scratch_each * (size_t)pool_threads(threads)},
        {(void **)&ws->embed_dx, m->adapter ? 0 : batch * hidden}, /* with an adapter the embedding is frozen */
        {(void **)&ws->embed_token, batch},
    };
    memcpy(parts, list, sizeof list);
}

/* Rows of the trunk's units. */
static int moe_unit_rows(int max_rows)
{
    return max_rows < MODEL_UNIT_ROWS ? max_rows : MODEL_UNIT_ROWS;
}

size_t backward_workspace_bytes(const model *m, pool *threads, int max_rows, int max_batch_rows, int max_positions)
{
    backward_workspace ws;
    workspace_part parts[WORKSPACE_PARTS];
    list_parts(parts, &ws, m, threads, max_rows, max_batch_rows, max_positions);
    size_t bytes = 0;
    for (int i = 0; i < WORKSPACE_PARTS; i++)
        bytes += mem_arena_size(parts[i].floats, sizeof(float));
    return bytes + moe_scratch_bytes(&m->config, moe_unit_rows(max_rows), 1);
}

grpo_status backward_workspace_init(backward_workspace *ws, const model *m, pool *threads, int max_rows,
                                    int max_batch_rows, int max_positions, grpo_error *err)
{
    workspace_part parts[WORKSPACE_PARTS];
    memset(ws, 0, sizeof *ws);
    list_parts(parts, ws, m, threads, max_rows, max_batch_rows, max_positions);
    size_t bytes = backward_workspace_bytes(m, threads, max_rows, max_batch_rows, max_positions);
    grpo_status status = mem_arena_init(&ws->arena, bytes, "the backward pass", err);
    for (int i = 0; status == GRPO_OK && i < WORKSPACE_PARTS; i++)
        *parts[i].field = mem_arena_alloc(&ws->arena, parts[i].floats, sizeof(float));
    if (status == GRPO_OK)
        moe_scratch_carve(&ws->moe, &ws->arena, &m->config, moe_unit_rows(max_rows), 1);
    return status;
}

void backward_workspace_deinit(backward_workspace *ws)
{
    mem_arena_deinit(&ws->arena);
    memset(ws, 0, sizeof *ws);
}
