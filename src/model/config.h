/* What a decoder-only transformer computes, as numbers: one description for all families. Readers
 * (model/files) fill it from config.json or GGUF metadata; model/transformer computes from it and
 * knows no family names. */
#ifndef MODEL_CONFIG_H
#define MODEL_CONFIG_H

#include <stdint.h>

#include "backend/ops.h"
#include "grpo/error.h"

enum { MODEL_MAX_LAYERS = 256, MODEL_MAX_EOS = 16, MODEL_MAX_ROPES = 2 };

typedef enum model_head {
    MODEL_HEAD_LM,       /* logits over the vocabulary */
    MODEL_HEAD_SEQUENCE, /* one score per sequence (reward model), no bias */
    MODEL_HEAD_TOKEN,    /* one value per token (value model), with bias */
} model_head;

typedef enum model_rope_scaling {
    MODEL_ROPE_PLAIN,
    MODEL_ROPE_LINEAR,  /* positions divided by factor */
    MODEL_ROPE_LLAMA3,  /* three bands by wavelength */
    MODEL_ROPE_YARN,    /* Peng et al. 2023 */
    MODEL_ROPE_FACTORS, /* given divisors per frequency (GGUF rope_freqs.weight) */
} model_rope_scaling;

typedef struct model_rope {
    double theta;
    model_rope_scaling scaling;
    double factor, low_freq_factor, high_freq_factor, original_positions; /* llama3, linear, yarn */
    double beta_fast, beta_slow, attention_factor;                         /* yarn; 0 = default */
    double mscale, mscale_all_dim;                                         /* yarn; 0 = absent */
    int truncate;                                                          /* yarn: round the bounds */
    float *factors; /* MODEL_ROPE_FACTORS: [rotary_dim / 2], owned by the config */
} model_rope;

typedef struct model_layer_config {
    int window; /* sliding window in tokens, 0 = full attention */
    int rope;   /* index into ropes, -1 = no rotary embedding (NoPE) */
    int moe;    /* 1: mixture of experts, 0: dense MLP */
} model_layer_config;

typedef struct model_config {
    char family[32]; /* model_type as in config.json, e.g. "llama"; for export and messages */
    int hidden, layers, heads, kv_heads, head_dim, ffn, vocab, max_positions;
    int rotary_dim; /* = head_dim unless partial */
    float norm_eps;
    float norm_offset;     /* 1 for Gemma: norms multiply by (1 + w) */
    float embedding_scale; /* 1, or sqrt(hidden) for Gemma */
    float attention_scale; /* head_dim^-0.5 unless query_pre_attn_scalar says otherwise */
    ops_activation activation;
    int tied_embeddings;
    int q_bias, k_bias, v_bias, o_bias, mlp_bias;
    int qk_norm;    /* 0 none, 1 per head (Qwen3, Gemma 3), 2 over the whole row (OLMo 2) */
    int pre_norms;  /* input_layernorm and the one before the MLP; 0 for OLMo 2 */
    int post_norms; /* norms on the outputs of attention and MLP before the residual add */
    int experts, experts_used, expert_ffn, norm_topk_prob; /* 0 experts: dense */
    model_head head;
    model_rope ropes[MODEL_MAX_ROPES];
    int n_ropes;
    model_layer_config layer[MODEL_MAX_LAYERS];
    int32_t bos, pad; /* -1 = none */
    int32_t eos[MODEL_MAX_EOS];
    int n_eos;
} model_config;

/* Checks ranges and that sizes belong together; the message names the field. */
grpo_status model_config_check(const model_config *c, grpo_error *err);
void model_config_deinit(model_config *c);

#endif
