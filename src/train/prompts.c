/* From records to prompt tokens. */
#include <string.h>

#include "train/prompts.h"

int prompt_uses_chat(const language_model *lm, const data_record *r, train_chat chat)
{
    if (chat == TRAIN_CHAT_AUTO)
        return lm->chat != NULL || r->text == NULL;
    return chat == TRAIN_CHAT_ALWAYS;
}

grpo_status prompt_encode(prompt_tokens *out, const language_model *lm, const data_record *r, train_chat chat,
                          grpo_error *err)
{
    if (prompt_uses_chat(lm, r, chat))
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
            return grpo_error_prefix(err, "%s line %ld", data_path(d), r->line);
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
