/* The model of a run: its weights, and the adapter where one is trained. */
#define _GNU_SOURCE
#include <math.h>
#include <stdlib.h>

#include "train/trainer_impl.h"

/* ---- adapter ---------------------------------------------------------------------------------------------------- */

static grpo_status fresh_adapter(trainer *t, grpo_error *err)
{
    static const char *const all_linear[] = {"all-linear"};
    const train_config *c = t->config;
    size_t targets = c->lora.targets.count;
    adapter_request r = {.rank = c->lora.rank,
                         .alpha = isnan(c->lora.alpha) ? 2.0 * c->lora.rank : c->lora.alpha,
                         .rslora = c->lora.rslora,
                         .targets = targets ? (const char *const *)c->lora.targets.items : all_linear,
                         .n_targets = targets ? targets : 1,
                         .seed = (uint64_t)c->seed};
    model_adapter *a;
    grpo_status status = adapter_create(&a, &t->lm.m->config, &r, err);
    if (status == GRPO_OK)
        model_attach_adapter(t->lm.m, a);
    return status;
}

/* An adapter that is trained on keeps its own settings; what the configuration says must agree. */
static grpo_status check_given_adapter(const trainer *t, const model_adapter *a, grpo_error *err)
{
    const train_config *c = t->config;
    const char *where = c->lora.path ? c->lora.path : c->model;
    if (c->lora.rank > 0 && c->lora.rank != a->rank)
        return grpo_fail(err, GRPO_ERR_CONFIG, "lora.rank=%d, but the adapter %s has rank %d: leave lora.rank out", c->lora.rank,
                         where, a->rank);
    if (!isnan(c->lora.alpha) && c->lora.alpha != a->alpha)
        return grpo_fail(err, GRPO_ERR_CONFIG, "lora.alpha=%g, but the adapter %s has alpha %g: leave lora.alpha out",
                         c->lora.alpha, where, a->alpha);
    if (c->lora.targets.count > 0)
        return grpo_fail(err, GRPO_ERR_CONFIG, "lora.targets are those of the adapter %s itself: leave lora.targets out", where);
    if (c->lora.rslora && !a->rslora)
        return grpo_fail(err, GRPO_ERR_CONFIG, "lora.rslora=true, but the adapter %s is scaled by alpha / rank: leave it out", where);
    return GRPO_OK;
}

grpo_status trainer_open_model(trainer *t, grpo_error *err)
{
    const train_config *c = t->config;
    char *path = NULL, *beside = NULL;
    grpo_status status = checkpoint_resolve(&path, c->model, err);
    if (status == GRPO_OK && c->lora.path)
        status = checkpoint_resolve(&beside, c->lora.path, err);
    if (status == GRPO_OK) {
        /* Under an adapter the base stays as it is stored, unless a value network starts from its f32 weights. */
        int adapted = c->lora.rank > 0 || c->lora.path;
        int copied = trainer_has_values(t) && c->value.trunk == TRAIN_TRUNK_OWN && !c->value.model;
        int trainable = !adapted || copied;
        model_load_options how = {.precision = checkpoint_precision(path, c->precision), .trainable = trainable};
        status = language_model_open(&t->lm, path, beside, how, t->threads, err);
    }
    mem_free(path);
    mem_free(beside);
    if (status == GRPO_OK)
        status = language_model_need_text(&t->lm, err);
    if (status == GRPO_OK && t->lm.m->config.head != MODEL_HEAD_LM)
        status = grpo_fail(err, GRPO_ERR_CONFIG, "%s has no language-model head: it cannot be sampled from", c->model);
    if (status != GRPO_OK)
        return status;
    char doubt[256];
    language_model_doubt(&t->lm, doubt);
    if (doubt[0])
        trainer_say(t, "WARNING: %s", doubt);
    t->adapter_given = t->lm.m->adapter != NULL;
    if (t->adapter_given && t->lm.m->adapter->other_base)
        trainer_say(t, "WARNING: the adapter was made for \"%s\", and the model is %s", t->lm.m->adapter->other_base,
                    model_files_path(t->lm.files));
    if (t->adapter_given)
        status = check_given_adapter(t, t->lm.m->adapter, err);
    else if (c->lora.rank > 0)
        status = fresh_adapter(t, err);
    if (status == GRPO_OK && t->lm.m->adapter && c->reference.sync_steps > 0 && c->reference.mixup != 1)
        status = grpo_fail(err, GRPO_ERR_UNSUPPORTED,
                           "reference.mixup=%g with a LoRA adapter: a mixture of two adapters' factors is not one of the models "
                           "that they make; set reference.mixup=1, or reference.sync_steps=0",
                           c->reference.mixup);
    return status;
}

grpo_status trainer_write_adapter_settings(const trainer *t, const char *folder, grpo_error *err)
{
    const char *path = model_files_path(t->lm.files);
    char *absolute = realpath(path, NULL); /* the folder may be moved, the base is found nevertheless */
    grpo_status status =
        adapter_write_settings(t->lm.m->adapter, folder, absolute ? absolute : path, &t->lm.m->config, err);
    free(absolute);
    return status;
}
