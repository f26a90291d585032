/* Lexer of the math verifier: single characters, and the loop over the text. */
#include <string.h>

#include "reward/math_lexer.h"

int lexer_add(math_lexer *lx, math_token_kind kind, int value, const char *text, size_t length)
{
    if (lx->out->count >= MATH_MAX_NODES) {
        lx->tree->problem = "the answer has too many parts";
        return -1;
    }
    if (lx->out->count == lx->capacity) {
        size_t capacity = lx->capacity ? lx->capacity * 4 : 64;
        math_token *items = math_tree_alloc(lx->tree, capacity * sizeof *items);
        if (!items)
            return -1;
        if (lx->out->count)
            memcpy(items, lx->out->items, lx->out->count * sizeof *items);
        lx->out->items = items;
        lx->capacity = capacity;
    }
    math_token *t = &lx->out->items[lx->out->count++];
    memset(t, 0, sizeof *t);
    t->kind = (unsigned char)kind;
    t->value = (unsigned char)value;
    t->space = (unsigned char)lx->space;
    t->text = text;
    t->length = (unsigned)length;
    lx->space = 0;
    return 0;
}

const math_token *lexer_last(const math_lexer *lx)
{
    return lx->out->count ? &lx->out->items[lx->out->count - 1] : NULL;
}

/* ---- single characters ------------------------------------------------------------- */

static int lex_relation(math_lexer *lx)
{
    char c = *lx->at++, next = lx->at < lx->end ? *lx->at : 0;
    const char *p = lx->at - 1;
    if (c == '=' && (next == '<' || next == '>'))
        return lx->at++, next == '<' ? lexer_add(lx, TOK_RELATION, MATH_LE, p, 2) : lexer_add(lx, TOK_ARROW, 0, p, 2);
    if (next == '=' || (c == '<' && next == '>')) {
        lx->at++;
        math_relation r = c == '<' ? (next == '=' ? MATH_LE : MATH_NE) : c == '>' ? MATH_GE : MATH_EQ;
        return lexer_add(lx, TOK_RELATION, r, p, 2);
    }
    return lexer_add(lx, TOK_RELATION, c == '<' ? MATH_LT : c == '>' ? MATH_GT : MATH_EQ, p, 1);
}

static int lex_minus(math_lexer *lx)
{
    const char *p = lx->at++;
    if (lx->at < lx->end && *lx->at == '>')
        return lx->at++, lexer_add(lx, TOK_ARROW, 1, p, 2);
    return lexer_add(lx, TOK_MINUS, 0, p, 1);
}

static int lex_bang(math_lexer *lx)
{
    const char *p = lx->at++;
    if (lx->at < lx->end && *lx->at == '=')
        return lx->at++, lexer_add(lx, TOK_RELATION, MATH_NE, p, 2);
    if (lx->at < lx->end && *lx->at == '!')
        return lx->at++, lexer_add(lx, TOK_BANG, 2, p, 2);
    return lexer_add(lx, TOK_BANG, 1, p, 1);
}

static int lex_dot(math_lexer *lx)
{
    const char *p = lx->at;
    if (p + 1 < lx->end && math_text_is_digit(p[1]))
        return lexer_number(lx);
    if (lx->end - p >= 3 && memcmp(p, "...", 3) == 0)
        return lx->at += 3, lexer_add(lx, TOK_DOTS, 0, p, 3);
    if (p + 1 < lx->end && p[1] == '\\') { /* .\overline{3} */
        const char *digits, *end;
        if (lexer_repeating(lx, p + 1, &digits, &end))
            return lexer_number(lx);
    }
    return lx->at++, lexer_add(lx, TOK_DOT, 0, p, 1);
}

static int lex_brace(math_lexer *lx)
{
    const char *p = lx->at;
    if (lx->end - p >= 3 && p[2] == '}' && strchr(",:", p[1])) {
        lx->at += 3;
        return lexer_add(lx, p[1] == ',' ? TOK_COMMA : TOK_COLON, 0, p + 1, 1);
    }
    lx->at++;
    return lexer_add(lx, *p == '{' ? TOK_LBRACE : TOK_RBRACE, 0, p, 1);
}

static int lex_dollar(math_lexer *lx)
{
    const char *p = lx->at++;
    const math_token *last = lexer_last(lx);
    int number = lx->at < lx->end && (math_text_is_digit(*lx->at) || *lx->at == '.' ||
                                      (*lx->at == '-' && lx->at + 1 < lx->end && math_text_is_digit(lx->at[1])));
    if (number && !(last && (last->kind == TOK_NUMBER || last->kind == TOK_LETTER)))
        return lexer_add(lx, TOK_MONEY, 0, p, 1);
    lx->space = 1; /* a stray math delimiter */
    return 0;
}

static int lex_star(math_lexer *lx)
{
    const char *p = lx->at++;
    if (lx->at < lx->end && *lx->at == '*')
        return lx->at++, lexer_add(lx, TOK_CARET, 0, p, 2);
    return lexer_add(lx, TOK_TIMES, 0, p, 1);
}

/* Letters of other scripts: a word. */
static int lexer_foreign(math_lexer *lx)
{
    const char *p = lx->at;
    while (lx->at < lx->end && ((unsigned char)*lx->at >= 0x80 || math_text_is_letter(*lx->at)))
        lx->at++;
    return lexer_add(lx, TOK_WORD, 1, p, (size_t)(lx->at - p));
}

static int lex_one(math_lexer *lx)
{
    char c = *lx->at;
    const char *p = lx->at;
    if (math_text_is_digit(c))
        return lexer_number(lx);
    if (math_text_is_letter(c))
        return lexer_word(lx);
    if ((unsigned char)c >= 0x80)
        return lexer_foreign(lx);
    switch (c) {
    case '.': return lex_dot(lx);
    case '\\': return lx->at++, lexer_backslash(lx);
    case '{': case '}': return lex_brace(lx);
    case '$': return lex_dollar(lx);
    case '<': case '>': case '=': return lex_relation(lx);
    case '-': return lex_minus(lx);
    case '!': return lex_bang(lx);
    case '*': return lex_star(lx);
    default: break;
    }
    lx->at++;
    switch (c) {
    case '+':
        if (lx->at < lx->end && *lx->at == '/' && lx->end - lx->at > 1 && lx->at[1] == '-')
            return lx->at += 2, lexer_add(lx, TOK_PLUSMINUS, 0, p, 3);
        return lexer_add(lx, TOK_PLUS, 0, p, 1);
    case '/': return lexer_add(lx, TOK_DIVIDE, 0, p, 1);
    case '^': return lexer_add(lx, TOK_CARET, 0, p, 1);
    case '_': return lexer_add(lx, TOK_UNDERSCORE, 0, p, 1);
    case '%': return lexer_add(lx, TOK_PERCENT, 0, p, 1);
    case '\'': return lexer_add(lx, TOK_PRIME, 0, p, 1);
    case '(': case '[': lx->depth++; return lexer_add(lx, TOK_OPEN, c, p, 1);
    case ')': case ']': lx->depth -= lx->depth > 0; return lexer_add(lx, TOK_CLOSE, c, p, 1);
    case '|': return lexer_add(lx, TOK_BAR, 0, p, 1);
    case ',': return lexer_add(lx, TOK_COMMA, 0, p, 1);
    case ';': return lexer_add(lx, TOK_SEMICOLON, 0, p, 1);
    case ':': return lexer_add(lx, TOK_COLON, 0, p, 1);
    case '&': return lexer_add(lx, TOK_AMPERSAND, 0, p, 1);
    case '"': case '`': case '~': lx->space = 1; return 0;
    case '?': return lexer_add(lx, TOK_DOT, 0, p, 1);
    default: return lexer_add(lx, TOK_BAD, 0, p, 1);
    }
}

int math_lex(math_tree *tree, math_tokens *out, const char *text, size_t length, unsigned flags)
{
    memset(out, 0, sizeof *out);
    if (length > MATH_MAX_INPUT) {
        tree->problem = "the answer is too long";
        return -1;
    }
    math_lexer lx = {.tree = tree, .at = text, .begin = text, .end = text + length, .out = out, .flags = flags};
    for (size_t i = 0; i + 1 < length && !lx.spaced_comma; i++)
        lx.spaced_comma = (text[i] == ',' && text[i + 1] == ' ') || text[i] == ';';
    for (const char *p = text; !lx.has_rows && (p = memchr(p, '\\', (size_t)(lx.end - p))) != NULL; p++)
        lx.has_rows = lx.end - p > 6 && memcmp(p, "\\begin", 6) == 0;
    while (lx.at < lx.end) {
        if (math_text_is_space(*lx.at)) {
            lx.space = 1;
            lx.at++;
            continue;
        }
        if (lex_one(&lx) != 0)
            return -1;
        const math_token *last = lexer_last(&lx);
        lx.after_script = last && last->kind == TOK_UNDERSCORE;
    }
    return lexer_add(&lx, TOK_END, 0, lx.end, 0);
}
