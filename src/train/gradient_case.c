/* Gradient cases. */
#include <string.h>

#include "grpo/algo.h"
#include "train/case_reader.h"
#include "train/gradient_case.h"

const char *const gradient_case_losses[] = {"seq",         "seq_length_normalised", "tok_seq_mean",   "tok_token_mean",
                                            "tok_seq_sum", "tok_fixed_length",      "tok_seq_mean_kl", NULL};

/* ---- reading ------------------------------------------------------------------------------------------ */

/* rows: [G][n_b] numbers, laid out by c->offset. */
static grpo_status read_rows(const case_reader *r, const gradient_case *c, double *out, const json_t *rows, const char *field)
{
    if (json_array_size(rows) != (size_t)c->group.n_samples)
        return case_complain(r, field, "one row a completion is needed");
    for (size_t b = 0; b < json_array_size(rows); b++) {
        grpo_status status = case_read_numbers(r, out + c->offset[b], json_array_get(rows, b), c->offset[b + 1] - c->offset[b],
                                               field, "a row has another length than its completion");
        if (status != GRPO_OK)
            return status;
    }
    return GRPO_OK;
}

static grpo_status read_completions(const case_reader *r, gradient_case *c, const json_t *list)
{
    size_t g = json_array_size(list);
    if (g == 0 || g > 4096)
        return case_complain(r, "completions", "a list of completions is needed");
    rollout_group *group = &c->group;
    group->samples = mem_calloc(g, sizeof *group->samples);
    c->offset = mem_calloc(g + 1, sizeof *c->offset);
    if (!group->samples || !c->offset)
        return mem_fail(r->err, "the case", g * sizeof *group->samples);
    group->n_samples = (int)g;
    for (size_t b = 0; b < g; b++) {
        const json_t *ids = json_array_get(list, b);
        rollout_sample *s = &group->samples[b];
        size_t n = json_array_size(ids);
        if (n == 0)
            return case_complain(r, "completions", "a completion is empty");
        s->token = mem_calloc(n, sizeof *s->token);
        s->tape_row = mem_calloc(n, sizeof *s->tape_row);
        if (!s->token || !s->tape_row)
            return mem_fail(r->err, "the case", n * sizeof *s->token);
        s->n = (int)n;
        c->offset[b + 1] = c->offset[b] + n;
        grpo_status status = case_read_ids(r, s->token, ids, "completions");
        if (status != GRPO_OK)
            return status;
    }
    c->tokens = c->offset[g];
    return GRPO_OK;
}

static grpo_status read_numbers(const case_reader *r, gradient_case *c, const json_t *root)
{
    size_t g = (size_t)c->group.n_samples;
    const json_t *rewards = json_object_get(root, "rewards"), *reference = json_object_get(root, "ref_logprobs");
    double *mask = mem_calloc(c->tokens, sizeof *mask);
    c->mask = mem_calloc(c->tokens, 1);
    c->reward = mem_calloc(g, sizeof *c->reward);
    c->advantage = mem_calloc(g, sizeof *c->advantage);
    c->old_logp = mem_calloc(c->tokens, sizeof *c->old_logp);
    c->ref_logp = reference ? mem_calloc(c->tokens, sizeof *c->ref_logp) : NULL;
    grpo_status status = mask && c->mask && c->reward && c->advantage && c->old_logp && (c->ref_logp || !reference)
                             ? GRPO_OK
                             : mem_fail(r->err, "the case", c->tokens * sizeof *mask);
    if (status == GRPO_OK)
        status = read_rows(r, c, mask, json_object_get(root, "loss_mask"), "loss_mask");
    if (status == GRPO_OK)
        status = read_rows(r, c, c->old_logp, json_object_get(root, "old_logprobs"), "old_logprobs");
    if (status == GRPO_OK && reference)
        status = read_rows(r, c, c->ref_logp, reference, "ref_logprobs");
    if (status == GRPO_OK && json_array_size(rewards) != g)
        status = case_complain(r, "rewards", "one a completion is needed");
    for (size_t i = 0; status == GRPO_OK && i < c->tokens; i++)
        c->mask[i] = mask[i] != 0;
    for (size_t i = 0; status == GRPO_OK && i < g; i++)
        c->reward[i] = json_number_value(json_array_get(rewards, i));
    mem_free(mask);
    c->clip_eps = json_number_value(json_object_get(root, "clip_eps"));
    c->kl_beta = json_number_value(json_object_get(root, "kl_beta"));
    c->fixed_length = json_number_value(json_object_get(root, "fixed_length"));
    return status;
}

grpo_status gradient_case_init(gradient_case *c, const json_t *root, const char *where, int vocab, grpo_error *err)
{
    memset(c, 0, sizeof *c);
    case_reader r = {where, "grpo.", vocab, err};
    const json_t *part = json_object_get(root, "grpo"), *prompt = json_object_get(part, "prompt");
    if (!json_is_object(part))
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: there is no object \"grpo\"", where);
    size_t n = json_array_size(prompt);
    if (n == 0)
        return case_complain(&r, "prompt", "a list of token ids is needed");
    c->prompt = mem_calloc(n, sizeof *c->prompt);
    c->group.tape_row = mem_calloc(n, sizeof *c->group.tape_row);
    c->group.prompt = c->prompt;
    c->group.prompt_length = (int)n;
    if (!c->prompt || !c->group.tape_row)
        return mem_fail(err, "the case", n * sizeof *c->prompt);
    grpo_status status = case_read_ids(&r, c->prompt, prompt, "prompt");
    if (status == GRPO_OK)
        status = read_completions(&r, c, json_object_get(part, "completions"));
    if (status == GRPO_OK)
        status = read_numbers(&r, c, part);
    if (status == GRPO_OK)
        status = compute_grpo_advantages(c->advantage, c->reward, (size_t)c->group.n_samples,
                                         (size_t)c->group.n_samples, err);
    return status;
}

void gradient_case_deinit(gradient_case *c, engine *e)
{
    rollout_release(e, &c->group, 1);
    mem_free(c->prompt);
    mem_free(c->offset);
    mem_free(c->mask);
    mem_free(c->reward);
    mem_free(c->advantage);
    mem_free(c->old_logp);
    mem_free(c->ref_logp);
    memset(c, 0, sizeof *c);
}

/* ---- running ----------------------------------------------------------------------------------------------- */

grpo_status gradient_workspace_sized(gradient_workspace *w, const model *m, pool *threads, int rows, int longest, int blocks,
                                     grpo_error *err)
{
    memset(w, 0, sizeof *w);
    engine_plan plan = {.rows = rows, .head_rows = 1, .kv_blocks = blocks};
    grpo_status status = engine_init(&w->e, m, threads, plan, err);
    if (status == GRPO_OK)
        status = tape_init(&w->t, &m->config, rows, m->config.layers / 2, err); /* both ways of getting activations */
    if (status == GRPO_OK)
        status = backward_workspace_init(&w->backward, m, threads, rows, rows, longest, err);
    if (status == GRPO_OK)
        status = mem_arena_init(&w->grad_arena, model_trained(m).layout->total * sizeof(float), "gradients", err);
    w->grad = (float *)w->grad_arena.base;
    if (status == GRPO_OK)
        status = model_gradient_view(&w->grad_view, m, w->grad, err);
    return status;
}

grpo_status gradient_workspace_init(gradient_workspace *w, const model *m, pool *threads, const gradient_case *c,
                                    grpo_error *err)
{
    int longest = 0;
    for (int i = 0; i < c->group.n_samples; i++)
        if (c->group.samples[i].n > longest)
            longest = c->group.samples[i].n;
    longest += c->group.prompt_length;
    return gradient_workspace_sized(w, m, threads, c->group.prompt_length + (int)c->tokens, longest,
                                   (c->group.n_samples + 1) * kv_blocks_for(longest), err);
}

void gradient_workspace_deinit(gradient_workspace *w)
{
    model_weights_deinit(&w->grad_view);
    mem_arena_deinit(&w->grad_arena);
    backward_workspace_deinit(&w->backward);
    tape_deinit(&w->t);
    engine_deinit(&w->e);
}

static grpo_status options_of(grpo_algo *algo, const gradient_case *c, const char *name, grpo_error *err)
{
    static const struct {
        const char *name, *level, *aggregation;
    } losses[] = {
        {"seq", "sequence", "row_mean"},
        {"seq_length_normalised", "sequence_mean", "row_mean"},
        {"tok_seq_mean", "token", "seq_mean_token_mean"},
        {"tok_token_mean", "token", "token_mean"},
        {"tok_seq_sum", "token", "seq_mean_token_sum"},
        {"tok_fixed_length", "token", "fixed_length"},
        {"tok_seq_mean_kl", "token", "seq_mean_token_mean"},
    };
    grpo_status status = grpo_algo_preset(algo, "spec", err);
    for (size_t i = 0; status == GRPO_OK && i < sizeof losses / sizeof *losses; i++) {
        if (strcmp(losses[i].name, name) != 0)
            continue;
        status = grpo_algo_set(algo, "importance_sampling_level", losses[i].level, err);
        if (status == GRPO_OK)
            status = grpo_algo_set(algo, "loss_aggregation", losses[i].aggregation, err);
        algo->clip_epsilon_low = algo->clip_epsilon_high = c->clip_eps;
        algo->fixed_length = c->fixed_length;
        if (strcmp(name, "tok_seq_mean_kl") == 0) {
            algo->kl_coef = c->kl_beta;
            algo->kl_estimator = GRPO_KL_K3;
            algo->kl_aggregation = GRPO_AGG_SAME;
        }
        return status;
    }
    return status == GRPO_OK ? grpo_fail(err, GRPO_ERR_USAGE, "there is no loss '%s'", name) : status;
}

static grpo_status loss_of(gradient_case *c, const char *name, const float *logp, double *grad_logp,
                           gradient_result *result, grpo_error *err)
{
    grpo_algo algo;
    grpo_status status = options_of(&algo, c, name, err);
    if (status != GRPO_OK)
        return status;
    size_t rows = (size_t)c->group.n_samples;
    double *wide = mem_calloc(c->tokens, sizeof *wide);
    void *scratch = mem_calloc(1, grpo_loss_scratch(rows, c->tokens));
    if (wide && scratch) {
        for (size_t i = 0; i < c->tokens; i++)
            wide[i] = logp[i];
        grpo_loss_batch batch = {.rows = {rows, c->offset, c->mask},
                                 .logp = wide,
                                 .old_logp = c->old_logp,
                                 .ref_logp = c->ref_logp,
                                 .advantage = c->advantage};
        grpo_loss loss = {.grad_logp = grad_logp, .ratio = result->ratio, .scratch = scratch};
        status = compute_grpo_loss(&algo, &batch, &loss, err);
        result->loss = loss.loss;
    } else {
        status = mem_fail(err, "the loss", c->tokens * sizeof *wide);
    }
    mem_free(wide);
    mem_free(scratch);
    return status;
}

grpo_status gradient_case_run(gradient_workspace *w, const model *m, gradient_case *c, const char *name,
                              gradient_result *result, grpo_error *err)
{
    float *logp = mem_calloc(c->tokens, sizeof *logp);
    ops_softmax_row *stats = mem_calloc(c->tokens, sizeof *stats);
    double *grad_logp = mem_calloc(c->tokens, sizeof *grad_logp);
    grpo_status status = logp && stats && grad_logp ? GRPO_OK : mem_fail(err, "the case", c->tokens * 24);
    policy_run_options run = {.inv_temperature = 1, .tape = &w->t};
    tape_reset(&w->t);
    if (status == GRPO_OK)
        status = policy_run(&w->e, &m->weights, &c->group, 1, &run, (policy_tokens){logp, stats}, err);
    if (status == GRPO_OK)
        status = loss_of(c, name, logp, grad_logp, result, err);
    policy_gradient gradient = {.grad_logp = grad_logp, .stats = stats, .inv_temperature = 1};
    policy_backward_counts counts;
    if (status == GRPO_OK)
        status = policy_backward(&w->e, &m->weights, &w->grad_view, &w->backward, &w->t, &c->group, 1, &gradient,
                                 &counts, err);
    if (status == GRPO_OK)
        model_backward_finish(m, &w->grad_view, w->e.threads, &w->backward);
    mem_free(logp);
    mem_free(stats);
    mem_free(grad_logp);
    return status;
}
