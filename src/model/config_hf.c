/* Reading config.json. Every key that is read counts as understood; what is left over at the end
 * must be known to have no effect on the numbers. */
#include <math.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "model/config_hf.h"
#include "model/config_hf_rope.h"

/* Keys without effect on what the model computes in evaluation: bookkeeping, training-time
 * settings (initialisation, losses of other tasks), generation defaults of old files. */
static int is_harmless(const char *key)
{
    static const char *const keys[] = {
        "architectures", "attn_implementation", "auto_map", "bad_words_ids", "begin_suppress_tokens", "cache_config",
        "cache_implementation", "chunk_size_feed_forward", "cross_attention_hidden_size", "decoder_start_token_id",
        "diversity_penalty", "do_sample", "dtype", "early_stopping", "embd_pdrop", "attn_pdrop", "resid_pdrop",
        "encoder_no_repeat_ngram_size", "experts_implementation", "exponential_decay_length_penalty", "finetuning_task",
        "forced_bos_token_id", "forced_eos_token_id", "gradient_checkpointing", "id2label", "initializer_factor",
        "initializer_range", "is_decoder", "is_llama_config", "label2id", "length_penalty", "max_length", "max_new_tokens",
        "max_sequence_length", "max_window_layers", "min_length", "min_new_tokens", "min_p", "model_max_length",
        "model_name", "model_type", "name_or_path", "no_repeat_ngram_size", "num_beam_groups", "num_beams", "num_labels",
        "num_return_sequences", "output_attentions", "output_hidden_states", "output_router_logits", "output_scores",
        "prefix", "pretraining_tp", "problem_type", "remove_invalid_values", "repetition_penalty", "return_dict",
        "return_dict_in_generate", "router_aux_loss_coef", "sep_token_id", "suppress_tokens", "task_specific_params",
        "temperature", "tf_legacy_loss", "tie_last_hidden_states", "tokenizer_class", "top_k", "top_p", "torch_dtype",
        "torchscript", "transformers.js_config", "transformers_version", "transformers_weights", "typical_p",
        "unsloth_fixed", "unsloth_version", "use_bfloat16", "use_cache",
    };
    if (key[0] == '_' || strstr(key, "dropout"))
        return 1;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(keys[i], key) == 0)
            return 1;
    return 0;
}

/* Keys that say what cannot be done here, where the usual message would not help or false would pass for "off". */
static void refuse_known(config_reader *r)
{
    static const char *const quantised[] = {"quantization_config", "quantization", "compression_config"};
    for (size_t i = 0; i < sizeof quantised / sizeof *quantised; i++)
        if (config_get(r, quantised[i]))
            config_wrong(r, quantised[i], "is set: quantised safetensors are not supported, use a GGUF file or the "
                                          "unquantised model");
    if (!config_get_bool(r, "is_causal", 1))
        config_wrong(r, "is_causal", "false (attention to later tokens) is not supported");
}

/* ---- windows, layers without rotary embedding, experts -------------------------------------- */

/* 1 sliding, 0 full, -1 failure; `types` may be NULL. */
static int layer_is_sliding(config_reader *r, const json_t *types, int layer, int fallback)
{
    if (!types)
        return fallback;
    const char *type = json_string_value(json_array_get(types, (size_t)layer));
    if (type && strcmp(type, "full_attention") == 0)
        return 0;
    if (type && strcmp(type, "sliding_attention") == 0)
        return 1;
    config_wrong(r, "layer_types", "may hold \"full_attention\" and \"sliding_attention\" only");
    return -1;
}

static void read_windows(config_reader *r, const model_family *family, model_config *c)
{
    const json_t *types = config_get_array(r, "layer_types");
    int named = config_has(r, "sliding_window"), window = 0, on = 1, from = 0, pattern = 0;
    family_window kind = family->window;
    if (types && json_array_size(types) != (size_t)c->layers)
        config_wrong(r, "layer_types", "must have one entry for each layer");
    if (kind != FAMILY_WINDOW_NONE) /* null means none, an absent key the default */
        window = config_get_int(r, "sliding_window", named || kind == FAMILY_WINDOW_NOPE ? 0 : 4096);
    if (kind == FAMILY_WINDOW_UPPER || kind == FAMILY_WINDOW_SWITCH || kind == FAMILY_WINDOW_NOPE)
        on = config_get_bool(r, "use_sliding_window", 0);
    if (kind == FAMILY_WINDOW_UPPER)
        from = config_get_int(r, "max_window_layers", 28);
    if (kind == FAMILY_WINDOW_PATTERN)
        pattern = config_get_int(r, "sliding_window_pattern", 6);
    if (kind == FAMILY_WINDOW_PATTERN && pattern < 1)
        config_wrong(r, "sliding_window_pattern", "must be at least 1");
    if (window < 0 || (on && json_is_integer(json_object_get(r->object, "sliding_window")) && window == 0))
        config_wrong(r, "sliding_window", "must be positive (null: none)");
    for (int i = 0; i < c->layers && r->status == GRPO_OK; i++) {
        int usual = on && window && i >= from;
        if (kind == FAMILY_WINDOW_NOPE)
            usual = usual && c->layer[i].rope < 0;
        if (kind == FAMILY_WINDOW_PATTERN)
            usual = (i + 1) % pattern != 0;
        int sliding = layer_is_sliding(r, types, i, usual);
        if (sliding == 1 && !(on && window))
            config_wrong(r, "layer_types", "has a sliding layer, but no sliding window is set");
        int free = kind == FAMILY_WINDOW_UPPER || kind == FAMILY_WINDOW_NOPE || kind == FAMILY_WINDOW_PATTERN;
        if (sliding >= 0 && sliding != usual && !free)
            config_wrong(r, "layer_types", "disagrees with what this family computes");
        c->layer[i].window = sliding == 1 ? window : 0;
        if (family->gemma)
            c->layer[i].rope = sliding == 1;
    }
}

static void read_nope(config_reader *r, const model_family *family, model_config *c)
{
    if (family->window != FAMILY_WINDOW_NOPE)
        return;
    const json_t *list = config_get_array(r, "no_rope_layers");
    int interval = config_get_int(r, "no_rope_layer_interval", 4);
    if (list && json_array_size(list) < (size_t)c->layers)
        config_wrong(r, "no_rope_layers", "must have an entry for each layer");
    if (!list && interval < 1)
        config_wrong(r, "no_rope_layer_interval", "must be at least 1");
    for (int i = 0; i < c->layers && r->status == GRPO_OK; i++) {
        int rotates = list ? json_integer_value(json_array_get(list, (size_t)i)) != 0 : (i + 1) % interval != 0;
        c->layer[i].rope = rotates ? 0 : -1;
    }
}

static void read_experts(config_reader *r, const model_family *family, model_config *c)
{
    if (!family->moe)
        return;
    int local = config_get_int(r, "num_local_experts", 128), step = config_get_int(r, "decoder_sparse_step", 1);
    const json_t *dense = config_get_array(r, "mlp_only_layers");
    c->experts = config_get_int(r, "num_experts", local);
    c->experts_used = config_get_int(r, "num_experts_per_tok", 8);
    c->expert_ffn = config_get_int(r, "moe_intermediate_size", 768);
    c->norm_topk_prob = config_get_bool(r, "norm_topk_prob", 0);
    if (step < 1)
        config_wrong(r, "decoder_sparse_step", "must be at least 1");
    for (int i = 0; i < c->layers && r->status == GRPO_OK; i++)
        c->layer[i].moe = c->experts > 0 && (i + 1) % step == 0;
    for (size_t i = 0; dense && i < json_array_size(dense); i++) {
        const json_t *v = json_array_get(dense, i);
        if (!json_is_integer(v))
            config_wrong(r, "mlp_only_layers", "must hold layer numbers");
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

static void read_sizes(config_reader *r, const model_family *family, model_config *c)
{
    c->hidden = config_get_int(r, "hidden_size", family->hidden);
    c->ffn = config_get_int(r, "intermediate_size", family->ffn);
    c->layers = config_get_int(r, "num_hidden_layers", family->layers);
    c->heads = config_get_int(r, "num_attention_heads", family->heads);
    /* An absent key has the class's default, null means as many as heads. */
    int absent = !config_has(r, "num_key_value_heads");
    c->kv_heads = config_get_int(r, "num_key_value_heads", absent && family->kv_heads ? family->kv_heads : c->heads);
    int fallback = family->head_dim ? family->head_dim : c->heads > 0 ? c->hidden / c->heads : 0;
    c->head_dim = c->rotary_dim = config_get_int(r, "head_dim", fallback);
    c->vocab = config_get_int(r, "vocab_size", family->vocab);
    c->max_positions = config_get_int(r, "max_position_embeddings", family->max_positions);
    c->norm_eps = (float)config_get_double(r, "rms_norm_eps", family->norm_eps);
    c->tied_embeddings = config_get_bool(r, "tie_word_embeddings", family->tied);
    if (c->layers < 1 || c->layers > MODEL_MAX_LAYERS)
        config_wrong(r, "num_hidden_layers", "must be from 1 to 256");
}

static void read_variants(config_reader *r, const model_family *family, model_config *c)
{
    const char *key = family->gemma ? "hidden_activation" : "hidden_act";
    const char *activation = config_get_string(r, key, family->gemma ? "gelu_pytorch_tanh" : "silu");
    if (strcmp(activation, "silu") == 0 || strcmp(activation, "swish") == 0)
        c->activation = OPS_SILU;
    else if (strcmp(activation, "gelu_pytorch_tanh") == 0 || strcmp(activation, "gelu_new") == 0)
        c->activation = OPS_GELU_TANH;
    else if (r->status == GRPO_OK)
        r->status = grpo_fail(r->err, GRPO_ERR_UNSUPPORTED,
                              "%s: %s \"%.40s\" is not supported (silu, gelu_pytorch_tanh are)", r->where, key,
                              activation);
    if (family->bias == FAMILY_BIAS_KEY)
        c->q_bias = c->k_bias = c->v_bias = c->o_bias = config_get_bool(r, "attention_bias", 0);
    if (family->mlp_bias_key)
        c->mlp_bias = config_get_bool(r, "mlp_bias", 0);
    if (family->gemma) {
        double scalar = config_get_double(r, "query_pre_attn_scalar", 256);
        if (!(scalar > 0))
            config_wrong(r, "query_pre_attn_scalar", "must be positive");
        c->attention_scale = (float)(1 / sqrt(scalar));
    }
}

/* Ids outside the vocabulary name no token (files in use hold -1 and vocab_size): none. */
static int32_t token_id(const model_config *c, json_int_t id)
{
    return id >= 0 && id < c->vocab ? (int32_t)id : -1;
}

static void read_eos(config_reader *r, const json_t *v, model_config *c)
{
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    c->n_eos = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_is_array(v) ? json_array_get(v, i) : v;
        if (!json_is_integer(item) || c->n_eos == MODEL_MAX_EOS) {
            config_wrong(r, "eos_token_id", "must be a token id or a list of at most 16");
            return;
        }
        int32_t id = token_id(c, json_integer_value(item));
        if (id >= 0)
            c->eos[c->n_eos++] = id;
    }
}

static int get_token(config_reader *r, const char *key, const model_config *c, int fallback)
{
    if (!config_has(r, key)) {
        config_get(r, key);
        return token_id(c, fallback);
    }
    return token_id(c, config_get_int(r, key, -1));
}

static void read_tokens(config_reader *r, const model_family *family, const json_t *generation, model_config *c)
{
    const json_t *eos = config_get(r, "eos_token_id"), *better = json_object_get(generation, "eos_token_id");
    c->bos = get_token(r, "bos_token_id", c, family->bos);
    c->pad = get_token(r, "pad_token_id", c, family->pad);
    if (better && !json_is_null(better))
        eos = better;
    if (eos)
        read_eos(r, eos, c);
    else if (!config_has(r, "eos_token_id") && token_id(c, family->eos) >= 0)
        c->eos[c->n_eos++] = family->eos;
}

/* A class name is the family's prefix and one of these. */
static void read_head(config_reader *r, const model_family *family, model_config *c)
{
    static const struct {
        const char *suffix;
        model_head head;
    } heads[] = {{"ForCausalLM", MODEL_HEAD_LM},
                 {"ForSequenceClassification", MODEL_HEAD_SEQUENCE},
                 {"ForTokenClassification", MODEL_HEAD_TOKEN}};
    const json_t *list = config_get_array(r, "architectures");
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
            const json_t *labels = config_get(r, "id2label");
            int n = labels ? (int)json_object_size(labels) : config_get_int(r, "num_labels", 2);
            if (n != 1)
                config_wrong(r, "id2label", "must have one label: reward and value models give one number");
            c->tied_embeddings = 0;
            return;
        }
    r->status = grpo_fail(r->err, GRPO_ERR_UNSUPPORTED,
                          "%s: architecture \"%.60s\" is not supported for model_type %s (supported: %sForCausalLM, "
                          "%sForSequenceClassification, %sForTokenClassification)",
                          r->where, name ? name : "?", family->model_type, family->prefix, family->prefix,
                          family->prefix);
}

static void read_all(config_reader *r, const model_family *family, const json_t *generation, model_config *c)
{
    config_get(r, "model_type");
    refuse_known(r);
    read_sizes(r, family, c);
    read_variants(r, family, c);
    read_head(r, family, c);
    if (r->status != GRPO_OK)
        return;
    config_read_ropes(r, family, c);
    read_nope(r, family, c);
    read_windows(r, family, c);
    read_experts(r, family, c);
    read_tokens(r, family, generation, c);
    config_refuse_leftovers(r, is_harmless);
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
    config_reader r = {.object = part, .where = where, .inside = "", .err = err};
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
        grpo_error_prefix(err, r.status, "%s", where);
    if (r.status != GRPO_OK)
        model_config_deinit(c);
    return r.status;
}
