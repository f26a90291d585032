/* Operations on values, with Python's semantics. Every function may leave through jinja_fail. */
#ifndef TEXT_JINJA_OPS_H
#define TEXT_JINJA_OPS_H

#include "text/jinja_ast.h"
#include "text/jinja_run.h"

/* ---- strings (jinja_string.c) ------------------------------------------------------------- */

jinja_value jinja_text(jinja_run *r, const char *text); /* a C literal, not copied */
jinja_value jinja_copy_text(jinja_run *r, const char *data, size_t length);
/* Part of a string, sharing its bytes; a Markup gives a Markup. */
jinja_value jinja_part(jinja_run *r, const jinja_string *s, size_t offset, size_t length);
/* Bytes that outlive the run, not copied. */
jinja_value jinja_borrow_text(jinja_run *r, const char *data, size_t length);
size_t jinja_points(const jinja_string *s);
size_t jinja_point_offset(const jinja_string *s, size_t point); /* byte offset; length at the end */
size_t jinja_point_index(const jinja_string *s, size_t offset); /* the reverse */
jinja_value jinja_join_two(jinja_run *r, jinja_value a, jinja_value b); /* +, without escaping */
jinja_value jinja_as_markup(jinja_run *r, jinja_value s, bool markup);
jinja_value jinja_escape(jinja_run *r, jinja_value v); /* any value; a Markup stays */
jinja_value jinja_replace(jinja_run *r, const jinja_string *s, const jinja_string *old,
                          const jinja_string *new, int64_t most);
bool jinja_text_is(jinja_value v, const char *text);
/* First place of a needle in a haystack from an offset, or SIZE_MAX. */
size_t jinja_find_bytes(const char *hay, size_t length, size_t from, const char *needle, size_t n);

/* ---- lists, dicts (jinja_collection.c) ------------------------------------------------------- */

typedef struct jinja_list_builder {
    jinja_value *items;
    size_t count, capacity;
} jinja_list_builder;

void jinja_push(jinja_run *r, jinja_list_builder *b, jinja_value v);
jinja_value jinja_build_list(jinja_run *r, const jinja_list_builder *b);
jinja_value jinja_build_tuple(jinja_run *r, const jinja_list_builder *b);
jinja_value jinja_tuple_of(jinja_run *r, const jinja_value *items, size_t n);
jinja_value jinja_list_of(jinja_run *r, const jinja_value *items, size_t n);

jinja_dict *jinja_dict_new(jinja_run *r);
void jinja_dict_set(jinja_run *r, jinja_dict *d, jinja_value key, jinja_value value);
/* NULL when absent; leaves with a TypeError when key cannot be hashed. */
jinja_value *jinja_dict_get(jinja_run *r, const jinja_dict *d, jinja_value key);
jinja_dict *jinja_dict_copy(jinja_run *r, const jinja_dict *d);

/* ---- comparison (jinja_compare.c) -------------------------------------------------------------- */

bool jinja_truth(jinja_value v);
bool jinja_equal(jinja_run *r, jinja_value a, jinja_value b);
bool jinja_same(jinja_value a, jinja_value b); /* Python's `is` */
bool jinja_compare(jinja_run *r, jinja_op op, jinja_value a, jinja_value b);
bool jinja_contains(jinja_run *r, jinja_value container, jinja_value item);
bool jinja_hashable(jinja_value v);
uint64_t jinja_hash(jinja_run *r, jinja_value v);
/* Python's sorted(): stable; keys[i] belongs to items[i]. */
void jinja_sort(jinja_run *r, jinja_value *items, jinja_value *keys, size_t n, bool reverse);
const char *jinja_type_name(jinja_value v);

/* ---- printing (jinja_print.c) -------------------------------------------------------------------- */

void jinja_put_str(jinja_run *r, jinja_buffer *out, jinja_value v);
void jinja_put_repr(jinja_run *r, jinja_buffer *out, jinja_value v);
jinja_value jinja_str(jinja_run *r, jinja_value v);      /* str(v); never a Markup */
jinja_value jinja_soft_str(jinja_run *r, jinja_value v); /* v itself when it is a string */
jinja_value jinja_ascii(jinja_run *r, const jinja_string *s); /* a repr with \\x, \\u, \\U for non-ASCII */
size_t jinja_float_repr(char out[40], double x);
/* json.dumps's options. */
typedef struct jinja_json_style {
    const jinja_string *indent; /* one level; NULL = everything on one line */
    const jinja_string *item_separator, *key_separator;
    bool ascii, sort;
} jinja_json_style;
void jinja_put_json(jinja_run *r, jinja_buffer *out, jinja_value v, const jinja_json_style *style);

/* ---- arithmetic (jinja_arith.c) --------------------------------------------------------------------- */

jinja_value jinja_binary(jinja_run *r, jinja_op op, jinja_value a, jinja_value b);
jinja_value jinja_negate(jinja_run *r, jinja_value v, bool negative); /* -v or +v */
jinja_value jinja_add_values(jinja_run *r, jinja_value a, jinja_value b);
double jinja_round_to(double x, int64_t digits);
int64_t jinja_round_whole(jinja_run *r, int64_t x, int64_t digits);
int64_t jinja_float_to_whole(jinja_run *r, double x);
int64_t jinja_index_value(jinja_run *r, jinja_value v); /* Python's __index__ */
/* int() and float() of a string; false when it is none. */
bool jinja_parse_whole(jinja_run *r, const jinja_string *s, int64_t base, int64_t *out);
bool jinja_parse_float(jinja_run *r, const jinja_string *s, double *out);

/* ---- formatting (jinja_format.c, jinja_percent.c) ------------------------------------------------------ */

jinja_value jinja_percent(jinja_run *r, const jinja_string *format, jinja_value arguments);
jinja_value jinja_str_format(jinja_run *r, const jinja_string *format, const jinja_call *call,
                             jinja_value mapping);
/* format(v, spec) */
void jinja_put_formatted(jinja_run *r, jinja_buffer *out, jinja_value v, const jinja_string *spec);

/* ---- attributes and items (jinja_access.c) ------------------------------------------------------------ */

jinja_value jinja_getattr(jinja_run *r, jinja_value object, jinja_value name);
jinja_value jinja_getitem(jinja_run *r, jinja_value object, jinja_value index);
jinja_value jinja_slice(jinja_run *r, jinja_value object, jinja_value start, jinja_value stop, jinja_value step);
void jinja_namespace_set(jinja_run *r, jinja_value ns, jinja_value name, jinja_value value);
jinja_value jinja_undefined_name(jinja_run *r, jinja_value name);
jinja_value jinja_undefined_hint(jinja_run *r, const char *hint);
jinja_value jinja_undefined_of(jinja_run *r, jinja_value object, jinja_value name);
_Noreturn void jinja_fail_undefined(jinja_run *r, jinja_value v);
/* Leaves with v's error when it is undefined. */
static inline void jinja_need_defined(jinja_run *r, jinja_value v)
{
    if (v.type == JINJA_UNDEFINED)
        jinja_fail_undefined(r, v);
}
jinja_value jinja_attribute(jinja_run *r, jinja_value object, jinja_value name); /* without items */
int64_t jinja_length(jinja_run *r, jinja_value v); /* len(v) */
bool jinja_has_length(jinja_value v);

/* An attribute path such as "a.b.0", as filters take it. */
jinja_value jinja_prepare_path(jinja_run *r, jinja_value attribute); /* a list of parts */
jinja_value jinja_follow_path(jinja_run *r, jinja_value item, jinja_value path, jinja_value fallback);

/* ---- iteration (jinja_iterator.c) ---------------------------------------------------------------------- */

typedef struct jinja_iterator jinja_iterator;

bool jinja_iterable(jinja_value v);
jinja_iterator *jinja_iterate(jinja_run *r, jinja_value v);
bool jinja_next(jinja_run *r, jinja_iterator *it, jinja_value *item); /* false at the end */
jinja_iterator *jinja_iterate_reversed(jinja_run *r, jinja_value v);  /* NULL: v has no reverse */
jinja_list_builder jinja_collect(jinja_run *r, jinja_value v);        /* all items */
/* Lazy filters: their generators. */
typedef enum jinja_lazy {
    JINJA_LAZY_MAP,
    JINJA_LAZY_SELECT,
    JINJA_LAZY_REJECT,
    JINJA_LAZY_SELECT_ATTRIBUTE,
    JINJA_LAZY_REJECT_ATTRIBUTE,
    JINJA_LAZY_UNIQUE,
    JINJA_LAZY_ITEMS,
    JINJA_LAZY_BATCH,
    JINJA_LAZY_SLICE,
} jinja_lazy;
jinja_value jinja_lazy_iterator(jinja_run *r, jinja_lazy kind, const jinja_value *arg, size_t n,
                                const jinja_call *call);
/* The items of `source` that pass the condition of a for loop. */
jinja_iterator *jinja_filter_iterator(jinja_run *r, const jinja_for_node *f, struct jinja_frame *frame,
                                      jinja_value source);

/* ---- evaluation (jinja_eval.c, jinja_exec.c, jinja_call.c, jinja_loop.c) --------------------------------- */

/* The variables of one activation of a function. */
typedef struct jinja_frame {
    struct jinja_frame *outer; /* of the function around it; next free frame when unused */
    jinja_value slots[];
} jinja_frame;

jinja_frame *jinja_frame_new(jinja_run *r, const jinja_function *f, jinja_frame *outer);
void jinja_frame_done(jinja_run *r, const jinja_function *f, jinja_frame *frame);
void jinja_enter_scope(jinja_run *r, jinja_frame *frame, const jinja_loads *loads);
jinja_value jinja_eval(jinja_run *r, jinja_frame *frame, const jinja_node *n);
jinja_value jinja_apply_filter(jinja_run *r, jinja_frame *frame, const jinja_node *n, jinja_value operand);
/* A filter chain whose innermost operand is the text of a block. */
jinja_value jinja_eval_filters(jinja_run *r, jinja_frame *frame, const jinja_node *n, jinja_value text);
void jinja_assign(jinja_run *r, jinja_frame *frame, const jinja_node *target, jinja_value v);
void jinja_deepen(jinja_run *r); /* one more nested evaluation */

typedef enum jinja_flow { JINJA_FLOW_ON, JINJA_FLOW_BREAK, JINJA_FLOW_CONTINUE } jinja_flow;
jinja_flow jinja_exec(jinja_run *r, jinja_frame *frame, const jinja_nodes *body, jinja_buffer *out);
jinja_flow jinja_exec_for(jinja_run *r, jinja_frame *frame, const jinja_node *n, jinja_buffer *out);

jinja_value jinja_call_value(jinja_run *r, jinja_value callee, const jinja_call *call);
/* The call that a node writes; extra_name = extra_value is added when extra_name is not missing. */
jinja_value jinja_call_node(jinja_run *r, jinja_frame *frame, const jinja_node *n, jinja_value extra_name,
                            jinja_value extra_value);
jinja_value jinja_call_macro(jinja_run *r, const jinja_macro *m, const jinja_call *call);
jinja_value jinja_loop_attribute(jinja_run *r, struct jinja_loop *loop, const jinja_string *name); /* missing if none */
jinja_value jinja_loop_recurse(jinja_run *r, struct jinja_loop *loop, jinja_value items);

#endif
