/* The operations of ops.h as plain loops on one thread: the same arithmetic in the same order, so the
 * same bits. Slow; for tests. Call them between pool_fp_enter and pool_fp_leave. Same arguments as the
 * ops_ function of that name, without the pool. */
#ifndef BACKEND_REF_REF_H
#define BACKEND_REF_REF_H

#include "backend/ops.h"

/* exp, log, and the lane sum and lane maximum of 16 lanes, as simd.h states them. */
float ref_exp(float x);
float ref_log(float x);
float ref_lanes_sum(const float lanes[OPS_LANES]);

void ref_pack(ops_matrix w, const float *src, int lds);
void ref_unpack(float *dst, int ldd, ops_matrix w);
void ref_pack_transposed(ops_matrix t, ops_matrix w);
void ref_gemm(const ops_product *products, int count, const float *x, int ldx, int m);

#endif
