/* Attention and the key/value store of backend/ops.h as plain loops in one thread: the statement of
 * their order of arithmetic that the vector kernels are tested against. Arguments as in ops.h. */
#ifndef BACKEND_REF_ATTENTION_H
#define BACKEND_REF_ATTENTION_H

#include "backend/ops.h"

void ref_kv_write(ops_kv kv, const ops_span *spans, int count, const float *k, int ldk, const float *v,
                  int ldv);
void ref_kv_read(ops_kv kv, const ops_span *spans, int count, float *k, int ldk, float *v, int ldv);
void ref_attention(ops_kv kv, const ops_span *spans, int count, const float *q, int ldq, float *out,
                   int ldo);
void ref_attention_grad(ops_kv kv, const ops_span_grad *spans, const ops_group *groups, int n_groups,
                        const float *q, int ldq, const float *out, int ldo, const float *dout,
                        int lddo, float *dq, int lddq, int ldkv);

#endif
