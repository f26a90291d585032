/* What commands share that read JSON lines and write JSON lines: one object per line, order kept,
 * fields that the command does not touch passed through. */
#ifndef CLI_JSONL_H
#define CLI_JSONL_H

#include <jansson.h>

#include "grpo/error.h"

/* Changes one object in place. A failure stops the run with its message. */
typedef grpo_status jsonl_fn(void *context, json_t *object, grpo_error *err);

/* Runs over a file, or over stdin for NULL and "-". Messages go to stderr as "grpo COMMAND: FILE:LINE: …".
 * Returns the exit code: 0, or 1 when a line was bad, the work failed or stdout could not be written. */
int jsonl_run(const char *command, const char *file, jsonl_fn *fn, void *context);

/* The same for commands that work on many records at once: fn gets up to `batch` objects in the order of the
 * input. On failure it sets *bad to the object at fault, or leaves it when none is. */
typedef grpo_status jsonl_batch_fn(void *context, json_t **objects, size_t count, size_t *bad, grpo_error *err);
int jsonl_run_batches(const char *command, const char *file, size_t batch, jsonl_batch_fn *fn, void *context);

/* Prints "grpo COMMAND: message" and returns 2 for GRPO_ERR_USAGE and GRPO_ERR_CONFIG, else 1. */
int jsonl_fail(const char *command, const grpo_error *err);

#endif
