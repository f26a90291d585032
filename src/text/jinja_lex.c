/* The lexer. Owns what is text and what is code, whitespace control, and literals; the rules are
 * those of jinja2's lexer with trim_blocks and lstrip_blocks on and the trailing newline dropped. */
#include <stdlib.h>
#include <string.h>

#include "text/jinja_lex.h"
#include "text/jinja_unicode.h"

typedef struct lexer {
    jinja_run *r;
    const char *s; /* newlines are all \n */
    size_t n, at;
    int line;
    bool line_starting; /* the last thing read ended a line */
    jinja_token *tokens;
    size_t count, capacity;
} lexer;

static _Noreturn void syntax(lexer *x, const char *what)
{
    x->r->line = x->line;
    jinja_fail(x->r, JINJA_SYNTAX_ERROR, "%s", what);
}

static jinja_token *add(lexer *x, jinja_token_type type)
{
    x->tokens = jinja_grow(x->r, x->tokens, x->count, &x->capacity, sizeof *x->tokens);
    jinja_token *t = &x->tokens[x->count++];
    memset(t, 0, sizeof *t);
    t->type = type;
    t->line = x->line;
    return t;
}

static bool starts(const lexer *x, size_t at, const char *text)
{
    size_t n = strlen(text);
    return at + n <= x->n && memcmp(x->s + at, text, n) == 0;
}

static void advance(lexer *x, size_t to)
{
    for (size_t i = x->at; i < to; i++)
        x->line += x->s[i] == '\n';
    if (to > x->at)
        x->line_starting = x->s[to - 1] == '\n';
    x->at = to;
}

/* The first byte at or after `at` that is not white space. */
static size_t skip_space(const lexer *x, size_t at)
{
    while (at < x->n) {
        size_t width;
        if (!jinja_is_space(utf8_decode(x->s + at, &width)))
            break;
        at += width;
    }
    return at;
}

/* ---- text between tags -------------------------------------------------------------- */

/* Ends the text that runs from x->at to `end`, where a tag opens: `sign` is its - or + (0 = none),
 * `strip` whether lstrip_blocks applies to it. */
static void add_data(lexer *x, size_t end, char sign, bool strip)
{
    size_t stop = end;
    if (sign == '-') {
        while (stop > x->at) {
            size_t back = stop - 1;
            while (back > x->at && ((unsigned char)x->s[back] & 0xC0) == 0x80)
                back--;
            size_t width;
            if (!jinja_is_space(utf8_decode(x->s + back, &width)))
                break;
            stop = back;
        }
    } else if (sign != '+' && strip) {
        size_t line = end;
        while (line > x->at && x->s[line - 1] != '\n')
            line--;
        if ((line > x->at || x->line_starting) && skip_space(x, line) >= end)
            stop = line;
    }
    if (stop > x->at) {
        jinja_token *t = add(x, JINJA_T_DATA);
        t->text = x->s + x->at;
        t->length = stop - x->at;
    }
    advance(x, end);
}

static char sign_at(const lexer *x, size_t at)
{
    return at < x->n && (x->s[at] == '-' || x->s[at] == '+') ? x->s[at] : 0;
}

/* Is there the end of a block or comment ("%}" or "#}") at `at`? Gives where it ends, white space
 * that it swallows included; 0 if not. */
static size_t tag_end(const lexer *x, size_t at, const char *close)
{
    if (at < x->n && x->s[at] == '+' && starts(x, at + 1, close))
        return at + 3;
    if (at < x->n && x->s[at] == '-' && starts(x, at + 1, close))
        return skip_space(x, at + 3);
    if (!starts(x, at, close))
        return 0;
    return at + 2 < x->n && x->s[at + 2] == '\n' ? at + 3 : at + 2;
}

static void read_comment(lexer *x)
{
    for (size_t i = x->at; i < x->n; i++) {
        size_t end = tag_end(x, i, "#}");
        if (end) {
            advance(x, end);
            return;
        }
    }
    syntax(x, "a comment is not closed");
}

/* "{% raw %}" at `at`: gives the end of the tag, or 0. */
static size_t raw_begin(const lexer *x, size_t at)
{
    if (!starts(x, at, "{%"))
        return 0;
    at += 2;
    if (sign_at(x, at))
        at++;
    at = skip_space(x, at);
    if (!starts(x, at, "raw"))
        return 0;
    at = skip_space(x, at + 3);
    if (starts(x, at, "-%}"))
        return skip_space(x, at + 3);
    return starts(x, at, "%}") ? at + 2 : 0;
}

static void read_raw(lexer *x)
{
    if (x->at == x->n)
        return; /* jinja2 accepts this */
    for (size_t i = x->at; i + 1 < x->n; i++) {
        if (!starts(x, i, "{%"))
            continue;
        char sign = sign_at(x, i + 2);
        size_t at = skip_space(x, i + 2 + (sign != 0));
        if (!starts(x, at, "endraw"))
            continue;
        size_t end = tag_end(x, skip_space(x, at + 6), "%}");
        if (!end)
            continue;
        add_data(x, i, sign, true);
        advance(x, end);
        return;
    }
    syntax(x, "a raw block is not closed");
}

/* ---- code ----------------------------------------------------------------------------- */

static size_t digits(const lexer *x, size_t at)
{
    size_t i = at;
    while (i < x->n && ((x->s[i] >= '0' && x->s[i] <= '9') ||
                        (x->s[i] == '_' && i > at && i + 1 < x->n && x->s[i - 1] != '_' &&
                         x->s[i + 1] >= '0' && x->s[i + 1] <= '9')))
        i++;
    return i;
}

/* The number without its underscores, terminated. */
static char *plain_number(lexer *x, size_t from, size_t to)
{
    char *text = jinja_alloc(x->r, to - from + 1, 1), *p = text;
    for (size_t i = from; i < to; i++)
        if (x->s[i] != '_')
            *p++ = x->s[i];
    *p = 0;
    return text;
}

static bool read_float(lexer *x)
{
    if (x->at > 0 && x->s[x->at - 1] == '.')
        return false;
    size_t i = digits(x, x->at), end = 0;
    if (i == x->at)
        return false;
    if (i < x->n && x->s[i] == '.' && digits(x, i + 1) > i + 1)
        i = end = digits(x, i + 1);
    if (i < x->n && (x->s[i] == 'e' || x->s[i] == 'E')) {
        size_t e = i + 1;
        if (e < x->n && (x->s[e] == '-' || x->s[e] == '+'))
            e++;
        if (digits(x, e) > e)
            end = digits(x, e);
    }
    if (!end)
        return false;
    jinja_token *t = add(x, JINJA_T_FLOAT);
    t->number = strtod(plain_number(x, x->at, end), NULL);
    advance(x, end);
    return true;
}

static int digit_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : 99;
}

static void read_integer(lexer *x)
{
    int base = 10;
    size_t from = x->at, to;
    char mark = from + 1 < x->n && x->s[from] == '0' ? x->s[from + 1] | 32 : 0;
    if (mark == 'b' || mark == 'o' || mark == 'x') {
        int b = mark == 'b' ? 2 : mark == 'o' ? 8 : 16;
        to = from + 2;
        while (to < x->n && (digit_value(x->s[to]) < b ||
                             (x->s[to] == '_' && to + 1 < x->n && digit_value(x->s[to + 1]) < b)))
            to++;
        if (to > from + 2) {
            base = b;
            from += 2;
        }
    }
    if (base == 10) {
        to = x->s[from] == '0' ? from + 1 : digits(x, from);
        while (x->s[from] == '0' && to < x->n &&
               (x->s[to] == '0' || (x->s[to] == '_' && to + 1 < x->n && x->s[to + 1] == '0')))
            to++;
    }
    int64_t value = 0;
    for (size_t i = from; i < to; i++) {
        if (x->s[i] == '_')
            continue;
        if (__builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, digit_value(x->s[i]), &value)) {
            x->r->line = x->line;
            jinja_fail(x->r, JINJA_UNSUPPORTED, "an integer of more than 64 bits");
        }
    }
    add(x, JINJA_T_INT)->integer = value;
    advance(x, to);
}

/* Reads up to `most` digits of a base; returns how many. */
static int read_code(const char *s, const char *end, int base, int most, uint32_t *code)
{
    int n = 0;
    *code = 0;
    while (n < most && s + n < end && digit_value(s[n]) < base) {
        *code = *code * (uint32_t)base + (uint32_t)digit_value(s[n]);
        n++;
    }
    return n;
}

static void put_escaped_point(lexer *x, jinja_buffer *b, uint32_t code)
{
    if (code >= 0xD800 && code <= 0xDFFF) {
        x->r->line = x->line;
        jinja_fail(x->r, JINJA_UNSUPPORTED, "a lone surrogate (\\u%04x) in a string", code);
    }
    if (code > 0x10FFFF)
        syntax(x, "illegal Unicode character in a string escape");
    jinja_put_point(x->r, b, code);
}

/* One escape sequence of Python's unicode-escape codec, s being after the backslash; returns its
 * length. The text went through 'ascii' with 'backslashreplace' before: a backslash before a
 * non-ASCII character therefore escapes the backslash of that character's own escape. */
static size_t unescape(lexer *x, jinja_buffer *b, const char *s, const char *end)
{
    static const char plain[] = "\\'\"abfnrtv", meaning[] = "\\'\"\a\b\f\n\r\t\v";
    const char *p = *s ? strchr(plain, *s) : NULL;
    uint32_t code;
    if (*s == '\n')
        return 1;
    if (p) {
        jinja_put(x->r, b, &meaning[p - plain], 1);
        return 1;
    }
    if (*s >= '0' && *s <= '7') {
        int n = read_code(s, end, 8, 3, &code);
        put_escaped_point(x, b, code);
        return (size_t)n;
    }
    if (*s == 'x' || *s == 'u' || *s == 'U') {
        int want = *s == 'x' ? 2 : *s == 'u' ? 4 : 8;
        if (read_code(s + 1, end, 16, want, &code) != want)
            syntax(x, "truncated \\x, \\u or \\U escape in a string");
        put_escaped_point(x, b, code);
        return (size_t)want + 1;
    }
    if (*s == 'N') {
        x->r->line = x->line;
        jinja_fail(x->r, JINJA_UNSUPPORTED, "a \\N{name} escape in a string");
    }
    jinja_put(x->r, b, "\\", 1);
    if ((unsigned char)*s < 0x80) {
        jinja_put(x->r, b, s, 1);
        return 1;
    }
    size_t width;
    code = utf8_decode(s, &width);
    jinja_printf(x->r, b, code < 0x100 ? "x%02x" : code < 0x10000 ? "u%04x" : "U%08x", code);
    return width;
}

static void read_string(lexer *x)
{
    char quote = x->s[x->at];
    size_t i = x->at + 1;
    bool escapes = false;
    while (i < x->n && x->s[i] != quote) {
        escapes |= x->s[i] == '\\';
        i += x->s[i] == '\\' ? 2 : 1;
    }
    if (i >= x->n)
        syntax(x, "a string is not closed");
    const char *s = x->s + x->at + 1, *end = x->s + i;
    jinja_token *t = add(x, JINJA_T_TEXT);
    t->text = s;
    t->length = (size_t)(end - s);
    if (escapes) {
        size_t index = x->count - 1;
        jinja_buffer *b = jinja_buffer_open(x->r);
        while (s < end) {
            if (*s == '\\')
                s += 1 + unescape(x, b, s + 1, end);
            else
                jinja_put(x->r, b, s++, 1);
        }
        char *copy = jinja_alloc(x->r, b->length + 1, 1);
        if (b->length)
            memcpy(copy, b->data, b->length);
        x->tokens[index].text = copy;
        x->tokens[index].length = b->length;
        jinja_buffer_close(x->r, b);
    }
    advance(x, i + 1);
}

static bool read_name(lexer *x)
{
    size_t i = x->at, width;
    while (i < x->n && jinja_is_name_point(utf8_decode(x->s + i, &width), i == x->at))
        i += width;
    if (i == x->at)
        return false;
    jinja_token *t = add(x, JINJA_T_NAME);
    t->text = x->s + x->at;
    t->length = i - x->at;
    advance(x, i);
    return true;
}

static void read_operator(lexer *x, char *brackets, int *open)
{
    static const char *const twos[] = {"//", "**", "==", "!=", ">=", "<="};
    char c = x->s[x->at];
    size_t n = 1;
    for (size_t i = 0; i < sizeof twos / sizeof *twos; i++)
        if (starts(x, x->at, twos[i]))
            n = 2;
    if (n == 1 && (!c || !strchr("+-/*%~[](){}><=.:|,;", c))) {
        x->r->line = x->line;
        size_t width;
        uint32_t code = utf8_decode(x->s + x->at, &width);
        jinja_fail(x->r, JINJA_SYNTAX_ERROR, "unexpected character %.*s (U+%04X)", (int)width,
                   x->s + x->at, code);
    }
    if (strchr("([{", c)) {
        if (*open == JINJA_MAX_NESTING)
            syntax(x, "too many nested brackets");
        brackets[(*open)++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (strchr(")]}", c) && (*open == 0 || brackets[--*open] != c)) {
        syntax(x, "a closing bracket without its opening one");
    }
    jinja_token *t = add(x, JINJA_T_OPERATOR);
    memcpy(t->op, x->s + x->at, n);
    advance(x, x->at + n);
}

/* Tokens up to the end of a {{ }} or {% %} tag. */
static void read_code_tag(lexer *x, bool variable)
{
    char brackets[JINJA_MAX_NESTING];
    int open = 0;
    for (;;) {
        if (x->at >= x->n)
            return; /* the parser reports it */
        size_t end = 0;
        if (open == 0 && variable)
            end = starts(x, x->at, "-}}")  ? skip_space(x, x->at + 3)
                  : starts(x, x->at, "}}") ? x->at + 2
                                           : 0;
        else if (open == 0)
            end = tag_end(x, x->at, "%}");
        if (end) {
            add(x, variable ? JINJA_T_VARIABLE_END : JINJA_T_BLOCK_END);
            advance(x, end);
            return;
        }
        size_t after = skip_space(x, x->at);
        char c = x->s[x->at];
        if (after > x->at)
            advance(x, after);
        else if (c >= '0' && c <= '9') {
            if (!read_float(x))
                read_integer(x);
        } else if (c == '"' || c == '\'')
            read_string(x);
        else if (!read_name(x))
            read_operator(x, brackets, &open);
    }
}

/* The source with \r\n and \r as \n, and without one trailing newline. */
static void normalise(lexer *x, const char *source, size_t length)
{
    char *s = jinja_alloc(x->r, length + 1, 1);
    size_t n = 0;
    for (size_t i = 0; i < length; i++) {
        if (source[i] == '\r' && i + 1 < length && source[i + 1] == '\n')
            continue;
        s[n++] = source[i] == '\r' ? '\n' : source[i];
    }
    if (n && s[n - 1] == '\n')
        n--;
    s[n] = 0;
    x->s = s;
    x->n = n;
}

jinja_token *jinja_tokenize(jinja_run *r, const char *source, size_t length)
{
    lexer x = {.r = r, .line = 1, .line_starting = true};
    normalise(&x, source, length);
    while (x.at < x.n) {
        const char *open = x.s + x.at;
        do {
            open = memchr(open, '{', (size_t)(x.s + x.n - open));
        } while (open && !(open[1] == '%' || open[1] == '{' || open[1] == '#') && ++open);
        if (!open) {
            jinja_token *t = add(&x, JINJA_T_DATA);
            t->text = x.s + x.at;
            t->length = x.n - x.at;
            advance(&x, x.n);
            break;
        }
        size_t at = (size_t)(open - x.s), raw = raw_begin(&x, at);
        char sign = sign_at(&x, at + 2), kind = open[1];
        add_data(&x, at, sign, kind != '{');
        if (raw) {
            advance(&x, raw);
            read_raw(&x);
            continue;
        }
        if (kind != '#')
            add(&x, kind == '{' ? JINJA_T_VARIABLE_BEGIN : JINJA_T_BLOCK_BEGIN);
        advance(&x, at + 2 + (sign != 0));
        if (kind == '#')
            read_comment(&x);
        else
            read_code_tag(&x, kind == '{');
    }
    add(&x, JINJA_T_END);
    return x.tokens;
}
