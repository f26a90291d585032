/* From records to prompt tokens. */
#include <string.h>

#include "train/prompts.h"

static int uses_chat(const language_model *lm, const data_record *r, train_chat chat)
{
    if (chat == TRAIN_CHAT_AUTO)
        return lm->chat != NULL || r->text == NULL;
    return chat == TRAIN_CHAT_ALWAYS;
}

const char *prompt_way(const language_model *lm, const data_record *r, train_chat chat)
{
    if (json_object_get(r->fields, "prompt_ids"))
        return "as token ids";
    return uses_chat(lm, r, chat) ? "through the chat template" : "as raw text";
}

/* "prompt_ids" of a record: the tokens themselves. */
static grpo_status stored_ids(prompt_tokens *out, const language_model *lm, const json_t *ids, grpo_error *err)
{
    out->n = json_array_size(ids);
    out->ids = mem_calloc(out->n, sizeof *out->ids);
    if (out->n == 0 || !out->ids)
        return grpo_fail(err, GRPO_ERR_FORMAT, "prompt_ids must be a list of token ids");
    for (size_t i = 0; i < out->n; i++) {
        const json_t *id = json_array_get(ids, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= lm->m->config.vocab)
            return grpo_fail(err, GRPO_ERR_FORMAT, "prompt_ids: token %zu is not an id of the model's vocabulary", i + 1);
        out->ids[i] = (int32_t)json_integer_value(id);
    }
    return GRPO_OK;
}

grpo_status prompt_encode(prompt_tokens *out, const language_model *lm, const data_record *r, train_chat chat,
                          grpo_error *err)
{
    const json_t *ids = json_object_get(r->fields, "prompt_ids");
    if (ids)
        return stored_ids(out, lm, ids, err);
    if (uses_chat(lm, r, chat))
        return language_model_encode_messages(lm, r->messages, &out->ids, &out->n, err);
    if (!r->text)
        return grpo_fail(err, GRPO_ERR_CONFIG,
                         "line %ld gives its prompt as messages, which data.chat=never cannot use as text", r->line);
    return language_model_encode_text(lm, r->text, strlen(r->text), &out->ids, &out->n, err);
}

grpo_status prompt_table_init(prompt_table *t, const language_model *lm, const data_set *d, train_chat chat,
                              grpo_error *err)
{
    t->count = data_count(d);
    t->prompt = mem_calloc(t->count, sizeof *t->prompt);
    if (!t->prompt)
        return mem_fail(err, "prompt tokens", t->count * sizeof *t->prompt);
    for (size_t i = 0; i < t->count; i++) {
        const data_record *r = data_get(d, i);
        grpo_status status = prompt_encode(&t->prompt[i], lm, r, chat, err);
        if (status != GRPO_OK)
            return grpo_error_prefix(err, status, "%s line %ld", data_path(d), r->line);
    }
    return GRPO_OK;
}

void prompt_table_deinit(prompt_table *t)
{
    for (size_t i = 0; t->prompt && i < t->count; i++)
        grpo_tokenizer_free_ids(t->prompt[i].ids);
    mem_free(t->prompt);
    memset(t, 0, sizeof *t);
}
