/* Mixtures of experts: routing, moving rows to experts and back, and the gradients. */
#include <assert.h>
#include <string.h>

#include "backend/cpu/job_experts.h"
#include "backend/cpu/kernels.h"
#include "backend/ops.h"

enum { CHUNK_ELEMENTS = 8192 }; /* work that is worth handing to a thread */

static int rows_chunk(int n)
{
    return n >= CHUNK_ELEMENTS ? 1 : CHUNK_ELEMENTS / n;
}

void ops_route(pool *p, int32_t *expert, float *weight, float *z, int ldz, int experts, int used,
               int renormalise, int m)
{
    assert(used > 0 && used <= experts);
    route_job job = {expert, weight, z, ldz, experts, used, renormalise, NULL};
    pool_run(p, m, rows_chunk(8 * experts), ops_kernels()->route, &job);
}

void ops_route_grad(pool *p, float *z, int ldz, const int32_t *expert, const float *weight,
                    const float *dweight, int experts, int used, int renormalise, int m)
{
    route_job job = {(int32_t *)expert, (float *)weight, z, ldz, experts, used, renormalise, dweight};
    pool_run(p, m, rows_chunk(experts), ops_kernels()->route_grad, &job);
}

typedef struct copy_job {
    float *y;
    const float *x;
    int ldy, ldx;
    const int32_t *row;
    int n;
} copy_job;

static void gather_rows(void *context, int begin, int end, int thread)
{
    const copy_job *job = context;
    (void)thread;
    for (int i = begin; i < end; i++)
        memcpy(job->y + (ptrdiff_t)i * job->ldy, job->x + (ptrdiff_t)job->row[i] * job->ldx,
               (size_t)job->n * sizeof *job->y);
}

static void scatter_rows(void *context, int begin, int end, int thread)
{
    const copy_job *job = context;
    (void)thread;
    for (int i = begin; i < end; i++)
        memcpy(job->y + (ptrdiff_t)job->row[i] * job->ldy, job->x + (ptrdiff_t)i * job->ldx,
               (size_t)job->n * sizeof *job->y);
}

void ops_gather(pool *p, float *y, int ldy, const float *x, int ldx, const int32_t *row, int n, int m)
{
    copy_job job = {y, x, ldy, ldx, row, n};
    pool_run(p, m, rows_chunk(n), gather_rows, &job);
}

void ops_scatter(pool *p, float *y, int ldy, const int32_t *row, const float *x, int ldx, int n, int m)
{
    copy_job job = {y, x, ldy, ldx, row, n};
    pool_run(p, m, rows_chunk(n), scatter_rows, &job);
}

void ops_combine(pool *p, float *y, int ldy, const float *x, int ldx, const int32_t *place,
                 const float *weight, int used, int first, int count, int n, int m)
{
    combine_job job = {y, x, ldy, ldx, place, weight, used, first, count, n};
    pool_run(p, m, rows_chunk(n), ops_kernels()->combine, &job);
}

void ops_scale_grad(pool *p, float *dot, float *d, int ldd, float *x, int ldx, const float *weight, int n,
                    int m)
{
    scale_job job = {dot, d, x, ldd, ldx, weight, n};
    pool_run(p, m, rows_chunk(n), ops_kernels()->scale_grad, &job);
}
