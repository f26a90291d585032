/* The table of families. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/family.h"

static const model_family families[] = {
    {.model_type = "llama", .prefix = "Llama", .gguf = "llama", .gguf_permuted = 1, .pre_norms = 1,
     .mlp_bias_key = 1, .bias = FAMILY_BIAS_KEY, .hidden = 4096, .ffn = 11008, .layers = 32,
     .heads = 32, .vocab = 32000, .max_positions = 2048, .norm_eps = 1e-6, .theta = 1e4, .bos = 1,
     .eos = 2, .pad = -1},
    {.model_type = "smollm3", .prefix = "SmolLM3", .gguf = "smollm3", .gguf_permuted = 1,
     .pre_norms = 1, .mlp_bias_key = 1, .bias = FAMILY_BIAS_KEY, .window = FAMILY_WINDOW_NOPE,
     .hidden = 2048, .ffn = 11008, .layers = 36, .heads = 16, .kv_heads = 4, .vocab = 128256,
     .max_positions = 32768, .norm_eps = 1e-6, .theta = 2e6, .tied = 1, .bos = 128000, .eos = 128001,
     .pad = 128004},
    {.model_type = "mistral", .prefix = "Mistral", .gguf = NULL, .pre_norms = 1,
     .window = FAMILY_WINDOW_ALL, .hidden = 4096, .ffn = 14336, .layers = 32, .heads = 32,
     .kv_heads = 8, .vocab = 32000, .max_positions = 131072, .norm_eps = 1e-6, .theta = 1e4,
     .bos = 1, .eos = 2, .pad = -1},
    {.model_type = "qwen2", .prefix = "Qwen2", .gguf = "qwen2", .pre_norms = 1,
     .bias = FAMILY_BIAS_QKV, .window = FAMILY_WINDOW_UPPER, .hidden = 4096, .ffn = 22016,
     .layers = 32, .heads = 32, .kv_heads = 32, .vocab = 151936, .max_positions = 32768,
     .norm_eps = 1e-6, .theta = 1e4, .bos = -1, .eos = -1, .pad = -1},
    {.model_type = "qwen3", .prefix = "Qwen3", .gguf = "qwen3", .pre_norms = 1, .qk_norm = 1,
     .bias = FAMILY_BIAS_KEY, .window = FAMILY_WINDOW_UPPER, .hidden = 4096, .ffn = 22016,
     .layers = 32, .heads = 32, .kv_heads = 32, .head_dim = 128, .vocab = 151936,
     .max_positions = 32768, .norm_eps = 1e-6, .theta = 1e4, .bos = -1, .eos = -1, .pad = -1},
    {.model_type = "qwen3_moe", .prefix = "Qwen3Moe", .gguf = "qwen3moe", .pre_norms = 1,
     .qk_norm = 1, .moe = 1, .bias = FAMILY_BIAS_KEY, .window = FAMILY_WINDOW_SWITCH, .hidden = 2048,
     .ffn = 6144, .layers = 24, .heads = 32, .kv_heads = 4, .vocab = 151936, .max_positions = 32768,
     .norm_eps = 1e-6, .theta = 1e4, .bos = -1, .eos = -1, .pad = -1},
    {.model_type = "gemma3_text", .prefix = "Gemma3", .gguf = "gemma3", .gemma = 1, .pre_norms = 1,
     .post_norms = 1, .qk_norm = 1, .bias = FAMILY_BIAS_KEY, .window = FAMILY_WINDOW_PATTERN,
     .hidden = 2304, .ffn = 9216, .layers = 26, .heads = 8, .kv_heads = 4, .head_dim = 256,
     .vocab = 262208, .max_positions = 131072, .norm_eps = 1e-6, .theta = 1e6, .tied = 1, .bos = 2,
     .eos = 1, .pad = 0},
    {.model_type = "olmo2", .prefix = "Olmo2", .gguf = "olmo2", .post_norms = 1, .qk_norm = 2,
     .bias = FAMILY_BIAS_KEY, .hidden = 4096, .ffn = 11008, .layers = 32, .heads = 32,
     .vocab = 50304, .max_positions = 2048, .norm_eps = 1e-5, .theta = 1e4, .bos = -1, .eos = 50279,
     .pad = 1},
};

enum { FAMILIES = sizeof families / sizeof *families };

const model_family *model_family_named(const char *model_type)
{
    for (int i = 0; i < FAMILIES; i++)
        if (strcmp(families[i].model_type, model_type) == 0)
            return &families[i];
    return NULL;
}

const model_family *model_family_of_gguf(const char *architecture)
{
    for (int i = 0; i < FAMILIES; i++)
        if (families[i].gguf && strcmp(families[i].gguf, architecture) == 0)
            return &families[i];
    return NULL;
}

const char *model_family_list(char *buffer, size_t size, int gguf)
{
    size_t used = 0;
    buffer[0] = 0;
    for (int i = 0; i < FAMILIES; i++) {
        const char *name = gguf ? families[i].gguf : families[i].model_type;
        if (!name || used >= size)
            continue;
        used += (size_t)snprintf(buffer + used, size - used, "%s%s", used ? ", " : "", name);
    }
    return buffer;
}

void model_family_start(const model_family *family, model_config *c)
{
    *c = (model_config){0};
    snprintf(c->family, sizeof c->family, "%s", family->model_type);
    c->norm_offset = family->gemma ? 1 : 0;
    c->activation = family->gemma ? OPS_GELU_TANH : OPS_SILU;
    c->qk_norm = family->qk_norm;
    c->pre_norms = family->pre_norms;
    c->post_norms = family->post_norms;
    c->q_bias = c->k_bias = c->v_bias = family->bias == FAMILY_BIAS_QKV;
    c->bos = c->pad = -1;
}

void model_family_finish(const model_family *family, model_config *c)
{
    c->embedding_scale = family->gemma ? (float)sqrt((double)c->hidden) : 1;
    if (c->attention_scale == 0)
        c->attention_scale = (float)(1 / sqrt((double)c->head_dim));
}
