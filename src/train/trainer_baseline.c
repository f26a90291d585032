/* ReMax's baseline (Li et al. 2023, arXiv:2310.10505): the reward of each prompt's greedy answer. */
#include <math.h>
#include <string.h>

#include "base/machine.h"
#include "train/trainer_impl.h"

static grpo_status draw_greedy(trainer *t, rollout_group *groups, int n, grpo_error *err)
{
    rollout_options o = {.sampling = {.temperature = 0, .top_p = 1, .max_new_tokens = t->config->rollout.max_new_tokens},
                         .eos = t->lm.eos,
                         .n_eos = t->lm.n_eos,
                         .slots = t->plan.slots,
                         .stop = t->stop.count ? trainer_reached_stop : NULL,
                         .context = t};
    rollout_counts counts;
    t->e.interrupt = t->options.interrupt;
    grpo_status status = group_sample(&t->e, &t->lm.m->weights, groups, n, &o, &counts, err);
    t->e.interrupt = NULL;
    return status;
}

static grpo_status score_greedy(trainer *t, step_batch *b, const rollout_group *groups, grpo_error *err)
{
    scoring_batch answers;
    size_t n = (size_t)b->n_groups;
    grpo_status status = scoring_batch_init(&answers, t->scoring, &t->lm, &t->stop, n, err);
    if (status != GRPO_OK)
        return status;
    for (size_t g = 0; g < n; g++)
        scoring_batch_add(&answers, g, b->record[g], &groups[g].samples[0]);
    status = scoring_batch_wait(&answers, err);
    for (size_t row = 0; row < b->answers && status == GRPO_OK; row++)
        b->reward_baseline[row] = answers.score[row / (size_t)t->config->group_size].reward;
    scoring_batch_deinit(&answers);
    return status;
}

/* Before the rollout, while the key/value store is empty. */
grpo_status trainer_greedy_baselines(trainer *t, step_batch *b, grpo_error *err)
{
    b->reward_baseline = mem_calloc(b->answers, sizeof *b->reward_baseline);
    rollout_group *groups = mem_calloc((size_t)b->n_groups, sizeof *groups);
    if (!b->reward_baseline || !groups) {
        mem_free(groups);
        return mem_fail(err, "greedy baselines", b->answers * sizeof *b->reward_baseline);
    }
    for (int g = 0; g < b->n_groups; g++)
        groups[g] = (rollout_group){
            .prompt = b->groups[g].prompt, .prompt_length = b->groups[g].prompt_length, .id = b->groups[g].id, .n_samples = 1};
    progress_phase(&t->progress, "greedy baselines", 0, 0, machine_seconds());
    grpo_status status = draw_greedy(t, groups, b->n_groups, err);
    if (status == GRPO_OK)
        status = score_greedy(t, b, groups, err);
    rollout_release(&t->e, groups, b->n_groups);
    mem_free(groups);
    return status;
}

/* An answer whose greedy twin could not be scored has no baseline: it is left out as if unscored itself. */
void trainer_drop_without_baseline(step_batch *b)
{
    for (size_t row = 0; b->reward_baseline && row < b->answers; row++)
        if (isnan(b->reward_baseline[row])) {
            b->reward[row] = NAN;
            b->reward_baseline[row] = 0;
        }
}
