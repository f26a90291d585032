/* The reward `code`: the share of its tests that the model's program passes. docs/code-executor.md */
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "reward/code_pool.h"
#include "reward/code_record.h"
#include "reward/reward_kinds.h"

static const double DEFAULT_SECONDS = 5, PATIENCE_FACTOR = 0.5;
enum { DEFAULT_MEMORY_MB = 2048, DEFAULT_FILES_MB = 64, DEFAULT_OUTPUT_KB = 16384, DEFAULT_PROCESSES = 64 };

typedef struct code_scorer {
    reward_scorer base;
    code_settings settings;
    char *folder; /* settings.base */
    code_pool *pool;
} code_scorer;

static json_t *make_details(const json_t *job, const json_t *result, reward_detail detail)
{
    json_t *object = json_pack("{s:O, s:O}", "passed", json_object_get(result, "passed"), "total", json_object_get(result, "total"));
    if (detail == REWARD_EXPLAIN && object)
        json_object_set_new(object, "explain", json_pack("{s:O, s:O, s:O, s:O}", "language", json_object_get(job, "language"), "kind",
                                                         json_object_get(job, "kind"), "program", json_object_get(job, "program"),
                                                         "tests", json_object_get(result, "tests")));
    return object;
}

static grpo_status take_result(const json_t *job, const json_t *result, reward_score *score, reward_detail detail, grpo_error *err)
{
    const char *problem = json_string_value(json_object_get(result, "problem"));
    double passed = json_number_value(json_object_get(result, "passed")), total = json_number_value(json_object_get(result, "total"));
    if (problem || total <= 0) {
        reward_unscored(score, "%s", problem ? problem : "the executor gave no result");
        return GRPO_OK;
    }
    score->value = passed / total;
    if (detail != REWARD_SCORES && !(score->details = make_details(job, result, detail)))
        return mem_fail(err, "details of a reward", 0);
    return GRPO_OK;
}

static grpo_status score(reward_scorer *base, const grpo_reward_record *records, size_t n, reward_score *scores,
                         reward_detail detail, grpo_error *err)
{
    code_scorer *self = (code_scorer *)base;
    json_t **jobs = mem_calloc(n, sizeof *jobs), **results = mem_calloc(n, sizeof *results);
    grpo_status status = jobs && results ? GRPO_OK : mem_fail(err, "a batch of programs", n * sizeof *jobs);
    for (size_t i = 0; i < n && status == GRPO_OK; i++) {
        char problem[256];
        if (!(jobs[i] = code_job(&records[i], &self->settings, problem)))
            reward_unscored(&scores[i], "%s", problem);
    }
    if (status == GRPO_OK)
        status = code_pool_run(self->pool, jobs, results, n, err);
    for (size_t i = 0; i < n && status == GRPO_OK; i++)
        if (jobs[i])
            status = take_result(jobs[i], results[i], &scores[i], detail, err);
    for (size_t i = 0; i < n; i++) {
        if (jobs)
            json_decref(jobs[i]);
        if (results)
            json_decref(results[i]);
    }
    mem_free(jobs);
    mem_free(results);
    return status;
}

static void destroy(reward_scorer *base)
{
    code_scorer *self = (code_scorer *)base;
    code_pool_destroy(self->pool);
    mem_free(self->folder);
    mem_free(self);
}

static const char *warning(const reward_scorer *base)
{
    return code_pool_is_unsafe(((const code_scorer *)base)->pool)
               ? "programs of the model run WITHOUT A SANDBOX, with all rights of this process: there is none to be had here, and "
                 "unsafe is set"
               : NULL;
}

/* Settings that name one of several words. */
static grpo_status read_words(code_scorer *self, const char *program, const char *language, const grpo_reward_options *options,
                              grpo_error *err)
{
    code_settings *s = &self->settings;
    if (strcmp(s->compare, "lines") != 0 && strcmp(s->compare, "tokens") != 0 && strcmp(s->compare, "numbers") != 0)
        return grpo_fail(err, GRPO_ERR_CONFIG, "reward code: compare= takes lines, tokens or numbers, not '%s'", s->compare);
    if (program[0] && strcmp(program, "block") != 0 && strcmp(program, "continue") != 0)
        return grpo_fail(err, GRPO_ERR_CONFIG, "reward code: program= takes block or continue, not '%s'", program);
    s->language = code_language_of(language, strlen(language));
    if (s->language == CODE_OTHER)
        return grpo_fail(err, GRPO_ERR_CONFIG, "reward code: language= takes python or c, not '%s'", language);
    s->continues = strcmp(program, "continue") == 0;
    s->programs_in_records = options->programs_in_records && !options->field && !program[0];
    if (options->base && !(self->folder = mem_strdup(options->base)))
        return mem_fail(err, "a folder's name", strlen(options->base));
    s->base = self->folder;
    return GRPO_OK;
}

grpo_status reward_code_create(reward_scorer **out, const char *argument, const grpo_reward_options *options, grpo_error *err)
{
    static const reward_class class = {score, destroy, 1, warning};
    double seconds = options->test_timeout > 0 ? options->test_timeout : DEFAULT_SECONDS, patience = -1;
    double memory = options->memory ? (double)options->memory / 1048576 : DEFAULT_MEMORY_MB;
    long files = DEFAULT_FILES_MB, output = DEFAULT_OUTPUT_KB, processes = DEFAULT_PROCESSES;
    char program[64] = "", language[64] = "", compare[64] = "lines";
    const reward_argument arguments[] = {
        {"timeout", REWARD_NUMBER, &seconds, 0.01, 3600},  {"patience", REWARD_NUMBER, &patience, 0, 7200},
        {"memory", REWARD_NUMBER, &memory, 16, 1 << 20},   {"files", REWARD_INTEGER, &files, 1, 1 << 20},
        {"output", REWARD_INTEGER, &output, 1, 1 << 20},   {"processes", REWARD_INTEGER, &processes, 1, 4096},
        {"compare", REWARD_TEXT, compare, 0, 0},           {"program", REWARD_TEXT, program, 0, 0},
        {"language", REWARD_TEXT, language, 0, 0}};
    grpo_status status = reward_read_arguments("code", argument, arguments, sizeof arguments / sizeof *arguments, err);
    if (status != GRPO_OK)
        return status;
    code_scorer *self = mem_calloc(1, sizeof *self);
    if (!self)
        return mem_fail(err, "a reward", sizeof *self);
    self->base.class = &class;
    memcpy(self->settings.compare, compare, sizeof self->settings.compare - 1);
    const code_limits limits = {.seconds = seconds, .patience = patience >= 0 ? patience : seconds * PATIENCE_FACTOR, .memory = (size_t)(memory * 1048576),
                                .files = (size_t)files << 20, .output = (size_t)output << 10, .processes = (int)processes};
    status = read_words(self, program, language, options, err);
    if (status == GRPO_OK)
        status = code_pool_create(&self->pool, &limits, options->threads, options->unsafe, err);
    if (status != GRPO_OK) {
        destroy(&self->base);
        return status;
    }
    *out = &self->base;
    return GRPO_OK;
}
