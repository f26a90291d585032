/* For loops and the variable `loop`. */
#include <string.h>

#include "text/jinja_builtins.h"
#include "text/jinja_loop.h"

/* ---- loop ---------------------------------------------------------------------------------------- */

bool jinja_loop_next(jinja_run *r, jinja_loop *loop, jinja_value *item)
{
    if (loop->after.type != JINJA_MISSING) {
        *item = loop->after;
        loop->after = jinja_missing();
    } else if (!jinja_next(r, loop->items, item)) {
        return false;
    }
    loop->index0++;
    loop->before = loop->current;
    loop->current = *item;
    return true;
}

static jinja_value peek(jinja_run *r, jinja_loop *loop)
{
    if (loop->after.type == JINJA_MISSING && !jinja_next(r, loop->items, &loop->after))
        loop->after = jinja_missing();
    return loop->after;
}

int64_t jinja_loop_length(jinja_run *r, jinja_loop *loop)
{
    if (loop->length >= 0)
        return loop->length;
    if (jinja_has_length(loop->iterable)) {
        loop->length = jinja_length(r, loop->iterable);
        return loop->length;
    }
    jinja_value rest = {.type = JINJA_ITERATOR, .iterator = loop->items};
    jinja_list_builder all = jinja_collect(r, rest);
    loop->items = jinja_iterate(r, jinja_build_list(r, &all));
    loop->length = (int64_t)all.count + loop->index0 + 1 + (loop->after.type != JINJA_MISSING);
    return loop->length;
}

jinja_value jinja_loop_attribute(jinja_run *r, jinja_loop *loop, const jinja_string *name)
{
    jinja_value key = jinja_of_string((jinja_string *)name);
    if (jinja_text_is(key, "index"))
        return jinja_int(loop->index0 + 1);
    if (jinja_text_is(key, "index0"))
        return jinja_int(loop->index0);
    if (jinja_text_is(key, "first"))
        return jinja_bool(loop->index0 == 0);
    if (jinja_text_is(key, "last"))
        return jinja_bool(peek(r, loop).type == JINJA_MISSING);
    if (jinja_text_is(key, "length"))
        return jinja_int(jinja_loop_length(r, loop));
    if (jinja_text_is(key, "revindex"))
        return jinja_int(jinja_loop_length(r, loop) - loop->index0);
    if (jinja_text_is(key, "revindex0"))
        return jinja_int(jinja_loop_length(r, loop) - loop->index0 - 1);
    if (jinja_text_is(key, "previtem"))
        return loop->index0 == 0 ? jinja_undefined_hint(r, "there is no previous item") : loop->before;
    if (jinja_text_is(key, "nextitem")) {
        jinja_value next = peek(r, loop);
        return next.type == JINJA_MISSING ? jinja_undefined_hint(r, "there is no next item") : next;
    }
    if (jinja_text_is(key, "depth"))
        return jinja_int(loop->depth0 + 1);
    if (jinja_text_is(key, "depth0"))
        return jinja_int(loop->depth0);
    return jinja_missing();
}

static jinja_value method_cycle(jinja_run *r, jinja_value self, const jinja_value *arg, const jinja_call *call)
{
    (void)arg;
    if (call->named_count)
        jinja_fail(r, JINJA_TYPE_ERROR, "cycle() takes no keyword arguments");
    if (!call->count)
        jinja_fail(r, JINJA_TYPE_ERROR, "no items for cycling given");
    int64_t i = self.loop->index0 % (int64_t)call->count;
    return call->positional[i < 0 ? i + (int64_t)call->count : i];
}

static jinja_value method_changed(jinja_run *r, jinja_value self, const jinja_value *arg,
                                  const jinja_call *call)
{
    (void)arg;
    if (call->named_count)
        jinja_fail(r, JINJA_TYPE_ERROR, "changed() takes no keyword arguments");
    jinja_value now = jinja_tuple_of(r, call->positional, call->count);
    if (self.loop->changed.type != JINJA_MISSING && jinja_equal(r, self.loop->changed, now))
        return jinja_bool(false);
    self.loop->changed = now;
    return jinja_bool(true);
}

const jinja_builtin jinja_loop_methods[] = {
    {"cycle", "", 0, JINJA_RAW, method_cycle},
    {"changed", "", 0, JINJA_RAW, method_changed},
    {NULL, NULL, 0, 0, NULL},
};

/* ---- for ------------------------------------------------------------------------------------------- */

static void unset(jinja_frame *frame, const jinja_loads *loads, const jinja_for_node *f)
{
    for (size_t i = 0; i < loads->count; i++)
        frame->slots[loads->items[i].slot] = jinja_missing();
    if (f->loop != JINJA_NO_SLOT)
        frame->slots[f->loop] = jinja_missing();
}

static jinja_loop *new_loop(jinja_run *r, const jinja_node *n, jinja_value items, jinja_iterator *it)
{
    jinja_loop *loop = jinja_zalloc(r, 1, sizeof *loop);
    loop->iterable = items;
    loop->items = it;
    loop->index0 = -1;
    loop->length = -1;
    loop->node = n->loop->recursive ? n : NULL;
    return loop;
}

/* Runs the loop over items in a frame; `outer` and depth0 are for recursion. `else` runs when no
 * round came to its end: after `continue` in every round too, as in jinja2. */
static jinja_flow run_loop(jinja_run *r, jinja_frame *frame, const jinja_node *n, jinja_value items,
                           jinja_frame *outer, int64_t depth0, jinja_buffer *out)
{
    const jinja_for_node *f = n->loop;
    jinja_iterator *it = NULL;
    if (f->test) {
        it = jinja_filter_iterator(r, f, outer, items);
        items = (jinja_value){.type = JINJA_ITERATOR, .iterator = it};
    } else {
        it = jinja_iterate(r, items);
    }
    jinja_loop *loop = NULL;
    if (f->loop != JINJA_NO_SLOT) {
        loop = new_loop(r, n, items, it);
        loop->outer = outer;
        loop->depth0 = depth0;
        frame->slots[f->loop] = (jinja_value){.type = JINJA_LOOP, .loop = loop};
    }
    bool completed = false;
    jinja_value item;
    while (loop ? jinja_loop_next(r, loop, &item) : jinja_next(r, it, &item)) {
        r->line = n->line;
        jinja_assign(r, frame, f->target, item);
        jinja_enter_scope(r, frame, &f->body_loads);
        jinja_flow flow = jinja_exec(r, frame, &f->body, out);
        if (flow == JINJA_FLOW_BREAK)
            break;
        completed |= flow == JINJA_FLOW_ON;
    }
    unset(frame, &f->body_loads, f);
    if (completed || !f->otherwise.count)
        return JINJA_FLOW_ON;
    jinja_enter_scope(r, frame, &f->otherwise_loads);
    return jinja_exec(r, frame, &f->otherwise, out);
}

static jinja_value run_recursive(jinja_run *r, const jinja_node *n, jinja_frame *outer, jinja_value items,
                                 int64_t depth0)
{
    const jinja_for_node *f = n->loop;
    jinja_frame *frame = jinja_frame_new(r, f->function, outer);
    jinja_buffer *b = jinja_buffer_open(r);
    jinja_deepen(r);
    run_loop(r, frame, n, items, outer, depth0, b);
    r->depth--;
    return jinja_buffer_finish(r, b);
}

jinja_value jinja_loop_recurse(jinja_run *r, jinja_loop *loop, jinja_value items)
{
    if (!loop->node)
        jinja_fail(r, JINJA_TYPE_ERROR,
                   "The loop must have the 'recursive' marker to be called recursively.");
    return run_recursive(r, loop->node, loop->outer, items, loop->depth0 + 1);
}

jinja_flow jinja_exec_for(jinja_run *r, jinja_frame *frame, const jinja_node *n, jinja_buffer *out)
{
    jinja_value items = jinja_eval(r, frame, n->loop->iterable);
    if (!n->loop->recursive)
        return run_loop(r, frame, n, items, frame, 0, out);
    jinja_value text = run_recursive(r, n, frame, items, 0);
    jinja_put(r, out, text.string->data, text.string->length);
    return JINJA_FLOW_ON;
}
