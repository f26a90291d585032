/* The arithmetic of GRPO and its relatives: advantages, ratios, losses with their gradients,
 * KL, GAE. Pure functions over arrays; no model, no files, no allocation (the caller gives
 * scratch), all arithmetic in double precision. Thread-safe: nothing is kept between calls.
 *
 * Shapes. B completions ("rows") have N tokens together. Token arrays are ragged: row b owns
 * the entries offset[b] .. offset[b+1]-1. m is the mask: 1 = the token counts, 0 = it does not
 * (what stands there is never looked at). n_b = sum of m over row b. A padded [B][T] matrix is
 * the special case offset[b] = b T.
 *
 * Read in this order: the specification's formulas; advantages; the loss; the rest.
 * docs/algorithms.md has every formula with its source, docs/math.md leads from an equation to
 * its function and its test. */
#ifndef GRPO_ALGO_H
#define GRPO_ALGO_H

#include <stddef.h>
#include <stdint.h>

#include "grpo/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct grpo_rows {
    size_t count;              /* B */
    const size_t *offset;      /* [B + 1], not decreasing, offset[0] = 0, offset[B] = N */
    const unsigned char *mask; /* [N] 0 or 1; NULL: every token counts */
} grpo_rows;

/* ---- the specification's formulas, alone ------------------------------------------------ */

/* 1.1  A_i = R_i - mean(R over its group); groups are `group_size` contiguous rewards.
 * Error when batch_size is not a multiple of group_size or a reward is not finite.
 * A group whose rewards are all equal gets exactly 0. */
grpo_status compute_grpo_advantages(double *advantages,    /* [batch_size] */
                                    const double *rewards, /* [batch_size] */
                                    size_t batch_size, size_t group_size, grpo_error *err);
/* Sections 2.2 and 3.1 of the specification call the same arithmetic by these names. */
#define compute_advantages_grpo compute_grpo_advantages
#define grpo_advantage compute_grpo_advantages

/* 1.2  r_b = exp(sum_t m logp_t - sum_t m old_logp_t). Exactly 1 where both are equal bitwise. */
void compute_sequence_ratios(double *ratio, /* [B] */ const grpo_rows *rows,
                             const double *logp /* [N] */, const double *old_logp /* [N] */);

/* 3.1  PPO: delta_t = r_t + gamma V_{t+1} - V_t, then gae() with gamma * lambda. */
void ppo_advantage(double *advantages,                        /* [steps] */
                   const double *rewards /* [steps] */,       /* */
                   const double *values /* [steps + 1], the last one bootstraps */, size_t steps,
                   double gamma, double lambda);
/* advantages[t] = deltas[t] + gamma_lambda advantages[t + 1]; may work in place. */
void gae(double *advantages, const double *deltas, size_t steps, double gamma_lambda);

/* 1.3 is compute_grpo_loss(), below, with the options' default values. */

/* ---- options ---------------------------------------------------------------------------- */

/* X(symbol, name). The advantage estimators and losses with their sources:
 * grpo_estimator_info(), grpo_loss_info(). */
#define GRPO_ESTIMATOR_NAMES(X)                                                                    \
    X(GRPO_ADV_DRGRPO, "drgrpo")                                                                   \
    X(GRPO_ADV_GRPO, "grpo")                                                                       \
    X(GRPO_ADV_RLOO, "rloo")                                                                       \
    X(GRPO_ADV_OPO, "opo")                                                                         \
    X(GRPO_ADV_GPG, "gpg")                                                                         \
    X(GRPO_ADV_PASSK, "grpo_passk")                                                                \
    X(GRPO_ADV_GDPO, "gdpo")                                                                       \
    X(GRPO_ADV_REINFORCE_PP_BASELINE, "reinforce_pp_baseline")                                     \
    X(GRPO_ADV_REINFORCE_PP, "reinforce_pp")                                                       \
    X(GRPO_ADV_REMAX, "remax")                                                                     \
    X(GRPO_ADV_GAE, "gae")                                                                         \
    X(GRPO_ADV_TOKEN_BASELINE, "optimal_token_baseline")                                           \
    X(GRPO_ADV_TURN_TOKEN_BASELINE, "multi_turn_optimal_token_baseline")                           \
    X(GRPO_ADV_LIBRARY, "library")

#define GRPO_LOSS_NAMES(X)                                                                         \
    X(GRPO_LOSS_CLIP, "clip")                                                                      \
    X(GRPO_LOSS_CISPO, "cispo")                                                                    \
    X(GRPO_LOSS_SAPO, "sapo")                                                                      \
    X(GRPO_LOSS_VESPO, "vespo")                                                                    \
    X(GRPO_LOSS_GMPO, "gmpo")                                                                      \
    X(GRPO_LOSS_REINFORCE, "reinforce")                                                            \
    X(GRPO_LOSS_CLIP_COV, "clip_cov")                                                              \
    X(GRPO_LOSS_KL_COV, "kl_cov")                                                                  \
    X(GRPO_LOSS_LIBRARY, "library")

#define GRPO_SCALE_NAMES(X)                                                                        \
    X(GRPO_SCALE_NONE, "none") X(GRPO_SCALE_GROUP, "group") X(GRPO_SCALE_BATCH, "batch")

/* What a group of one completion gets: 0, or its reward unchanged (verl). */
#define GRPO_SINGLE_NAMES(X) X(GRPO_SINGLE_ZERO, "zero") X(GRPO_SINGLE_RAW, "raw")

/* sequence: exp(sum_t m d), one a row. sequence_mean: exp(sum_t m d / n_b), one a row (GSPO).
 * sequence_token: the value of sequence_mean, but the gradient goes to each token with that
 * token's own advantage and clip (GSPO-token; verl's gspo). token: exp(d), one a token.
 * d = logp - old_logp. */
#define GRPO_RATIO_NAMES(X)                                                                        \
    X(GRPO_RATIO_SEQUENCE, "sequence")                                                             \
    X(GRPO_RATIO_SEQUENCE_MEAN, "sequence_mean")                                                   \
    X(GRPO_RATIO_SEQUENCE_TOKEN, "sequence_token")                                                 \
    X(GRPO_RATIO_TOKEN, "token")

/* Loss = sum of the token losses x with one weight for each row's tokens:
 *   row_mean             (1/rows) sum_b x_b, the completion as one action (needs a row ratio)
 *   token_mean           (1/tokens) sum_b sum_t m x
 *   seq_mean_token_sum   (1/rows) sum_b sum_t m x
 *   seq_mean_token_mean  (1/rows) sum_b (1/n_b) sum_t m x
 *   fixed_length         (1/(rows L)) sum_b sum_t m x        (Dr. GRPO's constant divisor)
 * same (for KL and entropy): what the policy loss has; under row_mean, seq_mean_token_sum. */
#define GRPO_AGGREGATION_NAMES(X)                                                                  \
    X(GRPO_AGG_SAME, "same")                                                                       \
    X(GRPO_AGG_ROW_MEAN, "row_mean")                                                               \
    X(GRPO_AGG_TOKEN_MEAN, "token_mean")                                                           \
    X(GRPO_AGG_SEQ_MEAN_TOKEN_SUM, "seq_mean_token_sum")                                           \
    X(GRPO_AGG_SEQ_MEAN_TOKEN_MEAN, "seq_mean_token_mean")                                         \
    X(GRPO_AGG_FIXED_LENGTH, "fixed_length")

/* With d = logp - ref_logp: k1 = d, k2 = d^2/2, k3 = exp(-d) + d - 1, abs = |d|. */
#define GRPO_KL_NAMES(X)                                                                           \
    X(GRPO_KL_K1, "k1") X(GRPO_KL_K2, "k2") X(GRPO_KL_K3, "k3") X(GRPO_KL_ABS, "abs")

#define GRPO_KL_PLACE_NAMES(X) X(GRPO_KL_IN_LOSS, "loss") X(GRPO_KL_IN_REWARD, "reward")

#define GRPO_KL_CONTROL_NAMES(X)                                                                   \
    X(GRPO_KL_FIXED, "fixed") X(GRPO_KL_ADAPTIVE, "adaptive")

/* Correction for samples of another engine: weights exp(old_logp - sampler_logp) per token, or of
 * the row's sum; truncate clamps them into [min, max], mask puts 0 outside. */
#define GRPO_SAMPLER_NAMES(X)                                                                      \
    X(GRPO_SAMPLER_NONE, "none")                                                                   \
    X(GRPO_SAMPLER_TOKEN_TRUNCATE, "token_truncate")                                               \
    X(GRPO_SAMPLER_TOKEN_MASK, "token_mask")                                                       \
    X(GRPO_SAMPLER_SEQUENCE_TRUNCATE, "sequence_truncate")                                         \
    X(GRPO_SAMPLER_SEQUENCE_MASK, "sequence_mask")

#define GRPO_SCHEDULE_NAMES(X)                                                                     \
    X(GRPO_SCHEDULE_CONSTANT, "constant")                                                          \
    X(GRPO_SCHEDULE_LINEAR, "linear")                                                              \
    X(GRPO_SCHEDULE_COSINE, "cosine")

#define X(symbol, name) symbol,
typedef enum grpo_estimator { GRPO_ESTIMATOR_NAMES(X) GRPO_ESTIMATOR_COUNT } grpo_estimator;
typedef enum grpo_loss_kind { GRPO_LOSS_NAMES(X) GRPO_LOSS_COUNT } grpo_loss_kind;
typedef enum grpo_scale { GRPO_SCALE_NAMES(X) } grpo_scale;
typedef enum grpo_single { GRPO_SINGLE_NAMES(X) } grpo_single;
typedef enum grpo_ratio_level { GRPO_RATIO_NAMES(X) GRPO_RATIO_COUNT } grpo_ratio_level;
typedef enum grpo_aggregation { GRPO_AGGREGATION_NAMES(X) GRPO_AGG_COUNT } grpo_aggregation;
typedef enum grpo_kl_kind { GRPO_KL_NAMES(X) GRPO_KL_COUNT } grpo_kl_kind;
typedef enum grpo_kl_place { GRPO_KL_PLACE_NAMES(X) } grpo_kl_place;
typedef enum grpo_kl_control { GRPO_KL_CONTROL_NAMES(X) } grpo_kl_control;
typedef enum grpo_sampler_correction { GRPO_SAMPLER_NAMES(X) } grpo_sampler_correction;
typedef enum grpo_schedule { GRPO_SCHEDULE_NAMES(X) } grpo_schedule;
#undef X

/* Every option of the algorithms. Filled by grpo_algo_preset(), changed by field or by
 * grpo_algo_set(); one table (grpo_algo_options()) gives each field's config key, range and
 * help. Infinity means "off" for limits. */
typedef struct grpo_algo {
    /* advantages */
    grpo_estimator advantage;
    grpo_scale scale_rewards;   /* grpo, grpo_passk: the deviation is divided by std */
    int std_unbiased;           /* std with n - 1 (1) or n (0) */
    double advantage_epsilon;   /* deviation / (std + epsilon) */
    double variance_floor;      /* variance at least this */
    grpo_single group_of_one;
    double equal_tolerance;     /* rewards whose spread is below this share of their size count as
                                   equal before a division by their std */
    int whiten_advantages;      /* gae, reinforce_pp: mean 0, variance 1 over the valid tokens */
    int normalize_advantages;   /* row estimators: the same over the batch, with epsilon */
    double reward_clip_min, reward_clip_max;
    double gamma, lambda;
    double gpg_norm;
    int zero_tail;              /* token baselines: 0 beyond the second longest row */
    double token_baseline_epsilon;
    /* loss */
    grpo_loss_kind loss;
    grpo_ratio_level importance_sampling_level;
    double clip_epsilon_low, clip_epsilon_high;
    double dual_clip;           /* A < 0: loss at most -A c */
    double delta;               /* ratio at most delta, on the unclipped side */
    double log_ratio_min, log_ratio_max; /* log ratio clamped, no gradient outside */
    double sapo_temperature_pos, sapo_temperature_neg;
    double vespo_k_pos, vespo_lambda_pos, vespo_k_neg, vespo_lambda_neg;
    double clip_cov_ratio, clip_cov_lb, clip_cov_ub;
    double kl_cov_ratio, kl_cov_coef;
    double off_policy_threshold;   /* A < 0 rows with mean(old - logp) above this are dropped */
    double top_entropy_quantile;   /* 1 = all tokens; 0.2 = policy loss on the top fifth only */
    /* aggregation, over the global batch */
    grpo_aggregation loss_aggregation;
    double fixed_length;           /* L of fixed_length */
    int count_empty_rows;          /* rows without a valid token count in `rows` */
    double length_epsilon;         /* added to n_b where it divides (verl: 1e-8) */
    /* KL to the reference */
    double kl_coef;
    grpo_kl_place kl_place;
    grpo_kl_kind kl_estimator;
    int kl_straight_through;       /* value of kl_estimator, gradient of k2 */
    int kl_clamp;                  /* k3: d clamped to +-20, the result to +-10 (verl) */
    int kl_bias_correction;        /* times the ratio, gradient through both */
    grpo_aggregation kl_aggregation;
    grpo_kl_control kl_control;
    double kl_target, kl_horizon;
    /* entropy bonus: - entropy_coef * entropy */
    double entropy_coef;
    grpo_aggregation entropy_aggregation;
    /* samples of another engine */
    grpo_sampler_correction sampler_correction;
    double sampler_min, sampler_max;
    /* PPO's value network */
    double value_clip, value_coef;
    /* which completions enter: read by the trainer */
    int mask_truncated;            /* truncated answers lose their mask */
    int dynamic_sampling;          /* replace groups that are all right or all wrong */
    double dynamic_sampling_tries; /* at most this many refills a step */
    int drop_flat_groups;          /* no backward pass for groups without spread */
    double overlong_buffer;        /* soft punishment in the last L_cache tokens; 0 = off */
    double overlong_factor;
    /* a user's own estimator or loss: grpo_algo_load_library() */
    const struct grpo_algo_plugin *library;
} grpo_algo;

typedef enum grpo_option_type {
    GRPO_OPTION_BOOL,   /* int */
    GRPO_OPTION_NUMBER, /* double */
    GRPO_OPTION_CHOICE  /* an enum: index into choices */
} grpo_option_type;

typedef struct grpo_option {
    const char *key;
    grpo_option_type type;
    size_t offset;              /* of the field in grpo_algo */
    double min, max;            /* GRPO_OPTION_NUMBER */
    const char *const *choices; /* GRPO_OPTION_CHOICE; NULL-terminated */
    const char *help;
} grpo_option;

/* The table of all options, in the order of the struct. */
const grpo_option *grpo_algo_options(size_t *count);

/* Sets one option from text ("0.2", "inf", "true", "token_mean"); `clip_epsilon` sets both
 * clip_epsilon_low and _high. Unknown keys are errors that name the nearest one. */
grpo_status grpo_algo_set(grpo_algo *algo, const char *key, const char *value, grpo_error *err);

/* Writes option i's value as text that grpo_algo_set() reads back. */
void grpo_algo_get(const grpo_algo *algo, const grpo_option *option, char *text, size_t size);

/* Combinations that cannot work ("row_mean needs importance_sampling_level sequence ..."). */
grpo_status grpo_algo_validate(const grpo_algo *algo, grpo_error *err);

typedef struct grpo_preset {
    const char *name, *source, *summary;
    const char *const *settings; /* "key=value", NULL-terminated: differences from `spec` */
} grpo_preset;

/* All presets; the first one, `spec`, is the default. */
const grpo_preset *grpo_presets(size_t *count);

/* Fills all of `algo` with a preset's values. NULL is `spec`. */
grpo_status grpo_algo_preset(grpo_algo *algo, const char *name, grpo_error *err);

/* Loads an estimator or loss of the user (grpo/algo_plugin.h) and sets advantage or loss to
 * `library`. On failure algo is unchanged. A library stays loaded until the process ends. */
grpo_status grpo_algo_load_library(grpo_algo *algo, const char *path, grpo_error *err);

/* One row each of the tables that docs, help and config validation come from. */
typedef struct grpo_method {
    const char *name;     /* config value */
    const char *function; /* where it is computed */
    const char *source;   /* paper */
    const char *formula;
    const char *options;  /* keys it reads */
    int per_token;        /* estimators: result is per token */
} grpo_method;
const grpo_method *grpo_estimator_info(grpo_estimator estimator); /* below GRPO_ESTIMATOR_COUNT */
const grpo_method *grpo_loss_info(grpo_loss_kind kind);           /* below GRPO_LOSS_COUNT */

/* ---- advantages ------------------------------------------------------------------------- */

typedef struct grpo_advantage_batch {
    size_t rows;              /* B */
    const double *reward;     /* [B] NaN: missing (left out of every baseline, advantage 0) */
    size_t group_size;        /* contiguous groups; ignored when group is given */
    const int64_t *group;     /* [B] or NULL: equal ids form a group, anywhere in the batch */
    size_t parts;             /* reward functions; 0: reward is given */
    const double *part;       /* [B][parts] NaN: does not apply to the row */
    const double *part_weight;/* [parts] or NULL: all 1. Without reward, it is sum_k weight part */
    const double *reward_baseline; /* [B] remax: reward of the greedy answer */
    grpo_rows tokens;         /* token estimators, opo, reinforce_pp_baseline, KL in the reward */
    const double *token_reward;    /* [N] or NULL: the row's reward on its last valid token */
    const double *value;      /* [N] gae: V before each token */
    const double *old_logp;   /* [N] token baselines, KL in the reward */
    const double *ref_logp;   /* [N] KL in the reward */
    const double *sum_pi_squared;  /* [N] token baselines: sum over the vocabulary of p^2 */
    const double *is_weight;  /* [N] or NULL, token baselines */
} grpo_advantage_batch;

typedef struct grpo_advantages {
    /* caller's arrays */
    double *row;     /* [B] row estimators' result */
    double *token;   /* [N] token estimators' result; NULL allowed with row estimators */
    double *returns; /* [N] token estimators' returns, or NULL */
    double *reward;  /* [B] the rewards that were used (parts combined, clipped, KL taken off) */
    void *scratch;   /* grpo_advantage_scratch() bytes */
    /* results */
    int per_token;            /* 1: read token[], 0: read row[] */
    size_t groups;
    size_t missing;           /* rows without a reward */
    double flat_groups;       /* share of groups whose rewards have no spread, before the KL is taken off */
    double reward_mean, reward_std; /* over rows that have one, std with n - 1 */
    double reward_kl;         /* kl_place = reward: mean over rows of the row's mean KL */
} grpo_advantages;

/* Bytes of scratch for a batch of this shape (any estimator). */
size_t grpo_advantage_scratch(size_t rows, size_t tokens);

/* The estimator algo->advantage. Errors: missing inputs, wrong shapes, infinite rewards, and what
 * the estimator itself cannot do (whitening fewer than two tokens, pass@k of one). */
grpo_status compute_advantages(const grpo_algo *algo, const grpo_advantage_batch *batch,
                               grpo_advantages *out, grpo_error *err);

/* GAE over ragged rows, masked tokens skipped: where m_t = 1, run_t = r_t + gamma V_next - V_t +
 * gamma lambda run_next; where 0, run and V_next pass through unchanged. bootstrap: V after each
 * row's last token, NULL: 0. advantages = run, returns = run + values. Not whitened. */
void compute_gae(double *advantages, double *returns, /* [N] */ const grpo_rows *rows,
                 const double *rewards, const double *values, /* [N] */
                 const double *bootstrap /* [B] */, double gamma, double lambda);

/* Mean 0 (unless keep_mean) and variance 1 over the tokens with mask 1, (x - mean) / sqrt(var +
 * 1e-8), var with n - 1. Entries with mask 0 are transformed too, but enter no statistic. Error
 * when fewer than two tokens count. mean and variance may be NULL. */
grpo_status grpo_masked_whiten(double *out, const double *values, const unsigned char *mask,
                               size_t count, int keep_mean, double *mean, double *variance,
                               grpo_error *err);

/* ---- the loss --------------------------------------------------------------------------- */

typedef struct grpo_loss_batch {
    grpo_rows rows;
    const double *logp;         /* [N] of the policy that is trained */
    const double *old_logp;     /* [N]; NULL: on-policy, ratio 1 with the full gradient */
    const double *ref_logp;     /* [N]; needed when kl_coef != 0 and the KL is in the loss */
    const double *sampler_logp; /* [N] or NULL; off_policy_threshold measures from it if given */
    const double *entropy;      /* [N]; needed by entropy_coef and top_entropy_quantile */
    const double *advantage;    /* [B], or [N] with advantage_per_token */
    int advantage_per_token;
    const double *is_weight;    /* [N], or [B] with is_weight_per_row, or NULL (1): multiplies the
                                   policy loss, without gradient. 1 under mask 0 */
    int is_weight_per_row;
    /* Global batch, when this is only a part of it (0: this is all of it). Micro-batches and
     * ranks that give the same numbers get the same bits for each token. */
    double token_count;         /* valid tokens */
    double sequence_count;      /* rows (without empty ones if count_empty_rows is 0) */
    double entropy_token_count; /* tokens that the entropy bonus acts on (token_mean) */
    double scale;               /* multiplies loss and gradients; 0 means 1 */
    const size_t *permutation;  /* clip_cov: order in which candidates are dropped; NULL: as they
                                   stand. [permutation_count] indices of candidates */
    size_t permutation_count;
    const double *detached_logp;/* [N] or NULL: what "no gradient" terms see instead of logp. For
                                   finite differences of losses with stopped gradients */
} grpo_loss_batch;

/* Shares are of the valid tokens; of the rows where one ratio belongs to a row. */
typedef struct grpo_loss_metrics {
    double kl;                      /* mean over valid tokens of the KL term, without kl_coef */
    double entropy;                 /* mean over valid tokens */
    double approx_kl;               /* mean of old_logp - logp (kl_cov: of its absolute value) */
    double ratio_mean, ratio_min, ratio_max;
    double clip_low, clip_high;     /* clip active: ratio below and A < 0, above and A > 0 */
    double clip_low_min, clip_high_max; /* smallest and largest share of a row */
    double below_pos, below_neg, below_zero; /* outside the range at all, by the sign of A */
    double above_pos, above_neg, above_zero;
    double dual_clip;               /* capped by dual_clip */
    double dropped;                 /* taken out by clip_cov */
    double phi_mean;                /* vespo's weight, mean over rows (or tokens) */
    double kept_rows;               /* share of rows that off_policy_threshold keeps */
    size_t tokens, nonempty_rows;   /* valid tokens, rows that have one */
} grpo_loss_metrics;

typedef struct grpo_loss {
    /* caller's arrays */
    double *grad_logp;    /* [N] d loss / d logp, 0 under mask 0 */
    double *grad_entropy; /* [N] d loss / d entropy, or NULL */
    double *token_loss;   /* [N] policy loss before aggregation (row_mean: the row's), or NULL */
    double *ratio;        /* [N] or NULL; a row's ratio stands at each of its tokens */
    double *row_ratio;    /* [B] row ratios, or NULL */
    void *scratch;        /* grpo_loss_scratch() bytes */
    /* results */
    double loss;          /* policy_loss + kl_coef kl_loss - entropy_coef entropy_bonus */
    double policy_loss, kl_loss, entropy_bonus; /* the last two without their coefficients */
    grpo_loss_metrics metrics;
} grpo_loss;

size_t grpo_loss_scratch(size_t rows, size_t tokens);

/* 1.3  loss = -mean_b min(r_b A_b, clip(r_b, 1 - eps, 1 + eps) A_b) and its relatives, with the
 * gradient by every log-probability. With logp equal to old_logp bitwise every ratio is exactly
 * 1, nothing is clipped, and the KL to an equal reference is exactly 0. A tie between the clipped
 * and the plain term is not a clipped token. */
grpo_status compute_grpo_loss(const grpo_algo *algo, const grpo_loss_batch *batch, grpo_loss *out,
                              grpo_error *err);

/* sum_b weight_b sum_t m x: the value of an aggregation, and its gradient by x (grad may be
 * NULL). algo gives loss_aggregation, fixed_length, count_empty_rows. */
grpo_status grpo_aggregate_loss(const grpo_algo *algo, const grpo_rows *rows, const double *x,
                                double token_count, double sequence_count, double scale,
                                double *loss, double *grad, grpo_error *err);

/* ---- KL --------------------------------------------------------------------------------- */

typedef struct grpo_kl_value {
    double kl, grad; /* and d kl / d logp */
} grpo_kl_value;

/* One token's KL estimate. clamp: see kl_clamp. straight_through: gradient of k2. */
grpo_kl_value compute_kl_penalty(grpo_kl_kind kind, int straight_through, int clamp, double logp,
                                 double ref_logp);

/* KL in the reward: out = scores - kl_coef kl m, with algo's kl_estimator and kl_clamp;
 * *current_kl = mean over rows of each row's mean. */
void apply_kl_penalty(double *out, const grpo_algo *algo, const grpo_rows *rows,
                      const double *scores, const double *logp, const double *ref_logp,
                      double *current_kl);

/* Next coefficient. fixed: unchanged. adaptive: coef (1 + clip(kl / target - 1, +-0.2) rows /
 * horizon) (arXiv:1909.08593). */
double grpo_kl_controller(grpo_kl_control control, double coef, double current_kl, double target,
                          double horizon, double rows);

/* ---- samples of another engine ---------------------------------------------------------- */

/* weight[N] (or weight[B] for the sequence forms) from old - sampler log-probs; a NaN difference
 * (the sampler gave none) counts as 0. */
grpo_status grpo_sampler_weights(double *weight, grpo_sampler_correction kind, double min,
                                 double max, const grpo_rows *rows, const double *old_logp,
                                 const double *sampler_logp, grpo_error *err);

/* verl's form: exp(clamp(log_ratio, +-20)) per token or of the row's sum, times m, cut at
 * `threshold`, divided by their mean if `normalize`. */
typedef struct grpo_weight_metrics {
    double mean, max, min, effective_sample_size, norm_factor;
} grpo_weight_metrics;
grpo_status grpo_rollout_weights(double *weight /* [N] */, const grpo_rows *rows,
                                 const double *log_ratio /* [N] training - sampler */,
                                 int per_sequence, double threshold, int normalize,
                                 grpo_weight_metrics *metrics, grpo_error *err);

/* Rejection: options such as "token_k1,seq_mean_k3" (token | seq_sum | seq_mean | seq_max with k1
 * (not seq_max), k2, k3) and as many thresholds ("0.5_2,0.1"; one serves all). mask[N] receives m
 * without what any of them rejects. */
typedef struct grpo_rejection_metrics {
    double masked_fraction, seq_masked_fraction;
} grpo_rejection_metrics;
grpo_status grpo_rejection_mask(unsigned char *mask, const grpo_rows *rows, const double *log_ratio,
                                const char *options, const char *thresholds,
                                grpo_rejection_metrics *metrics, grpo_error *err);

/* ---- PPO's value network ---------------------------------------------------------------- */

/* 0.5 agg(max((v - R)^2, (clip(v, old - c, old + c) - R)^2)), aggregated like the loss (row_mean
 * as seq_mean_token_mean). grad[N] by value. */
grpo_status compute_value_loss(const grpo_algo *algo, const grpo_rows *rows, const double *value,
                               const double *old_value, const double *returns, double token_count,
                               double sequence_count, double *loss, double *grad,
                               double *clip_fraction, grpo_error *err);

/* ---- logits (one row of the vocabulary) ------------------------------------------------- */

typedef struct grpo_logit_stats {
    double logp, entropy, log_sum_sq; /* log p_label, -sum p log p, log sum p^2 */
    double log_z;                     /* log sum exp(logit / temperature) */
} grpo_logit_stats;
grpo_logit_stats grpo_logits_stats(const double *logits, size_t vocab, size_t label,
                                   double temperature);
/* grad[v] = grad_logp d logp / d logit_v + grad_entropy d entropy / d logit_v. */
void grpo_logits_gradient(double *grad, const double *logits, size_t vocab, size_t label,
                          double temperature, grpo_logit_stats stats, double grad_logp,
                          double grad_entropy);

/* ---- rewards ---------------------------------------------------------------------------- */

/* 0 up to max - buffer tokens, then falling by factor over the buffer; beyond max it stays at
 * -factor (DAPO, TRL) or falls on (`no_floor`: verl). */
double grpo_overlong_penalty(double length, double max, double buffer, double factor, int no_floor);

/* (1 - distinct n-grams / n-grams) * max_penalty; 0 for fewer than n tokens. scratch: count
 * indices. */
double grpo_repetition_penalty(const int64_t *ids, size_t count, size_t ngram, double max_penalty,
                               size_t *scratch);

/* Dynamic sampling: what a group's rewards say. Missing rewards (NaN) are skipped. */
typedef enum grpo_group_verdict {
    GRPO_GROUP_MIXED,
    GRPO_GROUP_ALL_RIGHT, /* equal, and at least `right` */
    GRPO_GROUP_ALL_WRONG, /* equal, and below `right` */
    GRPO_GROUP_UNSCORED   /* no reward at all */
} grpo_group_verdict;
grpo_group_verdict grpo_judge_group(const double *rewards, size_t count, double right,
                                    double tolerance);

/* ---- schedule --------------------------------------------------------------------------- */

/* Learning rate of 0-based step: base (step + 1) / warmup while step < warmup, then constant, or
 * falling to min_ratio * base at the last step, straight or as half a cosine. */
double grpo_learning_rate(grpo_schedule schedule, double base, size_t step, size_t warmup,
                          size_t total, double min_ratio);

/* ---- finite differences ----------------------------------------------------------------- */

/* Checks the gradient of every loss x ratio level x aggregation x KL form against central
 * differences on a small fixed batch. With `base` only its loss is checked, with its options;
 * NULL: all losses, with the options of `spec`. `report` (may be NULL) is called once a
 * combination. */
typedef struct grpo_check {
    size_t passed, failed;
    double worst; /* largest |difference| / max(1, |gradient|) */
} grpo_check;
typedef void grpo_check_report(void *context, const char *combination, double error, int passed);
void grpo_check_gradients(grpo_check *result, const grpo_algo *base, grpo_check_report *report,
                          void *context);

#ifdef __cplusplus
}
#endif
#endif
