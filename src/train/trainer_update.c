/* From advantages to new weights: losses, gradients, optimiser steps. */
#include <math.h>
#include <string.h>

#include "base/machine.h"
#include "base/rng.h"
#include "train/trainer_impl.h"

float trainer_inverse_temperature(const trainer *t)
{
    sampling s = {.temperature = t->config->rollout.temperature};
    return sampling_inverse_temperature(&s);
}

/* ---- one optimiser step on groups [first, first + n) ------------------------------------------------------------ */

static grpo_status mini_batch_init(mini_batch *mb, step_batch *b, int first, int n, grpo_error *err)
{
    memset(mb, 0, sizeof *mb);
    mb->groups = b->groups + first;
    mb->first_group = first;
    mb->n_groups = n;
    for (int g = 0; g < first; g++)
        mb->first_row += (size_t)b->groups[g].n_samples;
    for (int g = first; g < first + n; g++)
        mb->rows += (size_t)b->groups[g].n_samples;
    mb->first_token = b->offset[mb->first_row];
    mb->tokens = b->offset[mb->first_row + mb->rows] - mb->first_token;
    mb->offset = mem_calloc(mb->rows + 1, sizeof *mb->offset);
    if (!mb->offset)
        return mem_fail(err, "a mini-batch", mb->rows * sizeof *mb->offset);
    for (size_t i = 0; i <= mb->rows; i++)
        mb->offset[i] = b->offset[mb->first_row + i] - mb->first_token;
    return GRPO_OK;
}

/* Where nothing is kept, values are read group by group, while a group's rows stand on the tape. */
grpo_status trainer_policy_pass(trainer *t, rollout_group *groups, int n_groups, policy_tokens out, float *value,
                                grpo_error *err)
{
    int recompute = t->plan.policy == ACTIVATIONS_RECOMPUTE, at_once = recompute && value ? 1 : n_groups;
    policy_run_options o = {.inv_temperature = trainer_inverse_temperature(t),
                            .want_entropy = 1,
                            .tape = recompute && !value ? NULL : &t->tape,
                            .private_kv = recompute};
    const model_weights *w = &t->lm.m->weights;
    grpo_status status = GRPO_OK;
    for (int g = 0; g < n_groups && status == GRPO_OK; g += at_once) {
        size_t n = policy_token_count(groups + g, at_once);
        tape_reset(&t->tape);
        status = policy_run(&t->e, w, groups + g, at_once, &o, out, err);
        if (status == GRPO_OK && value) {
            status = policy_tape_values(&t->e, w, &t->tape, groups + g, at_once, value, err);
            value += n;
        }
        if (out.logp)
            out.logp += n;
        if (out.stats)
            out.stats += n;
    }
    return status;
}

/* Log-probs (and the head's values) of the present weights: those of the rollout stand there while the weights are its
 * own, afterwards it takes a pass. */
static grpo_status present_pass(trainer *t, step_batch *b, const mini_batch *mb, int weights_changed, grpo_error *err)
{
    size_t first = mb->first_token, end = first + mb->tokens;
    float *value = t->value_head.params ? b->value32 + first : NULL;
    if (!weights_changed)
        return GRPO_OK;
    grpo_status status = trainer_policy_pass(t, mb->groups, mb->n_groups,
                                             (policy_tokens){b->logp32 + first, b->stats + first}, value, err);
    for (size_t i = first; status == GRPO_OK && i < end; i++) {
        b->logp[i] = b->logp32[i];
        b->entropy[i] = b->stats[i].entropy;
        if (value)
            b->present_value[i] = b->value32[i];
    }
    return status;
}

static int weights_are_of_rows(const grpo_algo *algo)
{
    return algo->sampler_correction == GRPO_SAMPLER_SEQUENCE_TRUNCATE ||
           algo->sampler_correction == GRPO_SAMPLER_SEQUENCE_MASK;
}

/* Means over the step's updates. */
static void note_loss(train_metrics *m, const grpo_loss *loss, int update)
{
    const grpo_loss_metrics *x = &loss->metrics;
    m->ratio_min = fmin(m->ratio_min, x->ratio_min);
    m->ratio_max = fmax(m->ratio_max, x->ratio_max);
    metrics_mean(&m->ratio_mean, x->ratio_mean, 1, update);
    metrics_mean(&m->loss, loss->loss, 1, update);
    metrics_mean(&m->policy_loss, loss->policy_loss, 1, update);
    metrics_mean(&m->approx_kl, x->approx_kl, 1, update);
    metrics_mean(&m->clip_frac_low, x->clip_low, 1, update);
    metrics_mean(&m->clip_frac_high, x->clip_high, 1, update);
    metrics_mean(&m->clip_frac, x->clip_low + x->clip_high, 1, update);
}

/* clip_cov drops tokens in an order of its own for every update. */
static void draw_permutation(const trainer *t, size_t *order, size_t n)
{
    uint64_t used = 0, stream = UINT64_C(1) << 63 | t->optimizer.steps;
    for (size_t i = 0; i < n; i++) {
        size_t j = (size_t)rng_below((uint64_t)t->config->seed, stream, &used, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}

/* drop_flat_groups: no gradient of any kind through groups whose rewards are all equal. */
static void drop_flat_groups(const trainer *t, step_batch *b, const mini_batch *mb)
{
    size_t row = mb->first_row;
    for (int g = 0; g < mb->n_groups; g++) {
        size_t n = (size_t)mb->groups[g].n_samples, first = b->offset[row], tokens = b->offset[row + n] - first;
        if (grpo_judge_group(b->reward + row, n, 0, t->config->algo.equal_tolerance) != GRPO_GROUP_MIXED) {
            memset(b->grad_logp + first, 0, tokens * sizeof *b->grad_logp);
            memset(b->grad_entropy + first, 0, tokens * sizeof *b->grad_entropy);
        }
        row += n;
    }
}

/* weight[n] of a mini-batch; `before`: how many the mini-batches before it had. */
static void measure_weights(train_metrics *m, const double *weight, size_t n, size_t before)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += weight[i];
    if (n > 0)
        metrics_mean(&m->sampler_weight_mean, sum / (double)n, (double)n, (double)before);
}

/* What the loss of a mini-batch needs besides the step's arrays. */
typedef struct loss_work {
    void *scratch;
    double *weight;      /* sampler_correction */
    size_t *permutation; /* clip_cov */
} loss_work;

static void loss_work_deinit(loss_work *w)
{
    mem_free(w->scratch);
    mem_free(w->weight);
    mem_free(w->permutation);
}

static grpo_status loss_work_init(loss_work *w, trainer *t, const step_batch *b, const mini_batch *mb, train_metrics *m,
                                  int first_pass, grpo_error *err)
{
    const grpo_algo *algo = &t->config->algo;
    int by_row = weights_are_of_rows(algo);
    int corrects = algo->sampler_correction != GRPO_SAMPLER_NONE && b->sampler_logp;
    memset(w, 0, sizeof *w);
    w->scratch = mem_calloc(1, grpo_loss_scratch(mb->rows, mb->tokens));
    w->weight = corrects ? mem_calloc(mb->tokens + mb->rows, sizeof *w->weight) : NULL;
    w->permutation = algo->loss == GRPO_LOSS_CLIP_COV ? mem_calloc(mb->tokens, sizeof *w->permutation) : NULL;
    if (!w->scratch || (corrects && !w->weight) || (algo->loss == GRPO_LOSS_CLIP_COV && !w->permutation))
        return mem_fail(err, "the loss", mb->tokens * sizeof(double));
    if (w->permutation)
        draw_permutation(t, w->permutation, mb->tokens);
    if (!corrects)
        return GRPO_OK;
    grpo_rows rows = {mb->rows, mb->offset, b->mask + mb->first_token};
    grpo_status status = grpo_sampler_weights(w->weight, algo->sampler_correction, algo->sampler_min, algo->sampler_max, &rows,
                                              b->old_logp + mb->first_token, b->sampler_logp + mb->first_token, err);
    if (status == GRPO_OK && first_pass)
        measure_weights(m, w->weight, by_row ? mb->rows : mb->tokens, by_row ? mb->first_row : mb->first_token);
    return status;
}

static grpo_status mini_batch_loss(trainer *t, step_batch *b, const mini_batch *mb, train_metrics *m, int update,
                                   grpo_error *err)
{
    int first_pass = update < t->config->train.mini_batches;
    grpo_algo algo = t->config->algo;
    algo.kl_coef = t->kl_coef;
    size_t first = mb->first_token;
    loss_work work;
    grpo_status status = loss_work_init(&work, t, b, mb, m, first_pass, err);
    grpo_loss_batch batch = {
        .rows = {mb->rows, mb->offset, b->mask + first},
        .logp = b->logp + first,
        .old_logp = b->old_logp + first,
        .ref_logp = t->reference.layer ? b->ref_logp + first : NULL,
        .sampler_logp = b->sampler_logp ? b->sampler_logp + first : NULL,
        .entropy = b->entropy + first,
        .advantage = b->per_token ? b->token_advantage + first : b->advantage + mb->first_row,
        .advantage_per_token = b->per_token,
        .is_weight = work.weight,
        .is_weight_per_row = weights_are_of_rows(&algo),
        .permutation = work.permutation,
        .permutation_count = mb->tokens,
    };
    grpo_loss loss = {.grad_logp = b->grad_logp + first, .grad_entropy = b->grad_entropy + first, .scratch = work.scratch};
    if (status == GRPO_OK)
        status = compute_grpo_loss(&algo, &batch, &loss, err);
    loss_work_deinit(&work);
    if (status == GRPO_OK && !isfinite(loss.loss))
        status = grpo_fail(err, GRPO_ERR_NUMERIC,
                           "the loss of step %llu is %g; the weights were left as they were. Look at the last lines of "
                           "samples.jsonl and lower train.learning_rate",
                           (unsigned long long)t->step + 1, loss.loss);
    if (status != GRPO_OK)
        return status;
    if (algo.drop_flat_groups)
        drop_flat_groups(t, b, mb);
    note_loss(m, &loss, update);
    return GRPO_OK;
}

double trainer_learning_rate(const trainer *t, double peak, uint64_t steps)
{
    const train_config *c = t->config;
    return grpo_learning_rate(c->train.lr_schedule, peak, steps, (size_t)c->train.warmup_steps,
                              t->optimizer_steps_planned, c->train.min_lr_ratio);
}

/* grad: the policy's view, or only the value head's during its warm-up. With no gradient at all (every group flat) the
 * optimiser's step still follows: AdamW moves the weights by its momentum and by weight decay, as PyTorch's does, and
 * the step count of the schedule stays right. */
static grpo_status mini_batch_gradient(trainer *t, step_batch *b, const mini_batch *mb, model_weights *grad,
                                       grpo_error *err)
{
    size_t first = mb->first_token;
    int policy = grad == &t->grad_view;
    policy_gradient g = {.grad_value = t->value_head.params ? b->grad_value + first : NULL,
                         .grad_logp = policy ? b->grad_logp + first : NULL,
                         .grad_entropy = policy && t->config->algo.entropy_coef != 0 ? b->grad_entropy + first : NULL,
                         .stats = b->stats + first,
                         .inv_temperature = trainer_inverse_temperature(t),
                         .micro_batch_rows = t->plan.micro_batch_rows,
                         .recompute = t->plan.policy == ACTIVATIONS_RECOMPUTE};
    policy_backward_counts counts;
    grpo_status status = policy_backward(&t->e, &t->lm.m->weights, grad, &t->backward, &t->tape, mb->groups, mb->n_groups,
                                         &g, &counts, err);
    if (status == GRPO_OK)
        model_backward_finish(t->lm.m, grad, t->threads, &t->backward);
    return status;
}

static grpo_status policy_optimizer_step(trainer *t, train_metrics *m, int update, grpo_error *err)
{
    double norm = 0;
    m->learning_rate = trainer_learning_rate(t, t->config->train.learning_rate, t->optimizer.steps);
    grpo_status status = optimizer_step(&t->optimizer, t->threads, model_trained(t->lm.m).params, t->grad, m->learning_rate,
                                        &norm, err);
    if (status == GRPO_OK)
        model_refresh(t->lm.m, t->threads);
    m->grad_norm = update == 0 ? norm : fmax(m->grad_norm, norm);
    return status;
}

/* Policy and value head; in the first rollouts, value.warmup_rollouts, the policy stays as it is. */
static grpo_status mini_batch_step(trainer *t, step_batch *b, const mini_batch *mb, train_metrics *m, int update,
                                   grpo_error *err)
{
    int warm = !trainer_has_values(t) || t->step >= (uint64_t)t->config->value.warmup_rollouts;
    int head = t->value_head.params != NULL;
    grpo_status status = GRPO_OK;
    if (t->value.m)
        status = trainer_value_network_step(t, b, mb, m, update, err);
    if (status != GRPO_OK || (!warm && !head))
        return status;
    status = present_pass(t, b, mb, update > 0, err);
    if (status == GRPO_OK && warm)
        status = mini_batch_loss(t, b, mb, m, update, err);
    if (status == GRPO_OK && head)
        status = trainer_value_head_loss(t, b, mb, m, update, err);
    if (status == GRPO_OK)
        status = mini_batch_gradient(t, b, mb, warm ? &t->grad_view : &t->value_head.alone, err);
    if (status == GRPO_OK && warm)
        status = policy_optimizer_step(t, m, update, err);
    if (status == GRPO_OK && head)
        status = trainer_value_head_step(t, m, update, err);
    return status;
}

grpo_status trainer_update(trainer *t, step_batch *b, train_metrics *m, grpo_error *err)
{
    const train_config *c = t->config;
    int parts = c->train.mini_batches, groups = b->n_groups / parts /* without a rest: config_load.c */, update = 0;
    grpo_status status = GRPO_OK;
    for (int pass = 0; pass < c->train.updates_per_rollout; pass++)
        for (int part = 0; part < parts && status == GRPO_OK; part++, update++) {
            mini_batch mb;
            progress_phase(&t->progress, "training", update, (long)parts * c->train.updates_per_rollout,
                           machine_seconds());
            status = mini_batch_init(&mb, b, part * groups, groups, err);
            if (status == GRPO_OK)
                status = mini_batch_step(t, b, &mb, m, update, err);
            mem_free(mb.offset);
        }
    return status;
}
