/* The reference policy that the KL is measured from: the starting model, frozen, or following the policy. */
#include <string.h>

#include "train/trainer_impl.h"

int trainer_wants_reference(const train_config *c)
{
    return c->algo.kl_coef != 0 || c->log.kl;
}

/* Is there a copy? Of what training changes; but where that is a fresh adapter, which adds nothing, the reference is
 * the model without it, unless it follows the policy later. */
static int has_copy(const trainer *t)
{
    return !t->lm.m->adapter || t->adapter_given || t->config->reference.sync_steps > 0;
}

/* Rounded weights that follow are mixed in f32. */
static int has_master(const trainer *t)
{
    return !t->lm.m->adapter && t->lm.m->type != OPS_F32 && t->config->reference.sync_steps > 0;
}

size_t trainer_reference_bytes(const trainer *t)
{
    const model *m = t->lm.m;
    size_t flat = model_trained(m).layout->total * sizeof(float);
    if (!has_copy(t))
        return 0;
    return m->adapter ? flat : model_store_bytes(&m->layout, m->type) + (has_master(t) ? flat : 0);
}

static grpo_status copy_adapter(trainer *t, grpo_error *err)
{
    model_trainable trained = model_trained(t->lm.m);
    size_t bytes = trained.layout->total * sizeof(float);
    grpo_status status = mem_arena_init(&t->reference_arena, bytes, "the reference adapter", err);
    if (status == GRPO_OK)
        memcpy(t->reference_arena.base, trained.params, bytes);
    return status;
}

static grpo_status copy_weights(trainer *t, grpo_error *err)
{
    const model *m = t->lm.m;
    size_t bytes = model_store_bytes(&m->layout, m->type), flat = m->layout.total * sizeof(float);
    grpo_status status = mem_arena_init(&t->reference_arena, bytes, "the reference weights", err);
    if (status == GRPO_OK)
        memcpy(t->reference_arena.base, m->store.base, bytes);
    if (status == GRPO_OK && has_master(t))
        status = mem_arena_init(&t->reference_master, flat, "the f32 master of the reference", err);
    if (status == GRPO_OK && has_master(t))
        memcpy(t->reference_master.base, m->params, flat);
    return status;
}

grpo_status trainer_reference_init(trainer *t, grpo_error *err)
{
    const model *m = t->lm.m;
    if (!has_copy(t))
        return model_store_view(&t->reference, &m->config, m->type, m->store.base, err);
    grpo_status status = m->adapter ? copy_adapter(t, err) : copy_weights(t, err);
    if (status == GRPO_OK)
        status = model_store_view(&t->reference, &m->config, m->type, m->adapter ? m->store.base : t->reference_arena.base, err);
    if (status == GRPO_OK && m->adapter)
        adapter_view(m->adapter, &t->reference, (float *)t->reference_arena.base);
    return status;
}

/* The f32 numbers of a reference that follows. */
static float *reference_array(const trainer *t)
{
    return (float *)(t->reference_master.base ? t->reference_master.base : t->reference_arena.base);
}

static void reference_changed(trainer *t)
{
    if (t->reference_master.base)
        model_store_round(t->reference_arena.base, reference_array(t), &t->lm.m->layout, t->threads);
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
    float *reference = reference_array(t);
    const float *policy = trained.params;
    if (t->config->reference.mixup == 1) {
        memcpy(reference, policy, n * sizeof *reference);
        reference_changed(t);
        return;
    }
    mix_job job = {reference, policy, (float)t->config->reference.mixup};
    pool_run(t->threads, (int)blocks, 1, mix_blocks, &job);
    for (size_t i = blocks * MIX_BLOCK; i < n; i++)
        reference[i] += job.share * (policy[i] - reference[i]);
    reference_changed(t);
}

/* ---- checkpoints: a frozen reference is read from the starting model again ------------------------------------ */

static const char *const PREFIX[] = {""};

static checkpoint_arrays stored_reference(const trainer *t, float *const *array)
{
    return (checkpoint_arrays){"reference.safetensors", model_trained(t->lm.m).layout, PREFIX, array, 1};
}

grpo_status trainer_reference_save(const trainer *t, const char *folder, grpo_error *err)
{
    float *const array[] = {reference_array(t)};
    checkpoint_arrays a = stored_reference(t, array);
    return t->reference.layer && t->config->reference.sync_steps > 0 ? checkpoint_write_arrays(folder, &a, err) : GRPO_OK;
}

grpo_status trainer_reference_restore(trainer *t, const char *folder, grpo_error *err)
{
    if (!t->reference.layer || t->config->reference.sync_steps == 0)
        return GRPO_OK;
    float *const array[] = {reference_array(t)};
    checkpoint_arrays a = stored_reference(t, array);
    grpo_status status = checkpoint_read_arrays(folder, &a, err);
    reference_changed(t);
    return status;
}
