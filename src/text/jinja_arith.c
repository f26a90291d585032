/* Arithmetic: Python's rules on 64-bit integers (more is refused) and doubles. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/jinja_ops.h"
#include "text/jinja_unicode.h"

static _Noreturn void too_large(jinja_run *r)
{
    jinja_fail(r, JINJA_UNSUPPORTED, "an integer of more than 64 bits");
}

static _Noreturn void by_zero(jinja_run *r)
{
    jinja_fail(r, JINJA_ZERO_DIVISION_ERROR, "division by zero");
}

int64_t jinja_index_value(jinja_run *r, jinja_value v)
{
    if (!jinja_is_whole(v))
        jinja_fail(r, JINJA_TYPE_ERROR, "'%s' object cannot be interpreted as an integer",
                   jinja_type_name(v));
    return jinja_whole(v);
}

int64_t jinja_float_to_whole(jinja_run *r, double x)
{
    if (isnan(x))
        jinja_fail(r, JINJA_VALUE_ERROR, "cannot convert float NaN to integer");
    if (isinf(x))
        jinja_fail(r, JINJA_OVERFLOW_ERROR, "cannot convert float infinity to integer");
    if (x >= 0x1p63 || x < -0x1p63)
        too_large(r);
    return (int64_t)x;
}

/* ---- integers -------------------------------------------------------------------------------- */

static int64_t floor_divide(jinja_run *r, int64_t a, int64_t b)
{
    if (b == 0)
        by_zero(r);
    if (a == INT64_MIN && b == -1)
        too_large(r);
    int64_t q = a / b;
    return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}

static int64_t modulo(jinja_run *r, int64_t a, int64_t b)
{
    if (b == 0)
        by_zero(r);
    if (b == -1)
        return 0;
    int64_t m = a % b;
    return m != 0 && (m < 0) != (b < 0) ? m + b : m;
}

/* a / b, correctly rounded as CPython's long_true_divide. */
static double true_divide(jinja_run *r, int64_t a, int64_t b)
{
    if (b == 0)
        by_zero(r);
    int64_t limit = (int64_t)1 << 53;
    if (a >= -limit && a <= limit && b >= -limit && b <= limit)
        return (double)a / (double)b;
    bool negative = (a < 0) != (b < 0);
    unsigned __int128 x = a < 0 ? -(unsigned __int128)a : (unsigned __int128)a;
    unsigned __int128 y = b < 0 ? -(unsigned __int128)b : (unsigned __int128)b;
    int shift = 0;
    while (x && !(x >> 126)) {
        x <<= 1;
        shift++;
    }
    unsigned __int128 q = x / y; /* at least 63 bits of quotient */
    if (x % y)
        q |= 1; /* sticky: far below the rounding place */
    /* To 64 bits first, keeping what is lost in the lowest bit; the conversion then rounds once. */
    while (q >> 63) {
        q = q >> 1 | (q & 1);
        shift--;
    }
    double d = ldexp((double)(uint64_t)q, -shift);
    return negative ? -d : d;
}

static jinja_value whole_power(jinja_run *r, int64_t base, int64_t exponent)
{
    if (exponent < 0) {
        if (base == 0)
            jinja_fail(r, JINJA_ZERO_DIVISION_ERROR, "0.0 cannot be raised to a negative power");
        return jinja_float(pow((double)base, (double)exponent));
    }
    int64_t result = 1;
    if (base == 0 || base == 1)
        return jinja_int(exponent == 0 ? 1 : base);
    if (base == -1)
        return jinja_int(exponent & 1 ? -1 : 1);
    for (int64_t i = 0; i < exponent; i++)
        if (__builtin_mul_overflow(result, base, &result))
            too_large(r);
    return jinja_int(result);
}

static jinja_value whole_binary(jinja_run *r, jinja_op op, int64_t a, int64_t b)
{
    int64_t result = 0;
    bool overflow = false;
    switch (op) {
    case JINJA_ADD:
        overflow = __builtin_add_overflow(a, b, &result);
        break;
    case JINJA_SUB:
        overflow = __builtin_sub_overflow(a, b, &result);
        break;
    case JINJA_MUL:
        overflow = __builtin_mul_overflow(a, b, &result);
        break;
    case JINJA_DIV:
        return jinja_float(true_divide(r, a, b));
    case JINJA_FLOORDIV:
        result = floor_divide(r, a, b);
        break;
    case JINJA_MOD:
        result = modulo(r, a, b);
        break;
    default:
        return whole_power(r, a, b);
    }
    if (overflow)
        too_large(r);
    return jinja_int(result);
}

/* ---- doubles ------------------------------------------------------------------------------------ */

static double float_modulo(jinja_run *r, double a, double b, double *quotient)
{
    if (b == 0)
        by_zero(r);
    double m = fmod(a, b), q = (a - m) / b;
    if (m != 0) {
        if ((b < 0) != (m < 0)) {
            m += b;
            q -= 1;
        }
    } else {
        m = copysign(0.0, b);
    }
    *quotient = q != 0 ? floor(q) + (q - floor(q) > 0.5) : copysign(0.0, a / b);
    return m;
}

static double float_power(jinja_run *r, double a, double b)
{
    if (a == 0 && b < 0)
        jinja_fail(r, JINJA_ZERO_DIVISION_ERROR, "0.0 cannot be raised to a negative power");
    if (a < 0 && isfinite(a) && isfinite(b) && b != floor(b))
        jinja_fail(r, JINJA_UNSUPPORTED, "complex numbers");
    double x = pow(a, b);
    if (isinf(x) && isfinite(a) && isfinite(b))
        jinja_fail(r, JINJA_OVERFLOW_ERROR, "Numerical result out of range");
    return x;
}

static jinja_value float_binary(jinja_run *r, jinja_op op, double a, double b)
{
    double quotient;
    switch (op) {
    case JINJA_ADD:
        return jinja_float(a + b);
    case JINJA_SUB:
        return jinja_float(a - b);
    case JINJA_MUL:
        return jinja_float(a * b);
    case JINJA_DIV:
        if (b == 0)
            by_zero(r);
        return jinja_float(a / b);
    case JINJA_FLOORDIV:
        float_modulo(r, a, b, &quotient);
        return jinja_float(quotient);
    case JINJA_MOD:
        return jinja_float(float_modulo(r, a, b, &quotient));
    default:
        return jinja_float(float_power(r, a, b));
    }
}

/* ---- sequences ------------------------------------------------------------------------------------ */

static jinja_value add_lists(jinja_run *r, jinja_value a, jinja_value b)
{
    size_t n = a.list->count + b.list->count;
    jinja_value *items = jinja_alloc(r, n, sizeof *items);
    if (a.list->count)
        memcpy(items, a.list->items, a.list->count * sizeof *items);
    if (b.list->count)
        memcpy(items + a.list->count, b.list->items, b.list->count * sizeof *items);
    jinja_charge(r, 1 + n / 8);
    jinja_list_builder built = {items, n, n};
    return a.type == JINJA_LIST ? jinja_build_list(r, &built) : jinja_build_tuple(r, &built);
}

static jinja_value repeat_list(jinja_run *r, jinja_value v, int64_t times)
{
    size_t n = v.list->count;
    jinja_list_builder built = {0};
    for (int64_t k = 0; n && k < times; k++)
        for (size_t i = 0; i < n; i++) {
            jinja_charge(r, 1);
            jinja_push(r, &built, v.list->items[i]);
        }
    return v.type == JINJA_LIST ? jinja_build_list(r, &built) : jinja_build_tuple(r, &built);
}

static jinja_value repeat_string(jinja_run *r, const jinja_string *s, int64_t times)
{
    jinja_buffer *b = jinja_buffer_open(r);
    for (int64_t k = 0; s->length && k < times; k++) {
        jinja_charge(r, 1);
        jinja_put(r, b, s->data, s->length);
    }
    jinja_value v = jinja_buffer_finish(r, b);
    v.string->markup = s->markup;
    return v;
}

static bool is_sequence(jinja_value v)
{
    return v.type == JINJA_STRING || v.type == JINJA_LIST || v.type == JINJA_TUPLE;
}

static jinja_value repeat(jinja_run *r, jinja_value v, int64_t times)
{
    return v.type == JINJA_STRING ? repeat_string(r, v.string, times) : repeat_list(r, v, times);
}

static jinja_value add_strings(jinja_run *r, jinja_value a, jinja_value b)
{
    if (!a.string->markup && !b.string->markup)
        return jinja_join_two(r, a, b);
    jinja_value v = jinja_join_two(r, jinja_escape(r, a), jinja_escape(r, b));
    v.string->markup = true;
    return v;
}

jinja_value jinja_add_values(jinja_run *r, jinja_value a, jinja_value b)
{
    return jinja_binary(r, JINJA_ADD, a, b);
}

jinja_value jinja_binary(jinja_run *r, jinja_op op, jinja_value a, jinja_value b)
{
    static const char *const signs[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};
    if (a.type == JINJA_STRING && b.type == JINJA_STRING && op == JINJA_ADD)
        return add_strings(r, a, b);
    jinja_need_defined(r, a);
    if (op == JINJA_MOD && a.type == JINJA_STRING)
        return jinja_percent(r, a.string, b);
    jinja_need_defined(r, b);
    if (jinja_is_whole(a) && jinja_is_whole(b))
        return whole_binary(r, op, jinja_whole(a), jinja_whole(b));
    if (jinja_is_number(a) && jinja_is_number(b))
        return float_binary(r, op, jinja_number(a), jinja_number(b));
    if (op == JINJA_ADD && a.type == b.type && (a.type == JINJA_LIST || a.type == JINJA_TUPLE))
        return add_lists(r, a, b);
    if (op == JINJA_MUL && is_sequence(a) && jinja_is_whole(b))
        return repeat(r, a, jinja_whole(b));
    if (op == JINJA_MUL && is_sequence(b) && jinja_is_whole(a))
        return repeat(r, b, jinja_whole(a));
    if (op == JINJA_ADD && is_sequence(a))
        jinja_fail(r, JINJA_TYPE_ERROR, "can only concatenate %s (not \"%s\") to %s", jinja_type_name(a),
                   jinja_type_name(b), jinja_type_name(a));
    jinja_fail(r, JINJA_TYPE_ERROR, "unsupported operand type(s) for %s: '%s' and '%s'", signs[op],
               jinja_type_name(a), jinja_type_name(b));
}

jinja_value jinja_negate(jinja_run *r, jinja_value v, bool negative)
{
    jinja_need_defined(r, v);
    if (v.type == JINJA_FLOAT)
        return jinja_float(negative ? -v.number : v.number);
    if (!jinja_is_whole(v))
        jinja_fail(r, JINJA_TYPE_ERROR, "bad operand type for unary %c: '%s'", negative ? '-' : '+',
                   jinja_type_name(v));
    return negative ? whole_binary(r, JINJA_SUB, 0, jinja_whole(v)) : jinja_int(jinja_whole(v));
}

/* ---- rounding ----------------------------------------------------------------------------------------- */

double jinja_round_to(double x, int64_t digits)
{
    char text[400];
    if (!isfinite(x) || x == 0 || digits > 330)
        return x;
    if (digits >= 0) {
        snprintf(text, sizeof text, "%.*e", 0, x);
        int exponent = atoi(strchr(text, 'e') + 1);
        if (digits + exponent > 25) /* finer than a double is */
            return x;
        snprintf(text, sizeof text, "%.*f", (int)digits, x);
        return strtod(text, NULL);
    }
    snprintf(text, sizeof text, "%.20e", x);
    int64_t exponent = atoi(strchr(text, 'e') + 1);
    if (exponent + digits < -1)
        return copysign(0.0, x);
    if (exponent + digits == -1) {
        double unit = pow(10, (double)-digits);
        return fabs(x) > unit / 2 ? copysign(unit, x) : copysign(0.0, x);
    }
    snprintf(text, sizeof text, "%.*e", (int)(exponent + digits), x);
    return strtod(text, NULL);
}

int64_t jinja_round_whole(jinja_run *r, int64_t x, int64_t digits)
{
    if (digits >= 0)
        return x;
    if (digits < -18)
        return digits == -19 && (x > INT64_C(5000000000000000000) || x < INT64_C(-5000000000000000000))
                   ? (too_large(r), 0)
                   : 0;
    int64_t unit = 1;
    for (int64_t i = 0; i > digits; i--)
        unit *= 10;
    int64_t low = floor_divide(r, x, unit), rest = x - low * unit;
    if (rest > unit - rest || (rest == unit - rest && (low & 1)))
        low++;
    if (__builtin_mul_overflow(low, unit, &low))
        too_large(r);
    return low;
}

/* ---- numbers in strings --------------------------------------------------------------------------------- */

/* The text with white space stripped and decimal digits of any script as ASCII; false when it is too
 * long for a number or has other characters that no number has. */
static bool number_text(const jinja_string *s, char out[512])
{
    size_t n = 0, width, from = 0, to = s->length;
    while (from < to && jinja_is_space(utf8_decode(s->data + from, &width)))
        from += width;
    for (size_t i = from, end = from; i < s->length; i += width) {
        if (!jinja_is_space(utf8_decode(s->data + i, &width)))
            end = i + width;
        to = end;
    }
    for (size_t i = from; i < to; i += width) {
        uint32_t c = utf8_decode(s->data + i, &width);
        int digit = jinja_decimal_value(c);
        if ((c >= 0x80 && digit < 0) || c == 0 || n + 1 >= 512)
            return false;
        out[n++] = digit >= 0 ? (char)('0' + digit) : (char)c;
    }
    out[n] = 0;
    return n > 0;
}

static int letter_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'z' ? c - 'a' + 10
           : c >= 'A' && c <= 'Z' ? c - 'A' + 10
                                  : 99;
}

/* Skips "0x", "0o", "0b" where the base allows them, and finds base 0's base. */
static const char *skip_prefix(const char *p, int64_t *base)
{
    char mark = p[0] == '0' ? p[1] | 32 : 0;
    int64_t b = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
    bool zero = *base == 0;
    if (b && (zero || *base == b)) {
        *base = b;
        p += 2;
        return *p == '_' ? p + 1 : p;
    }
    if (zero)
        *base = 10;
    return p;
}

bool jinja_parse_whole(jinja_run *r, const jinja_string *s, int64_t base, int64_t *out)
{
    char text[512];
    if (base != 0 && (base < 2 || base > 36))
        return false;
    if (!number_text(s, text))
        return false;
    const char *p = text;
    bool negative = *p == '-', zero_base = base == 0, overflow = false;
    if (*p == '-' || *p == '+')
        p++;
    const char *digits = skip_prefix(p, &base);
    bool nonzero = false, plain = digits == p;
    int64_t value = 0;
    if (!*digits || *digits == '_')
        return false;
    for (p = digits; *p; p++) {
        if (*p == '_') {
            if (p[1] == '_' || !p[1])
                return false;
            continue;
        }
        int digit = letter_value(*p);
        if (digit >= base)
            return false;
        nonzero |= digit != 0;
        overflow |= __builtin_mul_overflow(value, base, &value) ||
                    __builtin_sub_overflow(value, digit, &value);
    }
    if (zero_base && plain && nonzero && *digits == '0')
        return false; /* 007 */
    if (overflow || (!negative && value == INT64_MIN))
        too_large(r);
    *out = negative ? value : -value;
    return true;
}

/* Underscores may stand between digits. */
static bool drop_underscores(char *text)
{
    char *to = text;
    for (const char *p = text; *p; p++) {
        if (*p == '_') {
            if (p == text || letter_value(p[-1]) > 9 || letter_value(p[1]) > 9)
                return false;
        } else {
            *to++ = *p;
        }
    }
    *to = 0;
    return true;
}

static bool same_letters(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if ((*a | 32) != *b)
            return false;
    return *a == *b;
}

bool jinja_parse_float(jinja_run *r, const jinja_string *s, double *out)
{
    char text[512];
    (void)r;
    if (!number_text(s, text) || !drop_underscores(text))
        return false;
    const char *p = text;
    double sign = *p == '-' ? -1 : 1;
    if (*p == '-' || *p == '+')
        p++;
    if (same_letters(p, "inf") || same_letters(p, "infinity")) {
        *out = sign * INFINITY;
        return true;
    }
    if (same_letters(p, "nan")) {
        *out = NAN;
        return true;
    }
    if (strspn(p, "0123456789.eE+-") != strlen(p) || !strpbrk(p, "0123456789") || *p == '-' || *p == '+')
        return false;
    char *end;
    *out = sign * strtod(p, &end);
    return *end == 0;
}
