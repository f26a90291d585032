/* Packing matrices into panels of 32 columns and back, in blocks of 16 x 16; bf16 and f32. */

/* ---- half a panel: 16 columns ---------------------------------------------------------------------------- */

/* The first of columns [16 half, 16 half + 16). */
static uint32_t *half_panel(ops_matrix w, int half)
{
    return w.pairs + (size_t)(half / 2) * ops_panel_words(w) + half % 2 * 16;
}

/* Row j of W^T in these columns. */
SIMD_INLINE v16 half_panel_load(ops_type type, const uint32_t *half, int j)
{
    if (type == OPS_F32)
        return v16_as_float(v16i_load(half + (size_t)j * OPS_PANEL));
    const v16i pairs = v16i_load(half + (size_t)(j / 2) * OPS_PANEL);
    return j % 2 ? v16_from_high(pairs) : v16_from_low(pairs);
}

/* Rows j .. j + rows - 1 of W^T, j even, rows <= 16; zeros lie behind the last one of a block. */
SIMD_INLINE void half_panel_store(ops_type type, uint32_t *half, int j, const v16 block[16], int rows)
{
    if (type == OPS_F32) {
        for (int i = 0; i < rows; i++)
            v16i_store(half + (size_t)(j + i) * OPS_PANEL, v16_as_int(block[i]));
        return;
    }
    for (int i = 0; i < rows; i += 2)
        v16i_store(half + (size_t)((j + i) / 2) * OPS_PANEL,
                   v16_pair_bf16(block[i], i + 1 < rows ? block[i + 1] : v16_zero()));
}

/* ---- kernels --------------------------------------------------------------------------------------------- */

static void kernel_pack(void *context, int begin, int end, int thread)
{
    const pack_job *job = context;
    const int k = job->w.k;
    (void)thread;
    for (int half = 2 * begin; half < 2 * end; half++) {
        const int rows = job->w.n - half * 16; /* may be < 0 or > 16 */
        const float *src = job->src + (ptrdiff_t)half * 16 * job->ld;
        uint32_t *dst = half_panel(job->w, half);
        for (int j = 0; j < k; j += 16) {
            const int cols = k - j < 16 ? k - j : 16;
            v16 block[16];
            for (int i = 0; i < 16; i++)
                block[i] = i < rows ? v16_load_n(src + (ptrdiff_t)i * job->ld + j, cols) : v16_zero();
            v16_transpose(block);
            half_panel_store(job->w.type, dst, j, block, cols);
        }
    }
}

static void kernel_unpack(void *context, int begin, int end, int thread)
{
    const pack_job *job = context;
    const int k = job->w.k;
    (void)thread;
    for (int half = 2 * begin; half < 2 * end; half++) {
        const int rows = job->w.n - half * 16;
        float *dst = job->dst + (ptrdiff_t)half * 16 * job->ld;
        const uint32_t *src = half_panel(job->w, half);
        for (int j = 0; j < k; j += 16) {
            const int cols = k - j < 16 ? k - j : 16;
            v16 block[16];
            for (int c = 0; c < 16; c++)
                block[c] = c < cols ? half_panel_load(job->w.type, src, j + c) : v16_zero();
            v16_transpose(block);
            for (int i = 0; i < 16 && i < rows; i++)
                v16_store_n(dst + (ptrdiff_t)i * job->ld + j, block[i], cols);
        }
    }
}

static void kernel_round(void *context, int begin, int end, int thread)
{
    const pack_job *job = context;
    const int k = job->w.k;
    (void)thread;
    for (int half = 2 * begin; half < 2 * end; half++) {
        uint32_t *dst = half_panel(job->w, half);
        const uint32_t *src = half_panel(job->from, half);
        for (int j = 0; j < k; j += 2, dst += OPS_PANEL)
            v16i_store(dst, v16_pair_bf16(half_panel_load(OPS_F32, src, j),
                                          j + 1 < k ? half_panel_load(OPS_F32, src, j + 1) : v16_zero()));
    }
}

/* Columns [16 half, 16 half + 16) of `to` = from^T. */
static void pack_transposed_half(ops_matrix to, ops_matrix from, int half)
{
    const int j0 = 16 * half, cols = from.k - j0; /* may be <= 0 or > 16 */
    uint32_t *dst = half_panel(to, half);
    for (int v = 0; v < from.n; v += 16) {
        const uint32_t *src = half_panel(from, v / 16);
        v16 block[16];
        for (int c = 0; c < 16; c++)
            block[c] = c < cols ? half_panel_load(from.type, src, j0 + c) : v16_zero();
        v16_transpose(block);
        half_panel_store(to.type, dst, v, block, from.n - v < 16 ? from.n - v : 16);
    }
}

static void kernel_pack_transposed(void *context, int begin, int end, int thread)
{
    const pack_job *job = context;
    (void)thread;
    for (int half = 2 * begin; half < 2 * end; half++)
        pack_transposed_half(job->w, job->from, half);
}
