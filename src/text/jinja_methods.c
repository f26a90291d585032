/* Methods of lists, tuples, dicts, numbers and cyclers; the table look-up; the global functions. */
#define _DEFAULT_SOURCE /* localtime_r */
#include <math.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "text/jinja_builtins.h"
#include "text/jinja_ops.h"

#define MAX_RANGE 100000 /* items, as in jinja2's sandbox */

#define METHOD(name)                                                                               \
    static jinja_value name(jinja_run *r, jinja_value self, const jinja_value *arg, const jinja_call *call)
#define UNUSED (void)r, (void)self, (void)arg, (void)call

/* ---- lists and tuples ------------------------------------------------------------------------- */

static bool matches(jinja_run *r, jinja_value a, jinja_value b)
{
    return jinja_same(a, b) || jinja_equal(r, a, b);
}

METHOD(list_count)
{
    UNUSED;
    int64_t n = 0;
    jinja_value item;
    jinja_iterator *it = jinja_iterate(r, self);
    while (jinja_next(r, it, &item))
        n += matches(r, item, arg[0]);
    return jinja_int(n);
}

static int64_t clip(int64_t i, int64_t n)
{
    return i < -n ? 0 : i < 0 ? i + n : i > n ? n : i;
}

METHOD(list_index)
{
    UNUSED;
    int64_t n = jinja_length(r, self);
    int64_t from = arg[1].type == JINJA_MISSING ? 0 : clip(jinja_index_value(r, arg[1]), n);
    int64_t to = arg[2].type == JINJA_MISSING ? n : clip(jinja_index_value(r, arg[2]), n);
    for (int64_t i = from; i < to; i++)
        if (matches(r, jinja_getitem(r, self, jinja_int(i)), arg[0]))
            return jinja_int(i);
    jinja_fail(r, JINJA_VALUE_ERROR, "the value is not in the %s", jinja_type_name(self));
}

METHOD(list_copy)
{
    UNUSED;
    return jinja_list_of(r, self.list->items, self.list->count);
}

const jinja_builtin jinja_sequence_methods[] = {
    {"count", "value", 1, JINJA_POSITIONAL, list_count},
    {"index", "value start stop", 1, JINJA_POSITIONAL, list_index},
    {"copy", "", 0, 0, list_copy},
    {NULL, NULL, 0, 0, NULL},
};

/* ---- dicts -------------------------------------------------------------------------------------- */

static jinja_value make_view(jinja_run *r, jinja_dict *d, jinja_view_kind kind)
{
    jinja_view *view = jinja_alloc(r, 1, sizeof *view);
    *view = (jinja_view){d, kind};
    return (jinja_value){.type = JINJA_VIEW, .view = view};
}

METHOD(dict_keys)
{
    UNUSED;
    return make_view(r, self.dict, JINJA_KEYS);
}

METHOD(dict_values)
{
    UNUSED;
    return make_view(r, self.dict, JINJA_VALUES);
}

METHOD(dict_items)
{
    UNUSED;
    return make_view(r, self.dict, JINJA_ITEMS);
}

METHOD(dict_get)
{
    UNUSED;
    jinja_value *found = jinja_dict_get(r, self.dict, arg[0]);
    return found ? *found : arg[1].type == JINJA_MISSING ? jinja_none() : arg[1];
}

METHOD(dict_copy)
{
    UNUSED;
    return jinja_of_dict(jinja_dict_copy(r, self.dict));
}

METHOD(dict_fromkeys)
{
    UNUSED;
    jinja_dict *d = jinja_dict_new(r);
    jinja_list_builder keys = jinja_collect(r, arg[0]);
    for (size_t i = 0; i < keys.count; i++)
        jinja_dict_set(r, d, keys.items[i], arg[1].type == JINJA_MISSING ? jinja_none() : arg[1]);
    return jinja_of_dict(d);
}

const jinja_builtin jinja_dict_methods[] = {
    {"get", "key default", 1, JINJA_POSITIONAL, dict_get},
    {"items", "", 0, 0, dict_items},
    {"keys", "", 0, 0, dict_keys},
    {"values", "", 0, 0, dict_values},
    {"copy", "", 0, 0, dict_copy},
    {"fromkeys", "iterable value", 1, JINJA_POSITIONAL, dict_fromkeys},
    {NULL, NULL, 0, 0, NULL},
};

const jinja_builtin jinja_dict_function_methods[] = {
    {"fromkeys", "iterable value", 1, JINJA_POSITIONAL, dict_fromkeys},
    {NULL, NULL, 0, 0, NULL},
};

/* ---- numbers --------------------------------------------------------------------------------------- */

METHOD(number_is_integer)
{
    UNUSED;
    return jinja_bool(isfinite(self.number) && self.number == floor(self.number));
}

METHOD(number_bit_length)
{
    UNUSED;
    int64_t v = jinja_whole(self), n = 0;
    for (uint64_t u = v < 0 ? -(uint64_t)v : (uint64_t)v; u; u >>= 1)
        n++;
    return jinja_int(n);
}

METHOD(number_bit_count)
{
    UNUSED;
    int64_t v = jinja_whole(self);
    return jinja_int(__builtin_popcountll(v < 0 ? -(uint64_t)v : (uint64_t)v));
}

METHOD(number_conjugate)
{
    UNUSED;
    return self.type == JINJA_FLOAT ? self : jinja_int(jinja_whole(self));
}

static const jinja_builtin float_methods[] = {
    {"is_integer", "", 0, 0, number_is_integer},
    {"conjugate", "", 0, 0, number_conjugate},
    {"as_integer_ratio", "", 0, JINJA_REFUSED, NULL},
    {"hex", "", 0, JINJA_REFUSED, NULL},
    {"fromhex", "", 0, JINJA_REFUSED, NULL},
    {NULL, NULL, 0, 0, NULL},
};

const jinja_builtin jinja_number_methods[] = {
    {"bit_length", "", 0, 0, number_bit_length},
    {"bit_count", "", 0, 0, number_bit_count},
    {"conjugate", "", 0, 0, number_conjugate},
    {"as_integer_ratio", "", 0, JINJA_REFUSED, NULL},
    {"to_bytes", "", 0, JINJA_REFUSED, NULL},
    {"from_bytes", "", 0, JINJA_REFUSED, NULL},
    {NULL, NULL, 0, 0, NULL},
};

/* ---- cyclers ------------------------------------------------------------------------------------------ */

METHOD(cycler_next)
{
    UNUSED;
    jinja_cycler *c = self.cycler;
    jinja_value v = c->items->items[c->position];
    c->position = (c->position + 1) % c->items->count;
    return v;
}

METHOD(cycler_reset)
{
    UNUSED;
    self.cycler->position = 0;
    return jinja_none();
}

const jinja_builtin jinja_cycler_methods[] = {
    {"next", "", 0, 0, cycler_next},
    {"reset", "", 0, 0, cycler_reset},
    {NULL, NULL, 0, 0, NULL},
};

/* ---- global functions ----------------------------------------------------------------------------------- */

static int64_t range_count(int64_t start, int64_t stop, int64_t step)
{
    if (step > 0 ? start >= stop : start <= stop)
        return 0;
    unsigned __int128 distance = step > 0 ? (unsigned __int128)((__int128)stop - start)
                                          : (unsigned __int128)((__int128)start - stop);
    unsigned __int128 by = step > 0 ? (unsigned __int128)step : (unsigned __int128)(-(__int128)step);
    unsigned __int128 n = (distance - 1) / by + 1;
    return n > MAX_RANGE ? MAX_RANGE + 1 : (int64_t)n;
}

METHOD(global_range)
{
    UNUSED;
    bool one = arg[1].type == JINJA_MISSING;
    int64_t start = one ? 0 : jinja_index_value(r, arg[0]);
    int64_t stop = jinja_index_value(r, one ? arg[0] : arg[1]);
    int64_t step = arg[2].type == JINJA_MISSING ? 1 : jinja_index_value(r, arg[2]);
    if (step == 0)
        jinja_fail(r, JINJA_VALUE_ERROR, "range() arg 3 must not be zero");
    int64_t n = range_count(start, stop, step);
    if (n > MAX_RANGE)
        jinja_fail(r, JINJA_OVERFLOW_ERROR, "Range too big. The sandbox blocks ranges larger than %d.",
                   MAX_RANGE);
    jinja_range *range = jinja_alloc(r, 1, sizeof *range);
    *range = (jinja_range){start, stop, step, (size_t)n};
    return (jinja_value){.type = JINJA_RANGE, .range = range};
}

/* dict(*args, **kwargs) */
static jinja_dict *build_dict(jinja_run *r, const jinja_call *call)
{
    jinja_dict *d = jinja_dict_new(r);
    if (call->count > 1)
        jinja_fail(r, JINJA_TYPE_ERROR, "dict expected at most 1 argument, got %zu", call->count);
    if (call->count && call->positional[0].type == JINJA_DICT) {
        d = jinja_dict_copy(r, call->positional[0].dict);
    } else if (call->count) {
        jinja_need_defined(r, call->positional[0]); /* an undefined value iterates, but has no keys */
        jinja_list_builder pairs = jinja_collect(r, call->positional[0]);
        for (size_t i = 0; i < pairs.count; i++) {
            jinja_list_builder pair = jinja_collect(r, pairs.items[i]);
            if (pair.count != 2)
                jinja_fail(r, JINJA_VALUE_ERROR,
                           "dictionary update sequence element #%zu has length %zu; 2 is required", i,
                           pair.count);
            jinja_dict_set(r, d, pair.items[0], pair.items[1]);
        }
    }
    for (size_t i = 0; i < call->named_count; i++)
        jinja_dict_set(r, d, call->named[i].key, call->named[i].value);
    return d;
}

METHOD(global_dict)
{
    UNUSED;
    return jinja_of_dict(build_dict(r, call));
}

METHOD(global_namespace)
{
    UNUSED;
    jinja_namespace *ns = jinja_zalloc(r, 1, sizeof *ns);
    jinja_dict *given = build_dict(r, call);
    ns->attributes = jinja_dict_new(r);
    jinja_value v = {.type = JINJA_NAMESPACE, .ns = ns};
    for (size_t i = 0; i < given->count; i++)
        jinja_namespace_set(r, v, given->pairs[i].key, given->pairs[i].value);
    return v;
}

METHOD(global_cycler)
{
    UNUSED;
    if (call->named_count)
        jinja_fail(r, JINJA_TYPE_ERROR, "cycler() takes no keyword arguments");
    if (!call->count)
        jinja_fail(r, JINJA_RUNTIME_ERROR, "at least one item has to be provided");
    jinja_cycler *c = jinja_zalloc(r, 1, sizeof *c);
    c->items = jinja_tuple_of(r, call->positional, call->count).list;
    return (jinja_value){.type = JINJA_CYCLER, .cycler = c};
}

METHOD(global_joiner)
{
    UNUSED;
    jinja_joiner *j = jinja_zalloc(r, 1, sizeof *j);
    j->separator = arg[0].type == JINJA_MISSING ? jinja_text(r, ", ") : arg[0];
    return (jinja_value){.type = JINJA_JOINER, .joiner = j};
}

METHOD(global_raise)
{
    UNUSED;
    jinja_value text = jinja_str(r, arg[0]);
    jinja_fail_text(r, JINJA_RAISED, text.string->data, text.string->length);
}

/* The format for C's strftime: what Python itself replaces first. */
static const char *python_format(jinja_run *r, const jinja_string *format, long microseconds)
{
    jinja_buffer *b = jinja_buffer_open(r);
    for (size_t i = 0; i < format->length; i++) {
        char c = format->data[i], next = i + 1 < format->length ? format->data[i + 1] : 0;
        if (c == 0)
            jinja_fail(r, JINJA_VALUE_ERROR, "embedded null character");
        if (c != '%' || !next) {
            jinja_put(r, b, &c, 1);
            continue;
        }
        i++;
        if (next == 'f')
            jinja_printf(r, b, "%06ld", microseconds);
        else if (next != 'z' && next != 'Z') /* empty without a time zone */
            jinja_printf(r, b, "%%%c", next);
    }
    jinja_put(r, b, "", 1);
    return jinja_buffer_finish(r, b).string->data;
}

METHOD(global_strftime_now)
{
    UNUSED;
    if (arg[0].type != JINJA_STRING)
        jinja_fail(r, JINJA_TYPE_ERROR, "strftime() argument 1 must be str, not %s",
                   jinja_type_name(arg[0]));
    struct timeval clock = {0};
    struct tm now;
    if (r->now) {
        now = *r->now;
    } else {
        gettimeofday(&clock, NULL);
        localtime_r(&clock.tv_sec, &now);
    }
    const char *format = python_format(r, arg[0].string, (long)clock.tv_usec);
    size_t size = strlen(format) * 64 + 1;
    char *text = jinja_alloc(r, size, 1);
    return jinja_borrow_text(r, text, strftime(text, size, format, &now));
}

const jinja_builtin jinja_globals[] = {
    {"range", "start stop step", 1, JINJA_POSITIONAL, global_range},
    {"dict", "", 0, JINJA_RAW, global_dict},
    {"namespace", "", 0, JINJA_RAW, global_namespace},
    {"cycler", "", 0, JINJA_RAW, global_cycler},
    {"joiner", "sep", 0, 0, global_joiner},
    {"raise_exception", "message", 1, 0, global_raise},
    {"strftime_now", "format", 1, 0, global_strftime_now},
    {"lipsum", "", 0, JINJA_REFUSED, NULL},
    {NULL, NULL, 0, 0, NULL},
};

/* ---- look-up ---------------------------------------------------------------------------------------------- */

static const jinja_builtin *find_in(const jinja_builtin *table, const char *name, size_t length)
{
    for (; table->name; table++)
        if (strncmp(table->name, name, length) == 0 && !table->name[length])
            return table;
    return NULL;
}

const jinja_builtin *jinja_find_filter(const char *name, size_t length)
{
    const jinja_builtin *b = find_in(jinja_text_filters, name, length);
    if (!b)
        b = find_in(jinja_list_filters, name, length);
    return b ? b : find_in(jinja_lazy_filters, name, length);
}

const jinja_builtin *jinja_find_test(const char *name, size_t length)
{
    return find_in(jinja_tests, name, length);
}

const jinja_builtin *jinja_find_global(const char *name, size_t length)
{
    return find_in(jinja_globals, name, length);
}

const jinja_builtin *jinja_find_method(jinja_value self, const char *name, size_t length)
{
    const jinja_builtin *b;
    switch ((jinja_type)self.type) {
    case JINJA_STRING:
        b = find_in(jinja_string_methods, name, length);
        return b ? b : find_in(jinja_string_case_methods, name, length);
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_RANGE:
        b = find_in(jinja_sequence_methods, name, length);
        return b && self.type != JINJA_LIST && strcmp(b->name, "copy") == 0 ? NULL : b;
    case JINJA_DICT:
        return find_in(jinja_dict_methods, name, length);
    case JINJA_FLOAT:
        return find_in(float_methods, name, length);
    case JINJA_BOOL:
    case JINJA_INT:
        return find_in(jinja_number_methods, name, length);
    case JINJA_LOOP:
        return find_in(jinja_loop_methods, name, length);
    case JINJA_CYCLER:
        return find_in(jinja_cycler_methods, name, length);
    case JINJA_FUNCTION:
        return strcmp(self.function->name, "dict") == 0 ? find_in(jinja_dict_function_methods, name, length) : NULL;
    default:
        return NULL;
    }
}
