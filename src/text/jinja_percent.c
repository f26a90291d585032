/* printf-style formatting: "…" % values. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "text/jinja_ops.h"
#include "text/jinja_unicode.h"

typedef struct printer {
    jinja_run *r;
    const jinja_string *format;
    size_t at;
    jinja_value arguments;
    size_t next; /* of a tuple; 1 when a single value was used */
    bool escape; /* the format is a Markup: text that goes in is escaped */
    bool used_mapping;
} printer;

typedef struct directive {
    bool left, plus, space, alternate, zero;
    int64_t width, precision; /* -1 = none */
    char type;
    jinja_value key; /* of %(key)s, else missing */
} directive;

static _Noreturn void fail_end(printer *p)
{
    jinja_fail(p->r, JINJA_VALUE_ERROR, "incomplete format");
}

static char peek(const printer *p)
{
    return p->at < p->format->length ? p->format->data[p->at] : 0;
}

static jinja_value next_argument(printer *p)
{
    bool tuple = p->arguments.type == JINJA_TUPLE;
    if (p->used_mapping || p->next >= (tuple ? p->arguments.list->count : 1))
        jinja_fail(p->r, JINJA_TYPE_ERROR, "not enough arguments for format string");
    p->next++;
    return tuple ? p->arguments.list->items[p->next - 1] : p->arguments;
}

static int64_t read_number(printer *p)
{
    int64_t n = 0;
    if (peek(p) == '*') {
        p->at++;
        jinja_value v = next_argument(p);
        if (!jinja_is_whole(v))
            jinja_fail(p->r, JINJA_TYPE_ERROR, "* wants int");
        return jinja_whole(v);
    }
    while (peek(p) >= '0' && peek(p) <= '9') {
        n = n * 10 + (peek(p) - '0');
        p->at++;
        if (n > (int64_t)JINJA_MAX_OUTPUT)
            jinja_fail(p->r, JINJA_LIMIT, "a width or precision is too large");
    }
    return n;
}

static jinja_value read_key(printer *p)
{
    size_t from = ++p->at;
    int open = 1;
    while (p->at < p->format->length) {
        char c = p->format->data[p->at++];
        open += c == '(' ? 1 : c == ')' ? -1 : 0;
        if (open == 0)
            return jinja_copy_text(p->r, p->format->data + from, p->at - 1 - from);
    }
    jinja_fail(p->r, JINJA_VALUE_ERROR, "incomplete format key");
}

static directive read_directive(printer *p)
{
    directive d = {.width = -1, .precision = -1};
    if (peek(p) == '(') {
        if (p->arguments.type != JINJA_DICT && p->arguments.type != JINJA_LIST)
            jinja_fail(p->r, JINJA_TYPE_ERROR, "format requires a mapping");
        d.key = read_key(p);
    }
    for (;; p->at++) {
        char c = peek(p);
        if (c == '-')
            d.left = true;
        else if (c == '+')
            d.plus = true;
        else if (c == ' ')
            d.space = true;
        else if (c == '#')
            d.alternate = true;
        else if (c == '0')
            d.zero = true;
        else
            break;
    }
    d.width = read_number(p);
    if (d.width < 0) {
        d.left = true;
        d.width = -d.width;
    }
    if (peek(p) == '.') {
        p->at++;
        d.precision = read_number(p);
        if (d.precision < 0)
            d.precision = 0;
    }
    while (peek(p) == 'h' || peek(p) == 'l' || peek(p) == 'L')
        p->at++;
    if (p->at >= p->format->length)
        fail_end(p);
    d.type = p->format->data[p->at++];
    return d;
}

/* Text of `length` bytes whose first `head` (sign, prefix) stay before padding zeros. */
static void put_padded(printer *p, jinja_buffer *out, const directive *d, const char *text, size_t length,
                       size_t head, bool zero)
{
    int64_t missing = d->width - (int64_t)jinja_count_points(text, length);
    if (zero && !d->left) {
        jinja_put(p->r, out, text, head);
        text += head;
        length -= head;
    }
    jinja_put_fill(p->r, out, zero && !d->left ? '0' : ' ', d->left ? 0 : missing);
    jinja_put(p->r, out, text, length);
    jinja_put_fill(p->r, out, ' ', d->left ? missing : 0);
}

static void put_text_directive(printer *p, jinja_buffer *out, const directive *d, jinja_value v)
{
    jinja_value text;
    if (d->type == 's') {
        text = p->escape ? jinja_escape(p->r, v) : jinja_str(p->r, v);
    } else {
        jinja_buffer *b = jinja_buffer_open(p->r);
        jinja_put_repr(p->r, b, v);
        text = jinja_buffer_finish(p->r, b);
        if (d->type == 'a')
            text = jinja_ascii(p->r, text.string);
        if (p->escape)
            text = jinja_escape(p->r, text);
    }
    const jinja_string *s = text.string;
    size_t length = s->length;
    if (d->precision >= 0 && (size_t)d->precision < jinja_points(s))
        length = jinja_point_offset(s, (size_t)d->precision);
    put_padded(p, out, d, s->data, length, 0, false);
}

static size_t put_sign(const directive *d, char *text, bool negative)
{
    if (!negative && !d->plus && !d->space)
        return 0;
    text[0] = negative ? '-' : d->plus ? '+' : ' ';
    return 1;
}

static void put_whole(printer *p, jinja_buffer *out, const directive *d, jinja_value v)
{
    bool decimal = d->type == 'd' || d->type == 'i' || d->type == 'u';
    if (!(decimal ? jinja_is_number(v) : jinja_is_whole(v)) || (p->escape && !decimal))
        jinja_fail(p->r, JINJA_TYPE_ERROR, "%%%c format: a number is required, not %s", d->type,
                   jinja_type_name(v));
    bool huge = v.type == JINJA_FLOAT && isfinite(v.number) && fabs(v.number) >= 0x1p63;
    int64_t n = huge                    ? (v.number < 0 ? -1 : 1)
                : v.type == JINJA_FLOAT ? jinja_float_to_whole(p->r, v.number)
                                        : jinja_whole(v);
    uint64_t u = n < 0 ? -(uint64_t)n : (uint64_t)n;
    char digits[400], sign[4];
    const char *format = decimal          ? "%llu"
                         : d->type == 'o' ? "%llo"
                         : d->type == 'x' ? "%llx"
                                          : "%llX";
    size_t length = huge ? (size_t)sprintf(digits, "%.0f", fabs(v.number)) /* exact: it is whole */
                         : (size_t)sprintf(digits, format, (unsigned long long)u);
    size_t head = put_sign(d, sign, n < 0);
    if (d->alternate && !decimal) {
        sign[head++] = '0';
        sign[head++] = d->type;
    }
    jinja_buffer *b = jinja_buffer_open(p->r);
    jinja_put(p->r, b, sign, head);
    jinja_put_fill(p->r, b, '0', d->precision - (int64_t)length);
    jinja_put(p->r, b, digits, length);
    put_padded(p, out, d, b->data, b->length, head, d->zero);
    jinja_buffer_close(p->r, b);
}

static void put_float(printer *p, jinja_buffer *out, const directive *d, jinja_value v)
{
    jinja_need_defined(p->r, v);
    if (!jinja_is_number(v))
        jinja_fail(p->r, JINJA_TYPE_ERROR, "must be real number, not %s", jinja_type_name(v));
    double x = jinja_number(v);
    int64_t precision = d->precision < 0 ? 6 : d->precision;
    if (precision > 1000)
        jinja_fail(p->r, JINJA_LIMIT, "a precision of more than 1000 digits");
    char format[16], text[1500], *t = text;
    t += put_sign(d, t, signbit(x) && !isnan(x));
    size_t head = (size_t)(t - text);
    snprintf(format, sizeof format, "%%%s.*%c", d->alternate ? "#" : "", d->type);
    if (isfinite(x))
        t += snprintf(t, sizeof text - head, format, (int)precision, fabs(x));
    else
        t += sprintf(t, "%s", isnan(x) ? (d->type < 'a' ? "NAN" : "nan") : d->type < 'a' ? "INF" : "inf");
    put_padded(p, out, d, text, (size_t)(t - text), head, d->zero);
}

static void put_character(printer *p, jinja_buffer *out, const directive *d, jinja_value v)
{
    if (jinja_is_whole(v) && !p->escape) {
        int64_t c = jinja_whole(v);
        if (c < 0 || c > 0x10FFFF)
            jinja_fail(p->r, JINJA_OVERFLOW_ERROR, "%%c arg not in range(0x110000)");
        if (c >= 0xD800 && c <= 0xDFFF)
            jinja_fail(p->r, JINJA_UNSUPPORTED, "a lone surrogate");
        jinja_buffer *b = jinja_buffer_open(p->r);
        jinja_put_point(p->r, b, (uint32_t)c);
        put_padded(p, out, d, b->data, b->length, 0, false);
        jinja_buffer_close(p->r, b);
        return;
    }
    if (v.type != JINJA_STRING || jinja_points(v.string) != 1 || p->escape)
        jinja_fail(p->r, JINJA_TYPE_ERROR, "%%c requires int or char");
    put_padded(p, out, d, v.string->data, v.string->length, 0, false);
}

static jinja_value keyed_argument(printer *p, jinja_value key)
{
    p->used_mapping = true;
    jinja_value *found = p->arguments.type == JINJA_DICT ? jinja_dict_get(p->r, p->arguments.dict, key) : NULL;
    if (!found)
        jinja_fail(p->r, JINJA_KEY_ERROR, "'%.*s'", (int)key.string->length, key.string->data);
    return *found;
}

static void put_directive(printer *p, jinja_buffer *out)
{
    directive d = read_directive(p);
    if (d.type == '%') {
        jinja_put(p->r, out, "%", 1);
        return;
    }
    if (!strchr("sradiuoxXeEfFgGc", d.type) || !d.type)
        jinja_fail(p->r, JINJA_VALUE_ERROR, "unsupported format character '%c'", d.type);
    jinja_value v = d.key.type != JINJA_MISSING ? keyed_argument(p, d.key) : next_argument(p);
    if (strchr("sra", d.type))
        put_text_directive(p, out, &d, v);
    else if (strchr("diuoxX", d.type))
        put_whole(p, out, &d, v);
    else if (d.type == 'c')
        put_character(p, out, &d, v);
    else
        put_float(p, out, &d, v);
}

jinja_value jinja_percent(jinja_run *r, const jinja_string *format, jinja_value arguments)
{
    printer p = {.r = r, .format = format, .arguments = arguments, .escape = format->markup};
    jinja_buffer *out = jinja_buffer_open(r);
    while (p.at < format->length) {
        size_t from = p.at;
        p.at = jinja_find_bytes(format->data, format->length, from, "%", 1);
        if (p.at == SIZE_MAX)
            p.at = format->length;
        jinja_put(r, out, format->data + from, p.at - from);
        if (p.at < format->length) {
            p.at++;
            put_directive(&p, out);
        }
    }
    /* Anything that can be subscripted counts as a mapping, of which nothing need be used. */
    bool mapping = arguments.type == JINJA_DICT || arguments.type == JINJA_LIST ||
                   arguments.type == JINJA_RANGE || arguments.type == JINJA_UNDEFINED;
    size_t given = arguments.type == JINJA_TUPLE ? arguments.list->count : mapping ? 0 : 1;
    if (p.next < given)
        jinja_fail(r, JINJA_TYPE_ERROR, "not all arguments converted during string formatting");
    jinja_value v = jinja_buffer_finish(r, out);
    v.string->markup = format->markup;
    return v;
}
