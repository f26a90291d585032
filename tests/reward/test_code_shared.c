/* The cases of ../shared/code: every program gets the share of its tests that the case says, nothing of it stays behind,
 * and judging takes no longer than allowed. */
#define _GNU_SOURCE
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/machine.h"
#include "base/mem.h"
#include "code_support.h"
#include "support.h"

enum { MOST = 1000 };

static size_t read_cases(json_t **cases, const char *path)
{
    FILE *f = fopen(path, "r");
    file_lines lines = {.stream = f, .name = path};
    grpo_error err;
    size_t n = 0;
    assert_non_null(f);
    while (n < MOST && file_next_line(&lines, &err) == 1)
        assert_ok(json_parse(&cases[n++], lines.line, lines.length, path, &err), err);
    file_lines_deinit(&lines);
    fclose(f);
    return n;
}

/* The labels are kept from the reward. */
static double take_label(json_t *fields, const char *key)
{
    static const char *const labels[] = {"expected", "passed", "total", "expected_pass_rate", "expected_reward", "exit_status_rate", "check_passes"};
    json_t *value = json_object_get(fields, key);
    double label = json_is_boolean(value) ? json_is_true(value) : json_number_value(value);
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++)
        json_object_del(fields, labels[i]);
    return label;
}

/* Scores all cases as one batch; `text` names the field with the model's text. */
static void check_cases(const char *spec, const char *file, const char *label, const char *text, const char *dropped)
{
    static json_t *cases[MOST];
    static grpo_reward_record records[MOST];
    static double labels[MOST], totals[MOST];
    size_t n = read_cases(cases, test_shared_path(file)), used = 0, wrong = 0;
    grpo_error err;
    grpo_reward_set *set = code_judge_in(spec, test_shared_path("code"), text);
    for (size_t i = 0; i < n; i++) {
        labels[used] = take_label(cases[i], label);
        json_object_del(cases[i], dropped);
        records[used] = code_record(cases[i]);
        if (text) {
            const json_t *response = json_object_get(cases[i], text);
            records[used].completion = json_string_value(response);
            records[used].completion_length = json_string_length(response);
        }
        used += !text || records[used].completion;
    }
    assert_true(used > 40);
    assert_ok(grpo_reward_set_score(set, records, used, NULL, totals, &err), err);
    for (size_t i = 0; i < used; i++)
        if (!(fabs(totals[i] - labels[i]) < 1e-6)) {
            const char *id = json_string_value(json_object_get(records[i].fields, json_object_get(records[i].fields, "id") ? "id" : "file"));
            print_error("%s: %g, expected %g\n", id, totals[i], labels[i]);
            wrong++;
        }
    grpo_reward_set_destroy(set);
    for (size_t i = 0; i < n; i++)
        json_decref(cases[i]);
    assert_int_equal(wrong, 0);
}

static void test_humaneval(void **state)
{
    (void)state;
    check_cases("code:timeout=2,patience=20", "code/humaneval_cases.jsonl", "expected_pass_rate", NULL, "");
}

static void test_humaneval_responses(void **state)
{
    (void)state;
    check_cases("code:timeout=2,patience=20", "code/humaneval_cases.jsonl", "expected_pass_rate", "response", "");
}

static void test_humaneval_check_functions(void **state)
{
    (void)state;
    check_cases("code:timeout=2,patience=20", "code/humaneval_cases.jsonl", "check_passes", NULL, "tests");
}

static void test_stdio(void **state)
{
    (void)state;
    check_cases("code:timeout=2,patience=20", "code/stdio_cases.jsonl", "expected_pass_rate", NULL, "");
}

/* ---- hostile and ordinary programs, one by one ------------------------------------------------------ */

static void assert_absent(const json_t *paths, const char *folder)
{
    size_t i;
    const json_t *item;
    json_array_foreach(paths, i, item) {
        const char *path = json_string_value(item), *home = getenv("HOME");
        char full[1000];
        if (path[0] == '~')
            snprintf(full, sizeof full, "%s%s", home ? home : "", path + 1);
        else
            snprintf(full, sizeof full, "%s%s%s", path[0] == '/' ? "" : folder, path[0] == '/' ? "" : "/", path);
        if (access(full, F_OK) == 0)
            fail_msg("%s exists", full);
    }
}

static void test_programs(void **state)
{
    static json_t *cases[MOST];
    (void)state;
    size_t n = read_cases(cases, test_shared_path("code/programs.jsonl"));
    char folder[600], canary[700];
    grpo_error err;
    snprintf(folder, sizeof folder, "%s/run", test_folder());
    snprintf(canary, sizeof canary, "%s/canary_7731.txt", test_folder());
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_ok(file_write_all(canary, "untouched", 9, &err), err);
    setenv("REWARD_CANARY", "c0ffee-7731", 1);
    char *base = realpath(test_shared_path("code"), NULL), *home = getcwd(NULL, 0);
    assert_int_equal(chdir(folder), 0);
    grpo_reward_set *set = code_judge_in("code:timeout=2", base, NULL);
    for (size_t i = 0; i < n; i++) {
        const char *file = json_string_value(json_object_get(cases[i], "file"));
        double label = take_label(cases[i], "expected_reward"), total = -1, start = machine_seconds();
        double bound = json_number_value(json_object_get(cases[i], "bound_s"));
        grpo_reward_record r = code_record(cases[i]);
        assert_ok(grpo_reward_set_score(set, &r, 1, NULL, &total, &err), err);
        double seconds = machine_seconds() - start;
        if (total != label)
            fail_msg("%s: %g, expected %g", file, total, label);
        if (seconds > bound)
            fail_msg("%s took %.1f s, allowed are %g s", file, seconds, bound);
        assert_int_equal(code_sandboxes_of_programs(), 0);
        assert_absent(json_object_get(cases[i], "must_not_exist"), folder);
    }
    grpo_reward_set_destroy(set);
    for (size_t i = 0; i < n; i++) { /* what a daemon would have written by now */
        assert_absent(json_object_get(cases[i], "must_not_exist"), folder);
        json_decref(cases[i]);
    }
    char *text = NULL;
    assert_ok(file_read(&text, NULL, canary, 100, &err), err);
    assert_string_equal(text, "untouched");
    mem_free(text);
    assert_int_equal(chdir(home), 0);
    free(base);
    free(home);
}

int main(void)
{
    test_shared_path("code"); /* skips, aloud */
    grpo_reward_set_destroy(code_judge_or_skip("code"));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stdio),
        cmocka_unit_test(test_humaneval),
        cmocka_unit_test(test_humaneval_responses),
        cmocka_unit_test(test_humaneval_check_functions),
        cmocka_unit_test(test_programs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
