/* The low-rank path of an adapter, forward and backward. */
#include <assert.h>
#include <string.h>

#include "model/low_rank.h"

static void scale_columns(float *u, int ldu, int n, float scale, int m)
{
    for (int r = 0; r < m; r++)
        for (int i = 0; i < n; i++)
            u[(size_t)r * (size_t)ldu + (size_t)i] *= scale;
}

void low_rank_gemm(pool *p, const ops_product *products, const model_low_rank *const *low, int count, const float *x,
                   int ldx, int m, float *scratch)
{
    ops_product all[2 * LOW_RANK_MOST];
    int width = 0, n = count, column = 0;
    assert(count <= LOW_RANK_MOST);
    for (int i = 0; i < count; i++)
        width += low[i]->a.data ? low[i]->a.n : 0;
    if (width == 0) {
        ops_gemm(p, products, count, x, ldx, m);
        return;
    }
    memcpy(all, products, (size_t)count * sizeof *all);
    for (int i = 0; i < count; i++)
        if (low[i]->a.data) {
            all[n++] = (ops_product){.w = low[i]->a, .y = scratch + column, .ldy = width};
            column += low[i]->a.n;
        }
    ops_gemm(p, all, n, x, ldx, m);
    column = 0;
    for (int i = 0; i < count; i++)
        if (low[i]->a.data) {
            float *u = scratch + column, *y = products[i].y;
            ops_product up = {.w = low[i]->b, .y = y, .ldy = products[i].ldy, .residual = y, .ldr = products[i].ldy};
            scale_columns(u, width, low[i]->a.n, low[i]->scale, m);
            ops_gemm(p, &up, 1, u, width, m);
            column += low[i]->a.n;
        }
}

void low_rank_grad_input(pool *p, const model_low_rank *low, float *dx, const float *dy, int m, float *du,
                         float *transposed)
{
    int rank = low->a.n, in = low->a.k, out = low->b.n;
    ops_matrix b = ops_matrix_f32(rank, out, transposed), a = ops_matrix_f32(in, rank, transposed);
    ops_product down = {.w = b, .y = du, .ldy = rank}, up = {.w = a, .y = dx, .ldy = in, .residual = dx, .ldr = in};
    ops_pack_transposed(p, b, low->b);
    ops_gemm(p, &down, 1, dy, out, m);
    scale_columns(du, rank, rank, low->scale, m);
    if (!dx)
        return;
    ops_pack_transposed(p, a, low->a);
    ops_gemm(p, &up, 1, du, rank, m);
}

void low_rank_grad_weights(pool *p, const model_low_rank *low, const model_low_rank *grad, const float *dy,
                           const float *x, int m, const float *du, float *u)
{
    int rank = low->a.n, in = low->a.k, out = low->b.n;
    ops_product down = {.w = low->a, .y = u, .ldy = rank};
    ops_gemm(p, &down, 1, x, in, m);
    scale_columns(u, rank, rank, low->scale, m);
    ops_gemm_dw(p, OPS_F32, grad->b, dy, out, u, rank, m);
    ops_gemm_dw(p, OPS_F32, grad->a, du, rank, x, in, m);
}

size_t low_rank_transposed(int rank, int in, int out)
{
    size_t a = ops_matrix_elements(in, rank), b = ops_matrix_elements(rank, out);
    return a > b ? a : b;
}
