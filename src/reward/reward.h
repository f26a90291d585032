/* Inner interface of rewards: what a kind of reward implements, and how specs are read.
 *
 * A new kind is one file with a create function and one line in reward_kinds.def. */
#ifndef REWARD_REWARD_H
#define REWARD_REWARD_H

#include <jansson.h>
#include <stddef.h>

#include "grpo/reward.h"

/* What a scorer says about one record. */
typedef struct reward_score {
    double value;        /* NaN: could not be scored; then `problem` says why */
    char problem[256];
    int unverifiable;    /* 1: the math verifier could not decide, and the value is the one configured for that */
    double counted;      /* filled by sets: the value, 0 behind a shut gate, NaN where it does not count */
    json_t *details;     /* with detail > 0: an object of fields for the output, owned by the caller; may be NULL */
} reward_score;

typedef enum reward_detail {
    REWARD_SCORES,  /* values only: the trainer's fast path */
    REWARD_FIELDS,  /* and the fields that `grpo score` adds to its output */
    REWARD_EXPLAIN  /* and an object "explain" */
} reward_detail;

typedef struct reward_scorer reward_scorer;

typedef struct reward_class {
    /* Scores a batch; scores[i] is zeroed before. A record that cannot be scored gets NaN and a problem;
     * a status other than GRPO_OK is for what makes all further scoring pointless. */
    grpo_status (*score)(reward_scorer *self, const grpo_reward_record *records, size_t n, reward_score *scores,
                         reward_detail detail, grpo_error *err);
    void (*destroy)(reward_scorer *self);
    int thread_safe; /* score may be called from several threads at once */
    const char *(*warning)(const reward_scorer *self); /* NULL, or grpo_reward_set_warning's text */
} reward_class;

struct reward_scorer {
    const reward_class *class; /* first member of each kind's own struct */
    int ways; /* batches that make sense at once, see grpo_reward_set_ways; 0 means 1 */
};

/* argument: what follows the kind's colon, "" without; options is never NULL. */
typedef grpo_status reward_create_fn(reward_scorer **out, const char *argument, const grpo_reward_options *options,
                                     grpo_error *err);

/* The kind of a spec under its short name (math for math_verifier:…), in a caller's buffer. */
void reward_kind_of(char kind[32], const char *spec);

/* Makes the scorer of a spec KIND[:ARGUMENT]. An unknown kind is GRPO_ERR_CONFIG and names those there are. */
grpo_status reward_create(reward_scorer **out, const char *spec, const grpo_reward_options *options, grpo_error *err);
void reward_destroy(reward_scorer *scorer); /* NULL is fine */

/* Marks a record as not scored. */
void reward_unscored(reward_score *score, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- arguments of the form key=value,key=value ------------------------------------------------ */

typedef enum reward_value_type { REWARD_NUMBER, REWARD_INTEGER, REWARD_TEXT } reward_value_type;

typedef struct reward_argument {
    const char *key;
    reward_value_type type;
    void *target;     /* double *, long *, or char[64] */
    double low, high; /* of numbers */
} reward_argument;

/* Sets targets from the argument text; keys that are not named keep their value. kind is for messages. */
grpo_status reward_read_arguments(const char *kind, const char *text, const reward_argument *arguments, size_t count,
                                  grpo_error *err);

/* ---- sets, with details --------------------------------------------------------------------------- */

/* As grpo_reward_set_score; scores[n][count] besides, whose details the caller frees. */
grpo_status reward_set_score_details(grpo_reward_set *set, const grpo_reward_record *records, size_t n,
                                     reward_score *scores, double *total, reward_detail detail, grpo_error *err);

#endif
