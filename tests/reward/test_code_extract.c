/* The program in a response. */
#include <string.h>

#include "base/json.h"
#include "reward/code_record.h"
#include "support.h"

static void is(const char *response, code_language want, const char *expected, code_language language)
{
    code_program p = code_extract(response, strlen(response), want);
    if (p.length != strlen(expected) || memcmp(p.text, expected, p.length) != 0)
        fail_msg("from <<%s>> came <<%.*s>>, not <<%s>>", response, (int)p.length, p.text, expected);
    assert_int_equal(p.language, language);
}

static void test_blocks(void **state)
{
    (void)state;
    is("x = 1\n", CODE_UNKNOWN, "x = 1\n", CODE_UNKNOWN);
    is("Here:\n```python\nx = 1\n```\nDone.", CODE_UNKNOWN, "x = 1\n", CODE_PYTHON);
    is("```py\na\n```\ntext\n```Python\nb\n```\n", CODE_UNKNOWN, "b\n", CODE_PYTHON);
    is("```python\na\n```\n```\noutput\n```\n", CODE_UNKNOWN, "a\n", CODE_PYTHON);
    is("```\nsketch\n```\n```text\nnot this\n```\n", CODE_UNKNOWN, "sketch\n", CODE_UNKNOWN);
    is("```python\r\na\r\n```\r\n", CODE_UNKNOWN, "a\r\n", CODE_PYTHON);
    is("~~~~python\na\n~~~\nb\n~~~~\n", CODE_UNKNOWN, "a\n~~~\nb\n", CODE_PYTHON);
    is("The code: ```python\na\n```", CODE_UNKNOWN, "a\n", CODE_PYTHON);
    is("```python\nunfinished", CODE_UNKNOWN, "unfinished", CODE_PYTHON);
    is("``` {.python .numberLines}\na\n```", CODE_UNKNOWN, "a\n", CODE_PYTHON);
    is("```python\n```\n", CODE_UNKNOWN, "", CODE_PYTHON);
    is("```", CODE_UNKNOWN, "", CODE_UNKNOWN);
    is("", CODE_UNKNOWN, "", CODE_UNKNOWN);
    is("print('```')\n", CODE_UNKNOWN, "print('```')\n", CODE_UNKNOWN);
}

static void test_languages(void **state)
{
    (void)state;
    is("```c\nint x;\n```\n", CODE_UNKNOWN, "int x;\n", CODE_C);
    is("```python\na\n```\n```c\nb\n```\n", CODE_UNKNOWN, "b\n", CODE_C);
    is("```python\na\n```\n```c\nb\n```\n", CODE_PYTHON, "a\n", CODE_PYTHON);
    is("```cpp\na\n```\n", CODE_UNKNOWN, "a\n", CODE_OTHER);
}

static void test_thinking(void **state)
{
    (void)state;
    is("<think>\n```python\na\n```\n</think>\nb", CODE_UNKNOWN, "\nb", CODE_UNKNOWN);
    is("<think>x</think>\n```python\nb\n```\n", CODE_UNKNOWN, "b\n", CODE_PYTHON);
}

/* The program that `grpo score` (from_records 1) or training takes out of a record with this completion. */
static void takes(const char *completion, int from_records, const char *extra, const char *expected)
{
    char problem[256], text[300];
    const char *prompt = "def f():\n";
    const code_settings settings = {.compare = "lines", .programs_in_records = from_records};
    snprintf(text, sizeof text, "{\"tests\": [\"assert f() == 1\"]%s}", extra);
    json_t *fields = json_loads(text, 0, NULL);
    grpo_reward_record record = {.prompt = prompt, .prompt_length = strlen(prompt), .fields = fields,
                                 .completion = completion, .completion_length = strlen(completion)};
    json_t *job = code_job(&record, &settings, problem);
    assert_non_null(job);
    assert_string_equal(json_string_value(json_object_get(job, "program")), expected);
    json_decref(job);
    json_decref(fields);
}

/* A chat model's answer is judged offline as it is in training; what continues its prompt still does. */
static void test_programs_of_records(void **state)
{
    (void)state;
    const char *chat = "Here:\n```python\ndef f():\n    return 1\n```\n";
    takes(chat, 0, "", "def f():\n    return 1\n");
    takes(chat, 1, "", "def f():\n    return 1\n");
    takes(chat, 1, ", \"program\": \"f = int\"", "f = int");
    takes("    return 1\n", 1, "", "def f():\n    return 1\n");
    takes("    \"\"\"As in\n    ```\n    f()\n    ```\n    \"\"\"\n    return 1\n", 1, "",
          "def f():\n    \"\"\"As in\n    ```\n    f()\n    ```\n    \"\"\"\n    return 1\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_blocks), cmocka_unit_test(test_languages), cmocka_unit_test(test_thinking),
                                       cmocka_unit_test(test_programs_of_records)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
