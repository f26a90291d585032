/* Records of a data set: prompt, messages, answer. */
#include <string.h>
#include <xxhash.h>

#include "base/mem.h"
#include "train/data.h"
#include "train/data_file.h"
#include "train/data_set.h"

/* ---- fields ------------------------------------------------------------------------------------ */

json_t *data_field(const json_t *record, const char *path)
{
    json_t *whole = json_object_get(record, path);
    const char *dot = strchr(path, '.');
    if (whole || !dot)
        return whole;
    for (const json_t *object = record; object; path = dot + 1, dot = strchr(path, '.')) {
        if (!dot)
            return json_object_get(object, path);
        object = json_object_getn(object, path, (size_t)(dot - path));
    }
    return NULL;
}

static json_t *first_field(const json_t *record, const char *given, const char *const *usual)
{
    if (given)
        return data_field(record, given);
    for (; *usual; usual++) {
        json_t *value = data_field(record, *usual);
        if (value && !json_is_null(value))
            return value;
    }
    return NULL;
}

/* The record's keys for a message, "question, answer". */
static void put_keys(strbuf *out, json_t *record)
{
    const char *key;
    json_t *value;
    int n = 0;
    json_object_foreach(record, key, value) {
        if (n++ == 12) {
            strbuf_puts(out, ", …");
            break;
        }
        strbuf_printf(out, "%s%.40s", n > 1 ? ", " : "", key);
    }
}

/* ---- templates ----------------------------------------------------------------------------------- */

static void put_field(strbuf *out, const json_t *value)
{
    if (json_is_string(value)) {
        strbuf_append(out, json_string_value(value), json_string_length(value));
        return;
    }
    char *text = json_text(value);
    if (text)
        strbuf_puts(out, text);
    else
        out->failed = 1;
    mem_free(text);
}

grpo_status data_fill_template(strbuf *out, const char *template, const json_t *record, const char *where,
                               grpo_error *err)
{
    for (const char *p = template; *p; p++) {
        if (*p != '{' && *p != '}') {
            strbuf_putc(out, *p);
            continue;
        }
        if (p[1] == *p) { /* {{ and }} */
            strbuf_putc(out, *p++);
            continue;
        }
        size_t n = strcspn(p + 1, "{}");
        if (*p == '}' || p[1 + n] != '}' || n == 0 || n > 200)
            return grpo_fail(err, GRPO_ERR_CONFIG, "the prompt template has a lone '%c' at \"%.20s\"; write {{ or }} for a "
                             "brace, {field} for a field", *p, p);
        char name[201];
        memcpy(name, p + 1, n);
        name[n] = 0;
        json_t *value = record ? data_field(record, name) : NULL;
        if (record && !value)
            return grpo_fail(err, GRPO_ERR_FORMAT, "%s: there is no field '%s', which the prompt template uses", where, name);
        if (value)
            put_field(out, value);
        p += n + 1;
    }
    return out->failed ? mem_fail(err, "a prompt", out->length) : GRPO_OK;
}

/* ---- prompts -------------------------------------------------------------------------------------- */

/* The text of a message's content: a string, or parts of which all are text. NULL when it is neither. */
static json_t *content_text(json_t *content)
{
    if (json_is_string(content))
        return json_incref(content);
    if (!json_is_array(content))
        return NULL;
    strbuf text = STRBUF_INIT;
    size_t i;
    json_t *part, *result = NULL;
    json_array_foreach(content, i, part) {
        const json_t *value = json_object_get(part, "text");
        if (!json_is_string(value))
            goto done;
        strbuf_append(&text, json_string_value(value), json_string_length(value));
    }
    result = json_stringn(strbuf_text(&text), text.length);
done:
    strbuf_deinit(&text);
    return result;
}

static grpo_status append_message(json_t *list, const char *role, json_t *content)
{
    json_t *message = json_object();
    if (!message || json_object_set_new(message, "role", json_string(role)) != 0 ||
        json_object_set(message, "content", content) != 0 || json_array_append(list, message) != 0) {
        json_decref(message);
        return GRPO_ERR_MEMORY;
    }
    json_decref(message);
    return GRPO_OK;
}

static grpo_status check_message(json_t *message, json_t **content, const char *where, grpo_error *err)
{
    const json_t *role = json_object_get(message, "role");
    if (!json_is_string(role))
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: a message of the prompt has no \"role\"", where);
    *content = content_text(json_object_get(message, "content"));
    if (!*content)
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: a message's \"content\" is not text (images are not supported)", where);
    return GRPO_OK;
}

/* Copies messages, so that other keys of theirs (names, ids) reach the chat template unchanged. */
static grpo_status copy_messages(json_t *list, json_t *messages, const char *where, grpo_error *err)
{
    size_t i;
    json_t *message;
    json_array_foreach(messages, i, message) {
        json_t *content = NULL, *copy = NULL;
        grpo_status status = check_message(message, &content, where, err);
        if (status == GRPO_OK) {
            copy = json_copy(message);
            if (!copy || json_object_set(copy, "content", content) != 0 || json_array_append(list, copy) != 0)
                status = mem_fail(err, "a prompt", 0);
        }
        json_decref(content);
        json_decref(copy);
        if (status != GRPO_OK)
            return status;
    }
    const char *last = json_string_value(json_object_get(json_array_get(list, json_array_size(list) - 1), "role"));
    if (last && strcmp(last, "assistant") == 0)
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: the prompt ends with a message of the assistant; its turn must come next",
                         where);
    return GRPO_OK;
}

static grpo_status make_messages(data_record *r, json_t *prompt, const char *system, const char *where, grpo_error *err)
{
    r->messages = json_array();
    if (!r->messages)
        return mem_fail(err, "a prompt", 0);
    const char *first = json_string_value(json_object_get(json_array_get(prompt, 0), "role"));
    grpo_status status = GRPO_OK;
    if (system && !(first && strcmp(first, "system") == 0)) {
        json_t *content = json_string(system);
        status = content ? append_message(r->messages, "system", content) : GRPO_ERR_MEMORY;
        json_decref(content);
    }
    if (status != GRPO_OK)
        return mem_fail(err, "a prompt", 0);
    if (json_is_array(prompt))
        return copy_messages(r->messages, prompt, where, err);
    status = append_message(r->messages, "user", prompt);
    return status == GRPO_OK ? status : mem_fail(err, "a prompt", 0);
}

/* The prompt as a JSON string or array of messages (new reference). */
static grpo_status find_prompt(json_t **prompt, json_t *fields, const data_options *o, const char *where, grpo_error *err)
{
    static const char *const usual[] = {"prompt", "question", "problem", "instruction", NULL};
    if (o->template) {
        strbuf text = STRBUF_INIT;
        grpo_status status = data_fill_template(&text, o->template, fields, where, err);
        *prompt = status == GRPO_OK ? json_stringn(strbuf_text(&text), text.length) : NULL;
        strbuf_deinit(&text);
        return status != GRPO_OK || *prompt ? status : mem_fail(err, "a prompt", 0);
    }
    json_t *value = first_field(fields, o->prompt_field, usual);
    if (json_is_string(value) || (json_is_array(value) && json_array_size(value) > 0)) {
        *prompt = json_incref(value);
        return GRPO_OK;
    }
    strbuf keys = STRBUF_INIT;
    put_keys(&keys, fields);
    grpo_status status = grpo_fail(err, GRPO_ERR_FORMAT, "%s: %s '%s' (the fields are: %s); set data.prompt_field or data.template",
                                   where, value ? "neither text nor messages in field" : "there is no field",
                                   o->prompt_field ? o->prompt_field : "prompt", strbuf_text(&keys));
    strbuf_deinit(&keys);
    return status;
}

/* ---- answers ----------------------------------------------------------------------------------------- */

static grpo_status find_answer(data_record *r, const data_options *o, const char *where, grpo_error *err)
{
    static const char *const usual[] = {"answer", "reward_model.ground_truth", "solution", "ground_truth", "target", NULL};
    json_t *value = first_field(r->fields, o->answer_field, usual);
    if (!value || json_is_null(value)) {
        if (!o->answer_field)
            return GRPO_OK;
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: there is no field '%s' (data.answer_field)", where, o->answer_field);
    }
    strbuf text = STRBUF_INIT;
    put_field(&text, value);
    r->answer_length = text.length;
    r->answer = strbuf_detach(&text);
    return r->answer ? GRPO_OK : mem_fail(err, "an answer", 0);
}

/* ---- the set -------------------------------------------------------------------------------------------- */

static XXH128_hash_t prompt_hash(const json_t *messages)
{
    char *text = json_text(messages); /* keys in the order they stand */
    XXH128_hash_t h = XXH3_128bits(text ? text : "", text ? strlen(text) : 0);
    mem_free(text);
    return h;
}

static void release(data_record *r)
{
    json_decref(r->fields);
    json_decref(r->messages);
    mem_free((char *)r->answer);
    mem_free((char *)r->text);
}

static grpo_status add_record(data_set *d, json_t *fields, const data_options *o, const data_file *f, grpo_error *err)
{
    char where[4200];
    snprintf(where, sizeof where, "%s line %ld", f->path, f->line);
    data_record r = {.fields = fields, .line = f->line};
    json_t *prompt = NULL;
    grpo_status status = find_prompt(&prompt, fields, o, where, err);
    if (status == GRPO_OK)
        status = make_messages(&r, prompt, o->system_prompt, where, err);
    if (status == GRPO_OK && json_is_string(prompt) &&
        strlen(json_string_value(prompt)) != json_string_length(prompt))
        status = grpo_fail(err, GRPO_ERR_FORMAT, "%s: a NUL character in the prompt", where);
    if (status == GRPO_OK && json_is_string(prompt)) {
        r.text = mem_strdup(json_string_value(prompt));
        if (!r.text)
            status = mem_fail(err, "a prompt", 0);
    }
    if (status == GRPO_OK)
        status = find_answer(&r, o, where, err);
    if (status == GRPO_OK && (mem_reserve((void **)&d->records, &d->capacity, d->count + 1, sizeof r) != 0 ||
                              mem_reserve((void **)&d->hashes, &d->hash_capacity, d->count + 1, sizeof *d->hashes) != 0))
        status = mem_fail(err, f->path, 0);
    json_decref(prompt);
    if (status != GRPO_OK) {
        release(&r);
        return status;
    }
    d->hashes[d->count] = prompt_hash(r.messages);
    d->records[d->count++] = r;
    return GRPO_OK;
}

static grpo_status read_records(data_set *d, const data_options *o, grpo_error *err)
{
    data_file file;
    grpo_status status = data_file_open(&file, d->path, err);
    if (status != GRPO_OK)
        return status;
    while (o->limit == 0 || d->count < o->limit) {
        json_t *fields;
        status = data_file_next(&file, &fields, err);
        if (status != GRPO_OK || !fields)
            break;
        status = add_record(d, fields, o, &file, err);
        if (status != GRPO_OK)
            break;
    }
    data_file_close(&file);
    return status;
}

grpo_status data_open(data_set **out, const char *path, const data_options *options, grpo_error *err)
{
    static const data_options plain = {0};
    const data_options *o = options ? options : &plain;
    *out = NULL;
    if (o->template) { /* so that a slip in it is told without a record's line */
        strbuf none = STRBUF_INIT;
        grpo_status status = data_fill_template(&none, o->template, NULL, "", err);
        strbuf_deinit(&none);
        if (status != GRPO_OK)
            return status;
    }
    data_set *d = mem_calloc(1, sizeof *d);
    if (!d || !(d->path = mem_strdup(path))) {
        mem_free(d);
        return mem_fail(err, path, 0);
    }
    grpo_status status = read_records(d, o, err);
    if (status == GRPO_OK && d->count == 0)
        status = grpo_fail(err, GRPO_ERR_FORMAT, "%s has no records", path);
    if (status == GRPO_OK)
        status = data_index_prompts(d, err);
    if (status != GRPO_OK) {
        data_close(d);
        return status;
    }
    *out = d;
    return GRPO_OK;
}

void data_close(data_set *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < d->count; i++)
        release(&d->records[i]);
    mem_free(d->records);
    mem_free(d->hashes);
    mem_free(d->by_hash);
    mem_free(d->path);
    mem_free(d);
}

size_t data_count(const data_set *d)
{
    return d->count;
}

const data_record *data_get(const data_set *d, size_t index)
{
    return &d->records[index];
}

const char *data_path(const data_set *d)
{
    return d->path;
}

size_t data_duplicates(const data_set *d)
{
    return d->duplicates;
}
