/* Accuracy of a model on a data set: greedy or sampled answers, scored. */
#ifndef TRAIN_EVALUATE_H
#define TRAIN_EVALUATE_H

#include "rollout/group_sample.h"
#include "train/prompts.h"
#include "train/scoring.h"

typedef struct evaluate_options {
    sampling sampling;
    int samples;     /* answers per prompt */
    size_t limit;    /* first n records of the view; 0 = all */
    int slots;
    const stop_strings *stop;
    /* Called for each answer in order of the records; may be NULL. */
    void (*answer)(void *context, const data_record *record, int sample, const scoring_item *item, const scored *score,
                   const rollout_sample *drawn);
    void (*progress)(void *context, long finished, long of);
    void *context;
} evaluate_options;

typedef struct evaluation {
    size_t prompts, answers, correct, truncated, unscored;
    size_t judged;   /* answers that a math or code reward called right or wrong */
    double accuracy; /* share of these that are right; NaN: there are none */
    double reward;   /* mean over scored answers */
    double length;   /* mean, tokens */
    double seconds;
    /* pass_at_k[i]: unbiased estimate (Chen et al. 2021) for k = 2^i while k <= samples, over the prompts with at least
     * k judged answers; NaN: there are none */
    double pass_at_k[16];
    int n_pass;
} evaluation;

grpo_status evaluate(evaluation *out, engine *e, const language_model *lm, const data_view *view,
                     const prompt_table *prompts, scoring *s, const evaluate_options *options, grpo_error *err);

#endif
