/* The pieces of one layer's forward pass that the backward pass runs again when it recomputes
 * activations. Internal to model/. */
#ifndef MODEL_FORWARD_LAYER_H
#define MODEL_FORWARD_LAYER_H

#include "model/low_rank.h"
#include "model/transformer.h"

typedef struct layer_pass {
    const model *model;
    const model_layer *w;
    pool *threads;
    int index;
    float *low; /* scratch of the adapter's products, see low_rank_gemm */
} layer_pass;

void layer_input_norm(const layer_pass *lp, float *h, const float *x, int m);
/* q = rotated (and normed) queries of h. */
void layer_query(const layer_pass *lp, float *q, const float *h, const int32_t *pos, int m);
/* x_mid = x + output projection of attn; scratch [m][hidden] is used with post norms. */
void layer_attention_output(const layer_pass *lp, float *x_mid, const float *attn, const float *x, float *scratch,
                            int m);
void layer_mlp_norm(const layer_pass *lp, float *h, const float *x_mid, int m);
void layer_gate_up(const layer_pass *lp, float *gate, float *up, const float *h, int m);

#endif
