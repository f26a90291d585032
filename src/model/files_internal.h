/* What the parts of model/files share. */
#ifndef MODEL_FILES_INTERNAL_H
#define MODEL_FILES_INTERNAL_H

#include "model/dequant.h"
#include "model/files.h"
#include "model/gguf.h"
#include "model/safetensors.h"
#include "model/tensors.h"

typedef struct files_entry {
    model_tensor tensor;
    const tensor_type *type;
    const unsigned char *data; /* of its first row */
    int permuted;              /* rows (elements of a vector) are reordered within heads */
    int plus_one;              /* stored with 1 added */
} files_entry;

struct model_files {
    char *path;
    model_config config;
    files_entry *entries; /* in the order of model_tensor_walk */
    int count;
    int *by_name; /* indices of entries, sorted by name */
    int is_gguf;
    gguf_file gguf;
    safetensors_file *shards;
    size_t n_shards;
    json_t *config_json, *generation_json;
};

/* Fill everything but path and by_name. */
grpo_status files_open_hf(model_files *f, grpo_error *err);
grpo_status files_open_gguf(model_files *f, grpo_error *err);

/* Lists the tensors of the configuration in f->entries, each placed by `place`. The first that cannot be ends it, so
 * that what a configuration claims takes no more memory than what the files hold. */
typedef grpo_status files_place(model_files *f, files_entry *e, grpo_error *err);
grpo_status files_list_tensors(model_files *f, files_place *place, grpo_error *err);

#endif
