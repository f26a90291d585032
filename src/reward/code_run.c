/* One job: a program against all of its tests, in one sandbox as long as the tests leave it clean. */
#include "reward/code_run.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/machine.h"
#include "base/mem.h"

enum { TRIES = 3 };

typedef struct tally {
    json_t *tests;
    size_t passed;
    char problem[400];
} tally;

static char mode_of(const json_t *job)
{
    const char *language = json_string_value(json_object_get(job, "language"));
    const char *kind = json_string_value(json_object_get(job, "kind"));
    if (strcmp(language, "c") == 0)
        return 'C';
    return strcmp(kind, "calls") == 0 ? 'F' : 'S';
}

static void add(tally *t, const code_outcome *o, double seconds)
{
    json_t *entry = json_pack("{s:b, s:f}", "ok", o->ok, "seconds", seconds);
    if (!o->ok)
        json_object_set_new(entry, "why", json_string_lossy(o->why, strlen(o->why)));
    json_array_append_new(t->tests, entry);
    t->passed += o->ok != 0;
}

/* One test, again where something else may have ended it. `loaded` is 0 when the program cannot be loaded. */
static void run_test(code_runner *r, const json_t *job, const json_t *test, char mode, code_outcome *o, int *loaded)
{
    const char *compare = json_string_value(json_object_get(job, "compare"));
    for (int i = 0; i < TRIES; i++) {
        grpo_error err;
        code_load(r, job, mode, o);
        *loaded = o->ok;
        if (o->ok && mode == 'F' && r->judge.job < 0 && code_judge_open_job(r, job, &err) != GRPO_OK) {
            snprintf(o->problem, sizeof o->problem, "%.390s", err.message);
            return;
        }
        if (o->ok && mode == 'F')
            code_test_calls(r, test, o);
        else if (o->ok)
            code_test_script(r, test, compare ? compare : "lines", o);
        if ((!o->starved && !o->killed) || o->problem[0])
            return;
        code_sandbox_stop(&r->box);
    }
    if (o->starved) /* a sandbox that is gone every time has ended by the program's doing */
        snprintf(o->problem, sizeof o->problem, "the machine ran out of memory while the program ran; lower --memory or the number of threads");
}

static void run_tests(code_runner *r, const json_t *job, const json_t *tests, char mode, tally *t)
{
    size_t i;
    const json_t *test;
    int loaded = 1;
    code_outcome o = {0};
    json_array_foreach(tests, i, test) {
        double start = machine_seconds();
        if (loaded)
            run_test(r, job, test, mode, &o, &loaded);
        if (o.problem[0]) {
            snprintf(t->problem, sizeof t->problem, "test %zu: %.370s", i + 1, o.problem);
            return;
        }
        add(t, &o, machine_seconds() - start);
    }
}

json_t *code_run(code_runner *r, const json_t *job)
{
    grpo_error err;
    tally t = {.tests = json_array()};
    const json_t *tests = json_object_get(job, "tests");
    char mode = mode_of(job);
    r->patience = r->limits.patience;
    if (code_judge_ready(r, &err) != GRPO_OK) /* also compiles the program's side, whatever the mode */
        snprintf(t.problem, sizeof t.problem, "%.390s", err.message);
    else if (mode == 'C' && !r->host->compiler[0])
        snprintf(t.problem, sizeof t.problem, "there is no C compiler in /usr; apt-get install gcc");
    else if (t.tests)
        run_tests(r, job, tests, mode, &t);
    code_sandbox_stop(&r->box);
    code_judge_close_job(&r->judge);
    json_t *result = json_pack("{s:I, s:I, s:o}", "passed", (json_int_t)t.passed, "total", (json_int_t)json_array_size(tests), "tests", t.tests);
    if (result && t.problem[0])
        json_object_set_new(result, "problem", json_string_lossy(t.problem, strlen(t.problem)));
    return result;
}

void code_runner_deinit(code_runner *r)
{
    code_sandbox_stop(&r->box);
    code_sandbox_stop(&r->spare);
    code_judge_stop(&r->judge);
    mem_free(r->compiled);
    r->compiled = NULL;
}
