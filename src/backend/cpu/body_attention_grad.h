/* Attention, backward. First pass (rows): a tile of queries computes its scores again, then probabilities,
 * their gradients and dq, and leaves both matrices in memory. Second pass (keys): a few keys gather dk and
 * dv from the tiles that see them, tile by tile in the order of the list. */

/* dst = the transpose of src: the values of a block, [16][d], as [d][16]. */
static void attn_transpose_values(float *dst, const float *src, int d)
{
    for (int c = 0; c < d; c += 16) {
        const int n = d - c < 16 ? d - c : 16;
        v16 rows[16];
        SIMD_UNROLL
        for (int r = 0; r < 16; r++)
            rows[r] = n == 16 ? v16_load(src + (ptrdiff_t)r * d + c) : v16_load_n(src + (ptrdiff_t)r * d + c, n);
        v16_transpose(rows);
        for (int e = 0; e < n; e++)
            v16_store(dst + (ptrdiff_t)(c + e) * 16, rows[e]);
    }
}

/* The keys of a block, [d][16], as [16][padded d]. */
static void attn_transpose_keys(float *dst, const float *src, int d)
{
    const int ld = attn_padded(d);
    for (int c = 0; c < d; c += 16) {
        v16 rows[16];
        SIMD_UNROLL
        for (int e = 0; e < 16; e++)
            rows[e] = c + e < d ? v16_load(src + (ptrdiff_t)(c + e) * 16) : v16_zero();
        v16_transpose(rows);
        SIMD_UNROLL
        for (int r = 0; r < 16; r++)
            v16_store(dst + (ptrdiff_t)r * ld + c, rows[r]);
    }
}

typedef struct attn_grad_state {
    const attn_grad_job *job;
    const attn_grad_tile *tile;
    const ops_span *span;
    int per, padded;
    int from[ATTN_QUERIES], to[ATTN_QUERIES]; /* visible columns; column 0 = first of block0 */
    ptrdiff_t slice;
    float *q, *dout, *dq, *inverse, *total, *values, *keys; /* scratch */
} attn_grad_state;

/* Where query i of the tile lies in an array with rows of `ld`. */
static ptrdiff_t attn_grad_at(const attn_grad_state *s, int i, int ld)
{
    const int t = s->tile->first + i, head = s->tile->kv_head * s->per + t % s->per;
    return (ptrdiff_t)(s->span->first_row + t / s->per) * ld + (ptrdiff_t)head * s->job->kv.head_dim;
}

static void attn_grad_carve(attn_grad_state *s, float *work)
{
    const ptrdiff_t packed = s->slice * attn_slices(s->job->kv.head_dim);
    s->q = work;
    s->dout = s->q + packed;
    s->dq = s->dout + packed;
    s->inverse = s->dq + (ptrdiff_t)ATTN_QUERIES * s->padded;
    s->total = s->inverse + ATTN_QUERIES;
    s->values = s->total + ATTN_QUERIES;
    s->keys = s->values + (ptrdiff_t)ATTN_STEP * 16 * s->padded;
}

/* Lane sum of a * b. */
static float attn_dot(const float *a, const float *b, int n)
{
    v16 sum = v16_zero();
    int c = 0;
    for (; c + 16 <= n; c += 16)
        sum = v16_fma(v16_load(a + c), v16_load(b + c), sum);
    if (c < n)
        sum = v16_fma(v16_load_n(a + c, n - c), v16_load_n(b + c, n - c), sum);
    return v16_sum(sum);
}

static void attn_grad_begin(attn_grad_state *s)
{
    const attn_grad_job *job = s->job;
    const int d = job->kv.head_dim, base = s->tile->block0 * 16;
    for (int i = 0; i < s->tile->count; i++) {
        const int pos = s->span->first_pos + (s->tile->first + i) / s->per;
        const float *dout = job->dout + attn_grad_at(s, i, job->lddo);
        s->from[i] = attn_first_visible(job->kv, pos) - base;
        s->to[i] = pos + 1 - base;
        s->total[i] = attn_dot(dout, job->out + attn_grad_at(s, i, job->ldo), d);
        attn_pack_query(s->q + (ptrdiff_t)i * ATTN_SLICE, s->slice, job->q + attn_grad_at(s, i, job->ldq), d);
        attn_pack_query(s->dout + (ptrdiff_t)i * ATTN_SLICE, s->slice, dout, d);
    }
    memset(s->dq, 0, sizeof(float) * (size_t)s->tile->count * (size_t)s->padded);
}

/* p = exponentials (0 at the invisible columns of a query's own blocks), inverse = 1 / their sums. */
static void attn_grad_exponentials(attn_grad_state *s)
{
    const attn_grad_tile *tile = s->tile;
    const ops_kv kv = s->job->kv;
    const float *k[ATTN_STEP];
    for (int b = tile->block0, n; b < tile->block1; b += n) {
        n = tile->block1 - b < ATTN_STEP ? tile->block1 - b : ATTN_STEP;
        for (int i = 0; i < n; i++)
            k[i] = attn_keys(kv, s->span->blocks[b + i], tile->kv_head);
        attn_scores scores = {.q = s->q, .slice = s->slice, .k = k, .head_dim = kv.head_dim,
                              .scale = kv.scale, .s = tile->p + (b - tile->block0) * 16,
                              .lds = tile->stride};
        attn_scores_run(&scores, tile->count, n);
    }
    for (int i = 0; i < tile->count; i++) {
        float *row = tile->p + (ptrdiff_t)i * tile->stride;
        const v16 max = attn_row_max(row, s->from[i], s->to[i], v16_set1(-INFINITY));
        s->inverse[i] = 1.0f / v16_sum(attn_row_exp(row, s->from[i], s->to[i], v16_hmax(max), v16_zero()));
    }
}

/* For columns [begin, end) of query i: p = e / sum; ds = scale * (p * (dp - total)), from dp in ds. */
static void attn_grad_softmax(const attn_grad_state *s, int i, int begin, int end)
{
    float *p = s->tile->p + (ptrdiff_t)i * s->tile->stride, *ds = s->tile->ds + (ptrdiff_t)i * s->tile->stride;
    const v16 inverse = v16_set1(s->inverse[i]), total = v16_set1(s->total[i]);
    const v16 scale = v16_set1(s->job->kv.scale);
    int c = s->from[i] / 16 * 16;
    c = c < begin ? begin : c;
    for (; c < end && c < s->to[i]; c += 16) {
        const unsigned bits = attn_visible(c, s->from[i], s->to[i]);
        const v16 prob = v16_mul(v16_load(p + c), inverse);
        v16 g = v16_mul(scale, v16_mul(prob, v16_sub(v16_load(ds + c), total)));
        if (bits != 0xffffu)
            g = v16_select(v16m_bits(bits), g, v16_zero());
        v16_store(p + c, prob);
        v16_store(ds + c, g);
    }
}

/* Blocks [b, b + n) of the tile: dp = dout . v, ds, dq += ds k. */
static void attn_grad_step(attn_grad_state *s, int b, int n)
{
    const attn_grad_tile *tile = s->tile;
    const ops_kv kv = s->job->kv;
    const float *values[ATTN_STEP], *keys[ATTN_STEP];
    for (int i = 0; i < n; i++) {
        float *v = s->values + (ptrdiff_t)i * 16 * s->padded, *k = s->keys + (ptrdiff_t)i * 16 * s->padded;
        attn_transpose_values(v, attn_values(kv, s->span->blocks[b + i], tile->kv_head), kv.head_dim);
        attn_transpose_keys(k, attn_keys(kv, s->span->blocks[b + i], tile->kv_head), kv.head_dim);
        values[i] = v;
        keys[i] = k;
    }
    const int begin = (b - tile->block0) * 16, end = begin + n * 16;
    attn_scores scores = {.q = s->dout, .slice = s->slice, .k = values, .head_dim = kv.head_dim,
                          .scale = 1.0f, .s = tile->ds + begin, .lds = tile->stride};
    attn_scores_run(&scores, tile->count, n);
    for (int i = 0; i < tile->count; i++)
        attn_grad_softmax(s, i, begin, end);
    attn_mix mix = {.w = tile->ds, .ldw = tile->stride, .x = keys, .ldx = s->padded,
                    .first_block = b - tile->block0, .head_dim = kv.head_dim, .begin = begin, .end = end,
                    .acc = s->dq, .lda = s->padded};
    attn_mix_run(&mix, tile->count, s->from, s->to);
}

static void kernel_attention_grad_rows(void *context, int begin, int end, int thread)
{
    const attn_grad_job *job = context;
    for (int item = begin; item < end; item++) {
        const attn_grad_tile *tile = job->tiles + item;
        attn_grad_state s = {.job = job, .tile = tile, .span = &job->spans[tile->span].span,
                             .per = job->kv.heads / job->kv.kv_heads,
                             .padded = attn_padded(job->kv.head_dim), .slice = ATTN_QUERIES * ATTN_SLICE};
        attn_grad_carve(&s, job->work + (size_t)thread * job->work_per_thread);
        attn_grad_begin(&s);
        attn_grad_exponentials(&s);
        for (int b = tile->block0; b < tile->block1; b += ATTN_STEP)
            attn_grad_step(&s, b, tile->block1 - b < ATTN_STEP ? tile->block1 - b : ATTN_STEP);
        for (int i = 0; i < tile->count; i++)
            memcpy(job->dq + attn_grad_at(&s, i, job->lddq), s.dq + (ptrdiff_t)i * s.padded,
                   sizeof(float) * (size_t)job->kv.head_dim);
    }
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* Keys [j0, j1) of one block, seen by queries of `tile`; gradient rows dk, dv begin at j0. */
static void attn_grad_keys(const attn_grad_job *job, const attn_grad_tile *tile, int j0, int j1, float *dk,
                           float *dv)
{
    const ops_kv kv = job->kv;
    const ops_span *span = &job->spans[tile->span].span;
    const int per = kv.heads / kv.kv_heads, block = j0 / 16;
    /* Rows whose blocks include this one: from its first position to the last one that looks so far back. */
    int first = (block * 16 - span->first_pos) * per, last = tile->first + tile->count;
    first = first > tile->first ? first : tile->first;
    if (kv.window > 0 && kv.window < span->first_pos + span->rows) {
        const int64_t end = ((int64_t)block * 16 + 15 + kv.window - span->first_pos) * per;
        last = end < last ? (int)(end < 0 ? 0 : end) : last;
    }
    if (first >= last)
        return;
    const ptrdiff_t row = span->first_row + first / per;
    const ptrdiff_t column = (ptrdiff_t)(tile->kv_head * per + first % per) * kv.head_dim;
    const ptrdiff_t at = (ptrdiff_t)(first - tile->first) * tile->stride + j0 - tile->block0 * 16;
    attn_outer outer = {.w = tile->p + at, .ldw = tile->stride, .x = job->dout + row * job->lddo + column,
                        .ldx = job->lddo, .first = first, .last = last, .per_row = per,
                        .head_dim = kv.head_dim, .g = dv, .ldg = job->ldkv};
    attn_outer_run(&outer, j1 - j0);
    outer.w = tile->ds + at;
    outer.x = job->q + row * job->ldq + column;
    outer.ldx = job->ldq;
    outer.g = dk;
    attn_outer_run(&outer, j1 - j0);
}

static void kernel_attention_grad_keys(void *context, int begin, int end, int thread)
{
    const attn_grad_job *job = context;
    (void)thread;
    for (int item = begin; item < end; item++) {
        const attn_grad_target *target = job->targets;
        while (target + 1 < job->targets + job->n_targets && item >= target[1].first_item)
            target++;
        const int step = target->begin / ATTN_GRAD_KEYS + item - target->first_item;
        for (int t = target->tile0; t < target->tile1; t++) {
            const attn_grad_tile *tile = job->tiles + t;
            int j = step * ATTN_GRAD_KEYS, stop = j + ATTN_GRAD_KEYS, next;
            j = j > target->begin ? j : target->begin;
            j = j > tile->block0 * 16 ? j : tile->block0 * 16;
            stop = stop < target->end ? stop : target->end;
            stop = stop < tile->block1 * 16 ? stop : tile->block1 * 16;
            for (; j < stop; j = next) {
                next = (j | 15) + 1 < stop ? (j | 15) + 1 : stop;
                const ptrdiff_t at = (ptrdiff_t)(j - target->begin) * job->ldkv;
                attn_grad_keys(job, tile, j, next, target->dk + at, target->dv + at);
            }
        }
    }
}
