/* The public operations that run on the plain reference code. */
#include "backend/ops.h"
#include "backend/ref/attention.h"
#include "backend/ref/rows.h"

void ops_rmsnorm(pool *p, float *y, int ldy, const float *x, int ldx, const float *w, float offset,
                 float eps, int groups, int n, int m)
{
    (void)p;
    ref_rmsnorm(y, ldy, x, ldx, w, offset, eps, groups, n, m);
}

void ops_rmsnorm_grad(pool *p, float *dx, int lddx, int accumulate, float *dw, const float *dy,
                      int lddy, const float *x, int ldx, const float *w, float offset, float eps,
                      int groups, int n, int m)
{
    (void)p;
    ref_rmsnorm_grad(dx, lddx, accumulate, dw, dy, lddy, x, ldx, w, offset, eps, groups, n, m);
}

void ops_rope(pool *p, float *x, int ldx, int heads, int head_dim, int rot, const float *cos_table,
              const float *sin_table, const int32_t *pos, int inverse, int m)
{
    (void)p;
    ref_rope(x, ldx, heads, head_dim, rot, cos_table, sin_table, pos, inverse, m);
}

void ops_glu(pool *p, ops_activation act, float *y, int ldy, const float *gate, int ldg,
             const float *up, int ldu, int n, int m)
{
    (void)p;
    ref_glu(act, y, ldy, gate, ldg, up, ldu, n, m);
}

void ops_glu_grad(pool *p, ops_activation act, float *dgate, int lddg, float *dup, int lddu, float *y,
                  int ldy, const float *dy, int lddy, const float *gate, int ldg, const float *up,
                  int ldu, int n, int m)
{
    (void)p;
    ref_glu_grad(act, dgate, lddg, dup, lddu, y, ldy, dy, lddy, gate, ldg, up, ldu, n, m);
}

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
