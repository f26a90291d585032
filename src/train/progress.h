/* What a person sees of a run: a line a step, and in a terminal a line that changes in between.
 * Decides what to say and when; printing is the caller's sink. */
#ifndef TRAIN_PROGRESS_H
#define TRAIN_PROGRESS_H

#include <stdbool.h>

#include "train/metrics.h"

/* passing: the text is to be replaced by the next one (a terminal's last line). An empty passing
 * text clears it. */
typedef void progress_sink(void *context, const char *text, bool passing);

typedef struct progress {
    progress_sink *sink; /* NULL: silent */
    void *context;
    bool terminal;   /* passing texts are wanted */
    long total;      /* steps of the run */
    long first;      /* first step of this process, from 1; larger than 1 after --resume */
    double interval; /* seconds between lines of fast steps */
    /* kept by the functions below */
    double printed, passed, step_seconds;
    long step;
} progress;

void progress_init(progress *p, progress_sink *sink, void *context, bool terminal, long first, long total);

/* A step is done. `now`: seconds of any monotonic clock. */
void progress_step(progress *p, const train_metrics *m, double now);
/* In the middle of step p->step + 1: "sampling", 13 of 64. Shown in terminals, a few times a second. */
void progress_phase(progress *p, const char *phase, long done, long of, double now);
/* A message of its own, on its own line. */
void progress_say(progress *p, const char *text);

/* Seconds until the last step, from recent steps; NAN when unknown. */
double progress_seconds_left(const progress *p);

/* The text of a step: "step 12/100  reward 0.531  …". */
void progress_put_step(strbuf *out, const train_metrics *m, long total, double seconds_left);

#endif
