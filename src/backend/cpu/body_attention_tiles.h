/* The three products of attention on register tiles: scores q . k, mixtures (weights times rows) and
 * outer products. Every result is one fma chain whose order no tiling changes.
 *
 * A tile has height x width accumulators. ATTN_SHAPES lists the tiles that exist, ATTN_HEIGHTS their
 * heights: height * width <= ATTN_ACCS. */

#if defined(SIMD_AVX512)
enum { ATTN_ACCS = 24, ATTN_ROWS = 12, ATTN_WIDTH = 4 };
#define ATTN_HEIGHTS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
#define ATTN_SHAPES(X)                                                                             \
    X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(6, 1) X(7, 1) X(8, 1) X(9, 1) X(10, 1) X(11, 1)      \
    X(12, 1) X(1, 2) X(2, 2) X(3, 2) X(4, 2) X(5, 2) X(6, 2) X(7, 2) X(8, 2) X(9, 2) X(10, 2)      \
    X(11, 2) X(12, 2) X(1, 4) X(2, 4) X(3, 4) X(4, 4) X(5, 4) X(6, 4)
#elif defined(SIMD_PORTABLE)
enum { ATTN_ACCS = 4, ATTN_ROWS = 4, ATTN_WIDTH = 1 };
#define ATTN_HEIGHTS(X) X(1) X(2) X(3) X(4)
#define ATTN_SHAPES(X) X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(1, 2) X(2, 2) X(1, 4)
#else
enum { ATTN_ACCS = 6, ATTN_ROWS = 6, ATTN_WIDTH = 1 };
#define ATTN_HEIGHTS(X) X(1) X(2) X(3) X(4) X(5) X(6)
#define ATTN_SHAPES(X)                                                                             \
    X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(6, 1) X(1, 2) X(2, 2) X(3, 2) X(1, 4)
#endif

/* The widest tile (4, 2 or 1, at most `limit`) that has `rows` rows. */
static inline int attn_width(int rows, int limit)
{
    int width = 4;
    while (width > 1 && (width > limit || rows * width > ATTN_ACCS))
        width /= 2;
    return width;
}

/* The same where width matters more than height: up to ATTN_WIDTH whatever the rows (which are then cut
 * into pieces of attn_height). */
static inline int attn_wide(int rows, int limit)
{
    const int tall = ATTN_ACCS / ATTN_WIDTH;
    return attn_width(rows < tall ? rows : tall, limit);
}

static inline int attn_height(int width)
{
    return ATTN_ACCS / width < ATTN_ROWS ? ATTN_ACCS / width : ATTN_ROWS;
}

/* ---- scores ------------------------------------------------------------------------------- */

/* s[r][16 b + l] = scale * (fma chain over d of q_rd k_bdl). */
typedef struct attn_scores {
    const float *q; /* q_rd = q[(d / ATTN_SLICE) * slice + r * ATTN_SLICE + d % ATTN_SLICE] */
    ptrdiff_t slice;
    const float *const *k; /* blocks: [head_dim][16] */
    int head_dim;
    float scale;
    float *s;
    ptrdiff_t lds;
} attn_scores;

SIMD_INLINE void attn_scores_tile(const int rows, const int blocks, const attn_scores *t, int r0, int b0)
{
    v16 acc[ATTN_ROWS][4];
    const float *k[4];
    SIMD_UNROLL
    for (int r = 0; r < rows; r++) {
        SIMD_UNROLL
        for (int b = 0; b < blocks; b++)
            acc[r][b] = v16_zero();
    }
    SIMD_UNROLL
    for (int b = 0; b < blocks; b++)
        k[b] = t->k[b0 + b];
    const float *q = t->q + (ptrdiff_t)r0 * ATTN_SLICE;
    for (int left = t->head_dim; left > 0; left -= ATTN_SLICE, q += t->slice) {
        const int n = left < ATTN_SLICE ? left : ATTN_SLICE;
        for (int d = 0; d < n; d++) {
            v16 key[4];
            SIMD_UNROLL
            for (int b = 0; b < blocks; b++)
                key[b] = v16_load(k[b] + d * 16);
            SIMD_UNROLL
            for (int r = 0; r < rows; r++) {
                const v16 a = v16_set1(q[r * ATTN_SLICE + d]);
                SIMD_UNROLL
                for (int b = 0; b < blocks; b++)
                    acc[r][b] = v16_fma(a, key[b], acc[r][b]);
            }
        }
        SIMD_UNROLL
        for (int b = 0; b < blocks; b++)
            k[b] += ATTN_SLICE * 16;
    }
    const v16 scale = v16_set1(t->scale);
    SIMD_UNROLL
    for (int r = 0; r < rows; r++) {
        SIMD_UNROLL
        for (int b = 0; b < blocks; b++)
            v16_store(t->s + (r0 + r) * t->lds + (b0 + b) * 16, v16_mul(scale, acc[r][b]));
    }
}

typedef void attn_scores_fn(const attn_scores *t, int r0, int b0);
#define X(rows, width)                                                                             \
    static void attn_scores_##rows##_##width(const attn_scores *t, int r0, int b0)                 \
    {                                                                                              \
        attn_scores_tile(rows, width, t, r0, b0);                                                  \
    }
ATTN_SHAPES(X)
#undef X
#define X(rows, width) [rows][width] = attn_scores_##rows##_##width,
static attn_scores_fn *const attn_scores_tiles[ATTN_ROWS + 1][5] = {ATTN_SHAPES(X)};
#undef X

static void attn_scores_run(const attn_scores *t, int rows, int blocks)
{
    const int pieces = (rows + ATTN_ROWS - 1) / ATTN_ROWS, tallest = (rows + pieces - 1) / pieces;
    for (int b = 0, width; b < blocks; b += width) {
        width = attn_width(tallest, blocks - b);
        for (int i = 0; i < pieces; i++) {
            const int r = rows * i / pieces, end = rows * (i + 1) / pieces;
            attn_scores_tiles[end - r][width](t, r, b);
        }
    }
}

/* ---- mixtures ----------------------------------------------------------------------------- */

/* acc[r][.] = fma chain, from what acc holds, over columns j in [begin, end) of w[r][j] x_j[.]. */
typedef struct attn_mix {
    const float *w;
    ptrdiff_t ldw;
    const float *const *x; /* x_j = x[j / 16 - first_block] + (j % 16) * ldx */
    ptrdiff_t ldx;
    int first_block, head_dim, begin, end;
    float *acc;
    ptrdiff_t lda;
} attn_mix;

/* `width` vectors from dimension c on; the last has n lanes. */
SIMD_INLINE void attn_mix_tile(const int rows, const int width, const attn_mix *t, int r0, int c,
                               const int n)
{
    v16 acc[ATTN_ROWS][4];
    SIMD_UNROLL
    for (int r = 0; r < rows; r++) {
        SIMD_UNROLL
        for (int v = 0; v < width; v++)
            acc[r][v] = v16_load(t->acc + (r0 + r) * t->lda + c + 16 * v);
    }
    const ptrdiff_t ldx = t->ldx, ldw = t->ldw;
    for (int j = t->begin; j < t->end;) {
        const float *x = t->x[j / 16 - t->first_block] + j % 16 * ldx + c;
        const float *w = t->w + r0 * ldw;
        const int stop = (j | 15) + 1 < t->end ? (j | 15) + 1 : t->end;
        for (; j < stop; j++, x += ldx) {
            v16 row[4];
            SIMD_UNROLL
            for (int v = 0; v < width; v++)
                row[v] = v16_load_n(x + 16 * v, v == width - 1 ? n : 16);
            SIMD_UNROLL
            for (int r = 0; r < rows; r++) {
                const v16 a = v16_set1(w[r * ldw + j]);
                SIMD_UNROLL
                for (int v = 0; v < width; v++)
                    acc[r][v] = v16_fma(a, row[v], acc[r][v]);
            }
        }
    }
    SIMD_UNROLL
    for (int r = 0; r < rows; r++) {
        SIMD_UNROLL
        for (int v = 0; v < width; v++)
            v16_store(t->acc + (r0 + r) * t->lda + c + 16 * v, acc[r][v]);
    }
}

/* Width 0 stands for the last, incomplete vector of a row. */
typedef void attn_mix_fn(const attn_mix *t, int r0, int c);
#define X(rows, width)                                                                             \
    static void attn_mix_##rows##_##width(const attn_mix *t, int r0, int c)                        \
    {                                                                                              \
        attn_mix_tile(rows, width, t, r0, c, 16);                                                  \
    }
#define X0(rows)                                                                                   \
    static void attn_mix_##rows##_0(const attn_mix *t, int r0, int c)                              \
    {                                                                                              \
        attn_mix_tile(rows, 1, t, r0, c, t->head_dim - c);                                         \
    }
ATTN_SHAPES(X)
ATTN_HEIGHTS(X0)
#undef X
#undef X0
#define X(rows, width) [rows][width] = attn_mix_##rows##_##width,
#define X0(rows) [rows][0] = attn_mix_##rows##_0,
static attn_mix_fn *const attn_mix_tiles[ATTN_ROWS + 1][5] = {ATTN_SHAPES(X) ATTN_HEIGHTS(X0)};
#undef X
#undef X0

/* Rows [r, r + rows), which all see the same columns. */
static void attn_mix_rows(const attn_mix *t, int r, int rows)
{
    if (t->begin >= t->end)
        return;
    for (int c = 0, width; c < t->head_dim; c += 16 * width) {
        const int left = t->head_dim - c;
        width = attn_wide(rows, left / 16);
        const int pieces = (rows + attn_height(width) - 1) / attn_height(width);
        for (int i = 0; i < pieces; i++) {
            const int first = rows * i / pieces, end = rows * (i + 1) / pieces;
            attn_mix_tiles[end - first][left < 16 ? 0 : width](t, r + first, c);
        }
    }
}

/* Row r sees columns [lo[r], hi[r]) of [begin, end): what neighbours see in common goes through a tile,
 * the ends one row at a time. */
static void attn_mix_run(const attn_mix *t, int rows, const int *lo, const int *hi)
{
    const int step = attn_height(attn_wide(rows, t->head_dim / 16));
    const int pieces = (rows + step - 1) / step;
    for (int i = 0; i < pieces; i++) {
        const int r0 = rows * i / pieces, r1 = rows * (i + 1) / pieces;
        attn_mix all = *t, one = *t;
        for (int r = r0; r < r1; r++) {
            all.begin = lo[r] > all.begin ? lo[r] : all.begin;
            all.end = hi[r] < all.end ? hi[r] : all.end;
        }
        if (all.begin > all.end)
            all.begin = all.end = t->end;
        for (int r = r0; r < r1; r++) {
            one.begin = lo[r] > t->begin ? lo[r] : t->begin;
            one.end = hi[r] < all.begin ? hi[r] : all.begin;
            attn_mix_rows(&one, r, 1);
        }
        attn_mix_rows(&all, r0, r1 - r0);
        for (int r = r0; r < r1; r++) {
            one.begin = all.end;
            one.end = hi[r] < t->end ? hi[r] : t->end;
            attn_mix_rows(&one, r, 1);
        }
    }
}

/* ---- outer products -------------------------------------------------------------------------- */

/* g[j][.] = fma chain, from what g holds, over queries i in [first, last) of w[i - first][j] x_i[.]. */
typedef struct attn_outer {
    const float *w;
    ptrdiff_t ldw;
    const float *x; /* of query `first`; per_row queries lie side by side in a row */
    ptrdiff_t ldx;  /* between rows */
    int first, last, per_row, head_dim;
    float *g;
    ptrdiff_t ldg;
} attn_outer;

SIMD_INLINE void attn_outer_tile(const int keys, const int width, const attn_outer *t, int j, int c,
                                 const int n)
{
    v16 acc[ATTN_ROWS][4];
    SIMD_UNROLL
    for (int r = 0; r < keys; r++) {
        SIMD_UNROLL
        for (int v = 0; v < width; v++)
            acc[r][v] = v16_load_n(t->g + (j + r) * t->ldg + c + 16 * v, v == width - 1 ? n : 16);
    }
    const float *x = t->x + c, *w = t->w + j;
    const ptrdiff_t next_row = t->ldx - (ptrdiff_t)t->per_row * t->head_dim;
    int head = t->first % t->per_row;
    for (int i = t->first; i < t->last; i++, w += t->ldw) {
        v16 row[4];
        SIMD_UNROLL
        for (int v = 0; v < width; v++)
            row[v] = v16_load_n(x + 16 * v, v == width - 1 ? n : 16);
        SIMD_UNROLL
        for (int r = 0; r < keys; r++) {
            const v16 a = v16_set1(w[r]);
            SIMD_UNROLL
            for (int v = 0; v < width; v++)
                acc[r][v] = v16_fma(a, row[v], acc[r][v]);
        }
        x += t->head_dim;
        if (++head == t->per_row) {
            head = 0;
            x += next_row;
        }
    }
    SIMD_UNROLL
    for (int r = 0; r < keys; r++) {
        SIMD_UNROLL
        for (int v = 0; v < width; v++)
            v16_store_n(t->g + (j + r) * t->ldg + c + 16 * v, acc[r][v], v == width - 1 ? n : 16);
    }
}

typedef void attn_outer_fn(const attn_outer *t, int j, int c);
#define X(keys, width)                                                                             \
    static void attn_outer_##keys##_##width(const attn_outer *t, int j, int c)                     \
    {                                                                                              \
        attn_outer_tile(keys, width, t, j, c, 16);                                                 \
    }
#define X0(keys)                                                                                   \
    static void attn_outer_##keys##_0(const attn_outer *t, int j, int c)                           \
    {                                                                                              \
        attn_outer_tile(keys, 1, t, j, c, t->head_dim - c);                                        \
    }
ATTN_SHAPES(X)
ATTN_HEIGHTS(X0)
#undef X
#undef X0
#define X(keys, width) [keys][width] = attn_outer_##keys##_##width,
#define X0(keys) [keys][0] = attn_outer_##keys##_0,
static attn_outer_fn *const attn_outer_tiles[ATTN_ROWS + 1][5] = {ATTN_SHAPES(X) ATTN_HEIGHTS(X0)};
#undef X
#undef X0

static void attn_outer_run(const attn_outer *t, int keys)
{
    for (int c = 0, width; c < t->head_dim; c += 16 * width) {
        const int left = t->head_dim - c;
        width = attn_wide(keys, left / 16);
        const int pieces = (keys + attn_height(width) - 1) / attn_height(width);
        for (int i = 0; i < pieces; i++) {
            const int first = keys * i / pieces, end = keys * (i + 1) / pieces;
            attn_outer_tiles[end - first][left < 16 ? 0 : width](t, first, c);
        }
    }
}
