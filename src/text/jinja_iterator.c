/* Iteration over every kind of value, and the lazy filters, which like jinja2's generators do their
 * work (and fail) only when an item is asked for. */
#include <string.h>

#include "text/jinja_builtins.h"
#include "text/jinja_loop.h"
#include "text/jinja_unicode.h"

typedef enum iterator_kind {
    OVER_ITEMS, /* of a list, tuple, dict, view or range, by position */
    OVER_TEXT,
    OVER_LOOP,
    OVER_FILTERED, /* by the condition of a for loop */
    OVER_LAZY,
} iterator_kind;

struct jinja_iterator {
    iterator_kind kind;
    jinja_value source;
    size_t position;
    bool reversed, started, done;
    jinja_iterator *inner;
    /* a for loop's condition */
    const jinja_for_node *node;
    jinja_frame *frame;
    /* a lazy filter */
    jinja_lazy lazy;
    jinja_value arg[JINJA_MAX_PARAMETERS];
    jinja_call call;
    jinja_value path, fallback;
    const jinja_builtin *builtin; /* that `map` or `select` names */
    jinja_value *positional;      /* its arguments */
    jinja_dict *seen;
    jinja_list_builder all;
};

static jinja_iterator *new_iterator(jinja_run *r, iterator_kind kind, jinja_value source)
{
    jinja_iterator *it = jinja_zalloc(r, 1, sizeof *it);
    it->kind = kind;
    it->source = source;
    return it;
}

bool jinja_iterable(jinja_value v)
{
    switch ((jinja_type)v.type) {
    case JINJA_UNDEFINED:
    case JINJA_STRING:
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_DICT:
    case JINJA_RANGE:
    case JINJA_VIEW:
    case JINJA_ITERATOR:
    case JINJA_LOOP:
        return true;
    default:
        return false;
    }
}

jinja_iterator *jinja_iterate(jinja_run *r, jinja_value v)
{
    if (!jinja_iterable(v))
        jinja_fail(r, JINJA_TYPE_ERROR, "'%s' object is not iterable", jinja_type_name(v));
    if (v.type == JINJA_ITERATOR)
        return v.iterator;
    return new_iterator(r, v.type == JINJA_STRING ? OVER_TEXT : v.type == JINJA_LOOP ? OVER_LOOP : OVER_ITEMS,
                        v);
}

jinja_iterator *jinja_iterate_reversed(jinja_run *r, jinja_value v)
{
    switch ((jinja_type)v.type) {
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_DICT:
    case JINJA_RANGE:
    case JINJA_VIEW:
    case JINJA_UNDEFINED:
    case JINJA_STRING: {
        if (v.type == JINJA_STRING) {
            jinja_list_builder points = jinja_collect(r, v);
            v = jinja_build_list(r, &points);
        }
        jinja_iterator *it = new_iterator(r, OVER_ITEMS, v);
        it->reversed = true;
        return it;
    }
    default:
        return NULL;
    }
}

jinja_list_builder jinja_collect(jinja_run *r, jinja_value v)
{
    jinja_list_builder b = {0};
    jinja_value item;
    if (v.type == JINJA_LIST || v.type == JINJA_TUPLE) {
        size_t n = v.list->count;
        b = (jinja_list_builder){jinja_alloc(r, n, sizeof *b.items), n, n};
        if (n)
            memcpy(b.items, v.list->items, n * sizeof *b.items);
        jinja_charge(r, 1 + n / 8);
        return b;
    }
    jinja_iterator *it = jinja_iterate(r, v);
    while (jinja_next(r, it, &item))
        jinja_push(r, &b, item);
    return b;
}

/* ---- plain iteration -------------------------------------------------------------------------------- */

static jinja_value pair_tuple(jinja_run *r, const jinja_pair *p)
{
    return jinja_tuple_of(r, (jinja_value[]){p->key, p->value}, 2);
}

static size_t item_count(jinja_value v)
{
    return v.type == JINJA_UNDEFINED ? 0
           : v.type == JINJA_DICT    ? v.dict->count
           : v.type == JINJA_VIEW    ? v.view->dict->count
           : v.type == JINJA_RANGE   ? v.range->count
                                     : v.list->count;
}

static jinja_value item_at(jinja_run *r, jinja_value v, size_t i)
{
    switch ((jinja_type)v.type) {
    case JINJA_DICT:
        return v.dict->pairs[i].key;
    case JINJA_VIEW: {
        const jinja_pair *p = &v.view->dict->pairs[i];
        return v.view->kind == JINJA_KEYS ? p->key : v.view->kind == JINJA_VALUES ? p->value : pair_tuple(r, p);
    }
    case JINJA_RANGE:
        return jinja_int(v.range->start + (int64_t)i * v.range->step);
    default:
        return v.list->items[i];
    }
}

static bool next_item(jinja_run *r, jinja_iterator *it, jinja_value *item)
{
    size_t count = item_count(it->source);
    if (it->position >= count)
        return false;
    size_t i = it->position++;
    *item = item_at(r, it->source, it->reversed ? count - 1 - i : i);
    return true;
}

static bool next_point(jinja_run *r, jinja_iterator *it, jinja_value *item)
{
    const jinja_string *s = it->source.string;
    if (it->position >= s->length)
        return false;
    size_t width;
    utf8_decode(s->data + it->position, &width);
    *item = jinja_part(r, s, it->position, width);
    item->string->points = 1;
    item->string->markup = false; /* str's own iterator */
    it->position += width;
    return true;
}

/* ---- the condition of a for loop ------------------------------------------------------------------------ */

jinja_iterator *jinja_filter_iterator(jinja_run *r, const jinja_for_node *f, jinja_frame *frame,
                                      jinja_value source)
{
    jinja_iterator *it = new_iterator(r, OVER_FILTERED, source);
    it->node = f;
    it->frame = frame;
    return it;
}

static bool next_filtered(jinja_run *r, jinja_iterator *it, jinja_value *item)
{
    const jinja_for_node *f = it->node;
    if (!it->started) {
        it->started = true;
        it->frame = jinja_frame_new(r, f->filter, it->frame);
        jinja_enter_scope(r, it->frame, &f->filter_loads);
        it->inner = jinja_iterate(r, it->source);
    }
    jinja_value v;
    while (jinja_next(r, it->inner, &v)) {
        jinja_assign(r, it->frame, f->filter_target, v);
        if (jinja_truth(jinja_eval(r, it->frame, f->test))) {
            *item = jinja_eval(r, it->frame, f->filter_target); /* the target, read back */
            return true;
        }
    }
    return false;
}

/* ---- lazy filters ------------------------------------------------------------------------------------------ */

jinja_value jinja_lazy_iterator(jinja_run *r, jinja_lazy kind, const jinja_value *arg, size_t n,
                                const jinja_call *call)
{
    jinja_iterator *it = new_iterator(r, OVER_LAZY, arg ? arg[0] : call->positional[0]);
    it->lazy = kind;
    for (size_t i = 0; arg && i < n; i++)
        it->arg[i] = arg[i];
    if (call) {
        jinja_value *positional = jinja_alloc(r, call->count, sizeof *positional);
        jinja_pair *named = jinja_alloc(r, call->named_count, sizeof *named);
        memcpy(positional, call->positional, call->count * sizeof *positional);
        if (call->named_count)
            memcpy(named, call->named, call->named_count * sizeof *named);
        it->call = (jinja_call){positional, call->count, named, call->named_count};
    }
    return (jinja_value){.type = JINJA_ITERATOR, .iterator = it};
}

static const jinja_value *named_argument(const jinja_call *call, const char *name)
{
    for (size_t i = 0; i < call->named_count; i++)
        if (jinja_text_is(call->named[i].key, name))
            return &call->named[i].value;
    return NULL;
}

/* The builtin that `map`, `select` and the like name in their argument. */
static const jinja_builtin *named_builtin(jinja_run *r, jinja_value name, bool filter)
{
    const jinja_builtin *b = NULL;
    if (name.type == JINJA_STRING)
        b = filter ? jinja_find_filter(name.string->data, name.string->length)
                   : jinja_find_test(name.string->data, name.string->length);
    if (b && (b->flags & JINJA_REFUSED))
        jinja_fail(r, JINJA_UNSUPPORTED, "the filter '%s'", b->name);
    if (!b) {
        jinja_buffer *text = jinja_buffer_open(r);
        jinja_puts(r, text, filter ? "No filter named " : "No test named ");
        jinja_put_repr(r, text, name);
        jinja_fail_text(r, JINJA_RUNTIME_ERROR, text->data, text->length);
    }
    return b;
}

static void start_map(jinja_run *r, jinja_iterator *it)
{
    const jinja_value *attribute = named_argument(&it->call, "attribute");
    if (it->call.count == 1 && attribute) {
        const jinja_value *fallback = named_argument(&it->call, "default");
        if (it->call.named_count > (fallback ? 2u : 1u))
            jinja_fail(r, JINJA_FILTER_ERROR, "map has an unexpected keyword argument");
        it->path = jinja_prepare_path(r, *attribute);
        it->fallback = fallback ? *fallback : jinja_none();
        return;
    }
    if (it->call.count < 2)
        jinja_fail(r, JINJA_FILTER_ERROR, "map requires a filter argument");
}

static void start_select(jinja_run *r, jinja_iterator *it)
{
    bool by_attribute = it->lazy == JINJA_LAZY_SELECT_ATTRIBUTE || it->lazy == JINJA_LAZY_REJECT_ATTRIBUTE;
    if (!by_attribute)
        return;
    if (it->call.count < 2)
        jinja_fail(r, JINJA_FILTER_ERROR, "the name of the attribute is missing");
    it->path = jinja_prepare_path(r, it->call.positional[1]);
}

/* Calls a named filter or test on an item, with the arguments from `first` on. */
static jinja_value apply_named(jinja_run *r, jinja_iterator *it, jinja_value item, size_t first, bool filter)
{
    if (!it->builtin)
        it->builtin = named_builtin(r, it->call.positional[first - 1], filter);
    if (!it->positional)
        it->positional = jinja_alloc(r, 1 + it->call.count, sizeof *it->positional);
    jinja_call call = it->call;
    it->positional[0] = item;
    call.count = 1;
    for (size_t i = first; i < it->call.count; i++)
        it->positional[call.count++] = it->call.positional[i];
    call.positional = it->positional;
    return jinja_call_builtin(r, it->builtin, jinja_missing(), &call);
}

static bool next_map(jinja_run *r, jinja_iterator *it, jinja_value *item)
{
    jinja_value v;
    if (!jinja_next(r, it->inner, &v))
        return false;
    *item = it->path.type == JINJA_LIST ? jinja_follow_path(r, v, it->path, it->fallback)
                                        : apply_named(r, it, v, 2, true);
    return true;
}

static bool next_selected(jinja_run *r, jinja_iterator *it, jinja_value *item)
{
    bool by_attribute = it->path.type == JINJA_LIST;
    bool rejects = it->lazy == JINJA_LAZY_REJECT || it->lazy == JINJA_LAZY_REJECT_ATTRIBUTE;
    size_t name = by_attribute ? 2 : 1;
    while (jinja_next(r, it->inner, item)) {
        jinja_value v = by_attribute ? jinja_follow_path(r, *item, it->path, jinja_none()) : *item;
        if (it->call.count > name)
            v = apply_named(r, it, v, name + 1, false);
        if (jinja_truth(v) != rejects)
            return true;
    }
    return false;
}

static jinja_value ignore_case(jinja_run *r, jinja_value v)
{
    if (v.type != JINJA_STRING)
        return v;
    jinja_buffer *b = jinja_buffer_open(r);
    jinja_convert_case(r, b, v.string->data, v.string->length, JINJA_LOWER);
    return jinja_buffer_finish(r, b);
}

static bool next_unique(jinja_run *r, jinja_iterator *it, jinja_value *item)
{
    while (jinja_next(r, it->inner, item)) {
        jinja_value key = jinja_follow_path(r, *item, it->path, jinja_none());
        if (it->arg[1].type == JINJA_MISSING || !jinja_truth(it->arg[1]))
            key = ignore_case(r, key);
        if (!jinja_dict_get(r, it->seen, key)) {
            jinja_dict_set(r, it->seen, key, jinja_none());
            return true;
        }
    }
    return false;
}

/* it->all is the batch being filled. */
static bool next_batch(jinja_run *r, jinja_iterator *it, jinja_value *item)
{
    jinja_value v, size = it->arg[1], fill = it->arg[2];
    while (jinja_next(r, it->inner, &v)) {
        bool full = jinja_equal(r, jinja_int((int64_t)it->all.count), size);
        if (full) {
            *item = jinja_build_list(r, &it->all);
            it->all = (jinja_list_builder){0};
        }
        jinja_push(r, &it->all, v);
        if (full)
            return true;
    }
    it->done = true;
    int64_t count = (int64_t)it->all.count;
    if (count == 0)
        return false;
    if (fill.type != JINJA_MISSING && fill.type != JINJA_NONE &&
        jinja_compare(r, JINJA_LT, jinja_int(count), size))
        for (int64_t i = jinja_index_value(r, size) - count; i > 0; i--) {
            jinja_charge(r, 1);
            jinja_push(r, &it->all, fill);
        }
    *item = jinja_build_list(r, &it->all);
    return true;
}

static bool next_slice(jinja_run *r, jinja_iterator *it, jinja_value *item)
{
    int64_t slices = jinja_index_value(r, it->arg[1]), length = (int64_t)it->all.count;
    if (slices == 0)
        jinja_fail(r, JINJA_ZERO_DIVISION_ERROR, "integer division or modulo by zero");
    int64_t i = (int64_t)it->position;
    if (i >= slices)
        return false;
    it->position++;
    int64_t each = length / slices, extra = length % slices;
    int64_t start = i * each + (i < extra ? i : extra);
    int64_t end = start + each + (i < extra);
    jinja_list_builder b = {0};
    for (int64_t k = start; k < end; k++)
        jinja_push(r, &b, it->all.items[k]);
    if (it->arg[2].type != JINJA_MISSING && it->arg[2].type != JINJA_NONE && i >= extra)
        jinja_push(r, &b, it->arg[2]);
    *item = jinja_build_list(r, &b);
    return true;
}

static void start_lazy(jinja_run *r, jinja_iterator *it)
{
    switch (it->lazy) {
    case JINJA_LAZY_ITEMS:
        if (it->source.type == JINJA_UNDEFINED)
            break;
        if (it->source.type != JINJA_DICT)
            jinja_fail(r, JINJA_TYPE_ERROR, "Can only get item pairs from a mapping.");
        jinja_view *view = jinja_alloc(r, 1, sizeof *view);
        *view = (jinja_view){it->source.dict, JINJA_ITEMS};
        it->source = (jinja_value){.type = JINJA_VIEW, .view = view};
        break;
    case JINJA_LAZY_UNIQUE:
        it->path = jinja_prepare_path(r, it->arg[2]);
        it->seen = jinja_dict_new(r);
        break;
    case JINJA_LAZY_SLICE:
        it->all = jinja_collect(r, it->source);
        return;
    case JINJA_LAZY_BATCH:
        break;
    default:
        if (!jinja_truth(it->source)) { /* these generators give nothing for any false value */
            it->done = true;
            return;
        }
        if (it->lazy == JINJA_LAZY_MAP)
            start_map(r, it);
        else
            start_select(r, it);
    }
    it->inner = jinja_iterate(r, it->source);
}

static bool next_lazy(jinja_run *r, jinja_iterator *it, jinja_value *item)
{
    if (!it->started) {
        it->started = true;
        start_lazy(r, it);
    }
    if (it->done)
        return false;
    jinja_charge(r, 1);
    switch (it->lazy) {
    case JINJA_LAZY_MAP:
        return next_map(r, it, item);
    case JINJA_LAZY_ITEMS:
        return jinja_next(r, it->inner, item);
    case JINJA_LAZY_UNIQUE:
        return next_unique(r, it, item);
    case JINJA_LAZY_BATCH:
        return next_batch(r, it, item);
    case JINJA_LAZY_SLICE:
        return next_slice(r, it, item);
    default:
        return next_selected(r, it, item);
    }
}

bool jinja_next(jinja_run *r, jinja_iterator *it, jinja_value *item)
{
    bool more;
    jinja_charge(r, 1);
    jinja_deepen(r);
    switch (it->kind) {
    case OVER_TEXT:
        more = next_point(r, it, item);
        break;
    case OVER_LOOP:
        more = jinja_loop_next(r, it->source.loop, item);
        if (more)
            *item = jinja_tuple_of(r, (jinja_value[]){*item, it->source}, 2);
        break;
    case OVER_FILTERED:
        more = next_filtered(r, it, item);
        break;
    case OVER_LAZY:
        more = next_lazy(r, it, item);
        break;
    default:
        more = next_item(r, it, item);
    }
    r->depth--;
    return more;
}
