/* Diagnoses of a training run, from the specification's table of common problems and from what goes
 * wrong in practice: pure functions of the steps so far. Every diagnosis names its remedy in terms
 * of configuration keys.
 *
 *   specification                              here
 *   all advantages 0 -> look at the reward     all_wrong, all_right, all_equal
 *   unstable, std normalisation -> Dr. GRPO    unstable_std (unstable without std)
 *   gradients explode -> clip_epsilon 0.1      exploding_gradient
 *   slow progress -> group_size 8 to 16        slow_small_groups */
#ifndef TRAIN_DIAGNOSE_H
#define TRAIN_DIAGNOSE_H

#include <stdbool.h>
#include <stddef.h>

#include "train/metrics.h"

/* X(id): in the order of importance. */
#define DIAGNOSE_TABLE(X)                                                                                         \
    X(all_wrong)          /* every advantage is 0, every completion wrong */                                      \
    X(all_right)          /* … right */                                                                           \
    X(all_equal)          /* … neither, but the rewards are equal */                                              \
    X(exploding_gradient) /* the norm left its usual size behind */                                               \
    X(unstable_std)       /* reward falls or gradients jump, advantages divided by a standard deviation */        \
    X(unstable)           /* the same without */                                                                  \
    X(never_ends)         /* no completion ended by itself */                                                     \
    X(truncated)          /* many were cut */                                                                     \
    X(no_chat_template)   /* prompts are raw text, though the model has no template */                            \
    X(unscored)           /* rewards are missing */                                                               \
    X(few_signals)        /* most groups are flat */                                                              \
    X(slow_small_groups)  /* no progress, groups of less than 8 */                                                \
    X(entropy_collapse)   /* sampling repeats itself */                                                           \
    X(clipped)            /* most of the batch is clipped */                                                      \
    X(far_from_reference) /* large KL */

typedef enum diagnose_id {
#define X(name) DIAGNOSE_##name,
    DIAGNOSE_TABLE(X)
#undef X
    DIAGNOSE_COUNT,
} diagnose_id;

/* What the rules need to know besides the metrics. */
typedef struct diagnose_facts {
    int group_size;
    bool group_baseline; /* advantages compare the completions of a group; false: gae, remax, reinforce_pp */
    double clip_epsilon;     /* the larger side */
    bool divides_by_std;     /* advantages are divided by a standard deviation */
    bool token_ratio;        /* the ratio is per token, not of the sequence */
    int max_new_tokens;
    int updates_per_rollout; /* times mini-batches */
    bool masks_truncated;
    bool has_chat_template;  /* of the model, or prompts that need none by the user's wish */
    const char *reward;      /* name for messages */
} diagnose_facts;

typedef struct diagnosis {
    diagnose_id id;
    char message[480];
} diagnosis;

/* "all_wrong", … */
const char *diagnose_name(diagnose_id id);

/* What is true of the run after its last step. steps[0 .. count) are the most recent ones in order
 * (64 are enough). Returns how many were written to out[DIAGNOSE_COUNT]. */
size_t diagnose(diagnosis out[DIAGNOSE_COUNT], const diagnose_facts *facts, const train_metrics *steps, size_t count);

/* Says each thing once, and again only after it has been false or 50 steps have passed. */
typedef struct diagnose_memory {
    train_metrics steps[64];
    size_t count;
    long said[DIAGNOSE_COUNT]; /* step of the last time, 0 = never or no longer true */
} diagnose_memory;

/* Notes a step and returns what is worth saying now. */
size_t diagnose_step(diagnose_memory *memory, diagnosis out[DIAGNOSE_COUNT], const diagnose_facts *facts,
                     const train_metrics *step);

#endif
