/* A LoRA adapter in memory (Hu et al. 2021): its matrices in one flat array with a layout of its own, so that
 * gradients, moments and checkpoints run over it as over a whole model's parameters. Beside a module's W[out][in]
 * stand A[rank][in] and B[out][rank]; the module computes x W^T + scale (x A^T) B^T (model/low_rank.h). */
#ifndef MODEL_ADAPTER_H
#define MODEL_ADAPTER_H

#include "model/adapter_files.h"
#include "model/weights.h"

typedef struct model_adapter {
    adapter_module *modules; /* in the order of model_tensor_walk */
    int count;
    int rank;      /* as in adapter_config.json; modules may differ */
    double alpha;
    int rslora;
    int largest_rank;
    int lowest_layer;    /* the first layer with a module */
    model_layout layout; /* lora_A and lora_B of each module, under PEFT's names */
    mem_arena arena;
    float *params; /* [layout.total] */
    char *other_base; /* the model it was made for, where that has another name than its model here; NULL: the same */
} model_adapter;

/* targets: names of modules as PEFT takes them in target_modules, matched at the end of the full name ("q_proj",
 * "self_attn.q_proj", "layers.3.mlp.up_proj"), or "all-linear" for every linear layer of the blocks. */
typedef struct adapter_request {
    int rank;
    double alpha;
    int rslora;
    const char *const *targets;
    size_t n_targets;
    uint64_t seed;
} adapter_request;

/* A fresh adapter as PEFT makes it: A uniform in +-1/sqrt(in) (Kaiming with a = sqrt 5), B zero. A is a function of
 * the seed and of the module's place. A target that names nothing, or experts, is refused. */
grpo_status adapter_create(model_adapter **out, const model_config *config, const adapter_request *request, grpo_error *err);

/* One that PEFT or a run saved. model: the path of the model that it is put beside, or NULL. */
grpo_status adapter_open(model_adapter **out, const char *folder, const model_config *config, const char *model, grpo_error *err);
void adapter_destroy(model_adapter *a);

/* Lets the layers of w see the matrices in base [layout.total]; w stays valid while base is. */
void adapter_view(const model_adapter *a, model_weights *w, float *base);

/* adapter_config.json of this adapter into an existing folder; base: where its model lies. */
grpo_status adapter_write_settings(const model_adapter *a, const char *folder, const char *base, const model_config *config,
                                   grpo_error *err);

#endif
