/* The memory plan of a run: what is set aside for what, and which activation policy fits the budget. Made
 * before anything big is allocated; `grpo train --plan` prints it and stops. */
#ifndef TRAIN_PLAN_H
#define TRAIN_PLAN_H

#include "model/engine.h"

typedef enum activation_policy {
    ACTIVATIONS_AUTO,
    ACTIVATIONS_KEEP,       /* the rollout's activations of all layers serve the backward pass */
    ACTIVATIONS_CHECKPOINT, /* only layer inputs are kept; inner activations are recomputed layer by layer */
    ACTIVATIONS_RECOMPUTE,  /* nothing is kept: each micro-batch runs forward again */
} activation_policy;

typedef struct plan_request {
    int prompts, group_size, longest_prompt, max_new_tokens;
    long prompt_tokens;   /* of the `prompts` longest prompts together */
    int slots;            /* 0: chosen here */
    int micro_batch_rows; /* 0: chosen here */
    int reference;        /* 1: a pass through reference weights */
    size_t reference_bytes; /* of a copy of them; 0: the model's own, without its adapter */
    int private_pass;     /* 1: passes whose keys and values are thrown away (a reference needs them too) */
    const model *value;   /* PPO's value network, or NULL */
    activation_policy policy;
    size_t program; /* bytes of what is not planned here: code, tokenizer, data set; see memory_plan_program */
    size_t budget;  /* bytes */
} plan_request;

typedef struct memory_plan {
    activation_policy policy; /* never AUTO */
    ops_type type;            /* of the weights */
    int kept_layers, slots, forward_rows, tape_rows, micro_batch_rows, backward_rows, batch_rows, kv_blocks,
        max_positions;
    int value_kept_layers, value_kv_blocks;
    /* bytes; value: all that the value network takes */
    size_t program, weights, master, adapter, reference, gradients, moments, keys_values, activations, forward, backward,
        value, total;
} memory_plan;

/* What the process holds now beside the weights of these models (value may be NULL): measured. */
size_t memory_plan_program(const model *m, const model *value);

/* Fails when not even `recompute` fits, or a step has more rows than an int counts; the message names the settings to
 * change. */
grpo_status memory_plan_make(memory_plan *plan, const model *m, pool *threads, const plan_request *request,
                             grpo_error *err);
/* A few lines of text, mem_free it. */
char *memory_plan_text(const memory_plan *plan);
const char *activation_policy_name(activation_policy policy);

#endif
