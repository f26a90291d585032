/* The parameters of a model: one flat f32 array, a table of what lies where, and views that give
 * every layer's matrices and vectors. Parameters, gradients and both Adam moments share the layout,
 * so the optimiser runs over flat arrays.
 *
 * A store is the memory that forward and backward passes read: the flat array itself, or the same
 * parameters with matrices as bf16 (vectors stay f32). */
#ifndef MODEL_WEIGHTS_H
#define MODEL_WEIGHTS_H

#include "base/mem.h"
#include "base/pool.h"
#include "model/config.h"
#include "model/files.h"

typedef struct model_param {
    char name[96];   /* Hugging Face name */
    int is_matrix;   /* 1: packed [n][k]; 0: n plain numbers */
    int n, k;        /* k = 1 for vectors */
    size_t offset;   /* into the flat array, in floats; a multiple of 16 */
    size_t elements; /* floats taken, padding included */
    size_t offset_bf16; /* into a store of bf16 matrices, in bytes; a multiple of 64 */
} model_param;

typedef struct model_layout {
    model_param *params;
    int count;
    size_t capacity;
    size_t total;        /* floats in the flat array */
    size_t bytes_bf16;   /* of a store of bf16 matrices */
    uint64_t parameters; /* numbers that count (no padding) */
} model_layout;

typedef struct model_expert {
    ops_matrix gate, up, down;
} model_expert;

/* What an adapter adds to a product y = x W^T: scale (x A^T) B^T, A [rank][in], B [out][rank]. data == NULL: none. */
typedef struct model_low_rank {
    ops_matrix a, b;
    float scale;
} model_low_rank;

/* Absent parts are NULL (in a matrix: data == NULL). A layer has a dense MLP or a mixture of experts. */
typedef struct model_layer {
    ops_matrix q, k, v, o, gate, up, down;
    struct {
        model_low_rank q, k, v, o, gate, up, down;
    } lora; /* beside the matrices of the same names; see model/adapter.h */
    ops_matrix router;    /* [experts][hidden] */
    model_expert *expert; /* [experts], part of model_weights.experts; NULL in a dense layer */
    float *q_bias, *k_bias, *v_bias, *o_bias, *gate_bias, *up_bias, *down_bias;
    float *attn_norm, *q_norm, *k_norm, *post_attn_norm, *mlp_norm, *post_mlp_norm;
} model_layer;

typedef struct model_weights {
    ops_matrix embed;
    ops_matrix head;   /* logits; the same memory as embed when tied */
    ops_matrix scalar; /* [1][hidden], a score or value: instead of head, or beside it (value_head_view) */
    float *final_norm, *scalar_bias;
    model_layer *layer;    /* [layers], owned */
    model_expert *experts; /* of all layers, owned; NULL in a dense model */
    int lowest_layer;      /* of a view of gradients: layers below have no part in it, and a backward pass ends here */
} model_weights;

/* Fills layout from the configuration; or of a value head alone, which a language model gets beside its own. */
grpo_status model_layout_init(model_layout *layout, const model_config *c, grpo_error *err);
grpo_status value_head_layout_init(model_layout *layout, const model_config *c, grpo_error *err);
void model_layout_deinit(model_layout *layout);
int model_layout_find(const model_layout *layout, const char *name); /* -1 when absent */

size_t model_store_bytes(const model_layout *layout, ops_type type);

/* A view on a store (64-byte aligned; valid while the memory is), or on a flat f32 array of layout.total floats, without
 * an adapter. base NULL: a view whose parts are all absent. */
grpo_status model_store_view(model_weights *w, const model_config *c, ops_type type, void *store, grpo_error *err);
grpo_status model_weights_view(model_weights *w, const model_config *c, float *base, grpo_error *err);
void model_weights_deinit(model_weights *w);
/* Adds the view of a value head in base (a flat array of value_head_layout_init) to w. */
void value_head_view(model_weights *w, const model_config *c, float *base);

/* Reads every parameter from files into a store (packing and rounding matrices), on all threads. Missing
 * tensors, wrong shapes and numbers that are not finite are refused by name. */
grpo_status model_weights_load(void *store, ops_type type, const model_layout *layout, const model_files *files,
                               pool *threads, grpo_error *err);

/* store (bf16) = the flat array, matrices rounded. */
void model_store_round(void *store, const float *base, const model_layout *layout, pool *threads);

/* Copies one parameter between the flat array and plain row-major [n][k]; or its rows [first, first + rows) (numbers
 * of a vector), first a multiple of 32. */
void model_param_export(const model_param *p, const float *base, float *dst);
void model_param_import(const model_param *p, float *base, const float *src);
void model_param_export_rows(const model_param *p, const float *base, int first, int rows, float *dst);
void model_param_import_rows(const model_param *p, float *base, int first, int rows, const float *src);

#endif
