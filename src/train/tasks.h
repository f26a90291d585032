/* Procedural tasks: prompts with verifiable answers, made from a seed. The same request gives the
 * same records on every machine.
 *
 * Training and test sets are apart by construction: a hash of the problem itself (not of its
 * phrasing, nor of the order of a sum's terms, and not of the seed) decides which side it is on.
 * Inside one set no prompt comes twice until all of the task's problems are used. */
#ifndef TRAIN_TASKS_H
#define TRAIN_TASKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "base/strbuf.h"

enum { TASK_PARAMS = 6 };

typedef struct task_param {
    const char *name; /* NULL: no more */
    long initial, min, max;
    const char *help;
} task_param;

/* Random numbers of one problem. */
typedef struct task_rng {
    uint64_t seed, stream, index;
} task_rng;

typedef struct task_problem {
    strbuf prompt, answer;
    strbuf identity; /* equal for problems that are the same but for phrasing and order */
} task_problem;

typedef struct task {
    const char *name, *summary;
    const char *reward; /* the spec that judges its answers */
    int phrasings;      /* ways to put the question */
    task_param params[TASK_PARAMS];
    /* v: one value a param. Returns NULL, or why these values do not go together. */
    const char *(*make)(task_problem *p, const long *v, int phrasing, task_rng *rng);
} task;

const task *tasks_all(size_t *count);
const task *tasks_find(const char *name);

typedef enum task_split { TASK_ALL, TASK_TRAIN, TASK_TEST } task_split;

typedef struct task_request {
    const char *tasks; /* names separated by commas; taken in turn */
    size_t count;
    uint64_t seed;
    task_split split;
    double test_share;             /* of the problems, in (0, 1); the same for both splits */
    const char *const *settings;   /* "param=value" or "task.param=value" */
    size_t setting_count;
    int phrasing;                  /* 0 the usual one, -1 each in turn by chance */
    bool messages;                 /* prompt as messages instead of text */
    const char *system_prompt;     /* with messages; NULL: none */
} task_request;

typedef struct task_report {
    size_t problems; /* different prompts in the set */
    size_t repeats;  /* records beyond them */
} task_report;

/* Calls emit (which may fail) for each record, in order. Records are borrowed by emit. */
grpo_status tasks_make(const task_request *request, grpo_status (*emit)(void *context, json_t *record, grpo_error *err),
                       void *context, task_report *report, grpo_error *err);

/* ---- for the tasks themselves ------------------------------------------------------------------ */

uint64_t task_below(task_rng *rng, uint64_t n);
long task_between(task_rng *rng, long low, long high); /* both included */
const char *task_word(task_rng *rng);                  /* from a list of common English words */
/* Consonants and vowels in turn, `length` letters. */
void task_made_up_word(strbuf *out, task_rng *rng, long length);

#endif
