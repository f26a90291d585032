/* A model with its text side: files, weights, tokenizer, chat template. What every command opens first. */
#ifndef ROLLOUT_LANGUAGE_MODEL_H
#define ROLLOUT_LANGUAGE_MODEL_H

#include "base/json.h"
#include "grpo/template.h"
#include "grpo/tokenizer.h"
#include "model/transformer.h"

typedef struct language_model {
    model_files *files;
    model *m;
    grpo_tokenizer *tokenizer;  /* NULL: the model has none, or none that can be used; then text_fault says why */
    grpo_error text_fault;
    grpo_template *chat;        /* NULL: the model has no chat template */
    const int32_t *eos;         /* tokens that end an answer; valid while this is open */
    int n_eos;
} language_model;

/* path: a model, or an adapter's folder, which says itself where its base lies. adapter: the folder of an adapter
 * to be put beside the model, or NULL. A model without a usable tokenizer opens: it answers for token ids, and whoever
 * needs text asks language_model_need_text. */
grpo_status language_model_open(language_model *lm, const char *path, const char *adapter, model_load_options options,
                                pool *threads, grpo_error *err);
void language_model_close(language_model *lm);

/* Fails with the reason when there is no tokenizer. */
grpo_status language_model_need_text(const language_model *lm, grpo_error *err);

/* What speaks against the tokenizer being this model's, as a sentence to warn with; "" where nothing does. Ids that a tokenizer
 * lacks decode to nothing, so that a foreign one would be seen in the rewards alone. */
void language_model_doubt(const language_model *lm, char text[256]);

/* Prompt tokens; free with grpo_tokenizer_free_ids. Messages go through the chat template with the generation
 * prompt added; raw text gets the tokens that the tokenizer adds. */
grpo_status language_model_encode_messages(const language_model *lm, const json_t *messages, int32_t **ids, size_t *n,
                                           grpo_error *err);
/* A whole conversation; add_generation_prompt: end with the head of the assistant's turn. */
grpo_status language_model_encode_conversation(const language_model *lm, const json_t *messages,
                                               int add_generation_prompt, int32_t **ids, size_t *n, grpo_error *err);
grpo_status language_model_encode_text(const language_model *lm, const char *text, size_t length, int32_t **ids,
                                       size_t *n, grpo_error *err);

/* Stop strings: does the text of the tokens so far end an answer? */
typedef struct stop_strings {
    const language_model *lm;
    const char *const *strings;
    size_t count, longest; /* bytes of the longest */
} stop_strings;
void stop_strings_init(stop_strings *s, const language_model *lm, const char *const *strings, size_t count);
int stop_strings_reached(const stop_strings *s, const int32_t *token, int n);
/* Bytes of the text before its first stop string: all of it where there is none. s may be NULL. */
size_t stop_strings_end(const stop_strings *s, const char *text, size_t length);

/* The text of an answer (special tokens left out, cut at the first stop string); free with
 * grpo_tokenizer_free_text. */
grpo_status language_model_answer_text(const language_model *lm, const stop_strings *stop, const int32_t *token, int n,
                                       char **text, size_t *length, grpo_error *err);

#endif
