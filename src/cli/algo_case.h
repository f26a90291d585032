/* One case of a golden file (../shared/golden/README.md): typed access to its inputs and params,
 * and the `got` object that is built from them. The first problem is remembered and every later
 * access returns something harmless, so that a function checks once, before it computes. */
#ifndef CLI_ALGO_CASE_H
#define CLI_ALGO_CASE_H

#include <jansson.h>

#include "grpo/algo.h"

typedef struct algo_case {
    json_t *inputs, *params; /* borrowed */
    json_t *got;             /* borrowed: what the function produced */
    json_t *metrics;         /* borrowed: got.metrics, NULL until the first metric */
    grpo_status status;
    grpo_error err;
    int malformed; /* the case itself is wrong, not what it asks for */
    void **owned;
    size_t owned_count, owned_capacity;
} algo_case;

typedef struct matrix {
    size_t rows, cols, depth; /* [rows], [rows][cols] or [rows][cols][depth]; missing ones are 1 */
    double *x;                /* NULL when the input is absent */
} matrix;

/* Runs `function` on a case. */
void algo_case_run(algo_case *c, const char *function);
void algo_case_deinit(algo_case *c);

/* ---- for the functions ------------------------------------------------------------------ */

int case_failed(const algo_case *c);
/* Something in the case is missing or has the wrong form. */
void case_malformed(algo_case *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The reference raises here, and so do we. */
void case_refuse(algo_case *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

int case_has(const algo_case *c, const char *input); /* present and not null */
matrix case_input(algo_case *c, const char *name, int rank);
matrix case_optional(algo_case *c, const char *name, int rank); /* x is NULL when absent */
void case_expect_shape(algo_case *c, const char *name, const matrix *m, size_t rows, size_t cols);

/* A token matrix [like->rows][like->cols], required or optional. */
matrix case_tokens(algo_case *c, const char *name, const matrix *like);
matrix case_optional_tokens(algo_case *c, const char *name, const matrix *like);
/* 0/1 mask as padded rows; the offsets and bytes belong to the case. */
grpo_rows case_rows(algo_case *c, const matrix *mask);
/* Group ids: numbers or strings, equal ones form a group. */
int64_t *case_groups(algo_case *c, const char *name, size_t rows);

/* Params; null counts as absent. */
double case_number(algo_case *c, const char *key, double fallback);
int case_flag(algo_case *c, const char *key, int fallback);
const char *case_text(algo_case *c, const char *key, const char *fallback);
/* The same from an object inside params. */
json_t *case_value(const algo_case *c, const char *key);
double case_number_of(algo_case *c, json_t *value, const char *what, double fallback);

double *case_doubles(algo_case *c, size_t count);
void *case_bytes(algo_case *c, size_t bytes);

void case_put(algo_case *c, const char *key, double value);
void case_put_array(algo_case *c, const char *key, const double *x, size_t count);
void case_put_matrix(algo_case *c, const char *key, const double *x, size_t rows, size_t cols);
void case_put_cube(algo_case *c, const char *key, const double *x, const matrix *like);
void case_metric(algo_case *c, const char *key, double value);

/* Rows of probabilities: per-token logp, entropy and statistics of logits [B][T][V]. */
typedef struct logit_rows {
    matrix logits;
    double *labels; /* [B T] */
    double temperature;
    double *logp, *entropy; /* [B T] */
    grpo_logit_stats *stats;
} logit_rows;
logit_rows case_logits(algo_case *c, const char *labels_name, double temperature);
/* Chains gradients by logp and entropy (either may be NULL) to the logits. */
double *case_logits_gradient(algo_case *c, const logit_rows *l, const double *by_logp,
                             const double *by_entropy);

typedef void algo_function(algo_case *c);

#endif
