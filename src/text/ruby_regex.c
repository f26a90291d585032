/* Oniguruma's Ruby syntax in PCRE2's words. What PCRE2 reads the same way is passed on, what it
 * reads differently is rewritten (\s, \w, \h, \v, ^, $, \b, {,n}), and what has no certain counterpart
 * is refused by name: backreferences, subexpression calls, inline options in mid-pattern, class
 * intersections, most script names. */
#include <ctype.h>
#include <string.h>

#include "text/pattern.h"
#include "text/unicode.h"

typedef struct reader {
    const char *p, *end;
    const char *where;
    strbuf *out;
    int fold;          /* inside (?i) */
    unsigned previous; /* the literal before, for folds of several characters; 0 none */
} reader;

static grpo_status refuse(const reader *r, const char *at, const char *what, grpo_error *err)
{
    int shown = r->end - at > 12 ? 12 : (int)(r->end - at);
    return grpo_fail(err, GRPO_ERR_UNSUPPORTED,
                     "%s: %s is not supported in the regular expression (at '%.*s')", r->where, what,
                     shown, at);
}

/* ---- classes ------------------------------------------------------------------------------ */

static const char spaces[] = "\\x{09}-\\x{0d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}"
                             "\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";
static const char not_spaces[] =
    "\\x{00}-\\x{08}\\x{0e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}"
    "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}"
    "\\x{3001}-\\x{d7ff}\\x{e000}-\\x{10ffff}";

/* Oniguruma's \w: letters, marks, decimal and letter numbers, connectors, and what is Alphabetic
 * besides. PCRE2's own differs from version to version. Outside of brackets Oniguruma asks a table of
 * Latin-1, in which superscript digits and fractions are word characters too (`bare`). */
static void append_word(strbuf *out, int bare)
{
    const unsigned known = UNICODE_LETTER_MASK | UNICODE_MARK_MASK | 1u << UNICODE_ND |
                           1u << UNICODE_NL | 1u << UNICODE_PC;
    strbuf_puts(out, "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}");
    if (bare)
        strbuf_puts(out, "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}");
    for (unsigned c = 0x100, first; c < 0x110000; c++) {
        if (!(unicode_property[c] & UNICODE_WORD) || unicode_category_bit(c) & known)
            continue;
        for (first = c; c + 1 < 0x110000 && unicode_property[c + 1] & UNICODE_WORD &&
                        !(unicode_category_bit(c + 1) & known);)
            c++;
        strbuf_printf(out, "\\x{%x}-\\x{%x}", first, c);
    }
}

static int is_category(const char *name, size_t length)
{
    static const char *const categories[] = {
#define X(id, text) text,
        UNICODE_CATEGORY_TABLE(X)
#undef X
    };
    if (length == 1 && strchr("LMNPSZC", name[0]))
        return 1;
    for (size_t i = 0; i < UNICODE_CATEGORIES; i++)
        if (strlen(categories[i]) == length && memcmp(categories[i], name, length) == 0)
            return 1;
    return 0;
}

/* \p{...} or \P{...}; r->p stands on the p. Writes it in a form that is good inside and outside of
 * a bracketed class. */
static grpo_status translate_property(reader *r, const char *at, grpo_error *err)
{
    static const char *const scripts[] = {"Han", "Hiragana", "Katakana", "Hangul"};
    int negative = *r->p++ == 'P';
    if (r->p == r->end || *r->p != '{')
        return refuse(r, at, "a property without braces", err);
    const char *name = ++r->p, *close = memchr(name, '}', (size_t)(r->end - name));
    if (!close)
        return refuse(r, at, "a property without an end", err);
    if (*name == '^') {
        negative = !negative;
        name++;
    }
    size_t length = (size_t)(close - name);
    int category = is_category(name, length), script = 0;
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++)
        script |= strlen(scripts[i]) == length && memcmp(scripts[i], name, length) == 0;
    if (!category && !script)
        return refuse(r, at, "this property", err);
    if (r->fold && length == 2 && (memcmp(name, "Lu", 2) == 0 || memcmp(name, "Ll", 2) == 0 ||
                                   memcmp(name, "Lt", 2) == 0))
        return refuse(r, at, "a property of letter case under (?i)", err);
    strbuf_printf(r->out, "\\%c{%s%.*s}", negative ? 'P' : 'p', script ? "sc:" : "", (int)length, name);
    r->p = close + 1;
    return GRPO_OK;
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

static unsigned read_hex(reader *r, int most)
{
    unsigned value = 0;
    for (int i = 0; i < most && r->p < r->end && hex_value(*r->p) >= 0 && value < 0x1000000; i++)
        value = value * 16 + (unsigned)hex_value(*r->p++);
    return value;
}

/* An escape that stands for one character: fills *c and returns 1; 0 when it is something else.
 * r->p stands behind the backslash, and behind the escape afterwards (when 1). */
static int escaped_character(reader *r, unsigned *c)
{
    static const char names[] = "tnrfvae", values[] = "\t\n\r\f\v\a\x1b";
    char e = *r->p;
    const char *named = e ? strchr(names, e) : NULL;
    if (named) {
        *c = (unsigned char)values[named - names];
        r->p++;
    } else if (e == 'x' && r->p + 1 < r->end && r->p[1] == '{') {
        r->p += 2;
        *c = read_hex(r, 8);
        if (r->p == r->end || *r->p != '}')
            return 0;
        r->p++;
    } else if (e == 'x' || e == 'u') {
        const char *start = ++r->p;
        *c = read_hex(r, e == 'x' ? 2 : 4);
        if (r->p == start || (e == 'x' && *c >= 0x80) || (e == 'u' && r->p - start != 4))
            return 0;
    } else if (isalnum((unsigned char)e)) {
        return 0;
    } else {
        size_t size;
        *c = utf8_decode(r->p, &size);
        r->p += size;
    }
    return *c <= 0x10FFFF && !(*c >= 0xD800 && *c <= 0xDFFF);
}

static void put_character(reader *r, unsigned c)
{
    if (c < 0x80 && isalnum((int)c))
        strbuf_putc(r->out, (char)c);
    else
        strbuf_printf(r->out, "\\x{%x}", c);
}

/* A class escape (\s \S \d \D \w \h \p \P) for inside of brackets; r->p stands behind the backslash.
 * *done = 0 when it is none of them. */
static grpo_status class_escape(reader *r, const char *at, int bare, int *done, grpo_error *err)
{
    *done = 1;
    switch (*r->p) {
    case 's':
        strbuf_puts(r->out, spaces);
        break;
    case 'S':
        strbuf_puts(r->out, not_spaces);
        break;
    case 'd':
        strbuf_puts(r->out, "\\p{Nd}");
        break;
    case 'D':
        strbuf_puts(r->out, "\\P{Nd}");
        break;
    case 'w':
        append_word(r->out, bare);
        break;
    case 'h':
        strbuf_puts(r->out, "0-9a-fA-F");
        break;
    case 'p':
    case 'P':
        return translate_property(r, at, err);
    default:
        *done = 0;
        return GRPO_OK;
    }
    r->p++;
    return GRPO_OK;
}

/* One member of a bracketed class: a character (*single = 1) or a class escape. */
static grpo_status class_member(reader *r, unsigned *c, int *single, grpo_error *err)
{
    const char *at = r->p;
    *single = 1;
    if (*r->p != '\\') {
        size_t size;
        *c = utf8_decode(r->p, &size);
        r->p += size;
        return GRPO_OK;
    }
    if (++r->p == r->end)
        return refuse(r, at, "a backslash at the end", err);
    int done;
    grpo_status status = class_escape(r, at, 0, &done, err);
    if (status != GRPO_OK || done) {
        *single = 0;
        return status;
    }
    if (*r->p == 'b') {
        *c = 8;
        r->p++;
        return GRPO_OK;
    }
    return escaped_character(r, c) ? GRPO_OK : refuse(r, at, "this escape in a class", err);
}

/* The inside of a bracketed class up to and with its `]`. Ruby reads [a[bc]] as the union. */
static grpo_status translate_class_body(reader *r, int depth, grpo_error *err)
{
    const char *first = r->p;
    while (r->p < r->end && (*r->p != ']' || r->p == first)) {
        const char *at = r->p;
        if (*r->p == '[') {
            if (r->end - r->p > 1 && (r->p[1] == ':' || r->p[1] == '^'))
                return refuse(r, at, "this kind of bracket inside a class", err);
            if (depth >= 8)
                return refuse(r, at, "such deep nesting", err);
            r->p++;
            grpo_status status = translate_class_body(r, depth + 1, err);
            if (status != GRPO_OK)
                return status;
            continue;
        }
        if (r->end - r->p > 1 && r->p[0] == '&' && r->p[1] == '&')
            return refuse(r, at, "a class intersection", err);
        unsigned low, high;
        int single;
        grpo_status status = class_member(r, &low, &single, err);
        if (status != GRPO_OK)
            return status;
        if (!single) {
            if (r->end - r->p > 1 && r->p[0] == '-' && r->p[1] != ']')
                return refuse(r, at, "a range from a class", err);
            continue;
        }
        put_character(r, low);
        if (r->end - r->p > 1 && r->p[0] == '-' && r->p[1] != ']') {
            r->p++;
            at = r->p;
            if (*at == '[' || (status = class_member(r, &high, &single, err)) != GRPO_OK)
                return *at == '[' ? refuse(r, at, "a range to a class", err) : status;
            if (!single || high < low)
                return refuse(r, at, "this end of a range", err);
            strbuf_putc(r->out, '-');
            put_character(r, high);
        }
    }
    if (r->p == r->end)
        return refuse(r, first, "a class without an end", err);
    r->p++;
    return GRPO_OK;
}

static grpo_status translate_class(reader *r, grpo_error *err)
{
    r->p++;
    strbuf_putc(r->out, '[');
    if (r->p < r->end && *r->p == '^') {
        strbuf_putc(r->out, '^');
        r->p++;
    }
    grpo_status status = translate_class_body(r, 0, err);
    strbuf_putc(r->out, ']');
    return status;
}

/* ---- everything else ------------------------------------------------------------------------- */

/* Under (?i) Oniguruma also folds pairs: "ss" matches U+00DF, "fi" U+FB01 and so on; PCRE2 does not. */
static int folds_with_previous(unsigned previous, unsigned c)
{
    static const char pairs[][3] = {"ss", "ff", "fi", "fl", "st"};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (previous < 0x80 && c < 0x80 && tolower((int)previous) == pairs[i][0] &&
            tolower((int)c) == pairs[i][1])
            return 1;
    return 0;
}

static grpo_status put_literal(reader *r, unsigned c, const char *at, grpo_error *err)
{
    if (r->fold && (c >= 0x80 || folds_with_previous(r->previous, c)))
        return refuse(r, at, "this text under (?i)", err);
    put_character(r, c);
    r->previous = c;
    return GRPO_OK;
}

static grpo_status translate_escape(reader *r, grpo_error *err)
{
    const char *at = r->p++;
    if (r->p == r->end)
        return refuse(r, at, "a backslash at the end", err);
    r->previous = 0;
    switch (*r->p) {
    case 'A':
    case 'z':
    case 'Z':
        strbuf_printf(r->out, "\\%c", *r->p++);
        return GRPO_OK;
    case 'b':
    case 'B': {
        strbuf word = STRBUF_INIT;
        append_word(&word, 1);
        const char *w = strbuf_text(&word);
        strbuf_printf(r->out, *r->p++ == 'b' ? "(?:(?<=[%s])(?![%s])|(?<![%s])(?=[%s]))"
                                             : "(?:(?<=[%s])(?=[%s])|(?<![%s])(?![%s]))", w, w, w, w);
        r->out->failed |= word.failed;
        strbuf_deinit(&word);
        return GRPO_OK;
    }
    case 'W':
    case 'H':
        strbuf_puts(r->out, "[^");
        if (*r->p++ == 'W')
            append_word(r->out, 1);
        else
            strbuf_puts(r->out, "0-9a-fA-F");
        strbuf_putc(r->out, ']');
        return GRPO_OK;
    default:
        break;
    }
    int done;
    strbuf_putc(r->out, '[');
    grpo_status status = class_escape(r, at, 1, &done, err);
    if (status != GRPO_OK || done) {
        strbuf_putc(r->out, ']');
        return status;
    }
    r->out->length--; /* take the bracket back */
    unsigned c;
    if (!escaped_character(r, &c))
        return refuse(r, at, "this escape", err);
    return put_literal(r, c, at, err);
}

/* `{`: an interval, or itself. */
static grpo_status translate_brace(reader *r, grpo_error *err)
{
    const char *at = r->p, *p = r->p + 1;
    const char *low = p;
    while (p < r->end && isdigit((unsigned char)*p))
        p++;
    size_t low_digits = (size_t)(p - low);
    const char *high = p;
    int comma = p < r->end && *p == ',';
    if (comma) {
        high = ++p;
        while (p < r->end && isdigit((unsigned char)*p))
            p++;
    }
    size_t high_digits = comma ? (size_t)(p - high) : 0;
    if (p == r->end || *p != '}' || (low_digits == 0 && high_digits == 0)) {
        r->p++;
        return put_literal(r, '{', at, err);
    }
    if (low_digits > 5 || high_digits > 5)
        return refuse(r, at, "such a large repetition", err);
    strbuf_printf(r->out, "{%.*s", low_digits ? (int)low_digits : 1, low_digits ? low : "0");
    if (comma)
        strbuf_printf(r->out, ",%.*s", (int)high_digits, high);
    strbuf_putc(r->out, '}');
    r->p = p + 1;
    r->previous = 0;
    if (r->p < r->end && (*r->p == '+' || (*r->p == '?' && !comma)))
        return refuse(r, at, "a repetition of a repetition", err);
    return GRPO_OK;
}

static grpo_status translate_group(reader *r, int depth, grpo_error *err);

static grpo_status translate_alternatives(reader *r, int depth, grpo_error *err)
{
    while (r->p < r->end && *r->p != ')') {
        grpo_status status = GRPO_OK;
        const char *at = r->p;
        switch (*r->p) {
        case '\\':
            status = translate_escape(r, err);
            break;
        case '[':
            r->previous = 0;
            status = translate_class(r, err);
            break;
        case '(':
            r->previous = 0;
            status = translate_group(r, depth, err);
            break;
        case '{':
            status = translate_brace(r, err);
            break;
        case '|':
        case '.':
        case '^':
        case '$':
        case '*':
        case '+':
        case '?':
            r->previous = 0;
            strbuf_putc(r->out, *r->p++);
            break;
        default: {
            size_t size;
            unsigned c = utf8_decode(r->p, &size);
            r->p += size;
            status = put_literal(r, c, at, err);
        }
        }
        if (status != GRPO_OK)
            return status;
    }
    return GRPO_OK;
}

/* (?i) and (?i:...) with i, m and their negations. Ruby's m is PCRE2's s. */
static grpo_status translate_options(reader *r, const char *at, int at_start, grpo_error *err)
{
    int on = 1;
    for (; r->p < r->end && *r->p != ':' && *r->p != ')'; r->p++) {
        if (*r->p == '-' && on)
            on = 0;
        else if (*r->p == 'i')
            r->fold = on;
        else if (*r->p != 'm')
            return refuse(r, at, "this group", err);
        strbuf_putc(r->out, *r->p == 'm' ? 's' : *r->p);
    }
    if (r->p == r->end || (*r->p == ')' && !at_start))
        return refuse(r, at, "an option in mid-pattern", err);
    strbuf_putc(r->out, *r->p++);
    return GRPO_OK;
}

static grpo_status translate_group(reader *r, int depth, grpo_error *err)
{
    static const char *const plain[] = {"?:", "?=", "?!", "?>", "?<=", "?<!"};
    const char *at = r->p++;
    int at_start = r->out->length == 0, fold = r->fold;
    if (depth >= 50)
        return refuse(r, at, "such deep nesting", err);
    strbuf_putc(r->out, '(');
    if (r->p < r->end && *r->p == '?') {
        const char *found = NULL;
        for (size_t i = 0; i < sizeof plain / sizeof *plain && !found; i++)
            if ((size_t)(r->end - r->p) >= strlen(plain[i]) &&
                memcmp(r->p, plain[i], strlen(plain[i])) == 0)
                found = plain[i];
        strbuf_puts(r->out, found ? found : "?");
        r->p += found ? strlen(found) : 1;
        grpo_status status = found ? GRPO_OK : translate_options(r, at, at_start, err);
        if (status != GRPO_OK)
            return status;
        if (r->p[-1] == ')')
            return GRPO_OK; /* (?i) at the very start: holds to the end */
    }
    grpo_status status = translate_alternatives(r, depth + 1, err);
    if (status != GRPO_OK)
        return status;
    if (r->p == r->end)
        return refuse(r, at, "a group without an end", err);
    r->p++;
    strbuf_putc(r->out, ')');
    r->fold = fold;
    return GRPO_OK;
}

grpo_status ruby_regex_translate(strbuf *out, const char *source, size_t length, const char *where,
                                 grpo_error *err)
{
    reader r = {.p = source, .end = source + length, .where = where, .out = out};
    if (utf8_valid_prefix(source, length) != length)
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: the regular expression is not UTF-8", where);
    grpo_status status = translate_alternatives(&r, 0, err);
    if (status == GRPO_OK && r.p < r.end)
        status = refuse(&r, r.p, "a parenthesis without its partner", err);
    if (status == GRPO_OK && out->failed)
        status = grpo_fail(err, GRPO_ERR_MEMORY, "out of memory for a regular expression");
    return status;
}
