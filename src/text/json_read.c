/* Typed reads from JSON. */
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "text/json_read.h"

grpo_status json_read_file(json_t **out, const char *path, size_t limit, grpo_error *err)
{
    char *data;
    size_t length;
    grpo_status status = file_read(&data, &length, path, limit, err);
    if (status != GRPO_OK)
        return status;
    json_error_t e;
    json_t *root = json_loadb(data, length, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &e);
    mem_free(data);
    if (!root)
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s:%d:%d: not JSON: %s", path, e.line, e.column, e.text);
    if (!json_is_object(root)) {
        json_decref(root);
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: the file must hold a JSON object", path);
    }
    *out = root;
    return GRPO_OK;
}

grpo_status json_only_keys(const json_t *object, const char *where, const char *const *keys,
                           grpo_error *err)
{
    for (void *i = json_object_iter((json_t *)object); i;
         i = json_object_iter_next((json_t *)object, i)) {
        const char *key = json_object_iter_key(i);
        const char *const *known = keys;
        while (*known && strcmp(*known, key) != 0)
            known++;
        if (!*known)
            return grpo_fail(err, GRPO_ERR_UNSUPPORTED, "%s: the key \"%.100s\" is not supported", where, key);
    }
    return GRPO_OK;
}

/* 1: there; 0: absent and that is fine; -1: absent but required. */
static int member(const json_t *object, const char *key, int required, json_t **value,
                  const char *where, grpo_error *err)
{
    *value = json_object_get(object, key);
    if (*value && !json_is_null(*value))
        return 1;
    if (!required)
        return 0;
    grpo_fail(err, GRPO_ERR_FORMAT, "%s: \"%s\" is missing", where, key);
    return -1;
}

static grpo_status wrong(const char *where, const char *key, const char *what, grpo_error *err)
{
    return grpo_fail(err, GRPO_ERR_FORMAT, "%s: \"%s\" must be %s", where, key, what);
}

grpo_status json_read_bool(const json_t *object, const char *key, int required, int *value,
                           const char *where, grpo_error *err)
{
    json_t *v;
    int there = member(object, key, required, &v, where, err);
    if (there <= 0)
        return there ? GRPO_ERR_FORMAT : GRPO_OK;
    if (!json_is_boolean(v))
        return wrong(where, key, "true or false", err);
    *value = json_is_true(v);
    return GRPO_OK;
}

grpo_status json_read_string(const json_t *object, const char *key, int required,
                             const char **value, size_t *length, const char *where, grpo_error *err)
{
    json_t *v;
    int there = member(object, key, required, &v, where, err);
    if (there <= 0)
        return there ? GRPO_ERR_FORMAT : GRPO_OK;
    if (!json_is_string(v))
        return wrong(where, key, "a string", err);
    *value = json_string_value(v);
    if (length)
        *length = json_string_length(v);
    else if (strlen(*value) != json_string_length(v))
        return wrong(where, key, "without NUL characters", err);
    return GRPO_OK;
}

grpo_status json_read_count(const json_t *object, const char *key, int required, uint64_t most,
                            uint64_t *value, const char *where, grpo_error *err)
{
    json_t *v;
    int there = member(object, key, required, &v, where, err);
    if (there <= 0)
        return there ? GRPO_ERR_FORMAT : GRPO_OK;
    if (!json_is_integer(v) || json_integer_value(v) < 0 || (uint64_t)json_integer_value(v) > most)
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: \"%s\" must be a whole number from 0 to %llu", where,
                         key, (unsigned long long)most);
    *value = (uint64_t)json_integer_value(v);
    return GRPO_OK;
}

grpo_status json_read_array(const json_t *object, const char *key, int required, json_t **value,
                            const char *where, grpo_error *err)
{
    json_t *v;
    int there = member(object, key, required, &v, where, err);
    if (there <= 0)
        return there ? GRPO_ERR_FORMAT : GRPO_OK;
    if (!json_is_array(v))
        return wrong(where, key, "a list", err);
    *value = v;
    return GRPO_OK;
}
