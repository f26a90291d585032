/* PPO's value network: a second transformer of its own weights with one output per token, trained beside the
 * policy (the specification, 3.1; Schulman et al. 2017, arXiv:1707.06347). It shares the policy's prompts and
 * answers, and nothing else: keys, values and activations are its own.
 *
 * V of an answer's token is the output at the row before it, so the state in which the token was chosen. The row
 * law holds: V computed for the rollout is, bit for bit, what the first training pass sees, which therefore does
 * not run. */
#ifndef TRAIN_VALUE_NETWORK_H
#define TRAIN_VALUE_NETWORK_H

#include "grpo/algo.h"
#include "train/optimizer.h"
#include "train/plan.h"
#include "train/policy_pass.h"

typedef struct value_network {
    model_files *files; /* NULL: the trunk is a copy of the policy's */
    model *m;
    engine e;
    tape tape;
    backward_workspace backward;
    mem_arena grad_arena;
    float *grad;
    model_weights grad_view;
    optimizer optimizer;
    int recompute, micro_batch_rows;
    rollout_group *shadow; /* [n_groups] of the rollout in hand: its tokens, this network's activations */
    int n_groups;
} value_network;

/* Loads `path` (a model with a value, score or language-model head; a missing value head starts at zero, so V
 * starts at 0), or with NULL copies the policy's trunk. `policy` must outlive it. */
grpo_status value_network_open(value_network *v, const char *path, const model *policy, pool *threads, grpo_error *err);
/* Sets aside the memory of the plan, which was made with value_network_open's model. */
grpo_status value_network_start(value_network *v, pool *threads, const memory_plan *plan, optimizer_options options,
                                grpo_error *err);
void value_network_close(value_network *v);

/* V of every answer's tokens at the present weights; activations stay for value_network_update with
 * weights_changed = 0. value: [N]. Call value_network_release when the rollout is done with. */
grpo_status value_network_run(value_network *v, const rollout_group *groups, int n_groups, float *value, grpo_error *err);
void value_network_release(value_network *v);

/* One optimiser step on groups [first, first + n) of the rollout. rows: their tokens. */
typedef struct value_step {
    int first, n_groups;
    const grpo_rows *rows;
    const double *old_value, *returns; /* [N of rows] */
    int weights_changed;               /* 1: V is computed again; 0: it is old_value */
    double learning_rate;
    /* results */
    double loss, clip_fraction, grad_norm;
} value_step;

grpo_status value_network_update(value_network *v, const grpo_algo *algo, value_step *step, pool *threads,
                                 grpo_error *err);

#endif
