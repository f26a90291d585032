/* How the tensors of a model are named and laid out in GGUF files. */
#ifndef MODEL_GGUF_NAMES_H
#define MODEL_GGUF_NAMES_H

#include "model/tensors.h"

/* The GGUF name of a tensor, e.g. "blk.3.attn_q.weight". All experts of a projection are one tensor
 * [experts][rows][columns]. */
void model_gguf_name(char out[MODEL_TENSOR_NAME], const model_config *c, const model_tensor *t);

/* Heads whose rows the converter reorders (0: none): stored row 2i + s of a head is row
 * s * head_dim / 2 + i of the Hugging Face tensor. Biases likewise. */
int model_gguf_permuted_heads(const model_config *c, const model_tensor *t);

/* Where row r of the Hugging Face tensor is stored. */
int64_t model_gguf_stored_row(int64_t r, int head_dim);

#endif
