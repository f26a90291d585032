/* str(), repr() and json.dumps(). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/jinja_loop.h"
#include "text/jinja_ops.h"
#include "text/jinja_unicode.h"

/* ---- numbers ------------------------------------------------------------------------------------ */

/* The shortest decimal digits that give x back, and the exponent of the first: x = 0.d1d2… * 10^point. */
static int shortest_digits(double x, char digits[20], int *point)
{
    char text[40];
    int precision = 0;
    for (; precision < 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, x);
        if (strtod(text, NULL) == x)
            break;
    }
    int n = 0;
    for (const char *p = text; *p && *p != 'e'; p++)
        if (*p >= '0' && *p <= '9')
            digits[n++] = *p;
    *point = atoi(strchr(text, 'e') + 1) + 1;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    return n;
}

size_t jinja_float_repr(char out[40], double x)
{
    char digits[20], *p = out;
    int point;
    if (isnan(x) || isinf(x))
        return (size_t)sprintf(out, "%s", isnan(x) ? "nan" : x < 0 ? "-inf" : "inf");
    if (signbit(x))
        *p++ = '-';
    int n = shortest_digits(fabs(x), digits, &point);
    if (point > 16 || point < -3) {
        *p++ = digits[0];
        if (n > 1) {
            *p++ = '.';
            memcpy(p, digits + 1, (size_t)n - 1);
            p += n - 1;
        }
        p += sprintf(p, "e%c%02d", point - 1 < 0 ? '-' : '+', abs(point - 1));
        return (size_t)(p - out);
    }
    if (point <= 0) {
        p += sprintf(p, "0.");
        for (int i = point; i < 0; i++)
            *p++ = '0';
    }
    for (int i = 0; i < n || i < point; i++) {
        *p++ = i < n ? digits[i] : '0';
        if (i + 1 == point) {
            *p++ = '.';
            if (i + 1 >= n)
                *p++ = '0';
        }
    }
    *p = 0;
    return (size_t)(p - out);
}

/* ---- repr ------------------------------------------------------------------------------------------- */

static void put_string_repr(jinja_run *r, jinja_buffer *out, const jinja_string *s)
{
    bool single = memchr(s->data, '\'', s->length) != NULL;
    char quote = single && !memchr(s->data, '"', s->length) ? '"' : '\'';
    jinja_put(r, out, &quote, 1);
    size_t width;
    for (size_t i = 0; i < s->length; i += width) {
        uint32_t c = utf8_decode(s->data + i, &width);
        if (c == (unsigned char)quote || c == '\\')
            jinja_printf(r, out, "\\%c", (char)c);
        else if (c == '\n' || c == '\t' || c == '\r')
            jinja_puts(r, out, c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\r");
        else if (jinja_is_printable(c))
            jinja_put(r, out, s->data + i, width);
        else
            jinja_printf(r, out, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
    }
    jinja_put(r, out, &quote, 1);
}

static void put_items_repr(jinja_run *r, jinja_buffer *out, const jinja_list *l, const char *open,
                           const char *close)
{
    jinja_puts(r, out, open);
    for (size_t i = 0; i < l->count; i++) {
        if (i)
            jinja_puts(r, out, ", ");
        jinja_put_repr(r, out, l->items[i]);
    }
    jinja_puts(r, out, close);
}

/* sorted(dict.items()): by key, then by value where keys are equal, which they are not. */
static jinja_pair *sorted_pairs(jinja_run *r, const jinja_dict *d)
{
    jinja_value *keys = jinja_alloc(r, d->count, sizeof *keys);
    jinja_value *order = jinja_alloc(r, d->count, sizeof *order);
    jinja_pair *pairs = jinja_alloc(r, d->count, sizeof *pairs);
    for (size_t i = 0; i < d->count; i++) {
        keys[i] = d->pairs[i].key;
        order[i] = jinja_int((int64_t)i);
    }
    jinja_sort(r, order, keys, d->count, false);
    for (size_t i = 0; i < d->count; i++)
        pairs[i] = d->pairs[order[i].integer];
    return pairs;
}

static void put_dict_repr(jinja_run *r, jinja_buffer *out, const jinja_dict *d)
{
    const jinja_pair *pairs = r->sort_dicts ? sorted_pairs(r, d) : d->pairs;
    jinja_puts(r, out, "{");
    for (size_t i = 0; i < d->count; i++) {
        if (i)
            jinja_puts(r, out, ", ");
        jinja_put_repr(r, out, pairs[i].key);
        jinja_puts(r, out, ": ");
        jinja_put_repr(r, out, pairs[i].value);
    }
    jinja_puts(r, out, "}");
}

static void put_view_repr(jinja_run *r, jinja_buffer *out, const jinja_view *v)
{
    static const char *const names[] = {"dict_keys([", "dict_values([", "dict_items(["};
    jinja_puts(r, out, names[v->kind]);
    for (size_t i = 0; i < v->dict->count; i++) {
        const jinja_pair *p = &v->dict->pairs[i];
        if (i)
            jinja_puts(r, out, ", ");
        if (v->kind == JINJA_ITEMS)
            jinja_puts(r, out, "(");
        if (v->kind != JINJA_VALUES)
            jinja_put_repr(r, out, p->key);
        if (v->kind == JINJA_ITEMS)
            jinja_puts(r, out, ", ");
        if (v->kind != JINJA_KEYS)
            jinja_put_repr(r, out, p->value);
        if (v->kind == JINJA_ITEMS)
            jinja_puts(r, out, ")");
    }
    jinja_puts(r, out, "])");
}

static void put_namespace_repr(jinja_run *r, jinja_buffer *out, jinja_namespace *ns)
{
    jinja_puts(r, out, "<Namespace ");
    if (ns->printing) {
        jinja_puts(r, out, "{...}");
    } else {
        ns->printing = true;
        put_dict_repr(r, out, ns->attributes);
        ns->printing = false;
    }
    jinja_puts(r, out, ">");
}

static void put_macro_repr(jinja_run *r, jinja_buffer *out, const jinja_macro *m)
{
    jinja_value name = m->node->macro->name;
    jinja_puts(r, out, "<Macro ");
    if (name.type == JINJA_STRING)
        put_string_repr(r, out, name.string);
    else
        jinja_puts(r, out, "anonymous");
    jinja_puts(r, out, ">");
}

static void put_number(jinja_run *r, jinja_buffer *out, jinja_value v)
{
    char text[40];
    if (v.type == JINJA_FLOAT)
        jinja_put(r, out, text, jinja_float_repr(text, v.number));
    else
        jinja_printf(r, out, "%lld", (long long)v.integer);
}

void jinja_put_repr(jinja_run *r, jinja_buffer *out, jinja_value v)
{
    jinja_deepen(r);
    switch ((jinja_type)v.type) {
    case JINJA_UNDEFINED:
        jinja_puts(r, out, "Undefined");
        break;
    case JINJA_NONE:
        jinja_puts(r, out, "None");
        break;
    case JINJA_BOOL:
        jinja_puts(r, out, v.boolean ? "True" : "False");
        break;
    case JINJA_INT:
    case JINJA_FLOAT:
        put_number(r, out, v);
        break;
    case JINJA_STRING:
        if (v.string->markup)
            jinja_puts(r, out, "Markup(");
        put_string_repr(r, out, v.string);
        if (v.string->markup)
            jinja_puts(r, out, ")");
        break;
    case JINJA_LIST:
        put_items_repr(r, out, v.list, "[", "]");
        break;
    case JINJA_TUPLE:
        put_items_repr(r, out, v.list, "(", v.list->count == 1 ? ",)" : ")");
        break;
    case JINJA_DICT:
        put_dict_repr(r, out, v.dict);
        break;
    case JINJA_RANGE:
        jinja_printf(r, out, "range(%lld, %lld", (long long)v.range->start, (long long)v.range->stop);
        if (v.range->step != 1)
            jinja_printf(r, out, ", %lld", (long long)v.range->step);
        jinja_puts(r, out, ")");
        break;
    case JINJA_VIEW:
        put_view_repr(r, out, v.view);
        break;
    case JINJA_NAMESPACE:
        put_namespace_repr(r, out, v.ns);
        break;
    case JINJA_MACRO:
        put_macro_repr(r, out, v.macro);
        break;
    case JINJA_LOOP:
        jinja_printf(r, out, "<LoopContext %lld/%lld>", (long long)v.loop->index0 + 1,
                     (long long)jinja_loop_length(r, v.loop));
        break;
    default:
        jinja_fail(r, JINJA_UNSUPPORTED, "printing a %s (its text has a memory address in it)",
                   jinja_type_name(v));
    }
    r->depth--;
}

/* ---- str -------------------------------------------------------------------------------------------- */

void jinja_put_str(jinja_run *r, jinja_buffer *out, jinja_value v)
{
    if (v.type == JINJA_STRING)
        jinja_put(r, out, v.string->data, v.string->length);
    else if (v.type != JINJA_UNDEFINED)
        jinja_put_repr(r, out, v);
}

jinja_value jinja_str(jinja_run *r, jinja_value v)
{
    if (v.type == JINJA_STRING)
        return jinja_as_markup(r, v, false);
    if (v.type == JINJA_UNDEFINED)
        return jinja_text(r, "");
    jinja_buffer *b = jinja_buffer_open(r);
    jinja_put_repr(r, b, v);
    return jinja_buffer_finish(r, b);
}

jinja_value jinja_soft_str(jinja_run *r, jinja_value v)
{
    return v.type == JINJA_STRING ? v : jinja_str(r, v);
}

jinja_value jinja_ascii(jinja_run *r, const jinja_string *s)
{
    jinja_buffer *b = jinja_buffer_open(r);
    size_t width;
    for (size_t i = 0; i < s->length; i += width) {
        uint32_t c = utf8_decode(s->data + i, &width);
        if (c < 0x80)
            jinja_put(r, b, s->data + i, 1);
        else
            jinja_printf(r, b, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
    }
    return jinja_buffer_finish(r, b);
}

/* ---- json.dumps ----------------------------------------------------------------------------------------- */

static void put_json_string(jinja_run *r, jinja_buffer *out, const jinja_string *s, bool ascii)
{
    static const char plain[] = "\"\\\n\r\t\f\b", letter[] = "\"\\nrtfb";
    jinja_puts(r, out, "\"");
    size_t width;
    for (size_t i = 0; i < s->length; i += width) {
        uint32_t c = utf8_decode(s->data + i, &width);
        const char *special = c && c < 0x80 ? strchr(plain, (int)c) : NULL;
        if (special)
            jinja_printf(r, out, "\\%c", letter[special - plain]);
        else if (c < 0x20 || (ascii && c > 0x7E && c < 0x10000))
            jinja_printf(r, out, c == 0x7F ? "\x7F" : "\\u%04x", c);
        else if (ascii && c >= 0x10000)
            jinja_printf(r, out, "\\u%04x\\u%04x", 0xD800 + ((c - 0x10000) >> 10),
                         0xDC00 + ((c - 0x10000) & 0x3FF));
        else
            jinja_put(r, out, s->data + i, width);
    }
    jinja_puts(r, out, "\"");
}

static void put_json_number(jinja_run *r, jinja_buffer *out, jinja_value v)
{
    if (v.type == JINJA_BOOL)
        jinja_puts(r, out, v.boolean ? "true" : "false");
    else if (v.type == JINJA_FLOAT && isnan(v.number))
        jinja_puts(r, out, "NaN");
    else if (v.type == JINJA_FLOAT && isinf(v.number))
        jinja_puts(r, out, v.number < 0 ? "-Infinity" : "Infinity");
    else
        put_number(r, out, v);
}

static void put_json_key(jinja_run *r, jinja_buffer *out, jinja_value key, bool ascii)
{
    if (key.type == JINJA_STRING) {
        put_json_string(r, out, key.string, ascii);
        return;
    }
    if (!jinja_is_number(key) && key.type != JINJA_NONE)
        jinja_fail(r, JINJA_TYPE_ERROR, "keys must be str, int, float, bool or None, not %s",
                   jinja_type_name(key));
    jinja_puts(r, out, "\"");
    if (key.type == JINJA_NONE)
        jinja_puts(r, out, "null");
    else
        put_json_number(r, out, key);
    jinja_puts(r, out, "\"");
}

static void put_json_value(jinja_run *r, jinja_buffer *out, jinja_value v, const jinja_json_style *style,
                           int level);

static void put_json_break(jinja_run *r, jinja_buffer *out, const jinja_json_style *style, int level)
{
    if (!style->indent)
        return;
    jinja_puts(r, out, "\n");
    for (int i = 0; i < level; i++)
        jinja_put(r, out, style->indent->data, style->indent->length);
}

static void put_json_list(jinja_run *r, jinja_buffer *out, const jinja_list *l,
                          const jinja_json_style *style, int level)
{
    jinja_puts(r, out, "[");
    for (size_t i = 0; i < l->count; i++) {
        if (i)
            jinja_put(r, out, style->item_separator->data, style->item_separator->length);
        put_json_break(r, out, style, level + 1);
        put_json_value(r, out, l->items[i], style, level + 1);
    }
    if (l->count)
        put_json_break(r, out, style, level);
    jinja_puts(r, out, "]");
}

static void put_json_dict(jinja_run *r, jinja_buffer *out, const jinja_dict *d,
                          const jinja_json_style *style, int level)
{
    const jinja_pair *pairs = style->sort ? sorted_pairs(r, d) : d->pairs;
    jinja_puts(r, out, "{");
    for (size_t i = 0; i < d->count; i++) {
        if (i)
            jinja_put(r, out, style->item_separator->data, style->item_separator->length);
        put_json_break(r, out, style, level + 1);
        put_json_key(r, out, pairs[i].key, style->ascii);
        jinja_put(r, out, style->key_separator->data, style->key_separator->length);
        put_json_value(r, out, pairs[i].value, style, level + 1);
    }
    if (d->count)
        put_json_break(r, out, style, level);
    jinja_puts(r, out, "}");
}

static void put_json_value(jinja_run *r, jinja_buffer *out, jinja_value v, const jinja_json_style *style,
                           int level)
{
    jinja_deepen(r);
    if (v.type == JINJA_NONE)
        jinja_puts(r, out, "null");
    else if (jinja_is_number(v))
        put_json_number(r, out, v);
    else if (v.type == JINJA_STRING)
        put_json_string(r, out, v.string, style->ascii);
    else if (v.type == JINJA_LIST || v.type == JINJA_TUPLE)
        put_json_list(r, out, v.list, style, level);
    else if (v.type == JINJA_DICT)
        put_json_dict(r, out, v.dict, style, level);
    else
        jinja_fail(r, JINJA_TYPE_ERROR, "Object of type %s is not JSON serializable", jinja_type_name(v));
    r->depth--;
}

void jinja_put_json(jinja_run *r, jinja_buffer *out, jinja_value v, const jinja_json_style *style)
{
    put_json_value(r, out, v, style, 0);
}
