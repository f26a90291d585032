/* Diagnoses of a training run, from the specification's table of common problems (its section 5) and from what goes
 * wrong in practice: pure functions of the configuration and of the steps so far. Every diagnosis names its remedy in
 * terms of configuration keys. docs/diagnoses.md is made from the table below. */
#ifndef TRAIN_DIAGNOSE_H
#define TRAIN_DIAGNOSE_H

#include <stdbool.h>
#include <stddef.h>

#include "train/config.h"
#include "train/metrics.h"

/* X(id, row of the specification's table or NULL, said when, remedy): in the order of importance. Keys of
 * metrics.jsonl and of the configuration stand in backquotes. */
#define DIAGNOSE_TABLE(X)                                                                                         \
    X(all_wrong, "优势全为0 (all advantages 0)",                                                                  \
      "every advantage is 0, and every judged completion is wrong (`frac_groups_all_wrong` 1)",                   \
      "look at the reward function: the command that is printed explains its verdicts on the last answers; where more than 10% " \
      "could not be verified, at the references (`data.answer_field`); then easier data or a larger `group_size`") \
    X(all_right, "优势全为0 (all advantages 0)",                                                                  \
      "every advantage is 0, and every judged completion is right (`frac_groups_all_right` 1)",                   \
      "harder data; or look at the reward function, if that cannot be")                                           \
    X(all_equal, "优势全为0 (all advantages 0)",                                                                  \
      "every advantage is 0 otherwise: the rewards are equal inside every group (`frac_groups_flat` 1)",          \
      "look at the reward function, which does not tell completions of one prompt apart")                         \
    X(exploding_gradient, "梯度爆炸 (gradients explode)",                                                         \
      "`grad_norm` is infinite, or over 10 times the median of the last 20 steps",                                \
      "`clip_epsilon: 0.1`, where it acts: from the second update of a rollout on, with a loss that clips; else a lower " \
      "`train.learning_rate` or `train.max_grad_norm`")                                                           \
    X(unstable_std, "训练不稳定 (unstable, std normalisation)",                                                   \
      "the advantages are divided by a standard deviation, and the mean `reward` of 5 steps fell below the best 5 of the last 64 by " \
      "more than 4 standard errors, the usual scatter and 10%, or `grad_norm` scatters over 10 steps by more than 1.5 times its mean", \
      "Dr. GRPO: `advantage_estimator: drgrpo`, or `algorithm: drgrpo`")                                          \
    X(unstable, NULL, "the same where nothing is divided",                                                        \
      "a lower `train.learning_rate`, or a KL penalty that holds the policy: `kl_coef`")                          \
    X(never_ends, NULL, "no completion of two steps ended by itself (`frac_truncated` 1)",                        \
      "the end token of the model's chat template, `rollout.stop`, or a larger `rollout.max_new_tokens`")         \
    X(truncated, NULL, "half of the completions or more of three steps were cut (`frac_truncated`)",              \
      "a larger `rollout.max_new_tokens`, short answers, or `mask_truncated: true`")                              \
    X(no_chat_template, NULL, "at the first step: the model has no chat template, and `data.chat` is not `never`", \
      "the model's template, if it is instruction-tuned; else `data.chat: never`")                                \
    X(unscored, NULL, "a completion has no reward (`frac_unscored` above 0)",                                     \
      "the command that is printed says why")                                                                     \
    X(few_signals, NULL, "80% of the groups of 10 steps, or more, are flat (`frac_groups_flat`)",                 \
      "easier data where most groups are all wrong, harder data where they are all right; a larger `group_size`; " \
      "`dynamic_sampling: true`")                                                                                 \
    X(slow_small_groups, "收敛慢 (slow, small groups)",                                                           \
      "`reward` has not risen over 20 steps (by more than the standard error of its slope), `group_size` is below 8, and less than " \
      "90% are right",                                                                                            \
      "`group_size` 8 to 16; if it is still slow, a higher `train.learning_rate`")                                \
    X(longer_answers, NULL,                                                                                       \
      "`completion_length` grew over 20 steps by more than half and steadily (twice the standard error of its slope), while `accuracy` " \
      "has not risen, or is not measured: the reward may be won by length",                                       \
      "`overlong_buffer: 0.2`, or a reward `{spec: \"length:max=…\"}`; `loss_aggregation: fixed_length` where the loss divides by an " \
      "answer's length (`seq_mean_token_mean`, the mean ratio of GSPO), with which long wrong answers cost little")   \
    X(shorter_answers, NULL,                                                                                      \
      "`completion_length` fell in the same way by more than a third, while `accuracy` has not risen and is below 90%, or is not measured", \
      "a reward `{spec: \"length:min=…\"}`, or `kl_coef`; `loss_aggregation: fixed_length` as above: short right answers pay more then") \
    X(entropy_collapse, NULL,                                                                                     \
      "the `entropy` of 5 steps is below 0.02 nats and a fifth of that of the run's first 5, and less than 90% are right", \
      "a higher `clip_epsilon_high` (0.28), where it acts, `rollout.temperature` or `entropy_coef`; a lower `train.learning_rate`") \
    X(clipped, NULL, "more than half of the units are clipped, over 5 steps (`clip_frac`)",                       \
      "a lower `train.learning_rate`, fewer updates of a rollout, or `importance_sampling_level: token`")         \
    X(far_from_reference, NULL,                                                                                   \
      "the `kl` of 5 steps is over 1 nat a token (measured with a `kl_coef`, or with `log.kl: true`)",            \
      "a higher `kl_coef` or a lower `train.learning_rate`, if answers lose their form")

typedef enum diagnose_id {
#define X(name, specification, when, remedy) DIAGNOSE_##name,
    DIAGNOSE_TABLE(X)
#undef X
    DIAGNOSE_COUNT,
} diagnose_id;

/* What the rules need to know besides the metrics. */
typedef struct diagnose_facts {
    int group_size;
    bool group_baseline;     /* advantages compare the completions of a group; false: gae, remax, reinforce_pp */
    bool normalises_parts;   /* gdpo: groups whose sums are equal have advantages all the same */
    bool divides_by_std;     /* advantages are divided by a standard deviation of rewards */
    const char *no_clip;     /* why clip_epsilon does nothing; NULL: it acts */
    double clip_epsilon;     /* the larger side */
    double clip_epsilon_high;
    double kl_coef;
    bool kl_adapts;          /* kl_control: adaptive */
    bool token_ratio;        /* the ratio is per token, not of the sequence */
    bool divides_by_length;  /* an answer's tokens count the less, the more there are */
    bool punishes_length;    /* overlong_buffer */
    int max_new_tokens;
    int updates_per_rollout; /* times mini-batches */
    bool masks_truncated;
    bool samples_here;       /* the answers are this engine's own */
    bool can_resample;       /* dynamic_sampling is possible, and off */
    bool has_chat_template;  /* of the model, or prompts that need none by the user's wish */
    bool has_end_token;      /* the model names one */
    char look[512];          /* the command that shows how the last answers were scored */
} diagnose_facts;

/* Of a configuration; the model's two facts come from the caller. */
void diagnose_facts_init(diagnose_facts *facts, const train_config *c, bool has_chat_template, bool has_end_token);

typedef struct diagnosis {
    diagnose_id id;
    char message[1200];
} diagnosis;

/* "all_wrong", … */
const char *diagnose_name(diagnose_id id);

/* The run so far; zero-fill. */
typedef struct diagnose_memory {
    train_metrics steps[64]; /* the most recent ones, in order */
    size_t count;
    double first_entropy; /* mean of the run's first 5 steps */
    int first_count;
    long said[DIAGNOSE_COUNT]; /* step of the last time, 0 = never or no longer true */
} diagnose_memory;

/* Notes a step without saying anything; lines that no rollout belongs to (step 0) are passed over. */
void diagnose_note(diagnose_memory *memory, const train_metrics *step);

/* What is true of the run after the last step noted. Returns how many were written to out[DIAGNOSE_COUNT]. */
size_t diagnose(diagnosis out[DIAGNOSE_COUNT], const diagnose_facts *facts, const diagnose_memory *memory);

/* Notes a step and returns what is worth saying now: each thing once, and again only after it has been false or 50 steps
 * have passed. */
size_t diagnose_step(diagnose_memory *memory, diagnosis out[DIAGNOSE_COUNT], const diagnose_facts *facts,
                     const train_metrics *step);

/* The reference page of the table, docs/diagnoses.md. */
void diagnose_put_reference(strbuf *out);

#endif
