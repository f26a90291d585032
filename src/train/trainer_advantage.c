/* From rewards to advantages, with the passes that estimators need: reference, values, token statistics. */
#include <math.h>
#include <string.h>

#include "train/trainer_impl.h"

static grpo_status reference_logprobs(trainer *t, step_batch *b, grpo_error *err)
{
    policy_run_options o = {.inv_temperature = trainer_inverse_temperature(t), .private_kv = 1};
    grpo_status status = policy_run(&t->e, &t->reference, b->groups, b->n_groups, &o,
                                    (policy_tokens){b->logp32, NULL}, err);
    for (size_t i = 0; status == GRPO_OK && i < b->tokens; i++)
        b->ref_logp[i] = b->logp32[i];
    return status;
}

/* An answer without a reward has no return either: V must not be learned from it. */
static void leave_out_unscored(step_batch *b)
{
    for (size_t row = 0; b->value && row < b->answers; row++)
        if (isnan(b->reward[row]))
            memset(b->mask + b->offset[row], 0, b->offset[row + 1] - b->offset[row]);
}

int trainer_needs_squares(const trainer *t)
{
    grpo_estimator e = t->config->algo.advantage;
    return e == GRPO_ADV_TOKEN_BASELINE || e == GRPO_ADV_TURN_TOKEN_BASELINE;
}

/* sum_v p_v^2 of every token's distribution: a pass at twice the inverse temperature has the sum of exp(2 (z - M)). */
static grpo_status sums_of_squares(trainer *t, step_batch *b, double *squares, grpo_error *err)
{
    ops_softmax_row *doubled = mem_calloc(b->tokens, sizeof *doubled);
    if (!doubled)
        return mem_fail(err, "token statistics", b->tokens * sizeof *doubled);
    policy_run_options o = {.inv_temperature = 2 * trainer_inverse_temperature(t), .private_kv = 1};
    grpo_status status = policy_run(&t->e, &t->lm.m->weights, b->groups, b->n_groups, &o,
                                    (policy_tokens){b->logp32, doubled}, err);
    for (size_t i = 0; status == GRPO_OK && i < b->tokens; i++)
        squares[i] = doubled[i].sum / ((double)b->stats[i].sum * b->stats[i].sum);
    mem_free(doubled);
    return status;
}

grpo_status trainer_advantages(trainer *t, step_batch *b, train_metrics *m, grpo_error *err)
{
    grpo_algo algo = t->config->algo;
    algo.kl_coef = t->kl_coef; /* the controller's */
    grpo_status status = GRPO_OK;
    if (t->reference.layer)
        status = reference_logprobs(t, b, err);
    if (status == GRPO_OK && trainer_has_values(t))
        status = trainer_state_values(t, b, m, err);
    if (status != GRPO_OK)
        return status;
    void *scratch = mem_calloc(1, grpo_advantage_scratch(b->answers, b->tokens));
    double *used = mem_calloc(b->answers, sizeof *used);
    double *squares = trainer_needs_squares(t) ? mem_calloc(b->tokens, sizeof *squares) : NULL;
    if (!scratch || !used || (trainer_needs_squares(t) && !squares))
        status = mem_fail(err, "advantages", b->tokens * sizeof(double));
    if (status == GRPO_OK && squares)
        status = sums_of_squares(t, b, squares, err);
    grpo_advantage_batch batch = {
        .rows = b->answers,
        .reward = b->reward,
        .parts = scoring_parts(t->scoring),
        .part = b->scoring.counted,
        .part_weight = scoring_weights(t->scoring),
        .group_size = (size_t)t->config->group_size,
        .tokens = {b->answers, b->offset, b->mask},
        .old_logp = b->old_logp,
        .ref_logp = t->reference.layer ? b->ref_logp : NULL,
        .reward_baseline = b->reward_baseline,
        .value = b->value,
        .sum_pi_squared = squares,
    };
    grpo_advantages out = {
        .row = b->advantage, .token = b->token_advantage, .returns = b->returns, .reward = used, .scratch = scratch};
    if (status == GRPO_OK)
        status = compute_advantages(&algo, &batch, &out, err);
    b->per_token = out.per_token;
    if (status == GRPO_OK) {
        m->frac_groups_flat = out.flat_groups;
        m->frac_unscored = (double)out.missing / (double)b->answers;
        if (algo.kl_place == GRPO_KL_IN_REWARD && algo.kl_coef != 0)
            m->kl = out.reward_kl;
        if (b->value)
            trainer_measure_values(b, m);
        leave_out_unscored(b);
        trainer_measure_policy(t, b, m);
    }
    mem_free(scratch);
    mem_free(used);
    mem_free(squares);
    return status;
}
