/* Jobs of the per-row kernels (body_norm.h, body_rope.h, body_glu.h). */
#ifndef BACKEND_CPU_JOB_ROWS_H
#define BACKEND_CPU_JOB_ROWS_H

#include "backend/ops.h"

enum {
    NORM_DW_ROWS = 64,  /* rows whose contributions to dw are summed before they are added */
    NORM_SLAB = 32,     /* columns of one item of norm_grad_columns */
    NORM_UNITS = 16384, /* norms (rows * groups) of one round of the gradient */
};

/* A unit is one norm: unit u = group u % groups of row u / groups. norm: an item is a unit.
 * norm_grad_stats: an item is a unit, writes rstd and c; norm_grad_columns: an item is a slab of
 * columns of all rows. */
typedef struct norm_job {
    float *y; /* or dx */
    int ldy;
    const float *x;
    int ldx;
    const float *w;
    float offset, eps;
    int groups, n, m;
    const float *dy;
    int lddy;
    float *dw;      /* may be NULL */
    int accumulate;
    float *rstd, *c; /* of each unit; c = rstd^3 (dy (w + offset) . x) / n */
} norm_job;

/* An item is a row. */
typedef struct rope_job {
    float *x;
    int ldx, heads, head_dim, rot;
    const float *cos_table, *sin_table;
    const int32_t *pos;
    int inverse;
} rope_job;

/* An item is a row. */
typedef struct glu_job {
    ops_activation act;
    float *y; /* in glu_grad: may be NULL */
    int ldy;
    const float *gate;
    int ldg;
    const float *up;
    int ldu;
    int n;
    const float *dy;
    int lddy;
    float *dgate;
    int lddg;
    float *dup;
    int lddu;
} glu_job;

#endif
