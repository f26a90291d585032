/* The trainer's state. Internal to trainer*.c. */
#ifndef TRAIN_TRAINER_IMPL_H
#define TRAIN_TRAINER_IMPL_H

#include "base/lock.h"
#include "rollout/group_sample.h"
#include "train/checkpoint.h"
#include "train/diagnose.h"
#include "train/evaluate.h"
#include "train/plan.h"
#include "train/policy_pass.h"
#include "train/trainer.h"
#include "train/value_head.h"
#include "train/value_network.h"

/* One rollout and everything computed from it. Token arrays run over all answers in order. */
typedef struct step_batch {
    rollout_group *groups; /* [prompts] */
    const data_record **record; /* [prompts] */
    int n_groups;
    size_t answers, tokens; /* B, N */
    uint64_t taken;         /* prompts from the data stream, those that dynamic sampling dropped included */
    const rollout_group *drawn; /* what group_sample is at: drawn[i] is group slot[i], or i where slot is NULL */
    const int *slot;
    scoring_batch scoring;
    const scoring_item *item; /* [B] of scoring */
    const scored *score;      /* [B] of scoring */
    double *reward;         /* [B] */
    double *reward_baseline; /* [B] remax: the greedy answer's; NULL otherwise */
    size_t *offset;         /* [B + 1] into token arrays */
    unsigned char *mask;    /* [N] */
    double *advantage;      /* [B] */
    double *token_advantage; /* [N] */
    int per_token;
    double *old_logp, *logp, *ref_logp, *entropy; /* [N] */
    double *value, *returns;                      /* [N] with gae: of the rollout */
    double *present_value, *grad_value;           /* [N] of a value head at the newest weights */
    float *value32;                               /* [N] */
    double *sampler_logp;                         /* [N] of the engine that drew the answers; NULL: this one */
    double *grad_logp, *grad_entropy;             /* [N] */
    ops_softmax_row *stats;                       /* [N] of the newest pass */
    float *logp32;                                /* [N] */
    rollout_counts counts;
    size_t unscored;
} step_batch;

/* The part of the batch that one optimiser step is for. */
typedef struct mini_batch {
    rollout_group *groups;
    int first_group, n_groups;
    size_t first_row, rows, first_token, tokens;
    size_t *offset; /* [rows + 1] */
} mini_batch;

struct trainer {
    const train_config *config;
    trainer_options options;
    pool *threads;
    language_model lm;
    int adapter_given; /* the run starts from an adapter that exists */
    data_set *data, *eval_data;
    data_view train_view, eval_view;
    data_stream stream;
    prompt_table prompts, eval_prompts; /* eval_prompts.prompt NULL: the same data set */
    scoring *scoring;
    stop_strings stop;
    memory_plan plan;
    char *plan_text;
    bool committed; /* the plan's memory is taken, not only set aside */
    engine e;
    tape tape;
    backward_workspace backward;
    mem_arena grad_arena, reference_arena, reference_master; /* master: a following reference's, where weights are rounded */
    float *grad;
    model_weights grad_view, reference; /* reference.layer NULL: none */
    optimizer optimizer;
    value_network value;   /* value.m NULL: none */
    value_head value_head; /* params NULL: none */
    uint64_t step, steps, data_position, optimizer_steps_planned;
    double tokens_seen, kl_coef;
    char run_id[40];
    folder_lock lock; /* of output_dir, as long as the run lives */
    char *checkpoints; /* folder */
    bool saved;        /* the newest checkpoint is of the present step */
    metrics_file metrics, samples;
    progress progress;
    diagnose_facts facts;
    diagnose_memory diagnoses;
    double first_eval_accuracy, last_eval_accuracy, began;
    step_batch *sampling; /* the rollout in progress */
    int evaluations; /* of the whole run: a first one before a --resume counts */
};

/* trainer_setup.c: takes the pages of all that was planned, once, after the first rollout: a run that survives its first
 * step does not die of memory in a later one, whose answers are longer. */
void trainer_commit_memory(trainer *t);

/* trainer_batch.c: sampling and scoring one rollout */
grpo_status trainer_sample(trainer *t, step_batch *b, train_metrics *m, grpo_error *err);
void step_batch_deinit(trainer *t, step_batch *b);
int trainer_reached_stop(void *trainer, const int32_t *token, int n); /* rollout_options.stop */

void trainer_take_prompt(trainer *t, step_batch *b, int group); /* the stream's next one */
grpo_status trainer_draw(trainer *t, step_batch *b, rollout_group *groups, const int *slot, int n, grpo_error *err);

/* trainer_dynamic.c */
grpo_status trainer_replace_flat_groups(trainer *t, step_batch *b, train_metrics *m, grpo_error *err);

/* trainer_baseline.c */
grpo_status trainer_greedy_baselines(trainer *t, step_batch *b, grpo_error *err);
void trainer_drop_without_baseline(step_batch *b);

/* trainer_offline.c: answers of another engine, in place of sampling; then what it says of its log-probs */
grpo_status trainer_read_answers(trainer *t, step_batch *b, grpo_error *err);
grpo_status trainer_take_sampler(trainer *t, step_batch *b, train_metrics *m, grpo_error *err);

/* trainer_reference.c */
int trainer_wants_reference(const train_config *c);
grpo_status trainer_reference_init(trainer *t, grpo_error *err);
size_t trainer_reference_bytes(const trainer *t); /* that it takes beside the weights in memory */
void trainer_reference_follow(trainer *t); /* after each step */
grpo_status trainer_reference_save(const trainer *t, const char *folder, grpo_error *err);
grpo_status trainer_reference_restore(trainer *t, const char *folder, grpo_error *err);

/* trainer_advantage.c */
int trainer_needs_squares(const trainer *t); /* the estimator weighs tokens by their distribution's sum of squares */
grpo_status trainer_advantages(trainer *t, step_batch *b, train_metrics *m, grpo_error *err);

/* trainer_value.c: V of a rollout's tokens, its training, its part of a checkpoint (nothing without values) */
int trainer_has_values(const trainer *t);
grpo_status trainer_state_values(trainer *t, step_batch *b, train_metrics *m, grpo_error *err);
void trainer_measure_values(const step_batch *b, train_metrics *m);
grpo_status trainer_value_network_step(trainer *t, step_batch *b, const mini_batch *mb, train_metrics *m, int update,
                                       grpo_error *err);
grpo_status trainer_value_head_loss(trainer *t, step_batch *b, const mini_batch *mb, train_metrics *m, int update,
                                    grpo_error *err); /* b->grad_value from b->present_value */
grpo_status trainer_value_head_step(trainer *t, train_metrics *m, int update, grpo_error *err);
grpo_status trainer_values_save(trainer *t, const char *folder, grpo_error *err);
void trainer_values_note(trainer *t, json_t *extra); /* for the checkpoint's state */
grpo_status trainer_values_restore(trainer *t, const char *folder, const json_t *extra, grpo_error *err);

/* trainer_update.c: losses, gradients, optimiser */
float trainer_inverse_temperature(const trainer *t); /* of rollouts */
double trainer_learning_rate(const trainer *t, double peak, uint64_t steps); /* after so many optimiser steps */
/* Runs groups at the present weights: log-probs into out; V, with a value head, into value (NULL: not wanted). The
 * activations stay on the tape for the backward pass where the plan keeps any. */
grpo_status trainer_policy_pass(trainer *t, rollout_group *groups, int n_groups, policy_tokens out, float *value,
                                grpo_error *err);
grpo_status trainer_update(trainer *t, step_batch *b, train_metrics *m, grpo_error *err);

/* trainer_measure.c */
void trainer_measure_policy(const trainer *t, const step_batch *b, train_metrics *m); /* that drew the rollout: before updates */
double trainer_advantage(const step_batch *b, size_t row); /* of token estimators the mean over the tokens that train */
void trainer_measure(const trainer *t, const step_batch *b, train_metrics *m);

/* trainer_samples.c */
grpo_status trainer_write_samples(trainer *t, const step_batch *b, uint64_t step, grpo_error *err);

/* trainer_report.c */
void trainer_say(trainer *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void trainer_say_start(trainer *t);
grpo_status trainer_write_step(trainer *t, const step_batch *b, const train_metrics *m, grpo_error *err);
const char *trainer_first_problem(const step_batch *b); /* of an answer without a reward */
void trainer_say_end(trainer *t);
/* plot.svg of the steps so far, if log.plot; the run goes on without one. */
void trainer_draw_plot(trainer *t);

/* trainer_model.c */
grpo_status trainer_open_model(trainer *t, grpo_error *err);
grpo_status trainer_write_adapter_settings(const trainer *t, const char *folder, grpo_error *err);

/* trainer_setup.c */
grpo_status trainer_checkpoint(trainer *t, grpo_error *err);

#endif
