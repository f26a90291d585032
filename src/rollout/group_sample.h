/* group_sample(): P prompts x G answers in one continuous batch. A prompt is read once; its keys and
 * values are shared by the group. A slot whose answer ends is refilled at the next token. What an
 * answer is does not depend on the batch it was drawn in: each token is a pure function of the weights,
 * the prompt, the tokens before it and (seed, step, group, sample, position). */
#ifndef ROLLOUT_GROUP_SAMPLE_H
#define ROLLOUT_GROUP_SAMPLE_H

#include "model/engine.h"
#include "rollout/sampling.h"

typedef enum finish_reason {
    FINISH_NONE,
    FINISH_EOS,    /* an end-of-sequence token was drawn (it is the last token of the answer) */
    FINISH_STOP,   /* the stop function said so */
    FINISH_LENGTH, /* max_new_tokens or the context ended it: truncated */
} finish_reason;

const char *finish_reason_name(finish_reason reason); /* "eos", "stop", "length" */

typedef struct rollout_sample {
    int n;            /* tokens, the end token included */
    int32_t *token;   /* [n] */
    float *logprob;   /* [n] of the distribution drawn from */
    ops_softmax_row *stats; /* [n] entropy included when asked for */
    token_set *allowed;     /* [n], NULL when nothing is ever excluded */
    int32_t *tape_row;      /* [n - 1] row of token t on the tape (the last token is never read) */
    kv_sequence kv;
    finish_reason finish;
    int capacity;
} rollout_sample;

typedef struct rollout_group {
    const int32_t *prompt; /* [prompt_length], borrowed */
    int prompt_length;
    uint64_t id;      /* position of the group in the data stream */
    int first_sample; /* number of its first sample: to draw one alone again */
    rollout_sample *samples; /* [n_samples] */
    int n_samples;
    int32_t *tape_row; /* [prompt_length] */
    kv_sequence kv;
} rollout_group;

typedef struct rollout_options {
    sampling sampling;
    uint64_t step;
    const int32_t *eos; /* end-of-sequence ids */
    int n_eos;
    int slots;        /* sequences decoded at once, at most the engine's head_rows */
    int want_entropy;
    tape *tape;       /* rows are appended for the backward pass; NULL: not kept */
    int keep_kv;      /* 1: keys and values stay until rollout_release; 0: freed as answers end */
    /* Called after each token (n so far); 1 ends the answer (stop strings). May be NULL. */
    int (*stop)(void *context, const int32_t *token, int n);
    /* Called once per finished answer, in order of finishing. May be NULL. */
    void (*finished)(void *context, const rollout_group *group, int sample);
    /* Called after each decode step with the tokens drawn so far. May be NULL. */
    void (*progress)(void *context, long tokens);
    void *context;
} rollout_options;

typedef struct rollout_counts {
    long prompt_tokens, completion_tokens, decode_steps;
} rollout_counts;

/* Draws every sample of every group. groups' prompt, prompt_length, id, first_sample and
 * n_samples are set by the caller, the rest is filled. Call rollout_release whatever the status. */
grpo_status group_sample(engine *e, const model_weights *w, rollout_group *groups, int n_groups,
                         const rollout_options *options, rollout_counts *counts, grpo_error *err);
void rollout_release(engine *e, rollout_group *groups, int n_groups);

#endif
