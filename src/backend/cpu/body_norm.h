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

/* One vector of a unit, the first n lanes of it; `sums` of its columns may be NULL. */
SIMD_INLINE void norm_grad_vector(const norm_job *job, const float *x, const float *dy, const float *w,
                                  float *dx, float *sums, v16 rstd, v16 minus_c, const int n)
{
    const v16 xv = v16_load_n(x, n), dyv = v16_load_n(dy, n);
    const v16 gw = v16_mul(dyv, v16_add(v16_load_n(w, n), v16_set1(job->offset)));
    v16 d = v16_fma(minus_c, xv, v16_mul(gw, rstd));
    if (job->accumulate)
        d = v16_add(v16_load_n(dx, n), d);
    if (sums)
        v16_store_n(sums, v16_fma(dyv, v16_mul(xv, rstd), v16_load_n(sums, n)), n);
    v16_store_n(dx, d, n);
}

static void norm_grad_unit(const norm_job *job, int unit, float *sums)
{
    float rstd;
    norm_rstd(1, job, unit, &rstd);
    const float c = norm_dot(job, unit) * rstd * rstd * rstd / (float)job->n;
    const v16 r = v16_set1(rstd), minus_c = v16_set1(-c);
    const float *x = job->x + norm_at(job, unit, job->ldx), *dy = job->dy + norm_at(job, unit, job->lddy);
    float *dx = job->y + norm_at(job, unit, job->ldy);
    int j = 0;
    for (; j + 16 <= job->n; j += 16)
        norm_grad_vector(job, x + j, dy + j, job->w + j, dx + j, sums ? sums + j : NULL, r, minus_c, 16);
    if (j < job->n)
        norm_grad_vector(job, x + j, dy + j, job->w + j, dx + j, sums ? sums + j : NULL, r, minus_c,
                         job->n - j);
}

static void kernel_norm_grad(void *context, int begin, int end, int thread)
{
    const norm_job *job = context;
    (void)thread;
    for (int item = begin; item < end; item++) {
        const int first = item * NORM_ROWS;
        const int last = first + NORM_ROWS < job->m ? first + NORM_ROWS : job->m;
        float *sums = job->sums ? job->sums + (ptrdiff_t)item * job->n : NULL;
        if (sums)
            memset(sums, 0, sizeof *sums * (size_t)job->n);
        for (int u = first * job->groups; u < last * job->groups; u++)
            norm_grad_unit(job, u, sums);
    }
}
