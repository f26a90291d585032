/* Parser, functions: sines, logarithms, fractions, roots, sums, integrals. */
#include <string.h>

#include "reward/math_parser.h"

static int is_inverse_of(int f)
{
    static const int pairs[][2] = {{MATH_F_SIN, MATH_F_ASIN}, {MATH_F_COS, MATH_F_ACOS}, {MATH_F_TAN, MATH_F_ATAN},
                                   {MATH_F_COT, MATH_F_ACOT}, {MATH_F_SEC, MATH_F_ASEC}, {MATH_F_CSC, MATH_F_ACSC}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (pairs[i][0] == f)
            return pairs[i][1];
    return -1;
}

/* sin 2x cos y: the argument without brackets ends at the next function. */
static math_node *bare_argument(math_parser *p)
{
    math_nodes factors = {0};
    int minus = 0;
    while (p->at->kind == TOK_MINUS || p->at->kind == TOK_PLUS)
        minus ^= p->at++->kind == TOK_MINUS;
    do {
        if (parser_push(p, &factors, parser_spell(p, parser_power(p))) != 0)
            return NULL;
    } while (parser_at_factor(p) && !parser_at_unit(p) && p->at->kind != TOK_FUNCTION && p->at->kind != TOK_OPEN &&
             p->at->kind != TOK_BIG && p->at->kind != TOK_NUMBER && p->at->kind != TOK_BAR &&
             !(p->integral && p->at->kind == TOK_WORD));
    math_node *node = factors.count == 1 ? factors.items[0] : parser_collect(p, MATH_MUL, 0, &factors);
    return minus ? math_node_negate(p->tree, node) : node;
}

/* The arguments of a function as one node: a list for several. */
static math_node *function_arguments(math_parser *p)
{
    if (p->at->kind == TOK_LBRACE)
        return parser_braces(p);
    if (p->at->kind == TOK_OPEN && (p->at->value == '(' || p->at->value == '[' || p->at->value == '{'))
        return parser_open(p);
    if (p->at->kind == TOK_BAR)
        return parser_absolute(p);
    return bare_argument(p);
}

static math_node *build_call(math_parser *p, int function, math_node *arguments, math_node *extra)
{
    static const unsigned char fewest[] = {
#define X(id, name, low, high) low,
        MATH_FUNCTION_TABLE(X)
#undef X
    };
    static const unsigned char most[] = {
#define X(id, name, low, high) high,
        MATH_FUNCTION_TABLE(X)
#undef X
    };
    if (!arguments)
        return NULL;
    int several = most[function] > 1 && (arguments->kind == MATH_TUPLE || arguments->kind == MATH_SET ||
                                         arguments->kind == MATH_LIST);
    unsigned n = several ? arguments->count : 1, total = n + (extra != NULL);
    if (total < fewest[function] || total > most[function])
        return parser_fail(p, "a function has the wrong number of arguments");
    math_node *call = math_node_new(p->tree, MATH_CALL, total);
    if (!call)
        return NULL;
    call->op = (unsigned char)function;
    for (unsigned i = 0; i < n; i++)
        if (!(call->args[i] = parser_spell(p, several ? arguments->args[i] : arguments)))
            return NULL;
    if (extra)
        call->args[n] = extra;
    return call;
}

/* log_28 is log_2 8 when nothing else is there to be its argument; the e of log_e is the constant. */
static math_node *log_base(math_parser *p)
{
    const math_token *t = p->at;
    int next = t[1].kind;
    int alone = next == TOK_END || next == TOK_CLOSE || next == TOK_RBRACE || next == TOK_COMMA || next == TOK_PLUS ||
                next == TOK_MINUS || next == TOK_TIMES || next == TOK_DIVIDE || next == TOK_DOT || next == TOK_RELATION;
    if (t->kind == TOK_NUMBER && t->length > 1 && alone)
        return parser_one_digit(p);
    if (t->kind == TOK_LETTER && t->length == 1 && *t->text == 'e') {
        math_node *node = math_node_new(p->tree, MATH_CONSTANT, 0);
        p->at++;
        if (node)
            node->op = MATH_E;
        return node;
    }
    return parser_subscript(p);
}

math_node *parser_function(math_parser *p)
{
    const math_token *name = p->at;
    int function = p->at++->value;
    math_node *power = NULL, *base = NULL;
    if (name->length == 2 && memcmp(name->text, "lg", 2) == 0 && !(base = math_node_integer(p->tree, 10)))
        return NULL;
    for (int i = 0; i < 2; i++) {
        if (p->at->kind == TOK_UNDERSCORE) {
            p->at++;
            if (!(base = log_base(p)))
                return NULL;
        } else if (p->at->kind == TOK_CARET && !power) {
            p->at++;
            int minus = p->at->kind == TOK_MINUS;
            p->at += minus;
            if (!(power = parser_argument(p, 1)))
                return NULL;
            if (minus)
                power = math_node_negate(p->tree, power);
        }
    }
    if (base && function != MATH_F_LOG)
        return parser_fail(p, "a function has a subscript that cannot be read");
    int inverse = power && power->kind == MATH_NUMBER && fmpq_equal_si(power->value, -1) ? is_inverse_of(function) : -1;
    if (inverse >= 0) {
        function = inverse;
        power = NULL;
    }
    if (!parser_enter(p))
        return NULL;
    math_node *call = build_call(p, function, function_arguments(p), base);
    p->depth--;
    return power ? math_node_binary(p->tree, MATH_POW, 0, call, parser_spell(p, power)) : call;
}

math_node *parser_frac(math_parser *p)
{
    p->at++;
    math_node *a = parser_spell(p, parser_argument(p, 0));
    return a ? math_node_divide(p->tree, a, parser_spell(p, parser_argument(p, 0))) : NULL;
}

math_node *parser_sqrt(math_parser *p)
{
    int index = p->at++->value == 3 ? 3 : 2;
    math_node *n = NULL;
    if (index == 2 && p->at->kind == TOK_OPEN && p->at->value == '[') {
        parser_nesting saved;
        p->at++;
        if (!parser_enter_group(p, &saved, '['))
            return NULL;
        n = parser_sum(p);
        if (!n || p->at->kind != TOK_CLOSE)
            return parser_fail(p, "a root's index is not closed");
        p->at++;
        parser_leave_group(p, &saved);
    } else {
        n = math_node_integer(p->tree, index);
    }
    math_node *a = n ? parser_spell(p, parser_argument(p, 1)) : NULL;
    return math_node_binary(p->tree, MATH_CALL, MATH_F_ROOT, a, parser_spell(p, n));
}

math_node *parser_binom(math_parser *p)
{
    if (p->at++->value)
        return parser_fail(p, "\\choose stands without braces");
    math_node *a = parser_argument(p, 0);
    return a ? math_node_binary(p->tree, MATH_CALL, MATH_F_BINOM, a, parser_argument(p, 0)) : NULL;
}

/* ---- sums, products, integrals, limits ---------------------------------------------- */

/* The part under the sign: k=1 (variable and lower bound), x \to 0, or a bound. */
static int read_lower(math_parser *p, math_node *node)
{
    parser_nesting saved;
    if (p->at->kind != TOK_LBRACE)
        return (node->args[2] = parser_argument(p, 1)) ? 0 : -1;
    p->at++;
    if (!parser_enter_group(p, &saved, 0))
        return -1;
    math_node *lower = parser_relation(p);
    if (lower && p->at->kind == TOK_ARROW) {
        p->at++;
        node->args[1] = lower;
        lower = parser_relation(p);
        if (p->at->kind == TOK_CARET && (p->at[1].kind == TOK_PLUS || p->at[1].kind == TOK_MINUS))
            p->at += 2; /* from one side */
    }
    if (!lower || p->at->kind != TOK_RBRACE)
        return parser_fail(p, "a bound cannot be read"), -1;
    p->at++;
    parser_leave_group(p, &saved);
    if (lower->kind == MATH_RELATION && lower->count == 2 && lower->relations[0] == MATH_EQ) {
        node->args[1] = lower->args[0];
        lower = lower->args[1];
    }
    node->args[2] = lower;
    return 0;
}

math_node *parser_big(math_parser *p)
{
    math_node *node = math_node_new(p->tree, MATH_BIG, 4);
    if (!node)
        return NULL;
    node->op = p->at++->value;
    for (int i = 0; i < 2; i++) {
        if (p->at->kind == TOK_UNDERSCORE) {
            p->at++;
            if (read_lower(p, node) != 0)
                return NULL;
        } else if (p->at->kind == TOK_CARET) {
            p->at++;
            if (!(node->args[3] = parser_argument(p, 1)))
                return NULL;
        }
    }
    if (!parser_enter(p))
        return NULL;
    int integral = p->integral;
    p->integral = node->op == MATH_INTEGRAL || node->op == MATH_BIG_OTHER;
    node->args[0] = parser_spell(p, p->integral ? parser_sum(p) : parser_term(p));
    if (p->integral && node->args[0]) {
        if (p->at->kind == TOK_WORD && p->at->length == 2) { /* dx */
            node->args[1] = math_node_symbol(p->tree, p->at->text + 1, 1);
            p->at++;
        } else if (p->at[0].length == 1 && p->at[1].kind == TOK_LETTER) {
            node->args[1] = math_node_symbol(p->tree, p->at[1].text, p->at[1].length);
            p->at += 2;
        }
    }
    p->integral = integral;
    p->depth--;
    return node->args[0] ? node : NULL;
}
