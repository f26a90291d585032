/* Which tensors a model has: their Hugging Face names and shapes, from its configuration alone. */
#ifndef MODEL_TENSORS_H
#define MODEL_TENSORS_H

#include "model/config.h"

enum { MODEL_TENSOR_NAME = 96 };

typedef enum model_tensor_role {
    MODEL_T_EMBED, MODEL_T_FINAL_NORM, MODEL_T_LM_HEAD, MODEL_T_SCORE, MODEL_T_SCORE_BIAS,
    /* in a layer */
    MODEL_T_INPUT_NORM,     /* input_layernorm */
    MODEL_T_ATTENTION_NORM, /* post_attention_layernorm: before the MLP where there are no norms
                               around it (Llama, Qwen), after attention in Gemma 3 and OLMo 2 */
    MODEL_T_PRE_MLP_NORM,   /* pre_feedforward_layernorm (Gemma 3) */
    MODEL_T_POST_MLP_NORM,  /* post_feedforward_layernorm */
    MODEL_T_Q, MODEL_T_K, MODEL_T_V, MODEL_T_O,
    MODEL_T_Q_BIAS, MODEL_T_K_BIAS, MODEL_T_V_BIAS, MODEL_T_O_BIAS,
    MODEL_T_Q_NORM, MODEL_T_K_NORM,
    MODEL_T_GATE, MODEL_T_UP, MODEL_T_DOWN,
    MODEL_T_GATE_BIAS, MODEL_T_UP_BIAS, MODEL_T_DOWN_BIAS,
    MODEL_T_ROUTER,
    MODEL_T_EXPERT_GATE, MODEL_T_EXPERT_UP, MODEL_T_EXPERT_DOWN,
    MODEL_T_ROLES
} model_tensor_role;

typedef struct model_tensor {
    char name[MODEL_TENSOR_NAME];
    model_tensor_role role;
    int layer, expert; /* -1 where it has no meaning */
    int rank;          /* 1 or 2 */
    int rows, columns; /* rank 1: rows = 1 */
} model_tensor;

/* Walks the tensors of a model in canonical order (embedding, layers, final norm, head):
 *
 *     model_tensor_walk w = {.config = c};
 *     while (model_tensor_next(&w)) use(&w.tensor);
 *
 * A tied head is not listed. */
typedef struct model_tensor_walk {
    const model_config *config;
    model_tensor tensor;
    int started, layer, role, expert; /* position */
} model_tensor_walk;

int model_tensor_next(model_tensor_walk *w);

/* Fills name from role, layer and expert. */
void model_tensor_rename(model_tensor *t);

/* How many there are. */
int model_tensor_count(const model_config *c);

/* Norm weights are stored with Gemma's +1 in GGUF files. */
int model_tensor_is_norm(model_tensor_role role);

#endif
