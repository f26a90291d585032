/* The metrics of a loss: counts over tokens, or over rows where one ratio belongs to a row. */
#ifndef ALGO_LOSS_TALLY_H
#define ALGO_LOSS_TALLY_H

#include "algo/rows.h"

typedef struct loss_tally {
    const grpo_algo *algo;
    int by_row; /* a unit is a row */
    double units, below[3], above[3] /* A < 0, = 0, > 0 */, dual_clipped;
    double row_units, row_low, row_high;
    double low_min, high_max;
    size_t share_rows;
    double ratio_sum, ratio_min, ratio_max;
    double kl, entropy, approx_kl, phi;
    size_t tokens, rows, nonempty, kept, dropped, phis;
} loss_tally;

void tally_init(loss_tally *tally, const grpo_algo *algo, int by_row);
void tally_begin_row(loss_tally *tally);
/* A valid token with d = logp - old_logp. */
void tally_token(loss_tally *tally, double log_ratio);
/* One unit's ratio against the clip range; gmpo gives its token's log ratio instead. */
void tally_ratio(loss_tally *tally, double ratio, double advantage);
void tally_gmpo(loss_tally *tally, double log_ratio, double advantage);
/* vespo's weight of a row, or of a token where advantages are per token. */
void tally_phi(loss_tally *tally, double phi);
void tally_end_row(loss_tally *tally, size_t length, int kept);
grpo_loss_metrics tally_finish(const loss_tally *tally);

#endif
