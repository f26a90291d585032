/* Ragged rows: counting, masked means, aggregation weights, sorting without allocation. */
#include "algo/rows.h"

size_t rows_length(const grpo_rows *rows, size_t row)
{
    size_t first = rows->offset[row], end = rows->offset[row + 1];
    if (!rows->mask)
        return end - first;
    size_t n = 0;
    for (size_t t = first; t < end; t++)
        n += rows->mask[t];
    return n;
}

grpo_status rows_check(const grpo_rows *rows, grpo_error *err)
{
    if (rows->count == 0)
        return GRPO_OK;
    if (!rows->offset || rows->offset[0] != 0)
        return grpo_fail(err, GRPO_ERR_USAGE, "row offsets must be given and start at 0");
    for (size_t b = 0; b < rows->count; b++)
        if (rows->offset[b + 1] < rows->offset[b])
            return grpo_fail(err, GRPO_ERR_USAGE, "row %zu ends before it starts", b);
    for (size_t t = 0; rows->mask && t < rows_tokens(rows); t++)
        if (rows->mask[t] > 1)
            return grpo_fail(err, GRPO_ERR_USAGE, "mask of token %zu is %d, not 0 or 1", t,
                             rows->mask[t]);
    return GRPO_OK;
}

rows_counts rows_count(const grpo_rows *rows)
{
    rows_counts counts = {0, 0};
    for (size_t b = 0; b < rows->count; b++) {
        size_t n = rows_length(rows, b);
        counts.tokens += n;
        counts.nonempty += n > 0;
    }
    return counts;
}

double rows_mean(const grpo_rows *rows, const double *x)
{
    double sum = 0;
    size_t n = 0;
    for (size_t t = 0; t < rows_tokens(rows); t++)
        if (rows_valid(rows, t)) {
            sum += x[t];
            n++;
        }
    return n ? sum / (double)n : 0;
}

/* ---- aggregation ------------------------------------------------------------------------ */

rows_weights rows_weights_of(const grpo_algo *algo, grpo_aggregation mode, const grpo_rows *rows,
                             double token_count, double sequence_count, double scale)
{
    rows_counts counts = rows_count(rows);
    size_t sequences = algo->count_empty_rows ? rows->count : counts.nonempty;
    return (rows_weights){mode, token_count > 0 ? token_count : (double)counts.tokens,
                          sequence_count > 0 ? sequence_count : (double)sequences,
                          algo->fixed_length, algo->length_epsilon, scale != 0 ? scale : 1};
}

/* A batch without tokens or rows has no loss rather than 0/0. */
static double over(double numerator, double denominator)
{
    return denominator > 0 ? numerator / denominator : 0;
}

double rows_token_weight(const rows_weights *weights, size_t length)
{
    const rows_weights *w = weights;
    switch (w->mode) {
    case GRPO_AGG_TOKEN_MEAN:
        return over(w->scale, w->tokens);
    case GRPO_AGG_SEQ_MEAN_TOKEN_MEAN:
        return over(w->scale, w->sequences * ((double)length + w->length_epsilon));
    case GRPO_AGG_FIXED_LENGTH:
        return over(w->scale, w->sequences * w->fixed_length);
    default: /* seq_mean_token_sum */
        return over(w->scale, w->sequences);
    }
}

double rows_row_weight(const rows_weights *weights)
{
    return over(weights->scale, weights->sequences);
}

grpo_aggregation rows_resolve(grpo_aggregation mode, grpo_aggregation policy)
{
    if (mode == GRPO_AGG_SAME)
        mode = policy;
    return mode == GRPO_AGG_ROW_MEAN ? GRPO_AGG_SEQ_MEAN_TOKEN_SUM : mode;
}

grpo_status grpo_aggregate_loss(const grpo_algo *algo, const grpo_rows *rows, const double *x,
                                double token_count, double sequence_count, double scale,
                                double *loss, double *grad, grpo_error *err)
{
    grpo_status status = rows_check(rows, err);
    if (status != GRPO_OK)
        return status;
    rows_weights weights =
        rows_weights_of(algo, rows_resolve(algo->loss_aggregation, GRPO_AGG_SAME), rows,
                        token_count, sequence_count, scale);
    *loss = 0;
    for (size_t b = 0; b < rows->count; b++) {
        double weight = rows_token_weight(&weights, rows_length(rows, b));
        for (size_t t = rows->offset[b]; t < rows->offset[b + 1]; t++) {
            int valid = rows_valid(rows, t);
            if (valid)
                *loss += weight * x[t];
            if (grad)
                grad[t] = valid ? weight : 0;
        }
    }
    return GRPO_OK;
}

/* ---- order ------------------------------------------------------------------------------ */

static void sift_down(size_t *index, size_t root, size_t count, algo_compare *compare,
                      const void *context)
{
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && compare(context, index[child], index[child + 1]) < 0)
            child++;
        if (compare(context, index[root], index[child]) >= 0)
            return;
        size_t swap = index[root];
        index[root] = index[child];
        index[child] = swap;
    }
}

void algo_sort(size_t *index, size_t count, algo_compare *compare, const void *context)
{
    for (size_t i = count / 2; i-- > 0;)
        sift_down(index, i, count, compare, context);
    for (size_t end = count; end > 1; end--) {
        size_t largest = index[0];
        index[0] = index[end - 1];
        index[end - 1] = largest;
        sift_down(index, 0, end - 1, compare, context);
    }
}

static int compare_keys(const void *context, size_t a, size_t b)
{
    const double *key = context;
    if (key[a] != key[b])
        return key[a] < key[b] ? -1 : 1;
    return a < b ? -1 : a > b;
}

void algo_sort_by_key(size_t *index, size_t count, const double *key)
{
    algo_sort(index, count, compare_keys, key);
}
