/* Jobs of the head's kernels (body_head.h). */
#ifndef BACKEND_CPU_JOB_HEAD_H
#define BACKEND_CPU_JOB_HEAD_H

#include "backend/cpu/job_gemm.h"
#include "backend/ops.h"

enum {
    HEAD_ROWS = 126,                  /* rows of one item: 9 tiles of 14 */
    HEAD_LD = OPS_VOCAB_BLOCK + 16,   /* row stride of a stored block: no power of two */
    HEAD_PANELS = OPS_VOCAB_BLOCK / OPS_PANEL,
};

/* One row's part of the softmax in one block of the vocabulary; max = -inf: no entry allowed. */
typedef struct head_stat {
    float max;  /* m_b */
    float sum;  /* s_b */
    float tilt; /* u_b, for the entropy */
} head_stat;

/* head_block: item = block of the vocabulary * row_blocks + block of rows. head_combine: an item is a
 * row. softmax_stats: an item is a row of z. */
typedef struct head_job {
    ops_matrix w; /* softmax_stats: n only */
    const float *h;
    int ldh, m;
    float inv_temperature;
    int panel_group; /* panels that stay in the cache while the rows pass over them */
    int blocks, row_blocks;
    float *z; /* whole rows of logits, or NULL: a block at a time in `tile` */
    int ldz;
    float *tile;                     /* [threads][HEAD_ROWS][HEAD_LD] */
    const uint32_t *const *allowed;  /* may be NULL, and each row's too */
    const int32_t *target;           /* may be NULL */
    float *target_z;                 /* [m] */
    head_stat *stats;                /* [m][blocks] */
    int want_entropy;
    ops_softmax_row *rows;
    float *logprob; /* may be NULL */
} head_job;

/* softmax_draw: one row, one item. */
typedef struct draw_job {
    const float *z;
    int vocab;
    const uint32_t *allowed; /* may be NULL */
    float max;
    double uniform;
    int32_t token; /* the result */
} draw_job;

/* One block of the vocabulary in the backward pass, over the active rows alone. */
typedef struct head_grad_job {
    ops_matrix w;     /* the block's part of the head */
    int v0;           /* its first entry */
    float inv_temperature;
    const float *h;   /* active rows */
    int ldh, m;
    const int32_t *row;    /* the number of each active row in the arrays below */
    const int32_t *target;
    const uint32_t *const *allowed;
    const ops_softmax_row *rows;
    const float *log_sum;  /* ln S, by active row */
    const float *coef, *entropy_coef;
    float *dz;             /* [m][HEAD_LD] */
    ops_matrix wt;         /* the block transposed */
    ops_product dh;        /* dh += dz wt^T */
    dw_job dw;             /* dw += dz^T h */
    int shares;            /* of both kernels' items: one for each thread */
    int dw_items;          /* 0: not wanted */
    gemm_plan logits, out;
} head_grad_job;

#endif
