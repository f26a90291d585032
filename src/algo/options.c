/* The table of all algorithm options: config key, field, range, help. Parsing, printing, range
 * checks, help and docs come from it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "algo/advantage.h"
#include "algo/loss_term.h"
#include "grpo/algo_plugin.h"

#define X(symbol, name) name,
static const char *const estimator_names[] = {GRPO_ESTIMATOR_NAMES(X) NULL};
static const char *const loss_names[] = {GRPO_LOSS_NAMES(X) NULL};
static const char *const scale_names[] = {GRPO_SCALE_NAMES(X) NULL};
static const char *const single_names[] = {GRPO_SINGLE_NAMES(X) NULL};
static const char *const ratio_names[] = {GRPO_RATIO_NAMES(X) NULL};
static const char *const aggregation_names[] = {GRPO_AGGREGATION_NAMES(X) NULL};
static const char *const kl_names[] = {GRPO_KL_NAMES(X) NULL};
static const char *const kl_place_names[] = {GRPO_KL_PLACE_NAMES(X) NULL};
static const char *const kl_control_names[] = {GRPO_KL_CONTROL_NAMES(X) NULL};
static const char *const sampler_names[] = {GRPO_SAMPLER_NAMES(X) NULL};
#undef X

_Static_assert(sizeof(grpo_estimator) == sizeof(int), "choices are read and written as int");

#define NUMBER(field, low, high, help)                                                             \
    {#field, GRPO_OPTION_NUMBER, offsetof(grpo_algo, field), low, high, NULL, help}
#define BOOL(field, help) {#field, GRPO_OPTION_BOOL, offsetof(grpo_algo, field), 0, 1, NULL, help}
#define CHOICE(key, field, names, help)                                                            \
    {key, GRPO_OPTION_CHOICE, offsetof(grpo_algo, field), 0, 0, names, help}
#define TINY 1e-300 /* positive */

static const grpo_option options[] = {
    CHOICE("advantage_estimator", advantage, estimator_names,
           "how rewards become advantages (docs/algorithms.md)"),
    CHOICE("scale_rewards", scale_rewards, scale_names,
           "grpo, grpo_passk: divide by the std of the group, of the batch, or by nothing"),
    BOOL(std_unbiased, "std with n - 1 instead of n"),
    NUMBER(advantage_epsilon, 0, 1, "added to the std"),
    NUMBER(variance_floor, 0, INFINITY, "variance raised to at least this"),
    CHOICE("group_of_one", group_of_one, single_names,
           "advantage of the only completion of a prompt: zero, or its reward (raw)"),
    NUMBER(equal_tolerance, 0, 1,
           "rewards that differ by less than this share of their size are equal"),
    BOOL(whiten_advantages, "gae, reinforce_pp: mean 0 and variance 1 over the batch's tokens"),
    BOOL(normalize_advantages, "mean 0 and std 1 over the batch's completions"),
    NUMBER(reward_clip_min, -INFINITY, INFINITY, "rewards are raised to this"),
    NUMBER(reward_clip_max, -INFINITY, INFINITY, "rewards are cut at this"),
    NUMBER(gamma, 0, 1, "discount of token rewards (gae, reinforce_pp)"),
    NUMBER(lambda, 0, 1, "GAE's lambda"),
    NUMBER(gpg_norm, TINY, INFINITY, "gpg: divisor"),
    BOOL(zero_tail, "token baselines: none beyond the second longest completion"),
    NUMBER(token_baseline_epsilon, 0, 1, "token baselines: added to the denominator"),
    CHOICE("loss", loss, loss_names, "policy loss (docs/algorithms.md)"),
    CHOICE("importance_sampling_level", importance_sampling_level, ratio_names,
           "probability ratio of the whole sequence, of its geometric mean, or of each token"),
    NUMBER(clip_epsilon_low, 0, INFINITY, "ratio clipped at 1 - this from below"),
    NUMBER(clip_epsilon_high, 0, INFINITY, "ratio clipped at 1 + this from above"),
    NUMBER(dual_clip, 1, INFINITY, "negative advantages: ratio counts at most this"),
    NUMBER(delta, 0, INFINITY, "the unclipped ratio counts at most this (two-sided clipping)"),
    NUMBER(log_ratio_min, -INFINITY, 0, "log ratio clamped from below, no gradient there"),
    NUMBER(log_ratio_max, 0, INFINITY, "log ratio clamped from above, no gradient there"),
    NUMBER(sapo_temperature_pos, TINY, INFINITY, "sapo: tau where the advantage is positive"),
    NUMBER(sapo_temperature_neg, TINY, INFINITY, "sapo: tau elsewhere"),
    NUMBER(vespo_k_pos, 0, INFINITY, "vespo: k where the advantage is not negative"),
    NUMBER(vespo_lambda_pos, 0, INFINITY, "vespo: lambda there"),
    NUMBER(vespo_k_neg, 0, INFINITY, "vespo: k where the advantage is negative"),
    NUMBER(vespo_lambda_neg, 0, INFINITY, "vespo: lambda there"),
    NUMBER(clip_cov_ratio, TINY, 1, "clip_cov: share of the tokens that is dropped"),
    NUMBER(clip_cov_lb, -INFINITY, INFINITY, "clip_cov: covariance above this"),
    NUMBER(clip_cov_ub, -INFINITY, INFINITY, "clip_cov: covariance below this"),
    NUMBER(kl_cov_ratio, TINY, 1, "kl_cov: share of the tokens that is penalised"),
    NUMBER(kl_cov_coef, 0, INFINITY, "kl_cov: weight of |log ratio|"),
    NUMBER(off_policy_threshold, 0, INFINITY,
           "completions with negative advantage whose mean log ratio drifted further are dropped"),
    NUMBER(top_entropy_quantile, 0, 1, "policy loss only on this share of the tokens, by entropy"),
    CHOICE("loss_aggregation", loss_aggregation, aggregation_names,
           "how token losses become one number"),
    NUMBER(fixed_length, TINY, INFINITY, "fixed_length: divisor of each completion"),
    BOOL(count_empty_rows, "completions without a valid token count in the mean over completions"),
    NUMBER(length_epsilon, 0, 1, "added to a completion's length where it divides (verl: 1e-8)"),
    NUMBER(kl_coef, 0, INFINITY, "weight of the KL to the reference model"),
    CHOICE("kl_place", kl_place, kl_place_names, "KL as a loss, or taken off the reward"),
    CHOICE("kl_estimator", kl_estimator, kl_names,
           "with d = logp - ref: k1 d, k2 d^2/2, k3 exp(-d) + d - 1, abs |d|"),
    BOOL(kl_straight_through, "value of kl_estimator, gradient of k2"),
    BOOL(kl_clamp, "k3: d clamped to +-20 and the result to +-10"),
    BOOL(kl_bias_correction, "KL times the probability ratio"),
    CHOICE("kl_aggregation", kl_aggregation, aggregation_names,
           "how the KL of the tokens becomes one number"),
    CHOICE("kl_control", kl_control, kl_control_names, "kl_coef stays, or follows kl_target"),
    NUMBER(kl_target, TINY, INFINITY, "adaptive: the KL wanted"),
    NUMBER(kl_horizon, TINY, INFINITY, "adaptive: completions over which kl_coef moves"),
    NUMBER(entropy_coef, -INFINITY, INFINITY, "weight of the entropy bonus"),
    CHOICE("entropy_aggregation", entropy_aggregation, aggregation_names,
           "how the entropies of the tokens become one number"),
    CHOICE("sampler_correction", sampler_correction, sampler_names,
           "importance weights for samples of another engine"),
    NUMBER(sampler_min, 0, INFINITY, "smallest importance weight"),
    NUMBER(sampler_max, TINY, INFINITY, "largest importance weight"),
    NUMBER(value_clip, 0, INFINITY, "ppo: value clipped to +-this around the old one"),
    NUMBER(value_coef, 0, INFINITY, "ppo: weight of the value loss"),
    BOOL(mask_truncated, "completions cut at the length limit do not count in the loss"),
    BOOL(dynamic_sampling, "groups that are all right or all wrong are replaced"),
    NUMBER(dynamic_sampling_tries, 0, 1e6, "at most this many refills a step"),
    BOOL(drop_flat_groups, "no backward pass for groups without spread; denominators stay"),
    NUMBER(overlong_buffer, 0, 1,
           "share of the longest completion in which length is punished (0 = off)"),
    NUMBER(overlong_factor, 0, INFINITY, "punishment at the end of that share"),
};

#define OPTION_COUNT (sizeof options / sizeof *options)

const grpo_option *grpo_algo_options(size_t *count)
{
    *count = OPTION_COUNT;
    return options;
}

/* ---- names ------------------------------------------------------------------------------ */

/* Levenshtein distance of short words. */
static size_t distance(const char *a, const char *b)
{
    size_t row[64], n = strlen(b);
    if (n >= 64)
        return 99;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; *a; a++, i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t replace = corner + (*a != b[j - 1]);
            corner = row[j];
            size_t insert = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = replace < insert ? replace : insert;
        }
    }
    return row[n];
}

static const char *nearest_key(const char *key)
{
    const char *best = options[0].key;
    for (size_t i = 1; i < OPTION_COUNT; i++)
        if (distance(key, options[i].key) < distance(key, best))
            best = options[i].key;
    return best;
}

static const grpo_option *find_option(const char *key)
{
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (strcmp(key, options[i].key) == 0)
            return &options[i];
    return NULL;
}

/* "a, b or c" */
static void list_choices(const char *const *choices, char *text, size_t size)
{
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; choices[i] && used < size; i++) {
        const char *joint = i == 0 ? "" : choices[i + 1] ? ", " : " or ";
        int n = snprintf(text + used, size - used, "%s%s", joint, choices[i]);
        used += n > 0 ? (size_t)n : 0;
    }
}

/* ---- set and get ------------------------------------------------------------------------ */

static grpo_status set_number(grpo_algo *algo, const grpo_option *o, const char *text,
                              grpo_error *err)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || isnan(value))
        return grpo_fail(err, GRPO_ERR_CONFIG, "%s: '%s' is not a number", o->key, text);
    if (value < o->min || value > o->max)
        return grpo_fail(err, GRPO_ERR_CONFIG, "%s: %g is outside %g to %g", o->key, value,
                         o->min == TINY ? 0 : o->min, o->max);
    memcpy((char *)algo + o->offset, &value, sizeof value);
    return GRPO_OK;
}

static grpo_status set_bool(grpo_algo *algo, const grpo_option *o, const char *text,
                            grpo_error *err)
{
    int value = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
    if (!value && strcmp(text, "false") != 0 && strcmp(text, "0") != 0)
        return grpo_fail(err, GRPO_ERR_CONFIG, "%s: '%s' is not true or false", o->key, text);
    memcpy((char *)algo + o->offset, &value, sizeof value);
    return GRPO_OK;
}

static grpo_status set_choice(grpo_algo *algo, const grpo_option *o, const char *text,
                              grpo_error *err)
{
    for (int i = 0; o->choices[i]; i++)
        if (strcmp(text, o->choices[i]) == 0) {
            memcpy((char *)algo + o->offset, &i, sizeof i);
            return GRPO_OK;
        }
    char list[512];
    list_choices(o->choices, list, sizeof list);
    return grpo_fail(err, GRPO_ERR_CONFIG, "%s: '%s' is not one of %s", o->key, text, list);
}

grpo_status grpo_algo_set(grpo_algo *algo, const char *key, const char *value, grpo_error *err)
{
    if (strcmp(key, "clip_epsilon") == 0) {
        grpo_status status = grpo_algo_set(algo, "clip_epsilon_low", value, err);
        return status != GRPO_OK ? status : grpo_algo_set(algo, "clip_epsilon_high", value, err);
    }
    const grpo_option *o = find_option(key);
    if (!o)
        return grpo_fail(err, GRPO_ERR_CONFIG, "there is no algorithm option '%s'; the nearest is %s",
                         key, nearest_key(key));
    switch (o->type) {
    case GRPO_OPTION_BOOL:
        return set_bool(algo, o, value, err);
    case GRPO_OPTION_NUMBER:
        return set_number(algo, o, value, err);
    default:
        return set_choice(algo, o, value, err);
    }
}

void grpo_algo_get(const grpo_algo *algo, const grpo_option *o, char *text, size_t size)
{
    const char *field = (const char *)algo + o->offset;
    if (o->type == GRPO_OPTION_NUMBER) {
        double value;
        memcpy(&value, field, sizeof value);
        for (int digits = 6; digits <= 17; digits += digits < 15 ? 9 : 2) { /* shortest exact */
            snprintf(text, size, "%.*g", digits, value);
            if (strtod(text, NULL) == value)
                return;
        }
        return;
    }
    int value;
    memcpy(&value, field, sizeof value);
    snprintf(text, size, "%s",
             o->type == GRPO_OPTION_CHOICE ? o->choices[value] : value ? "true" : "false");
}

/* ---- combinations ----------------------------------------------------------------------- */

static grpo_status need(int fine, grpo_error *err, const char *message)
{
    return fine ? GRPO_OK : grpo_fail(err, GRPO_ERR_CONFIG, "%s", message);
}

grpo_status grpo_algo_validate(const grpo_algo *a, grpo_error *err)
{
    int whole = a->loss_aggregation == GRPO_AGG_ROW_MEAN, gmpo = a->loss == GRPO_LOSS_GMPO;
    int row_ratio = a->importance_sampling_level == GRPO_RATIO_SEQUENCE ||
                    a->importance_sampling_level == GRPO_RATIO_SEQUENCE_MEAN;
    int covariance = a->loss == GRPO_LOSS_CLIP_COV || a->loss == GRPO_LOSS_KL_COV;
    const struct {
        int fine;
        const char *message;
    } rules[] = {
        {a->advantage != GRPO_ADV_LIBRARY || (a->library && a->library->advantages),
         "advantage_estimator library needs an algorithm_library with an estimator"},
        {a->loss != GRPO_LOSS_LIBRARY || (a->library && a->library->loss),
         "loss library needs an algorithm_library with a loss"},
        {a->loss_aggregation != GRPO_AGG_SAME, "loss_aggregation cannot be 'same'"},
        {!whole || row_ratio || gmpo,
         "loss_aggregation row_mean needs one ratio a completion: importance_sampling_level "
         "sequence or sequence_mean"},
        {whole || !gmpo, "loss gmpo needs loss_aggregation row_mean"},
        {!whole || gmpo || !(a->top_entropy_quantile < 1),
         "top_entropy_quantile needs a loss_aggregation over tokens"},
        {!whole || !covariance, "clip_cov and kl_cov need a loss_aggregation over tokens"},
        {!gmpo || !a->kl_bias_correction, "kl_bias_correction is not defined for gmpo"},
        {a->kl_aggregation != GRPO_AGG_ROW_MEAN && a->entropy_aggregation != GRPO_AGG_ROW_MEAN,
         "kl_aggregation and entropy_aggregation are over tokens, not row_mean"},
        {a->sampler_min <= a->sampler_max, "sampler_min is above sampler_max"},
        {a->reward_clip_min <= a->reward_clip_max, "reward_clip_min is above reward_clip_max"},
    };
    grpo_status status = GRPO_OK;
    for (size_t i = 0; i < sizeof rules / sizeof *rules && status == GRPO_OK; i++)
        status = need(rules[i].fine, err, rules[i].message);
    return status;
}
