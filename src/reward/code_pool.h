/* Runs programs in worker processes, several at a time.
 *
 * A helper process is made when the pool is: before a model is loaded, so that no large process with threads is ever
 * forked. It starts workers when they are first needed and again when one dies. A worker runs one job after the other
 * (code_run). When this process ends, however it ends, the helper, its workers and their sandboxes end too. */
#ifndef REWARD_CODE_POOL_H
#define REWARD_CODE_POOL_H

#include <jansson.h>

#include "reward/code_sandbox.h"

typedef struct code_pool code_pool;

/* Tries a sandbox first: GRPO_ERR_SANDBOX with the remedy when there is none to be had and unsafe is 0.
 * workers 0: one for each core. */
grpo_status code_pool_create(code_pool **out, const code_limits *limits, int workers, int unsafe, grpo_error *err);
void code_pool_destroy(code_pool *p);

/* Whether programs run without a sandbox. */
int code_pool_is_unsafe(const code_pool *p);

/* results[i] of jobs[i], both as code_run.h has them, owned by the caller. A NULL job is left out. Thread-safe.
 * Fails only when no job can be run any more. */
grpo_status code_pool_run(code_pool *p, json_t *const *jobs, json_t **results, size_t n, grpo_error *err);

/* ---- the helper's side -------------------------------------------------------------------------- */

/* Never returns. */
void code_helper_main(int control, const code_limits *limits, int unsafe) __attribute__((noreturn));

#endif
