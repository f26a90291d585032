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

void ref_kv_write(ops_kv kv, const ops_span *spans, int count, const float *k, int ldk, const float *v,
                  int ldv);
void ref_kv_read(ops_kv kv, const ops_span *spans, int count, float *k, int ldk, float *v, int ldv);
void ref_attention(ops_kv kv, const ops_span *spans, int count, const float *q, int ldq, float *out,
                   int ldo);
void ref_attention_grad(ops_kv kv, const ops_span_grad *spans, const ops_group *groups, int n_groups,
                        const float *q, int ldq, const float *out, int ldo, const float *dout,
                        int lddo, float *dq, int lddq, int ldkv);

#endif
