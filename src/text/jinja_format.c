/* str.format() as the sandbox runs it, and format(): the format specification mini-language. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/jinja_ops.h"
#include "text/jinja_unicode.h"

/* ---- the specification ---------------------------------------------------------------------------- */

typedef struct specification {
    uint32_t fill;
    char align; /* < > = ^, or 0 */
    char sign;  /* + - space, or 0 */
    bool alternate, no_negative_zero;
    char group; /* , _ or 0 */
    int64_t width, precision; /* -1 = none */
    char type;
} specification;

static bool is_align(uint32_t c)
{
    return c == '<' || c == '>' || c == '=' || c == '^';
}

static int64_t read_digits(jinja_run *r, const jinja_string *s, size_t *at)
{
    int64_t n = -1;
    while (*at < s->length && s->data[*at] >= '0' && s->data[*at] <= '9') {
        n = (n < 0 ? 0 : n) * 10 + (s->data[(*at)++] - '0');
        if (n > (int64_t)JINJA_MAX_OUTPUT)
            jinja_fail(r, JINJA_LIMIT, "a width or precision is too large");
    }
    return n;
}

static specification parse_specification(jinja_run *r, const jinja_string *s)
{
    specification x = {.fill = ' ', .width = -1, .precision = -1};
    size_t at = 0, width = 0;
    uint32_t first = s->length ? utf8_decode(s->data, &width) : 0;
    bool filled = false;
#define HERE (at < s->length ? s->data[at] : 0)
    if (width && width < s->length && is_align((unsigned char)s->data[width])) {
        x.fill = first;
        x.align = s->data[width];
        at = width + 1;
        filled = true;
    } else if (is_align(first)) {
        x.align = (char)first;
        at = 1;
    }
    if (HERE == '+' || HERE == '-' || HERE == ' ')
        x.sign = s->data[at++];
    if (HERE == 'z') {
        x.no_negative_zero = true;
        at++;
    }
    if (HERE == '#') {
        x.alternate = true;
        at++;
    }
    if (HERE == '0' && !filled) {
        x.fill = '0';
        if (!x.align)
            x.align = '0'; /* = for numbers, nothing for strings */
        at++;
    }
    x.width = read_digits(r, s, &at);
    if (HERE == ',' || HERE == '_')
        x.group = s->data[at++];
    if (HERE == '.') {
        at++;
        x.precision = read_digits(r, s, &at);
        if (x.precision < 0)
            jinja_fail(r, JINJA_VALUE_ERROR, "Format specifier missing precision");
    }
    if (at < s->length)
        x.type = s->data[at++];
    if (at < s->length)
        jinja_fail(r, JINJA_VALUE_ERROR, "Invalid format specifier");
#undef HERE
    return x;
}

/* Puts text with fill around it; the first `head` bytes are sign and prefix. */
static void put_aligned(jinja_run *r, jinja_buffer *out, const specification *x, char align, const char *text,
                        size_t length, size_t head)
{
    int64_t missing = x->width - (int64_t)jinja_count_points(text, length), left = 0;
    if (missing < 0)
        missing = 0;
    if (align == '>' || align == '=')
        left = missing;
    else if (align == '^')
        left = missing / 2;
    if (align == '=') {
        jinja_put(r, out, text, head);
        text += head;
        length -= head;
    }
    jinja_put_fill(r, out, x->fill, left);
    jinja_put(r, out, text, length);
    jinja_put_fill(r, out, x->fill, missing - left);
}

static void put_string(jinja_run *r, jinja_buffer *out, const jinja_string *s, const specification *x)
{
    if (x->sign || x->alternate || x->group || x->align == '=' || x->no_negative_zero ||
        (x->type && x->type != 's'))
        jinja_fail(r, JINJA_VALUE_ERROR, "a format specification that is not for strings");
    size_t length = s->length;
    if (x->precision >= 0 && (size_t)x->precision < jinja_points(s))
        length = jinja_point_offset(s, (size_t)x->precision);
    put_aligned(r, out, x, x->align && x->align != '0' ? x->align : '<', s->data, length, 0);
}

/* ---- numbers ------------------------------------------------------------------------------------------- */

/* A number's parts: sign and prefix, digits before the point, the rest. */
typedef struct number_text {
    char head[8];
    size_t head_length;
    char digits[400];
    size_t digit_count;
    char rest[1200];
    size_t rest_length;
} number_text;

/* The digits with separators every `size`, zero-filled until they are `least` characters. */
static jinja_buffer *grouped(jinja_run *r, const number_text *n, char separator, size_t size, int64_t least)
{
    jinja_buffer *b = jinja_buffer_open(r), *turned = jinja_buffer_open(r);
    size_t count = 0;
    for (size_t i = 0; i < n->digit_count || (int64_t)b->length < least; i++) {
        if (separator && count == size) {
            jinja_put(r, b, &separator, 1);
            count = 0;
        }
        jinja_put(r, b, i < n->digit_count ? &n->digits[n->digit_count - 1 - i] : "0", 1);
        count++;
    }
    for (size_t i = b->length; i-- > 0;)
        jinja_put(r, turned, b->data + i, 1);
    jinja_buffer_close(r, b);
    return turned;
}

static void put_number(jinja_run *r, jinja_buffer *out, const number_text *n, const specification *x, bool decimal)
{
    char align = x->align == '0' ? '=' : x->align ? x->align : '>';
    bool zeros = x->group && x->fill == '0' && align == '=';
    int64_t least = zeros ? x->width - (int64_t)n->head_length - (int64_t)n->rest_length : 0;
    jinja_buffer *digits = grouped(r, n, x->group, decimal ? 3 : 4, least), *b = jinja_buffer_open(r);
    jinja_put(r, b, n->head, n->head_length);
    jinja_put(r, b, digits->data, digits->length);
    jinja_put(r, b, n->rest, n->rest_length);
    put_aligned(r, out, x, align, b->data, b->length, n->head_length);
    jinja_buffer_close(r, b);
    jinja_buffer_close(r, digits);
}

static void set_sign(number_text *n, const specification *x, bool negative)
{
    if (negative)
        n->head[n->head_length++] = '-';
    else if (x->sign == '+' || x->sign == ' ')
        n->head[n->head_length++] = x->sign;
}

static void put_float(jinja_run *r, jinja_buffer *out, double v, specification x);

static void put_whole(jinja_run *r, jinja_buffer *out, int64_t v, specification x)
{
    number_text n = {0};
    if (x.type && strchr("eEfFgG%", x.type)) {
        put_float(r, out, (double)v, x);
        return;
    }
    if (x.precision >= 0 || x.no_negative_zero)
        jinja_fail(r, JINJA_VALUE_ERROR, "Precision not allowed in integer format specifier");
    if (x.type && !strchr("bcdoxXn", x.type))
        jinja_fail(r, JINJA_VALUE_ERROR, "Unknown format code '%c' for object of type 'int'", x.type);
    if (x.group && ((x.group == ',' && x.type && x.type != 'd') || x.type == 'n' || x.type == 'c'))
        jinja_fail(r, JINJA_VALUE_ERROR, "Cannot specify '%c' with '%c'.", x.group, x.type);
    if (x.type == 'c') {
        if (x.sign || x.alternate)
            jinja_fail(r, JINJA_VALUE_ERROR, "a sign or '#' is not allowed with 'c'");
        if (v < 0 || v > 0x10FFFF || (v >= 0xD800 && v <= 0xDFFF))
            jinja_fail(r, JINJA_OVERFLOW_ERROR, "%%c arg not in range(0x110000)");
        jinja_buffer *b = jinja_buffer_open(r);
        jinja_put_point(r, b, (uint32_t)v);
        put_aligned(r, out, &x, x.align == '0' ? '=' : x.align ? x.align : '<', b->data, b->length, 0);
        jinja_buffer_close(r, b);
        return;
    }
    uint64_t u = v < 0 ? -(uint64_t)v : (uint64_t)v;
    int base = x.type == 'b' ? 2 : x.type == 'o' ? 8 : x.type == 'x' || x.type == 'X' ? 16 : 10;
    char reversed[72];
    size_t count = 0;
    do {
        int digit = (int)(u % (unsigned)base);
        reversed[count++] = (char)(digit < 10 ? '0' + digit : (x.type == 'X' ? 'A' : 'a') + digit - 10);
        u /= (unsigned)base;
    } while (u);
    for (size_t i = 0; i < count; i++)
        n.digits[i] = reversed[count - 1 - i];
    n.digit_count = count;
    set_sign(&n, &x, v < 0);
    if (x.alternate && base != 10) {
        n.head[n.head_length++] = '0';
        n.head[n.head_length++] = x.type;
    }
    put_number(r, out, &n, &x, base == 10);
}

/* Without a type and precision: repr; with precision: like g, but never without a point. */
static void plain_float(char *text, size_t size, double v, int64_t precision, bool alternate)
{
    if (precision < 0) {
        char repr[40];
        repr[jinja_float_repr(repr, v)] = 0;
        snprintf(text, size, "%s", repr);
        return;
    }
    int digits = precision == 0 ? 1 : (int)precision;
    char scientific[1200];
    snprintf(scientific, sizeof scientific, "%.*e", digits - 1, v);
    int exponent = atoi(strchr(scientific, 'e') + 1);
    snprintf(text, size, alternate ? "%#.*g" : "%.*g", digits, v);
    /* g switches to exponents at `digits`; this format one earlier, to keep room for ".0". */
    if (exponent == digits - 1 && !strchr(text, 'e') && !alternate) {
        char mantissa[1200];
        snprintf(mantissa, sizeof mantissa, "%.*e", digits - 1, v);
        char *e = strchr(mantissa, 'e'), *end = e;
        if (strchr(mantissa, '.')) {
            while (end[-1] == '0')
                end--;
            if (end[-1] == '.')
                end--;
        }
        snprintf(text, size, "%.*s%s", (int)(end - mantissa), mantissa, e);
    } else if (!strchr(text, 'e') && !strchr(text, '.')) {
        strncat(text, ".0", size - strlen(text) - 1);
    }
}

static void put_float(jinja_run *r, jinja_buffer *out, double v, specification x)
{
    number_text n = {0};
    char text[1200], format[16];
    if (x.type && !strchr("eEfFgGn%", x.type))
        jinja_fail(r, JINJA_VALUE_ERROR, "Unknown format code '%c' for object of type 'float'", x.type);
    if (x.precision > 700)
        jinja_fail(r, JINJA_LIMIT, "a precision of more than 700 digits");
    char type = x.type == '%' ? 'f' : x.type == 'n' ? 'g' : x.type;
    if (x.type == '%')
        v *= 100;
    double size = fabs(v);
    if (!isfinite(v))
        snprintf(text, sizeof text, "%s", isnan(v) ? "nan" : "inf");
    else if (!type)
        plain_float(text, sizeof text, size, x.precision, x.alternate);
    else {
        snprintf(format, sizeof format, "%%%s.*%c", x.alternate ? "#" : "", type);
        snprintf(text, sizeof text, format, x.precision < 0 ? 6 : (int)x.precision, size);
    }
    for (char *p = text; !isfinite(v) && *p && (type == 'E' || type == 'F' || type == 'G'); p++)
        *p = (char)(*p - 32);
    bool negative = signbit(v) && !isnan(v);
    if (negative && x.no_negative_zero && strspn(text, "0.") == strcspn(text, "e"))
        negative = false;
    set_sign(&n, &x, negative);
    n.digit_count = isfinite(v) ? strspn(text, "0123456789") : 0;
    memcpy(n.digits, text, n.digit_count);
    n.rest_length = (size_t)snprintf(n.rest, sizeof n.rest, "%s%s", text + n.digit_count, x.type == '%' ? "%" : "");
    put_number(r, out, &n, &x, true);
}

void jinja_put_formatted(jinja_run *r, jinja_buffer *out, jinja_value v, const jinja_string *spec)
{
    if (!spec->length) {
        jinja_put_str(r, out, v);
        return;
    }
    if (v.type != JINJA_STRING && !jinja_is_number(v))
        jinja_fail(r, JINJA_TYPE_ERROR, "unsupported format string passed to %s.__format__",
                   jinja_type_name(v));
    specification x = parse_specification(r, spec);
    if (v.type == JINJA_STRING)
        put_string(r, out, v.string, &x);
    else if (v.type == JINJA_FLOAT)
        put_float(r, out, v.number, x);
    else
        put_whole(r, out, jinja_whole(v), x);
}

/* ---- str.format ------------------------------------------------------------------------------------------ */

typedef struct formatter {
    jinja_run *r;
    const jinja_call *call;
    jinja_value mapping; /* of format_map */
    int64_t next;        /* automatic field number; -1: fields are numbered by hand */
    bool escape;
} formatter;

static void put_fields(formatter *f, jinja_buffer *out, const char *s, size_t n, int depth);

static bool all_digits(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] < '0' || s[i] > '9')
            return false;
    return n > 0;
}

static jinja_value key_of(formatter *f, const char *s, size_t n)
{
    jinja_value text = jinja_copy_text(f->r, s, n);
    int64_t number;
    if (all_digits(s, n) && jinja_parse_whole(f->r, text.string, 10, &number))
        return jinja_int(number);
    return text;
}

static jinja_value field_start(formatter *f, const char *s, size_t n)
{
    jinja_value key = key_of(f, s, n);
    if (key.type == JINJA_INT) {
        if ((size_t)key.integer >= f->call->count)
            jinja_fail(f->r, JINJA_INDEX_ERROR, "Replacement index %lld out of range for positional args",
                       (long long)key.integer);
        return f->call->positional[key.integer];
    }
    if (f->mapping.type == JINJA_DICT) {
        jinja_value *found = jinja_dict_get(f->r, f->mapping.dict, key);
        if (found)
            return *found;
    } else if (f->mapping.type != JINJA_MISSING) {
        jinja_need_defined(f->r, f->mapping);
        jinja_fail(f->r, JINJA_TYPE_ERROR, "format_map() needs a mapping");
    }
    for (size_t i = 0; i < f->call->named_count; i++)
        if (jinja_equal(f->r, f->call->named[i].key, key))
            return f->call->named[i].value;
    jinja_fail(f->r, JINJA_KEY_ERROR, "'%.*s'", (int)n, s);
}

/* "name.attribute[item]" */
static jinja_value field_value(formatter *f, const char *s, size_t n)
{
    size_t at = 0;
    while (at < n && s[at] != '.' && s[at] != '[')
        at++;
    jinja_value v = field_start(f, s, at);
    while (at < n) {
        bool attribute = s[at] == '.';
        size_t from = ++at;
        while (at < n && (attribute ? s[at] != '.' && s[at] != '[' : s[at] != ']'))
            at++;
        if (at == from)
            jinja_fail(f->r, JINJA_VALUE_ERROR, "Empty attribute in format string");
        if (!attribute && at >= n)
            jinja_fail(f->r, JINJA_VALUE_ERROR, "Missing ']' in format string");
        v = attribute ? jinja_getattr(f->r, v, jinja_copy_text(f->r, s + from, at - from))
                      : jinja_getitem(f->r, v, key_of(f, s + from, at - from));
        if (!attribute && ++at < n && s[at] != '.' && s[at] != '[')
            jinja_fail(f->r, JINJA_VALUE_ERROR, "Only '.' or '[' may follow ']' in format field specifier");
    }
    return v;
}

static jinja_value numbered_field(formatter *f, const char *s, size_t n)
{
    if (n == 0) {
        if (f->next < 0)
            jinja_fail(f->r, JINJA_VALUE_ERROR,
                       "cannot switch from manual field specification to automatic field numbering");
        char number[24];
        int length = snprintf(number, sizeof number, "%lld", (long long)f->next++);
        return field_value(f, number, (size_t)length);
    }
    if (all_digits(s, n)) {
        if (f->next > 0)
            jinja_fail(f->r, JINJA_VALUE_ERROR,
                       "cannot switch from automatic field numbering to manual field specification");
        f->next = -1;
    }
    return field_value(f, s, n);
}

static jinja_value converted(formatter *f, jinja_value v, char conversion)
{
    if (!conversion)
        return v;
    if (conversion == 's')
        return jinja_str(f->r, v);
    if (conversion != 'r' && conversion != 'a')
        jinja_fail(f->r, JINJA_VALUE_ERROR, "Unknown conversion specifier %c", conversion);
    jinja_buffer *b = jinja_buffer_open(f->r);
    jinja_put_repr(f->r, b, v);
    v = jinja_buffer_finish(f->r, b);
    return conversion == 'a' ? jinja_ascii(f->r, v.string) : v;
}

static void put_value(formatter *f, jinja_buffer *out, jinja_value v, const jinja_string *spec)
{
    if (!f->escape) {
        jinja_put_formatted(f->r, out, v, spec);
        return;
    }
    if (v.type == JINJA_STRING && v.string->markup) {
        if (spec->length)
            jinja_fail(f->r, JINJA_VALUE_ERROR, "Unsupported format specification for Markup.");
        jinja_put(f->r, out, v.string->data, v.string->length);
        return;
    }
    jinja_buffer *b = jinja_buffer_open(f->r);
    jinja_put_formatted(f->r, b, v, spec);
    jinja_value text = jinja_escape(f->r, jinja_buffer_finish(f->r, b));
    jinja_put(f->r, out, text.string->data, text.string->length);
}

/* One field, s being after its brace; returns its length with the closing brace. */
static size_t put_field(formatter *f, jinja_buffer *out, const char *s, size_t n, int depth)
{
    size_t at = 0, name;
    bool bracket = false;
    char conversion = 0;
    for (; at < n && (bracket || !strchr("}:!", s[at])); at++) {
        if (s[at] == '{')
            jinja_fail(f->r, JINJA_VALUE_ERROR, "unexpected '{' in field name");
        bracket = s[at] == '[' ? true : s[at] == ']' ? false : bracket;
    }
    name = at;
    if (at < n && s[at] == '!') {
        if (at + 2 >= n)
            jinja_fail(f->r, JINJA_VALUE_ERROR, "unmatched '{' in format spec");
        conversion = s[at + 1];
        at += 2;
        if (s[at] != ':' && s[at] != '}')
            jinja_fail(f->r, JINJA_VALUE_ERROR, "expected ':' after conversion specifier");
    }
    size_t from = at < n && s[at] == ':' ? ++at : at;
    for (int open = 1; at < n; at++) {
        open += s[at] == '{' ? 1 : s[at] == '}' ? -1 : 0;
        if (open == 0)
            break;
    }
    if (at >= n)
        jinja_fail(f->r, JINJA_VALUE_ERROR, "expected '}' before end of string");
    jinja_value v = converted(f, numbered_field(f, s, name), conversion);
    jinja_buffer *b = jinja_buffer_open(f->r);
    put_fields(f, b, s + from, at - from, depth - 1);
    put_value(f, out, v, jinja_buffer_finish(f->r, b).string);
    return at + 1;
}

static void put_fields(formatter *f, jinja_buffer *out, const char *s, size_t n, int depth)
{
    if (depth < 0)
        jinja_fail(f->r, JINJA_VALUE_ERROR, "Max string recursion exceeded");
    for (size_t i = 0; i < n;) {
        if (s[i] != '{' && s[i] != '}') {
            jinja_put(f->r, out, s + i++, 1);
        } else if (i + 1 < n && s[i + 1] == s[i]) {
            jinja_put(f->r, out, s + i, 1);
            i += 2;
        } else if (s[i] == '}') {
            jinja_fail(f->r, JINJA_VALUE_ERROR, "Single '}' encountered in format string");
        } else if (i + 1 >= n) {
            jinja_fail(f->r, JINJA_VALUE_ERROR, "Single '{' encountered in format string");
        } else {
            i++;
            i += put_field(f, out, s + i, n - i, depth);
        }
    }
}

jinja_value jinja_str_format(jinja_run *r, const jinja_string *format, const jinja_call *call, jinja_value mapping)
{
    formatter f = {.r = r, .call = call, .mapping = mapping, .escape = format->markup};
    jinja_buffer *out = jinja_buffer_open(r);
    jinja_charge_bytes(r, format->length);
    put_fields(&f, out, format->data, format->length, 2);
    return jinja_buffer_finish(r, out);
}
