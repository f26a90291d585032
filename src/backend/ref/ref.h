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

/* x rounded to bf16, as an f32; element (i, j) of a matrix of either type. */
float ref_round_bf16(float x);
float ref_element(ops_matrix w, int i, int j);

/* The chain of a product with a matrix of this type, over a[i * lda] and b[i * ldb]; where both are rounded, an
 * operand as the product takes it. */
float ref_chain(ops_type type, const float *a, ptrdiff_t lda, const float *b, ptrdiff_t ldb, int n);
float ref_operand_bf16(float x);

void ref_pack(ops_matrix w, const float *src, int lds);
void ref_unpack(float *dst, int ldd, ops_matrix w);
void ref_pack_transposed(ops_matrix t, ops_matrix w);
void ref_round(ops_matrix to, ops_matrix from);
void ref_gemm(const ops_product *products, int count, const float *x, int ldx, int m);
void ref_gemm_dw(ops_type operands, ops_matrix dw, const float *dy, int lddy, const float *x, int ldx, int m);
void ref_bias_grad(float *db, const float *dy, int lddy, int n, int m);
void ref_embed(float *y, int ldy, ops_matrix w, const int32_t *token, int m, float scale);
void ref_embed_grad(ops_matrix dw, const float *dy, int lddy, const int32_t *token, int m, float scale);

void ref_head_logits(ops_matrix w, const float *h, int ldh, float inv_temperature, float *z, int ldz,
                     ops_softmax_row *rows, int m);
void ref_softmax_stats(const float *z, int ldz, int vocab, const uint32_t *const *allowed,
                       ops_softmax_row *rows, int m);
int32_t ref_softmax_draw(const float *z, int vocab, const uint32_t *allowed, ops_softmax_row row, double uniform);
/* z: room for m * vocab logits; for the gradient m * (vocab + k). */
void ref_head_logprob(ops_matrix w, const float *h, int ldh, float inv_temperature, const int32_t *target,
                      const uint32_t *const *allowed, float *logprob, ops_softmax_row *rows, int m, float *z);
void ref_head_grad(ops_matrix w, ops_matrix dw, const float *h, int ldh, float inv_temperature,
                   const int32_t *target, const uint32_t *const *allowed, const ops_softmax_row *rows,
                   const float *coef, const float *entropy_coef, float *dh, int lddh, int m, float *z);

void ref_adamw_step(ops_adamw a, float *param, const float *grad, float *m, float *v, size_t n);
double ref_sum_squares(const float *x, size_t n);
void ref_add(float *y, int ldy, const float *x, int ldx, int n, int m);

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

void ref_route(int32_t *expert, float *weight, float *z, int ldz, int experts, int used, int renormalise,
               int m);
void ref_route_grad(float *z, int ldz, const int32_t *expert, const float *weight, const float *dweight,
                    int experts, int used, int renormalise, int m);
void ref_combine(float *y, int ldy, const float *x, int ldx, const int32_t *place, const float *weight,
                 int used, int first, int count, int n, int m);
void ref_scale_grad(float *dot, float *d, int ldd, float *x, int ldx, const float *weight, int n, int m);

void ref_kv_write(ops_kv kv, const ops_span *spans, int count, const float *k, int ldk, const float *v,
                  int ldv);
void ref_kv_read(ops_kv kv, const ops_span *spans, int count, float *k, int ldk, float *v, int ldv);
void ref_attention(ops_kv kv, const ops_span *spans, int count, const float *q, int ldq, float *out,
                   int ldo);
void ref_attention_grad(ops_kv kv, const ops_span_grad *spans, const ops_group *groups, int n_groups,
                        const float *q, int ldq, const float *out, int ldo, const float *dout,
                        int lddo, float *dq, int lddq, int ldkv);

#endif
