/* Parser, units: which words after a value are its unit. */
#include <string.h>

#include "reward/math_parser.h"
#include "reward/math_units.h"

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

const char *parser_unit(math_parser *p)
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
