/* GGUF names (llama.cpp's), by role. */
#include <stdio.h>

#include "model/family.h"
#include "model/gguf_names.h"

/* After "blk.N." for the roles of a layer. */
static const char *const names[MODEL_T_ROLES] = {
    [MODEL_T_EMBED] = "token_embd.weight",
    [MODEL_T_FINAL_NORM] = "output_norm.weight",
    [MODEL_T_LM_HEAD] = "output.weight",
    [MODEL_T_SCORE] = "score.weight", /* of our own: llama.cpp has no such models */
    [MODEL_T_SCORE_BIAS] = "score.bias",
    [MODEL_T_INPUT_NORM] = "attn_norm.weight",
    [MODEL_T_ATTENTION_NORM] = "ffn_norm.weight", /* post_attention_norm where the block's output is normed */
    [MODEL_T_PRE_MLP_NORM] = "ffn_norm.weight",
    [MODEL_T_POST_MLP_NORM] = "post_ffw_norm.weight",
    [MODEL_T_Q] = "attn_q.weight",
    [MODEL_T_K] = "attn_k.weight",
    [MODEL_T_V] = "attn_v.weight",
    [MODEL_T_O] = "attn_output.weight",
    [MODEL_T_Q_BIAS] = "attn_q.bias",
    [MODEL_T_K_BIAS] = "attn_k.bias",
    [MODEL_T_V_BIAS] = "attn_v.bias",
    [MODEL_T_O_BIAS] = "attn_output.bias",
    [MODEL_T_Q_NORM] = "attn_q_norm.weight",
    [MODEL_T_K_NORM] = "attn_k_norm.weight",
    [MODEL_T_GATE] = "ffn_gate.weight",
    [MODEL_T_UP] = "ffn_up.weight",
    [MODEL_T_DOWN] = "ffn_down.weight",
    [MODEL_T_GATE_BIAS] = "ffn_gate.bias",
    [MODEL_T_UP_BIAS] = "ffn_up.bias",
    [MODEL_T_DOWN_BIAS] = "ffn_down.bias",
    [MODEL_T_ROUTER] = "ffn_gate_inp.weight",
    [MODEL_T_EXPERT_GATE] = "ffn_gate_exps.weight",
    [MODEL_T_EXPERT_UP] = "ffn_up_exps.weight",
    [MODEL_T_EXPERT_DOWN] = "ffn_down_exps.weight",
};

void model_gguf_name(char out[MODEL_TENSOR_NAME], const model_config *c, const model_tensor *t)
{
    const char *name = names[t->role];
    if (t->role == MODEL_T_ATTENTION_NORM && c->post_norms)
        name = "post_attention_norm.weight";
    if (t->layer >= 0)
        snprintf(out, MODEL_TENSOR_NAME, "blk.%d.%s", t->layer, name);
    else
        snprintf(out, MODEL_TENSOR_NAME, "%s", name);
}

int model_gguf_permuted_heads(const model_config *c, const model_tensor *t)
{
    const model_family *family = model_family_named(c->family);
    if (!family || !family->gguf_permuted)
        return 0;
    if (t->role == MODEL_T_Q || t->role == MODEL_T_Q_BIAS)
        return c->heads;
    return t->role == MODEL_T_K || t->role == MODEL_T_K_BIAS ? c->kv_heads : 0;
}

int64_t model_gguf_stored_row(int64_t r, int head_dim)
{
    int64_t head = r / head_dim, within = r % head_dim, half = head_dim / 2;
    return head * head_dim + within % half * 2 + within / half;
}
