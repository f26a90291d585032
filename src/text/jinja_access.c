/* Attributes, items, slices and lengths, with the sandbox's rules: attributes that begin with an
 * underscore and methods that change a list or dict are out of reach. Also Undefined, what a failed
 * look-up gives. */
#include <stdio.h>
#include <string.h>

#include "text/jinja_builtins.h"
#include "text/jinja_loop.h"
#include "text/jinja_unicode.h"

/* ---- undefined ----------------------------------------------------------------------------------- */

static jinja_value new_undefined(jinja_run *r, jinja_undefined u)
{
    jinja_value v = {.type = JINJA_UNDEFINED, .undefined = jinja_alloc(r, 1, sizeof u)};
    *v.undefined = u;
    return v;
}

jinja_value jinja_undefined_name(jinja_run *r, jinja_value name)
{
    return new_undefined(r, (jinja_undefined){.name = name});
}

jinja_value jinja_undefined_hint(jinja_run *r, const char *hint)
{
    return new_undefined(r, (jinja_undefined){.hint = hint});
}

jinja_value jinja_undefined_of(jinja_run *r, jinja_value object, jinja_value name)
{
    return new_undefined(r, (jinja_undefined){.object = object, .name = name});
}

static jinja_value unsafe_attribute(jinja_run *r, jinja_value object, jinja_value name)
{
    return new_undefined(r, (jinja_undefined){.object = object, .name = name, .security = true});
}

void jinja_fail_undefined(jinja_run *r, jinja_value v)
{
    const jinja_undefined *u = v.undefined;
    jinja_buffer *b = jinja_buffer_open(r);
    bool none = u->object.type == JINJA_NONE;
    if (u->hint) {
        jinja_puts(r, b, u->hint);
    } else if (u->security) {
        jinja_puts(r, b, "access to attribute ");
        jinja_put_repr(r, b, u->name);
        jinja_printf(r, b, " of '%s' object is unsafe.", jinja_type_name(u->object));
    } else if (u->object.type == JINJA_MISSING) {
        jinja_put_repr(r, b, u->name);
        jinja_puts(r, b, " is undefined");
    } else if (u->name.type == JINJA_STRING) {
        jinja_printf(r, b, "'%s%s' has no attribute ", none ? "None" : jinja_type_name(u->object),
                     none ? "" : " object");
        jinja_put_repr(r, b, u->name);
    } else {
        jinja_printf(r, b, "%s%s has no element ", none ? "None" : jinja_type_name(u->object),
                     none ? "" : " object");
        jinja_put_repr(r, b, u->name);
    }
    jinja_fail_text(r, u->security ? JINJA_SECURITY_ERROR : JINJA_UNDEFINED_ERROR, b->data, b->length);
}

/* ---- attributes -------------------------------------------------------------------------------------- */

static jinja_value bind_method(jinja_run *r, jinja_value self, const jinja_builtin *b)
{
    jinja_method *m = jinja_alloc(r, 1, sizeof *m);
    *m = (jinja_method){self, b};
    return (jinja_value){.type = JINJA_METHOD, .method = m};
}

static jinja_value number_attribute(jinja_value v, jinja_value name)
{
    bool whole = v.type != JINJA_FLOAT;
    jinja_value self = whole ? jinja_int(jinja_whole(v)) : v;
    if (jinja_text_is(name, "real") || (whole && jinja_text_is(name, "numerator")))
        return self;
    if (jinja_text_is(name, "imag"))
        return whole ? jinja_int(0) : jinja_float(0);
    if (whole && jinja_text_is(name, "denominator"))
        return jinja_int(1);
    return jinja_missing();
}

static jinja_value range_attribute(const jinja_range *x, jinja_value name)
{
    return jinja_text_is(name, "start")  ? jinja_int(x->start)
           : jinja_text_is(name, "stop") ? jinja_int(x->stop)
           : jinja_text_is(name, "step") ? jinja_int(x->step)
                                         : jinja_missing();
}

static jinja_value macro_attribute(jinja_run *r, const jinja_macro *macro, jinja_value name)
{
    const jinja_macro_node *m = macro->node->macro;
    if (jinja_text_is(name, "name"))
        return m->name.type == JINJA_STRING ? m->name : jinja_none();
    if (jinja_text_is(name, "catch_kwargs"))
        return jinja_bool(m->kwargs != JINJA_NO_SLOT);
    if (jinja_text_is(name, "catch_varargs"))
        return jinja_bool(m->varargs != JINJA_NO_SLOT);
    if (jinja_text_is(name, "caller"))
        return jinja_bool(m->caller != JINJA_NO_SLOT || m->explicit_caller);
    if (jinja_text_is(name, "explicit_caller"))
        return jinja_bool(m->explicit_caller);
    if (!jinja_text_is(name, "arguments"))
        return jinja_missing();
    jinja_list_builder b = {0};
    for (size_t i = 0; i < m->parameters.count; i++)
        jinja_push(r, &b, m->parameters.items[i]->name.name);
    return jinja_build_tuple(r, &b);
}

/* A plain attribute of the value (not a method), or missing. */
static jinja_value data_attribute(jinja_run *r, jinja_value v, jinja_value name)
{
    switch ((jinja_type)v.type) {
    case JINJA_BOOL:
    case JINJA_INT:
    case JINJA_FLOAT:
        return number_attribute(v, name);
    case JINJA_RANGE:
        return range_attribute(v.range, name);
    case JINJA_NAMESPACE: {
        jinja_value *found = jinja_dict_get(r, v.ns->attributes, name);
        return found ? *found : jinja_missing();
    }
    case JINJA_TUPLE:
        if (v.list->group && jinja_text_is(name, "grouper"))
            return v.list->items[0];
        if (v.list->group && jinja_text_is(name, "list"))
            return v.list->items[1];
        return jinja_missing();
    case JINJA_MACRO:
        return macro_attribute(r, v.macro, name);
    case JINJA_LOOP:
        return jinja_loop_attribute(r, v.loop, name.string);
    case JINJA_CYCLER:
        if (jinja_text_is(name, "items"))
            return jinja_of_tuple(v.cycler->items);
        if (jinja_text_is(name, "pos"))
            return jinja_int((int64_t)v.cycler->position);
        if (jinja_text_is(name, "current"))
            return v.cycler->items->items[v.cycler->position];
        return jinja_missing();
    case JINJA_JOINER:
        return jinja_text_is(name, "sep")    ? v.joiner->separator
               : jinja_text_is(name, "used") ? jinja_bool(v.joiner->used)
                                             : jinja_missing();
    default:
        return jinja_missing();
    }
}

static bool changes_container(jinja_value v, jinja_value name)
{
    static const char *const of_list[] = {"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"};
    static const char *const of_dict[] = {"clear", "pop", "popitem", "setdefault", "update"};
    const char *const *names = v.type == JINJA_LIST ? of_list : of_dict;
    size_t n = v.type == JINJA_LIST   ? sizeof of_list / sizeof *of_list
               : v.type == JINJA_DICT ? sizeof of_dict / sizeof *of_dict
                                      : 0;
    for (size_t i = 0; i < n; i++)
        if (jinja_text_is(name, names[i]))
            return true;
    return false;
}

/* Python objects have these attributes; the sandbox gives none of them out. */
static bool is_dunder(const jinja_string *s)
{
    static const char *const common[] = {"__class__", "__doc__",  "__init__", "__eq__",  "__repr__", "__str__",
                                         "__dir__",   "__hash__", "__new__",  "__ne__",  "__lt__",   "__le__",
                                         "__gt__",    "__ge__",   "__reduce__", "__format__", "__sizeof__",
                                         "__getattribute__", "__setattr__", "__delattr__", "__init_subclass__",
                                         "__subclasshook__", "__reduce_ex__"};
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        if (s->length == strlen(common[i]) && memcmp(s->data, common[i], s->length) == 0)
            return true;
    return false;
}

/* getattr(object, name) as the sandbox allows it; missing when there is none. */
static jinja_value safe_attribute(jinja_run *r, jinja_value object, jinja_value name)
{
    if (object.type == JINJA_UNDEFINED) {
        if (is_dunder(name.string))
            return unsafe_attribute(r, object, name);
        jinja_fail_undefined(r, object);
    }
    if (object.type != JINJA_NAMESPACE && name.string->length && name.string->data[0] == '_')
        return is_dunder(name.string) ? unsafe_attribute(r, object, name) : jinja_missing();
    if (changes_container(object, name))
        return unsafe_attribute(r, object, name);
    jinja_value v = data_attribute(r, object, name);
    if (v.type != JINJA_MISSING)
        return v;
    const jinja_builtin *b = jinja_find_method(object, name.string->data, name.string->length);
    return b ? bind_method(r, object, b) : jinja_missing();
}

/* object[index] where that works; missing where Python raises a TypeError or LookupError. */
static jinja_value plain_item(jinja_run *r, jinja_value object, jinja_value index)
{
    int64_t n, i;
    jinja_value *found;
    switch ((jinja_type)object.type) {
    case JINJA_DICT:
        found = jinja_hashable(index) ? jinja_dict_get(r, object.dict, index) : NULL;
        return found ? *found : jinja_missing();
    case JINJA_STRING:
        n = (int64_t)jinja_points(object.string);
        break;
    case JINJA_LIST:
    case JINJA_TUPLE:
        n = (int64_t)object.list->count;
        break;
    case JINJA_RANGE:
        n = (int64_t)object.range->count;
        break;
    case JINJA_UNDEFINED:
        jinja_fail_undefined(r, object);
    default:
        return jinja_missing();
    }
    if (!jinja_is_whole(index))
        return jinja_missing();
    i = jinja_whole(index);
    if (i < 0)
        i += n;
    if (i < 0 || i >= n)
        return jinja_missing();
    if (object.type == JINJA_RANGE)
        return jinja_int(object.range->start + i * object.range->step);
    if (object.type != JINJA_STRING)
        return object.list->items[i];
    size_t offset = jinja_point_offset(object.string, (size_t)i), width;
    jinja_charge_bytes(r, offset);
    utf8_decode(object.string->data + offset, &width);
    return jinja_part(r, object.string, offset, width);
}

jinja_value jinja_attribute(jinja_run *r, jinja_value object, jinja_value name)
{
    jinja_value v = safe_attribute(r, object, name);
    return v.type == JINJA_MISSING ? jinja_undefined_of(r, object, name) : v;
}

jinja_value jinja_getattr(jinja_run *r, jinja_value object, jinja_value name)
{
    jinja_value v = safe_attribute(r, object, name);
    if (v.type == JINJA_MISSING)
        v = plain_item(r, object, name);
    return v.type == JINJA_MISSING ? jinja_undefined_of(r, object, name) : v;
}

jinja_value jinja_getitem(jinja_run *r, jinja_value object, jinja_value index)
{
    jinja_value v = plain_item(r, object, index);
    if (v.type == JINJA_MISSING && index.type == JINJA_STRING)
        v = safe_attribute(r, object, index);
    return v.type == JINJA_MISSING ? jinja_undefined_of(r, object, index) : v;
}

void jinja_namespace_set(jinja_run *r, jinja_value ns, jinja_value name, jinja_value value)
{
    if (ns.type != JINJA_NAMESPACE)
        jinja_fail(r, JINJA_RUNTIME_ERROR, "cannot assign attribute on non-namespace object");
    if (name.type == JINJA_STRING && name.string->length && name.string->data[0] == '_')
        jinja_fail(r, JINJA_SECURITY_ERROR,
                   "Chat templates cannot store underscore-prefixed attributes on a namespace");
    jinja_dict_set(r, ns.ns->attributes, name, value);
}

/* ---- slices -------------------------------------------------------------------------------------------- */

/* A bound of a slice, clipped into [low, high] after counting from the end. */
static int64_t slice_bound(jinja_run *r, jinja_value v, int64_t n, int64_t low, int64_t high, int64_t fallback)
{
    if (v.type == JINJA_NONE || v.type == JINJA_MISSING)
        return fallback;
    if (!jinja_is_whole(v))
        jinja_fail(r, JINJA_TYPE_ERROR, "slice indices must be integers or None or have an __index__ method");
    int64_t i = jinja_whole(v);
    if (i < 0)
        i = i < -n ? low : i + n;
    return i < low ? low : i > high ? high : i;
}

static int64_t slice_step(jinja_run *r, jinja_value v)
{
    if (v.type == JINJA_NONE || v.type == JINJA_MISSING)
        return 1;
    if (!jinja_is_whole(v))
        jinja_fail(r, JINJA_TYPE_ERROR, "slice indices must be integers or None or have an __index__ method");
    if (jinja_whole(v) == 0)
        jinja_fail(r, JINJA_VALUE_ERROR, "slice step cannot be zero");
    return jinja_whole(v) == INT64_MIN ? -INT64_MAX : jinja_whole(v);
}

static jinja_value slice_string(jinja_run *r, const jinja_string *s, int64_t start, int64_t step, int64_t count)
{
    jinja_charge_bytes(r, s->length);
    if (step == 1) {
        size_t from = jinja_point_offset(s, (size_t)start), width = 0;
        if (jinja_points(s) == s->length)
            width = (size_t)count;
        else
            for (int64_t i = 0; i < count; i++) {
                size_t w;
                utf8_decode(s->data + from + width, &w);
                width += w;
            }
        return jinja_part(r, s, from, width);
    }
    jinja_list_builder points = jinja_collect(r, jinja_of_string((jinja_string *)s));
    jinja_buffer *b = jinja_buffer_open(r);
    for (int64_t i = 0; i < count; i++) {
        const jinja_string *p = points.items[start + i * step].string;
        jinja_put(r, b, p->data, p->length);
    }
    jinja_value v = jinja_buffer_finish(r, b);
    v.string->markup = s->markup;
    return v;
}

static jinja_value slice_list(jinja_run *r, jinja_value v, int64_t start, int64_t step, int64_t count)
{
    jinja_list_builder b = {jinja_alloc(r, (size_t)count, sizeof *b.items), (size_t)count, (size_t)count};
    jinja_charge(r, 1 + (size_t)count / 8);
    for (int64_t i = 0; i < count; i++)
        b.items[i] = v.list->items[start + i * step];
    return v.type == JINJA_LIST ? jinja_build_list(r, &b) : jinja_build_tuple(r, &b);
}

static jinja_value slice_range(jinja_run *r, const jinja_range *x, int64_t start, int64_t stop, int64_t step,
                               int64_t count)
{
    jinja_range *part = jinja_alloc(r, 1, sizeof *part);
    uint64_t first = (uint64_t)x->start, by = (uint64_t)x->step; /* the end may wrap; it is only printed */
    *part = (jinja_range){(int64_t)(first + (uint64_t)start * by), (int64_t)(first + (uint64_t)stop * by),
                          (int64_t)((uint64_t)step * by), (size_t)count};
    return (jinja_value){.type = JINJA_RANGE, .range = part};
}

jinja_value jinja_slice(jinja_run *r, jinja_value v, jinja_value start, jinja_value stop, jinja_value step)
{
    jinja_need_defined(r, v);
    if (v.type == JINJA_DICT)
        jinja_fail(r, JINJA_TYPE_ERROR, "unhashable type: 'slice'");
    if (v.type != JINJA_STRING && v.type != JINJA_LIST && v.type != JINJA_TUPLE && v.type != JINJA_RANGE)
        jinja_fail(r, JINJA_TYPE_ERROR, "'%s' object is not subscriptable", jinja_type_name(v));
    int64_t n = v.type == JINJA_STRING  ? (int64_t)jinja_points(v.string)
                : v.type == JINJA_RANGE ? (int64_t)v.range->count
                                        : (int64_t)v.list->count;
    int64_t by = slice_step(r, step);
    bool forward = by > 0;
    int64_t low = forward ? 0 : -1, high = forward ? n : n - 1;
    int64_t from = slice_bound(r, start, n, low, high, forward ? 0 : n - 1);
    int64_t to = slice_bound(r, stop, n, low, high, forward ? n : -1);
    int64_t count = forward ? (from < to ? (to - from - 1) / by + 1 : 0)
                            : (from > to ? (from - to - 1) / -by + 1 : 0);
    if (v.type == JINJA_STRING)
        return slice_string(r, v.string, from < 0 ? 0 : from, by, count);
    if (v.type == JINJA_RANGE)
        return slice_range(r, v.range, from, to, by, count);
    return slice_list(r, v, from, by, count);
}

/* ---- lengths ---------------------------------------------------------------------------------------------- */

bool jinja_has_length(jinja_value v)
{
    switch ((jinja_type)v.type) {
    case JINJA_UNDEFINED:
    case JINJA_STRING:
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_DICT:
    case JINJA_RANGE:
    case JINJA_VIEW:
    case JINJA_LOOP:
        return true;
    default:
        return false;
    }
}

int64_t jinja_length(jinja_run *r, jinja_value v)
{
    switch ((jinja_type)v.type) {
    case JINJA_UNDEFINED:
        return 0;
    case JINJA_STRING:
        jinja_charge_bytes(r, v.string->length);
        return (int64_t)jinja_points(v.string);
    case JINJA_LIST:
    case JINJA_TUPLE:
        return (int64_t)v.list->count;
    case JINJA_DICT:
        return (int64_t)v.dict->count;
    case JINJA_RANGE:
        return (int64_t)v.range->count;
    case JINJA_VIEW:
        return (int64_t)v.view->dict->count;
    case JINJA_LOOP:
        return jinja_loop_length(r, v.loop);
    default:
        jinja_fail(r, JINJA_TYPE_ERROR, "object of type '%s' has no len()", jinja_type_name(v));
    }
}

/* ---- attribute paths ------------------------------------------------------------------------------------------ */

static bool all_digits(const jinja_string *s)
{
    size_t width;
    for (size_t i = 0; i < s->length; i += width)
        if (!jinja_is_digit(utf8_decode(s->data + i, &width)))
            return false;
    return s->length > 0;
}

jinja_value jinja_prepare_path(jinja_run *r, jinja_value attribute)
{
    jinja_list_builder b = {0};
    if (attribute.type == JINJA_STRING) {
        const jinja_string *s = attribute.string;
        for (size_t from = 0, to; from <= s->length; from = to + 1) {
            to = jinja_find_bytes(s->data, s->length, from, ".", 1);
            if (to == SIZE_MAX)
                to = s->length;
            jinja_value part = jinja_part(r, s, from, to - from);
            int64_t number;
            if (all_digits(part.string) && jinja_parse_whole(r, part.string, 10, &number))
                part = jinja_int(number);
            jinja_push(r, &b, part);
        }
    } else if (attribute.type != JINJA_NONE && attribute.type != JINJA_MISSING) {
        jinja_push(r, &b, attribute);
    }
    return jinja_build_list(r, &b);
}

jinja_value jinja_follow_path(jinja_run *r, jinja_value item, jinja_value path, jinja_value fallback)
{
    for (size_t i = 0; i < path.list->count; i++) {
        item = jinja_getitem(r, item, path.list->items[i]);
        if (item.type == JINJA_UNDEFINED && fallback.type != JINJA_NONE && fallback.type != JINJA_MISSING)
            item = fallback;
    }
    return item;
}
