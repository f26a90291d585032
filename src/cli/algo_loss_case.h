/* What the loss functions of all three references share: arrays for compute_grpo_loss() carved
 * from a case. */
#ifndef CLI_ALGO_LOSS_CASE_H
#define CLI_ALGO_LOSS_CASE_H

#include "cli/algo_case.h"

typedef struct loss_case {
    algo_case *c;
    matrix like; /* [B][T] */
    grpo_algo algo;
    grpo_loss_batch in;
    grpo_loss out;
} loss_case;

/* Rows from the mask, preset `spec`, output arrays. */
loss_case loss_case_of(algo_case *c, const matrix *mask);
/* advantages [B] or [B][T]. */
void loss_case_advantages(loss_case *l, const char *name);
/* compute_grpo_loss(); its error becomes the case's. */
void loss_case_run(loss_case *l);
void loss_case_put(const loss_case *l, const char *key, const double *x); /* a [B][T] result */

/* One function for each `function` of the files. */
algo_function seed_advantages, seed_loss, seed_loss_from_logits, seed_gae;
algo_function verl_grpo, verl_grpo_vectorized, verl_rloo, verl_rloo_vectorized, verl_passk,
    verl_opo, verl_gpg, verl_reinforce_pp, verl_reinforce_pp_baseline, verl_remax,
    verl_token_baseline, verl_turn_token_baseline, verl_gae, verl_whiten;
algo_function verl_vanilla, verl_gspo, verl_sapo, verl_gpg_loss, verl_clip_cov, verl_kl_cov,
    verl_geo_mean, verl_cispo, verl_reinforce, verl_bypass, verl_agg_loss, verl_ppo_loss;
algo_function verl_kl_penalty, verl_compute_rewards, verl_apply_kl_penalty, verl_value_loss,
    verl_entropy_loss, verl_logprobs, verl_rollout_weights, verl_rejection_mask, verl_overlong;
algo_function trl_grpo_advantages, trl_rloo_advantages, trl_grpo_loss, trl_rloo_loss,
    trl_gmpo_loss, trl_fused_head, trl_overlong, trl_repetition;

#endif
