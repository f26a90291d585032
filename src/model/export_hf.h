/* A model as a Hugging Face folder: config.json, generation_config.json, model.safetensors or shards
 * with an index. Tokenizer files are the caller's. */
#ifndef MODEL_EXPORT_HF_H
#define MODEL_EXPORT_HF_H

#include "base/json.h"
#include "model/config.h"
#include "model/safetensors.h"

/* Gives rows [first, first + count) of the tensor with this Hugging Face name (a vector is one row)
 * as f32, dst[count][columns]. */
typedef grpo_status model_export_read(void *context, const char *name, int64_t first, int64_t count, float *dst,
                                      grpo_error *err);

typedef struct model_export {
    const model_config *config;
    const json_t *config_json;     /* of the folder the model came from, or NULL (made from config) */
    const json_t *generation_json; /* its generation_config.json, or NULL */
    model_export_read *read;
    void *context;
} model_export;

/* Writes into an existing folder (of folder_create, so that it appears at once). dtype: F32, BF16 or
 * F16. shard_bytes: no file holds more tensor data than this (a tensor alone may); 0 = 5 GB. Weights
 * that are not finite are refused. */
grpo_status model_export_hf(const model_export *e, const char *folder, safetensors_dtype dtype, uint64_t shard_bytes,
                            grpo_error *err);

/* A model_export_read for unchanged files: context is the const model_files *. */
grpo_status model_export_read_files(void *context, const char *name, int64_t first, int64_t count, float *dst,
                                    grpo_error *err);

/* The config.json and generation_config.json that model_export_hf writes (new references, NULL when out
 * of memory). dtype: "float32", "bfloat16", "float16". */
json_t *model_export_config_json(const model_export *e, const char *dtype);
json_t *model_export_generation_json(const model_export *e);

#endif
