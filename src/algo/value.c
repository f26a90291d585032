/* PPO's value loss. */
#include "algo/rows.h"

typedef struct squared {
    double x, by_value;
    int clipped;
} squared;

/* max((v - R)^2, (clip(v, old - c, old + c) - R)^2) */
static squared clipped_error(double value, double old, double target, double clip)
{
    double limited = algo_clamp(value, old - clip, old + clip);
    double plain = (value - target) * (value - target);
    double bounded = (limited - target) * (limited - target);
    if (bounded > plain)
        return (squared){bounded, limited == value ? 2 * (value - target) : 0, 1};
    return (squared){plain, 2 * (value - target), 0};
}

grpo_status compute_value_loss(const grpo_algo *algo, const grpo_rows *rows, const double *value,
                               const double *old_value, const double *returns, double token_count,
                               double sequence_count, double *loss, double *grad,
                               double *clip_fraction, grpo_error *err)
{
    grpo_status status = rows_check(rows, err);
    if (status != GRPO_OK)
        return status;
    grpo_aggregation mode = algo->loss_aggregation == GRPO_AGG_ROW_MEAN
                                ? GRPO_AGG_SEQ_MEAN_TOKEN_MEAN
                                : algo->loss_aggregation;
    rows_weights weights = rows_weights_of(algo, mode, rows, token_count, sequence_count, 1);
    size_t tokens = 0, clipped = 0;
    *loss = 0;
    for (size_t b = 0; b < rows->count; b++) {
        double weight = 0.5 * rows_token_weight(&weights, rows_length(rows, b));
        for (size_t t = rows->offset[b]; t < rows->offset[b + 1]; t++) {
            grad[t] = 0;
            if (!rows_valid(rows, t))
                continue;
            if (isnan(value[t]) || isnan(old_value[t]) || isnan(returns[t]))
                return grpo_fail(err, GRPO_ERR_NUMERIC,
                                 "value or return of row %zu, token %zu is not a number", b,
                                 t - rows->offset[b]);
            squared s = clipped_error(value[t], old_value[t], returns[t], algo->value_clip);
            *loss += weight * s.x;
            grad[t] = weight * s.by_value;
            clipped += (size_t)s.clipped;
            tokens++;
        }
    }
    if (clip_fraction)
        *clip_fraction = tokens ? (double)clipped / (double)tokens : 0;
    return GRPO_OK;
}
