/* Attention, forward: a tile of queries against the keys and values that they see, in chunks of columns
 * (a column is a position). The first pass leaves scores and their maxima, the second exponentials, sums
 * and the mixture of values. With one chunk (the usual case) the scores are computed once; with more, the
 * second pass computes them again. */

/* Queries [begin, end) of a tile, of one span, which see blocks [block0, block1). */
typedef struct attn_run {
    int begin, end, block0, block1;
    const int32_t *blocks;
} attn_run;

typedef struct attn_state {
    const attn_job *job;
    int kv_head, count, n_runs;
    attn_run runs[ATTN_QUERIES];
    int block0, shared1, block1; /* blocks [block0, shared1) are the same for all runs */
    int lo[ATTN_QUERIES], hi[ATTN_QUERIES]; /* query i sees positions [lo, hi) */
    const float *query[ATTN_QUERIES];
    float *out[ATTN_QUERIES];
    /* scratch */
    float *q, *acc, *lanes, *scores;
    ptrdiff_t slice, lda, lds;
    int columns;
    float max[ATTN_QUERIES];
    int chunk0, chunk1; /* blocks of the chunk */
    int from[ATTN_QUERIES], to[ATTN_QUERIES]; /* its visible columns */
} attn_state;

/* ---- setting up --------------------------------------------------------------------------- */

static void attn_carve(attn_state *s, float *scratch, size_t floats)
{
    const int d = s->job->kv.head_dim;
    s->slice = (ptrdiff_t)s->count * ATTN_SLICE;
    s->lda = attn_padded(d);
    s->columns = attn_columns(floats, d, s->count);
    s->lds = s->columns + OPS_LANES; /* no power of two: rows would share cache sets */
    s->q = scratch;
    s->acc = s->q + s->slice * attn_slices(d);
    s->lanes = s->acc + s->lda * s->count;
    s->scores = s->lanes + (ptrdiff_t)s->count * OPS_LANES;
    assert(s->columns > 0);
}

/* Copies a query into its place: slices of 64 dimensions, `slice` apart. */
static void attn_pack_query(float *dst, ptrdiff_t slice, const float *q, int head_dim)
{
    for (int d = 0; d < head_dim; d += ATTN_SLICE, dst += slice)
        for (int e = 0; e < ATTN_SLICE && d + e < head_dim; e += 16) {
            const int n = head_dim - d - e;
            v16_store(dst + e, n >= 16 ? v16_load(q + d + e) : v16_load_n(q + d + e, n));
        }
}

static void attn_add_run(attn_state *s, const ops_span *span, int t, int take)
{
    const attn_job *job = s->job;
    const ops_kv kv = job->kv;
    const int per = kv.heads / kv.kv_heads, n = s->count;
    for (int i = 0; i < take; i++) {
        const int row = (t + i) / per;
        const ptrdiff_t at = span->first_row + row;
        const ptrdiff_t column = (ptrdiff_t)(s->kv_head * per + (t + i) % per) * kv.head_dim;
        s->lo[n + i] = attn_first_visible(kv, span->first_pos + row);
        s->hi[n + i] = span->first_pos + row + 1;
        s->query[n + i] = job->q + at * job->ldq + column;
        s->out[n + i] = job->out + at * job->ldo + column;
    }
    s->runs[s->n_runs++] = (attn_run){.begin = n, .end = n + take, .block0 = s->lo[n] / 16,
                                      .block1 = (s->hi[n + take - 1] + 15) / 16, .blocks = span->blocks};
    s->count += take;
}

static int attn_block_shared(const attn_state *s, int b)
{
    for (int r = 1; r < s->n_runs; r++)
        if (s->runs[r].blocks[b] != s->runs[0].blocks[b])
            return 0;
    return 1;
}

/* The runs of a tile and what they share. */
static void attn_find_runs(attn_state *s, const attn_tile *tile)
{
    const int per = s->job->kv.heads / s->job->kv.kv_heads;
    const ops_span *span = s->job->spans + tile->span;
    for (int t = tile->first; s->count < tile->count; span++, t = 0) {
        const int left = tile->count - s->count, have = span->rows * per - t;
        if (have > 0)
            attn_add_run(s, span, t, have < left ? have : left);
    }
    s->block0 = s->runs[0].block0;
    s->block1 = s->shared1 = s->runs[0].block1;
    for (int r = 1; r < s->n_runs; r++) {
        const attn_run *run = &s->runs[r];
        s->block0 = run->block0 < s->block0 ? run->block0 : s->block0;
        s->block1 = run->block1 > s->block1 ? run->block1 : s->block1;
        s->shared1 = run->block1 < s->shared1 ? run->block1 : s->shared1;
    }
    int b = s->block0;
    while (b < s->shared1 && attn_block_shared(s, b))
        b++;
    s->shared1 = b;
}

/* ---- chunks -------------------------------------------------------------------------------- */

static void attn_set_chunk(attn_state *s, int block)
{
    s->chunk0 = block;
    s->chunk1 = block + s->columns / 16 < s->block1 ? block + s->columns / 16 : s->block1;
    const int base = s->chunk0 * 16, width = (s->chunk1 - s->chunk0) * 16;
    for (int i = 0; i < s->count; i++) {
        const int from = s->lo[i] - base, to = s->hi[i] - base;
        s->from[i] = from < 0 ? 0 : from < width ? from : width;
        s->to[i] = to < 0 ? 0 : to < width ? to : width;
    }
}

/* Queries [q0, q1) against blocks [b0, b1) of a table. */
typedef struct attn_segment {
    int q0, q1, b0, b1;
    const int32_t *blocks;
} attn_segment;

static void attn_segment_scores(attn_state *s, attn_segment g)
{
    const ops_kv kv = s->job->kv;
    const float *k[ATTN_STEP];
    for (int b = g.b0, n; b < g.b1; b += n) {
        n = g.b1 - b < ATTN_STEP ? g.b1 - b : ATTN_STEP;
        for (int i = 0; i < n; i++)
            k[i] = attn_keys(kv, g.blocks[b + i], s->kv_head);
        attn_scores job = {.q = s->q + (ptrdiff_t)g.q0 * ATTN_SLICE, .slice = s->slice, .k = k,
                           .head_dim = kv.head_dim, .scale = kv.scale,
                           .s = s->scores + g.q0 * s->lds + (b - s->chunk0) * 16, .lds = s->lds};
        attn_scores_run(&job, g.q1 - g.q0, n);
    }
}

static void attn_segment_mix(attn_state *s, attn_segment g)
{
    const ops_kv kv = s->job->kv;
    const float *v[ATTN_STEP];
    for (int b = g.b0, n; b < g.b1; b += n) {
        n = g.b1 - b < ATTN_STEP ? g.b1 - b : ATTN_STEP;
        for (int i = 0; i < n; i++)
            v[i] = attn_values(kv, g.blocks[b + i], s->kv_head);
        attn_mix job = {.w = s->scores + g.q0 * s->lds, .ldw = s->lds, .x = v, .ldx = kv.head_dim,
                        .first_block = b - s->chunk0, .head_dim = kv.head_dim,
                        .begin = (b - s->chunk0) * 16, .end = (b - s->chunk0 + n) * 16,
                        .acc = s->acc + g.q0 * s->lda, .lda = s->lda};
        attn_mix_run(&job, g.q1 - g.q0, s->from + g.q0, s->to + g.q0);
    }
}

/* Positions rise: what the runs share comes first, then each run's own blocks. */
static void attn_each_segment(attn_state *s, void (*fn)(attn_state *, attn_segment))
{
    const int end = s->chunk1 < s->shared1 ? s->chunk1 : s->shared1;
    fn(s, (attn_segment){0, s->count, s->chunk0, end, s->runs[0].blocks});
    for (int r = 0; r < s->n_runs; r++) {
        const attn_run *run = &s->runs[r];
        int b0 = s->chunk0 > s->shared1 ? s->chunk0 : s->shared1;
        b0 = run->block0 > b0 ? run->block0 : b0;
        fn(s, (attn_segment){run->begin, run->end, b0, run->block1 < s->chunk1 ? run->block1 : s->chunk1,
                             run->blocks});
    }
}

/* ---- softmax ------------------------------------------------------------------------------- */

/* Which lanes of columns [c, c + 16) lie in [from, to). */
static inline unsigned attn_visible(int c, int from, int to)
{
    unsigned bits = 0xffffu;
    if (c < from)
        bits = bits << (from - c) & 0xffffu;
    if (c + 16 > to)
        bits &= (1u << (to - c)) - 1u;
    return bits;
}

/* Maximum of a row's visible scores, by lanes, going on from `max`. */
static v16 attn_row_max(const float *row, int from, int to, v16 max)
{
    for (int c = from / 16 * 16; c < to; c += 16) {
        const unsigned bits = attn_visible(c, from, to);
        v16 x = v16_load(row + c);
        if (bits != 0xffffu)
            x = v16_select(v16m_bits(bits), x, v16_set1(-INFINITY));
        max = v16_max(max, x);
    }
    return max;
}

/* row = exp(row - max), 0 where invisible; the sums of lanes go on from `sum`. */
static v16 attn_row_exp(float *row, int from, int to, float max, v16 sum)
{
    const v16 m = v16_set1(max);
    for (int c = from / 16 * 16; c < to; c += 16) {
        const unsigned bits = attn_visible(c, from, to);
        v16 e = v16_exp(v16_sub(v16_load(row + c), m));
        if (bits != 0xffffu)
            e = v16_select(v16m_bits(bits), e, v16_zero());
        sum = v16_add(sum, e);
        v16_store(row + c, e);
    }
    return sum;
}

static void attn_find_max(attn_state *s)
{
    for (int i = 0; i < s->count; i++)
        v16_store(s->lanes + i * 16, v16_set1(-INFINITY));
    for (int b = s->block0; b < s->block1; b += s->columns / 16) {
        attn_set_chunk(s, b);
        attn_each_segment(s, attn_segment_scores);
        for (int i = 0; i < s->count; i++)
            v16_store(s->lanes + i * 16, attn_row_max(s->scores + i * s->lds, s->from[i], s->to[i],
                                                      v16_load(s->lanes + i * 16)));
    }
    for (int i = 0; i < s->count; i++) {
        s->max[i] = v16_hmax(v16_load(s->lanes + i * 16));
        v16_store(s->lanes + i * 16, v16_zero());
    }
}

static void attn_mix_values(attn_state *s)
{
    const int chunks = (s->block1 - s->block0 + s->columns / 16 - 1) / (s->columns / 16);
    memset(s->acc, 0, sizeof(float) * (size_t)s->lda * (size_t)s->count);
    for (int b = s->block0; b < s->block1; b += s->columns / 16) {
        if (chunks > 1) { /* else they are there */
            attn_set_chunk(s, b);
            attn_each_segment(s, attn_segment_scores);
        }
        for (int i = 0; i < s->count; i++)
            v16_store(s->lanes + i * 16, attn_row_exp(s->scores + i * s->lds, s->from[i], s->to[i],
                                                      s->max[i], v16_load(s->lanes + i * 16)));
        attn_each_segment(s, attn_segment_mix);
    }
}

static void attn_write(attn_state *s)
{
    const int d = s->job->kv.head_dim;
    for (int i = 0; i < s->count; i++) {
        const v16 inverse = v16_set1(1.0f / v16_sum(v16_load(s->lanes + i * 16)));
        const float *acc = s->acc + i * s->lda;
        for (int c = 0; c < d; c += 16) {
            const v16 y = v16_mul(v16_load(acc + c), inverse);
            if (d - c >= 16)
                v16_store(s->out[i] + c, y);
            else
                v16_store_n(s->out[i] + c, y, d - c);
        }
    }
}

static void kernel_attention(void *context, int begin, int end, int thread)
{
    const attn_job *job = context;
    float local[ATTN_LOCAL];
    float *scratch = pool_scratch(job->pool, thread);
    for (int item = begin; item < end; item++) {
        attn_state s = {.job = job, .kv_head = item / job->n_tiles};
        /* The last tiles of a long span see most keys: they go first. */
        attn_find_runs(&s, job->tiles + (job->n_tiles - 1 - item % job->n_tiles));
        if (scratch)
            attn_carve(&s, scratch, POOL_SCRATCH / sizeof(float));
        else
            attn_carve(&s, local, ATTN_LOCAL);
        for (int i = 0; i < s.count; i++)
            attn_pack_query(s.q + (ptrdiff_t)i * ATTN_SLICE, s.slice, s.query[i], job->kv.head_dim);
        attn_find_max(&s);
        attn_mix_values(&s);
        attn_write(&s);
    }
}
