/* Heads of one number: the score of a sequence (reward models) and the value at every token. */
#ifndef MODEL_SCALAR_HEAD_H
#define MODEL_SCALAR_HEAD_H

#include "model/engine.h"

/* What the head says at each position of each sequence: value[c] has room for sequence[c].n numbers. The
 * sequences ask nothing else (score_from = n) and run whole. Rows are appended to the tape, which must have
 * room for them all and keeps what a backward pass needs. */
grpo_status scalar_head_run(engine *e, const model_weights *w, known_sequence *sequences, float *const *value, int count,
                            tape *t, grpo_error *err);

/* What the head says at rows row[m] of a tape that a forward pass has filled: value[m]. */
void scalar_head_rows(engine *e, const model_weights *w, const tape *t, const int32_t *row, int m, float *value);

/* Where a sequence classifier is read: at the last token that is not padding; 0 when all are. As
 * transformers does, the token's id decides, so a sequence that ends in the padding id is read before it. */
int scalar_head_position(const model_config *c, const int32_t *token, int n);

#endif
