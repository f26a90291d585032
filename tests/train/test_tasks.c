/* Procedural tasks: answers worked out again from the prompt's text, disjoint splits, no duplicates. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/tasks.h"
#include "support.h"

static grpo_status collect(void *context, json_t *record, grpo_error *err)
{
    (void)err;
    json_array_append(context, record);
    return GRPO_OK;
}

static json_t *make(const char *tasks, size_t count, uint64_t seed, task_split split, int phrasing, const char *setting,
                    task_report *report)
{
    task_request r = {.tasks = tasks, .count = count, .seed = seed, .split = split, .test_share = 0.2,
                      .settings = &setting, .setting_count = setting != NULL, .phrasing = phrasing};
    json_t *list = json_array();
    grpo_error err;
    assert_ok(tasks_make(&r, collect, list, report, &err), err);
    assert_int_equal(json_array_size(list), count);
    return list;
}

static const char *text(const json_t *record, const char *key)
{
    const char *s = json_string_value(json_object_get(record, key));
    assert_non_null(s);
    return s;
}

/* The whole numbers in a text, in order. */
static int numbers(const char *s, long *x)
{
    int n = 0;
    while (*s && n < 32) {
        char *end;
        if (*s >= '0' && *s <= '9') {
            x[n++] = strtol(s, &end, 10);
            s = end;
        } else {
            s++;
        }
    }
    return n;
}

static int ascending(const void *a, const void *b)
{
    long x = *(const long *)a, y = *(const long *)b;
    return (x > y) - (x < y);
}

/* The answer to a prompt, worked out from its text alone. */
static void solve(const char *name, const char *prompt, char *out, size_t size)
{
    long x[32] = {0}, result = 0;
    int n = numbers(prompt, x);
    char word[64] = "", letter = 0;
    if (strcmp(name, "addition") == 0 || strcmp(name, "format") == 0)
        for (int i = 0; i < n; i++)
            result += x[i];
    else if (strcmp(name, "subtraction") == 0)
        result = x[0] - x[1];
    else if (strcmp(name, "multiplication") == 0)
        result = x[0] * x[1];
    else if (strcmp(name, "division") == 0)
        result = x[0] % x[1] == 0 ? x[0] / x[1] : -1;
    else if (strcmp(name, "remainder") == 0)
        result = x[0] % x[1];
    else if (strcmp(name, "digit_sum") == 0)
        for (const char *p = prompt; *p; p++)
            result += *p >= '0' && *p <= '9' ? *p - '0' : 0;
    else if (strcmp(name, "sequence") == 0)
        result = 2 * x[n - 1] - x[n - 2];
    else if (strcmp(name, "largest") == 0 || strcmp(name, "smallest") == 0) {
        qsort(x, (size_t)n, sizeof *x, ascending);
        result = strcmp(name, "largest") == 0 ? x[n - 1] : x[0];
    } else if (strcmp(name, "comparison") == 0) {
        result = x[0] > x[1] ? x[0] : x[1];
    } else if (strcmp(name, "sorting") == 0) {
        n -= 3; /* the example (1, 2, 3) stands last */
        qsort(x, (size_t)n, sizeof *x, ascending);
        size_t used = 0;
        for (int i = 0; i < n; i++)
            used += (size_t)snprintf(out + used, size - used, "%s%ld", i ? ", " : "(", x[i]);
        snprintf(out + used, size - used, ")");
        return;
    } else if (strcmp(name, "parity") == 0) {
        snprintf(out, size, "%s", x[0] % 2 ? "odd" : "even");
        return;
    } else if (strcmp(name, "base") == 0) { /* base 2: back from the digits in check() */
        for (long rest = x[0], place = 1; rest; rest /= 2, place *= 10)
            result += rest % 2 * place;
    } else if (strcmp(name, "letters") == 0) {
        const char *quote = strchr(prompt, '"');
        letter = quote[1];
        sscanf(strchr(quote + 3, '"') + 1, "%63[a-z]", word);
        for (const char *p = word; *p; p++)
            result += *p == letter;
    } else if (strcmp(name, "reversal") == 0) {
        sscanf(strchr(prompt, '"') + 1, "%63[a-z]", word);
        size_t m = strlen(word);
        for (size_t i = 0; i < m; i++)
            out[i] = word[m - 1 - i];
        out[m] = 0;
        return;
    } else {
        fail_msg("this test does not know the task %s", name);
    }
    snprintf(out, size, "%ld", result);
}

static void test_answers(void **state)
{
    (void)state;
    size_t n;
    const task *all = tasks_all(&n);
    for (size_t i = 0; i < n; i++) {
        json_t *list = make(all[i].name, 300, 5, TASK_ALL, -1, NULL, &(task_report){0}), *record;
        size_t k;
        json_array_foreach(list, k, record) {
            char wanted[256];
            solve(all[i].name, text(record, "prompt"), wanted, sizeof wanted);
            if (strcmp(wanted, text(record, "answer")) != 0)
                fail_msg("%s -> %s, not %s", text(record, "prompt"), text(record, "answer"), wanted);
            assert_string_equal(text(record, "task"), all[i].name);
        }
        json_decref(list);
    }
}

static void test_parameters(void **state)
{
    (void)state;
    long x[32];
    json_t *list = make("addition", 100, 1, TASK_ALL, 0, "terms=5", &(task_report){0}), *record;
    size_t k;
    json_array_foreach(list, k, record) {
        assert_int_equal(numbers(text(record, "prompt"), x), 5);
        for (int i = 0; i < 5; i++)
            assert_in_range(x[i], 10, 99);
    }
    json_decref(list);
    int small = 0;
    list = make("addition", 100, 1, TASK_ALL, 0, "addition.min_digits=1", &(task_report){0});
    json_array_foreach(list, k, record) {
        numbers(text(record, "prompt"), x);
        small += x[0] < 10;
    }
    assert_in_range(small, 25, 75);
    json_decref(list);
    list = make("base", 100, 1, TASK_ALL, 0, "base=16", &(task_report){0});
    json_array_foreach(list, k, record) {
        numbers(text(record, "prompt"), x);
        assert_int_equal(strtol(text(record, "answer"), NULL, 16), x[0]);
    }
    json_decref(list);
    list = make("comparison", 200, 1, TASK_ALL, 0, "decimals=3", &(task_report){0});
    json_array_foreach(list, k, record) {
        double a, b;
        assert_int_equal(sscanf(text(record, "prompt"), "Which number is larger, %lf or %lf?", &a, &b), 2);
        assert_true(atof(text(record, "answer")) == (a > b ? a : b));
    }
    json_decref(list);
    list = make("reversal", 50, 1, TASK_ALL, 0, "made_up=9", &(task_report){0});
    json_array_foreach(list, k, record)
        assert_int_equal(strlen(text(record, "answer")), 9);
    json_decref(list);
}

/* Operands of a sum, smaller first, as one number. */
static long sum_key(const json_t *record)
{
    long x[32];
    numbers(text(record, "prompt"), x);
    return x[0] < x[1] ? x[0] * 1000 + x[1] : x[1] * 1000 + x[0];
}

static void test_splits_are_apart(void **state)
{
    (void)state;
    task_report report;
    json_t *train = make("addition", 3000, 1, TASK_TRAIN, -1, NULL, &report), *r;
    json_t *test = make("addition", 500, 99, TASK_TEST, -1, NULL, &report);
    static char side[100000];
    memset(side, 0, sizeof side);
    size_t k;
    json_array_foreach(train, k, r)
        side[sum_key(r)] = 1;
    json_array_foreach(test, k, r)
        assert_int_equal(side[sum_key(r)], 0); /* 12 + 34 in one and 34 + 12 in the other is excluded too */
    json_decref(train);
    json_decref(test);
    size_t n;
    const task *all = tasks_all(&n);
    for (size_t i = 0; i < n; i++) {
        json_t *seen = json_object();
        train = make(all[i].name, 400, 1, TASK_TRAIN, 0, NULL, &report);
        json_array_foreach(train, k, r)
            json_object_set_new(seen, text(r, "prompt"), json_true());
        test = make(all[i].name, 100, 2, TASK_TEST, 0, NULL, &report);
        json_array_foreach(test, k, r)
            assert_null(json_object_get(seen, text(r, "prompt")));
        json_decref(seen);
        json_decref(train);
        json_decref(test);
    }
}

static void test_no_duplicates_until_exhausted(void **state)
{
    (void)state;
    task_report report;
    json_t *list = make("multiplication", 121, 1, TASK_ALL, 0, NULL, &report), *r; /* 2 to 12: 11 x 11 */
    size_t k;
    json_t *seen = json_object();
    json_array_foreach(list, k, r)
        json_object_set_new(seen, text(r, "prompt"), json_true());
    assert_int_equal(json_object_size(seen), 121);
    assert_int_equal(report.problems, 121);
    assert_int_equal(report.repeats, 0);
    json_decref(list);
    list = make("multiplication", 300, 1, TASK_ALL, 0, NULL, &report);
    assert_int_equal(report.problems, 121);
    assert_int_equal(report.repeats, 179);
    json_t *counts = json_object();
    json_array_foreach(list, k, r) {
        json_int_t c = json_integer_value(json_object_get(counts, text(r, "prompt")));
        json_object_set_new(counts, text(r, "prompt"), json_integer(c + 1));
        assert_true(c < 3); /* repeated evenly: 300 = 2 * 121 + 58 */
    }
    json_decref(counts);
    json_decref(seen);
    json_decref(list);
}

/* The same everywhere and for ever: a run's data are named by its command. */
static void test_deterministic(void **state)
{
    (void)state;
    json_t *a = make("addition,letters", 40, 7, TASK_TRAIN, -1, NULL, &(task_report){0});
    json_t *b = make("addition,letters", 20, 7, TASK_TRAIN, -1, NULL, &(task_report){0});
    json_t *c = make("addition,letters", 20, 8, TASK_TRAIN, -1, NULL, &(task_report){0});
    for (size_t i = 0; i < 20; i++)
        assert_true(json_equal(json_array_get(a, i), json_array_get(b, i)));
    assert_false(json_equal(b, c));
    assert_string_equal(text(json_array_get(a, 0), "task"), "addition");
    assert_string_equal(text(json_array_get(a, 1), "task"), "letters");
    assert_string_equal(text(json_array_get(a, 0), "prompt"), "Calculate 85 + 57.");
    assert_string_equal(text(json_array_get(a, 39), "prompt"), "How many times does the letter \"o\" appear in the word \"cottage\"?");
    json_decref(a);
    json_decref(b);
    json_decref(c);
}

static void refuses(const char *tasks, const char *setting, const char *message)
{
    task_request r = {.tasks = tasks, .count = 1, .settings = &setting, .setting_count = setting != NULL};
    json_t *list = json_array();
    grpo_error err = {0};
    assert_int_equal(tasks_make(&r, collect, list, &(task_report){0}, &err), GRPO_ERR_USAGE);
    if (!strstr(err.message, message))
        fail_msg("got '%s', wanted '%s'", err.message, message);
    json_decref(list);
}

static void test_wrong_requests(void **state)
{
    (void)state;
    refuses("additoin", NULL, "there is no task 'additoin'; did you mean 'addition'?");
    refuses("", NULL, "there is no task ''");
    refuses("addition", "digit=2", "no task here has a parameter 'digit' (there are: addition.digits");
    refuses("addition", "digits=99", "digits must be from 1 to 15 for addition, got 99");
    refuses("addition", "digits=two", "digits must be a whole number");
    refuses("addition", "letters.made_up=3", "no task here has a parameter 'letters.made_up'");
    refuses("multiplication", "min=13", "min is larger than max");
    refuses("addition", "digits", "not of the form");
    const char *settings[] = {"numbers=10", "digits=1"};
    task_request r = {.tasks = "largest", .count = 1, .settings = settings, .setting_count = 2};
    grpo_error err;
    assert_int_equal(tasks_make(&r, collect, NULL, &(task_report){0}, &err), GRPO_ERR_USAGE);
    assert_non_null(strstr(err.message, "not so many different numbers"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),          cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_splits_are_apart), cmocka_unit_test(test_no_duplicates_until_exhausted),
        cmocka_unit_test(test_deterministic),    cmocka_unit_test(test_wrong_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
