/* Benchmarks. */
#include <math.h>
#include <string.h>

#include "base/machine.h"
#include "train/benchmark.h"
#include "train/optimizer.h"
#include "train/policy_pass.h"

enum { GEMM_ROWS = 1024, READ_CHUNKS = 256, CEILING_TRIES = 4, DECODE_PROMPT = 64, DECODE_STEPS = 24, DECODE_TRIES = 3 };

const char *const benchmark_phase[BENCHMARK_PHASES] = {"rollout", "backward", "optimizer"};

static void say(const benchmark_options *o, const char *what)
{
    if (o->say)
        o->say(o->context, what);
}

/* Token ids without meaning; answers are cut by length, so the work does not depend on them. */
static void fill_tokens(int32_t *token, int n, int vocab, int salt)
{
    for (int i = 0; i < n; i++)
        token[i] = (int32_t)(((int64_t)i * 7919 + salt * 104729 + 13) % vocab);
}

/* Bytes of a stored parameter. */
static double bytes_each(const model *m)
{
    return m->type == OPS_F32 ? 4 : 2;
}

/* ---- arithmetic of the limit ------------------------------------------------------------------------------------- */

static int mixtures(const model_config *c)
{
    int n = 0;
    for (int i = 0; i < c->layers; i++)
        n += c->layer[i].moe;
    return n;
}

/* Multiply-adds per row of all layers' products, and of the head. */
static double layer_flops(const model_config *c)
{
    double width = (double)c->heads * c->head_dim, kv = (double)c->kv_heads * c->head_dim, h = c->hidden;
    double mixture = h * c->experts + 3 * h * c->experts_used * c->expert_ffn;
    return 2.0 * (c->layers * (2 * h * width + 2 * h * kv) + (c->layers - mixtures(c)) * 3 * h * c->ffn +
                  mixtures(c) * mixture);
}

/* Parameters that `rows` rows read: of a mixture the experts that uniform choices would hit; of an embedding that is
 * not the head too the rows of the tokens alone, which do not count. */
static double parameters_read(const model *m, double rows)
{
    const model_config *c = &m->config;
    double read = (double)m->layout.parameters;
    if (!c->tied_embeddings)
        read -= (double)c->vocab * c->hidden;
    if (c->experts == 0)
        return read;
    double missed = c->experts * pow(1 - (double)c->experts_used / c->experts, rows);
    return read - mixtures(c) * missed * 3.0 * c->hidden * c->expert_ffn;
}

static double head_flops(const model_config *c)
{
    return 2.0 * c->hidden * c->vocab;
}

/* Attention of one query over `positions`: scores and values. */
static double attention_flops(const model_config *c, double positions)
{
    return 4.0 * c->layers * c->heads * c->head_dim * positions;
}

static double kv_bytes(const model_config *c, double positions)
{
    return 2.0 * c->layers * c->kv_heads * c->head_dim * positions * sizeof(float);
}

/* One decoding step of the answers to `prompts` prompts, each `own` positions long; a prompt's keys and values are
 * read once for all its answers. */
typedef struct decode_work {
    int prompts, answers;
    double prompt_length, own;
} decode_work;

static double decode_limit(const model *m, double gemm_gflops, double memory_gbps, decode_work w)
{
    const model_config *c = &m->config;
    double flops = w.answers * (layer_flops(c) + head_flops(c) + attention_flops(c, w.prompt_length + w.own));
    double bytes = parameters_read(m, w.answers) * bytes_each(m) +
                   kv_bytes(c, w.prompts * w.prompt_length + w.answers * w.own);
    return fmax(flops / (gemm_gflops * 1e9), bytes / (memory_gbps * 1e9));
}

/* Reading the prompts, then a decoding step for every token but the first, which the prompt's last row gives. */
static double rollout_limit(const model *m, const benchmark_result *r, const benchmark_options *o)
{
    const model_config *c = &m->config;
    double rows = (double)o->prompts * o->prompt_length;
    double flops = rows * (layer_flops(c) + attention_flops(c, (o->prompt_length + 1) / 2.0)) + o->prompts * head_flops(c);
    double seconds = flops / (r->gemm_gflops * 1e9);
    for (int t = 1; t < o->completion_length; t++)
        seconds += decode_limit(m, r->gemm_gflops, r->memory_gbps,
                                (decode_work){o->prompts, o->prompts * o->group_size, o->prompt_length, t});
    return seconds;
}

/* Two products of the layers for each row that ran; five of attention where forward has two; three of the head for
 * each token: its logits once more, and two gradients. */
static double backward_limit(const model *m, const benchmark_result *r, const benchmark_options *o)
{
    const model_config *c = &m->config;
    double answers = (double)o->prompts * o->group_size, rows = answers * (o->completion_length - 1);
    double prompt_rows = (double)o->prompts * o->prompt_length;
    double attention = rows * attention_flops(c, o->prompt_length + o->completion_length / 2.0) +
                       prompt_rows * attention_flops(c, (o->prompt_length + 1) / 2.0);
    double flops = 2 * (prompt_rows + rows) * layer_flops(c) + 2.5 * attention +
                   3 * answers * o->completion_length * head_flops(c);
    return flops / (r->gemm_gflops * 1e9);
}

/* Read: weights, gradient, two moments; written: weights, two moments, rounded weights. */
static double optimizer_limit(const model *m, const benchmark_result *r)
{
    double bytes = (double)m->layout.parameters * (7 * sizeof(float) + (m->type != OPS_F32 ? 2 : 0));
    return bytes / (r->memory_gbps * 1e9);
}

/* ---- ceilings ---------------------------------------------------------------------------------------------------------- */

static void products(pool *threads, const ops_matrix *list, size_t count, const float *x, float *y, int rows)
{
    for (size_t k = 0; k < count; k++) {
        ops_product product = {.w = list[k], .y = y, .ldy = list[k].n};
        ops_gemm(threads, &product, 1, x, list[k].k, rows);
    }
}

/* Rows are spread evenly over a mixture's experts. */
static void all_products(const model_config *c, const model_weights *w, pool *threads, const float *x, float *y, int rows)
{
    for (int i = 0; i < c->layers; i++) {
        const model_layer *l = &w->layer[i];
        products(threads, (ops_matrix[]){l->q, l->k, l->v, l->o}, 4, x, y, rows);
        if (!l->expert) {
            products(threads, (ops_matrix[]){l->gate, l->up, l->down}, 3, x, y, rows);
            continue;
        }
        products(threads, &l->router, 1, x, y, rows);
        int64_t pairs = (int64_t)rows * c->experts_used;
        for (int e = 0; e < c->experts; e++) {
            const model_expert *expert = &l->expert[e];
            int share = (int)(pairs * (e + 1) / c->experts - pairs * e / c->experts);
            products(threads, (ops_matrix[]){expert->gate, expert->up, expert->down}, 3, x, y, share);
        }
    }
}

typedef struct reading {
    const float *data;
    size_t each;
    volatile float sum[64 * 16];
} reading;

static void read_chunk(void *context, int begin, int end, int thread)
{
    reading *r = context;
    const float *x = r->data + (size_t)begin * r->each;
    size_t n = (size_t)(end - begin) * r->each;
    float sum[64] = {0};
    for (size_t i = 0; i + 64 <= n; i += 64)
        for (int k = 0; k < 64; k++)
            sum[k] += x[i + (size_t)k];
    float total = 0; /* of every lane: a compiler leaves out reads that no result needs */
    for (int k = 0; k < 64; k++)
        total += sum[k];
    r->sum[(thread % 64) * 16] += total;
}

/* What the ceilings are taken from: the model's own weights, layer by layer. */
typedef struct ceiling_work {
    const model_config *c;
    pool *threads;
    model_weights w;
    float *x, *y; /* [GEMM_ROWS][widest] */
    reading r;
} ceiling_work;

static void ceiling_deinit(ceiling_work *k)
{
    model_weights_deinit(&k->w);
    mem_free(k->x);
    mem_free(k->y);
}

static grpo_status ceiling_init(ceiling_work *k, const model *m, pool *threads, grpo_error *err)
{
    const model_config *c = &m->config;
    const int width[] = {c->hidden, c->ffn, c->expert_ffn, c->experts, c->heads * c->head_dim};
    size_t n = 0;
    for (size_t i = 0; i < sizeof width / sizeof *width; i++)
        n = (size_t)width[i] > n ? (size_t)width[i] : n;
    n *= GEMM_ROWS;
    *k = (ceiling_work){.c = c, .threads = threads, .x = mem_calloc(n, sizeof(float)), .y = mem_calloc(n, sizeof(float)),
                        .r = {.data = m->params, .each = m->layout.total / READ_CHUNKS}};
    for (size_t i = 0; k->x && i < n; i++)
        k->x[i] = (float)(i % 97) / 97 - 0.5f;
    grpo_status status = k->x && k->y ? model_weights_view(&k->w, c, m->params, err)
                                      : mem_fail(err, "the benchmark", 2 * n * sizeof(float));
    if (status != GRPO_OK)
        ceiling_deinit(k);
    return status;
}

/* Of f32, whatever the model's precision: the arithmetic is that of f32. */
static double ceiling_gflops(ceiling_work *k)
{
    double t = machine_seconds();
    all_products(k->c, &k->w, k->threads, k->x, k->y, GEMM_ROWS);
    return GEMM_ROWS * layer_flops(k->c) / (machine_seconds() - t) / 1e9;
}

/* The faster of a plain sum over the weights and of the products of one row, which read each weight once too. */
static double ceiling_gbps(ceiling_work *k)
{
    double t = machine_seconds();
    pool_run(k->threads, READ_CHUNKS, 1, read_chunk, &k->r);
    double plain = (double)(k->r.each * READ_CHUNKS) / (machine_seconds() - t);
    t = machine_seconds();
    all_products(k->c, &k->w, k->threads, k->x, k->y, 1);
    return fmax(plain, layer_flops(k->c) / 2 / (machine_seconds() - t)) * sizeof(float) / 1e9;
}

/* Raises the ceilings in `out`, so that they can be measured more than once. */
static grpo_status measure_ceilings(benchmark_result *out, const model *m, pool *threads, grpo_error *err)
{
    ceiling_work k;
    grpo_status status = ceiling_init(&k, m, threads, err);
    if (status != GRPO_OK)
        return status;
    for (int i = 0; i < CEILING_TRIES; i++) {
        out->gemm_gflops = fmax(out->gemm_gflops, ceiling_gflops(&k));
        out->memory_gbps = fmax(out->memory_gbps, ceiling_gbps(&k));
    }
    ceiling_deinit(&k);
    return GRPO_OK;
}

/* ---- prefill and decoding ------------------------------------------------------------------------------------------------- */

static grpo_status measure_prefill(benchmark_result *out, engine *e, grpo_error *err)
{
    int32_t token[GEMM_ROWS];
    int n = e->m->max_context < GEMM_ROWS ? e->m->max_context : GEMM_ROWS;
    fill_tokens(token, n, e->m->config.vocab, 1);
    double best = INFINITY;
    grpo_status status = GRPO_OK;
    for (int i = 0; i < 3 && status == GRPO_OK; i++) {
        kv_sequence kv;
        status = kv_sequence_init(&kv, n, err);
        known_sequence s = {.token = token, .n = n, .run = n, .kv = &kv, .score_from = n};
        double t = machine_seconds();
        if (status == GRPO_OK)
            status = engine_run(e, &e->m->weights, &s, 1, 1, 0, NULL, err);
        best = fmin(best, machine_seconds() - t);
        kv_sequence_deinit(&e->kv, &kv);
    }
    const model_config *c = &e->m->config;
    out->prefill_tps = n / best;
    out->prefill_share = n * (layer_flops(c) + attention_flops(c, n / 2.0)) / (out->gemm_gflops * 1e9) / best;
    return status;
}

/* Bandwidth is measured beside each try: a virtual machine's cores are moved about, nearer to each other or to memory. */
static grpo_status measure_decode(benchmark_result *out, engine *e, ceiling_work *k, int which, grpo_error *err)
{
    int batch = out->batch[which];
    int32_t token[DECODE_PROMPT];
    fill_tokens(token, DECODE_PROMPT, e->m->config.vocab, 2);
    rollout_group group = {.prompt = token, .prompt_length = DECODE_PROMPT, .n_samples = batch};
    double seconds[2] = {INFINITY, INFINITY}, gbps = 0;
    grpo_status status = GRPO_OK;
    for (int i = 0; i < 2 * DECODE_TRIES && status == GRPO_OK; i++) { /* the difference leaves reading the prompt out */
        int length = i % 2 == 0 ? 2 : 2 + DECODE_STEPS;
        rollout_options o = {
            .sampling = {.temperature = 1, .top_p = 1, .max_new_tokens = length, .seed = 1}, .slots = batch};
        rollout_counts counts;
        double before = ceiling_gbps(k), t = machine_seconds();
        status = group_sample(e, &e->m->weights, &group, 1, &o, &counts, err);
        t = machine_seconds() - t;
        double beside = fmax(before, ceiling_gbps(k));
        rollout_release(e, &group, 1);
        if (t >= seconds[i % 2])
            continue;
        seconds[i % 2] = t;
        gbps = i % 2 ? beside : gbps;
    }
    if (status == GRPO_OK) {
        double each = (seconds[1] - seconds[0]) / DECODE_STEPS;
        out->memory_gbps = fmax(out->memory_gbps, gbps);
        out->decode_tps[which] = batch / each;
        decode_work work = {1, batch, DECODE_PROMPT, DECODE_STEPS / 2.0};
        out->decode_share[which] = decode_limit(e->m, out->gemm_gflops, gbps, work) / each;
    }
    return status;
}

static grpo_status measure_inference(benchmark_result *out, const model *m, pool *threads, const benchmark_options *o,
                                     grpo_error *err)
{
    engine e;
    ceiling_work k;
    int most = out->batch[BENCHMARK_BATCHES - 1];
    int blocks = kv_blocks_for(GEMM_ROWS) + (most + 1) * (kv_blocks_for(DECODE_PROMPT + DECODE_STEPS + 2) + 1);
    grpo_status status = engine_init(&e, m, threads, (engine_plan){GEMM_ROWS, most, blocks}, err);
    if (status != GRPO_OK)
        return status;
    say(o, "prefill");
    status = measure_prefill(out, &e, err);
    if (status == GRPO_OK)
        status = ceiling_init(&k, m, threads, err);
    if (status == GRPO_OK) {
        for (int i = 0; i < BENCHMARK_BATCHES && status == GRPO_OK; i++) {
            say(o, "decoding");
            status = measure_decode(out, &e, &k, i, err);
        }
        ceiling_deinit(&k);
    }
    engine_deinit(&e);
    return status;
}

/* ---- the training step ------------------------------------------------------------------------------------------------------ */

typedef struct step_memory {
    engine e;
    tape t;
    backward_workspace backward;
    mem_arena grad_arena;
    model_weights grad;
    optimizer optimizer;
    rollout_group *groups;
    int32_t *prompts;
    double *grad_logp;
    ops_softmax_row *stats;
} step_memory;

static void step_memory_deinit(step_memory *s, int prompts)
{
    if (s->groups)
        rollout_release(&s->e, s->groups, prompts);
    mem_free(s->groups);
    mem_free(s->prompts);
    mem_free(s->grad_logp);
    mem_free(s->stats);
    model_weights_deinit(&s->grad);
    mem_arena_deinit(&s->grad_arena);
    optimizer_deinit(&s->optimizer);
    backward_workspace_deinit(&s->backward);
    tape_deinit(&s->t);
    engine_deinit(&s->e);
}

static grpo_status step_memory_init(step_memory *s, model *m, pool *threads, const memory_plan *p,
                                    const benchmark_options *o, grpo_error *err)
{
    memset(s, 0, sizeof *s);
    size_t tokens = (size_t)(o->prompts * o->group_size * o->completion_length), total = m->layout.total;
    grpo_status status = engine_init(&s->e, m, threads, (engine_plan){p->forward_rows, p->slots, p->kv_blocks}, err);
    if (status == GRPO_OK)
        status = tape_init(&s->t, &m->config, p->tape_rows, p->kept_layers, err);
    if (status == GRPO_OK)
        status = backward_workspace_init(&s->backward, m, threads, p->backward_rows, p->batch_rows, p->max_positions, err);
    if (status == GRPO_OK)
        status = mem_arena_init(&s->grad_arena, total * sizeof(float), "gradients", err);
    if (status == GRPO_OK)
        status = model_weights_view(&s->grad, &m->config, (float *)s->grad_arena.base, err);
    if (status == GRPO_OK)
        status = optimizer_init(&s->optimizer, total, (optimizer_options){0.9, 0.999, 1e-8, 0, 1}, err);
    s->groups = mem_calloc((size_t)o->prompts, sizeof *s->groups);
    s->prompts = mem_calloc((size_t)(o->prompts * o->prompt_length), sizeof *s->prompts);
    s->grad_logp = mem_calloc(tokens, sizeof *s->grad_logp);
    s->stats = mem_calloc(tokens, sizeof *s->stats);
    if (status == GRPO_OK && (!s->groups || !s->prompts || !s->grad_logp || !s->stats))
        status = mem_fail(err, "the benchmark", tokens * sizeof *s->stats);
    if (status == GRPO_OK)
        fill_tokens(s->prompts, o->prompts * o->prompt_length, m->config.vocab, 3);
    return status;
}

/* On-policy, as the trainer does it: the loss is -mean of A over sequences with A = +-1. */
static grpo_status one_step(step_memory *s, model *m, const memory_plan *p, const benchmark_options *o, int step,
                            double seconds[BENCHMARK_PHASES], grpo_error *err)
{
    pool *threads = s->e.threads;
    int recompute = p->policy == ACTIVATIONS_RECOMPUTE;
    for (int g = 0; g < o->prompts; g++)
        s->groups[g] = (rollout_group){.prompt = s->prompts + g * o->prompt_length,
                                       .prompt_length = o->prompt_length,
                                       .id = (uint64_t)g,
                                       .n_samples = o->group_size};
    rollout_options how = {
        .sampling = {.temperature = 1, .top_p = 1, .max_new_tokens = o->completion_length, .seed = 7},
        .step = (uint64_t)step,
        .slots = p->slots,
        .tape = recompute ? NULL : &s->t,
        .keep_kv = !recompute,
    };
    rollout_counts counts;
    policy_backward_counts backward;
    double norm, began = machine_seconds();
    tape_reset(&s->t);
    grpo_status status = group_sample(&s->e, &m->weights, s->groups, o->prompts, &how, &counts, err);
    if (status != GRPO_OK)
        return status;
    seconds[0] = machine_seconds() - began;
    size_t at = 0;
    int answers = o->prompts * o->group_size, index = 0;
    for (int g = 0; g < o->prompts; g++)
        for (int i = 0; i < o->group_size; i++, index++)
            for (int t = 0; t < o->completion_length; t++, at++) {
                s->stats[at] = s->groups[g].samples[i].stats[t];
                s->grad_logp[at] = (index % 2 ? 1.0 : -1.0) / answers;
            }
    policy_gradient g = {.grad_logp = s->grad_logp,
                         .stats = s->stats,
                         .inv_temperature = 1,
                         .micro_batch_rows = p->micro_batch_rows,
                         .recompute = recompute};
    began = machine_seconds();
    status = policy_backward(&s->e, &m->weights, &s->grad, &s->backward, &s->t, s->groups, o->prompts, &g, &backward, err);
    if (status == GRPO_OK)
        model_backward_finish(m, &s->grad, threads, &s->backward);
    seconds[1] = machine_seconds() - began;
    began = machine_seconds();
    if (status == GRPO_OK)
        status = optimizer_step(&s->optimizer, threads, m->params, (float *)s->grad_arena.base, 1e-6, &norm, err);
    if (status == GRPO_OK)
        model_refresh(m, threads);
    seconds[2] = machine_seconds() - began;
    rollout_release(&s->e, s->groups, o->prompts);
    return status;
}

static grpo_status measure_step(benchmark_result *out, model *m, pool *threads, const benchmark_options *o,
                                grpo_error *err)
{
    size_t budget = o->memory_budget ? o->memory_budget
                                     : machine_memory_available() + model_bytes(m);
    plan_request request = {.prompts = o->prompts,
                            .group_size = o->group_size,
                            .longest_prompt = o->prompt_length,
                            .max_new_tokens = o->completion_length,
                            .prompt_tokens = (long)o->prompts * o->prompt_length,
                            .policy = o->policy,
                            .program = memory_plan_program(m, NULL),
                            .budget = budget};
    grpo_status status = memory_plan_make(&out->plan, m, threads, &request, err);
    if (status != GRPO_OK)
        return status;
    out->planned_bytes = out->plan.total;
    step_memory s;
    status = step_memory_init(&s, m, threads, &out->plan, o, err);
    out->step_seconds = INFINITY;
    for (int i = 0; i < o->steps + 1 && status == GRPO_OK; i++) { /* the first one touches the memory */
        double seconds[BENCHMARK_PHASES];
        say(o, "training step");
        status = one_step(&s, m, &out->plan, o, i, seconds, err);
        double all = seconds[0] + seconds[1] + seconds[2];
        if (status == GRPO_OK && i > 0 && all < out->step_seconds) {
            out->step_seconds = all;
            memcpy(out->phase_seconds, seconds, sizeof seconds);
        }
    }
    step_memory_deinit(&s, o->prompts);
    return status;
}

static void set_step_limit(benchmark_result *out, const model *m, const benchmark_options *o)
{
    out->phase_limit_seconds[0] = rollout_limit(m, out, o);
    out->phase_limit_seconds[1] = backward_limit(m, out, o);
    out->phase_limit_seconds[2] = optimizer_limit(m, out);
    for (int i = 0; i < BENCHMARK_PHASES; i++)
        out->step_limit_seconds += out->phase_limit_seconds[i];
}

grpo_status benchmark_run(benchmark_result *out, model *m, pool *threads, const benchmark_options *o, grpo_error *err)
{
    memset(out, 0, sizeof *out);
    machine_reset_peak_rss();
    static const int batches[BENCHMARK_BATCHES] = {1, 8, 32, 64};
    memcpy(out->batch, batches, sizeof batches);
    say(o, "products and memory");
    grpo_status status = measure_ceilings(out, m, threads, err);
    if (status == GRPO_OK && o->steps > 0) {
        status = measure_step(out, m, threads, o, err); /* before decoding: peak memory is then the step's */
        out->peak_bytes = machine_peak_rss();
        say(o, "products and memory");
        if (status == GRPO_OK)
            status = measure_ceilings(out, m, threads, err); /* again: other work on the machine comes and goes */
        if (status == GRPO_OK)
            set_step_limit(out, m, o);
    }
    if (status == GRPO_OK)
        status = measure_inference(out, m, threads, o, err);
    return status;
}
