/* Hugging Face folders: config.json, one or several safetensors files, the chat template. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/config_hf.h"
#include "model/files_internal.h"

enum {
    MAX_CONFIG = 4 << 20, /* bytes of config.json */
    MAX_INDEX = 16 << 20, /* of the shard index */
    MAX_SHARDS = 4096,
};

static grpo_status parse_if_present(json_t **out, const char *folder, const char *name, size_t limit, grpo_error *err)
{
    char *path = file_join(folder, name);
    *out = NULL;
    if (!path)
        return mem_fail(err, "a file name", strlen(folder));
    grpo_status status = file_exists(path) ? json_parse_file(out, path, limit, err) : GRPO_OK;
    mem_free(path);
    return status;
}

static grpo_status read_config(model_files *f, grpo_error *err)
{
    json_t *config;
    char *where = file_join(f->path, "config.json");
    if (!where)
        return mem_fail(err, "a file name", strlen(f->path));
    grpo_status status = parse_if_present(&config, f->path, "config.json", MAX_CONFIG, err);
    if (status == GRPO_OK && !config)
        status = grpo_fail(err, GRPO_ERR_IO, "%s: there is no config.json in this folder; a model folder has config.json and "
                           "model.safetensors", f->path);
    if (status == GRPO_OK)
        status = parse_if_present(&f->generation_json, f->path, "generation_config.json", MAX_CONFIG, err);
    if (status == GRPO_OK)
        status = model_config_from_json(&f->config, config, f->generation_json, where, err);
    if (status == GRPO_OK && !(f->config_json = model_config_text_part(config)))
        status = mem_fail(err, where, 0);
    json_decref(config);
    mem_free(where);
    return status;
}

static grpo_status add_shard(model_files *f, const char *name, size_t *capacity, grpo_error *err)
{
    for (size_t i = 0; i < f->n_shards; i++) {
        const char *slash = strrchr(f->shards[i].path, '/');
        if (strcmp(slash ? slash + 1 : f->shards[i].path, name) == 0)
            return GRPO_OK;
    }
    if (name[0] == 0 || strchr(name, '/') || f->n_shards == MAX_SHARDS)
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: the shard index names \"%.80s\", which is not a file of this folder",
                         f->path, name);
    char *path = file_join(f->path, name);
    if (!path || mem_reserve((void **)&f->shards, capacity, f->n_shards + 1, sizeof *f->shards) != 0) {
        mem_free(path);
        return mem_fail(err, "the list of shards", *capacity * sizeof *f->shards);
    }
    grpo_status status = safetensors_open(&f->shards[f->n_shards], path, err);
    if (status == GRPO_OK)
        f->n_shards++;
    mem_free(path);
    return status;
}

static grpo_status open_index(model_files *f, const json_t *index, grpo_error *err)
{
    const json_t *map = json_object_get(index, "weight_map");
    const char *key, *last = "";
    json_t *value;
    size_t capacity = 0;
    if (!json_is_object(map))
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s/model.safetensors.index.json has no weight_map", f->path);
    json_object_foreach((json_t *)map, key, value) {
        if (!json_is_string(value))
            return grpo_fail(err, GRPO_ERR_FORMAT, "%s/model.safetensors.index.json: the file of %.80s is not a string",
                             f->path, key);
        if (strcmp(json_string_value(value), last) == 0)
            continue; /* neighbours mostly share a file */
        last = json_string_value(value);
        grpo_status status = add_shard(f, last, &capacity, err);
        if (status != GRPO_OK)
            return status;
    }
    return GRPO_OK;
}

static grpo_status open_shards(model_files *f, grpo_error *err)
{
    json_t *index = NULL;
    size_t capacity = 0;
    char *single = file_join(f->path, "model.safetensors");
    if (!single)
        return mem_fail(err, "a file name", strlen(f->path));
    int one = file_exists(single);
    mem_free(single);
    if (one)
        return add_shard(f, "model.safetensors", &capacity, err);
    grpo_status status = parse_if_present(&index, f->path, "model.safetensors.index.json", MAX_INDEX, err);
    if (status == GRPO_OK && !index)
        status = grpo_fail(err, GRPO_ERR_IO, "%s: there is neither model.safetensors nor model.safetensors.index.json "
                           "(pytorch_model.bin files are not read: convert them to safetensors)", f->path);
    if (status == GRPO_OK)
        status = open_index(f, index, err);
    json_decref(index);
    return status;
}

static const safetensors_tensor *find_in_shards(const model_files *f, const char *name)
{
    const safetensors_tensor *t = NULL;
    for (size_t i = 0; i < f->n_shards && !t; i++)
        t = safetensors_find(&f->shards[i], name);
    return t;
}

/* Other names of a tensor: with the prefixes that multimodal checkpoints put before the language model's names, and
 * without "model.", as the headless classes save. */
static const safetensors_tensor *find_hf(const model_files *f, const char *name)
{
    static const struct {
        const char *prefix;
        int replaces; /* "model." */
    } forms[] = {{"", 0}, {"language_model.", 0}, {"model.language_model.", 1}, {"", 1}};
    char other[MODEL_TENSOR_NAME + 32];
    const safetensors_tensor *t = NULL;
    for (size_t i = 0; i < sizeof forms / sizeof *forms && !t; i++) {
        const char *rest = forms[i].replaces && strncmp(name, "model.", 6) == 0 ? name + 6 : name;
        snprintf(other, sizeof other, "%s%s", forms[i].prefix, rest);
        t = find_in_shards(f, other);
    }
    return t;
}

static uint64_t elements_of(const safetensors_tensor *t)
{
    return (t->end - t->begin) / safetensors_dtype_bytes(t->dtype);
}

/* Equal numbers, whatever their types. */
static int same_values(const safetensors_tensor *a, const safetensors_tensor *b)
{
    enum { STEP = 1024 };
    float x[STEP], y[STEP];
    uint64_t n = elements_of(a);
    if (a->dtype == b->dtype)
        return memcmp(a->data, b->data, (size_t)(a->end - a->begin)) == 0;
    if (a->dtype > SAFETENSORS_BF16 || b->dtype > SAFETENSORS_BF16)
        return 0;
    for (uint64_t i = 0; i < n; i += STEP) {
        uint64_t count = n - i < STEP ? n - i : STEP;
        safetensors_decode(a, i, count, x);
        safetensors_decode(b, i, count, y);
        if (memcmp(x, y, (size_t)count * sizeof *x) != 0)
            return 0;
    }
    return 1;
}

/* As transformers: a head that is stored beside the embedding it should be tied to, with other
 * values, is a head of its own. */
static void untie_if_different(model_files *f)
{
    if (!f->config.tied_embeddings || f->config.head != MODEL_HEAD_LM)
        return;
    const safetensors_tensor *head = find_hf(f, "lm_head.weight"), *embed = find_hf(f, "model.embed_tokens.weight");
    if (head && embed && elements_of(head) == elements_of(embed) && !same_values(head, embed)) {
        f->config.tied_embeddings = 0;
        json_object_set_new(f->config_json, "tie_word_embeddings", json_false());
    }
}

static grpo_status check_stored(const model_files *f, const safetensors_tensor *s, int rank, const int64_t *shape,
                                grpo_error *err)
{
    int fits = s->rank == rank;
    for (int i = 0; i < rank && fits; i++)
        fits = (int64_t)s->shape[i] == shape[i];
    if (!fits) {
        char have[96] = "", want[96] = "";
        for (int i = 0; i < s->rank && i < 4; i++)
            snprintf(have + strlen(have), sizeof have - strlen(have), "%s%lld", i ? ", " : "", (long long)s->shape[i]);
        for (int i = 0; i < rank; i++)
            snprintf(want + strlen(want), sizeof want - strlen(want), "%s%lld", i ? ", " : "", (long long)shape[i]);
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: tensor %s has shape [%s], config.json asks for [%s]", f->path,
                         s->name, have, want);
    }
    if (s->dtype > SAFETENSORS_BF16)
        return grpo_fail(err, GRPO_ERR_UNSUPPORTED, "%s: tensor %s has dtype %s (F32, F16 and BF16 are supported)",
                         f->path, s->name, safetensors_dtype_name(s->dtype));
    return GRPO_OK;
}

/* An expert's matrix inside a tensor of all experts, as transformers 5 holds them in memory and saves them with
 * save_original_format=False: gate_up_proj [experts][gate rows, up rows][hidden], down_proj [experts][hidden][ffn].
 * *first: where the matrix begins. NULL: there is none. */
static const safetensors_tensor *find_fused(const model_files *f, const model_tensor *t, int64_t shape[3], uint64_t *first)
{
    char name[MODEL_TENSOR_NAME];
    int together = t->role == MODEL_T_EXPERT_DOWN ? 1 : 2;
    if (t->expert < 0)
        return NULL;
    snprintf(name, sizeof name, "model.layers.%d.mlp.experts.%s", t->layer, together == 1 ? "down_proj" : "gate_up_proj");
    shape[0] = f->config.experts;
    shape[1] = (int64_t)together * t->rows;
    shape[2] = t->columns;
    *first = ((uint64_t)t->expert * (uint64_t)together + (t->role == MODEL_T_EXPERT_UP)) * (uint64_t)t->rows *
             (uint64_t)t->columns;
    return find_hf(f, name);
}

static grpo_status place_hf(model_files *f, files_entry *e, grpo_error *err)
{
    const model_tensor *t = &e->tensor;
    const safetensors_tensor *s = find_hf(f, t->name);
    int64_t shape[3] = {t->rank == 1 ? t->columns : t->rows, t->columns};
    int rank = t->rank;
    uint64_t first = 0;
    if (!s && t->role == MODEL_T_EMBED && f->config.tied_embeddings)
        s = find_hf(f, "lm_head.weight");
    if (!s && (s = find_fused(f, t, shape, &first)))
        rank = 3;
    if (!s)
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: tensor %s is missing", f->path, t->name);
    grpo_status status = check_stored(f, s, rank, shape, err);
    if (status != GRPO_OK)
        return status;
    e->type = tensor_type_named(safetensors_dtype_name(s->dtype));
    e->data = s->data + first * e->type->bytes;
    return GRPO_OK;
}

static int ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static int is_ignorable(const model_files *f, const char *name)
{
    static const char *const other_parts[] = {"vision_tower.", "multi_modal_projector.", "model.vision_tower.",
                                              "model.multi_modal_projector."};
    if (ends_with(name, "rotary_emb.inv_freq"))
        return 1; /* a table old files carry; it follows from the configuration */
    if (ends_with(name, "lm_head.weight") && (f->config.tied_embeddings || f->config.head != MODEL_HEAD_LM))
        return 1;
    for (size_t i = 0; i < sizeof other_parts / sizeof *other_parts; i++)
        if (strncmp(name, other_parts[i], strlen(other_parts[i])) == 0)
            return 1;
    return 0;
}

static int compare_addresses(const void *a, const void *b)
{
    const unsigned char *x = *(const unsigned char *const *)a, *y = *(const unsigned char *const *)b;
    return (x > y) - (x < y);
}

/* A tensor that the configuration does not account for means that the model computes something else. */
static grpo_status refuse_others(const model_files *f, grpo_error *err)
{
    const unsigned char **placed = mem_calloc((size_t)f->count, sizeof *placed);
    grpo_status status = GRPO_OK;
    if (!placed)
        return mem_fail(err, "the list of tensors", (size_t)f->count * sizeof *placed);
    for (int i = 0; i < f->count; i++)
        placed[i] = f->entries[i].data;
    qsort(placed, (size_t)f->count, sizeof *placed, compare_addresses);
    for (size_t s = 0; s < f->n_shards; s++)
        for (size_t i = 0; i < f->shards[s].n_tensors && status == GRPO_OK; i++) {
            const safetensors_tensor *t = &f->shards[s].tensors[i];
            if (!bsearch(&t->data, placed, (size_t)f->count, sizeof *placed, compare_addresses) && !is_ignorable(f, t->name))
                status = grpo_fail(err, GRPO_ERR_UNSUPPORTED,
                                   "%s: tensor %s belongs to no part of a %s model as config.json describes it",
                                   f->shards[s].path, t->name, f->config.family);
        }
    mem_free(placed);
    return status;
}

grpo_status files_open_hf(model_files *f, grpo_error *err)
{
    grpo_status status = read_config(f, err);
    if (status == GRPO_OK)
        status = open_shards(f, err);
    if (status == GRPO_OK) {
        untie_if_different(f);
        status = files_list_tensors(f, place_hf, err);
    }
    return status == GRPO_OK ? refuse_others(f, err) : status;
}
