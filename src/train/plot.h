/* Line charts as a self-contained SVG: several panels, light and dark by the viewer's setting. Noisy
 * series are drawn thin with a smooth line over them. */
#ifndef TRAIN_PLOT_H
#define TRAIN_PLOT_H

#include <stdbool.h>

#include "train/metrics.h"

enum { PLOT_SERIES = 3 };

typedef enum plot_kind {
    PLOT_NOISY,  /* a thin line, and a smooth one over it */
    PLOT_EXACT,  /* one line */
    PLOT_SPARSE, /* measured now and then: points, joined */
} plot_kind;

typedef struct plot_series {
    const char *label;
    const double *x, *y; /* NAN in y: no value there */
    size_t count;
    plot_kind kind;
} plot_series;

typedef struct plot_panel {
    const char *title;
    bool percent;   /* y from 0 to 1, labelled in percent */
    bool from_zero; /* the axis begins at 0 where values are not negative */
    plot_series series[PLOT_SERIES];
    size_t count;
} plot_panel;

/* Appends a whole SVG document. Panels without any value are left out. */
grpo_status plot_svg(strbuf *out, const char *title, const char *x_label, const plot_panel *panels, size_t count,
                     grpo_error *err);

/* The chart of a run: reward, accuracy, groups, length, entropy, KL, gradient, speed. */
grpo_status plot_run(strbuf *out, const char *title, const train_metrics *steps, size_t count, grpo_error *err);

/* Reads FOLDER/metrics.jsonl, writes FOLDER/plot.svg. */
grpo_status plot_run_folder(const char *folder, grpo_error *err);

/* About `wanted` round numbers (1, 2, 2.5 or 5 times a power of ten) covering [low, high]: the first
 * tick and the distance. */
void plot_ticks(double low, double high, int wanted, double *first, double *step);

#endif
