/* Typed reads from a JSON object, with messages that say where ("pre_tokenizer: …"). */
#ifndef TEXT_JSON_READ_H
#define TEXT_JSON_READ_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "grpo/error.h"

/* Parses a file of at most `limit` bytes whose root must be an object. */
grpo_status json_read_file(json_t **out, const char *path, size_t limit, grpo_error *err);

/* Refuses keys that are not in the list (ended by NULL), by name. */
grpo_status json_only_keys(const json_t *object, const char *where, const char *const *keys,
                           grpo_error *err);

/* The member must have the type. An absent or null member leaves *value alone when `required` is 0. */
grpo_status json_read_bool(const json_t *object, const char *key, int required, int *value,
                           const char *where, grpo_error *err);
grpo_status json_read_string(const json_t *object, const char *key, int required,
                             const char **value, size_t *length, const char *where, grpo_error *err);
grpo_status json_read_count(const json_t *object, const char *key, int required, uint64_t most,
                            uint64_t *value, const char *where, grpo_error *err);
grpo_status json_read_array(const json_t *object, const char *key, int required, json_t **value,
                            const char *where, grpo_error *err);

#endif
