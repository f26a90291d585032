/* Prompt tokens of every record, made once. */
#ifndef TRAIN_PROMPTS_H
#define TRAIN_PROMPTS_H

#include "rollout/language_model.h"
#include "train/config.h"
#include "train/data.h"

typedef struct prompt_tokens {
    int32_t *ids; /* of grpo_tokenizer_encode */
    size_t n;
} prompt_tokens;

typedef struct prompt_table {
    prompt_tokens *prompt; /* [data_count] */
    size_t count;
} prompt_table;

grpo_status prompt_table_init(prompt_table *t, const language_model *lm, const data_set *d, train_chat chat,
                              grpo_error *err);
void prompt_table_deinit(prompt_table *t);

/* How this record's prompt becomes tokens: "through the chat template", "as raw text", "as token ids". */
const char *prompt_way(const language_model *lm, const data_record *r, train_chat chat);
/* Tokens of one record; free with grpo_tokenizer_free_ids. */
grpo_status prompt_encode(prompt_tokens *out, const language_model *lm, const data_record *r, train_chat chat,
                          grpo_error *err);

#endif
