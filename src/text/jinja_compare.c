/* Truth, equality, order, membership, hashing and sorting. */
#include <math.h>
#include <string.h>

#include "text/jinja_ops.h"

const char *jinja_type_name(jinja_value v)
{
    static const char *const names[] = {
        [JINJA_MISSING] = "missing",      [JINJA_UNDEFINED] = "Undefined",
        [JINJA_NONE] = "NoneType",        [JINJA_BOOL] = "bool",
        [JINJA_INT] = "int",              [JINJA_FLOAT] = "float",
        [JINJA_STRING] = "str",           [JINJA_LIST] = "list",
        [JINJA_TUPLE] = "tuple",          [JINJA_DICT] = "dict",
        [JINJA_RANGE] = "range",          [JINJA_VIEW] = "dict view",
        [JINJA_ITERATOR] = "generator",   [JINJA_NAMESPACE] = "Namespace",
        [JINJA_MACRO] = "Macro",          [JINJA_METHOD] = "method",
        [JINJA_FUNCTION] = "function",    [JINJA_LOOP] = "LoopContext",
        [JINJA_CYCLER] = "Cycler",        [JINJA_JOINER] = "Joiner",
    };
    return names[v.type];
}

bool jinja_truth(jinja_value v)
{
    switch ((jinja_type)v.type) {
    case JINJA_MISSING:
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return false;
    case JINJA_BOOL:
        return v.boolean;
    case JINJA_INT:
        return v.integer != 0;
    case JINJA_FLOAT:
        return v.number != 0;
    case JINJA_STRING:
        return v.string->length != 0;
    case JINJA_LIST:
    case JINJA_TUPLE:
        return v.list->count != 0;
    case JINJA_DICT:
        return v.dict->count != 0;
    case JINJA_RANGE:
        return v.range->count != 0;
    case JINJA_VIEW:
        return v.view->dict->count != 0;
    default:
        return true;
    }
}

/* -1, 0, 1, or 2 when one is NaN. Exact for any int and float. */
static int compare_numbers(jinja_value a, jinja_value b)
{
    if (jinja_is_whole(a) && jinja_is_whole(b)) {
        int64_t x = jinja_whole(a), y = jinja_whole(b);
        return x < y ? -1 : x > y;
    }
    if (a.type == JINJA_FLOAT && b.type == JINJA_FLOAT)
        return a.number < b.number    ? -1
               : a.number > b.number  ? 1
               : a.number == b.number ? 0
                                      : 2;
    if (a.type != JINJA_FLOAT) {
        int c = compare_numbers(b, a);
        return c == 2 ? 2 : -c;
    }
    int64_t y = jinja_whole(b);
    double x = a.number;
    if (isnan(x))
        return 2;
    if (x >= 0x1p63)
        return 1;
    if (x < -0x1p63)
        return -1;
    int64_t whole = (int64_t)x;
    if (whole != y)
        return whole < y ? -1 : 1;
    double rest = x - (double)whole;
    return rest < 0 ? -1 : rest > 0;
}

static bool equal_lists(jinja_run *r, const jinja_list *a, const jinja_list *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!jinja_same(a->items[i], b->items[i]) && !jinja_equal(r, a->items[i], b->items[i]))
            return false;
    return true;
}

static bool equal_dicts(jinja_run *r, const jinja_dict *a, const jinja_dict *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        jinja_value *other = jinja_dict_get(r, b, a->pairs[i].key);
        if (!other || (!jinja_same(a->pairs[i].value, *other) &&
                       !jinja_equal(r, a->pairs[i].value, *other)))
            return false;
    }
    return true;
}

static bool equal_ranges(const jinja_range *a, const jinja_range *b)
{
    return a->count == b->count && (a->count == 0 || (a->start == b->start &&
                                                      (a->count == 1 || a->step == b->step)));
}

/* dict views of keys and items compare as sets. */
static bool equal_views(jinja_run *r, const jinja_view *a, const jinja_view *b)
{
    if (a->kind == JINJA_VALUES || a->kind != b->kind)
        return a == b;
    if (a->dict->count != b->dict->count)
        return false;
    for (size_t i = 0; i < a->dict->count; i++) {
        jinja_value *other = jinja_dict_get(r, b->dict, a->dict->pairs[i].key);
        if (!other || (a->kind == JINJA_ITEMS && !jinja_equal(r, a->dict->pairs[i].value, *other)))
            return false;
    }
    return true;
}

bool jinja_equal(jinja_run *r, jinja_value a, jinja_value b)
{
    jinja_charge(r, 1);
    if (jinja_is_number(a) && jinja_is_number(b))
        return compare_numbers(a, b) == 0;
    if (a.type != b.type)
        return false;
    bool result;
    switch ((jinja_type)a.type) {
    case JINJA_MISSING:
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return true;
    case JINJA_STRING:
        if (a.string->length != b.string->length)
            return false;
        jinja_charge_bytes(r, a.string->length);
        return memcmp(a.string->data, b.string->data, a.string->length) == 0;
    case JINJA_RANGE:
        return equal_ranges(a.range, b.range);
    case JINJA_METHOD:
        return a.method->builtin == b.method->builtin && jinja_same(a.method->self, b.method->self);
    default:
        break;
    }
    jinja_deepen(r);
    if (a.type == JINJA_LIST || a.type == JINJA_TUPLE)
        result = equal_lists(r, a.list, b.list);
    else if (a.type == JINJA_DICT)
        result = equal_dicts(r, a.dict, b.dict);
    else if (a.type == JINJA_VIEW)
        result = equal_views(r, a.view, b.view);
    else
        result = jinja_same(a, b);
    r->depth--;
    return result;
}

bool jinja_same(jinja_value a, jinja_value b)
{
    if (a.type != b.type)
        return false;
    switch ((jinja_type)a.type) {
    case JINJA_MISSING:
    case JINJA_NONE:
        return true;
    case JINJA_BOOL:
        return a.boolean == b.boolean;
    case JINJA_INT:
        return a.integer == b.integer && a.integer >= -5 && a.integer <= 256; /* CPython shares these */
    case JINJA_FLOAT:
        return false;
    default:
        return a.dict == b.dict; /* the pointer, of whatever type */
    }
}

static int compare_strings(jinja_run *r, const jinja_string *a, const jinja_string *b)
{
    size_t n = a->length < b->length ? a->length : b->length;
    jinja_charge_bytes(r, n);
    int c = n ? memcmp(a->data, b->data, n) : 0; /* UTF-8 sorts like code points */
    if (c == 0)
        return a->length < b->length ? -1 : a->length > b->length;
    return c < 0 ? -1 : 1;
}

static bool order(jinja_op op, int c)
{
    return c == 2                ? false
           : op == JINJA_LT      ? c < 0
           : op == JINJA_LE      ? c <= 0
           : op == JINJA_GT      ? c > 0
                                 : c >= 0;
}

static bool order_views(jinja_run *r, jinja_op op, const jinja_view *a, const jinja_view *b)
{
    if (op == JINJA_GT || op == JINJA_GE)
        return order_views(r, op == JINJA_GT ? JINJA_LT : JINJA_LE, b, a);
    jinja_value whole = {.type = JINJA_VIEW, .view = (jinja_view *)b};
    jinja_value subset = {.type = JINJA_VIEW, .view = (jinja_view *)a}, item;
    jinja_iterator *it = jinja_iterate(r, subset);
    while (jinja_next(r, it, &item))
        if (!jinja_contains(r, whole, item))
            return false;
    return op == JINJA_LE || a->dict->count < b->dict->count;
}

static bool ordered(jinja_run *r, jinja_op op, jinja_value a, jinja_value b);

static bool order_lists(jinja_run *r, jinja_op op, const jinja_list *a, const jinja_list *b)
{
    for (size_t i = 0; i < a->count && i < b->count; i++)
        if (!jinja_same(a->items[i], b->items[i]) && !jinja_equal(r, a->items[i], b->items[i]))
            return ordered(r, op, a->items[i], b->items[i]);
    return order(op, a->count < b->count ? -1 : a->count > b->count);
}

static bool ordered(jinja_run *r, jinja_op op, jinja_value a, jinja_value b)
{
    static const char *const signs[] = {
        [JINJA_LT] = "<", [JINJA_LE] = "<=", [JINJA_GT] = ">", [JINJA_GE] = ">="};
    jinja_charge(r, 1);
    jinja_need_defined(r, a);
    jinja_need_defined(r, b);
    if (jinja_is_number(a) && jinja_is_number(b))
        return order(op, compare_numbers(a, b));
    if (a.type == JINJA_STRING && b.type == JINJA_STRING)
        return order(op, compare_strings(r, a.string, b.string));
    if (a.type == b.type && (a.type == JINJA_LIST || a.type == JINJA_TUPLE)) {
        jinja_deepen(r);
        bool result = order_lists(r, op, a.list, b.list);
        r->depth--;
        return result;
    }
    if (a.type == JINJA_VIEW && b.type == JINJA_VIEW && a.view->kind != JINJA_VALUES &&
        b.view->kind != JINJA_VALUES)
        return order_views(r, op, a.view, b.view);
    jinja_fail(r, JINJA_TYPE_ERROR, "'%s' not supported between instances of '%s' and '%s'", signs[op],
               jinja_type_name(a), jinja_type_name(b));
}

bool jinja_compare(jinja_run *r, jinja_op op, jinja_value a, jinja_value b)
{
    switch (op) {
    case JINJA_EQ:
        return jinja_equal(r, a, b);
    case JINJA_NE:
        return !jinja_equal(r, a, b);
    case JINJA_IN:
        return jinja_contains(r, b, a);
    case JINJA_NOT_IN:
        return !jinja_contains(r, b, a);
    default:
        return ordered(r, op, a, b);
    }
}

static bool range_contains(const jinja_range *x, jinja_value item)
{
    if (item.type == JINJA_FLOAT) {
        if (!(item.number >= -0x1p63 && item.number < 0x1p63) || item.number != floor(item.number))
            return false;
        item = jinja_int((int64_t)item.number);
    }
    if (!jinja_is_whole(item) || x->count == 0)
        return false;
    int64_t v = jinja_whole(item), last = x->start + (int64_t)(x->count - 1) * x->step;
    if (x->step > 0 ? v < x->start || v > last : v > x->start || v < last)
        return false;
    __int128 distance = (__int128)v - x->start;
    return distance % x->step == 0;
}

static bool view_contains(jinja_run *r, const jinja_view *view, jinja_value item)
{
    if (view->kind == JINJA_KEYS)
        return jinja_dict_get(r, view->dict, item) != NULL;
    if (view->kind == JINJA_ITEMS) {
        if (item.type != JINJA_TUPLE || item.list->count != 2)
            return false;
        jinja_value *v = jinja_dict_get(r, view->dict, item.list->items[0]);
        return v && jinja_equal(r, *v, item.list->items[1]);
    }
    for (size_t i = 0; i < view->dict->count; i++)
        if (jinja_same(view->dict->pairs[i].value, item) || jinja_equal(r, view->dict->pairs[i].value, item))
            return true;
    return false;
}

bool jinja_contains(jinja_run *r, jinja_value container, jinja_value item)
{
    switch ((jinja_type)container.type) {
    case JINJA_UNDEFINED:
        return false;
    case JINJA_STRING:
        if (item.type != JINJA_STRING)
            jinja_fail(r, JINJA_TYPE_ERROR, "'in <string>' requires string as left operand, not %s",
                       jinja_type_name(item));
        jinja_charge_bytes(r, container.string->length);
        return jinja_find_bytes(container.string->data, container.string->length, 0, item.string->data,
                                item.string->length) != SIZE_MAX;
    case JINJA_DICT:
        return jinja_dict_get(r, container.dict, item) != NULL;
    case JINJA_RANGE:
        return range_contains(container.range, item);
    case JINJA_VIEW:
        return view_contains(r, container.view, item);
    default:
        break;
    }
    if (!jinja_iterable(container))
        jinja_fail(r, JINJA_TYPE_ERROR, "argument of type '%s' is not iterable",
                   jinja_type_name(container));
    jinja_iterator *it = jinja_iterate(r, container);
    jinja_value v;
    while (jinja_next(r, it, &v))
        if (jinja_same(v, item) || jinja_equal(r, v, item))
            return true;
    return false;
}

/* ---- hashing --------------------------------------------------------------------------------- */

bool jinja_hashable(jinja_value v)
{
    if (v.type == JINJA_TUPLE) {
        for (size_t i = 0; i < v.list->count; i++)
            if (!jinja_hashable(v.list->items[i]))
                return false;
        return true;
    }
    return v.type != JINJA_LIST && v.type != JINJA_DICT &&
           !(v.type == JINJA_VIEW && v.view->kind != JINJA_VALUES);
}

static uint64_t mix(uint64_t h)
{
    h = (h ^ h >> 33) * 0xff51afd7ed558ccdu;
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53u;
    return h ^ h >> 33;
}

static uint64_t hash_text(const jinja_string *s)
{
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < s->length; i++)
        h = (h ^ (unsigned char)s->data[i]) * 1099511628211u;
    return mix(h);
}

uint64_t jinja_hash(jinja_run *r, jinja_value v)
{
    jinja_charge(r, 1);
    switch ((jinja_type)v.type) {
    case JINJA_UNDEFINED:
    case JINJA_NONE:
    case JINJA_MISSING:
        return v.type;
    case JINJA_BOOL:
    case JINJA_INT:
        return mix((uint64_t)jinja_whole(v));
    case JINJA_FLOAT:
        if (v.number >= -0x1p63 && v.number < 0x1p63 && v.number == floor(v.number))
            return mix((uint64_t)(int64_t)v.number);
        return fabs(v.number) < 1e12 ? mix((uint64_t)(int64_t)(v.number * 1e6)) : 7;
    case JINJA_STRING:
        jinja_charge_bytes(r, v.string->length);
        return hash_text(v.string);
    case JINJA_RANGE:
        return v.range->count;
    case JINJA_TUPLE: {
        uint64_t h = 0x9E3779B97F4A7C15u;
        jinja_deepen(r);
        for (size_t i = 0; i < v.list->count; i++)
            h = mix(h ^ jinja_hash(r, v.list->items[i]));
        r->depth--;
        return h;
    }
    default:
        if (!jinja_hashable(v))
            jinja_fail(r, JINJA_TYPE_ERROR, "unhashable type: '%s'", jinja_type_name(v));
        return v.type == JINJA_METHOD ? 11 : mix((uintptr_t)v.dict);
    }
}

/* ---- sorting ---------------------------------------------------------------------------------- */

static void merge(jinja_run *r, jinja_pair *from, jinja_pair *to, size_t low, size_t middle, size_t high,
                  bool reverse)
{
    size_t i = low, j = middle;
    for (size_t k = low; k < high; k++) {
        bool right = i >= middle;
        if (!right && j < high)
            right = reverse ? ordered(r, JINJA_LT, from[i].key, from[j].key)
                            : ordered(r, JINJA_LT, from[j].key, from[i].key);
        to[k] = right ? from[j++] : from[i++];
    }
}

void jinja_sort(jinja_run *r, jinja_value *items, jinja_value *keys, size_t n, bool reverse)
{
    jinja_pair *a = jinja_alloc(r, n, sizeof *a), *b = jinja_alloc(r, n, sizeof *b), *swap;
    for (size_t i = 0; i < n; i++)
        a[i] = (jinja_pair){keys[i], items[i]};
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t low = 0; low < n; low += 2 * width) {
            size_t middle = low + width < n ? low + width : n;
            size_t high = low + 2 * width < n ? low + 2 * width : n;
            merge(r, a, b, low, middle, high, reverse);
        }
        swap = a;
        a = b;
        b = swap;
    }
    for (size_t i = 0; i < n; i++)
        items[i] = a[i].value;
}
