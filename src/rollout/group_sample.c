/* Group sampling with continuous batching. */
#include <stdatomic.h>
#include <string.h>

#include "rollout/group_sample.h"

const char *finish_reason_name(finish_reason reason)
{
    static const char *const names[] = {"none", "eos", "stop", "length"};
    return names[reason];
}

/* One answer being decoded. */
typedef struct slot {
    rollout_group *group;
    rollout_sample *sample;
    int index; /* of the sample in its group */
} slot;

typedef struct batch {
    engine *e;
    const model_weights *w;
    const rollout_options *o;
    rollout_counts *counts;
    slot *slots, *first; /* [max_slots] running; those whose first token is drawn */
    int active, max_slots;
    int32_t *token, *pos, *row;
    ops_span *spans;
    ops_softmax_row *stats;
    drawn_token *drawn;
    draw_scratch *scratch; /* [threads] */
    /* what waits: groups not yet read, and samples of the last group read that have no slot yet */
    rollout_group *groups;
    int n_groups, next_group;
    slot *waiting; /* [largest group] first token drawn, no slot yet */
    int waiting_first, waiting_count;
} batch;

/* ---- drawing one token for each of m rows of logits --------------------------------------------------- */

typedef struct draw_job {
    batch *b;
    const slot *slots;
    const int32_t *row; /* row of z for each slot */
    atomic_int failed;
    grpo_error error;
} draw_job;

static void draw_rows(void *context, int begin, int end, int thread)
{
    draw_job *job = context;
    batch *b = job->b;
    const rollout_options *o = b->o;
    for (int i = begin; i < end; i++) {
        const slot *s = &job->slots[i];
        const float *z = b->e->z + (size_t)job->row[i] * (size_t)b->e->ldz;
        int n = s->sample->n, hold_back = n < o->sampling.min_new_tokens;
        double u = sampling_uniform(o->sampling.seed, o->step, s->group->id,
                                    (uint32_t)(s->group->first_sample + s->index), (uint32_t)n);
        grpo_error error;
        if (sampling_draw(&b->drawn[i], &o->sampling, z, b->e->m->config.vocab, b->stats[job->row[i]], u, o->eos,
                          hold_back ? o->n_eos : 0, o->want_entropy, &b->scratch[thread], &error) != GRPO_OK &&
            atomic_exchange(&job->failed, 1) == 0)
            job->error = error;
    }
}

static grpo_status draw(batch *b, const slot *slots, const int32_t *row, int m, grpo_error *err)
{
    draw_job job = {.b = b, .slots = slots, .row = row};
    pool_run(b->e->threads, m, 1, draw_rows, &job);
    if (!atomic_load(&job.failed))
        return GRPO_OK;
    if (err)
        *err = job.error;
    return job.error.status;
}

static grpo_status grow_sample(const rollout_options *o, rollout_sample *s, grpo_error *err)
{
    if (s->n < s->capacity)
        return GRPO_OK;
    size_t capacity = s->capacity ? 2 * (size_t)s->capacity : 64;
    struct {
        void **field;
        size_t size;
    } parts[] = {
        {(void **)&s->token, sizeof *s->token},
        {(void **)&s->logprob, sizeof *s->logprob},
        {(void **)&s->stats, sizeof *s->stats},
        {(void **)&s->tape_row, sizeof *s->tape_row},
        {(void **)&s->allowed, sizeof *s->allowed},
    };
    size_t count = sampling_truncates(&o->sampling) ? 5 : 4;
    for (size_t i = 0; i < count; i++) {
        void *grown = mem_realloc(*parts[i].field, capacity, parts[i].size);
        if (!grown)
            return mem_fail(err, "an answer's tokens", capacity * parts[i].size);
        *parts[i].field = grown;
    }
    s->capacity = (int)capacity;
    return GRPO_OK;
}

static int is_eos(const rollout_options *o, int32_t token)
{
    for (int i = 0; i < o->n_eos; i++)
        if (o->eos[i] == token)
            return 1;
    return 0;
}

/* Appends a drawn token and decides whether the answer ends with it. */
static grpo_status append_token(batch *b, const slot *at, drawn_token *d, grpo_error *err)
{
    rollout_sample *s = at->sample;
    const rollout_options *o = b->o;
    grpo_status status = grow_sample(o, s, err);
    if (status != GRPO_OK)
        return status;
    s->token[s->n] = d->token;
    s->logprob[s->n] = d->logprob;
    s->stats[s->n] = d->stats;
    if (s->allowed) {
        s->allowed[s->n] = d->allowed;
        memset(&d->allowed, 0, sizeof d->allowed);
    } else {
        token_set_deinit(&d->allowed); /* a greedy answer that may not end yet: nothing asks for its set */
    }
    s->n++;
    b->counts->completion_tokens++;
    if (is_eos(o, d->token) && s->n > o->sampling.min_new_tokens)
        s->finish = FINISH_EOS;
    else if (o->stop && o->stop(o->context, s->token, s->n))
        s->finish = FINISH_STOP;
    else if (s->n >= o->sampling.max_new_tokens || at->group->prompt_length + s->n >= b->e->m->max_context)
        s->finish = FINISH_LENGTH;
    return GRPO_OK;
}

static void finish(batch *b, const slot *s)
{
    if (!b->o->keep_kv)
        kv_sequence_deinit(&b->e->kv, &s->sample->kv);
    if (b->o->finished)
        b->o->finished(b->o->context, s->group, s->index);
}

/* ---- reading prompts ------------------------------------------------------------------------------------- */

static grpo_status start_group(batch *b, rollout_group *g, float *hidden, grpo_error *err)
{
    engine *e = b->e;
    g->samples = mem_calloc((size_t)g->n_samples, sizeof *g->samples);
    g->tape_row = mem_calloc((size_t)g->prompt_length, sizeof *g->tape_row);
    if (!g->samples || !g->tape_row)
        return mem_fail(err, "a group", (size_t)g->n_samples * sizeof *g->samples);
    if (g->prompt_length < 1 || g->prompt_length >= e->m->max_context)
        return grpo_fail(err, GRPO_ERR_FORMAT,
                         "a prompt of %d tokens leaves no room in the context of %d; shorten it or drop it "
                         "(data.max_prompt_tokens)",
                         g->prompt_length, e->m->max_context);
    grpo_status status = kv_sequence_init(&g->kv, g->prompt_length, err);
    if (status != GRPO_OK)
        return status;
    known_sequence s = {.token = g->prompt,
                        .n = g->prompt_length,
                        .run = g->prompt_length,
                        .kv = &g->kv,
                        .tape_row = g->tape_row,
                        .score_from = g->prompt_length,
                        .last_hidden = hidden};
    b->counts->prompt_tokens += g->prompt_length;
    return engine_run(e, b->w, &s, 1, 1, 0, b->o->tape, err);
}

/* Every sample of a group starts from the same logits: its first tokens are drawn at once. */
static grpo_status draw_first_tokens(batch *b, rollout_group *g, const float *hidden, grpo_error *err)
{
    engine *e = b->e;
    const model_config *c = &e->m->config;
    model_final_norm(e->m, b->w, e->threads, e->h, hidden, 1);
    ops_head_logits(e->threads, b->w->head, e->h, c->hidden, sampling_inverse_temperature(&b->o->sampling), e->z,
                    e->ldz, b->stats, b->o->want_entropy, 1, e->head_scratch);
    for (int first = 0, m; first < g->n_samples; first += m) {
        m = g->n_samples - first < b->max_slots ? g->n_samples - first : b->max_slots;
        for (int i = 0; i < m; i++) {
            b->first[i] = (slot){g, &g->samples[first + i], first + i};
            b->row[i] = 0;
        }
        grpo_status status = draw(b, b->first, b->row, m, err);
        for (int i = 0; i < m && status == GRPO_OK; i++) {
            const slot *s = &b->first[i];
            status = append_token(b, s, &b->drawn[i], err);
            if (status == GRPO_OK && s->sample->finish != FINISH_NONE)
                finish(b, s);
            else if (status == GRPO_OK)
                b->waiting[b->waiting_count++] = *s;
        }
        if (status != GRPO_OK)
            return status;
    }
    return GRPO_OK;
}

static grpo_status read_next_group(batch *b, grpo_error *err)
{
    rollout_group *g = &b->groups[b->next_group++];
    b->waiting_first = b->waiting_count = 0;
    float *hidden = mem_calloc((size_t)b->e->m->config.hidden, sizeof *hidden);
    if (!hidden)
        return mem_fail(err, "a prompt", 0);
    grpo_status status = start_group(b, g, hidden, err);
    if (status == GRPO_OK)
        status = draw_first_tokens(b, g, hidden, err);
    mem_free(hidden);
    return status;
}

static grpo_status place_in_slot(batch *b, slot s, grpo_error *err)
{
    int longest = s.group->prompt_length + b->o->sampling.max_new_tokens;
    if (longest > b->e->m->max_context)
        longest = b->e->m->max_context;
    grpo_status status = kv_sequence_init(&s.sample->kv, longest, err);
    if (status == GRPO_OK)
        status = kv_sequence_fork(&b->e->kv, &s.sample->kv, &s.group->kv, err);
    if (status == GRPO_OK)
        b->slots[b->active++] = s;
    return status;
}

/* Fills empty slots from the waiting samples, reading further prompts as needed. */
static grpo_status refill(batch *b, grpo_error *err)
{
    grpo_status status = GRPO_OK;
    while (status == GRPO_OK && b->active < b->max_slots) {
        if (b->waiting_first < b->waiting_count) {
            slot next = b->waiting[b->waiting_first++];
            status = place_in_slot(b, next, err);
            if (b->waiting_first == b->waiting_count && !b->o->keep_kv)
                kv_sequence_deinit(&b->e->kv, &next.group->kv); /* the forks hold what they share */
        } else if (b->next_group < b->n_groups) {
            status = read_next_group(b, err);
        } else {
            break;
        }
    }
    return status;
}

/* ---- decoding ------------------------------------------------------------------------------------------------ */

static grpo_status forward_one_token(batch *b, grpo_error *err)
{
    engine *e = b->e;
    const model_config *c = &e->m->config;
    tape *t = b->o->tape;
    for (int i = 0; i < b->active; i++) {
        rollout_sample *s = b->slots[i].sample;
        grpo_status status = kv_sequence_extend(&e->kv, &s->kv, 1, err);
        if (status != GRPO_OK)
            return status;
        b->token[i] = s->token[s->n - 1];
        b->pos[i] = s->kv.length;
        b->spans[i] = (ops_span){s->kv.blocks, i, 1, s->kv.length};
        if (t)
            s->tape_row[s->n - 1] = t->rows + i;
    }
    float *x;
    model_rows rows = {b->active, b->token, b->pos, b->spans, b->active};
    model_forward(e->m, b->w, e->threads, &e->ws, &e->kv, &rows, t, &x);
    for (int i = 0; i < b->active; i++)
        b->slots[i].sample->kv.length++;
    model_final_norm(e->m, b->w, e->threads, e->h, x, b->active);
    ops_head_logits(e->threads, b->w->head, e->h, c->hidden, sampling_inverse_temperature(&b->o->sampling), e->z,
                    e->ldz, b->stats, b->o->want_entropy, b->active, e->head_scratch);
    return GRPO_OK;
}

static grpo_status decode_step(batch *b, grpo_error *err)
{
    grpo_status status = forward_one_token(b, err);
    if (status != GRPO_OK)
        return status;
    for (int i = 0; i < b->active; i++)
        b->row[i] = i;
    status = draw(b, b->slots, b->row, b->active, err);
    int kept = 0;
    for (int i = 0; i < b->active && status == GRPO_OK; i++) {
        status = append_token(b, &b->slots[i], &b->drawn[i], err);
        if (status == GRPO_OK && b->slots[i].sample->finish != FINISH_NONE)
            finish(b, &b->slots[i]);
        else
            b->slots[kept++] = b->slots[i];
    }
    b->active = kept;
    b->counts->decode_steps++;
    return status;
}

static grpo_status batch_init(batch *b, grpo_error *err)
{
    engine *e = b->e;
    int threads = pool_threads(e->threads), most = 1;
    for (int i = 0; i < b->n_groups; i++)
        if (b->groups[i].n_samples > most)
            most = b->groups[i].n_samples;
    b->max_slots = b->o->slots > 0 && b->o->slots < e->head_rows ? b->o->slots : e->head_rows;
    if (b->max_slots > e->ws.max_rows)
        b->max_slots = e->ws.max_rows;
    size_t n = (size_t)b->max_slots;
    b->slots = mem_calloc(n, sizeof *b->slots);
    b->first = mem_calloc(n, sizeof *b->first);
    b->row = mem_calloc(n, sizeof *b->row);
    b->token = mem_calloc(n, sizeof *b->token);
    b->pos = mem_calloc(n, sizeof *b->pos);
    b->spans = mem_calloc(n, sizeof *b->spans);
    b->stats = mem_calloc(n, sizeof *b->stats);
    b->drawn = mem_calloc(n, sizeof *b->drawn);
    b->waiting = mem_calloc((size_t)most, sizeof *b->waiting);
    b->scratch = mem_calloc((size_t)threads, sizeof *b->scratch);
    if (!b->slots || !b->first || !b->row || !b->token || !b->pos || !b->spans || !b->stats || !b->drawn || !b->waiting ||
        !b->scratch)
        return mem_fail(err, "the decode batch", n * sizeof *b->slots);
    grpo_status status = GRPO_OK;
    for (int i = 0; i < threads && status == GRPO_OK; i++)
        status = draw_scratch_init(&b->scratch[i], e->m->config.vocab, err);
    return status;
}

static void batch_deinit(batch *b)
{
    for (int i = 0; b->scratch && i < pool_threads(b->e->threads); i++)
        draw_scratch_deinit(&b->scratch[i]);
    for (int i = 0; b->drawn && i < b->max_slots; i++)
        token_set_deinit(&b->drawn[i].allowed);
    mem_free(b->slots);
    mem_free(b->first);
    mem_free(b->row);
    mem_free(b->token);
    mem_free(b->pos);
    mem_free(b->spans);
    mem_free(b->stats);
    mem_free(b->drawn);
    mem_free(b->waiting);
    mem_free(b->scratch);
}

grpo_status group_sample(engine *e, const model_weights *w, rollout_group *groups, int n_groups,
                         const rollout_options *options, rollout_counts *counts, grpo_error *err)
{
    memset(counts, 0, sizeof *counts);
    batch b = {.e = e, .w = w, .o = options, .counts = counts, .groups = groups, .n_groups = n_groups};
    grpo_status status = batch_init(&b, err);
    while (status == GRPO_OK) {
        status = refill(&b, err);
        if (status != GRPO_OK || b.active == 0)
            break;
        status = decode_step(&b, err);
        if (options->progress)
            options->progress(options->context, counts->completion_tokens);
        if (status == GRPO_OK && e->interrupt && *e->interrupt)
            status = grpo_fail(err, GRPO_ERR_INTERRUPTED, "interrupted");
    }
    batch_deinit(&b);
    return status;
}

void rollout_release(engine *e, rollout_group *groups, int n_groups)
{
    for (int i = 0; i < n_groups; i++) {
        rollout_group *g = &groups[i];
        for (int j = 0; g->samples && j < g->n_samples; j++) {
            rollout_sample *s = &g->samples[j];
            for (int k = 0; s->allowed && k < s->n; k++)
                token_set_deinit(&s->allowed[k]);
            mem_free(s->token);
            mem_free(s->logprob);
            mem_free(s->stats);
            mem_free(s->allowed);
            mem_free(s->tape_row);
            kv_sequence_deinit(&e->kv, &s->kv);
        }
        mem_free(g->samples);
        mem_free(g->tape_row);
        kv_sequence_deinit(&e->kv, &g->kv);
        g->samples = NULL;
        g->tape_row = NULL;
    }
}
