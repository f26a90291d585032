/* What one token (or, under row_mean, one whole completion) adds to the policy loss: value and
 * derivatives of each loss. loss.c multiplies, sums and chains. */
#ifndef ALGO_LOSS_TERM_H
#define ALGO_LOSS_TERM_H

#include "algo/rows.h"

typedef struct loss_point {
    double ratio;       /* r, with gradient */
    double fixed_ratio; /* r, as "no gradient" terms see it */
    double log_ratio;   /* d = logp - old_logp */
    double logp;
    double advantage; /* A */
    double phi;       /* vespo's weight of the row */
    int chosen;       /* clip_cov, kl_cov: this token was selected */
} loss_point;

typedef struct loss_term {
    double x;                 /* the loss */
    double by_ratio, by_logp; /* dx/dr, and dx/dlogp beside what goes through r */
} loss_term;

typedef loss_term loss_function(const grpo_algo *algo, const loss_point *p);

loss_term loss_clip(const grpo_algo *algo, const loss_point *p);
loss_term loss_cispo(const grpo_algo *algo, const loss_point *p);
loss_term loss_sapo(const grpo_algo *algo, const loss_point *p);
loss_term loss_vespo(const grpo_algo *algo, const loss_point *p);
loss_term loss_gmpo(const grpo_algo *algo, const loss_point *p);
loss_term loss_reinforce(const grpo_algo *algo, const loss_point *p);
loss_term loss_clip_cov(const grpo_algo *algo, const loss_point *p);
loss_term loss_kl_cov(const grpo_algo *algo, const loss_point *p);
loss_term loss_library(const grpo_algo *algo, const loss_point *p);

/* The row of the loss table: one function and what docs and help say about it. */
typedef struct loss_method {
    loss_function *function;
    grpo_method about;
} loss_method;
const loss_method *loss_method_of(grpo_loss_kind kind);

/* vespo: phi(w) = exp(lambda + k log w - lambda w), the pair of A's sign (A >= 0: pos). */
double loss_vespo_phi(const grpo_algo *algo, double log_w, double advantage);

/* Whether the plain and not the clipped term counts; ties do. */
int loss_is_clipped(const grpo_algo *algo, double ratio, double advantage);

#endif
