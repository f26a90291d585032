/* y = x W^T: the tile kernel and its loops. */

/* One tile: `rows` rows of x times SIMD_TILE_VECS vectors of a panel. */
typedef struct gemm_tile {
    const float *x;
    ptrdiff_t ldx;
    const float *w;    /* first of the tile's columns: [k][32] */
    const float *next; /* what to bring into the cache meanwhile: [k][32] */
    int k, chunk;
    float *y; /* the tile's results */
    ptrdiff_t ldy;
    const float *bias, *residual; /* at the tile's first column; may be NULL */
    ptrdiff_t ldr;
    int columns; /* columns that exist (the last panel is padded) */
} gemm_tile;

/* acc = fma chain over k terms. */
SIMD_INLINE void gemm_chain(const int rows, v16 acc[][SIMD_TILE_VECS], const float *x, ptrdiff_t ldx,
                            const float *w, const float *next, int k)
{
    SIMD_UNROLL
    for (int i = 0; i < rows; i++) {
        SIMD_UNROLL
        for (int v = 0; v < SIMD_TILE_VECS; v++)
            acc[i][v] = v16_zero();
    }
    for (int j = 0; j < k; j++) {
        v16 b[SIMD_TILE_VECS];
        SIMD_UNROLL
        for (int v = 0; v < SIMD_TILE_VECS; v++) {
            b[v] = v16_load(w + (ptrdiff_t)j * OPS_PANEL + 16 * v);
            __builtin_prefetch(next + (ptrdiff_t)j * OPS_PANEL + 16 * v, 0, 2);
        }
        SIMD_UNROLL
        for (int i = 0; i < rows; i++) {
            const v16 a = v16_set1(x[i * ldx + j]);
            SIMD_UNROLL
            for (int v = 0; v < SIMD_TILE_VECS; v++)
                acc[i][v] = v16_fma(a, b[v], acc[i][v]);
        }
    }
}

SIMD_INLINE void gemm_tile_rows(const int rows, const gemm_tile *t)
{
    v16 acc[SIMD_TILE_ROWS][SIMD_TILE_VECS];
    const int first = t->k < t->chunk ? t->k : t->chunk;
    gemm_chain(rows, acc, t->x, t->ldx, t->w, t->next, first);
    if (t->k > first) {
        float total[SIMD_TILE_ROWS][SIMD_TILE_VECS][16];
        SIMD_UNROLL
        for (int i = 0; i < rows; i++) {
            SIMD_UNROLL
            for (int v = 0; v < SIMD_TILE_VECS; v++)
                v16_store(total[i][v], acc[i][v]);
        }
        for (int j = first; j < t->k; j += t->chunk) {
            const int n = t->k - j < t->chunk ? t->k - j : t->chunk;
            gemm_chain(rows, acc, t->x + j, t->ldx, t->w + (ptrdiff_t)j * OPS_PANEL,
                       t->next + (ptrdiff_t)j * OPS_PANEL, n);
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
    SIMD_UNROLL
    for (int v = 0; v < SIMD_TILE_VECS; v++) {
        int columns = t->columns - 16 * v;
        columns = columns > 16 ? 16 : columns < 0 ? 0 : columns;
        const v16 bias = t->bias && columns > 0 ? v16_load_n(t->bias + 16 * v, columns) : v16_zero();
        SIMD_UNROLL
        for (int i = 0; i < rows; i++) {
            if (columns == 0)
                continue;
            v16 r = acc[i][v];
            if (t->bias)
                r = v16_add(r, bias);
            if (t->residual)
                r = v16_add(r, v16_load_n(t->residual + i * t->ldr + 16 * v, columns));
            v16_store_n(t->y + i * t->ldy + 16 * v, r, columns);
        }
    }
}

static void gemm_tile_run(int rows, const gemm_tile *t)
{
    switch (rows) {
#define CASE(r)                                                                                    \
    case r:                                                                                        \
        gemm_tile_rows(r, t);                                                                      \
        break;
        CASE(1)
        CASE(2)
        CASE(3)
        CASE(4)
#if defined(SIMD_AVX512) || defined(SIMD_AVX2) || defined(SIMD_NEON)
        CASE(5)
        CASE(6)
#endif
#if defined(SIMD_AVX512)
        CASE(7)
        CASE(8)
        CASE(9)
        CASE(10)
        CASE(11)
        CASE(12)
        CASE(13)
        CASE(14)
#endif
#undef CASE
    default:
        assert(!"rows of a tile");
    }
}

/* All rows [r0, r1) of one panel of one product. */
static void gemm_panel(const gemm_job *job, const ops_product *p, int panel, int r0, int r1)
{
    const int panels = gemm_panels(p->w.n), rows = r1 - r0;
    const int tiles = (rows + SIMD_TILE_ROWS - 1) / SIMD_TILE_ROWS;
    const float *w = p->w.data + (size_t)panel * p->w.k * OPS_PANEL;
    const float *next = panel + 1 < panels ? w + (size_t)p->w.k * OPS_PANEL : w;
    for (int i = 0, r = r0; i < tiles; i++) {
        const int end = r0 + (int)((int64_t)rows * (i + 1) / tiles); /* tiles of nearly equal height */
        for (int c = 0; c < OPS_PANEL; c += 16 * SIMD_TILE_VECS) {
            const int column = panel * OPS_PANEL + c;
            if (column >= p->w.n)
                break;
            gemm_tile t = {
                .x = job->x + (ptrdiff_t)r * job->ldx,
                .ldx = job->ldx,
                .w = w + c,
                .next = (i == 0 ? next : w) + c,
                .k = p->w.k,
                .chunk = gemm_chunk(p->w.k),
                .y = p->y + (ptrdiff_t)r * p->ldy + column,
                .ldy = p->ldy,
                .bias = p->bias ? p->bias + column : NULL,
                .residual = p->residual ? p->residual + (ptrdiff_t)r * p->ldr + column : NULL,
                .ldr = p->ldr,
                .columns = p->w.n - column,
            };
            gemm_tile_run(end - r, &t);
        }
        r = end;
    }
}

static void kernel_gemm(void *context, int begin, int end, int thread)
{
    const gemm_job *job = context;
    (void)thread;
    for (int item = begin; item < end; item++) {
        const int group = item / job->row_blocks, block = item % job->row_blocks;
        const int r0 = (int)((int64_t)job->m * block / job->row_blocks);
        const int r1 = (int)((int64_t)job->m * (block + 1) / job->row_blocks);
        int last = (group + 1) * job->panel_group;
        last = last < job->panels ? last : job->panels;
        for (int panel = group * job->panel_group; panel < last; panel++) {
            const ops_product *p = job->products;
            int local = panel;
            while (local >= gemm_panels(p->w.n))
                local -= gemm_panels(p++->w.n);
            gemm_panel(job, p, local, r0, r1);
        }
    }
}
