/* What lies beside a tokenizer.json: special tokens by name, chat templates, end tokens. */
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "text/json_read.h"
#include "text/tokenizer_impl.h"
#include "text/unicode.h"

#define MAX_CONFIG_BYTES ((size_t)64 << 20)

/* The file of that name beside tokenizer.json, parsed; NULL when there is none. */
static grpo_status read_beside(json_t **out, const grpo_tokenizer *t, const char *name, grpo_error *err)
{
    char *path = file_join(t->folder, name);
    *out = NULL;
    if (!path)
        return mem_fail(err, "a path", strlen(name));
    grpo_status status = file_exists(path) ? json_read_file(out, path, MAX_CONFIG_BYTES, err) : GRPO_OK;
    mem_free(path);
    return status;
}

/* "<s>" or {"content": "<s>", …}. */
static const char *token_content(const json_t *value)
{
    return json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
}

static int ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static grpo_status read_specials(grpo_tokenizer *t, const json_t *config, grpo_error *err)
{
    const char *key;
    json_t *value;
    grpo_status status = GRPO_OK;
    json_object_foreach((json_t *)config, key, value) {
        const char *content = ends_with(key, "_token") ? token_content(value) : NULL;
        if (content && !grpo_tokenizer_special(t, key))
            status = tokenizer_add_special(t, key, content, err);
        if (status != GRPO_OK)
            break;
    }
    return status;
}

/* A template, or a list of {"name", "template"}. */
static grpo_status read_templates(grpo_tokenizer *t, const json_t *value, grpo_error *err)
{
    static const char where[] = "tokenizer_config.json: chat_template";
    if (json_is_string(value))
        return tokenizer_add_template(t, "default", json_string_value(value),
                                      json_string_length(value), err);
    grpo_status status = GRPO_OK;
    for (size_t i = 0; i < json_array_size(value) && status == GRPO_OK; i++) {
        const json_t *item = json_array_get(value, i);
        const char *name, *text;
        size_t length;
        status = json_read_string(item, "name", 1, &name, NULL, where, err);
        if (status == GRPO_OK)
            status = json_read_string(item, "template", 1, &text, &length, where, err);
        if (status == GRPO_OK && !grpo_tokenizer_chat_template(t, name))
            status = tokenizer_add_template(t, name, text, length, err);
    }
    return status;
}

/* chat_template.jinja takes precedence over what the config holds, as in transformers. */
static grpo_status read_template_file(grpo_tokenizer *t, grpo_error *err)
{
    char *path = file_join(t->folder, "chat_template.jinja"), *text = NULL;
    size_t length;
    if (!path)
        return mem_fail(err, "a path", 0);
    grpo_status status = GRPO_OK;
    if (file_exists(path)) {
        status = file_read(&text, &length, path, MAX_CONFIG_BYTES, err);
        if (status == GRPO_OK && utf8_valid_prefix(text, length) != length)
            status = grpo_fail(err, GRPO_ERR_FORMAT, "%s is not UTF-8", path);
        if (status == GRPO_OK)
            status = tokenizer_add_template(t, "default", text, length, err);
    }
    mem_free(text);
    mem_free(path);
    return status;
}

/* "eos_token_id": a number or a list of them. */
static grpo_status read_eos(grpo_tokenizer *t, const char *file, grpo_error *err)
{
    json_t *config;
    grpo_status status = read_beside(&config, t, file, err);
    const json_t *ids = json_object_get(config, "eos_token_id");
    if (json_is_integer(ids))
        status = tokenizer_add_eos(t, json_integer_value(ids), err);
    for (size_t i = 0; i < json_array_size(ids) && status == GRPO_OK; i++)
        if (json_is_integer(json_array_get(ids, i)))
            status = tokenizer_add_eos(t, json_integer_value(json_array_get(ids, i)), err);
    json_decref(config);
    return status;
}

grpo_status tokenizer_read_config(grpo_tokenizer *t, grpo_error *err)
{
    json_t *config, *map = NULL;
    grpo_status status = read_template_file(t, err);
    if (status != GRPO_OK)
        return status;
    status = read_beside(&config, t, "tokenizer_config.json", err);
    if (status == GRPO_OK)
        status = read_beside(&map, t, "special_tokens_map.json", err);
    if (status == GRPO_OK && config)
        status = read_specials(t, config, err);
    if (status == GRPO_OK && map)
        status = read_specials(t, map, err);
    if (status == GRPO_OK && config)
        status = read_templates(t, json_object_get(config, "chat_template"), err);
    json_decref(config);
    json_decref(map);
    if (status == GRPO_OK)
        status = tokenizer_add_eos(t, grpo_tokenizer_special_id(t, "eos_token"), err);
    if (status == GRPO_OK)
        status = read_eos(t, "generation_config.json", err);
    return status == GRPO_OK ? read_eos(t, "config.json", err) : status;
}
