/* The reference policy of the KL penalty: the starting model, frozen, or following the policy. */
#include <string.h>

#include "train/trainer_impl.h"

/* Is there a copy? Of what training changes; but where that is a fresh adapter, which adds nothing, the reference is
 * the model without it, unless it follows the policy later. */
static int has_copy(const trainer *t)
{
    return !t->lm.m->adapter || t->adapter_given || t->config->reference.sync_steps > 0;
}

size_t trainer_reference_bytes(const trainer *t)
{
    return has_copy(t) ? model_trained(t->lm.m).layout->total * sizeof(float) : 0;
}

grpo_status trainer_reference_init(trainer *t, grpo_error *err)
{
    const model *m = t->lm.m;
    if (!has_copy(t))
        return model_weights_view(&t->reference, &m->config, m->params, err);
    size_t bytes = trainer_reference_bytes(t);
    grpo_status status = mem_arena_init(&t->reference_arena, bytes, "the reference weights", err);
    if (status != GRPO_OK)
        return status;
    float *copy = (float *)t->reference_arena.base;
    memcpy(copy, model_trained(m).params, bytes);
    status = model_weights_view(&t->reference, &m->config, m->adapter ? m->params : copy, err);
    if (status == GRPO_OK && m->adapter)
        adapter_view(m->adapter, &t->reference, copy);
    return status;
}

typedef struct mix_job {
    float *reference;
    const float *policy;
    float share;
} mix_job;

enum { MIX_BLOCK = 1 << 16 };

static void mix_blocks(void *context, int begin, int end, int thread)
{
    (void)thread;
    const mix_job *job = context;
    for (size_t i = (size_t)begin * MIX_BLOCK; i < (size_t)end * MIX_BLOCK; i++)
        job->reference[i] += job->share * (job->policy[i] - job->reference[i]);
}

static int sync_due(const trainer *t)
{
    int every = t->config->reference.sync_steps;
    return t->reference.layer && every > 0 && t->step % (uint64_t)every == 0;
}

/* reference += mixup (policy - reference); with mixup 1 it is the policy, bit for bit. */
void trainer_reference_follow(trainer *t)
{
    if (!sync_due(t))
        return;
    model_trainable trained = model_trained(t->lm.m);
    size_t n = trained.layout->total, blocks = n / MIX_BLOCK;
    float *reference = (float *)t->reference_arena.base;
    const float *policy = trained.params;
    if (t->config->reference.mixup == 1) {
        memcpy(reference, policy, n * sizeof *reference);
        return;
    }
    mix_job job = {reference, policy, (float)t->config->reference.mixup};
    pool_run(t->threads, (int)blocks, 1, mix_blocks, &job);
    for (size_t i = blocks * MIX_BLOCK; i < n; i++)
        reference[i] += job.share * (policy[i] - reference[i]);
}

/* ---- checkpoints: a frozen reference is read from the starting model again ------------------------------------ */

static const char *const PREFIX[] = {""};

static checkpoint_arrays stored_reference(const trainer *t, float *const *array)
{
    return (checkpoint_arrays){"reference.safetensors", model_trained(t->lm.m).layout, PREFIX, array, 1};
}

grpo_status trainer_reference_save(const trainer *t, const char *folder, grpo_error *err)
{
    float *const array[] = {(float *)t->reference_arena.base};
    checkpoint_arrays a = stored_reference(t, array);
    return t->reference.layer && t->config->reference.sync_steps > 0 ? checkpoint_write_arrays(folder, &a, err) : GRPO_OK;
}

grpo_status trainer_reference_restore(trainer *t, const char *folder, grpo_error *err)
{
    float *const array[] = {(float *)t->reference_arena.base};
    checkpoint_arrays a = stored_reference(t, array);
    return t->reference.layer && t->config->reference.sync_steps > 0 ? checkpoint_read_arrays(folder, &a, err) : GRPO_OK;
}
