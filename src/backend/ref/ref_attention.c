/* Causal attention over the blocked key/value store and its gradient, plainly: one query at a time. */
#include <math.h>

#include "backend/ref/ref.h"

/* Where position `pos` of a sequence keeps its key (stride OPS_KV_BLOCK) and its value (stride 1). */
static float *key_at(ops_kv kv, const int32_t *blocks, int head, int pos)
{
    return kv.base + (size_t)blocks[pos / OPS_KV_BLOCK] * kv.block_stride +
           (size_t)head * 2 * OPS_KV_BLOCK * kv.head_dim + pos % OPS_KV_BLOCK;
}

static float *value_at(ops_kv kv, const int32_t *blocks, int head, int pos)
{
    return kv.base + (size_t)blocks[pos / OPS_KV_BLOCK] * kv.block_stride +
           ((size_t)head * 2 * OPS_KV_BLOCK + OPS_KV_BLOCK + (size_t)(pos % OPS_KV_BLOCK)) * kv.head_dim;
}

void ref_kv_write(ops_kv kv, const ops_span *spans, int count, const float *k, int ldk, const float *v,
                  int ldv)
{
    for (const ops_span *s = spans; s < spans + count; s++)
        for (int r = 0; r < s->rows; r++)
            for (int h = 0; h < kv.kv_heads; h++) {
                float *key = key_at(kv, s->blocks, h, s->first_pos + r);
                float *value = value_at(kv, s->blocks, h, s->first_pos + r);
                for (int d = 0; d < kv.head_dim; d++) {
                    key[d * OPS_KV_BLOCK] = k[(size_t)(s->first_row + r) * ldk + (size_t)h * kv.head_dim + d];
                    value[d] = v[(size_t)(s->first_row + r) * ldv + (size_t)h * kv.head_dim + d];
                }
            }
}

void ref_kv_read(ops_kv kv, const ops_span *spans, int count, float *k, int ldk, float *v, int ldv)
{
    for (const ops_span *s = spans; s < spans + count; s++)
        for (int r = 0; r < s->rows; r++)
            for (int h = 0; h < kv.kv_heads; h++) {
                const float *key = key_at(kv, s->blocks, h, s->first_pos + r);
                const float *value = value_at(kv, s->blocks, h, s->first_pos + r);
                for (int d = 0; d < kv.head_dim; d++) {
                    k[(size_t)(s->first_row + r) * ldk + (size_t)h * kv.head_dim + d] = key[d * OPS_KV_BLOCK];
                    v[(size_t)(s->first_row + r) * ldv + (size_t)h * kv.head_dim + d] = value[d];
                }
            }
}

static float score(ops_kv kv, const int32_t *blocks, int head, const float *q, int pos)
{
    const float *key = key_at(kv, blocks, head, pos);
    float acc = 0;
    for (int d = 0; d < kv.head_dim; d++)
        acc = fmaf(q[d], key[d * OPS_KV_BLOCK], acc);
    return kv.scale * acc;
}

static int first_visible(ops_kv kv, int pos)
{
    return kv.window > 0 && pos >= kv.window ? pos - kv.window + 1 : 0;
}

/* Maximum of the scores and 1 / (sum of exponentials) for the query at `pos`. */
static void softmax_of(ops_kv kv, const int32_t *blocks, int head, const float *q, int pos, float *max,
                       float *inverse)
{
    int from = first_visible(kv, pos);
    float top = score(kv, blocks, head, q, from), lanes[OPS_LANES] = {0};
    for (int j = from + 1; j <= pos; j++) {
        float s = score(kv, blocks, head, q, j);
        top = s > top ? s : top;
    }
    for (int j = from; j <= pos; j++)
        lanes[j % OPS_LANES] += ref_exp(score(kv, blocks, head, q, j) - top);
    *max = top;
    *inverse = 1.0f / ref_lanes_sum(lanes);
}

void ref_attention(ops_kv kv, const ops_span *spans, int count, const float *q, int ldq, float *out,
                   int ldo)
{
    int group = kv.heads / kv.kv_heads;
    for (const ops_span *s = spans; s < spans + count; s++)
        for (int r = 0; r < s->rows; r++)
            for (int h = 0; h < kv.heads; h++) {
                int pos = s->first_pos + r;
                const float *qh = q + (size_t)(s->first_row + r) * ldq + (size_t)h * kv.head_dim;
                float *o = out + (size_t)(s->first_row + r) * ldo + (size_t)h * kv.head_dim;
                float max, inverse;
                softmax_of(kv, s->blocks, h / group, qh, pos, &max, &inverse);
                for (int d = 0; d < kv.head_dim; d++)
                    o[d] = 0;
                for (int j = first_visible(kv, pos); j <= pos; j++) {
                    const float *value = value_at(kv, s->blocks, h / group, j);
                    float e = ref_exp(score(kv, s->blocks, h / group, qh, j) - max);
                    for (int d = 0; d < kv.head_dim; d++)
                        o[d] = fmaf(e, value[d], o[d]);
                }
                for (int d = 0; d < kv.head_dim; d++)
                    o[d] *= inverse;
            }
}

/* One query: dq overwritten, dk and dv rows added to. */
static void query_grad(ops_kv kv, const ops_span_grad *s, int head, int pos, const float *q,
                       const float *out, const float *dout, float *dq, int ldkv)
{
    const int32_t *blocks = s->span.blocks;
    float max, inverse, lanes[OPS_LANES] = {0};
    softmax_of(kv, blocks, head, q, pos, &max, &inverse);
    for (int d = 0; d < kv.head_dim; d++) {
        lanes[d % OPS_LANES] = fmaf(dout[d], out[d], lanes[d % OPS_LANES]);
        dq[d] = 0;
    }
    float total = ref_lanes_sum(lanes);
    int from = first_visible(kv, pos), end = (pos / OPS_KV_BLOCK + 1) * OPS_KV_BLOCK;
    int last = s->span.first_pos + s->span.rows; /* keys up to here, and the prompt's, have gradient rows */
    last = last > s->prefix ? last : s->prefix;
    for (int j = from / OPS_KV_BLOCK * OPS_KV_BLOCK; j < end && j < last; j++) {
        const float *key = key_at(kv, blocks, head, j), *value = value_at(kv, blocks, head, j);
        int own = j >= s->prefix, visible = j >= from && j <= pos;
        size_t row = (size_t)(own ? j - s->prefix : j) * ldkv + (size_t)head * kv.head_dim;
        float *dk = (own ? s->dk_own : s->dk_prefix) + row, *dv = (own ? s->dv_own : s->dv_prefix) + row;
        float p = 0, ds = 0, dp = 0;
        for (int d = 0; d < kv.head_dim; d++)
            dp = fmaf(dout[d], value[d], dp);
        if (visible) {
            p = ref_exp(score(kv, blocks, head, q, j) - max) * inverse;
            ds = kv.scale * (p * (dp - total));
        }
        for (int d = 0; d < kv.head_dim; d++) {
            dq[d] = visible ? fmaf(ds, key[d * OPS_KV_BLOCK], dq[d]) : dq[d];
            dk[d] = fmaf(ds, q[d], dk[d]);
            dv[d] = fmaf(p, dout[d], dv[d]);
        }
    }
}

void ref_attention_grad(ops_kv kv, const ops_span_grad *spans, const ops_group *groups, int n_groups,
                        const float *q, int ldq, const float *out, int ldo, const float *dout,
                        int lddo, float *dq, int lddq, int ldkv)
{
    int per_kv = kv.heads / kv.kv_heads;
    for (const ops_group *g = groups; g < groups + n_groups; g++)
        for (const ops_span_grad *s = spans + g->first; s < spans + g->first + g->count; s++)
            for (int r = 0; r < s->span.rows; r++)
                for (int h = 0; h < kv.heads; h++) {
                    size_t row = (size_t)(s->span.first_row + r), column = (size_t)h * kv.head_dim;
                    query_grad(kv, s, h / per_kv, s->span.first_pos + r, q + row * ldq + column,
                               out + row * ldo + column, dout + row * lddo + column,
                               dq + row * lddq + column, ldkv);
                }
}
