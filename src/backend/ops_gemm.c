/* Matrices: packing and products. */
#include <assert.h>

#include "backend/cpu/job_gemm.h"
#include "backend/cpu/kernels.h"
#include "backend/ops.h"

size_t ops_matrix_elements(int n, int k)
{
    return (size_t)gemm_panels(n) * OPS_PANEL * (size_t)k;
}

void ops_pack(pool *p, ops_matrix w, const float *src, int lds)
{
    pack_job job = {.w = w, .src = src, .ld = lds};
    pool_run(p, gemm_panels(w.n), 1, ops_kernels()->pack, &job);
}

void ops_unpack(pool *p, float *dst, int ldd, ops_matrix w)
{
    pack_job job = {.w = w, .dst = dst, .ld = ldd};
    pool_run(p, gemm_panels(w.n), 1, ops_kernels()->unpack, &job);
}

void ops_pack_transposed(pool *p, ops_matrix t, ops_matrix w)
{
    assert(t.n == w.k && t.k == w.n && t.data != w.data);
    pack_job job = {.w = t, .from = w};
    pool_run(p, gemm_panels(t.n), 1, ops_kernels()->pack_transposed, &job);
}

void ops_gemm(pool *p, const ops_product *products, int count, const float *x, int ldx, int m)
{
    if (m <= 0 || count <= 0)
        return;
    gemm_job job = {.products = products, .count = count, .x = x, .ldx = ldx, .m = m};
    for (int i = 0; i < count; i++) {
        assert(products[i].w.k == products[0].w.k);
        job.panels += gemm_panels(products[i].w.n);
    }
    job.panel_group = 1;
    job.row_blocks = 1;
    pool_run(p, job.panels, 1, ops_kernels()->gemm, &job);
}
