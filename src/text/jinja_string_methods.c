/* Methods of str: searching, splitting, stripping, replacing. What belongs to letters' case, to
 * classes of characters and to padding is in jinja_string_case.c. */
#include <string.h>

#include "text/jinja_builtins.h"
#include "text/jinja_ops.h"
#include "text/jinja_unicode.h"

/* A new string of the same kind (str or Markup) as self. */
static jinja_value like(jinja_run *r, jinja_value self, jinja_value v)
{
    return jinja_as_markup(r, v, self.string->markup);
}

static const jinja_string *need_string(jinja_run *r, jinja_value v, const char *method)
{
    jinja_need_defined(r, v);
    if (v.type != JINJA_STRING)
        jinja_fail(r, JINJA_TYPE_ERROR, "%s: argument must be str, not %s", method, jinja_type_name(v));
    return v.string;
}

/* ---- searching -------------------------------------------------------------------------------- */

typedef struct span {
    size_t from, to; /* bytes */
    bool empty;      /* start lies behind the end: not even "" is found */
} span;

static int64_t optional_index(jinja_run *r, jinja_value v, int64_t fallback)
{
    if (v.type == JINJA_MISSING || v.type == JINJA_NONE)
        return fallback;
    if (!jinja_is_whole(v))
        jinja_fail(r, JINJA_TYPE_ERROR, "slice indices must be integers or None or have an __index__ method");
    return jinja_whole(v);
}

/* The part of s that the optional start and end arguments choose. */
static span search_span(jinja_run *r, const jinja_string *s, jinja_value start, jinja_value end)
{
    int64_t n = (int64_t)jinja_points(s);
    int64_t from = optional_index(r, start, 0), to = optional_index(r, end, n);
    if (to > n)
        to = n;
    else if (to < 0)
        to = to < -n ? 0 : to + n;
    if (from < 0)
        from = from < -n ? 0 : from + n;
    jinja_charge_bytes(r, s->length);
    if (from > to)
        return (span){0, 0, true};
    return (span){jinja_point_offset(s, (size_t)from), jinja_point_offset(s, (size_t)to), false};
}

/* Compares at every place; long partial matches are charged for. */
static size_t find_last_bytes(jinja_run *r, const char *hay, span at, const char *needle, size_t n)
{
    if (at.to - at.from < n)
        return SIZE_MAX;
    for (size_t i = at.to - n + 1; i-- > at.from;) {
        size_t same = 0;
        while (same < n && hay[i + same] == needle[same])
            same++;
        if (same == n)
            return i;
        if (same >= 16)
            jinja_charge_bytes(r, same);
    }
    return SIZE_MAX;
}

/* Byte offset of arg[0] in self, or SIZE_MAX. */
static size_t search(jinja_run *r, jinja_value self, const jinja_value *arg, bool last, const char *name)
{
    const jinja_string *s = self.string, *needle = need_string(r, arg[0], name);
    span at = search_span(r, s, arg[1], arg[2]);
    if (at.empty)
        return SIZE_MAX;
    if (last)
        return find_last_bytes(r, s->data, at, needle->data, needle->length);
    return jinja_find_bytes(s->data, at.to, at.from, needle->data, needle->length);
}

static jinja_value found_at(const jinja_string *s, size_t at)
{
    return jinja_int(at == SIZE_MAX ? -1 : (int64_t)jinja_point_index(s, at));
}

#define METHOD(name)                                                                               \
    static jinja_value name(jinja_run *r, jinja_value self, const jinja_value *arg, const jinja_call *call)
#define UNUSED (void)r, (void)self, (void)arg, (void)call

METHOD(str_find)
{
    UNUSED;
    return found_at(self.string, search(r, self, arg, false, "find"));
}

METHOD(str_rfind)
{
    UNUSED;
    return found_at(self.string, search(r, self, arg, true, "rfind"));
}

static jinja_value need_found(jinja_run *r, jinja_value v)
{
    if (v.integer < 0)
        jinja_fail(r, JINJA_VALUE_ERROR, "substring not found");
    return v;
}

METHOD(str_index)
{
    return need_found(r, str_find(r, self, arg, call));
}

METHOD(str_rindex)
{
    return need_found(r, str_rfind(r, self, arg, call));
}

METHOD(str_count)
{
    UNUSED;
    const jinja_string *s = self.string, *needle = need_string(r, arg[0], "count");
    span at = search_span(r, s, arg[1], arg[2]);
    int64_t n = 0;
    if (at.empty)
        return jinja_int(0);
    if (!needle->length)
        return jinja_int((int64_t)jinja_count_points(s->data + at.from, at.to - at.from) + 1);
    size_t i = at.from;
    while ((i = jinja_find_bytes(s->data, at.to, i, needle->data, needle->length)) != SIZE_MAX) {
        n++;
        i += needle->length;
    }
    return jinja_int(n);
}

static bool affix_matches(const jinja_string *s, span at, const jinja_string *affix, bool end)
{
    if (at.empty || at.to - at.from < affix->length)
        return false;
    size_t from = end ? at.to - affix->length : at.from;
    return affix->length == 0 || memcmp(s->data + from, affix->data, affix->length) == 0;
}

static jinja_value has_affix(jinja_run *r, jinja_value self, const jinja_value *arg, bool end)
{
    span at = search_span(r, self.string, arg[1], arg[2]);
    jinja_need_defined(r, arg[0]);
    if (arg[0].type != JINJA_TUPLE) {
        if (arg[0].type != JINJA_STRING)
            jinja_fail(r, JINJA_TYPE_ERROR, "%s first arg must be str or a tuple of str, not %s",
                       end ? "endswith" : "startswith", jinja_type_name(arg[0]));
        return jinja_bool(affix_matches(self.string, at, arg[0].string, end));
    }
    for (size_t i = 0; i < arg[0].list->count; i++) {
        const jinja_string *affix = need_string(r, arg[0].list->items[i], end ? "endswith" : "startswith");
        if (affix_matches(self.string, at, affix, end))
            return jinja_bool(true);
    }
    return jinja_bool(false);
}

METHOD(str_startswith)
{
    UNUSED;
    return has_affix(r, self, arg, false);
}

METHOD(str_endswith)
{
    UNUSED;
    return has_affix(r, self, arg, true);
}

METHOD(str_removeprefix)
{
    UNUSED;
    const jinja_string *s = self.string, *affix = need_string(r, arg[0], "removeprefix");
    size_t n = affix_matches(s, (span){0, s->length, false}, affix, false) ? affix->length : 0;
    return jinja_part(r, s, n, s->length - n);
}

METHOD(str_removesuffix)
{
    UNUSED;
    const jinja_string *s = self.string, *affix = need_string(r, arg[0], "removesuffix");
    size_t n = affix_matches(s, (span){0, s->length, false}, affix, true) ? affix->length : 0;
    return jinja_part(r, s, 0, s->length - n);
}

/* ---- stripping ---------------------------------------------------------------------------------- */

/* What a strip takes away: white space, or the characters of a set. */
typedef struct strip_set {
    const jinja_string *chars; /* NULL: white space */
    bool ascii[128];           /* the ASCII ones in it */
} strip_set;

static strip_set make_strip_set(jinja_run *r, jinja_value chars)
{
    strip_set set = {0};
    if (chars.type == JINJA_MISSING || chars.type == JINJA_NONE)
        return set;
    set.chars = need_string(r, chars, "strip");
    for (size_t i = 0; i < set.chars->length; i++)
        if ((unsigned char)set.chars->data[i] < 0x80)
            set.ascii[(unsigned char)set.chars->data[i]] = true;
    jinja_charge_bytes(r, set.chars->length);
    return set;
}

static bool strippable(jinja_run *r, const strip_set *set, const char *p, size_t width)
{
    size_t w;
    if (!set->chars)
        return jinja_is_space(utf8_decode(p, &w));
    if (width == 1)
        return set->ascii[(unsigned char)*p];
    jinja_charge_bytes(r, set->chars->length);
    return jinja_find_bytes(set->chars->data, set->chars->length, 0, p, width) != SIZE_MAX;
}

static jinja_value strip(jinja_run *r, jinja_value self, jinja_value chars, bool left, bool right)
{
    const jinja_string *s = self.string;
    strip_set set = make_strip_set(r, chars);
    size_t from = 0, to = s->length, width;
    while (left && from < to) {
        utf8_decode(s->data + from, &width);
        if (!strippable(r, &set, s->data + from, width))
            break;
        from += width;
    }
    while (right && to > from) {
        const char *last = utf8_previous(s->data + to);
        width = (size_t)(s->data + to - last);
        if (!strippable(r, &set, last, width))
            break;
        to -= width;
    }
    jinja_charge_bytes(r, s->length - (to - from));
    return jinja_part(r, s, from, to - from);
}

METHOD(str_strip)
{
    UNUSED;
    return strip(r, self, arg[0], true, true);
}

METHOD(str_lstrip)
{
    UNUSED;
    return strip(r, self, arg[0], true, false);
}

METHOD(str_rstrip)
{
    UNUSED;
    return strip(r, self, arg[0], false, true);
}

/* ---- splitting ------------------------------------------------------------------------------------- */

static jinja_value split_space(jinja_run *r, const jinja_string *s, int64_t most)
{
    jinja_list_builder b = {0};
    size_t i = 0, width;
    for (;;) {
        while (i < s->length && jinja_is_space(utf8_decode(s->data + i, &width)))
            i += width;
        if (i >= s->length)
            break;
        size_t from = i;
        if (most >= 0 && (int64_t)b.count >= most) { /* the rest, with white space at its end */
            jinja_push(r, &b, jinja_part(r, s, from, s->length - from));
            break;
        }
        while (i < s->length && !jinja_is_space(utf8_decode(s->data + i, &width)))
            i += width;
        jinja_push(r, &b, jinja_part(r, s, from, i - from));
    }
    return jinja_build_list(r, &b);
}

static size_t point_before(const jinja_string *s, size_t i)
{
    return (size_t)(utf8_previous(s->data + i) - s->data);
}

static bool space_before(const jinja_string *s, size_t i)
{
    size_t width;
    return i > 0 && jinja_is_space(utf8_decode(s->data + point_before(s, i), &width));
}

static jinja_value reversed_list(jinja_run *r, jinja_list_builder *b)
{
    for (size_t i = 0, j = b->count; i + 1 < j; i++) {
        j--;
        jinja_value swap = b->items[i];
        b->items[i] = b->items[j];
        b->items[j] = swap;
    }
    return jinja_build_list(r, b);
}

static jinja_value rsplit_space(jinja_run *r, const jinja_string *s, int64_t most)
{
    jinja_list_builder b = {0};
    size_t i = s->length;
    for (;;) {
        while (space_before(s, i))
            i = point_before(s, i);
        if (i == 0)
            break;
        size_t to = i;
        if (most >= 0 && (int64_t)b.count >= most) {
            jinja_push(r, &b, jinja_part(r, s, 0, to));
            break;
        }
        while (i > 0 && !space_before(s, i))
            i = point_before(s, i);
        jinja_push(r, &b, jinja_part(r, s, i, to - i));
    }
    return reversed_list(r, &b);
}

static jinja_value split_at(jinja_run *r, const jinja_string *s, const jinja_string *sep, int64_t most)
{
    jinja_list_builder b = {0};
    size_t from = 0, at;
    while ((most < 0 || (int64_t)b.count < most) &&
           (at = jinja_find_bytes(s->data, s->length, from, sep->data, sep->length)) != SIZE_MAX) {
        jinja_push(r, &b, jinja_part(r, s, from, at - from));
        from = at + sep->length;
    }
    jinja_push(r, &b, jinja_part(r, s, from, s->length - from));
    return jinja_build_list(r, &b);
}

static jinja_value rsplit_at(jinja_run *r, const jinja_string *s, const jinja_string *sep, int64_t most)
{
    jinja_list_builder b = {0};
    size_t to = s->length, at;
    while ((most < 0 || (int64_t)b.count < most) &&
           (at = find_last_bytes(r, s->data, (span){0, to, false}, sep->data, sep->length)) != SIZE_MAX) {
        jinja_push(r, &b, jinja_part(r, s, at + sep->length, to - at - sep->length));
        to = at;
    }
    jinja_push(r, &b, jinja_part(r, s, 0, to));
    return reversed_list(r, &b);
}

static jinja_value split(jinja_run *r, jinja_value self, const jinja_value *arg, bool from_right)
{
    int64_t most = arg[1].type == JINJA_MISSING ? -1 : jinja_index_value(r, arg[1]);
    jinja_charge_bytes(r, self.string->length * 4);
    if (arg[0].type == JINJA_MISSING || arg[0].type == JINJA_NONE)
        return from_right ? rsplit_space(r, self.string, most) : split_space(r, self.string, most);
    const jinja_string *sep = need_string(r, arg[0], "split");
    if (!sep->length)
        jinja_fail(r, JINJA_VALUE_ERROR, "empty separator");
    return from_right ? rsplit_at(r, self.string, sep, most) : split_at(r, self.string, sep, most);
}

METHOD(str_split)
{
    UNUSED;
    return split(r, self, arg, false);
}

METHOD(str_rsplit)
{
    UNUSED;
    return split(r, self, arg, true);
}

METHOD(str_splitlines)
{
    UNUSED;
    const jinja_string *s = self.string;
    bool keep = arg[0].type != JINJA_MISSING && jinja_index_value(r, arg[0]) != 0;
    jinja_list_builder b = {0};
    size_t from = 0, i = 0, width;
    jinja_charge_bytes(r, s->length * 4);
    while (i < s->length) {
        uint32_t c = utf8_decode(s->data + i, &width);
        if (!jinja_is_line_break(c)) {
            i += width;
            continue;
        }
        size_t end = i + width;
        if (c == '\r' && end < s->length && s->data[end] == '\n')
            end++;
        jinja_push(r, &b, jinja_part(r, s, from, (keep ? end : i) - from));
        from = i = end;
    }
    if (from < s->length)
        jinja_push(r, &b, jinja_part(r, s, from, s->length - from));
    return jinja_build_list(r, &b);
}

static jinja_value partition(jinja_run *r, jinja_value self, jinja_value separator, bool last)
{
    const jinja_string *s = self.string, *sep = need_string(r, separator, "partition");
    if (!sep->length)
        jinja_fail(r, JINJA_VALUE_ERROR, "empty separator");
    size_t at = last ? find_last_bytes(r, s->data, (span){0, s->length, false}, sep->data, sep->length)
                     : jinja_find_bytes(s->data, s->length, 0, sep->data, sep->length);
    jinja_value none = jinja_part(r, s, 0, 0), part[3] = {none, none, none};
    jinja_charge_bytes(r, s->length);
    if (at == SIZE_MAX) {
        part[last ? 2 : 0] = self;
    } else {
        part[0] = jinja_part(r, s, 0, at);
        part[1] = jinja_part(r, s, at, sep->length);
        part[2] = jinja_part(r, s, at + sep->length, s->length - at - sep->length);
    }
    return jinja_tuple_of(r, part, 3);
}

METHOD(str_partition)
{
    UNUSED;
    return partition(r, self, arg[0], false);
}

METHOD(str_rpartition)
{
    UNUSED;
    return partition(r, self, arg[0], true);
}

/* ---- building ---------------------------------------------------------------------------------------- */

METHOD(str_join)
{
    UNUSED;
    const jinja_string *s = self.string;
    if (!jinja_iterable(arg[0]))
        jinja_fail(r, JINJA_TYPE_ERROR, "can only join an iterable");
    jinja_list_builder items = jinja_collect(r, arg[0]);
    jinja_buffer *b = jinja_buffer_open(r);
    for (size_t i = 0; i < items.count; i++) {
        jinja_value item = s->markup ? jinja_escape(r, items.items[i]) : items.items[i];
        if (item.type != JINJA_STRING)
            jinja_fail(r, JINJA_TYPE_ERROR, "sequence item %zu: expected str instance, %s found", i,
                       jinja_type_name(item));
        if (i)
            jinja_put(r, b, s->data, s->length);
        jinja_put(r, b, item.string->data, item.string->length);
    }
    return like(r, self, jinja_buffer_finish(r, b));
}

/* Replaces up to `most` (all if negative) occurrences; an empty `old` matches between characters. */
jinja_value jinja_replace(jinja_run *r, const jinja_string *s, const jinja_string *old,
                          const jinja_string *new, int64_t most)
{
    jinja_buffer *b = jinja_buffer_open(r);
    size_t from = 0, at, width;
    jinja_charge_bytes(r, s->length);
    if (!old->length) {
        while (most != 0) {
            jinja_put(r, b, new->data, new->length);
            most--;
            if (from >= s->length)
                break;
            utf8_decode(s->data + from, &width);
            jinja_put(r, b, s->data + from, width);
            from += width;
        }
    } else {
        while (most != 0 &&
               (at = jinja_find_bytes(s->data, s->length, from, old->data, old->length)) != SIZE_MAX) {
            jinja_put(r, b, s->data + from, at - from);
            jinja_put(r, b, new->data, new->length);
            from = at + old->length;
            most--;
        }
    }
    if (from < s->length)
        jinja_put(r, b, s->data + from, s->length - from);
    return jinja_buffer_finish(r, b);
}

METHOD(str_replace)
{
    UNUSED;
    const jinja_string *old = need_string(r, arg[0], "replace");
    need_string(r, arg[1], "replace");
    jinja_value new = self.string->markup ? jinja_escape(r, arg[1]) : arg[1];
    int64_t most = arg[2].type == JINJA_MISSING ? -1 : jinja_index_value(r, arg[2]);
    return like(r, self, jinja_replace(r, self.string, old, new.string, most));
}

METHOD(str_expandtabs)
{
    UNUSED;
    const jinja_string *s = self.string;
    int64_t size = arg[0].type == JINJA_MISSING ? 8 : jinja_index_value(r, arg[0]), column = 0;
    jinja_buffer *b = jinja_buffer_open(r);
    size_t width;
    for (size_t i = 0; i < s->length; i += width) {
        utf8_decode(s->data + i, &width);
        if (s->data[i] != '\t') {
            jinja_put(r, b, s->data + i, width);
            column = s->data[i] == '\n' || s->data[i] == '\r' ? 0 : column + 1;
        } else if (size > 0) {
            jinja_put_fill(r, b, ' ', size - column % size);
            column += size - column % size;
        }
    }
    return like(r, self, jinja_buffer_finish(r, b));
}

METHOD(str_format_method)
{
    UNUSED;
    return like(r, self, jinja_str_format(r, self.string, call, jinja_missing()));
}

METHOD(str_format_map)
{
    UNUSED;
    return like(r, self, jinja_str_format(r, self.string, &(jinja_call){0}, arg[0]));
}

const jinja_builtin jinja_string_methods[] = {
    {"count", "sub start end", 1, JINJA_POSITIONAL, str_count},
    {"endswith", "suffix start end", 1, JINJA_POSITIONAL, str_endswith},
    {"expandtabs", "tabsize", 0, 0, str_expandtabs},
    {"find", "sub start end", 1, JINJA_POSITIONAL, str_find},
    {"format", "", 0, JINJA_RAW, str_format_method},
    {"format_map", "mapping", 1, JINJA_POSITIONAL, str_format_map},
    {"index", "sub start end", 1, JINJA_POSITIONAL, str_index},
    {"join", "iterable", 1, JINJA_POSITIONAL, str_join},
    {"lstrip", "chars", 0, JINJA_POSITIONAL, str_lstrip},
    {"partition", "sep", 1, JINJA_POSITIONAL, str_partition},
    {"removeprefix", "prefix", 1, JINJA_POSITIONAL, str_removeprefix},
    {"removesuffix", "suffix", 1, JINJA_POSITIONAL, str_removesuffix},
    {"replace", "old new count", 2, JINJA_POSITIONAL, str_replace},
    {"rfind", "sub start end", 1, JINJA_POSITIONAL, str_rfind},
    {"rindex", "sub start end", 1, JINJA_POSITIONAL, str_rindex},
    {"rpartition", "sep", 1, JINJA_POSITIONAL, str_rpartition},
    {"rsplit", "sep maxsplit", 0, 0, str_rsplit},
    {"rstrip", "chars", 0, JINJA_POSITIONAL, str_rstrip},
    {"split", "sep maxsplit", 0, 0, str_split},
    {"splitlines", "keepends", 0, 0, str_splitlines},
    {"startswith", "prefix start end", 1, JINJA_POSITIONAL, str_startswith},
    {"strip", "chars", 0, JINJA_POSITIONAL, str_strip},
    {"encode", "", 0, JINJA_REFUSED, NULL},
    {"maketrans", "", 0, JINJA_REFUSED, NULL},
    {"translate", "", 0, JINJA_REFUSED, NULL},
    {NULL, NULL, 0, 0, NULL},
};
