/* The training loop: sample groups, score, advantages, loss, gradient, AdamW; with evaluation, checkpoints,
 * metrics and diagnoses around it. One run is one folder:
 *   config.yaml  metrics.jsonl  samples.jsonl  checkpoints/step-…/  plot.svg */
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H

#include <signal.h>

#include "train/config.h"
#include "train/progress.h"

typedef struct trainer trainer;

typedef struct trainer_options {
    progress_sink *sink; /* NULL: silent */
    void *context;
    bool terminal;
    bool resume;    /* go on from the newest intact checkpoint of output_dir */
    bool overwrite; /* output_dir may hold an earlier run, which is removed */
    const volatile sig_atomic_t *interrupt; /* set by a signal handler; may be NULL */
} trainer_options;

/* Loads model and data and plans the memory; takes none of it and writes nothing. The config must outlive the
 * trainer. */
grpo_status trainer_create(trainer **out, const train_config *config, const trainer_options *options, grpo_error *err);
void trainer_destroy(trainer *t);

/* The memory plan as text; valid as long as the trainer. */
const char *trainer_plan_text(const trainer *t);

/* Takes the memory, opens the run folder, resumes when asked to, and says what the run will do. */
grpo_status trainer_start(trainer *t, grpo_error *err);

/* Trains until the last step. When interrupted, a checkpoint is written first and the status is
 * GRPO_ERR_INTERRUPTED. */
grpo_status trainer_run(trainer *t, grpo_error *err);

#endif
