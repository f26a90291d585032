/* Text preparation: Unicode mathematics to ASCII and LaTeX; case-insensitive word helpers. */
#ifndef REWARD_MATH_TEXT_H
#define REWARD_MATH_TEXT_H

#include <stddef.h>

#include "reward/math_tree.h"

typedef struct math_slice {
    const char *data;
    size_t length;
} math_slice;

/* Rewrites Unicode letters, digits, operators and punctuation of mathematics as ASCII or LaTeX. Pure
 * ASCII comes back unchanged (not copied). {NULL, 0} when out of memory. */
math_slice math_text_clean(math_tree *tree, math_slice text);

math_slice math_text_trim(math_slice text); /* white space at both ends */
int math_text_is_letter(char c);
int math_text_is_digit(char c);
int math_text_is_space(char c);
/* Whether the slice equals the (lower-case) word, ignoring ASCII case. */
int math_text_equals(math_slice text, const char *lower);
int math_text_starts(math_slice text, const char *lower);

#endif
