/* The program in a response. */
#include <string.h>

#include "reward/code_extract.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_blocks), cmocka_unit_test(test_languages), cmocka_unit_test(test_thinking)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
