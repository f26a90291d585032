/* The values that GAE needs: of a network of its own, or of a head on the policy's trunk. */
#include <math.h>
#include <string.h>

#include "base/machine.h"
#include "train/trainer_impl.h"

/* ---- the two kinds as one: what is trained beside the policy, and kept in value.safetensors ------------------------- */

typedef struct value_part {
    const model_layout *layout; /* NULL: there are no values */
    float *arrays[3];           /* weights, first and second moments */
    optimizer *optimizer;
} value_part;

static value_part part_of(trainer *t)
{
    const model_layout *layout = t->value.m ? &t->value.m->layout : t->value_head.params ? &t->value_head.layout : NULL;
    float *params = t->value.m ? t->value.m->params : t->value_head.params;
    optimizer *o = t->value.m ? &t->value.optimizer : &t->value_head.optimizer;
    return (value_part){layout, {params, o->m, o->v}, o};
}

static checkpoint_arrays arrays_of(const value_part *p)
{
    static const char *const prefixes[] = {"", "exp_avg.", "exp_avg_sq."};
    return (checkpoint_arrays){"value.safetensors", p->layout, prefixes, p->arrays, 3};
}

static const char STEPS[] = "value_optimizer_steps";

int trainer_has_values(const trainer *t)
{
    return t->config->algo.advantage == GRPO_ADV_GAE;
}

grpo_status trainer_values_save(trainer *t, const char *folder, grpo_error *err)
{
    value_part p = part_of(t);
    checkpoint_arrays a = arrays_of(&p);
    return p.layout ? checkpoint_write_arrays(folder, &a, err) : GRPO_OK;
}

void trainer_values_note(trainer *t, json_t *extra)
{
    value_part p = part_of(t);
    if (p.layout)
        json_object_set_new(extra, STEPS, json_integer((json_int_t)p.optimizer->steps));
}

grpo_status trainer_values_restore(trainer *t, const char *folder, const json_t *extra, grpo_error *err)
{
    value_part p = part_of(t);
    checkpoint_arrays a = arrays_of(&p);
    if (!p.layout)
        return GRPO_OK;
    p.optimizer->steps = (uint64_t)json_integer_value(json_object_get(extra, STEPS));
    return checkpoint_read_arrays(folder, &a, err);
}

/* ---- V of a rollout ---------------------------------------------------------------------------------------------------- */

/* The head's, whose inputs the rollout has left on the tape unless nothing is kept. */
static grpo_status head_values(trainer *t, step_batch *b, grpo_error *err)
{
    if (t->plan.policy == ACTIVATIONS_RECOMPUTE)
        return trainer_policy_pass(t, b->groups, b->n_groups, (policy_tokens){NULL, NULL}, b->value32, err);
    return policy_tape_values(&t->e, &t->lm.m->weights, &t->tape, b->groups, b->n_groups, b->value32, err);
}

grpo_status trainer_state_values(trainer *t, step_batch *b, train_metrics *m, grpo_error *err)
{
    double began = machine_seconds();
    grpo_status status = t->value.m ? value_network_run(&t->value, b->groups, b->n_groups, b->value32, err)
                                    : head_values(t, b, err);
    for (size_t i = 0; status == GRPO_OK && i < b->tokens; i++)
        b->value[i] = b->present_value[i] = b->value32[i];
    m->time_value = machine_seconds() - began;
    return status;
}

/* 1 - Var(returns - value) / Var(returns) over the valid tokens; NaN where the returns do not vary. */
static double explained_variance(const grpo_rows *rows, const double *value, const double *returns)
{
    double n = 0, mean[2] = {0, 0}, square[2] = {0, 0}; /* of the returns, of what is left of them */
    size_t tokens = rows->offset[rows->count];
    for (size_t i = 0; i < tokens; i++) {
        if (rows->mask && !rows->mask[i])
            continue;
        const double x[2] = {returns[i], returns[i] - value[i]};
        n++;
        for (int k = 0; k < 2; k++) {
            double d = x[k] - mean[k];
            mean[k] += d / n;
            square[k] += d * (x[k] - mean[k]);
        }
    }
    return square[0] > 0 ? 1 - square[1] / square[0] : NAN;
}

void trainer_measure_values(const step_batch *b, train_metrics *m)
{
    grpo_rows rows = {b->answers, b->offset, b->mask};
    double sum = 0;
    for (size_t i = 0; i < b->tokens; i++)
        sum += b->value[i];
    m->value_mean = sum / (double)b->tokens;
    m->value_explained = explained_variance(&rows, b->value, b->returns);
}

/* ---- training ------------------------------------------------------------------------------------------------------------- */

static void note_loss(train_metrics *m, double loss, double clip_fraction, int update)
{
    metrics_mean(&m->value_loss, loss, 1, update);
    metrics_mean(&m->value_clip_frac, clip_fraction, 1, update);
}

static void note_step(train_metrics *m, double norm, double rate, int update)
{
    m->value_grad_norm = update == 0 ? norm : fmax(m->value_grad_norm, norm);
    m->value_learning_rate = rate;
}

grpo_status trainer_value_network_step(trainer *t, step_batch *b, const mini_batch *mb, train_metrics *m, int update,
                                       grpo_error *err)
{
    double began = machine_seconds();
    grpo_rows rows = {mb->rows, mb->offset, b->mask + mb->first_token};
    value_step step = {.first = mb->first_group,
                       .n_groups = mb->n_groups,
                       .rows = &rows,
                       .old_value = b->value + mb->first_token,
                       .returns = b->returns + mb->first_token,
                       .weights_changed = update > 0,
                       .learning_rate = trainer_learning_rate(t, t->config->value.learning_rate, t->value.optimizer.steps)};
    grpo_status status = value_network_update(&t->value, &t->config->algo, &step, t->threads, err);
    note_loss(m, step.loss, step.clip_fraction, update);
    note_step(m, step.grad_norm, step.learning_rate, update);
    m->time_value += machine_seconds() - began;
    return status;
}

grpo_status trainer_value_head_loss(trainer *t, step_batch *b, const mini_batch *mb, train_metrics *m, int update,
                                    grpo_error *err)
{
    const grpo_algo *algo = &t->config->algo;
    grpo_rows rows = {mb->rows, mb->offset, b->mask + mb->first_token};
    size_t first = mb->first_token;
    double *grad = b->grad_value + first, loss, clip_fraction;
    grpo_status status = compute_value_loss(algo, &rows, b->present_value + first, b->value + first, b->returns + first, 0, 0,
                                            &loss, grad, &clip_fraction, err);
    if (status == GRPO_OK)
        note_loss(m, loss, clip_fraction, update);
    for (size_t i = 0; status == GRPO_OK && i < mb->tokens; i++)
        grad[i] *= algo->value_coef;
    return status;
}

grpo_status trainer_value_head_step(trainer *t, train_metrics *m, int update, grpo_error *err)
{
    value_head *h = &t->value_head;
    double norm = 0, rate = trainer_learning_rate(t, t->config->value.learning_rate, h->optimizer.steps);
    grpo_status status = optimizer_step(&h->optimizer, t->threads, h->params, h->grad, rate, &norm, err);
    note_step(m, norm, rate, update);
    return grpo_error_prefix(err, status, "the value head");
}
