/* Activation storage for the backward pass. */
#include <string.h>

#include "model/moe.h"
#include "model/tape.h"

size_t tape_row_bytes(const model_config *c)
{
    return (size_t)(c->layers + 1) * (size_t)c->hidden * sizeof(float);
}

size_t tape_kept_layer_bytes(const model_config *c)
{
    size_t width = 0;
    for (int i = 0; i < c->layers; i++)
        if ((size_t)moe_kept_width(c, i) > width)
            width = (size_t)moe_kept_width(c, i);
    return (2 * (size_t)(c->heads * c->head_dim) + (size_t)c->hidden + 2 * width) * sizeof(float);
}

static float *rows_of(tape *t, int width)
{
    return mem_arena_alloc(&t->arena, (size_t)t->capacity * (size_t)width, sizeof(float));
}

grpo_status tape_init(tape *t, const model_config *c, int capacity, int kept, grpo_error *err)
{
    memset(t, 0, sizeof *t);
    t->layers = c->layers;
    t->kept = kept;
    t->capacity = capacity;
    size_t bytes = (size_t)capacity * (tape_row_bytes(c) + (size_t)kept * tape_kept_layer_bytes(c)) +
                   (size_t)(6 * c->layers + 1) * MEM_ALIGN;
    t->layer = mem_calloc((size_t)c->layers + 1, sizeof *t->layer);
    if (!t->layer || mem_arena_init(&t->arena, bytes, "activations", err) != GRPO_OK) {
        tape_deinit(t);
        return mem_fail(err, "activations", bytes);
    }
    for (int i = 0; i <= c->layers; i++) {
        tape_layer *l = &t->layer[i];
        l->x = rows_of(t, c->hidden);
        if (i >= kept || i == c->layers)
            continue;
        l->q = rows_of(t, c->heads * c->head_dim);
        l->attn = rows_of(t, c->heads * c->head_dim);
        l->x_mid = rows_of(t, c->hidden);
        l->gate = rows_of(t, moe_kept_width(c, i));
        l->up = rows_of(t, moe_kept_width(c, i));
    }
    return GRPO_OK;
}

void tape_deinit(tape *t)
{
    mem_arena_deinit(&t->arena);
    mem_free(t->layer);
    memset(t, 0, sizeof *t);
}

void tape_reset(tape *t)
{
    t->rows = 0;
}

static void close_gaps(float *base, int width, const unsigned char *keep, int rows)
{
    size_t n = (size_t)width;
    float *to = base;
    for (int row = 0; base && row < rows; row++) {
        if (!keep[row])
            continue;
        const float *from = base + (size_t)row * n;
        if (to != from)
            memmove(to, from, n * sizeof *to);
        to += n;
    }
}

void tape_compact(tape *t, const model_config *c, const unsigned char *keep, int32_t *place)
{
    int rows = 0, width = c->heads * c->head_dim;
    for (int row = 0; row < t->rows; row++)
        place[row] = keep[row] ? rows++ : -1;
    for (int i = 0; i <= t->layers; i++) {
        const tape_layer *l = &t->layer[i];
        int ffn = i < t->layers ? moe_kept_width(c, i) : 0;
        close_gaps(l->x, c->hidden, keep, t->rows);
        close_gaps(l->q, width, keep, t->rows);
        close_gaps(l->attn, width, keep, t->rows);
        close_gaps(l->x_mid, c->hidden, keep, t->rows);
        close_gaps(l->gate, ffn, keep, t->rows);
        close_gaps(l->up, ffn, keep, t->rows);
    }
    t->rows = rows;
}
