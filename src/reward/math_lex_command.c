/* Lexer, everything that begins with a backslash. */
#include <string.h>

#include "reward/math_lexer.h"

/* ---- commands ---------------------------------------------------------------------- */

static int lex_environment(math_lexer *lx, math_token_kind kind)
{
    const char *close = lx->at < lx->end && *lx->at == '{' ? lexer_group_end(lx, lx->at) : NULL;
    if (!close)
        return lexer_add(lx, TOK_BAD, 0, lx->at, 0);
    math_slice name = {lx->at + 1, (size_t)(close - lx->at) - 1};
    if (name.length && name.data[name.length - 1] == '*')
        name.length--;
    lx->at = close + 1;
    return lexer_add(lx, kind, 0, name.data, name.length);
}

/* Mathematics inside \text{...$x$...}, \textbf{12}, \mathbf{x^2} or \mathrm{km^2} is no text. */
static int is_plain_text(math_slice name, math_slice content)
{
    for (size_t i = 0; i < content.length; i++)
        if (content.data[i] == '$' || math_text_is_digit(content.data[i]) ||
            (name.data[0] == 'm' && strchr("_=+<>{^", content.data[i])))
            return 0;
    return 1;
}

static int lex_text_command(math_lexer *lx, math_slice name)
{
    while (lx->at < lx->end && math_text_is_space(*lx->at))
        lx->at++;
    if (lx->at < lx->end && *lx->at == '*') /* \operatorname* */
        lx->at++;
    if (lx->at >= lx->end)
        return 0;
    if (*lx->at != '{') { /* \mathbb R: one character */
        math_slice one = {lx->at++, 1};
        return lexer_text(lx, name, one);
    }
    const char *close = lexer_group_end(lx, lx->at);
    if (!close)
        return lexer_add(lx, TOK_BAD, 0, lx->at, 0) == 0 ? (lx->at = lx->end, 0) : -1;
    math_slice content = {lx->at + 1, (size_t)(close - lx->at) - 1};
    if (!is_plain_text(name, content)) { /* its tokens stand in a group */
        lx->at++;
        return lexer_add(lx, TOK_LBRACE, 0, content.data, 1);
    }
    lx->at = close + 1;
    return lexer_text(lx, name, content);
}

static void skip_group(math_lexer *lx)
{
    if (lx->at < lx->end && *lx->at == '*')
        lx->at++;
    const char *close = lx->at < lx->end && *lx->at == '{' ? lexer_group_end(lx, lx->at) : NULL;
    if (close)
        lx->at = close + 1;
}

static int lex_named_command(math_lexer *lx)
{
    const char *p = lx->at;
    size_t n = 0;
    while (p + n < lx->end && math_text_is_letter(p[n]))
        n++;
    lx->at += n;
    math_slice name = {p, n};
    if (lexer_is_text_command(p, n))
        return lex_text_command(lx, name);
    if (math_text_equals(name, "begin"))
        return lex_environment(lx, TOK_BEGIN);
    if (n == 3 && memcmp(p, "end", 3) == 0)
        return lex_environment(lx, TOK_FINISH);
    if (n == 3 && memcmp(p, "not", 3) == 0) { /* \not= , \not\in */
        while (lx->at < lx->end && math_text_is_space(*lx->at))
            lx->at++;
        if (lx->at < lx->end && *lx->at == '=')
            return lx->at++, lexer_add(lx, TOK_RELATION, MATH_NE, p, n);
        if (lx->end - lx->at >= 3 && memcmp(lx->at, "\\in", 3) == 0)
            return lx->at += 3, lexer_add(lx, TOK_RELATION, MATH_NOTIN, p, n);
        return lexer_add(lx, TOK_BAD, 0, p, n);
    }
    const lexer_command *c = lexer_find(p, n);
    for (size_t k = n; !c && k-- > 2;) /* \quadx, \cdotx: a command run together with a letter */
        if ((c = lexer_find(p, k)) != NULL)
            lx->at = p + (n = k);
    if (!c)
        return lexer_add(lx, TOK_BAD, 0, p, n);
    if (c->kind == TOK_END) {
        if (c->value == 1) {
            while (lx->at < lx->end && math_text_is_space(*lx->at))
                lx->at++;
            if (lx->at < lx->end && *lx->at == '.') /* \left. */
                lx->at++;
        } else if (c->value == 2) {
            skip_group(lx);
        }
        return 0;
    }
    if (c->kind == TOK_OPEN)
        lx->depth++;
    if (c->kind == TOK_CLOSE && lx->depth)
        lx->depth--;
    /* variants of a letter (\varphi) are the letter */
    size_t skip = c->kind == TOK_LETTER && c->value == 1 ? 3 : 0;
    return lexer_add(lx, (math_token_kind)c->kind, c->value, c->name + skip, strlen(c->name) - skip);
}

/* After a backslash at lx->at - 1. */
int lexer_backslash(math_lexer *lx)
{
    if (lx->at >= lx->end)
        return 0;
    char c = *lx->at;
    if (math_text_is_letter(c))
        return lex_named_command(lx);
    if (c == '\\') {
        /* an over-escaped command (\\frac) or a row break */
        const char *p = lx->at + 1;
        size_t n = 0;
        while (p + n < lx->end && math_text_is_letter(p[n]))
            n++;
        lx->at++;
        if (n >= 2 && (lexer_is_text_command(p, n) || lexer_find(p, n) ||
                       (n == 5 && memcmp(p, "begin", 5) == 0) || (n == 3 && memcmp(p, "end", 3) == 0)))
            return lex_named_command(lx);
        if (p < lx->end && strchr("{}%$", *p) && !lx->has_rows)
            return lexer_backslash(lx);
        if (p < lx->end && *p == '[') { /* \\[2pt] */
            const char *close = memchr(p, ']', (size_t)(lx->end - p) < 12 ? (size_t)(lx->end - p) : 12);
            if (close && close - p > 2 && math_text_is_letter(close[-1]))
                lx->at = close + 1;
        }
        return lexer_add(lx, TOK_ROW, 0, p, 0);
    }
    lx->at++;
    switch (c) {
    case '{': lx->depth++; return lexer_add(lx, TOK_OPEN, '{', lx->at - 1, 1);
    case '}': lx->depth -= lx->depth > 0; return lexer_add(lx, TOK_CLOSE, '}', lx->at - 1, 1);
    case '%': return lexer_add(lx, TOK_PERCENT, 0, lx->at - 1, 1);
    case '$': return lexer_add(lx, TOK_MONEY, 0, lx->at - 1, 1);
    case '|': return lexer_add(lx, TOK_BAR, 0, lx->at - 1, 1);
    case ',': case ';': case ':': case '!': case ' ': case '>': case '\n': case '\t':
        lx->space |= c != '!';
        return 0;
    case '(': case ')': case '[': case ']': return 0; /* stray math delimiters */
    case '&': case '#': case '_': return lexer_add(lx, TOK_BAD, 0, lx->at - 1, 1);
    default: return 0;
    }
}
