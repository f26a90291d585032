/* Jobs of the per-row kernels (body_norm.h, body_rope.h, body_glu.h). */
#ifndef BACKEND_CPU_JOB_ROWS_H
#define BACKEND_CPU_JOB_ROWS_H

#include "backend/ops.h"

enum { NORM_ROWS = 64 }; /* rows whose contributions to dw are summed before they are added */

/* A unit is one norm: unit u = group u % groups of row u / groups. norm: an item is a unit. norm_grad: an
 * item is NORM_ROWS rows. */
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
    int accumulate;
    float *sums; /* [items][n]: the items' sums for dw; NULL: not wanted */
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
