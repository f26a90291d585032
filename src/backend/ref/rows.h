/* The per-row operations of backend/ops.h as plain loops in one thread: the statement of their
 * order of arithmetic that the vector kernels are tested against. Arguments as in ops.h. */
#ifndef BACKEND_REF_ROWS_H
#define BACKEND_REF_ROWS_H

#include "backend/ops.h"

void ref_rmsnorm(float *y, int ldy, const float *x, int ldx, const float *w, float offset, float eps,
                 int groups, int n, int m);
void ref_rmsnorm_grad(float *dx, int lddx, int accumulate, float *dw, const float *dy, int lddy,
                      const float *x, int ldx, const float *w, float offset, float eps, int groups,
                      int n, int m);
void ref_rope(float *x, int ldx, int heads, int head_dim, int rot, const float *cos_table,
              const float *sin_table, const int32_t *pos, int inverse, int m);
void ref_glu(ops_activation act, float *y, int ldy, const float *gate, int ldg, const float *up,
             int ldu, int n, int m);
void ref_glu_grad(ops_activation act, float *dgate, int lddg, float *dup, int lddu, float *y, int ldy,
                  const float *dy, int lddy, const float *gate, int ldg, const float *up, int ldu,
                  int n, int m);

/* Combines 16 lanes by halving (ops.h, "lane sum"); lanes are overwritten. */
float ref_lanes_combine(float lanes[OPS_LANES]);

#endif
