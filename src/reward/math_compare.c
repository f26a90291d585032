/* Comparison of trees: what kind of object each one is, and which comparison fits. */
#include <string.h>

#include "reward/math_compare.h"
#include "reward/math_units.h"

enum { MAX_ITEMS = 200, MAX_COMPARE_DEPTH = 40 };

static math_answer conclude(math_context *ctx, math_answer answer, const char *reason)
{
    ctx->reason = reason;
    return answer;
}

static int is_value(const math_node *node)
{
    return node->kind <= MATH_QUANTITY || node->kind == MATH_BIG;
}

static int is_listing(const math_node *node)
{
    return node->kind == MATH_LIST || node->kind == MATH_SET;
}

/* ---- plus-minus ---------------------------------------------------------------------- */

static int has_sign(const math_node *node)
{
    if (node->kind == MATH_SIGN)
        return 1;
    for (unsigned i = 0; i < node->count; i++)
        if (node->args[i] && has_sign(node->args[i]))
            return 1;
    return 0;
}

/* A copy with every plus-minus taken as the upper (minus = 0) or the lower sign. */
static math_node *choose_sign(math_tree *tree, math_node *node, int minus)
{
    if (!has_sign(node))
        return node;
    if (node->kind == MATH_SIGN) {
        math_node *operand = choose_sign(tree, node->args[0], minus);
        if (!operand)
            return NULL;
        return minus == (node->op == '+') ? math_node_negate(tree, operand) : operand;
    }
    math_node *copy = math_node_new(tree, node->kind, node->count);
    if (!copy)
        return NULL;
    math_node **args = copy->args;
    *copy = *node;
    copy->args = args;
    for (unsigned i = 0; i < node->count; i++)
        if (node->args[i] && !(copy->args[i] = choose_sign(tree, node->args[i], minus)))
            return NULL;
    return copy;
}

/* x = a +- b as the list of its two cases; inside a list each item by itself. */
static math_node *expand_signs(math_tree *tree, math_node *node)
{
    if (!has_sign(node))
        return node;
    if (is_listing(node)) {
        math_node *list = math_node_new(tree, MATH_LIST, node->count);
        if (!list)
            return NULL;
        list->op = node->kind == MATH_LIST ? node->op : MATH_COMMA;
        for (unsigned i = 0; i < node->count; i++)
            if (!(list->args[i] = expand_signs(tree, node->args[i])))
                return NULL;
        return list;
    }
    int differ = node->kind == MATH_RELATION && node->relations[0] == MATH_NE;
    return math_node_binary(tree, MATH_LIST, differ ? MATH_AND : MATH_OR, choose_sign(tree, node, 0), choose_sign(tree, node, 1));
}

/* ---- text ------------------------------------------------------------------------------ */

static char lower_case(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* Next character of a text that counts: letters and digits, without leading articles. */
static const char *skip_noise(const char *s)
{
    while (*s && (unsigned char)*s < 0x80 && !(lower_case(*s) >= 'a' && lower_case(*s) <= 'z') && !(*s >= '0' && *s <= '9'))
        s++;
    return s;
}

static int texts_equal(const char *a, const char *b)
{
    static const char *const articles[] = {"the ", "a ", "an "};
    for (int i = 0; i < 3; i++) {
        size_t n = strlen(articles[i]);
        a = strlen(a) > n && strncmp(a, articles[i], n) == 0 ? a + n : a;
        b = strlen(b) > n && strncmp(b, articles[i], n) == 0 ? b + n : b;
    }
    for (;;) {
        a = skip_noise(a);
        b = skip_noise(b);
        if (!*a || lower_case(*a) != lower_case(*b))
            return *a == *b;
        a++;
        b++;
    }
}

/* Words that name a set; others come back unchanged. */
static math_node *named_by_words(math_tree *tree, math_node *node)
{
    static const struct {
        const char *words;
        unsigned char set;
    } names[] = {{"no solution", '0'}, {"no solutions", '0'}, {"no real solution", '0'}, {"no real solutions", '0'},
                 {"none", '0'}, {"empty set", '0'}, {"the empty set", '0'}, {"all real numbers", 'R'}, {"all reals", 'R'},
                 {"any real number", 'R'}, {"real numbers", 'R'}, {"every real number", 'R'}, {"all integers", 'Z'}};
    if (node->kind != MATH_TEXT)
        return node;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (texts_equal(node->name, names[i].words)) {
            math_node *set = math_node_new(tree, MATH_NAMED_SET, 0);
            if (set)
                set->op = names[i].set;
            return set;
        }
    return node;
}

static int is_text_like(const math_node *node)
{
    return node->kind == MATH_TEXT || (node->kind == MATH_SYMBOL && !node->count);
}

/* ---- lists ------------------------------------------------------------------------------ */

typedef struct items {
    math_node *at[MAX_ITEMS];
    unsigned count;
    int overflow;
} items;

static void collect(items *out, math_node *node)
{
    if (!is_listing(node)) {
        if (out->count < MAX_ITEMS)
            out->at[out->count++] = node;
        else
            out->overflow = 1;
        return;
    }
    for (unsigned i = 0; i < node->count; i++)
        collect(out, node->args[i]);
}

/* In "n = 2, 3" the 3 is a value of n too. */
static void inherit_names(math_context *ctx, items *list)
{
    math_node *first = list->count ? list->at[0] : NULL;
    if (list->count < 2 || !math_assigned_name(first))
        return;
    for (unsigned i = 1; i < list->count; i++)
        if (list->at[i]->kind == MATH_RELATION)
            return;
    math_node *value = math_assigned_value(ctx, first);
    if (value)
        list->at[0] = value;
}

/* Whether every item states a value; the names may differ (*same_name = 0). */
static int all_assignments(math_context *ctx, const items *list, int *same_name)
{
    *same_name = 1;
    for (unsigned i = 0; i < list->count; i++) {
        math_node *name = math_assigned_name(list->at[i]);
        if (!name || !math_assigned_value(ctx, list->at[i]))
            return 0;
        math_node *first = math_assigned_name(list->at[0]);
        int indexed = name->kind == MATH_SYMBOL && first->kind == MATH_SYMBOL && strcmp(name->name, first->name) == 0;
        *same_name &= indexed || math_same_residue(ctx, first, name);
    }
    return list->count > 0;
}

static void take_values(math_context *ctx, items *list)
{
    for (unsigned i = 0; i < list->count; i++)
        list->at[i] = math_assigned_value(ctx, list->at[i]);
}

static math_answer ordered_equal(math_context *ctx, math_node **gold, unsigned m, math_node **answer, unsigned n)
{
    unsigned right = 0, unknown = 0, common = m < n ? m : n;
    for (unsigned i = 0; i < common; i++) {
        math_answer same = math_equal(ctx, gold[i], answer[i]);
        right += same == MATH_YES;
        unknown += same == MATH_UNKNOWN;
    }
    ctx->share = m || n ? (double)right / (m > n ? m : n) : 1;
    if (m != n)
        return conclude(ctx, MATH_NO, "a different number of elements");
    if (right == m)
        return conclude(ctx, MATH_YES, "all elements agree in order");
    return unknown && right + unknown == m ? conclude(ctx, MATH_UNKNOWN, "an element could not be decided")
                                           : conclude(ctx, MATH_NO, "an element differs");
}

/* Every element of one has a partner in the other, and back; repetitions do not count. */
static math_answer unordered_equal(math_context *ctx, const items *gold, const items *answer)
{
    unsigned char found_g[MAX_ITEMS] = {0}, found_a[MAX_ITEMS] = {0};
    unsigned right = 0, unknown = 0, missing = 0;
    for (unsigned i = 0; i < gold->count; i++)
        for (unsigned k = 0; k < answer->count; k++) {
            unsigned j = (i + k) % answer->count; /* equal order is common: try it first */
            if (found_g[i] && found_a[j])
                continue;
            math_answer same = math_equal(ctx, gold->at[i], answer->at[j]);
            unknown += same == MATH_UNKNOWN;
            if (same == MATH_YES)
                found_g[i] = found_a[j] = 1;
            if (ctx->budget.left <= 0)
                return conclude(ctx, MATH_UNKNOWN, "the work budget ran out");
        }
    for (unsigned i = 0; i < gold->count; i++)
        right += found_g[i];
    for (unsigned j = 0; j < answer->count; j++)
        missing += !found_a[j];
    unsigned most = gold->count > answer->count ? gold->count : answer->count;
    ctx->share = most ? (double)right / most : 1;
    if (right == gold->count && !missing)
        return conclude(ctx, MATH_YES, "the same elements");
    return unknown ? conclude(ctx, MATH_UNKNOWN, "an element could not be decided")
                   : conclude(ctx, MATH_NO, missing ? "an element too many or different" : "an element is missing");
}

static math_answer listings_equal(math_context *ctx, math_node *gold, math_node *answer)
{
    items g = {0}, a = {0};
    int same_g, same_a;
    collect(&g, gold);
    collect(&a, answer);
    if (g.overflow || a.overflow)
        return conclude(ctx, MATH_UNKNOWN, "a list is too long");
    inherit_names(ctx, &g);
    inherit_names(ctx, &a);
    int named_g = all_assignments(ctx, &g, &same_g), named_a = all_assignments(ctx, &a, &same_a);
    if (named_g != named_a) { /* values without names: in order when the names differ */
        int same = named_g ? same_g : same_a;
        const items *plain = named_g ? &a : &g;
        for (unsigned i = 0; i < plain->count; i++)
            if (plain->at[i]->kind == MATH_RELATION && !math_assigned_value(ctx, plain->at[i]))
                return conclude(ctx, MATH_NO, "relations against values");
        take_values(ctx, named_g ? &g : &a);
        if (!same)
            return ordered_equal(ctx, g.at, g.count, a.at, a.count);
    } else if (named_g && same_g && same_a) {
        math_node *x = math_assigned_name(g.at[0]), *y = math_assigned_name(a.at[0]);
        if (x->kind == MATH_SYMBOL && y->kind == MATH_SYMBOL && strcmp(x->name, y->name) == 0) {
            take_values(ctx, &g); /* x_1 = 1, x_2 = 2: the numbering is free */
            take_values(ctx, &a);
        }
    }
    return unordered_equal(ctx, &g, &a);
}

/* ---- tuples, matrices, ratios ----------------------------------------------------------- */

static math_answer tuples_equal(math_context *ctx, math_node *gold, math_node *answer)
{
    int interval = gold->count == 2 && answer->count == 2;
    if (interval && (gold->op != answer->op || gold->op2 != answer->op2)) {
        ctx->share = 0;
        return conclude(ctx, MATH_NO, "the brackets differ");
    }
    return ordered_equal(ctx, gold->args, gold->count, answer->args, answer->count);
}

/* Entrywise sums and multiples of matrices, and their products, written out. */
static math_node *work_out_matrix(math_context *ctx, math_node *node);

static math_node *add_matrices(math_context *ctx, math_node *a, math_node *b)
{
    if (!a || !b || a->rows != b->rows || a->columns != b->columns)
        return NULL;
    math_node *sum = math_node_new(ctx->tree, MATH_MATRIX, a->count);
    if (!sum)
        return NULL;
    sum->rows = a->rows;
    sum->columns = a->columns;
    for (unsigned i = 0; i < a->count; i++)
        if (!(sum->args[i] = math_node_binary(ctx->tree, MATH_ADD, 0, a->args[i], b->args[i])))
            return NULL;
    return sum;
}

static math_node *scale_matrix(math_context *ctx, math_node *factor, math_node *a)
{
    math_node *product = math_node_new(ctx->tree, MATH_MATRIX, a->count);
    if (!product)
        return NULL;
    product->rows = a->rows;
    product->columns = a->columns;
    for (unsigned i = 0; i < a->count; i++)
        if (!(product->args[i] = math_node_binary(ctx->tree, MATH_MUL, 0, factor, a->args[i])))
            return NULL;
    return product;
}

static math_node *multiply_matrices(math_context *ctx, math_node *a, math_node *b)
{
    if (a->columns != b->rows)
        return NULL;
    math_node *product = math_node_new(ctx->tree, MATH_MATRIX, (unsigned)a->rows * b->columns);
    if (!product)
        return NULL;
    product->rows = a->rows;
    product->columns = b->columns;
    for (unsigned i = 0; i < a->rows; i++)
        for (unsigned j = 0; j < b->columns; j++) {
            math_node *sum = math_node_new(ctx->tree, MATH_ADD, a->columns);
            if (!sum)
                return NULL;
            for (unsigned k = 0; k < a->columns; k++)
                if (!(sum->args[k] = math_node_binary(ctx->tree, MATH_MUL, 0, a->args[i * a->columns + k], b->args[k * b->columns + j])))
                    return NULL;
            product->args[i * b->columns + j] = sum;
        }
    return product;
}

static math_node *transpose_matrix(math_context *ctx, math_node *a)
{
    math_node *t = a ? math_node_new(ctx->tree, MATH_MATRIX, a->count) : NULL;
    if (!t)
        return NULL;
    t->rows = a->columns;
    t->columns = a->rows;
    for (unsigned i = 0; i < a->rows; i++)
        for (unsigned j = 0; j < a->columns; j++)
            t->args[j * a->rows + i] = a->args[i * a->columns + j];
    return t;
}

static int has_matrix(const math_node *node)
{
    if (node->kind == MATH_MATRIX)
        return node->op != 'c';
    if (node->kind != MATH_ADD && node->kind != MATH_MUL && !(node->kind == MATH_CALL && node->op == MATH_F_TRANSPOSE))
        return 0;
    for (unsigned i = 0; i < node->count; i++)
        if (has_matrix(node->args[i]))
            return 1;
    return 0;
}

static math_node *work_out_product(math_context *ctx, math_node *node)
{
    math_node *result = NULL;
    for (unsigned i = 0; i < node->count; i++) {
        math_node *factor = node->args[i];
        if (has_matrix(factor)) {
            math_node *m = work_out_matrix(ctx, factor);
            if (!m)
                return NULL;
            result = result ? multiply_matrices(ctx, result, m) : m;
            if (!result)
                return NULL;
        }
    }
    for (unsigned i = 0; result && i < node->count; i++)
        if (!has_matrix(node->args[i]))
            result = scale_matrix(ctx, node->args[i], result);
    return result;
}

static math_node *work_out_matrix(math_context *ctx, math_node *node)
{
    if (node->kind == MATH_MATRIX)
        return node;
    if (node->kind == MATH_CALL)
        return transpose_matrix(ctx, work_out_matrix(ctx, node->args[0]));
    if (node->kind == MATH_MUL)
        return work_out_product(ctx, node);
    if (node->kind != MATH_ADD)
        return NULL;
    math_node *sum = work_out_matrix(ctx, node->args[0]);
    for (unsigned i = 1; i < node->count && sum; i++)
        sum = has_matrix(node->args[i]) ? add_matrices(ctx, sum, work_out_matrix(ctx, node->args[i])) : NULL;
    return sum;
}

static math_answer matrices_equal(math_context *ctx, math_node *gold, math_node *answer)
{
    math_node *g = has_matrix(gold) ? work_out_matrix(ctx, gold) : gold, *a = has_matrix(answer) ? work_out_matrix(ctx, answer) : answer;
    if (!g || !a)
        return conclude(ctx, MATH_UNKNOWN, "a matrix expression cannot be worked out");
    if (g->kind == MATH_TUPLE && a->kind == MATH_MATRIX && a->columns == 1)
        return ordered_equal(ctx, g->args, g->count, a->args, a->count);
    if (a->kind == MATH_TUPLE && g->kind == MATH_MATRIX && g->columns == 1)
        return ordered_equal(ctx, g->args, g->count, a->args, a->count);
    if (g->kind != a->kind || g->rows != a->rows || g->columns != a->columns)
        return conclude(ctx, MATH_NO, "matrices of different shape");
    return ordered_equal(ctx, g->args, g->count, a->args, a->count);
}

static math_node *ratio_value(math_context *ctx, math_node *ratio, unsigned i)
{
    return math_node_divide(ctx->tree, ratio->args[i], ratio->args[ratio->count - 1]);
}

static math_answer ratios_equal(math_context *ctx, math_node *gold, math_node *answer)
{
    math_node *g = gold, *a = answer;
    if (g->kind == MATH_RATIO && a->kind == MATH_RATIO) {
        if (g->count != a->count)
            return conclude(ctx, MATH_NO, "ratios of different length");
        if (ordered_equal(ctx, g->args, g->count, a->args, a->count) == MATH_YES) /* 12:00, a time, has no value */
            return MATH_YES;
        for (unsigned i = 0; i + 1 < g->count; i++) {
            math_node *x = ratio_value(ctx, g, i), *y = ratio_value(ctx, a, i);
            math_answer same = x && y ? math_equal(ctx, x, y) : MATH_UNKNOWN;
            if (same != MATH_YES)
                return same;
        }
        return MATH_YES;
    }
    math_node *ratio = g->kind == MATH_RATIO ? g : a, *other = g->kind == MATH_RATIO ? a : g;
    if (ratio->count != 2 || !is_value(other))
        return conclude(ctx, MATH_NO, "a ratio against something else");
    math_node *value = ratio_value(ctx, ratio, 0);
    return value ? math_scalar_equal(ctx, value, other) : MATH_UNKNOWN;
}

/* ---- quantities -------------------------------------------------------------------------- */

/* Values with units: equal values, and where both units are known the same unit or an exact multiple. */
static math_answer quantities_equal(math_context *ctx, math_node *gold, math_node *answer)
{
    math_unit u, v;
    math_unit_init(&u);
    math_unit_init(&v);
    math_unit_read(&u, gold->name);
    math_unit_read(&v, answer->name);
    math_answer same;
    if (!u.known || !v.known || (memcmp(u.power, v.power, sizeof u.power) == 0 && fmpq_equal(u.scale, v.scale))) {
        same = math_equal(ctx, gold->args[0], answer->args[0]);
    } else if (memcmp(u.power, v.power, sizeof u.power) != 0) {
        same = conclude(ctx, MATH_NO, "the units measure different things");
    } else {
        math_node *x = math_node_binary(ctx->tree, MATH_MUL, 0, gold->args[0], math_node_rational(ctx->tree, u.scale));
        math_node *y = math_node_binary(ctx->tree, MATH_MUL, 0, answer->args[0], math_node_rational(ctx->tree, v.scale));
        same = x && y ? math_equal(ctx, x, y) : MATH_UNKNOWN;
    }
    math_unit_clear(&u);
    math_unit_clear(&v);
    return same;
}

static math_answer values_equal(math_context *ctx, math_node *gold, math_node *answer)
{
    if (gold->kind == MATH_QUANTITY && answer->kind == MATH_QUANTITY)
        return quantities_equal(ctx, gold, answer);
    math_answer same = math_scalar_equal(ctx, gold, answer);
    if (same == MATH_YES || !ctx->options->percent_is_number)
        return same;
    while (answer->kind == MATH_QUANTITY)
        answer = answer->args[0];
    if (answer->kind == MATH_PERCENT && gold->kind == MATH_NUMBER) /* 50% for the reference 50 */
        return math_scalar_equal(ctx, gold, answer->args[0]);
    return same;
}

/* ---- dispatch ------------------------------------------------------------------------------ */

static int is_set_like(const math_node *node)
{
    switch (node->kind) {
    case MATH_NAMED_SET: case MATH_SETOP: case MATH_BUILDER: return 1;
    case MATH_TUPLE: return node->count == 2;
    case MATH_RELATION:
        for (unsigned i = 0; i + 1 < node->count; i++)
            if (node->relations[i] == MATH_EQ || node->relations[i] >= MATH_APPROX)
                return node->relations[i] == MATH_IN;
        return 1;
    case MATH_LIST: case MATH_SET:
        for (unsigned i = 0; i < node->count; i++)
            if (is_set_like(node->args[i]) && node->args[i]->kind != MATH_TUPLE)
                return 1;
        return node->kind == MATH_SET;
    default: return 0;
    }
}

/* Values side by side, nothing that is itself a set. */
static int is_plain_listing(const math_node *node)
{
    if (!is_listing(node))
        return 0;
    for (unsigned i = 0; i < node->count; i++)
        if (!is_value(node->args[i]))
            return 0;
    return 1;
}

static math_answer texts_compare(math_context *ctx, math_node *gold, math_node *answer)
{
    const char *g = gold->name, *a = answer->name;
    if (is_text_like(gold) && is_text_like(answer)) {
        /* a single letter's case matters: it may be a variable */
        int letter = (gold->kind == MATH_SYMBOL || answer->kind == MATH_SYMBOL) && strlen(skip_noise(g)) == 1;
        int same = letter ? strcmp(skip_noise(g), skip_noise(a)) == 0 : texts_equal(g, a);
        if (!same && gold->kind == MATH_TEXT && answer->kind == MATH_TEXT && !gold->flags && !answer->flags) { /* xy and yx */
            math_node *x = math_node_spell(ctx->tree, gold), *y = math_node_spell(ctx->tree, answer);
            same = x && y && x->kind == MATH_MUL && y->kind == MATH_MUL && math_same_residue(ctx, x, y);
        }
        return same ? conclude(ctx, MATH_YES, "the same words") : conclude(ctx, MATH_NO, "different words");
    }
    return conclude(ctx, MATH_NO, "words against a value");
}

/* Parts of a union, or of a list, whose ends are not numbers: compared one by one. */
static int flatten_union(items *out, math_node *node)
{
    if (node->kind == MATH_SETOP && node->op == 'u')
        return flatten_union(out, node->args[0]) + flatten_union(out, node->args[1]);
    collect(out, node);
    return 0;
}

static math_answer structures_equal(math_context *ctx, math_node *gold, math_node *answer)
{
    if (math_same_residue(ctx, gold, answer))
        return conclude(ctx, MATH_YES, "the same structure");
    if (gold->kind == MATH_SETOP || answer->kind == MATH_SETOP) {
        items g = {0}, a = {0};
        flatten_union(&g, gold);
        flatten_union(&a, answer);
        int simple = !g.overflow && !a.overflow && g.count && a.count;
        for (unsigned i = 0; i < g.count; i++)
            simple &= g.at[i]->kind != MATH_SETOP;
        for (unsigned i = 0; i < a.count; i++)
            simple &= a.at[i]->kind != MATH_SETOP;
        if (simple)
            return unordered_equal(ctx, &g, &a);
    }
    if (gold->kind == MATH_BUILDER && answer->kind == MATH_BUILDER) {
        math_answer same = math_equal(ctx, gold->args[1], answer->args[1]);
        return same == MATH_YES ? math_equal(ctx, gold->args[0], answer->args[0]) : same;
    }
    return conclude(ctx, MATH_NO, "different objects");
}

static math_node *membership_set(math_node *node)
{
    int member = node->kind == MATH_RELATION && node->count == 2 && node->relations[0] == MATH_IN;
    return member ? node->args[1] : NULL;
}

/* The decimal that a chain gives as an approximation of its value, when it is one: "sqrt 2 ~ 1.414". */
static math_node *stated_approximation(math_context *ctx, math_node *relation, math_node *value)
{
    if (relation->kind != MATH_RELATION || relation->count < 2)
        return NULL;
    math_node *last = relation->args[relation->count - 1];
    int approximate = relation->relations[relation->count - 2] == MATH_APPROX;
    return approximate && last != value && is_value(value) && math_is_rounding(ctx, last, value, 0) ? last : NULL;
}

static math_answer relation_against(math_context *ctx, math_node *gold, math_node *answer)
{
    if (gold->kind == MATH_RELATION && answer->kind == MATH_RELATION)
        return math_relation_equal(ctx, gold, answer);
    math_node *relation = gold->kind == MATH_RELATION ? gold : answer;
    math_node *value = math_assigned_value(ctx, relation), *other = relation == gold ? answer : gold;
    if (!value)
        value = membership_set(relation);
    if (!value)
        return conclude(ctx, MATH_NO, "a relation against a value");
    math_answer same = relation == gold ? math_equal(ctx, value, other) : math_equal(ctx, other, value);
    math_node *approximation = same == MATH_YES ? NULL : stated_approximation(ctx, relation, value);
    return approximation && math_equal(ctx, approximation, other) == MATH_YES ? MATH_YES : same;
}

static math_answer dispatch(math_context *ctx, math_node *gold, math_node *answer)
{
    if (is_value(gold) && is_value(answer) && !has_matrix(gold) && !has_matrix(answer) &&
        !(is_text_like(gold) && is_text_like(answer)))
        return values_equal(ctx, gold, answer);
    if ((is_set_like(gold) || is_set_like(answer)) && !(is_plain_listing(gold) && is_plain_listing(answer))) {
        math_answer same = math_set_equal(ctx, gold, answer);
        if (same != MATH_UNKNOWN)
            return same;
    }
    if (gold->kind == MATH_TUPLE && answer->kind == MATH_TUPLE)
        return tuples_equal(ctx, gold, answer);
    if (has_matrix(gold) || has_matrix(answer))
        return matrices_equal(ctx, gold, answer);
    if (gold->kind == MATH_TUPLE && answer->kind == MATH_LIST) { /* 1, 2 for (1, 2); x = 1, y = 2 too */
        items a = {0};
        int same;
        collect(&a, answer);
        if (!a.overflow && all_assignments(ctx, &a, &same))
            take_values(ctx, &a);
        math_answer ordered = a.overflow || (a.count && a.at[0]->kind == MATH_TUPLE)
                                  ? MATH_NO : ordered_equal(ctx, gold->args, gold->count, a.at, a.count);
        if (ordered == MATH_YES)
            return ordered;
    }
    if (answer->kind == MATH_TUPLE && gold->kind == MATH_LIST) {
        items g = {0};
        int same;
        collect(&g, gold);
        if (!g.overflow && all_assignments(ctx, &g, &same))
            take_values(ctx, &g);
        math_answer ordered = g.overflow || (g.count && g.at[0]->kind == MATH_TUPLE)
                                  ? MATH_NO : ordered_equal(ctx, g.at, g.count, answer->args, answer->count);
        if (ordered == MATH_YES)
            return ordered;
    }
    if (is_listing(gold) || is_listing(answer))
        return listings_equal(ctx, gold, answer);
    if (gold->kind == MATH_RELATION || answer->kind == MATH_RELATION)
        return relation_against(ctx, gold, answer);
    if (gold->kind == MATH_RATIO || answer->kind == MATH_RATIO)
        return ratios_equal(ctx, gold, answer);
    if (gold->kind == MATH_TEXT || answer->kind == MATH_TEXT || (is_text_like(gold) && is_text_like(answer)))
        return texts_compare(ctx, gold, answer);
    return structures_equal(ctx, gold, answer);
}

math_answer math_equal(math_context *ctx, math_node *gold, math_node *answer)
{
    if (!math_spend(&ctx->budget, 100) || ctx->depth >= MAX_COMPARE_DEPTH)
        return conclude(ctx, MATH_UNKNOWN, "the work budget ran out");
    ctx->depth++;
    math_answer result = MATH_UNKNOWN;
    gold = expand_signs(ctx->tree, gold);
    answer = expand_signs(ctx->tree, answer);
    if (gold && answer && gold->kind != answer->kind) {
        gold = named_by_words(ctx->tree, gold);
        answer = named_by_words(ctx->tree, answer);
        if (gold && answer && gold->kind == MATH_TEXT && !is_text_like(answer) && is_value(answer))
            gold = math_node_spell(ctx->tree, gold);
        else if (gold && answer && answer->kind == MATH_TEXT && !is_text_like(gold) && is_value(gold))
            answer = math_node_spell(ctx->tree, answer);
    }
    if (gold && answer)
        result = dispatch(ctx, gold, answer);
    ctx->depth--;
    return result;
}
