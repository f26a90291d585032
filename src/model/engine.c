/* Forward passes over known sequences. */
#include <string.h>

#include "model/engine.h"

enum { SCORE_ROWS = 512 };

static int head_scratch_rows(engine_plan plan)
{
    return plan.head_rows > SCORE_ROWS ? plan.head_rows : SCORE_ROWS;
}

static int padded(int vocab)
{
    return (vocab + OPS_PANEL - 1) / OPS_PANEL * OPS_PANEL;
}

size_t engine_bytes(const model *m, pool *threads, engine_plan plan)
{
    const model_config *c = &m->config;
    size_t head = c->head == MODEL_HEAD_LM
                      ? (size_t)plan.head_rows * (size_t)padded(c->vocab) * sizeof(float) +
                            ops_head_scratch(threads, c->hidden, c->vocab, head_scratch_rows(plan)) * sizeof(float)
                      : 0;
    size_t rows = (size_t)head_scratch_rows(plan);
    return workspace_bytes(m, plan.rows) + head + rows * (size_t)c->hidden * sizeof(float) +
           (size_t)plan.kv_blocks * kv_block_bytes(c);
}

grpo_status engine_init(engine *e, const model *m, pool *threads, engine_plan plan, grpo_error *err)
{
    const model_config *c = &m->config;
    memset(e, 0, sizeof *e);
    e->m = m;
    e->threads = threads;
    e->head_rows = plan.head_rows;
    e->ldz = padded(c->vocab);
    grpo_status status = workspace_init(&e->ws, m, plan.rows, err);
    if (status == GRPO_OK)
        status = kv_store_init(&e->kv, c, plan.kv_blocks, err);
    if (status != GRPO_OK) {
        engine_deinit(e);
        return status;
    }
    int rows = head_scratch_rows(plan);
    e->h = mem_calloc((size_t)rows * (size_t)c->hidden, sizeof *e->h);
    if (c->head == MODEL_HEAD_LM) {
        e->z = mem_calloc((size_t)plan.head_rows * (size_t)e->ldz, sizeof *e->z);
        e->head_scratch = mem_calloc(ops_head_scratch(threads, c->hidden, c->vocab, head_scratch_rows(plan)), sizeof(float));
    }
    if (!e->h || (c->head == MODEL_HEAD_LM && (!e->z || !e->head_scratch))) {
        engine_deinit(e);
        return mem_fail(err, "logits", (size_t)plan.head_rows * (size_t)e->ldz * sizeof *e->z);
    }
    return GRPO_OK;
}

void engine_deinit(engine *e)
{
    workspace_deinit(&e->ws);
    kv_store_deinit(&e->kv);
    mem_free(e->z);
    mem_free(e->h);
    mem_free(e->head_scratch);
    memset(e, 0, sizeof *e);
}

/* ---- one forward call: a packed piece of the list of sequences --------------------------------------- */

/* Arrays of one call, sized by the workspace. */
typedef struct packed {
    int32_t *token, *pos;
    ops_span *spans;
    int *owner; /* sequence of each span */
    int rows, n_spans;
} packed;

static grpo_status packed_init(packed *p, int max_rows, grpo_error *err)
{
    size_t n = (size_t)max_rows;
    memset(p, 0, sizeof *p);
    p->token = mem_calloc(n, sizeof *p->token);
    p->pos = mem_calloc(n, sizeof *p->pos);
    p->spans = mem_calloc(n, sizeof *p->spans);
    p->owner = mem_calloc(n, sizeof *p->owner);
    return p->token && p->pos && p->spans && p->owner ? GRPO_OK : mem_fail(err, "a forward pass", n * 16);
}

static void packed_deinit(packed *p)
{
    mem_free(p->token);
    mem_free(p->pos);
    mem_free(p->spans);
    mem_free(p->owner);
}

static void pack_span(packed *p, const known_sequence *s, int owner, int from, int rows)
{
    p->spans[p->n_spans] = (ops_span){s->kv->blocks, p->rows, rows, from};
    p->owner[p->n_spans++] = owner;
    for (int i = 0; i < rows; i++) {
        p->token[p->rows] = s->token[from + i];
        p->pos[p->rows++] = from + i;
    }
}

/* Log-probs asked of one span: rows of x whose next token counts. */
static void score_rows(engine *e, const model_weights *w, const float *x, int first_target, int count,
                       known_sequence *s, float inv_temperature, int want_entropy)
{
    const model_config *c = &e->m->config;
    ops_softmax_row stats[SCORE_ROWS];
    for (int done = 0, m; done < count; done += m) {
        m = count - done < SCORE_ROWS ? count - done : SCORE_ROWS;
        int at = first_target + done - s->score_from;
        model_final_norm(e->m, w, e->threads, e->h, x + (size_t)done * (size_t)c->hidden, m);
        ops_head_logprob(e->threads, w->head, e->h, c->hidden, inv_temperature, s->token + first_target + done,
                         s->allowed ? s->allowed + at : NULL, s->logprob + at, stats, want_entropy, m,
                         e->head_scratch);
        if (s->stats)
            memcpy(s->stats + at, stats, (size_t)m * sizeof *stats);
    }
}

static void score_span(engine *e, const model_weights *w, const float *x, const ops_span *span, known_sequence *s,
                       float inv_temperature, int want_entropy)
{
    const model_config *c = &e->m->config;
    /* row i of the span predicts token first_pos + i + 1 */
    int first_target = span->first_pos + 1, end_target = span->first_pos + span->rows + 1;
    if (first_target < s->score_from)
        first_target = s->score_from;
    if (end_target > s->n)
        end_target = s->n;
    if (first_target < end_target) {
        int row = span->first_row + (first_target - 1 - span->first_pos);
        score_rows(e, w, x + (size_t)row * (size_t)c->hidden, first_target, end_target - first_target, s,
                   inv_temperature, want_entropy);
    }
    if (s->last_hidden && span->first_pos + span->rows == s->run)
        memcpy(s->last_hidden, x + (size_t)(span->first_row + span->rows - 1) * (size_t)c->hidden,
               (size_t)c->hidden * sizeof *x);
}

static void run_packed(engine *e, const model_weights *w, packed *p, known_sequence *sequences, float inv_temperature,
                       int want_entropy, tape *t)
{
    float *x;
    int base = t ? t->rows : 0;
    model_rows rows = {p->rows, p->token, p->pos, p->spans, p->n_spans};
    model_forward(e->m, w, e->threads, &e->ws, &e->kv, &rows, t, &x);
    for (int i = 0; i < p->n_spans; i++) {
        const ops_span *span = &p->spans[i];
        known_sequence *s = &sequences[p->owner[i]];
        if (t && s->tape_row)
            for (int r = 0; r < span->rows; r++)
                s->tape_row[span->first_pos + r - s->first] = base + span->first_row + r;
        score_span(e, w, x, span, s, inv_temperature, want_entropy);
        s->kv->length = span->first_pos + span->rows;
    }
    p->rows = p->n_spans = 0;
}

grpo_status engine_run(engine *e, const model_weights *w, known_sequence *sequences, int count,
                       float inv_temperature, int want_entropy, tape *t, grpo_error *err)
{
    packed p;
    grpo_status status = packed_init(&p, e->ws.max_rows, err);
    for (int i = 0; i < count && status == GRPO_OK; i++) {
        known_sequence *s = &sequences[i];
        s->kv->length = s->first;
        if (s->run > e->m->max_context)
            status = grpo_fail(err, GRPO_ERR_FORMAT, "a sequence of %d tokens is longer than the context of %d", s->n,
                               e->m->max_context);
        if (status == GRPO_OK)
            status = kv_sequence_extend(&e->kv, s->kv, s->run - s->first, err);
        if (status == GRPO_OK && s->prefix_hidden && s->score_from == s->first && s->first < s->n)
            score_rows(e, w, s->prefix_hidden, s->first, 1, s, inv_temperature, want_entropy);
        for (int from = s->first; from < s->run && status == GRPO_OK;) {
            if (p.rows == e->ws.max_rows)
                run_packed(e, w, &p, sequences, inv_temperature, want_entropy, t);
            int room = e->ws.max_rows - p.rows, rows = s->run - from < room ? s->run - from : room;
            pack_span(&p, s, i, from, rows);
            from += rows;
        }
        if (e->interrupt && *e->interrupt)
            status = grpo_fail(err, GRPO_ERR_INTERRUPTED, "interrupted");
    }
    if (status == GRPO_OK && p.rows > 0)
        run_packed(e, w, &p, sequences, inv_temperature, want_entropy, t);
    packed_deinit(&p);
    return status;
}
