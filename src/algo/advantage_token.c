/* Estimators whose result is one number a token: GAE, REINFORCE++, ReMax, token baselines; and
 * whitening. */
#include "algo/advantage.h"

/* ---- GAE -------------------------------------------------------------------------------- */

void gae(double *advantages, const double *deltas, size_t steps, double gamma_lambda)
{
    double run = 0;
    for (size_t t = steps; t-- > 0;)
        advantages[t] = run = deltas[t] + gamma_lambda * run;
}

void ppo_advantage(double *advantages, const double *rewards, const double *values, size_t steps,
                   double gamma, double lambda)
{
    for (size_t t = 0; t < steps; t++)
        advantages[t] = rewards[t] + gamma * values[t + 1] - values[t];
    gae(advantages, advantages, steps, gamma * lambda);
}

void compute_gae(double *advantages, double *returns, const grpo_rows *rows, const double *rewards,
                 const double *values, const double *bootstrap, double gamma, double lambda)
{
    for (size_t b = 0; b < rows->count; b++) {
        double run = 0, next = bootstrap ? bootstrap[b] : 0;
        for (size_t t = rows->offset[b + 1]; t-- > rows->offset[b];) {
            if (rows_valid(rows, t)) {
                run = rewards[t] + gamma * next - values[t] + gamma * lambda * run;
                next = values[t];
            }
            advantages[t] = run;
            if (returns)
                returns[t] = run + values[t];
        }
    }
}

/* ---- whitening -------------------------------------------------------------------------- */

/* The 1e-8 in the denominators is verl's; it shows only where the spread is as small. */
grpo_status grpo_masked_whiten(double *out, const double *values, const unsigned char *mask,
                               size_t count, int keep_mean, double *mean_out, double *variance_out,
                               grpo_error *err)
{
    double mean = 0, variance = 0, n = 0;
    for (size_t i = 0; i < count; i++)
        if (!mask || mask[i]) {
            mean += values[i];
            n++;
        }
    if (n < 2)
        return grpo_fail(err, GRPO_ERR_NUMERIC,
                         "whitening needs at least 2 tokens, the batch has %g", n);
    mean /= n + 1e-8;
    for (size_t i = 0; i < count; i++)
        if (!mask || mask[i])
            variance += (values[i] - mean) * (values[i] - mean);
    variance = variance / (n + 1e-8) * (n / (n - 1));
    double scale = 1 / sqrt(variance + 1e-8);
    for (size_t i = 0; i < count; i++)
        out[i] = (values[i] - mean) * scale + (keep_mean ? mean : 0);
    if (mean_out)
        *mean_out = mean;
    if (variance_out)
        *variance_out = variance;
    return GRPO_OK;
}

static grpo_status whiten_tokens(advantage_work *w, grpo_error *err)
{
    double *a = w->out->token;
    if (!w->algo->whiten_advantages)
        return GRPO_OK;
    return grpo_masked_whiten(a, a, w->mask, rows_tokens(&w->in->tokens), 0, NULL, NULL, err);
}

static void zero_masked(advantage_work *w)
{
    for (size_t t = 0; t < rows_tokens(&w->in->tokens); t++)
        if (!w->mask[t])
            w->out->token[t] = 0;
}

/* ---- estimators ------------------------------------------------------------------------- */

grpo_status advantage_gae(advantage_work *w, grpo_error *err)
{
    grpo_rows rows = w->in->tokens;
    rows.mask = w->mask;
    compute_gae(w->out->token, w->out->returns, &rows, w->token_reward, w->in->value, NULL,
                w->algo->gamma, w->algo->lambda);
    return whiten_tokens(w, err);
}

/* ret_t = reward_t + gamma run; then run = ret_t m_t: a masked token cuts what comes before. */
grpo_status advantage_reinforce_pp(advantage_work *w, grpo_error *err)
{
    const grpo_rows *rows = &w->in->tokens;
    for (size_t b = 0; b < rows->count; b++) {
        double run = 0;
        for (size_t t = rows->offset[b + 1]; t-- > rows->offset[b];) {
            double ret = w->token_reward[t] + w->algo->gamma * run;
            w->out->token[t] = ret;
            if (w->out->returns)
                w->out->returns[t] = ret;
            run = w->mask[t] ? ret : 0;
        }
    }
    grpo_status status = whiten_tokens(w, err);
    zero_masked(w);
    return status;
}

/* Undiscounted reward-to-go of the valid tokens' rewards. */
static void rewards_to_go(const advantage_work *w, size_t row, double *out)
{
    const grpo_rows *rows = &w->in->tokens;
    double run = 0;
    for (size_t t = rows->offset[row + 1]; t-- > rows->offset[row];)
        out[t] = run += w->mask[t] ? w->token_reward[t] : 0;
}

/* A = ret - baseline m. Masked tokens keep their reward-to-go, as in verl; no loss reads it. */
grpo_status advantage_remax(advantage_work *w, grpo_error *err)
{
    (void)err;
    const grpo_rows *rows = &w->in->tokens;
    for (size_t b = 0; b < rows->count; b++) {
        rewards_to_go(w, b, w->out->token);
        for (size_t t = rows->offset[b]; t < rows->offset[b + 1]; t++) {
            if (w->out->returns)
                w->out->returns[t] = w->out->token[t];
            if (w->mask[t])
                w->out->token[t] -= w->in->reward_baseline[b];
        }
    }
    return GRPO_OK;
}

/* ---- optimal token baseline ------------------------------------------------------------- */

/* W_t = sum_{j <= t} m (1 - 2 p_j + sum p^2) [w_j^2]: how much of the gradient's variance the
 * row has gathered by token t. */
static double path_variance(const advantage_work *w, size_t t)
{
    const grpo_advantage_batch *in = w->in;
    double energy = 1 - 2 * exp(in->old_logp[t]) + in->sum_pi_squared[t];
    return in->is_weight ? energy * in->is_weight[t] * in->is_weight[t] : energy;
}

/* Column of a token: its place in the row, or among the row's valid tokens. */
typedef struct column_walk {
    size_t column;
    double W;
} column_walk;

typedef struct tail {
    size_t row, from; /* columns of the longest row from here on have baseline 0 */
} tail;

static tail longest_tail(const advantage_work *w, const size_t *member, size_t count)
{
    size_t longest = 0, second = 0, row = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        size_t n = rows_length(&w->in->tokens, member[i]);
        if (n > longest) {
            second = longest;
            longest = n;
            row = member[i];
        } else if (n > second) {
            second = n;
        }
    }
    return (tail){w->algo->zero_tail && longest > second ? row : SIZE_MAX, second};
}

static void sum_columns(advantage_work *w, const size_t *member, size_t count, int squeeze,
                        double *numerator, double *denominator)
{
    const grpo_rows *rows = &w->in->tokens;
    for (size_t i = 0; i < count; i++)
        for (size_t t = rows->offset[member[i]]; t < rows->offset[member[i] + 1]; t++)
            numerator[t - rows->offset[member[i]]] = denominator[t - rows->offset[member[i]]] = 0;
    for (size_t i = 0; i < count; i++) {
        column_walk walk = {0, 0};
        for (size_t t = rows->offset[member[i]]; t < rows->offset[member[i] + 1]; t++) {
            if (w->mask[t]) {
                walk.W += path_variance(w, t);
                numerator[walk.column] += w->out->token[t] * walk.W;
                denominator[walk.column] += walk.W;
            }
            walk.column += !squeeze || w->mask[t];
        }
    }
}

static void baseline_group(advantage_work *w, const size_t *member, size_t count, int squeeze)
{
    const grpo_rows *rows = &w->in->tokens;
    double *numerator = w->column, *denominator = w->column + rows_tokens(rows);
    sum_columns(w, member, count, squeeze, numerator, denominator);
    tail end = longest_tail(w, member, count);
    for (size_t i = 0; i < count; i++) {
        size_t column = 0;
        for (size_t t = rows->offset[member[i]]; t < rows->offset[member[i] + 1]; t++) {
            int in_tail = member[i] == end.row && column >= end.from;
            if (w->mask[t] && !in_tail)
                w->out->token[t] -=
                    numerator[column] / (denominator[column] + w->algo->token_baseline_epsilon);
            column += !squeeze || w->mask[t];
        }
    }
}

grpo_status advantage_token_baseline(advantage_work *w, grpo_error *err)
{
    (void)err;
    int squeeze = w->algo->advantage == GRPO_ADV_TURN_TOKEN_BASELINE;
    for (size_t b = 0; b < w->in->rows; b++)
        rewards_to_go(w, b, w->out->token);
    for (size_t t = 0; w->out->returns && t < rows_tokens(&w->in->tokens); t++)
        w->out->returns[t] = w->out->token[t];
    for (size_t g = 0; g < w->groups; g++) {
        const size_t *member = w->member + group_first(w, g);
        size_t count = w->group_end[g] - group_first(w, g), compared = 0;
        for (size_t i = 0; i < count; i++) /* verl counts empty rows in the plain form only */
            compared += !squeeze || rows_length(&w->in->tokens, member[i]) > 0;
        if (compared > 1)
            baseline_group(w, member, count, squeeze);
    }
    zero_masked(w);
    return GRPO_OK;
}
