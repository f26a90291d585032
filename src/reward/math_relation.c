/* Comparison of equations, inequalities and assignments. */
#include <string.h>

#include "reward/math_compare.h"

/* ---- names and assignments ---------------------------------------------------------- */

static int is_minus_one(const math_node *node)
{
    return node->kind == MATH_NUMBER && fmpq_equal_si(node->value, -1);
}

/* Something that names a quantity: x, x_1, f(x), AB, |AB|, (x, y), S_1 : S_2, dy/dx, an area. */
static int is_name(const math_node *node)
{
    switch (node->kind) {
    case MATH_SYMBOL: case MATH_APPLY: case MATH_TEXT: return 1;
    case MATH_QUANTITY: return is_name(node->args[0]);
    case MATH_CALL:
        return node->op != MATH_F_ROOT && node->op != MATH_F_FACT && node->count == 1 && is_name(node->args[0]);
    case MATH_TUPLE: case MATH_RATIO:
        for (unsigned i = 0; i < node->count; i++)
            if (!is_name(node->args[i]))
                return 0;
        return 1;
    default: return 0;
    }
}

static int is_upper(const math_node *node)
{
    return node->kind == MATH_SYMBOL && node->name[0] >= 'A' && node->name[0] <= 'Z';
}

static int only_symbols(const math_node *node)
{
    if (node->kind != MATH_MUL)
        return node->kind == MATH_SYMBOL || node->kind == MATH_APPLY;
    for (unsigned i = 0; i < node->count; i++)
        if (!only_symbols(node->args[i]))
            return 0;
    return 1;
}

/* AB/CD, dy/dx: symbols over symbols. */
static int is_quotient_name(const math_node *node)
{
    const math_node *last = node->args[node->count - 1];
    if (node->count < 2 || last->kind != MATH_POW || !is_minus_one(last->args[1]) || !only_symbols(last->args[0]))
        return 0;
    for (unsigned i = 0; i + 1 < node->count; i++)
        if (!only_symbols(node->args[i]))
            return 0;
    return 1;
}

/* f(x) written as a product of a letter and a bracket, AB as a product of capital letters, 2 factors of
 * which one is a constant's letter (E, i) included. */
static int is_product_name(const math_node *node)
{
    if (node->kind != MATH_MUL || node->count > 4)
        return 0;
    int upper = 1, call = node->count == 2 && node->args[0]->kind == MATH_SYMBOL;
    for (unsigned i = 0; i < node->count; i++)
        upper &= is_upper(node->args[i]);
    if (call && node->args[1]->kind != MATH_SYMBOL && node->args[1]->kind != MATH_TUPLE && node->args[1]->kind != MATH_NUMBER)
        call = 0;
    return upper || call || is_quotient_name(node);
}

static int all_equal_signs(const math_node *node)
{
    for (unsigned i = 0; i + 1 < node->count; i++)
        if (node->relations[i] != MATH_EQ && node->relations[i] != MATH_APPROX)
            return 0;
    return 1;
}

math_node *math_assigned_name(math_node *node)
{
    if (node->kind != MATH_RELATION || !all_equal_signs(node))
        return NULL;
    math_node *first = node->args[0];
    return is_name(first) || is_product_name(first) ? first : NULL;
}

/* The side that a chain of equalities states as its value: the last one before an approximation, unless
 * only the name stands before it. An approximation that contradicts it makes the chain useless as a hedge. */
math_node *math_assigned_value(math_context *ctx, math_node *node)
{
    if (node->kind != MATH_RELATION || !all_equal_signs(node))
        return NULL;
    int named = math_assigned_name(node) != NULL;
    if (!named && node->count == 2) { /* 3 = x states 3; an equation with more to it states nothing */
        int left = math_node_has_symbols(node->args[0]), right = math_node_has_symbols(node->args[1]);
        if (!left && right && is_name(node->args[1]))
            return node->args[0];
        if (left || right)
            return NULL;
    }
    if (!named && node->count > 2 && node->relations[0] == MATH_EQ && math_node_has_symbols(node->args[node->count - 1]) &&
        math_node_has_symbols(node->args[0]) && !math_same_residue(ctx, node->args[node->count - 2], node->args[node->count - 1]))
        return NULL;
    unsigned last = 0;
    while (last + 1 < node->count && node->relations[last] == MATH_EQ)
        last++;
    return last == 0 && named ? node->args[1] : node->args[last];
}

/* ---- equations ---------------------------------------------------------------------- */

static math_node *side_difference(math_context *ctx, math_node *node, unsigned i)
{
    math_node *left = math_node_spell(ctx->tree, node->args[i]), *right = math_node_spell(ctx->tree, node->args[i + 1]);
    return math_node_subtract(ctx->tree, left, right);
}

static int is_value(const math_node *node)
{
    return node->kind <= MATH_QUANTITY || node->kind == MATH_BIG || (node->kind == MATH_TEXT && !node->flags);
}

static int is_equation(const math_node *node)
{
    return node->kind == MATH_RELATION && node->count == 2 && node->relations[0] == MATH_EQ && is_value(node->args[0]) &&
           is_value(node->args[1]);
}

static math_answer equations_equal(math_context *ctx, math_node *gold, math_node *answer)
{
    math_node *a = side_difference(ctx, gold, 0), *b = side_difference(ctx, answer, 0);
    if (!a || !b)
        return MATH_UNKNOWN;
    if (math_proportional(ctx, a, b) != 0) {
        ctx->reason = "the equations agree up to a constant factor";
        return MATH_YES;
    }
    if (math_same_zeros(ctx, a, b)) {
        ctx->reason = "the equations agree after multiplying by denominators";
        return MATH_YES;
    }
    ctx->reason = "different equations";
    return MATH_NO;
}

/* The same name, or both of them mere names of a function's value (f(x) = ..., y = ...). */
static int names_agree(math_context *ctx, math_node *a, math_node *b)
{
    int function_a = a->kind == MATH_APPLY || a->kind == MATH_MUL || a->kind == MATH_TEXT;
    int function_b = b->kind == MATH_APPLY || b->kind == MATH_MUL || b->kind == MATH_TEXT;
    return function_a || function_b || math_same_residue(ctx, a, b);
}

/* ---- inequalities -------------------------------------------------------------------- */

static int flipped(int relation)
{
    switch (relation) {
    case MATH_LT: return MATH_GT;
    case MATH_GT: return MATH_LT;
    case MATH_LE: return MATH_GE;
    case MATH_GE: return MATH_LE;
    default: return relation;
    }
}

/* One step of a chain against one step of another. */
static math_answer steps_equal(math_context *ctx, math_node *gold, unsigned i, math_node *answer, unsigned j)
{
    int r = gold->relations[i], s = answer->relations[j];
    if (!is_value(gold->args[i]) || !is_value(gold->args[i + 1]) || !is_value(answer->args[j]) || !is_value(answer->args[j + 1])) {
        if (r != s)
            return MATH_NO;
        math_answer left = math_equal(ctx, gold->args[i], answer->args[j]);
        return left == MATH_YES ? math_equal(ctx, gold->args[i + 1], answer->args[j + 1]) : left;
    }
    if (r != s && r != flipped(s))
        return MATH_NO;
    math_node *a = side_difference(ctx, gold, i), *b = side_difference(ctx, answer, j);
    if (!a || !b)
        return MATH_UNKNOWN;
    int factor = math_proportional(ctx, a, b);
    if (factor == 0)
        return MATH_NO;
    if (r == flipped(r)) /* =, != and their like do not care for the sign */
        return r == s ? MATH_YES : MATH_NO;
    if (factor == 2)
        return MATH_UNKNOWN;
    return (factor > 0 ? s : flipped(s)) == r ? MATH_YES : MATH_NO;
}

/* Chains of the same length, read in either direction. */
static math_answer chains_equal(math_context *ctx, math_node *gold, math_node *answer)
{
    unsigned n = gold->count - 1;
    if (answer->count != gold->count || n > 16)
        return MATH_NO;
    for (int backwards = 0; backwards < 2; backwards++) {
        math_answer all = MATH_YES;
        for (unsigned i = 0; i < n && all == MATH_YES; i++)
            all = steps_equal(ctx, gold, i, answer, backwards ? n - 1 - i : i);
        if (all != MATH_NO)
            return all;
    }
    ctx->reason = "different relations";
    return MATH_NO;
}

static int is_membership(const math_node *node)
{
    return node->kind == MATH_RELATION && node->count == 2 && node->relations[0] == MATH_IN;
}

math_answer math_relation_equal(math_context *ctx, math_node *gold, math_node *answer)
{
    if (is_membership(gold) && is_membership(answer)) {
        math_answer same = math_equal(ctx, gold->args[1], answer->args[1]);
        return same != MATH_YES ? same : math_equal(ctx, gold->args[0], answer->args[0]);
    }
    if (is_equation(gold) && is_equation(answer) && equations_equal(ctx, gold, answer) == MATH_YES)
        return MATH_YES;
    math_node *name_g = math_assigned_name(gold), *name_a = math_assigned_name(answer);
    math_node *value_g = math_assigned_value(ctx, gold), *value_a = math_assigned_value(ctx, answer);
    if (value_g && value_a) {
        if (name_g && name_a && !names_agree(ctx, name_g, name_a)) {
            ctx->reason = "another quantity is given";
            return MATH_NO;
        }
        return math_equal(ctx, value_g, value_a);
    }
    if (is_equation(gold) && is_equation(answer)) {
        ctx->reason = "different equations";
        return MATH_NO;
    }
    return chains_equal(ctx, gold, answer);
}
