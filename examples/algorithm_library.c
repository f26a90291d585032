/* An estimator and a loss of one's own.
 *
 *     cc -shared -fPIC -I include -o median.so examples/algorithm_library.c -lm
 *
 * Estimator: the group's median as baseline, which one lucky answer does not move.
 * Loss: -A log(1 + r), a ratio whose pull weakens the further the policy has moved. */
#include <math.h>

#include "grpo/algo_plugin.h"

/* Half of the others are below, half above: counting needs no sorted copy. */
static double median(const double *x, size_t count)
{
    double lower = x[0], upper = x[0];
    for (size_t i = 0; i < count; i++) {
        size_t below = 0, equal = 0;
        for (size_t k = 0; k < count; k++) {
            below += x[k] < x[i];
            equal += x[k] == x[i];
        }
        if (below <= (count - 1) / 2 && below + equal > (count - 1) / 2)
            lower = x[i];
        if (below <= count / 2 && below + equal > count / 2)
            upper = x[i];
    }
    return 0.5 * (lower + upper);
}

static void advantages(double *advantage, const double *reward, const size_t *length, size_t count)
{
    (void)length;
    double baseline = median(reward, count);
    for (size_t i = 0; i < count; i++)
        advantage[i] = reward[i] - baseline;
}

static grpo_plugin_term loss(const grpo_plugin_point *p)
{
    return (grpo_plugin_term){.x = -p->advantage * log1p(p->ratio),
                              .by_ratio = -p->advantage / (1 + p->ratio)};
}

const grpo_algo_plugin *grpo_algo_plugin_entry(void)
{
    static const grpo_algo_plugin plugin = {
        GRPO_ALGO_PLUGIN_VERSION, sizeof(grpo_algo_plugin), "median", advantages, loss,
    };
    return &plugin;
}
