/* Lexer, numbers: thousands separators, decimals, repeating digits, exponents. */
#include <string.h>

#include "reward/math_lexer.h"

enum { MAX_GROUPS = 40 /* of three digits in a number */ };

/* Length of a thousands separator at p that stands between digits, 0 if there is none. */
static size_t group_separator(const math_lexer *lx, const char *p, int *comma)
{
    static const char *const forms[] = {"{,}", "{, }", " {,}", " {, }", ",\\! ", ",\\!", ",\\,", "\\,", "\\ ", "\\;", "\\:", "~", "{\\,}", " ", ","};
    size_t left = (size_t)(lx->end - p);
    *comma = 0;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        size_t n = strlen(forms[i]);
        if (left > n && memcmp(p, forms[i], n) == 0 && math_text_is_digit(p[n])) {
            *comma = n == 1 && *p == ',';
            return n;
        }
    }
    return 0;
}

static size_t digit_run(const math_lexer *lx, const char *p)
{
    size_t n = 0;
    while (p + n < lx->end && math_text_is_digit(p[n]))
        n++;
    return n;
}

/* End of the integer part that starts at p, its groups included, when the grouping is well-formed
 * (one to three digits, then threes, one separator throughout); else the end of the first digits. */
static const char *integer_end(math_lexer *lx, const char *p)
{
    size_t first = digit_run(lx, p);
    const char *at = p + first, *separator = at;
    int comma, any_comma = 0, groups = 0;
    size_t n = group_separator(lx, at, &comma), kind = n;
    if (!n || first > 3 || p[0] == '0')
        return p + first;
    if (comma && ((lx->flags & MATH_LEX_LISTS) || (lx->depth > 0 && !lx->spaced_comma)))
        return p + first;
    while (n) {
        if (n != kind || memcmp(at, separator, n) != 0 || groups == MAX_GROUPS)
            return comma ? p + first : at;
        size_t digits = digit_run(lx, at + n);
        if (digits != 3)
            return *separator == ' ' && groups ? at : p + first;
        any_comma |= comma;
        at += n + digits;
        groups++;
        n = group_separator(lx, at, &comma);
    }
    if (any_comma)
        lx->out->grouped = 1;
    return at;
}

/* Copies the digits and the point of [p, end) without separators. */
static const char *copy_digits(math_lexer *lx, const char *p, const char *end, size_t *length)
{
    char *copy = math_tree_alloc(lx->tree, (size_t)(end - p) + 1);
    if (!copy)
        return NULL;
    size_t n = 0;
    for (; p < end; p++)
        if (math_text_is_digit(*p) || *p == '.')
            copy[n++] = *p;
    *length = n;
    return copy;
}

/* The exponent of 1.2e3 at p (at the letter); 0 when there is none. *end is moved behind it. */
static long read_exponent(math_lexer *lx, const char *p, const char **end)
{
    if (p >= lx->end || (*p != 'e' && *p != 'E'))
        return 0;
    const char *digits = p + 1;
    int negative = digits < lx->end && *digits == '-';
    if (digits < lx->end && (*digits == '-' || *digits == '+'))
        digits++;
    size_t n = digit_run(lx, digits);
    if (n == 0 || n > 15)
        return 0;
    long value = 0;
    for (size_t i = 0; i < n; i++)
        value = value * 10 + (digits[i] - '0');
    *end = digits + n;
    return negative ? -value : value;
}

/* \overline{3} or \bar{3} or \dot{3} or (3) after the point: repeating digits. Returns their number. */
size_t lexer_repeating(math_lexer *lx, const char *p, const char **digits, const char **end)
{
    static const char *const forms[] = {"\\overline{", "\\bar{", "\\dot{", "\\overline ", "\\bar ", "\\dot ", "("};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        size_t n = strlen(forms[i]);
        if ((size_t)(lx->end - p) <= n || memcmp(p, forms[i], n) != 0)
            continue;
        size_t run = digit_run(lx, p + n);
        char close = forms[i][n - 1] == '{' ? '}' : forms[i][n - 1] == '(' ? ')' : 0;
        if (!close && run > 1)
            run = 1;
        if (run == 0 || run > 1000 || (close && (p + n + run >= lx->end || p[n + run] != close)))
            continue;
        *digits = p + n;
        *end = p + n + run + (close != 0);
        return run;
    }
    return 0;
}

/* The decimal comma of "1{,}5": braces round a comma that separates no thousands. */
static const char *decimal_comma(const math_lexer *lx, const char *p)
{
    if (lx->end - p > 3 && memcmp(p, "{,}", 3) == 0 && math_text_is_digit(p[3]))
        return p + 3;
    return NULL;
}

int lexer_number(math_lexer *lx)
{
    const char *p = lx->at, *end = integer_end(lx, p);
    size_t length, repeating = 0;
    unsigned flags = 0;
    const char *text = copy_digits(lx, p, end, &length);
    if (!text)
        return -1;
    const char *fraction = end < lx->end && *end == '.' ? end + 1 : decimal_comma(lx, end);
    if (fraction && fraction < lx->end) {
        const char *repeat = NULL, *fraction_end = fraction + digit_run(lx, fraction), *after = fraction_end;
        repeating = lexer_repeating(lx, fraction_end, &repeat, &after);
        if (fraction_end > fraction || repeating) {
            size_t plain = (size_t)(fraction_end - fraction);
            char *joined = math_tree_alloc(lx->tree, length + plain + repeating + 2);
            if (!joined)
                return -1;
            memcpy(joined, text, length);
            joined[length] = '.';
            memcpy(joined + length + 1, fraction, plain);
            if (repeating)
                memcpy(joined + length + 1 + plain, repeat, repeating);
            text = joined;
            length += 1 + plain + repeating;
            flags = MATH_DECIMAL | (repeating ? MATH_REPEATING : 0);
            end = after;
        }
    }
    const char *before = end;
    long exponent = read_exponent(lx, end, &end);
    if (end != before)
        flags |= MATH_SCIENTIFIC;
    if (length > MATH_MAX_DIGITS) {
        lx->tree->problem = "a number has too many digits";
        return -1;
    }
    if (lexer_add(lx, TOK_NUMBER, 0, text, length) != 0)
        return -1;
    math_token *t = &lx->out->items[lx->out->count - 1];
    t->flags = (unsigned char)flags;
    t->repeating = (unsigned short)repeating;
    t->exponent = exponent;
    lx->at = end;
    return 0;
}
