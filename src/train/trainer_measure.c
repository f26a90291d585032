/* What a step's metrics say of its answers, groups and advantages. Losses are noted where they are computed (trainer_update.c). */
#include <math.h>

#include "base/machine.h"
#include "train/trainer_impl.h"

/* ---- the policy -------------------------------------------------------------------------------------------------- */

/* KL in the reward has been measured where it was taken off. */
void trainer_measure_policy(const trainer *t, const step_batch *b, train_metrics *m)
{
    const grpo_algo *a = &t->config->algo;
    int with_kl = t->reference.layer && isnan(m->kl);
    double tokens = 0, entropy = 0, kl = 0;
    for (size_t i = 0; i < b->tokens; i++) {
        if (!b->mask[i])
            continue;
        tokens++;
        entropy += b->entropy[i];
        if (with_kl)
            kl += compute_kl_penalty(a->kl_estimator, 0, a->kl_clamp, b->logp[i], b->ref_logp[i]).kl;
    }
    if (tokens > 0)
        m->entropy = entropy / tokens;
    if (tokens > 0 && with_kl)
        m->kl = kl / tokens;
}

/* ---- groups ------------------------------------------------------------------------------------------------------ */

/* Right and wrong are shares of the groups with a judged answer, and of these only the judged ones count. */
static void measure_groups(const step_batch *b, train_metrics *m)
{
    size_t row = 0;
    double right = 0, wrong = 0, judged_groups = 0, std = 0, spread_groups = 0;
    for (int g = 0; g < b->n_groups; g++) {
        int correct = 0, judged = 0, count = 0;
        double mean = 0, square = 0;
        for (int i = 0; i < b->groups[g].n_samples; i++, row++) {
            correct += b->score[row].correct == 1;
            judged += b->score[row].correct >= 0;
            if (isnan(b->reward[row]))
                continue;
            count++;
            double d = b->reward[row] - mean;
            mean += d / count;
            square += d * (b->reward[row] - mean);
        }
        judged_groups += judged > 0;
        right += judged > 0 && correct == judged;
        wrong += judged > 0 && correct == 0;
        if (count > 1) {
            std += sqrt(square / (count - 1));
            spread_groups++;
        }
    }
    m->reward_std = spread_groups > 0 ? std / spread_groups : NAN;
    m->frac_groups_all_right = judged_groups > 0 ? right / judged_groups : NAN;
    m->frac_groups_all_wrong = judged_groups > 0 ? wrong / judged_groups : NAN;
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static void measure_answers(const step_batch *b, train_metrics *m)
{
    double reward = 0, length = 0, ended_length = 0;
    size_t scored_answers = 0, correct = 0, judged = 0, truncated = 0, unverifiable = 0;
    m->reward_min = m->completion_length_min = INFINITY;
    m->reward_max = m->completion_length_max = -INFINITY;
    for (size_t i = 0; i < b->answers; i++) {
        const scoring_item *item = &b->item[i];
        length += item->tokens;
        m->completion_length_min = fmin(m->completion_length_min, item->tokens);
        m->completion_length_max = fmax(m->completion_length_max, item->tokens);
        truncated += (size_t)item->truncated;
        ended_length += item->truncated ? 0 : item->tokens;
        judged += b->score[i].correct >= 0;
        correct += b->score[i].correct == 1;
        unverifiable += (size_t)b->score[i].unverifiable;
        if (isnan(b->reward[i]))
            continue;
        scored_answers++;
        reward += b->reward[i];
        m->reward_min = fmin(m->reward_min, b->reward[i]);
        m->reward_max = fmax(m->reward_max, b->reward[i]);
    }
    double n = (double)b->answers;
    m->reward = scored_answers ? reward / (double)scored_answers : NAN;
    m->accuracy = judged ? (double)correct / (double)judged : NAN;
    m->completion_length = length / n;
    m->completion_length_ended = truncated < b->answers ? ended_length / (n - (double)truncated) : NAN;
    m->frac_truncated = (double)truncated / n;
    m->frac_unverifiable = (double)unverifiable / n;
}

/* ---- advantages -------------------------------------------------------------------------------------------------- */

double trainer_advantage(const step_batch *b, size_t row)
{
    if (!b->per_token)
        return b->advantage[row];
    double mean = 0, n = 0;
    for (size_t i = b->offset[row]; i < b->offset[row + 1]; i++)
        if (b->mask[i])
            mean += (b->token_advantage[i] - mean) / ++n; /* equal ones have themselves as their mean */
    return mean;
}

/* Of token estimators over the tokens that train. */
static void measure_advantages(const step_batch *b, train_metrics *m)
{
    const double *advantage = b->per_token ? b->token_advantage : b->advantage;
    size_t count = b->per_token ? b->tokens : b->answers;
    double size = 0, n = 0, low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        if (b->per_token && !b->mask[i])
            continue;
        n++;
        size += fabs(advantage[i]);
        low = fmin(low, advantage[i]);
        high = fmax(high, advantage[i]);
    }
    if (n > 0) {
        m->advantage_abs = size / n;
        m->advantage_min = low;
        m->advantage_max = high;
    }
}

void trainer_measure(const trainer *t, const step_batch *b, train_metrics *m)
{
    measure_groups(b, m);
    measure_answers(b, m);
    measure_advantages(b, m);
    m->step = (double)t->step;
    m->epoch = (double)t->data_position / (double)t->train_view.count;
    m->kl_coef = t->kl_coef;
    m->prompt_length = (double)b->counts.prompt_tokens / b->n_groups;
    m->num_tokens = t->tokens_seen;
    m->rollout_tokens_per_second = (double)b->counts.completion_tokens / m->time_rollout;
    m->tokens_per_second = (double)b->counts.completion_tokens / m->time_step;
    m->peak_bytes = (double)machine_peak_rss();
}
