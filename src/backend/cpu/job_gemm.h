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
    ops_matrix from; /* pack_transposed: w = from^T */
} pack_job;

/* Items run over groups of panels (all products' panels in a row) and, inside a group, over blocks of
 * rows: item = group * row_blocks + block. */
typedef struct gemm_job {
    const ops_product *products;
    int count;
    int panels;       /* of all products */
    int panel_group;  /* panels of one item */
    int row_blocks;
    const float *x;
    int ldx, m;
} gemm_job;

/* Terms of one fma chain in a product of reduction length k. */
static inline int gemm_chunk(int k)
{
    return k >= 1536 ? 1024 : 512;
}

static inline int gemm_panels(int n)
{
    return (n + OPS_PANEL - 1) / OPS_PANEL;
}

#endif
