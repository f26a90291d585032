/* The public operations that run on the plain reference code. */
#include "backend/ops.h"
#include "backend/ref/ref.h"

void ops_kv_write(pool *p, ops_kv kv, const ops_span *spans, int count, const float *k, int ldk,
                  const float *v, int ldv)
{
    (void)p;
    ref_kv_write(kv, spans, count, k, ldk, v, ldv);
}

void ops_kv_read(pool *p, ops_kv kv, const ops_span *spans, int count, float *k, int ldk, float *v,
                 int ldv)
{
    (void)p;
    ref_kv_read(kv, spans, count, k, ldk, v, ldv);
}

void ops_attention(pool *p, ops_kv kv, const ops_span *spans, int count, const float *q, int ldq,
                   float *out, int ldo)
{
    (void)p;
    ref_attention(kv, spans, count, q, ldq, out, ldo);
}

size_t ops_attention_grad_scratch(ops_kv kv, int max_positions)
{
    (void)kv;
    return (size_t)max_positions;
}

void ops_attention_grad(pool *p, ops_kv kv, const ops_span_grad *spans, const ops_group *groups,
                        int n_groups, const float *q, int ldq, const float *out, int ldo,
                        const float *dout, int lddo, float *dq, int lddq, int ldkv, float *scratch,
                        size_t scratch_per_thread)
{
    (void)p, (void)scratch, (void)scratch_per_thread;
    ref_attention_grad(kv, spans, groups, n_groups, q, ldq, out, ldo, dout, lddo, dq, lddq, ldkv);
}
