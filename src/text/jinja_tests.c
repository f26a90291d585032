/* Tests: what may follow `is`. */
#include "text/jinja_builtins.h"
#include "text/jinja_ops.h"

#define TEST(name)                                                                                 \
    static jinja_value name(jinja_run *r, jinja_value self, const jinja_value *arg, const jinja_call *call)
#define UNUSED (void)r, (void)self, (void)arg, (void)call

/* Tests that look at the type of arg[0] only. */
#define TYPE_TEST(name, condition)                                                                 \
    TEST(name)                                                                                     \
    {                                                                                              \
        UNUSED;                                                                                    \
        jinja_type type = (jinja_type)arg[0].type;                                                 \
        (void)type;                                                                                \
        return jinja_bool(condition);                                                              \
    }

static bool is_sequence(jinja_type t)
{
    return t == JINJA_STRING || t == JINJA_LIST || t == JINJA_TUPLE || t == JINJA_DICT || t == JINJA_RANGE ||
           t == JINJA_UNDEFINED;
}

static bool is_callable(jinja_type t)
{
    return t == JINJA_FUNCTION || t == JINJA_MACRO || t == JINJA_METHOD || t == JINJA_JOINER ||
           t == JINJA_LOOP || t == JINJA_UNDEFINED;
}

TYPE_TEST(test_defined, type != JINJA_UNDEFINED)
TYPE_TEST(test_undefined, type == JINJA_UNDEFINED)
TYPE_TEST(test_none, type == JINJA_NONE)
TYPE_TEST(test_boolean, type == JINJA_BOOL)
TYPE_TEST(test_true, type == JINJA_BOOL &&arg[0].boolean)
TYPE_TEST(test_false, type == JINJA_BOOL && !arg[0].boolean)
TYPE_TEST(test_integer, type == JINJA_INT)
TYPE_TEST(test_float, type == JINJA_FLOAT)
TYPE_TEST(test_string, type == JINJA_STRING)
TYPE_TEST(test_mapping, type == JINJA_DICT)
TYPE_TEST(test_number, jinja_is_number(arg[0]))
TYPE_TEST(test_sequence, is_sequence(type))
TYPE_TEST(test_iterable, jinja_iterable(arg[0]))
TYPE_TEST(test_callable, is_callable(type))
TYPE_TEST(test_escaped, type == JINJA_STRING &&arg[0].string->markup)
TYPE_TEST(test_sameas, jinja_same(arg[0], arg[1]))

static jinja_value remainder_is(jinja_run *r, jinja_value v, jinja_value by, int64_t want)
{
    return jinja_bool(jinja_equal(r, jinja_binary(r, JINJA_MOD, v, by), jinja_int(want)));
}

TEST(test_odd)
{
    UNUSED;
    return remainder_is(r, arg[0], jinja_int(2), 1);
}

TEST(test_even)
{
    UNUSED;
    return remainder_is(r, arg[0], jinja_int(2), 0);
}

TEST(test_divisibleby)
{
    UNUSED;
    return remainder_is(r, arg[0], arg[1], 0);
}

static jinja_value case_test(jinja_run *r, jinja_value v, const char *method)
{
    jinja_value text = jinja_str(r, v), name = jinja_text(r, method);
    return jinja_call_value(r, jinja_getattr(r, text, name), &(jinja_call){0});
}

TEST(test_lower)
{
    UNUSED;
    return case_test(r, arg[0], "islower");
}

TEST(test_upper)
{
    UNUSED;
    return case_test(r, arg[0], "isupper");
}

TEST(test_in)
{
    UNUSED;
    return jinja_bool(jinja_contains(r, arg[1], arg[0]));
}

static void need_hashable(jinja_run *r, jinja_value v)
{
    if (!jinja_hashable(v))
        jinja_fail(r, JINJA_TYPE_ERROR, "unhashable type: '%s'", jinja_type_name(v));
}

TEST(test_filter)
{
    UNUSED;
    need_hashable(r, arg[0]);
    return jinja_bool(arg[0].type == JINJA_STRING &&
                      jinja_find_filter(arg[0].string->data, arg[0].string->length));
}

TEST(test_test)
{
    UNUSED;
    need_hashable(r, arg[0]);
    return jinja_bool(arg[0].type == JINJA_STRING &&
                      jinja_find_test(arg[0].string->data, arg[0].string->length));
}

#define COMPARISON(name, op)                                                                       \
    TEST(name)                                                                                     \
    {                                                                                              \
        UNUSED;                                                                                    \
        return jinja_bool(jinja_compare(r, op, arg[0], arg[1]));                                   \
    }

COMPARISON(test_eq, JINJA_EQ)
COMPARISON(test_ne, JINJA_NE)
COMPARISON(test_lt, JINJA_LT)
COMPARISON(test_le, JINJA_LE)
COMPARISON(test_gt, JINJA_GT)
COMPARISON(test_ge, JINJA_GE)

#define OPERATOR(name, fn) {name, "a b", 2, JINJA_POSITIONAL, fn}

const jinja_builtin jinja_tests[] = {
    {"boolean", "value", 1, 0, test_boolean},
    {"callable", "obj", 1, JINJA_POSITIONAL, test_callable},
    {"defined", "value", 1, 0, test_defined},
    {"divisibleby", "value num", 2, 0, test_divisibleby},
    {"escaped", "value", 1, 0, test_escaped},
    {"even", "value", 1, 0, test_even},
    {"false", "value", 1, 0, test_false},
    {"filter", "value", 1, 0, test_filter},
    {"float", "value", 1, 0, test_float},
    {"in", "value seq", 2, 0, test_in},
    {"integer", "value", 1, 0, test_integer},
    {"iterable", "value", 1, 0, test_iterable},
    {"lower", "value", 1, 0, test_lower},
    {"mapping", "value", 1, 0, test_mapping},
    {"none", "value", 1, 0, test_none},
    {"number", "value", 1, 0, test_number},
    {"odd", "value", 1, 0, test_odd},
    {"sameas", "value other", 2, 0, test_sameas},
    {"sequence", "value", 1, 0, test_sequence},
    {"string", "value", 1, 0, test_string},
    {"test", "value", 1, 0, test_test},
    {"true", "value", 1, 0, test_true},
    {"undefined", "value", 1, 0, test_undefined},
    {"upper", "value", 1, 0, test_upper},
    OPERATOR("==", test_eq),
    OPERATOR("eq", test_eq),
    OPERATOR("equalto", test_eq),
    OPERATOR("!=", test_ne),
    OPERATOR("ne", test_ne),
    OPERATOR("<", test_lt),
    OPERATOR("lt", test_lt),
    OPERATOR("lessthan", test_lt),
    OPERATOR("<=", test_le),
    OPERATOR("le", test_le),
    OPERATOR(">", test_gt),
    OPERATOR("gt", test_gt),
    OPERATOR("greaterthan", test_gt),
    OPERATOR(">=", test_ge),
    OPERATOR("ge", test_ge),
    {NULL, NULL, 0, 0, NULL},
};
