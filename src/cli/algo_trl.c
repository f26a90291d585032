/* TRL's advantages, sampler ratios, fused head and reward functions. */
#include <math.h>
#include <string.h>

#include "cli/algo_loss_case.h"

#define TRL_EPSILON 1e-4

/* ---- advantages -------------------------------------------------------------------------- */

typedef struct trl_rewards {
    grpo_algo algo;
    grpo_advantage_batch in;
    grpo_advantages out;
} trl_rewards;

static trl_rewards begin(algo_case *c, const char *name, int rank)
{
    trl_rewards r = {.in.parts = 0};
    matrix rewards = case_input(c, name, rank);
    size_t parts = rank == 2 ? rewards.cols : 1;
    r.in.rows = rewards.rows;
    r.in.parts = parts;
    r.in.part = rewards.x;
    json_t *weights = case_value(c, "reward_weights");
    if (weights) {
        double *weight = case_doubles(c, parts);
        if (json_array_size(weights) != parts)
            case_malformed(c, "params.reward_weights needs %zu numbers", parts);
        for (size_t k = 0; !case_failed(c) && k < parts; k++)
            weight[k] = case_number_of(c, json_array_get(weights, k), "reward_weights", 1);
        r.in.part_weight = weight;
    }
    double size = case_number(c, "num_generations", 0);
    if (!(size >= 1))
        case_malformed(c, "params.num_generations must be at least 1");
    r.in.group_size = size >= 1 ? (size_t)size : 1;
    grpo_algo_preset(&r.algo, "spec", NULL);
    r.algo.advantage_epsilon = TRL_EPSILON;
    r.algo.equal_tolerance = 0;
    r.out.row = case_doubles(c, rewards.rows);
    r.out.reward = case_doubles(c, rewards.rows);
    return r;
}

static int finish(algo_case *c, trl_rewards *r)
{
    size_t tokens = r->in.tokens.count ? r->in.tokens.offset[r->in.tokens.count] : 0;
    r->out.scratch = case_bytes(c, grpo_advantage_scratch(r->in.rows, tokens));
    if (!case_failed(c))
        c->status = compute_advantages(&r->algo, &r->in, &r->out, &c->err);
    if (!case_failed(c))
        case_put_array(c, "advantages", r->out.row, r->in.rows);
    return !case_failed(c);
}

/* Standard deviation with n - 1 of what is there; NaN for fewer than two. */
static double nan_std(const double *x, size_t count)
{
    double sum = 0, squares = 0, n = 0;
    for (size_t i = 0; i < count; i++)
        if (!isnan(x[i])) {
            sum += x[i];
            n++;
        }
    for (size_t i = 0; i < count; i++)
        if (!isnan(x[i]))
            squares += (x[i] - sum / n) * (x[i] - sum / n);
    return n > 1 ? sqrt(squares / (n - 1)) : NAN;
}

/* Share of rows whose std, of the group or of the batch, is (almost) 0. */
static double zero_std_share(const trl_rewards *r, const double *x, int by_batch)
{
    size_t size = by_batch ? r->in.rows : r->in.group_size, zero = 0, groups = 0;
    for (size_t first = 0; first < r->in.rows; first += size, groups++)
        zero += size == 1 || nan_std(x + first, size) <= 1e-8;
    return groups ? (double)zero / (double)groups : 0;
}

/* The rewards before the last normalisation of normalize_then_sum are not kept: their std is 0
 * exactly where all advantages are. It is NaN, and not 0, for fewer than two scored rows. */
static int batch_std_is_zero(const trl_rewards *r)
{
    for (size_t i = 0; i < r->in.rows; i++)
        if (r->out.row[i] != 0)
            return 0;
    return r->in.rows == 1 || r->in.rows - r->out.missing > 1;
}

static void normalized_advantages(algo_case *c)
{
    trl_rewards r = begin(c, "rewards_per_func", 2);
    const char *scale = case_text(c, "scale_rewards", "group");
    const char *aggregation = case_text(c, "multi_objective_aggregation", "sum_then_normalize");
    int sum_first = strcmp(aggregation, "sum_then_normalize") == 0;
    if (!sum_first && strcmp(aggregation, "normalize_then_sum") != 0)
        case_refuse(c, "'%s' is not a multi_objective_aggregation", aggregation);
    r.algo.advantage = sum_first ? GRPO_ADV_GRPO : GRPO_ADV_GDPO;
    if (!case_failed(c))
        c->status = grpo_algo_set(&r.algo, "scale_rewards", scale, &c->err);
    if (!finish(c, &r))
        return;
    int by_batch = r.algo.scale_rewards == GRPO_SCALE_BATCH;
    case_metric(c, "reward", r.out.reward_mean);
    case_metric(c, "reward_std", r.out.reward_std);
    case_metric(c, "frac_reward_zero_std",
                sum_first ? zero_std_share(&r, r.out.reward, by_batch)
                          : batch_std_is_zero(&r));
}

/* ---- sampler ratios ---------------------------------------------------------------------- */

static void sampler_ratio(algo_case *c)
{
    matrix mask = case_input(c, "completion_mask", 2);
    matrix tools = case_optional_tokens(c, "tool_mask", &mask);
    const double *old = case_tokens(c, "old_per_token_logps", &mask).x;
    const double *sampler = case_tokens(c, "sampling_per_token_logps", &mask).x;
    for (size_t t = 0; !case_failed(c) && tools.x && t < mask.rows * mask.cols; t++)
        mask.x[t] *= tools.x[t];
    grpo_rows rows = case_rows(c, &mask);
    double *weight = case_doubles(c, mask.rows * mask.cols);
    const char *mode = case_text(c, "vllm_importance_sampling_mode", "sequence_mask");
    grpo_algo algo;
    grpo_algo_preset(&algo, "spec", NULL);
    if (!case_failed(c))
        c->status = grpo_algo_set(&algo, "sampler_correction", mode, &c->err);
    double min = case_number(c, "clip_min", -INFINITY), max = case_number(c, "clip_max", INFINITY);
    if (!case_failed(c))
        c->status = grpo_sampler_weights(weight, algo.sampler_correction, min, max, &rows, old,
                                         sampler, &c->err);
    int per_row = strncmp(mode, "sequence", 8) == 0;
    if (!case_failed(c))
        case_put_matrix(c, "importance_sampling_ratio", weight, mask.rows, per_row ? 1 : mask.cols);
}

void trl_grpo_advantages(algo_case *c)
{
    if (case_has(c, "rewards_per_func"))
        normalized_advantages(c);
    if (case_has(c, "sampling_per_token_logps"))
        sampler_ratio(c);
    if (!case_has(c, "rewards_per_func") && !case_has(c, "sampling_per_token_logps"))
        case_malformed(c, "neither inputs.rewards_per_func nor inputs.sampling_per_token_logps");
}

void trl_rloo_advantages(algo_case *c)
{
    int parts = case_has(c, "rewards_per_func");
    trl_rewards r = begin(c, parts ? "rewards_per_func" : "rewards", parts ? 2 : 1);
    r.algo.advantage = GRPO_ADV_RLOO;
    r.algo.normalize_advantages = case_flag(c, "normalize_advantages", 0);
    json_t *range = case_value(c, "reward_clip_range");
    r.algo.reward_clip_min = case_number_of(c, json_array_get(range, 0), "reward_clip_range",
                                            -INFINITY);
    r.algo.reward_clip_max = case_number_of(c, json_array_get(range, 1), "reward_clip_range",
                                            INFINITY);
    r.algo.kl_coef = case_number(c, "beta", 0);
    r.algo.kl_place = GRPO_KL_IN_REWARD;
    r.algo.kl_estimator = GRPO_KL_K1;
    if (r.algo.kl_coef != 0) {
        matrix mask = case_input(c, "completion_mask", 2);
        r.in.old_logp = case_tokens(c, "old_per_token_logps", &mask).x;
        r.in.ref_logp = case_tokens(c, "ref_per_token_logps", &mask).x;
        r.in.tokens = case_rows(c, &mask);
    }
    finish(c, &r);
}

/* ---- fused head: log-probabilities straight from hidden states ---------------------------- */

typedef struct fused_head {
    matrix hidden, weight, bias, targets; /* [N][H], [V][H], [V], [N] */
    double scale, cap, temperature;
    double *logits, *slope; /* [V] of one row, and d logit / d raw */
} fused_head;

static void head_logits(const fused_head *h, size_t row)
{
    for (size_t v = 0; v < h->weight.rows; v++) {
        double raw = h->bias.x ? h->bias.x[v] : 0;
        for (size_t i = 0; i < h->hidden.cols; i++)
            raw += h->hidden.x[row * h->hidden.cols + i] * h->weight.x[v * h->hidden.cols + i];
        raw *= h->scale;
        h->slope[v] = h->scale;
        if (h->cap > 0) {
            double bent = tanh(raw / h->cap);
            raw = h->cap * bent;
            h->slope[v] *= 1 - bent * bent;
        }
        h->logits[v] = raw;
    }
}

static void head_backward(const fused_head *h, size_t row, const double *grad, double *by_hidden,
                          double *by_weight, double *by_bias)
{
    size_t width = h->hidden.cols;
    for (size_t v = 0; v < h->weight.rows; v++) {
        double g = grad[v] * h->slope[v];
        by_bias[v] += g;
        for (size_t i = 0; i < width; i++) {
            by_hidden[row * width + i] += g * h->weight.x[v * width + i];
            by_weight[v * width + i] += g * h->hidden.x[row * width + i];
        }
    }
}

static fused_head read_head(algo_case *c)
{
    fused_head h = {.hidden = case_input(c, "hidden", 2),
                    .weight = case_input(c, "weight", 2),
                    .bias = case_optional(c, "bias", 1),
                    .targets = case_input(c, "targets", 1),
                    .scale = case_number(c, "logit_scale", 1),
                    .cap = case_number(c, "final_logit_softcapping", 0),
                    .temperature = case_number(c, "temperature", 1)};
    case_expect_shape(c, "weight", &h.weight, h.weight.rows, h.hidden.cols);
    case_expect_shape(c, "bias", &h.bias, h.weight.rows, 1);
    case_expect_shape(c, "targets", &h.targets, h.hidden.rows, 1);
    for (size_t n = 0; !case_failed(c) && n < h.hidden.rows; n++)
        if (!(h.targets.x[n] >= 0 && h.targets.x[n] < (double)h.weight.rows))
            case_malformed(c, "target %g is outside the vocabulary of %zu", h.targets.x[n],
                           h.weight.rows);
    h.logits = case_doubles(c, h.weight.rows);
    h.slope = case_doubles(c, h.weight.rows);
    return h;
}

void trl_fused_head(algo_case *c)
{
    fused_head h = read_head(c);
    size_t rows = h.hidden.rows, vocab = h.weight.rows, width = h.hidden.cols;
    matrix by_logp = case_optional(c, "grad_logprobs", 1);
    matrix by_entropy = case_optional(c, "grad_entropy", 1);
    case_expect_shape(c, "grad_logprobs", &by_logp, rows, 1);
    case_expect_shape(c, "grad_entropy", &by_entropy, rows, 1);
    double *logp = case_doubles(c, rows), *entropy = case_doubles(c, rows),
           *squares = case_doubles(c, rows), *grad = case_doubles(c, vocab),
           *by_hidden = case_doubles(c, rows * width), *by_weight = case_doubles(c, vocab * width),
           *by_bias = case_doubles(c, vocab);
    if (case_failed(c))
        return;
    for (size_t n = 0; n < rows; n++) {
        size_t target = (size_t)h.targets.x[n];
        head_logits(&h, n);
        grpo_logit_stats s = grpo_logits_stats(h.logits, vocab, target, h.temperature);
        logp[n] = s.logp;
        entropy[n] = s.entropy;
        squares[n] = s.log_sum_sq;
        grpo_logits_gradient(grad, h.logits, vocab, target, h.temperature, s,
                             by_logp.x ? by_logp.x[n] : 0, by_entropy.x ? by_entropy.x[n] : 0);
        head_backward(&h, n, grad, by_hidden, by_weight, by_bias);
    }
    case_put_array(c, "logprobs", logp, rows);
    case_put_array(c, "entropy", entropy, rows);
    case_put_array(c, "log_sum_sq_probs", squares, rows);
    case_put_matrix(c, "grad_hidden", by_hidden, rows, width);
    case_put_matrix(c, "grad_weight", by_weight, vocab, width);
    if (h.bias.x)
        case_put_array(c, "grad_bias", by_bias, vocab);
}

/* ---- rewards ----------------------------------------------------------------------------- */

void trl_overlong(algo_case *c)
{
    matrix lengths = case_input(c, "lengths", 1);
    double max = case_number(c, "max_completion_len", 0);
    double buffer = case_number(c, "soft_punish_cache", 0);
    double *rewards = case_doubles(c, lengths.rows);
    if (buffer < 0)
        case_refuse(c, "soft_punish_cache must not be negative");
    if (case_failed(c))
        return;
    for (size_t i = 0; i < lengths.rows; i++)
        rewards[i] = grpo_overlong_penalty(lengths.x[i], max, buffer, 1, 0);
    case_put_array(c, "rewards", rewards, lengths.rows);
}

/* One ragged row of token ids. */
static size_t read_ids(algo_case *c, const json_t *row, int64_t **ids, size_t **scratch)
{
    size_t count = json_array_size(row);
    *ids = case_bytes(c, count * sizeof **ids);
    *scratch = case_bytes(c, count * sizeof **scratch);
    if (!json_is_array(row))
        case_malformed(c, "inputs.completion_ids must hold arrays of token ids");
    for (size_t i = 0; !case_failed(c) && i < count; i++)
        (*ids)[i] = (int64_t)json_number_value(json_array_get(row, i));
    return count;
}

void trl_repetition(algo_case *c)
{
    json_t *completions = json_object_get(c->inputs, "completion_ids");
    size_t rows = json_array_size(completions);
    double ngram = case_number(c, "ngram_size", 3), penalty = case_number(c, "max_penalty", -1);
    double *rewards = case_doubles(c, rows);
    if (!json_is_array(completions))
        case_malformed(c, "inputs.completion_ids is missing");
    if (!(ngram >= 1 && ngram < 1e9))
        case_refuse(c, "ngram_size must be at least 1, not %g", ngram);
    if (penalty > 0)
        case_refuse(c, "max_penalty must not be positive, it is %g", penalty);
    for (size_t b = 0; !case_failed(c) && b < rows; b++) {
        int64_t *ids;
        size_t *scratch, count = read_ids(c, json_array_get(completions, b), &ids, &scratch);
        if (!case_failed(c))
            rewards[b] = grpo_repetition_penalty(ids, count, (size_t)ngram, penalty, scratch);
    }
    if (!case_failed(c))
        case_put_array(c, "rewards", rewards, rows);
}
