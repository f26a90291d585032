/* Dynamic sampling (DAPO, arXiv:2503.14476, 3.2): groups whose answers are all right or all wrong teach nothing and give
 * way to the next prompts of the data stream, at most dynamic_sampling_tries times a step. Groups are judged by the
 * rewards before the overlong punishment. A group without any reward stays: it must count as unscored, not vanish. */
#include <string.h>

#include "base/machine.h"
#include "train/trainer_impl.h"

/* reward: scratch [group_size]. */
static int is_flat(const trainer *t, const step_batch *b, int group, double *reward)
{
    size_t n = (size_t)t->config->group_size;
    for (size_t i = 0; i < n; i++)
        reward[i] = b->score[(size_t)group * n + i].reward;
    grpo_group_verdict verdict = grpo_judge_group(reward, n, 0, t->config->algo.equal_tolerance);
    return verdict == GRPO_GROUP_ALL_RIGHT || verdict == GRPO_GROUP_ALL_WRONG;
}

/* ---- the tape without the dropped groups ------------------------------------------------------------------------ */

static void move_rows(int32_t *row, int n, const int32_t *place)
{
    for (int i = 0; i < n; i++)
        row[i] = place[row[i]];
}

static void mark_rows(unsigned char *keep, const int32_t *row, int n)
{
    for (int i = 0; i < n; i++)
        keep[row[i]] = 1;
}

/* dropped[g] 1: its rows go. */
static grpo_status compact_tape(trainer *t, step_batch *b, const unsigned char *dropped, grpo_error *err)
{
    size_t rows = (size_t)t->tape.rows;
    unsigned char *keep = mem_calloc(rows, 1);
    int32_t *place = mem_calloc(rows, sizeof *place);
    if (!keep || !place) {
        mem_free(keep);
        mem_free(place);
        return mem_fail(err, "dynamic sampling", rows * sizeof *place);
    }
    for (int pass = 0; pass < 2; pass++) {
        for (int g = 0; g < b->n_groups; g++) {
            rollout_group *group = &b->groups[g];
            if (dropped[g])
                continue;
            if (pass == 0)
                mark_rows(keep, group->tape_row, group->prompt_length);
            else
                move_rows(group->tape_row, group->prompt_length, place);
            for (int i = 0; i < group->n_samples; i++) {
                rollout_sample *s = &group->samples[i];
                if (pass == 0)
                    mark_rows(keep, s->tape_row, s->n - 1);
                else
                    move_rows(s->tape_row, s->n - 1, place);
            }
        }
        if (pass == 0)
            tape_compact(&t->tape, &t->lm.m->config, keep, place);
    }
    mem_free(keep);
    mem_free(place);
    return GRPO_OK;
}

/* ---- rounds --------------------------------------------------------------------------------------------------------- */

/* Replaces the groups slot[0 .. n - 1], which are sampled side by side and then take their places. */
static grpo_status replace(trainer *t, step_batch *b, const int *slot, int n, grpo_error *err)
{
    rollout_group *fresh = mem_calloc((size_t)n, sizeof *fresh);
    if (!fresh)
        return mem_fail(err, "dynamic sampling", (size_t)n * sizeof *fresh);
    for (int i = 0; i < n; i++) {
        rollout_release(&t->e, &b->groups[slot[i]], 1);
        trainer_take_prompt(t, b, slot[i]);
        fresh[i] = b->groups[slot[i]];
    }
    b->scoring.added -= (long)n * t->config->group_size;
    grpo_status status = trainer_draw(t, b, fresh, slot, n, err);
    for (int i = 0; i < n; i++)
        b->groups[slot[i]] = fresh[i];
    mem_free(fresh);
    return status;
}

grpo_status trainer_replace_flat_groups(trainer *t, step_batch *b, train_metrics *m, grpo_error *err)
{
    int tries = (int)t->config->algo.dynamic_sampling_tries, replaced = 0, rounds = 1;
    int *slot = mem_calloc((size_t)b->n_groups, sizeof *slot);
    unsigned char *dropped = mem_calloc((size_t)b->n_groups, 1);
    double *reward = mem_calloc((size_t)t->config->group_size, sizeof *reward);
    grpo_status status = slot && dropped && reward
                             ? GRPO_OK
                             : mem_fail(err, "dynamic sampling", (size_t)b->n_groups * sizeof *slot);
    while (status == GRPO_OK) {
        int n = 0;
        status = scoring_batch_wait(&b->scoring, err);
        for (int g = 0; status == GRPO_OK && g < b->n_groups; g++)
            if ((dropped[g] = (unsigned char)is_flat(t, b, g, reward)))
                slot[n++] = g;
        if (status != GRPO_OK || n == 0 || rounds > tries)
            break;
        if (t->plan.policy != ACTIVATIONS_RECOMPUTE)
            status = compact_tape(t, b, dropped, err);
        if (status == GRPO_OK)
            status = replace(t, b, slot, n, err);
        replaced += n;
        rounds++;
    }
    m->dynamic_replaced = replaced;
    m->dynamic_rounds = rounds;
    mem_free(slot);
    mem_free(dropped);
    mem_free(reward);
    return status;
}
