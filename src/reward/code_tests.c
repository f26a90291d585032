/* Tests of data sets in one form. */
#include "reward/code_tests.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/strbuf.h"

enum { DEEPEST = 4 };

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* ---- standard input and output --------------------------------------------------------------------- */

/* Text as it is; a list of lines joined; anything else as JSON. */
static json_t *stream_text(const json_t *value)
{
    strbuf text = STRBUF_INIT;
    size_t i;
    const json_t *item;
    if (json_is_string(value))
        return json_incref((json_t *)value);
    if (json_is_array(value)) {
        json_array_foreach(value, i, item) {
            json_t *part = stream_text(item);
            strbuf_append(&text, json_string_value(part), json_string_length(part));
            strbuf_putc(&text, '\n');
            json_decref(part);
        }
    } else {
        char *written = json_text(value);
        strbuf_puts(&text, written ? written : "");
        mem_free(written);
    }
    json_t *result = text.failed ? NULL : json_stringn(strbuf_text(&text), text.length);
    strbuf_deinit(&text);
    return result;
}

/* ---- calls of a function with JSON values -------------------------------------------------------------- */

static json_t *parsed(const char *text, size_t length)
{
    json_t *value = NULL;
    return json_parse(&value, text, length, "test", NULL) == GRPO_OK ? value : NULL;
}

/* Text with one JSON value a line (LiveCodeBench), or a list. */
static json_t *arguments(const json_t *value)
{
    if (json_is_array(value))
        return json_incref((json_t *)value);
    json_t *list = json_array();
    if (!json_is_string(value)) {
        json_array_append(list, (json_t *)value);
        return list;
    }
    for (const char *p = json_string_value(value); *p;) {
        size_t length = strcspn(p, "\n");
        json_t *item = length ? parsed(p, length) : NULL;
        if (length)
            json_array_append_new(list, item ? item : json_stringn(p, length));
        p += length + (p[length] == '\n');
    }
    return list;
}

static json_t *expected(const json_t *value)
{
    json_t *inner = json_is_string(value) ? parsed(json_string_value(value), json_string_length(value)) : NULL;
    return inner ? inner : json_incref((json_t *)value);
}

/* One pair of input and output. */
static json_t *pair(const json_t *input, const json_t *output, const char *function)
{
    if (function)
        return json_pack("{s:s, s:o, s:o}", "function", function, "arguments", arguments(input), "expected", expected(output));
    return json_pack("{s:o, s:o}", "input", stream_text(input), "output", stream_text(output));
}

/* ---- forms ------------------------------------------------------------------------------------------------ */

static json_t *job_of(const char *kind, json_t *tests, const char *setup, const char *entry)
{
    return json_pack("{s:s, s:o, s:s, s:s}", "kind", kind, "tests", tests, "setup", setup ? setup : "", "entry", entry ? entry : "");
}

/* The function's name, wherever a form puts it. */
static const char *function_of(const json_t *object)
{
    static const char *const names[] = {"fn_name", "func_name", "function"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (text_of(object, names[i]) && text_of(object, names[i])[0])
            return text_of(object, names[i]);
    const json_t *inner = json_object_get(object, "metadata");
    return json_is_object(inner) ? function_of(inner) : NULL;
}

static json_t *from_pairs(const json_t *object, char problem[256])
{
    const json_t *inputs = json_object_get(object, "inputs"), *outputs = json_object_get(object, "outputs");
    const char *function = function_of(object);
    if (json_array_size(inputs) != json_array_size(outputs)) {
        snprintf(problem, 256, "the record has %zu inputs and %zu outputs", json_array_size(inputs), json_array_size(outputs));
        return NULL;
    }
    json_t *tests = json_array();
    for (size_t i = 0; i < json_array_size(inputs); i++)
        json_array_append_new(tests, pair(json_array_get(inputs, i), json_array_get(outputs, i), function));
    return job_of(function ? "calls" : "script", tests, NULL, function);
}

/* {"input", "output", "testtype"?, "fn_name"?} or {"code"}; NULL for anything else. */
static json_t *from_item(const json_t *item, const char *entry)
{
    const char *type = text_of(item, "testtype"), *function = function_of(item);
    const json_t *input = json_object_get(item, "input"), *output = json_object_get(item, "output");
    if (json_is_string(item))
        return json_pack("{s:O}", "code", item);
    if (!input || !output)
        return NULL;
    if (type && strcmp(type, "functional") == 0 && !function)
        function = entry;
    return pair(input, output, function);
}

static json_t *from_list(const json_t *list, const json_t *record, const char *setup, char problem[256])
{
    const char *entry = text_of(record, "entry_point") ? text_of(record, "entry_point") : function_of(record);
    json_t *tests = json_array();
    const char *kind = NULL;
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *test = from_item(json_array_get(list, i), entry);
        const char *own = json_object_get(test, "input") ? "script" : "calls";
        if (!test || (kind && strcmp(kind, own) != 0)) {
            snprintf(problem, 256, test ? "tests of different kinds stand in one record" : "test %zu is neither code nor an input with its output", i + 1);
            json_decref(test);
            json_decref(tests);
            return NULL;
        }
        kind = own;
        json_array_append_new(tests, test);
    }
    return job_of(kind ? kind : "calls", tests, setup, entry);
}

/* MBPP: imports and code before the tests. */
static char *setup_of(const json_t *record)
{
    strbuf text = STRBUF_INIT;
    size_t i;
    const json_t *line;
    json_array_foreach(json_object_get(record, "test_imports"), i, line)
        strbuf_printf(&text, "%s\n", json_is_string(line) ? json_string_value(line) : "");
    const char *code = text_of(record, "test_setup_code") ? text_of(record, "test_setup_code") : text_of(record, "setup");
    strbuf_puts(&text, code ? code : "");
    return strbuf_detach(&text);
}

static json_t *from_value(const json_t *value, const json_t *record, int depth, char problem[256]);

/* An object with tests under one of their names. */
static json_t *from_object(const json_t *object, const json_t *record, int depth, char problem[256])
{
    static const char *const nested[] = {"test_list", "check", "test", "functional", "assert_case", "input_output", "test_cases",
                                         "public_test_cases", "unit_tests", "ground_truth", "reward_model"};
    if (json_is_array(json_object_get(object, "inputs")) && json_is_array(json_object_get(object, "outputs")))
        return from_pairs(object, problem);
    const json_t *value = json_object_get(object, "tests");
    for (size_t i = 0; !value && i < sizeof nested / sizeof *nested; i++) {
        value = json_object_get(object, nested[i]);
        if (json_is_null(value) || (json_is_string(value) && !json_string_length(value)))
            value = NULL;
    }
    return value ? from_value(value, record, depth + 1, problem) : NULL;
}

static int is_name(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* Does the text call something, or assert? The "65" of another kind of data does neither; run as a test it would be one
 * that every program fails. (\left( of LaTeX is no call.) */
static int is_code(const char *text)
{
    if (strstr(text, "assert"))
        return 1;
    for (const char *open = strchr(text, '('); open; open = strchr(open + 1, '(')) {
        const char *name = open;
        while (name > text && is_name(name[-1]))
            name--;
        if (name < open && !isdigit((unsigned char)*name) && (name == text || name[-1] != '\\'))
            return 1;
    }
    return 0;
}

static json_t *from_value(const json_t *value, const json_t *record, int depth, char problem[256])
{
    if (depth > DEEPEST)
        return NULL;
    if (json_is_object(value))
        return from_object(value, record, depth, problem);
    json_t *inner = json_is_string(value) ? parsed(json_string_value(value), json_string_length(value)) : NULL, *result = NULL;
    if (json_is_object(inner) || json_is_array(inner)) {
        result = from_value(inner, record, depth + 1, problem);
    } else if (json_is_array(value) || (json_is_string(value) && is_code(json_string_value(value)))) {
        char *setup = setup_of(record);
        json_t *list = json_is_string(value) ? json_pack("[O]", value) : json_incref((json_t *)value);
        result = from_list(list, record, setup, problem);
        json_decref(list);
        mem_free(setup);
    }
    json_decref(inner);
    return result;
}

json_t *code_tests(const grpo_reward_record *r, char problem[256])
{
    json_t *job = json_is_object(r->fields) ? from_object(r->fields, r->fields, 0, problem) : NULL;
    if (!job && !problem[0] && r->answer) { /* as grpo_reward_record has it: the reference may be the tests */
        json_t *answer = json_string_lossy(r->answer, r->answer_length);
        job = from_value(answer, r->fields, 1, problem);
        json_decref(answer);
    }
    if (!job && !problem[0])
        snprintf(problem, 256, "the record has no tests (tests, inputs and outputs, check, test_list, input_output, …)");
    if (job && json_array_size(json_object_get(job, "tests")) == 0) {
        snprintf(problem, 256, "the record's list of tests is empty");
        json_decref(job);
        job = NULL;
    }
    return job;
}
