/* Learning-rate schedules. */
#include "algo/rows.h"

double grpo_learning_rate(grpo_schedule schedule, double base, size_t step, size_t warmup,
                          size_t total, double min_ratio)
{
    if (step < warmup)
        return base * (double)(step + 1) / (double)warmup;
    if (schedule == GRPO_SCHEDULE_CONSTANT || total <= warmup + 1)
        return base;
    size_t past = step - warmup, span = total - 1 - warmup;
    double done = past >= span ? 1 : (double)past / (double)span;
    double left = schedule == GRPO_SCHEDULE_LINEAR ? 1 - done : 0.5 * (1 + cos(ALGO_PI * done));
    return base * (min_ratio + (1 - min_ratio) * left);
}
