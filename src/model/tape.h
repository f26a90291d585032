/* What a forward pass leaves for the backward pass, one row per token, in the order in which rows
 * were computed. The input of every layer is always there; the inner activations (rotated queries,
 * attention output, the residual stream after attention, gate and up) only for the layers that are
 * "kept". The other layers are recomputed from their input, one layer at a time. Both ways give the
 * same bits, by the row law. */
#ifndef MODEL_TAPE_H
#define MODEL_TAPE_H

#include "base/mem.h"
#include "model/config.h"

typedef struct tape_layer {
    float *x; /* [rows][hidden] */
    float *q, *attn; /* [rows][heads * head_dim]; NULL unless kept, like the rest */
    float *x_mid;    /* [rows][hidden] */
    float *gate, *up; /* [rows][ffn]; of a mixture [rows][experts_used][expert_ffn], see moe.h */
} tape_layer;

typedef struct tape {
    mem_arena arena;
    tape_layer *layer; /* [layers + 1]; the last has only x: the input of the final norm */
    int layers, kept;  /* layers [0, kept) are kept whole */
    int rows, capacity;
} tape;

/* Address space for `capacity` rows; pages are taken when rows are written. */
grpo_status tape_init(tape *t, const model_config *c, int capacity, int kept_layers, grpo_error *err);
void tape_deinit(tape *t);

/* Forgets all rows; memory stays for the next step. */
void tape_reset(tape *t);

/* Drops the rows whose keep[row] is 0 and closes the gaps. place[row] becomes the row's new number, -1 where it is gone. */
void tape_compact(tape *t, const model_config *c, const unsigned char *keep, int32_t *place);

/* Bytes per row without kept layers, and what each kept layer adds (at most, where layers differ). */
size_t tape_row_bytes(const model_config *c);
size_t tape_kept_layer_bytes(const model_config *c);

#endif
