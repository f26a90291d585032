/* Mixtures of experts: the router's choice, weighted sums of rows, and their gradients. */

/* z = softmax(z). */
static void route_softmax(float *z, int experts)
{
    const v16 lowest = v16_set1(-__builtin_inff());
    v16 largest = lowest, sum = v16_zero();
    for (int i = 0; i < experts; i += 16) {
        const int n = experts - i < 16 ? experts - i : 16;
        largest = v16_max(v16_select(v16m_first(n), v16_load_n(z + i, n), lowest), largest);
    }
    const v16 m = v16_set1(v16_hmax(largest));
    for (int i = 0; i < experts; i += 16) {
        const int n = experts - i < 16 ? experts - i : 16;
        const v16 e = v16_select(v16m_first(n), v16_exp(v16_sub(v16_load_n(z + i, n), m)), v16_zero());
        sum = v16_add(sum, e);
        v16_store_n(z + i, e, n);
    }
    const v16 total = v16_set1(v16_sum(sum));
    for (int i = 0; i < experts; i += 16) {
        const int n = experts - i < 16 ? experts - i : 16;
        v16_store_n(z + i, v16_div(v16_load_n(z + i, n), total), n);
    }
}

/* The ids of the `used` largest, sorted by id; `key` is scratch of as many numbers. The list is kept in falling
 * order, and what comes later enters behind its equals, so of equal logits the lower ids win. */
static void route_choose(int32_t *id, float *key, const float *z, int experts, int used)
{
    for (int i = 0, n = 0; i < experts; i++) {
        if (n == used && !(z[i] > key[n - 1]))
            continue;
        int at = n < used ? n++ : used - 1;
        for (; at > 0 && z[i] > key[at - 1]; at--) {
            key[at] = key[at - 1];
            id[at] = id[at - 1];
        }
        key[at] = z[i];
        id[at] = i;
    }
    for (int i = 1; i < used; i++) {
        const int32_t x = id[i];
        int at = i;
        for (; at > 0 && id[at - 1] > x; at--)
            id[at] = id[at - 1];
        id[at] = x;
    }
}

static void kernel_route(void *context, int begin, int end, int thread)
{
    const route_job *job = context;
    (void)thread;
    for (int r = begin; r < end; r++) {
        float *z = job->z + (ptrdiff_t)r * job->ldz, *weight = job->weight + (ptrdiff_t)r * job->used, sum = 0;
        int32_t *expert = job->expert + (ptrdiff_t)r * job->used;
        route_choose(expert, weight, z, job->experts, job->used);
        route_softmax(z, job->experts);
        for (int j = 0; j < job->used; j++) {
            weight[j] = z[expert[j]];
            sum += weight[j];
        }
        for (int j = 0; j < job->used && job->renormalise; j++)
            weight[j] /= sum;
    }
}

static void kernel_route_grad(void *context, int begin, int end, int thread)
{
    const route_job *job = context;
    (void)thread;
    for (int r = begin; r < end; r++) {
        float *z = job->z + (ptrdiff_t)r * job->ldz, mean = 0;
        const float *weight = job->weight + (ptrdiff_t)r * job->used, *dw = job->dweight + (ptrdiff_t)r * job->used;
        const int32_t *expert = job->expert + (ptrdiff_t)r * job->used;
        for (int j = 0; j < job->used; j++)
            mean = fmaf(weight[j], dw[j], mean);
        const v16 others = v16_set1(mean);
        for (int i = 0; i < job->experts; i += 16) {
            const int n = job->experts - i < 16 ? job->experts - i : 16;
            v16_store_n(z + i, job->renormalise ? v16_zero() : v16_neg(v16_mul(v16_load_n(z + i, n), others)), n);
        }
        for (int j = 0; j < job->used; j++) /* without renormalisation the weight is p */
            z[expert[j]] = weight[j] * (dw[j] - mean);
    }
}

static void combine_row(float *y, const float *x, float weight, int weighted, int columns)
{
    const v16 w = v16_set1(weight);
    for (int c = 0; c < columns; c += 16) {
        const int n = columns - c < 16 ? columns - c : 16;
        const v16 a = v16_load_n(x + c, n), b = v16_load_n(y + c, n);
        v16_store_n(y + c, weighted ? v16_fma(w, a, b) : v16_add(b, a), n);
    }
}

static void kernel_combine(void *context, int begin, int end, int thread)
{
    const combine_job *job = context;
    (void)thread;
    for (int r = begin; r < end; r++)
        for (int j = 0; j < job->used; j++) {
            const ptrdiff_t at = (ptrdiff_t)r * job->used + j;
            const int place = job->place[at] - job->first;
            if (place >= 0 && place < job->count)
                combine_row(job->y + (ptrdiff_t)r * job->ldy, job->x + (ptrdiff_t)place * job->ldx,
                            job->weight ? job->weight[at] : 1, job->weight != NULL, job->n);
        }
}

static void kernel_scale_grad(void *context, int begin, int end, int thread)
{
    const scale_job *job = context;
    (void)thread;
    for (int r = begin; r < end; r++) {
        float *d = job->d + (ptrdiff_t)r * job->ldd, *x = job->x + (ptrdiff_t)r * job->ldx;
        const v16 w = v16_set1(job->weight[r]);
        v16 sum = v16_zero();
        for (int c = 0; c < job->n; c += 16) {
            const int n = job->n - c < 16 ? job->n - c : 16;
            const v16 a = v16_load_n(d + c, n), b = v16_load_n(x + c, n);
            sum = v16_fma(a, b, sum);
            v16_store_n(d + c, v16_mul(a, w), n);
            v16_store_n(x + c, v16_mul(b, w), n);
        }
        job->dot[r] = v16_sum(sum);
    }
}
