/* Lexer, words: letters, plain words, the content of \text{...}. */
#include <string.h>

#include "reward/math_lexer.h"

enum { MAX_SCANNED = 1 << 20 /* bytes looked through for closing braces */ };

const char *lexer_group_end(math_lexer *lx, const char *p)
{
    int depth = 0;
    for (; p < lx->end && lx->scanned < MAX_SCANNED; p++, lx->scanned++) {
        if (*p == '\\' && p + 1 < lx->end)
            p++;
        else if (*p == '{')
            depth++;
        else if (*p == '}' && --depth == 0)
            return p;
    }
    return NULL;
}

int lexer_letter(math_lexer *lx, const char *p)
{
    if (!lx->after_script && *p == 'i')
        return lexer_add(lx, TOK_CONSTANT, MATH_I, p, 1);
    if (!lx->after_script && *p == 'e')
        return lexer_add(lx, TOK_CONSTANT, MATH_E, p, 1);
    return lexer_add(lx, TOK_LETTER, 0, p, 1);
}

/* A function name run together with its argument's letter: sinx, lnx. Returns the name's length. */
static size_t glued_function(const char *p, size_t n)
{
    for (size_t k = n - 1; k >= 2 && k + 1 >= n; k--) {
        const lexer_command *c = lexer_find(p, k);
        if (c && c->kind == TOK_FUNCTION)
            return k;
    }
    return 0;
}

/* min and sec are units unless an argument follows. */
static int is_unit_here(const math_lexer *lx, int function)
{
    const char *p = lx->at;
    while (p < lx->end && math_text_is_space(*p))
        p++;
    if (function == MATH_F_MIN)
        return p >= lx->end || !strchr("({[_\\", *p);
    return function == MATH_F_SEC && (p >= lx->end || !(math_text_is_letter(*p) || strchr("({\\^", *p)));
}

/* USD 5, Rs 200 */
static int is_currency_before_number(const math_lexer *lx, const char *p, size_t n)
{
    static const char *const names[] = {"USD", "EUR", "GBP", "CNY", "RMB", "INR", "CAD", "AUD", "JPY", "Rs"};
    const char *next = p + n;
    while (next < lx->end && (math_text_is_space(*next) || *next == '.'))
        next++;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == n && memcmp(names[i], p, n) == 0)
            return next < lx->end && math_text_is_digit(*next);
    return 0;
}

/* "6 x 7" in prose is a product, and 1.5x10^-3 one anywhere. */
static int is_times_letter(const math_lexer *lx, char c)
{
    const math_token *last = lexer_last(lx);
    if ((c != 'x' && c != 'X') || !last || last->kind != TOK_NUMBER)
        return 0;
    const char *p = lx->at;
    while (p < lx->end && *p == ' ')
        p++;
    if (lx->end - p > 3 && memcmp(p, "10", 2) == 0 && (p[2] == '^' || (p[2] == '*' && p[3] == '*')))
        return 1;
    return (lx->flags & MATH_LEX_PLAIN) && lx->space && lx->end - lx->at > 1 && *lx->at == ' ' &&
           (math_text_is_digit(lx->at[1]) || lx->at[1] == '$');
}

int lexer_word(math_lexer *lx)
{
    char lower[16];
    const char *p = lx->at;
    size_t n = 0;
    while (p + n < lx->end && math_text_is_letter(p[n]))
        n++;
    lx->at += n;
    if (n == 1)
        return is_times_letter(lx, *p) ? lexer_add(lx, TOK_TIMES, 0, p, 1) : lexer_letter(lx, p);
    if (is_currency_before_number(lx, p, n))
        return lexer_add(lx, TOK_MONEY, 0, p, n);
    if (n >= sizeof lower)
        return lexer_add(lx, TOK_WORD, 0, p, n);
    for (size_t i = 0; i < n; i++)
        lower[i] = p[i] >= 'A' && p[i] <= 'Z' ? (char)(p[i] + 32) : p[i];
    lower[n] = 0;
    const lexer_command *c = lexer_find_word(lower, n);
    if (c)
        return lexer_add(lx, (math_token_kind)c->kind, c->value, p, n);
    c = lexer_find(p, n);
    if (c && c->kind == TOK_LETTER && c->value == 0)
        return lexer_add(lx, TOK_LETTER, 0, c->name, n);
    if (c && c->kind == TOK_FUNCTION && !is_unit_here(lx, c->value))
        return lexer_add(lx, TOK_FUNCTION, c->value, p, n);
    size_t k = glued_function(p, n);
    if (!k)
        return lexer_add(lx, TOK_WORD, 0, p, n);
    lx->at = p + k;
    c = lexer_find(p, k);
    return lexer_add(lx, TOK_FUNCTION, c->value, p, k);
}

static int named_set(math_slice t)
{
    return t.length == 1 && strchr("RZNQC", t.data[0]) ? t.data[0] : 0;
}

/* What \text{...} or \mathrm{...} means. `command` is the name of the command. */
int lexer_text(math_lexer *lx, math_slice name, math_slice content)
{
    math_slice t = math_text_trim(content);
    while (t.length && (t.data[0] == '~' || (t.length > 1 && t.data[0] == '\\' && strchr(",;:! ", t.data[1])))) {
        size_t n = t.data[0] == '~' ? 1 : 2;
        t = math_text_trim((math_slice){t.data + n, t.length - n});
    }
    int blackboard = math_text_equals(name, "mathbb"), symbol = name.length >= 4 && memcmp(name.data, "math", 4) == 0;
    if ((blackboard || math_text_equals(name, "mathbf")) && named_set(t) && (blackboard || t.data[0] != 'C'))
        return lexer_add(lx, TOK_NAMED_SET, t.data[0], t.data, 1);
    if (t.length == 1 && math_text_is_letter(t.data[0]) && symbol && !math_text_equals(name, "mathbf"))
        return *t.data == 'i' || *t.data == 'e' ? lexer_letter(lx, t.data)
                                                : lexer_add(lx, TOK_TEXT, 1, t.data, 1);
    if (t.length && t.length < 16) {
        const lexer_command *c = lexer_find(t.data, t.length);
        if (c && c->kind == TOK_FUNCTION && !is_unit_here(lx, c->value))
            return lexer_add(lx, TOK_FUNCTION, c->value, t.data, t.length);
    }
    static const struct {
        const char *word;
        unsigned char kind;
    } joins[] = {{"and", TOK_AND}, {"or", TOK_OR}, {"to", TOK_TO}, {",", TOK_COMMA}, {";", TOK_SEMICOLON},
                 {"percent", TOK_PERCENT}, {"degrees", TOK_DEGREE}, {"degree", TOK_DEGREE}, {"%", TOK_PERCENT},
                 {"\\%", TOK_PERCENT}, {", and", TOK_AND}, {",and", TOK_AND}, {", or", TOK_OR}};
    for (size_t i = 0; i < sizeof joins / sizeof *joins; i++)
        if (math_text_equals(t, joins[i].word))
            return lexer_add(lx, (math_token_kind)joins[i].kind, 1, t.data, t.length);
    return t.length ? lexer_add(lx, TOK_TEXT, symbol, t.data, t.length) : 0;
}
