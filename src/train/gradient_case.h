/* A case of the form of ../shared/models/<model>/golden/golden.json, its `grpo` part: one prompt, G ragged
 * completions with rewards and old log-probs, and losses whose gradients are to be compared with another
 * system's. It goes the way that a training step goes: the same forward, loss and backward functions. */
#ifndef TRAIN_GRADIENT_CASE_H
#define TRAIN_GRADIENT_CASE_H

#include "base/json.h"
#include "train/optimizer.h"
#include "train/policy_pass.h"

typedef struct gradient_case {
    rollout_group group;
    int32_t *prompt;
    size_t tokens;  /* N of all completions */
    size_t *offset; /* [G + 1] */
    unsigned char *mask;
    double *reward, *advantage; /* [G] */
    double *old_logp, *ref_logp; /* [N]; ref_logp NULL when the case has none */
    double clip_eps, kl_beta, fixed_length;
} gradient_case;

/* where: for messages. */
grpo_status gradient_case_init(gradient_case *c, const json_t *root, const char *where, int vocab, grpo_error *err);
void gradient_case_deinit(gradient_case *c, engine *e);

/* Names of the losses, NULL at the end: seq, seq_length_normalised, tok_seq_mean, tok_token_mean,
 * tok_seq_sum, tok_fixed_length, tok_seq_mean_kl. */
extern const char *const gradient_case_losses[];

typedef struct gradient_workspace {
    engine e;
    tape t;
    backward_workspace backward;
    mem_arena grad_arena;
    float *grad; /* [model_trained(m).layout->total] */
    model_weights grad_view;
} gradient_workspace;

/* rows: of one pass; longest: positions of a sequence; blocks: of the key/value store. */
grpo_status gradient_workspace_sized(gradient_workspace *w, const model *m, pool *threads, int rows, int longest, int blocks,
                                     grpo_error *err);
/* The same with what a case needs. */
grpo_status gradient_workspace_init(gradient_workspace *w, const model *m, pool *threads, const gradient_case *c,
                                    grpo_error *err);
void gradient_workspace_deinit(gradient_workspace *w);

typedef struct gradient_result {
    double loss;
    double *ratio; /* [N] a row's ratio stands at each of its tokens; caller's */
} gradient_result;

/* Loss `name` at the model's present weights; adds its gradient to w->grad. */
grpo_status gradient_case_run(gradient_workspace *w, const model *m, gradient_case *c, const char *name,
                              gradient_result *result, grpo_error *err);

#endif
