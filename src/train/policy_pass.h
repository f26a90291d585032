/* Passes of a policy over a rollout: log-probs of its answers under given weights, and the gradient
 * of a loss whose derivative by every log-prob is known.
 *
 * Token arrays run over all answers in order (groups, then samples), N tokens together. */
#ifndef TRAIN_POLICY_PASS_H
#define TRAIN_POLICY_PASS_H

#include "rollout/group_sample.h"

typedef struct policy_tokens {
    float *logp;            /* [N]; NULL: the head is not run (a value model) */
    ops_softmax_row *stats; /* [N] or NULL */
} policy_tokens;

/* Tokens of all answers of the groups. */
size_t policy_token_count(const rollout_group *groups, int n_groups);

typedef struct policy_run_options {
    float inv_temperature;
    int want_entropy;
    tape *tape;     /* NULL: nothing is kept */
    int private_kv; /* 1: keys and values of this pass are thrown away (a reference model); 0: they
                       become the groups' own */
} policy_run_options;

/* Runs all prompts and answers through weights w. out->logp[i] of the distribution that the rollout
 * drew from (temperature and allowed tokens included). */
grpo_status policy_run(engine *e, const model_weights *w, rollout_group *groups, int n_groups,
                       const policy_run_options *options, policy_tokens out, grpo_error *err);

/* Frees the groups' keys and values; tokens and places on the tape stay. */
void policy_release_kv(engine *e, rollout_group *groups, int n_groups);

/* V before each token of every answer, by weights with a value head whose activations the last policy_run has
 * left on the tape: value[i] belongs to the state that token i is chosen in. */
grpo_status policy_tape_values(engine *e, const model_weights *w, const tape *t, const rollout_group *groups,
                               int n_groups, float *value, grpo_error *err);

typedef struct policy_gradient {
    const double *grad_value;     /* [N] d loss / d V before each token, of weights with a value head; or NULL */
    const double *grad_logp;      /* [N] d loss / d logp; or NULL: nothing comes through the log-probs */
    const double *grad_entropy;   /* [N] d loss / d entropy, beside grad_logp; or NULL */
    const ops_softmax_row *stats; /* [N] of the weights that the gradient is taken at; for grad_logp */
    float inv_temperature;
    int micro_batch_rows; /* whole groups are gathered up to this many rows; at least one group */
    int recompute;        /* 1: the tape and the keys/values hold nothing yet; run each micro-batch first */
} policy_gradient;

typedef struct policy_backward_counts {
    long rows, skipped_samples;
} policy_backward_counts;

/* Adds to grad. Answers whose coefficients are all exactly zero are left out; the denominators of the
 * loss were fixed before, so nothing else changes. */
grpo_status policy_backward(engine *e, const model_weights *w, model_weights *grad, backward_workspace *ws, tape *t,
                            rollout_group *groups, int n_groups, const policy_gradient *g,
                            policy_backward_counts *counts, grpo_error *err);

#endif
