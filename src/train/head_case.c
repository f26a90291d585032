/* Gradient cases of score and value heads. */
#include <math.h>
#include <string.h>

#include "grpo/algo.h"
#include "model/scalar_head.h"
#include "train/case_reader.h"
#include "train/head_case.h"

const char *head_case_loss(const model_config *config)
{
    return config->head == MODEL_HEAD_SEQUENCE ? "pairwise" : "value_clipped";
}

/* ---- reading ------------------------------------------------------------------------------------------ */

/* Appends a list to the case's tokens. */
static grpo_status read_ids(const case_reader *r, head_case *c, const json_t *list, const char *field)
{
    grpo_status status = case_read_ids(r, c->token + c->tokens, list, field);
    c->tokens += status == GRPO_OK ? (int)json_array_size(list) : 0;
    return status;
}

/* Numbers of a completion, at the states before its tokens. */
static grpo_status read_numbers(const case_reader *r, double *out, const json_t *s, const char *field)
{
    return case_read_numbers(r, out, json_object_get(s, field), json_array_size(json_object_get(s, "completion")), field,
                             "one number for each token of the completion is needed");
}

static grpo_status read_sequence(const case_reader *r, head_case *c, const json_t *s, int index, int value)
{
    const json_t *prompt = json_object_get(s, "prompt"), *completion = json_object_get(s, "completion");
    int first = c->tokens;
    grpo_status status = value ? read_ids(r, c, prompt, "prompt") : read_ids(r, c, json_object_get(s, "tokens"), "tokens");
    int start = c->tokens - 1;
    if (status == GRPO_OK && value)
        status = read_ids(r, c, completion, "completion");
    if (status == GRPO_OK && (c->tokens == first || (value && start < first)))
        status = case_complain(r, value ? "prompt" : "tokens", "a sequence is empty");
    if (status != GRPO_OK)
        return status;
    c->offset[index + 1] = c->tokens;
    c->longest = c->tokens - first > c->longest ? c->tokens - first : c->longest;
    if (!value)
        return GRPO_OK;
    memset(c->mask + start, 1, json_array_size(completion));
    status = read_numbers(r, c->returns + start, s, "returns");
    if (status == GRPO_OK)
        status = read_numbers(r, c->old + start, s, "old_values");
    return status;
}

static grpo_status read_sequences(const case_reader *r, head_case *c, const json_t *list, int value)
{
    static const char *const parts[] = {"tokens", "prompt", "completion"};
    size_t n = json_array_size(list), tokens = 0;
    if (n == 0 || n > 4096)
        return case_complain(r, "sequences", "a list of sequences is needed");
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < 3; k++)
            tokens += json_array_size(json_object_get(json_array_get(list, i), parts[k]));
    if (tokens > 1 << 24)
        return case_complain(r, "sequences", "this is more than a case should hold");
    c->offset = mem_calloc(n + 1, sizeof *c->offset);
    c->token = mem_calloc(tokens, sizeof *c->token);
    c->mask = mem_calloc(tokens, 1);
    c->returns = mem_calloc(tokens, sizeof *c->returns);
    c->old = mem_calloc(tokens, sizeof *c->old);
    if (!c->offset || !c->token || !c->mask || !c->returns || !c->old)
        return mem_fail(r->err, "the case", tokens * sizeof *c->returns);
    c->sequences = (int)n;
    grpo_status status = GRPO_OK;
    for (size_t i = 0; i < n && status == GRPO_OK; i++)
        status = read_sequence(r, c, json_array_get(list, i), (int)i, value);
    return status;
}

static grpo_status read_pairs(const case_reader *r, head_case *c, const json_t *list)
{
    size_t n = json_array_size(list);
    if (n == 0)
        return case_complain(r, "pairwise.pairs", "a list of pairs is needed");
    c->pair = mem_calloc(n, sizeof *c->pair);
    if (!c->pair)
        return mem_fail(r->err, "the case", n * sizeof *c->pair);
    for (; c->pairs < (int)n; c->pairs++)
        for (size_t k = 0; k < 2; k++) {
            const json_t *x = json_array_get(json_array_get(list, (size_t)c->pairs), k);
            if (!json_is_integer(x) || json_integer_value(x) < 0 || json_integer_value(x) >= c->sequences)
                return case_complain(r, "pairwise.pairs", "a pair is two numbers of sequences");
            c->pair[c->pairs][k] = (int)json_integer_value(x);
        }
    return GRPO_OK;
}

grpo_status head_case_init(head_case *c, const json_t *root, const char *where, const model_config *config, grpo_error *err)
{
    memset(c, 0, sizeof *c);
    case_reader r = {where, "", config->vocab, err};
    const char *name = head_case_loss(config);
    const json_t *part = json_object_get(root, name);
    if (!json_is_object(part))
        return case_complain(&r, name, "is missing; a model with this head needs it");
    c->clip = json_number_value(json_object_get(part, "clip"));
    grpo_status status = read_sequences(&r, c, json_object_get(root, "sequences"), config->head == MODEL_HEAD_TOKEN);
    if (status == GRPO_OK && config->head == MODEL_HEAD_SEQUENCE)
        status = read_pairs(&r, c, json_object_get(part, "pairs"));
    return status;
}

void head_case_deinit(head_case *c)
{
    void *owned[] = {c->offset, c->token, c->pair, c->mask, c->returns, c->old};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        mem_free(owned[i]);
    memset(c, 0, sizeof *c);
}

/* ---- running ------------------------------------------------------------------------------------------- */

/* Arrays of one run; sequences are each a group of its own, all prompt. */
typedef struct head_run {
    known_sequence *known;
    kv_sequence *kv;
    backward_group *groups;
    ops_span *spans;
    float **value, *values, *gradient;
    int32_t *pos, *tape_row;
} head_run;

static void run_deinit(head_run *r, engine *e, int sequences)
{
    for (int i = 0; r->kv && i < sequences; i++)
        kv_sequence_deinit(&e->kv, &r->kv[i]);
    void *owned[] = {r->known, r->kv, r->groups, r->spans, r->value, r->values, r->gradient, r->pos, r->tape_row};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        mem_free(owned[i]);
}

static grpo_status run_init(head_run *r, const head_case *c, grpo_error *err)
{
    size_t n = (size_t)c->sequences, tokens = (size_t)c->tokens;
    memset(r, 0, sizeof *r);
    r->known = mem_calloc(n, sizeof *r->known);
    r->kv = mem_calloc(n, sizeof *r->kv);
    r->groups = mem_calloc(n, sizeof *r->groups);
    r->spans = mem_calloc(n, sizeof *r->spans);
    r->value = mem_calloc(n, sizeof *r->value);
    r->values = mem_calloc(tokens, sizeof *r->values);
    r->gradient = mem_calloc(tokens, sizeof *r->gradient);
    r->pos = mem_calloc(tokens, sizeof *r->pos);
    r->tape_row = mem_calloc(tokens, sizeof *r->tape_row);
    if (!r->known || !r->kv || !r->groups || !r->spans || !r->value || !r->values || !r->gradient || !r->pos || !r->tape_row)
        return mem_fail(err, "the case", tokens * sizeof *r->values);
    grpo_status status = GRPO_OK;
    for (int i = 0; i < c->sequences && status == GRPO_OK; i++) {
        int first = c->offset[i], rows = c->offset[i + 1] - first;
        r->value[i] = r->values + first;
        for (int t = 0; t < rows; t++)
            r->pos[first + t] = t;
        r->known[i] = (known_sequence){.token = c->token + first, .n = rows, .run = rows, .kv = &r->kv[i],
                                       .tape_row = r->tape_row + first, .score_from = rows};
        status = kv_sequence_init(&r->kv[i], rows, err);
        r->spans[i] = (ops_span){r->kv[i].blocks, 0, rows, 0};
        r->groups[i] = (backward_group){.rows = rows, .prompt = rows, .token = c->token + first, .pos = r->pos + first,
                                        .tape_row = r->tape_row + first, .spans = &r->spans[i], .n_spans = 1,
                                        .dvalue = r->gradient + first};
    }
    return status;
}

static double pairwise_loss(const head_case *c, const model_config *config, const head_run *r)
{
    double loss = 0;
    for (int i = 0; i < c->pairs; i++) {
        int at[2];
        for (int k = 0; k < 2; k++) {
            int s = c->pair[i][k], first = c->offset[s];
            at[k] = first + scalar_head_position(config, c->token + first, c->offset[s + 1] - first);
        }
        double margin = (double)r->values[at[0]] - (double)r->values[at[1]];
        double weight = 1 / (1 + exp(margin)) / c->pairs;
        loss += (margin > 0 ? log1p(exp(-margin)) : log1p(exp(margin)) - margin) / c->pairs;
        r->gradient[at[0]] -= (float)weight;
        r->gradient[at[1]] += (float)weight;
    }
    return loss;
}

static grpo_status value_loss(const head_case *c, const head_run *r, double *loss, grpo_error *err)
{
    size_t n = (size_t)c->tokens, *offset = mem_calloc((size_t)c->sequences + 1, sizeof *offset);
    double *value = mem_calloc(n, sizeof *value), *grad = mem_calloc(n, sizeof *grad);
    grpo_algo algo;
    grpo_status status = offset && value && grad ? grpo_algo_preset(&algo, "spec", err) : mem_fail(err, "the loss", n * sizeof *grad);
    if (status == GRPO_OK) {
        for (int i = 0; i <= c->sequences; i++)
            offset[i] = (size_t)c->offset[i];
        for (size_t i = 0; i < n; i++)
            value[i] = (double)r->values[i];
        algo.loss_aggregation = GRPO_AGG_TOKEN_MEAN;
        algo.value_clip = c->clip;
        grpo_rows rows = {(size_t)c->sequences, offset, c->mask};
        status = compute_value_loss(&algo, &rows, value, c->old, c->returns, 0, 0, loss, grad, NULL, err);
        for (size_t i = 0; i < n; i++)
            r->gradient[i] = c->mask[i] ? (float)grad[i] : 0;
    }
    mem_free(offset);
    mem_free(value);
    mem_free(grad);
    return status;
}

grpo_status head_case_run(gradient_workspace *w, const model *m, const head_case *c, double *loss, grpo_error *err)
{
    head_run r;
    grpo_status status = run_init(&r, c, err);
    tape_reset(&w->t);
    if (status == GRPO_OK)
        status = scalar_head_run(&w->e, &m->weights, r.known, r.value, c->sequences, &w->t, err);
    if (status == GRPO_OK && m->config.head == MODEL_HEAD_SEQUENCE)
        *loss = pairwise_loss(c, &m->config, &r);
    else if (status == GRPO_OK)
        status = value_loss(c, &r, loss, err);
    if (status == GRPO_OK) {
        model_backward(m, &m->weights, &w->grad_view, w->e.threads, &w->backward, &w->t, &w->e.kv, r.groups, c->sequences);
        model_backward_finish(m, &w->grad_view, w->e.threads, &w->backward);
    }
    run_deinit(&r, &w->e, c->sequences);
    return status;
}
