/* The parsed template. The parser makes nodes; jinja_bind.c then gives every variable its place.
 * Immutable once compiled, shared by all renders. */
#ifndef TEXT_JINJA_AST_H
#define TEXT_JINJA_AST_H

#include "text/jinja_value.h"

typedef enum jinja_kind {
    /* expressions */
    JINJA_N_CONST,
    JINJA_N_NAME,
    JINJA_N_ATTRIBUTE_TARGET, /* `ns.attr` left of `=` */
    JINJA_N_TUPLE,
    JINJA_N_LIST,
    JINJA_N_DICT, /* items: key, value, key, value, … */
    JINJA_N_BINARY,
    JINJA_N_AND,
    JINJA_N_OR,
    JINJA_N_NOT,
    JINJA_N_NEGATIVE,
    JINJA_N_POSITIVE,
    JINJA_N_CONCAT,
    JINJA_N_COMPARE,
    JINJA_N_CONDITION,
    JINJA_N_GETATTR,
    JINJA_N_GETITEM,
    JINJA_N_SLICE,
    JINJA_N_FILTER,
    JINJA_N_TEST,
    JINJA_N_CALL,
    /* statements */
    JINJA_N_DATA,
    JINJA_N_OUTPUT,
    JINJA_N_IF,
    JINJA_N_FOR,
    JINJA_N_SET,
    JINJA_N_SET_BLOCK,
    JINJA_N_MACRO,
    JINJA_N_CALL_BLOCK,
    JINJA_N_GENERATION,
    JINJA_N_FILTER_BLOCK,
    JINJA_N_WITH,
    JINJA_N_BREAK,
    JINJA_N_CONTINUE,
} jinja_kind;

typedef enum jinja_op {
    JINJA_ADD,
    JINJA_SUB,
    JINJA_MUL,
    JINJA_DIV,
    JINJA_FLOORDIV,
    JINJA_MOD,
    JINJA_POW,
    JINJA_EQ,
    JINJA_NE,
    JINJA_LT,
    JINJA_LE,
    JINJA_GT,
    JINJA_GE,
    JINJA_IN,
    JINJA_NOT_IN,
} jinja_op;

/* Where a variable lies: `hops` functions outwards, at `slot` of that function's frame. */
typedef struct jinja_ref {
    uint16_t hops, slot;
} jinja_ref;

#define JINJA_NO_SLOT 0xFFFF

typedef struct jinja_node jinja_node;

typedef struct jinja_nodes {
    jinja_node **items;
    size_t count, capacity;
} jinja_nodes;

typedef struct jinja_arguments {
    jinja_nodes positional;
    jinja_nodes named; /* values; names[i] belongs to named.items[i] */
    jinja_value *names;
    jinja_node *star, *star_star; /* *args, **kwargs */
} jinja_arguments;

/* What happens to a variable when its scope is entered. */
typedef enum jinja_load_kind { JINJA_LOAD_RESOLVE, JINJA_LOAD_ALIAS, JINJA_LOAD_UNSET } jinja_load_kind;

typedef struct jinja_load {
    jinja_load_kind kind;
    uint16_t slot;
    jinja_ref alias;
    jinja_value name;
} jinja_load;

typedef struct jinja_loads {
    jinja_load *items;
    size_t count;
} jinja_loads;

/* A body with variables of its own: the template, a macro or call block, the condition of a loop,
 * a recursive loop. */
typedef struct jinja_function {
    int id;
    size_t slots;
    bool captured; /* something inside keeps the frame: it may not be reused */
} jinja_function;

typedef struct jinja_macro_node {
    jinja_value name;       /* missing for a call block */
    jinja_nodes parameters; /* names */
    jinja_nodes defaults;   /* of the last parameters */
    jinja_nodes body;
    jinja_node *call; /* of a call block */
    jinja_ref target;
    jinja_function *function;
    jinja_loads loads;
    uint16_t caller, kwargs, varargs; /* slots, or JINJA_NO_SLOT */
    bool explicit_caller;
} jinja_macro_node;

typedef struct jinja_for_node {
    jinja_node *target, *iterable, *test, *filter_target; /* filter_target: the target, in `filter` */
    jinja_nodes body, otherwise;
    bool recursive;
    jinja_function *filter, *function; /* of the test; of a recursive loop */
    jinja_loads filter_loads, body_loads, otherwise_loads;
    uint16_t loop; /* slot of `loop`, or JINJA_NO_SLOT */
} jinja_for_node;

struct jinja_node {
    jinja_kind kind;
    int line;
    int height; /* of the expression below */
    union {
        jinja_value value; /* CONST, DATA */
        struct {
            jinja_value name;
            jinja_ref ref;
            bool store, parameter;
        } name;
        struct {
            jinja_value name, attribute;
            jinja_ref ref;
        } attribute_target;
        jinja_nodes items; /* TUPLE, LIST, DICT, CONCAT */
        struct {
            jinja_op op;
            jinja_node *left, *right;
        } binary;           /* BINARY, AND, OR */
        jinja_node *operand; /* NOT, NEGATIVE, POSITIVE, OUTPUT */
        struct {
            jinja_nodes operands;
            jinja_op *ops;
        } compare;
        struct {
            jinja_node *test, *yes, *no;
        } condition;
        struct {
            jinja_node *object;
            jinja_value name;
        } getattr;
        struct {
            jinja_node *object, *index;
        } getitem;
        struct {
            jinja_node *start, *stop, *step;
        } slice;
        struct {
            jinja_node *operand; /* NULL: the text of a block */
            jinja_value name;
            const jinja_builtin *builtin;
            jinja_arguments arguments;
        } apply; /* FILTER, TEST */
        struct {
            jinja_node *callee;
            jinja_arguments arguments;
        } call;
        struct {
            jinja_node *test;
            jinja_nodes body, otherwise; /* an elif is an IF alone in `otherwise` */
        } branch;
        jinja_for_node *loop;
        struct {
            jinja_node *target, *value;
        } set;
        struct {
            jinja_node *target, *filter;
            jinja_nodes body;
            jinja_loads loads;
        } block; /* SET_BLOCK, FILTER_BLOCK */
        jinja_macro_node *macro;
        struct {
            jinja_nodes targets, values, body;
            jinja_loads loads;
        } with;
    };
};

/* Names that mean something to the language. */
typedef enum jinja_special {
    JINJA_CALLER,
    JINJA_KWARGS,
    JINJA_VARARGS,
    JINJA_LOOP_NAME,
    JINJA_SPECIAL_COUNT
} jinja_special;

typedef struct jinja_program {
    jinja_nodes body;
    jinja_value special[JINJA_SPECIAL_COUNT];
    jinja_loads loads;
    jinja_function *function;
    int functions;
} jinja_program;

#endif
