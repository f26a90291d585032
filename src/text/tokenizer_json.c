/* Reading a tokenizer.json: vocabulary, merges, added tokens; tokenizer_pipeline.c reads the rest. */
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "text/json_read.h"
#include "text/tokenizer_impl.h"

/* The largest in use (Gemma 3) has 33 MB. */
#define MAX_FILE_BYTES ((size_t)96 << 20)

/* Ids may have gaps, but a table by id must stay in proportion to the file. */
static int id_in_proportion(uint64_t id, size_t tokens)
{
    return id < (uint64_t)tokens * 8 + 1000000 && id < INT32_MAX;
}

/* ---- model ---------------------------------------------------------------------------------------- */

static grpo_status read_vocab(grpo_tokenizer *t, const json_t *model, grpo_error *err)
{
    json_t *tokens = json_object_get(model, "vocab"), *id;
    const char *text;
    uint64_t size = 0;
    if (!json_is_object(tokens))
        return grpo_fail(err, GRPO_ERR_FORMAT, "model: \"vocab\" must be an object of tokens and ids");
    size_t count = json_object_size(tokens);
    json_object_foreach(tokens, text, id) {
        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            !id_in_proportion((uint64_t)json_integer_value(id), count))
            return grpo_fail(err, GRPO_ERR_FORMAT, "model: the token '%.60s' has an id that cannot be right "
                             "among %zu tokens", text, count);
        if ((uint64_t)json_integer_value(id) >= size)
            size = (uint64_t)json_integer_value(id) + 1;
    }
    grpo_status status = vocab_init(&t->strings, (uint32_t)size, err);
    if (status != GRPO_OK)
        return status;
    json_object_foreach(tokens, text, id) {
        status = vocab_set(&t->strings, (uint32_t)json_integer_value(id), text, strlen(text),
                           VOCAB_UNIQUE, err);
        if (status != GRPO_OK)
            return grpo_error_prefix(err, status, "model");
    }
    return GRPO_OK;
}

/* A merge is ["left", "right"], or "left right" in older files. */
static grpo_status read_merge(grpo_tokenizer *t, const json_t *merge, uint32_t rank, grpo_error *err)
{
    const json_t *left = json_array_get(merge, 0), *right = json_array_get(merge, 1);
    if (json_array_size(merge) == 2 && json_is_string(left) && json_is_string(right))
        return tokenizer_add_merge(t, json_string_value(left), json_string_length(left),
                                   json_string_value(right), json_string_length(right), rank, err);
    const char *text = json_string_value(merge);
    const char *space = text ? strchr(text, ' ') : NULL;
    if (!space || strchr(space + 1, ' '))
        return grpo_fail(err, GRPO_ERR_FORMAT, "merge %u must be two tokens", rank);
    return tokenizer_add_merge(t, text, (size_t)(space - text), space + 1,
                               json_string_length(merge) - (size_t)(space - text) - 1, rank, err);
}

static grpo_status read_merges(grpo_tokenizer *t, const bpe_model *wanted, const json_t *model,
                               grpo_error *err)
{
    json_t *merges;
    grpo_status status = json_read_array(model, "merges", 1, &merges, "model", err);
    size_t count = status == GRPO_OK ? json_array_size(merges) : 0;
    if (status == GRPO_OK && count >= UINT32_MAX)
        status = grpo_fail(err, GRPO_ERR_FORMAT, "model: %zu merges", count);
    if (status != GRPO_OK) {
        mem_free(wanted->prefix);
        mem_free(wanted->suffix);
        return status;
    }
    status = tokenizer_start_model(t, wanted, count, err);
    uint32_t rank = 0;
    for (size_t i = 0; i < count && status == GRPO_OK; i++) {
        const json_t *merge = json_array_get(merges, i);
        const char *text = json_string_value(merge);
        if (text && strncmp(text, "#version", 8) == 0)
            continue; /* the first line of a merges.txt */
        status = read_merge(t, merge, rank++, err);
    }
    return grpo_error_prefix(err, status, "model");
}

/* A string option that is kept when it is there and not empty. */
static grpo_status read_affix(char **out, const json_t *model, const char *key, grpo_error *err)
{
    const char *text = NULL;
    grpo_status status = json_read_string(model, key, 0, &text, NULL, "model", err);
    if (status != GRPO_OK || !text || !*text)
        return status;
    *out = mem_strdup(text);
    return *out ? GRPO_OK : mem_fail(err, key, strlen(text));
}

static grpo_status read_options(grpo_tokenizer *t, bpe_model *m, const json_t *model, grpo_error *err)
{
    const char *unknown = NULL;
    const json_t *dropout = json_object_get(model, "dropout");
    if (json_is_number(dropout) ? json_number_value(dropout) != 0 : dropout && !json_is_null(dropout))
        return grpo_fail(err, GRPO_ERR_UNSUPPORTED, "model: \"dropout\" makes encoding random");
    size_t unknown_length = 0;
    grpo_status status = json_read_bool(model, "byte_fallback", 0, &m->byte_fallback, "model", err);
    if (status == GRPO_OK)
        status = json_read_bool(model, "fuse_unk", 0, &m->fuse_unknown, "model", err);
    if (status == GRPO_OK)
        status = json_read_bool(model, "ignore_merges", 0, &m->ignore_merges, "model", err);
    if (status == GRPO_OK)
        status = json_read_string(model, "unk_token", 0, &unknown, &unknown_length, "model", err);
    if (status == GRPO_OK && unknown) {
        m->unknown = vocab_find(&t->strings, unknown, unknown_length);
        if (m->unknown == VOCAB_NONE)
            status = grpo_fail(err, GRPO_ERR_FORMAT, "model: the unk_token '%.60s' is not in the vocabulary", unknown);
    }
    if (status == GRPO_OK)
        status = read_affix(&m->prefix, model, "continuing_subword_prefix", err);
    return status == GRPO_OK ? read_affix(&m->suffix, model, "end_of_word_suffix", err) : status;
}

static grpo_status read_model(grpo_tokenizer *t, const json_t *model, grpo_error *err)
{
    static const char *const keys[] = {
        "type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
        "byte_fallback", "ignore_merges", "vocab", "merges", NULL};
    const char *type = "BPE";
    bpe_model wanted = {.unknown = VOCAB_NONE};
    if (!json_is_object(model))
        return grpo_fail(err, GRPO_ERR_FORMAT, "\"model\" is missing");
    grpo_status status = json_read_string(model, "type", 0, &type, NULL, "model", err);
    if (status == GRPO_OK && strcmp(type, "BPE") != 0)
        return grpo_fail(err, GRPO_ERR_UNSUPPORTED, "model: the type \"%.60s\" is not supported; BPE is", type);
    if (status == GRPO_OK)
        status = json_only_keys(model, "model", keys, err);
    if (status == GRPO_OK)
        status = read_vocab(t, model, err);
    if (status == GRPO_OK)
        status = read_options(t, &wanted, model, err);
    if (status == GRPO_OK)
        return read_merges(t, &wanted, model, err);
    mem_free(wanted.prefix);
    mem_free(wanted.suffix);
    return status;
}

/* ---- added tokens ----------------------------------------------------------------------------------- */

/* Its id must be the one that the crate would give it: that of the model's vocabulary, or the next
 * one behind all that came before. (The crate gives that one whatever the file says.) */
static grpo_status check_id(const grpo_tokenizer *t, const added_token *token, uint32_t *next,
                            grpo_error *err)
{
    uint32_t wanted = vocab_find(&t->strings, token->content, token->length);
    if (wanted == VOCAB_NONE)
        wanted = (*next)++;
    if (token->id == wanted)
        return GRPO_OK;
    return grpo_fail(err, GRPO_ERR_FORMAT, "added_tokens: '%.60s' has the id %u where %u is expected", token->content,
                     token->id, wanted);
}

static grpo_status read_added(grpo_tokenizer *t, const json_t *json, uint32_t *next, grpo_error *err)
{
    static const char where[] = "added_tokens";
    static const char *const keys[] = {"id", "content", "single_word", "lstrip", "rstrip", "normalized",
                                       "special", NULL};
    added_token token = {0};
    const char *content;
    uint64_t id;
    if (!json_is_object(json))
        return grpo_fail(err, GRPO_ERR_FORMAT, "added_tokens: an object is expected");
    grpo_status status = json_only_keys(json, where, keys, err);
    if (status == GRPO_OK)
        status = json_read_count(json, "id", 1, INT32_MAX, &id, where, err);
    if (status == GRPO_OK)
        status = json_read_string(json, "content", 1, &content, &token.length, where, err);
    if (status == GRPO_OK)
        status = json_read_bool(json, "single_word", 1, &token.single_word, where, err);
    if (status == GRPO_OK)
        status = json_read_bool(json, "lstrip", 1, &token.lstrip, where, err);
    if (status == GRPO_OK)
        status = json_read_bool(json, "rstrip", 1, &token.rstrip, where, err);
    if (status == GRPO_OK)
        status = json_read_bool(json, "normalized", 1, &token.normalized, where, err);
    if (status == GRPO_OK)
        status = json_read_bool(json, "special", 1, &token.special, where, err);
    if (status != GRPO_OK)
        return status;
    token.id = (uint32_t)id;
    token.content = mem_strndup(content, token.length);
    if (!token.content)
        return mem_fail(err, where, token.length);
    status = check_id(t, &token, next, err);
    if (status == GRPO_OK)
        return tokenizer_add_token(t, &token, err);
    mem_free(token.content);
    return status;
}

static grpo_status read_all_added(grpo_tokenizer *t, const json_t *root, grpo_error *err)
{
    json_t *list = NULL;
    uint32_t next = t->strings.count;
    grpo_status status = json_read_array(root, "added_tokens", 0, &list, "tokenizer.json", err);
    for (size_t i = 0; status == GRPO_OK && i < json_array_size(list); i++)
        status = read_added(t, json_array_get(list, i), &next, err);
    return status;
}

/* ---- the file ----------------------------------------------------------------------------------------- */

static const json_t *part(const json_t *root, const char *key)
{
    const json_t *value = json_object_get(root, key);
    return json_is_null(value) ? NULL : value;
}

static grpo_status read_root(grpo_tokenizer *t, const json_t *root, grpo_error *err)
{
    static const char *const keys[] = {"version", "truncation", "padding", "added_tokens", "normalizer",
                                       "pre_tokenizer", "post_processor", "decoder", "model", NULL};
    const char *version = "1.0";
    const json_t *json;
    grpo_status status = json_only_keys(root, "tokenizer.json", keys, err);
    if (status == GRPO_OK)
        status = json_read_string(root, "version", 0, &version, NULL, "tokenizer.json", err);
    if (status == GRPO_OK && strcmp(version, "1.0") != 0)
        status = grpo_fail(err, GRPO_ERR_UNSUPPORTED, "version \"%.20s\"; \"1.0\" is supported", version);
    if (status == GRPO_OK && (json = part(root, "normalizer")) != NULL)
        status = tokenizer_read_normalizer(t, json, err);
    if (status == GRPO_OK && (json = part(root, "pre_tokenizer")) != NULL)
        status = tokenizer_read_pretokenizer(t, json, err);
    if (status == GRPO_OK && (json = part(root, "decoder")) != NULL)
        status = tokenizer_read_decoder(t, json, err);
    if (status == GRPO_OK)
        status = read_model(t, json_object_get(root, "model"), err);
    if (status == GRPO_OK)
        status = read_all_added(t, root, err);
    if (status == GRPO_OK)
        status = tokenizer_finish(t, err);
    if (status == GRPO_OK && (json = part(root, "post_processor")) != NULL)
        status = tokenizer_read_postprocessor(t, json, err);
    return status;
}

static grpo_status read_file(grpo_tokenizer *t, grpo_error *err)
{
    json_t *root;
    grpo_status status = json_read_file(&root, t->file, MAX_FILE_BYTES, err);
    if (status != GRPO_OK)
        return status;
    status = read_root(t, root, err);
    json_decref(root);
    return grpo_error_prefix(err, status, "%s", t->file);
}

grpo_status grpo_tokenizer_load(grpo_tokenizer **out, const char *path, grpo_error *err)
{
    grpo_tokenizer *t = tokenizer_create();
    *out = NULL;
    if (!t)
        return mem_fail(err, "a tokenizer", sizeof *t);
    const char *slash = strrchr(path, '/');
    if (file_is_folder(path)) {
        t->folder = mem_strdup(path);
        t->file = file_join(path, "tokenizer.json");
    } else {
        t->folder = slash ? mem_strndup(path, (size_t)(slash - path) + (slash == path)) : mem_strdup(".");
        t->file = mem_strdup(path);
    }
    grpo_status status = t->folder && t->file ? read_file(t, err) : mem_fail(err, "a path", 0);
    if (status == GRPO_OK)
        status = tokenizer_read_config(t, err);
    if (status == GRPO_OK)
        *out = t;
    else
        grpo_tokenizer_destroy(t);
    return status;
}
