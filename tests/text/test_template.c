/* The template engine's own promises: what the API says, errors with lines, refusals by name, limits,
 * one template in many threads, and failing memory. What templates give is in test_template_snippets.c
 * and test_template_cases.c. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "grpo/template.h"
#include "support.h"

static const struct tm NOW = {.tm_year = 125, .tm_mon = 2, .tm_mday = 9, .tm_hour = 14, .tm_min = 5,
                              .tm_sec = 7, .tm_yday = 67};

static json_t *parse(const char *text)
{
    grpo_error err;
    json_t *json;
    assert_ok(json_parse(&json, text, strlen(text), "test", &err), err);
    return json;
}

static grpo_template *compile(const char *text)
{
    grpo_error err;
    grpo_template *t;
    assert_ok(grpo_template_create(&t, text, strlen(text), &err), err);
    return t;
}

static grpo_status render(const grpo_template *t, const char *messages, const char *tools, const char *variables,
                          grpo_template_result *result, grpo_error *err)
{
    json_t *m = parse(messages), *u = tools ? parse(tools) : NULL, *v = variables ? parse(variables) : NULL;
    grpo_template_input in = {.messages = m, .tools = u, .variables = v, .now = &NOW};
    grpo_status status = grpo_template_render_messages(t, &in, result, err);
    json_decref(m);
    json_decref(u);
    json_decref(v);
    return status;
}

static void expect(const char *source, const char *messages, const char *variables, const char *text)
{
    grpo_error err;
    grpo_template_result got;
    grpo_template *t = compile(source);
    assert_ok(render(t, messages, NULL, variables, &got, &err), err);
    assert_string_equal(got.text, text);
    assert_int_equal(got.length, strlen(text));
    assert_null(got.error);
    grpo_template_result_deinit(&got);
    grpo_template_destroy(t);
}

static void expect_failure(const char *source, const char *kind, int line, const char *part)
{
    grpo_error err = {0};
    grpo_template_result got;
    grpo_template *t = compile(source);
    assert_int_not_equal(render(t, "[]", NULL, NULL, &got, &err), GRPO_OK);
    assert_null(got.text);
    assert_string_equal(got.error_kind, kind);
    assert_int_equal(got.error_line, line);
    if (!strstr(got.error, part) || !strstr(err.message, part))
        fail_msg("'%s' and '%s' do not say '%s'", got.error, err.message, part);
    grpo_template_result_deinit(&got);
    grpo_template_destroy(t);
}

static void expect_refused(const char *source, grpo_status status, const char *message)
{
    grpo_error err = {0};
    grpo_template *t = (grpo_template *)&err;
    assert_int_equal(grpo_template_create(&t, source, strlen(source), &err), status);
    assert_null(t);
    if (!strstr(err.message, message))
        fail_msg("'%s' does not say '%s'", err.message, message);
}

/* ---- variables ------------------------------------------------------------------------------------ */

static void test_variables(void **state)
{
    (void)state;
    expect("{{ messages }}{{ tools }}{{ add_generation_prompt }}{{ documents }}|{{ bos_token }}|{{ a }}",
           "[{\"role\": \"user\", \"content\": \"x\"}]", "{\"a\": [1, 2.5, null, true]}",
           "[{'role': 'user', 'content': 'x'}]NoneFalseNone||[1, 2.5, None, True]");
    expect("{{ documents }}{{ range is defined }}{{ range }}", "[]", "{\"documents\": [1], \"range\": 5}", "[1]True5");
}

/* A message's reasoning has two names; keys stay in transformers' order. */
static void test_reasoning(void **state)
{
    (void)state;
    expect("{{ messages[0].thinking }}{{ messages[0]|list }}", "[{\"role\": \"a\", \"reasoning_content\": \"r\"}]", NULL,
           "r['thinking', 'role', 'reasoning_content']");
    expect("{{ messages[0] }}", "[{\"role\": \"a\", \"thinking\": \"t\"}]", NULL,
           "{'thinking': 't', 'role': 'a', 'reasoning_content': 't'}");
    expect("{{ messages[0] }}", "[{\"reasoning\": \"s\", \"thinking\": null}]", NULL,
           "{'thinking': None, 'reasoning': 's', 'reasoning_content': 's'}");
    expect("{{ messages[0] }}", "[{\"role\": \"a\", \"reasoning_content\": null}]", NULL,
           "{'role': 'a', 'reasoning_content': None}");
}

static void test_bad_input(void **state)
{
    (void)state;
    static const struct {
        const char *messages, *tools, *variables, *message;
    } cases[] = {{"{}", NULL, NULL, "\"messages\" must be a list"},
                 {"[1]", NULL, NULL, "messages[0] is not an object"},
                 {"[]", "{}", NULL, "\"tools\" must be"},
                 {"[]", NULL, "[]", "\"variables\" must be"},
                 {"[]", NULL, "{\"messages\": 1}", "\"messages\" may not be among the variables"}};
    grpo_template *t = compile("x");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        grpo_error err = {0};
        grpo_template_result got;
        assert_int_equal(render(t, cases[i].messages, cases[i].tools, cases[i].variables, &got, &err),
                         GRPO_ERR_FORMAT);
        assert_null(got.error);
        assert_non_null(strstr(err.message, cases[i].message));
    }
    grpo_template_destroy(t);
}

/* ---- failures ------------------------------------------------------------------------------------------ */

static void test_errors(void **state)
{
    (void)state;
    expect_failure("a\n{{ raise_exception('no: \"' ~ 1) }}", "raised_by_template", 2, "no: \"1");
    expect_failure("\n\n{{ x.y }}", "UndefinedError", 3, "'x' is undefined");
    expect_failure("{% for i in [1] %}\n{{ 'a' + i }}{% endfor %}", "TypeError", 2, "can only concatenate str");
    expect_failure("{% macro f() %}\n{{ 1 / 0 }}{% endmacro %}\n{{ f() }}", "ZeroDivisionError", 2, "zero");
    expect_failure("{{ [].append(1) }}", "SecurityError", 1, "'append'");
    expect_failure("{{ 9223372036854775807 + 1 }}", "unsupported", 1, "64 bits");
    expect_failure("{{ lipsum() }}", "unsupported", 1, "lipsum");
    expect_failure("{{ 'a'.upper }}", "unsupported", 1, "memory address");
    expect_failure("{{ [1]|map('random')|list }}", "unsupported", 1, "random");
}

static void test_refused(void **state)
{
    (void)state;
    expect_refused("\n{% include 'x' %}", GRPO_ERR_UNSUPPORTED, "line 2: not supported: the tag {% include %}");
    expect_refused("{% extends 'x' %}", GRPO_ERR_UNSUPPORTED, "extends");
    expect_refused("{% block x %}{% endblock %}", GRPO_ERR_UNSUPPORTED, "block");
    expect_refused("{% autoescape true %}{% endautoescape %}", GRPO_ERR_UNSUPPORTED, "autoescape");
    expect_refused("a\nb{{ x|random }}", GRPO_ERR_UNSUPPORTED, "line 2: not supported: the filter 'random'");
    expect_refused("{{ x|wordwrap(3) }}", GRPO_ERR_UNSUPPORTED, "wordwrap");
    expect_refused("{{ 99999999999999999999 }}", GRPO_ERR_UNSUPPORTED, "64 bits");
    expect_refused("{{ '\\N{BULLET}' }}", GRPO_ERR_UNSUPPORTED, "\\N{name}");
    expect_refused("{{ '\\ud800' }}", GRPO_ERR_UNSUPPORTED, "surrogate");
    expect_refused("{{ self.x() }}", GRPO_ERR_UNSUPPORTED, "self");
    expect_refused("{% do x %}", GRPO_ERR_FORMAT, "line 1: unknown or misplaced tag {% do %}");
    expect_refused("{{ x|nope }}", GRPO_ERR_FORMAT, "no filter named 'nope'");
    expect_refused("\n\n{% if x %}\n", GRPO_ERR_FORMAT, "inside {% if %} of line 3");
    expect_refused("\xff", GRPO_ERR_FORMAT, "UTF-8");
    expect_refused("{{ 'x }}", GRPO_ERR_FORMAT, "a string is not closed");
    expect_refused("{# x", GRPO_ERR_FORMAT, "a comment is not closed");
    expect_refused("{% break %}", GRPO_ERR_FORMAT, "outside of a loop");
}

/* ---- limits ---------------------------------------------------------------------------------------------- */

static void test_limits(void **state)
{
    (void)state;
    expect_failure("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", "limit", 1, "steps");
    expect_failure("{% set n = namespace(s='a') %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}", "limit",
                   1, "longer than 64 MiB");
    expect_failure("{{ [0] * 1000000000 }}", "limit", 1, "memory");
    expect_failure("{{ 'a'.center(1000000000000) }}", "limit", 1, "64 MiB");
    expect_failure("{{ '%99999999999d' % 1 }}", "limit", 1, "too large");
    expect_failure("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "limit", 1, "recursion");
    expect_failure("{% set n = namespace(a=[]) %}{% for i in range(9000) %}{% set n.a = [n.a] %}{% endfor %}{{ n.a }}",
                   "limit", 1, "recursion");
    expect_failure("{% set s = 'a' * 1000000 %}{% for i in range(100000) %}{{ s.count('ab') }}{% endfor %}", "limit", 1, "steps");
}

static void test_nesting(void **state)
{
    (void)state;
    static const struct {
        const char *before, *inner, *after, *message;
    } cases[] = {{"(", "1", ")", "nested"}, {"not ", "1", "", "nested"}, {"-", "1", "", "nested"},
                 {"1 + ", "1", "", "nested"}, {"", "1", "|abs", "nested"}, {"[", "", "]", "nested"},
                 {"1 if ", "1", "", "nested"}, {"", "x", ".a", "nested"}, {"f(", "", ")", "nested"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char source[200000] = "{{ ", *p = source + 3;
        for (int k = 0; k < 9000; k++)
            p += sprintf(p, "%s", cases[i].before);
        p += sprintf(p, "%s", cases[i].inner);
        for (int k = 0; k < 9000; k++)
            p += sprintf(p, "%s", cases[i].after);
        strcpy(p, " }}");
        expect_refused(source, GRPO_ERR_FORMAT, cases[i].message);
    }
}

/* Building text piece by piece takes memory in proportion to the text, not to its square. */
static void test_appending_is_linear(void **state)
{
    (void)state;
    expect("{% set n = namespace(s='') %}{% for i in range(100000) %}{% set n.s = n.s + '0123456789' %}{% endfor %}"
           "{{ n.s|length }}{{ n.s[-3:] }}",
           "[]", NULL, "1000000789");
    /* Strings that share room stay apart. */
    expect("{% set a = 'x' * 200 + 'y' %}{% set b = a + 'b' %}{% set c = a + 'c' %}{{ b[-2:] }}{{ c[-2:] }}{{ a[-1] }}",
           "[]", NULL, "ybycy");
}

static void test_max_steps(void **state)
{
    (void)state;
    grpo_error err = {0};
    grpo_template *t = compile("{% for i in range(1000) %}{{ i }}{% endfor %}");
    json_t *messages = json_array();
    grpo_template_input in = {.messages = messages, .max_steps = 500};
    grpo_template_result got;
    assert_int_not_equal(grpo_template_render_messages(t, &in, &got, &err), GRPO_OK);
    assert_string_equal(got.error_kind, "limit");
    grpo_template_result_deinit(&got);
    in.max_steps = 100000;
    assert_ok(grpo_template_render_messages(t, &in, &got, &err), err);
    grpo_template_result_deinit(&got);
    json_decref(messages);
    grpo_template_destroy(t);
}

/* ---- threads ------------------------------------------------------------------------------------------------ */

static const char BUSY[] =
    "{% macro m(x) %}<{{ x|upper }}{{ caller() if caller }}>{% endmacro %}{% set ns = namespace(n=0) %}"
    "{% for k, v in d|dictsort if v %}{% set ns.n = ns.n + v %}{{ loop.index }}{{ m(k) }}"
    "{% call m('é') %}{{ k ~ v }}{% endcall %}{% endfor %}{{ ns.n }}{{ 'aß'.upper() }}{{ u[1:3] }}";
static const char BUSY_VARIABLES[] = "{\"d\": {\"b\": 1, \"a\": 2, \"c\": 0}, \"u\": \"日本語\"}";
static const char BUSY_TEXT[] = "1<A><Éa2>2<B><Éb1>3ASS本語";

static void *render_often(void *template)
{
    for (int i = 0; i < 300; i++) {
        grpo_error err;
        grpo_template_result got;
        if (render(template, "[]", NULL, BUSY_VARIABLES, &got, &err) != GRPO_OK || strcmp(got.text, BUSY_TEXT) != 0)
            return template;
        grpo_template_result_deinit(&got);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    grpo_template *t = compile(BUSY);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, render_often, t), 0);
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    grpo_template_destroy(t);
}

/* ---- memory ---------------------------------------------------------------------------------------------------- */

/* Whichever allocation fails, the call fails cleanly. */
static void test_failing_memory(void **state)
{
    (void)state;
    json_t *messages = json_array(), *variables = parse(BUSY_VARIABLES);
    grpo_template_input in = {.messages = messages, .variables = variables};
    int succeeded = 0;
    for (long n = 1; n < 1000 && !succeeded; n++) {
        grpo_error err;
        grpo_template *t;
        grpo_template_result got = {0};
        mem_fail_after(n);
        grpo_status status = grpo_template_create(&t, BUSY, strlen(BUSY), &err);
        if (status == GRPO_OK)
            status = grpo_template_render_messages(t, &in, &got, &err);
        mem_fail_after(0);
        if (status == GRPO_OK)
            assert_string_equal(got.text, BUSY_TEXT);
        else
            assert_int_equal(status, GRPO_ERR_MEMORY);
        succeeded = status == GRPO_OK;
        grpo_template_result_deinit(&got);
        grpo_template_destroy(t);
    }
    assert_true(succeeded);
    json_decref(messages);
    json_decref(variables);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_variables),
        cmocka_unit_test(test_reasoning),
        cmocka_unit_test(test_bad_input),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_nesting),
        cmocka_unit_test(test_appending_is_linear),
        cmocka_unit_test(test_max_steps),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_failing_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
