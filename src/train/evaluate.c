/* Evaluation. */
#include <math.h>
#include <string.h>

#include "base/machine.h"
#include "train/evaluate.h"

typedef struct run {
    const evaluate_options *options;
    const data_view *view;
    const rollout_group *groups;
    scoring_batch answers;
} run;

static int reached_stop(void *context, const int32_t *token, int n)
{
    const run *r = context;
    return r->options->stop && stop_strings_reached(r->options->stop, token, n);
}

static void answer_finished(void *context, const rollout_group *group, int sample)
{
    run *r = context;
    size_t g = (size_t)(group - r->groups);
    scoring_batch_add(&r->answers, g * (size_t)r->options->samples + (size_t)sample, data_get(r->view->set, r->view->index[g]),
                      &group->samples[sample]);
    if (r->options->progress)
        r->options->progress(r->options->context, r->answers.added, (long)r->answers.count);
}

/* 1 - C(n - c, k) / C(n, k): the chance that at least one of k of the n answers is right. */
static double pass_at(int n, int c, int k)
{
    double miss = 1;
    for (int i = n - c + 1; i <= n; i++)
        miss *= 1 - (double)k / i;
    return n - c < k ? 1 : 1 - miss;
}

static void tally_answers(evaluation *out, const scoring_batch *a)
{
    double reward = 0, length = 0;
    for (size_t i = 0; i < a->count; i++) {
        const scored *score = &a->score[i];
        length += a->item[i].tokens;
        out->correct += score->correct == 1;
        out->judged += score->correct >= 0;
        out->truncated += (size_t)a->item[i].truncated;
        if (isnan(score->reward))
            out->unscored++;
        else
            reward += score->reward;
    }
    size_t scored_answers = a->count - out->unscored;
    out->answers = a->count;
    out->accuracy = out->judged ? (double)out->correct / (double)out->judged : NAN;
    out->reward = scored_answers ? reward / (double)scored_answers : NAN;
    out->length = length / (double)a->count;
}

/* A prompt with fewer than k judged answers says nothing of pass@k. */
static void tally_passes(evaluation *out, const scoring_batch *a, int samples, size_t groups)
{
    for (int k = 1; k <= samples && out->n_pass < 16; k *= 2) {
        double sum = 0;
        size_t counted = 0;
        for (size_t g = 0; g < groups; g++) {
            const scored *score = a->score + g * (size_t)samples;
            int correct = 0, judged = 0;
            for (int s = 0; s < samples; s++) {
                correct += score[s].correct == 1;
                judged += score[s].correct >= 0;
            }
            if (judged >= k) {
                sum += pass_at(judged, correct, k);
                counted++;
            }
        }
        out->pass_at_k[out->n_pass++] = counted ? sum / (double)counted : NAN;
    }
}

static grpo_status sample_and_score(evaluation *out, engine *e, const language_model *lm, const data_view *view,
                                    rollout_group *groups, size_t n, scoring *s, const evaluate_options *o,
                                    grpo_error *err)
{
    run r = {.options = o, .view = view, .groups = groups};
    rollout_options options = {.sampling = o->sampling,
                               .eos = lm->eos,
                               .n_eos = lm->n_eos,
                               .slots = o->slots,
                               .stop = o->stop && o->stop->count ? reached_stop : NULL,
                               .finished = answer_finished,
                               .context = &r};
    rollout_counts counts;
    scoring_batch *a = &r.answers;
    grpo_status status = scoring_batch_init(a, s, lm, o->stop, n * (size_t)o->samples, err);
    if (status == GRPO_OK)
        status = group_sample(e, &lm->m->weights, groups, (int)n, &options, &counts, err);
    if (status == GRPO_OK)
        status = scoring_batch_wait(a, err);
    if (status == GRPO_OK) {
        out->prompts = n;
        tally_answers(out, a);
        tally_passes(out, a, o->samples, n);
        for (size_t i = 0; o->answer && i < a->count; i++) {
            size_t group = i / (size_t)o->samples, sample = i % (size_t)o->samples;
            o->answer(o->context, a->item[i].record, (int)sample, &a->item[i], &a->score[i],
                      &groups[group].samples[sample]);
        }
    }
    scoring_batch_deinit(a);
    return status;
}

grpo_status evaluate(evaluation *out, engine *e, const language_model *lm, const data_view *view,
                     const prompt_table *prompts, scoring *s, const evaluate_options *o, grpo_error *err)
{
    double began = machine_seconds();
    memset(out, 0, sizeof *out);
    size_t n = o->limit && o->limit < view->count ? o->limit : view->count;
    if (n == 0)
        return grpo_fail(err, GRPO_ERR_CONFIG, "there is no record to evaluate on");
    rollout_group *groups = mem_calloc(n, sizeof *groups);
    if (!groups)
        return mem_fail(err, "the evaluation", n * sizeof *groups);
    for (size_t i = 0; i < n; i++) {
        const prompt_tokens *p = &prompts->prompt[view->index[i]];
        groups[i] = (rollout_group){
            .prompt = p->ids, .prompt_length = (int)p->n, .id = view->index[i], .n_samples = o->samples};
    }
    grpo_status status = sample_and_score(out, e, lm, view, groups, n, s, o, err);
    rollout_release(e, groups, (int)n);
    mem_free(groups);
    out->seconds = machine_seconds() - began;
    return status;
}
