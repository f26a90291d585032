/* Scores answers with the configured rewards, in threads of its own: an answer is submitted the moment it is
 * finished, while others are still being sampled, and scored meanwhile. A score depends on its answer alone, so
 * that neither the order of submission nor the number of threads changes it. */
#ifndef TRAIN_SCORING_H
#define TRAIN_SCORING_H

#include "grpo/reward.h"
#include "rollout/group_sample.h"
#include "rollout/language_model.h"
#include "train/config.h"
#include "train/data.h"

typedef struct scoring scoring;

/* Starts the programs that rewards need and the threads: before the model is loaded, while the process is small. options may
 * be NULL. */
grpo_status scoring_create(scoring **out, const train_reward *rewards, size_t count, const grpo_reward_options *options,
                           grpo_error *err);
void scoring_destroy(scoring *s);

/* The parts whose weighted sum is the reward. */
size_t scoring_parts(const scoring *s);
const char *scoring_warning(const scoring *s); /* as grpo_reward_set_warning */
const char *scoring_part_name(const scoring *s, size_t part);
const double *scoring_weights(const scoring *s); /* [parts] */

/* ---- a batch of answers ------------------------------------------------------------------------------ */

typedef struct scoring_item {
    const data_record *record;
    char *text; /* the answer, special tokens left out */
    size_t length;
    const int32_t *token; /* [tokens] the sample's */
    int tokens;
    int truncated;
} scoring_item;

typedef struct scored {
    double reward;   /* NaN: could not be scored */
    double *part;    /* [parts] unweighted, NaN where missing */
    double *counted; /* [parts] what entered the sum: 0 behind a shut gate, NaN where it does not apply */
    int correct;     /* 1 or 0 as the first math or code reward that scored the record says, -1: none did */
    int unverifiable; /* the math verifier could not decide */
    char problem[300]; /* why the reward is NaN, else "" */
} scored;

/* Zero-fill, then scoring_batch_init. */
typedef struct scoring_batch {
    scoring *s;
    const language_model *lm;
    const stop_strings *stop; /* may be NULL */
    size_t count;
    scoring_item *item; /* [count] */
    scored *score;      /* [count] */
    double *parts;      /* [count][parts] of score */
    double *counted;    /* [count][parts] of score */
    long added;
    double seconds;     /* that adding and waiting took: what rewards cost the thread that samples */
    grpo_error error;   /* of the first answer that could not be added */
} scoring_batch;

grpo_status scoring_batch_init(scoring_batch *b, scoring *s, const language_model *lm, const stop_strings *stop, size_t count,
                               grpo_error *err);
/* Reads a finished sample and queues it as answer i, in place of what was there. From one thread; failures show in scoring_batch_wait. */
void scoring_batch_add(scoring_batch *b, size_t i, const data_record *record, const rollout_sample *sample);
/* Returns when all that was added is scored, with the first failure. A reward that cannot score an answer is no
 * failure: it gives NaN and a problem, never a silent 0. */
grpo_status scoring_batch_wait(scoring_batch *b, grpo_error *err);
void scoring_batch_deinit(scoring_batch *b); /* waits first */

/* Seconds that the threads have spent scoring since the last call, summed over threads. */
double scoring_busy_seconds(scoring *s);

#endif
