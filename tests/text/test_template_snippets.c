/* Small templates, each with what jinja2 3.1.6 makes of it in transformers' environment:
 * data/template_snippets.jsonl (made by data/make-template-snippets.py), or the file named by
 * $GRPO_TEMPLATE_SNIPPETS. A line has "template" and "expected", or "error" with Python's name for it;
 * "variables" holds for the lines that follow, too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "grpo/template.h"
#include "support.h"

/* Renders a line's template; the outcome as text, "!kind: reason" for errors. mem_free it. */
static char *outcome(const json_t *line, const json_t *variables, size_t *length)
{
    grpo_error err = {0};
    grpo_template *t;
    char text[2048];
    const json_t *source = json_object_get(line, "template");
    json_t *messages = json_array();
    if (grpo_template_create(&t, json_string_value(source), json_string_length(source), &err) != GRPO_OK) {
        json_decref(messages);
        snprintf(text, sizeof text, "!compile: %s", err.message);
        *length = strlen(text);
        return mem_strdup(text);
    }
    static const struct tm now = {.tm_year = 125, .tm_mon = 2, .tm_mday = 9, .tm_hour = 14, .tm_min = 5,
                                  .tm_sec = 7, .tm_yday = 67};
    grpo_template_input in = {.messages = messages, .variables = variables, .now = &now};
    grpo_template_result got;
    char *result;
    if (grpo_template_render_messages(t, &in, &got, &err) == GRPO_OK) {
        *length = got.length;
        result = mem_dup(got.text, got.length + 1);
    } else {
        snprintf(text, sizeof text, "!%s: %s", got.error_kind ? got.error_kind : "call", err.message);
        *length = strlen(text);
        result = mem_strdup(text);
    }
    grpo_template_result_deinit(&got);
    grpo_template_destroy(t);
    json_decref(messages);
    return result;
}

static int agrees(const json_t *line, const char *got, size_t length)
{
    const json_t *expected = json_object_get(line, "expected");
    if (expected)
        return length == json_string_length(expected) && memcmp(got, json_string_value(expected), length) == 0;
    return got[0] == '!' && strncmp(got, "!unsupported", 12) != 0;
}

static void report(const json_t *line, const char *got, size_t length, long number)
{
    json_t *want = json_object_get(line, "expected");
    json_t *all = json_pack("{s:I,s:O,s:O,s:o}", "line", (json_int_t)number, "template",
                            json_object_get(line, "template"), "want",
                            want ? want : json_object_get(line, "error"), "got", json_string_lossy(got, length));
    char *text = json_text(all);
    fprintf(stderr, "%s\n", text ? text : "out of memory");
    mem_free(text);
    json_decref(all);
}

static void test_snippets(void **state)
{
    (void)state;
    char path[4096];
    const char *other = getenv("GRPO_TEMPLATE_SNIPPETS"), *source = getenv("GRPO_SOURCE_DIR");
    snprintf(path, sizeof path, "%s/tests/text/data/template_snippets.jsonl", source ? source : ".");
    const char *file = other ? other : path;
    grpo_error err;
    file_lines lines = {.stream = fopen(file, "r"), .name = file};
    assert_non_null(lines.stream);
    long count = 0, bad = 0, more;
    json_t *variables = NULL;
    while ((more = file_next_line(&lines, &err)) > 0) {
        json_t *line;
        assert_ok(json_parse(&line, lines.line, lines.length, file, &err), err);
        if (json_object_get(line, "variables")) {
            json_decref(variables);
            variables = json_incref(json_object_get(line, "variables"));
        }
        if (!json_object_get(line, "template")) {
            json_decref(line);
            continue;
        }
        size_t length;
        char *got = outcome(line, variables, &length);
        if (!agrees(line, got, length)) {
            if (bad++ < 200)
                report(line, got, length, lines.number);
        }
        mem_free(got);
        json_decref(line);
        count++;
    }
    if (more < 0)
        fail_msg("%s", err.message);
    file_lines_deinit(&lines);
    fclose(lines.stream);
    json_decref(variables);
    fprintf(stderr, "%ld of %ld snippets differ\n", bad, count);
    assert_true(count > 0);
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_snippets)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
