/* verl's advantage estimators, in terms of compute_advantages(). */
#include <string.h>

#include "cli/algo_loss_case.h"

typedef struct advantage_case {
    algo_case *c;
    matrix rewards; /* [B][T] token level */
    grpo_algo algo;
    grpo_advantage_batch in;
    grpo_advantages out;
} advantage_case;

/* Row scores are the unmasked sums of the token rewards; verl's group of one keeps its score. */
static advantage_case begin(algo_case *c, grpo_estimator estimator, int grouped)
{
    advantage_case a = {.c = c, .rewards = case_input(c, "token_level_rewards", 2)};
    matrix mask = case_tokens(c, "response_mask", &a.rewards);
    size_t rows = a.rewards.rows, tokens = rows * a.rewards.cols;
    grpo_algo_preset(&a.algo, "spec", NULL);
    a.algo.advantage = estimator;
    a.algo.group_of_one = GRPO_SINGLE_RAW;
    a.algo.equal_tolerance = 0;
    a.algo.advantage_epsilon = case_number(c, "epsilon", 1e-6);
    a.algo.gamma = case_number(c, "gamma", 1);
    a.algo.lambda = case_number(c, "lam", 1);
    a.in.rows = rows;
    a.in.group_size = 1;
    a.in.group = grouped ? case_groups(c, "index", rows) : NULL;
    a.in.tokens = case_rows(c, &mask);
    a.in.token_reward = a.rewards.x;
    double *score = case_doubles(c, rows);
    for (size_t t = 0; !case_failed(c) && t < tokens; t++)
        score[t / a.rewards.cols] += a.rewards.x[t];
    a.in.reward = score;
    a.out.row = case_doubles(c, rows);
    a.out.reward = case_doubles(c, rows);
    a.out.token = case_doubles(c, tokens);
    a.out.returns = case_doubles(c, tokens);
    a.out.scratch = case_bytes(c, grpo_advantage_scratch(rows, tokens));
    return a;
}

static void put(const advantage_case *a, const char *key, const double *x)
{
    case_put_matrix(a->c, key, x, a->rewards.rows, a->rewards.cols);
}

static int run(advantage_case *a)
{
    if (!case_failed(a->c))
        a->c->status = compute_advantages(&a->algo, &a->in, &a->out, &a->c->err);
    return !case_failed(a->c);
}

/* A row's advantage on each of its valid tokens; verl returns it as `returns` too. */
static void finish_rows(advantage_case *a)
{
    if (!run(a))
        return;
    for (size_t t = 0; t < a->rewards.rows * a->rewards.cols; t++)
        a->out.token[t] = a->in.tokens.mask[t] ? a->out.row[t / a->rewards.cols] : 0;
    put(a, "advantages", a->out.token);
    put(a, "returns", a->out.token);
}

static void finish_tokens(advantage_case *a)
{
    if (!run(a))
        return;
    put(a, "advantages", a->out.token);
    put(a, "returns", a->out.returns);
}

static grpo_scale scale_of(algo_case *c)
{
    return case_flag(c, "norm_adv_by_std_in_grpo", 1) ? GRPO_SCALE_GROUP : GRPO_SCALE_NONE;
}

void verl_grpo(algo_case *c)
{
    advantage_case a = begin(c, GRPO_ADV_GRPO, 1);
    a.algo.scale_rewards = scale_of(c);
    finish_rows(&a);
}

void verl_grpo_vectorized(algo_case *c)
{
    advantage_case a = begin(c, GRPO_ADV_GRPO, 1);
    a.algo.scale_rewards = scale_of(c);
    a.algo.variance_floor = a.algo.advantage_epsilon;
    finish_rows(&a);
}

void verl_passk(algo_case *c)
{
    advantage_case a = begin(c, GRPO_ADV_PASSK, 1);
    a.algo.scale_rewards = scale_of(c);
    finish_rows(&a);
}

void verl_rloo(algo_case *c)
{
    advantage_case a = begin(c, GRPO_ADV_RLOO, 1);
    finish_rows(&a);
}

void verl_rloo_vectorized(algo_case *c)
{
    advantage_case a = begin(c, GRPO_ADV_RLOO, 1);
    a.algo.group_of_one = GRPO_SINGLE_ZERO;
    finish_rows(&a);
}

void verl_opo(algo_case *c)
{
    advantage_case a = begin(c, GRPO_ADV_OPO, 1);
    finish_rows(&a);
}

void verl_gpg(algo_case *c)
{
    advantage_case a = begin(c, GRPO_ADV_GPG, 1);
    a.algo.gpg_norm = case_number(c, "f_norm", 1);
    finish_rows(&a);
}

void verl_reinforce_pp_baseline(algo_case *c)
{
    advantage_case a = begin(c, GRPO_ADV_REINFORCE_PP_BASELINE, 1);
    finish_rows(&a);
}

void verl_reinforce_pp(algo_case *c)
{
    advantage_case a = begin(c, GRPO_ADV_REINFORCE_PP, 0);
    finish_tokens(&a);
}

void verl_remax(algo_case *c)
{
    advantage_case a = begin(c, GRPO_ADV_REMAX, 0);
    matrix baseline = case_input(c, "reward_baselines", 1);
    case_expect_shape(c, "reward_baselines", &baseline, a.rewards.rows, 1);
    a.in.reward_baseline = baseline.x;
    finish_tokens(&a);
}

static void token_baseline(algo_case *c, grpo_estimator estimator, int zero_tail)
{
    advantage_case a = begin(c, estimator, 1);
    a.in.old_logp = case_tokens(c, "old_log_probs", &a.rewards).x;
    a.in.sum_pi_squared = case_tokens(c, "sum_pi_squared", &a.rewards).x;
    a.in.is_weight = case_optional_tokens(c, "rollout_is_weights", &a.rewards).x;
    a.algo.zero_tail = case_flag(c, "handle_zero_tail", zero_tail);
    a.algo.token_baseline_epsilon = case_number(c, "epsilon", 1e-8);
    finish_tokens(&a);
}

void verl_token_baseline(algo_case *c)
{
    token_baseline(c, GRPO_ADV_TOKEN_BASELINE, 0);
}

void verl_turn_token_baseline(algo_case *c)
{
    token_baseline(c, GRPO_ADV_TURN_TOKEN_BASELINE, 1);
}

void verl_gae(algo_case *c)
{
    advantage_case a = begin(c, GRPO_ADV_GAE, 0);
    a.in.value = case_tokens(c, "values", &a.rewards).x;
    a.algo.whiten_advantages = 0;
    if (!run(&a))
        return;
    put(&a, "advantages_before_whitening", a.out.token);
    put(&a, "returns", a.out.returns);
    a.algo.whiten_advantages = 1;
    if (run(&a))
        put(&a, "advantages", a.out.token);
}

void verl_whiten(algo_case *c)
{
    matrix values = case_input(c, "values", 2), mask = case_tokens(c, "mask", &values);
    size_t count = values.rows * values.cols;
    grpo_rows rows = case_rows(c, &mask);
    double *out = case_doubles(c, count), mean, variance;
    int keep_mean = !case_flag(c, "shift_mean", 1);
    if (!case_failed(c))
        c->status = grpo_masked_whiten(out, values.x, rows.mask, count, keep_mean, &mean, &variance,
                                       &c->err);
    if (case_failed(c))
        return;
    case_put(c, "masked_mean", mean);
    case_put(c, "masked_var", variance);
    case_put_matrix(c, "whitened", out, values.rows, values.cols);
}
