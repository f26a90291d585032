/* Statements. */
#include <string.h>

#include "text/jinja_loop.h"

/* ---- assignment ------------------------------------------------------------------------------- */

static jinja_value *slot_of(jinja_frame *frame, jinja_ref ref)
{
    for (int i = 0; i < ref.hops; i++)
        frame = frame->outer;
    return &frame->slots[ref.slot];
}

static void assign_tuple(jinja_run *r, jinja_frame *frame, const jinja_node *target, jinja_value v)
{
    size_t want = target->items.count, n = 0;
    if (!jinja_iterable(v))
        jinja_fail(r, JINJA_TYPE_ERROR, "cannot unpack non-iterable %s object", jinja_type_name(v));
    jinja_value *items = jinja_alloc(r, want + 1, sizeof *items);
    jinja_iterator *it = jinja_iterate(r, v);
    while (n <= want && jinja_next(r, it, &items[n]))
        n++;
    if (n != want)
        jinja_fail(r, JINJA_VALUE_ERROR, n > want ? "too many values to unpack (expected %zu)"
                                                  : "not enough values to unpack (expected %zu)", want);
    for (size_t i = 0; i < want; i++)
        jinja_assign(r, frame, target->items.items[i], items[i]);
}

void jinja_assign(jinja_run *r, jinja_frame *frame, const jinja_node *target, jinja_value v)
{
    if (target->kind == JINJA_N_NAME)
        *slot_of(frame, target->name.ref) = v;
    else if (target->kind == JINJA_N_TUPLE)
        assign_tuple(r, frame, target, v);
    else
        jinja_namespace_set(r, *slot_of(frame, target->attribute_target.ref),
                            target->attribute_target.attribute, v);
}

/* `ns.attr` on the left is checked before the right side is evaluated. */
static void check_namespaces(jinja_run *r, jinja_frame *frame, const jinja_node *target)
{
    if (target->kind == JINJA_N_TUPLE)
        for (size_t i = 0; i < target->items.count; i++)
            check_namespaces(r, frame, target->items.items[i]);
    else if (target->kind == JINJA_N_ATTRIBUTE_TARGET &&
             slot_of(frame, target->attribute_target.ref)->type != JINJA_NAMESPACE)
        jinja_fail(r, JINJA_RUNTIME_ERROR, "cannot assign attribute on non-namespace object");
}

/* ---- blocks that capture text -------------------------------------------------------------------- */

/* Leaves a scope: its variables are unset. */
static void leave_scope(jinja_frame *frame, const jinja_loads *loads)
{
    for (size_t i = 0; i < loads->count; i++)
        frame->slots[loads->items[i].slot] = jinja_missing();
}

/* Text that is written without str(): it must be a string. */
static void put_text(jinja_run *r, jinja_buffer *out, jinja_value v)
{
    if (v.type != JINJA_STRING)
        jinja_fail(r, JINJA_TYPE_ERROR, "expected str instance, %s found", jinja_type_name(v));
    jinja_put(r, out, v.string->data, v.string->length);
}

static jinja_flow exec_capture(jinja_run *r, jinja_frame *frame, const jinja_node *n, jinja_buffer *out)
{
    jinja_enter_scope(r, frame, &n->block.loads);
    jinja_buffer *b = jinja_buffer_open(r);
    jinja_flow flow = jinja_exec(r, frame, &n->block.body, b);
    if (flow != JINJA_FLOW_ON) {
        jinja_buffer_close(r, b);
        return flow;
    }
    jinja_value v = jinja_buffer_finish(r, b);
    const jinja_node *filter = n->block.filter;
    if (filter)
        v = jinja_eval_filters(r, frame, filter, v);
    if (n->kind == JINJA_N_SET_BLOCK)
        jinja_assign(r, frame, n->block.target, v);
    else
        put_text(r, out, v);
    leave_scope(frame, &n->block.loads);
    return JINJA_FLOW_ON;
}

static jinja_flow exec_with(jinja_run *r, jinja_frame *frame, const jinja_node *n, jinja_buffer *out)
{
    jinja_enter_scope(r, frame, &n->with.loads);
    for (size_t i = 0; i < n->with.targets.count; i++)
        jinja_assign(r, frame, n->with.targets.items[i], jinja_eval(r, frame, n->with.values.items[i]));
    jinja_flow flow = jinja_exec(r, frame, &n->with.body, out);
    leave_scope(frame, &n->with.loads);
    return flow;
}

/* ---- macros and call blocks ----------------------------------------------------------------------- */

static jinja_value make_macro(jinja_run *r, jinja_frame *frame, const jinja_node *n)
{
    jinja_macro *m = jinja_alloc(r, 1, sizeof *m);
    *m = (jinja_macro){n, frame};
    return (jinja_value){.type = JINJA_MACRO, .macro = m};
}

static void exec_generation(jinja_run *r, jinja_frame *frame, const jinja_node *n, jinja_buffer *out)
{
    jinja_macro m = {n, frame};
    put_text(r, out, jinja_call_macro(r, &m, &(jinja_call){0}));
}

static void exec_call_block(jinja_run *r, jinja_frame *frame, const jinja_node *n, jinja_buffer *out)
{
    jinja_value caller = make_macro(r, frame, n);
    put_text(r, out,
             jinja_call_node(r, frame, n->macro->call, r->program->special[JINJA_CALLER], caller));
}

/* ---- statements -------------------------------------------------------------------------------------- */

/* The body of the first branch whose test holds. */
static const jinja_nodes *choose_branch(jinja_run *r, jinja_frame *frame, const jinja_node *n)
{
    for (;;) {
        if (jinja_truth(jinja_eval(r, frame, n->branch.test)))
            return &n->branch.body;
        const jinja_nodes *rest = &n->branch.otherwise;
        if (rest->count != 1 || rest->items[0]->kind != JINJA_N_IF)
            return rest;
        n = rest->items[0];
    }
}

static jinja_flow exec_statement(jinja_run *r, jinja_frame *frame, const jinja_node *n, jinja_buffer *out)
{
    switch (n->kind) {
    case JINJA_N_DATA:
        jinja_put(r, out, n->value.string->data, n->value.string->length);
        break;
    case JINJA_N_OUTPUT:
        jinja_put_str(r, out, jinja_eval(r, frame, n->operand));
        break;
    case JINJA_N_IF:
        return jinja_exec(r, frame, choose_branch(r, frame, n), out);
    case JINJA_N_FOR:
        return jinja_exec_for(r, frame, n, out);
    case JINJA_N_SET:
        check_namespaces(r, frame, n->set.target);
        jinja_assign(r, frame, n->set.target, jinja_eval(r, frame, n->set.value));
        break;
    case JINJA_N_SET_BLOCK:
    case JINJA_N_FILTER_BLOCK:
        return exec_capture(r, frame, n, out);
    case JINJA_N_MACRO:
        *slot_of(frame, n->macro->target) = make_macro(r, frame, n);
        break;
    case JINJA_N_CALL_BLOCK:
        exec_call_block(r, frame, n, out);
        break;
    case JINJA_N_GENERATION:
        exec_generation(r, frame, n, out);
        break;
    case JINJA_N_WITH:
        return exec_with(r, frame, n, out);
    case JINJA_N_BREAK:
        return JINJA_FLOW_BREAK;
    default:
        return JINJA_FLOW_CONTINUE;
    }
    return JINJA_FLOW_ON;
}

jinja_flow jinja_exec(jinja_run *r, jinja_frame *frame, const jinja_nodes *body, jinja_buffer *out)
{
    jinja_flow flow = JINJA_FLOW_ON;
    jinja_deepen(r);
    for (size_t i = 0; i < body->count && flow == JINJA_FLOW_ON; i++) {
        r->line = body->items[i]->line;
        jinja_charge(r, 1);
        flow = exec_statement(r, frame, body->items[i], out);
    }
    r->depth--;
    return flow;
}
