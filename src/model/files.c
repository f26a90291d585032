/* Model files: the common surface of both formats, and reading rows. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/files_internal.h"
#include "model/gguf_names.h"

enum { CHECKED = 8192 }; /* elements decoded at a time, so that the check for NaN finds them in the cache */

grpo_status files_list_tensors(model_files *f, files_place *place, grpo_error *err)
{
    model_tensor_walk w = {.config = &f->config};
    size_t capacity = 0;
    grpo_status status = GRPO_OK;
    while (status == GRPO_OK && model_tensor_next(&w)) {
        if (f->count == INT_MAX || mem_reserve((void **)&f->entries, &capacity, (size_t)f->count + 1, sizeof *f->entries) != 0)
            return mem_fail(err, "the list of tensors", ((size_t)f->count + 1) * sizeof *f->entries);
        f->entries[f->count] = (files_entry){.tensor = w.tensor};
        status = place(f, &f->entries[f->count++], err);
    }
    return status;
}

typedef struct named {
    const char *name;
    int index;
} named;

static int compare_named(const void *a, const void *b)
{
    return strcmp(((const named *)a)->name, ((const named *)b)->name);
}

static grpo_status index_names(model_files *f, grpo_error *err)
{
    named *names = mem_calloc((size_t)f->count, sizeof *names);
    f->by_name = mem_calloc((size_t)f->count, sizeof *f->by_name);
    if (!names || !f->by_name) {
        mem_free(names);
        return mem_fail(err, "the list of tensors", (size_t)f->count * sizeof *names);
    }
    for (int i = 0; i < f->count; i++)
        names[i] = (named){f->entries[i].tensor.name, i};
    qsort(names, (size_t)f->count, sizeof *names, compare_named);
    for (int i = 0; i < f->count; i++)
        f->by_name[i] = names[i].index;
    mem_free(names);
    return GRPO_OK;
}

grpo_status model_files_open(model_files **out, const char *path, grpo_error *err)
{
    *out = NULL;
    if (!file_exists(path))
        return grpo_fail(err, GRPO_ERR_IO, "%s: there is no such file or folder (a model is a Hugging Face folder or a .gguf file)",
                         path);
    model_files *f = mem_calloc(1, sizeof *f);
    if (!f || !(f->path = mem_strdup(path))) {
        mem_free(f);
        return mem_fail(err, "a model", sizeof *f);
    }
    grpo_status status = file_is_folder(path) ? files_open_hf(f, err) : files_open_gguf(f, err);
    if (status == GRPO_OK)
        status = index_names(f, err);
    if (status == GRPO_OK)
        *out = f;
    else
        model_files_close(f);
    return status;
}

void model_files_close(model_files *f)
{
    if (!f)
        return;
    model_config_deinit(&f->config);
    for (size_t i = 0; i < f->n_shards; i++)
        safetensors_close(&f->shards[i]);
    gguf_close(&f->gguf);
    json_decref(f->config_json);
    json_decref(f->generation_json);
    mem_free(f->shards);
    mem_free(f->entries);
    mem_free(f->by_name);
    mem_free(f->path);
    mem_free(f);
}

const model_config *model_files_config(const model_files *f)
{
    return &f->config;
}

const char *model_files_path(const model_files *f)
{
    return f->path;
}

int model_files_is_gguf(const model_files *f)
{
    return f->is_gguf;
}

const gguf_file *model_files_gguf(const model_files *f)
{
    return f->is_gguf ? &f->gguf : NULL;
}

const json_t *model_files_config_json(const model_files *f)
{
    return f->config_json;
}

const json_t *model_files_generation_json(const model_files *f)
{
    return f->generation_json;
}

int model_files_count(const model_files *f)
{
    return f->count;
}

model_tensor_info model_files_tensor(const model_files *f, int index)
{
    const files_entry *e = &f->entries[index];
    model_tensor_info info = {.name = e->tensor.name, .type = e->type->name, .rank = e->tensor.rank};
    info.shape[0] = e->tensor.rank == 1 ? e->tensor.columns : e->tensor.rows;
    info.shape[1] = e->tensor.rank == 1 ? 0 : e->tensor.columns;
    return info;
}

int model_files_find(const model_files *f, const char *name)
{
    int low = 0, high = f->count;
    while (low < high) {
        int middle = (low + high) / 2, index = f->by_name[middle];
        int order = strcmp(name, f->entries[index].tensor.name);
        if (order == 0)
            return index;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

void model_files_forget(const model_files *f)
{
    for (size_t i = 0; i < f->n_shards; i++)
        file_map_forget(&f->shards[i].map);
    file_map_forget(&f->gguf.map);
}

/* Values that are NaN or infinite. */
static size_t count_non_finite(const float *x, size_t n)
{
    unsigned bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bad += (bits & 0x7F800000u) == 0x7F800000u;
    }
    return bad;
}

/* Undoes what the format did to values and refuses NaN. */
static grpo_status finish(const model_files *f, const files_entry *e, float *x, size_t n, grpo_error *err)
{
    for (size_t i = 0; e->plus_one && i < n; i++)
        x[i] -= 1;
    if (count_non_finite(x, n) == 0)
        return GRPO_OK;
    return grpo_fail(err, GRPO_ERR_NUMERIC, "%s: tensor %s holds values that are not finite (NaN or infinity); the weights are damaged",
                     f->path, e->tensor.name);
}

/* `elements` (whole blocks) from an offset in elements. */
static grpo_status read_plain(const model_files *f, const files_entry *e, uint64_t first, uint64_t elements, float *dst,
                              grpo_error *err)
{
    const unsigned char *src = e->data + first / e->type->elements * e->type->bytes;
    uint64_t step = CHECKED; /* a multiple of every block size */
    for (uint64_t done = 0; done < elements; done += step) {
        uint64_t n = elements - done < step ? elements - done : step;
        e->type->decode(dst + done, src + done / e->type->elements * e->type->bytes, (size_t)(n / e->type->elements));
        grpo_status status = finish(f, e, dst + done, (size_t)n, err);
        if (status != GRPO_OK)
            return status;
    }
    return GRPO_OK;
}

grpo_status model_files_read(const model_files *f, int index, int64_t first, int64_t count, float *dst, grpo_error *err)
{
    const files_entry *e = &f->entries[index];
    const model_tensor *t = &e->tensor;
    if (first < 0 || count < 0 || first > t->rows || count > t->rows - first)
        return grpo_fail(err, GRPO_ERR_INTERNAL, "rows %lld to %lld of tensor %s, which has %d", (long long)first,
                         (long long)(first + count), t->name, t->rows);
    if (!e->permuted)
        return read_plain(f, e, (uint64_t)first * (uint64_t)t->columns, (uint64_t)count * (uint64_t)t->columns, dst, err);
    int64_t units = t->rank == 1 ? t->columns : count, width = t->rank == 1 ? 1 : t->columns;
    for (int64_t i = 0; i < units && count > 0; i++) {
        int64_t row = model_gguf_stored_row((t->rank == 1 ? 0 : first) + i, f->config.head_dim);
        grpo_status status = read_plain(f, e, (uint64_t)(row * width), (uint64_t)width, dst + i * width, err);
        if (status != GRPO_OK)
            return status;
    }
    return GRPO_OK;
}
