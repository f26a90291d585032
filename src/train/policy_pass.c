/* Log-probs and gradients over rollouts. */
#include <string.h>

#include "model/scalar_head.h"
#include "train/policy_pass.h"

size_t policy_token_count(const rollout_group *groups, int n_groups)
{
    size_t n = 0;
    for (int g = 0; g < n_groups; g++)
        for (int s = 0; s < groups[g].n_samples; s++)
            n += (size_t)groups[g].samples[s].n;
    return n;
}

/* ---- bitmaps of allowed tokens --------------------------------------------------------------------- */

typedef struct bitmaps {
    uint32_t *words;
    const uint32_t **row;
} bitmaps;

static void bitmaps_deinit(bitmaps *b)
{
    mem_free(b->words);
    mem_free(b->row);
    memset(b, 0, sizeof *b);
}

/* Rows of one answer; b->row stays NULL when nothing was excluded. */
static grpo_status bitmaps_init(bitmaps *b, const rollout_sample *s, int vocab, grpo_error *err)
{
    memset(b, 0, sizeof *b);
    if (!s->allowed)
        return GRPO_OK;
    size_t words = (size_t)(vocab + 31) / 32;
    b->words = mem_calloc((size_t)s->n * words, sizeof *b->words);
    b->row = mem_calloc((size_t)s->n, sizeof *b->row);
    if (!b->words || !b->row) {
        bitmaps_deinit(b);
        return mem_fail(err, "sets of allowed tokens", (size_t)s->n * words * sizeof *b->words);
    }
    for (int i = 0; i < s->n; i++) {
        token_set_bitmap(&s->allowed[i], b->words + (size_t)i * words, (int)words);
        b->row[i] = b->words + (size_t)i * words;
    }
    return GRPO_OK;
}

/* ---- forward ------------------------------------------------------------------------------------------ */

/* Everything that one group's pass needs besides the group. */
typedef struct group_pass {
    kv_sequence prompt_kv;
    kv_sequence *kv; /* [samples], private mode */
    float *hidden;   /* residual stream of the prompt's last row */
    int32_t *text;   /* prompt and answer of each sample, one after another */
    known_sequence *known;
    bitmaps *allowed;
} group_pass;

static void group_pass_deinit(engine *e, group_pass *p, int samples)
{
    for (int i = 0; i < samples; i++) {
        if (p->kv)
            kv_sequence_deinit(&e->kv, &p->kv[i]);
        if (p->allowed)
            bitmaps_deinit(&p->allowed[i]);
    }
    kv_sequence_deinit(&e->kv, &p->prompt_kv);
    mem_free(p->kv);
    mem_free(p->hidden);
    mem_free(p->text);
    mem_free(p->known);
    mem_free(p->allowed);
}

static grpo_status group_pass_init(group_pass *p, const engine *e, const rollout_group *g, grpo_error *err)
{
    size_t text = 0, n = (size_t)g->n_samples;
    memset(p, 0, sizeof *p);
    for (int i = 0; i < g->n_samples; i++)
        text += (size_t)(g->prompt_length + g->samples[i].n);
    p->kv = mem_calloc(n, sizeof *p->kv);
    p->hidden = mem_calloc((size_t)e->m->config.hidden, sizeof *p->hidden);
    p->text = mem_calloc(text, sizeof *p->text);
    p->known = mem_calloc(n, sizeof *p->known);
    p->allowed = mem_calloc(n, sizeof *p->allowed);
    if (p->kv && p->hidden && p->text && p->known && p->allowed)
        return GRPO_OK;
    return mem_fail(err, "a pass over a group", text * sizeof *p->text);
}

static grpo_status run_prompt(engine *e, const model_weights *w, rollout_group *g, kv_sequence *kv, group_pass *p,
                              tape *t, grpo_error *err)
{
    known_sequence s = {.token = g->prompt,
                        .n = g->prompt_length,
                        .run = g->prompt_length,
                        .kv = kv,
                        .tape_row = t ? g->tape_row : NULL,
                        .score_from = g->prompt_length,
                        .last_hidden = p->hidden};
    if (!kv->blocks) {
        grpo_status status = kv_sequence_init(kv, g->prompt_length, err);
        if (status != GRPO_OK)
            return status;
    }
    return engine_run(e, w, &s, 1, 1, 0, t, err);
}

/* The answer's key/value sequence on top of the prompt's: forked, or refreshed when it was before. */
static grpo_status continue_prompt(engine *e, kv_sequence *kv, const kv_sequence *prompt, int positions,
                                   grpo_error *err)
{
    if (kv->blocks) {
        kv_sequence_refresh(&e->kv, kv, prompt);
        return GRPO_OK;
    }
    grpo_status status = kv_sequence_init(kv, positions, err);
    return status == GRPO_OK ? kv_sequence_fork(&e->kv, kv, prompt, err) : status;
}

static grpo_status run_group(engine *e, const model_weights *w, rollout_group *g, const policy_run_options *o,
                             group_pass *p, policy_tokens out, grpo_error *err)
{
    kv_sequence *prompt = o->private_kv ? &p->prompt_kv : &g->kv;
    grpo_status status = run_prompt(e, w, g, prompt, p, o->tape, err);
    size_t token = 0;
    int32_t *text = p->text;
    for (int i = 0; i < g->n_samples && status == GRPO_OK; i++) {
        rollout_sample *s = &g->samples[i];
        kv_sequence *kv = o->private_kv ? &p->kv[i] : &s->kv;
        int n = g->prompt_length + s->n;
        status = continue_prompt(e, kv, prompt, n, err);
        if (status == GRPO_OK)
            status = bitmaps_init(&p->allowed[i], s, e->m->config.vocab, err);
        memcpy(text, g->prompt, (size_t)g->prompt_length * sizeof *text);
        memcpy(text + g->prompt_length, s->token, (size_t)s->n * sizeof *text);
        p->known[i] = (known_sequence){.token = text,
                                       .n = n,
                                       .first = g->prompt_length,
                                       .run = n - 1,
                                       .kv = kv,
                                       .tape_row = o->tape ? s->tape_row : NULL,
                                       .score_from = out.logp ? g->prompt_length : n,
                                       .logprob = out.logp ? out.logp + token : NULL,
                                       .stats = out.stats ? out.stats + token : NULL,
                                       .allowed = p->allowed[i].row,
                                       .prefix_hidden = p->hidden};
        text += n;
        token += (size_t)s->n;
    }
    if (status == GRPO_OK)
        status = engine_run(e, w, p->known, g->n_samples, o->inv_temperature, o->want_entropy, o->tape, err);
    return status;
}

grpo_status policy_run(engine *e, const model_weights *w, rollout_group *groups, int n_groups,
                       const policy_run_options *options, policy_tokens out, grpo_error *err)
{
    grpo_status status = GRPO_OK;
    for (int i = 0; i < n_groups && status == GRPO_OK; i++) {
        group_pass p;
        status = group_pass_init(&p, e, &groups[i], err);
        if (status == GRPO_OK)
            status = run_group(e, w, &groups[i], options, &p, out, err);
        group_pass_deinit(e, &p, groups[i].n_samples);
        size_t n = policy_token_count(&groups[i], 1);
        if (out.logp)
            out.logp += n;
        if (out.stats)
            out.stats += n;
    }
    return status;
}

/* ---- values -------------------------------------------------------------------------------------------------- */

enum { VALUE_ROWS = 256 };

grpo_status policy_tape_values(engine *e, const model_weights *w, const tape *t, const rollout_group *groups,
                               int n_groups, float *value, grpo_error *err)
{
    if (!w->scalar.data)
        return grpo_fail(err, GRPO_ERR_INTERNAL, "values were asked of weights without a value head");
    int32_t row[VALUE_ROWS];
    int m = 0;
    for (int g = 0; g < n_groups; g++)
        for (int s = 0; s < groups[g].n_samples; s++)
            for (int i = 0; i < groups[g].samples[s].n; i++) {
                row[m++] = i == 0 ? groups[g].tape_row[groups[g].prompt_length - 1] : groups[g].samples[s].tape_row[i - 1];
                if (m == VALUE_ROWS) {
                    scalar_head_rows(e, w, t, row, m, value);
                    value += m;
                    m = 0;
                }
            }
    if (m > 0)
        scalar_head_rows(e, w, t, row, m, value);
    return GRPO_OK;
}

/* ---- backward ---------------------------------------------------------------------------------------------- */

/* A group as the backward pass wants it, with the arrays that it owns. */
typedef struct prepared_group {
    backward_group b;
    int32_t *token, *pos, *tape_row, *head_row, *target;
    float *coef, *entropy_coef;
    float *dvalue; /* [rows] of a value model */
    ops_softmax_row *stats;
    const uint32_t **allowed;
    bitmaps *bitmaps;
    int n_samples;
    ops_span *spans;
} prepared_group;

static void prepared_deinit(prepared_group *p)
{
    for (int i = 0; p->bitmaps && i < p->n_samples; i++)
        bitmaps_deinit(&p->bitmaps[i]);
    void *owned[] = {p->token, p->pos,   p->tape_row, p->head_row, p->target, p->coef, p->entropy_coef,
                     p->stats, p->spans, p->bitmaps,  p->allowed,  p->dvalue};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        mem_free(owned[i]);
    memset(p, 0, sizeof *p);
}

static int any(const double *x, size_t first, int n)
{
    for (int i = 0; x && i < n; i++)
        if (x[first + (size_t)i] != 0)
            return 1;
    return 0;
}

static int sample_counts(const rollout_sample *s, const policy_gradient *g, size_t first)
{
    return any(g->grad_value, first, s->n) || any(g->grad_logp, first, s->n) || any(g->grad_entropy, first, s->n);
}

static grpo_status prepared_alloc(prepared_group *p, const rollout_group *g, const policy_gradient *o, grpo_error *err)
{
    size_t tokens = policy_token_count(g, 1), rows = tokens + (size_t)g->prompt_length;
    size_t samples = (size_t)g->n_samples;
    int entropy = o->grad_entropy != NULL;
    p->n_samples = g->n_samples;
    p->token = mem_calloc(rows, sizeof *p->token);
    p->pos = mem_calloc(rows, sizeof *p->pos);
    p->tape_row = mem_calloc(rows, sizeof *p->tape_row);
    p->head_row = mem_calloc(tokens, sizeof *p->head_row);
    p->target = mem_calloc(tokens, sizeof *p->target);
    p->coef = mem_calloc(tokens, sizeof *p->coef);
    p->entropy_coef = entropy ? mem_calloc(tokens, sizeof *p->entropy_coef) : NULL;
    p->stats = mem_calloc(tokens, sizeof *p->stats);
    p->allowed = mem_calloc(tokens, sizeof *p->allowed);
    p->bitmaps = mem_calloc(samples, sizeof *p->bitmaps);
    p->spans = mem_calloc(samples + 1, sizeof *p->spans);
    p->dvalue = o->grad_value ? mem_calloc(rows, sizeof *p->dvalue) : NULL;
    if (p->token && p->pos && p->tape_row && p->head_row && p->target && p->coef && p->stats && p->allowed &&
        p->bitmaps && p->spans && (p->entropy_coef || !entropy) && (p->dvalue || !o->grad_value))
        return GRPO_OK;
    return mem_fail(err, "a group's backward pass", rows * 3 * sizeof *p->token);
}

/* Rows of one answer: tokens 0 .. n-2, and its n head rows (the first reads the prompt's last row). */
static void add_answer(prepared_group *p, const rollout_group *g, const rollout_sample *s, const policy_gradient *o,
                       size_t first, int prompt_last_row)
{
    int row = p->b.rows, head = p->b.head.m;
    for (int i = 0; p->dvalue && i < s->n; i++)
        p->dvalue[i == 0 ? prompt_last_row : row + i - 1] += (float)o->grad_value[first + (size_t)i];
    for (int i = 0; o->grad_logp && i < s->n; i++, head++) {
        p->head_row[head] = i == 0 ? prompt_last_row : row + i - 1;
        p->target[head] = s->token[i];
        p->coef[head] = (float)o->grad_logp[first + (size_t)i];
        if (p->entropy_coef)
            p->entropy_coef[head] = (float)o->grad_entropy[first + (size_t)i];
        p->stats[head] = o->stats[first + (size_t)i];
    }
    for (int i = 0; i < s->n - 1; i++) {
        p->token[row + i] = s->token[i];
        p->pos[row + i] = g->prompt_length + i;
        p->tape_row[row + i] = s->tape_row[i];
    }
    if (s->n > 1)
        p->spans[p->b.n_spans++] = (ops_span){s->kv.blocks, row, s->n - 1, g->prompt_length};
    p->b.rows += s->n - 1;
    p->b.head.m = head;
}

static void add_prompt(prepared_group *p, const rollout_group *g)
{
    int row = p->b.rows;
    for (int i = 0; i < g->prompt_length; i++) {
        p->token[row + i] = g->prompt[i];
        p->pos[row + i] = i;
        p->tape_row[row + i] = g->tape_row[i];
    }
    p->spans[p->b.n_spans++] = (ops_span){g->kv.blocks, row, g->prompt_length, 0};
    p->b.rows += g->prompt_length;
    p->b.prompt = g->prompt_length;
}

/* Rows that the group's included answers have, prompt excluded. */
static int answer_rows(const rollout_group *g, const policy_gradient *o, size_t first, int *included)
{
    int rows = 0;
    *included = 0;
    for (int i = 0; i < g->n_samples; first += (size_t)g->samples[i].n, i++)
        if (sample_counts(&g->samples[i], o, first)) {
            rows += g->samples[i].n - 1;
            ++*included;
        }
    return rows;
}

static grpo_status prepare(prepared_group *p, const engine *e, const rollout_group *g, const policy_gradient *o,
                           size_t first, grpo_error *err)
{
    memset(p, 0, sizeof *p);
    int included, rows = answer_rows(g, o, first, &included), truncated = 0;
    grpo_status status = prepared_alloc(p, g, o, err);
    for (int i = 0; i < g->n_samples && status == GRPO_OK; first += (size_t)g->samples[i].n, i++) {
        const rollout_sample *s = &g->samples[i];
        if (!sample_counts(s, o, first))
            continue;
        int head = p->b.head.m;
        status = bitmaps_init(&p->bitmaps[i], s, e->m->config.vocab, err);
        for (int t = 0; p->bitmaps[i].row && t < s->n; t++)
            p->allowed[head + t] = p->bitmaps[i].row[t];
        truncated |= p->bitmaps[i].row != NULL;
        add_answer(p, g, s, o, first, rows + g->prompt_length - 1);
    }
    if (status != GRPO_OK)
        return status;
    add_prompt(p, g);
    backward_group *b = &p->b;
    b->token = p->token;
    b->pos = p->pos;
    b->tape_row = p->tape_row;
    b->spans = p->spans;
    b->dvalue = p->dvalue;
    b->head.row = p->head_row;
    b->head.target = p->target;
    b->head.coef = p->coef;
    b->head.entropy_coef = p->entropy_coef;
    b->head.stats = p->stats;
    b->head.allowed = truncated ? p->allowed : NULL;
    b->head.inv_temperature = o->inv_temperature;
    return GRPO_OK;
}

/* Runs groups [from, to) forward onto an empty tape; their keys and values are the caller's to release. */
static grpo_status rerun(engine *e, const model_weights *w, tape *t, rollout_group *groups, int n,
                         const policy_gradient *g, grpo_error *err)
{
    tape_reset(t);
    policy_run_options o = {.inv_temperature = g->inv_temperature, .tape = t};
    return policy_run(e, w, groups, n, &o, (policy_tokens){NULL, NULL}, err);
}

void policy_release_kv(engine *e, rollout_group *groups, int n)
{
    for (int i = 0; i < n; i++) {
        for (int s = 0; s < groups[i].n_samples; s++)
            kv_sequence_deinit(&e->kv, &groups[i].samples[s].kv);
        kv_sequence_deinit(&e->kv, &groups[i].kv);
    }
}

static int samples_included(const rollout_group *groups, int n, const policy_gradient *g, size_t first)
{
    int sum = 0;
    for (int i = 0, included; i < n; first += policy_token_count(&groups[i], 1), i++) {
        answer_rows(&groups[i], g, first, &included);
        sum += included;
    }
    return sum;
}

/* One micro-batch: groups [0, n) whose tokens start at `first`. Where no answer counts, nothing runs. */
static grpo_status backward_micro_batch(engine *e, const model_weights *w, model_weights *grad, backward_workspace *ws,
                                        tape *t, rollout_group *groups, int n, const policy_gradient *g, size_t first,
                                        policy_backward_counts *counts, grpo_error *err)
{
    prepared_group *prepared = mem_calloc((size_t)n, sizeof *prepared);
    backward_group *list = mem_calloc((size_t)n, sizeof *list);
    grpo_status status = prepared && list ? GRPO_OK : mem_fail(err, "a micro-batch", 0);
    if (status == GRPO_OK && g->recompute && samples_included(groups, n, g, first) > 0)
        status = rerun(e, w, t, groups, n, g, err);
    int used = 0;
    for (int i = 0; i < n && status == GRPO_OK; i++) {
        int included;
        answer_rows(&groups[i], g, first, &included);
        counts->skipped_samples += groups[i].n_samples - included;
        if (included > 0) {
            status = prepare(&prepared[i], e, &groups[i], g, first, err);
            list[used++] = prepared[i].b;
            counts->rows += prepared[i].b.rows;
        }
        first += policy_token_count(&groups[i], 1);
    }
    if (status == GRPO_OK && used > 0)
        model_backward(e->m, w, grad, e->threads, ws, t, &e->kv, list, used);
    for (int i = 0; prepared && i < n; i++)
        prepared_deinit(&prepared[i]);
    if (g->recompute)
        policy_release_kv(e, groups, n);
    mem_free(prepared);
    mem_free(list);
    return status;
}

grpo_status policy_backward(engine *e, const model_weights *w, model_weights *grad, backward_workspace *ws, tape *t,
                            rollout_group *groups, int n_groups, const policy_gradient *g,
                            policy_backward_counts *counts, grpo_error *err)
{
    memset(counts, 0, sizeof *counts);
    grpo_status status = GRPO_OK;
    size_t first = 0;
    for (int i = 0, n; i < n_groups && status == GRPO_OK; i += n) {
        long rows = 0;
        size_t tokens = 0;
        for (n = 0; i + n < n_groups; n++) {
            size_t more_tokens = policy_token_count(&groups[i + n], 1);
            long more = groups[i + n].prompt_length + (long)more_tokens;
            if (n > 0 && rows + more > g->micro_batch_rows)
                break;
            rows += more;
            tokens += more_tokens;
        }
        if (rows > ws->max_rows)
            return grpo_fail(err, GRPO_ERR_INTERNAL, "a micro-batch of %ld rows where %d were planned", rows, ws->max_rows);
        status = backward_micro_batch(e, w, grad, ws, t, groups + i, n, g, first, counts, err);
        first += tokens;
        if (status == GRPO_OK && e->interrupt && *e->interrupt)
            status = grpo_fail(err, GRPO_ERR_INTERRUPTED, "interrupted");
    }
    return status;
}
