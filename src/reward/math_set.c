/* Sets of real numbers: intervals, finite sets, unions, solutions of linear inequalities in one unknown.
 * A set is a sorted row of disjoint intervals; their ends are expressions that are compared as numbers. */
#include <string.h>

#include "reward/math_compare.h"

enum { MAX_PARTS = 64 };

/* NULL ends are infinite. A point is an interval with equal, closed ends. */
typedef struct part {
    math_node *low, *high;
    unsigned char low_closed, high_closed;
} part;

typedef struct real_set {
    part parts[MAX_PARTS];
    unsigned count;
    const math_node *variable; /* whose values these are; NULL: it was not said */
} real_set;

static int build(math_context *ctx, math_node *node, real_set *out);

/* ---- order of ends ---------------------------------------------------------------------- */

/* Compares two lower ends (NULL = minus infinity) or two upper ends (NULL = plus infinity). */
static int compare_ends(math_context *ctx, math_node *a, math_node *b, int infinite)
{
    if (!a || !b)
        return (a ? 0 : infinite) - (b ? 0 : infinite);
    return math_scalar_order(ctx, a, b);
}

/* Order of a part's upper end and another's lower end: -1 when there is a gap between them, 0 when they
 * touch without a gap or overlap, 2 unknown. */
static int gap(math_context *ctx, const part *left, const part *right)
{
    if (!left->high || !right->low)
        return 0;
    int order = math_scalar_order(ctx, left->high, right->low);
    if (order == 2)
        return 2;
    return order < 0 || (order == 0 && !left->high_closed && !right->low_closed) ? -1 : 0;
}

static int lower_before(math_context *ctx, const part *a, const part *b)
{
    int order = compare_ends(ctx, a->low, b->low, -1);
    if (order == 2)
        return 2;
    return order < 0 || (order == 0 && a->low_closed && !b->low_closed);
}

/* Sorts and merges. 0, or -1 when an order cannot be decided. */
static int normalise(math_context *ctx, real_set *s)
{
    for (unsigned i = 1; i < s->count; i++) {
        part p = s->parts[i];
        unsigned j = i;
        for (; j > 0; j--) {
            int before = lower_before(ctx, &p, &s->parts[j - 1]);
            if (before == 2)
                return -1;
            if (!before)
                break;
            s->parts[j] = s->parts[j - 1];
        }
        s->parts[j] = p;
    }
    unsigned n = 0;
    for (unsigned i = 0; i < s->count; i++) {
        part *last = n ? &s->parts[n - 1] : NULL;
        int apart = last ? gap(ctx, last, &s->parts[i]) : -1;
        if (apart == 2)
            return -1;
        if (apart < 0) {
            s->parts[n++] = s->parts[i];
            continue;
        }
        int order = compare_ends(ctx, s->parts[i].high, last->high, 1);
        if (order == 2)
            return -1;
        if (order > 0) {
            last->high = s->parts[i].high;
            last->high_closed = s->parts[i].high_closed;
        } else if (order == 0) {
            last->high_closed |= s->parts[i].high_closed;
        }
    }
    s->count = n;
    return 0;
}

static int add_part(real_set *s, math_node *low, int low_closed, math_node *high, int high_closed)
{
    if (s->count == MAX_PARTS)
        return -1;
    s->parts[s->count++] = (part){low, high, (unsigned char)(low && low_closed), (unsigned char)(high && high_closed)};
    return 0;
}

/* ---- operations ------------------------------------------------------------------------- */

static int unite(math_context *ctx, real_set *a, const real_set *b)
{
    for (unsigned i = 0; i < b->count; i++) {
        if (a->count == MAX_PARTS)
            return -1;
        a->parts[a->count++] = b->parts[i];
    }
    return normalise(ctx, a);
}

static int intersect_parts(math_context *ctx, const part *a, const part *b, real_set *out)
{
    int low = compare_ends(ctx, a->low, b->low, -1), high = compare_ends(ctx, a->high, b->high, 1);
    if (low == 2 || high == 2)
        return -1;
    const part *l = low > 0 ? a : b, *h = high < 0 ? a : b;
    int low_closed = low == 0 ? a->low_closed && b->low_closed : l->low_closed;
    int high_closed = high == 0 ? a->high_closed && b->high_closed : h->high_closed;
    if (l->low && h->high) {
        int order = math_scalar_order(ctx, l->low, h->high);
        if (order == 2)
            return -1;
        if (order > 0 || (order == 0 && !(low_closed && high_closed)))
            return 0;
    }
    return add_part(out, l->low, low_closed, h->high, high_closed);
}

static int intersect(math_context *ctx, const real_set *a, const real_set *b, real_set *out)
{
    out->count = 0;
    for (unsigned i = 0; i < a->count; i++)
        for (unsigned j = 0; j < b->count; j++)
            if (intersect_parts(ctx, &a->parts[i], &b->parts[j], out) != 0)
                return -1;
    return normalise(ctx, out);
}

static int complement(const real_set *s, real_set *out)
{
    math_node *low = NULL;
    int closed = 0;
    out->count = 0;
    for (unsigned i = 0; i < s->count; i++) {
        const part *p = &s->parts[i];
        if (p->low && add_part(out, low, closed, p->low, !p->low_closed) != 0)
            return -1;
        if (!p->high)
            return 0;
        low = p->high;
        closed = !p->high_closed;
    }
    return add_part(out, low, closed, NULL, 0);
}

/* ---- linear inequalities ----------------------------------------------------------------- */

/* The only variable below, or NULL; *several is set when there are two. */
static const math_node *find_variable(const math_node *node, const math_node *seen, int *several)
{
    if (node->kind == MATH_APPLY || node->kind == MATH_TEXT || node->kind == MATH_BIG)
        *several = 1;
    if (node->kind == MATH_SYMBOL) {
        if (node->count || (seen && strcmp(seen->name, node->name) != 0))
            *several = 1;
        return node;
    }
    for (unsigned i = 0; i < node->count; i++)
        if (node->args[i] && node->kind != MATH_NAMED_SET)
            seen = find_variable(node->args[i], seen, several);
    return seen;
}

/* node = slope * variable + rest. 0, or -1 when it is not of that form. NULL stands for zero. */
static int linear_form(math_tree *tree, math_node *node, math_node **slope, math_node **rest)
{
    *slope = *rest = NULL;
    if (!math_node_has_symbols(node)) {
        *rest = node;
        return 0;
    }
    if (node->kind == MATH_SYMBOL)
        return (*slope = math_node_integer(tree, 1)) ? 0 : -1;
    if (node->kind == MATH_QUANTITY)
        return linear_form(tree, node->args[0], slope, rest);
    if (node->kind != MATH_ADD && node->kind != MATH_MUL)
        return -1;
    math_node *s, *r;
    if (node->kind == MATH_ADD) {
        for (unsigned i = 0; i < node->count; i++) {
            if (linear_form(tree, node->args[i], &s, &r) != 0)
                return -1;
            if (s && !(*slope = *slope ? math_node_binary(tree, MATH_ADD, 0, *slope, s) : s))
                return -1;
            if (r && !(*rest = *rest ? math_node_binary(tree, MATH_ADD, 0, *rest, r) : r))
                return -1;
        }
        return 0;
    }
    math_node *factor = NULL, *inner = NULL;
    for (unsigned i = 0; i < node->count; i++) {
        if (math_node_has_symbols(node->args[i])) {
            if (inner)
                return -1;
            inner = node->args[i];
        } else if (!(factor = factor ? math_node_binary(tree, MATH_MUL, 0, factor, node->args[i]) : node->args[i])) {
            return -1;
        }
    }
    if (linear_form(tree, inner, &s, &r) != 0)
        return -1;
    *slope = s && factor ? math_node_binary(tree, MATH_MUL, 0, factor, s) : s;
    *rest = r && factor ? math_node_binary(tree, MATH_MUL, 0, factor, r) : r;
    return (s && !*slope) || (r && !*rest) ? -1 : 0;
}

/* The set of the variable's values with left REL right. */
static int solve_step(math_context *ctx, math_node *left, int relation, math_node *right, real_set *out)
{
    int sign;
    out->count = 0;
    if (math_is_infinity(left, &sign) || math_is_infinity(right, &sign)) /* x < infinity says nothing */
        return relation == MATH_LT || relation == MATH_LE || relation == MATH_GT || relation == MATH_GE ? add_part(out, NULL, 0, NULL, 0) : -1;
    math_node *difference = math_node_subtract(ctx->tree, left, right), *slope, *rest;
    if (!difference || linear_form(ctx->tree, difference, &slope, &rest) != 0 || !slope)
        return -1;
    math_node *zero = math_node_integer(ctx->tree, 0);
    int order = zero ? math_scalar_order(ctx, slope, zero) : 2;
    if (order == 2 || order == 0)
        return -1;
    math_node *bound = rest ? math_node_negate(ctx->tree, math_node_divide(ctx->tree, rest, slope)) : zero;
    if (!bound)
        return -1;
    if (order < 0)
        relation = relation == MATH_LT ? MATH_GT : relation == MATH_GT ? MATH_LT : relation == MATH_LE ? MATH_GE
                                                                      : relation == MATH_GE ? MATH_LE : relation;
    switch (relation) {
    case MATH_LT: case MATH_LE: return add_part(out, NULL, 0, bound, relation == MATH_LE);
    case MATH_GT: case MATH_GE: return add_part(out, bound, relation == MATH_GE, NULL, 0);
    case MATH_EQ: return add_part(out, bound, 1, bound, 1);
    case MATH_NE: return add_part(out, NULL, 0, bound, 0) || add_part(out, bound, 0, NULL, 0) ? -1 : 0;
    default: return -1;
    }
}

static int build_membership(math_context *ctx, math_node *node, real_set *out)
{
    real_set inside;
    if (node->args[0]->kind != MATH_SYMBOL || build(ctx, node->args[1], &inside) != 0)
        return -1;
    if (node->relations[0] == MATH_IN)
        *out = inside;
    else if (complement(&inside, out) != 0)
        return -1;
    out->variable = node->args[0];
    return 0;
}

static int build_relation(math_context *ctx, math_node *node, real_set *out)
{
    if (node->count == 2 && (node->relations[0] == MATH_IN || node->relations[0] == MATH_NOTIN))
        return build_membership(ctx, node, out);
    int several = 0;
    const math_node *variable = NULL;
    for (unsigned i = 0; i < node->count; i++)
        if (node->args[i]->kind > MATH_QUANTITY)
            return -1;
    for (unsigned i = 0; i < node->count; i++)
        variable = find_variable(node->args[i], variable, &several);
    if (!variable || several)
        return -1;
    out->count = 0;
    if (add_part(out, NULL, 0, NULL, 0) != 0)
        return -1;
    for (unsigned i = 0; i + 1 < node->count; i++) {
        real_set step, both;
        if (solve_step(ctx, node->args[i], node->relations[i], node->args[i + 1], &step) != 0 ||
            intersect(ctx, out, &step, &both) != 0)
            return -1;
        *out = both;
    }
    out->variable = variable;
    return 0;
}

/* ---- from trees ---------------------------------------------------------------------------- */

static int build_interval(math_context *ctx, math_node *node, real_set *out)
{
    int sign_low, sign_high;
    math_node *low = node->args[0], *high = node->args[1];
    int low_infinite = math_is_infinity(low, &sign_low), high_infinite = math_is_infinity(high, &sign_high);
    if ((low_infinite && sign_low > 0) || (high_infinite && sign_high < 0))
        return -1;
    if (low->kind > MATH_QUANTITY || high->kind > MATH_QUANTITY)
        return -1;
    if (!low_infinite && !high_infinite) {
        int order = math_scalar_order(ctx, low, high);
        int point = order == 0 && node->op == '[' && node->op2 == ']';
        if (order != -1 && !point)
            return -1; /* a pair, not an interval */
    }
    if ((!low_infinite && math_node_has_symbols(low)) || (!high_infinite && math_node_has_symbols(high)))
        return -1;
    return add_part(out, low_infinite ? NULL : low, node->op == '[', high_infinite ? NULL : high, node->op2 == ']');
}

static int build_finite(math_context *ctx, math_node *node, real_set *out)
{
    for (unsigned i = 0; i < node->count; i++) {
        math_node *x = node->args[i];
        int sign;
        if (x->kind > MATH_QUANTITY || math_node_has_symbols(x) || math_is_infinity(x, &sign) || add_part(out, x, 1, x, 1) != 0)
            return -1;
    }
    return normalise(ctx, out);
}

static int build_named(math_context *ctx, math_node *node, real_set *out)
{
    if (node->op == '0')
        return 0;
    if (node->op != 'R')
        return -1;
    math_node *zero = math_node_integer(ctx->tree, 0);
    if (!zero)
        return -1;
    return add_part(out, node->op2 == '+' ? zero : NULL, 0, node->op2 == '-' ? zero : NULL, 0);
}

static int build_operation(math_context *ctx, math_node *node, real_set *out)
{
    real_set right, flipped;
    if (build(ctx, node->args[0], out) != 0 || build(ctx, node->args[1], &right) != 0)
        return -1;
    if (node->op == 'u')
        return unite(ctx, out, &right);
    if (node->op == 'm') {
        if (complement(&right, &flipped) != 0)
            return -1;
        right = flipped;
    }
    if (intersect(ctx, out, &right, &flipped) != 0)
        return -1;
    *out = flipped;
    return 0;
}

/* Inequalities side by side: "and" intersects, "or" unites; a comma intersects unless nothing is left. */
static int build_list(math_context *ctx, math_node *node, real_set *out)
{
    real_set both, all, any;
    const math_node *variable = NULL;
    int only_values = 1;
    for (unsigned i = 0; i < node->count; i++) /* x = 1, x = 2 is a list of values */
        only_values &= node->args[i]->kind == MATH_RELATION && node->args[i]->relations[0] == MATH_EQ;
    if (only_values)
        return -1;
    for (unsigned i = 0; i < node->count; i++) {
        math_node *item = node->args[i];
        int relation = item->kind == MATH_RELATION || item->kind == MATH_LIST;
        int interval = item->kind == MATH_TUPLE && node->op != MATH_COMMA;
        if ((!relation && !interval && item->kind != MATH_SETOP) || build(ctx, item, &both) != 0)
            return -1;
        if (variable && both.variable && !math_same_residue(ctx, variable, both.variable))
            return -1;
        variable = both.variable ? both.variable : variable;
        if (i == 0) {
            all = any = both;
            continue;
        }
        real_set meet;
        if (intersect(ctx, &all, &both, &meet) != 0 || unite(ctx, &any, &both) != 0)
            return -1;
        all = meet;
    }
    int tuples = node->args[0]->kind == MATH_TUPLE || node->args[0]->kind == MATH_SETOP;
    *out = node->op == MATH_OR || tuples || (node->op == MATH_COMMA && all.count == 0) ? any : all;
    out->variable = variable;
    return 0;
}

static int build_builder(math_context *ctx, math_node *node, real_set *out)
{
    math_node *element = node->args[0];
    real_set domain, condition;
    int has_domain = element->kind == MATH_RELATION && element->count == 2 && element->relations[0] == MATH_IN;
    if (has_domain && build(ctx, element->args[1], &domain) != 0)
        return -1;
    math_node *variable = has_domain ? element->args[0] : element;
    if (variable->kind != MATH_SYMBOL || build(ctx, node->args[1], &condition) != 0)
        return -1;
    if (condition.variable && !math_same_residue(ctx, variable, condition.variable))
        return -1;
    if (!has_domain)
        *out = condition;
    else if (intersect(ctx, &domain, &condition, out) != 0)
        return -1;
    out->variable = NULL;
    return 0;
}

static int build(math_context *ctx, math_node *node, real_set *out)
{
    out->count = 0;
    out->variable = NULL;
    if (!math_spend(&ctx->budget, 500) || ctx->depth > 60)
        return -1;
    ctx->depth++;
    int result = -1;
    switch (node->kind) {
    case MATH_TUPLE: result = node->count == 2 ? build_interval(ctx, node, out) : -1; break;
    case MATH_SET: result = build_finite(ctx, node, out); break;
    case MATH_NAMED_SET: result = build_named(ctx, node, out); break;
    case MATH_SETOP: result = build_operation(ctx, node, out); break;
    case MATH_BUILDER: result = build_builder(ctx, node, out); break;
    case MATH_RELATION: result = build_relation(ctx, node, out); break;
    case MATH_LIST: result = node->count ? build_list(ctx, node, out) : -1; break;
    default: break;
    }
    ctx->depth--;
    return result;
}

/* ---- comparison ------------------------------------------------------------------------------ */

static int ends_equal(math_context *ctx, math_node *a, math_node *b)
{
    if (!a || !b)
        return a == b;
    return math_equal(ctx, a, b) == MATH_YES;
}

static int written_as_relation(const math_node *node)
{
    return node->kind == MATH_RELATION ? node->relations[0] != MATH_IN : node->kind == MATH_LIST;
}

math_answer math_set_equal(math_context *ctx, math_node *gold, math_node *answer)
{
    if (!ctx->options->relations_are_sets && written_as_relation(gold) != written_as_relation(answer))
        return MATH_UNKNOWN;
    real_set *sets = math_tree_alloc(ctx->tree, 2 * sizeof *sets);
    if (!sets || build(ctx, gold, &sets[0]) != 0 || build(ctx, answer, &sets[1]) != 0)
        return MATH_UNKNOWN;
    if (sets[0].variable && sets[1].variable && !math_same_residue(ctx, sets[0].variable, sets[1].variable)) {
        ctx->reason = "statements about different variables";
        return MATH_NO;
    }
    int same = sets[0].count == sets[1].count;
    for (unsigned i = 0; same && i < sets[0].count; i++) {
        const part *p = &sets[0].parts[i], *q = &sets[1].parts[i];
        same = p->low_closed == q->low_closed && p->high_closed == q->high_closed && ends_equal(ctx, p->low, q->low) &&
               ends_equal(ctx, p->high, q->high);
    }
    ctx->reason = same ? "the same set of real numbers" : "different sets of real numbers";
    return same ? MATH_YES : MATH_NO;
}
