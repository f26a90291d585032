/* Gated activations and their gradient. Both activations are x sigmoid(t(x)): SiLU with t = x, GELU's
 * tanh form with t = 2 sqrt(2 / pi) (x + 0.044715 x^3), since (1 + tanh u) / 2 = sigmoid(2 u). */

#define GELU_A 1.5957691216057308f /* 2 sqrt(2 / pi) */
#define GELU_B 0.044715f

SIMD_INLINE v16 glu_sigmoid(const ops_activation act, v16 x)
{
    const v16 one = v16_set1(1.0f);
    v16 t = x;
    if (act == OPS_GELU_TANH)
        t = v16_mul(v16_mul(v16_set1(GELU_A), x), v16_fma(v16_mul(v16_set1(GELU_B), x), x, one));
    return v16_div(one, v16_add(one, v16_exp(v16_neg(t))));
}

SIMD_INLINE void glu_vector(const ops_activation act, float *y, const float *gate, const float *up,
                            const int n)
{
    const v16 g = v16_load_n(gate, n);
    v16_store_n(y, v16_mul(v16_mul(g, glu_sigmoid(act, g)), v16_load_n(up, n)), n);
}

SIMD_INLINE void glu_rows(const ops_activation act, const glu_job *job, int begin, int end)
{
    for (int r = begin; r < end; r++) {
        float *y = job->y + (ptrdiff_t)r * job->ldy;
        const float *gate = job->gate + (ptrdiff_t)r * job->ldg, *up = job->up + (ptrdiff_t)r * job->ldu;
        int i = 0;
        for (; i + 16 <= job->n; i += 16)
            glu_vector(act, y + i, gate + i, up + i, 16);
        if (i < job->n)
            glu_vector(act, y + i, gate + i, up + i, job->n - i);
    }
}

static void kernel_glu(void *context, int begin, int end, int thread)
{
    const glu_job *job = context;
    (void)thread;
    if (job->act == OPS_SILU)
        glu_rows(OPS_SILU, job, begin, end);
    else
        glu_rows(OPS_GELU_TANH, job, begin, end);
}

/* One vector of row r at column i. dgate may be dy: everything is read before anything is written. */
SIMD_INLINE void glu_grad_vector(const ops_activation act, const glu_job *job, int r, int i, const int n)
{
    const v16 one = v16_set1(1.0f);
    const v16 g = v16_load_n(job->gate + (ptrdiff_t)r * job->ldg + i, n);
    const v16 u = v16_load_n(job->up + (ptrdiff_t)r * job->ldu + i, n);
    const v16 d = v16_load_n(job->dy + (ptrdiff_t)r * job->lddy + i, n);
    const v16 s = glu_sigmoid(act, g), a = v16_mul(g, s);
    v16 slope = one;
    if (act == OPS_GELU_TANH)
        slope = v16_mul(v16_set1(GELU_A), v16_fma(v16_mul(v16_set1(3 * GELU_B), g), g, one));
    const v16 da = v16_fma(v16_mul(a, slope), v16_sub(one, s), s);
    if (job->y)
        v16_store_n(job->y + (ptrdiff_t)r * job->ldy + i, v16_mul(a, u), n);
    v16_store_n(job->dup + (ptrdiff_t)r * job->lddu + i, v16_mul(d, a), n);
    v16_store_n(job->dgate + (ptrdiff_t)r * job->lddg + i, v16_mul(v16_mul(d, u), da), n);
}

SIMD_INLINE void glu_grad_rows(const ops_activation act, const glu_job *job, int begin, int end)
{
    for (int r = begin; r < end; r++) {
        int i = 0;
        for (; i + 16 <= job->n; i += 16)
            glu_grad_vector(act, job, r, i, 16);
        if (i < job->n)
            glu_grad_vector(act, job, r, i, job->n - i);
    }
}

static void kernel_glu_grad(void *context, int begin, int end, int thread)
{
    const glu_job *job = context;
    (void)thread;
    if (job->act == OPS_SILU)
        glu_grad_rows(OPS_SILU, job, begin, end);
    else
        glu_grad_rows(OPS_GELU_TANH, job, begin, end);
}
