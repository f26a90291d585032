/* The tensors of a model, from its configuration. */
#include <stdio.h>

#include "model/tensors.h"

typedef struct shape {
    int rank, rows, columns; /* rank 0: the model does not have it */
} shape;

static shape vector(int present, int n)
{
    return present ? (shape){1, 1, n} : (shape){0};
}

static shape matrix(int present, int rows, int columns)
{
    return present ? (shape){2, rows, columns} : (shape){0};
}

static shape attention_shape(const model_config *c, model_tensor_role role)
{
    int q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    switch (role) {
    case MODEL_T_Q: return matrix(1, q, c->hidden);
    case MODEL_T_K:
    case MODEL_T_V: return matrix(1, kv, c->hidden);
    case MODEL_T_O: return matrix(1, c->hidden, q);
    case MODEL_T_Q_BIAS: return vector(c->q_bias, q);
    case MODEL_T_K_BIAS: return vector(c->k_bias, kv);
    case MODEL_T_V_BIAS: return vector(c->v_bias, kv);
    case MODEL_T_O_BIAS: return vector(c->o_bias, c->hidden);
    case MODEL_T_Q_NORM: return vector(c->qk_norm, c->qk_norm == 2 ? q : c->head_dim);
    case MODEL_T_K_NORM: return vector(c->qk_norm, c->qk_norm == 2 ? kv : c->head_dim);
    default: return (shape){0};
    }
}

static shape mlp_shape(const model_config *c, model_tensor_role role, int moe)
{
    int bias = c->mlp_bias && !moe;
    switch (role) {
    case MODEL_T_GATE:
    case MODEL_T_UP: return matrix(!moe, c->ffn, c->hidden);
    case MODEL_T_DOWN: return matrix(!moe, c->hidden, c->ffn);
    case MODEL_T_GATE_BIAS:
    case MODEL_T_UP_BIAS: return vector(bias, c->ffn);
    case MODEL_T_DOWN_BIAS: return vector(bias, c->hidden);
    case MODEL_T_ROUTER: return matrix(moe, c->experts, c->hidden);
    case MODEL_T_EXPERT_GATE:
    case MODEL_T_EXPERT_UP: return matrix(moe, c->expert_ffn, c->hidden);
    case MODEL_T_EXPERT_DOWN: return matrix(moe, c->hidden, c->expert_ffn);
    default: return (shape){0};
    }
}

static shape shape_of(const model_config *c, model_tensor_role role, int layer)
{
    switch (role) {
    case MODEL_T_EMBED: return matrix(1, c->vocab, c->hidden);
    case MODEL_T_FINAL_NORM: return vector(1, c->hidden);
    case MODEL_T_LM_HEAD: return matrix(c->head == MODEL_HEAD_LM && !c->tied_embeddings, c->vocab, c->hidden);
    case MODEL_T_SCORE: return matrix(c->head != MODEL_HEAD_LM, 1, c->hidden);
    case MODEL_T_SCORE_BIAS: return vector(c->head == MODEL_HEAD_TOKEN, 1);
    case MODEL_T_INPUT_NORM: return vector(c->pre_norms, c->hidden);
    case MODEL_T_ATTENTION_NORM: return vector(1, c->hidden);
    case MODEL_T_PRE_MLP_NORM: return vector(c->pre_norms && c->post_norms, c->hidden);
    case MODEL_T_POST_MLP_NORM: return vector(c->post_norms, c->hidden);
    default: break;
    }
    if (role < MODEL_T_GATE)
        return attention_shape(c, role);
    return mlp_shape(c, role, c->layer[layer].moe);
}

/* After "model.layers.N." and, for an expert, "mlp.experts.E." */
static const char *const names[MODEL_T_ROLES] = {
    [MODEL_T_EMBED] = "model.embed_tokens.weight",
    [MODEL_T_FINAL_NORM] = "model.norm.weight",
    [MODEL_T_LM_HEAD] = "lm_head.weight",
    [MODEL_T_SCORE] = "score.weight",
    [MODEL_T_SCORE_BIAS] = "score.bias",
    [MODEL_T_INPUT_NORM] = "input_layernorm.weight",
    [MODEL_T_ATTENTION_NORM] = "post_attention_layernorm.weight",
    [MODEL_T_PRE_MLP_NORM] = "pre_feedforward_layernorm.weight",
    [MODEL_T_POST_MLP_NORM] = "post_feedforward_layernorm.weight",
    [MODEL_T_Q] = "self_attn.q_proj.weight",
    [MODEL_T_K] = "self_attn.k_proj.weight",
    [MODEL_T_V] = "self_attn.v_proj.weight",
    [MODEL_T_O] = "self_attn.o_proj.weight",
    [MODEL_T_Q_BIAS] = "self_attn.q_proj.bias",
    [MODEL_T_K_BIAS] = "self_attn.k_proj.bias",
    [MODEL_T_V_BIAS] = "self_attn.v_proj.bias",
    [MODEL_T_O_BIAS] = "self_attn.o_proj.bias",
    [MODEL_T_Q_NORM] = "self_attn.q_norm.weight",
    [MODEL_T_K_NORM] = "self_attn.k_norm.weight",
    [MODEL_T_GATE] = "mlp.gate_proj.weight",
    [MODEL_T_UP] = "mlp.up_proj.weight",
    [MODEL_T_DOWN] = "mlp.down_proj.weight",
    [MODEL_T_GATE_BIAS] = "mlp.gate_proj.bias",
    [MODEL_T_UP_BIAS] = "mlp.up_proj.bias",
    [MODEL_T_DOWN_BIAS] = "mlp.down_proj.bias",
    [MODEL_T_ROUTER] = "mlp.gate.weight",
    [MODEL_T_EXPERT_GATE] = "gate_proj.weight",
    [MODEL_T_EXPERT_UP] = "up_proj.weight",
    [MODEL_T_EXPERT_DOWN] = "down_proj.weight",
};

void model_tensor_rename(model_tensor *t)
{
    size_t used = 0;
    if (t->layer >= 0)
        used = (size_t)snprintf(t->name, sizeof t->name, "model.layers.%d.", t->layer);
    if (t->expert >= 0)
        used += (size_t)snprintf(t->name + used, sizeof t->name - used, "mlp.experts.%d.", t->expert);
    snprintf(t->name + used, sizeof t->name - used, "%s", names[t->role]);
}

/* Roles in the order of the walk: embedding; per layer everything from INPUT_NORM to EXPERT_DOWN (each
 * expert's three together); final norm; heads. */
static int step(model_tensor_walk *w)
{
    const model_config *c = w->config;
    if (!w->started) {
        w->started = 1;
        w->role = MODEL_T_EMBED;
        w->layer = -1;
        w->expert = 0;
        return 1;
    }
    if (w->role == MODEL_T_EMBED) {
        w->layer = 0;
        w->role = MODEL_T_INPUT_NORM;
        return 1;
    }
    if (w->layer < 0)
        return ++w->role <= MODEL_T_SCORE_BIAS;
    if (w->role == MODEL_T_EXPERT_DOWN && c->layer[w->layer].moe && w->expert + 1 < c->experts) {
        w->expert++;
        w->role = MODEL_T_EXPERT_GATE;
        return 1;
    }
    if (++w->role <= MODEL_T_EXPERT_DOWN)
        return 1;
    w->expert = 0;
    w->role = MODEL_T_INPUT_NORM;
    if (++w->layer < c->layers)
        return 1;
    w->layer = -1;
    w->role = MODEL_T_FINAL_NORM;
    return 1;
}

int model_tensor_next(model_tensor_walk *w)
{
    while (step(w)) {
        shape s = shape_of(w->config, (model_tensor_role)w->role, w->layer);
        if (s.rank == 0)
            continue;
        w->tensor = (model_tensor){.role = (model_tensor_role)w->role, .layer = w->layer, .expert = -1,
                                   .rank = s.rank, .rows = s.rows, .columns = s.columns};
        if (w->role >= MODEL_T_EXPERT_GATE)
            w->tensor.expert = w->expert;
        model_tensor_rename(&w->tensor);
        return 1;
    }
    return 0;
}

int model_tensor_count(const model_config *c)
{
    model_tensor_walk w = {.config = c};
    int n = 0;
    while (model_tensor_next(&w))
        n++;
    return n;
}

int model_tensor_is_norm(model_tensor_role role)
{
    return role == MODEL_T_FINAL_NORM || (role >= MODEL_T_INPUT_NORM && role <= MODEL_T_POST_MLP_NORM) ||
           role == MODEL_T_Q_NORM || role == MODEL_T_K_NORM;
}
