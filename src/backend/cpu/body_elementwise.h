/* The optimiser's step, the gradient's norm, sums of rows. */

static void kernel_adamw(void *context, int begin, int end, int thread)
{
    const adamw_job *job = context;
    (void)thread;
    const size_t last = (size_t)end * ELEMENTS_PER_ITEM < job->n ? (size_t)end * ELEMENTS_PER_ITEM : job->n;
    const v16 scale = v16_set1(job->grad_scale), keep = v16_set1(job->keep);
    const v16 beta1_rest = v16_set1(job->beta1_rest), beta2 = v16_set1(job->beta2);
    const v16 beta2_rest = v16_set1(job->beta2_rest), root = v16_set1(job->root_bias2);
    const v16 eps = v16_set1(job->eps), step = v16_set1(job->step);
    for (size_t i = (size_t)begin * ELEMENTS_PER_ITEM; i < last; i += 16) {
        const int n = last - i < 16 ? (int)(last - i) : 16;
        const v16 g = v16_mul(v16_load_n(job->grad + i, n), scale);
        const v16 p = v16_mul(v16_load_n(job->param + i, n), keep);
        v16 m = v16_load_n(job->m + i, n), v = v16_load_n(job->v + i, n);
        m = v16_add(m, v16_mul(v16_sub(g, m), beta1_rest));
        v = v16_add(v16_mul(v, beta2), v16_mul(v16_mul(beta2_rest, g), g));
        const v16 under = v16_add(v16_div(v16_sqrt(v), root), eps);
        v16_store_n(job->m + i, m, n);
        v16_store_n(job->v + i, v, n);
        v16_store_n(job->param + i, v16_sub(p, v16_mul(step, v16_div(m, under))), n);
    }
}

/* Sixteen lanes in double (a square of a float is exact there), combined by halving. */
static void kernel_sum_squares(void *context, int begin, int end, int thread)
{
    const squares_job *job = context;
    (void)thread;
    for (int item = begin; item < end; item++) {
        const float *x = job->x + (size_t)item * ELEMENTS_PER_ITEM;
        const size_t left = job->n - (size_t)item * ELEMENTS_PER_ITEM;
        const size_t n = left < ELEMENTS_PER_ITEM ? left : ELEMENTS_PER_ITEM;
        double lane[16] = {0};
        size_t i = 0;
        for (; i + 16 <= n; i += 16)
            for (int l = 0; l < 16; l++)
                lane[l] += (double)x[i + l] * (double)x[i + l];
        for (int l = 0; i + l < n; l++)
            lane[l] += (double)x[i + l] * (double)x[i + l];
        for (int half = 8; half > 0; half /= 2)
            for (int l = 0; l < half; l++)
                lane[l] += lane[l + half];
        job->sums[item] = lane[0];
    }
}

static void kernel_add(void *context, int begin, int end, int thread)
{
    const add_job *job = context;
    (void)thread;
    for (int r = begin; r < end; r++) {
        float *y = job->y + (ptrdiff_t)r * job->ldy;
        const float *x = job->x + (ptrdiff_t)r * job->ldx;
        for (int c = 0; c < job->n; c += 16) {
            const int n = job->n - c < 16 ? job->n - c : 16;
            v16_store_n(y + c, v16_add(v16_load_n(y + c, n), v16_load_n(x + c, n)), n);
        }
    }
}
