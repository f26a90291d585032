/* Filters on sequences and mappings. */
#include <string.h>

#include "text/jinja_builtins.h"
#include "text/jinja_ops.h"
#include "text/jinja_unicode.h"

#define FILTER(name)                                                                               \
    static jinja_value name(jinja_run *r, jinja_value self, const jinja_value *arg, const jinja_call *call)
#define UNUSED (void)r, (void)self, (void)arg, (void)call
#define GIVEN(i) (arg[i].type != JINJA_MISSING)
#define TRUE_ARG(i) (GIVEN(i) && jinja_truth(arg[i]))

static jinja_value fold_case(jinja_run *r, jinja_value v, bool case_sensitive)
{
    if (case_sensitive || v.type != JINJA_STRING)
        return v;
    jinja_buffer *b = jinja_buffer_open(r);
    jinja_convert_case(r, b, v.string->data, v.string->length, JINJA_LOWER);
    return jinja_buffer_finish(r, b);
}

FILTER(filter_length)
{
    UNUSED;
    return jinja_int(jinja_length(r, arg[0]));
}

FILTER(filter_list)
{
    UNUSED;
    jinja_list_builder all = jinja_collect(r, arg[0]);
    return jinja_build_list(r, &all);
}

FILTER(filter_first)
{
    UNUSED;
    jinja_value item;
    if (jinja_next(r, jinja_iterate(r, arg[0]), &item))
        return item;
    return jinja_undefined_hint(r, "No first item, sequence was empty.");
}

FILTER(filter_last)
{
    UNUSED;
    jinja_value item;
    jinja_iterator *it = jinja_iterate_reversed(r, arg[0]);
    if (!it)
        jinja_fail(r, JINJA_TYPE_ERROR, "'%s' object is not reversible", jinja_type_name(arg[0]));
    if (jinja_next(r, it, &item))
        return item;
    return jinja_undefined_hint(r, "No last item, sequence was empty.");
}

FILTER(filter_reverse)
{
    UNUSED;
    if (arg[0].type == JINJA_STRING)
        return jinja_slice(r, arg[0], jinja_none(), jinja_none(), jinja_int(-1));
    jinja_iterator *it = jinja_iterate_reversed(r, arg[0]);
    if (it)
        return (jinja_value){.type = JINJA_ITERATOR, .iterator = it};
    if (!jinja_iterable(arg[0]))
        jinja_fail(r, JINJA_FILTER_ERROR, "argument must be iterable");
    jinja_list_builder all = jinja_collect(r, arg[0]);
    jinja_value *items = jinja_alloc(r, all.count, sizeof *items);
    for (size_t i = 0; i < all.count; i++)
        items[i] = all.items[all.count - 1 - i];
    return jinja_list_of(r, items, all.count);
}

FILTER(filter_join)
{
    UNUSED;
    bool by_attribute = GIVEN(2) && arg[2].type != JINJA_NONE;
    jinja_value separator = GIVEN(1) ? jinja_str(r, arg[1]) : jinja_text(r, "");
    jinja_value path = by_attribute ? jinja_prepare_path(r, arg[2]) : jinja_missing(), item;
    jinja_iterator *it = jinja_iterate(r, arg[0]);
    jinja_buffer *b = jinja_buffer_open(r);
    for (bool first = true; jinja_next(r, it, &item); first = false) {
        if (by_attribute)
            item = jinja_follow_path(r, item, path, jinja_none());
        if (!first)
            jinja_put(r, b, separator.string->data, separator.string->length);
        jinja_put_str(r, b, item);
    }
    return jinja_buffer_finish(r, b);
}

/* ---- order ------------------------------------------------------------------------------------- */

/* The list of sort keys for "a,b.c". */
static jinja_value split_attributes(jinja_run *r, jinja_value attribute)
{
    jinja_list_builder paths = {0};
    if (attribute.type != JINJA_STRING) {
        jinja_push(r, &paths, jinja_prepare_path(r, attribute));
        return jinja_build_list(r, &paths);
    }
    const jinja_string *s = attribute.string;
    for (size_t from = 0, to; from <= s->length; from = to + 1) {
        to = jinja_find_bytes(s->data, s->length, from, ",", 1);
        if (to == SIZE_MAX)
            to = s->length;
        jinja_push(r, &paths, jinja_prepare_path(r, jinja_part(r, s, from, to - from)));
    }
    return jinja_build_list(r, &paths);
}

FILTER(filter_sort)
{
    UNUSED;
    jinja_list_builder all = jinja_collect(r, arg[0]);
    jinja_value paths = split_attributes(r, arg[3]);
    jinja_value *keys = jinja_alloc(r, all.count, sizeof *keys);
    for (size_t i = 0; i < all.count; i++) {
        jinja_list_builder key = {0};
        for (size_t k = 0; k < paths.list->count; k++) {
            jinja_value v = jinja_follow_path(r, all.items[i], paths.list->items[k], jinja_none());
            jinja_push(r, &key, fold_case(r, v, TRUE_ARG(2)));
        }
        keys[i] = jinja_build_list(r, &key);
    }
    jinja_sort(r, all.items, keys, all.count, TRUE_ARG(1));
    return jinja_build_list(r, &all);
}

FILTER(filter_dictsort)
{
    UNUSED;
    bool by_value = GIVEN(2) && jinja_text_is(arg[2], "value");
    if (GIVEN(2) && !by_value && !jinja_text_is(arg[2], "key"))
        jinja_fail(r, JINJA_FILTER_ERROR, "You can only sort by either \"key\" or \"value\"");
    jinja_need_defined(r, arg[0]);
    if (arg[0].type != JINJA_DICT)
        jinja_fail(r, JINJA_TYPE_ERROR, "'%s' object has no attribute 'items'", jinja_type_name(arg[0]));
    const jinja_dict *d = arg[0].dict;
    jinja_list_builder all = {jinja_alloc(r, d->count, sizeof *all.items), d->count, d->count};
    jinja_value *keys = jinja_alloc(r, d->count, sizeof *keys);
    for (size_t i = 0; i < d->count; i++) {
        jinja_pair p = d->pairs[i];
        all.items[i] = jinja_tuple_of(r, (jinja_value[]){p.key, p.value}, 2);
        keys[i] = fold_case(r, by_value ? p.value : p.key, TRUE_ARG(1));
    }
    jinja_sort(r, all.items, keys, d->count, TRUE_ARG(3));
    return jinja_build_list(r, &all);
}

static jinja_value extreme(jinja_run *r, const jinja_value *arg, jinja_op op)
{
    jinja_iterator *it = jinja_iterate(r, arg[0]);
    jinja_value item, best, best_key, path = jinja_prepare_path(r, arg[2]);
    if (!jinja_next(r, it, &best))
        return jinja_undefined_hint(r, "No aggregated item, sequence was empty.");
    best_key = fold_case(r, jinja_follow_path(r, best, path, jinja_none()), TRUE_ARG(1));
    while (jinja_next(r, it, &item)) {
        jinja_value key = fold_case(r, jinja_follow_path(r, item, path, jinja_none()), TRUE_ARG(1));
        if (jinja_compare(r, op, key, best_key)) {
            best = item;
            best_key = key;
        }
    }
    return best;
}

FILTER(filter_min)
{
    UNUSED;
    return extreme(r, arg, JINJA_LT);
}

FILTER(filter_max)
{
    UNUSED;
    return extreme(r, arg, JINJA_GT);
}

FILTER(filter_groupby)
{
    UNUSED;
    bool sensitive = TRUE_ARG(3);
    jinja_value fallback = GIVEN(2) ? arg[2] : jinja_none(), path = jinja_prepare_path(r, arg[1]);
    jinja_list_builder all = jinja_collect(r, arg[0]), groups = {0};
    jinja_value *keys = jinja_alloc(r, all.count, sizeof *keys);
    for (size_t i = 0; i < all.count; i++)
        keys[i] = fold_case(r, jinja_follow_path(r, all.items[i], path, fallback), sensitive);
    jinja_sort(r, all.items, keys, all.count, false);
    for (size_t i = 0, end; i < all.count; i = end) {
        jinja_value key = jinja_follow_path(r, all.items[i], path, fallback);
        jinja_value folded = fold_case(r, key, sensitive);
        for (end = i + 1; end < all.count; end++)
            if (!jinja_equal(r, folded,
                             fold_case(r, jinja_follow_path(r, all.items[end], path, fallback), sensitive)))
                break;
        jinja_value pair[2] = {key, jinja_list_of(r, all.items + i, end - i)};
        jinja_value group = jinja_tuple_of(r, pair, 2);
        group.list->group = true;
        jinja_push(r, &groups, group);
    }
    return jinja_build_list(r, &groups);
}

FILTER(filter_sum)
{
    UNUSED;
    bool by_attribute = GIVEN(1) && arg[1].type != JINJA_NONE;
    jinja_value total = GIVEN(2) ? arg[2] : jinja_int(0), item;
    jinja_value path = by_attribute ? jinja_prepare_path(r, arg[1]) : jinja_missing();
    if (total.type == JINJA_STRING)
        jinja_fail(r, JINJA_TYPE_ERROR, "sum() can't sum strings [use ''.join(seq) instead]");
    jinja_iterator *it = jinja_iterate(r, arg[0]);
    while (jinja_next(r, it, &item)) {
        if (by_attribute)
            item = jinja_follow_path(r, item, path, jinja_none());
        total = jinja_add_values(r, total, item);
    }
    return total;
}

const jinja_builtin jinja_list_filters[] = {
    {"count", "obj", 1, JINJA_POSITIONAL, filter_length},
    {"dictsort", "value case_sensitive by reverse", 1, 0, filter_dictsort},
    {"first", "seq", 1, 0, filter_first},
    {"groupby", "value attribute default case_sensitive", 2, 0, filter_groupby},
    {"join", "value d attribute", 1, 0, filter_join},
    {"last", "seq", 1, 0, filter_last},
    {"length", "obj", 1, JINJA_POSITIONAL, filter_length},
    {"list", "value", 1, 0, filter_list},
    {"max", "value case_sensitive attribute", 1, 0, filter_max},
    {"min", "value case_sensitive attribute", 1, 0, filter_min},
    {"reverse", "value", 1, 0, filter_reverse},
    {"sort", "value reverse case_sensitive attribute", 1, 0, filter_sort},
    {"sum", "iterable attribute start", 1, 0, filter_sum},
    {NULL, NULL, 0, 0, NULL},
};

/* ---- lazy -------------------------------------------------------------------------------------------- */

static jinja_value lazy_call(jinja_run *r, jinja_lazy kind, const jinja_call *call)
{
    if (!call->count)
        jinja_fail(r, JINJA_TYPE_ERROR, "the filter needs a value");
    return jinja_lazy_iterator(r, kind, NULL, 0, call);
}

#define LAZY_CALL(name, kind)                                                                      \
    FILTER(name)                                                                                   \
    {                                                                                              \
        UNUSED;                                                                                    \
        return lazy_call(r, kind, call);                                                           \
    }

#define LAZY_ARGUMENTS(name, kind, count)                                                          \
    FILTER(name)                                                                                   \
    {                                                                                              \
        UNUSED;                                                                                    \
        return jinja_lazy_iterator(r, kind, arg, count, NULL);                                     \
    }

LAZY_CALL(filter_map, JINJA_LAZY_MAP)
LAZY_CALL(filter_select, JINJA_LAZY_SELECT)
LAZY_CALL(filter_reject, JINJA_LAZY_REJECT)
LAZY_CALL(filter_selectattr, JINJA_LAZY_SELECT_ATTRIBUTE)
LAZY_CALL(filter_rejectattr, JINJA_LAZY_REJECT_ATTRIBUTE)
LAZY_ARGUMENTS(filter_unique, JINJA_LAZY_UNIQUE, 3)
LAZY_ARGUMENTS(filter_items, JINJA_LAZY_ITEMS, 1)
LAZY_ARGUMENTS(filter_batch, JINJA_LAZY_BATCH, 3)
LAZY_ARGUMENTS(filter_slice, JINJA_LAZY_SLICE, 3)

const jinja_builtin jinja_lazy_filters[] = {
    {"batch", "value linecount fill_with", 2, 0, filter_batch},
    {"items", "value", 1, 0, filter_items},
    {"map", "", 0, JINJA_RAW, filter_map},
    {"reject", "", 0, JINJA_RAW, filter_reject},
    {"rejectattr", "", 0, JINJA_RAW, filter_rejectattr},
    {"select", "", 0, JINJA_RAW, filter_select},
    {"selectattr", "", 0, JINJA_RAW, filter_selectattr},
    {"slice", "value slices fill_with", 2, 0, filter_slice},
    {"unique", "value case_sensitive attribute", 1, 0, filter_unique},
    {NULL, NULL, 0, 0, NULL},
};
