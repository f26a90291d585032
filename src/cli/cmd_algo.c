/* grpo algo: the arithmetic alone, on case files. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cli/algo_case.h"
#include "cli/algo_compare.h"
#include "cli/cli.h"

static const char help[] =
    "usage: grpo algo [FILE...] [--compare] [--check]\n"
    "\n"
    "Runs the advantages, losses, KL and GAE of the trainer on case files (JSON, of the form that\n"
    "docs/algorithms.md describes; - or no FILE reads standard input) and writes one line a case:\n"
    "  {\"file\": ..., \"name\": ..., \"got\": {...}}\n"
    "`got` has the keys of the case's `expected`, or all that the function gives when there is\n"
    "none; where the function refuses the input, `got` has `raises` and `message`.\n"
    "\n"
    "  --compare   instead of `got`, print the cases that are out of tolerance, and count\n"
    "  --library F shared library with a loss (grpo/algo_plugin.h): --check looks at it alone\n"
    "  --check     gradients of every loss x ratio x aggregation x KL against finite differences\n"
    "  --presets   print every preset's effective options\n"
    "  --methods   print the advantage estimators and losses with formula and source\n";

typedef struct algo_run {
    int compare;
    size_t passed, failed;
    int broken; /* 1: a file or case is not of the right form, 2: the library */
} algo_run;

/* ---- one case --------------------------------------------------------------------------- */

/* Keeps the keys of `expected`, at the top and in `metrics`. */
static void keep_expected(json_t *got, const json_t *expected)
{
    const char *key;
    void *next;
    json_t *value;
    json_object_foreach_safe(got, next, key, value)
    {
        json_t *wanted = json_object_get(expected, key);
        if (!wanted)
            json_object_del(got, key);
        else if (json_is_object(value) && json_is_object(wanted))
            keep_expected(value, wanted);
    }
}

static void print_line(const char *file, json_t *name, json_t *got)
{
    json_t *line = json_object();
    json_object_set_new(line, "file", json_string(file));
    json_object_set(line, "name", name);
    json_object_set(line, "got", got);
    json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(17));
    putchar('\n');
    json_decref(line);
}

static void judge(algo_run *run, const char *file, const char *name, const json_t *test,
                  const json_t *got)
{
    strbuf why = STRBUF_INIT;
    algo_verdict verdict = algo_compare_case(test, got, &why);
    if (verdict == ALGO_FAILED)
        printf("FAILED %s: %s: %s\n", file, name, strbuf_text(&why));
    if (verdict == ALGO_ACCEPTED)
        printf("quirk  %s: %s: %s (docs/algorithms.md)\n", file, name, strbuf_text(&why));
    run->passed += verdict != ALGO_FAILED;
    run->failed += verdict == ALGO_FAILED;
    strbuf_deinit(&why);
}

static void run_case(algo_run *run, const char *file, size_t number, json_t *test)
{
    json_t *name = json_object_get(test, "name"), *function = json_object_get(test, "function");
    json_t *expected = json_object_get(test, "expected");
    char fallback[32];
    snprintf(fallback, sizeof fallback, "case %zu", number + 1);
    const char *text = json_is_string(name) ? json_string_value(name) : fallback;
    algo_case c = {.inputs = json_object_get(test, "inputs"),
                   .params = json_object_get(test, "params"),
                   .got = json_object()};
    if (!json_is_string(function))
        case_malformed(&c, "has no `function`");
    else if (!json_is_object(c.inputs))
        case_malformed(&c, "has no `inputs`");
    else
        algo_case_run(&c, json_string_value(function));
    if (case_failed(&c)) {
        json_object_clear(c.got);
        json_object_set_new(c.got, "raises", json_string(grpo_status_text(c.status)));
        json_object_set_new(c.got, "message", json_string(c.err.message));
    } else if (json_is_object(expected)) {
        keep_expected(c.got, expected);
    }
    if (c.malformed) {
        fprintf(stderr, "grpo algo: %s: %s: %s\n", file, text, c.err.message);
        run->broken = 1;
    }
    if (run->compare)
        judge(run, file, text, test, c.got);
    else
        print_line(file, name, c.got);
    json_decref(c.got);
    algo_case_deinit(&c);
}

/* ---- files ------------------------------------------------------------------------------- */

#define LOAD_FLAGS (JSON_DECODE_INT_AS_REAL | JSON_REJECT_DUPLICATES)

static json_t *load(const char *path, json_error_t *error)
{
    if (strcmp(path, "-") == 0)
        return json_loadf(stdin, LOAD_FLAGS, error);
    return json_load_file(path, LOAD_FLAGS, error);
}

static void run_file(algo_run *run, const char *path)
{
    json_error_t error;
    json_t *root = load(path, &error);
    json_t *cases = json_object_get(root, "cases");
    if (!root)
        fprintf(stderr, "grpo algo: %s:%d: %s\n", path, error.line, error.text);
    else if (!json_is_array(cases))
        fprintf(stderr, "grpo algo: %s: a case file is {\"source\": ..., \"cases\": [...]}\n", path);
    run->broken |= !json_is_array(cases);
    size_t i;
    json_t *test;
    json_array_foreach(cases, i, test)
        run_case(run, path, i, test);
    json_decref(root);
}

/* ---- checks and tables ------------------------------------------------------------------- */

static void report_check(void *context, const char *combination, double error, int passed)
{
    (void)context;
    if (!passed)
        printf("FAILED gradient of %s: differs by %.3g\n", combination, error);
}

/* With a library, its loss only. */
static void check_gradients(algo_run *run, const char *library)
{
    grpo_check check;
    grpo_algo algo;
    grpo_error err;
    grpo_algo_preset(&algo, NULL, NULL);
    if (library && grpo_algo_load_library(&algo, library, &err) != GRPO_OK) {
        fprintf(stderr, "grpo algo: %s\n", err.message);
        run->broken = 2;
        return;
    }
    grpo_check_gradients(&check, library ? &algo : NULL, report_check, NULL);
    printf("gradients of %zu combinations, largest difference %.2g\n", check.passed + check.failed,
           check.worst);
    run->passed += check.passed;
    run->failed += check.failed;
}

static int print_presets(void)
{
    size_t presets, options;
    const grpo_preset *preset = grpo_presets(&presets);
    const grpo_option *option = grpo_algo_options(&options);
    for (size_t i = 0; i < presets; i++) {
        grpo_algo algo;
        grpo_algo_preset(&algo, preset[i].name, NULL);
        printf("%s: # %s (%s)\n", preset[i].name, preset[i].summary, preset[i].source);
        for (size_t k = 0; k < options; k++) {
            char value[64];
            grpo_algo_get(&algo, &option[k], value, sizeof value);
            printf("  %s: %s\n", option[k].key, value);
        }
    }
    return 0;
}

static void print_method(const grpo_method *m)
{
    printf("  %-34s %s\n  %-34s %s\n", m->name, m->formula, "", m->source);
    if (m->options[0])
        printf("  %-34s options: %s\n", "", m->options);
}

static int print_methods(void)
{
    puts("advantage_estimator:");
    for (int i = 0; i < GRPO_ESTIMATOR_COUNT; i++)
        print_method(grpo_estimator_info((grpo_estimator)i));
    puts("loss:");
    for (int i = 0; i < GRPO_LOSS_COUNT; i++)
        print_method(grpo_loss_info((grpo_loss_kind)i));
    return 0;
}

/* ---- the command -------------------------------------------------------------------------- */

/* Options into `run` and flags; FILEs are moved to the front of argv. Returns their number, or -1
 * after a message. */
static int parse(int argc, char **argv, algo_run *run, int *check, const char **library)
{
    int files = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--compare") == 0)
            run->compare = 1;
        else if (strcmp(argv[i], "--check") == 0)
            *check = 1;
        else if (strcmp(argv[i], "--library") == 0 && i + 1 < argc)
            *library = argv[++i];
        else if (argv[i][0] != '-' || !argv[i][1])
            argv[files++] = argv[i];
        else {
            fprintf(stderr, "grpo algo: there is no option '%s'; see `grpo algo --help`\n", argv[i]);
            return -1;
        }
    }
    return files;
}

int cmd_algo(int argc, char **argv)
{
    algo_run run = {0, 0, 0, 0};
    const char *library = NULL;
    int check = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return fputs(help, stdout) < 0;
        if (strcmp(argv[i], "--presets") == 0)
            return print_presets();
        if (strcmp(argv[i], "--methods") == 0)
            return print_methods();
    }
    int files = parse(argc, argv, &run, &check, &library);
    if (files < 0)
        return 2;
    for (int i = 0; i < files; i++)
        run_file(&run, argv[i]);
    if (files == 0 && !check)
        run_file(&run, "-");
    if (check)
        check_gradients(&run, library);
    if (run.broken == 2)
        return 2;
    if (run.compare || check)
        printf("%zu passed, %zu failed\n", run.passed, run.failed);
    return run.broken || run.failed ? 1 : 0;
}
