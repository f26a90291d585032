/* Packing matrices into panels of 32 columns and back, in blocks of 16 x 16. */

static void kernel_pack(void *context, int begin, int end, int thread)
{
    const pack_job *job = context;
    const int k = job->w.k;
    (void)thread;
    for (int half = 2 * begin; half < 2 * end; half++) {
        const int rows = job->w.n - half * 16; /* may be < 0 or > 16 */
        const float *src = job->src + (ptrdiff_t)half * 16 * job->ld;
        float *dst = job->w.data + (size_t)(half / 2) * k * OPS_PANEL + half % 2 * 16;
        for (int j = 0; j < k; j += 16) {
            const int cols = k - j < 16 ? k - j : 16;
            v16 block[16];
            for (int i = 0; i < 16; i++)
                block[i] = i < rows ? v16_load_n(src + (ptrdiff_t)i * job->ld + j, cols) : v16_zero();
            v16_transpose(block);
            for (int c = 0; c < cols; c++)
                v16_store(dst + (size_t)(j + c) * OPS_PANEL, block[c]);
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
        const float *src = job->w.data + (size_t)(half / 2) * k * OPS_PANEL + half % 2 * 16;
        for (int j = 0; j < k; j += 16) {
            const int cols = k - j < 16 ? k - j : 16;
            v16 block[16];
            for (int c = 0; c < 16; c++)
                block[c] = c < cols ? v16_load(src + (size_t)(j + c) * OPS_PANEL) : v16_zero();
            v16_transpose(block);
            for (int i = 0; i < 16 && i < rows; i++)
                v16_store_n(dst + (ptrdiff_t)i * job->ld + j, block[i], cols);
        }
    }
}

/* Columns j0 .. j0 + 15 of `from` as 16 columns of a panel of its transpose: dst[v][32]. */
static void pack_transposed_half(ops_matrix from, int j0, float *dst)
{
    const int cols = from.k - j0; /* may be <= 0 or > 16 */
    for (int v = 0; v < from.n; v += 16) {
        const float *src = from.data + ((size_t)(v / OPS_PANEL) * from.k + j0) * OPS_PANEL + v % OPS_PANEL;
        const int rows = from.n - v < 16 ? from.n - v : 16;
        v16 block[16];
        for (int c = 0; c < 16; c++)
            block[c] = c < cols ? v16_load(src + c * OPS_PANEL) : v16_zero();
        v16_transpose(block);
        for (int r = 0; r < rows; r++)
            v16_store(dst + (size_t)(v + r) * OPS_PANEL, block[r]);
    }
}

static void kernel_pack_transposed(void *context, int begin, int end, int thread)
{
    const pack_job *job = context;
    (void)thread;
    for (int panel = begin; panel < end; panel++) {
        float *dst = job->w.data + (size_t)panel * job->w.k * OPS_PANEL;
        pack_transposed_half(job->from, panel * OPS_PANEL, dst);
        pack_transposed_half(job->from, panel * OPS_PANEL + 16, dst + 16);
    }
}
