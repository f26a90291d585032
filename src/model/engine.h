/* What sampling, training and reward models share: a model, its threads, and the memory that forward passes need. */
#ifndef MODEL_ENGINE_H
#define MODEL_ENGINE_H

#include <signal.h>

#include "model/transformer.h"

typedef struct engine {
    const model *m;
    pool *threads;
    workspace ws;
    kv_store kv;
    float *z;       /* [head_rows][padded vocabulary] scaled logits */
    float *h;       /* [head_rows][hidden] */
    int head_rows;  /* rows whose logits are computed at once */
    int ldz;
    float *head_scratch;
    const volatile sig_atomic_t *interrupt; /* checked between tokens; may be NULL */
} engine;

typedef struct engine_plan {
    int rows;      /* rows of one forward call */
    int head_rows; /* sequences decoded at once */
    int kv_blocks;
} engine_plan;

grpo_status engine_init(engine *e, const model *m, pool *threads, engine_plan plan, grpo_error *err);
void engine_deinit(engine *e);
/* Bytes that engine_init sets aside for a plan (touched as they are used). */
size_t engine_bytes(const model *m, pool *threads, engine_plan plan);

/* ---- whole sequences, for scoring and for training passes on changed weights ------------------------- */

/* One sequence whose tokens are known. Positions [first, run) are run; those before must be stored in kv. */
typedef struct known_sequence {
    const int32_t *token; /* [n] */
    int n, first, run;    /* first <= run <= n; the last token's own row is needed only to go on from it */
    kv_sequence *kv;      /* room for `run` positions */
    int32_t *tape_row;    /* [run - first] filled when a tape is given; may be NULL */
    /* Asked of the head: log-probs of token[i] for i in [score_from, min(n, run + 1)), given those before. */
    int score_from;         /* n: none; at least first + 1, or first when prefix_hidden is given */
    float *logprob;         /* [n - score_from] */
    ops_softmax_row *stats; /* [n - score_from], may be NULL */
    const uint32_t *const *allowed; /* [n - score_from] or NULL */
    const float *prefix_hidden;     /* residual stream of position first - 1, when score_from == first */
    float *last_hidden; /* [hidden] the residual stream of position run - 1, filled; may be NULL */
} known_sequence;

/* Runs the sequences through the model with weights w (packed together, cut to the workspace's rows),
 * appending to the tape when one is given. */
grpo_status engine_run(engine *e, const model_weights *w, known_sequence *sequences, int count,
                       float inv_temperature, int want_entropy, tape *t, grpo_error *err);

#endif
