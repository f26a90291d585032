/* Tile chains on AMX: products and weight gradients of BF16_TILE. TDPBF16PS adds to a tile of 16 x 16 sums one block
 * of each chain: rows of pairs from the left operand, a panel's lines, as they are packed, from the right one.
 *
 * Tiles: 0 to 3 hold sums, two rows of tiles times the two halves of a panel; 4 and 5 the left operands of the upper
 * and the lower row, 6 and 7 the halves of the panel. A tile's rows never meet, and its height is what is there. */

enum { AMX_TILE = 16, AMX_ROWS = 2 * AMX_TILE };

/* The instructions read and write memory, which the compiler must know: its own intrinsics do not all say so. */
#define AMX_LOAD(tile, from, stride) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile : : "r"(from), "r"((ptrdiff_t)(stride)) : "memory")
#define AMX_STORE(tile, to, stride) \
    __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" : : "r"(to), "r"((ptrdiff_t)(stride)) : "memory")
#define AMX_ZERO(tile) __asm__ volatile("tilezero %%tmm" #tile : :)
#define AMX_ADD(sums, left, right) __asm__ volatile("tdpbf16ps %%tmm" #right ", %%tmm" #left ", %%tmm" #sums : :)

/* Palette 1: bytes of a row and rows of each of the eight tiles. */
typedef struct amx_shapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} amx_shapes;

/* For this many rows, at most AMX_ROWS; without a lower row of tiles its tiles do not exist. */
static void amx_begin(int rows)
{
    const int upper = rows < AMX_TILE ? rows : AMX_TILE, lower = rows - upper;
    const int height[8] = {upper, upper, lower, lower, upper, lower, AMX_TILE, AMX_TILE};
    amx_shapes s = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        s.row_bytes[i] = height[i] ? 64 : 0;
        s.rows[i] = (uint8_t)height[i];
    }
    __asm__ volatile("ldtilecfg %0" : : "m"(s));
}

/* Without tiles in use a thread's state is small again: switching to another one is as cheap as ever. */
static void amx_end(void)
{
    __asm__ volatile("tilerelease" : :);
}

/* A left operand of one or two rows of tiles: rows of pairs `stride` bytes apart, a block's pairs `step` bytes apart. */
typedef struct amx_left {
    const char *pairs;
    ptrdiff_t stride, step;
    int rows;
    int fetch; /* the panel comes from memory: ask for it AMX_AHEAD words before its use */
} amx_left;

/* Four blocks. Tile loads alone keep too few lines under way: 32 rows of decoding 2,300, asking 2,830 tokens/s. */
enum { AMX_AHEAD = 4 * AMX_TILE * OPS_PANEL };

/* `blocks` blocks of left x panel, from a block of the left operand on. */
SIMD_INLINE void amx_blocks(const int both, const amx_left *a, const char *left, const uint32_t *panel, int blocks)
{
    const ptrdiff_t stride = a->stride;
    for (; blocks > 0; blocks--, left += a->step, panel += AMX_TILE * OPS_PANEL) {
        for (int i = 0; a->fetch && i < AMX_TILE * OPS_PANEL; i += 16)
            __builtin_prefetch((const void *)((uintptr_t)panel + 4 * (uintptr_t)(AMX_AHEAD + i)), 0, 2);
        AMX_LOAD(4, left, stride);
        AMX_LOAD(6, panel, 4 * OPS_PANEL);
        AMX_ADD(0, 4, 6);
        AMX_LOAD(7, panel + 16, 4 * OPS_PANEL);
        AMX_ADD(1, 4, 7);
        if (both) {
            AMX_LOAD(5, left + AMX_TILE * stride, stride);
            AMX_ADD(2, 5, 6);
            AMX_ADD(3, 5, 7);
        }
    }
}

/* sums[row][32] = tile chains over `lines` lines of a panel. */
SIMD_INLINE void amx_chains(const int both, float *sums, const amx_left *left, const uint32_t *panel, int lines)
{
    AMX_ZERO(0);
    AMX_ZERO(1);
    if (both) {
        AMX_ZERO(2);
        AMX_ZERO(3);
    }
    const int blocks = lines / AMX_TILE, rest = lines % AMX_TILE;
    amx_blocks(both, left, left->pairs, panel, blocks);
    if (rest) {
        _Alignas(64) uint32_t last[AMX_TILE * OPS_PANEL] = {0};
        memcpy(last, panel + (size_t)blocks * AMX_TILE * OPS_PANEL, (size_t)rest * OPS_PANEL * sizeof *last);
        amx_blocks(both, left, left->pairs + blocks * left->step, last, 1);
    }
    AMX_STORE(0, sums, 4 * OPS_PANEL);
    AMX_STORE(1, sums + 16, 4 * OPS_PANEL);
    if (both) {
        AMX_STORE(2, sums + AMX_TILE * OPS_PANEL, 4 * OPS_PANEL);
        AMX_STORE(3, sums + AMX_TILE * OPS_PANEL + 16, 4 * OPS_PANEL);
    }
}

static void amx_run(float *sums, const amx_left *left, const uint32_t *panel, int lines)
{
    if (left->rows > AMX_TILE)
        amx_chains(1, sums, left, panel, lines);
    else
        amx_chains(0, sums, left, panel, lines);
}

/* ---- products ---------------------------------------------------------------------------------------- */

/* The rows from r on of one panel. */
static void amx_gemm_panel(const ops_product *p, const gemm_range *q, float scale, const amx_left *left, int panel, int r)
{
    _Alignas(64) float sums[AMX_ROWS * OPS_PANEL];
    const int column = panel * OPS_PANEL, k = p->w.k, first = r - q->row0;
    amx_run(sums, left, p->w.pairs + (size_t)panel * ops_panel_words(p->w), (k + 1) / 2);
    gemm_tile t = {.y = p->y + (ptrdiff_t)first * p->ldy + (column - q->column0), .bias = p->bias ? p->bias + column : NULL,
                   .columns = p->w.n - column, .scale = scale};
    for (int i = 0; i < left->rows; i++, t.y += p->ldy) {
        const v16 acc[2] = {v16_load(sums + i * OPS_PANEL), v16_load(sums + i * OPS_PANEL + 16)};
        t.residual = p->residual ? p->residual + (ptrdiff_t)(first + i) * p->ldr + (column - q->column0) : NULL;
        gemm_tile_finish(1, 2, acc, &t);
    }
}

static void amx_gemm_block(const ops_product *p, gemm_range q, float scale, const float *x, ptrdiff_t ldx)
{
    _Alignas(64) float pairs[GEMM_ROUNDED];
    const int k = p->w.k, rows = q.r1 - q.r0, most = gemm_rounded_rows(GEMM_PAIRS, k, AMX_ROWS);
    const int tiles = (rows + most - 1) / most;
    for (int i = 0, r = q.r0, end; i < tiles; i++, r = end) {
        end = q.r0 + gemm_share(rows, i + 1, tiles);
        gemm_round_rows(GEMM_PAIRS, pairs, x + (ptrdiff_t)r * ldx, ldx, end - r, k);
        const amx_left left = {(const char *)pairs, 4 * gemm_rounded_stride(GEMM_PAIRS, k), 64, end - r, i == 0};
        amx_begin(left.rows);
        for (int panel = q.p0; panel < q.p1; panel++)
            amx_gemm_panel(p, &q, scale, &left, panel, r);
    }
    amx_end();
}

/* ---- weight gradients ---------------------------------------------------------------------------------- */

/* A tile of the left operand takes 1 KB: [column][16 pairs of rows]. From one block to the next there are two. */
enum { AMX_DW_STEP = 2 * AMX_TILE * 64 };

/* Columns [0, n), n <= 16, of x transposed: tiles of 16 columns x 32 rows. */
static void amx_transpose(float *out, const float *x, ptrdiff_t ldx, int n, int rows)
{
    for (; rows > 0; rows -= OPS_TILE_BLOCK, x += OPS_TILE_BLOCK * ldx, out += AMX_DW_STEP / 4) {
        v16 line[16];
        for (int i = 0; i < 16; i++)
            line[i] = dw_line(OPS_BF16_TILE, x + 2 * i * ldx, ldx, n, rows - 2 * i);
        v16_transpose(line);
        for (int i = 0; i < n; i++)
            v16_store(out + i * AMX_TILE, line[i]);
    }
}

/* dw[column][32] += sums, columns of the panel that exist only. */
static void amx_dw_add(float *dw, const float *sums, int columns, int width)
{
    for (int i = 0; i < columns; i++, dw += OPS_PANEL, sums += OPS_PANEL)
        for (int v = 0; v < 2; v++) {
            const int n = width - 16 * v >= 16 ? 16 : width - 16 * v > 0 ? width - 16 * v : 0;
            v16_store_n(dw + 16 * v, v16_add(v16_load_n(dw + 16 * v, n), v16_load(sums + 16 * v)), n);
        }
}

/* Panels [p0, p1) of dw and columns [j0, j1) of x, rows from m0 on; dy is a copy, x room. */
static void amx_dw_columns(const dw_job *job, int p0, int p1, int j0, int j1, int m0, int rows, const float *dy, float *x)
{
    _Alignas(64) float sums[AMX_ROWS * OPS_PANEL];
    for (int j = j0; j < j1; j += AMX_ROWS) {
        const int columns = j1 - j < AMX_ROWS ? j1 - j : AMX_ROWS, upper = columns < AMX_TILE ? columns : AMX_TILE;
        const float *from = job->x + (ptrdiff_t)m0 * job->ldx + j;
        amx_transpose(x, from, job->ldx, upper, rows);
        if (columns > upper)
            amx_transpose(x + AMX_TILE * AMX_TILE, from + upper, job->ldx, columns - upper, rows);
        const amx_left left = {(const char *)x, 64, AMX_DW_STEP, columns, 0};
        amx_begin(columns);
        for (int p = p0; p < p1; p++) {
            float *dw = job->dw.data + ((size_t)p * job->dw.k + j) * OPS_PANEL;
            for (int i = 0; i < columns * OPS_PANEL; i += 16)
                __builtin_prefetch(dw + i, 1);
            amx_run(sums, &left, (const uint32_t *)dy + (size_t)(p - p0) * dw_panel_stride(OPS_BF16_TILE),
                    dw_copied_rows(OPS_BF16_TILE, rows) / 2);
            amx_dw_add(dw, sums, columns, job->dw.n - p * OPS_PANEL);
        }
    }
    amx_end();
}
