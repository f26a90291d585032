/* Forward pass over packed rows. */
#include <assert.h>
#include <string.h>

#include "model/forward_layer.h"

static void qk_norm(const model_config *c, pool *p, float *x, const float *w, int heads, int m)
{
    int width = heads * c->head_dim;
    int groups = c->qk_norm == 2 ? 1 : heads, n = c->qk_norm == 2 ? width : c->head_dim;
    ops_rmsnorm(p, x, width, x, width, w, c->norm_offset, c->norm_eps, groups, n, m);
}

static void rotate(const layer_pass *lp, float *x, int heads, const int32_t *pos, int m)
{
    const model_config *c = &lp->model->config;
    int which = c->layer[lp->index].rope;
    if (which < 0)
        return;
    const rope_table *t = &lp->model->rope[which];
    ops_rope(lp->threads, x, heads * c->head_dim, heads, c->head_dim, c->rotary_dim, t->cos, t->sin, pos, 0, m);
}

void layer_input_norm(const layer_pass *lp, float *h, const float *x, int m)
{
    const model_config *c = &lp->model->config;
    ops_rmsnorm(lp->threads, h, c->hidden, x, c->hidden, lp->w->attn_norm, c->norm_offset, c->norm_eps, 1,
                c->hidden, m);
}

void layer_query(const layer_pass *lp, float *q, const float *h, const int32_t *pos, int m)
{
    const model_config *c = &lp->model->config;
    int width = c->heads * c->head_dim;
    ops_product product = {.w = lp->w->q, .y = q, .ldy = width, .bias = lp->w->q_bias};
    const model_low_rank *low = &lp->w->lora.q;
    low_rank_gemm(lp->threads, &product, &low, 1, h, c->hidden, m, lp->low);
    if (c->qk_norm)
        qk_norm(c, lp->threads, q, lp->w->q_norm, c->heads, m);
    rotate(lp, q, c->heads, pos, m);
}

static void query_key_value(const layer_pass *lp, float *q, float *k, float *v, const float *h, const int32_t *pos,
                            int m)
{
    const model_config *c = &lp->model->config;
    int width = c->heads * c->head_dim, kv_width = c->kv_heads * c->head_dim;
    ops_product products[3] = {
        {.w = lp->w->q, .y = q, .ldy = width, .bias = lp->w->q_bias},
        {.w = lp->w->k, .y = k, .ldy = kv_width, .bias = lp->w->k_bias},
        {.w = lp->w->v, .y = v, .ldy = kv_width, .bias = lp->w->v_bias},
    };
    const model_low_rank *low[3] = {&lp->w->lora.q, &lp->w->lora.k, &lp->w->lora.v};
    low_rank_gemm(lp->threads, products, low, 3, h, c->hidden, m, lp->low);
    if (c->qk_norm) {
        qk_norm(c, lp->threads, q, lp->w->q_norm, c->heads, m);
        qk_norm(c, lp->threads, k, lp->w->k_norm, c->kv_heads, m);
    }
    rotate(lp, q, c->heads, pos, m);
    rotate(lp, k, c->kv_heads, pos, m);
}

/* y = residual + f(x), where f is one product, normed afterwards in families with post norms. */
static void project_back(const layer_pass *lp, ops_matrix w, const model_low_rank *low, const float *bias,
                         const float *post_norm, float *y, const float *x, int ldx, const float *residual,
                         float *scratch, int m)
{
    const model_config *c = &lp->model->config;
    int hidden = c->hidden;
    ops_product product = {.w = w, .y = y, .ldy = hidden, .bias = bias, .residual = residual, .ldr = hidden};
    if (!post_norm) {
        low_rank_gemm(lp->threads, &product, &low, 1, x, ldx, m, lp->low);
        return;
    }
    product.y = scratch;
    product.residual = NULL;
    low_rank_gemm(lp->threads, &product, &low, 1, x, ldx, m, lp->low);
    ops_rmsnorm(lp->threads, scratch, hidden, scratch, hidden, post_norm, c->norm_offset, c->norm_eps, 1, hidden, m);
    if (y != residual)
        memcpy(y, residual, (size_t)m * (size_t)hidden * sizeof *y);
    ops_add(lp->threads, y, hidden, scratch, hidden, hidden, m);
}

void layer_attention_output(const layer_pass *lp, float *x_mid, const float *attn, const float *x, float *scratch,
                            int m)
{
    const model_config *c = &lp->model->config;
    project_back(lp, lp->w->o, &lp->w->lora.o, lp->w->o_bias, lp->w->post_attn_norm, x_mid, attn,
                 c->heads * c->head_dim, x, scratch, m);
}

void layer_mlp_norm(const layer_pass *lp, float *h, const float *x_mid, int m)
{
    const model_config *c = &lp->model->config;
    ops_rmsnorm(lp->threads, h, c->hidden, x_mid, c->hidden, lp->w->mlp_norm, c->norm_offset, c->norm_eps, 1,
                c->hidden, m);
}

void layer_gate_up(const layer_pass *lp, float *gate, float *up, const float *h, int m)
{
    const model_config *c = &lp->model->config;
    ops_product products[2] = {
        {.w = lp->w->gate, .y = gate, .ldy = c->ffn, .bias = lp->w->gate_bias},
        {.w = lp->w->up, .y = up, .ldy = c->ffn, .bias = lp->w->up_bias},
    };
    const model_low_rank *low[2] = {&lp->w->lora.gate, &lp->w->lora.up};
    low_rank_gemm(lp->threads, products, low, 2, h, c->hidden, m, lp->low);
}

/* Where one layer's activations of this call go: into the tape where it keeps them, else scratch. */
typedef struct targets {
    float *x_in, *x_out, *q, *attn, *x_mid, *gate, *up;
} targets;

static float *tape_at(float *base, int row, int width, float *otherwise)
{
    return base ? base + (size_t)row * (size_t)width : otherwise;
}

static targets choose_targets(const model_config *c, const workspace *ws, const tape *t, int layer, float *x)
{
    int moe = c->layer[layer].moe; /* a mixture has scratch of its own */
    float *gate = moe ? NULL : ws->gate, *up = moe ? NULL : ws->up;
    if (!t)
        return (targets){x, x, ws->q, ws->attn, ws->x_mid, gate, up};
    const tape_layer *l = &t->layer[layer];
    int width = c->heads * c->head_dim, ffn = moe_kept_width(c, layer), row = t->rows;
    return (targets){
        .x_in = x,
        .x_out = tape_at(t->layer[layer + 1].x, row, c->hidden, NULL),
        .q = tape_at(l->q, row, width, ws->q),
        .attn = tape_at(l->attn, row, width, ws->attn),
        .x_mid = tape_at(l->x_mid, row, c->hidden, ws->x_mid),
        .gate = tape_at(l->gate, row, ffn, gate),
        .up = tape_at(l->up, row, ffn, up),
    };
}

static void layer_forward(const layer_pass *lp, workspace *ws, kv_store *kv, const model_rows *rows,
                          const targets *to)
{
    const model_config *c = &lp->model->config;
    int m = rows->m, width = c->heads * c->head_dim, kv_width = c->kv_heads * c->head_dim;
    ops_kv store = kv_layer(kv, c, lp->index);
    const float *h = to->x_in;
    if (c->pre_norms) {
        layer_input_norm(lp, ws->h, to->x_in, m);
        h = ws->h;
    }
    query_key_value(lp, to->q, ws->k, ws->v, h, rows->pos, m);
    ops_kv_write(lp->threads, store, rows->spans, rows->n_spans, ws->k, kv_width, ws->v, kv_width);
    ops_attention(lp->threads, store, rows->spans, rows->n_spans, to->q, width, to->attn, width);
    layer_attention_output(lp, to->x_mid, to->attn, to->x_in, ws->h, m);
    h = to->x_mid;
    if (c->pre_norms) {
        layer_mlp_norm(lp, ws->h, to->x_mid, m);
        h = ws->h;
    }
    if (c->layer[lp->index].moe) {
        moe_forward(lp, &ws->moe, to->x_out, to->x_mid, &(moe_rows){m, h, to->gate, to->up});
        return;
    }
    layer_gate_up(lp, to->gate, to->up, h, m);
    ops_glu(lp->threads, c->activation, ws->gate, c->ffn, to->gate, c->ffn, to->up, c->ffn, c->ffn, m);
    project_back(lp, lp->w->down, &lp->w->lora.down, lp->w->down_bias, lp->w->post_mlp_norm, to->x_out, ws->gate,
                 c->ffn, to->x_mid, ws->h, m);
}

/* The tables' rows for every position of the call. */
static void cover_positions(const model *m, const model_rows *rows)
{
    int32_t last = -1;
    for (int i = 0; i < rows->m; i++)
        last = rows->pos[i] > last ? rows->pos[i] : last;
    for (int i = 0; i < m->config.n_ropes; i++)
        rope_table_cover(&m->rope[i], last + 1);
}

void model_forward(const model *m, const model_weights *w, pool *threads, workspace *ws, kv_store *kv,
                   const model_rows *rows, tape *t, float **out)
{
    const model_config *c = &m->config;
    assert(!t || rows->m <= t->capacity - t->rows);
    cover_positions(m, rows);
    float *x = t ? tape_at(t->layer[0].x, t->rows, c->hidden, NULL) : ws->x;
    ops_embed(threads, x, c->hidden, w->embed, rows->token, rows->m, c->embedding_scale);
    for (int i = 0; i < c->layers; i++) {
        layer_pass lp = {m, &w->layer[i], threads, i, ws->low};
        targets to = choose_targets(c, ws, t, i, x);
        layer_forward(&lp, ws, kv, rows, &to);
        x = to.x_out;
    }
    if (t)
        t->rows += rows->m;
    *out = x;
}

void model_final_norm(const model *m, const model_weights *w, pool *threads, float *h, const float *x, int rows)
{
    const model_config *c = &m->config;
    ops_rmsnorm(threads, h, c->hidden, x, c->hidden, w->final_norm, c->norm_offset, c->norm_eps, 1, c->hidden, rows);
}
