/* Rewards of answers: the configured set over the records of a data set. */
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "grpo/reward.h"
#include "train/scoring.h"

struct scoring {
    grpo_reward_set *set;
    size_t parts;
    long judge; /* the part that says right or wrong: the first math or code reward; -1: none */
};

static int judges(const char *spec)
{
    size_t kind = strcspn(spec, ":");
    return (kind == 4 && (strncmp(spec, "math", 4) == 0 || strncmp(spec, "code", 4) == 0)) ||
           strcmp(spec, "math_verifier") == 0 || strcmp(spec, "code_executor") == 0;
}

/* The specification's names of the rewards, and the short ones. */
static const char *canonical(const char *spec)
{
    if (strcmp(spec, "math_verifier") == 0)
        return "math";
    return strcmp(spec, "code_executor") == 0 ? "code" : spec;
}

grpo_status scoring_create(scoring **out, const train_reward *rewards, size_t count, const grpo_reward_options *options,
                           grpo_error *err)
{
    *out = NULL;
    scoring *s = mem_calloc(1, sizeof *s);
    grpo_reward_item *items = mem_calloc(count, sizeof *items);
    grpo_status status = s && items ? GRPO_OK : mem_fail(err, "rewards", count * sizeof *items);
    if (status == GRPO_OK) {
        s->parts = count;
        s->judge = -1;
        for (size_t i = count; i-- > 0;) {
            items[i] = (grpo_reward_item){
                .spec = canonical(rewards[i].spec), .weight = rewards[i].weight, .name = rewards[i].name};
            if (judges(rewards[i].spec))
                s->judge = (long)i;
        }
        status = grpo_reward_set_create(&s->set, items, count, options, err);
    }
    mem_free(items);
    if (status != GRPO_OK) {
        scoring_destroy(s);
        return status;
    }
    *out = s;
    return GRPO_OK;
}

void scoring_destroy(scoring *s)
{
    if (!s)
        return;
    grpo_reward_set_destroy(s->set);
    mem_free(s);
}

size_t scoring_parts(const scoring *s)
{
    return s->parts;
}

const char *scoring_warning(const scoring *s)
{
    return grpo_reward_set_warning(s->set);
}

const char *scoring_part_name(const scoring *s, size_t part)
{
    return grpo_reward_set_name(s->set, part);
}

typedef struct job {
    scoring *s;
    const scoring_item *items;
    scored *out;
    atomic_int failed;
    grpo_error error;
} job;

static grpo_status score_one(scoring *s, const scoring_item *item, scored *out, grpo_error *err)
{
    const data_record *r = item->record;
    grpo_reward_record record = {
        .prompt = r->text,
        .prompt_length = r->text ? strlen(r->text) : 0,
        .completion = item->text,
        .completion_length = item->length,
        .answer = r->answer,
        .answer_length = r->answer_length,
        .tokens = item->token,
        .token_count = (size_t)item->tokens,
        .fields = r->fields,
    };
    grpo_status status = grpo_reward_set_score(s->set, &record, 1, out->part, &out->reward, err);
    out->correct = -1;
    if (status == GRPO_OK && s->judge >= 0 && !isnan(out->part[s->judge]))
        out->correct = out->part[s->judge] >= 1;
    return status;
}

static void score_some(void *context, int begin, int end, int thread)
{
    (void)thread;
    job *j = context;
    for (int i = begin; i < end; i++) {
        grpo_error error;
        if (score_one(j->s, &j->items[i], &j->out[i], &error) != GRPO_OK && atomic_exchange(&j->failed, 1) == 0)
            j->error = error;
    }
}

grpo_status scoring_run(scoring *s, pool *p, const scoring_item *items, size_t count, scored *out, size_t *unscored,
                        grpo_error *err)
{
    job j = {.s = s, .items = items, .out = out};
    pool_run(p, (int)count, 4, score_some, &j);
    *unscored = 0;
    for (size_t i = 0; i < count; i++)
        *unscored += isnan(out[i].reward) != 0;
    if (!atomic_load(&j.failed))
        return GRPO_OK;
    if (err)
        *err = j.error;
    return j.error.status;
}
