/* PPO's value head on the policy's own trunk (value.trunk=policy): V = w . norm(x) + b of the residual stream that the
 * logits are computed from (the specification, 3.1; TRL's AutoModelForCausalLMWithValueHead). The value loss, times
 * value_coef, sends its gradient into the trunk beside the policy's; the head itself has an AdamW and a learning rate
 * of its own. It belongs to the run and not to the model: exported weights do not have it. */
#ifndef TRAIN_VALUE_HEAD_H
#define TRAIN_VALUE_HEAD_H

#include "model/transformer.h"
#include "train/optimizer.h"

typedef struct value_head {
    model_layout layout; /* score.weight [1][hidden], score.bias [1] */
    mem_arena arena;
    float *params, *grad; /* [layout.total]; NULL: there is no head */
    model_weights alone;  /* a view of gradients with this head and nothing else, for its warm-up */
    optimizer optimizer;
} value_head;

/* Starts at zero, so V starts at 0. Becomes part of the policy's weights and of the view of its gradients, which must
 * not outlive it in use. */
grpo_status value_head_open(value_head *h, model *policy, model_weights *policy_grad, optimizer_options options,
                            grpo_error *err);
void value_head_close(value_head *h);

#endif
