/* The specification's formulas on the cases of seed.json. */
#include <string.h>

#include "cli/algo_loss_case.h"

static double *advantages_of(algo_case *c, const matrix *rewards)
{
    double *advantages = case_doubles(c, rewards->rows);
    double size = case_number(c, "group_size", 0);
    if (!(size >= 1))
        case_malformed(c, "params.group_size must be at least 1");
    if (!case_failed(c))
        c->status = compute_grpo_advantages(advantages, rewards->x, rewards->rows, (size_t)size,
                                            &c->err);
    return advantages;
}

void seed_advantages(algo_case *c)
{
    matrix rewards = case_input(c, "rewards", 1);
    double *advantages = advantages_of(c, &rewards);
    if (!case_failed(c))
        case_put_array(c, "advantages", advantages, rewards.rows);
}

/* kl_coef * KL in one of the readings that params name. */
static void set_kl(loss_case *l)
{
    algo_case *c = l->c;
    const char *reduction = case_text(c, "kl_reduction", "sequence_sum_mean");
    l->algo.kl_coef = case_number(c, "kl_coef", 0);
    l->algo.kl_aggregation = strcmp(reduction, "token_mean") == 0 ? GRPO_AGG_TOKEN_MEAN
                                                                  : GRPO_AGG_SEQ_MEAN_TOKEN_SUM;
    if (strcmp(reduction, "token_mean") != 0 && strcmp(reduction, "sequence_sum_mean") != 0)
        case_malformed(c, "params.kl_reduction '%s' is neither sequence_sum_mean nor token_mean",
                       reduction);
    const char *estimator = case_text(c, "kl_estimator", "k3");
    if (!case_failed(c))
        c->status = grpo_algo_set(&l->algo, "kl_estimator", estimator, &c->err);
}

/* Everything but the log-probabilities, which come from the case or from its logits. */
static loss_case make_loss(algo_case *c)
{
    matrix mask = case_input(c, "mask", 2), rewards = case_input(c, "rewards", 1);
    case_expect_shape(c, "rewards", &rewards, mask.rows, 1);
    loss_case l = loss_case_of(c, &mask);
    l.in.old_logp = case_tokens(c, "old_logp", &mask).x;
    l.in.ref_logp = case_optional_tokens(c, "ref_logp", &mask).x;
    l.in.advantage = advantages_of(c, &rewards);
    l.algo.clip_epsilon_low = l.algo.clip_epsilon_high = case_number(c, "eps", 0.2);
    set_kl(&l);
    return l;
}

void seed_loss(algo_case *c)
{
    loss_case l = make_loss(c);
    l.in.logp = case_tokens(c, "logp", &l.like).x;
    loss_case_run(&l);
    if (case_failed(c))
        return;
    case_put_array(c, "advantages", l.in.advantage, l.like.rows);
    case_put_array(c, "ratio", l.out.row_ratio, l.like.rows);
    case_put(c, "surrogate_loss", l.out.policy_loss);
    if (l.algo.kl_coef != 0)
        case_put(c, "kl", l.out.kl_loss);
    case_put(c, "loss", l.out.loss);
    loss_case_put(&l, "grad_logp", l.out.grad_logp);
}

void seed_loss_from_logits(algo_case *c)
{
    loss_case l = make_loss(c);
    logit_rows logits = case_logits(c, "tokens", 1);
    case_expect_shape(c, "logits", &logits.logits, l.like.rows, l.like.cols);
    l.in.logp = logits.logp;
    loss_case_run(&l);
    double *grad = case_logits_gradient(c, &logits, l.out.grad_logp, NULL);
    if (case_failed(c))
        return;
    loss_case_put(&l, "logp", logits.logp);
    case_put(c, "loss", l.out.loss);
    case_put_cube(c, "grad_logits", grad, &logits.logits);
}

void seed_gae(algo_case *c)
{
    matrix rewards = case_input(c, "rewards", 2), values = case_input(c, "values", 2);
    case_expect_shape(c, "values", &values, rewards.rows, rewards.cols + 1);
    size_t steps = rewards.cols, count = rewards.rows * steps;
    double *deltas = case_doubles(c, count), *advantages = case_doubles(c, count),
           *returns = case_doubles(c, count);
    double gamma = case_number(c, "gamma", 1), lambda = case_number(c, "lam", 1);
    if (case_failed(c))
        return;
    for (size_t b = 0; b < rewards.rows; b++) {
        const double *reward = rewards.x + b * steps, *value = values.x + b * (steps + 1);
        ppo_advantage(deltas + b * steps, reward, value, steps, gamma, 0);
        ppo_advantage(advantages + b * steps, reward, value, steps, gamma, lambda);
        for (size_t t = 0; t < steps; t++)
            returns[b * steps + t] = advantages[b * steps + t] + value[t];
    }
    case_put_matrix(c, "deltas", deltas, rewards.rows, steps);
    case_put_matrix(c, "advantages", advantages, rewards.rows, steps);
    case_put_matrix(c, "returns", returns, rewards.rows, steps);
}
