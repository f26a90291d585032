/* Memory planning. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/machine.h"
#include "base/strbuf.h"
#include "train/plan.h"

enum { FORWARD_ROWS = 1024, DEFAULT_SLOTS = 64, DEFAULT_MICRO_BATCH_ROWS = 2048 };

const char *activation_policy_name(activation_policy policy)
{
    static const char *const names[] = {"auto", "keep", "checkpoint", "recompute"};
    return names[policy];
}

static int at_most(long x, int limit)
{
    return x < limit ? (int)x : limit;
}

/* Rows of a step: every prompt and every answer to its end. */
static long step_rows(const plan_request *r)
{
    return r->prompt_tokens + (long)r->prompts * r->group_size * r->max_new_tokens;
}

/* Sizes that do not depend on the policy. */
static void plan_fixed(memory_plan *p, const model *m, pool *threads, const plan_request *r)
{
    const model_config *c = &m->config;
    long answers = (long)r->prompts * r->group_size;
    long longest_group = r->longest_prompt + (long)r->group_size * r->max_new_tokens;
    long rows = step_rows(r);
    memset(p, 0, sizeof *p);
    p->max_positions = r->longest_prompt + r->max_new_tokens;
    p->slots = r->slots > 0 ? at_most(answers, r->slots) : at_most(answers, DEFAULT_SLOTS);
    p->forward_rows = p->slots > FORWARD_ROWS ? p->slots : FORWARD_ROWS;
    p->micro_batch_rows = r->micro_batch_rows > 0 ? r->micro_batch_rows : DEFAULT_MICRO_BATCH_ROWS;
    p->batch_rows = (int)rows;
    p->backward_rows = longest_group > p->micro_batch_rows ? (int)longest_group : at_most(rows, p->micro_batch_rows);
    p->program = r->program;
    p->type = m->type;
    p->weights = model_store_bytes(&m->layout, m->type);
    p->master = m->type != OPS_F32 && m->params ? m->layout.total * sizeof(float) : 0;
    p->adapter = m->adapter ? m->adapter->layout.total * sizeof(float) : 0;
    p->reference = r->reference ? r->reference_bytes : 0;
    p->gradients = model_trained(m).layout->total * sizeof(float);
    p->moments = 2 * p->gradients;
    p->backward = backward_workspace_bytes(m, threads, p->backward_rows, p->batch_rows, p->max_positions);
    engine_plan running = {p->forward_rows, p->slots, 0};
    p->forward = engine_bytes(m, threads, running) + 2 * (size_t)p->max_positions * (size_t)c->rotary_dim * sizeof(float);
}

/* Blocks when every answer of a step stays until the backward pass, and when only running ones do. */
static long blocks_for_all(const plan_request *r)
{
    long per_answer = kv_blocks_for(r->max_new_tokens) + 1;
    long prompts = r->prompt_tokens / OPS_KV_BLOCK + r->prompts;
    long scratch = r->reference || r->private_pass ? kv_blocks_for(r->longest_prompt) + r->group_size * per_answer : 0;
    return prompts + (long)r->prompts * r->group_size * per_answer + scratch;
}

static long blocks_for_running(const memory_plan *p, const plan_request *r)
{
    long per_answer = kv_blocks_for(r->max_new_tokens) + 1, prompt = kv_blocks_for(r->longest_prompt) + 1;
    long running = (p->slots + 1) * prompt + (long)p->slots * per_answer;
    long micro_batch = p->backward_rows / OPS_KV_BLOCK + p->backward_rows / (r->max_new_tokens + 1) + r->group_size + 2L;
    long scratch = r->reference || r->private_pass ? prompt + r->group_size * per_answer : 0;
    return (running > micro_batch ? running : micro_batch) + scratch;
}

static int blocks_for(const memory_plan *p, const plan_request *r)
{
    return (int)(p->policy == ACTIVATIONS_RECOMPUTE ? blocks_for_running(p, r) : blocks_for_all(r));
}

/* The value network never samples, so it needs no logits; the rest is as for the policy. */
static void plan_value(memory_plan *p, pool *threads, const plan_request *r)
{
    const model_config *c = &r->value->config;
    size_t weights = r->value->layout.total * sizeof(float);
    engine_plan running = {p->forward_rows, 1, 0};
    p->value_kept_layers = p->policy == ACTIVATIONS_KEEP ? c->layers
                           : p->kept_layers < c->layers  ? p->kept_layers
                                                         : c->layers;
    p->value_kv_blocks = blocks_for(p, r);
    p->value = 4 * weights + engine_bytes(r->value, threads, running) +
               (size_t)p->value_kv_blocks * kv_block_bytes(c) +
               (size_t)p->tape_rows * (tape_row_bytes(c) + (size_t)p->value_kept_layers * tape_kept_layer_bytes(c)) +
               backward_workspace_bytes(r->value, threads, p->backward_rows, p->batch_rows, p->max_positions);
}

static void set_policy(memory_plan *p, const model *m, pool *threads, const plan_request *r, activation_policy policy,
                       int kept)
{
    const model_config *c = &m->config;
    p->policy = policy;
    p->kept_layers = kept;
    p->tape_rows = policy == ACTIVATIONS_RECOMPUTE ? p->backward_rows : p->batch_rows;
    p->kv_blocks = blocks_for(p, r);
    p->keys_values = (size_t)p->kv_blocks * kv_block_bytes(c);
    p->activations = (size_t)p->tape_rows * (tape_row_bytes(c) + (size_t)kept * tape_kept_layer_bytes(c));
    if (r->value)
        plan_value(p, threads, r);
    p->total = p->program + p->weights + p->master + p->adapter + p->reference + p->gradients + p->moments + p->keys_values +
               p->activations + p->forward + p->backward + p->value;
}

/* As many whole layers as the budget holds beside the layer inputs. */
static int affordable_layers(const memory_plan *p, const model *m, const plan_request *r)
{
    size_t budget = r->budget;
    if (p->total >= budget)
        return 0;
    size_t each = (size_t)p->tape_rows * tape_kept_layer_bytes(&m->config);
    if (r->value)
        each += (size_t)p->tape_rows * tape_kept_layer_bytes(&r->value->config);
    size_t n = each ? (budget - p->total) / each : 0;
    return n > (size_t)m->config.layers ? m->config.layers : (int)n;
}

size_t memory_plan_program(const model *m, const model *value)
{
    size_t adapter = m->adapter ? m->adapter->layout.total * sizeof(float) : 0;
    size_t held = machine_rss(), planned = model_bytes(m) + adapter + (value ? model_bytes(value) : 0);
    return held > planned ? held - planned : 0;
}

static grpo_status fail_large(const plan_request *r, grpo_error *err)
{
    return grpo_fail(err, GRPO_ERR_CONFIG,
                     "a step would have up to %ld rows of tokens, more than the %d that can be counted (or as many blocks of "
                     "keys and values): lower rollout.max_new_tokens, rollout.prompts_per_step, group_size or rollout.slots, "
                     "or use shorter prompts",
                     step_rows(r), INT_MAX);
}

grpo_status memory_plan_make(memory_plan *p, const model *m, pool *threads, const plan_request *r, grpo_error *err)
{
    if (step_rows(r) > INT_MAX)
        return fail_large(r, err);
    plan_fixed(p, m, threads, r);
    if (blocks_for_all(r) > INT_MAX || blocks_for_running(p, r) > INT_MAX)
        return fail_large(r, err);
    int layers = m->config.layers;
    switch (r->policy) {
    case ACTIVATIONS_KEEP:
        set_policy(p, m, threads, r, ACTIVATIONS_KEEP, layers);
        break;
    case ACTIVATIONS_CHECKPOINT:
        set_policy(p, m, threads, r, ACTIVATIONS_CHECKPOINT, 0);
        break;
    case ACTIVATIONS_RECOMPUTE:
        set_policy(p, m, threads, r, ACTIVATIONS_RECOMPUTE, 0);
        break;
    case ACTIVATIONS_AUTO:
        set_policy(p, m, threads, r, ACTIVATIONS_CHECKPOINT, 0);
        if (p->total > r->budget) {
            set_policy(p, m, threads, r, ACTIVATIONS_RECOMPUTE, 0);
        } else {
            int kept = affordable_layers(p, m, r);
            set_policy(p, m, threads, r, kept == layers ? ACTIVATIONS_KEEP : ACTIVATIONS_CHECKPOINT, kept);
        }
        break;
    }
    if (p->total <= r->budget)
        return GRPO_OK;
    char need[32], have[32];
    machine_format_bytes(need, p->total);
    machine_format_bytes(have, r->budget);
    return grpo_fail(err, GRPO_ERR_MEMORY,
                     "the run needs %s and may take %s: lower rollout.max_new_tokens, rollout.prompts_per_step, "
                     "group_size or rollout.slots, %sor raise train.memory_budget",
                     need, have, r->policy == ACTIVATIONS_RECOMPUTE || r->policy == ACTIVATIONS_AUTO ? ""
                                 : "set train.activations=recompute, ");
}

static void line(strbuf *s, const char *what, size_t bytes, const char *note)
{
    char text[32];
    machine_format_bytes(text, bytes);
    if (bytes)
        strbuf_printf(s, "  %-18s %10s  %s\n", what, text, note);
}

char *memory_plan_text(const memory_plan *p)
{
    strbuf s = STRBUF_INIT;
    char note[128];
    snprintf(note, sizeof note, "%s%s", p->type == OPS_F32 ? "f32" : "matrices rounded to bf16", p->adapter ? ", frozen" : "");
    line(&s, "program", p->program, "code, tokenizer, data set: as measured now");
    line(&s, "weights", p->weights, note);
    line(&s, "master", p->master, "f32 weights of the optimiser");
    line(&s, "LoRA adapter", p->adapter, "f32");
    line(&s, "reference", p->reference, "frozen copy for the KL");
    line(&s, "gradients", p->gradients, p->adapter ? "of the adapter" : "");
    line(&s, "Adam moments", p->moments, p->adapter ? "of the adapter" : "");
    snprintf(note, sizeof note, "%d blocks of %d positions", p->kv_blocks, OPS_KV_BLOCK);
    line(&s, "keys and values", p->keys_values, note);
    if (p->policy == ACTIVATIONS_CHECKPOINT && p->kept_layers > 0)
        snprintf(note, sizeof note, "up to %d rows; %d layers kept whole, the others recomputed", p->tape_rows,
                 p->kept_layers);
    else
        snprintf(note, sizeof note, "up to %d rows; policy %s", p->tape_rows, activation_policy_name(p->policy));
    line(&s, "activations", p->activations, note);
    line(&s, "forward scratch", p->forward, "logits included");
    snprintf(note, sizeof note, "micro-batches of %d rows", p->micro_batch_rows);
    line(&s, "backward scratch", p->backward, note);
    line(&s, "value network", p->value, "weights, gradients, moments, activations of its own");
    line(&s, "together at most", p->total, "");
    return strbuf_detach(&s);
}
