/* Shared by the loss cases, and the table from `function` names to functions. */
#include <string.h>

#include "cli/algo_loss_case.h"

static const struct {
    const char *name; /* the end of a case's `function` */
    algo_function *run;
} functions[] = {
    {"A = R - mean(R) over contiguous groups of G", seed_advantages},
    {"clipped surrogate on the sequence ratio", seed_loss},
    {"clipped surrogate on the sequence ratio + kl_coef * KL", seed_loss},
    {"clipped surrogate from logits", seed_loss_from_logits},
    {"GAE", seed_gae},
    {"compute_grpo_outcome_advantage", verl_grpo},
    {"compute_grpo_vectorized_outcome_advantage", verl_grpo_vectorized},
    {"compute_rloo_outcome_advantage", verl_rloo},
    {"compute_rloo_vectorized_outcome_advantage", verl_rloo_vectorized},
    {"compute_grpo_passk_outcome_advantage", verl_passk},
    {"compute_opo_outcome_advantage", verl_opo},
    {"compute_gpg_outcome_advantage", verl_gpg},
    {"compute_reinforce_plus_plus_outcome_advantage", verl_reinforce_pp},
    {"compute_reinforce_plus_plus_baseline_outcome_advantage", verl_reinforce_pp_baseline},
    {"compute_remax_outcome_advantage", verl_remax},
    {"compute_optimal_token_baseline_advantage", verl_token_baseline},
    {"compute_multi_turn_optimal_token_baseline_advantage", verl_turn_token_baseline},
    {"compute_gae_advantage_return", verl_gae},
    {"masked_whiten", verl_whiten},
    {"compute_policy_loss_vanilla", verl_vanilla},
    {"compute_policy_loss_gspo", verl_gspo},
    {"compute_policy_loss_sapo", verl_sapo},
    {"compute_policy_loss_gpg", verl_gpg_loss},
    {"compute_policy_loss_clip_cov", verl_clip_cov},
    {"compute_policy_loss_kl_cov", verl_kl_cov},
    {"compute_policy_loss_geo_mean", verl_geo_mean},
    {"compute_policy_loss_cispo", verl_cispo},
    {"compute_policy_loss_reinforce", verl_reinforce},
    {"compute_policy_loss_bypass_mode", verl_bypass},
    {"agg_loss", verl_agg_loss},
    {"ppo_loss", verl_ppo_loss},
    {"kl_penalty", verl_kl_penalty},
    {"compute_rewards", verl_compute_rewards},
    {"apply_kl_penalty", verl_apply_kl_penalty},
    {"compute_value_loss", verl_value_loss},
    {"compute_entropy_loss", verl_entropy_loss},
    {"logprobs_from_logits", verl_logprobs},
    {"compute_rollout_correction_weights", verl_rollout_weights},
    {"compute_rollout_rejection_mask", verl_rejection_mask},
    {"DAPORewardManager.__call__", verl_overlong},
    {"GRPOTrainer._generate_and_score_completions", trl_grpo_advantages},
    {"RLOOTrainer._generate_and_score_completions", trl_rloo_advantages},
    {"GRPOTrainer._compute_loss", trl_grpo_loss},
    {"RLOOTrainer._compute_loss", trl_rloo_loss},
    {"GMPOTrainer._compute_loss", trl_gmpo_loss},
    {"ChunkedLogProbFunction", trl_fused_head},
    {"get_soft_overlong_punishment", trl_overlong},
    {"get_repetition_penalty_reward", trl_repetition},
};

/* "module.name" or "seed: name". */
static int names(const char *function, const char *name)
{
    size_t length = strlen(function), tail = strlen(name);
    if (tail > length || strcmp(function + length - tail, name) != 0)
        return 0;
    return length == tail || function[length - tail - 1] == '.' ||
           strncmp(function, "seed: ", length - tail) == 0;
}

void algo_case_run(algo_case *c, const char *function)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (names(function, functions[i].name)) {
            functions[i].run(c);
            return;
        }
    case_malformed(c, "there is no function '%s'", function);
}

/* ---- losses ----------------------------------------------------------------------------- */

loss_case loss_case_of(algo_case *c, const matrix *mask)
{
    size_t tokens = mask->rows * mask->cols;
    loss_case l = {.c = c, .like = *mask};
    grpo_algo_preset(&l.algo, "spec", NULL);
    l.in.rows = case_rows(c, mask);
    l.out.grad_logp = case_doubles(c, tokens);
    l.out.grad_entropy = case_doubles(c, tokens);
    l.out.row_ratio = case_doubles(c, mask->rows);
    l.out.scratch = case_bytes(c, grpo_loss_scratch(mask->rows, tokens));
    return l;
}

void loss_case_advantages(loss_case *l, const char *name)
{
    json_t *value = json_object_get(l->c->inputs, name);
    int per_token = json_is_array(json_array_get(value, 0));
    matrix advantages = case_input(l->c, name, per_token ? 2 : 1);
    case_expect_shape(l->c, name, &advantages, l->like.rows, per_token ? l->like.cols : 1);
    l->in.advantage = advantages.x;
    l->in.advantage_per_token = per_token;
}

void loss_case_run(loss_case *l)
{
    if (!case_failed(l->c))
        l->c->status = compute_grpo_loss(&l->algo, &l->in, &l->out, &l->c->err);
}

void loss_case_put(const loss_case *l, const char *key, const double *x)
{
    case_put_matrix(l->c, key, x, l->like.rows, l->like.cols);
}
