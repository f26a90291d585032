/* Jobs of the matrix kernels (body_gemm.h, body_dw.h). */
#ifndef BACKEND_CPU_JOB_GEMM_H
#define BACKEND_CPU_JOB_GEMM_H

#include "backend/ops.h"

typedef struct scalar_job {
    float x, y; /* y = f(x) */
} scalar_job;

/* An item is a panel. */
typedef struct pack_job {
    ops_matrix w;
    const float *src; /* pack reads it, unpack writes dst */
    float *dst;
    int ld;
    ops_matrix from; /* pack_transposed: w = from^T; round: w = from */
} pack_job;

/* Each product's panels are cut into groups of at most panel_group, the rows into row_blocks blocks, those into
 * `shares` shares. Items go through the shares, in a share through the groups (of all products), in a group through
 * the share's blocks. */
typedef struct gemm_job {
    const ops_product *products;
    int panel_group, groups, row_blocks, shares;
    const float *x;
    int ldx, m;
} gemm_job;

/* dw += dy^T x: item = group of dw's panels * column_blocks + block of x's columns. */
typedef struct dw_job {
    ops_matrix dw;
    const float *dy, *x;
    int lddy, ldx, m;
    ops_type operands;
    int groups, column_blocks;
} dw_job;

enum {
    DW_CHUNK = 512, /* rows of one fma chain */
    DW_GROUP = 6,   /* panels of dy that an item copies at a time: 64 KB of stack each, */
    DW_TILES = 4,   /* tiles of x: 32 KB each */
};

/* In bf16 a panel takes half of the room; on AMX products are so fast that copies must serve more of them. */
static inline int dw_group(ops_type operands)
{
    return operands == OPS_BF16_TILE ? 2 * DW_GROUP : DW_GROUP;
}

/* db += column sums: an item is 16 columns. */
typedef struct bias_job {
    float *db;
    const float *dy;
    int lddy, n, m;
} bias_job;

/* embed: an item is a row. embed_grad: an item is 16 columns of dw. */
typedef struct embed_job {
    ops_matrix w;
    float *y;        /* embed */
    const float *dy; /* embed_grad */
    int ld, m;
    const int32_t *token;
    float scale;
} embed_job;

/* Terms of one chain in a product of reduction length k. */
static inline int gemm_chunk(ops_type type, int k)
{
    return type == OPS_BF16_TILE ? k : k >= 1536 ? 1024 : 512;
}

static inline int gemm_panels(int n)
{
    return (n + OPS_PANEL - 1) / OPS_PANEL;
}

/* Groups of at most panel_group panels; group g of G holds panels [panels * g / G, panels * (g + 1) / G). */
static inline int gemm_groups(int n, int panel_group)
{
    return (gemm_panels(n) + panel_group - 1) / panel_group;
}

/* ---- numbering of items that gives each of `shares` runs of neighbours its share ---- */

/* Where share s of `total` begins. */
static inline int gemm_share(int total, int s, int shares)
{
    return (int)((int64_t)total * s / shares);
}

/* A group of panels and a block of rows of an item. */
typedef struct gemm_piece {
    int group, block;
} gemm_piece;

static inline gemm_piece gemm_piece_at(const gemm_job *job, int item)
{
    int s = 0, first = 0, blocks;
    for (;; s++, item -= job->groups * blocks, first += blocks) {
        blocks = gemm_share(job->row_blocks, s + 1, job->shares) - first;
        if (item < job->groups * blocks)
            return (gemm_piece){item / blocks, first + item % blocks};
    }
}

/* Of items of two kinds, `first` and `second` many: the number among the first, or first + that among the second. */
static inline int gemm_item_of_two(int item, int first, int second, int shares)
{
    int s = 0, f = 0, g = 0, n, m;
    for (;; s++, item -= n + m, f += n, g += m) {
        n = gemm_share(first, s + 1, shares) - f;
        m = gemm_share(second, s + 1, shares) - g;
        if (item < n + m)
            return item < n ? f + item : first + g + item - n;
    }
}

/* ---- how work is cut (ops_plan.c): no bit of a result depends on it ---- */

typedef struct gemm_plan {
    int panel_group, row_blocks, shares;
} gemm_plan;

/* For `panels` panels of so many 32-bit words (all products together) and m rows. */
gemm_plan gemm_plan_for(int threads, ops_type type, int panels, size_t panel_words, int m);

/* Fills in groups and column_blocks and returns the number of items. */
int dw_plan(dw_job *job, int threads);

#endif
