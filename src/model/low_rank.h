/* Products of a layer beside which an adapter may stand. The low-rank path is computed unmerged, so that base and
 * adapter stay apart, and in one fixed order, so that it obeys the row law. Internal to model/. */
#ifndef MODEL_LOW_RANK_H
#define MODEL_LOW_RANK_H

#include "model/weights.h"

enum { LOW_RANK_MOST = 3 }; /* products of one call: q, k and v */

/* ops_gemm of products [count] of the same x, and then for each one with an adapter (low[i] with data):
 *     u = scale * (x A^T), rounded after the product and after the scale;  y = (u B^T) + y.
 * scratch: [m][sum of the ranks]; unused without adapters. */
void low_rank_gemm(pool *p, const ops_product *products, const model_low_rank *const *low, int count, const float *x,
                   int ldx, int m, float *scratch);

/* Gradients of y += scale (x A^T) B^T, in two parts since x may be known later than dy.
 *     low_rank_grad_input:   du = scale * (dy B), kept;  dx += du A (skipped when dx is NULL)
 *     low_rank_grad_weights: dB += dy^T (scale * (x A^T));  dA += du^T x
 * du, u: [m][rank]; transposed: low_rank_transposed floats. Rows of dw's sums are chunked as in ops_gemm_dw. */
void low_rank_grad_input(pool *p, const model_low_rank *low, float *dx, const float *dy, int m, float *du,
                         float *transposed);
void low_rank_grad_weights(pool *p, const model_low_rank *low, const model_low_rank *grad, const float *dy,
                           const float *x, int m, const float *du, float *u);
size_t low_rank_transposed(int rank, int in, int out);

#endif
