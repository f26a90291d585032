/* y = x W^T: the tile kernel and its loops. */

enum {
    GEMM_UNROLL = 32,
    GEMM_VECS = 2 * SIMD_TILE_VECS, /* of a wide tile */
};

/* One tile: `rows` rows of x times SIMD_TILE_VECS vectors of a panel. A panel is made of lines of 32 words:
 * one term of every sum, or two where a word holds a pair of bf16. A single row makes a wide tile, of twice as
 * many vectors (across two panels where one has no more): its sums alone would wait for each other. */
typedef struct gemm_tile {
    const float *x; /* in a dot chain words of two bf16; in a tile chain rounded, and zeros up to a whole block */
    ptrdiff_t ldx;
    const uint32_t *w; /* first of the tile's columns: [lines][32] */
    ptrdiff_t second;  /* wide: where the second half of its vectors begins, from there */
    uintptr_t next; /* what to bring into the cache meanwhile, */
    int next_step;  /* so many bytes of it (<= 128) for each line; 0: nothing */
    int k, chunk;
    float *y; /* the tile's results */
    ptrdiff_t ldy;
    const float *bias, *residual; /* at the tile's first column; may be NULL */
    ptrdiff_t ldr;
    int columns; /* columns that exist (the last panel is padded) */
    float scale;
} gemm_tile;

/* Where a tile stands in its reduction. */
typedef struct gemm_cursor {
    const float *x;
    const uint32_t *w;
    uintptr_t next;
} gemm_cursor;

/* One term of every sum. Accumulators: acc[row * vecs + vector]. */
SIMD_INLINE void gemm_term(const int rows, const int vecs, v16 *acc, const v16 *b, gemm_cursor *at, ptrdiff_t ldx)
{
    SIMD_UNROLL
    for (int i = 0; i < rows; i++) {
        const v16 a = v16_set1(at->x[i * ldx]);
        SIMD_UNROLL
        for (int v = 0; v < vecs; v++)
            acc[i * vecs + v] = v16_fma(a, b[v], acc[i * vecs + v]);
    }
    at->x++;
}

/* Two terms of every sum, one line. */
SIMD_INLINE void gemm_dots(const int rows, const int vecs, v16 *acc, const v16i *line, gemm_cursor *at, ptrdiff_t ldx)
{
    SIMD_UNROLL
    for (int i = 0; i < rows; i++) {
        const v16i a = v16_as_int(v16_set1(at->x[i * ldx]));
        SIMD_UNROLL
        for (int v = 0; v < vecs; v++)
            acc[i * vecs + v] = v16_dot_bf16(a, line[v], acc[i * vecs + v]);
    }
    at->x++;
}

SIMD_INLINE void gemm_load_line(const int vecs, v16i *line, const gemm_cursor *at, const gemm_tile *t)
{
    SIMD_UNROLL
    for (int v = 0; v < vecs; v++)
        line[v] = v16i_load(at->w + (v < SIMD_TILE_VECS ? 16 * v : t->second + 16 * (v - SIMD_TILE_VECS)));
}

SIMD_INLINE void gemm_next_line(gemm_cursor *at, const gemm_tile *t)
{
    const uintptr_t step = (uintptr_t)t->next_step;
    if (step) {
        __builtin_prefetch((const void *)at->next, 0, 2);
        __builtin_prefetch((const void *)(at->next + step / 2), 0, 2);
    }
    at->w += OPS_PANEL;
    at->next += step;
}

/* The next `terms` of every sum: a whole line, or in bf16 the first half of the last one. */
SIMD_INLINE void gemm_line(const ops_type type, const int rows, const int vecs, v16 *acc, gemm_cursor *at,
                           const gemm_tile *t, const int terms)
{
    v16i line[GEMM_VECS];
    v16 b[GEMM_VECS];
    gemm_load_line(vecs, line, at, t);
    SIMD_UNROLL
    for (int v = 0; v < vecs; v++)
        b[v] = type == OPS_F32 ? v16_as_float(line[v]) : v16_from_low(line[v]);
    if (type == OPS_BF16_DOT)
        gemm_dots(rows, vecs, acc, line, at, t->ldx);
    else
        gemm_term(rows, vecs, acc, b, at, t->ldx);
    if (type == OPS_BF16 && terms == 2) {
        SIMD_UNROLL
        for (int v = 0; v < vecs; v++)
            b[v] = v16_from_high(line[v]);
        gemm_term(rows, vecs, acc, b, at, t->ldx);
    }
    gemm_next_line(at, t);
}

/* acc = fma or dot chain over the next k terms. The inner loop's short fixed length keeps the branch predictor
 * from stalling the stream of weights at its end. */
SIMD_INLINE void gemm_chain(const ops_type type, const int rows, const int vecs, v16 *acc, gemm_cursor *at,
                            const gemm_tile *t, int k)
{
    const int terms = type == OPS_F32 ? 1 : 2;
    SIMD_UNROLL
    for (int i = 0; i < rows; i++) {
        SIMD_UNROLL
        for (int v = 0; v < vecs; v++)
            acc[i * vecs + v] = v16_zero();
    }
    for (int blocks = k / GEMM_UNROLL; blocks > 0; blocks--)
        for (int i = 0; i < GEMM_UNROLL / terms; i++)
            gemm_line(type, rows, vecs, acc, at, t, terms);
    for (int i = k % GEMM_UNROLL / terms; i > 0; i--)
        gemm_line(type, rows, vecs, acc, at, t, terms);
    if (k % terms)
        gemm_line(type, rows, vecs, acc, at, t, 1);
}

/* y = acc * scale + bias + residual, columns that exist only. */
SIMD_INLINE void gemm_tile_finish(const int rows, const int vecs, const v16 *acc, const gemm_tile *t)
{
    const v16 scale = v16_set1(t->scale);
    SIMD_UNROLL
    for (int v = 0; v < vecs; v++) {
        int columns = t->columns - 16 * v;
        columns = columns > 16 ? 16 : columns < 0 ? 0 : columns;
        const v16 bias = t->bias && columns > 0 ? v16_load_n(t->bias + 16 * v, columns) : v16_zero();
        SIMD_UNROLL
        for (int i = 0; i < rows; i++) {
            if (columns == 0)
                continue;
            v16 r = v16_mul(acc[i * vecs + v], scale);
            if (t->bias)
                r = v16_add(r, bias);
            if (t->residual)
                r = v16_add(r, v16_load_n(t->residual + i * t->ldr + 16 * v, columns));
            v16_store_n(t->y + i * t->ldy + 16 * v, r, columns);
        }
    }
}

/* One copy of the chain for all chunks: a second one for the chunks behind the first costs 3% at few rows. */
SIMD_INLINE void gemm_tile_rows(const ops_type type, const int rows, const int vecs, const gemm_tile *t)
{
    v16 acc[SIMD_TILE_ROWS * SIMD_TILE_VECS];
    float total[SIMD_TILE_ROWS * SIMD_TILE_VECS][16];
    gemm_cursor at = {t->x, t->w, t->next};
    const int sums = rows * vecs;
    SIMD_UNROLL
    for (int i = 0; i < sums; i++)
        v16_store(total[i], v16_zero());
    for (int left = t->k;;) {
        const int n = left < t->chunk ? left : t->chunk, first = left == t->k;
        gemm_chain(type, rows, vecs, acc, &at, t, n);
        left -= n;
        if (!first) {
            SIMD_UNROLL
            for (int i = 0; i < sums; i++)
                acc[i] = v16_add(v16_load(total[i]), acc[i]);
        }
        if (left == 0)
            break;
        SIMD_UNROLL
        for (int i = 0; i < sums; i++)
            v16_store(total[i], acc[i]);
    }
    gemm_tile_finish(rows, vecs, acc, t);
}

/* A block of a tile chain: `lines` lines of every sum's even and odd terms. */
SIMD_INLINE void gemm_tile_block(const int rows, const int vecs, v16 *even, v16 *odd, gemm_cursor *at,
                                 const gemm_tile *t, int lines)
{
    SIMD_UNROLL
    for (int i = 0; i < rows * vecs; i++)
        even[i] = odd[i] = v16_zero();
    for (int l = 0; l < lines; l++) {
        v16i line[GEMM_VECS];
        v16 b[GEMM_VECS];
        gemm_load_line(vecs, line, at, t);
        SIMD_UNROLL
        for (int v = 0; v < vecs; v++)
            b[v] = v16_from_low(line[v]);
        gemm_term(rows, vecs, even, b, at, t->ldx);
        SIMD_UNROLL
        for (int v = 0; v < vecs; v++)
            b[v] = v16_from_high(line[v]);
        gemm_term(rows, vecs, odd, b, at, t->ldx);
        gemm_next_line(at, t);
    }
    if (lines < OPS_TILE_BLOCK / 2) { /* terms of zeros make -0 a 0 */
        SIMD_UNROLL
        for (int i = 0; i < rows * vecs; i++) {
            even[i] = v16_add(even[i], v16_zero());
            odd[i] = v16_add(odd[i], v16_zero());
        }
    }
}

/* A tile chain needs twice the accumulators, so at most half of a tile's rows, and keeps its sums in memory. */
enum { GEMM_TILE_CHAIN_ROWS = SIMD_TILE_ROWS / 2 };
SIMD_INLINE void gemm_tile_chain(const int rows, const int vecs, const gemm_tile *t)
{
    v16 even[SIMD_TILE_ROWS * SIMD_TILE_VECS], odd[SIMD_TILE_ROWS * SIMD_TILE_VECS];
    float total[SIMD_TILE_ROWS * SIMD_TILE_VECS][16];
    gemm_cursor at = {t->x, t->w, t->next};
    SIMD_UNROLL
    for (int i = 0; i < rows * vecs; i++)
        v16_store(total[i], v16_zero());
    for (int left = t->k; left > 0; left -= OPS_TILE_BLOCK) {
        gemm_tile_block(rows, vecs, even, odd, &at, t, (left < OPS_TILE_BLOCK ? left + 1 : OPS_TILE_BLOCK) / 2);
        SIMD_UNROLL
        for (int i = 0; i < rows * vecs; i++)
            v16_store(total[i], v16_add(v16_load(total[i]), v16_add(even[i], odd[i])));
    }
    SIMD_UNROLL
    for (int i = 0; i < rows * vecs; i++)
        even[i] = v16_load(total[i]);
    gemm_tile_finish(rows, vecs, even, t);
}

SIMD_APART void gemm_tile_run(ops_type type, int rows, const gemm_tile *t)
{
    switch (rows) {
#define CASE(r)                                                                                    \
    case r:                                                                                        \
        if (type == OPS_F32)                                                                       \
            gemm_tile_rows(OPS_F32, r, SIMD_TILE_VECS, t);                                         \
        else if (type == OPS_BF16)                                                                 \
            gemm_tile_rows(OPS_BF16, r, SIMD_TILE_VECS, t);                                        \
        else if (type == OPS_BF16_TILE)                                                            \
            gemm_tile_chain(r < GEMM_TILE_CHAIN_ROWS ? r : GEMM_TILE_CHAIN_ROWS, SIMD_TILE_VECS, t);         \
        else                                                                                       \
            gemm_tile_rows(OPS_BF16_DOT, r, SIMD_TILE_VECS, t);                                    \
        break;
        SIMD_TILE_CASES(CASE)
#undef CASE
    default:
        assert(!"rows of a tile");
    }
}

SIMD_APART void gemm_wide_run(ops_type type, const gemm_tile *t)
{
    if (type == OPS_F32)
        gemm_tile_rows(OPS_F32, 1, GEMM_VECS, t);
    else if (type == OPS_BF16)
        gemm_tile_rows(OPS_BF16, 1, GEMM_VECS, t);
    else if (type == OPS_BF16_TILE)
        gemm_tile_chain(1, GEMM_VECS, t);
    else
        gemm_tile_rows(OPS_BF16_DOT, 1, GEMM_VECS, t);
}

/* Rows [r0, r1) of panels [p0, p1) of one product. The result of row row0 and column column0 goes to
 * the product's y[0] (its residual likewise). */
typedef struct gemm_range {
    int p0, p1, r0, r1;
    int row0, column0;
} gemm_range;

/* Bytes of each line to fetch ahead. With few rows memory is what is waited for, and the hardware's own
 * prefetching of the stream is faster than what a core can ask for: +40% at 2 to 4 rows of f32, measured on
 * Zen 4. With more rows arithmetic takes over, and asking keeps it from stalling. */
static int gemm_fetch_step(ops_type type, int rows, int tiles)
{
    return rows < (type == OPS_BF16 ? 3 : 7) ? 0 : (128 + tiles - 1) / tiles;
}

/* How a tile's rows are rounded: to pairs of bf16, or, for tile chains without AMX, to f32 numbers. */
typedef enum gemm_form { GEMM_AS_IS, GEMM_PAIRS, GEMM_NUMBERS } gemm_form;

static gemm_form gemm_form_of(ops_type type)
{
    return type == OPS_BF16_DOT ? GEMM_PAIRS : type == OPS_BF16_TILE ? GEMM_NUMBERS : GEMM_AS_IS;
}

/* Room for a tile's rounded rows; longer rows make lower tiles. */
enum { GEMM_ROUNDED = 112 * 1024 };

/* Row stride of whole blocks: no power of two. */
static int gemm_rounded_stride(gemm_form form, int k)
{
    return (k + 31) / 32 * (form == GEMM_PAIRS ? 16 : 32) + 16;
}

SIMD_INLINE float *gemm_round_block(const gemm_form form, float *to, v16 a, v16 b)
{
    if (form == GEMM_PAIRS) {
        v16_store_bf16(to, a, b);
        return to + 16;
    }
    v16_store(to, v16_operand_bf16(a));
    v16_store(to + 16, v16_operand_bf16(b));
    return to + 32;
}

/* Zeros fill up a row's last block. */
SIMD_INLINE void gemm_round_rows(const gemm_form form, float *out, const float *x, ptrdiff_t ldx, int rows, int k)
{
    const int stride = gemm_rounded_stride(form, k);
    for (int r = 0; r < rows; r++, x += ldx, out += stride) {
        float *to = out;
        int j = 0;
        for (; j + 32 <= k; j += 32)
            to = gemm_round_block(form, to, v16_load(x + j), v16_load(x + j + 16));
        if (j < k) {
            const int n = k - j;
            gemm_round_block(form, to, v16_load_n(x + j, n < 16 ? n : 16), n > 16 ? v16_load_n(x + j + 16, n - 16) : v16_zero());
        }
    }
}

/* `most`, or as many as there is room for. */
static int gemm_rounded_rows(gemm_form form, int k, int most)
{
    const int fit = GEMM_ROUNDED / gemm_rounded_stride(form, k);
    assert(fit > 0);
    return fit < most ? fit : most;
}

static int gemm_tile_rows_most(ops_type type, int k)
{
    const gemm_form form = gemm_form_of(type);
    return form == GEMM_AS_IS ? SIMD_TILE_ROWS
                              : gemm_rounded_rows(form, k, type == OPS_BF16_TILE ? GEMM_TILE_CHAIN_ROWS : SIMD_TILE_ROWS);
}

#if defined(SIMD_AMX)
static void amx_gemm_block(const ops_product *p, gemm_range q, float scale, const float *x, ptrdiff_t ldx);
#endif

/* Computes a range, times scale (1 changes nothing). The rows are cut into tiles of nearly equal
 * height. While the tiles of these panels are computed, as many panels behind them are brought into
 * the cache, spread evenly over the tiles: reading weights from memory overlaps with arithmetic. Behind
 * the last panel lies, if the weights are stored in the order of their use, the next one's first (a
 * prefetch reads nothing: any address will do). */
static void gemm_block(const ops_product *p, gemm_range q, float scale, const float *x, ptrdiff_t ldx)
{
#if defined(SIMD_AMX)
    if (p->w.type == OPS_BF16_TILE) {
        amx_gemm_block(p, q, scale, x, ldx);
        return;
    }
#endif
    const int rows = q.r1 - q.r0, k = p->w.k;
    const gemm_form form = gemm_form_of(p->w.type);
    const int most = gemm_tile_rows_most(p->w.type, k);
    const int tiles = (rows + most - 1) / most;
    _Alignas(64) float rounded[GEMM_ROUNDED];
    const int end_column = q.p1 * OPS_PANEL < p->w.n ? q.p1 * OPS_PANEL : p->w.n;
    const size_t size = ops_panel_words(p->w);
    gemm_tile t = {.ldx = form ? gemm_rounded_stride(form, k) : ldx, .k = k, .chunk = gemm_chunk(p->w.type, k), .ldy = p->ldy, .ldr = p->ldr, .scale = scale,
                   .next_step = gemm_fetch_step(p->w.type, rows, tiles),
                   .second = SIMD_TILE_VECS == 2 ? (ptrdiff_t)size : 16 * SIMD_TILE_VECS};
    for (int i = 0, r = q.r0, end; i < tiles; i++, r = end) {
        end = q.r0 + gemm_share(rows, i + 1, tiles);
        t.x = form ? rounded : x + (ptrdiff_t)r * ldx;
        if (form == GEMM_PAIRS)
            gemm_round_rows(GEMM_PAIRS, rounded, x + (ptrdiff_t)r * ldx, ldx, end - r, k);
        else if (form == GEMM_NUMBERS)
            gemm_round_rows(GEMM_NUMBERS, rounded, x + (ptrdiff_t)r * ldx, ldx, end - r, k);
        for (int column = q.p0 * OPS_PANEL, width; column < end_column; column += width) {
            const int wide = rows == 1 && column + 16 * GEMM_VECS <= q.p1 * OPS_PANEL;
            const uint32_t *panel = p->w.pairs + (size_t)(column / OPS_PANEL) * size;
            const ptrdiff_t at = (ptrdiff_t)(r - q.row0) * p->ldy + (column - q.column0);
            width = 16 * (wide ? GEMM_VECS : SIMD_TILE_VECS);
            t.w = panel + column % OPS_PANEL;
            t.next = (uintptr_t)panel + ((size_t)(q.p1 - q.p0) * size + size * i / tiles) * sizeof *panel;
            t.y = p->y + at;
            t.bias = p->bias ? p->bias + column : NULL;
            t.residual = p->residual ? p->residual + (ptrdiff_t)(r - q.row0) * p->ldr + (column - q.column0) : NULL;
            t.columns = p->w.n - column;
            if (wide)
                gemm_wide_run(p->w.type, &t);
            else
                gemm_tile_run(p->w.type, end - r, &t);
        }
    }
}

static void kernel_gemm(void *context, int begin, int end, int thread)
{
    const gemm_job *job = context;
    (void)thread;
    for (int item = begin; item < end; item++) {
        gemm_piece piece = gemm_piece_at(job, item);
        const ops_product *p = job->products;
        int groups;
        while (piece.group >= (groups = gemm_groups(p->w.n, job->panel_group))) {
            piece.group -= groups;
            p++;
        }
        const int panels = gemm_panels(p->w.n);
        const gemm_range range = {gemm_share(panels, piece.group, groups), gemm_share(panels, piece.group + 1, groups),
                                  gemm_share(job->m, piece.block, job->row_blocks),
                                  gemm_share(job->m, piece.block + 1, job->row_blocks), 0, 0};
        gemm_block(p, range, 1.0f, job->x, job->ldx);
    }
}
