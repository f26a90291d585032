/* Every chat template case of ../shared/chat whose template is at hand: smollm2 lies there, the others
 * are looked for in $GRPO_CHAT_TEMPLATES (filled by get-templates.sh there). Texts as transformers
 * 5.23.0 with jinja2 3.1.6 gives them; for smollm2 also the ids of the text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "grpo/template.h"
#include "support.h"

typedef struct cached {
    char name[64];
    grpo_template *template; /* NULL: not at hand */
    long cases;
} cached;

static cached cache[64];
static int cached_count;

static grpo_template *load_template(const char *path)
{
    grpo_error err;
    grpo_template *t;
    char *text;
    size_t length;
    assert_ok(file_read(&text, &length, path, 1 << 20, &err), err);
    assert_ok(grpo_template_create(&t, text, length, &err), err);
    mem_free(text);
    return t;
}

static cached *find(const char *name)
{
    for (int i = 0; i < cached_count; i++)
        if (strcmp(cache[i].name, name) == 0)
            return &cache[i];
    assert_true(cached_count < 64);
    cached *c = &cache[cached_count++];
    const char *more = getenv("GRPO_CHAT_TEMPLATES");
    char relative[256], path[4096];
    snprintf(c->name, sizeof c->name, "%s", name);
    snprintf(relative, sizeof relative, "chat/templates/%s.jinja", name);
    snprintf(path, sizeof path, "%s", test_shared_path(relative));
    if (!file_exists(path) && more)
        snprintf(path, sizeof path, "%s/%s.jinja", more, name);
    if (file_exists(path))
        c->template = load_template(path);
    return c;
}

static void expect_error(const json_t *want, const grpo_template_result *got, const char *id)
{
    const char *kind = json_string_value(json_object_get(want, "kind"));
    const char *message = json_string_value(json_object_get(want, "message"));
    if (!got->error)
        fail_msg("%s: gave a text instead of %s: %s", id, kind, message);
    assert_string_equal(got->error_kind, kind);
    assert_true(got->error_line > 0);
    if (strcmp(kind, "raised_by_template") == 0)
        assert_string_equal(got->error, message);
}

static void run_case(const grpo_template *t, const json_t *line)
{
    /* The clock of the cases: 2025-03-09 14:05:07, a Sunday. */
    static const struct tm now = {.tm_year = 125, .tm_mon = 2, .tm_mday = 9, .tm_hour = 14, .tm_min = 5,
                                  .tm_sec = 7, .tm_yday = 67};
    grpo_template_input in = {
        .messages = json_object_get(line, "messages"),
        .tools = json_object_get(line, "tools"),
        .add_generation_prompt = json_is_true(json_object_get(line, "add_generation_prompt")),
        .variables = json_object_get(line, "variables"),
        .now = &now,
    };
    const char *id = json_string_value(json_object_get(line, "id"));
    const json_t *expected = json_object_get(line, "expected");
    grpo_template_result got;
    grpo_error err = {0};
    grpo_status status = grpo_template_render_messages(t, &in, &got, &err);
    if (expected) {
        if (status != GRPO_OK)
            fail_msg("%s: %s", id, err.message);
        if (got.length != json_string_length(expected) ||
            memcmp(got.text, json_string_value(expected), got.length) != 0)
            fail_msg("%s: got\n%s\ninstead of\n%s", id, got.text, json_string_value(expected));
    } else {
        expect_error(json_object_get(line, "error"), &got, id);
    }
    grpo_template_result_deinit(&got);
}

static void test_all_cases(void **state)
{
    (void)state;
    const char *path = test_shared_path("chat/cases.jsonl");
    grpo_error err;
    file_lines lines = {.stream = fopen(path, "r"), .name = path};
    assert_non_null(lines.stream);
    long ran = 0, absent = 0;
    while (file_next_line(&lines, &err) > 0) {
        json_t *line;
        assert_ok(json_parse(&line, lines.line, lines.length, path, &err), err);
        cached *c = find(json_string_value(json_object_get(line, "template")));
        if (c->template)
            run_case(c->template, line);
        *(c->template ? &ran : &absent) += 1;
        json_decref(line);
    }
    file_lines_deinit(&lines);
    fclose(lines.stream);
    fprintf(stderr, "%ld cases ran\n", ran);
    if (absent)
        fprintf(stderr, "SKIPPED: %ld cases whose templates are not here (set GRPO_CHAT_TEMPLATES)\n", absent);
    assert_true(ran >= 80); /* smollm2's */
    for (int i = 0; i < cached_count; i++)
        grpo_template_destroy(cache[i].template);
}

/* The rendered conversations tokenise to the ids that transformers gets. */
static void test_smollm2_ids(void **state)
{
    (void)state;
    grpo_error err;
    grpo_tokenizer *tokenizer;
    assert_ok(grpo_tokenizer_load(&tokenizer, test_shared_path("tokenizer/smollm2"), &err), err);
    const char *path = test_shared_path("chat/cases.jsonl");
    file_lines lines = {.stream = fopen(path, "r"), .name = path};
    long checked = 0;
    while (file_next_line(&lines, &err) > 0) {
        json_t *line;
        assert_ok(json_parse(&line, lines.line, lines.length, path, &err), err);
        const json_t *text = json_object_get(line, "expected"), *ids = json_object_get(line, "ids");
        if (text && ids) {
            int32_t *got;
            size_t count;
            assert_ok(grpo_tokenizer_encode(tokenizer, json_string_value(text), json_string_length(text), 0,
                                            &got, &count, &err), err);
            assert_int_equal(count, json_array_size(ids));
            for (size_t i = 0; i < count; i++)
                assert_int_equal(got[i], json_integer_value(json_array_get(ids, i)));
            grpo_tokenizer_free_ids(got);
            checked++;
        }
        json_decref(line);
    }
    file_lines_deinit(&lines);
    fclose(lines.stream);
    grpo_tokenizer_destroy(tokenizer);
    assert_true(checked >= 70);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_cases),
        cmocka_unit_test(test_smollm2_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
