/* Gradient cases of score and value heads, of the form of ../shared/models/llama-reward and llama-value
 * golden.json: sequences with a loss over their heads' numbers.
 *
 *   sequence head   {"sequences": [{"tokens"}], "pairwise": {"pairs": [[chosen, rejected], …]}}
 *                   loss = -mean over pairs of log sigmoid(score[chosen] - score[rejected])
 *                   (Bradley and Terry 1952; Ouyang et al. 2022, equation 1)
 *   token head      {"sequences": [{"prompt", "completion", "returns", "old_values"}], "value_clipped": {"clip"}}
 *                   loss = compute_value_loss, mean over completion tokens; the value of a token is that of the
 *                   state before it */
#ifndef TRAIN_HEAD_CASE_H
#define TRAIN_HEAD_CASE_H

#include "base/json.h"
#include "train/gradient_case.h"

typedef struct head_case {
    int sequences, tokens, longest;
    int *offset;          /* [sequences + 1] */
    int32_t *token;       /* [tokens] */
    int (*pair)[2];       /* [pairs] */
    int pairs;
    unsigned char *mask;  /* [tokens] 1: the value here counts */
    double *returns, *old; /* [tokens] */
    double clip;
} head_case;

/* where: for messages. */
grpo_status head_case_init(head_case *c, const json_t *root, const char *where, const model_config *config, grpo_error *err);
void head_case_deinit(head_case *c);

/* "pairwise" or "value_clipped". */
const char *head_case_loss(const model_config *config);

/* The loss at the model's present weights; adds its gradient to w->grad. */
grpo_status head_case_run(gradient_workspace *w, const model *m, const head_case *c, double *loss, grpo_error *err);

#endif
