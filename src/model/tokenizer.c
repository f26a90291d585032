/* The tokenizer of a model: of its folder, or out of its GGUF file's metadata. */
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "grpo/tokenizer.h"
#include "model/gguf.h"
#include "model/tokenizer.h"

static grpo_bytes string_value(const gguf_file *f, const char *key)
{
    const gguf_value *v = gguf_find(f, key);
    if (!v || v->type != GGUF_STRING)
        return (grpo_bytes){NULL, 0};
    return (grpo_bytes){(const char *)v->data, (size_t)v->count};
}

static int64_t int_value(const gguf_file *f, const char *key)
{
    int64_t value;
    const gguf_value *v = gguf_find(f, key);
    return v && gguf_as_int(v, &value) && value >= 0 ? value : -1;
}

static int flag_value(const gguf_file *f, const char *key)
{
    int64_t value = int_value(f, key);
    return value < 0 ? -1 : value != 0;
}

/* The strings of an array; *count = 0 and NULL when the key is absent. */
static grpo_status string_array(grpo_bytes **out, size_t *count, const gguf_file *f, const char *key,
                                grpo_error *err)
{
    const gguf_value *v = gguf_find(f, key);
    *out = NULL;
    *count = 0;
    if (!v)
        return GRPO_OK;
    if (v->type != GGUF_ARRAY || v->item != GGUF_STRING)
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s must be an array of strings", key);
    grpo_bytes *strings = mem_calloc((size_t)v->count, sizeof *strings);
    if (!strings)
        return mem_fail(err, key, (size_t)v->count * sizeof *strings);
    gguf_strings walk = {.array = v};
    while (*count < v->count && gguf_next_string(&walk, &strings[*count].data, &strings[*count].length))
        ++*count;
    *out = strings;
    return GRPO_OK;
}

static grpo_status number_array(void **out, int integers, size_t wanted, const gguf_file *f,
                                const char *key, grpo_error *err)
{
    const gguf_value *v = gguf_find(f, key);
    *out = NULL;
    if (!v)
        return GRPO_OK;
    if (v->type != GGUF_ARRAY || v->count != wanted)
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s must be an array with one number for each of the %zu tokens",
                         key, wanted);
    int32_t *ints = mem_calloc(wanted, sizeof *ints);
    float *floats = (float *)ints;
    if (!ints)
        return mem_fail(err, key, wanted * sizeof *ints);
    *out = ints;
    for (size_t i = 0; i < wanted; i++) {
        int64_t whole;
        double number;
        int good = integers ? gguf_item_int(v, i, &whole) && whole >= 0 && whole < INT32_MAX
                            : gguf_item_double(v, i, &number);
        if (!good)
            return grpo_fail(err, GRPO_ERR_FORMAT, "%s: item %zu is not a number of the right kind", key, i);
        if (integers)
            ints[i] = (int32_t)whole;
        else
            floats[i] = (float)number;
    }
    return GRPO_OK;
}

/* tokenizer.chat_template.NAME, for every name. */
static grpo_status named_templates(grpo_bytes **names, grpo_bytes **texts, size_t *count,
                                   const gguf_file *f, grpo_error *err)
{
    static const char prefix[] = "tokenizer.chat_template.";
    *names = mem_calloc(f->n_pairs, sizeof **names);
    *texts = mem_calloc(f->n_pairs, sizeof **texts);
    *count = 0;
    if (!*names || !*texts)
        return mem_fail(err, prefix, f->n_pairs * sizeof **names);
    for (size_t i = 0; i < f->n_pairs; i++) {
        const gguf_pair *p = &f->pairs[i];
        if (strncmp(p->key, prefix, strlen(prefix)) != 0 || p->value.type != GGUF_STRING)
            continue;
        const char *name = p->key + strlen(prefix);
        (*names)[*count] = (grpo_bytes){name, strlen(name)};
        (*texts)[(*count)++] = (grpo_bytes){(const char *)p->value.data, (size_t)p->value.count};
    }
    return GRPO_OK;
}

static int64_t context_length(const gguf_file *f)
{
    char key[256];
    grpo_bytes architecture = string_value(f, "general.architecture");
    if (!architecture.data || architecture.length > 100)
        return -1;
    snprintf(key, sizeof key, "%.*s.context_length", (int)architecture.length, architecture.data);
    return int_value(f, key);
}

static void scalar_parts(grpo_tokenizer_parts *p, const gguf_file *f)
{
    p->model = string_value(f, "tokenizer.ggml.model");
    p->pre = string_value(f, "tokenizer.ggml.pre");
    p->bos_token_id = int_value(f, "tokenizer.ggml.bos_token_id");
    p->eos_token_id = int_value(f, "tokenizer.ggml.eos_token_id");
    p->eot_token_id = int_value(f, "tokenizer.ggml.eot_token_id");
    p->eom_token_id = int_value(f, "tokenizer.ggml.eom_token_id");
    p->unknown_token_id = int_value(f, "tokenizer.ggml.unknown_token_id");
    p->padding_token_id = int_value(f, "tokenizer.ggml.padding_token_id");
    p->add_bos_token = flag_value(f, "tokenizer.ggml.add_bos_token");
    p->add_eos_token = flag_value(f, "tokenizer.ggml.add_eos_token");
    p->add_space_prefix = flag_value(f, "tokenizer.ggml.add_space_prefix");
    p->chat_template = string_value(f, "tokenizer.chat_template");
    p->context_length = context_length(f);
}

grpo_status model_tokenizer_from_gguf(grpo_tokenizer **out, const gguf_file *f, grpo_error *err)
{
    grpo_tokenizer_parts parts = GRPO_TOKENIZER_PARTS_INIT;
    grpo_bytes *tokens = NULL, *merges = NULL, *names = NULL, *templates = NULL;
    void *types = NULL, *scores = NULL;
    *out = NULL;
    scalar_parts(&parts, f);
    grpo_status status = string_array(&tokens, &parts.token_count, f, "tokenizer.ggml.tokens", err);
    if (status == GRPO_OK)
        status = string_array(&merges, &parts.merge_count, f, "tokenizer.ggml.merges", err);
    if (status == GRPO_OK)
        status = number_array(&types, 1, parts.token_count, f, "tokenizer.ggml.token_type", err);
    if (status == GRPO_OK)
        status = number_array(&scores, 0, parts.token_count, f, "tokenizer.ggml.scores", err);
    if (status == GRPO_OK)
        status = named_templates(&names, &templates, &parts.template_count, f, err);
    parts.tokens = tokens;
    parts.merges = merges;
    parts.token_types = types;
    parts.scores = scores;
    parts.template_names = names;
    parts.templates = templates;
    if (status == GRPO_OK)
        status = grpo_tokenizer_from_parts(out, &parts, err);
    void *const owned[] = {tokens, merges, types, scores, names, templates};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        mem_free(owned[i]);
    return grpo_error_prefix(err, status, "%s", f->path);
}

static int is_gguf(const char *path)
{
    size_t n = strlen(path);
    return n >= 5 && strcmp(path + n - 5, ".gguf") == 0;
}

grpo_status grpo_tokenizer_open(grpo_tokenizer **out, const char *model, grpo_error *err)
{
    *out = NULL;
    if (file_is_folder(model) || !is_gguf(model))
        return grpo_tokenizer_load(out, model, err);
    gguf_file f;
    grpo_status status = gguf_open(&f, model, err);
    if (status != GRPO_OK)
        return status;
    status = model_tokenizer_from_gguf(out, &f, err);
    gguf_close(&f);
    return status;
}
