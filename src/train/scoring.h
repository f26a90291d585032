/* Scores the answers of a rollout with the configured rewards. */
#ifndef TRAIN_SCORING_H
#define TRAIN_SCORING_H

#include "base/pool.h"
#include "grpo/reward.h"
#include "train/config.h"
#include "train/data.h"

typedef struct scoring scoring;

/* options may be NULL. */
grpo_status scoring_create(scoring **out, const train_reward *rewards, size_t count, const grpo_reward_options *options,
                           grpo_error *err);
void scoring_destroy(scoring *s);

/* The parts whose weighted sum is the reward. */
size_t scoring_parts(const scoring *s);
const char *scoring_warning(const scoring *s); /* as grpo_reward_set_warning */
const char *scoring_part_name(const scoring *s, size_t part);

typedef struct scoring_item {
    const data_record *record;
    const char *text; /* the answer, special tokens left out */
    size_t length;
    const int32_t *token; /* [tokens] */
    int tokens;
    int truncated;
} scoring_item;

typedef struct scored {
    double reward; /* NaN: could not be scored */
    double *part;  /* [parts] unweighted, NaN where missing; caller's memory */
    int correct;   /* 1 or 0 as the first math or code reward says, -1: there is none */
} scored;

/* Runs on all threads of p. A reward that cannot score an answer gives NaN, never a silent 0; *unscored
 * counts those. */
grpo_status scoring_run(scoring *s, pool *p, const scoring_item *items, size_t count, scored *out, size_t *unscored,
                        grpo_error *err);

#endif
