/* The head: logits a block of the vocabulary at a time, the softmax's statistics, and the gradient. */

static float exp_scalar(float x)
{
    float y[16];
    v16_store(y, v16_exp(v16_set1(x)));
    return y[0];
}

static float log_scalar(float x)
{
    float y[16];
    v16_store(y, v16_log(v16_set1(x)));
    return y[0];
}

/* ---- statistics --------------------------------------------------------------------------- */

/* Which of the lanes that hold entries [v, v + 16) of a block of n exist and are allowed. */
SIMD_INLINE v16m head_mask(const uint32_t *allowed, int v, int n)
{
    unsigned bits = n - v < 16 ? (1u << (n - v)) - 1u : 0xffffu;
    if (allowed)
        bits &= allowed[v / 32] >> v % 32;
    return v16m_bits(bits);
}

SIMD_INLINE v16 head_entries(const float *z, const uint32_t *allowed, int v, int n)
{
    const v16 all = v16_load_n(z + v, n - v < 16 ? n - v : 16);
    return v16_select(head_mask(allowed, v, n), all, v16_set1(-__builtin_inff()));
}

/* allowed: the bitmap's word of the block's first entry, or NULL. */
static head_stat head_block_stat(const float *z, const uint32_t *allowed, int n, int want_entropy)
{
    v16 top = v16_set1(-__builtin_inff());
    for (int v = 0; v < n; v += 16)
        top = v16_max(head_entries(z, allowed, v, n), top);
    head_stat stat = {v16_hmax(top), 0.0f, 0.0f};
    if (stat.max == -__builtin_inff())
        return stat;
    const v16 max = v16_set1(stat.max);
    v16 sum = v16_zero(), tilt = v16_zero();
    for (int v = 0; v < n; v += 16) {
        const v16 d = v16_sub(head_entries(z, allowed, v, n), max);
        const v16 e = v16_exp(d);
        sum = v16_add(sum, e);
        if (want_entropy) /* e is 0 below -88: the bound only keeps 0 * inf away */
            tilt = v16_fma(e, v16_max(d, v16_set1(-100.0f)), tilt);
    }
    stat.sum = v16_sum(sum);
    stat.tilt = v16_sum(tilt);
    return stat;
}

/* The sums over blocks, relative to the maximum of all of them. */
typedef struct head_total {
    float max, sum, tilt;
} head_total;

static void head_total_add(head_total *total, head_stat stat)
{
    if (stat.max == -__builtin_inff())
        return;
    const float d = stat.max - total->max, weight = exp_scalar(d);
    total->sum = fmaf(stat.sum, weight, total->sum);
    if (weight != 0.0f)
        total->tilt = fmaf(fmaf(stat.sum, d, stat.tilt), weight, total->tilt);
}

static ops_softmax_row head_finish(const head_total *total, int want_entropy)
{
    ops_softmax_row row = {total->max, total->sum, 0.0f};
    if (want_entropy)
        row.entropy = log_scalar(total->sum) - total->tilt / total->sum;
    return row;
}

/* ---- forward ---------------------------------------------------------------------------------- */

static const uint32_t *head_allowed(const uint32_t *const *allowed, int row, int v0)
{
    return allowed && allowed[row] ? allowed[row] + v0 / 32 : NULL;
}

static void head_block_rows(const head_job *job, int block, int r0, int r1, float *z, int ldz)
{
    const int v0 = block * OPS_VOCAB_BLOCK;
    const int n = job->w.n - v0 < OPS_VOCAB_BLOCK ? job->w.n - v0 : OPS_VOCAB_BLOCK;
    const ops_product product = {.w = job->w, .y = z, .ldy = ldz};
    const int last = v0 / OPS_PANEL + gemm_panels(n);
    for (int p = v0 / OPS_PANEL; p < last; p += job->panel_group) {
        const int end = p + job->panel_group < last ? p + job->panel_group : last;
        gemm_block(&product, (gemm_range){p, end, r0, r1, r0, v0}, job->inv_temperature, job->h, job->ldh);
    }
    for (int r = r0; r < r1; r++) {
        const float *row = z + (ptrdiff_t)(r - r0) * ldz;
        const uint32_t *allowed = head_allowed(job->allowed, r, v0);
        job->stats[(size_t)r * job->blocks + block] = head_block_stat(row, allowed, n, job->want_entropy);
        if (!job->target)
            continue;
        const int t = job->target[r] - v0;
        if (t >= 0 && t < n)
            job->target_z[r] = !allowed || allowed[t / 32] >> t % 32 & 1 ? row[t] : -__builtin_inff();
    }
}

static void kernel_head_block(void *context, int begin, int end, int thread)
{
    const head_job *job = context;
    for (int item = begin; item < end; item++) {
        const int block = item / job->row_blocks, part = item % job->row_blocks;
        const int r0 = gemm_share(job->m, part, job->row_blocks);
        const int r1 = gemm_share(job->m, part + 1, job->row_blocks);
        if (job->z)
            head_block_rows(job, block, r0, r1, job->z + (ptrdiff_t)r0 * job->ldz + block * OPS_VOCAB_BLOCK,
                            job->ldz);
        else
            head_block_rows(job, block, r0, r1, job->tile + (size_t)thread * HEAD_ROWS * HEAD_LD, HEAD_LD);
    }
}

static void kernel_head_combine(void *context, int begin, int end, int thread)
{
    const head_job *job = context;
    (void)thread;
    for (int r = begin; r < end; r++) {
        const head_stat *stats = job->stats + (size_t)r * job->blocks;
        head_total total = {-__builtin_inff(), 0.0f, 0.0f};
        for (int b = 0; b < job->blocks; b++)
            total.max = stats[b].max > total.max ? stats[b].max : total.max;
        for (int b = 0; b < job->blocks; b++)
            head_total_add(&total, stats[b]);
        job->rows[r] = head_finish(&total, job->want_entropy);
        if (job->logprob)
            job->logprob[r] = (job->target_z[r] - total.max) - log_scalar(total.sum);
    }
}

static void kernel_softmax_stats(void *context, int begin, int end, int thread)
{
    const head_job *job = context;
    (void)thread;
    for (int r = begin; r < end; r++) {
        const float *z = job->z + (ptrdiff_t)r * job->ldz;
        const uint32_t *allowed = head_allowed(job->allowed, r, 0);
        v16 top = v16_set1(-__builtin_inff());
        for (int v = 0; v < job->w.n; v += 16)
            top = v16_max(head_entries(z, allowed, v, job->w.n), top);
        head_total total = {v16_hmax(top), 0.0f, 0.0f};
        for (int v = 0; v < job->w.n; v += OPS_VOCAB_BLOCK) {
            const int n = job->w.n - v < OPS_VOCAB_BLOCK ? job->w.n - v : OPS_VOCAB_BLOCK;
            head_total_add(&total, head_block_stat(z + v, head_allowed(job->allowed, r, v), n, job->want_entropy));
        }
        job->rows[r] = head_finish(&total, job->want_entropy);
    }
}

/* ---- backward ---------------------------------------------------------------------------------- */

/* Turns row i of dz from logits into the gradient with respect to h . W_v. */
static void head_grad_row(const head_grad_job *job, int i)
{
    const int r = job->row[i], n = job->w.n;
    float *z = job->dz + (ptrdiff_t)i * HEAD_LD;
    const uint32_t *allowed = head_allowed(job->allowed, r, job->v0);
    const v16 max = v16_set1(job->rows[r].max), log_sum = v16_set1(job->log_sum[i]);
    const v16 coef = v16_set1(job->coef[r]), scale = v16_set1(job->inv_temperature);
    const v16 entropy_coef = v16_set1(job->entropy_coef ? job->entropy_coef[r] : 0.0f);
    const v16 entropy = v16_set1(job->entropy_coef ? job->rows[r].entropy : 0.0f);
    const int t = job->target[r] - job->v0;
    for (int v = 0; v < n; v += 16) {
        const v16 lp = v16_sub(v16_sub(head_entries(z, allowed, v, n), max), log_sum);
        v16 slope = coef;
        if (job->entropy_coef)
            slope = v16_fma(entropy_coef, v16_add(v16_max(lp, v16_set1(-100.0f)), entropy), slope);
        v16 g = v16_neg(v16_mul(v16_exp(lp), slope));
        const v16m hit = t >= v && t < v + 16 ? v16m_bits(1u << (t - v) & v16m_to_bits(head_mask(allowed, v, n)))
                                              : v16m_bits(0);
        g = v16_select(hit, v16_add(g, coef), g);
        v16_store_n(z + v, v16_mul(g, scale), n - v < 16 ? n - v : 16);
    }
}

/* Items: blocks of rows (logits, then their gradient) and panels of the transposed block. */
static void kernel_head_grad_logits(void *context, int begin, int end, int thread)
{
    const head_grad_job *job = context;
    (void)thread;
    for (int i = begin; i < end; i++) {
        const int item = gemm_item_of_two(i, job->logits.row_blocks, gemm_panels(job->wt.n), job->shares);
        if (item >= job->logits.row_blocks) {
            const int panel = item - job->logits.row_blocks;
            pack_transposed_half(job->wt, job->w, 2 * panel);
            pack_transposed_half(job->wt, job->w, 2 * panel + 1);
            continue;
        }
        const int r0 = gemm_share(job->m, item, job->logits.row_blocks);
        const int r1 = gemm_share(job->m, item + 1, job->logits.row_blocks);
        const ops_product product = {.w = job->w, .y = job->dz + (ptrdiff_t)r0 * HEAD_LD, .ldy = HEAD_LD};
        const int panels = gemm_panels(job->w.n);
        for (int p = 0; p < panels; p += job->logits.panel_group) {
            const int last = p + job->logits.panel_group < panels ? p + job->logits.panel_group : panels;
            gemm_block(&product, (gemm_range){p, last, r0, r1, r0, 0}, job->inv_temperature, job->h, job->ldh);
        }
        for (int r = r0; r < r1; r++)
            head_grad_row(job, r);
    }
}

/* Items: those of dw, and dh's groups of panels and blocks of rows. */
static void kernel_head_grad_products(void *context, int begin, int end, int thread)
{
    const head_grad_job *job = context;
    const gemm_job dh = {.products = &job->dh, .panel_group = job->out.panel_group,
                         .groups = gemm_groups(job->wt.n, job->out.panel_group), .shares = job->out.shares,
                         .row_blocks = job->out.row_blocks, .x = job->dz, .ldx = HEAD_LD, .m = job->m};
    const int dh_items = dh.groups * dh.row_blocks;
    for (int i = begin; i < end; i++) {
        const int item = gemm_item_of_two(i, job->dw_items, dh_items, job->shares);
        if (item < job->dw_items)
            kernel_gemm_dw((void *)&job->dw, item, item + 1, thread);
        else
            kernel_gemm((void *)&dh, item - job->dw_items, item - job->dw_items + 1, thread);
    }
}
