/* Matrices: packing and products. */
#include <assert.h>

#include "backend/cpu/job_gemm.h"
#include "backend/cpu/kernels.h"
#include "backend/ops.h"

size_t ops_matrix_elements(int n, int k)
{
    return (size_t)gemm_panels(n) * OPS_PANEL * (size_t)k;
}

size_t ops_matrix_bytes(ops_type type, int n, int k)
{
    return (size_t)gemm_panels(n) * ops_panel_words((ops_matrix){.k = k, .type = type}) * sizeof(uint32_t);
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

void ops_round(pool *p, ops_matrix to, ops_matrix from)
{
    assert(to.n == from.n && to.k == from.k && to.type != OPS_F32 && from.type == OPS_F32);
    pack_job job = {.w = to, .from = from};
    pool_run(p, gemm_panels(to.n), 1, ops_kernels()->round, &job);
}

void ops_gemm(pool *p, const ops_product *products, int count, const float *x, int ldx, int m)
{
    if (m <= 0 || count <= 0)
        return;
    int panels = 0;
    for (int i = 0; i < count; i++) {
        assert(products[i].w.k == products[0].w.k);
        panels += gemm_panels(products[i].w.n);
    }
    const gemm_plan plan = gemm_plan_for(pool_threads(p), products[0].w.type, panels, ops_panel_words(products[0].w), m);
    gemm_job job = {.products = products, .x = x, .ldx = ldx, .m = m, .panel_group = plan.panel_group,
                    .shares = plan.shares, .row_blocks = plan.row_blocks};
    for (int i = 0; i < count; i++)
        job.groups += gemm_groups(products[i].w.n, plan.panel_group);
    pool_run(p, job.groups * plan.row_blocks, 1, ops_kernels()->gemm, &job);
}

void ops_gemm_dw(pool *p, ops_type operands, ops_matrix dw, const float *dy, int lddy, const float *x, int ldx, int m)
{
    assert(dw.type == OPS_F32);
    if (m <= 0)
        return;
    dw_job job = {.dw = dw, .dy = dy, .x = x, .lddy = lddy, .ldx = ldx, .m = m, .operands = operands};
    pool_run(p, dw_plan(&job, pool_threads(p)), 1, ops_kernels()->gemm_dw, &job);
}

void ops_bias_grad(pool *p, float *db, const float *dy, int lddy, int n, int m)
{
    bias_job job = {db, dy, lddy, n, m};
    pool_run(p, (n + 15) / 16, 1, ops_kernels()->bias_grad, &job);
}

void ops_embed(pool *p, float *y, int ldy, ops_matrix w, const int32_t *token, int m, float scale)
{
    embed_job job = {.w = w, .y = y, .ld = ldy, .m = m, .token = token, .scale = scale};
    pool_run(p, m, 8, ops_kernels()->embed, &job);
}

void ops_embed_grad(pool *p, ops_matrix dw, const float *dy, int lddy, const int32_t *token, int m,
                    float scale)
{
    assert(dw.type == OPS_F32);
    embed_job job = {.w = dw, .dy = dy, .ld = lddy, .m = m, .token = token, .scale = scale};
    pool_run(p, (dw.k + 15) / 16, 1, ops_kernels()->embed_grad, &job);
}
