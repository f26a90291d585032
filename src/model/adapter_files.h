/* LoRA adapters on disk as PEFT has them: a folder with adapter_config.json and
 * adapter_model.safetensors. A module's weight becomes W + scale * B A with A [rank][in], B [out][rank],
 * scale = alpha / rank, or alpha / sqrt(rank) with rslora. */
#ifndef MODEL_ADAPTER_FILES_H
#define MODEL_ADAPTER_FILES_H

#include "model/safetensors.h"
#include "model/tensors.h"

typedef struct adapter_module {
    char name[MODEL_TENSOR_NAME]; /* "model.layers.0.self_attn.q_proj" */
    model_tensor_role role;       /* MODEL_T_Q … MODEL_T_DOWN */
    int layer;
    int rank, in, out;
    double alpha;
    float scale;
} adapter_module;

/* Is this the matrix of a linear layer of the blocks, beside which an adapter can stand? */
int adapter_role_is_linear(model_tensor_role role);

/* alpha / rank, or alpha / sqrt(rank) with rslora (Kalajdzievski 2023). */
float adapter_scale(double alpha, int rank, int rslora);

typedef struct adapter_files {
    char *path;
    char *base;    /* base_model_name_or_path as written, or NULL */
    int other_base; /* that is another name than the model's */
    int rank;      /* "r"; a module may differ (rank_pattern) */
    double alpha;  /* "lora_alpha" */
    int rslora;
    adapter_module *modules; /* in the order of model_tensor_walk */
    int count;
    safetensors_file tensors;
} adapter_files;

/* Opens an adapter for a model, whose path is `model` (NULL: not known). Every tensor must belong to a linear module of
 * the model and fit it, else the message names both models; what PEFT offers beyond plain LoRA (DoRA, biases,
 * modules_to_save, …) is refused by name. */
grpo_status adapter_files_open(adapter_files *f, const char *folder, const model_config *config, const char *model,
                               grpo_error *err);
void adapter_files_close(adapter_files *f);

/* A module's matrices: a[rank][in], b[out][rank]. Values that are not finite are refused. */
grpo_status adapter_files_read(const adapter_files *f, int module, float *a, float *b, grpo_error *err);

/* Do base_model_name_or_path and the path of a model mean one model, as far as names tell? The last parts of both are
 * compared; of a folder in the Hugging Face cache the model's name, of a GGUF file what stands before its quantisation. */
int adapter_same_base(const char *base, const char *model);

/* Does this folder hold an adapter (and not a model)? */
int adapter_is_folder(const char *path);

/* Which model and which adapter are meant by a path, which may be either's: *model (mem_free it) is the path or, for
 * an adapter's folder, its base; *adapter becomes the path in that case, and stays as it is otherwise (NULL: none). */
grpo_status adapter_resolve(char **model, const char **adapter, const char *path, grpo_error *err);

/* Where the base model of an adapter folder lies: base_model_name_or_path as a path relative to the
 * folder or to the working directory, whichever exists. mem_free it. */
grpo_status adapter_base_path(char **out, const char *folder, grpo_error *err);

/* ---- writing ------------------------------------------------------------------------------ */

typedef struct adapter_settings {
    const char *base; /* base_model_name_or_path */
    int rank;
    double alpha;
    int rslora;
    const model_config *config; /* of the base model */
} adapter_settings;

/* The matrices of a module, as adapter_files_read gives them. */
typedef grpo_status adapter_read(void *context, int module, float *a, float *b, grpo_error *err);

/* Writes adapter_config.json into an existing folder. Modules whose rank or alpha differ from the settings' are
 * listed in rank_pattern and alpha_pattern. */
grpo_status adapter_write_config(const char *folder, const adapter_settings *settings, const adapter_module *modules,
                                 int count, grpo_error *err);

/* Writes both files into an existing folder (of folder_create). Modules need name, rank, alpha, in and out. */
grpo_status adapter_write(const char *folder, const adapter_settings *settings, const adapter_module *modules,
                          int count, adapter_read *read, void *context, grpo_error *err);

#endif
