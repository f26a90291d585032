/* Checkpoints: folders `step-00000012` holding a Hugging Face model (model.safetensors in f32), or the
 * PEFT folder of an adapter (adapter_model.safetensors) where that is what is trained, the
 * optimiser's moments (optimizer.safetensors) and state.json, which lists size and XXH3 of every other
 * file (for an adapter also the fingerprint of its base) and is written last. A folder is written under
 * another name and renamed when complete, so one that exists is whole, and one that was damaged later is
 * recognised. */
#ifndef TRAIN_CHECKPOINT_H
#define TRAIN_CHECKPOINT_H

#include "base/json.h"
#include "train/optimizer.h"

typedef struct checkpoint_state {
    uint64_t step;          /* rollouts done */
    uint64_t data_position; /* groups taken from the data stream */
    uint64_t optimizer_steps;
    int64_t seed;
    char run_id[40];
    double kl_coef; /* the adaptive controller's */
    json_t *extra;  /* whatever else the trainer keeps; owned */
} checkpoint_state;

/* Puts the files that make a folder a model (config.json, tokenizer) into `folder`. */
typedef grpo_status checkpoint_extras(void *context, const char *folder, grpo_error *err);

/* Flat arrays of one layout as a safetensors file: array i's parameters are named prefixes[i] + their own name. */
typedef struct checkpoint_arrays {
    const char *file; /* "value.safetensors" */
    const model_layout *layout;
    const char *const *prefixes;
    float *const *arrays;
    size_t count;
} checkpoint_arrays;

grpo_status checkpoint_write_arrays(const char *folder, const checkpoint_arrays *a, grpo_error *err);
grpo_status checkpoint_read_arrays(const char *folder, const checkpoint_arrays *a, grpo_error *err);

/* Writes `root`/step-N, in place of one that is there only when it is complete, and removes those of later steps and all
 * but the newest `keep_last` of the others. */
grpo_status checkpoint_save(const char *root, const checkpoint_state *state, const model *m, const optimizer *o,
                            int keep_last, checkpoint_extras *extras, void *context, grpo_error *err);

/* Whether there is any below root, intact or not. */
int checkpoint_any(const char *root);

/* Finds the newest intact checkpoint below root: *path (mem_free it) or NULL when there is none.
 * Damaged ones are passed over; *damaged counts them and err then holds what was wrong with the newest. */
grpo_status checkpoint_find(char **path, int *damaged, const char *root, grpo_error *err);

/* What `auto` means for a model in `folder`: the precision of the run that wrote it, so that the policy that was
 * trained is the one that answers; auto where no run did. Other values come back as they are. */
model_precision checkpoint_precision(const char *folder, model_precision wanted);

/* The model that a path means: itself, or the newest intact checkpoint when it is a run folder. mem_free *path. */
grpo_status checkpoint_resolve(char **path, const char *given, grpo_error *err);

/* Reads what is trained (of a whole model the f32 master; it is rounded where the model is), moments and state back.
 * Shapes, names and precision must be the model's. */
grpo_status checkpoint_load(checkpoint_state *state, const char *path, model *m, optimizer *o, pool *threads,
                            grpo_error *err);
void checkpoint_state_deinit(checkpoint_state *state);

#endif
