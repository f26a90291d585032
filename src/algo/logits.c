/* From one row of logits to the log-probability of a token, the entropy, and back. The reference
 * that the engine's fused head is compared with. */
#include "algo/rows.h"

grpo_logit_stats grpo_logits_stats(const double *logits, size_t vocab, size_t label,
                                   double temperature)
{
    double largest = -INFINITY;
    for (size_t v = 0; v < vocab; v++)
        largest = fmax(largest, logits[v] / temperature);
    double sum = 0, weighted = 0, squares = 0;
    for (size_t v = 0; v < vocab; v++) {
        double z = logits[v] / temperature - largest, p = exp(z);
        sum += p;
        weighted += p > 0 ? p * z : 0; /* 0 log 0 = 0, also for a logit of -infinity */
        squares += p * p;
    }
    double log_sum = log(sum);
    return (grpo_logit_stats){.logp = logits[label] / temperature - largest - log_sum,
                              .entropy = log_sum - weighted / sum,
                              .log_sum_sq = log(squares) - 2 * log_sum,
                              .log_z = largest + log_sum};
}

void grpo_logits_gradient(double *grad, const double *logits, size_t vocab, size_t label,
                          double temperature, grpo_logit_stats stats, double grad_logp,
                          double grad_entropy)
{
    for (size_t v = 0; v < vocab; v++) {
        double logp = logits[v] / temperature - stats.log_z, p = exp(logp);
        double by_entropy = p > 0 ? -p * (logp + stats.entropy) : 0;
        grad[v] = (grad_logp * ((v == label) - p) + grad_entropy * by_entropy) / temperature;
    }
}
