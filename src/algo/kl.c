/* KL estimates from one sample (http://joschu.net/blog/kl-approx.html), KL in the reward, and the
 * controllers of its coefficient. */
#include "algo/rows.h"

/* Clamped as in verl: d to +-20, then the result to 10, which also cuts off every d beyond. */
static grpo_kl_value k3(double d, int clamp)
{
    double x = clamp ? algo_clamp(-d, -20, 20) : -d;
    /* expm1(x) - x loses no digits where the policies are close, and is exactly 0 at 0. */
    grpo_kl_value value = {expm1(x) - x, -expm1(x)};
    if (clamp && value.kl > 10)
        value = (grpo_kl_value){10, 0};
    return value;
}

grpo_kl_value compute_kl_penalty(grpo_kl_kind kind, int straight_through, int clamp, double logp,
                                 double ref_logp)
{
    double d = logp - ref_logp;
    grpo_kl_value value;
    switch (kind) {
    case GRPO_KL_K1:
        value = (grpo_kl_value){d, 1};
        break;
    case GRPO_KL_K2:
        value = (grpo_kl_value){0.5 * d * d, d};
        break;
    case GRPO_KL_ABS:
        value = (grpo_kl_value){fabs(d), (d > 0) - (d < 0)};
        break;
    default:
        value = k3(d, clamp);
    }
    if (straight_through) /* the gradient whose expectation is the KL's: that of k2 */
        value.grad = d;
    return value;
}

void apply_kl_penalty(double *out, const grpo_algo *algo, const grpo_rows *rows,
                      const double *scores, const double *logp, const double *ref_logp,
                      double *current_kl)
{
    double mean = 0;
    for (size_t b = 0; b < rows->count; b++) {
        double sum = 0;
        for (size_t t = rows->offset[b]; t < rows->offset[b + 1]; t++) {
            double kl = rows_valid(rows, t)
                            ? compute_kl_penalty(algo->kl_estimator, 0, algo->kl_clamp, logp[t],
                                                 ref_logp[t]).kl
                            : 0;
            out[t] = scores[t] - algo->kl_coef * kl;
            sum += kl;
        }
        size_t n = rows_length(rows, b);
        mean += n ? sum / (double)n : 0;
    }
    if (current_kl)
        *current_kl = rows->count ? mean / (double)rows->count : 0;
}

double grpo_kl_controller(grpo_kl_control control, double coef, double current_kl, double target,
                          double horizon, double rows)
{
    if (control == GRPO_KL_FIXED)
        return coef;
    double error = algo_clamp(current_kl / target - 1, -0.2, 0.2);
    return coef * (1 + error * rows / horizon);
}
