/* config.json and generation_config.json of an exported model. A model that came from a folder keeps
 * that folder's file, with the few keys corrected that exporting changes; one from GGUF gets a file
 * in the spelling of transformers 4, which transformers 5, vLLM and llama.cpp read too. */
#include <math.h>
#include <stdio.h>

#include "model/export_hf.h"
#include "model/family.h"

/* Llama 3's scaling comes out of GGUF as divisors; these are the parameters that produce them. */
static int is_llama3(const model_rope *r, int half, double factor, double low, double high, double original)
{
    const double pi = 3.14159265358979323846;
    for (int i = 0; i < half; i++) {
        double frequency = pow(r->theta, -(double)i / half), wave = 2 * pi / frequency, divisor;
        if (wave < original / high)
            divisor = 1;
        else if (wave > original / low)
            divisor = factor;
        else {
            double smooth = (original / wave - low) / (high - low);
            divisor = 1 / ((1 - smooth) / factor + smooth);
        }
        if (fabs((double)r->factors[i] - divisor) > 1e-5 * divisor)
            return 0;
    }
    return 1;
}

static json_t *factors_json(const model_rope *r, int half)
{
    double largest = 1;
    for (int i = 0; i < half; i++)
        largest = (double)r->factors[i] > largest ? (double)r->factors[i] : largest;
    if (is_llama3(r, half, largest, 1, 4, 8192))
        return json_pack("{s:s,s:f,s:f,s:f,s:i}", "rope_type", "llama3", "factor", largest, "low_freq_factor", 1.0,
                         "high_freq_factor", 4.0, "original_max_position_embeddings", 8192);
    json_t *list = json_array();
    for (int i = 0; i < half; i++)
        json_array_append_new(list, json_real((double)r->factors[i]));
    return json_pack("{s:s,s:f,s:f,s:O,s:o,s:i}", "rope_type", "longrope", "factor", 1.0, "attention_factor", 1.0,
                     "short_factor", list, "long_factor", list, "original_max_position_embeddings", 1);
}

static json_t *scaling_json(const model_rope *r, int half)
{
    json_t *j;
    switch (r->scaling) {
    case MODEL_ROPE_LINEAR:
        return json_pack("{s:s,s:f}", "rope_type", "linear", "factor", r->factor);
    case MODEL_ROPE_LLAMA3:
        return json_pack("{s:s,s:f,s:f,s:f,s:i}", "rope_type", "llama3", "factor", r->factor, "low_freq_factor",
                         r->low_freq_factor, "high_freq_factor", r->high_freq_factor,
                         "original_max_position_embeddings", (int)r->original_positions);
    case MODEL_ROPE_YARN:
        j = json_pack("{s:s,s:f,s:i}", "rope_type", "yarn", "factor", r->factor, "original_max_position_embeddings",
                      (int)r->original_positions);
        if (r->beta_fast != 0)
            json_object_set_new(j, "beta_fast", json_real(r->beta_fast));
        if (r->beta_slow != 0)
            json_object_set_new(j, "beta_slow", json_real(r->beta_slow));
        return j;
    case MODEL_ROPE_FACTORS:
        return factors_json(r, half);
    default:
        return json_null();
    }
}

/* The shortest decimal that gives the same f32: 1e-05, not 9.99999974737875e-06. */
static json_t *short_real(float x)
{
    char text[40];
    double decimal = (double)x;
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)x);
        if (sscanf(text, "%lf", &decimal) == 1 && (float)decimal == x)
            break;
    }
    return json_real(decimal);
}

static void set(json_t *j, const char *key, json_t *value)
{
    json_object_set_new(j, key, value);
}

static void set_id(json_t *j, const char *key, int32_t id)
{
    set(j, key, id >= 0 ? json_integer(id) : json_null());
}

static json_t *eos_json(const model_config *c)
{
    if (c->n_eos == 0)
        return json_null();
    if (c->n_eos == 1)
        return json_integer(c->eos[0]);
    json_t *list = json_array();
    for (int i = 0; i < c->n_eos; i++)
        json_array_append_new(list, json_integer(c->eos[i]));
    return list;
}

static void set_windows(json_t *j, const model_config *c, const model_family *family)
{
    int window = 0, nope = family->window == FAMILY_WINDOW_NOPE;
    json_t *types = json_array(), *rotary = json_array();
    for (int i = 0; i < c->layers; i++) {
        window = c->layer[i].window > window ? c->layer[i].window : window;
        json_array_append_new(types, json_string(c->layer[i].window ? "sliding_attention" : "full_attention"));
        json_array_append_new(rotary, json_integer(c->layer[i].rope >= 0));
    }
    if (family->window == FAMILY_WINDOW_NONE || family->window == FAMILY_WINDOW_ALL ||
        family->window == FAMILY_WINDOW_SWITCH)
        json_decref(types);
    else
        set(j, "layer_types", types);
    if (nope)
        set(j, "no_rope_layers", rotary);
    else
        json_decref(rotary);
    if (family->window != FAMILY_WINDOW_NONE)
        set(j, "sliding_window", window ? json_integer(window) : json_null());
    if (family->window == FAMILY_WINDOW_UPPER || family->window == FAMILY_WINDOW_SWITCH || nope)
        set(j, "use_sliding_window", json_boolean(window));
}

static void set_experts(json_t *j, const model_config *c)
{
    json_t *dense = json_array();
    for (int i = 0; i < c->layers; i++)
        if (!c->layer[i].moe)
            json_array_append_new(dense, json_integer(i));
    set(j, "num_experts", json_integer(c->experts));
    set(j, "num_experts_per_tok", json_integer(c->experts_used));
    set(j, "moe_intermediate_size", json_integer(c->expert_ffn));
    set(j, "norm_topk_prob", json_boolean(c->norm_topk_prob));
    set(j, "decoder_sparse_step", json_integer(1));
    set(j, "mlp_only_layers", dense);
}

static json_t *config_from_scratch(const model_config *c, const model_family *family)
{
    const model_rope *rope = &c->ropes[0];
    json_t *j = json_pack("{s:s, s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i, s:f,s:b}", "model_type", family->model_type,
                          "hidden_size", c->hidden, "intermediate_size", c->ffn, "num_hidden_layers", c->layers,
                          "num_attention_heads", c->heads, "num_key_value_heads", c->kv_heads, "head_dim", c->head_dim,
                          "vocab_size", c->vocab, "max_position_embeddings", c->max_positions, "rope_theta",
                          rope->theta, "use_cache", 1);
    if (!j)
        return NULL;
    set(j, "rms_norm_eps", short_real(c->norm_eps));
    set(j, "rope_scaling", scaling_json(rope, c->rotary_dim / 2));
    set(j, family->gemma ? "hidden_activation" : "hidden_act",
        json_string(c->activation == OPS_SILU ? "silu" : "gelu_pytorch_tanh"));
    set(j, "initializer_range", json_real(0.02));
    set(j, "attention_dropout", json_real(0));
    if (family->bias == FAMILY_BIAS_KEY)
        set(j, "attention_bias", json_boolean(c->q_bias));
    if (family->mlp_bias_key)
        set(j, "mlp_bias", json_boolean(c->mlp_bias));
    if (family->gemma) {
        set(j, "rope_local_base_freq", json_real(c->ropes[1].theta));
        double scalar = 1 / ((double)c->attention_scale * (double)c->attention_scale);
        if (fabs(scalar - round(scalar)) < 1e-4 * scalar)
            scalar = round(scalar);
        set(j, "query_pre_attn_scalar", scalar == round(scalar) ? json_integer((json_int_t)scalar) : json_real(scalar));
        set(j, "attn_logit_softcapping", json_null());
        set(j, "final_logit_softcapping", json_null());
    }
    set_windows(j, c, family);
    if (family->moe)
        set_experts(j, c);
    set_id(j, "bos_token_id", c->bos);
    set_id(j, "pad_token_id", c->pad);
    set(j, "eos_token_id", eos_json(c));
    return j;
}

static void set_head(json_t *j, const model_config *c, const model_family *family)
{
    static const char *const suffixes[] = {[MODEL_HEAD_LM] = "ForCausalLM",
                                           [MODEL_HEAD_SEQUENCE] = "ForSequenceClassification",
                                           [MODEL_HEAD_TOKEN] = "ForTokenClassification"};
    /* Gemma 3's text classes are Gemma3ForCausalLM and Gemma3TextForSequenceClassification. */
    const char *middle = family->gemma && c->head != MODEL_HEAD_LM ? "Text" : "";
    set(j, "architectures", json_pack("[s++]", family->prefix, middle, suffixes[c->head]));
    if (c->head == MODEL_HEAD_LM) {
        set(j, "tie_word_embeddings", json_boolean(c->tied_embeddings));
        return;
    }
    set(j, "id2label", json_pack("{s:s}", "0", "LABEL_0"));
    set(j, "label2id", json_pack("{s:i}", "LABEL_0", 0));
}

json_t *model_export_config_json(const model_export *e, const char *dtype)
{
    const model_family *family = model_family_named(e->config->family);
    json_t *j = e->config_json ? json_copy((json_t *)e->config_json) : config_from_scratch(e->config, family);
    if (!j)
        return NULL;
    int modern = json_object_get(j, "dtype") != NULL;
    json_object_del(j, "torch_dtype");
    set(j, modern ? "dtype" : "torch_dtype", json_string(dtype));
    set_head(j, e->config, family);
    return j;
}

json_t *model_export_generation_json(const model_export *e)
{
    if (e->generation_json)
        return json_deep_copy(e->generation_json);
    json_t *j = json_pack("{s:b}", "_from_model_config", 1);
    if (!j)
        return NULL;
    if (e->config->bos >= 0)
        set_id(j, "bos_token_id", e->config->bos);
    if (e->config->pad >= 0)
        set_id(j, "pad_token_id", e->config->pad);
    if (e->config->n_eos)
        set(j, "eos_token_id", eos_json(e->config));
    return j;
}
