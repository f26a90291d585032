/* Score and value heads. */
#include <string.h>

#include "model/scalar_head.h"

int scalar_head_position(const model_config *c, const int32_t *token, int n)
{
    int at = n - 1;
    while (at > 0 && token[at] == c->pad)
        at--;
    return at;
}

/* Gathered from the tape: the final norm, then one product with a single output. */
void scalar_head_rows(engine *e, const model_weights *w, const tape *t, const int32_t *row, int m, float *value)
{
    const model_config *c = &e->m->config;
    size_t hidden = (size_t)c->hidden;
    for (int done = 0, n; done < m; done += n) {
        n = m - done < e->ws.max_rows ? m - done : e->ws.max_rows;
        for (int i = 0; i < n; i++)
            memcpy(e->ws.h + (size_t)i * hidden, t->layer[c->layers].x + (size_t)row[done + i] * hidden,
                   hidden * sizeof(float));
        model_final_norm(e->m, w, e->threads, e->ws.h, e->ws.h, n);
        ops_product product = {.w = w->scalar, .y = value + done, .ldy = 1, .bias = w->scalar_bias};
        ops_gemm(e->threads, &product, 1, e->ws.h, c->hidden, n);
    }
}

grpo_status scalar_head_run(engine *e, const model_weights *w, known_sequence *sequences, float *const *value, int count,
                            tape *t, grpo_error *err)
{
    grpo_status status = engine_run(e, w, sequences, count, 1, 0, t, err);
    for (int i = 0; i < count && status == GRPO_OK; i++)
        scalar_head_rows(e, w, t, sequences[i].tape_row, sequences[i].n, value[i]);
    return status;
}
