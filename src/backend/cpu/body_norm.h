/* RMSNorm and its gradient. */

static inline ptrdiff_t norm_at(const norm_job *job, int unit, int ld)
{
    return (ptrdiff_t)(unit / job->groups) * ld + (ptrdiff_t)(unit % job->groups) * job->n;
}

/* rstd of units [u, u + units): several at once, since the sum of squares is one chain of additions. */
SIMD_INLINE void norm_rstd(const int units, const norm_job *job, int u, float *rstd)
{
    const float *x[4];
    v16 sum[4];
    SIMD_UNROLL
    for (int i = 0; i < units; i++) {
        x[i] = job->x + norm_at(job, u + i, job->ldx);
        sum[i] = v16_zero();
    }
    int j = 0;
    for (; j + 16 <= job->n; j += 16) {
        SIMD_UNROLL
        for (int i = 0; i < units; i++) {
            const v16 v = v16_load(x[i] + j);
            sum[i] = v16_fma(v, v, sum[i]);
        }
    }
    SIMD_UNROLL
    for (int i = 0; i < units; i++) {
        if (j < job->n) {
            const v16 v = v16_load_n(x[i] + j, job->n - j);
            sum[i] = v16_fma(v, v, sum[i]);
        }
        rstd[i] = 1.0f / sqrtf(v16_sum(sum[i]) / (float)job->n + job->eps);
    }
}

SIMD_INLINE v16 norm_scaled(v16 x, v16 rstd, v16 w, v16 offset)
{
    return v16_mul(v16_mul(x, rstd), v16_add(w, offset));
}

static void norm_apply(const norm_job *job, int unit, float rstd)
{
    const float *x = job->x + norm_at(job, unit, job->ldx), *w = job->w;
    float *y = job->y + norm_at(job, unit, job->ldy);
    const v16 r = v16_set1(rstd), offset = v16_set1(job->offset);
    int j = 0;
    for (; j + 16 <= job->n; j += 16)
        v16_store(y + j, norm_scaled(v16_load(x + j), r, v16_load(w + j), offset));
    const int rest = job->n - j;
    if (rest > 0)
        v16_store_n(y + j, norm_scaled(v16_load_n(x + j, rest), r, v16_load_n(w + j, rest), offset), rest);
}

static void kernel_norm(void *context, int begin, int end, int thread)
{
    const norm_job *job = context;
    (void)thread;
    float rstd[4];
    int u = begin;
    for (; u + 4 <= end; u += 4) {
        norm_rstd(4, job, u, rstd);
        for (int i = 0; i < 4; i++)
            norm_apply(job, u + i, rstd[i]);
    }
    for (; u < end; u++) {
        norm_rstd(1, job, u, rstd);
        norm_apply(job, u, rstd[0]);
    }
}

/* Lane sum of dy (w + offset) x. */
static float norm_dot(const norm_job *job, int unit)
{
    const float *x = job->x + norm_at(job, unit, job->ldx), *w = job->w;
    const float *dy = job->dy + norm_at(job, unit, job->lddy);
    const v16 offset = v16_set1(job->offset);
    v16 sum = v16_zero();
    int j = 0;
    for (; j + 16 <= job->n; j += 16)
        sum = v16_fma(v16_mul(v16_load(dy + j), v16_add(v16_load(w + j), offset)), v16_load(x + j), sum);
    const int rest = job->n - j;
    if (rest > 0)
        sum = v16_fma(v16_mul(v16_load_n(dy + j, rest), v16_add(v16_load_n(w + j, rest), offset)),
                      v16_load_n(x + j, rest), sum);
    return v16_sum(sum);
}

static void kernel_norm_grad_stats(void *context, int begin, int end, int thread)
{
    const norm_job *job = context;
    (void)thread;
    for (int u = begin; u < end; u++) {
        norm_rstd(1, job, u, job->rstd + u);
        const float r = job->rstd[u];
        job->c[u] = norm_dot(job, u) * r * r * r / (float)job->n;
    }
}

/* One vector of columns of all rows, the first n lanes of it. */
SIMD_INLINE void norm_grad_vector(const norm_job *job, int column, const int n)
{
    const v16 w = v16_add(v16_load_n(job->w + column, n), v16_set1(job->offset));
    const int units = job->m * job->groups, dw_units = NORM_DW_ROWS * job->groups;
    for (int first = 0; first < units; first += dw_units) {
        const int last = first + dw_units < units ? first + dw_units : units;
        v16 sum = v16_zero();
        for (int u = first; u < last; u++) {
            float *dx = job->y + norm_at(job, u, job->ldy) + column;
            const v16 x = v16_load_n(job->x + norm_at(job, u, job->ldx) + column, n);
            const v16 dy = v16_load_n(job->dy + norm_at(job, u, job->lddy) + column, n);
            const v16 rstd = v16_set1(job->rstd[u]);
            v16 d = v16_fma(v16_set1(-job->c[u]), x, v16_mul(v16_mul(dy, w), rstd));
            if (job->accumulate)
                d = v16_add(v16_load_n(dx, n), d);
            sum = v16_fma(dy, v16_mul(x, rstd), sum);
            v16_store_n(dx, d, n);
        }
        if (job->dw)
            v16_store_n(job->dw + column, v16_add(v16_load_n(job->dw + column, n), sum), n);
    }
}

static void kernel_norm_grad_columns(void *context, int begin, int end, int thread)
{
    const norm_job *job = context;
    (void)thread;
    for (int column = begin * NORM_SLAB; column < end * NORM_SLAB && column < job->n; column += 16) {
        if (column + 16 <= job->n)
            norm_grad_vector(job, column, 16);
        else
            norm_grad_vector(job, column, job->n - column);
    }
}
