/* A model on disk, whatever its format: the configuration, and tensors under their Hugging Face
 * names ("model.layers.0.self_attn.q_proj.weight", …) and shapes. GGUF names are translated, the
 * llama architecture's q/k row permutation is undone and Gemma's stored +1 is taken off, so that a
 * reader never learns where a tensor came from. Files are memory-mapped; nothing is decoded until
 * it is read. */
#ifndef MODEL_FILES_H
#define MODEL_FILES_H

#include "base/json.h"
#include "model/config.h"

typedef struct model_files model_files;

typedef struct model_tensor_info {
    const char *name; /* Hugging Face name; valid while the files are open */
    const char *type; /* "F32", "BF16", "Q4_1", … as stored */
    int rank; /* 1 or 2 */
    int64_t shape[2];
} model_tensor_info;

/* path: a Hugging Face folder, or a .gguf file. Opening checks that every tensor which the
 * configuration calls for is there with its shape, and that no other tensor is that could change what
 * the model computes. Tensors are listed in the order of model_tensor_walk (model/tensors.h); a tied
 * head is not among them. */
grpo_status model_files_open(model_files **out, const char *path, grpo_error *err);
void model_files_close(model_files *f);

/* Takes what was read so far out of the process's memory. Thread-safe, beside model_files_read too. */
void model_files_forget(const model_files *f);

const model_config *model_files_config(const model_files *f);
const char *model_files_path(const model_files *f);
int model_files_is_gguf(const model_files *f);

int model_files_count(const model_files *f);
model_tensor_info model_files_tensor(const model_files *f, int index);
int model_files_find(const model_files *f, const char *name); /* -1 when absent */

/* Decodes rows [first, first + count) of a tensor as f32 into dst[count][columns]. Rank 1 is one row;
 * the experts of a mixture are matrices of their own, whatever the format. Values that are not
 * finite are refused by name (GRPO_ERR_NUMERIC). Thread-safe. */
grpo_status model_files_read(const model_files *f, int index, int64_t first, int64_t count, float *dst,
                             grpo_error *err);

/* The folder's config.json as parsed (of a multimodal Gemma 3 its text part; NULL for GGUF): export
 * starts from it. */
const json_t *model_files_config_json(const model_files *f);
/* Its generation_config.json; NULL when there is none. */
const json_t *model_files_generation_json(const model_files *f);

/* The GGUF file behind it, for the tokenizer's metadata; NULL for a folder. */
struct gguf_file;
const struct gguf_file *model_files_gguf(const model_files *f);

#endif
