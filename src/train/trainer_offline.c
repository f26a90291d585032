/* Rollouts that another engine has drawn: answers and their log-probs stand in the records of data.path. The engine
 * runs them once at the present weights, which gives the log-probs that sampling would have given; what the other
 * engine says of its own distribution enters the loss through sampler_correction, rejection, or the ratio itself.
 *
 * A record, beside prompt and answer, in one of two forms:
 *   {"completions": [{"completion_ids": [..], "logprobs": [..], "finish": "eos"}, ..]}   as `grpo generate --n` writes
 *   {"completion_ids": [[..], ..], "logprobs": [[..], ..], "finish": ["eos", ..]}         as TRL's rollout_func returns
 * with "prompt_ids" where the prompt's tokens are not those that our template gives. "finish" is eos (an end token of the
 * model stands last), stop (a stop text ended it) or length (cut). Without it an answer that does not end in an end token
 * counts as cut. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "train/trainer_impl.h"

/* One answer as it stands in a record; NULL where absent. */
typedef struct stored_answer {
    const json_t *ids, *logprobs, *finish;
} stored_answer;

static size_t stored_count(const json_t *record)
{
    const json_t *objects = json_object_get(record, "completions");
    return json_array_size(objects ? objects : json_object_get(record, "completion_ids"));
}

static stored_answer stored_at(const json_t *record, size_t i)
{
    const json_t *objects = json_object_get(record, "completions");
    if (objects) {
        const json_t *o = json_array_get(objects, i);
        return (stored_answer){json_object_get(o, "completion_ids"), json_object_get(o, "logprobs"),
                               json_object_get(o, "finish")};
    }
    return (stored_answer){json_array_get(json_object_get(record, "completion_ids"), i),
                           json_array_get(json_object_get(record, "logprobs"), i),
                           json_array_get(json_object_get(record, "finish"), i)};
}

static grpo_status complain(const trainer *t, const data_record *r, size_t answer, const char *what, grpo_error *err)
{
    return grpo_fail(err, GRPO_ERR_FORMAT, "%s line %ld: completion %zu: %s", data_path(t->data), r->line, answer + 1, what);
}

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

static bool is_end_token(const language_model *lm, int32_t token)
{
    for (int i = 0; i < lm->n_eos; i++)
        if (token == lm->eos[i])
            return true;
    return false;
}

/* An answer whose end token was left out is not one that the policy ends: it would learn to go on. */
static grpo_status complain_of_end(const trainer *t, const data_record *r, size_t i, grpo_error *err)
{
    char what[200];
    if (t->lm.n_eos == 0)
        return complain(t, r, i, "its finish is \"eos\", but the model names no end token: write \"stop\"", err);
    snprintf(what, sizeof what,
             "its finish is \"eos\", but its last id is no end token of the model (%d): put that back, or write \"stop\" "
             "where a text ended it",
             (int)t->lm.eos[0]);
    return complain(t, r, i, what, err);
}

static grpo_status read_finish(const trainer *t, const data_record *r, size_t i, const json_t *finish, rollout_sample *s,
                               grpo_error *err)
{
    const char *name = json_string_value(finish);
    bool ended = is_end_token(&t->lm, s->token[s->n - 1]);
    s->finish = ended ? FINISH_EOS : FINISH_LENGTH;
    if (!finish || json_is_null(finish))
        return GRPO_OK;
    for (finish_reason reason = FINISH_EOS; name && reason <= FINISH_LENGTH; reason++)
        if (strcmp(name, finish_reason_name(reason)) == 0) {
            s->finish = reason;
            return reason == FINISH_EOS && !ended ? complain_of_end(t, r, i, err) : GRPO_OK;
        }
    return complain(t, r, i, "its finish must be \"eos\", \"stop\" or \"length\"", err);
}

static grpo_status read_answer(const trainer *t, const data_record *r, size_t i, rollout_sample *s, grpo_error *err)
{
    stored_answer a = stored_at(r->fields, i);
    size_t n = json_array_size(a.ids);
    if (n == 0)
        return complain(t, r, i, "a list of token ids is needed (completion_ids)", err);
    if (n > (size_t)t->config->rollout.max_new_tokens)
        return complain(t, r, i, "it is longer than rollout.max_new_tokens, which memory is planned for", err);
    if (a.logprobs && json_array_size(a.logprobs) != n)
        return complain(t, r, i, "logprobs and completion_ids differ in length", err);
    s->token = mem_calloc(n, sizeof *s->token);
    s->logprob = mem_calloc(n, sizeof *s->logprob);
    s->stats = mem_calloc(n, sizeof *s->stats);
    s->tape_row = mem_calloc(n, sizeof *s->tape_row);
    if (!s->token || !s->logprob || !s->stats || !s->tape_row)
        return mem_fail(err, "a stored answer", n * sizeof *s->token);
    for (size_t k = 0; k < n; k++) {
        const json_t *id = json_array_get(a.ids, k);
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= t->lm.m->config.vocab)
            return complain(t, r, i, "a token id is outside the model's vocabulary", err);
        s->token[k] = (int32_t)json_integer_value(id);
    }
    s->n = s->capacity = (int)n;
    return read_finish(t, r, i, a.finish, s, err);
}

static grpo_status read_group(const trainer *t, const data_record *r, rollout_group *g, rollout_counts *counts,
                              grpo_error *err)
{
    if (stored_count(r->fields) != (size_t)g->n_samples)
        return grpo_fail(err, GRPO_ERR_CONFIG,
                         "%s line %ld has %zu completions where group_size is %d: set group_size to what the rollouts "
                         "have (all records the same)",
                         data_path(t->data), r->line, stored_count(r->fields), g->n_samples);
    g->samples = mem_calloc((size_t)g->n_samples, sizeof *g->samples);
    g->tape_row = mem_calloc((size_t)g->prompt_length, sizeof *g->tape_row);
    if (!g->samples || !g->tape_row)
        return mem_fail(err, "a stored group", (size_t)g->n_samples * sizeof *g->samples);
    grpo_status status = GRPO_OK;
    counts->prompt_tokens += g->prompt_length;
    for (int i = 0; i < g->n_samples && status == GRPO_OK; i++) {
        status = read_answer(t, r, (size_t)i, &g->samples[i], err);
        counts->completion_tokens += g->samples[i].n;
    }
    return status;
}

/* ---- the engine's own log-probs of them ------------------------------------------------------------------------------ */

static grpo_status run_answers(trainer *t, step_batch *b, grpo_error *err)
{
    int recompute = t->plan.policy == ACTIVATIONS_RECOMPUTE;
    size_t n = policy_token_count(b->groups, b->n_groups), at = 0;
    float *logp = mem_calloc(n, sizeof *logp);
    ops_softmax_row *stats = mem_calloc(n, sizeof *stats);
    policy_run_options o = {.inv_temperature = trainer_inverse_temperature(t),
                            .want_entropy = 1,
                            .tape = recompute ? NULL : &t->tape,
                            .private_kv = recompute};
    tape_reset(&t->tape);
    grpo_status status = logp && stats ? GRPO_OK : mem_fail(err, "log-probs", n * sizeof *logp);
    if (status == GRPO_OK)
        status = policy_run(&t->e, &t->lm.m->weights, b->groups, b->n_groups, &o, (policy_tokens){logp, stats}, err);
    for (int g = 0; g < b->n_groups && status == GRPO_OK; g++)
        for (int i = 0; i < b->groups[g].n_samples; i++) {
            rollout_sample *sample = &b->groups[g].samples[i];
            memcpy(sample->logprob, logp + at, (size_t)sample->n * sizeof *logp);
            memcpy(sample->stats, stats + at, (size_t)sample->n * sizeof *stats);
            at += (size_t)sample->n;
        }
    mem_free(logp);
    mem_free(stats);
    return status;
}

grpo_status trainer_read_answers(trainer *t, step_batch *b, grpo_error *err)
{
    grpo_status status = GRPO_OK;
    memset(&b->counts, 0, sizeof b->counts);
    for (int g = 0; g < b->n_groups && status == GRPO_OK; g++)
        status = read_group(t, b->record[g], &b->groups[g], &b->counts, err);
    return status == GRPO_OK ? run_answers(t, b, err) : status;
}

/* ---- what the other engine says of its distribution ----------------------------------------------------------------------- */

/* sampler_logp[N]; NaN where a record has no log-probs. */
static size_t read_sampler_logprobs(step_batch *b)
{
    size_t at = 0, missing = 0;
    for (int g = 0; g < b->n_groups; g++)
        for (int i = 0; i < b->groups[g].n_samples; i++) {
            const json_t *list = stored_at(b->record[g]->fields, (size_t)i).logprobs;
            for (int k = 0; k < b->groups[g].samples[i].n; k++) {
                const json_t *x = json_array_get(list, (size_t)k);
                missing += !json_is_number(x);
                b->sampler_logp[at++] = json_is_number(x) ? json_number_value(x) : NAN;
            }
        }
    return missing;
}

static grpo_status reject(trainer *t, step_batch *b, train_metrics *m, grpo_error *err)
{
    const train_config *c = t->config;
    grpo_rows rows = {b->answers, b->offset, b->mask};
    double *log_ratio = mem_calloc(b->tokens, sizeof *log_ratio);
    unsigned char *mask = mem_calloc(b->tokens, 1);
    grpo_rejection_metrics rejected;
    grpo_status status = log_ratio && mask ? GRPO_OK : mem_fail(err, "rejection", b->tokens);
    for (size_t i = 0; status == GRPO_OK && i < b->tokens; i++)
        log_ratio[i] = isnan(b->sampler_logp[i]) ? 0 : b->old_logp[i] - b->sampler_logp[i];
    if (status == GRPO_OK)
        status = grpo_rejection_mask(mask, &rows, log_ratio, c->rollout.reject, c->rollout.reject_threshold, &rejected, err);
    if (status == GRPO_OK) {
        memcpy(b->mask, mask, b->tokens);
        m->frac_rejected = rejected.masked_fraction;
    }
    mem_free(log_ratio);
    mem_free(mask);
    return status;
}

static void measure_drift(const step_batch *b, train_metrics *m)
{
    double sum = 0, n = 0;
    for (size_t i = 0; i < b->tokens; i++)
        if (b->mask[i] && !isnan(b->sampler_logp[i])) {
            sum += b->sampler_logp[i] - b->old_logp[i];
            n++;
        }
    m->sampler_kl = n > 0 ? sum / n : NAN;
}

grpo_status trainer_take_sampler(trainer *t, step_batch *b, train_metrics *m, grpo_error *err)
{
    const train_config *c = t->config;
    size_t missing = read_sampler_logprobs(b);
    int needed = c->rollout.old_logprobs == TRAIN_OLD_SAMPLER || c->algo.sampler_correction != GRPO_SAMPLER_NONE ||
                 c->rollout.reject;
    if (missing > 0 && needed)
        return grpo_fail(err, GRPO_ERR_FORMAT,
                         "%s: %zu of %zu tokens of this step have no log-prob of the engine that drew them, which "
                         "rollout.old_logprobs=sampler, sampler_correction and rollout.reject need. Write \"logprobs\" into "
                         "the records, or leave those options off",
                         data_path(t->data), missing, b->tokens);
    measure_drift(b, m);
    grpo_status status = c->rollout.reject ? reject(t, b, m, err) : GRPO_OK;
    if (c->rollout.old_logprobs == TRAIN_OLD_SAMPLER)
        memcpy(b->old_logp, b->sampler_logp, b->tokens * sizeof *b->old_logp);
    return status;
}
