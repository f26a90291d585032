/* JSON by Jansson, with this project's limits and messages. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>
#include <stddef.h>

#include "grpo/error.h"

/* Parses one JSON value from text (a whole line or file). Duplicate keys keep the last, NUL escapes
 * are allowed inside strings. On failure the message is "WHERE: not JSON: reason at column N". */
grpo_status json_parse(json_t **out, const char *text, size_t length, const char *where, grpo_error *err);

/* Parses a file of at most `limit` bytes. */
grpo_status json_parse_file(json_t **out, const char *path, size_t limit, grpo_error *err);

/* Serialises compactly with 17 significant digits, non-ASCII kept as UTF-8; mem_free it. NULL when out of memory. */
char *json_text(const json_t *value);

/* Writes a value for people to read: indented, keys in order, numbers as short as keeps them exact.
 * Atomic (file_write_all). */
grpo_status json_write_file(const char *path, const json_t *value, grpo_error *err);

/* A JSON number or the strings "NaN", "Infinity", "-Infinity" for a double: JSON has no such numbers. */
json_t *json_double(double x);
json_t *json_number_or_null(double x); /* the same, but null where there is no number (NaN) */

/* A JSON string from bytes that may not be UTF-8 (ill-formed parts become U+FFFD). */
json_t *json_string_lossy(const char *bytes, size_t length);

#endif
