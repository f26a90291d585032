/* The model families that are supported: what distinguishes them and what their configuration
 * classes assume when a key is absent (transformers 5.23). */
#ifndef MODEL_FAMILY_H
#define MODEL_FAMILY_H

#include "model/config.h"

typedef enum family_bias {
    FAMILY_BIAS_NONE,
    FAMILY_BIAS_QKV, /* always on q, k, v (Qwen2) */
    FAMILY_BIAS_KEY, /* "attention_bias": on q, k, v and o */
} family_bias;

typedef enum family_window {
    FAMILY_WINDOW_NONE,
    FAMILY_WINDOW_ALL,    /* "sliding_window" in every layer (Mistral) */
    FAMILY_WINDOW_UPPER,  /* with "use_sliding_window": layers from "max_window_layers" on (Qwen2, Qwen3) */
    FAMILY_WINDOW_SWITCH, /* with "use_sliding_window": every layer (Qwen3-MoE) */
    FAMILY_WINDOW_NOPE,   /* with "use_sliding_window": layers without rotary embedding (SmolLM3) */
    FAMILY_WINDOW_PATTERN, /* all but every n-th layer (Gemma 3) */
} family_window;

typedef struct model_family {
    const char *model_type; /* in config.json */
    const char *prefix;     /* of class names: prefix + "ForCausalLM" */
    const char *gguf;       /* general.architecture */
    int gguf_permuted;      /* llama.cpp's converter reorders the rows of q and k */
    /* structure */
    int gemma;   /* offset norms, embedding scale, tanh GELU, two rotary embeddings */
    int qk_norm; /* as in model_config */
    int pre_norms, post_norms;
    int moe;
    int mlp_bias_key; /* "mlp_bias" is understood */
    family_bias bias;
    family_window window;
    /* defaults */
    int hidden, ffn, layers, heads, kv_heads, head_dim; /* kv_heads 0: = heads; head_dim 0: hidden / heads */
    int vocab, max_positions;
    double norm_eps, theta;
    int tied, bos, eos, pad; /* ids: -1 none */
} model_family;

const model_family *model_family_named(const char *model_type); /* NULL: not supported */
const model_family *model_family_of_gguf(const char *architecture);

/* "llama, smollm3, …", for messages; in a caller's buffer, which is returned. */
const char *model_family_list(char *buffer, size_t size, int gguf);

/* A zeroed config with the family's structure (not its sizes). */
void model_family_start(const model_family *family, model_config *c);

/* Norm variants, attention scale and embedding scale, once the sizes are known. */
void model_family_finish(const model_family *family, model_config *c);

#endif
