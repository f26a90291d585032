/* Selection of tokens by entropy and by covariance. */
#include <string.h>

#include "algo/loss_select.h"
#include "algo/loss_term.h"

/* Laid over the caller's scratch. */
typedef struct workspace {
    double *value;  /* [N] */
    size_t *index;  /* [N] */
    unsigned char *chosen; /* [N] */
} workspace;

size_t loss_selection_bytes(size_t tokens)
{
    return tokens * (sizeof(double) + sizeof(size_t) + 1) + 64;
}

static workspace workspace_of(void *scratch, size_t tokens)
{
    double *value = scratch;
    size_t *index = (size_t *)(value + tokens);
    return (workspace){value, index, (unsigned char *)(index + tokens)};
}

/* ---- entropy ---------------------------------------------------------------------------- */

/* Quantile of sorted values, linear between neighbours, in the precision of the reference: level
 * and result are float32 there, which decides about the token that stands on the edge. */
static double sorted_quantile(const double *value, const size_t *index, size_t count, double q)
{
    double rank = (double)(float)q * (double)(count - 1);
    size_t below = (size_t)rank, above = below + 1 < count ? below + 1 : below;
    float low = (float)value[index[below]], high = (float)value[index[above]];
    float weight = (float)(rank - (double)below);
    return weight < 0.5f ? low + weight * (high - low) : high - (high - low) * (1 - weight);
}

static void select_entropy(loss_selection *s, const grpo_algo *algo, const grpo_loss_batch *in,
                           workspace w)
{
    size_t count = 0;
    for (size_t t = 0; t < rows_tokens(&in->rows); t++)
        if (rows_valid(&in->rows, t))
            w.index[count++] = t;
    s->entropy = in->entropy;
    s->threshold = INFINITY;
    if (count == 0)
        return;
    algo_sort_by_key(w.index, count, in->entropy);
    s->threshold = sorted_quantile(in->entropy, w.index, count, 1 - algo->top_entropy_quantile);
    for (size_t i = 0; i < count; i++)
        s->entropy_tokens += in->entropy[w.index[i]] >= s->threshold;
}

/* ---- covariance ------------------------------------------------------------------------- */

typedef struct centre {
    double advantage, logp;
} centre;

static double token_advantage(const grpo_loss_batch *in, size_t row, size_t t)
{
    return in->advantage[in->advantage_per_token ? t : row];
}

static centre centre_of(const grpo_algo *algo, const grpo_loss_batch *in, const double *fixed,
                        size_t *tokens)
{
    centre mean = {0, 0};
    *tokens = 0;
    for (size_t b = 0; b < in->rows.count; b++)
        for (size_t t = in->rows.offset[b]; t < in->rows.offset[b + 1]; t++)
            if (rows_valid(&in->rows, t)) {
                mean.advantage += token_advantage(in, b, t);
                mean.logp += fixed[t];
                ++*tokens;
            }
    double divisor = (double)*tokens;
    if (algo->loss == GRPO_LOSS_CLIP_COV)
        divisor += algo->length_epsilon;
    if (*tokens) {
        mean.advantage /= divisor;
        mean.logp /= divisor;
    }
    return mean;
}

/* clip_cov: candidates are unclipped tokens whose covariance lies in the band. */
static int is_candidate(const grpo_algo *algo, const grpo_loss_batch *in, const double *fixed,
                        size_t t, double advantage, double covariance)
{
    double d = in->old_logp ? fixed[t] - in->old_logp[t] : 0;
    double ratio = exp(algo_clamp(d, algo->log_ratio_min, algo->log_ratio_max));
    return !loss_is_clipped(algo, ratio, advantage) && covariance > algo->clip_cov_lb &&
           covariance < algo->clip_cov_ub;
}

/* Fills index with the tokens to choose from and value with their sort key. */
static size_t list_candidates(const grpo_algo *algo, const grpo_loss_batch *in,
                              const double *fixed, centre mean, workspace w)
{
    size_t count = 0;
    for (size_t b = 0; b < in->rows.count; b++)
        for (size_t t = in->rows.offset[b]; t < in->rows.offset[b + 1]; t++) {
            if (!rows_valid(&in->rows, t))
                continue;
            double advantage = token_advantage(in, b, t);
            double covariance = (advantage - mean.advantage) * (fixed[t] - mean.logp);
            w.value[t] = -covariance; /* largest first */
            if (algo->loss == GRPO_LOSS_KL_COV ||
                is_candidate(algo, in, fixed, t, advantage, covariance))
                w.index[count++] = t;
        }
    return count;
}

static void select_covariance(loss_selection *s, const grpo_algo *algo, const grpo_loss_batch *in,
                              const double *fixed, workspace w)
{
    size_t tokens;
    centre mean = centre_of(algo, in, fixed, &tokens);
    size_t count = list_candidates(algo, in, fixed, mean, w);
    double share = algo->loss == GRPO_LOSS_KL_COV ? algo->kl_cov_ratio : algo->clip_cov_ratio;
    size_t wanted = (size_t)(share * (double)tokens);
    wanted = wanted < 1 ? 1 : wanted;
    memset(w.chosen, 0, rows_tokens(&in->rows));
    s->chosen = w.chosen;
    if (algo->loss == GRPO_LOSS_KL_COV)
        algo_sort_by_key(w.index, count, w.value);
    int permuted = algo->loss == GRPO_LOSS_CLIP_COV && in->permutation;
    size_t draws = permuted ? in->permutation_count : count;
    for (size_t i = 0; i < draws && s->chosen_tokens < wanted; i++) {
        size_t pick = permuted ? in->permutation[i] : i;
        if (pick < count && !w.chosen[w.index[pick]]) {
            w.chosen[w.index[pick]] = 1;
            s->chosen_tokens++;
        }
    }
}

loss_selection loss_select(const grpo_algo *algo, const grpo_loss_batch *in, const double *fixed,
                           void *scratch)
{
    loss_selection selection = {.chosen = NULL};
    workspace w = workspace_of(scratch, rows_tokens(&in->rows));
    if (algo->top_entropy_quantile < 1)
        select_entropy(&selection, algo, in, w);
    if (algo->loss == GRPO_LOSS_CLIP_COV || algo->loss == GRPO_LOSS_KL_COV)
        select_covariance(&selection, algo, in, fixed, w);
    return selection;
}
