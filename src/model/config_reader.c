/* Typed access to config.json. */
#include <limits.h>
#include <string.h>

#include "base/mem.h"
#include "model/config_reader.h"

void config_wrong(config_reader *r, const char *key, const char *what)
{
    if (r->status == GRPO_OK)
        r->status = grpo_fail(r->err, GRPO_ERR_CONFIG, "%s: %s%s %s", r->where, r->inside, key, what);
}

const json_t *config_get(config_reader *r, const char *key)
{
    if (r->n_seen < CONFIG_READER_SEEN)
        r->seen[r->n_seen++] = key;
    const json_t *v = json_object_get(r->object, key);
    return json_is_null(v) ? NULL : v;
}

int config_has(const config_reader *r, const char *key)
{
    return json_object_get(r->object, key) != NULL;
}

int config_get_int(config_reader *r, const char *key, int fallback)
{
    const json_t *v = config_get(r, key);
    if (!v)
        return fallback;
    json_int_t n = json_integer_value(v);
    if (!json_is_integer(v) || n < INT_MIN || n > INT_MAX) {
        config_wrong(r, key, "must be a whole number");
        return fallback;
    }
    return (int)n;
}

double config_get_double(config_reader *r, const char *key, double fallback)
{
    const json_t *v = config_get(r, key);
    if (!v)
        return fallback;
    if (!json_is_number(v)) {
        config_wrong(r, key, "must be a number");
        return fallback;
    }
    return json_number_value(v);
}

int config_get_bool(config_reader *r, const char *key, int fallback)
{
    const json_t *v = config_get(r, key);
    if (v && !json_is_boolean(v))
        config_wrong(r, key, "must be true or false");
    return v ? json_is_true(v) : fallback;
}

const char *config_get_string(config_reader *r, const char *key, const char *fallback)
{
    const json_t *v = config_get(r, key);
    if (v && !json_is_string(v))
        config_wrong(r, key, "must be a string");
    return v && json_is_string(v) ? json_string_value(v) : fallback;
}

const json_t *config_get_array(config_reader *r, const char *key)
{
    const json_t *v = config_get(r, key);
    if (v && !json_is_array(v)) {
        config_wrong(r, key, "must be a list");
        return NULL;
    }
    return v;
}

static int is_off(const json_t *v)
{
    return json_is_null(v) || json_is_false(v) || (json_is_number(v) && json_number_value(v) == 0) ||
           (json_is_string(v) && json_string_length(v) == 0) || (json_is_array(v) && json_array_size(v) == 0) ||
           (json_is_object(v) && json_object_size(v) == 0);
}

void config_refuse_leftovers(config_reader *r, int (*is_harmless)(const char *key))
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)r->object, key, value) {
        int known = is_off(value) || is_harmless(key);
        for (int i = 0; i < r->n_seen && !known; i++)
            known = strcmp(r->seen[i], key) == 0;
        if (known || r->status != GRPO_OK)
            continue;
        char *text = json_text(value);
        r->status = grpo_fail(r->err, GRPO_ERR_UNSUPPORTED,
                              "%s: %s%s = %.60s is not understood and might change what the model computes; "
                              "remove the key if it does not",
                              r->where, r->inside, key, text ? text : "…");
        mem_free(text);
    }
}
