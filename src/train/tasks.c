/* Making a set of problems: splits, no duplicates, several tasks in turn. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/mem.h"
#include "base/rng.h"
#include "train/schema.h"
#include "train/tasks.h"

enum { MOST_TASKS = 64 };

/* One task of the request, and the prompts made so far. */
typedef struct source {
    const task *task;
    long values[TASK_PARAMS];
    uint64_t stream;
    uint64_t candidate; /* number of the next try */
    json_t **made;
    uint64_t *seen; /* open addressing, 0 = free; a power of two */
    size_t made_count, made_capacity, seen_size;
    size_t next; /* once exhausted: the record that is repeated next */
    bool exhausted;
} source;

uint64_t task_below(task_rng *rng, uint64_t n)
{
    return rng_below(rng->seed, rng->stream, &rng->index, n);
}

long task_between(task_rng *rng, long low, long high)
{
    return low + (long)task_below(rng, (uint64_t)(high - low) + 1);
}

/* ---- the request -------------------------------------------------------------------------------------- */

static grpo_status unknown_task(grpo_error *err, const char *name)
{
    size_t n;
    const task *all = tasks_all(&n);
    const char *names[MOST_TASKS];
    for (size_t i = 0; i < n && i < MOST_TASKS; i++)
        names[i] = all[i].name;
    const char *near = schema_nearest(names, n, name);
    if (near)
        return grpo_fail(err, GRPO_ERR_USAGE, "there is no task '%s'; did you mean '%s'?", name, near);
    return grpo_fail(err, GRPO_ERR_USAGE, "there is no task '%s'; `grpo data list` shows them", name);
}

static grpo_status find_sources(source *sources, size_t *count, const char *names, grpo_error *err)
{
    char name[64];
    *count = 0;
    for (const char *p = names;;) {
        size_t n = strcspn(p, ",");
        snprintf(name, sizeof name, "%.*s", (int)(n < 60 ? n : 60), p);
        const task *t = tasks_find(name);
        if (!t)
            return unknown_task(err, name);
        if (*count == MOST_TASKS)
            return grpo_fail(err, GRPO_ERR_USAGE, "more than %d tasks at once", MOST_TASKS);
        source *s = &sources[(*count)++];
        *s = (source){.task = t, .stream = XXH3_64bits(t->name, strlen(t->name)) << 32};
        for (int i = 0; i < TASK_PARAMS && t->params[i].name; i++)
            s->values[i] = t->params[i].initial;
        if (!p[n])
            return GRPO_OK;
        p += n + 1;
    }
}

static grpo_status set_value(source *s, int i, const char *text, grpo_error *err)
{
    const task_param *param = &s->task->params[i];
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (end == text || *end || errno)
        return grpo_fail(err, GRPO_ERR_USAGE, "%s must be a whole number, got '%s'", param->name, text);
    if (value < param->min || value > param->max)
        return grpo_fail(err, GRPO_ERR_USAGE, "%s must be from %ld to %ld for %s, got %ld", param->name, param->min, param->max,
                         s->task->name, value);
    s->values[i] = value;
    return GRPO_OK;
}

/* "digits=3" sets the parameter in every task that has it, "addition.digits=3" in one. */
static grpo_status apply_setting(source *sources, size_t count, const char *setting, grpo_error *err)
{
    const char *equals = strchr(setting, '='), *dot = strchr(setting, '.');
    if (!equals || equals == setting)
        return grpo_fail(err, GRPO_ERR_USAGE, "'%s' is not of the form parameter=value", setting);
    dot = dot && dot < equals ? dot : NULL;
    const char *name = dot ? dot + 1 : setting;
    bool used = false;
    for (size_t k = 0; k < count; k++) {
        const task *t = sources[k].task;
        if (dot && (strlen(t->name) != (size_t)(dot - setting) || strncmp(t->name, setting, (size_t)(dot - setting)) != 0))
            continue;
        for (int i = 0; i < TASK_PARAMS && t->params[i].name; i++) {
            if (strlen(t->params[i].name) != (size_t)(equals - name) || strncmp(t->params[i].name, name, (size_t)(equals - name)) != 0)
                continue;
            grpo_status status = set_value(&sources[k], i, equals + 1, err);
            if (status != GRPO_OK)
                return status;
            used = true;
        }
    }
    if (used)
        return GRPO_OK;
    strbuf list = STRBUF_INIT;
    for (size_t k = 0; k < count; k++)
        for (int i = 0; i < TASK_PARAMS && sources[k].task->params[i].name; i++)
            strbuf_printf(&list, "%s%s.%s", list.length ? ", " : "", sources[k].task->name, sources[k].task->params[i].name);
    grpo_status status = grpo_fail(err, GRPO_ERR_USAGE, "no task here has a parameter '%.*s' (there are: %s)",
                                   (int)(equals - setting), setting, strbuf_text(&list));
    strbuf_deinit(&list);
    return status;
}

/* ---- one problem ------------------------------------------------------------------------------------------ */

/* The side of the split that a problem is on: a function of task and problem alone. */
static bool is_test(const task *t, const strbuf *identity, double share)
{
    XXH64_hash_t h = XXH3_64bits_withSeed(strbuf_text(identity), identity->length, XXH3_64bits(t->name, strlen(t->name)));
    return (double)(h >> 11) * (1.0 / 9007199254740992.0) < share;
}

static json_t *make_record(const source *s, const task_problem *p, const task_request *request)
{
    json_t *prompt = json_stringn(strbuf_text(&p->prompt), p->prompt.length), *params = json_object();
    if (request->messages) {
        json_t *list = json_array();
        if (request->system_prompt)
            json_array_append_new(list, json_pack("{s:s, s:s}", "role", "system", "content", request->system_prompt));
        json_array_append_new(list, json_pack("{s:s, s:o}", "role", "user", "content", prompt));
        prompt = list;
    }
    for (int i = 0; i < TASK_PARAMS && s->task->params[i].name; i++)
        json_object_set_new(params, s->task->params[i].name, json_integer(s->values[i]));
    return json_pack("{s:o, s:s, s:s, s:s, s:o}", "prompt", prompt, "answer", strbuf_text(&p->answer), "task", s->task->name,
                     "verifier", s->task->reward, "params", params);
}

/* 1 when the prompt is new (and now noted), 0 when not, -1 when out of memory. */
static int note_prompt(source *s, uint64_t hash)
{
    hash += hash == 0;
    if (2 * (s->made_count + 1) > s->seen_size) {
        size_t size = s->seen_size ? 2 * s->seen_size : 1024;
        uint64_t *grown = mem_calloc(size, sizeof *grown);
        if (!grown)
            return -1;
        for (size_t i = 0; i < s->seen_size; i++)
            if (s->seen[i]) {
                size_t j = s->seen[i] & (size - 1);
                while (grown[j])
                    j = (j + 1) & (size - 1);
                grown[j] = s->seen[i];
            }
        mem_free(s->seen);
        s->seen = grown;
        s->seen_size = size;
    }
    size_t j = hash & (s->seen_size - 1);
    for (; s->seen[j]; j = (j + 1) & (s->seen_size - 1))
        if (s->seen[j] == hash)
            return 0;
    s->seen[j] = hash;
    return 1;
}

/* Makes candidate problems until one is new and on the wanted side, or so many were not that there
 * can hardly be another: *record stays NULL. */
static grpo_status new_problem(source *s, const task_request *request, json_t **record, grpo_error *err)
{
    task_problem p = {0};
    grpo_status status = GRPO_OK;
    *record = NULL;
    size_t patience = 2000 + 30 * s->made_count;
    if (request->split != TASK_ALL) {
        double share = request->split == TASK_TEST ? request->test_share : 1 - request->test_share;
        patience = (size_t)((double)patience / (share > 1e-3 ? share : 1e-3));
    }
    for (size_t tries = 0; status == GRPO_OK && !*record && tries < patience; tries++) {
        strbuf_clear(&p.prompt);
        strbuf_clear(&p.answer);
        strbuf_clear(&p.identity);
        task_rng rng = {request->seed, s->stream + s->candidate++, 0};
        int phrasing = request->phrasing < 0 ? (int)task_below(&rng, (uint64_t)s->task->phrasings)
                                             : request->phrasing % s->task->phrasings;
        const char *problem = s->task->make(&p, s->values, phrasing, &rng);
        if (problem)
            status = grpo_fail(err, GRPO_ERR_USAGE, "%s: %s", s->task->name, problem);
        else if (p.prompt.failed || p.answer.failed || p.identity.failed)
            status = mem_fail(err, "a problem", p.prompt.length);
        else if (request->split != TASK_ALL &&
                 is_test(s->task, &p.identity, request->test_share) != (request->split == TASK_TEST))
            continue;
        else {
            int is_new = note_prompt(s, XXH3_64bits(strbuf_text(&p.prompt), p.prompt.length));
            if (is_new > 0)
                *record = make_record(s, &p, request);
            if (is_new < 0 || (is_new && !*record))
                status = mem_fail(err, "a problem", 0);
        }
    }
    strbuf_deinit(&p.prompt);
    strbuf_deinit(&p.answer);
    strbuf_deinit(&p.identity);
    return status;
}

/* ---- the set ------------------------------------------------------------------------------------------------- */

static grpo_status next_record(source *s, const task_request *request, json_t **record, task_report *report, grpo_error *err)
{
    *record = NULL;
    if (!s->exhausted) {
        grpo_status status = new_problem(s, request, record, err);
        if (status != GRPO_OK)
            return status;
        if (*record) {
            if (mem_reserve((void **)&s->made, &s->made_capacity, s->made_count + 1, sizeof *s->made) != 0) {
                json_decref(*record);
                return mem_fail(err, "the problems", s->made_count * sizeof *s->made);
            }
            s->made[s->made_count++] = *record;
            report->problems++;
            return GRPO_OK;
        }
        s->exhausted = true;
    }
    if (s->made_count == 0)
        return grpo_fail(err, GRPO_ERR_USAGE, "%s has no problem on this side of the split with these parameters", s->task->name);
    *record = s->made[s->next++ % s->made_count];
    report->repeats++;
    return GRPO_OK;
}

grpo_status tasks_make(const task_request *request, grpo_status (*emit)(void *context, json_t *record, grpo_error *err),
                       void *context, task_report *report, grpo_error *err)
{
    source sources[MOST_TASKS];
    size_t count;
    *report = (task_report){0};
    if (request->split != TASK_ALL && !(request->test_share > 0 && request->test_share < 1))
        return grpo_fail(err, GRPO_ERR_USAGE, "the share of test problems must be above 0 and below 1");
    grpo_status status = find_sources(sources, &count, request->tasks, err);
    if (status != GRPO_OK)
        return status;
    for (size_t i = 0; status == GRPO_OK && i < request->setting_count; i++)
        status = apply_setting(sources, count, request->settings[i], err);
    for (size_t i = 0; status == GRPO_OK && i < request->count; i++) {
        json_t *record;
        status = next_record(&sources[i % count], request, &record, report, err);
        if (status == GRPO_OK)
            status = emit(context, record, err);
    }
    for (size_t k = 0; k < count; k++) {
        for (size_t i = 0; i < sources[k].made_count; i++)
            json_decref(sources[k].made[i]);
        mem_free(sources[k].made);
        mem_free(sources[k].seen);
    }
    return status;
}
