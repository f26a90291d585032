/* AdamW over the flat parameter array, with clipping by the global norm. */
#ifndef TRAIN_OPTIMIZER_H
#define TRAIN_OPTIMIZER_H

#include "model/transformer.h"

typedef struct optimizer_options {
    double beta1, beta2, eps, weight_decay;
    double max_grad_norm; /* 0: no clipping */
} optimizer_options;

typedef struct optimizer {
    optimizer_options options;
    mem_arena arena;
    float *m, *v; /* [n] first and second moments */
    size_t n;
    uint64_t steps; /* taken so far */
} optimizer;

grpo_status optimizer_init(optimizer *o, size_t n, optimizer_options options, grpo_error *err);
void optimizer_deinit(optimizer *o);

/* One step: clips, updates params and moments, and clears grad. *grad_norm gets the norm before
 * clipping. A norm that is not finite is refused and nothing is changed. */
grpo_status optimizer_step(optimizer *o, pool *threads, float *params, float *grad, double learning_rate,
                           double *grad_norm, grpo_error *err);

#endif
