/* Comparison of two trees: is the answer the same mathematical object as the reference? */
#ifndef REWARD_MATH_COMPARE_H
#define REWARD_MATH_COMPARE_H

#include "grpo/reward.h"
#include "reward/math_value.h"

typedef struct math_context {
    const grpo_math_options *options;
    math_tree *tree;    /* where new nodes go */
    math_budget budget;
    mp_limb_t seed;
    const char *reason; /* static text: what decided */
    double share;       /* of right elements, for lists and tuples; -1 when it does not apply */
    int depth;
    math_field fields[2]; /* two random points of one field, made on first use */
    int fields_ready;
} math_context;

/* ---- scalars ----------------------------------------------------------------------- */

math_answer math_scalar_equal(math_context *ctx, math_node *gold, math_node *answer);

/* -1, 0, 1 for a < b, a = b, a > b (infinities included); 2 when it cannot be told. */
int math_scalar_order(math_context *ctx, math_node *a, math_node *b);

/* The same number up to a constant factor, tried at random points: 1 with a positive factor, -1 with a
 * negative one, 0 when it is none, 2 when it cannot be told. */
int math_proportional(math_context *ctx, math_node *a, math_node *b);

/* Whether a = 0 and b = 0 are the same equation after multiplying by denominators and constants. */
int math_same_zeros(math_context *ctx, const math_node *a, const math_node *b);

/* Whether a decimal literal is the value, rounded or cut off at its last place, with at least so many places. */
int math_is_rounding(math_context *ctx, math_node *decimal, math_node *value, int least_places);

/* Equal residues at both points: equal as rational functions of their parts. */
int math_same_residue(math_context *ctx, const math_node *a, const math_node *b);

int math_is_infinity(const math_node *node, int *sign);

/* ---- sets of real numbers ----------------------------------------------------------- */

/* MATH_UNKNOWN when one of the two is no set of real numbers that can be worked out. */
math_answer math_set_equal(math_context *ctx, math_node *gold, math_node *answer);

/* ---- everything -------------------------------------------------------------------- */

math_answer math_equal(math_context *ctx, math_node *gold, math_node *answer);

/* Relations (math_relation.c). */
math_answer math_relation_equal(math_context *ctx, math_node *gold, math_node *answer);
/* For x = 3, f(x) = ..., 2 + 3 = 5: the value that the chain ends in; NULL for other relations. */
math_node *math_assigned_value(math_context *ctx, math_node *node);
/* The name in front of an assignment; NULL. */
math_node *math_assigned_name(math_node *node);

#endif
