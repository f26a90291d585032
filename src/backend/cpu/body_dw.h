/* dw += dy^T x, bias gradients, embeddings: what the weights' gradients are made of. */

/* out[rows][32] = columns [c0, c0 + 32) of dy, zero from column n on. */
static void dw_copy_panel(float *out, const float *dy, ptrdiff_t lddy, int c0, int n, int rows)
{
    const int n0 = n - c0 < 16 ? n - c0 : 16;
    const int n1 = n - c0 < 32 ? n - c0 > 16 ? n - c0 - 16 : 0 : 16;
    dy += c0;
    for (int r = 0; r < rows; r++, dy += lddy, out += OPS_PANEL) {
        v16_store(out, v16_load_n(dy, n0));
        v16_store(out + 16, n1 > 0 ? v16_load_n(dy + 16, n1) : v16_zero());
    }
}

/* out[rows][SIMD_TILE_ROWS] = `columns` columns of x. */
static void dw_copy_tile(float *out, const float *x, ptrdiff_t ldx, int columns, int rows)
{
    if (columns == SIMD_TILE_ROWS)
        for (int r = 0; r < rows; r++)
            memcpy(out + r * SIMD_TILE_ROWS, x + r * ldx, SIMD_TILE_ROWS * sizeof *out);
    else
        for (int r = 0; r < rows; r++)
            memcpy(out + r * SIMD_TILE_ROWS, x + r * ldx, (size_t)columns * sizeof *out);
}

/* dw[j][32] += chain over rows of x[row][j] * dy[row][.], for `columns` values of j; `width` columns of
 * the panel exist from here on (the padding must stay zero even beside infinities). */
SIMD_INLINE void dw_tile_columns(const int columns, float *dw, int width, const float *x, const float *dy,
                                 int rows)
{
    v16 acc[SIMD_TILE_ROWS][SIMD_TILE_VECS];
    SIMD_UNROLL
    for (int i = 0; i < columns; i++) {
        SIMD_UNROLL
        for (int v = 0; v < SIMD_TILE_VECS; v++)
            acc[i][v] = v16_zero();
    }
    for (const float *end = dy + (ptrdiff_t)rows * OPS_PANEL; dy < end; dy += OPS_PANEL, x += SIMD_TILE_ROWS) {
        v16 b[SIMD_TILE_VECS];
        SIMD_UNROLL
        for (int v = 0; v < SIMD_TILE_VECS; v++)
            b[v] = v16_load(dy + 16 * v);
        SIMD_UNROLL
        for (int i = 0; i < columns; i++) {
            const v16 a = v16_set1(x[i]);
            SIMD_UNROLL
            for (int v = 0; v < SIMD_TILE_VECS; v++)
                acc[i][v] = v16_fma(a, b[v], acc[i][v]);
        }
    }
    SIMD_UNROLL
    for (int v = 0; v < SIMD_TILE_VECS; v++) {
        const int n = width - 16 * v >= 16 ? 16 : width - 16 * v > 0 ? width - 16 * v : 0;
        SIMD_UNROLL
        for (int i = 0; i < columns; i++) {
            float *p = dw + i * OPS_PANEL + 16 * v;
            v16_store_n(p, v16_add(v16_load_n(p, n), acc[i][v]), n);
        }
    }
}

static void dw_tile_run(int columns, float *dw, int width, const float *x, const float *dy, int rows)
{
    switch (columns) {
#define CASE(c)                                                                                    \
    case c:                                                                                        \
        dw_tile_columns(c, dw, width, x, dy, rows);                                                \
        break;
        SIMD_TILE_CASES(CASE)
#undef CASE
    default:
        assert(!"columns of a tile");
    }
}

/* Panels [p0, p1), at most DW_GROUP, of dw and columns [j0, j1) of x. */
static void dw_block(const dw_job *job, int p0, int p1, int j0, int j1)
{
    _Alignas(64) float dy[DW_GROUP][DW_CHUNK * OPS_PANEL];
    _Alignas(64) float x[DW_CHUNK * SIMD_TILE_ROWS];
    const int tiles = (j1 - j0 + SIMD_TILE_ROWS - 1) / SIMD_TILE_ROWS;
    for (int m0 = 0; m0 < job->m; m0 += DW_CHUNK) {
        const int rows = job->m - m0 < DW_CHUNK ? job->m - m0 : DW_CHUNK;
        for (int p = p0; p < p1; p++)
            dw_copy_panel(dy[p - p0], job->dy + (ptrdiff_t)m0 * job->lddy, job->lddy, p * OPS_PANEL, job->dw.n,
                          rows);
        for (int i = 0, j = j0, end; i < tiles; i++, j = end) {
            end = j0 + (int)((int64_t)(j1 - j0) * (i + 1) / tiles);
            dw_copy_tile(x, job->x + (ptrdiff_t)m0 * job->ldx + j, job->ldx, end - j, rows);
            for (int p = p0; p < p1; p++)
                for (int c = 0; c < OPS_PANEL; c += 16 * SIMD_TILE_VECS)
                    dw_tile_run(end - j, job->dw.data + ((size_t)p * job->dw.k + j) * OPS_PANEL + c,
                                job->dw.n - p * OPS_PANEL - c, x, dy[p - p0] + c, rows);
        }
    }
}

static void kernel_gemm_dw(void *context, int begin, int end, int thread)
{
    const dw_job *job = context;
    const int panels = gemm_panels(job->dw.n), groups = gemm_groups(job->dw.n, job->panel_group);
    (void)thread;
    for (int item = begin; item < end; item++) {
        const int group = item / job->column_blocks, block = item % job->column_blocks;
        dw_block(job, (int)((int64_t)panels * group / groups), (int)((int64_t)panels * (group + 1) / groups),
                 (int)((int64_t)job->dw.k * block / job->column_blocks),
                 (int)((int64_t)job->dw.k * (block + 1) / job->column_blocks));
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

/* The element (token, 0) of a packed matrix; (token, j) lies j * 32 behind. */
static float *embed_row(ops_matrix w, int32_t token)
{
    assert(token >= 0 && token < w.n);
    return w.data + (size_t)(token / OPS_PANEL) * w.k * OPS_PANEL + token % OPS_PANEL;
}

static void kernel_embed(void *context, int begin, int end, int thread)
{
    const embed_job *job = context;
    (void)thread;
    for (int r = begin; r < end; r++) {
        const float *w = embed_row(job->w, job->token[r]);
        float *y = job->y + (ptrdiff_t)r * job->ld;
        for (int j = 0; j < job->w.k; j++)
            y[j] = job->scale * w[(size_t)j * OPS_PANEL];
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
