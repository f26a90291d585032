/* Rows of keys and values into the blocks of the store and back. Whole blocks are transposed in registers,
 * parts of blocks one number at a time. */

/* n rows from position `at` of a block on (keys [head_dim][16], values [16][head_dim]). */
static void kv_write_block(float *block, int at, int n, int d, const float *k, int ldk, const float *v,
                           int ldv)
{
    float *values = block + (ptrdiff_t)OPS_KV_BLOCK * d + (ptrdiff_t)at * d;
    for (int r = 0; r < n; r++)
        memcpy(values + (ptrdiff_t)r * d, v + (ptrdiff_t)r * ldv, sizeof(float) * (size_t)d);
    for (int c = 0; c < d && n == 16; c += 16) {
        const int cols = d - c < 16 ? d - c : 16;
        v16 rows[16];
        for (int r = 0; r < 16; r++)
            rows[r] = v16_load_n(k + (ptrdiff_t)r * ldk + c, cols);
        v16_transpose(rows);
        for (int e = 0; e < cols; e++)
            v16_store(block + (ptrdiff_t)(c + e) * 16, rows[e]);
    }
    for (int r = 0; r < n && n < 16; r++)
        for (int c = 0; c < d; c++)
            block[c * 16 + at + r] = k[(ptrdiff_t)r * ldk + c];
}

static void kv_read_block(const float *block, int at, int n, int d, float *k, int ldk, float *v, int ldv)
{
    const float *values = block + (ptrdiff_t)OPS_KV_BLOCK * d + (ptrdiff_t)at * d;
    for (int r = 0; r < n; r++)
        memcpy(v + (ptrdiff_t)r * ldv, values + (ptrdiff_t)r * d, sizeof(float) * (size_t)d);
    for (int c = 0; c < d && n == 16; c += 16) {
        const int cols = d - c < 16 ? d - c : 16;
        v16 rows[16];
        for (int e = 0; e < 16; e++)
            rows[e] = e < cols ? v16_load(block + (ptrdiff_t)(c + e) * 16) : v16_zero();
        v16_transpose(rows);
        for (int r = 0; r < 16; r++)
            v16_store_n(k + (ptrdiff_t)r * ldk + c, rows[r], cols);
    }
    for (int r = 0; r < n && n < 16; r++)
        for (int c = 0; c < d; c++)
            k[(ptrdiff_t)r * ldk + c] = block[c * 16 + at + r];
}

SIMD_INLINE void kv_piece_copy(const kv_job *job, const kv_piece *piece, const int write)
{
    const ops_kv kv = job->kv;
    const ops_span *span = job->spans + piece->span;
    const int d = kv.head_dim;
    for (int r = piece->row, n; r < piece->row + piece->rows; r += n) {
        const int pos = span->first_pos + r, at = pos % OPS_KV_BLOCK;
        n = OPS_KV_BLOCK - at;
        n = piece->row + piece->rows - r < n ? piece->row + piece->rows - r : n;
        for (int h = 0; h < kv.kv_heads; h++) {
            float *block = attn_keys(kv, span->blocks[pos / OPS_KV_BLOCK], h);
            float *k = job->k + (ptrdiff_t)(span->first_row + r) * job->ldk + (ptrdiff_t)h * d;
            float *v = job->v + (ptrdiff_t)(span->first_row + r) * job->ldv + (ptrdiff_t)h * d;
            if (write)
                kv_write_block(block, at, n, d, k, job->ldk, v, job->ldv);
            else
                kv_read_block(block, at, n, d, k, job->ldk, v, job->ldv);
        }
    }
}

static void kernel_kv_write(void *context, int begin, int end, int thread)
{
    const kv_job *job = context;
    (void)thread;
    for (int i = begin; i < end; i++)
        kv_piece_copy(job, job->pieces + i, 1);
}

static void kernel_kv_read(void *context, int begin, int end, int thread)
{
    const kv_job *job = context;
    (void)thread;
    for (int i = begin; i < end; i++)
        kv_piece_copy(job, job->pieces + i, 0);
}
