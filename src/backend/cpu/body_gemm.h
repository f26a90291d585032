/* y = x W^T: the tile kernel and its loops. */

/* One tile: `rows` rows of x times SIMD_TILE_VECS vectors of a panel. */
typedef struct gemm_tile {
    const float *x;
    ptrdiff_t ldx;
    const float *w;    /* first of the tile's columns: [k][32] */
    const char *next; /* what to bring into the cache meanwhile, */
    int next_step;    /* so many bytes of it (<= 128) for each of the k steps */
    int k, chunk;
    float *y; /* the tile's results */
    ptrdiff_t ldy;
    const float *bias, *residual; /* at the tile's first column; may be NULL */
    ptrdiff_t ldr;
    int columns; /* columns that exist (the last panel is padded) */
    float scale;
} gemm_tile;

/* acc = fma chain over the k terms that start at column j of x. */
SIMD_INLINE void gemm_chain(const int rows, v16 acc[][SIMD_TILE_VECS], const gemm_tile *t, int j, int k)
{
    const float *x = t->x + j, *w = t->w + (ptrdiff_t)j * OPS_PANEL;
    const ptrdiff_t ldx = t->ldx;
    const int step = t->next_step, half = step / 2;
    const char *next = t->next + (ptrdiff_t)j * step;
    SIMD_UNROLL
    for (int i = 0; i < rows; i++) {
        SIMD_UNROLL
        for (int v = 0; v < SIMD_TILE_VECS; v++)
            acc[i][v] = v16_zero();
    }
    for (const float *end = x + k; x < end; x++, w += OPS_PANEL, next += step) {
        v16 b[SIMD_TILE_VECS];
        SIMD_UNROLL
        for (int v = 0; v < SIMD_TILE_VECS; v++)
            b[v] = v16_load(w + 16 * v);
        __builtin_prefetch(next, 0, 2);
        __builtin_prefetch(next + half, 0, 2);
        SIMD_UNROLL
        for (int i = 0; i < rows; i++) {
            const v16 a = v16_set1(x[i * ldx]);
            SIMD_UNROLL
            for (int v = 0; v < SIMD_TILE_VECS; v++)
                acc[i][v] = v16_fma(a, b[v], acc[i][v]);
        }
    }
}

/* y = acc * scale + bias + residual, columns that exist only. */
SIMD_INLINE void gemm_tile_finish(const int rows, v16 acc[][SIMD_TILE_VECS], const gemm_tile *t)
{
    const v16 scale = v16_set1(t->scale);
    SIMD_UNROLL
    for (int v = 0; v < SIMD_TILE_VECS; v++) {
        int columns = t->columns - 16 * v;
        columns = columns > 16 ? 16 : columns < 0 ? 0 : columns;
        const v16 bias = t->bias && columns > 0 ? v16_load_n(t->bias + 16 * v, columns) : v16_zero();
        SIMD_UNROLL
        for (int i = 0; i < rows; i++) {
            if (columns == 0)
                continue;
            v16 r = v16_mul(acc[i][v], scale);
            if (t->bias)
                r = v16_add(r, bias);
            if (t->residual)
                r = v16_add(r, v16_load_n(t->residual + i * t->ldr + 16 * v, columns));
            v16_store_n(t->y + i * t->ldy + 16 * v, r, columns);
        }
    }
}

SIMD_INLINE void gemm_tile_rows(const int rows, const gemm_tile *t)
{
    v16 acc[SIMD_TILE_ROWS][SIMD_TILE_VECS];
    const int first = t->k < t->chunk ? t->k : t->chunk;
    gemm_chain(rows, acc, t, 0, first);
    if (t->k > first) {
        float total[SIMD_TILE_ROWS][SIMD_TILE_VECS][16];
        SIMD_UNROLL
        for (int i = 0; i < rows; i++) {
            SIMD_UNROLL
            for (int v = 0; v < SIMD_TILE_VECS; v++)
                v16_store(total[i][v], acc[i][v]);
        }
        for (int j = first; j < t->k; j += t->chunk) {
            gemm_chain(rows, acc, t, j, t->k - j < t->chunk ? t->k - j : t->chunk);
            SIMD_UNROLL
            for (int i = 0; i < rows; i++) {
                SIMD_UNROLL
                for (int v = 0; v < SIMD_TILE_VECS; v++) {
                    acc[i][v] = v16_add(v16_load(total[i][v]), acc[i][v]);
                    v16_store(total[i][v], acc[i][v]);
                }
            }
        }
    }
    gemm_tile_finish(rows, acc, t);
}

static void gemm_tile_run(int rows, const gemm_tile *t)
{
    switch (rows) {
#define CASE(r)                                                                                    \
    case r:                                                                                        \
        gemm_tile_rows(r, t);                                                                      \
        break;
        SIMD_TILE_CASES(CASE)
#undef CASE
    default:
        assert(!"rows of a tile");
    }
}

/* Rows [r0, r1) of panels [p0, p1) of one product. The result of row row0 and column column0 goes to
 * the product's y[0] (its residual likewise). */
typedef struct gemm_range {
    int p0, p1, r0, r1;
    int row0, column0;
} gemm_range;

/* Computes a range, times scale (1 changes nothing). The rows are cut into tiles of nearly equal
 * height. While the tiles of these panels are computed, as many panels behind them are brought into
 * the cache, spread evenly over the tiles: reading weights from memory overlaps with arithmetic. */
static void gemm_block(const ops_product *p, gemm_range q, float scale, const float *x, ptrdiff_t ldx)
{
    const int panels = gemm_panels(p->w.n), rows = q.r1 - q.r0, k = p->w.k;
    const int tiles = (rows + SIMD_TILE_ROWS - 1) / SIMD_TILE_ROWS;
    const size_t size = (size_t)k * OPS_PANEL;
    gemm_tile t = {.ldx = ldx, .k = k, .chunk = gemm_chunk(k), .ldy = p->ldy, .ldr = p->ldr, .scale = scale,
                   .next_step = (128 + tiles - 1) / tiles};
    for (int i = 0, r = q.r0, end; i < tiles; i++, r = end) {
        end = q.r0 + (int)((int64_t)rows * (i + 1) / tiles);
        t.x = x + (ptrdiff_t)r * ldx;
        for (int panel = q.p0; panel < q.p1; panel++) {
            const float *w = p->w.data + panel * size;
            const int ahead = panel + q.p1 - q.p0 < panels ? panel + q.p1 - q.p0 : panel;
            t.next = (const char *)(p->w.data + ahead * size + size * i / tiles);
            for (int c = 0; c < OPS_PANEL; c += 16 * SIMD_TILE_VECS) {
                const int column = panel * OPS_PANEL + c;
                if (column >= p->w.n)
                    break;
                t.w = w + c;
                t.y = p->y + (ptrdiff_t)(r - q.row0) * p->ldy + (column - q.column0);
                t.bias = p->bias ? p->bias + column : NULL;
                t.residual = p->residual
                                 ? p->residual + (ptrdiff_t)(r - q.row0) * p->ldr + (column - q.column0)
                                 : NULL;
                t.columns = p->w.n - column;
                gemm_tile_run(end - r, &t);
            }
        }
    }
}

static void kernel_gemm(void *context, int begin, int end, int thread)
{
    const gemm_job *job = context;
    (void)thread;
    for (int item = begin; item < end; item++) {
        int group = item / job->row_blocks;
        const int block = item % job->row_blocks;
        const ops_product *p = job->products;
        int groups;
        while (group >= (groups = gemm_groups(p->w.n, job->panel_group))) {
            group -= groups;
            p++;
        }
        const int panels = gemm_panels(p->w.n);
        const gemm_range range = {(int)((int64_t)panels * group / groups),
                                  (int)((int64_t)panels * (group + 1) / groups),
                                  (int)((int64_t)job->m * block / job->row_blocks),
                                  (int)((int64_t)job->m * (block + 1) / job->row_blocks), 0, 0};
        gemm_block(p, range, 1.0f, job->x, job->ldx);
    }
}
