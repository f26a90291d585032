/* The reward `model`: a sequence-classification model reads prompt and answer and gives a score.
 *
 * Messages go through the model's own chat template, the answer as the assistant's turn; without messages or without
 * a template, prompt and answer are joined as text. The score is the head's output at the last token that is not
 * padding (as in transformers), then
 *     squash(scale * (score - mean)), clipped to [min, max].
 * Answers to one prompt share its rows; by the row law that changes no bit, nor does anything else in a batch. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "grpo/template.h"
#include "grpo/tokenizer.h"
#include "model/scalar_head.h"
#include "reward/reward_kinds.h"

enum { FORWARD_ROWS = 1024, MOST_AT_ONCE = 64, KEPT_CONTEXTS = 4, SHARED_LEAST = 2 * OPS_KV_BLOCK };

typedef struct model_scorer {
    reward_scorer base;
    pool *threads;
    model_files *files;
    model *m;
    grpo_tokenizer *tokenizer; /* NULL: none; then records give "ids" */
    grpo_error no_tokenizer;   /* why */
    grpo_template *chat;       /* NULL: none */
    engine e;
    int blocks;
    double scale, mean, min, max;
    int sigmoid;
} model_scorer;

/* One record's tokens. */
typedef struct sequence {
    int32_t *ids;
    int n; /* up to the token whose score counts */
    size_t record;
    float *hidden; /* [hidden] of the last token */
} sequence;

/* ---- tokens -------------------------------------------------------------------------------------- */

/* The conversation with the answer; NULL when the prompt is not known as messages or text, or out of memory. */
static json_t *conversation_of(const grpo_reward_record *r)
{
    const json_t *prompt = r->messages ? r->messages : json_object_get(r->fields, "prompt");
    json_t *list = json_is_array(prompt) ? json_copy((json_t *)prompt) : r->prompt ? json_array() : NULL;
    int failed = !list;
    if (list && !json_is_array(prompt))
        failed = json_array_append_new(list, json_pack("{s:s,s:o}", "role", "user", "content",
                                                       json_string_lossy(r->prompt, r->prompt_length))) != 0;
    if (list)
        failed |= json_array_append_new(list, json_pack("{s:s,s:o}", "role", "assistant", "content",
                                                        json_string_lossy(r->completion ? r->completion : "",
                                                                          r->completion_length))) != 0;
    if (failed) {
        json_decref(list);
        return NULL;
    }
    return list;
}

static grpo_status render(const model_scorer *self, const grpo_reward_record *r, strbuf *text, grpo_error *err)
{
    json_t *conversation = self->chat ? conversation_of(r) : NULL;
    if (!conversation) {
        strbuf_append(text, r->prompt ? r->prompt : "", r->prompt_length);
        strbuf_append(text, r->completion ? r->completion : "", r->completion_length);
        return text->failed ? mem_fail(err, "a conversation", text->length) : GRPO_OK;
    }
    grpo_template_input input = {.messages = conversation};
    grpo_template_result result;
    grpo_status status = grpo_template_render_messages(self->chat, &input, &result, err);
    if (status == GRPO_OK) {
        strbuf_append(text, result.text, result.length);
        grpo_template_result_deinit(&result);
    }
    json_decref(conversation);
    return status;
}

static grpo_status encode(const model_scorer *self, const grpo_reward_record *r, sequence *s, grpo_error *err)
{
    if (!self->tokenizer)
        return grpo_fail(err, self->no_tokenizer.status, "%s", self->no_tokenizer.message);
    strbuf text = STRBUF_INIT;
    size_t n = 0;
    int32_t *ids = NULL;
    grpo_status status = render(self, r, &text, err);
    if (status == GRPO_OK)
        status = grpo_tokenizer_encode(self->tokenizer, strbuf_text(&text), text.length, 0, &ids, &n, err);
    if (status == GRPO_OK) {
        s->ids = mem_dup(ids, (n ? n : 1) * sizeof *ids);
        s->n = (int)n;
        grpo_tokenizer_free_ids(ids);
        if (!s->ids)
            status = mem_fail(err, "token ids", n * sizeof *ids);
    }
    strbuf_deinit(&text);
    return status;
}

/* "ids" of the record: a whole sequence as tokens, for models without a tokenizer. */
static grpo_status copy_ids(const json_t *list, sequence *s, grpo_error *err)
{
    size_t n = json_array_size(list);
    s->ids = mem_calloc(n + 1, sizeof *s->ids);
    if (!s->ids)
        return mem_fail(err, "token ids", n * sizeof *s->ids);
    for (size_t i = 0; i < n; i++) {
        json_int_t id = json_is_integer(json_array_get(list, i)) ? json_integer_value(json_array_get(list, i)) : -1;
        s->ids[i] = id > INT32_MAX ? -1 : (int32_t)id;
    }
    s->n = (int)n;
    return GRPO_OK;
}

/* A problem of this record alone is its score's; what is returned ends the batch. */
static grpo_status read_record(const model_scorer *self, const grpo_reward_record *r, sequence *s, reward_score *score,
                               grpo_error *err)
{
    grpo_error why = {0};
    const json_t *ids = self->tokenizer ? NULL : json_object_get(r->fields, "ids");
    grpo_status status = json_is_array(ids) ? copy_ids(ids, s, &why) : encode(self, r, s, &why);
    if (status == GRPO_ERR_MEMORY)
        return grpo_fail(err, status, "%s", why.message);
    int vocab = self->m->config.vocab, longest = self->m->max_context;
    if (status == GRPO_OK && s->n > 0)
        s->n = scalar_head_position(&self->m->config, s->ids, s->n) + 1;
    if (status != GRPO_OK)
        reward_unscored(score, "%s", why.message);
    else if (s->n == 0)
        reward_unscored(score, "there is no token to score");
    else if (s->n > longest)
        reward_unscored(score, "prompt and answer have %d tokens, the reward model reads %d", s->n, longest);
    for (int i = 0; i < s->n && !score->problem[0]; i++)
        if (s->ids[i] < 0 || s->ids[i] >= vocab)
            reward_unscored(score, "token %d is outside the reward model's vocabulary of %d", s->ids[i], vocab);
    if (score->problem[0])
        s->n = 0;
    return GRPO_OK;
}

/* ---- the forward pass -------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    const sequence *x = a, *y = b;
    for (int i = 0; i < x->n && i < y->n; i++)
        if (x->ids[i] != y->ids[i])
            return x->ids[i] < y->ids[i] ? -1 : 1;
    return (x->n > y->n) - (x->n < y->n);
}

static int common_prefix(const sequence *x, const sequence *y)
{
    int n = 0;
    while (n < x->n && n < y->n && x->ids[n] == y->ids[n])
        n++;
    return n;
}

/* How many of the sorted sequences [0, count) run together, and the length of the prefix that they share: as many as
 * the store holds; a prefix that gets much shorter ends the run. */
static int choose_run(const model_scorer *self, const sequence *s, int count, int *shared)
{
    int n = 1, prefix = s[0].n, free_blocks = self->blocks - kv_blocks_for(self->m->max_context) - kv_blocks_for(s[0].n) - 1;
    for (; n < count && n < MOST_AT_ONCE; n++) {
        int common = common_prefix(&s[0], &s[n]);
        free_blocks -= kv_blocks_for(s[n].n) + 1;
        if (free_blocks < 0 || (n > 1 && 2 * common < prefix))
            break;
        prefix = common < prefix ? common : prefix;
    }
    *shared = n > 1 && prefix >= SHARED_LEAST ? prefix : 0;
    for (int i = 0; i < n; i++)
        if (*shared >= s[i].n) /* its own last row is to be run */
            *shared = s[i].n - 1;
    return n;
}

static grpo_status run_shared(model_scorer *self, const sequence *s, int shared, kv_sequence *kv, grpo_error *err)
{
    known_sequence prefix = {.token = s->ids, .n = shared, .run = shared, .kv = kv, .score_from = shared};
    grpo_status status = kv_sequence_init(kv, shared, err);
    return status == GRPO_OK ? engine_run(&self->e, &self->m->weights, &prefix, 1, 1, 0, NULL, err) : status;
}

static grpo_status run_together(model_scorer *self, sequence *s, int n, int shared, grpo_error *err)
{
    kv_sequence prefix = {0}, kv[MOST_AT_ONCE] = {{0}};
    known_sequence known[MOST_AT_ONCE];
    grpo_status status = shared ? run_shared(self, s, shared, &prefix, err) : GRPO_OK;
    for (int i = 0; i < n && status == GRPO_OK; i++) {
        status = kv_sequence_init(&kv[i], s[i].n, err);
        if (status == GRPO_OK && shared)
            status = kv_sequence_fork(&self->e.kv, &kv[i], &prefix, err);
        known[i] = (known_sequence){.token = s[i].ids, .n = s[i].n, .first = shared, .run = s[i].n, .kv = &kv[i],
                                    .score_from = s[i].n, .last_hidden = s[i].hidden};
    }
    if (status == GRPO_OK)
        status = engine_run(&self->e, &self->m->weights, known, n, 1, 0, NULL, err);
    for (int i = 0; i < n; i++)
        kv_sequence_deinit(&self->e.kv, &kv[i]);
    kv_sequence_deinit(&self->e.kv, &prefix);
    return status;
}

/* ---- scores -------------------------------------------------------------------------------------------- */

static double shape(const model_scorer *self, double score)
{
    double x = self->scale * (score - self->mean);
    if (self->sigmoid)
        x = 1 / (1 + exp(-x));
    return fmin(fmax(x, self->min), self->max);
}

static grpo_status give_score(model_scorer *self, const sequence *s, reward_score *out, reward_detail detail, grpo_error *err)
{
    float *normed = self->e.h, value;
    model_final_norm(self->m, &self->m->weights, self->threads, normed, s->hidden, 1);
    ops_product product = {.w = self->m->weights.scalar, .y = &value, .ldy = 1};
    ops_gemm(self->threads, &product, 1, normed, self->m->config.hidden, 1);
    out->value = isfinite(value) ? shape(self, value) : NAN;
    if (!isfinite(value))
        reward_unscored(out, "the reward model's score is %g", value);
    if (detail == REWARD_EXPLAIN &&
        !(out->details = json_pack("{s:{s:f,s:i}}", "explain", "score", (double)value, "tokens", s->n)))
        return mem_fail(err, "details of a reward", 0);
    return GRPO_OK;
}

static grpo_status score_sequences(model_scorer *self, sequence *s, int count, reward_score *scores, reward_detail detail,
                                   grpo_error *err)
{
    grpo_status status = GRPO_OK;
    qsort(s, (size_t)count, sizeof *s, compare);
    for (int first = 0, n, shared; first < count && status == GRPO_OK; first += n) {
        n = choose_run(self, s + first, count - first, &shared);
        status = run_together(self, s + first, n, shared, err);
    }
    for (int i = 0; i < count && status == GRPO_OK; i++)
        status = give_score(self, &s[i], &scores[s[i].record], detail, err);
    return status;
}

static grpo_status score(reward_scorer *base, const grpo_reward_record *records, size_t n, reward_score *scores,
                         reward_detail detail, grpo_error *err)
{
    model_scorer *self = (model_scorer *)base;
    size_t hidden = (size_t)self->m->config.hidden;
    sequence *s = mem_calloc(n, sizeof *s);
    float *states = mem_calloc(n * hidden, sizeof *states);
    int count = 0;
    grpo_status status = s && states ? GRPO_OK : mem_fail(err, "a batch for the reward model", n * hidden * sizeof *states);
    for (size_t i = 0; i < n && status == GRPO_OK; i++) {
        status = read_record(self, &records[i], &s[count], &scores[i], err);
        s[count].record = i;
        s[count].hidden = states + (size_t)count * hidden;
        if (s[count].n)
            count++;
        else if (s[count].ids) {
            mem_free(s[count].ids);
            s[count].ids = NULL;
        }
    }
    if (status == GRPO_OK)
        status = score_sequences(self, s, count, scores, detail, err);
    for (size_t i = 0; s && i < n; i++)
        mem_free(s[i].ids);
    mem_free(s);
    mem_free(states);
    return status;
}

/* ---- making ----------------------------------------------------------------------------------------------- */

static void destroy(reward_scorer *base)
{
    model_scorer *self = (model_scorer *)base;
    engine_deinit(&self->e);
    model_destroy(self->m);
    grpo_template_destroy(self->chat);
    grpo_tokenizer_destroy(self->tokenizer);
    model_files_close(self->files);
    pool_destroy(self->threads);
    mem_free(self);
}

static grpo_status open_text(model_scorer *self, const char *path, grpo_error *err)
{
    if (grpo_tokenizer_open(&self->tokenizer, path, &self->no_tokenizer) != GRPO_OK) {
        self->tokenizer = NULL;
        return GRPO_OK;
    }
    if (!grpo_tokenizer_chat_template(self->tokenizer, NULL))
        return GRPO_OK;
    return grpo_template_of_tokenizer(&self->chat, self->tokenizer, err);
}

static grpo_status open_model(model_scorer *self, const char *path, long context, const grpo_reward_options *options,
                              grpo_error *err)
{
    grpo_status status = ops_check(err);
    if (status == GRPO_OK)
        status = pool_create(&self->threads, options->threads, err);
    if (status == GRPO_OK)
        status = model_files_open(&self->files, path, err);
    if (status == GRPO_OK)
        status = open_text(self, path, err);
    if (status == GRPO_OK)
        status = model_load(&self->m, self->files, (int)context, self->threads, err);
    if (status == GRPO_OK && self->m->config.head != MODEL_HEAD_SEQUENCE)
        status = grpo_fail(err, GRPO_ERR_CONFIG, "it has no sequence-classification head (architectures: …ForSequenceClassification)");
    if (status != GRPO_OK)
        return status;
    self->blocks = KEPT_CONTEXTS * (kv_blocks_for(self->m->max_context) + 1);
    return engine_init(&self->e, self->m, self->threads, (engine_plan){FORWARD_ROWS, 1, self->blocks}, err);
}

static grpo_status read_squash(int *sigmoid, const char *text, grpo_error *err)
{
    *sigmoid = strcmp(text, "sigmoid") == 0;
    if (*sigmoid || strcmp(text, "none") == 0)
        return GRPO_OK;
    return grpo_fail(err, GRPO_ERR_CONFIG, "reward model: squash= takes none or sigmoid, not '%s'", text);
}

grpo_status reward_model_create(reward_scorer **out, const char *argument, const grpo_reward_options *options, grpo_error *err)
{
    static const reward_class class = {.score = score, .destroy = destroy};
    size_t length = strcspn(argument, ",");
    char squash[64] = "none", *path = mem_strndup(argument, length);
    long context = 8192;
    model_scorer *self = mem_calloc(1, sizeof *self);
    if (!self || !path) {
        mem_free(self);
        mem_free(path);
        return mem_fail(err, "a reward", sizeof *self);
    }
    self->base.class = &class;
    self->scale = 1;
    self->min = -1e30;
    self->max = 1e30;
    const reward_argument arguments[] = {
        {"scale", REWARD_NUMBER, &self->scale, -1e6, 1e6}, {"mean", REWARD_NUMBER, &self->mean, -1e6, 1e6},
        {"min", REWARD_NUMBER, &self->min, -1e30, 1e30},   {"max", REWARD_NUMBER, &self->max, -1e30, 1e30},
        {"squash", REWARD_TEXT, squash, 0, 0},             {"context", REWARD_INTEGER, &context, 1, 1e7}};
    grpo_status status = reward_read_arguments("model", argument + length + (argument[length] == ','), arguments,
                                               sizeof arguments / sizeof *arguments, err);
    if (status == GRPO_OK && !*path)
        status = grpo_fail(err, GRPO_ERR_CONFIG, "reward model: the folder is missing (model:DIR[,scale=1,min=-5,max=5])");
    if (status == GRPO_OK)
        status = read_squash(&self->sigmoid, squash, err);
    if (status == GRPO_OK && (status = open_model(self, path, context, options, err)) != GRPO_OK)
        grpo_error_prefix(err, status, "reward model %s", path);
    mem_free(path);
    if (status != GRPO_OK) {
        destroy(&self->base);
        return status;
    }
    *out = &self->base;
    return GRPO_OK;
}
