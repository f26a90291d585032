/* verl's KL, value loss, entropy, log-probabilities, rollout correction and overlong reward. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/algo_verl.h"

/* ---- KL --------------------------------------------------------------------------------- */

void verl_set_kl(algo_case *c, grpo_algo *algo, const char *type)
{
    static const struct {
        const char *name;
        grpo_kl_kind kind;
    } kinds[] = {{"kl", GRPO_KL_K1},  {"k1", GRPO_KL_K1}, {"abs", GRPO_KL_ABS},
                 {"mse", GRPO_KL_K2}, {"k2", GRPO_KL_K2}, {"low_var_kl", GRPO_KL_K3},
                 {"k3", GRPO_KL_K3}};
    size_t length = strlen(type);
    algo->kl_clamp = 1;
    algo->kl_straight_through = length && type[length - 1] == '+';
    length -= (size_t)algo->kl_straight_through;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strlen(kinds[i].name) == length && strncmp(kinds[i].name, type, length) == 0) {
            algo->kl_estimator = kinds[i].kind;
            return;
        }
    case_refuse(c, "'%s' is not a KL estimator", type);
}

void verl_kl_penalty(algo_case *c)
{
    matrix logp = case_input(c, "logprob", 2), ref = case_tokens(c, "ref_logprob", &logp);
    grpo_algo algo;
    grpo_algo_preset(&algo, "spec", NULL);
    verl_set_kl(c, &algo, case_text(c, "kl_penalty", ""));
    size_t count = logp.rows * logp.cols;
    double *kl = case_doubles(c, count), *grad = case_doubles(c, count);
    if (case_failed(c))
        return;
    for (size_t t = 0; t < count; t++) {
        grpo_kl_value value = compute_kl_penalty(algo.kl_estimator, algo.kl_straight_through, 1,
                                                 logp.x[t], ref.x[t]);
        kl[t] = value.kl;
        grad[t] = value.grad;
    }
    case_put_matrix(c, "kl", kl, logp.rows, logp.cols);
    case_put_matrix(c, "grad_logprob", grad, logp.rows, logp.cols);
}

void verl_compute_rewards(algo_case *c)
{
    matrix scores = case_input(c, "token_level_scores", 2);
    matrix logp = case_tokens(c, "old_log_prob", &scores);
    matrix ref = case_tokens(c, "ref_log_prob", &scores);
    matrix ones = scores;
    ones.x = case_doubles(c, scores.rows * scores.cols);
    grpo_rows rows = case_rows(c, &ones);
    rows.mask = NULL; /* not masked */
    double *out = case_doubles(c, scores.rows * scores.cols);
    grpo_algo algo;
    grpo_algo_preset(&algo, "spec", NULL);
    algo.kl_estimator = GRPO_KL_K1;
    algo.kl_coef = case_number(c, "kl_ratio", 0);
    if (case_failed(c))
        return;
    apply_kl_penalty(out, &algo, &rows, scores.x, logp.x, ref.x, NULL);
    case_put_matrix(c, "token_level_rewards", out, scores.rows, scores.cols);
}

void verl_apply_kl_penalty(algo_case *c)
{
    matrix scores = case_input(c, "token_level_scores", 2);
    matrix logp = case_tokens(c, "old_log_probs", &scores);
    matrix ref = case_tokens(c, "ref_log_prob", &scores);
    matrix mask = case_tokens(c, "response_mask", &scores);
    grpo_rows rows = case_rows(c, &mask);
    double *out = case_doubles(c, scores.rows * scores.cols), current;
    grpo_algo algo;
    grpo_algo_preset(&algo, "spec", NULL);
    verl_set_kl(c, &algo, case_text(c, "kl_penalty", "kl"));
    const char *type = case_text(c, "kl_ctrl_type", "fixed");
    int adaptive = strcmp(type, "adaptive") == 0;
    double horizon = case_number(c, "horizon", 10000), target = case_number(c, "target_kl", 0.1);
    algo.kl_coef = case_number(c, "kl_coef", 0.001);
    if (!adaptive && strcmp(type, "fixed") != 0)
        case_refuse(c, "kl_ctrl_type '%s' is neither fixed nor adaptive", type);
    if (adaptive && !(horizon > 0))
        case_refuse(c, "horizon must be positive, not %g", horizon);
    if (case_failed(c))
        return;
    apply_kl_penalty(out, &algo, &rows, scores.x, logp.x, ref.x, &current);
    case_put_matrix(c, "token_level_rewards", out, scores.rows, scores.cols);
    case_put(c, "current_kl", current);
    case_put(c, "kl_coef_used", algo.kl_coef);
    case_put(c, "kl_coef_after",
             grpo_kl_controller(adaptive ? GRPO_KL_ADAPTIVE : GRPO_KL_FIXED, algo.kl_coef, current,
                                target, horizon, (double)scores.rows));
}

/* ---- value, entropy, log-probabilities --------------------------------------------------- */

void verl_value_loss(algo_case *c)
{
    matrix mask = case_input(c, "response_mask", 2);
    loss_case l = loss_case_of(c, &mask);
    const double *value = case_tokens(c, "vpreds", &mask).x;
    const double *old = case_tokens(c, "values", &mask).x;
    const double *returns = case_tokens(c, "returns", &mask).x;
    verl_set_aggregation(&l, case_text(c, "loss_agg_mode", "token-mean"));
    l.algo.value_clip = case_number(c, "cliprange_value", 0.5);
    double loss, clipped;
    if (!case_failed(c))
        c->status = compute_value_loss(&l.algo, &l.in.rows, value, old, returns, l.in.token_count,
                                       l.in.sequence_count, &loss, l.out.grad_logp, &clipped,
                                       &c->err);
    if (case_failed(c))
        return;
    case_put(c, "loss", loss);
    loss_case_put(&l, "grad_vpreds", l.out.grad_logp);
    case_put(c, "vf_clipfrac", clipped);
}

void verl_entropy_loss(algo_case *c)
{
    logit_rows logits = case_logits(c, NULL, 1);
    matrix mask = case_tokens(c, "response_mask", &logits.logits);
    loss_case l = loss_case_of(c, &mask);
    verl_set_aggregation(&l, case_text(c, "loss_agg_mode", "token-mean"));
    double loss;
    if (!case_failed(c))
        c->status = grpo_aggregate_loss(&l.algo, &l.in.rows, logits.entropy, l.in.token_count,
                                        l.in.sequence_count, l.in.scale, &loss, l.out.grad_entropy,
                                        &c->err);
    double *grad = case_logits_gradient(c, &logits, NULL, l.out.grad_entropy);
    if (case_failed(c))
        return;
    loss_case_put(&l, "entropy", logits.entropy);
    case_put(c, "loss", loss);
    case_put_cube(c, "grad_logits", grad, &logits.logits);
}

void verl_logprobs(algo_case *c)
{
    logit_rows l = case_logits(c, "labels", 1);
    matrix against = case_optional_tokens(c, "grad_output", &l.logits);
    size_t tokens = l.logits.rows * l.logits.cols;
    double *ones = case_doubles(c, tokens), *squares = case_doubles(c, tokens);
    for (size_t t = 0; !case_failed(c) && t < tokens; t++) {
        ones[t] = 1;
        squares[t] = exp(l.stats[t].log_sum_sq);
    }
    double *grad = case_logits_gradient(c, &l, against.x ? against.x : ones, NULL);
    if (case_failed(c))
        return;
    case_put_matrix(c, "logprobs", l.logp, l.logits.rows, l.logits.cols);
    case_put_matrix(c, "sum_pi_squared", squares, l.logits.rows, l.logits.cols);
    case_put_cube(c, "grad_logits", grad, &l.logits);
}

/* ---- rollout correction ------------------------------------------------------------------ */

void verl_rollout_weights(algo_case *c)
{
    matrix log_ratio = case_input(c, "log_ratio", 2);
    matrix mask = case_tokens(c, "response_mask", &log_ratio);
    grpo_rows rows = case_rows(c, &mask);
    double *weight = case_doubles(c, mask.rows * mask.cols);
    const char *level = case_text(c, "rollout_is", "token");
    double threshold = case_number(c, "rollout_is_threshold", 2);
    int normalize = case_flag(c, "rollout_is_batch_normalize", 0);
    int per_sequence = strcmp(level, "sequence") == 0;
    grpo_weight_metrics m;
    if (!per_sequence && strcmp(level, "token") != 0)
        case_refuse(c, "rollout_is '%s' is neither token nor sequence", level);
    if (!case_failed(c))
        c->status = grpo_rollout_weights(weight, &rows, log_ratio.x, per_sequence, threshold,
                                         normalize, &m, &c->err);
    if (case_failed(c))
        return;
    case_put_matrix(c, "rollout_is_weights", weight, mask.rows, mask.cols);
    case_metric(c, "rollout_is_mean", m.mean);
    case_metric(c, "rollout_is_max", m.max);
    case_metric(c, "rollout_is_min", m.min);
    case_metric(c, "rollout_is_eff_sample_size", m.effective_sample_size);
    if (normalize)
        case_metric(c, "rollout_is_batch_norm_factor", m.norm_factor);
}

const char *verl_thresholds(algo_case *c, json_t *value, char *text, size_t size)
{
    if (!value || json_is_null(value))
        case_refuse(c, "rollout_rs needs rollout_rs_threshold");
    if (json_is_string(value))
        return json_string_value(value);
    snprintf(text, size, "%.17g", case_number_of(c, value, "rollout_rs_threshold", 0));
    return text;
}

void verl_rejection_mask(algo_case *c)
{
    matrix log_ratio = case_input(c, "log_ratio", 2);
    matrix mask = case_tokens(c, "response_mask", &log_ratio);
    grpo_rows rows = case_rows(c, &mask);
    size_t tokens = mask.rows * mask.cols;
    unsigned char *kept = case_bytes(c, tokens);
    double *out = case_doubles(c, tokens);
    char text[64];
    const char *options = case_text(c, "rollout_rs", "token_k1");
    const char *thresholds =
        verl_thresholds(c, case_value(c, "rollout_rs_threshold"), text, sizeof text);
    grpo_rejection_metrics m;
    if (!case_failed(c))
        c->status = grpo_rejection_mask(kept, &rows, log_ratio.x, options, thresholds, &m, &c->err);
    if (case_failed(c))
        return;
    for (size_t t = 0; t < tokens; t++)
        out[t] = kept[t];
    case_put_matrix(c, "modified_response_mask", out, mask.rows, mask.cols);
    case_metric(c, "rollout_rs_masked_fraction", m.masked_fraction);
    case_metric(c, "rollout_rs_seq_masked_fraction", m.seq_masked_fraction);
}

/* ---- overlong ---------------------------------------------------------------------------- */

void verl_overlong(algo_case *c)
{
    matrix length = case_input(c, "valid_response_length", 1), score = case_input(c, "score", 1);
    case_expect_shape(c, "score", &score, length.rows, 1);
    double max = case_number(c, "max_resp_len", 0), buffer = case_number(c, "overlong_buffer_len", 0);
    double factor = case_number(c, "penalty_factor", 1), columns = case_number(c, "columns", 0);
    if (!(buffer > 0))
        case_refuse(c, "overlong_buffer_len must be positive, not %g", buffer);
    if (!(columns >= 1 && columns <= 1e6))
        case_malformed(c, "params.columns must be at least 1");
    if (case_failed(c))
        return;
    size_t width = (size_t)columns;
    double *reward = case_doubles(c, length.rows * width), *penalty = case_doubles(c, length.rows);
    for (size_t b = 0; !case_failed(c) && b < length.rows; b++) {
        double n = length.x[b];
        if (!(n >= 0 && n <= columns && n == floor(n))) {
            case_malformed(c, "a response of %g tokens does not fit in %zu columns", n, width);
            return;
        }
        penalty[b] = grpo_overlong_penalty(n, max, buffer, factor, 1);
        reward[b * width + (n > 0 ? (size_t)n : width) - 1] = score.x[b] + penalty[b];
    }
    if (case_failed(c))
        return;
    case_put_matrix(c, "reward_tensor", reward, length.rows, width);
    case_put_array(c, "overlong_reward", penalty, length.rows);
}
