/* Reading config.json. Every key that is read counts as understood; what is left over at the end
 * must be known to have no effect on the numbers. */
#include <limits.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "model/config_hf.h"
#include "model/family.h"

/* ---- typed access that remembers what was read ------------------------------------------- */

enum { MAX_SEEN = 96 };

typedef struct reader {
    const json_t *object;
    const char *where, *inside; /* inside: "" or "rope_scaling." for messages */
    const char *seen[MAX_SEEN];
    int n_seen;
    grpo_status status; /* sticky: the first failure */
    grpo_error *err;
} reader;

static void wrong(reader *r, const char *key, const char *what)
{
    if (r->status == GRPO_OK)
        r->status = grpo_fail(r->err, GRPO_ERR_CONFIG, "%s: %s%s %s", r->where, r->inside, key, what);
}

/* The value, or NULL when absent or null. */
static const json_t *get(reader *r, const char *key)
{
    if (r->n_seen < MAX_SEEN)
        r->seen[r->n_seen++] = key;
    const json_t *v = json_object_get(r->object, key);
    return json_is_null(v) ? NULL : v;
}

static int get_int(reader *r, const char *key, int fallback)
{
    const json_t *v = get(r, key);
    if (!v)
        return fallback;
    json_int_t n = json_integer_value(v);
    if (!json_is_integer(v) || n < INT_MIN || n > INT_MAX) {
        wrong(r, key, "must be a whole number");
        return fallback;
    }
    return (int)n;
}

static double get_double(reader *r, const char *key, double fallback)
{
    const json_t *v = get(r, key);
    if (!v)
        return fallback;
    if (!json_is_number(v)) {
        wrong(r, key, "must be a number");
        return fallback;
    }
    return json_number_value(v);
}

static int get_bool(reader *r, const char *key, int fallback)
{
    const json_t *v = get(r, key);
    if (v && !json_is_boolean(v))
        wrong(r, key, "must be true or false");
    return v ? json_is_true(v) : fallback;
}

static const char *get_string(reader *r, const char *key, const char *fallback)
{
    const json_t *v = get(r, key);
    if (v && !json_is_string(v))
        wrong(r, key, "must be a string");
    return v && json_is_string(v) ? json_string_value(v) : fallback;
}

static const json_t *get_array(reader *r, const char *key)
{
    const json_t *v = get(r, key);
    if (v && !json_is_array(v)) {
        wrong(r, key, "must be a list");
        return NULL;
    }
    return v;
}

/* null, false, 0, "", [] and {} say that a feature is not used. */
static int is_off(const json_t *v)
{
    return json_is_null(v) || json_is_false(v) || (json_is_number(v) && json_number_value(v) == 0) ||
           (json_is_string(v) && json_string_length(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0) ||
           (json_is_object(v) && json_object_size(v) == 0);
}

/* Keys without effect on what the model computes in evaluation: bookkeeping, training-time
 * settings (dropout, initialisation, losses of other tasks), generation defaults of old files. */
static int is_harmless(const char *key)
{
    static const char *const keys[] = {
        "add_cross_attention", "architectures", "attention_dropout", "attn_implementation", "auto_map",
        "bad_words_ids", "begin_suppress_tokens", "cache_implementation", "chunk_size_feed_forward",
        "classifier_dropout", "cross_attention_hidden_size", "decoder_start_token_id", "diversity_penalty",
        "do_sample", "dtype", "early_stopping", "embedding_dropout", "embd_pdrop", "attn_pdrop", "resid_pdrop",
        "encoder_no_repeat_ngram_size",
        "exponential_decay_length_penalty", "finetuning_task", "forced_bos_token_id", "forced_eos_token_id",
        "hidden_dropout", "id2label", "initializer_range", "is_decoder", "is_encoder_decoder",
        "is_llama_config", "label2id", "length_penalty", "max_length", "max_new_tokens", "max_window_layers",
        "min_length", "model_max_length", "model_name", "model_type", "no_repeat_ngram_size", "num_beam_groups",
        "num_beams", "num_labels", "num_return_sequences", "output_attentions", "output_hidden_states",
        "output_router_logits", "output_scores", "prefix", "pretraining_tp", "problem_type", "pruned_heads",
        "remove_invalid_values", "repetition_penalty", "return_dict", "return_dict_in_generate",
        "router_aux_loss_coef", "sep_token_id", "suppress_tokens", "task_specific_params", "temperature",
        "tf_legacy_loss", "tokenizer_class", "top_k", "top_p", "torch_dtype", "torchscript",
        "transformers.js_config", "transformers_version", "transformers_weights", "typical_p",
        "unsloth_fixed", "unsloth_version", "use_bfloat16", "use_cache",
    };
    if (key[0] == '_')
        return 1;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(keys[i], key) == 0)
            return 1;
    return 0;
}

static void refuse_leftovers(reader *r)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)r->object, key, value) {
        int known = is_off(value) || (r->inside[0] == 0 && is_harmless(key));
        for (int i = 0; i < r->n_seen && !known; i++)
            known = strcmp(r->seen[i], key) == 0;
        if (known || r->status != GRPO_OK)
            continue;
        char *text = json_text(value);
        r->status = grpo_fail(r->err, GRPO_ERR_UNSUPPORTED,
                              "%s: %s%s = %.60s is not understood and might change what the model computes; "
                              "remove the key if it does not",
                              r->where, r->inside, key, text ? text : "…");
        mem_free(text);
    }
}

/* ---- rotary embedding ---------------------------------------------------------------------- */

static void read_factors(reader *r, const model_config *c, model_rope *rope)
{
    /* longrope with one list for all lengths is a plain list of divisors. */
    const json_t *shorter = get_array(r, "short_factor"), *longer = get_array(r, "long_factor");
    get_double(r, "factor", 0);
    rope->scaling = MODEL_ROPE_FACTORS;
    rope->original_positions = 0; /* decides between the lists only */
    if (!shorter || !longer || !json_equal(shorter, longer) || get_double(r, "attention_factor", 0) != 1) {
        wrong(r, "rope_type", "longrope is supported only with equal short_factor and long_factor and "
                              "attention_factor 1");
        return;
    }
    size_t n = json_array_size(shorter);
    if (n != (size_t)c->rotary_dim / 2) {
        wrong(r, "short_factor", "must have one number for each rotated pair");
        return;
    }
    rope->factors = mem_calloc(n, sizeof *rope->factors);
    if (!rope->factors) {
        r->status = mem_fail(r->err, "rotary factors", n * sizeof *rope->factors);
        return;
    }
    for (size_t i = 0; i < n; i++)
        rope->factors[i] = (float)json_number_value(json_array_get(shorter, i));
}

static void read_scaling(reader *r, const model_config *c, model_rope *rope)
{
    const char *old = get_string(r, "type", "default"), *type = get_string(r, "rope_type", old);
    int original = get_int(r, "original_max_position_embeddings", 0);
    if (get_double(r, "partial_rotary_factor", 1) != 1)
        wrong(r, "partial_rotary_factor", "other than 1 is not supported");
    if (strcmp(type, "default") == 0)
        return;
    rope->original_positions = original ? original : c->max_positions;
    if (strcmp(type, "linear") == 0) {
        rope->scaling = MODEL_ROPE_LINEAR;
        rope->factor = get_double(r, "factor", 0);
    } else if (strcmp(type, "llama3") == 0) {
        rope->scaling = MODEL_ROPE_LLAMA3;
        rope->factor = get_double(r, "factor", 0);
        rope->low_freq_factor = get_double(r, "low_freq_factor", 0);
        rope->high_freq_factor = get_double(r, "high_freq_factor", 0);
    } else if (strcmp(type, "yarn") == 0) {
        rope->scaling = MODEL_ROPE_YARN;
        rope->factor = get_double(r, "factor", c->max_positions / rope->original_positions);
        rope->beta_fast = get_double(r, "beta_fast", 0);
        rope->beta_slow = get_double(r, "beta_slow", 0);
        rope->attention_factor = get_double(r, "attention_factor", 0);
        rope->mscale = get_double(r, "mscale", 0);
        rope->mscale_all_dim = get_double(r, "mscale_all_dim", 0);
        rope->truncate = get_bool(r, "truncate", 1);
    } else if (strcmp(type, "longrope") == 0) {
        read_factors(r, c, rope);
    } else if (r->status == GRPO_OK)
        r->status = grpo_fail(r->err, GRPO_ERR_UNSUPPORTED,
                              "%s: %srope_type \"%.40s\" is not supported (default, linear, llama3, yarn are)",
                              r->where, r->inside, type);
}

/* parameters: an object of rope settings, or NULL. */
static void read_rope(reader *outer, const json_t *parameters, const char *inside, const model_config *c,
                      model_rope *rope)
{
    reader r = {.object = parameters, .where = outer->where, .inside = inside, .err = outer->err};
    if (!parameters || outer->status != GRPO_OK)
        return;
    if (!json_is_object(parameters)) {
        wrong(outer, inside, "must be an object");
        return;
    }
    rope->theta = get_double(&r, "rope_theta", rope->theta);
    read_scaling(&r, c, rope);
    refuse_leftovers(&r);
    outer->status = r.status;
}

static void read_ropes(reader *r, const model_family *family, model_config *c)
{
    const json_t *scaling = get(r, "rope_scaling"), *parameters = get(r, "rope_parameters");
    int outer_original = get_int(r, "original_max_position_embeddings", 0);
    model_rope *rope = c->ropes;
    c->n_ropes = 1;
    rope->theta = get_double(r, "rope_theta", family->theta);
    if (get_double(r, "partial_rotary_factor", 1) != 1)
        wrong(r, "partial_rotary_factor", "other than 1 is not supported");
    if (scaling && json_object_size(scaling) == 0 && json_is_object(scaling))
        scaling = NULL;
    if (family->gemma) {
        c->n_ropes = 2;
        c->ropes[1].theta = get_double(r, "rope_local_base_freq", 1e4);
        if (parameters) {
            reader nested = {.object = parameters, .where = r->where, .inside = "rope_parameters.", .err = r->err};
            read_rope(r, get(&nested, "full_attention"), "rope_parameters.full_attention.", c, rope);
            read_rope(r, get(&nested, "sliding_attention"), "rope_parameters.sliding_attention.", c, rope + 1);
            refuse_leftovers(&nested);
            if (r->status == GRPO_OK)
                r->status = nested.status;
        }
        read_rope(r, scaling, "rope_scaling.", c, rope);
    } else if (scaling)
        read_rope(r, scaling, "rope_scaling.", c, rope);
    else
        read_rope(r, parameters, "rope_parameters.", c, rope);
    if (outer_original && (rope->scaling == MODEL_ROPE_LLAMA3 || rope->scaling == MODEL_ROPE_YARN))
        rope->original_positions = outer_original;
}

/* ---- windows, layers without rotary embedding, experts -------------------------------------- */

/* 1 sliding, 0 full, -1 failure; `types` may be NULL. */
static int layer_is_sliding(reader *r, const json_t *types, int layer, int fallback)
{
    if (!types)
        return fallback;
    const char *type = json_string_value(json_array_get(types, (size_t)layer));
    if (type && strcmp(type, "full_attention") == 0)
        return 0;
    if (type && strcmp(type, "sliding_attention") == 0)
        return 1;
    wrong(r, "layer_types", "may hold \"full_attention\" and \"sliding_attention\" only");
    return -1;
}

static void read_windows(reader *r, const model_family *family, model_config *c)
{
    const json_t *types = get_array(r, "layer_types");
    int named = json_object_get(r->object, "sliding_window") != NULL, window = 0, on = 1, from = 0, pattern = 0;
    family_window kind = family->window;
    if (types && json_array_size(types) != (size_t)c->layers)
        wrong(r, "layer_types", "must have one entry for each layer");
    if (kind != FAMILY_WINDOW_NONE) /* null means none, an absent key the default */
        window = get_int(r, "sliding_window", named || kind == FAMILY_WINDOW_NOPE ? 0 : 4096);
    if (kind == FAMILY_WINDOW_UPPER || kind == FAMILY_WINDOW_SWITCH || kind == FAMILY_WINDOW_NOPE)
        on = get_bool(r, "use_sliding_window", 0);
    if (kind == FAMILY_WINDOW_UPPER)
        from = get_int(r, "max_window_layers", 28);
    if (kind == FAMILY_WINDOW_PATTERN)
        pattern = get_int(r, "sliding_window_pattern", 6);
    if (kind == FAMILY_WINDOW_PATTERN && pattern < 1)
        wrong(r, "sliding_window_pattern", "must be at least 1");
    if (window < 0)
        wrong(r, "sliding_window", "must be positive");
    for (int i = 0; i < c->layers && r->status == GRPO_OK; i++) {
        int usual = on && window && i >= from;
        if (kind == FAMILY_WINDOW_NOPE)
            usual = usual && c->layer[i].rope < 0;
        if (kind == FAMILY_WINDOW_PATTERN)
            usual = (i + 1) % pattern != 0;
        int sliding = layer_is_sliding(r, types, i, usual);
        if (sliding == 1 && !(on && window))
            wrong(r, "layer_types", "has a sliding layer, but no sliding window is set");
        int free = kind == FAMILY_WINDOW_UPPER || kind == FAMILY_WINDOW_NOPE || kind == FAMILY_WINDOW_PATTERN;
        if (sliding >= 0 && sliding != usual && !free)
            wrong(r, "layer_types", "disagrees with what this family computes");
        c->layer[i].window = sliding == 1 ? window : 0;
        if (family->gemma)
            c->layer[i].rope = sliding == 1;
    }
}

static void read_nope(reader *r, const model_family *family, model_config *c)
{
    if (family->window != FAMILY_WINDOW_NOPE)
        return;
    const json_t *list = get_array(r, "no_rope_layers");
    int interval = get_int(r, "no_rope_layer_interval", 4);
    if (list && json_array_size(list) < (size_t)c->layers)
        wrong(r, "no_rope_layers", "must have an entry for each layer");
    if (!list && interval < 1)
        wrong(r, "no_rope_layer_interval", "must be at least 1");
    for (int i = 0; i < c->layers && r->status == GRPO_OK; i++) {
        int rotates = list ? json_integer_value(json_array_get(list, (size_t)i)) != 0 : (i + 1) % interval != 0;
        c->layer[i].rope = rotates ? 0 : -1;
    }
}

static void read_experts(reader *r, const model_family *family, model_config *c)
{
    if (!family->moe)
        return;
    int local = get_int(r, "num_local_experts", 128), step = get_int(r, "decoder_sparse_step", 1);
    const json_t *dense = get_array(r, "mlp_only_layers");
    c->experts = get_int(r, "num_experts", local);
    c->experts_used = get_int(r, "num_experts_per_tok", 8);
    c->expert_ffn = get_int(r, "moe_intermediate_size", 768);
    c->norm_topk_prob = get_bool(r, "norm_topk_prob", 0);
    if (step < 1)
        wrong(r, "decoder_sparse_step", "must be at least 1");
    for (int i = 0; i < c->layers && r->status == GRPO_OK; i++)
        c->layer[i].moe = c->experts > 0 && (i + 1) % step == 0;
    for (size_t i = 0; dense && i < json_array_size(dense); i++) {
        const json_t *v = json_array_get(dense, i);
        if (!json_is_integer(v))
            wrong(r, "mlp_only_layers", "must hold layer numbers");
        else if (json_integer_value(v) >= 0 && json_integer_value(v) < c->layers)
            c->layer[json_integer_value(v)].moe = 0;
    }
    int any = 0;
    for (int i = 0; i < c->layers; i++)
        any |= c->layer[i].moe;
    if (!any)
        c->experts = c->experts_used = c->expert_ffn = 0;
}

/* ---- sizes, tokens, head --------------------------------------------------------------------- */

static void read_sizes(reader *r, const model_family *family, model_config *c)
{
    c->hidden = get_int(r, "hidden_size", family->hidden);
    c->ffn = get_int(r, "intermediate_size", family->ffn);
    c->layers = get_int(r, "num_hidden_layers", family->layers);
    c->heads = get_int(r, "num_attention_heads", family->heads);
    /* An absent key has the class's default, null means as many as heads. */
    int absent = json_object_get(r->object, "num_key_value_heads") == NULL;
    c->kv_heads = get_int(r, "num_key_value_heads", absent && family->kv_heads ? family->kv_heads : c->heads);
    int fallback = family->head_dim ? family->head_dim : c->heads > 0 ? c->hidden / c->heads : 0;
    c->head_dim = c->rotary_dim = get_int(r, "head_dim", fallback);
    c->vocab = get_int(r, "vocab_size", family->vocab);
    c->max_positions = get_int(r, "max_position_embeddings", family->max_positions);
    c->norm_eps = (float)get_double(r, "rms_norm_eps", family->norm_eps);
    c->tied_embeddings = get_bool(r, "tie_word_embeddings", family->tied);
    if (c->layers < 1 || c->layers > MODEL_MAX_LAYERS)
        wrong(r, "num_hidden_layers", "must be from 1 to 256");
}

static void read_variants(reader *r, const model_family *family, model_config *c)
{
    const char *key = family->gemma ? "hidden_activation" : "hidden_act";
    const char *activation = get_string(r, key, family->gemma ? "gelu_pytorch_tanh" : "silu");
    if (strcmp(activation, "silu") == 0 || strcmp(activation, "swish") == 0)
        c->activation = OPS_SILU;
    else if (strcmp(activation, "gelu_pytorch_tanh") == 0 || strcmp(activation, "gelu_new") == 0)
        c->activation = OPS_GELU_TANH;
    else if (r->status == GRPO_OK)
        r->status = grpo_fail(r->err, GRPO_ERR_UNSUPPORTED,
                              "%s: %s \"%.40s\" is not supported (silu, gelu_pytorch_tanh are)", r->where, key,
                              activation);
    if (family->bias == FAMILY_BIAS_KEY)
        c->q_bias = c->k_bias = c->v_bias = c->o_bias = get_bool(r, "attention_bias", 0);
    if (family->mlp_bias_key)
        c->mlp_bias = get_bool(r, "mlp_bias", 0);
    if (family->gemma) {
        double scalar = get_double(r, "query_pre_attn_scalar", 256);
        if (!(scalar > 0))
            wrong(r, "query_pre_attn_scalar", "must be positive");
        c->attention_scale = (float)(1 / sqrt(scalar));
    }
}

/* Ids outside the vocabulary name no token (files in use hold -1 and vocab_size): none. */
static int32_t token_id(const model_config *c, json_int_t id)
{
    return id >= 0 && id < c->vocab ? (int32_t)id : -1;
}

static void read_eos(reader *r, const json_t *v, model_config *c)
{
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    c->n_eos = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_is_array(v) ? json_array_get(v, i) : v;
        if (!json_is_integer(item) || c->n_eos == MODEL_MAX_EOS) {
            wrong(r, "eos_token_id", "must be a token id or a list of at most 16");
            return;
        }
        int32_t id = token_id(c, json_integer_value(item));
        if (id >= 0)
            c->eos[c->n_eos++] = id;
    }
}

static int get_token(reader *r, const char *key, const model_config *c, int fallback)
{
    if (!json_object_get(r->object, key)) {
        get(r, key);
        return token_id(c, fallback);
    }
    return token_id(c, get_int(r, key, -1));
}

static void read_tokens(reader *r, const model_family *family, const json_t *generation, model_config *c)
{
    const json_t *eos = get(r, "eos_token_id"), *better = json_object_get(generation, "eos_token_id");
    c->bos = get_token(r, "bos_token_id", c, family->bos);
    c->pad = get_token(r, "pad_token_id", c, family->pad);
    if (better && !json_is_null(better))
        eos = better;
    if (eos)
        read_eos(r, eos, c);
    else if (!json_object_get(r->object, "eos_token_id") && token_id(c, family->eos) >= 0)
        c->eos[c->n_eos++] = family->eos;
}

/* A class name is the family's prefix and one of these. */
static void read_head(reader *r, const model_family *family, model_config *c)
{
    static const struct {
        const char *suffix;
        model_head head;
    } heads[] = {{"ForCausalLM", MODEL_HEAD_LM},
                 {"ForSequenceClassification", MODEL_HEAD_SEQUENCE},
                 {"ForTokenClassification", MODEL_HEAD_TOKEN}};
    const json_t *list = get_array(r, "architectures");
    const char *name = json_string_value(json_array_get(list, 0));
    c->head = MODEL_HEAD_LM;
    if (!list || json_array_size(list) == 0 || r->status != GRPO_OK)
        return;
    size_t prefix = strlen(family->prefix);
    const char *rest = name && strncasecmp(name, family->prefix, prefix) == 0 ? name + prefix : "";
    if (family->gemma && strncmp(rest, "Text", 4) == 0)
        rest += 4;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        if (strcmp(rest, heads[i].suffix) == 0) {
            c->head = heads[i].head;
            if (c->head == MODEL_HEAD_LM)
                return;
            const json_t *labels = get(r, "id2label");
            int n = labels ? (int)json_object_size(labels) : get_int(r, "num_labels", 2);
            if (n != 1)
                wrong(r, "id2label", "must have one label: reward and value models give one number");
            c->tied_embeddings = 0;
            return;
        }
    r->status = grpo_fail(r->err, GRPO_ERR_UNSUPPORTED,
                          "%s: architecture \"%.60s\" is not supported for model_type %s (supported: %sForCausalLM, "
                          "%sForSequenceClassification, %sForTokenClassification)",
                          r->where, name ? name : "?", family->model_type, family->prefix, family->prefix,
                          family->prefix);
}

static void read_all(reader *r, const model_family *family, const json_t *generation, model_config *c)
{
    get(r, "model_type");
    if (get(r, "quantization_config"))
        wrong(r, "quantization_config", "is set: quantised safetensors are not supported, use a GGUF file or the unquantised model");
    read_sizes(r, family, c);
    read_variants(r, family, c);
    read_head(r, family, c);
    if (r->status != GRPO_OK)
        return;
    read_ropes(r, family, c);
    read_nope(r, family, c);
    read_windows(r, family, c);
    read_experts(r, family, c);
    read_tokens(r, family, generation, c);
    refuse_leftovers(r);
    model_family_finish(family, c);
}

json_t *model_config_text_part(const json_t *json)
{
    const char *type = json_string_value(json_object_get(json, "model_type"));
    json_t *text = json_object_get(json, "text_config");
    if (!type || strcmp(type, "gemma3") != 0 || !json_is_object(text))
        return json_incref((json_t *)json);
    static const char *const shared[] = {"bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings",
                                         "torch_dtype", "dtype", "transformers_version", "quantization_config"};
    json_t *part = json_copy(text);
    for (size_t i = 0; part && i < sizeof shared / sizeof *shared; i++) {
        json_t *value = json_object_get(json, shared[i]);
        if (value && !json_object_get(part, shared[i]))
            json_object_set(part, shared[i], value);
    }
    if (part) {
        json_object_set_new(part, "model_type", json_string("gemma3_text"));
        json_object_set_new(part, "architectures", json_pack("[s]", "Gemma3ForCausalLM"));
    }
    return part;
}

grpo_status model_config_from_json(model_config *c, const json_t *json, const json_t *generation,
                                   const char *where, grpo_error *err)
{
    char list[256];
    *c = (model_config){0};
    if (!json_is_object(json))
        return grpo_fail(err, GRPO_ERR_CONFIG, "%s: not a JSON object", where);
    json_t *part = model_config_text_part(json);
    if (!part)
        return mem_fail(err, where, 0);
    const char *type = json_string_value(json_object_get(part, "model_type"));
    const model_family *family = type ? model_family_named(type) : NULL;
    reader r = {.object = part, .where = where, .inside = "", .err = err};
    if (!type)
        r.status = grpo_fail(err, GRPO_ERR_CONFIG, "%s: model_type is missing", where);
    else if (!family)
        r.status = grpo_fail(err, GRPO_ERR_UNSUPPORTED, "%s: model_type \"%.60s\" is not supported (supported: %s)",
                             where, type, model_family_list(list, sizeof list, 0));
    else {
        model_family_start(family, c);
        read_all(&r, family, generation, c);
    }
    json_decref(part);
    if (r.status == GRPO_OK && (r.status = model_config_check(c, err)) != GRPO_OK)
        grpo_error_prefix(err, "%s", where);
    if (r.status != GRPO_OK)
        model_config_deinit(c);
    return r.status;
}
