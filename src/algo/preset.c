/* Presets: what each algorithm's paper sets, as differences from `spec`. And the public view of
 * the estimator and loss tables. */
#include <stdio.h>
#include <string.h>

#include "algo/advantage.h"
#include "algo/loss_term.h"

#define SETTINGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static const grpo_preset presets[] = {
    {"spec", "the specification (reference/grpo-from-formula-to-code.md)",
     "A = R - mean(R), one ratio a completion, clip 0.2, mean over completions",
     (const char *const[]){NULL}},
    {"drgrpo", "Dr. GRPO, arXiv:2503.20783",
     "A = R - mean(R), token ratio, clip 0.2, token sums over a fixed length",
     SETTINGS("importance_sampling_level=token", "loss_aggregation=fixed_length")},
    {"grpo", "DeepSeekMath, arXiv:2402.03300",
     "A = (R - mean) / std, token ratio, clip 0.2, mean over tokens then completions, KL k3 0.04",
     SETTINGS("advantage_estimator=grpo", "importance_sampling_level=token",
              "loss_aggregation=seq_mean_token_mean", "kl_coef=0.04")},
    {"dapo", "DAPO, arXiv:2503.14476",
     "grpo without KL, clip 0.2 / 0.28, mean over tokens, dynamic sampling, overlong punishment",
     SETTINGS("advantage_estimator=grpo", "importance_sampling_level=token",
              "clip_epsilon_high=0.28", "loss_aggregation=token_mean", "dynamic_sampling=true",
              "overlong_buffer=0.2")},
    {"gspo", "GSPO, arXiv:2507.18071",
     "A = (R - mean) / std, length-normalised sequence ratio, clip 3e-4 / 4e-4",
     SETTINGS("advantage_estimator=grpo", "importance_sampling_level=sequence_mean",
              "clip_epsilon_low=3e-4", "clip_epsilon_high=4e-4")},
    {"cispo", "MiniMax-M1, arXiv:2506.13585; cap of 5 from ScaleRL, arXiv:2510.13786",
     "A = (R - mean) / std, -sg[min(r, 5)] A logp, mean over tokens",
     SETTINGS("advantage_estimator=grpo", "loss=cispo", "importance_sampling_level=token",
              "clip_epsilon_low=inf", "clip_epsilon_high=4", "loss_aggregation=token_mean")},
    {"rloo", "RLOO, arXiv:2402.14740", "A = R - mean of the others, sequence ratio, KL k1 in the reward",
     SETTINGS("advantage_estimator=rloo", "kl_coef=0.05", "kl_place=reward", "kl_estimator=k1")},
    {"reinforce_pp", "REINFORCE++, arXiv:2501.03262",
     "reward-to-go whitened over the batch, token ratio, KL k1 in the reward",
     SETTINGS("advantage_estimator=reinforce_pp", "importance_sampling_level=token",
              "loss_aggregation=token_mean", "kl_coef=0.01", "kl_place=reward", "kl_estimator=k1")},
    {"ppo", "PPO, arXiv:1707.06347; GAE, arXiv:1506.02438",
     "GAE with a value network, token ratio, clip 0.2, KL k1 in the reward",
     SETTINGS("advantage_estimator=gae", "importance_sampling_level=token",
              "loss_aggregation=token_mean", "kl_coef=0.05", "kl_place=reward",
              "kl_estimator=k1")},
    {"bnpo", "TRL's loss_type bnpo",
     "grpo without KL, mean over the tokens of the batch",
     SETTINGS("advantage_estimator=grpo", "importance_sampling_level=token",
              "loss_aggregation=token_mean")},
    {"luspo", "LUSPO, arXiv:2602.05261", "gspo with every completion's loss times its length",
     SETTINGS("advantage_estimator=grpo", "importance_sampling_level=sequence_mean",
              "clip_epsilon_low=3e-4", "clip_epsilon_high=4e-4",
              "loss_aggregation=seq_mean_token_sum")},
    {"gmpo", "GMPO, arXiv:2507.20673", "geometric mean of clipped token ratios, clip exp(+-0.4)",
     SETTINGS("advantage_estimator=grpo", "loss=gmpo", "clip_epsilon_low=0.4",
              "clip_epsilon_high=0.4")},
    {"sapo", "SAPO, arXiv:2511.20347", "a sigmoid gate on the token ratio instead of clipping",
     SETTINGS("advantage_estimator=grpo", "loss=sapo", "importance_sampling_level=token",
              "loss_aggregation=seq_mean_token_mean")},
    {"vespo", "VESPO, arXiv:2602.10693", "a gamma-shaped weight of the sequence ratio",
     SETTINGS("advantage_estimator=grpo", "loss=vespo", "importance_sampling_level=token",
              "loss_aggregation=token_mean")},
    {"clip_cov", "arXiv:2505.22617", "grpo that drops a few tokens of high covariance",
     SETTINGS("advantage_estimator=grpo", "loss=clip_cov", "importance_sampling_level=token",
              "clip_epsilon=1", "loss_aggregation=token_mean")},
    {"kl_cov", "arXiv:2505.22617", "grpo that penalises the tokens of highest covariance",
     SETTINGS("advantage_estimator=grpo", "loss=kl_cov", "importance_sampling_level=token",
              "loss_aggregation=token_mean")},
    {"gpg", "GPG, arXiv:2504.02546", "-A logp without ratio, KL or clipping",
     SETTINGS("advantage_estimator=gpg", "loss=reinforce", "importance_sampling_level=token",
              "loss_aggregation=token_mean")},
    {"opo", "OPO, arXiv:2505.23585", "length-weighted baseline, exactly on-policy",
     SETTINGS("advantage_estimator=opo", "importance_sampling_level=token",
              "loss_aggregation=token_mean")},
    {"remax", "ReMax, arXiv:2310.10505", "baseline is the reward of the greedy answer",
     SETTINGS("advantage_estimator=remax", "loss=reinforce", "importance_sampling_level=token",
              "loss_aggregation=seq_mean_token_sum")},
};

#define PRESET_COUNT (sizeof presets / sizeof *presets)

/* The specification's formulas; everything it does not mention is off or neutral. */
static const grpo_algo spec = {
    .advantage = GRPO_ADV_DRGRPO,
    .scale_rewards = GRPO_SCALE_GROUP,
    .std_unbiased = 1,
    .advantage_epsilon = 1e-6,
    .group_of_one = GRPO_SINGLE_ZERO,
    .equal_tolerance = 4.76837158203125e-7, /* four float32 roundings */
    .whiten_advantages = 1,
    .reward_clip_min = -INFINITY,
    .reward_clip_max = INFINITY,
    .gamma = 1,
    .lambda = 0.95,
    .gpg_norm = 1,
    .token_baseline_epsilon = 1e-8,
    .loss = GRPO_LOSS_CLIP,
    .importance_sampling_level = GRPO_RATIO_SEQUENCE,
    .clip_epsilon_low = 0.2,
    .clip_epsilon_high = 0.2,
    .dual_clip = INFINITY,
    .delta = INFINITY,
    .log_ratio_min = -INFINITY,
    .log_ratio_max = INFINITY,
    .sapo_temperature_pos = 1,
    .sapo_temperature_neg = 1.05,
    .vespo_k_pos = 2,
    .vespo_lambda_pos = 3,
    .vespo_k_neg = 3,
    .vespo_lambda_neg = 2,
    .clip_cov_ratio = 2e-4,
    .clip_cov_lb = 1,
    .clip_cov_ub = 5,
    .kl_cov_ratio = 2e-4,
    .kl_cov_coef = 1,
    .off_policy_threshold = INFINITY,
    .top_entropy_quantile = 1,
    .loss_aggregation = GRPO_AGG_ROW_MEAN,
    .fixed_length = 1024,
    .count_empty_rows = 1,
    .kl_place = GRPO_KL_IN_LOSS,
    .kl_estimator = GRPO_KL_K3,
    .kl_aggregation = GRPO_AGG_SAME,
    .kl_control = GRPO_KL_FIXED,
    .kl_target = 6,
    .kl_horizon = 10000,
    .entropy_aggregation = GRPO_AGG_SAME,
    .sampler_correction = GRPO_SAMPLER_NONE,
    .sampler_max = INFINITY,
    .value_clip = 0.2,
    .value_coef = 0.1,
    .dynamic_sampling_tries = 10,
    .overlong_factor = 1,
};

const grpo_preset *grpo_presets(size_t *count)
{
    *count = PRESET_COUNT;
    return presets;
}

static const grpo_preset *find_preset(const char *name)
{
    for (size_t i = 0; i < PRESET_COUNT; i++)
        if (strcmp(name, presets[i].name) == 0)
            return &presets[i];
    return NULL;
}

static grpo_status unknown_preset(const char *name, grpo_error *err)
{
    char list[512];
    size_t used = 0;
    for (size_t i = 0; i < PRESET_COUNT; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "",
                                 presets[i].name);
    return grpo_fail(err, GRPO_ERR_CONFIG, "algorithm: '%s' is not one of %s", name, list);
}

grpo_status grpo_algo_preset(grpo_algo *algo, const char *name, grpo_error *err)
{
    const grpo_preset *preset = find_preset(name ? name : "spec");
    if (!preset)
        return unknown_preset(name, err);
    grpo_algo filled = spec;
    for (size_t i = 0; preset->settings[i]; i++) {
        char key[64];
        const char *value = strchr(preset->settings[i], '=');
        snprintf(key, sizeof key, "%.*s", (int)(value - preset->settings[i]), preset->settings[i]);
        grpo_status status = grpo_algo_set(&filled, key, value + 1, err);
        if (status != GRPO_OK)
            return status;
    }
    *algo = filled;
    return GRPO_OK;
}

/* ---- tables for docs and help ----------------------------------------------------------- */

const grpo_method *grpo_estimator_info(grpo_estimator estimator)
{
    return &advantage_method_of(estimator)->about;
}

const grpo_method *grpo_loss_info(grpo_loss_kind kind)
{
    return &loss_method_of(kind)->about;
}
