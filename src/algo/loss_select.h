/* Which tokens a loss picks out by looking at the whole batch: the ones of high entropy
 * (arXiv:2506.01939) and, for clip_cov and kl_cov, of high covariance (arXiv:2505.22617). */
#ifndef ALGO_LOSS_SELECT_H
#define ALGO_LOSS_SELECT_H

#include "algo/rows.h"

typedef struct loss_selection {
    const double *entropy; /* NULL: every token passes */
    double threshold;
    size_t entropy_tokens;       /* valid tokens that pass */
    const unsigned char *chosen; /* [N] or NULL: none */
    size_t chosen_tokens;
} loss_selection;

size_t loss_selection_bytes(size_t tokens);

/* `fixed`: log-probs without gradient. The selection points into scratch. */
loss_selection loss_select(const grpo_algo *algo, const grpo_loss_batch *in, const double *fixed,
                           void *scratch);

static inline int loss_selects_entropy(const loss_selection *s, size_t token)
{
    return !s->entropy || s->entropy[token] >= s->threshold;
}

static inline int loss_selects_covariance(const loss_selection *s, size_t token)
{
    return s->chosen && s->chosen[token];
}

#endif
