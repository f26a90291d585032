/* Reading GGUF metadata. Keys begin with the architecture's name; those that are read count as
 * understood, and none may be left over. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/config_gguf.h"
#include "model/family.h"

enum { MAX_SEEN = 48, MAX_KEY = 128 };

typedef struct reader {
    const gguf_file *file;
    const model_family *family;
    char seen[MAX_SEEN][MAX_KEY];
    int n_seen;
    grpo_status status; /* sticky */
    grpo_error *err;
} reader;

static void wrong(reader *r, const char *key, const char *what)
{
    if (r->status == GRPO_OK)
        r->status = grpo_fail(r->err, GRPO_ERR_CONFIG, "%s: %s.%s %s", r->file->path, r->family->gguf, key, what);
}

static const gguf_value *get(reader *r, const char *key)
{
    char full[MAX_KEY];
    snprintf(full, sizeof full, "%s.%s", r->family->gguf, key);
    if (r->n_seen < MAX_SEEN)
        strcpy(r->seen[r->n_seen++], full);
    return gguf_find(r->file, full);
}

static int get_int(reader *r, const char *key, int fallback)
{
    const gguf_value *v = get(r, key);
    int64_t n;
    if (!v)
        return fallback;
    if (!gguf_as_int(v, &n) || n < INT_MIN || n > INT_MAX) {
        wrong(r, key, "must be one whole number");
        return fallback;
    }
    return (int)n;
}

static int need_int(reader *r, const char *key)
{
    int n = get_int(r, key, INT_MIN);
    if (n == INT_MIN)
        wrong(r, key, "is missing");
    return n == INT_MIN ? 0 : n;
}

/* Numbers are stored as f32: the shortest decimal that gives the same f32 is what was meant
 * (1e-05, not 9.9999997e-06). */
static double shortest_decimal(double x)
{
    char text[40];
    for (int digits = 1; digits <= 9; digits++) {
        double decimal;
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (sscanf(text, "%lf", &decimal) == 1 && (float)decimal == (float)x)
            return decimal;
    }
    return x;
}

static double get_double(reader *r, const char *key, double fallback)
{
    const gguf_value *v = get(r, key);
    double x;
    if (!v)
        return fallback;
    if (!gguf_as_double(v, &x) || !isfinite(x)) {
        wrong(r, key, "must be one number");
        return fallback;
    }
    return v->type == GGUF_F32 ? shortest_decimal(x) : x;
}

/* A string value compared with a constant. */
static int is_text(const gguf_value *v, const char *text)
{
    return v->type == GGUF_STRING && v->count == strlen(text) && memcmp(v->data, text, v->count) == 0;
}

static int is_off(const gguf_value *v)
{
    double x;
    return (v->type == GGUF_STRING || v->type == GGUF_ARRAY) ? v->count == 0 : gguf_as_double(v, &x) && x == 0;
}

static void refuse_leftovers(reader *r)
{
    size_t prefix = strlen(r->family->gguf);
    for (size_t i = 0; i < r->file->n_pairs && r->status == GRPO_OK; i++) {
        const char *key = r->file->pairs[i].key;
        int known = strncmp(key, r->family->gguf, prefix) != 0 || key[prefix] != '.' ||
                    is_off(&r->file->pairs[i].value);
        for (int s = 0; s < r->n_seen && !known; s++)
            known = strcmp(key, r->seen[s]) == 0;
        if (!known)
            r->status = grpo_fail(r->err, GRPO_ERR_UNSUPPORTED,
                                  "%s: the metadata key %s is not understood and might change what the model computes",
                                  r->file->path, key);
    }
}

static int has_tensor(const reader *r, const char *name)
{
    return gguf_find_tensor(r->file, name) != NULL;
}

static void read_sizes(reader *r, model_config *c)
{
    const gguf_tensor *embed = gguf_find_tensor(r->file, "token_embd.weight");
    c->layers = need_int(r, "block_count");
    c->max_positions = need_int(r, "context_length");
    c->hidden = need_int(r, "embedding_length");
    c->ffn = need_int(r, "feed_forward_length");
    c->heads = need_int(r, "attention.head_count");
    c->kv_heads = get_int(r, "attention.head_count_kv", c->heads);
    c->head_dim = get_int(r, "attention.key_length", c->heads > 0 ? c->hidden / c->heads : 0);
    c->rotary_dim = c->head_dim;
    if (get_int(r, "attention.value_length", c->head_dim) != c->head_dim)
        wrong(r, "attention.value_length", "differs from the key length, which is not supported");
    if (get_int(r, "rope.dimension_count", c->head_dim) != c->head_dim)
        wrong(r, "rope.dimension_count", "differs from the head size: partial rotation is not supported");
    c->norm_eps = (float)get_double(r, "attention.layer_norm_rms_epsilon", 0);
    if (c->norm_eps == 0)
        wrong(r, "attention.layer_norm_rms_epsilon", "is missing");
    if (!embed || embed->rank != 2 || embed->ne[1] > INT_MAX)
        r->status = grpo_fail(r->err, GRPO_ERR_FORMAT, "%s: there is no tensor token_embd.weight", r->file->path);
    else
        c->vocab = (int)embed->ne[1];
    get_int(r, "vocab_size", 0);
    if (get_int(r, "attention.causal", 1) != 1)
        wrong(r, "attention.causal", "false is not supported");
    c->tied_embeddings = !has_tensor(r, "output.weight");
    if (r->status == GRPO_OK && (c->layers < 1 || c->layers > MODEL_MAX_LAYERS))
        wrong(r, "block_count", "must be from 1 to 256");
}

static void read_biases(reader *r, model_config *c)
{
    if (r->family->bias == FAMILY_BIAS_KEY) {
        c->q_bias = has_tensor(r, "blk.0.attn_q.bias");
        c->k_bias = has_tensor(r, "blk.0.attn_k.bias");
        c->v_bias = has_tensor(r, "blk.0.attn_v.bias");
        c->o_bias = has_tensor(r, "blk.0.attn_output.bias");
    }
    if (r->family->mlp_bias_key)
        c->mlp_bias = has_tensor(r, "blk.0.ffn_gate.bias");
}

/* rope_freqs.weight: divisors of the frequencies (how Llama 3's scaling is stored). */
static void read_factors(reader *r, model_config *c)
{
    const gguf_tensor *t = gguf_find_tensor(r->file, "rope_freqs.weight");
    model_rope *rope = &c->ropes[0];
    if (!t || r->status != GRPO_OK)
        return;
    if (rope->scaling != MODEL_ROPE_PLAIN)
        wrong(r, "rope.scaling.type", "and rope_freqs.weight are both given");
    else if (t->rank != 1 || t->ne[0] != c->rotary_dim / 2 || t->type->ggml != 0)
        r->status = grpo_fail(r->err, GRPO_ERR_FORMAT, "%s: rope_freqs.weight must be F32 with %d elements",
                              r->file->path, c->rotary_dim / 2);
    else if (!(rope->factors = mem_calloc((size_t)t->ne[0], sizeof *rope->factors)))
        r->status = mem_fail(r->err, "rotary factors", (size_t)t->bytes);
    else {
        rope->scaling = MODEL_ROPE_FACTORS;
        t->type->decode(rope->factors, t->data, (size_t)t->ne[0]);
    }
}

static void read_rope(reader *r, model_config *c)
{
    model_rope *rope = &c->ropes[0];
    const gguf_value *type = get(r, "rope.scaling.type");
    c->n_ropes = 1;
    rope->theta = get_double(r, "rope.freq_base", 1e4);
    get(r, "rope.scaling.finetuned");
    double old = get_double(r, "rope.scale_linear", 0);
    rope->factor = get_double(r, "rope.scaling.factor", old);
    rope->original_positions = get_int(r, "rope.scaling.original_context_length", c->max_positions);
    if (type && is_text(type, "yarn")) {
        rope->scaling = MODEL_ROPE_YARN;
        rope->beta_fast = get_double(r, "rope.scaling.yarn_beta_fast", 0);
        rope->beta_slow = get_double(r, "rope.scaling.yarn_beta_slow", 0);
        rope->truncate = 1;
    } else if (type ? is_text(type, "linear") : rope->factor != 0 && rope->factor != 1)
        rope->scaling = MODEL_ROPE_LINEAR;
    else if (type && !is_text(type, "none"))
        wrong(r, "rope.scaling.type", "is not supported (none, linear and yarn are)");
    /* What llama.cpp makes of these is not what YaRN's attention_factor means in the model's own files. */
    static const char *const ones[] = {"rope.scaling.attn_factor", "rope.scaling.yarn_attn_factor",
                                       "rope.scaling.yarn_ext_factor"};
    for (size_t i = 0; i < sizeof ones / sizeof *ones; i++)
        if (get_double(r, ones[i], 1) != 1)
            wrong(r, ones[i], "other than 1 is not supported");
    if (rope->scaling == MODEL_ROPE_PLAIN)
        rope->factor = rope->original_positions = 0;
    read_factors(r, c);
}

/* Gemma 3: every n-th layer is global; local layers have their own base and the window. Without a window all are
 * global. llama.cpp takes 1 / sqrt(hidden / heads) as attention scale for the 62 layers of the 27B model. */
static void read_gemma(reader *r, model_config *c)
{
    int window = get_int(r, "attention.sliding_window", 0), pattern = 6;
    const gguf_value *layers = get(r, "attention.sliding_window_pattern");
    int listed = layers && layers->type == GGUF_ARRAY;
    if (layers && !listed)
        pattern = get_int(r, "attention.sliding_window_pattern", 6);
    if (pattern < 1 || (listed && layers->count != (uint64_t)c->layers)) {
        wrong(r, "attention.sliding_window_pattern", "must be a number or one entry for each layer");
        return;
    }
    c->n_ropes = 2;
    c->ropes[1].theta = get_double(r, "rope.freq_base_swa", 1e4);
    for (int i = 0; i < c->layers && r->status == GRPO_OK; i++) {
        int64_t sliding = (i + 1) % pattern != 0;
        if (listed && !gguf_item_int(layers, (uint64_t)i, &sliding))
            wrong(r, "attention.sliding_window_pattern", "must hold true and false");
        c->layer[i].window = sliding ? window : 0;
        c->layer[i].rope = sliding && window ? 1 : 0;
    }
    if (window < 0)
        wrong(r, "attention.sliding_window", "must be positive");
    if (c->layers == 62 && c->heads > 0 && c->hidden / c->heads > 0)
        c->attention_scale = (float)(1 / sqrt((double)(c->hidden / c->heads)));
}

static void read_experts(reader *r, model_config *c)
{
    if (!r->family->moe)
        return;
    c->experts = need_int(r, "expert_count");
    c->experts_used = need_int(r, "expert_used_count");
    c->expert_ffn = get_int(r, "expert_feed_forward_length", c->experts_used > 0 ? c->ffn / c->experts_used : 0);
    c->norm_topk_prob = 1; /* llama.cpp always does */
    for (int i = 0; i < c->layers; i++)
        c->layer[i].moe = 1;
}

static int32_t token_id(const reader *r, const model_config *c, const char *name)
{
    char key[MAX_KEY];
    int64_t id;
    snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", name);
    const gguf_value *v = gguf_find(r->file, key);
    return v && gguf_as_int(v, &id) && id >= 0 && id < c->vocab ? (int32_t)id : -1;
}

static void read_tokens(reader *r, model_config *c)
{
    static const char *const ends[] = {"eos", "eot", "eom"};
    c->bos = token_id(r, c, "bos");
    c->pad = token_id(r, c, "padding");
    for (int i = 0; i < 3; i++) {
        int32_t id = token_id(r, c, ends[i]);
        int known = id < 0;
        for (int e = 0; e < c->n_eos; e++)
            known |= c->eos[e] == id;
        if (!known)
            c->eos[c->n_eos++] = id;
    }
}

static void read_all(reader *r, model_config *c)
{
    read_sizes(r, c);
    if (r->status != GRPO_OK)
        return;
    read_biases(r, c);
    read_rope(r, c);
    for (int i = 0; i < c->layers; i++) /* SmolLM3: llama.cpp leaves every fourth layer unrotated */
        c->layer[i].rope = r->family->window == FAMILY_WINDOW_NOPE && (i + 1) % 4 == 0 ? -1 : 0;
    if (r->family->gemma)
        read_gemma(r, c);
    read_experts(r, c);
    read_tokens(r, c);
    refuse_leftovers(r);
    model_family_finish(r->family, c);
}

static grpo_status refuse_part(const gguf_file *f, grpo_error *err)
{
    const gguf_value *count = gguf_find(f, "split.count"), *number = gguf_find(f, "split.no");
    int64_t parts = 1, part = 0;
    if (!count || !gguf_as_int(count, &parts) || parts <= 1)
        return GRPO_OK;
    if (number)
        gguf_as_int(number, &part);
    return grpo_fail(err, GRPO_ERR_UNSUPPORTED, "%s: part %lld of a file that is split into %lld; join them with "
                     "llama-gguf-split --merge", f->path, (long long)part + 1, (long long)parts);
}

grpo_status model_config_from_gguf(model_config *c, const gguf_file *f, grpo_error *err)
{
    char name[64], list[256];
    const gguf_value *v = gguf_find(f, "general.architecture");
    *c = (model_config){0};
    if (refuse_part(f, err) != GRPO_OK)
        return GRPO_ERR_UNSUPPORTED;
    if (!v || v->type != GGUF_STRING)
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: general.architecture is missing", f->path);
    snprintf(name, sizeof name, "%.*s", (int)(v->count < 63 ? v->count : 63), (const char *)v->data);
    reader r = {.file = f, .family = model_family_of_gguf(name), .err = err};
    if (!r.family)
        return grpo_fail(err, GRPO_ERR_UNSUPPORTED, "%s: architecture \"%s\" is not supported (supported: %s)",
                         f->path, name, model_family_list(list, sizeof list, 1));
    model_family_start(r.family, c);
    read_all(&r, c);
    if (r.status == GRPO_OK && (r.status = model_config_check(c, err)) != GRPO_OK)
        grpo_error_prefix(err, r.status, "%s", f->path);
    if (r.status != GRPO_OK)
        model_config_deinit(c);
    return r.status;
}
