/* compute_advantages(): rewards are combined, clipped and freed of missing ones, groups are
 * formed, the estimator of the table runs, and the batch-level options are applied. */
#include <string.h>

#include "algo/advantage.h"
#include "grpo/algo_plugin.h"

/* ---- the table: in the order of GRPO_ESTIMATOR_NAMES ------------------------------------- */

static const advantage_method methods[GRPO_ESTIMATOR_COUNT] = {
    {advantage_drgrpo, 0,
     {"drgrpo", "advantage_drgrpo", "Dr. GRPO, arXiv:2503.20783; the specification, 1.1",
      "R - mean(R)", "group_of_one", 0}},
    {advantage_grpo, 0,
     {"grpo", "advantage_grpo", "DeepSeekMath, arXiv:2402.03300", "(R - mean(R)) / (std(R) + eps)",
      "scale_rewards std_unbiased advantage_epsilon variance_floor group_of_one equal_tolerance",
      0}},
    {advantage_rloo, 0,
     {"rloo", "advantage_rloo", "RLOO, arXiv:2402.14740", "R - mean of the group's others",
      "group_of_one normalize_advantages", 0}},
    {advantage_opo, ADVANTAGE_NEEDS_LENGTHS,
     {"opo", "advantage_opo", "OPO, arXiv:2505.23585", "R - sum(n R) / sum(n)", "group_of_one", 0}},
    {advantage_gpg, 0,
     {"gpg", "advantage_gpg", "GPG, arXiv:2504.02546",
      "rows / max(1, rows with R != 0) * (R - mean(R)) / gpg_norm", "gpg_norm group_of_one", 0}},
    {advantage_passk, 0,
     {"grpo_passk", "advantage_passk", "Pass@k, arXiv:2503.19595",
      "best of the group: (max - second) / (std + eps), others 0", "scale_rewards advantage_epsilon",
      0}},
    {advantage_gdpo, 0,
     {"gdpo", "advantage_gdpo", "GDPO, arXiv:2601.05242",
      "each reward function normalised in its group, weighted sum normalised over the batch",
      "advantage_epsilon std_unbiased equal_tolerance", 0}},
    {advantage_reinforce_pp_baseline, ADVANTAGE_NEEDS_LENGTHS,
     {"reinforce_pp_baseline", "advantage_reinforce_pp_baseline", "REINFORCE++, arXiv:2501.03262",
      "R - mean(R), whitened over the tokens of the batch", "group_of_one", 0}},
    {advantage_reinforce_pp, ADVANTAGE_NEEDS_TOKENS,
     {"reinforce_pp", "advantage_reinforce_pp", "REINFORCE++, arXiv:2501.03262",
      "discounted reward-to-go, whitened over the tokens of the batch", "gamma whiten_advantages",
      1}},
    {advantage_remax, ADVANTAGE_NEEDS_TOKENS,
     {"remax", "advantage_remax", "ReMax, arXiv:2310.10505",
      "reward-to-go - reward of the greedy answer", "", 1}},
    {advantage_gae, ADVANTAGE_NEEDS_TOKENS,
     {"gae", "compute_gae", "GAE, arXiv:1506.02438",
      "delta_t + gamma lambda A_{t+1}, delta_t = r_t + gamma V_{t+1} - V_t",
      "gamma lambda whiten_advantages", 1}},
    {advantage_token_baseline, ADVANTAGE_NEEDS_TOKENS | ADVANTAGE_NEEDS_LOGPS,
     {"optimal_token_baseline", "advantage_token_baseline", "Optimal token baseline (verl)",
      "G_t - sum_g(G_t W_t) / sum_g(W_t), W_t = sum_{j<=t} 1 - 2 p_j + sum p^2",
      "zero_tail token_baseline_epsilon", 1}},
    {advantage_token_baseline, ADVANTAGE_NEEDS_TOKENS | ADVANTAGE_NEEDS_LOGPS,
     {"multi_turn_optimal_token_baseline", "advantage_token_baseline",
      "Optimal token baseline (verl)", "the same, columns counted without masked tokens",
      "zero_tail token_baseline_epsilon", 1}},
    {advantage_library, 0,
     {"library", "advantage_library", "yours (algo_plugin.h)", "what the library computes", "", 0}},
};

const advantage_method *advantage_method_of(grpo_estimator estimator)
{
    return &methods[estimator];
}

/* ---- statistics ------------------------------------------------------------------------- */

group_stats stats_of(const grpo_algo *algo, const double *x, const size_t *member, size_t count,
                     double tolerance)
{
    group_stats s = {.count = count, .flat = 1};
    if (count == 0)
        return s;
    double low = x[member[0]], high = low, size = fabs(low), sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++) {
        double value = x[member[i]];
        sum += value;
        low = fmin(low, value);
        high = fmax(high, value);
        size = fmax(size, fabs(value));
    }
    s.flat = high - low <= tolerance * size;
    s.mean = s.flat ? low : sum / (double)count;
    for (size_t i = 0; i < count && !s.flat; i++) {
        double deviation = x[member[i]] - s.mean;
        squares += deviation * deviation;
    }
    double divisor = (double)(algo->std_unbiased ? count - 1 : count);
    double variance = divisor > 0 ? squares / divisor : 0;
    s.std = sqrt(fmax(variance, algo->variance_floor));
    return s;
}

/* ---- groups ----------------------------------------------------------------------------- */

static int compare_rows(const void *context, size_t a, size_t b)
{
    const int64_t *group = context;
    if (group && group[a] != group[b])
        return group[a] < group[b] ? -1 : 1;
    return a < b ? -1 : a > b;
}

static int same_group(const grpo_advantage_batch *in, size_t a, size_t b)
{
    return in->group ? in->group[a] == in->group[b] : a / in->group_size == b / in->group_size;
}

/* Sorts the rows by group, then drops the unscored ones in place. */
static void form_groups(advantage_work *w)
{
    const grpo_advantage_batch *in = w->in;
    for (size_t b = 0; b < in->rows; b++)
        w->member[b] = b;
    if (in->group)
        algo_sort(w->member, in->rows, compare_rows, in->group);
    for (size_t i = 0, end; i < in->rows; i = end) {
        for (end = i; end < in->rows && same_group(in, w->member[i], w->member[end]);)
            end++;
        for (size_t k = i; k < end; k++)
            if (!isnan(w->out->reward[w->member[k]]))
                w->member[w->scored++] = w->member[k];
        w->group_size[w->groups] = end - i;
        w->group_end[w->groups++] = w->scored;
    }
}

/* ---- rewards ---------------------------------------------------------------------------- */

static double combined_reward(const grpo_advantage_batch *in, size_t row)
{
    if (in->reward)
        return in->reward[row];
    double sum = 0;
    int any = 0;
    for (size_t k = 0; k < in->parts; k++) {
        double part = in->part[row * in->parts + k];
        if (isnan(part))
            continue;
        sum += (in->part_weight ? in->part_weight[k] : 1) * part;
        any = 1;
    }
    return any ? sum : NAN;
}

/* sum_t m kl over one row, and its mean into *mean. */
static double row_kl(const advantage_work *w, size_t row, double *mean)
{
    const grpo_advantage_batch *in = w->in;
    double sum = 0;
    for (size_t t = in->tokens.offset[row]; t < in->tokens.offset[row + 1]; t++)
        if (rows_valid(&in->tokens, t))
            sum += compute_kl_penalty(w->algo->kl_estimator, 0, w->algo->kl_clamp,
                                      in->old_logp[t], in->ref_logp[t])
                       .kl;
    size_t n = rows_length(&in->tokens, row);
    *mean = n ? sum / (double)n : 0;
    return sum;
}

static int kl_in_reward(const advantage_work *w)
{
    return w->algo->kl_place == GRPO_KL_IN_REWARD && w->algo->kl_coef != 0;
}

static grpo_status set_rewards(advantage_work *w, grpo_error *err)
{
    const grpo_advantage_batch *in = w->in;
    w->out->missing = 0;
    for (size_t b = 0; b < in->rows; b++) {
        double reward = combined_reward(in, b);
        if (isinf(reward))
            return grpo_fail(err, GRPO_ERR_NUMERIC, "the reward of completion %zu is infinite", b);
        w->out->reward[b] = algo_clamp(reward, w->algo->reward_clip_min, w->algo->reward_clip_max);
        w->out->missing += isnan(reward);
    }
    return GRPO_OK;
}

/* Token rewards lose their KL in set_token_rewards. */
static void take_off_kl(advantage_work *w, int per_token)
{
    double kl = 0;
    for (size_t b = 0; kl_in_reward(w) && b < w->in->rows; b++) {
        double mean, sum = row_kl(w, b, &mean);
        w->out->reward[b] -= per_token ? 0 : w->algo->kl_coef * sum;
        kl += mean;
    }
    w->out->reward_kl = w->in->rows ? kl / (double)w->in->rows : 0;
}

/* Token rewards: given, or the row's on its last valid token; less the KL; unscored rows lose
 * their mask. */
static void set_token_rewards(advantage_work *w)
{
    const grpo_advantage_batch *in = w->in;
    for (size_t b = 0; b < in->rows; b++) {
        int scored = !isnan(w->out->reward[b]);
        size_t first = in->tokens.offset[b], end = in->tokens.offset[b + 1], last = end;
        for (size_t t = first; t < end; t++) {
            w->mask[t] = scored && rows_valid(&in->tokens, t);
            w->token_reward[t] = in->token_reward ? in->token_reward[t] : 0;
            if (w->mask[t])
                last = t;
        }
        if (!in->token_reward && last < end)
            w->token_reward[last] = w->out->reward[b];
        for (size_t t = first; kl_in_reward(w) && t < end; t++)
            if (w->mask[t])
                w->token_reward[t] -= w->algo->kl_coef *
                                      compute_kl_penalty(w->algo->kl_estimator, 0,
                                                         w->algo->kl_clamp, in->old_logp[t],
                                                         in->ref_logp[t])
                                          .kl;
    }
}

/* ---- checks and scratch ----------------------------------------------------------------- */

static grpo_status check_advantage_batch(const grpo_algo *algo, const grpo_advantage_batch *in,
                                         const grpo_advantages *out, grpo_error *err)
{
    const advantage_method *method = advantage_method_of(algo->advantage);
    int kl = algo->kl_place == GRPO_KL_IN_REWARD && algo->kl_coef != 0;
    const char *name = method->about.name;
    if (algo->advantage == GRPO_ADV_LIBRARY && !(algo->library && algo->library->advantages))
        return grpo_fail(err, GRPO_ERR_USAGE, "no library with an estimator is loaded");
    if (!in->reward && !(in->parts && in->part))
        return grpo_fail(err, GRPO_ERR_USAGE, "%s needs rewards", name);
    if (!in->group && (in->group_size == 0 || in->rows % in->group_size))
        return grpo_fail(err, GRPO_ERR_USAGE,
                         "%zu completions do not divide into groups of %zu: give group_size a "
                         "divisor of the batch",
                         in->rows, in->group_size);
    if ((method->needs || kl) && (in->tokens.count != in->rows || !in->tokens.offset))
        return grpo_fail(err, GRPO_ERR_USAGE, "%s needs the token offsets of all %zu completions",
                         kl ? "the KL in the reward" : name, in->rows);
    if (kl && !(in->old_logp && in->ref_logp))
        return grpo_fail(err, GRPO_ERR_USAGE, "the KL in the reward needs old_logp and ref_logp");
    if (!out->reward || !out->scratch || !(method->about.per_token ? out->token : out->row))
        return grpo_fail(err, GRPO_ERR_USAGE, "%s: output arrays are missing", name);
    if ((method->needs & ADVANTAGE_NEEDS_LOGPS) && !(in->old_logp && in->sum_pi_squared))
        return grpo_fail(err, GRPO_ERR_USAGE, "%s needs old_logp and sum_pi_squared", name);
    if (algo->advantage == GRPO_ADV_GAE && !in->value)
        return grpo_fail(err, GRPO_ERR_USAGE, "gae needs the value network's values");
    if (algo->advantage == GRPO_ADV_REMAX && !in->reward_baseline)
        return grpo_fail(err, GRPO_ERR_USAGE, "remax needs the rewards of the greedy answers");
    return method->needs || kl ? rows_check(&in->tokens, err) : GRPO_OK;
}

size_t grpo_advantage_scratch(size_t rows, size_t tokens)
{
    return rows * (4 * sizeof(size_t) + 2 * sizeof(double)) + tokens * (3 * sizeof(double) + 1) + 64;
}

static advantage_work carve(const grpo_algo *algo, const grpo_advantage_batch *in,
                            grpo_advantages *out)
{
    advantage_work w = {.algo = algo, .in = in, .out = out};
    size_t tokens = in->tokens.count ? rows_tokens(&in->tokens) : 0;
    w.member = out->scratch;
    w.group_end = w.member + in->rows;
    w.group_size = w.group_end + in->rows;
    w.normalized = w.group_size + in->rows;
    w.token_reward = (double *)(w.normalized + in->rows);
    w.column = w.token_reward + tokens;
    w.mask = (unsigned char *)(w.column + 2 * tokens + 2 * in->rows);
    return w;
}

/* ---- before and after the estimator ------------------------------------------------------ */

/* Before the KL is taken off, which would tell answers apart that the reward does not. */
static double flat_share(const advantage_work *w)
{
    size_t flat = 0, judged = 0;
    for (size_t g = 0; g < w->groups; g++) {
        size_t first = group_first(w, g), count = w->group_end[g] - first;
        if (count == 0)
            continue;
        judged++;
        flat += stats_of(w->algo, w->out->reward, w->member + first, count, w->algo->equal_tolerance)
                    .flat;
    }
    return judged ? (double)flat / (double)judged : 0;
}

static void report(advantage_work *w)
{
    grpo_advantages *out = w->out;
    grpo_algo plain = *w->algo;
    plain.std_unbiased = 1;
    plain.variance_floor = 0;
    group_stats all = stats_of(&plain, out->reward, w->member, w->scored, 0);
    out->groups = w->groups;
    out->reward_mean = w->scored ? all.mean : NAN;
    out->reward_std = w->scored > 1 ? all.std : NAN;
}

/* (A - mean) / (std + epsilon) over the rows of the batch that have something to be compared
 * with: a row whose group lost all others has advantage 0 and stays out. */
static void normalize_rows(advantage_work *w)
{
    double *row = w->out->row;
    size_t count = 0;
    for (size_t g = 0; g < w->groups; g++) {
        size_t first = group_first(w, g), end = w->group_end[g];
        int compared = end - first > 1 || (end > first && w->group_size[g] == 1);
        for (size_t i = first; compared && i < end; i++)
            w->normalized[count++] = w->member[i];
    }
    group_stats s = stats_of(w->algo, row, w->normalized, count, w->algo->equal_tolerance);
    for (size_t i = 0; i < count; i++) {
        double *a = &row[w->normalized[i]];
        *a = s.flat ? 0 : (*a - s.mean) / (s.std + w->algo->advantage_epsilon);
    }
}

grpo_status compute_advantages(const grpo_algo *algo, const grpo_advantage_batch *in,
                               grpo_advantages *out, grpo_error *err)
{
    const advantage_method *method = advantage_method_of(algo->advantage);
    grpo_status status = check_advantage_batch(algo, in, out, err);
    if (status != GRPO_OK)
        return status;
    advantage_work w = carve(algo, in, out);
    out->per_token = method->about.per_token;
    status = set_rewards(&w, err);
    if (status != GRPO_OK)
        return status;
    form_groups(&w);
    out->flat_groups = flat_share(&w);
    take_off_kl(&w, out->per_token);
    if (out->row)
        memset(out->row, 0, in->rows * sizeof *out->row);
    if (method->needs & ADVANTAGE_NEEDS_TOKENS)
        set_token_rewards(&w);
    status = method->function(&w, err);
    if (status != GRPO_OK)
        return status;
    if (algo->normalize_advantages && !out->per_token)
        normalize_rows(&w);
    report(&w);
    return GRPO_OK;
}

grpo_status compute_grpo_advantages(double *advantages, const double *rewards, size_t batch_size,
                                    size_t group_size, grpo_error *err)
{
    if (group_size == 0 || batch_size % group_size)
        return grpo_fail(err, GRPO_ERR_USAGE,
                         "%zu rewards do not divide into groups of %zu", batch_size, group_size);
    for (size_t i = 0; i < batch_size; i++)
        if (!isfinite(rewards[i]))
            return grpo_fail(err, GRPO_ERR_NUMERIC, "reward %zu is not a finite number", i);
    for (size_t first = 0; first < batch_size; first += group_size) {
        double mean = 0;
        int equal = 1;
        for (size_t i = first; i < first + group_size; i++) {
            mean += rewards[i] / (double)group_size;
            equal = equal && rewards[i] == rewards[first];
        }
        for (size_t i = first; i < first + group_size; i++)
            advantages[i] = equal ? 0 : rewards[i] - mean;
    }
    return GRPO_OK;
}
