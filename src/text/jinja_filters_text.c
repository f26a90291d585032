/* Filters on text and numbers. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "text/jinja_builtins.h"
#include "text/jinja_ops.h"
#include "text/jinja_unicode.h"

#define FILTER(name)                                                                               \
    static jinja_value name(jinja_run *r, jinja_value self, const jinja_value *arg, const jinja_call *call)
#define UNUSED (void)r, (void)self, (void)arg, (void)call
#define GIVEN(i) (arg[i].type != JINJA_MISSING)

/* A method of str on the text of arg[0]. */
static jinja_value text_method(jinja_run *r, const char *name, jinja_value v, const jinja_value *more, size_t n)
{
    jinja_value text = jinja_soft_str(r, v);
    jinja_call call = {more, n, NULL, 0};
    return jinja_call_builtin(r, jinja_find_method(text, name, strlen(name)), text, &call);
}

static const jinja_string *need_text(jinja_run *r, jinja_value v)
{
    jinja_need_defined(r, v);
    if (v.type != JINJA_STRING)
        jinja_fail(r, JINJA_TYPE_ERROR, "expected a string, not %s", jinja_type_name(v));
    return v.string;
}

/* ---- case and space ----------------------------------------------------------------------------- */

FILTER(filter_upper)
{
    UNUSED;
    return text_method(r, "upper", arg[0], NULL, 0);
}

FILTER(filter_lower)
{
    UNUSED;
    return text_method(r, "lower", arg[0], NULL, 0);
}

FILTER(filter_capitalize)
{
    UNUSED;
    return text_method(r, "capitalize", arg[0], NULL, 0);
}

FILTER(filter_trim)
{
    UNUSED;
    return text_method(r, "strip", arg[0], arg + 1, GIVEN(1));
}

FILTER(filter_center)
{
    UNUSED;
    jinja_value width = GIVEN(1) ? arg[1] : jinja_int(80);
    return text_method(r, "center", arg[0], &width, 1);
}

static bool begins_word(uint32_t c)
{
    return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || jinja_is_space(c);
}

/* Words begin after white space, hyphens and opening brackets. */
FILTER(filter_title)
{
    UNUSED;
    const jinja_string *s = jinja_soft_str(r, arg[0]).string;
    jinja_buffer *b = jinja_buffer_open(r);
    size_t i = 0, width;
    while (i < s->length) {
        size_t from = i;
        bool mark = begins_word(utf8_decode(s->data + i, &width));
        size_t first = width;
        while (i < s->length && begins_word(utf8_decode(s->data + i, &width)) == mark)
            i += width;
        jinja_convert_case(r, b, s->data + from, first, JINJA_UPPER);
        jinja_convert_case(r, b, s->data + from + first, i - from - first, JINJA_LOWER);
    }
    return jinja_buffer_finish(r, b);
}

FILTER(filter_indent)
{
    UNUSED;
    const jinja_string *s = need_text(r, arg[0]);
    jinja_value unit = jinja_text(r, "    ");
    if (GIVEN(1) && arg[1].type == JINJA_STRING)
        unit = arg[1];
    else if (GIVEN(1))
        unit = jinja_binary(r, JINJA_MUL, jinja_text(r, " "), jinja_int(jinja_index_value(r, arg[1])));
    bool first = GIVEN(2) && jinja_truth(arg[2]), blank = GIVEN(3) && jinja_truth(arg[3]);
    jinja_value text = jinja_join_two(r, arg[0], jinja_text(r, "\n"));
    const jinja_list *lines = text_method(r, "splitlines", text, NULL, 0).list;
    jinja_buffer *b = jinja_buffer_open(r);
    for (size_t i = 0; i < lines->count; i++) {
        const jinja_string *line = lines->items[i].string;
        if (i)
            jinja_puts(r, b, "\n");
        if (i ? line->length || blank : first)
            jinja_put(r, b, unit.string->data, unit.string->length);
        jinja_put(r, b, line->data, line->length);
    }
    jinja_value v = jinja_buffer_finish(r, b);
    v.string->markup = s->markup;
    return v;
}

FILTER(filter_truncate)
{
    UNUSED;
    jinja_value end = GIVEN(3) ? arg[3] : jinja_text(r, "...");
    int64_t length = GIVEN(1) ? jinja_index_value(r, arg[1]) : 255, tail = jinja_length(r, end);
    int64_t leeway = GIVEN(4) && arg[4].type != JINJA_NONE ? jinja_index_value(r, arg[4]) : 5;
    if (length < tail || leeway < 0)
        jinja_fail(r, JINJA_ASSERTION_ERROR, "truncate: length or leeway is too small");
    if (jinja_length(r, arg[0]) - length <= leeway)
        return arg[0];
    jinja_value cut = jinja_slice(r, arg[0], jinja_none(), jinja_int(length - tail), jinja_none());
    if (!(GIVEN(2) && jinja_truth(arg[2]))) {
        need_text(r, cut);
        jinja_value how[2] = {jinja_text(r, " "), jinja_int(1)};
        cut = text_method(r, "rsplit", cut, how, 2).list->items[0];
    }
    return jinja_add_values(r, cut, end);
}

FILTER(filter_wordcount)
{
    UNUSED;
    const jinja_string *s = jinja_soft_str(r, arg[0]).string;
    int64_t words = 0;
    bool inside = false;
    size_t width;
    for (size_t i = 0; i < s->length; i += width) {
        uint32_t c = utf8_decode(s->data + i, &width);
        bool word = c == '_' || jinja_is_alnum(c);
        words += word && !inside;
        inside = word;
    }
    jinja_charge_bytes(r, s->length * 4);
    return jinja_int(words);
}

/* ---- replacing, formatting, escaping -------------------------------------------------------------- */

FILTER(filter_replace)
{
    UNUSED;
    jinja_value old = jinja_str(r, arg[1]), new = jinja_str(r, arg[2]);
    int64_t most = GIVEN(3) && arg[3].type != JINJA_NONE ? jinja_index_value(r, arg[3]) : -1;
    return jinja_replace(r, jinja_str(r, arg[0]).string, old.string, new.string, most);
}

FILTER(filter_format)
{
    UNUSED;
    if (!call->count)
        jinja_fail(r, JINJA_TYPE_ERROR, "format() needs a value");
    if (call->count > 1 && call->named_count)
        jinja_fail(r, JINJA_FILTER_ERROR, "can't handle positional and keyword arguments at the same time");
    jinja_value values = jinja_tuple_of(r, call->positional + 1, call->count - 1);
    if (call->named_count) {
        jinja_dict *d = jinja_dict_new(r);
        for (size_t i = 0; i < call->named_count; i++)
            jinja_dict_set(r, d, call->named[i].key, call->named[i].value);
        values = jinja_of_dict(d);
    }
    return jinja_percent(r, jinja_soft_str(r, call->positional[0]).string, values);
}

FILTER(filter_string)
{
    UNUSED;
    return jinja_soft_str(r, arg[0]);
}

FILTER(filter_safe)
{
    UNUSED;
    return jinja_as_markup(r, jinja_soft_str(r, arg[0]), true);
}

FILTER(filter_escape)
{
    UNUSED;
    return jinja_escape(r, arg[0]);
}

FILTER(filter_forceescape)
{
    UNUSED;
    return jinja_escape(r, jinja_str(r, arg[0]));
}

FILTER(filter_default)
{
    UNUSED;
    bool use = arg[0].type == JINJA_UNDEFINED || (GIVEN(2) && jinja_truth(arg[2]) && !jinja_truth(arg[0]));
    return !use ? arg[0] : GIVEN(1) ? arg[1] : jinja_text(r, "");
}

FILTER(filter_attr)
{
    UNUSED;
    if (arg[1].type != JINJA_STRING)
        jinja_fail(r, JINJA_TYPE_ERROR, "attribute name must be string, not '%s'", jinja_type_name(arg[1]));
    return jinja_attribute(r, arg[0], arg[1]);
}

static void put_quoted(jinja_run *r, jinja_buffer *b, jinja_value v, bool query)
{
    const jinja_string *s = jinja_str(r, v).string;
    for (size_t i = 0; i < s->length; i++) {
        unsigned char c = (unsigned char)s->data[i];
        if ((c < 0x80 && jinja_is_name_point(c, false)) || c == '.' || c == '-' || c == '~' || (c == '/' && !query))
            jinja_put(r, b, s->data + i, 1);
        else if (c == ' ' && query)
            jinja_puts(r, b, "+");
        else
            jinja_printf(r, b, "%%%02X", c);
    }
}

FILTER(filter_urlencode)
{
    UNUSED;
    jinja_buffer *b = jinja_buffer_open(r);
    if (arg[0].type == JINJA_STRING || !jinja_iterable(arg[0])) {
        put_quoted(r, b, arg[0], false);
        return jinja_buffer_finish(r, b);
    }
    jinja_value items = arg[0];
    jinja_view view = {items.dict, JINJA_ITEMS};
    if (items.type == JINJA_DICT)
        items = (jinja_value){.type = JINJA_VIEW, .view = &view};
    jinja_list_builder pairs = jinja_collect(r, items);
    for (size_t i = 0; i < pairs.count; i++) {
        jinja_list_builder pair = jinja_collect(r, pairs.items[i]);
        if (pair.count != 2)
            jinja_fail(r, JINJA_VALUE_ERROR, "urlencode needs pairs");
        if (i)
            jinja_puts(r, b, "&");
        put_quoted(r, b, pair.items[0], true);
        jinja_puts(r, b, "=");
        put_quoted(r, b, pair.items[1], true);
    }
    return jinja_buffer_finish(r, b);
}

FILTER(filter_xmlattr)
{
    UNUSED;
    if (arg[0].type != JINJA_DICT)
        jinja_fail(r, JINJA_TYPE_ERROR, "xmlattr needs a mapping");
    jinja_buffer *b = jinja_buffer_open(r);
    bool space = !GIVEN(1) || jinja_truth(arg[1]);
    for (size_t i = 0; i < arg[0].dict->count; i++) {
        const jinja_pair *p = &arg[0].dict->pairs[i];
        if (p->value.type == JINJA_NONE || p->value.type == JINJA_UNDEFINED)
            continue;
        const jinja_string *key = need_text(r, p->key);
        for (size_t k = 0; k < key->length; k++)
            if (key->data[k] && strchr(" \t\n\r\f\v/>=", key->data[k]))
                jinja_fail(r, JINJA_VALUE_ERROR, "Invalid character in attribute name");
        if (b->length || space)
            jinja_puts(r, b, " ");
        jinja_value name = jinja_escape(r, p->key), value = jinja_escape(r, p->value);
        jinja_put(r, b, name.string->data, name.string->length);
        jinja_puts(r, b, "=\"");
        jinja_put(r, b, value.string->data, value.string->length);
        jinja_puts(r, b, "\"");
    }
    return jinja_buffer_finish(r, b);
}

/* Markup(value).striptags(); entities, which it would decode, are refused. */
FILTER(filter_striptags)
{
    UNUSED;
    const jinja_string *s = jinja_str(r, arg[0]).string;
    jinja_buffer *b = jinja_buffer_open(r);
    size_t at = 0, open, close;
    while ((open = jinja_find_bytes(s->data, s->length, at, "<", 1)) != SIZE_MAX) {
        bool comment = s->length - open >= 4 && memcmp(s->data + open, "<!--", 4) == 0;
        close = comment ? jinja_find_bytes(s->data, s->length, open + 4, "-->", 3)
                        : jinja_find_bytes(s->data, s->length, open, ">", 1);
        if (close == SIZE_MAX)
            break;
        jinja_put(r, b, s->data + at, open - at);
        at = close + (comment ? 3 : 1);
    }
    jinja_put(r, b, s->data + at, s->length - at);
    jinja_value text = jinja_buffer_finish(r, b);
    if (memchr(text.string->data, '&', text.string->length))
        jinja_fail(r, JINJA_UNSUPPORTED, "striptags on text with HTML entities");
    jinja_value words = text_method(r, "split", text, NULL, 0);
    return text_method(r, "join", jinja_text(r, " "), &words, 1);
}

/* pprint.pformat, as far as the value fits into one line. */
FILTER(filter_pprint)
{
    UNUSED;
    jinja_buffer *b = jinja_buffer_open(r);
    r->sort_dicts = true;
    jinja_put_repr(r, b, arg[0]);
    r->sort_dicts = false;
    if (jinja_count_points(b->data, b->length) > 80)
        jinja_fail(r, JINJA_UNSUPPORTED, "pprint of more than one line");
    return jinja_buffer_finish(r, b);
}

/* ---- tojson ---------------------------------------------------------------------------------------- */

static const jinja_string *json_indent(jinja_run *r, jinja_value v)
{
    if (v.type == JINJA_MISSING || v.type == JINJA_NONE)
        return NULL;
    if (v.type == JINJA_STRING)
        return v.string;
    return jinja_binary(r, JINJA_MUL, jinja_text(r, " "), jinja_int(jinja_index_value(r, v))).string;
}

FILTER(filter_tojson)
{
    UNUSED;
    jinja_json_style style = {.ascii = GIVEN(1) && jinja_truth(arg[1]), .sort = GIVEN(4) && jinja_truth(arg[4])};
    style.indent = json_indent(r, arg[2]);
    style.item_separator = jinja_text(r, style.indent ? "," : ", ").string;
    style.key_separator = jinja_text(r, ": ").string;
    if (GIVEN(3) && arg[3].type != JINJA_NONE) {
        jinja_list_builder two = jinja_collect(r, arg[3]);
        if (two.count != 2)
            jinja_fail(r, JINJA_VALUE_ERROR, "separators must be two strings");
        style.item_separator = need_text(r, two.items[0]);
        style.key_separator = need_text(r, two.items[1]);
    }
    jinja_buffer *b = jinja_buffer_open(r);
    jinja_put_json(r, b, arg[0], &style);
    return jinja_buffer_finish(r, b);
}

/* ---- numbers ------------------------------------------------------------------------------------------ */

FILTER(filter_abs)
{
    UNUSED;
    jinja_value v = arg[0];
    if (!jinja_is_number(v))
        jinja_fail(r, JINJA_TYPE_ERROR, "bad operand type for abs(): '%s'", jinja_type_name(v));
    if (v.type == JINJA_FLOAT)
        return jinja_float(fabs(v.number));
    return jinja_negate(r, v, jinja_whole(v) < 0);
}

FILTER(filter_int)
{
    UNUSED;
    jinja_value v = arg[0], fallback = GIVEN(1) ? arg[1] : jinja_int(0);
    int64_t base = GIVEN(2) && jinja_is_whole(arg[2]) ? jinja_whole(arg[2]) : 10, whole;
    double x;
    jinja_need_defined(r, v);
    if (jinja_is_whole(v))
        return jinja_int(jinja_whole(v));
    if (v.type == JINJA_FLOAT)
        return isnan(v.number) ? fallback : jinja_int(jinja_float_to_whole(r, v.number));
    if (v.type != JINJA_STRING)
        return fallback;
    bool base_fits = !GIVEN(2) || jinja_is_whole(arg[2]);
    if (base_fits && jinja_parse_whole(r, v.string, base, &whole))
        return jinja_int(whole);
    if (!jinja_parse_float(r, v.string, &x) || !isfinite(x))
        return fallback;
    return jinja_int(jinja_float_to_whole(r, x));
}

FILTER(filter_float)
{
    UNUSED;
    double x;
    jinja_need_defined(r, arg[0]);
    if (jinja_is_number(arg[0]))
        return jinja_float(jinja_number(arg[0]));
    if (arg[0].type == JINJA_STRING && jinja_parse_float(r, arg[0].string, &x))
        return jinja_float(x);
    return GIVEN(1) ? arg[1] : jinja_float(0);
}

FILTER(filter_round)
{
    UNUSED;
    jinja_value v = arg[0], method = GIVEN(2) ? arg[2] : jinja_text(r, "common");
    jinja_value precision = GIVEN(1) ? arg[1] : jinja_int(0);
    bool ceiling = jinja_text_is(method, "ceil"), floors = jinja_text_is(method, "floor");
    jinja_need_defined(r, v);
    if (!ceiling && !floors && !jinja_text_is(method, "common"))
        jinja_fail(r, JINJA_FILTER_ERROR, "method must be common, ceil or floor");
    if (!jinja_is_number(v))
        jinja_fail(r, JINJA_TYPE_ERROR, "type %s doesn't define __round__ method", jinja_type_name(v));
    if (ceiling || floors) {
        jinja_value scale = jinja_binary(r, JINJA_POW, jinja_int(10), precision);
        jinja_value scaled = jinja_binary(r, JINJA_MUL, v, scale);
        if (scaled.type == JINJA_FLOAT && fabs(scaled.number) >= 0x1p63 && isfinite(scaled.number))
            return jinja_binary(r, JINJA_DIV, scaled, scale); /* a whole number already */
        if (scaled.type == JINJA_FLOAT)
            scaled = jinja_int(jinja_float_to_whole(r, ceiling ? ceil(scaled.number) : floor(scaled.number)));
        return jinja_binary(r, JINJA_DIV, scaled, scale);
    }
    if (precision.type == JINJA_NONE)
        return v.type == JINJA_FLOAT ? jinja_int(jinja_float_to_whole(r, rint(v.number))) : jinja_int(jinja_whole(v));
    int64_t digits = jinja_index_value(r, precision);
    return v.type == JINJA_FLOAT ? jinja_float(jinja_round_to(v.number, digits))
                                 : jinja_int(jinja_round_whole(r, jinja_whole(v), digits));
}

FILTER(filter_filesizeformat)
{
    UNUSED;
    static const char *const units[2][8] = {{"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"},
                                            {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"}};
    bool binary = GIVEN(1) && jinja_truth(arg[1]);
    double bytes, base = binary ? 1024 : 1000, unit = base;
    if (jinja_is_number(arg[0]))
        bytes = jinja_number(arg[0]);
    else if (!jinja_parse_float(r, need_text(r, arg[0]), &bytes))
        jinja_fail(r, JINJA_VALUE_ERROR, "could not convert string to float");
    char text[400];
    if (bytes == 1)
        return jinja_text(r, "1 Byte");
    if (bytes < base) {
        if (!isfinite(bytes))
            jinja_float_to_whole(r, bytes); /* fails */
        snprintf(text, sizeof text, "%.0f Bytes", trunc(bytes) == 0 ? 0.0 : trunc(bytes));
        return jinja_copy_text(r, text, strlen(text));
    }
    int i = 0;
    for (unit *= base; i < 7 && bytes >= unit; i++)
        unit *= base;
    snprintf(text, sizeof text, "%.1f %s", base * bytes / unit, units[binary][i]);
    return jinja_copy_text(r, text, strlen(text));
}

const jinja_builtin jinja_text_filters[] = {
    {"abs", "x", 1, JINJA_POSITIONAL, filter_abs},
    {"attr", "obj name", 2, 0, filter_attr},
    {"capitalize", "s", 1, 0, filter_capitalize},
    {"center", "value width", 1, 0, filter_center},
    {"d", "value default_value boolean", 1, 0, filter_default},
    {"default", "value default_value boolean", 1, 0, filter_default},
    {"e", "s", 1, JINJA_POSITIONAL, filter_escape},
    {"escape", "s", 1, JINJA_POSITIONAL, filter_escape},
    {"filesizeformat", "value binary", 1, 0, filter_filesizeformat},
    {"float", "value default", 1, 0, filter_float},
    {"forceescape", "value", 1, 0, filter_forceescape},
    {"format", "", 0, JINJA_RAW, filter_format},
    {"indent", "s width first blank", 1, 0, filter_indent},
    {"int", "value default base", 1, 0, filter_int},
    {"lower", "s", 1, 0, filter_lower},
    {"pprint", "value", 1, 0, filter_pprint},
    {"replace", "s old new count", 3, 0, filter_replace},
    {"round", "value precision method", 1, 0, filter_round},
    {"safe", "value", 1, 0, filter_safe},
    {"string", "s", 1, 0, filter_string},
    {"striptags", "value", 1, 0, filter_striptags},
    {"title", "s", 1, 0, filter_title},
    {"tojson", "x ensure_ascii indent separators sort_keys", 1, 0, filter_tojson},
    {"trim", "value chars", 1, 0, filter_trim},
    {"truncate", "s length killwords end leeway", 1, 0, filter_truncate},
    {"upper", "s", 1, 0, filter_upper},
    {"urlencode", "value", 1, 0, filter_urlencode},
    {"wordcount", "s", 1, 0, filter_wordcount},
    {"xmlattr", "d autospace", 1, 0, filter_xmlattr},
    {"random", "", 0, JINJA_REFUSED, NULL},
    {"urlize", "", 0, JINJA_REFUSED, NULL},
    {"wordwrap", "", 0, JINJA_REFUSED, NULL},
    {NULL, NULL, 0, 0, NULL},
};
