/* Mixture-of-experts layers (Shazeer et al. 2017; as in Qwen3-MoE): p = softmax(router h) over all experts, the
 * experts_used largest are chosen, their weights are p, divided by their sum with norm_topk_prob, and
 *
 *     y = x_mid + sum over the chosen experts, in rising id order, of weight * down(act(gate h) * up h)
 *
 * An expert computes the rows that chose it, gathered; by the row law that changes no bit, so a result depends
 * neither on the other rows nor on how rows are cut into calls. Experts that no row chose are not touched: not
 * read in the forward pass, and their gradient stays exactly 0. Internal to model/. */
#ifndef MODEL_MOE_H
#define MODEL_MOE_H

#include "base/mem.h"
#include "model/weights.h"

/* Columns of gate and up of the dense layers; 0 when every layer is a mixture. */
int moe_dense_width(const model_config *c);
/* What the tape keeps of gate (and of up) in a layer: the dense layer's columns, or those of the chosen experts
 * side by side in rising id order. */
int moe_kept_width(const model_config *c, int layer);

/* Scratch of one forward or backward pass. An "assignment" is a pair of row and chosen expert; in `place` order
 * assignments stand sorted by expert, then by row. With K = experts_used: */
typedef struct moe_scratch {
    int rows; /* at most, of one call; and assignments of one batch of experts */
    float *logits;           /* [rows][experts] */
    int32_t *expert, *place; /* [rows][K] ids, rising; place of the assignment */
    float *weight;           /* [rows][K] */
    int32_t *row, *slot;     /* [rows * K] by place: the row, and row * K + j */
    int32_t *start;          /* [experts + 1] first place of each expert */
    float *x, *out;          /* [rows][hidden] inputs and results of a batch of experts */
    float *gate, *up;        /* [rows][expert_ffn] */
    /* backward pass only */
    float *dy;              /* [rows][hidden] */
    float *act, *dact;      /* [rows][expert_ffn] */
    float *dot, *sorted;    /* [rows * K] by place: the weights' gradients, the weights */
    float *dweight;         /* [rows][K] */
} moe_scratch;

/* Takes the arrays from an arena, of which they need moe_scratch_bytes (0 for a dense model). */
void moe_scratch_carve(moe_scratch *s, mem_arena *arena, const model_config *c, int max_rows, int backward);
size_t moe_scratch_bytes(const model_config *c, int max_rows, int backward);

struct layer_pass; /* forward_layer.h */

/* One call's rows. kept_gate, kept_up: the tape's arrays [...][K * expert_ffn], or NULL when it keeps none. */
typedef struct moe_rows {
    int m;
    const float *h; /* [m][hidden] input */
    float *kept_gate, *kept_up;
} moe_rows;

/* y = x_mid + the mixture of h. kept_gate and kept_up point at the tape's place for row 0 and are written. */
void moe_forward(const struct layer_pass *lp, const moe_scratch *s, float *y, const float *x_mid, const moe_rows *rows);

/* dh = gradient with respect to h, from dy; adds to the gradients of router and experts (NULL data: frozen).
 * kept_gate and kept_up are the tape's from its row 0 on and read at tape_row[m]; without them both are computed
 * again. transposed: scratch of moe_transposed_elements floats. */
void moe_backward(const struct layer_pass *lp, const moe_scratch *s, model_layer *grad, float *transposed,
                  float *dh, const float *dy, const moe_rows *rows, const int32_t *tape_row);
size_t moe_transposed_elements(const model_config *c);

#endif
