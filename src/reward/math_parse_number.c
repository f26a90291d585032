/* Parser, numbers: decimals, powers of ten, mixed numbers, other bases. */
#include <stdlib.h>
#include <string.h>

#include "reward/math_parser.h"

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

math_node *parser_literal(math_parser *p, const math_token *t)
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

math_node *parser_number(math_parser *p)
{
    const math_token *t = p->at++;
    if (p->at->kind == TOK_UNDERSCORE)
        return number_in_base(p, t);
    math_node *mixed = mixed_number(p, t);
    if (mixed || p->tree->problem)
        return mixed;
    math_node *node = parser_literal(p, t);
    if (node && p->at->kind == TOK_DOTS && (t->flags & MATH_DECIMAL)) { /* 3.14159... */
        node->flags |= MATH_DOTS;
        p->at++;
    }
    return node;
}
