/* Rotary embedding, halves form. */

SIMD_INLINE void rope_vector(float *lo, float *hi, const float *c, const float *s, v16 sign, const int n)
{
    const v16 a = v16_load_n(lo, n), b = v16_load_n(hi, n);
    const v16 cv = v16_load_n(c, n), sv = v16_mul(v16_load_n(s, n), sign);
    v16_store_n(lo, v16_fma(a, cv, v16_neg(v16_mul(b, sv))), n);
    v16_store_n(hi, v16_fma(b, cv, v16_mul(a, sv)), n);
}

static void kernel_rope(void *context, int begin, int end, int thread)
{
    const rope_job *job = context;
    const int half = job->rot / 2;
    const v16 sign = v16_set1(job->inverse ? -1.0f : 1.0f);
    (void)thread;
    for (int r = begin; r < end; r++) {
        const float *c = job->cos_table + (size_t)job->pos[r] * half;
        const float *s = job->sin_table + (size_t)job->pos[r] * half;
        for (int h = 0; h < job->heads; h++) {
            float *lo = job->x + (ptrdiff_t)r * job->ldx + (ptrdiff_t)h * job->head_dim, *hi = lo + half;
            int i = 0;
            for (; i + 16 <= half; i += 16)
                rope_vector(lo + i, hi + i, c + i, s + i, sign, 16);
            if (i < half)
                rope_vector(lo + i, hi + i, c + i, s + i, sign, half - i);
        }
    }
}
