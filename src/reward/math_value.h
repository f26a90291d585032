/* Values of expressions: exact rationals, residues modulo a large prime (identity testing), and complex
 * balls. All of it spends a work budget, so that no expression can run long. */
#ifndef REWARD_MATH_VALUE_H
#define REWARD_MATH_VALUE_H

#include "reward/math_tree.h"

typedef enum math_answer { MATH_NO, MATH_YES, MATH_UNKNOWN } math_answer;

/* Work in units of about a nanosecond. Returns 0 when the budget is spent. */
typedef struct math_budget {
    double left;
} math_budget;
int math_spend(math_budget *budget, double work);

/* ---- exact rationals --------------------------------------------------------------- */

typedef enum math_exactness {
    MATH_EXACT,       /* the value is in *out */
    MATH_NOT_RATIONAL, /* or not known to be */
    MATH_UNDEFINED,   /* a division by zero and the like */
    MATH_TOO_BIG      /* the number would not fit the budget */
} math_exactness;

enum { MATH_MAX_BITS = 1 << 17 }; /* of an exact integer */

math_exactness math_exact(const math_node *node, fmpq_t out, math_budget *budget);

/* ---- residues ---------------------------------------------------------------------- */

/* Symbols stand for random residues, and every operation that is not rational (roots, logarithms,
 * sines, unknown functions) for a random residue that depends on its operands' residues. So two
 * expressions that are equal as rational functions of such parts have equal residues, and others
 * differ but for a chance of about degree / 2^61. */
typedef struct math_field {
    nmod_t mod;
    mp_limb_t seed;       /* of the random point */
    mp_limb_t imaginary;  /* a square root of -1 */
    int natural_log;      /* what log without a base means: 1 e, 0 ten */
    int degrees;          /* inside a trigonometric function: 30 degrees is pi/6 */
    int opaque;           /* out: something other than a rational function was met */
    int undefined;        /* out: a division by zero was met */
    math_budget *budget;
    const char *bound[8]; /* variables of sums and integrals around, outermost first */
    int bound_count;
} math_field;

void math_field_init(math_field *field, mp_limb_t seed, math_budget *budget);
mp_limb_t math_residue(math_field *field, const math_node *node);

/* The same as a fraction whose parts are polynomials' residues: common denominators are multiplied out
 * and nothing is cancelled. */
typedef struct math_fraction {
    mp_limb_t numerator, denominator;
} math_fraction;
math_fraction math_residue_fraction(math_field *field, const math_node *node);

/* ---- balls ------------------------------------------------------------------------- */

typedef enum math_ball_status { MATH_BALL_OK, MATH_BALL_UNDEFINED, MATH_BALL_UNKNOWN, MATH_BALL_BUDGET } math_ball_status;

typedef struct math_point {
    math_field field;  /* names symbols and opaque parts */
    int negative;      /* some symbols are negative */
    slong precision;
    int degrees;       /* inside a trigonometric function: 30 degrees is pi/6 */
    math_budget *budget;
    struct { const char *name; long value; } bound[4]; /* running variables of finite sums */
    int bound_count;
} math_point;

math_ball_status math_ball(math_point *point, const math_node *node, acb_t out);

/* ---- algebraic numbers ------------------------------------------------------------- */

/* Separation bound of Burnikel, Funke, Mehlhorn, Schirra, Schmitt ("A separation bound for real
 * algebraic expressions", ESA 2001): when the value of the expression is not zero, it is larger than
 * 2^-bits in magnitude. Returns the bits, or -1 when the expression is not algebraic or the bound is
 * over `limit`. */
double math_separation_bits(const math_node *node, double limit);

#endif
