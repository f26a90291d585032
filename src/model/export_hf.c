/* The weights of an exported model, in one safetensors file or in shards with an index. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/export_hf.h"
#include "model/files.h"
#include "model/tensors.h"

enum { BLOCK_ELEMENTS = 1 << 20 }; /* read and written at a time, at least one row */

typedef struct job {
    const model_export *e;
    const char *folder;
    model_tensor *tensors;
    safetensors_entry *entries;
    int *shard; /* of each tensor */
    int count, shards;
    uint64_t bytes;
    float *block;
    size_t block_elements;
} job;

static uint64_t tensor_bytes(const safetensors_entry *e)
{
    uint64_t n = safetensors_dtype_bytes(e->dtype);
    for (int i = 0; i < e->rank; i++)
        n *= (uint64_t)e->shape[i];
    return n;
}

static grpo_status plan(job *j, safetensors_dtype dtype, uint64_t shard_bytes, grpo_error *err)
{
    size_t n = (size_t)model_tensor_count(j->e->config), widest = 1;
    j->tensors = mem_calloc(n, sizeof *j->tensors);
    j->entries = mem_calloc(n, sizeof *j->entries);
    j->shard = mem_calloc(n, sizeof *j->shard);
    if (!j->tensors || !j->entries || !j->shard)
        return mem_fail(err, "the list of tensors", n * sizeof *j->tensors);
    model_tensor_walk w = {.config = j->e->config};
    uint64_t in_shard = 0;
    for (; model_tensor_next(&w); j->count++) {
        const model_tensor *t = &j->tensors[j->count];
        j->tensors[j->count] = w.tensor;
        safetensors_entry *e = &j->entries[j->count];
        *e = (safetensors_entry){.name = t->name, .dtype = dtype, .rank = t->rank, .shape = {t->rows, t->columns}};
        if (t->rank == 1)
            e->shape[0] = t->columns;
        uint64_t bytes = tensor_bytes(e);
        if (in_shard && in_shard + bytes > shard_bytes) {
            j->shards++;
            in_shard = 0;
        }
        in_shard += bytes;
        j->bytes += bytes;
        j->shard[j->count] = j->shards;
        widest = (size_t)t->columns > widest ? (size_t)t->columns : widest;
    }
    j->shards++;
    j->block_elements = widest > BLOCK_ELEMENTS ? widest : BLOCK_ELEMENTS;
    j->block = mem_calloc(j->block_elements, sizeof *j->block);
    return j->block ? GRPO_OK : mem_fail(err, "writing tensors", j->block_elements * sizeof *j->block);
}

static void shard_name(const job *j, int shard, char *name, size_t size)
{
    if (j->shards == 1)
        snprintf(name, size, "model.safetensors");
    else
        snprintf(name, size, "model-%05d-of-%05d.safetensors", shard + 1, j->shards);
}

static grpo_status write_tensor(job *j, safetensors_writer *w, const model_tensor *t, grpo_error *err)
{
    int64_t step = (int64_t)(j->block_elements / (size_t)t->columns);
    for (int64_t row = 0; row < t->rows; row += step) {
        int64_t rows = t->rows - row < step ? t->rows - row : step;
        size_t n = (size_t)rows * (size_t)t->columns;
        grpo_status status = j->e->read(j->e->context, t->name, row, rows, j->block, err);
        for (size_t i = 0; i < n && status == GRPO_OK; i++)
            if (!isfinite(j->block[i]))
                status = grpo_fail(err, GRPO_ERR_NUMERIC, "tensor %s holds values that are not finite (NaN or infinity); "
                                   "such a model is not exported", t->name);
        if (status == GRPO_OK)
            status = safetensors_append(w, j->block, n, err);
        if (status != GRPO_OK)
            return status;
    }
    return GRPO_OK;
}

static grpo_status write_shard(job *j, int shard, grpo_error *err)
{
    char name[64];
    int first = 0, end;
    while (j->shard[first] != shard)
        first++;
    for (end = first; end < j->count && j->shard[end] == shard;)
        end++;
    shard_name(j, shard, name, sizeof name);
    char *path = file_join(j->folder, name);
    safetensors_writer w;
    grpo_status status = path ? safetensors_create(&w, path, j->entries + first, (size_t)(end - first), NULL, err)
                              : mem_fail(err, "a file name", strlen(name));
    mem_free(path);
    if (status != GRPO_OK)
        return status;
    for (int i = first; i < end && status == GRPO_OK; i++)
        status = write_tensor(j, &w, &j->tensors[i], err);
    if (status == GRPO_OK)
        return safetensors_commit(&w, err);
    safetensors_abandon(&w);
    return status;
}

/* Takes the reference. */
static grpo_status write_json(const char *folder, const char *name, json_t *value, grpo_error *err)
{
    char *path = file_join(folder, name);
    grpo_status status = path && value ? json_write_file(path, value, err) : mem_fail(err, name, 0);
    mem_free(path);
    json_decref(value);
    return status;
}

static grpo_status write_index(const job *j, grpo_error *err)
{
    json_t *map = json_object();
    for (int i = 0; i < j->count; i++) {
        char name[64];
        shard_name(j, j->shard[i], name, sizeof name);
        json_object_set_new(map, j->tensors[i].name, json_string(name));
    }
    json_t *index = json_pack("{s:{s:I},s:o}", "metadata", "total_size", (json_int_t)j->bytes, "weight_map", map);
    return write_json(j->folder, "model.safetensors.index.json", index, err);
}

grpo_status model_export_hf(const model_export *e, const char *folder, safetensors_dtype dtype, uint64_t shard_bytes,
                            grpo_error *err)
{
    static const char *const dtypes[] = {[SAFETENSORS_F32] = "float32", [SAFETENSORS_F16] = "float16",
                                         [SAFETENSORS_BF16] = "bfloat16"};
    job j = {.e = e, .folder = folder};
    if (dtype > SAFETENSORS_BF16)
        return grpo_fail(err, GRPO_ERR_USAGE, "a model is exported as F32, F16 or BF16, not %s", safetensors_dtype_name(dtype));
    grpo_status status = plan(&j, dtype, shard_bytes ? shard_bytes : 5000000000u, err);
    for (int s = 0; s < j.shards && status == GRPO_OK; s++)
        status = write_shard(&j, s, err);
    if (status == GRPO_OK && j.shards > 1)
        status = write_index(&j, err);
    if (status == GRPO_OK)
        status = write_json(folder, "generation_config.json", model_export_generation_json(e), err);
    if (status == GRPO_OK)
        status = write_json(folder, "config.json", model_export_config_json(e, dtypes[dtype]), err);
    mem_free(j.tensors);
    mem_free(j.entries);
    mem_free(j.shard);
    mem_free(j.block);
    return status;
}

grpo_status model_export_read_files(void *context, const char *name, int64_t first, int64_t count, float *dst,
                                    grpo_error *err)
{
    const model_files *f = context;
    int index = model_files_find(f, name);
    if (index < 0)
        return grpo_fail(err, GRPO_ERR_INTERNAL, "%s has no tensor %s", model_files_path(f), name);
    return model_files_read(f, index, first, count, dst, err);
}
