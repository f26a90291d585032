/* Recursive-descent parser, lower half: what a factor is made of. */
#include <stdlib.h>
#include <string.h>

#include "reward/math_parser.h"
#include "reward/math_units.h"

/* ---- numbers ----------------------------------------------------------------------- */

/* Digits text (with one optional point) to a rational, the last `repeating` digits repeating. */
static int set_decimal(fmpq_t q, const char *text, size_t length, size_t repeating, int *places, int *significant)
{
    char buffer[64], *digits = length < sizeof buffer ? buffer : flint_malloc(length + 1);
    size_t n = 0;
    *places = 0;
    *significant = 0;
    int point = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '.') {
            point = 1;
            continue;
        }
        *places += point;
        *significant += *significant || text[i] != '0';
        digits[n++] = text[i];
    }
    digits[n] = 0;
    int bad = fmpz_set_str(fmpq_numref(q), n ? digits : "0", 10);
    if (repeating) { /* 0.a(b) = (ab - a) / (10^|a| (10^|b| - 1)) */
        fmpz_t head, scale;
        fmpz_init(head);
        fmpz_init(scale);
        digits[n - repeating] = 0;
        bad |= fmpz_set_str(head, n > repeating ? digits : "0", 10);
        fmpz_sub(fmpq_numref(q), fmpq_numref(q), head);
        fmpz_set_ui(fmpq_denref(q), 10);
        fmpz_pow_ui(fmpq_denref(q), fmpq_denref(q), repeating);
        fmpz_sub_ui(fmpq_denref(q), fmpq_denref(q), 1);
        fmpz_ui_pow_ui(scale, 10, (ulong)*places - repeating);
        fmpz_mul(fmpq_denref(q), fmpq_denref(q), scale);
        fmpz_clear(head);
        fmpz_clear(scale);
    } else if (*places) {
        fmpz_ui_pow_ui(fmpq_denref(q), 10, (ulong)*places);
    } else {
        fmpz_one(fmpq_denref(q));
    }
    fmpq_canonicalise(q);
    if (digits != buffer)
        flint_free(digits);
    return bad;
}

static math_node *make_number(math_parser *p, const math_token *t)
{
    fmpq_t q;
    int places, significant;
    fmpq_init(q);
    int bad = set_decimal(q, t->text, t->length, t->repeating, &places, &significant);
    math_node *node = bad ? parser_fail(p, "a number cannot be read") : NULL;
    if (!bad && (t->exponent > 400 || t->exponent < -400)) { /* left as a power: 10^e may be enormous */
        math_node *power = math_node_binary(p->tree, MATH_POW, 0, math_node_integer(p->tree, 10),
                                            math_node_integer(p->tree, t->exponent));
        node = math_node_binary(p->tree, MATH_MUL, 0, math_node_rational(p->tree, q), power);
    } else if (!bad) {
        fmpz_t scale;
        fmpz_init(scale);
        fmpz_ui_pow_ui(scale, 10, (ulong)labs(t->exponent));
        if (t->exponent >= 0)
            fmpq_mul_fmpz(q, q, scale);
        else
            fmpq_div_fmpz(q, q, scale);
        fmpz_clear(scale);
        node = math_node_rational(p->tree, q);
    }
    if (node) {
        node->flags = t->flags;
        node->places = places - (int)(t->exponent > 400 || t->exponent < -400 ? 0 : t->exponent);
        node->significant = significant;
    }
    fmpq_clear(q);
    return node;
}

/* 101_2: the digits in another base. */
static math_node *number_in_base(math_parser *p, const math_token *digits)
{
    static const char *const names[] = {"two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"};
    const math_token *t = p->at + 1;
    int braces = t->kind == TOK_LBRACE ? 1 : 0, parentheses;
    t += braces;
    parentheses = t->kind == TOK_OPEN;
    t += parentheses;
    int base = 0;
    if (t->kind == TOK_NUMBER && t->length <= 2)
        base = atoi((char[3]){t->text[0], t->length > 1 ? t->text[1] : 0, 0});
    for (int i = 0; i < 9 && (t->kind == TOK_WORD || t->kind == TOK_TEXT); i++)
        if (strlen(names[i]) == t->length && memcmp(names[i], t->text, t->length) == 0)
            base = i + 2;
    int closed = base && (!parentheses || (++t)->kind == TOK_CLOSE) && (!braces || (++t)->kind == TOK_RBRACE);
    if (!closed || base < 2 || base > 10 || digits->flags)
        return parser_fail(p, "a number's base cannot be read");
    t++;
    for (unsigned i = 0; i < digits->length; i++)
        if (digits->text[i] - '0' >= base)
            return parser_fail(p, "a digit does not belong to the number's base");
    char *text = flint_malloc(digits->length + 1);
    memcpy(text, digits->text, digits->length);
    text[digits->length] = 0;
    fmpq_t q;
    fmpq_init(q);
    fmpz_set_str(fmpq_numref(q), text, base);
    flint_free(text);
    math_node *node = math_node_rational(p->tree, q);
    fmpq_clear(q);
    p->at = t;
    return node;
}

static int is_small_integer(const math_token *t)
{
    return t->kind == TOK_NUMBER && t->flags == 0 && t->length <= 9;
}

static long token_integer(const math_token *t)
{
    char text[12] = {0};
    memcpy(text, t->text, t->length);
    return strtol(text, NULL, 10);
}

/* After an integer: "\frac{2}{3}" or " 2/3" makes a mixed number when the fraction is below one. */
static math_node *mixed_number(math_parser *p, const math_token *whole)
{
    const math_token *t = p->at, *after;
    long a, b;
    if (t->kind == TOK_FRAC && t[1].kind == TOK_LBRACE && is_small_integer(t + 2) && t[3].kind == TOK_RBRACE &&
        t[4].kind == TOK_LBRACE && is_small_integer(t + 5) && t[6].kind == TOK_RBRACE) {
        a = token_integer(t + 2), b = token_integer(t + 5);
        after = t + 7;
    } else if (t->kind == TOK_FRAC && is_small_integer(t + 1) && t[1].length == 2) { /* \frac12 */
        a = t[1].text[0] - '0', b = t[1].text[1] - '0';
        after = t + 2;
    } else if (is_small_integer(t) && t->space && t[1].kind == TOK_DIVIDE && is_small_integer(t + 2)) {
        a = token_integer(t), b = token_integer(t + 2);
        after = t + 3;
    } else {
        return NULL;
    }
    if (a <= 0 || a >= b || !is_small_integer(whole) || after->kind == TOK_CARET)
        return NULL;
    fmpq_t q;
    fmpq_init(q);
    fmpq_set_si(q, a, (ulong)b);
    fmpq_add_si(q, q, token_integer(whole));
    math_node *node = math_node_rational(p->tree, q);
    fmpq_clear(q);
    p->at = after;
    return node;
}

static math_node *parse_number(math_parser *p)
{
    const math_token *t = p->at++;
    if (p->at->kind == TOK_UNDERSCORE)
        return number_in_base(p, t);
    math_node *mixed = mixed_number(p, t);
    if (mixed || p->tree->problem)
        return mixed;
    math_node *node = make_number(p, t);
    if (node && p->at->kind == TOK_DOTS && (t->flags & MATH_DECIMAL)) { /* 3.14159... */
        node->flags |= MATH_DOTS;
        p->at++;
    }
    return node;
}

/* ---- arguments --------------------------------------------------------------------- */

static math_node *parse_braces(math_parser *p);

static math_node *one_digit(math_parser *p)
{
    math_token *t = (math_token *)p->at;
    math_node *node = math_node_integer(p->tree, t->text[0] - '0');
    if (t->length > 1 && !(t->flags & MATH_DECIMAL)) { /* leave the rest of the number for what follows */
        t->text++;
        t->length--;
        t->space = 0;
    } else {
        p->at++;
    }
    return node;
}

math_node *parse_argument(math_parser *p, int whole_number)
{
    switch (p->at->kind) {
    case TOK_LBRACE: return parse_braces(p);
    case TOK_NUMBER: {
        if (!whole_number && p->at->length > 1 && p->at->flags == 0)
            return one_digit(p);
        return make_number(p, p->at++);
    }
    case TOK_WORD: { /* \frac ab, 2^xy: one letter */
        math_token *t = (math_token *)p->at;
        math_node *node = math_node_new(p->tree, MATH_TEXT, 0);
        if (!node || !(node->name = math_tree_text(p->tree, t->text, 1)))
            return NULL;
        t->text++;
        if (--t->length == 1) {
            t->kind = *t->text == 'i' || *t->text == 'e' ? TOK_CONSTANT : TOK_LETTER;
            t->value = *t->text == 'i' ? MATH_I : MATH_E;
        }
        return math_node_spell(p->tree, node);
    }
    default: return parse_primary(p);
    }
}

/* ---- names ------------------------------------------------------------------------- */

static void skip_primes(math_parser *p)
{
    while (p->at->kind == TOK_PRIME)
        p->at++;
}

static math_node *parse_subscript(math_parser *p)
{
    math_node *sub = p->at->kind == TOK_LBRACE ? parse_braces(p) : parse_argument(p, 1);
    return parser_spell(p, sub);
}

/* A symbol with its subscript; f(x) for the letters that name functions. */
static math_node *parse_name(math_parser *p, const char *name, size_t n)
{
    math_node *sub = NULL;
    size_t primes = 0;
    if (p->at->kind == TOK_UNDERSCORE) {
        p->at++;
        if (!(sub = parse_subscript(p)))
            return NULL;
    }
    for (; p->at[primes].kind == TOK_PRIME; primes++)
        ;
    char text[32];
    if (n + primes >= sizeof text)
        primes = 0;
    if (n < sizeof text - 1) {
        memcpy(text, name, n);
        memset(text + n, '\'', primes);
        name = text;
        n += primes;
    }
    skip_primes(p);
    int function = n - primes == 1 && strchr("fgFG", *name) && p->at->kind == TOK_OPEN && p->at->value == '(' && !sub;
    if (!function) {
        math_node *node = math_node_new(p->tree, MATH_SYMBOL, sub ? 1 : 0);
        if (!node || !(node->name = math_tree_text(p->tree, name, n)))
            return NULL;
        if (sub)
            node->args[0] = sub;
        return node;
    }
    const char *kept = math_tree_text(p->tree, name, n);
    math_node *argument = parse_primary(p);
    math_node *node = kept && argument ? math_node_unary(p->tree, MATH_APPLY, 0, argument) : NULL;
    if (node)
        node->name = kept;
    return node;
}

static math_node *parse_letter(math_parser *p)
{
    const math_token *t = p->at++;
    return parse_name(p, t->text, t->length);
}

static math_node *parse_constant(math_parser *p)
{
    const math_token *t = p->at++;
    if (p->at->kind == TOK_UNDERSCORE && (t->value == MATH_E || t->value == MATH_I))
        return parse_name(p, t->text, 1);
    math_node *node = math_node_new(p->tree, MATH_CONSTANT, 0);
    if (node)
        node->op = t->value;
    return node;
}

/* Words in a place where a value is expected. */
static math_node *parse_text(math_parser *p)
{
    const math_token *t = p->at++;
    if (t->kind == TOK_TEXT && t->value == 1 && p->at->kind == TOK_UNDERSCORE)
        return parse_name(p, t->text, t->length);
    if (t->kind == TOK_TEXT && t->length == 1)
        return parse_name(p, t->text, t->length);
    if (p->at->kind == TOK_UNDERSCORE)
        return parse_name(p, t->text, t->length);
    const math_token *last = t;
    while (p->at->kind == TOK_WORD || (p->at->kind == TOK_TEXT && p->at->length > 1) ||
           (p->at->kind == TOK_LETTER && p->at->space && p->flags & MATH_LEX_PLAIN)) /* a phrase */
        last = p->at++;
    math_node *node = math_node_new(p->tree, MATH_TEXT, 0);
    if (!node)
        return NULL;
    node->flags = last != t || t->kind == TOK_TEXT;
    if (last == t) {
        node->name = math_tree_text(p->tree, t->text, t->length);
        return node->name ? node : NULL;
    }
    size_t n = 0;
    for (const math_token *w = t; w <= last; w++)
        n += w->length + 1;
    char *name = math_tree_alloc(p->tree, n + 1);
    if (!name)
        return NULL;
    node->name = name;
    for (const math_token *w = t; w <= last; w++) {
        memcpy(name, w->text, w->length);
        name += w->length;
        *name++ = ' ';
    }
    name[-1] = 0;
    return node;
}

static math_node *parse_geometry(math_parser *p) /* \angle ABC */
{
    const math_token *sign = p->at++;
    if (sign->value)
        return parser_fail(p, "a logical formula cannot be judged");
    math_node *operand = p->at->kind == TOK_WORD || p->at->kind == TOK_TEXT ? parse_text(p) : parse_argument(p, 1);
    if (!operand)
        return NULL;
    char text[64] = "";
    strcpy(text, sign->text && sign->length < 20 ? "angle " : "");
    math_node_print(operand, text + strlen(text), sizeof text - strlen(text));
    return math_node_symbol(p->tree, text, strlen(text));
}

static math_node *parse_accent(math_parser *p)
{
    int accent = p->at++->value;
    math_node *operand = parse_argument(p, 1);
    if (!operand || accent == 'u')
        return operand;
    if (operand->kind == MATH_TEXT || operand->kind == MATH_SYMBOL) {
        char text[64];
        math_node_print(operand, text, sizeof text);
        return parse_name(p, text, strlen(text));
    }
    if (accent == 'o')
        return math_node_unary(p->tree, MATH_CALL, MATH_F_CONJ, operand);
    return operand;
}

/* ---- brackets ---------------------------------------------------------------------- */

typedef struct nesting {
    int bars, builder, integral, depth;
    char bracket;
} nesting;

static int enter_group(math_parser *p, nesting *saved, char bracket)
{
    *saved = (nesting){p->bars, p->builder, p->integral, p->depth, p->bracket};
    p->bars = p->builder = p->integral = 0;
    p->bracket = bracket;
    return parser_enter(p);
}

static void leave_group(math_parser *p, const nesting *saved)
{
    p->bars = saved->bars;
    p->builder = saved->builder;
    p->integral = saved->integral;
    p->depth = saved->depth;
    p->bracket = saved->bracket;
}

static math_node *parse_braces(math_parser *p)
{
    nesting saved;
    p->at++;
    if (!enter_group(p, &saved, 0))
        return NULL;
    if (p->at->kind == TOK_RBRACE)
        return parser_fail(p, "empty braces");
    while (p->at->kind == TOK_RELATION && p->at->value == MATH_APPROX)
        p->at++;
    math_node *node = parse_list(p);
    while (node && p->at->kind == TOK_DOT)
        p->at++;
    if (!node || p->at->kind != TOK_RBRACE)
        return parser_fail(p, "braces do not match");
    p->at++;
    leave_group(p, &saved);
    return node;
}

static math_node *as_tuple(math_parser *p, math_node *content, int open, int close)
{
    int list = content->kind == MATH_LIST && content->op == MATH_COMMA;
    if (!list && !((open == '(' && close == ')') || (open == '[' && close == ']')))
        return parser_fail(p, "brackets do not match");
    if (!list)
        return content;
    math_node *node = math_node_new(p->tree, MATH_TUPLE, content->count);
    if (!node)
        return NULL;
    memcpy(node->args, content->args, content->count * sizeof *content->args);
    node->op = (unsigned char)open;
    node->op2 = (unsigned char)close;
    return node;
}

static math_node *parse_set(math_parser *p)
{
    if (p->at->kind == TOK_CLOSE && p->at->value == '}') {
        math_node *empty = math_node_new(p->tree, MATH_NAMED_SET, 0);
        if (empty)
            empty->op = '0';
        p->at++;
        return empty;
    }
    p->builder = 1;
    math_node *elements = parse_list(p), *node;
    if (!elements)
        return NULL;
    if (p->at->kind == TOK_BAR || p->at->kind == TOK_COLON) {
        p->at++;
        p->builder = 0;
        node = math_node_binary(p->tree, MATH_BUILDER, 0, elements, parse_list(p));
    } else if (elements->kind == MATH_LIST) {
        node = math_node_new(p->tree, MATH_SET, elements->count);
        if (node)
            memcpy(node->args, elements->args, elements->count * sizeof *elements->args);
    } else {
        node = math_node_unary(p->tree, MATH_SET, 0, elements);
    }
    if (!node || !(p->at->kind == TOK_CLOSE && p->at->value == '}'))
        return parser_fail(p, "a set is not closed");
    p->at++;
    return node;
}

/* ( and [ in all their combinations, ]a,b[ too. */
static math_node *parse_brackets(math_parser *p, int open)
{
    math_node *content = parse_list(p);
    if (!content)
        return NULL;
    int kind = p->at->kind, value = p->at->value;
    if ((kind != TOK_CLOSE && !(kind == TOK_OPEN && value == '[')) || value == '}' || value == 'F' || value == 'C')
        return parser_fail(p, "brackets do not match");
    p->at++;
    if (open == ']')
        open = '(';
    if (kind == TOK_OPEN)
        value = ')';
    else if (open == '<' && value == '<')
        open = '(', value = ')';
    return as_tuple(p, content, open, value);
}

static math_node *parse_open(math_parser *p)
{
    nesting saved;
    int open = p->at++->value;
    if (!enter_group(p, &saved, (char)open))
        return NULL;
    math_node *node;
    if (open == '{') {
        node = parse_set(p);
    } else if (open == 'F' || open == 'C') {
        node = parse_list(p);
        if (!node || !(p->at->kind == TOK_CLOSE && p->at->value == open))
            return parser_fail(p, "brackets do not match");
        p->at++;
        node = math_node_unary(p->tree, MATH_CALL, open == 'F' ? MATH_F_FLOOR : MATH_F_CEIL, parser_spell(p, node));
    } else {
        node = parse_brackets(p, open);
    }
    leave_group(p, &saved);
    return node;
}

static math_node *parse_absolute(math_parser *p)
{
    nesting saved;
    p->at++;
    if (!enter_group(p, &saved, '|'))
        return NULL;
    p->bars = 1;
    math_node *node = parse_list(p);
    if (!node || p->at->kind != TOK_BAR)
        return parser_fail(p, "a bar is not closed");
    p->at++;
    leave_group(p, &saved);
    if (node->kind == MATH_TEXT) /* |AB| */
        return math_node_symbol(p->tree, node->name, strlen(node->name));
    return math_node_unary(p->tree, MATH_CALL, MATH_F_ABS, parser_spell(p, node));
}

/* ---- functions --------------------------------------------------------------------- */

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
        if (parser_push(p, &factors, parser_spell(p, parse_power(p))) != 0)
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
        return parse_braces(p);
    if (p->at->kind == TOK_OPEN && (p->at->value == '(' || p->at->value == '[' || p->at->value == '{'))
        return parse_open(p);
    if (p->at->kind == TOK_BAR)
        return parse_absolute(p);
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

/* log_28 is log_2 8 when nothing else is there to be its argument. */
static math_node *log_base(math_parser *p)
{
    const math_token *t = p->at;
    int next = t[1].kind;
    int alone = next == TOK_END || next == TOK_CLOSE || next == TOK_RBRACE || next == TOK_COMMA || next == TOK_PLUS ||
                next == TOK_MINUS || next == TOK_TIMES || next == TOK_DIVIDE || next == TOK_DOT || next == TOK_RELATION;
    if (t->kind == TOK_NUMBER && t->length > 1 && alone)
        return one_digit(p);
    return parse_subscript(p);
}

static math_node *parse_function(math_parser *p)
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
            if (!(power = parse_argument(p, 1)))
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

static math_node *parse_frac(math_parser *p)
{
    p->at++;
    math_node *a = parser_spell(p, parse_argument(p, 0));
    return a ? math_node_divide(p->tree, a, parser_spell(p, parse_argument(p, 0))) : NULL;
}

static math_node *parse_sqrt(math_parser *p)
{
    int index = p->at++->value == 3 ? 3 : 2;
    math_node *n = NULL;
    if (index == 2 && p->at->kind == TOK_OPEN && p->at->value == '[') {
        nesting saved;
        p->at++;
        if (!enter_group(p, &saved, '['))
            return NULL;
        n = parse_sum(p);
        if (!n || p->at->kind != TOK_CLOSE)
            return parser_fail(p, "a root's index is not closed");
        p->at++;
        leave_group(p, &saved);
    } else {
        n = math_node_integer(p->tree, index);
    }
    math_node *a = n ? parser_spell(p, parse_argument(p, 1)) : NULL;
    return math_node_binary(p->tree, MATH_CALL, MATH_F_ROOT, a, parser_spell(p, n));
}

static math_node *parse_binom(math_parser *p)
{
    if (p->at++->value)
        return parser_fail(p, "\\choose stands without braces");
    math_node *a = parse_argument(p, 0);
    return a ? math_node_binary(p->tree, MATH_CALL, MATH_F_BINOM, a, parse_argument(p, 0)) : NULL;
}

/* ---- sums, products, integrals, limits ---------------------------------------------- */

/* The part under the sign: k=1 (variable and lower bound), x \to 0, or a bound. */
static int read_lower(math_parser *p, math_node *node)
{
    nesting saved;
    if (p->at->kind != TOK_LBRACE)
        return (node->args[2] = parse_argument(p, 1)) ? 0 : -1;
    p->at++;
    if (!enter_group(p, &saved, 0))
        return -1;
    math_node *lower = parse_relation(p);
    if (lower && p->at->kind == TOK_ARROW) {
        p->at++;
        node->args[1] = lower;
        lower = parse_relation(p);
        if (p->at->kind == TOK_CARET && (p->at[1].kind == TOK_PLUS || p->at[1].kind == TOK_MINUS))
            p->at += 2; /* from one side */
    }
    if (!lower || p->at->kind != TOK_RBRACE)
        return parser_fail(p, "a bound cannot be read"), -1;
    p->at++;
    leave_group(p, &saved);
    if (lower->kind == MATH_RELATION && lower->count == 2 && lower->relations[0] == MATH_EQ) {
        node->args[1] = lower->args[0];
        lower = lower->args[1];
    }
    node->args[2] = lower;
    return 0;
}

static math_node *parse_big(math_parser *p)
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
            if (!(node->args[3] = parse_argument(p, 1)))
                return NULL;
        }
    }
    if (!parser_enter(p))
        return NULL;
    int integral = p->integral;
    p->integral = node->op == MATH_INTEGRAL || node->op == MATH_BIG_OTHER;
    node->args[0] = parser_spell(p, p->integral ? parse_sum(p) : parse_term(p));
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

/* ---- environments ------------------------------------------------------------------ */

static int token_is(const math_token *t, const char *text)
{
    return t->length == strlen(text) && memcmp(t->text, text, t->length) == 0;
}

static math_node *parse_rows(math_parser *p, math_node **cells_out, unsigned *columns_out)
{
    math_nodes cells = {0};
    unsigned columns = 0, column = 0;
    while (p->at->kind != TOK_FINISH) {
        if (p->at->kind == TOK_ROW) {
            p->at++;
            continue;
        }
        if (parser_push(p, &cells, parser_spell(p, parse_relation(p))) != 0)
            return NULL;
        column++;
        while (p->at->kind == TOK_COMMA || p->at->kind == TOK_DOT)
            p->at++;
        if (p->at->kind == TOK_AMPERSAND) {
            p->at++;
            continue;
        }
        if (p->at->kind != TOK_ROW && p->at->kind != TOK_FINISH)
            return parser_fail(p, "a matrix cannot be read");
        if (columns && column != columns)
            return parser_fail(p, "a matrix has rows of different length");
        columns = column;
        column = 0;
    }
    if (!columns || cells.count > 65535)
        return parser_fail(p, "a matrix cannot be read");
    *columns_out = columns;
    return *cells_out = parser_collect(p, MATH_MATRIX, 0, &cells);
}

static math_node *parse_matrix(math_parser *p, const math_token *name)
{
    math_node *node = NULL;
    unsigned columns = 1;
    if (token_is(name, "array") && p->at->kind == TOK_LBRACE) { /* column layout */
        while (p->at->kind != TOK_RBRACE && p->at->kind != TOK_END)
            p->at++;
        if (p->at->kind == TOK_RBRACE)
            p->at++;
    }
    if (!parse_rows(p, &node, &columns))
        return NULL;
    node->columns = (unsigned short)columns;
    node->rows = (unsigned short)(node->count / columns);
    if (token_is(name, "cases") || token_is(name, "dcases"))
        node->op = 'c';
    if (token_is(name, "vmatrix"))
        return math_node_unary(p->tree, MATH_CALL, MATH_F_DET, node);
    return node;
}

static math_node *parse_environment(math_parser *p)
{
    static const char *const matrices[] = {"matrix", "pmatrix", "bmatrix", "Bmatrix", "vmatrix", "Vmatrix",
                                           "smallmatrix", "array", "cases", "dcases"};
    static const char *const displays[] = {"align", "aligned", "gather", "gathered", "equation", "split", "eqnarray",
                                           "multline", "displaymath", "math", "alignedat", "center"};
    const math_token *name = p->at++;
    nesting saved;
    math_node *node = NULL;
    int matrix = 0, display = 0;
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++)
        matrix |= token_is(name, matrices[i]);
    for (size_t i = 0; i < sizeof displays / sizeof *displays; i++)
        display |= token_is(name, displays[i]);
    if (!enter_group(p, &saved, 0))
        return NULL;
    if (matrix) {
        node = parse_matrix(p, name);
    } else if (display) {
        while (p->at->kind == TOK_AMPERSAND || p->at->kind == TOK_ROW)
            p->at++;
        node = parse_list(p);
        while (node && p->at->kind == TOK_DOT)
            p->at++;
    } else {
        return parser_fail(p, "an environment is not known");
    }
    if (!node || p->at->kind != TOK_FINISH)
        return parser_fail(p, "an environment is not closed");
    p->at++;
    leave_group(p, &saved);
    return node;
}

/* ---- units ------------------------------------------------------------------------- */

static int is_unit_letter(const math_parser *p, const math_token *t)
{
    return (p->flags & MATH_LEX_PLAIN) && t->kind == TOK_LETTER && t->space && math_is_unit(t->text, t->length) &&
           t[-1].kind == TOK_NUMBER && (t[1].kind == TOK_END || t[1].kind == TOK_DOT || t[1].kind == TOK_DIVIDE);
}

/* Short unit words that are taken for units inside formulas, where "rs" or "gb" is a product. */
static int is_common_short_unit(const math_token *t)
{
    static const char *const names[] = {"cm", "mm", "km", "dm", "kg", "mg", "ml", "mL", "ft", "lb", "oz"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (t->length == 2 && memcmp(names[i], t->text, 2) == 0)
            return 1;
    return 0;
}

static int is_unit_word_here(const math_parser *p, const math_token *t)
{
    int known = math_is_unit(t->text, t->length), plain = (p->flags & MATH_LEX_PLAIN) != 0 && t->space;
    if (t->length == 2 && !(plain && known))
        return is_common_short_unit(t) && t[-1].kind == TOK_NUMBER;
    if (t->length == 3 && !plain)
        return known && t[-1].kind == TOK_NUMBER;
    return known || plain || t->length > 6;
}

int parser_at_unit(const math_parser *p)
{
    const math_token *t = p->at;
    if (t->kind == TOK_TEXT)
        return (t->value == 0 && t->length > 1) || math_is_unit(t->text, t->length);
    if (t->kind == TOK_WORD)
        return is_unit_word_here(p, t);
    if (t->kind == TOK_LBRACE && t[1].kind == TOK_WORD && math_is_unit(t[1].text, t[1].length)) /* \mathrm{cm^2} */
        return t[2].kind == TOK_CARET || t[2].kind == TOK_RBRACE || t[2].kind == TOK_DIVIDE;
    return is_unit_letter(p, t);
}

static void append(char *out, size_t size, size_t *n, const char *text, size_t length)
{
    for (size_t i = 0; i < length && *n + 1 < size; i++)
        out[(*n)++] = text[i];
    out[*n] = 0;
}

static int is_unit_word(const math_token *t)
{
    return t->kind == TOK_TEXT || t->kind == TOK_WORD || t->kind == TOK_LETTER ||
           (t->kind == TOK_FUNCTION && (t->value == MATH_F_MIN || t->value == MATH_F_SEC));
}

/* ^2, ^{-1} */
static void read_unit_power(math_parser *p, char *out, size_t size, size_t *n)
{
    const math_token *t = p->at + 1;
    int braces = t->kind == TOK_LBRACE;
    t += braces;
    int minus = t->kind == TOK_MINUS;
    t += minus;
    if (t->kind != TOK_NUMBER || (braces && t[1].kind != TOK_RBRACE))
        return;
    append(out, size, n, minus ? "^-" : "^", minus ? 2 : 1);
    append(out, size, n, t->text, t->length);
    p->at = t + 1 + braces;
}

const char *parse_unit(math_parser *p)
{
    char text[128];
    size_t n = 0;
    const math_token *before;
    int group = p->at->kind == TOK_LBRACE;
    p->at += group;
    do {
        before = p->at;
        if (is_unit_word(p->at) && (n == 0 || p->at->kind != TOK_LETTER || p->at->space || text[n - 1] == '/' || text[n - 1] == '.')) {
            if (n && text[n - 1] != '/' && text[n - 1] != '.')
                append(text, sizeof text, &n, " ", 1);
            append(text, sizeof text, &n, p->at->text, p->at->length);
            p->at++;
        } else if (n && p->at->kind == TOK_CARET) {
            read_unit_power(p, text, sizeof text, &n);
        } else if (n && (p->at->kind == TOK_DIVIDE || p->at->kind == TOK_TIMES) && is_unit_word(p->at + 1) && p->at->value == 0) {
            append(text, sizeof text, &n, p->at->kind == TOK_DIVIDE ? "/" : ".", 1);
            p->at++;
        } else if (n && p->at->kind == TOK_DOT && (p->at[1].kind == TOK_WORD || p->at[1].kind == TOK_TEXT)) {
            p->at++; /* "sq. units" */
        } else if (group && p->at->kind == TOK_RBRACE) {
            group = 0;
            p->at++;
        }
    } while (before != p->at);
    if (group)
        return parser_fail(p, "a unit's braces do not match"), NULL;
    return math_tree_text(p->tree, text, n);
}

/* ---- the primary ------------------------------------------------------------------- */

int parser_at_factor(const math_parser *p)
{
    const math_token *t = p->at;
    switch (t->kind) {
    case TOK_NUMBER: case TOK_LETTER: case TOK_CONSTANT: case TOK_FUNCTION: case TOK_LBRACE: case TOK_FRAC:
    case TOK_SQRT: case TOK_BIG: case TOK_ACCENT: case TOK_WORD: case TOK_TEXT: case TOK_BEGIN:
        return 1;
    case TOK_MONEY: return t[1].kind == TOK_NUMBER;
    case TOK_BINOM: return t->value == 0;
    case TOK_OPEN: return t->value == '(' || t->value == 'F' || t->value == 'C' || (t->value == '[' && p->bracket != '[' && p->bracket != ']');
    case TOK_BAR: return !p->bars && !p->builder && t->value == 0;
    default: return 0;
    }
}

static math_node *parse_money(math_parser *p)
{
    p->at++;
    int minus = p->at->kind == TOK_MINUS;
    p->at += minus;
    math_node *value = parse_power(p);
    if (minus)
        value = math_node_negate(p->tree, value);
    math_node *node = math_node_unary(p->tree, MATH_QUANTITY, 0, value);
    if (node)
        node->name = "dollars";
    return node;
}

static math_node *parse_named_set(math_parser *p)
{
    math_node *node = math_node_new(p->tree, MATH_NAMED_SET, 0);
    if (!node)
        return NULL;
    node->op = p->at++->value;
    if (p->at->kind == TOK_UNDERSCORE) { /* R_{>0}, R_+ */
        const math_token *t = p->at + 1;
        int braces = t->kind == TOK_LBRACE;
        t += braces;
        if (t->kind == TOK_PLUS || (t->kind == TOK_RELATION && t->value == MATH_GT))
            node->op2 = '+';
        else if (t->kind == TOK_MINUS || (t->kind == TOK_RELATION && t->value == MATH_LT))
            node->op2 = '-';
        else
            return parser_fail(p, "a set's subscript cannot be read");
        t += 1 + (t[1].kind == TOK_NUMBER);
        if (braces && t->kind != TOK_RBRACE)
            return parser_fail(p, "a set's subscript cannot be read");
        p->at = t + braces;
    }
    return node;
}

math_node *parse_primary(math_parser *p)
{
    int depth = p->depth;
    math_node *node = NULL;
    if (!parser_enter(p))
        return NULL;
    switch (p->at->kind) {
    case TOK_NUMBER: node = parse_number(p); break;
    case TOK_LETTER: node = parse_letter(p); break;
    case TOK_CONSTANT: node = parse_constant(p); break;
    case TOK_FUNCTION: node = parse_function(p); break;
    case TOK_OPEN: node = parse_open(p); break;
    case TOK_CLOSE: node = p->at->value == ']' ? parse_open(p) : parser_fail(p, "a bracket closes nothing"); break;
    case TOK_LBRACE: node = parse_braces(p); break;
    case TOK_BAR: node = parse_absolute(p); break;
    case TOK_FRAC: node = parse_frac(p); break;
    case TOK_SQRT: node = parse_sqrt(p); break;
    case TOK_BINOM: node = parse_binom(p); break;
    case TOK_BIG: node = parse_big(p); break;
    case TOK_BEGIN: node = parse_environment(p); break;
    case TOK_ACCENT: node = parse_accent(p); break;
    case TOK_GEOMETRY: node = parse_geometry(p); break;
    case TOK_NAMED_SET: node = parse_named_set(p); break;
    case TOK_TEXT: case TOK_WORD: node = parse_text(p); break;
    case TOK_MONEY: node = parse_money(p); break;
    case TOK_DOTS: p->at++; node = math_node_symbol(p->tree, "...", 3); break;
    case TOK_END: parser_fail(p, "the answer ends where a value is expected"); break;
    default: parser_fail(p, "a value is expected, but a sign stands there"); break;
    }
    p->depth = depth;
    return node;
}
