/* Writing GGUF models: which configurations llama.cpp computes alike, their metadata, the tensors. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/export_gguf.h"
#include "model/family.h"
#include "model/gguf_names.h"

enum { BLOCK_ELEMENTS = 1 << 20, LARGEST_HALF = 65504 };

typedef struct job {
    const model_export *e;
    model_config config; /* shallow copy; Mistral under the name of its GGUF architecture */
    const model_family *family;
    const tensor_type *type;
    gguf_meta meta;
    model_tensor *tensors; /* of each entry; of an expert tensor the first expert's */
    gguf_entry *entries;
    size_t count;
    float *factors; /* rope_freqs.weight, the last entry, or NULL */
    float *block, *reordered;
    size_t block_elements;
} job;

/* ---- what llama.cpp computes ------------------------------------------------------------------ */

static grpo_status refuse(grpo_error *err, const char *what)
{
    return grpo_fail(err, GRPO_ERR_UNSUPPORTED, "llama.cpp does not compute %s; export a Hugging Face folder instead", what);
}

static const char *rope_fault(const job *j, const model_rope *r)
{
    double usual = 0.1 * log(r->factor > 1 ? r->factor : 1) + 1;
    if ((r->scaling == MODEL_ROPE_LLAMA3 || r->scaling == MODEL_ROPE_FACTORS) && strcmp(j->family->gguf, "llama") != 0)
        return "divided rotary frequencies in this family";
    if (r->scaling != MODEL_ROPE_YARN)
        return NULL;
    if ((r->beta_fast != 0 && r->beta_fast != 32) || (r->beta_slow != 0 && r->beta_slow != 1) || !r->truncate)
        return "YaRN with other bounds than beta_fast 32 and beta_slow 1";
    if ((r->attention_factor != 0 && fabs(r->attention_factor - usual) > 1e-6) ||
        (r->mscale != 0 && r->mscale_all_dim != 0 && r->mscale != r->mscale_all_dim))
        return "YaRN with another attention factor than 0.1 ln(factor) + 1";
    return NULL;
}

static const char *gemma_fault(const model_config *c)
{
    double per_head = sqrt((double)(c->layers == 62 ? c->hidden / c->heads : c->head_dim));
    int window = 0;
    for (int i = 0; i < c->layers; i++) {
        int local = (i + 1) % 6 != 0;
        if (local != (c->layer[i].window > 0) || c->layer[i].rope != local)
            return "Gemma 3 with another pattern than five local layers and a global one";
        window = local ? c->layer[i].window : window;
    }
    if (window == 0 || c->ropes[1].theta != 1e4 || c->ropes[1].scaling != MODEL_ROPE_PLAIN)
        return "Gemma 3 with another local rotary base than 10000";
    return fabs((double)c->attention_scale * per_head - 1) > 1e-6 ? "Gemma 3 with this query_pre_attn_scalar" : NULL;
}

static const char *layer_fault(const job *j)
{
    const model_config *c = &j->config;
    for (int i = 0; i < c->layers; i++) {
        int nope = j->family->window == FAMILY_WINDOW_NOPE && (i + 1) % 4 == 0;
        if (c->layer[i].window && c->layer[i].window < c->max_positions)
            return "sliding windows in this family";
        if ((c->layer[i].rope < 0) != nope)
            return "SmolLM3 with other unrotated layers than every fourth";
        if (j->family->moe && !c->layer[i].moe)
            return "mixtures of experts with dense layers";
    }
    if (j->family->moe && (c->q_bias || c->o_bias))
        return "mixtures of experts with attention biases";
    return j->family->moe && !c->norm_topk_prob ? "mixtures of experts without norm_topk_prob" : NULL;
}

static grpo_status check_representable(const job *j, grpo_error *err)
{
    const model_config *c = &j->config;
    const char *fault = rope_fault(j, &c->ropes[0]);
    if (c->head != MODEL_HEAD_LM)
        fault = "reward and value heads";
    if (!fault)
        fault = j->family->gemma ? gemma_fault(c) : layer_fault(j);
    return fault ? refuse(err, fault) : GRPO_OK;
}

/* ---- metadata -------------------------------------------------------------------------------------- */

static const char *key_of(const job *j, const char *key)
{
    static _Thread_local char full[96];
    snprintf(full, sizeof full, "%s.%s", j->family->gguf, key);
    return full;
}

static void put_u32(job *j, const char *key, int v)
{
    gguf_put_u32(&j->meta, key_of(j, key), (uint32_t)v);
}

static void put_f32(job *j, const char *key, double v)
{
    gguf_put_f32(&j->meta, key_of(j, key), (float)v);
}

static void put_text(job *j, const char *key, const char *text)
{
    gguf_put_string(&j->meta, key, text, strlen(text));
}

static void put_rope(job *j)
{
    const model_rope *r = &j->config.ropes[0];
    put_f32(j, "rope.freq_base", r->theta);
    if (r->scaling != MODEL_ROPE_LINEAR && r->scaling != MODEL_ROPE_YARN)
        return;
    put_text(j, key_of(j, "rope.scaling.type"), r->scaling == MODEL_ROPE_YARN ? "yarn" : "linear");
    put_f32(j, "rope.scaling.factor", r->factor);
    if (r->scaling == MODEL_ROPE_YARN)
        put_u32(j, "rope.scaling.original_context_length", (int)r->original_positions);
}

static void put_architecture(job *j)
{
    const model_config *c = &j->config;
    put_u32(j, "block_count", c->layers);
    put_u32(j, "context_length", c->max_positions);
    put_u32(j, "embedding_length", c->hidden);
    put_u32(j, "feed_forward_length", c->ffn);
    put_u32(j, "attention.head_count", c->heads);
    put_u32(j, "attention.head_count_kv", c->kv_heads);
    put_rope(j);
    put_f32(j, "attention.layer_norm_rms_epsilon", (double)c->norm_eps);
    if (c->head_dim * c->heads != c->hidden || j->family->gemma) {
        put_u32(j, "attention.key_length", c->head_dim);
        put_u32(j, "attention.value_length", c->head_dim);
    }
    if (j->family->gguf_permuted)
        put_u32(j, "rope.dimension_count", c->rotary_dim);
    put_u32(j, "vocab_size", c->vocab);
    if (j->family->gemma)
        put_u32(j, "attention.sliding_window", c->layer[0].window);
    if (j->family->moe) {
        put_u32(j, "expert_count", c->experts);
        put_u32(j, "expert_used_count", c->experts_used);
        put_u32(j, "expert_feed_forward_length", c->expert_ffn);
    }
}

static grpo_status put_tokenizer(job *j, const model_export_gguf_options *options, grpo_error *err)
{
    const gguf_file *source = options->tokenizer_gguf;
    if (!source && options->tokenizer_folder)
        return model_gguf_put_tokenizer(&j->meta, options->tokenizer_folder, &j->config, options->pre, err);
    if (!source)
        put_text(j, "tokenizer.ggml.model", "none");
    for (size_t i = 0; source && i < source->n_pairs; i++)
        if (strncmp(source->pairs[i].key, "tokenizer.", 10) == 0)
            gguf_put_copy(&j->meta, &source->pairs[i]);
    return GRPO_OK;
}

static grpo_status put_metadata(job *j, const model_export_gguf_options *options, grpo_error *err)
{
    static const struct {
        const char *type;
        uint32_t number; /* general.file_type */
    } file_types[] = {{"F32", 0}, {"F16", 1}, {"Q8_0", 7}, {"BF16", 32}};
    put_text(j, "general.architecture", j->family->gguf);
    put_text(j, "general.type", "model");
    put_text(j, "general.name", options->name ? options->name : j->e->config->family);
    put_architecture(j);
    for (size_t i = 0; i < sizeof file_types / sizeof *file_types; i++)
        if (strcmp(file_types[i].type, options->type) == 0)
            gguf_put_u32(&j->meta, "general.file_type", file_types[i].number);
    gguf_put_u32(&j->meta, "general.quantization_version", 2);
    return put_tokenizer(j, options, err);
}

/* ---- tensors ----------------------------------------------------------------------------------------- */

static const tensor_type *type_for(const job *j, const model_tensor *t)
{
    if (t->rank == 1 || t->role == MODEL_T_ROUTER)
        return tensor_type_named("F32");
    return t->columns % (int)j->type->elements == 0 ? j->type : tensor_type_named("F16");
}

static grpo_status list_entries(job *j, grpo_error *err)
{
    size_t n = (size_t)model_tensor_count(&j->config) + 1, largest = BLOCK_ELEMENTS;
    model_tensor_walk w = {.config = &j->config};
    j->tensors = mem_calloc(n, sizeof *j->tensors);
    j->entries = mem_calloc(n, sizeof *j->entries);
    if (!j->tensors || !j->entries)
        return mem_fail(err, "the list of tensors", n * sizeof *j->tensors);
    while (model_tensor_next(&w)) {
        const model_tensor *t = &w.tensor;
        gguf_entry *e = &j->entries[j->count];
        if (t->expert > 0)
            continue;
        j->tensors[j->count++] = *t;
        *e = (gguf_entry){.type = type_for(j, t), .rank = t->expert == 0 ? 3 : t->rank,
                          .ne = {t->columns, t->rows, j->config.experts}};
        model_gguf_name(e->name, &j->config, t);
        size_t head = (size_t)j->config.head_dim * (size_t)t->columns; /* reordered as a whole */
        largest = head > largest ? head : largest;
    }
    if (j->factors)
        j->entries[j->count] = (gguf_entry){.name = "rope_freqs.weight", .type = tensor_type_named("F32"), .rank = 1,
                                            .ne = {j->config.rotary_dim / 2}};
    j->block_elements = largest;
    j->block = mem_calloc(largest, sizeof *j->block);
    j->reordered = mem_calloc(largest, sizeof *j->reordered);
    return j->block && j->reordered ? GRPO_OK : mem_fail(err, "writing tensors", largest * sizeof *j->block);
}

/* rope_freqs.weight: what Llama 3's scaling divides each frequency by. */
static grpo_status make_factors(job *j, grpo_error *err)
{
    const model_rope *r = &j->config.ropes[0];
    int half = j->config.rotary_dim / 2;
    const double pi = 3.14159265358979323846;
    if (r->scaling != MODEL_ROPE_LLAMA3 && r->scaling != MODEL_ROPE_FACTORS)
        return GRPO_OK;
    if (!(j->factors = mem_calloc((size_t)half, sizeof *j->factors)))
        return mem_fail(err, "rotary factors", (size_t)half * sizeof *j->factors);
    for (int i = 0; i < half; i++) {
        double wave = 2 * pi * pow(r->theta, (double)i / half), smooth;
        if (r->scaling == MODEL_ROPE_FACTORS)
            j->factors[i] = r->factors[i];
        else if (wave < r->original_positions / r->high_freq_factor)
            j->factors[i] = 1;
        else if (wave > r->original_positions / r->low_freq_factor)
            j->factors[i] = (float)r->factor;
        else {
            smooth = (r->original_positions / wave - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
            j->factors[i] = (float)(1 / ((1 - smooth) / r->factor + smooth));
        }
    }
    return GRPO_OK;
}

/* Puts `units` rows (elements of a vector) of `width` values of whole heads in the converter's order. */
static float *reorder(job *j, size_t units, size_t width)
{
    for (size_t i = 0; i < units; i++) {
        size_t stored = (size_t)model_gguf_stored_row((int64_t)i, j->config.head_dim);
        memcpy(j->reordered + stored * width, j->block + i * width, width * sizeof(float));
    }
    return j->reordered;
}

static grpo_status check_values(const job *j, const tensor_type *type, const model_tensor *t, const float *x, size_t n,
                                grpo_error *err)
{
    int half = type->ggml == 1 || type->ggml == 8; /* F16, or scales in F16 */
    (void)j;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i]))
            return grpo_fail(err, GRPO_ERR_NUMERIC, "tensor %s holds values that are not finite (NaN or infinity); such a model is not exported",
                             t->name);
        if (half && fabsf(x[i]) > LARGEST_HALF)
            return grpo_fail(err, GRPO_ERR_NUMERIC, "tensor %s holds %g, which %s cannot hold; export as BF16 or F32", t->name,
                             (double)x[i], type->name);
    }
    return GRPO_OK;
}

static grpo_status write_tensor(job *j, gguf_writer *w, const tensor_type *type, const model_tensor *t, grpo_error *err)
{
    int permuted = model_gguf_permuted_heads(&j->config, t) > 0;
    int64_t step = (int64_t)(j->block_elements / (size_t)t->columns);
    if (permuted)
        step -= step % j->config.head_dim; /* whole heads */
    for (int64_t row = 0; row < t->rows; row += step) {
        int64_t rows = t->rows - row < step || t->rank == 1 ? t->rows - row : step;
        size_t n = (size_t)rows * (size_t)t->columns;
        grpo_status status = j->e->read(j->e->context, t->name, row, rows, j->block, err);
        if (status == GRPO_OK)
            status = check_values(j, type, t, j->block, n, err);
        for (size_t i = 0; status == GRPO_OK && model_tensor_is_norm(t->role) && i < n; i++)
            j->block[i] += j->config.norm_offset;
        float *x = j->block;
        if (permuted)
            x = t->rank == 1 ? reorder(j, (size_t)t->columns, 1) : reorder(j, (size_t)rows, (size_t)t->columns);
        if (status == GRPO_OK)
            status = gguf_append(w, x, n, err);
        if (status != GRPO_OK || t->rank == 1)
            return status;
    }
    return GRPO_OK;
}

static grpo_status write_file(job *j, const char *path, grpo_error *err)
{
    gguf_writer w;
    grpo_status status = gguf_create(&w, path, &j->meta, j->entries, j->count + (j->factors != NULL), err);
    if (status != GRPO_OK)
        return status;
    for (size_t i = 0; i < j->count && status == GRPO_OK; i++) {
        model_tensor t = j->tensors[i];
        int experts = t.expert == 0 ? j->config.experts : 1;
        for (int expert = 0; expert < experts && status == GRPO_OK; expert++) {
            if (t.expert >= 0)
                t.expert = expert;
            model_tensor_rename(&t);
            status = write_tensor(j, &w, j->entries[i].type, &t, err);
        }
    }
    if (status == GRPO_OK && j->factors)
        status = gguf_append(&w, j->factors, (uint64_t)j->config.rotary_dim / 2, err);
    if (status == GRPO_OK)
        return gguf_commit(&w, err);
    gguf_abandon(&w);
    return status;
}

grpo_status model_export_gguf(const model_export *e, const model_export_gguf_options *options, const char *path,
                              grpo_error *err)
{
    job j = {.e = e, .config = *e->config, .type = tensor_type_named(options->type)};
    static const char *const types[] = {"F32", "F16", "BF16", "Q8_0"};
    int known = 0;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        known |= strcmp(types[i], options->type) == 0;
    if (!known)
        return grpo_fail(err, GRPO_ERR_USAGE, "a GGUF file is written as F32, F16, BF16 or Q8_0, not %s", options->type);
    if (strcmp(j.config.family, "mistral") == 0) /* llama.cpp has no architecture of its own for it */
        strcpy(j.config.family, "llama");
    j.family = model_family_named(j.config.family);
    grpo_status status = check_representable(&j, err);
    if (status == GRPO_OK)
        status = make_factors(&j, err);
    if (status == GRPO_OK)
        status = list_entries(&j, err);
    if (status == GRPO_OK)
        status = put_metadata(&j, options, err);
    if (status == GRPO_OK)
        status = write_file(&j, path, err);
    for (size_t i = 0; options->widened && i < j.count; i++)
        *options->widened += j.entries[i].type != j.type && j.entries[i].type == tensor_type_named("F16");
    gguf_meta_deinit(&j.meta);
    mem_free(j.tensors);
    mem_free(j.entries);
    mem_free(j.factors);
    mem_free(j.block);
    mem_free(j.reordered);
    return status;
}
