/* Jobs of the attention kernels (body_kv.h, body_attention.h, body_attention_grad.h). */
#ifndef BACKEND_CPU_JOB_ATTENTION_H
#define BACKEND_CPU_JOB_ATTENTION_H

#include "backend/ops.h"

enum {
    ATTN_QUERIES = 48, /* queries of one tile at most */
    ATTN_SLICE = 64,   /* dimensions of a packed query that lie together */
    ATTN_STEP = 8,     /* blocks of keys between two looks at the caches: their values fit in L1 */
    ATTN_TILES = 128,  /* tiles of one round of work */
    ATTN_LOCAL = 16384 /* floats of scratch when there is no pool */
};

/* Rows [row, row + rows) of a span: all heads. An item of kv_write and kv_read. */
typedef struct kv_piece {
    int span, row, rows;
} kv_piece;

typedef struct kv_job {
    ops_kv kv;
    const ops_span *spans;
    const kv_piece *pieces;
    float *k, *v;
    int ldk, ldv;
} kv_job;

/* The queries of one key/value head in a span are counted row by row, heads inside a row:
 * query t = head t % (heads / kv_heads) of row t / (heads / kv_heads). */

/* `count` queries from query `first` of span `span` on, running over into the spans that follow it
 * (all of which begin with the same block). An item is a tile for one key/value head. */
typedef struct attn_tile {
    int span, first, count;
} attn_tile;

typedef struct attn_job {
    pool *pool;
    ops_kv kv;
    const ops_span *spans;
    const float *q;
    int ldq;
    float *out;
    int ldo;
    const attn_tile *tiles;
    int n_tiles;
} attn_job;

/* Gradient, first pass: an item is a tile (of one span and one key/value head), which leaves its
 * probabilities and score gradients, zero where invisible, at p[t][stride] and ds[t][stride] for the
 * keys of blocks [block0, block1). */
typedef struct attn_grad_tile {
    int group, span, kv_head, first, count;
    int block0, block1, stride;
    float *p, *ds;
} attn_grad_tile;

/* Second pass: keys [begin, end), whose gradient rows start at dk and dv (row 0 = position `begin`), are
 * seen by tiles [tile0, tile1). Items first_item... are steps of ATTN_GRAD_KEYS keys. */
enum { ATTN_GRAD_KEYS = 64 };
typedef struct attn_grad_target {
    int tile0, tile1, begin, end, first_item;
    float *dk, *dv;
} attn_grad_target;

typedef struct attn_grad_job {
    ops_kv kv;
    const ops_span_grad *spans;
    const float *q, *out, *dout;
    int ldq, ldo, lddo;
    float *dq;
    int lddq, ldkv;
    float *work; /* attn_grad_work floats for each thread */
    size_t work_per_thread;
    const attn_grad_tile *tiles;
    const attn_grad_target *targets;
    int n_targets;
} attn_grad_job;

/* Where block `block` of a sequence keeps the keys of a head; the values follow. */
static inline float *attn_keys(ops_kv kv, int32_t block, int kv_head)
{
    return kv.base + (size_t)block * kv.block_stride + (size_t)kv_head * 2 * OPS_KV_BLOCK * kv.head_dim;
}

static inline float *attn_values(ops_kv kv, int32_t block, int kv_head)
{
    return attn_keys(kv, block, kv_head) + (size_t)OPS_KV_BLOCK * kv.head_dim;
}

/* First position that a query at `pos` sees. */
static inline int attn_first_visible(ops_kv kv, int pos)
{
    return kv.window > 0 && pos >= kv.window ? pos - kv.window + 1 : 0;
}

static inline int attn_slices(int head_dim)
{
    return (head_dim + ATTN_SLICE - 1) / ATTN_SLICE;
}

/* head_dim in whole vectors. */
static inline int attn_padded(int head_dim)
{
    return (head_dim + OPS_LANES - 1) / OPS_LANES * OPS_LANES;
}

/* Columns of scores that fit into a scratch of `floats` for tiles of `queries`. */
static inline int attn_columns(size_t floats, int head_dim, int queries)
{
    const int each = (int)(floats / (size_t)queries);
    const int fixed = attn_slices(head_dim) * ATTN_SLICE + attn_padded(head_dim) + 3 * OPS_LANES;
    return each > fixed ? (each - fixed) / OPS_LANES * OPS_LANES : 0;
}

/* Working floats of a thread in the first pass: packed queries and output gradients, dq, inverse sums
 * and D, and ATTN_STEP blocks of transposed values and keys. */
static inline size_t attn_grad_work(int head_dim)
{
    return (size_t)ATTN_QUERIES * (2 * attn_slices(head_dim) * ATTN_SLICE + attn_padded(head_dim) + 2) +
           (size_t)2 * ATTN_STEP * OPS_KV_BLOCK * attn_padded(head_dim);
}

#endif
