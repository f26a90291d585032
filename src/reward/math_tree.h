/* The expression tree of the math verifier: nodes live in an arena and are freed together. A tree
 * has limits (nodes, depth, digits), so that no input can make the verifier run long. */
#ifndef REWARD_MATH_TREE_H
#define REWARD_MATH_TREE_H

#include <stddef.h>

#include "reward/flint.h"

enum {
    MATH_MAX_NODES = 20000,
    MATH_MAX_DEPTH = 100,    /* nesting of groups in the text */
    MATH_MAX_DIGITS = 20000, /* of one number literal */
    MATH_MAX_INPUT = 32768   /* bytes of an answer that is parsed */
};

typedef enum math_kind {
    MATH_NUMBER,    /* value: a rational literal */
    MATH_SYMBOL,    /* name; args[0]: subscript, if any */
    MATH_CONSTANT,  /* op: math_constant */
    MATH_ADD,       /* args: terms */
    MATH_MUL,       /* args: factors */
    MATH_POW,       /* args: base, exponent */
    MATH_CALL,      /* op: math_function; args */
    MATH_APPLY,     /* name: a function that is not known (f, g); args */
    MATH_SIGN,      /* op: '+' for \pm, '-' for \mp; args[0] */
    MATH_DEGREES,   /* args[0], an angle */
    MATH_PERCENT,   /* args[0] */
    MATH_QUANTITY,  /* args[0]; name: unit as written */
    MATH_LIST,      /* op: math_join; args: items */
    MATH_TUPLE,     /* op: opening bracket, op2: closing bracket; args */
    MATH_SET,       /* args: elements */
    MATH_BUILDER,   /* args: element, then conditions */
    MATH_SETOP,     /* op: 'u' union, 'n' intersection, 'm' difference; args: two */
    MATH_NAMED_SET, /* op: 'R' 'Z' 'N' 'Q' 'C', '0' the empty set; op2: '+', '-' or 0 */
    MATH_MATRIX,    /* rows, columns; args row-major */
    MATH_RELATION,  /* args: sides; relations[i] stands between args[i] and args[i+1] */
    MATH_RATIO,     /* args: a : b : ... */
    MATH_BIG,       /* op: math_big; args: body, variable, lower, upper (NULL where absent) */
    MATH_TEXT       /* name: words */
} math_kind;

typedef enum math_constant { MATH_PI, MATH_E, MATH_I, MATH_INFINITY } math_constant;

typedef enum math_join { MATH_COMMA, MATH_AND, MATH_OR } math_join;

typedef enum math_relation {
    MATH_EQ, MATH_NE, MATH_LT, MATH_LE, MATH_GT, MATH_GE, MATH_APPROX, MATH_IN, MATH_NOTIN,
    MATH_SUBSET, MATH_EQUIV, MATH_OTHER_REL
} math_relation;

/* X(id, name, fewest arguments, most arguments) */
#define MATH_FUNCTION_TABLE(X)                                                                     \
    X(SIN, "sin", 1, 1) X(COS, "cos", 1, 1) X(TAN, "tan", 1, 1) X(COT, "cot", 1, 1)                \
    X(SEC, "sec", 1, 1) X(CSC, "csc", 1, 1) X(ASIN, "arcsin", 1, 1) X(ACOS, "arccos", 1, 1)        \
    X(ATAN, "arctan", 1, 1) X(ACOT, "arccot", 1, 1) X(ASEC, "arcsec", 1, 1) X(ACSC, "arccsc", 1, 1)\
    X(SINH, "sinh", 1, 1) X(COSH, "cosh", 1, 1) X(TANH, "tanh", 1, 1) X(COTH, "coth", 1, 1)        \
    X(LN, "ln", 1, 1) X(LOG, "log", 1, 2) X(EXP, "exp", 1, 1) X(ROOT, "root", 2, 2)                \
    X(ABS, "abs", 1, 1) X(FLOOR, "floor", 1, 1) X(CEIL, "ceil", 1, 1) X(FACT, "factorial", 1, 1)   \
    X(DFACT, "double factorial", 1, 1) X(BINOM, "binomial", 2, 2) X(GCD, "gcd", 1, 64)             \
    X(LCM, "lcm", 1, 64) X(MIN, "min", 1, 64) X(MAX, "max", 1, 64) X(MOD, "mod", 2, 2)             \
    X(RE, "Re", 1, 1) X(IM, "Im", 1, 1) X(CONJ, "conjugate", 1, 1) X(ARG, "arg", 1, 1)             \
    X(DET, "det", 1, 1) X(TRANSPOSE, "transpose", 1, 1) X(CASES, "cases", 1, 64)                   \
    X(PERM, "permutations", 2, 2) X(SGN, "sgn", 1, 1)

typedef enum math_function {
#define X(id, name, fewest, most) MATH_F_##id,
    MATH_FUNCTION_TABLE(X)
#undef X
    MATH_FUNCTIONS
} math_function;

typedef enum math_big { MATH_SUM, MATH_PRODUCT, MATH_INTEGRAL, MATH_LIMIT, MATH_BIG_OTHER } math_big;

/* How a number literal was written. */
enum { MATH_DECIMAL = 1, MATH_SCIENTIFIC = 2, MATH_REPEATING = 4, MATH_DOTS = 8 };

typedef struct math_node math_node;
struct math_node {
    unsigned char kind, op, op2, flags;
    unsigned short rows, columns; /* matrices */
    int places;                   /* MATH_NUMBER: digits after the point */
    int significant;              /* MATH_NUMBER: significant digits */
    unsigned count;
    math_node **args;
    unsigned char *relations; /* count - 1 of them */
    const char *name;         /* NUL-terminated, in the arena */
    fmpq *value;              /* MATH_NUMBER; freed with the tree */
};

typedef struct math_tree {
    struct math_chunk *chunks;
    math_node **numbers; /* nodes that hold a value, to free */
    size_t number_count, number_capacity;
    unsigned nodes;
    const char *problem; /* first limit or allocation that failed; static text */
    int no_memory;
} math_tree;

void math_tree_init(math_tree *tree);
void math_tree_deinit(math_tree *tree);

/* n zeroed bytes that live as long as the tree; NULL on failure (tree->problem is set). */
void *math_tree_alloc(math_tree *tree, size_t n);
const char *math_tree_text(math_tree *tree, const char *s, size_t n);

/* A node with room for `count` arguments; NULL on failure. */
math_node *math_node_new(math_tree *tree, math_kind kind, unsigned count);
/* Convenience forms; a NULL argument gives NULL, so that errors travel up. */
math_node *math_node_unary(math_tree *tree, math_kind kind, int op, math_node *a);
math_node *math_node_binary(math_tree *tree, math_kind kind, int op, math_node *a, math_node *b);
math_node *math_node_integer(math_tree *tree, long value);
math_node *math_node_rational(math_tree *tree, const fmpq_t value);
math_node *math_node_symbol(math_tree *tree, const char *name, size_t n);
/* -a, with a literal's sign changed in place of a product. */
math_node *math_node_negate(math_tree *tree, math_node *a);
/* a - b and a / b. */
math_node *math_node_subtract(math_tree *tree, math_node *a, math_node *b);
math_node *math_node_divide(math_tree *tree, math_node *a, math_node *b);

/* Words that stand for products (xy) as products of symbols; other nodes come back unchanged. */
math_node *math_node_spell(math_tree *tree, math_node *node);

/* Whether a symbol or an unknown function occurs below. */
int math_node_has_symbols(const math_node *node);

/* Readable one-line form of a tree, cut to size. */
void math_node_print(const math_node *node, char *out, size_t size);

const char *math_function_name(math_function f);

#endif
