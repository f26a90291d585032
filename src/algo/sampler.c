/* Samples of another engine: importance weights and rejection masks for the mismatch between the
 * policy that sampled and the one that is trained. */
#include <stdlib.h>
#include <string.h>

#include "algo/rows.h"

#define SAFE 20.0 /* log ratios are clamped to +-this before exp, as in verl */

static double safe(double log_ratio)
{
    return algo_clamp(log_ratio, -SAFE, SAFE);
}

/* ---- weights: TRL's four forms ---------------------------------------------------------- */

static double limit(double weight, int truncate, double min, double max)
{
    if (truncate)
        return algo_clamp(weight, min, max);
    return weight < min || weight > max ? 0 : weight;
}

grpo_status grpo_sampler_weights(double *weight, grpo_sampler_correction kind, double min,
                                 double max, const grpo_rows *rows, const double *old_logp,
                                 const double *sampler_logp, grpo_error *err)
{
    int truncate = kind == GRPO_SAMPLER_TOKEN_TRUNCATE || kind == GRPO_SAMPLER_SEQUENCE_TRUNCATE;
    int sequence = kind == GRPO_SAMPLER_SEQUENCE_TRUNCATE || kind == GRPO_SAMPLER_SEQUENCE_MASK;
    if (kind == GRPO_SAMPLER_NONE)
        return grpo_fail(err, GRPO_ERR_USAGE, "sampler_correction none has no weights");
    if (!(min <= max))
        return grpo_fail(err, GRPO_ERR_CONFIG, "sampler_min %g is above sampler_max %g", min, max);
    grpo_status status = rows_check(rows, err);
    for (size_t b = 0; status == GRPO_OK && b < rows->count; b++) {
        double sum = 0;
        for (size_t t = rows->offset[b]; t < rows->offset[b + 1]; t++) {
            double d = rows_valid(rows, t) ? old_logp[t] - sampler_logp[t] : 0;
            d = isnan(d) ? 0 : d;
            sum += d;
            if (!sequence)
                weight[t] = limit(exp(d), truncate, min, max);
        }
        if (sequence)
            weight[b] = limit(exp(sum), truncate, min, max);
    }
    return status;
}

/* ---- weights: verl's form --------------------------------------------------------------- */

static double masked_sum(const grpo_rows *rows, size_t row, const double *x)
{
    double sum = 0;
    for (size_t t = rows->offset[row]; t < rows->offset[row + 1]; t++)
        if (rows_valid(rows, t))
            sum += x[t];
    return sum;
}

static void weight_metrics(grpo_weight_metrics *m, const double *weight, const grpo_rows *rows,
                           double threshold)
{
    double clipped = 0, squares = 0, n = 0;
    m->mean = rows_mean(rows, weight);
    for (size_t t = 0; t < rows_tokens(rows); t++)
        if (rows_valid(rows, t)) {
            double w = algo_clamp(weight[t], 1 / threshold, threshold);
            clipped += w;
            squares += w * w;
            n++;
        }
    double mean = clipped / n + 1e-8;
    m->effective_sample_size = mean * mean * n / squares;
}

static void weight_range(grpo_weight_metrics *m, double log_low, double log_high)
{
    m->max = exp(fmin(log_high, SAFE));
    m->min = exp(log_low);
}

/* Mean of the weights by which they are divided: over tokens, or over rows that have any. */
static double norm_of(const double *weight, const grpo_rows *rows, int per_sequence)
{
    if (!per_sequence)
        return rows_mean(rows, weight);
    double sum = 0, count = 0;
    for (size_t b = 0; b < rows->count; b++) {
        size_t n = rows_length(rows, b);
        if (n) {
            sum += masked_sum(rows, b, weight) / (double)n;
            count++;
        }
    }
    return count > 0 ? sum / count : 0;
}

static grpo_status check_weights(const grpo_rows *rows, double threshold, grpo_error *err)
{
    if (!(threshold > 0))
        return grpo_fail(err, GRPO_ERR_CONFIG, "the weight threshold must be positive, not %g",
                         threshold);
    grpo_status status = rows_check(rows, err);
    if (status == GRPO_OK && rows_count(rows).tokens == 0)
        return grpo_fail(err, GRPO_ERR_NUMERIC, "importance weights of a batch without a valid token");
    return status;
}

grpo_status grpo_rollout_weights(double *weight, const grpo_rows *rows, const double *log_ratio,
                                 int per_sequence, double threshold, int normalize,
                                 grpo_weight_metrics *metrics, grpo_error *err)
{
    grpo_status status = check_weights(rows, threshold, err);
    if (status != GRPO_OK)
        return status;
    double low = INFINITY, high = -INFINITY;
    for (size_t b = 0; b < rows->count; b++) {
        double sum = masked_sum(rows, b, log_ratio);
        for (size_t t = rows->offset[b]; t < rows->offset[b + 1]; t++) {
            double d = per_sequence ? sum : log_ratio[t];
            int valid = rows_valid(rows, t);
            weight[t] = valid ? exp(safe(d)) : 0;
            if (valid && !per_sequence) {
                low = fmin(low, safe(d));
                high = fmax(high, d);
            }
        }
        if (per_sequence) { /* over all rows: an empty one has ratio 1 */
            low = fmin(low, sum);
            high = fmax(high, sum);
        }
    }
    weight_metrics(metrics, weight, rows, threshold);
    weight_range(metrics, low, high);
    for (size_t t = 0; t < rows_tokens(rows); t++)
        weight[t] = fmin(weight[t], threshold);
    metrics->norm_factor = 1;
    double norm = normalize ? norm_of(weight, rows, per_sequence) : 0;
    if (norm > 1e-8) {
        metrics->norm_factor = norm;
        for (size_t t = 0; t < rows_tokens(rows); t++)
            weight[t] /= norm;
    }
    return GRPO_OK;
}

/* ---- rejection -------------------------------------------------------------------------- */

typedef enum level { LEVEL_TOKEN, LEVEL_SUM, LEVEL_MEAN, LEVEL_MAX } level;

typedef struct criterion {
    level level;
    int k; /* estimator k1, k2, k3 */
    double low, high;
} criterion;

static const struct {
    const char *prefix;
    level level;
} levels[] = {{"token_k", LEVEL_TOKEN},
              {"seq_sum_k", LEVEL_SUM},
              {"seq_mean_k", LEVEL_MEAN},
              {"seq_max_k", LEVEL_MAX}};

/* The next comma-separated item, without surrounding blanks, into text; NULL at the end. */
static const char *next_item(const char *list, char *text, size_t size)
{
    list += strspn(list, ", \t");
    size_t length = strcspn(list, ",");
    if (length == 0)
        return NULL;
    size_t kept = length;
    while (kept && strchr(" \t", list[kept - 1]))
        kept--;
    if (kept >= size)
        kept = size - 1;
    memcpy(text, list, kept);
    text[kept] = 0;
    return list + length;
}

/* Whether `item` stands in the list before `end`: a criterion that is named twice counts once. */
static int named_before(const char *list, const char *end, const char *item)
{
    char text[64];
    const char *next;
    for (; (next = next_item(list, text, sizeof text)) && next < end; list = next)
        if (strcmp(text, item) == 0)
            return 1;
    return 0;
}

static size_t count_items(const char *list, int distinct)
{
    char text[64];
    size_t n = 0;
    for (const char *next = list; (next = next_item(next, text, sizeof text));)
        n += !distinct || !named_before(list, next, text);
    return n;
}

static grpo_status parse_option(criterion *c, const char *text, grpo_error *err)
{
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        size_t length = strlen(levels[i].prefix);
        if (strncmp(text, levels[i].prefix, length) != 0 || strlen(text) != length + 1)
            continue;
        c->level = levels[i].level;
        c->k = text[length] - '0';
        if (c->k >= (c->level == LEVEL_MAX ? 2 : 1) && c->k <= 3)
            return GRPO_OK;
    }
    return grpo_fail(err, GRPO_ERR_CONFIG,
                     "'%s' is not a rejection criterion: token, seq_sum, seq_mean with _k1 _k2 _k3, "
                     "or seq_max with _k2 _k3",
                     text);
}

static int parse_positive(const char *text, const char *end_at, double *value)
{
    char *end;
    *value = strtod(text, &end);
    return end != text && end == end_at && *value > 0;
}

/* "0.5_2" or "2" (k1: 1/2 .. 2), else one upper bound. */
static grpo_status parse_threshold(criterion *c, const char *text, grpo_error *err)
{
    const char *split = strchr(text, '_'), *end = text + strlen(text);
    double low = 0, high;
    int fine = split && c->k == 1
                   ? parse_positive(text, split, &low) && parse_positive(split + 1, end, &high)
                   : parse_positive(text, end, &high);
    if (!fine)
        return grpo_fail(err, GRPO_ERR_CONFIG,
                         "'%s' is not a rejection threshold: a positive number, or lower_upper "
                         "for k1",
                         text);
    c->low = c->k == 1 ? log(split ? low : 1 / high) : -INFINITY;
    c->high = c->k == 1 ? log(high) : high;
    return GRPO_OK;
}

static double divergence(int k, double log_ratio)
{
    double x = safe(log_ratio);
    return k == 1 ? -x : k == 2 ? 0.5 * x * x : expm1(x) - x;
}

static double row_statistic(const criterion *c, const grpo_rows *rows, size_t row,
                            const double *log_ratio)
{
    double sum = 0, largest = -INFINITY;
    size_t n = 0;
    for (size_t t = rows->offset[row]; t < rows->offset[row + 1]; t++)
        if (rows_valid(rows, t)) {
            double x = divergence(c->k, log_ratio[t]);
            sum += x;
            largest = fmax(largest, x);
            n++;
        }
    if (n == 0)
        return 0;
    return c->level == LEVEL_SUM ? sum : c->level == LEVEL_MEAN ? sum / (double)n : largest;
}

static int keeps(const criterion *c, double statistic)
{
    return statistic >= c->low && statistic <= c->high;
}

static void apply(const criterion *c, unsigned char *mask, const grpo_rows *rows,
                  const double *log_ratio)
{
    for (size_t b = 0; b < rows->count; b++) {
        double whole = c->level == LEVEL_TOKEN ? 0 : row_statistic(c, rows, b, log_ratio);
        for (size_t t = rows->offset[b]; t < rows->offset[b + 1]; t++) {
            if (!mask[t])
                continue;
            double statistic = c->level == LEVEL_TOKEN ? divergence(c->k, log_ratio[t]) : whole;
            mask[t] = (unsigned char)keeps(c, statistic);
        }
    }
}

static void rejection_metrics(grpo_rejection_metrics *m, const unsigned char *mask,
                              const grpo_rows *rows)
{
    size_t valid = 0, gone = 0, touched = 0;
    for (size_t b = 0; b < rows->count; b++) {
        size_t before = gone;
        for (size_t t = rows->offset[b]; t < rows->offset[b + 1]; t++)
            if (rows_valid(rows, t)) {
                valid++;
                gone += !mask[t];
            }
        touched += gone > before;
    }
    m->masked_fraction = valid ? (double)gone / (double)valid : 0;
    m->seq_masked_fraction = rows->count ? (double)touched / (double)rows->count : 0;
}

grpo_status grpo_rejection_mask(unsigned char *mask, const grpo_rows *rows, const double *log_ratio,
                                const char *options, const char *thresholds,
                                grpo_rejection_metrics *metrics, grpo_error *err)
{
    grpo_status status = rows_check(rows, err);
    if (status != GRPO_OK)
        return status;
    if (rows->count && rows_count(rows).tokens == 0)
        return grpo_fail(err, GRPO_ERR_NUMERIC, "rejection in a batch without a valid token");
    size_t wanted = count_items(options, 1), given = count_items(thresholds, 0);
    if (wanted == 0 || (given != 1 && given != wanted))
        return grpo_fail(err, GRPO_ERR_CONFIG,
                         "%zu rejection criteria need one threshold for all or %zu, not %zu",
                         wanted, wanted, given);
    for (size_t t = 0; t < rows_tokens(rows); t++)
        mask[t] = (unsigned char)rows_valid(rows, t);
    char option[64], threshold[64];
    const char *next = thresholds;
    for (const char *at = options; (at = next_item(at, option, sizeof option));) {
        criterion c = {0};
        if (named_before(options, at, option))
            continue;
        next = next_item(given == 1 ? thresholds : next, threshold, sizeof threshold);
        if ((status = parse_option(&c, option, err)) != GRPO_OK ||
            (status = parse_threshold(&c, threshold, err)) != GRPO_OK)
            return status;
        apply(&c, mask, rows, log_ratio);
    }
    rejection_metrics(metrics, mask, rows);
    return GRPO_OK;
}
