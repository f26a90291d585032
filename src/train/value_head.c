/* The value head on the policy's trunk. */
#include <string.h>

#include "train/value_head.h"

grpo_status value_head_open(value_head *h, model *policy, model_weights *policy_grad, optimizer_options options,
                            grpo_error *err)
{
    const model_config *c = &policy->config;
    memset(h, 0, sizeof *h);
    grpo_status status = value_head_layout_init(&h->layout, c, err);
    if (status == GRPO_OK)
        status = mem_arena_init(&h->arena, 2 * h->layout.total * sizeof(float), "the value head", err);
    if (status == GRPO_OK)
        status = model_weights_view(&h->alone, c, NULL, err);
    if (status == GRPO_OK)
        status = optimizer_init(&h->optimizer, h->layout.total, options, err);
    if (status != GRPO_OK)
        return status;
    h->params = (float *)h->arena.base;
    h->grad = h->params + h->layout.total;
    value_head_view(&policy->weights, c, h->params);
    value_head_view(policy_grad, c, h->grad);
    value_head_view(&h->alone, c, h->grad);
    return GRPO_OK;
}

void value_head_close(value_head *h)
{
    optimizer_deinit(&h->optimizer);
    model_weights_deinit(&h->alone);
    mem_arena_deinit(&h->arena);
    model_layout_deinit(&h->layout);
    memset(h, 0, sizeof *h);
}
