/* Estimators whose result is one number a completion, from the rewards of its group. */
#include "algo/advantage.h"

/* Without a division nothing blows rounding up; only rounding itself counts as equal. */
#define ROUNDING 1e-12

static double unscaled_tolerance(const grpo_algo *algo)
{
    return fmin(algo->equal_tolerance, ROUNDING);
}

/* A group that is one completion by size, not because others lack a reward. */
static int is_single(const advantage_work *w, size_t g)
{
    return w->group_size[g] == 1 && w->algo->group_of_one == GRPO_SINGLE_RAW;
}

/* A = R - mean(R), times `factor`. */
static void subtract_mean(advantage_work *w, size_t g, double tolerance, double factor)
{
    const size_t *member = w->member + group_first(w, g);
    size_t count = w->group_end[g] - group_first(w, g);
    group_stats s = stats_of(w->algo, w->out->reward, member, count, tolerance);
    if (is_single(w, g))
        s = (group_stats){.count = 1, .mean = 0, .flat = 0};
    for (size_t i = 0; i < count; i++)
        w->out->row[member[i]] = s.flat ? 0 : factor * (w->out->reward[member[i]] - s.mean);
}

grpo_status advantage_drgrpo(advantage_work *w, grpo_error *err)
{
    (void)err;
    for (size_t g = 0; g < w->groups; g++)
        subtract_mean(w, g, unscaled_tolerance(w->algo), 1);
    return GRPO_OK;
}

/* A = (R - mean(R)) / (std + epsilon), std of the group or of the batch. */
grpo_status advantage_grpo(advantage_work *w, grpo_error *err)
{
    const grpo_algo *algo = w->algo;
    if (algo->scale_rewards == GRPO_SCALE_NONE)
        return advantage_drgrpo(w, err);
    group_stats batch = stats_of(algo, w->out->reward, w->member, w->scored, algo->equal_tolerance);
    int by_batch = algo->scale_rewards == GRPO_SCALE_BATCH;
    if (by_batch && batch.flat)
        return GRPO_OK;
    for (size_t g = 0; g < w->groups; g++) {
        const size_t *member = w->member + group_first(w, g);
        size_t count = w->group_end[g] - group_first(w, g);
        double std = batch.std;
        if (!by_batch)
            std = is_single(w, g) ? 1
                                  : stats_of(algo, w->out->reward, member, count,
                                             algo->equal_tolerance).std;
        subtract_mean(w, g, algo->equal_tolerance, 1 / (std + algo->advantage_epsilon));
    }
    return GRPO_OK;
}

/* A = R - mean of the others = (R - mean) k / (k - 1). */
grpo_status advantage_rloo(advantage_work *w, grpo_error *err)
{
    (void)err;
    for (size_t g = 0; g < w->groups; g++) {
        double k = (double)(w->group_end[g] - group_first(w, g));
        subtract_mean(w, g, unscaled_tolerance(w->algo), k > 1 ? k / (k - 1) : 1);
    }
    return GRPO_OK;
}

/* A = R - sum(n R) / sum(n): the baseline with the least variance when the gradient's size grows
 * with the length. */
grpo_status advantage_opo(advantage_work *w, grpo_error *err)
{
    (void)err;
    for (size_t g = 0; g < w->groups; g++) {
        const size_t *member = w->member + group_first(w, g);
        size_t count = w->group_end[g] - group_first(w, g);
        double tokens = 0, weighted = 0;
        for (size_t i = 0; i < count; i++) {
            double n = (double)rows_length(&w->in->tokens, member[i]);
            tokens += n;
            weighted += n * w->out->reward[member[i]];
        }
        group_stats s = stats_of(w->algo, w->out->reward, member, count,
                                 unscaled_tolerance(w->algo));
        int single = is_single(w, g);
        double baseline = single || tokens == 0 ? 0 : weighted / tokens;
        for (size_t i = 0; i < count; i++)
            w->out->row[member[i]] =
                (s.flat && !single) || tokens == 0 ? 0 : w->out->reward[member[i]] - baseline;
    }
    return GRPO_OK;
}

/* A = alpha (R - mean(R)) / f_norm, alpha = rows / rows with a non-zero reward. */
grpo_status advantage_gpg(advantage_work *w, grpo_error *err)
{
    (void)err;
    size_t nonzero = 0;
    for (size_t i = 0; i < w->scored; i++)
        nonzero += w->out->reward[w->member[i]] != 0;
    double alpha = (double)w->scored / (double)(nonzero ? nonzero : 1);
    for (size_t g = 0; g < w->groups; g++)
        subtract_mean(w, g, unscaled_tolerance(w->algo), alpha / w->algo->gpg_norm);
    return GRPO_OK;
}

/* The best answer gets its lead over the second, the others nothing. */
grpo_status advantage_passk(advantage_work *w, grpo_error *err)
{
    const grpo_algo *algo = w->algo;
    for (size_t g = 0; g < w->groups; g++) {
        const size_t *member = w->member + group_first(w, g);
        size_t count = w->group_end[g] - group_first(w, g), best = 0;
        if (w->group_size[g] < 2)
            return grpo_fail(err, GRPO_ERR_CONFIG,
                             "grpo_passk needs at least 2 completions a prompt, group %zu has 1", g);
        if (count < 2)
            continue;
        for (size_t i = 1; i < count; i++)
            if (w->out->reward[member[i]] > w->out->reward[member[best]])
                best = i;
        double second = -INFINITY;
        for (size_t i = 0; i < count; i++)
            if (i != best)
                second = fmax(second, w->out->reward[member[i]]);
        group_stats s = stats_of(algo, w->out->reward, member, count, algo->equal_tolerance);
        if (s.flat)
            continue;
        double lead = w->out->reward[member[best]] - second;
        w->out->row[member[best]] = algo->scale_rewards == GRPO_SCALE_NONE
                                        ? lead
                                        : lead / (s.std + algo->advantage_epsilon);
    }
    return GRPO_OK;
}

/* Adds weight (part - mean) / (std + epsilon) of one reward function in one group; rows that it
 * does not apply to get nothing. */
static void add_normalized_part(advantage_work *w, size_t g, size_t k, size_t *applies, double *x)
{
    const grpo_advantage_batch *in = w->in;
    const size_t *member = w->member + group_first(w, g);
    size_t count = w->group_end[g] - group_first(w, g), used = 0;
    for (size_t i = 0; i < count; i++) {
        x[member[i]] = in->parts ? in->part[member[i] * in->parts + k] : w->out->reward[member[i]];
        if (!isnan(x[member[i]]))
            applies[used++] = member[i];
    }
    group_stats s = stats_of(w->algo, x, applies, used, w->algo->equal_tolerance);
    double weight = in->parts && in->part_weight ? in->part_weight[k] : 1;
    for (size_t i = 0; i < used && !s.flat; i++)
        w->out->row[applies[i]] +=
            weight * (x[applies[i]] - s.mean) / (s.std + w->algo->advantage_epsilon);
}

grpo_status advantage_gdpo(advantage_work *w, grpo_error *err)
{
    (void)err;
    const grpo_algo *algo = w->algo;
    double *x = w->column;                         /* [B] */
    size_t *applies = (size_t *)(x + w->in->rows); /* [B] */
    for (size_t g = 0; g < w->groups; g++)
        for (size_t k = 0; k < (w->in->parts ? w->in->parts : 1); k++)
            add_normalized_part(w, g, k, applies, x);
    group_stats s = stats_of(algo, w->out->row, w->member, w->scored, ROUNDING);
    for (size_t i = 0; i < w->scored; i++) {
        double *a = &w->out->row[w->member[i]];
        *a = s.flat ? 0 : (*a - s.mean) / (s.std + algo->advantage_epsilon);
    }
    return GRPO_OK;
}

/* A = R - mean(R), then grpo_masked_whiten() over the tokens: a row counts n times. */
grpo_status advantage_reinforce_pp_baseline(advantage_work *w, grpo_error *err)
{
    advantage_drgrpo(w, err);
    double *row = w->out->row, tokens = 0, mean = 0, variance = 0;
    for (size_t i = 0; i < w->scored; i++) {
        double n = (double)rows_length(&w->in->tokens, w->member[i]);
        tokens += n;
        mean += n * row[w->member[i]];
    }
    if (tokens < 2)
        return grpo_fail(err, GRPO_ERR_NUMERIC,
                         "whitening needs at least 2 tokens, the batch has %g", tokens);
    mean /= tokens + 1e-8;
    for (size_t i = 0; i < w->scored; i++) {
        double n = (double)rows_length(&w->in->tokens, w->member[i]);
        variance += n * (row[w->member[i]] - mean) * (row[w->member[i]] - mean);
    }
    variance = variance / (tokens + 1e-8) * (tokens / (tokens - 1));
    for (size_t i = 0; i < w->scored; i++)
        row[w->member[i]] = (row[w->member[i]] - mean) / sqrt(variance + 1e-8);
    return GRPO_OK;
}
