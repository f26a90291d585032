/* Values of the template language: what Python objects a chat template can meet, and nothing more.
 * A value is 16 bytes and copied freely; what it points to lives in the arena of the template (for
 * constants) or of the render, and is never changed after it is made, except namespaces, loops,
 * iterators, cyclers and joiners, which belong to one render. */
#ifndef TEXT_JINJA_VALUE_H
#define TEXT_JINJA_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum jinja_type {
    JINJA_MISSING, /* no value at all: an unset variable, an argument that was not given */
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_STRING,
    JINJA_LIST,
    JINJA_TUPLE,
    JINJA_DICT,
    JINJA_RANGE,
    JINJA_VIEW, /* dict.keys(), .values(), .items() */
    JINJA_ITERATOR,
    JINJA_NAMESPACE,
    JINJA_MACRO,
    JINJA_METHOD,   /* a builtin bound to a value */
    JINJA_FUNCTION, /* a global function */
    JINJA_LOOP,
    JINJA_CYCLER,
    JINJA_JOINER,
} jinja_type;

typedef struct jinja_value {
    uint8_t type; /* jinja_type */
    union {
        bool boolean;
        int64_t integer;
        double number;
        struct jinja_string *string;
        struct jinja_list *list; /* also tuples */
        struct jinja_dict *dict;
        struct jinja_range *range;
        struct jinja_view *view;
        struct jinja_iterator *iterator;
        struct jinja_namespace *ns;
        struct jinja_macro *macro;
        struct jinja_method *method;
        const struct jinja_builtin *function;
        struct jinja_loop *loop;
        struct jinja_cycler *cycler;
        struct jinja_joiner *joiner;
        struct jinja_undefined *undefined;
    };
} jinja_value;

/* Room behind a string built by `+`, shared by the strings that are its prefixes: appending to the
 * longest of them needs no copy, so that building text in a loop stays linear. */
typedef struct jinja_room {
    size_t used, capacity;
} jinja_room;

typedef struct jinja_string {
    const char *data; /* well-formed UTF-8, not terminated */
    size_t length;    /* bytes */
    size_t points;    /* code points; SIZE_MAX = not counted yet */
    jinja_room *room; /* NULL = none */
    bool markup;      /* MarkupSafe's Markup: what is joined to it gets HTML-escaped */
} jinja_string;

typedef struct jinja_list {
    jinja_value *items;
    size_t count;
    bool group; /* a tuple made by `groupby`: has .grouper and .list */
} jinja_list;

typedef struct jinja_pair {
    jinja_value key, value;
} jinja_pair;

typedef struct jinja_dict {
    jinja_pair *pairs; /* in order of insertion */
    size_t count, capacity;
    uint32_t *index; /* open addressing, position + 1; NULL while small */
    size_t index_size;
} jinja_dict;

typedef struct jinja_range {
    int64_t start, stop, step;
    size_t count;
} jinja_range;

typedef enum jinja_view_kind { JINJA_KEYS, JINJA_VALUES, JINJA_ITEMS } jinja_view_kind;

typedef struct jinja_view {
    jinja_dict *dict;
    jinja_view_kind kind;
} jinja_view;

typedef struct jinja_namespace {
    jinja_dict *attributes;
    bool printing; /* a namespace may contain itself */
} jinja_namespace;

typedef struct jinja_undefined {
    const char *hint;   /* the whole message, or NULL */
    jinja_value object; /* missing: a variable was not found */
    jinja_value name;
    bool security; /* use of it is a SecurityError */
} jinja_undefined;

typedef struct jinja_macro {
    const struct jinja_node *node; /* a macro, call block or generation block */
    struct jinja_frame *closure;
} jinja_macro;

typedef struct jinja_cycler {
    jinja_list *items;
    size_t position;
} jinja_cycler;

typedef struct jinja_joiner {
    jinja_value separator;
    bool used;
} jinja_joiner;

/* ---- calls and builtins --------------------------------------------------------- */

typedef struct jinja_call {
    const jinja_value *positional;
    size_t count;
    const jinja_pair *named; /* keys are strings */
    size_t named_count;
} jinja_call;

struct jinja_run;

/* self: what a method is bound to (missing otherwise). arg: the parameters of the table entry in
 * order, missing where not given; call: the call as written (what RAW builtins read). */
typedef jinja_value jinja_builtin_fn(struct jinja_run *r, jinja_value self, const jinja_value *arg,
                                     const jinja_call *call);

#define JINJA_MAX_PARAMETERS 8

enum {
    JINJA_POSITIONAL = 1, /* takes no keyword arguments */
    JINJA_RAW = 2,        /* reads the call itself */
    JINJA_REFUSED = 4,    /* exists in jinja2 but not here: refused by name */
};

typedef struct jinja_builtin {
    const char *name;
    const char *parameters; /* separated by spaces */
    int required;
    unsigned flags;
    jinja_builtin_fn *fn;
} jinja_builtin;

typedef struct jinja_method {
    jinja_value self;
    const jinja_builtin *builtin;
} jinja_method;

/* ---- making plain values ----------------------------------------------------------- */

static inline jinja_value jinja_none(void)
{
    return (jinja_value){.type = JINJA_NONE};
}

static inline jinja_value jinja_missing(void)
{
    return (jinja_value){.type = JINJA_MISSING};
}

static inline jinja_value jinja_bool(bool b)
{
    return (jinja_value){.type = JINJA_BOOL, .boolean = b};
}

static inline jinja_value jinja_int(int64_t i)
{
    return (jinja_value){.type = JINJA_INT, .integer = i};
}

static inline jinja_value jinja_float(double x)
{
    return (jinja_value){.type = JINJA_FLOAT, .number = x};
}

static inline jinja_value jinja_of_string(jinja_string *s)
{
    return (jinja_value){.type = JINJA_STRING, .string = s};
}

static inline jinja_value jinja_of_list(jinja_list *l)
{
    return (jinja_value){.type = JINJA_LIST, .list = l};
}

static inline jinja_value jinja_of_tuple(jinja_list *l)
{
    return (jinja_value){.type = JINJA_TUPLE, .list = l};
}

static inline jinja_value jinja_of_dict(jinja_dict *d)
{
    return (jinja_value){.type = JINJA_DICT, .dict = d};
}

static inline bool jinja_is_number(jinja_value v)
{
    return v.type == JINJA_INT || v.type == JINJA_BOOL || v.type == JINJA_FLOAT;
}

static inline bool jinja_is_whole(jinja_value v)
{
    return v.type == JINJA_INT || v.type == JINJA_BOOL;
}

static inline int64_t jinja_whole(jinja_value v)
{
    return v.type == JINJA_BOOL ? v.boolean : v.integer;
}

static inline double jinja_number(jinja_value v)
{
    return v.type == JINJA_FLOAT ? v.number : (double)jinja_whole(v);
}

#endif
