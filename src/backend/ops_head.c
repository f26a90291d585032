/* The head: logits, log-softmax and their gradient. Shapes and scratch; the arithmetic is in
 * cpu/body_head.h. */
#include <assert.h>
#include <string.h>

#include "backend/cpu/job_head.h"
#include "backend/cpu/kernels.h"
#include "backend/ops.h"

static int blocks_of(int n, int size)
{
    return (n + size - 1) / size;
}

/* ---- scratch ------------------------------------------------------------------------------- */

/* Takes n elements of scratch, in whole cache lines. */
static float *take(float **scratch, size_t n)
{
    float *p = *scratch;
    *scratch += (n + 15) / 16 * 16;
    return p;
}

static float *align(float *scratch)
{
    return (float *)(((uintptr_t)scratch + 63) & ~(uintptr_t)63);
}

size_t ops_head_scratch(pool *p, int k, int vocab, int m)
{
    const size_t rows = (size_t)m, line = 16;
    const size_t forward = (size_t)pool_threads(p) * HEAD_ROWS * HEAD_LD + rows +
                           rows * (size_t)blocks_of(vocab, OPS_VOCAB_BLOCK) * 3 + 4 * line;
    const size_t backward = rows * ((size_t)k + HEAD_LD + 2) +
                            ops_matrix_elements(k, OPS_VOCAB_BLOCK) + 6 * line;
    return forward > backward ? forward : backward;
}

/* ---- forward --------------------------------------------------------------------------------- */

static void head_forward(pool *p, head_job *job, float *scratch)
{
    if (job->m <= 0)
        return;
    scratch = align(scratch);
    job->blocks = blocks_of(job->w.n, OPS_VOCAB_BLOCK);
    job->row_blocks = blocks_of(job->m, HEAD_ROWS);
    job->panel_group = gemm_plan_for(pool_threads(p), job->w.type, gemm_panels(job->w.n), ops_panel_words(job->w), job->m).panel_group;
    job->target_z = take(&scratch, (size_t)job->m);
    job->stats = (head_stat *)take(&scratch, (size_t)job->m * (size_t)job->blocks * 3);
    job->tile = scratch;
    pool_run(p, job->blocks * job->row_blocks, 1, ops_kernels()->head_block, job);
    pool_run(p, job->m, 4, ops_kernels()->head_combine, job);
}

void ops_head_logits(pool *p, ops_matrix w, const float *h, int ldh, float inv_temperature, float *z,
                     int ldz, ops_softmax_row *rows, int want_entropy, int m, float *scratch)
{
    head_job job = {.w = w, .h = h, .ldh = ldh, .m = m, .inv_temperature = inv_temperature, .z = z,
                    .ldz = ldz, .want_entropy = want_entropy, .rows = rows};
    head_forward(p, &job, scratch);
}

void ops_head_logprob(pool *p, ops_matrix w, const float *h, int ldh, float inv_temperature,
                      const int32_t *target, const uint32_t *const *allowed, float *logprob,
                      ops_softmax_row *rows, int want_entropy, int m, float *scratch)
{
    head_job job = {.w = w, .h = h, .ldh = ldh, .m = m, .inv_temperature = inv_temperature,
                    .allowed = allowed, .target = target, .want_entropy = want_entropy, .rows = rows,
                    .logprob = logprob};
    for (int r = 0; r < m; r++)
        assert(target[r] >= 0 && target[r] < w.n);
    head_forward(p, &job, scratch);
}

void ops_softmax_stats(pool *p, const float *z, int ldz, int vocab, const uint32_t *const *allowed,
                       ops_softmax_row *rows, int want_entropy, int m)
{
    head_job job = {.w = {.n = vocab}, .m = m, .z = (float *)z, .ldz = ldz, .allowed = allowed,
                    .want_entropy = want_entropy, .rows = rows};
    pool_run(p, m, 1, ops_kernels()->softmax_stats, &job);
}

int32_t ops_softmax_draw(const float *z, int vocab, const uint32_t *allowed, ops_softmax_row stats, double uniform)
{
    draw_job job = {.z = z, .vocab = vocab, .allowed = allowed, .max = stats.max, .uniform = uniform, .token = -1};
    pool_run(NULL, 1, 1, ops_kernels()->softmax_draw, &job);
    return job.token;
}

/* ---- backward ---------------------------------------------------------------------------------- */

/* Lists the rows with a coefficient other than 0 and gathers their h when there are others. */
static void gather_rows(head_grad_job *job, int32_t *row, float *log_sum, float *gathered, int m)
{
    for (int r = 0; r < m; r++)
        if (job->coef[r] != 0.0f || (job->entropy_coef && job->entropy_coef[r] != 0.0f)) {
            row[job->m] = r;
            log_sum[job->m] = ops_log(job->rows[r].sum);
            job->m++;
        }
    job->row = row;
    job->log_sum = log_sum;
    if (job->m == m)
        return;
    const int k = job->w.k;
    for (int i = 0; i < job->m; i++)
        memcpy(gathered + (size_t)i * k, job->h + (ptrdiff_t)row[i] * job->ldh, (size_t)k * sizeof(float));
    job->h = gathered;
    job->ldh = k;
}

/* dh holds the active rows side by side at its start: puts each in its place, zeros elsewhere. */
static void spread_rows(float *dh, int lddh, int k, const int32_t *row, int active, int m)
{
    for (int r = m - 1, i = active - 1; r >= 0; r--) {
        float *to = dh + (ptrdiff_t)r * lddh;
        if (i >= 0 && row[i] == r) {
            if (i != r)
                memcpy(to, dh + (ptrdiff_t)i * lddh, (size_t)k * sizeof *dh);
            i--;
        } else {
            memset(to, 0, (size_t)k * sizeof *dh);
        }
    }
}

/* Blocks of rows of the logits' gradient: whole rows of a block of the vocabulary each, two tiles high. */
static int head_row_blocks(int m, int threads)
{
    enum { ROWS = 28 };
    const int blocks = blocks_of(m, ROWS);
    return blocks < threads ? blocks_of(m, ROWS / 2) : blocks;
}

/* One block of the vocabulary: logits and their gradient; then both products. */
static void grad_block(pool *p, head_grad_job *job, ops_matrix w, ops_matrix dw, int v0)
{
    const int entries = w.n - v0 < OPS_VOCAB_BLOCK ? w.n - v0 : OPS_VOCAB_BLOCK;
    job->v0 = v0;
    job->w = ops_matrix_rows(w, v0, entries);
    job->wt.k = job->w.n;
    job->dh.w = job->wt;
    job->dh.residual = v0 ? job->dh.y : NULL;
    const int threads = pool_threads(p), panels = gemm_panels(job->w.n), out_panels = gemm_panels(w.k);
    job->logits = gemm_plan_for(threads, w.type, panels, ops_panel_words(w), job->m);
    job->logits.row_blocks = head_row_blocks(job->m, threads);
    job->out = gemm_plan_for(threads, job->wt.type, out_panels, ops_panel_words(job->wt), job->m);
    job->shares = threads;
    job->dw_items = 0;
    if (dw.data) {
        job->dw.dw = ops_matrix_rows(dw, v0, entries);
        job->dw_items = dw_plan(&job->dw, threads);
    }
    pool_run(p, job->logits.row_blocks + out_panels, 1, ops_kernels()->head_grad_logits, job);
    pool_run(p, job->dw_items + gemm_groups(w.k, job->out.panel_group) * job->out.row_blocks, 1,
             ops_kernels()->head_grad_products, job);
}

void ops_head_grad(pool *p, ops_matrix w, ops_matrix dw, const float *h, int ldh, float inv_temperature,
                   const int32_t *target, const uint32_t *const *allowed, const ops_softmax_row *rows,
                   const float *coef, const float *entropy_coef, float *dh, int lddh, int m, float *scratch)
{
    const int k = w.k;
    scratch = align(scratch);
    int32_t *row = (int32_t *)take(&scratch, (size_t)m);
    float *log_sum = take(&scratch, (size_t)m), *gathered = take(&scratch, (size_t)m * (size_t)k);
    head_grad_job job = {.w = w, .inv_temperature = inv_temperature, .h = h, .ldh = ldh, .target = target,
                         .allowed = allowed, .rows = rows, .coef = coef, .entropy_coef = entropy_coef};
    gather_rows(&job, row, log_sum, gathered, m);
    if (job.m > 0) {
        job.dz = take(&scratch, (size_t)job.m * HEAD_LD);
        job.wt = ops_transposed(w, scratch);
        job.dh = (ops_product){.y = dh, .ldy = lddh, .ldr = lddh};
        if (dw.data)
            job.dw = (dw_job){.dy = job.dz, .x = job.h, .lddy = HEAD_LD, .ldx = job.ldh, .m = job.m,
                              .operands = w.type};
        for (int v0 = 0; v0 < w.n; v0 += OPS_VOCAB_BLOCK)
            grad_block(p, &job, w, dw, v0);
    }
    spread_rows(dh, lddh, k, row, job.m, m);
}
