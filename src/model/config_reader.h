/* Typed access to an object of config.json that remembers which keys were read, so that what is left over can be
 * refused. The first failure sticks in `status`, with its message in err; later calls are harmless. */
#ifndef MODEL_CONFIG_READER_H
#define MODEL_CONFIG_READER_H

#include "base/json.h"
#include "grpo/error.h"

enum { CONFIG_READER_SEEN = 96 };

typedef struct config_reader {
    const json_t *object;
    const char *where, *inside; /* for messages: the file; "" or the object's name in it, "rope_scaling." */
    const char *seen[CONFIG_READER_SEEN];
    int n_seen;
    grpo_status status;
    grpo_error *err;
} config_reader;

/* "where: inside.key what". */
void config_wrong(config_reader *r, const char *key, const char *what);

/* The value, or NULL when absent or null. */
const json_t *config_get(config_reader *r, const char *key);
/* 1: the key is there, be it null. */
int config_has(const config_reader *r, const char *key);

/* The value, or the fallback when absent or null. */
int config_get_int(config_reader *r, const char *key, int fallback);
double config_get_double(config_reader *r, const char *key, double fallback);
int config_get_bool(config_reader *r, const char *key, int fallback);
const char *config_get_string(config_reader *r, const char *key, const char *fallback);
const json_t *config_get_array(config_reader *r, const char *key);

/* Refuses keys that were not read, are not harmless, and are not off: null, false, 0, "", [] and {} say that a feature
 * is not used. */
void config_refuse_leftovers(config_reader *r, int (*is_harmless)(const char *key));

#endif
