/* From an answer's text to its tree. */
#ifndef REWARD_MATH_PARSE_H
#define REWARD_MATH_PARSE_H

#include "reward/math_lex.h"
#include "reward/math_text.h"

/* Reads cleaned text (math_text_clean). flags: MATH_LEX_*. *grouped (may be NULL) tells whether a comma
 * was read as thousands separator. NULL when it cannot be read: tree->problem says why. */
math_node *math_parse(math_tree *tree, math_slice text, unsigned flags, int *grouped);

#endif
