/* Tables of the rotary embedding: cos and sin of position times frequency, with the scalings that
 * families use (linear, llama3, yarn, given factors). */
#ifndef MODEL_ROPE_H
#define MODEL_ROPE_H

#include "model/config.h"

/* Rows are computed when they are first needed: a model may allow a million positions of which a run
 * uses a thousand. A row depends on its position alone, so when it is made changes nothing. */
typedef struct rope_table {
    float *cos, *sin; /* [positions][half]; those that rope_table_cover was asked for are filled */
    int positions, half;
    struct rope_rows *rows; /* how they are filled, and how far they are */
} rope_table;

/* rotary_dim / 2 frequencies in radians per position, in double; *attention_factor multiplies cos and sin. */
void rope_frequencies(double *frequency, double *attention_factor, const model_rope *rope, int rotary_dim);

grpo_status rope_table_init(rope_table *t, const model_rope *rope, int rotary_dim, int positions, grpo_error *err);
void rope_table_deinit(rope_table *t);

/* Makes rows [0, positions) ready. Any number of threads may call it. */
void rope_table_cover(const rope_table *t, int positions);

#endif
