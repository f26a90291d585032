/* Arithmetic on rewards: overlong and repetition penalties, what a group's rewards say. */
#include "algo/rows.h"

double grpo_overlong_penalty(double length, double max, double buffer, double factor, int no_floor)
{
    double start = max - buffer;
    if (length <= start)
        return 0;
    if (length > max && !no_floor)
        return -factor;
    return -(length - start) / buffer * factor;
}

typedef struct ngrams {
    const int64_t *ids;
    size_t length;
} ngrams;

static int compare_ngrams(const void *context, size_t a, size_t b)
{
    const ngrams *g = context;
    for (size_t i = 0; i < g->length; i++)
        if (g->ids[a + i] != g->ids[b + i])
            return g->ids[a + i] < g->ids[b + i] ? -1 : 1;
    return 0;
}

double grpo_repetition_penalty(const int64_t *ids, size_t count, size_t ngram, double max_penalty,
                               size_t *scratch)
{
    if (ngram == 0 || count < ngram)
        return 0;
    ngrams context = {ids, ngram};
    size_t total = count - ngram + 1, distinct = 1;
    for (size_t i = 0; i < total; i++)
        scratch[i] = i;
    algo_sort(scratch, total, compare_ngrams, &context);
    for (size_t i = 1; i < total; i++)
        distinct += compare_ngrams(&context, scratch[i - 1], scratch[i]) != 0;
    return distinct == total ? 0 : (1 - (double)distinct / (double)total) * max_penalty;
}

grpo_group_verdict grpo_judge_group(const double *rewards, size_t count, double right,
                                    double tolerance)
{
    double low = INFINITY, high = -INFINITY, size = 0;
    for (size_t i = 0; i < count; i++)
        if (!isnan(rewards[i])) {
            low = fmin(low, rewards[i]);
            high = fmax(high, rewards[i]);
            size = fmax(size, fabs(rewards[i]));
        }
    if (low > high)
        return GRPO_GROUP_UNSCORED;
    if (high - low > tolerance * size)
        return GRPO_GROUP_MIXED;
    return low >= right ? GRPO_GROUP_ALL_RIGHT : GRPO_GROUP_ALL_WRONG;
}
