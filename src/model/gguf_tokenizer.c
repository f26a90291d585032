/* tokenizer.json -> tokenizer.ggml.* metadata, as llama.cpp's converter writes it: byte-level BPE
 * ("gpt2": tokens, merges, the pre-tokenizer by name) and byte-fallback BPE ("llama": scores). */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "model/export_gguf.h"

enum { MAX_TOKENIZER = 128 << 20, MAX_TOKENIZER_CONFIG = 16 << 20 };
enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5, BYTE = 6 };

typedef struct token {
    const char *text; /* in the JSON */
    size_t length;
    int type; /* 0: no token has this id */
    float score;
} token;

typedef struct job {
    gguf_meta *m;
    const char *where;
    json_t *json, *config; /* tokenizer.json, tokenizer_config.json (may be NULL) */
    token *tokens;
    size_t count;
    int byte_fallback;
    grpo_error *err;
} job;

static grpo_status malformed(const job *j, const char *what)
{
    return grpo_fail(j->err, GRPO_ERR_FORMAT, "%s: %s", j->where, what);
}

static grpo_status set_token(job *j, json_int_t id, const char *text, size_t length, int type)
{
    if (id < 0 || (size_t)id >= j->count)
        return grpo_fail(j->err, GRPO_ERR_FORMAT, "%s: token %.60s has id %lld, the model has %zu embeddings", j->where, text,
                         (long long)id, j->count);
    j->tokens[id] = (token){.text = text, .length = length, .type = type};
    return GRPO_OK;
}

static int is_byte_token(const char *text)
{
    unsigned value;
    return strlen(text) == 6 && sscanf(text, "<0x%2X>", &value) == 1;
}

static grpo_status read_vocab(job *j, const json_t *model)
{
    const char *text, *unknown = json_string_value(json_object_get(model, "unk_token"));
    json_t *id, *item;
    size_t i;
    const json_t *vocab = json_object_get(model, "vocab"), *added = json_object_get(j->json, "added_tokens");
    if (!json_is_object(vocab))
        return malformed(j, "model.vocab is missing");
    json_object_foreach((json_t *)vocab, text, id) {
        int type = j->byte_fallback && is_byte_token(text) ? BYTE : NORMAL;
        if (unknown && j->byte_fallback && strcmp(text, unknown) == 0)
            type = UNKNOWN;
        grpo_status status = set_token(j, json_is_integer(id) ? json_integer_value(id) : -1, text, strlen(text), type);
        if (status != GRPO_OK)
            return status;
    }
    json_array_foreach(added, i, item) {
        const json_t *content = json_object_get(item, "content");
        int special = json_is_true(json_object_get(item, "special"));
        id = json_object_get(item, "id");
        if (!json_is_string(content) || !json_is_integer(id))
            return malformed(j, "an added token lacks id or content");
        const char *word = json_string_value(content);
        int type = unknown && j->byte_fallback && strcmp(word, unknown) == 0 ? UNKNOWN : special ? CONTROL : USER_DEFINED;
        grpo_status status = set_token(j, json_integer_value(id), word, json_string_length(content), type);
        if (status != GRPO_OK)
            return status;
    }
    return GRPO_OK;
}

/* A merge, written "left right" or ["left", "right"], as one string with a space in `text`. */
static int merge_text(strbuf *text, const json_t *merge)
{
    strbuf_clear(text);
    if (json_is_string(merge)) {
        strbuf_append(text, json_string_value(merge), json_string_length(merge));
        return 1;
    }
    const json_t *left = json_array_get(merge, 0), *right = json_array_get(merge, 1);
    if (!json_is_string(left) || !json_is_string(right))
        return 0;
    strbuf_append(text, json_string_value(left), json_string_length(left));
    strbuf_putc(text, ' ');
    strbuf_append(text, json_string_value(right), json_string_length(right));
    return 1;
}

static grpo_status put_merges(job *j, const json_t *merges)
{
    strbuf text = STRBUF_INIT;
    grpo_status status = GRPO_OK;
    json_t *merge;
    size_t i;
    gguf_put_array(j->m, "tokenizer.ggml.merges", GGUF_STRING, json_array_size(merges));
    json_array_foreach(merges, i, merge) {
        if (status == GRPO_OK && !merge_text(&text, merge))
            status = malformed(j, "a merge is not a pair of strings");
        gguf_put_item_string(j->m, strbuf_text(&text), text.length);
    }
    if (text.failed)
        status = mem_fail(j->err, "merges", 0);
    strbuf_deinit(&text);
    return status;
}

/* A sentencepiece score is minus the rank of the first merge that makes the token: llama.cpp merges the
 * pair whose result scores highest. */
static grpo_status score_tokens(job *j, const json_t *model, const json_t *merges)
{
    const json_t *vocab = json_object_get(model, "vocab");
    strbuf text = STRBUF_INIT;
    json_t *merge;
    size_t i;
    grpo_status status = GRPO_OK;
    json_array_foreach(merges, i, merge) {
        char *space = status == GRPO_OK && merge_text(&text, merge) && text.length ? strchr(text.data, ' ') : NULL;
        if (!space) {
            status = status == GRPO_OK ? malformed(j, "a merge is not a pair of strings") : status;
            continue;
        }
        memmove(space, space + 1, strlen(space)); /* the pair joined */
        const json_t *id = json_object_get(vocab, text.data);
        if (json_is_integer(id) && j->tokens[json_integer_value(id)].score == 0)
            j->tokens[json_integer_value(id)].score = -(float)(i + 1);
    }
    strbuf_deinit(&text);
    return status;
}

/* ---- the pre-tokenizer's name ------------------------------------------------------------------- */

static int is_step(const json_t *step, const char *type)
{
    const char *name = json_string_value(json_object_get(step, "type"));
    return name && strcmp(name, type) == 0;
}

static const char *name_of_pattern(const char *pattern, int ignore_merges)
{
    static const char contractions[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}",
                      rest[] = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    size_t n = strlen(contractions);
    if (!pattern || strncmp(pattern, contractions, n) != 0)
        return NULL;
    if (strncmp(pattern + n, "{1,3}", 5) == 0 && strcmp(pattern + n + 5, rest) == 0)
        return ignore_merges ? "llama-bpe" : "dbrx"; /* the same expression */
    return strcmp(pattern + n, rest) == 0 ? "qwen2" : NULL;
}

static const char *pre_name(const job *j, const json_t *model)
{
    const json_t *pre = json_object_get(j->json, "pre_tokenizer"), *list = json_object_get(pre, "pretokenizers");
    size_t n = is_step(pre, "Sequence") ? json_array_size(list) : 1;
    const json_t *first = is_step(pre, "Sequence") ? json_array_get(list, 0) : pre, *last = n > 1 ? json_array_get(list, n - 1) : first;
    int ignore_merges = json_is_true(json_object_get(model, "ignore_merges"));
    int regex = !json_is_false(json_object_get(last, "use_regex"));
    if (!is_step(last, "ByteLevel") || json_is_true(json_object_get(last, "add_prefix_space")))
        return NULL;
    if (n == 1 && regex)
        return "gpt-2";
    if (n == 2 && regex && is_step(first, "Digits") && json_is_true(json_object_get(first, "individual_digits")))
        return "smollm";
    if (n == 2 && !regex && is_step(first, "Split"))
        return name_of_pattern(json_string_value(json_object_get(json_object_get(first, "pattern"), "Regex")), ignore_merges);
    return NULL;
}

/* ---- scalars ---------------------------------------------------------------------------------------- */

/* The id of a special token that tokenizer_config.json names, as a string or an object. */
static int64_t special_id(const job *j, const char *key)
{
    const json_t *v = json_object_get(j->config, key);
    if (json_is_object(v))
        v = json_object_get(v, "content");
    for (size_t i = 0; json_is_string(v) && i < j->count; i++)
        if (j->tokens[i].type && j->tokens[i].length == json_string_length(v) &&
            memcmp(j->tokens[i].text, json_string_value(v), j->tokens[i].length) == 0)
            return (int64_t)i;
    return -1;
}

static void put_id(job *j, const char *name, int64_t id)
{
    char key[64];
    if (id < 0)
        return;
    snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", name);
    gguf_put_u32(j->m, key, (uint32_t)id);
}

static void put_ids(job *j, const model_config *c)
{
    static const char *const ends[] = {"eos", "eot", "eom"};
    int64_t bos = special_id(j, "bos_token"), eos = special_id(j, "eos_token"), pad = special_id(j, "pad_token");
    int used = 0;
    put_id(j, "bos", bos >= 0 ? bos : c->bos);
    put_id(j, "unknown", special_id(j, "unk_token"));
    put_id(j, "padding", pad >= 0 ? pad : c->pad);
    if (eos >= 0)
        put_id(j, ends[used++], eos);
    for (int i = 0; i < c->n_eos && used < 3; i++)
        if (c->eos[i] != eos)
            put_id(j, ends[used++], c->eos[i]);
}

/* Does the post-processor's template for one text begin (end) with a special token? */
static int template_adds(const json_t *processor, int at_end)
{
    const json_t *steps = json_object_get(processor, "processors"), *single = json_object_get(processor, "single");
    size_t i, n = json_array_size(single);
    json_t *step;
    json_array_foreach(steps, i, step) {
        if (template_adds(step, at_end))
            return 1;
    }
    return n > 0 && json_object_get(json_array_get(single, at_end ? n - 1 : 0), "SpecialToken") != NULL;
}

static void put_added(job *j)
{
    static const char *const keys[] = {"add_bos_token", "add_eos_token"};
    for (int end = 0; end < 2; end++) {
        const json_t *said = json_object_get(j->config, keys[end]);
        char key[64];
        snprintf(key, sizeof key, "tokenizer.ggml.%s", keys[end]);
        gguf_put_bool(j->m, key, json_is_boolean(said) ? json_is_true(said)
                                                       : template_adds(json_object_get(j->json, "post_processor"), end));
    }
}

/* Does the tokenizer put a space before a text? Normaliser "Prepend" or pre-tokenizer "Metaspace". */
static int adds_space(const json_t *part)
{
    const json_t *list = json_object_get(part, "normalizers"), *other = json_object_get(part, "pretokenizers");
    const char *scheme = json_string_value(json_object_get(part, "prepend_scheme"));
    size_t i;
    json_t *step;
    json_array_foreach(list ? list : other, i, step) {
        if (adds_space(step))
            return 1;
    }
    if (is_step(part, "Metaspace"))
        return scheme ? strcmp(scheme, "never") != 0 : !json_is_false(json_object_get(part, "add_prefix_space"));
    return is_step(part, "Prepend");
}

static grpo_status put_template(job *j, const char *folder)
{
    char *path = file_join(folder, "chat_template.jinja"), *text = NULL;
    size_t length = 0;
    grpo_status status = path ? GRPO_OK : mem_fail(j->err, "a file name", strlen(folder));
    const json_t *inside = json_object_get(j->config, "chat_template");
    if (path && file_exists(path))
        status = file_read(&text, &length, path, MAX_TOKENIZER_CONFIG, j->err);
    if (text)
        gguf_put_string(j->m, "tokenizer.chat_template", text, length);
    else if (json_is_string(inside))
        gguf_put_string(j->m, "tokenizer.chat_template", json_string_value(inside), json_string_length(inside));
    mem_free(text);
    mem_free(path);
    return status;
}

/* ---- all of it ---------------------------------------------------------------------------------------- */

static void put_tokens(job *j)
{
    gguf_put_array(j->m, "tokenizer.ggml.tokens", GGUF_STRING, j->count);
    for (size_t i = 0; i < j->count; i++) {
        char padding[32];
        const token *t = &j->tokens[i];
        if (t->type)
            gguf_put_item_string(j->m, t->text, t->length);
        else { /* rows of the embedding that no token uses */
            snprintf(padding, sizeof padding, "[PAD%zu]", i);
            gguf_put_item_string(j->m, padding, strlen(padding));
        }
    }
    gguf_put_array(j->m, "tokenizer.ggml.token_type", GGUF_I32, j->count);
    for (size_t i = 0; i < j->count; i++)
        gguf_put_item_i32(j->m, j->tokens[i].type ? j->tokens[i].type : UNUSED);
    if (!j->byte_fallback)
        return;
    gguf_put_array(j->m, "tokenizer.ggml.scores", GGUF_F32, j->count);
    for (size_t i = 0; i < j->count; i++)
        gguf_put_item_f32(j->m, j->tokens[i].score);
}

static grpo_status put_all(job *j, const char *folder, const model_config *c, const char *pre)
{
    const json_t *model = json_object_get(j->json, "model"), *merges = json_object_get(model, "merges");
    const char *type = json_string_value(json_object_get(model, "type"));
    if ((type && strcmp(type, "BPE") != 0) || !json_is_array(merges))
        return grpo_fail(j->err, GRPO_ERR_UNSUPPORTED, "%s: only BPE tokenizers can be written to GGUF", j->where);
    j->byte_fallback = json_is_true(json_object_get(model, "byte_fallback"));
    const char *name = j->byte_fallback ? "default" : pre ? pre : pre_name(j, model);
    if (!name)
        return grpo_fail(j->err, GRPO_ERR_UNSUPPORTED, "%s: this pre-tokenizer is none that llama.cpp is known to have; "
                         "give llama.cpp's name for it", j->where);
    grpo_status status = read_vocab(j, model);
    if (status == GRPO_OK && j->byte_fallback)
        status = score_tokens(j, model, merges);
    if (status != GRPO_OK)
        return status;
    const char *kind = j->byte_fallback ? "llama" : "gpt2";
    gguf_put_string(j->m, "tokenizer.ggml.model", kind, strlen(kind));
    gguf_put_string(j->m, "tokenizer.ggml.pre", name, strlen(name));
    put_tokens(j);
    if (!j->byte_fallback)
        status = put_merges(j, merges);
    else
        gguf_put_bool(j->m, "tokenizer.ggml.add_space_prefix",
                      adds_space(json_object_get(j->json, "normalizer")) || adds_space(json_object_get(j->json, "pre_tokenizer")));
    put_ids(j, c);
    put_added(j);
    return status == GRPO_OK ? put_template(j, folder) : status;
}

grpo_status model_gguf_put_tokenizer(gguf_meta *m, const char *folder, const model_config *c, const char *pre,
                                     grpo_error *err)
{
    char *where = file_join(folder, "tokenizer.json"), *beside = file_join(folder, "tokenizer_config.json");
    job j = {.m = m, .where = where, .count = (size_t)c->vocab, .err = err};
    j.tokens = mem_calloc(j.count, sizeof *j.tokens);
    grpo_status status = where && beside && j.tokens ? GRPO_OK : mem_fail(err, "the vocabulary", j.count * sizeof *j.tokens);
    if (status == GRPO_OK && !file_exists(where))
        status = grpo_fail(err, GRPO_ERR_IO, "%s: there is no tokenizer.json in this folder", folder);
    if (status == GRPO_OK)
        status = json_parse_file(&j.json, where, MAX_TOKENIZER, err);
    if (status == GRPO_OK && file_exists(beside))
        status = json_parse_file(&j.config, beside, MAX_TOKENIZER_CONFIG, err);
    if (status == GRPO_OK)
        status = put_all(&j, folder, c, pre);
    json_decref(j.json);
    json_decref(j.config);
    mem_free(j.tokens);
    mem_free(where);
    mem_free(beside);
    return status;
}
