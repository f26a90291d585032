/* GGUF files as models: which tensor holds what, and what llama.cpp's converter did to it. */
#include <string.h>

#include "base/mem.h"
#include "model/config_gguf.h"
#include "model/files_internal.h"
#include "model/gguf_names.h"

/* Rows that precede this tensor's in the stored one: experts of a projection are stored together. */
static grpo_status place_gguf(model_files *f, files_entry *e, grpo_error *err)
{
    const model_tensor *t = &e->tensor;
    char name[MODEL_TENSOR_NAME];
    model_gguf_name(name, &f->config, t);
    const gguf_tensor *g = gguf_find_tensor(&f->gguf, name);
    if (!g)
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: tensor %s is missing", f->path, name);
    int rank = t->expert >= 0 ? 3 : t->rank;
    int64_t want[3] = {t->columns, t->rows, f->config.experts};
    int fits = g->rank == rank;
    for (int i = 0; i < rank && fits; i++)
        fits = g->ne[i] == want[i];
    if (!fits)
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: tensor %s has %d dimensions, %lld x %lld x %lld; the metadata asks for %d, %lld x %lld x %lld",
                         f->path, name, g->rank, (long long)g->ne[0], (long long)g->ne[1], (long long)g->ne[2], rank,
                         (long long)want[0], (long long)(rank > 1 ? want[1] : 0), (long long)(rank > 2 ? want[2] : 0));
    if (!g->type->decode)
        return grpo_fail(err, GRPO_ERR_UNSUPPORTED, "%s: tensor %s has type %s, which is not supported (supported: %s)",
                         f->path, name, g->type->name, tensor_type_list());
    e->type = g->type;
    e->permuted = model_gguf_permuted_heads(&f->config, t) > 0;
    e->plus_one = f->config.norm_offset != 0 && model_tensor_is_norm(t->role);
    e->data = g->data;
    if (t->expert > 0)
        e->data += (uint64_t)t->expert * (uint64_t)t->rows * ((uint64_t)t->columns / g->type->elements) * g->type->bytes;
    if (e->permuted && t->rank == 1 && g->type->elements != 1)
        return grpo_fail(err, GRPO_ERR_UNSUPPORTED, "%s: tensor %s is a quantised bias, which is not supported",
                         f->path, name);
    return GRPO_OK;
}

/* 1 when some tensor of the model is stored under this name. */
static int is_known(const model_files *f, const char *name)
{
    char known[MODEL_TENSOR_NAME];
    if (strcmp(name, "rope_freqs.weight") == 0)
        return 1;
    for (int i = 0; i < f->count; i++) {
        if (f->entries[i].tensor.expert > 0)
            continue;
        model_gguf_name(known, &f->config, &f->entries[i].tensor);
        if (strcmp(known, name) == 0)
            return 1;
    }
    return 0;
}

static grpo_status refuse_others(const model_files *f, grpo_error *err)
{
    size_t stored = 0;
    for (int i = 0; i < f->count; i++) /* distinct names: all present, so equal counts mean equal sets */
        stored += f->entries[i].tensor.expert <= 0;
    stored += gguf_find_tensor(&f->gguf, "rope_freqs.weight") != NULL;
    if (stored == f->gguf.n_tensors)
        return GRPO_OK;
    for (size_t i = 0; i < f->gguf.n_tensors; i++)
        if (!is_known(f, f->gguf.tensors[i].name))
            return grpo_fail(err, GRPO_ERR_UNSUPPORTED, "%s: tensor %s belongs to no part of a %s model as the metadata describes it",
                             f->path, f->gguf.tensors[i].name, f->config.family);
    return GRPO_OK;
}

grpo_status files_open_gguf(model_files *f, grpo_error *err)
{
    f->is_gguf = 1;
    grpo_status status = gguf_open(&f->gguf, f->path, err);
    if (status == GRPO_OK)
        status = model_config_from_gguf(&f->config, &f->gguf, err);
    if (status == GRPO_OK)
        status = files_list_tensors(f, place_gguf, err);
    return status == GRPO_OK ? refuse_others(f, err) : status;
}
