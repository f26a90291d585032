/* samples.jsonl: one line for each answer, with the record that it answers, so that rewards can be tried on it again. */
#include <string.h>

#include "base/file.h"
#include "train/trainer_impl.h"

/* What of a record is not repeated beside each of its answers: another engine's tokens, and keys of ours that some lines lack. */
static int stays_out(const char *key)
{
    static const char *const names[] = {"completions", "completion_ids", "logprobs", "prompt_ids", "rendered",
                                        "unscored", "unverifiable"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(key, names[i]) == 0)
            return 1;
    return 0;
}

/* Prompt and reference as rewards see them; and what the model read, where that is another text. */
static int put_prompt(json_t *line, const data_record *r, const char *rendered, size_t length)
{
    json_t *prompt = r->text ? json_string_lossy(r->text, strlen(r->text)) : json_incref(r->messages);
    int failed = json_object_set_new(line, "prompt", prompt);
    if (!r->text || strlen(r->text) != length || memcmp(r->text, rendered, length) != 0)
        failed |= json_object_set_new(line, "rendered", json_string_lossy(rendered, length));
    if (r->answer)
        failed |= json_object_set_new(line, "answer", json_string_lossy(r->answer, r->answer_length));
    return failed;
}

/* The record's other fields. */
static int put_fields(json_t *line, const data_record *r)
{
    int failed = 0;
    const char *key;
    json_t *value;
    json_object_foreach(r->fields, key, value) {
        if (!json_object_get(line, key) && !stays_out(key))
            failed |= json_object_set(line, key, value);
    }
    return failed;
}

static json_t *part_values(const trainer *t, const scored *score)
{
    json_t *parts = json_object();
    for (size_t p = 0; p < scoring_parts(t->scoring); p++)
        json_object_set_new(parts, scoring_part_name(t->scoring, p), json_number_or_null(score->part[p]));
    return parts;
}

static int put_answer(json_t *line, const trainer *t, const step_batch *b, size_t row, const rollout_sample *s)
{
    const scored *score = &b->score[row];
    double logp = 0;
    for (int k = 0; k < s->n; k++)
        logp += s->logprob[k];
    json_t *own = json_pack("{s:o,s:o,s:o,s:o,s:o,s:i,s:s,s:f}", "completion",
                            json_string_lossy(b->item[row].text, b->item[row].length), "reward",
                            json_number_or_null(b->reward[row]), "rewards", part_values(t, score), "correct",
                            score->correct < 0 ? json_null() : json_boolean(score->correct), "advantage",
                            json_double(trainer_advantage(b, row)), "tokens", s->n, "finish",
                            finish_reason_name(s->finish), "logprob", logp);
    int failed = !own || json_object_update(line, own);
    json_decref(own);
    if (score->problem[0])
        failed |= json_object_set_new(line, "unscored", json_string_lossy(score->problem, strlen(score->problem)));
    if (score->unverifiable)
        failed |= json_object_set_new(line, "unverifiable", json_true());
    return failed;
}

/* rendered: the prompt's tokens as text. */
static json_t *sample_line(const trainer *t, const step_batch *b, uint64_t step, int group, int sample, size_t row,
                           const char *rendered, size_t length)
{
    const data_record *r = b->record[group];
    json_t *line = json_pack("{s:I,s:I,s:i,s:I}", "step", (json_int_t)step, "group", (json_int_t)b->groups[group].id, "sample",
                             sample, "line", (json_int_t)r->line);
    if (line && !put_prompt(line, r, rendered, length) &&
        !put_answer(line, t, b, row, &b->groups[group].samples[sample]) && !put_fields(line, r))
        return line;
    json_decref(line);
    return NULL;
}

grpo_status trainer_write_samples(trainer *t, const step_batch *b, uint64_t step, grpo_error *err)
{
    size_t row = 0;
    grpo_status status = GRPO_OK;
    for (int g = 0; g < b->n_groups && status == GRPO_OK; g++) {
        const rollout_group *group = &b->groups[g];
        char *prompt;
        size_t length;
        status = grpo_tokenizer_decode(t->lm.tokenizer, group->prompt, (size_t)group->prompt_length, 0, &prompt,
                                       &length, err);
        if (status != GRPO_OK)
            break;
        for (int i = 0; i < group->n_samples && status == GRPO_OK; i++, row++) {
            json_t *line = sample_line(t, b, step, g, i, row, prompt, length);
            status = line ? metrics_file_write(&t->samples, line, err) : mem_fail(err, "samples", 0);
            json_decref(line);
        }
        grpo_tokenizer_free_text(prompt);
    }
    return status;
}
