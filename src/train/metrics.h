/* What a training step measures, and the files that keep it: metrics.jsonl (one line a step) and
 * samples.jsonl. One table names every quantity once: field, key, what it is called in TRL and in
 * verl, meaning. */
#ifndef TRAIN_METRICS_H
#define TRAIN_METRICS_H

#include "base/json.h"
#include "base/strbuf.h"

/* X(field and key, TRL's name, verl's name, meaning). Shares are from 0 to 1. */
#define TRAIN_METRICS_TABLE(X)                                                                                     \
    X(step, "step", "training/global_step", "rollouts so far")                                                     \
    X(epoch, "epoch", "training/epoch", "passes over the training prompts so far")                                 \
    X(reward, "reward", "critic/rewards/mean", "mean reward of the completions")                                   \
    X(reward_std, "reward_std", NULL, "mean over the groups of the rewards' standard deviation")                   \
    X(reward_min, NULL, "critic/rewards/min", "smallest reward")                                                   \
    X(reward_max, NULL, "critic/rewards/max", "largest reward")                                                    \
    X(overlong_penalty, NULL, NULL, "mean of what overlong_buffer takes off the rewards")                          \
    X(accuracy, NULL, NULL, "share right of the completions that a math or code reward judged")                    \
    X(frac_unscored, NULL, NULL, "share of the completions whose reward is missing")                               \
    X(frac_unverifiable, NULL, NULL, "share that the math verifier could not decide; they score as configured")     \
    X(frac_groups_all_right, NULL, NULL, "share of the judged groups with no wrong completion")                    \
    X(frac_groups_all_wrong, NULL, NULL, "share of the judged groups with no right completion")                    \
    X(frac_groups_flat, "frac_reward_zero_std", NULL, "share of the groups whose rewards are all equal, before a KL is taken off: no signal") \
    X(dynamic_replaced, NULL, NULL, "dynamic_sampling: groups that were replaced before the step was full")           \
    X(dynamic_rounds, NULL, "train/num_gen_batches", "dynamic_sampling: times that groups were sampled")              \
    X(advantage_min, NULL, "critic/advantages/min", "smallest advantage; of token estimators over the tokens that train") \
    X(advantage_max, NULL, "critic/advantages/max", "largest advantage, as above")                                 \
    X(advantage_abs, NULL, NULL, "mean size of the advantages, as above")                                          \
    X(loss, "loss", "actor/loss", "the whole loss, mean over the updates of the rollout")                          \
    X(policy_loss, NULL, "actor/pg_loss", "its policy part, as above")                                             \
    X(kl, "kl", "actor/kl_loss", "KL of the sampling policy to the reference, mean over tokens, without kl_coef")  \
    X(approx_kl, NULL, "actor/ppo_kl", "mean of old minus new log-probability, over tokens and updates")           \
    X(entropy, "entropy", "actor/entropy", "entropy of the sampling distribution, mean over tokens, in nats")      \
    X(ratio_mean, "ratio/mean", NULL, "probability ratio new / old, mean over the updates")                        \
    X(ratio_min, "ratio/min", NULL, "smallest of all updates")                                                     \
    X(ratio_max, "ratio/max", NULL, "largest of all updates")                                                      \
    X(clip_frac_low, "clip_ratio/low_mean", NULL, "share clipped from below (negative advantage), mean over the updates") \
    X(clip_frac_high, "clip_ratio/high_mean", NULL, "share clipped from above (positive advantage), as above")     \
    X(clip_frac, "clip_ratio/region_mean", "actor/pg_clipfrac", "share clipped, as above")                         \
    X(sampler_kl, NULL, "rollout_corr/kl", "rollout.source data: mean of the records' minus this engine's log-probability")   \
    X(sampler_weight_mean, "sampling/importance_sampling_ratio/mean", "rollout_corr/rollout_is_mean", "mean weight of sampler_correction") \
    X(frac_rejected, NULL, "rollout_corr/rollout_rs_masked_fraction", "share of the tokens that rollout.reject leaves out") \
    X(grad_norm, "grad_norm", "actor/grad_norm", "norm of the gradient before it is limited, the largest of the updates") \
    X(learning_rate, "learning_rate", "actor/lr", "")                                                              \
    X(kl_coef, NULL, "actor/kl_coef", "weight of the KL in force")                                                 \
    X(value_loss, "loss/value_avg", "critic/vf_loss", "loss of the value network (PPO), mean over the updates")    \
    X(value_clip_frac, "val/clipfrac_avg", "critic/vf_clipfrac", "share of its tokens that value_clip holds back, as above") \
    X(value_mean, NULL, "critic/values/mean", "mean value of the tokens' states")                                  \
    X(value_explained, NULL, "critic/vf_explained_var", "share of the returns' variance that the values explain")  \
    X(value_grad_norm, NULL, "critic/grad_norm", "norm of its gradient before it is limited, the largest of the updates") \
    X(value_learning_rate, NULL, "critic/lr", "")                                                                  \
    X(completion_length, "completions/mean_length", "response_length/mean", "mean length in tokens")               \
    X(completion_length_min, "completions/min_length", "response_length/min", "")                                  \
    X(completion_length_max, "completions/max_length", "response_length/max", "")                                  \
    X(completion_length_ended, "completions/mean_terminated_length", NULL, "mean over those that ended by themselves") \
    X(frac_truncated, "completions/clipped_ratio", "response_length/clip_ratio", "share cut at rollout.max_new_tokens") \
    X(prompt_length, NULL, "prompt_length/mean", "mean length in tokens")                                          \
    X(num_tokens, "num_tokens", NULL, "tokens seen since the run began, prompts counted once a group")             \
    X(tokens_per_second, NULL, "perf/throughput", "completion tokens per second of the step")                      \
    X(rollout_tokens_per_second, NULL, NULL, "completion tokens per second of sampling")                           \
    X(time_rollout, NULL, "timing_s/gen", "seconds")                                                               \
    X(time_reward, "reward_time", "timing_s/reward", "seconds that rewards add to the step")                       \
    X(time_scoring, NULL, NULL, "seconds of scoring in all, most of them while answers are sampled")              \
    X(time_train, NULL, "timing_s/update_actor", "seconds")                                                        \
    X(time_value, NULL, "timing_s/update_critic", "seconds of the value network, within time_train")               \
    X(time_eval, NULL, "timing_s/testing", "seconds")                                                              \
    X(time_step, "step_time", "timing_s/step", "seconds")                                                          \
    X(peak_bytes, NULL, "perf/max_memory_allocated_gb", "largest resident memory of the process so far")           \
    X(eval_accuracy, NULL, "val-core/acc/mean@1", "greedy accuracy on the held-out records, of those judged")      \
    X(eval_reward, "eval_reward", NULL, "greedy reward on the held-out records")                                   \
    X(eval_completion_length, "eval_completions/mean_length", NULL, "")

/* NAN: not measured. */
typedef struct train_metrics {
#define X(name, trl, verl, meaning) double name;
    TRAIN_METRICS_TABLE(X)
#undef X
} train_metrics;

typedef struct metrics_name {
    const char *key, *trl, *verl, *meaning;
    size_t offset; /* in train_metrics, of a double */
} metrics_name;

/* The table as data, ending with key NULL. */
extern const metrics_name metrics_names[];

void metrics_init(train_metrics *m); /* everything NAN */
double metrics_get(const train_metrics *m, const metrics_name *name);
/* Takes x, which counts `weight`, into a mean of what counted `so_far`; the first x is the mean, bit for bit. */
void metrics_mean(double *mean, double x, double weight, double so_far);

/* A JSON object of what is measured, in the table's order. `extra` (an object such as
 * {"reward/math": 0.5, "diagnoses": […]}, or NULL) is appended. */
json_t *metrics_to_json(const train_metrics *m, const json_t *extra);
/* Reads it back; unknown keys are passed over. */
void metrics_from_json(train_metrics *m, const json_t *object);

/* ---- files that grow by whole lines -------------------------------------------------------- */

typedef struct metrics_file {
    int fd;
    char *path;
} metrics_file;

/* Opens `path` for appending. Lines that a run which goes on after `last_step` will write again are
 * removed first: those with a larger "step", and a last line that broke off. last_step < 0 begins
 * anew. */
grpo_status metrics_file_open(metrics_file *f, const char *path, long last_step, grpo_error *err);
/* Writes one object as one line, at once. */
grpo_status metrics_file_write(metrics_file *f, const json_t *object, grpo_error *err);
void metrics_file_close(metrics_file *f);

/* All steps of a metrics.jsonl (mem_free *steps). */
grpo_status metrics_file_read(train_metrics **steps, size_t *count, const char *path, grpo_error *err);

/* The reference page of the table, docs/metrics.md. */
void metrics_put_reference(strbuf *out);

#endif
