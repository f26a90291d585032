/* The per-row operations: RMSNorm, rotary embedding, gated activations. */
#include <assert.h>

#include "backend/cpu/job_rows.h"
#include "backend/cpu/kernels.h"
#include "backend/ops.h"

/* Rows (or units) of `n` elements that make a chunk of work worth handing to a thread. */
static int rows_chunk(int n)
{
    enum { CHUNK_ELEMENTS = 8192 };
    return n >= CHUNK_ELEMENTS ? 1 : CHUNK_ELEMENTS / n;
}

void ops_rmsnorm(pool *p, float *y, int ldy, const float *x, int ldx, const float *w, float offset,
                 float eps, int groups, int n, int m)
{
    norm_job job = {.y = y, .ldy = ldy, .x = x, .ldx = ldx, .w = w, .offset = offset, .eps = eps,
                    .groups = groups, .n = n, .m = m};
    pool_run(p, m * groups, (rows_chunk(n) + 3) & ~3, ops_kernels()->norm, &job);
}

/* Rows are taken in rounds whose sums for dw fit into the calling thread's scratch. */
void ops_rmsnorm_grad(pool *p, float *dx, int lddx, int accumulate, float *dw, const float *dy,
                      int lddy, const float *x, int ldx, const float *w, float offset, float eps,
                      int groups, int n, int m)
{
    float local[16384];
    float *sums = !dw ? NULL : p ? pool_scratch(p, 0) : local;
    const int capacity = (int)((p ? POOL_SCRATCH : sizeof local) / sizeof(float));
    const int rows = dw ? capacity / n * NORM_ROWS : m;
    assert(rows > 0 || m == 0);
    for (int r = 0; r < m; r += rows) {
        norm_job job = {.y = dx + (ptrdiff_t)r * lddx, .ldy = lddx, .x = x + (ptrdiff_t)r * ldx,
                        .ldx = ldx, .w = w, .offset = offset, .eps = eps, .groups = groups, .n = n,
                        .m = m - r < rows ? m - r : rows, .dy = dy + (ptrdiff_t)r * lddy, .lddy = lddy,
                        .accumulate = accumulate, .sums = sums};
        const int items = (job.m + NORM_ROWS - 1) / NORM_ROWS;
        pool_run(p, items, 1, ops_kernels()->norm_grad, &job);
        const uint64_t fp = pool_fp_enter();
        for (int i = 0; dw && i < items; i++)
            for (int j = 0; j < n; j++)
                dw[j] += sums[(ptrdiff_t)i * n + j];
        pool_fp_leave(fp);
    }
}

void ops_rope(pool *p, float *x, int ldx, int heads, int head_dim, int rot, const float *cos_table,
              const float *sin_table, const int32_t *pos, int inverse, int m)
{
    assert(rot % 2 == 0 && rot <= head_dim);
    rope_job job = {x, ldx, heads, head_dim, rot, cos_table, sin_table, pos, inverse};
    pool_run(p, m, rows_chunk(heads * head_dim), ops_kernels()->rope, &job);
}

void ops_glu(pool *p, ops_activation act, float *y, int ldy, const float *gate, int ldg,
             const float *up, int ldu, int n, int m)
{
    glu_job job = {.act = act, .y = y, .ldy = ldy, .gate = gate, .ldg = ldg, .up = up, .ldu = ldu, .n = n};
    pool_run(p, m, rows_chunk(n), ops_kernels()->glu, &job);
}

void ops_glu_grad(pool *p, ops_activation act, float *dgate, int lddg, float *dup, int lddu, float *y,
                  int ldy, const float *dy, int lddy, const float *gate, int ldg, const float *up,
                  int ldu, int n, int m)
{
    glu_job job = {.act = act, .y = y, .ldy = ldy, .gate = gate, .ldg = ldg, .up = up, .ldu = ldu,
                   .n = n, .dy = dy, .lddy = lddy, .dgate = dgate, .lddg = lddg, .dup = dup, .lddu = lddu};
    pool_run(p, m, rows_chunk(n), ops_kernels()->glu_grad, &job);
}
