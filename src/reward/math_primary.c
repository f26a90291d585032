/* Recursive-descent parser, lower half: what a factor begins with; names and words. */
#include <string.h>

#include "reward/math_parser.h"

/* ---- arguments --------------------------------------------------------------------- */

math_node *parser_one_digit(math_parser *p)
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

math_node *parser_argument(math_parser *p, int whole_number)
{
    switch (p->at->kind) {
    case TOK_LBRACE: return parser_braces(p);
    case TOK_NUMBER: {
        if (!whole_number && p->at->length > 1 && p->at->flags == 0)
            return parser_one_digit(p);
        return parser_literal(p, p->at++);
    }
    case TOK_WORD: { /* \frac ab, 2^xy: one letter */
        math_token *t = (math_token *)p->at;
        if (t->value == 1 || t->length < 2) /* letters of another alphabet stand together */
            return parser_primary(p);
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
    default: return parser_primary(p);
    }
}

/* ---- names ------------------------------------------------------------------------- */

static void skip_primes(math_parser *p)
{
    while (p->at->kind == TOK_PRIME)
        p->at++;
}

math_node *parser_subscript(math_parser *p)
{
    math_node *sub = p->at->kind == TOK_LBRACE ? parser_braces(p) : parser_argument(p, 1);
    return parser_spell(p, sub);
}

/* A symbol with its subscript; f(x) for the letters that name functions. */
static math_node *parse_name(math_parser *p, const char *name, size_t n)
{
    math_node *sub = NULL;
    size_t primes = 0;
    if (p->at->kind == TOK_UNDERSCORE) {
        p->at++;
        if (!(sub = parser_subscript(p)))
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
    math_node *argument = parser_primary(p);
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
math_node *parser_text(math_parser *p)
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
    math_node *operand = p->at->kind == TOK_WORD || p->at->kind == TOK_TEXT ? parser_text(p) : parser_argument(p, 1);
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
    math_node *operand = parser_argument(p, 1);
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
    math_node *value = parser_power(p);
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

math_node *parser_primary(math_parser *p)
{
    int depth = p->depth;
    math_node *node = NULL;
    if (!parser_enter(p))
        return NULL;
    switch (p->at->kind) {
    case TOK_NUMBER: node = parser_number(p); break;
    case TOK_LETTER: node = parse_letter(p); break;
    case TOK_CONSTANT: node = parse_constant(p); break;
    case TOK_FUNCTION: node = parser_function(p); break;
    case TOK_OPEN: node = parser_open(p); break;
    case TOK_CLOSE: node = p->at->value == ']' ? parser_open(p) : parser_fail(p, "a bracket closes nothing"); break;
    case TOK_LBRACE: node = parser_braces(p); break;
    case TOK_BAR: node = parser_absolute(p); break;
    case TOK_FRAC: node = parser_frac(p); break;
    case TOK_SQRT: node = parser_sqrt(p); break;
    case TOK_BINOM: node = parser_binom(p); break;
    case TOK_BIG: node = parser_big(p); break;
    case TOK_BEGIN: node = parser_environment(p); break;
    case TOK_ACCENT: node = parse_accent(p); break;
    case TOK_GEOMETRY: node = parse_geometry(p); break;
    case TOK_NAMED_SET: node = parse_named_set(p); break;
    case TOK_TEXT: case TOK_WORD: node = parser_text(p); break;
    case TOK_MONEY: node = parse_money(p); break;
    case TOK_DOTS: p->at++; node = math_node_symbol(p->tree, "...", 3); break;
    case TOK_END: parser_fail(p, "the answer ends where a value is expected"); break;
    default: parser_fail(p, "a value is expected, but a sign stands there"); break;
    }
    p->depth = depth;
    return node;
}
