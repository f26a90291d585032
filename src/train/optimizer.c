/* AdamW. */
#include <math.h>
#include <string.h>

#include "train/optimizer.h"

grpo_status optimizer_init(optimizer *o, size_t n, optimizer_options options, grpo_error *err)
{
    memset(o, 0, sizeof *o);
    grpo_status status =
        mem_arena_init(&o->arena, 2 * mem_arena_size(n, sizeof(float)), "the optimiser's moments", err);
    if (status != GRPO_OK)
        return status;
    o->options = options;
    o->n = n;
    o->m = mem_arena_alloc(&o->arena, n, sizeof(float));
    o->v = mem_arena_alloc(&o->arena, n, sizeof(float));
    return GRPO_OK;
}

void optimizer_deinit(optimizer *o)
{
    mem_arena_deinit(&o->arena);
    memset(o, 0, sizeof *o);
}

grpo_status optimizer_step(optimizer *o, pool *threads, float *params, float *grad, double learning_rate,
                           double *grad_norm, grpo_error *err)
{
    const optimizer_options *c = &o->options;
    double norm = sqrt(ops_sum_squares(threads, grad, o->n));
    *grad_norm = norm;
    if (!isfinite(norm))
        return grpo_fail(err, GRPO_ERR_NUMERIC,
                         "the gradient holds NaN or infinity before optimiser step %llu; the weights were left as "
                         "they were. Lower train.learning_rate (or clip_epsilon, where a rollout has several updates), and look at "
                         "the last samples",
                         (unsigned long long)(o->steps + 1));
    double scale = 1;
    if (c->max_grad_norm > 0 && c->max_grad_norm < norm + 1e-6)
        scale = c->max_grad_norm / (norm + 1e-6);
    o->steps++;
    ops_adamw step = {
        .lr = learning_rate,
        .beta1 = c->beta1,
        .beta2 = c->beta2,
        .eps = c->eps,
        .weight_decay = c->weight_decay,
        .bias1 = 1 - pow(c->beta1, (double)o->steps),
        .bias2 = 1 - pow(c->beta2, (double)o->steps),
        .grad_scale = scale,
    };
    ops_adamw_step(threads, step, params, grad, o->m, o->v, o->n);
    memset(grad, 0, o->n * sizeof *grad);
    return GRPO_OK;
}
