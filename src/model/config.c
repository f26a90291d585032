/* Checks of a configuration, whatever it was read from: after it, sizes can be multiplied without
 * thought of overflow or division by zero. */
#include <limits.h>
#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "model/config.h"

typedef struct range {
    const char *name;
    long long value, low, high;
} range;

static grpo_status check_ranges(const range *ranges, size_t n, grpo_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (ranges[i].value < ranges[i].low || ranges[i].value > ranges[i].high)
            return grpo_fail(err, GRPO_ERR_CONFIG, "%s = %lld, must be from %lld to %lld", ranges[i].name,
                             ranges[i].value, ranges[i].low, ranges[i].high);
    return GRPO_OK;
}

static grpo_status check_sizes(const model_config *c, grpo_error *err)
{
    const range ranges[] = {
        {"hidden_size", c->hidden, 1, 1 << 20},
        {"num_hidden_layers", c->layers, 1, MODEL_MAX_LAYERS},
        {"num_attention_heads", c->heads, 1, 1 << 16},
        {"num_key_value_heads", c->kv_heads, 1, c->heads},
        {"head_dim", c->head_dim, 2, 1 << 14},
        {"rotary dimensions", c->rotary_dim, 2, c->head_dim},
        {"intermediate_size", c->ffn, 1, 1 << 24},
        {"vocab_size", c->vocab, 1, 1 << 24},
        {"max_position_embeddings", c->max_positions, 1, 1 << 30},
        {"num_experts", c->experts, 0, 4096},
        {"num_experts_per_tok", c->experts_used, c->experts > 0, c->experts},
        {"moe_intermediate_size", c->expert_ffn, c->experts > 0, 1 << 24},
        {"number of rotary embeddings", c->n_ropes, 0, MODEL_MAX_ROPES},
        {"number of end-of-sequence tokens", c->n_eos, 0, MODEL_MAX_EOS},
        {"bos_token_id", c->bos, -1, c->vocab - 1},
        {"pad_token_id", c->pad, -1, c->vocab - 1},
        {"qk_norm", c->qk_norm, 0, 2},
    };
    grpo_status status = check_ranges(ranges, sizeof ranges / sizeof *ranges, err);
    if (status != GRPO_OK)
        return status;
    if (c->heads % c->kv_heads != 0)
        return grpo_fail(err, GRPO_ERR_CONFIG, "num_attention_heads = %d is no multiple of num_key_value_heads = %d",
                         c->heads, c->kv_heads);
    if (c->head_dim % 2 || c->rotary_dim % 2)
        return grpo_fail(err, GRPO_ERR_CONFIG, "head_dim = %d: the rotated part must be even", c->head_dim);
    const range products[] = {
        {"num_attention_heads * head_dim", (long long)c->heads * c->head_dim, 1, 1 << 24},
        {"vocab_size * hidden_size", (long long)c->vocab * c->hidden, 1, INT_MAX},
        {"intermediate_size * hidden_size", (long long)c->ffn * c->hidden, 1, INT_MAX},
        {"num_attention_heads * head_dim * hidden_size", (long long)c->heads * c->head_dim * c->hidden, 1, INT_MAX},
        {"moe_intermediate_size * hidden_size", (long long)c->expert_ffn * c->hidden, 0, INT_MAX},
        {"num_hidden_layers * num_experts", (long long)c->layers * c->experts, 0, 1 << 16}, /* tensors are listed */
        {"num_experts * hidden_size", (long long)c->experts * c->hidden, 0, INT_MAX},
        {"num_experts_per_tok * moe_intermediate_size", (long long)c->experts_used * c->expert_ffn, 0, 1 << 24},
    };
    return check_ranges(products, sizeof products / sizeof *products, err);
}

static int positive(double x)
{
    return isfinite(x) && x > 0;
}

static int absent_or_positive(double x)
{
    return x == 0 || positive(x);
}

/* NULL when the rope is usable, else what is wrong. */
static const char *rope_fault(const model_config *c, const model_rope *r)
{
    if (!positive(r->theta) || r->theta <= 1)
        return "rope_theta must be a number above 1";
    if (r->scaling == MODEL_ROPE_PLAIN)
        return NULL;
    if (r->scaling == MODEL_ROPE_FACTORS) {
        for (int i = 0; r->factors && i < c->rotary_dim / 2; i++)
            if (!positive(r->factors[i]))
                return "rope factors must be positive";
        return r->factors ? NULL : "rope factors are missing";
    }
    if (!isfinite(r->factor) || r->factor < 1)
        return "rope_scaling.factor must be at least 1";
    if (r->scaling == MODEL_ROPE_LINEAR)
        return NULL;
    if (!positive(r->original_positions))
        return "rope_scaling.original_max_position_embeddings must be positive";
    if (r->scaling == MODEL_ROPE_LLAMA3 &&
        (!positive(r->low_freq_factor) || !isfinite(r->high_freq_factor) || r->high_freq_factor <= r->low_freq_factor))
        return "rope_scaling needs 0 < low_freq_factor < high_freq_factor";
    if (r->scaling == MODEL_ROPE_YARN) {
        double fast = r->beta_fast != 0 ? r->beta_fast : 32, slow = r->beta_slow != 0 ? r->beta_slow : 1;
        if (!positive(fast) || !positive(slow) || fast < slow)
            return "rope_scaling needs 0 < beta_slow <= beta_fast";
        if (!absent_or_positive(r->attention_factor) || !absent_or_positive(r->mscale) ||
            !absent_or_positive(r->mscale_all_dim))
            return "rope_scaling: attention_factor, mscale and mscale_all_dim must be positive";
    }
    return NULL;
}

static grpo_status check_numbers(const model_config *c, grpo_error *err)
{
    if (!positive(c->norm_eps) || c->norm_eps >= 1)
        return grpo_fail(err, GRPO_ERR_CONFIG, "rms_norm_eps = %g, must be between 0 and 1", (double)c->norm_eps);
    if (!positive(c->attention_scale) || !positive(c->embedding_scale) || !isfinite(c->norm_offset))
        return grpo_fail(err, GRPO_ERR_CONFIG, "attention scale and embedding scale must be positive numbers");
    for (int i = 0; i < c->n_ropes; i++) {
        const char *fault = rope_fault(c, &c->ropes[i]);
        if (fault)
            return grpo_fail(err, GRPO_ERR_CONFIG, "%s", fault);
    }
    return GRPO_OK;
}

static grpo_status check_layers(const model_config *c, grpo_error *err)
{
    for (int i = 0; i < c->layers; i++) {
        const model_layer_config *l = &c->layer[i];
        if (l->window < 0 || l->rope < -1 || l->rope >= c->n_ropes || (l->moe && (c->experts == 0 || c->post_norms)))
            return grpo_fail(err, GRPO_ERR_CONFIG, "layer %d: window %d, rotary embedding %d or experts make no sense",
                             i, l->window, l->rope);
    }
    for (int i = 0; i < c->n_eos; i++)
        if (c->eos[i] < 0 || c->eos[i] >= c->vocab)
            return grpo_fail(err, GRPO_ERR_CONFIG, "eos_token_id %d is outside the vocabulary of %d", (int)c->eos[i],
                             c->vocab);
    if (!c->pre_norms && !c->post_norms)
        return grpo_fail(err, GRPO_ERR_CONFIG, "a layer needs norms before or after its blocks");
    return GRPO_OK;
}

grpo_status model_config_check(const model_config *c, grpo_error *err)
{
    grpo_status status = check_sizes(c, err);
    if (status == GRPO_OK)
        status = check_numbers(c, err);
    return status == GRPO_OK ? check_layers(c, err) : status;
}

void model_config_deinit(model_config *c)
{
    for (int i = 0; i < MODEL_MAX_ROPES; i++)
        mem_free(c->ropes[i].factors);
    *c = (model_config){0};
}
