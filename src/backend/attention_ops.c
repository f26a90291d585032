/* The public operations that run on the plain reference code. */
#include "backend/ops.h"
#include "backend/ref/ref.h"

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
