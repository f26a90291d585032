/* Opening a model with its text side; prompts and answers as text. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "model/tokenizer.h"
#include "rollout/language_model.h"

static grpo_status open_text(language_model *lm, const char *path, grpo_error *err)
{
    grpo_status status = grpo_tokenizer_open(&lm->tokenizer, path, &lm->text_fault);
    if (status == GRPO_ERR_MEMORY) {
        if (err)
            *err = lm->text_fault;
        return status;
    }
    if (status != GRPO_OK || !grpo_tokenizer_chat_template(lm->tokenizer, NULL))
        return GRPO_OK;
    status = grpo_template_of_tokenizer(&lm->chat, lm->tokenizer, err);
    return grpo_error_prefix(err, status, "%s: chat template", path);
}

grpo_status language_model_need_text(const language_model *lm, grpo_error *err)
{
    if (lm->tokenizer)
        return GRPO_OK;
    return grpo_fail(err, lm->text_fault.status, "no text without a tokenizer: %s", lm->text_fault.message);
}

void language_model_doubt(const language_model *lm, char text[256])
{
    const model_config *c = &lm->m->config;
    size_t tokens = lm->tokenizer ? grpo_tokenizer_size(lm->tokenizer) : 0, length;
    text[0] = 0;
    if (!lm->tokenizer)
        return;
    if (tokens < (size_t)c->vocab / 10 * 9) { /* vocabularies are padded, but by less */
        snprintf(text, 256, "the tokenizer has %zu tokens, the model's vocabulary %d: is it another model's? Ids without a token "
                            "are no text", tokens, c->vocab);
        return;
    }
    for (int i = 0; i < c->n_eos; i++)
        if (!grpo_tokenizer_token(lm->tokenizer, c->eos[i], &length)) {
            snprintf(text, 256, "the model's end token %d is none of the tokenizer's: is that another model's?", (int)c->eos[i]);
            return;
        }
}

static grpo_status attach_adapter(model *m, const char *folder, const char *path, grpo_error *err)
{
    model_adapter *a;
    grpo_status status = adapter_open(&a, folder, &m->config, path, err);
    if (status == GRPO_OK)
        model_attach_adapter(m, a);
    return status;
}

static grpo_status open_all(language_model *lm, const char *path, const char *adapter, model_load_options options,
                            pool *threads, grpo_error *err)
{
    grpo_status status = ops_check(err);
    if (status == GRPO_OK)
        status = model_files_open(&lm->files, path, err);
    if (status == GRPO_OK)
        status = open_text(lm, path, err);
    if (status == GRPO_OK)
        status = model_load_as(&lm->m, lm->files, options, threads, err);
    if (status == GRPO_OK && adapter)
        status = attach_adapter(lm->m, adapter, path, err);
    return status;
}

grpo_status language_model_open(language_model *lm, const char *path, const char *adapter, model_load_options options,
                                pool *threads, grpo_error *err)
{
    memset(lm, 0, sizeof *lm);
    char *base;
    grpo_status status = adapter_resolve(&base, &adapter, path, err);
    if (status == GRPO_OK)
        status = open_all(lm, base, adapter, options, threads, err);
    mem_free(base);
    if (status == GRPO_OK) {
        size_t n = 0;
        if (lm->tokenizer)
            lm->eos = grpo_tokenizer_eos_ids(lm->tokenizer, &n);
        lm->n_eos = (int)n;
        if (n == 0) {
            lm->eos = lm->m->config.eos;
            lm->n_eos = lm->m->config.n_eos;
        }
        return GRPO_OK;
    }
    language_model_close(lm);
    return status;
}

void language_model_close(language_model *lm)
{
    model_destroy(lm->m);
    grpo_template_destroy(lm->chat);
    grpo_tokenizer_destroy(lm->tokenizer);
    model_files_close(lm->files);
    memset(lm, 0, sizeof *lm);
}

static grpo_status encode(const language_model *lm, const char *text, size_t length, unsigned flags, int32_t **ids,
                          size_t *n, grpo_error *err)
{
    grpo_status status = language_model_need_text(lm, err);
    if (status == GRPO_OK)
        status = grpo_tokenizer_encode(lm->tokenizer, text, length, flags, ids, n, err);
    for (size_t i = 0; status == GRPO_OK && i < *n; i++)
        if ((*ids)[i] >= lm->m->config.vocab) {
            status = grpo_fail(err, GRPO_ERR_FORMAT,
                               "token %d is outside the model's vocabulary of %d: the tokenizer is another model's",
                               (*ids)[i], lm->m->config.vocab);
            grpo_tokenizer_free_ids(*ids);
            *ids = NULL;
        }
    return status;
}

grpo_status language_model_encode_text(const language_model *lm, const char *text, size_t length, int32_t **ids,
                                       size_t *n, grpo_error *err)
{
    return encode(lm, text, length, GRPO_ENCODE_ADDED, ids, n, err);
}

grpo_status language_model_encode_messages(const language_model *lm, const json_t *messages, int32_t **ids, size_t *n,
                                           grpo_error *err)
{
    return language_model_encode_conversation(lm, messages, 1, ids, n, err);
}

grpo_status language_model_encode_conversation(const language_model *lm, const json_t *messages,
                                               int add_generation_prompt, int32_t **ids, size_t *n, grpo_error *err)
{
    if (language_model_need_text(lm, err) != GRPO_OK)
        return lm->text_fault.status;
    if (!lm->chat)
        return grpo_fail(err, GRPO_ERR_CONFIG,
                         "%s has no chat template: give prompts as text (data.chat=never), or add a "
                         "chat_template.jinja to the model's folder",
                         model_files_path(lm->files));
    grpo_template_input input = {.messages = messages, .add_generation_prompt = add_generation_prompt};
    grpo_template_result result;
    grpo_status status = grpo_template_render_messages(lm->chat, &input, &result, err);
    if (status != GRPO_OK)
        return status;
    status = encode(lm, result.text, result.length, 0, ids, n, err);
    grpo_template_result_deinit(&result);
    return status;
}

/* ---- stop strings ----------------------------------------------------------------------------------------- */

void stop_strings_init(stop_strings *s, const language_model *lm, const char *const *strings, size_t count)
{
    *s = (stop_strings){lm, strings, count, 0};
    for (size_t i = 0; i < count; i++)
        if (strlen(strings[i]) > s->longest)
            s->longest = strlen(strings[i]);
}

size_t stop_strings_end(const stop_strings *s, const char *text, size_t length)
{
    size_t end = length;
    for (size_t i = 0; s && i < s->count; i++) {
        const char *at = memmem(text, length, s->strings[i], strlen(s->strings[i]));
        if (at && (size_t)(at - text) < end)
            end = (size_t)(at - text);
    }
    return end;
}

int stop_strings_reached(const stop_strings *s, const int32_t *token, int n)
{
    if (s->count == 0)
        return 0;
    /* Every token that is not special adds at least a byte, so a new occurrence lies in this tail. */
    int tail = n < (int)s->longest + 8 ? n : (int)s->longest + 8;
    char *text;
    size_t length;
    if (grpo_tokenizer_decode(s->lm->tokenizer, token + n - tail, (size_t)tail, 1, &text, &length, NULL) != GRPO_OK)
        return 0;
    int reached = stop_strings_end(s, text, length) < length;
    grpo_tokenizer_free_text(text);
    return reached;
}

grpo_status language_model_answer_text(const language_model *lm, const stop_strings *stop, const int32_t *token, int n,
                                       char **text, size_t *length, grpo_error *err)
{
    grpo_status status = language_model_need_text(lm, err);
    if (status == GRPO_OK)
        status = grpo_tokenizer_decode(lm->tokenizer, token, (size_t)n, 1, text, length, err);
    if (status != GRPO_OK)
        return status;
    *length = stop_strings_end(stop, *text, *length);
    (*text)[*length] = 0;
    return GRPO_OK;
}
