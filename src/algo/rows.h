/* Ragged rows (grpo_rows): counting, masked statistics, and the weight that an aggregation gives
 * each row's tokens. Internal to algo/. */
#ifndef ALGO_ROWS_H
#define ALGO_ROWS_H

#include <math.h>

#define ALGO_PI 3.14159265358979323846
#define ALGO_LOG_1E8 18.420680743952367 /* log 1e8 */

#include "grpo/algo.h"

static inline int rows_valid(const grpo_rows *rows, size_t token)
{
    return !rows->mask || rows->mask[token];
}

static inline size_t rows_tokens(const grpo_rows *rows)
{
    return rows->count ? rows->offset[rows->count] : 0;
}

static inline double algo_clamp(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x; /* NaN stays NaN */
}

/* n_b */
size_t rows_length(const grpo_rows *rows, size_t row);

/* Offsets that start at 0 and do not decrease; mask entries 0 or 1. */
grpo_status rows_check(const grpo_rows *rows, grpo_error *err);

typedef struct rows_counts {
    size_t tokens, nonempty; /* valid tokens, rows that have one */
} rows_counts;
rows_counts rows_count(const grpo_rows *rows);

/* sum x m / sum m; 0 without a valid token. */
double rows_mean(const grpo_rows *rows, const double *x);

/* ---- aggregation: loss = sum_b weight_b sum_t m x --------------------------------------- */

typedef struct rows_weights {
    grpo_aggregation mode;
    double tokens, sequences, fixed_length, length_epsilon, scale;
} rows_weights;

/* mode is resolved (not `same`); counts of 0 are taken from `rows`; scale 0 means 1. */
rows_weights rows_weights_of(const grpo_algo *algo, grpo_aggregation mode, const grpo_rows *rows,
                             double token_count, double sequence_count, double scale);

/* Weight of each valid token of a row with `length` valid tokens. */
double rows_token_weight(const rows_weights *weights, size_t length);

/* Weight of a row's own value under row_mean. */
double rows_row_weight(const rows_weights *weights);

/* `same` resolved: the policy loss's mode, row_mean as a sum over the row's tokens. */
grpo_aggregation rows_resolve(grpo_aggregation mode, grpo_aggregation policy);

/* ---- order ------------------------------------------------------------------------------ */

/* Sorts index[0..count) so that key[index[i]] rises (equal keys by index). Heap sort: no
 * allocation, never quadratic. */
void algo_sort_by_key(size_t *index, size_t count, const double *key);

/* The same by a comparison of two indices (< 0: a first); ties must be broken by the caller. */
typedef int algo_compare(const void *context, size_t a, size_t b);
void algo_sort(size_t *index, size_t count, algo_compare *compare, const void *context);

#endif
