/* Sampling one rollout and scoring its answers. */
#include <math.h>
#include <string.h>

#include "base/machine.h"
#include "train/trainer_impl.h"

/* ---- prompts of the step --------------------------------------------------------------------------------- */

void trainer_take_prompt(trainer *t, step_batch *b, int group)
{
    uint64_t position = t->data_position + b->taken++;
    size_t index = data_stream_at(&t->stream, position);
    const prompt_tokens *p = &t->prompts.prompt[index];
    b->record[group] = data_get(t->data, index);
    b->groups[group] = (rollout_group){
        .prompt = p->ids, .prompt_length = (int)p->n, .id = position, .n_samples = t->config->group_size};
}

static grpo_status take_prompts(trainer *t, step_batch *b, grpo_error *err)
{
    int n = t->config->rollout.prompts_per_step;
    b->groups = mem_calloc((size_t)n, sizeof *b->groups);
    b->record = mem_calloc((size_t)n, sizeof *b->record);
    if (!b->groups || !b->record)
        return mem_fail(err, "a rollout", (size_t)n * sizeof *b->groups);
    for (int i = 0; i < n; i++)
        trainer_take_prompt(t, b, i);
    b->n_groups = n;
    b->answers = (size_t)n * (size_t)t->config->group_size;
    return GRPO_OK;
}

/* ---- callbacks of group_sample ------------------------------------------------------------------------------ */

int trainer_reached_stop(void *context, const int32_t *token, int n)
{
    const trainer *t = context;
    return stop_strings_reached(&t->stop, token, n);
}

/* Hands a finished answer to the scoring threads; sampling goes on meanwhile. */
static void answer_finished(void *context, const rollout_group *group, int sample)
{
    trainer *t = context;
    step_batch *b = t->sampling;
    size_t i = (size_t)(group - b->drawn), g = b->slot ? (size_t)b->slot[i] : i;
    scoring_batch_add(&b->scoring, g * (size_t)t->config->group_size + (size_t)sample, b->record[g], &group->samples[sample]);
}

static void show_progress(void *context, long tokens)
{
    trainer *t = context;
    (void)tokens;
    progress_phase(&t->progress, "sampling", t->sampling->scoring.added, (long)t->sampling->answers, machine_seconds());
}

/* Samples n groups that are to become groups slot[] of the batch (NULL: they are the batch's, in order). */
grpo_status trainer_draw(trainer *t, step_batch *b, rollout_group *groups, const int *slot, int n, grpo_error *err)
{
    const train_config *c = t->config;
    int recompute = t->plan.policy == ACTIVATIONS_RECOMPUTE;
    rollout_options o = {
        .sampling = {.temperature = c->rollout.temperature,
                     .top_k = c->rollout.top_k,
                     .top_p = c->rollout.top_p,
                     .min_p = c->rollout.min_p,
                     .max_new_tokens = c->rollout.max_new_tokens,
                     .seed = (uint64_t)c->seed},
        .step = t->step,
        .eos = t->lm.eos,
        .n_eos = t->lm.n_eos,
        .slots = t->plan.slots,
        .want_entropy = 1,
        .tape = recompute ? NULL : &t->tape,
        .keep_kv = !recompute,
        .stop = t->stop.count ? trainer_reached_stop : NULL,
        .finished = answer_finished,
        .progress = show_progress,
        .context = t,
    };
    rollout_counts counts;
    t->sampling = b;
    b->drawn = groups;
    b->slot = slot;
    t->e.interrupt = t->options.interrupt; /* only here: an update, once begun, is completed */
    grpo_status status = group_sample(&t->e, &t->lm.m->weights, groups, n, &o, &counts, err);
    t->e.interrupt = NULL;
    t->sampling = NULL;
    b->counts.prompt_tokens += counts.prompt_tokens;
    b->counts.completion_tokens += counts.completion_tokens;
    b->counts.decode_steps += counts.decode_steps;
    return status;
}

static grpo_status draw_answers(trainer *t, step_batch *b, grpo_error *err)
{
    tape_reset(&t->tape);
    return trainer_draw(t, b, b->groups, NULL, b->n_groups, err);
}

/* Answers of another engine stand in the data and are all there at once. */
static grpo_status take_answers(trainer *t, step_batch *b, grpo_error *err)
{
    grpo_status status = trainer_read_answers(t, b, err);
    for (size_t row = 0; row < b->answers && status == GRPO_OK; row++) {
        size_t g = row / (size_t)t->config->group_size, i = row % (size_t)t->config->group_size;
        scoring_batch_add(&b->scoring, row, b->record[g], &b->groups[g].samples[i]);
    }
    return status;
}

/* ---- arrays ------------------------------------------------------------------------------------------------------ */

static grpo_status allocate(trainer *t, step_batch *b, grpo_error *err)
{
    size_t n = b->tokens, rows = b->answers, values = trainer_has_values(t) ? n : 0;
    struct {
        void **field;
        size_t count, size;
    } arrays[] = {
        {(void **)&b->reward, rows, sizeof *b->reward},
        {(void **)&b->offset, rows + 1, sizeof *b->offset},
        {(void **)&b->mask, n, sizeof *b->mask},
        {(void **)&b->advantage, rows, sizeof *b->advantage},
        {(void **)&b->token_advantage, n, sizeof *b->token_advantage},
        {(void **)&b->old_logp, n, sizeof *b->old_logp},
        {(void **)&b->logp, n, sizeof *b->logp},
        {(void **)&b->ref_logp, n, sizeof *b->ref_logp},
        {(void **)&b->entropy, n, sizeof *b->entropy},
        {(void **)&b->value, values, sizeof *b->value},
        {(void **)&b->returns, values, sizeof *b->returns},
        {(void **)&b->present_value, values, sizeof *b->present_value},
        {(void **)&b->grad_value, values, sizeof *b->grad_value},
        {(void **)&b->value32, values, sizeof *b->value32},
        {(void **)&b->grad_logp, n, sizeof *b->grad_logp},
        {(void **)&b->grad_entropy, n, sizeof *b->grad_entropy},
        {(void **)&b->sampler_logp, t->config->rollout.source == TRAIN_SOURCE_DATA ? n : 0, sizeof *b->sampler_logp},
        {(void **)&b->stats, n, sizeof *b->stats},
        {(void **)&b->logp32, n, sizeof *b->logp32},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        if (arrays[i].count == 0)
            continue;
        *arrays[i].field = mem_calloc(arrays[i].count, arrays[i].size);
        if (!*arrays[i].field)
            return mem_fail(err, "a rollout", arrays[i].count * arrays[i].size);
    }
    return GRPO_OK;
}

void step_batch_deinit(trainer *t, step_batch *b)
{
    value_network_release(&t->value);
    scoring_batch_deinit(&b->scoring); /* its answers' tokens are the groups' */
    if (b->groups)
        rollout_release(&t->e, b->groups, b->n_groups);
    void *owned[] = {b->reward_baseline, b->groups,  b->record, b->reward,  b->offset,    b->mask,     b->advantage, b->token_advantage,
                     b->old_logp, b->logp,     b->ref_logp, b->entropy,  b->grad_logp, b->grad_entropy,
                     b->stats,   b->logp32,    b->value,    b->returns, b->present_value, b->grad_value, b->value32,
                     b->sampler_logp};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        mem_free(owned[i]);
    memset(b, 0, sizeof *b);
}

/* Masks and log-probs of every answer's tokens. */
static void read_tokens(const trainer *t, step_batch *b)
{
    size_t row = 0, token = 0;
    for (int g = 0; g < b->n_groups; g++)
        for (int i = 0; i < b->groups[g].n_samples; i++, row++) {
            const rollout_sample *s = &b->groups[g].samples[i];
            b->offset[row] = token;
            for (int k = 0; k < s->n; k++, token++) {
                b->mask[token] = !(t->config->algo.mask_truncated && b->item[row].truncated);
                b->old_logp[token] = b->logp[token] = s->logprob[k];
                b->entropy[token] = s->stats[k].entropy;
                b->stats[token] = s->stats[k];
            }
        }
    b->offset[row] = token;
}

/* ---- rewards --------------------------------------------------------------------------------------------------------- */

/* The reward that trains: the score, less DAPO's soft punishment of overlong answers. */
static void take_rewards(const trainer *t, step_batch *b, train_metrics *m)
{
    const train_config *c = t->config;
    double most = c->rollout.max_new_tokens, buffer = c->algo.overlong_buffer * most, sum = 0;
    for (size_t i = 0; i < b->answers; i++) {
        double penalty = buffer > 0 ? grpo_overlong_penalty(b->item[i].tokens, most, buffer, c->algo.overlong_factor, 0) : 0;
        b->reward[i] = b->score[i].reward + penalty;
        sum += penalty;
    }
    if (buffer > 0)
        m->overlong_penalty = sum / (double)b->answers;
    trainer_drop_without_baseline(b);
    for (size_t i = 0; i < b->answers; i++)
        b->unscored += isnan(b->reward[i]) != 0;
}

/* A run whose rewards often fail learns from chance: it stops, and its samples are kept to be looked at. */
static grpo_status check_unscored(trainer *t, const step_batch *b, grpo_error *err)
{
    double limit = t->config->reward.unscored_limit;
    if (b->unscored < b->answers && (double)b->unscored <= limit * (double)b->answers)
        return GRPO_OK;
    if (t->config->log.samples)
        trainer_write_samples(t, b, t->step + 1, NULL);
    return grpo_fail(err, GRPO_ERR_REWARD,
                     "%zu of %zu answers of step %llu could not be scored (reward.unscored_limit is %g); the first: %s. Repair the "
                     "reward or the data (`%s` shows what happens to the last answers), or raise the limit",
                     b->unscored, b->answers, (unsigned long long)t->step + 1, limit, trainer_first_problem(b), t->facts.look);
}

static grpo_status begin_batch(trainer *t, step_batch *b, grpo_error *err)
{
    memset(b, 0, sizeof *b);
    grpo_status status = take_prompts(t, b, err);
    if (status == GRPO_OK)
        status = scoring_batch_init(&b->scoring, t->scoring, &t->lm, &t->stop, b->answers, err);
    b->item = b->scoring.item;
    b->score = b->scoring.score;
    return status;
}

grpo_status trainer_sample(trainer *t, step_batch *b, train_metrics *m, grpo_error *err)
{
    double began = machine_seconds();
    grpo_status status = begin_batch(t, b, err);
    if (status == GRPO_OK && t->config->algo.advantage == GRPO_ADV_REMAX)
        status = trainer_greedy_baselines(t, b, err);
    if (status == GRPO_OK)
        status = t->config->rollout.source == TRAIN_SOURCE_DATA ? take_answers(t, b, err) : draw_answers(t, b, err);
    if (status == GRPO_OK && t->config->algo.dynamic_sampling)
        status = trainer_replace_flat_groups(t, b, m, err);
    m->time_rollout = machine_seconds() - began - b->scoring.seconds;
    if (status == GRPO_OK) /* all but the last answers were scored while others were sampled */
        status = scoring_batch_wait(&b->scoring, err);
    if (status != GRPO_OK)
        return status;
    m->time_reward = b->scoring.seconds;
    m->time_scoring = scoring_busy_seconds(t->scoring);
    b->tokens = policy_token_count(b->groups, b->n_groups);
    status = allocate(t, b, err);
    if (status != GRPO_OK)
        return status;
    read_tokens(t, b);
    if (b->sampler_logp)
        status = trainer_take_sampler(t, b, m, err);
    if (status != GRPO_OK)
        return status;
    take_rewards(t, b, m);
    return check_unscored(t, b, err);
}
