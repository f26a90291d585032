/* Where in a response the answer stands. */
#ifndef REWARD_MATH_EXTRACT_H
#define REWARD_MATH_EXTRACT_H

#include "reward/math_text.h"

enum { MATH_MAX_PIECES = 16 };

typedef struct math_extract {
    math_slice pieces[MATH_MAX_PIECES]; /* one, or several boxes that belong together */
    math_slice exact;                   /* what a decimal was said to approximate: "2/3 ~ 0.667" */
    int count;                          /* 0: no answer */
    int plain;                          /* the text stood outside formulas */
    int words;                          /* plain prose: usable as a text answer only */
    const char *source;                 /* static name; "none" */
    const char *problem;                /* why there is none */
} math_extract;

/* Finds the answer in a response (cleaned text). `from`: GRPO_MATH_FROM_*. */
void math_extract_answer(math_extract *out, math_slice response, unsigned from);

/* Finds the reference in a gold text: a bare value, a formula in dollars, or a whole solution. */
void math_extract_gold(math_extract *out, math_slice gold);

#endif
