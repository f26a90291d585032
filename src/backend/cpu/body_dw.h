/* dw += dy^T x, bias gradients, embeddings: what the weights' gradients are made of. */

/* Row stride of a copied tile of x: whole or half cache lines. */
enum { DW_STRIDE = (SIMD_TILE_ROWS + 7) / 8 * 8, DW_AHEAD = 16 /* rows to fetch ahead */ };

/* Terms of a sum in a line of dy's copy: in a dot or a tile chain a line is two rows, rounded and paired. */
SIMD_INLINE int dw_terms(ops_type operands)
{
    return ops_rounds_both(operands) ? 2 : 1;
}

/* Rows of the copies: zeros fill up a tile chain's last block. */
SIMD_INLINE int dw_copied_rows(ops_type operands, int rows)
{
    return operands == OPS_BF16_TILE ? (rows + OPS_TILE_BLOCK - 1) / OPS_TILE_BLOCK * OPS_TILE_BLOCK : rows;
}

/* From one panel of dy's copy to the next. */
SIMD_INLINE size_t dw_panel_stride(ops_type operands)
{
    return (size_t)(DW_CHUNK / dw_terms(operands)) * OPS_PANEL;
}

/* n numbers of a line at p, `left` rows from the end. */
SIMD_INLINE v16 dw_line(ops_type operands, const float *p, ptrdiff_t ld, int n, int left)
{
    if (left <= 0)
        return v16_zero();
    const v16 a = v16_load_n(p, n);
    if (!ops_rounds_both(operands))
        return a;
    return v16_as_float(v16_operands_bf16(a, left > 1 ? v16_load_n(p + ld, n) : v16_zero()));
}

/* out[panel][line][32] = panels [p0, p1) of dy's columns, zero from column n on. */
SIMD_INLINE void dw_copy_panels(const ops_type operands, float *out, const float *dy, ptrdiff_t lddy, int p0, int p1,
                                int n, int rows)
{
    const int terms = dw_terms(operands), copied = dw_copied_rows(operands, rows);
    for (int r = 0; r < copied; r += terms, dy += terms * lddy, out += OPS_PANEL) {
        float *to = out;
        for (int c = p0 * OPS_PANEL; c < p1 * OPS_PANEL; c += OPS_PANEL, to += dw_panel_stride(operands)) {
            if (r + DW_AHEAD < rows) {
                __builtin_prefetch(dy + DW_AHEAD * lddy + c);
                __builtin_prefetch(dy + DW_AHEAD * lddy + c + 16);
            }
            if (c + OPS_PANEL <= n) {
                v16_store(to, dw_line(operands, dy + c, lddy, 16, rows - r));
                v16_store(to + 16, dw_line(operands, dy + c + 16, lddy, 16, rows - r));
            } else {
                v16_store(to, dw_line(operands, dy + c, lddy, n - c < 16 ? n - c : 16, rows - r));
                v16_store(to + 16, n - c > 16 ? dw_line(operands, dy + c + 16, lddy, n - c - 16, rows - r) : v16_zero());
            }
        }
    }
}

/* Tile t of `tiles` nearly equal parts of columns [j0, j1). */
static int dw_tile_start(int j0, int j1, int t, int tiles)
{
    return j0 + gemm_share(j1 - j0, t, tiles);
}

/* Columns [j0, j1) of x, cut into tiles: out[tile][line][DW_STRIDE], a line for each row in a tile chain (numbers,
 * rounded). Several tiles at once, so that whole cache lines of a row are used. */
SIMD_INLINE void dw_copy_tiles(const ops_type operands, float *out, const float *x, ptrdiff_t ldx, int j0, int j1,
                               int tiles, int rows)
{
    const int terms = operands == OPS_BF16_DOT ? 2 : 1, copied = dw_copied_rows(operands, rows);
    int start[DW_TILES + 1];
    for (int t = 0; t <= tiles; t++)
        start[t] = dw_tile_start(j0, j1, t, tiles);
    for (int r = 0; r < copied; r += terms, x += terms * ldx, out += DW_STRIDE) {
        if (r + DW_AHEAD < rows)
            for (int j = j0; j < j1 + 15; j += 16)
                __builtin_prefetch(x + DW_AHEAD * ldx + (j < j1 ? j : j1 - 1));
        for (int t = 0; t < tiles; t++) {
            v16 a = dw_line(operands == OPS_BF16_TILE ? OPS_F32 : operands, x + start[t], ldx, start[t + 1] - start[t], rows - r);
            if (operands == OPS_BF16_TILE)
                a = v16_operand_bf16(a);
            if (DW_STRIDE == 16)
                v16_store(out + (size_t)t * DW_CHUNK * DW_STRIDE, a);
            else
                v16_store_n(out + (size_t)t * DW_CHUNK * DW_STRIDE, a, DW_STRIDE);
        }
    }
}

/* dw[j][32] += chain over lines of x[row][j] * dy[row][.], for some columns j. */
typedef struct dw_tile {
    float *dw;
    int width; /* columns of the panel that exist: the padding must stay zero even beside infinities */
    const float *x, *dy; /* copies */
    int lines;
    const float *next; /* what to bring into the cache meanwhile: a line of the cache for each of the copies', */
    ptrdiff_t next_step; /* so many elements apart */
} dw_tile;

SIMD_INLINE void dw_tile_chain(const ops_type operands, const int columns, v16 acc[][SIMD_TILE_VECS], const dw_tile *t)
{
    const float *x = t->x, *dy = t->dy, *next = t->next;
    const ptrdiff_t step = t->next_step;
    SIMD_UNROLL
    for (int i = 0; i < columns; i++) {
        SIMD_UNROLL
        for (int v = 0; v < SIMD_TILE_VECS; v++)
            acc[i][v] = v16_zero();
    }
    for (const float *end = dy + (ptrdiff_t)t->lines * OPS_PANEL; dy < end; dy += OPS_PANEL, x += DW_STRIDE, next += step) {
        v16 b[SIMD_TILE_VECS];
        SIMD_UNROLL
        for (int v = 0; v < SIMD_TILE_VECS; v++)
            b[v] = v16_load(dy + 16 * v);
        __builtin_prefetch(next, 0, 2);
        SIMD_UNROLL
        for (int i = 0; i < columns; i++) {
            const v16 a = v16_set1(x[i]);
            SIMD_UNROLL
            for (int v = 0; v < SIMD_TILE_VECS; v++)
                acc[i][v] = operands == OPS_BF16_DOT ? v16_dot_bf16(v16_as_int(a), v16_as_int(b[v]), acc[i][v])
                                                     : v16_fma(a, b[v], acc[i][v]);
        }
    }
}

/* For at most half of a tile's columns, as in gemm_tile_chain. */
SIMD_INLINE void dw_tile_blocks(const int columns, v16 acc[][SIMD_TILE_VECS], const dw_tile *t)
{
    v16 even[SIMD_TILE_ROWS][SIMD_TILE_VECS], odd[SIMD_TILE_ROWS][SIMD_TILE_VECS];
    float total[SIMD_TILE_ROWS][SIMD_TILE_VECS][16] = {0};
    const float *x = t->x, *dy = t->dy;
    for (const float *end = dy + (ptrdiff_t)t->lines * OPS_PANEL; dy < end;) {
        SIMD_UNROLL
        for (int i = 0; i < columns; i++) {
            SIMD_UNROLL
            for (int v = 0; v < SIMD_TILE_VECS; v++)
                even[i][v] = odd[i][v] = v16_zero();
        }
        for (int l = 0; l < OPS_TILE_BLOCK / 2; l++, dy += OPS_PANEL, x += 2 * DW_STRIDE) {
            v16 low[SIMD_TILE_VECS], high[SIMD_TILE_VECS];
            SIMD_UNROLL
            for (int v = 0; v < SIMD_TILE_VECS; v++) {
                const v16i pairs = v16_as_int(v16_load(dy + 16 * v));
                low[v] = v16_from_low(pairs);
                high[v] = v16_from_high(pairs);
            }
            SIMD_UNROLL
            for (int i = 0; i < columns; i++) {
                SIMD_UNROLL
                for (int v = 0; v < SIMD_TILE_VECS; v++) {
                    even[i][v] = v16_fma(v16_set1(x[i]), low[v], even[i][v]);
                    odd[i][v] = v16_fma(v16_set1(x[DW_STRIDE + i]), high[v], odd[i][v]);
                }
            }
        }
        SIMD_UNROLL
        for (int i = 0; i < columns; i++) {
            SIMD_UNROLL
            for (int v = 0; v < SIMD_TILE_VECS; v++)
                v16_store(total[i][v], v16_add(v16_load(total[i][v]), v16_add(even[i][v], odd[i][v])));
        }
    }
    SIMD_UNROLL
    for (int i = 0; i < columns; i++) {
        SIMD_UNROLL
        for (int v = 0; v < SIMD_TILE_VECS; v++)
            acc[i][v] = v16_load(total[i][v]);
    }
}

SIMD_INLINE void dw_tile_columns(const ops_type operands, const int columns, const dw_tile *t)
{
    v16 acc[SIMD_TILE_ROWS][SIMD_TILE_VECS];
    SIMD_UNROLL
    for (int i = 0; i < columns; i++) {
        SIMD_UNROLL
        for (int v = 0; v < SIMD_TILE_VECS; v++)
            __builtin_prefetch(t->dw + i * OPS_PANEL + 16 * v, 1);
    }
    if (operands == OPS_BF16_TILE)
        dw_tile_blocks(columns, acc, t);
    else
        dw_tile_chain(operands, columns, acc, t);
    SIMD_UNROLL
    for (int v = 0; v < SIMD_TILE_VECS; v++) {
        const int n = t->width - 16 * v >= 16 ? 16 : t->width - 16 * v > 0 ? t->width - 16 * v : 0;
        SIMD_UNROLL
        for (int i = 0; i < columns; i++) {
            float *p = t->dw + i * OPS_PANEL + 16 * v;
            v16_store_n(p, v16_add(v16_load_n(p, n), acc[i][v]), n);
        }
    }
}

static void dw_tile_run(ops_type operands, int columns, const dw_tile *t)
{
    if (operands == OPS_BF16_TILE && columns > GEMM_TILE_CHAIN_ROWS) {
        dw_tile second = *t;
        second.x += GEMM_TILE_CHAIN_ROWS;
        second.dw += GEMM_TILE_CHAIN_ROWS * OPS_PANEL;
        dw_tile_run(operands, columns - GEMM_TILE_CHAIN_ROWS, &second);
        columns = GEMM_TILE_CHAIN_ROWS;
    }
    switch (columns) {
#define CASE(c)                                                                                    \
    case c:                                                                                        \
        if (operands == OPS_BF16_DOT)                                                              \
            dw_tile_columns(OPS_BF16_DOT, c, t);                                                   \
        else if (operands == OPS_BF16_TILE)                                                        \
            dw_tile_columns(OPS_BF16_TILE, c < GEMM_TILE_CHAIN_ROWS ? c : GEMM_TILE_CHAIN_ROWS, t);          \
        else                                                                                       \
            dw_tile_columns(OPS_F32, c, t);                                                        \
        break;
        SIMD_TILE_CASES(CASE)
#undef CASE
    default:
        assert(!"columns of a tile");
    }
}

#if defined(SIMD_AMX)
static void amx_dw_columns(const dw_job *job, int p0, int p1, int j0, int j1, int m0, int rows, const float *dy, float *x);
#endif

/* Panels [p0, p1) of dw and columns [j0, j1), at most DW_TILES tiles, of x, rows from
 * m0 on; dy and x are copies (x: room). Meanwhile the columns behind j1 are brought into the cache. */
static void dw_slab(const dw_job *job, int p0, int p1, int j0, int j1, int m0, int rows, const float *dy, float *x)
{
    const int tiles = (j1 - j0 + SIMD_TILE_ROWS - 1) / SIMD_TILE_ROWS;
    const float *from = job->x + (ptrdiff_t)m0 * job->ldx;
    const int terms = dw_terms(job->operands);
    if (job->operands == OPS_BF16_DOT)
        dw_copy_tiles(OPS_BF16_DOT, x, from, job->ldx, j0, j1, tiles, rows);
    else if (job->operands == OPS_BF16_TILE)
        dw_copy_tiles(OPS_BF16_TILE, x, from, job->ldx, j0, j1, tiles, rows);
    else
        dw_copy_tiles(OPS_F32, x, from, job->ldx, j0, j1, tiles, rows);
    for (int i = 0; i < tiles; i++) {
        const int j = dw_tile_start(j0, j1, i, tiles), columns = dw_tile_start(j0, j1, i + 1, tiles) - j;
        for (int p = p0; p < p1; p++) {
            int ahead = j + j1 - j0 + (p - p0) % 2 * (columns - 1);
            ahead = ahead < job->dw.k ? ahead : job->dw.k - 1;
            for (int c = 0; c < OPS_PANEL; c += 16 * SIMD_TILE_VECS)
                dw_tile_run(job->operands, columns, &(dw_tile){
                    .dw = job->dw.data + ((size_t)p * job->dw.k + j) * OPS_PANEL + c,
                    .width = job->dw.n - p * OPS_PANEL - c,
                    .x = x + (size_t)i * DW_CHUNK * DW_STRIDE,
                    .dy = dy + (size_t)(p - p0) * dw_panel_stride(job->operands) + c,
                    .lines = (dw_copied_rows(job->operands, rows) + terms - 1) / terms,
                    .next = from + ahead,
                    .next_step = terms * job->ldx,
                });
        }
    }
}

/* Panels [p0, p1), at most dw_group, of dw and columns [j0, j1) of x. */
static void dw_block(const dw_job *job, int p0, int p1, int j0, int j1)
{
    _Alignas(64) float dy[DW_GROUP * DW_CHUNK * OPS_PANEL];
    _Alignas(64) float x[DW_TILES * DW_CHUNK * DW_STRIDE];
    for (int m0 = 0; m0 < job->m; m0 += DW_CHUNK) {
        const int rows = job->m - m0 < DW_CHUNK ? job->m - m0 : DW_CHUNK;
        const float *from = job->dy + (ptrdiff_t)m0 * job->lddy;
        if (job->operands == OPS_BF16_DOT)
            dw_copy_panels(OPS_BF16_DOT, dy, from, job->lddy, p0, p1, job->dw.n, rows);
        else if (job->operands == OPS_BF16_TILE)
            dw_copy_panels(OPS_BF16_TILE, dy, from, job->lddy, p0, p1, job->dw.n, rows);
        else
            dw_copy_panels(OPS_F32, dy, from, job->lddy, p0, p1, job->dw.n, rows);
#if defined(SIMD_AMX)
        if (job->operands == OPS_BF16_TILE) {
            amx_dw_columns(job, p0, p1, j0, j1, m0, rows, dy, x);
            continue;
        }
#endif
        for (int j = j0, end; j < j1; j = end) {
            end = j + DW_TILES * SIMD_TILE_ROWS < j1 ? j + DW_TILES * SIMD_TILE_ROWS : j1;
            dw_slab(job, p0, p1, j, end, m0, rows, dy, x);
        }
    }
}

static void kernel_gemm_dw(void *context, int begin, int end, int thread)
{
    const dw_job *job = context;
    const int panels = gemm_panels(job->dw.n), groups = job->groups;
    (void)thread;
    for (int item = begin; item < end; item++) {
        const int group = item / job->column_blocks, block = item % job->column_blocks;
        dw_block(job, gemm_share(panels, group, groups), gemm_share(panels, group + 1, groups),
                 gemm_share(job->dw.k, block, job->column_blocks),
                 gemm_share(job->dw.k, block + 1, job->column_blocks));
    }
}

static void kernel_bias_grad(void *context, int begin, int end, int thread)
{
    const bias_job *job = context;
    (void)thread;
    for (int item = begin; item < end; item++) {
        const int c = item * 16, n = job->n - c < 16 ? job->n - c : 16;
        v16 sum = v16_zero();
        for (int r = 0; r < job->m; r++)
            sum = v16_add(sum, v16_load_n(job->dy + (ptrdiff_t)r * job->lddy + c, n));
        v16_store_n(job->db + c, v16_add(v16_load_n(job->db + c, n), sum), n);
    }
}

/* The element (token, 0) of a packed matrix; (token, j) lies j * 32 behind (in bf16: j / 2 * 32). */
static float *embed_row(ops_matrix w, int32_t token)
{
    assert(token >= 0 && token < w.n);
    return w.data + (size_t)(token / OPS_PANEL) * ops_panel_words(w) + token % OPS_PANEL;
}

static float bf16_half(uint32_t pair, int high)
{
    const uint32_t bits = high ? pair & 0xffff0000u : pair << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void kernel_embed(void *context, int begin, int end, int thread)
{
    const embed_job *job = context;
    (void)thread;
    for (int r = begin; r < end; r++) {
        const float *w = embed_row(job->w, job->token[r]);
        const uint32_t *pairs = (const uint32_t *)w;
        float *y = job->y + (ptrdiff_t)r * job->ld;
        if (job->w.type == OPS_F32)
            for (int j = 0; j < job->w.k; j++)
                y[j] = job->scale * w[(size_t)j * OPS_PANEL];
        else
            for (int j = 0; j < job->w.k; j++)
                y[j] = job->scale * bf16_half(pairs[(size_t)(j / 2) * OPS_PANEL], j % 2);
    }
}

static void kernel_embed_grad(void *context, int begin, int end, int thread)
{
    const embed_job *job = context;
    (void)thread;
    for (int item = begin; item < end; item++) {
        const int j0 = item * 16, j1 = j0 + 16 < job->w.k ? j0 + 16 : job->w.k;
        for (int r = 0; r < job->m; r++) {
            float *dw = embed_row(job->w, job->token[r]);
            const float *dy = job->dy + (ptrdiff_t)r * job->ld;
            for (int j = j0; j < j1; j++) {
                const float g = job->scale * dy[j];
                dw[(size_t)j * OPS_PANEL] = dw[(size_t)j * OPS_PANEL] + g;
            }
        }
    }
}
