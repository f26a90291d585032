/* compute_grpo_loss(): ratios, the policy loss of loss_term.c, KL, entropy, the aggregation, and
 * the gradient of their sum by every log-probability.
 *
 * One pass over the rows. Inside a row r stands for one ratio, or for one a token; `by_row`
 * collects dloss/dr of a row ratio and is spread over the row's tokens at its end. */
#include "algo/loss_select.h"
#include "algo/loss_tally.h"
#include "algo/loss_term.h"

typedef struct loss_state {
    const grpo_algo *algo;
    const grpo_loss_batch *in;
    grpo_loss *out;
    const double *fixed; /* logp as "no gradient" terms see it */
    rows_weights policy, kl, entropy;
    loss_selection selection;
    int row_ratio; /* one ratio a row, not one a token */
    double by_row;
    loss_tally tally;
} loss_state;

/* What belongs to a whole row. */
typedef struct loss_row {
    size_t index, first, end, length;
    double ratio, fixed_ratio; /* of the row, or the value part of sequence_token */
    double log_ratio, logp;    /* sums over valid tokens */
    double mean_fixed;         /* mean of d without gradient */
    double slope;              /* d ratio / d logp of each valid token */
    double log_w;              /* vespo */
    double weight;             /* is_weight of the row, 1 when it is per token */
    int low_kl;                /* off_policy_threshold keeps it whatever A is */
} loss_row;

size_t grpo_loss_scratch(size_t rows, size_t tokens)
{
    (void)rows;
    return loss_selection_bytes(tokens);
}

/* ---- inputs ----------------------------------------------------------------------------- */

static double advantage_of(const grpo_loss_batch *in, size_t row, size_t token)
{
    return in->advantage[in->advantage_per_token ? token : row];
}

static double old_logp_of(const loss_state *s, size_t token)
{
    return s->in->old_logp ? s->in->old_logp[token] : s->fixed[token];
}

static grpo_status check_token(const grpo_algo *algo, const grpo_loss_batch *in, size_t row,
                               size_t t, grpo_error *err)
{
    const struct {
        const char *name;
        double value;
    } given[] = {
        {"logp", in->logp[t]},
        {"old_logp", in->old_logp ? in->old_logp[t] : 0},
        {"ref_logp", in->ref_logp && algo->kl_coef != 0 ? in->ref_logp[t] : 0},
        {"advantage", advantage_of(in, row, t)},
        {"entropy", in->entropy ? in->entropy[t] : 0},
        {"importance weight", !in->is_weight ? 0 : in->is_weight[in->is_weight_per_row ? row : t]},
    };
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        if (isnan(given[i].value))
            return grpo_fail(err, GRPO_ERR_NUMERIC, "%s of row %zu, token %zu is not a number",
                             given[i].name, row, t - in->rows.offset[row]);
    return GRPO_OK;
}

static grpo_status check_batch(const grpo_algo *algo, const grpo_loss_batch *in,
                               const grpo_loss *out, grpo_error *err)
{
    grpo_status status = grpo_algo_validate(algo, err);
    if (status == GRPO_OK)
        status = rows_check(&in->rows, err);
    if (status != GRPO_OK)
        return status;
    if (!in->logp || !in->advantage || !out->grad_logp || !out->scratch)
        return grpo_fail(err, GRPO_ERR_USAGE,
                         "the loss needs logp, advantage, grad_logp and scratch");
    if (algo->kl_coef != 0 && algo->kl_place == GRPO_KL_IN_LOSS && !in->ref_logp)
        return grpo_fail(err, GRPO_ERR_USAGE, "kl_coef is %g but ref_logp is not given",
                         algo->kl_coef);
    if ((algo->entropy_coef != 0 || algo->top_entropy_quantile < 1) && !in->entropy)
        return grpo_fail(err, GRPO_ERR_USAGE,
                         "entropy_coef and top_entropy_quantile need the entropies");
    if (in->is_weight && !in->is_weight_per_row && algo->loss_aggregation == GRPO_AGG_ROW_MEAN &&
        algo->loss != GRPO_LOSS_GMPO)
        return grpo_fail(err, GRPO_ERR_USAGE,
                         "row_mean takes one importance weight a row: use sampler_correction "
                         "sequence_truncate or sequence_mask");
    for (size_t b = 0; b < in->rows.count; b++)
        for (size_t t = in->rows.offset[b]; t < in->rows.offset[b + 1] && status == GRPO_OK; t++)
            if (rows_valid(&in->rows, t))
                status = check_token(algo, in, b, t, err);
    return status;
}

/* outer * inner, where a clipped term (outer 0) stays 0 beside an infinite ratio. */
static double chain(double outer, double inner)
{
    return outer == 0 ? 0 : outer * inner;
}

/* ---- ratios ----------------------------------------------------------------------------- */

/* exp of the clamped log ratio; *slope = d ratio / d log ratio. */
static double ratio_of(const grpo_algo *algo, double log_ratio, double *slope)
{
    double clamped = algo_clamp(log_ratio, algo->log_ratio_min, algo->log_ratio_max);
    double ratio = exp(clamped);
    if (slope)
        *slope = clamped == log_ratio ? ratio : 0;
    return ratio;
}

/* GMPO's d': d limited to [-low, high] on the side that A's sign rewards; *inside: dd'/dd. */
static double gmpo_log_ratio(const grpo_algo *algo, double d, double advantage, int *inside)
{
    double clamped = algo_clamp(d, -algo->clip_epsilon_low, algo->clip_epsilon_high);
    double limited = advantage > 0 ? fmin(d, clamped) : advantage < 0 ? fmax(d, clamped) : 0;
    *inside = advantage != 0 && limited == d;
    return limited;
}

static double divisor_of(const loss_state *s, size_t length)
{
    return length ? (double)length + s->algo->length_epsilon : 1;
}

static double gmpo_sum(const loss_state *s, const loss_row *row, size_t *length)
{
    double sum = 0;
    *length = 0;
    for (size_t t = row->first; t < row->end; t++)
        if (rows_valid(&s->in->rows, t) && loss_selects_entropy(&s->selection, t)) {
            int inside;
            sum += gmpo_log_ratio(s->algo, s->in->logp[t] - old_logp_of(s, t),
                                  advantage_of(s->in, row->index, t), &inside);
            ++*length;
        }
    return sum;
}

static void set_row_ratio(const loss_state *s, loss_row *row, double fixed_sum)
{
    double n = row->length ? (double)row->length : 1;
    double divisor = s->algo->importance_sampling_level == GRPO_RATIO_SEQUENCE ? 1 : n;
    double sum = row->log_ratio;
    if (s->algo->loss == GRPO_LOSS_GMPO) {
        size_t selected;
        sum = gmpo_sum(s, row, &selected);
        divisor = divisor_of(s, selected);
    }
    row->mean_fixed = fixed_sum / n;
    row->ratio = ratio_of(s->algo, sum / divisor, &row->slope);
    row->slope /= divisor;
    row->fixed_ratio = ratio_of(s->algo, fixed_sum / divisor, NULL);
}

/* log w of vespo: the token log ratios, each clamped, and the sampler's weights. As in TRL the
 * latter are summed without the mask: they are 1 where it is 0. */
static double vespo_log_w(const loss_state *s, const loss_row *row)
{
    const grpo_loss_batch *in = s->in;
    const double low = -ALGO_LOG_1E8;
    double sum = 0;
    for (size_t t = row->first; t < row->end; t++)
        if (rows_valid(&in->rows, t))
            sum += algo_clamp(s->fixed[t] - old_logp_of(s, t), -20, 20);
    if (in->is_weight && in->is_weight_per_row)
        sum += algo_clamp(log(in->is_weight[row->index]), low, 20);
    for (size_t t = row->first; in->is_weight && !in->is_weight_per_row && t < row->end; t++)
        sum += algo_clamp(log(in->is_weight[t]), low, 20);
    return algo_clamp(sum, low, 20);
}

/* Row weight of the importance correction: given, or for GMPO the geometric mean of the tokens'.
 * vespo has it in phi. */
static double row_weight(const loss_state *s, const loss_row *row)
{
    const grpo_loss_batch *in = s->in;
    if (!in->is_weight || s->algo->loss == GRPO_LOSS_VESPO)
        return 1;
    if (in->is_weight_per_row)
        return in->is_weight[row->index];
    if (s->algo->loss != GRPO_LOSS_GMPO)
        return 1;
    double sum = 0;
    for (size_t t = row->first; t < row->end; t++)
        if (rows_valid(&in->rows, t))
            sum += log(in->is_weight[t] + 1e-10);
    return exp(sum / divisor_of(s, row->length));
}

static loss_row make_row(const loss_state *s, size_t index)
{
    const grpo_loss_batch *in = s->in;
    loss_row row = {.index = index,
                    .first = in->rows.offset[index],
                    .end = in->rows.offset[index + 1],
                    .length = rows_length(&in->rows, index)};
    double fixed_sum = 0, drift = 0;
    for (size_t t = row.first; t < row.end; t++) {
        if (!rows_valid(&in->rows, t))
            continue;
        double old = old_logp_of(s, t);
        row.log_ratio += in->logp[t] - old;
        row.logp += in->logp[t];
        fixed_sum += s->fixed[t] - old;
        double away = (in->sampler_logp ? in->sampler_logp[t] : old) - s->fixed[t];
        drift += isnan(away) ? 0 : away; /* the sampler did not score this token */
    }
    row.low_kl = drift <= s->algo->off_policy_threshold * (row.length ? (double)row.length : 1);
    row.weight = row_weight(s, &row);
    set_row_ratio(s, &row, fixed_sum);
    if (s->algo->loss == GRPO_LOSS_VESPO)
        row.log_w = vespo_log_w(s, &row);
    return row;
}

/* ---- the policy loss -------------------------------------------------------------------- */

/* Ratio of one token and its slope by the token's own logp (0 where the ratio is the row's). */
static loss_point token_point(const loss_state *s, const loss_row *row, size_t t, double *slope)
{
    const grpo_algo *algo = s->algo;
    double logp = s->in->logp[t], old = old_logp_of(s, t);
    loss_point p = {.log_ratio = logp - old,
                    .logp = logp,
                    .advantage = advantage_of(s->in, row->index, t),
                    .chosen = loss_selects_covariance(&s->selection, t)};
    *slope = 0;
    if (s->row_ratio) {
        p.ratio = row->ratio;
        p.fixed_ratio = row->fixed_ratio;
    } else if (algo->importance_sampling_level == GRPO_RATIO_SEQUENCE_TOKEN) {
        p.ratio = ratio_of(algo, row->mean_fixed + (logp - s->fixed[t]), slope);
        p.fixed_ratio = ratio_of(algo, row->mean_fixed, NULL);
    } else {
        p.ratio = ratio_of(algo, p.log_ratio, slope);
        p.fixed_ratio =
            s->fixed == s->in->logp ? p.ratio : ratio_of(algo, s->fixed[t] - old, NULL);
    }
    if (algo->loss == GRPO_LOSS_VESPO)
        p.phi = loss_vespo_phi(algo, row->log_w, p.advantage);
    return p;
}

/* Everything that multiplies a token's policy loss without carrying a gradient. */
static double token_factor(const loss_state *s, const loss_row *row, size_t t, double advantage)
{
    const grpo_loss_batch *in = s->in;
    if ((advantage < 0 && !row->low_kl) || !loss_selects_entropy(&s->selection, t))
        return 0;
    if (in->is_weight && !in->is_weight_per_row && s->algo->loss != GRPO_LOSS_VESPO)
        return in->is_weight[t];
    return row->weight;
}

static void add_policy_token(loss_state *s, const loss_row *row, size_t t, double weight)
{
    double slope;
    loss_point p = token_point(s, row, t, &slope);
    loss_term term = loss_method_of(s->algo->loss)->function(s->algo, &p);
    double factor = token_factor(s, row, t, p.advantage);
    s->out->policy_loss += weight * factor * term.x;
    s->out->grad_logp[t] += weight * factor * (chain(term.by_ratio, slope) + term.by_logp);
    if (s->row_ratio)
        s->by_row += weight * factor * term.by_ratio;
    if (s->out->token_loss)
        s->out->token_loss[t] = factor * term.x;
    if (s->out->ratio)
        s->out->ratio[t] = p.ratio;
    if (!s->tally.by_row)
        tally_ratio(&s->tally, p.ratio, p.advantage);
    if (s->in->advantage_per_token && s->algo->loss == GRPO_LOSS_VESPO)
        tally_phi(&s->tally, p.phi);
}

/* row_mean: the completion is one action with log-probability sum_t m logp. */
static void add_policy_row(loss_state *s, const loss_row *row)
{
    const grpo_loss_batch *in = s->in;
    double advantage = in->advantage_per_token ? 0 : in->advantage[row->index];
    for (size_t t = row->first; in->advantage_per_token && t < row->end; t++)
        if (rows_valid(&in->rows, t))
            advantage += in->advantage[t] / divisor_of(s, row->length);
    loss_point p = {.ratio = row->ratio,
                    .fixed_ratio = row->fixed_ratio,
                    .log_ratio = row->log_ratio,
                    .logp = row->logp,
                    .advantage = advantage};
    if (s->algo->loss == GRPO_LOSS_VESPO)
        p.phi = loss_vespo_phi(s->algo, row->log_w, advantage);
    loss_term term = loss_method_of(s->algo->loss)->function(s->algo, &p);
    double factor = advantage < 0 && !row->low_kl ? 0 : row->weight;
    double weight = rows_row_weight(&s->policy) * factor;
    s->out->policy_loss += weight * term.x;
    s->by_row += weight * term.by_ratio;
    for (size_t t = row->first; t < row->end; t++) {
        if (!rows_valid(&in->rows, t))
            continue;
        s->out->grad_logp[t] += weight * term.by_logp;
        if (s->out->token_loss)
            s->out->token_loss[t] = factor * term.x;
        if (s->out->ratio)
            s->out->ratio[t] = p.ratio;
        if (s->algo->loss == GRPO_LOSS_GMPO)
            tally_gmpo(&s->tally, in->logp[t] - old_logp_of(s, t),
                       advantage_of(in, row->index, t));
    }
    if (s->tally.by_row)
        tally_ratio(&s->tally, p.ratio, advantage);
}

/* ---- KL, entropy, and the row as a whole ------------------------------------------------ */

static grpo_kl_value token_kl(const loss_state *s, size_t t)
{
    const grpo_algo *a = s->algo;
    double logp = s->in->logp[t], ref = s->in->ref_logp[t];
    grpo_kl_value value =
        compute_kl_penalty(a->kl_estimator, a->kl_straight_through, a->kl_clamp, logp, ref);
    if (a->kl_straight_through && s->fixed != s->in->logp) {
        double d = logp - ref, fixed = s->fixed[t] - ref;
        value.kl = compute_kl_penalty(a->kl_estimator, 0, a->kl_clamp, s->fixed[t], ref).kl +
                   0.5 * (d * d - fixed * fixed);
    }
    return value;
}

static void add_kl(loss_state *s, const loss_row *row, size_t t, double weight)
{
    grpo_kl_value value = token_kl(s, t);
    double total = value.kl, grad = value.grad, coef = weight * s->algo->kl_coef;
    if (s->algo->kl_bias_correction) {
        double slope;
        double ratio = token_point(s, row, t, &slope).ratio;
        total = chain(value.kl, ratio);
        grad = chain(value.grad, ratio) + chain(value.kl, slope);
        if (s->row_ratio)
            s->by_row += coef * value.kl;
    }
    s->out->kl_loss += weight * total;
    s->out->grad_logp[t] += coef * grad;
    s->tally.kl += total;
}

static void add_entropy(loss_state *s, size_t t, double weight)
{
    double entropy = s->in->entropy[t];
    s->tally.entropy += entropy;
    if (s->algo->entropy_coef == 0 || !loss_selects_entropy(&s->selection, t))
        return;
    s->out->entropy_bonus += weight * entropy;
    if (s->out->grad_entropy)
        s->out->grad_entropy[t] = -s->algo->entropy_coef * weight;
}

/* The row ratio's gradient reaches every token that entered it. */
static void spread_row_gradient(loss_state *s, const loss_row *row)
{
    for (size_t t = row->first; t < row->end; t++) {
        int inside = rows_valid(&s->in->rows, t);
        if (inside && s->algo->loss == GRPO_LOSS_GMPO) {
            gmpo_log_ratio(s->algo, s->in->logp[t] - old_logp_of(s, t),
                           advantage_of(s->in, row->index, t), &inside);
            inside = inside && loss_selects_entropy(&s->selection, t);
        }
        if (inside)
            s->out->grad_logp[t] += chain(s->by_row, row->slope);
    }
}

static void add_row(loss_state *s, size_t index)
{
    const grpo_loss_batch *in = s->in;
    loss_row row = make_row(s, index);
    int whole = s->algo->loss_aggregation == GRPO_AGG_ROW_MEAN;
    int with_kl = in->ref_logp && s->algo->kl_coef != 0 && s->algo->kl_place == GRPO_KL_IN_LOSS;
    s->by_row = 0;
    tally_begin_row(&s->tally);
    if (whole)
        add_policy_row(s, &row);
    for (size_t t = row.first; t < row.end; t++) {
        if (!rows_valid(&in->rows, t))
            continue;
        tally_token(&s->tally, in->logp[t] - old_logp_of(s, t));
        if (!whole)
            add_policy_token(s, &row, t, rows_token_weight(&s->policy, row.length));
        if (with_kl)
            add_kl(s, &row, t, rows_token_weight(&s->kl, row.length));
        if (in->entropy)
            add_entropy(s, t, rows_token_weight(&s->entropy, row.length));
    }
    if (s->row_ratio)
        spread_row_gradient(s, &row);
    if (s->out->row_ratio)
        s->out->row_ratio[index] = row.ratio;
    if (!whole && s->tally.by_row)
        tally_ratio(&s->tally, row.ratio, in->advantage[index]);
    int keeps_all = row.low_kl; /* whatever the sign of its advantages */
    if (!in->advantage_per_token) {
        keeps_all = keeps_all || in->advantage[index] >= 0;
        if (s->algo->loss == GRPO_LOSS_VESPO)
            tally_phi(&s->tally, loss_vespo_phi(s->algo, row.log_w, in->advantage[index]));
    }
    tally_end_row(&s->tally, row.length, keeps_all);
}

/* ---- the whole batch -------------------------------------------------------------------- */

static void clear_outputs(grpo_loss *out, size_t tokens)
{
    double *arrays[] = {out->grad_logp, out->grad_entropy, out->token_loss, out->ratio};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        for (size_t t = 0; arrays[i] && t < tokens; t++)
            arrays[i][t] = arrays[i] == out->ratio ? 1 : 0;
    out->policy_loss = out->kl_loss = out->entropy_bonus = 0;
}

grpo_status compute_grpo_loss(const grpo_algo *algo, const grpo_loss_batch *in, grpo_loss *out,
                              grpo_error *err)
{
    grpo_status status = check_batch(algo, in, out, err);
    if (status != GRPO_OK)
        return status;
    clear_outputs(out, rows_tokens(&in->rows));
    loss_state s = {.algo = algo, .in = in, .out = out};
    s.fixed = in->detached_logp ? in->detached_logp : in->logp;
    s.row_ratio = algo->loss == GRPO_LOSS_GMPO ||
                  algo->importance_sampling_level == GRPO_RATIO_SEQUENCE ||
                  algo->importance_sampling_level == GRPO_RATIO_SEQUENCE_MEAN;
    s.selection = loss_select(algo, in, s.fixed, out->scratch);
    grpo_aggregation kl = rows_resolve(algo->kl_aggregation, algo->loss_aggregation);
    grpo_aggregation entropy = rows_resolve(algo->entropy_aggregation, algo->loss_aggregation);
    double entropy_tokens = in->entropy_token_count;
    if (entropy_tokens <= 0)
        entropy_tokens = algo->top_entropy_quantile < 1 ? (double)s.selection.entropy_tokens
                                                        : in->token_count;
    s.policy = rows_weights_of(algo, algo->loss_aggregation, &in->rows, in->token_count,
                               in->sequence_count, in->scale);
    s.kl = rows_weights_of(algo, kl, &in->rows, in->token_count, in->sequence_count, in->scale);
    s.entropy = rows_weights_of(algo, entropy, &in->rows, entropy_tokens, in->sequence_count,
                                in->scale);
    tally_init(&s.tally, algo,
               s.row_ratio && algo->loss != GRPO_LOSS_GMPO &&
                   (algo->loss_aggregation == GRPO_AGG_ROW_MEAN || !in->advantage_per_token));
    s.tally.dropped = algo->loss == GRPO_LOSS_CLIP_COV ? s.selection.chosen_tokens : 0;
    for (size_t b = 0; b < in->rows.count; b++)
        add_row(&s, b);
    out->loss = out->policy_loss;
    if (algo->kl_coef != 0)
        out->loss += algo->kl_coef * out->kl_loss;
    if (algo->entropy_coef != 0)
        out->loss -= algo->entropy_coef * out->entropy_bonus;
    out->metrics = tally_finish(&s.tally);
    return GRPO_OK;
}

void compute_sequence_ratios(double *ratio, const grpo_rows *rows, const double *logp,
                             const double *old_logp)
{
    for (size_t b = 0; b < rows->count; b++) {
        double sum = 0;
        for (size_t t = rows->offset[b]; t < rows->offset[b + 1]; t++)
            if (rows_valid(rows, t))
                sum += logp[t] - old_logp[t];
        ratio[b] = exp(sum);
    }
}
