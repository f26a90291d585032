/* The chart of a training run. */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "train/plot.h"

typedef struct column {
    const char *label;
    size_t offset;
    plot_kind kind;
} column;

typedef struct layout {
    const char *title;
    bool percent, from_zero, only_if_moving; /* left out when the values are all equal */
    column columns[PLOT_SERIES];
} layout;

#define F(field) offsetof(train_metrics, field)
static const layout layouts[] = {
    {"Reward", false, false, false, {{"reward", F(reward), PLOT_NOISY}}},
    {"Accuracy", true, true, false, {{"sampled", F(accuracy), PLOT_NOISY}, {"held out, greedy", F(eval_accuracy), PLOT_SPARSE}}},
    {"Groups without a signal", true, true, false,
     {{"all right", F(frac_groups_all_right), PLOT_NOISY}, {"all wrong", F(frac_groups_all_wrong), PLOT_NOISY}}},
    {"Completion length (tokens)", false, true, false,
     {{"mean", F(completion_length), PLOT_NOISY}, {"longest", F(completion_length_max), PLOT_NOISY}}},
    {"Cut at the length limit", true, true, true, {{"cut", F(frac_truncated), PLOT_NOISY}}},
    {"Entropy (nats per token)", false, true, false, {{"entropy", F(entropy), PLOT_NOISY}}},
    {"KL to the reference (per token)", false, true, true, {{"kl", F(kl), PLOT_NOISY}}},
    {"Probability ratio", false, false, true, {{"largest", F(ratio_max), PLOT_NOISY}, {"smallest", F(ratio_min), PLOT_NOISY}}},
    {"Clipped", true, true, true, {{"from above", F(clip_frac_high), PLOT_NOISY}, {"from below", F(clip_frac_low), PLOT_NOISY}}},
    {"Gradient norm", false, true, false, {{"norm", F(grad_norm), PLOT_NOISY}}},
    {"Learning rate", false, true, true, {{"rate", F(learning_rate), PLOT_EXACT}}},
    {"Seconds per step", false, true, false,
     {{"step", F(time_step), PLOT_NOISY}, {"sampling", F(time_rollout), PLOT_NOISY}, {"training", F(time_train), PLOT_NOISY}}},
};
enum { PANELS = sizeof layouts / sizeof *layouts };

static double read_field(const train_metrics *m, size_t offset)
{
    return *(const double *)((const char *)m + offset);
}

static bool moves(const double *y, size_t n)
{
    double low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < n; i++)
        if (isfinite(y[i])) {
            low = fmin(low, y[i]);
            high = fmax(high, y[i]);
        }
    return low < high;
}

grpo_status plot_run(strbuf *out, const char *title, const train_metrics *steps, size_t count, grpo_error *err)
{
    plot_panel panels[PANELS] = {0};
    double *x = mem_calloc(count, sizeof *x), *y = mem_calloc(count, PANELS * PLOT_SERIES * sizeof *y), *next = y;
    if (!x || !y) {
        mem_free(x);
        mem_free(y);
        return mem_fail(err, "a plot", count * PANELS * PLOT_SERIES * sizeof *y);
    }
    for (size_t i = 0; i < count; i++)
        x[i] = steps[i].step;
    for (size_t k = 0; k < PANELS; k++) {
        const layout *l = &layouts[k];
        panels[k] = (plot_panel){.title = l->title, .percent = l->percent, .from_zero = l->from_zero};
        bool moving = false;
        for (size_t c = 0; c < PLOT_SERIES && l->columns[c].label; c++, next += count) {
            for (size_t i = 0; i < count; i++)
                next[i] = read_field(&steps[i], l->columns[c].offset);
            moving |= moves(next, count);
            panels[k].series[panels[k].count++] = (plot_series){l->columns[c].label, x, next, count, l->columns[c].kind};
        }
        if (l->only_if_moving && !moving)
            panels[k].count = 0;
    }
    grpo_status status = plot_svg(out, title, "step", panels, PANELS, err);
    mem_free(x);
    mem_free(y);
    return status;
}

grpo_status plot_run_folder(const char *folder, grpo_error *err)
{
    train_metrics *steps = NULL;
    size_t count = 0;
    strbuf svg = STRBUF_INIT;
    char *metrics = file_join(folder, "metrics.jsonl"), *target = file_join(folder, "plot.svg");
    grpo_status status = metrics && target ? metrics_file_read(&steps, &count, metrics, err)
                                           : mem_fail(err, "a file name", strlen(folder));
    if (status == GRPO_OK)
        status = plot_run(&svg, folder, steps, count, err);
    if (status == GRPO_OK)
        status = file_write_all(target, strbuf_text(&svg), svg.length, err);
    strbuf_deinit(&svg);
    mem_free(steps);
    mem_free(metrics);
    mem_free(target);
    return status;
}
