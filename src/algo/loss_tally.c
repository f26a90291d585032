/* Metrics of a loss. */
#include "algo/loss_tally.h"

void tally_init(loss_tally *t, const grpo_algo *algo, int by_row)
{
    *t = (loss_tally){.algo = algo,
                      .by_row = by_row,
                      .ratio_min = INFINITY,
                      .ratio_max = -INFINITY,
                      .low_min = INFINITY,
                      .high_max = -INFINITY};
}

void tally_begin_row(loss_tally *t)
{
    t->row_units = t->row_low = t->row_high = 0;
}

void tally_token(loss_tally *t, double log_ratio)
{
    const grpo_algo *a = t->algo;
    t->tokens++;
    if (a->loss == GRPO_LOSS_KL_COV)
        t->approx_kl += fabs(log_ratio);
    else if (a->importance_sampling_level == GRPO_RATIO_TOKEN) /* as the loss sees it */
        t->approx_kl -= algo_clamp(log_ratio, a->log_ratio_min, a->log_ratio_max);
    else
        t->approx_kl -= log_ratio;
}

static void count_unit(loss_tally *t, double x, double low, double high, double advantage)
{
    int sign = 1 + (advantage > 0) - (advantage < 0);
    t->units++;
    t->row_units++;
    t->below[sign] += x < low;
    t->above[sign] += x > high;
    t->row_low += x < low && advantage < 0;
    t->row_high += x > high && advantage > 0;
}

void tally_ratio(loss_tally *t, double ratio, double advantage)
{
    const grpo_algo *a = t->algo;
    double low = 1 - a->clip_epsilon_low, high = 1 + a->clip_epsilon_high;
    double clipped = algo_clamp(ratio, low, high), capped = ratio;
    if (a->loss == GRPO_LOSS_CLIP || a->loss == GRPO_LOSS_CLIP_COV)
        capped = fmin(ratio, a->delta);
    count_unit(t, capped, low, high, advantage);
    t->dual_clipped += advantage < 0 && fmax(capped, clipped) > a->dual_clip;
    t->ratio_sum += ratio;
    t->ratio_min = fmin(t->ratio_min, ratio);
    t->ratio_max = fmax(t->ratio_max, ratio);
}

void tally_gmpo(loss_tally *t, double log_ratio, double advantage)
{
    double ratio = exp(log_ratio);
    count_unit(t, log_ratio, -t->algo->clip_epsilon_low, t->algo->clip_epsilon_high, advantage);
    t->ratio_sum += ratio;
    t->ratio_min = fmin(t->ratio_min, ratio);
    t->ratio_max = fmax(t->ratio_max, ratio);
}

void tally_phi(loss_tally *t, double phi)
{
    t->phi += phi;
    t->phis++;
}

void tally_end_row(loss_tally *t, size_t length, int kept)
{
    t->rows++;
    t->nonempty += length > 0;
    t->kept += (size_t)kept;
    if (t->row_units == 0) /* an empty row has no share */
        return;
    t->share_rows++;
    t->low_min = fmin(t->low_min, t->row_low / t->row_units);
    t->high_max = fmax(t->high_max, t->row_high / t->row_units);
}

static double share(double count, double of)
{
    return of > 0 ? count / of : 0;
}

grpo_loss_metrics tally_finish(const loss_tally *t)
{
    double tokens = (double)t->tokens, rows = (double)t->rows, units = t->units;
    return (grpo_loss_metrics){
        .kl = share(t->kl, tokens),
        .entropy = share(t->entropy, tokens),
        .approx_kl = share(t->approx_kl, tokens),
        .ratio_mean = share(t->ratio_sum, units),
        .ratio_min = units > 0 ? t->ratio_min : 1,
        .ratio_max = units > 0 ? t->ratio_max : 1,
        .clip_low = share(t->below[0], units),
        .clip_high = share(t->above[2], units),
        .clip_low_min = t->share_rows ? t->low_min : 0,
        .clip_high_max = t->share_rows ? t->high_max : 0,
        .below_neg = share(t->below[0], units),
        .below_zero = share(t->below[1], units),
        .below_pos = share(t->below[2], units),
        .above_neg = share(t->above[0], units),
        .above_zero = share(t->above[1], units),
        .above_pos = share(t->above[2], units),
        .dual_clip = share(t->dual_clipped, units),
        .dropped = share((double)t->dropped, tokens),
        .phi_mean = share(t->phi, (double)t->phis),
        .kept_rows = share((double)t->kept, rows),
        .tokens = t->tokens,
        .nonempty_rows = t->nonempty,
    };
}
