/* The value network of PPO. */
#include <string.h>

#include "train/value_network.h"

/* ---- life --------------------------------------------------------------------------------------------------- */

static grpo_status load(value_network *v, const char *path, const model *policy, pool *threads, grpo_error *err)
{
    model *loaded = NULL;
    grpo_status status = model_files_open(&v->files, path, err);
    if (status == GRPO_OK)
        status = model_load(&loaded, v->files, policy->max_context, threads, err);
    if (status == GRPO_OK && loaded->config.vocab != policy->config.vocab)
        status = grpo_fail(err, GRPO_ERR_CONFIG,
                           "value.model %s has a vocabulary of %d, the policy one of %d: both must read the same tokens",
                           path, loaded->config.vocab, policy->config.vocab);
    if (status == GRPO_OK && loaded->max_context < policy->max_context)
        status = grpo_fail(err, GRPO_ERR_CONFIG, "value.model %s reads %d positions, the policy %d", path,
                           loaded->max_context, policy->max_context);
    if (status == GRPO_OK && loaded->config.head == MODEL_HEAD_TOKEN) {
        v->m = loaded;
        return GRPO_OK;
    }
    if (status == GRPO_OK)
        status = model_with_head(&v->m, loaded, MODEL_HEAD_TOKEN, err);
    model_destroy(loaded);
    return status;
}

grpo_status value_network_open(value_network *v, const char *path, const model *policy, pool *threads, grpo_error *err)
{
    memset(v, 0, sizeof *v);
    if (path)
        return load(v, path, policy, threads, err);
    return model_with_head(&v->m, policy, MODEL_HEAD_TOKEN, err);
}

grpo_status value_network_start(value_network *v, pool *threads, const memory_plan *plan, optimizer_options options,
                                grpo_error *err)
{
    const model_config *c = &v->m->config;
    v->recompute = plan->policy == ACTIVATIONS_RECOMPUTE;
    v->micro_batch_rows = plan->micro_batch_rows;
    engine_plan running = {plan->forward_rows, 1, plan->value_kv_blocks};
    grpo_status status = engine_init(&v->e, v->m, threads, running, err);
    if (status == GRPO_OK)
        status = tape_init(&v->tape, c, plan->tape_rows, plan->value_kept_layers, err);
    if (status == GRPO_OK)
        status = backward_workspace_init(&v->backward, v->m, threads, plan->backward_rows, plan->batch_rows,
                                         plan->max_positions, err);
    if (status == GRPO_OK)
        status = mem_arena_init(&v->grad_arena, v->m->layout.total * sizeof(float), "the value network's gradients", err);
    v->grad = (float *)v->grad_arena.base;
    if (status == GRPO_OK)
        status = model_weights_view(&v->grad_view, c, v->grad, err);
    if (status == GRPO_OK)
        status = optimizer_init(&v->optimizer, v->m->layout.total, options, err);
    return status;
}

void value_network_close(value_network *v)
{
    value_network_release(v);
    optimizer_deinit(&v->optimizer);
    model_weights_deinit(&v->grad_view);
    mem_arena_deinit(&v->grad_arena);
    backward_workspace_deinit(&v->backward);
    tape_deinit(&v->tape);
    engine_deinit(&v->e);
    model_destroy(v->m);
    model_files_close(v->files);
    memset(v, 0, sizeof *v);
}

/* ---- the rollout in hand -------------------------------------------------------------------------------------- */

/* Frees keys, values and the places on the tape; the tokens belong to the rollout. */
void value_network_release(value_network *v)
{
    for (int g = 0; g < v->n_groups; g++) {
        rollout_group *group = &v->shadow[g];
        for (int s = 0; group->samples && s < group->n_samples; s++) {
            kv_sequence_deinit(&v->e.kv, &group->samples[s].kv);
            mem_free(group->samples[s].tape_row);
        }
        kv_sequence_deinit(&v->e.kv, &group->kv);
        mem_free(group->tape_row);
        mem_free(group->samples);
    }
    mem_free(v->shadow);
    v->shadow = NULL;
    v->n_groups = 0;
}

static grpo_status shadow_group(rollout_group *to, const rollout_group *from)
{
    *to = (rollout_group){.prompt = from->prompt, .prompt_length = from->prompt_length, .n_samples = from->n_samples};
    to->samples = mem_calloc((size_t)from->n_samples, sizeof *to->samples);
    to->tape_row = mem_calloc((size_t)from->prompt_length, sizeof *to->tape_row);
    if (!to->samples || !to->tape_row)
        return GRPO_ERR_MEMORY;
    for (int s = 0; s < from->n_samples; s++) {
        to->samples[s].token = from->samples[s].token;
        to->samples[s].n = from->samples[s].n;
        to->samples[s].tape_row = mem_calloc((size_t)from->samples[s].n, sizeof *to->samples[s].tape_row);
        if (!to->samples[s].tape_row)
            return GRPO_ERR_MEMORY;
    }
    return GRPO_OK;
}

static grpo_status take_rollout(value_network *v, const rollout_group *groups, int n_groups, grpo_error *err)
{
    value_network_release(v);
    v->shadow = mem_calloc((size_t)n_groups, sizeof *v->shadow);
    if (!v->shadow)
        return mem_fail(err, "the value network's rollout", (size_t)n_groups * sizeof *v->shadow);
    v->n_groups = n_groups;
    for (int g = 0; g < n_groups; g++)
        if (shadow_group(&v->shadow[g], &groups[g]) != GRPO_OK)
            return mem_fail(err, "the value network's rollout", 0);
    return GRPO_OK;
}

/* V of groups [first, first + n): all onto the tape, or, where nothing is kept, one group after another. */
static grpo_status run_groups(value_network *v, int first, int n, float *value, grpo_error *err)
{
    grpo_status status = GRPO_OK;
    policy_run_options o = {.inv_temperature = 1, .tape = &v->tape};
    int at_once = v->recompute ? 1 : n;
    for (int g = first; g < first + n && status == GRPO_OK; g += at_once) {
        rollout_group *groups = v->shadow + g;
        tape_reset(&v->tape);
        status = policy_run(&v->e, &v->m->weights, groups, at_once, &o, (policy_tokens){NULL, NULL}, err);
        if (status == GRPO_OK)
            status = policy_tape_values(&v->e, &v->m->weights, &v->tape, groups, at_once, value, err);
        if (v->recompute)
            policy_release_kv(&v->e, groups, at_once);
        value += policy_token_count(groups, at_once);
    }
    return status;
}

grpo_status value_network_run(value_network *v, const rollout_group *groups, int n_groups, float *value, grpo_error *err)
{
    grpo_status status = take_rollout(v, groups, n_groups, err);
    return status == GRPO_OK ? run_groups(v, 0, n_groups, value, err) : status;
}

/* ---- training ------------------------------------------------------------------------------------------------------ */

/* V at the present weights, in double. */
static grpo_status present_values(value_network *v, const value_step *s, double *value, size_t tokens, grpo_error *err)
{
    if (!s->weights_changed) {
        memcpy(value, s->old_value, tokens * sizeof *value);
        return GRPO_OK;
    }
    float *value32 = mem_calloc(tokens, sizeof *value32);
    if (!value32)
        return mem_fail(err, "values", tokens * sizeof *value32);
    grpo_status status = run_groups(v, s->first, s->n_groups, value32, err);
    for (size_t i = 0; i < tokens; i++)
        value[i] = value32[i];
    mem_free(value32);
    return status;
}

static grpo_status gradient_step(value_network *v, value_step *s, const double *grad_value, pool *threads, grpo_error *err)
{
    policy_gradient g = {.grad_value = grad_value, .micro_batch_rows = v->micro_batch_rows, .recompute = v->recompute};
    policy_backward_counts counts;
    grpo_status status = policy_backward(&v->e, &v->m->weights, &v->grad_view, &v->backward, &v->tape,
                                         v->shadow + s->first, s->n_groups, &g, &counts, err);
    if (status != GRPO_OK)
        return status;
    model_backward_finish(v->m, &v->grad_view, threads, &v->backward);
    status = optimizer_step(&v->optimizer, threads, v->m->params, v->grad, s->learning_rate, &s->grad_norm, err);
    return grpo_error_prefix(err, status, "the value network");
}

grpo_status value_network_update(value_network *v, const grpo_algo *algo, value_step *s, pool *threads, grpo_error *err)
{
    size_t tokens = s->rows->offset[s->rows->count];
    double *value = mem_calloc(tokens, sizeof *value), *grad = mem_calloc(tokens, sizeof *grad);
    grpo_status status = value && grad ? GRPO_OK : mem_fail(err, "values", tokens * sizeof *value);
    if (status == GRPO_OK)
        status = present_values(v, s, value, tokens, err);
    if (status == GRPO_OK)
        status = compute_value_loss(algo, s->rows, value, s->old_value, s->returns, 0, 0, &s->loss, grad,
                                    &s->clip_fraction, err);
    for (size_t i = 0; status == GRPO_OK && i < tokens; i++)
        grad[i] *= algo->value_coef;
    if (status == GRPO_OK)
        status = gradient_step(v, s, grad, threads, err);
    mem_free(value);
    mem_free(grad);
    return status;
}
