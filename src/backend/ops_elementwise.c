/* The optimiser's step, the gradient's norm, sums of rows. */
#include <math.h>

#include "backend/cpu/job_elementwise.h"
#include "backend/cpu/kernels.h"
#include "backend/ops.h"

enum { SLAB = 1024 }; /* items whose sums are kept at a time */

static int items_of(size_t n)
{
    return (int)((n + ELEMENTS_PER_ITEM - 1) / ELEMENTS_PER_ITEM);
}

void ops_adamw_step(pool *p, ops_adamw a, float *param, const float *grad, float *m, float *v, size_t n)
{
    adamw_job job = {
        .grad_scale = (float)a.grad_scale,
        .keep = (float)(1.0 - a.lr * a.weight_decay),
        .beta1_rest = (float)(1.0 - a.beta1),
        .beta2 = (float)a.beta2,
        .beta2_rest = (float)(1.0 - a.beta2),
        .root_bias2 = (float)sqrt(a.bias2),
        .eps = (float)a.eps,
        .step = (float)(a.lr / a.bias1),
        .param = param,
        .m = m,
        .v = v,
        .grad = grad,
        .n = n,
    };
    pool_run(p, items_of(n), 4, ops_kernels()->adamw, &job);
}

double ops_sum_squares(pool *p, const float *x, size_t n)
{
    double total = 0.0, sums[SLAB];
    const size_t step = (size_t)SLAB * ELEMENTS_PER_ITEM;
    for (size_t i = 0; i < n; i += step) {
        squares_job job = {x + i, n - i < step ? n - i : step, sums};
        const int items = items_of(job.n);
        pool_run(p, items, 4, ops_kernels()->sum_squares, &job);
        for (int j = 0; j < items; j++)
            total += sums[j];
    }
    return total;
}

void ops_add(pool *p, float *y, int ldy, const float *x, int ldx, int n, int m)
{
    add_job job = {y, x, ldy, ldx, n};
    pool_run(p, m, 16, ops_kernels()->add, &job);
}
