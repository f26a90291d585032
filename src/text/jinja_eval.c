/* Expressions. */
#include "text/jinja_ops.h"

static jinja_value eval_binary(jinja_run *r, jinja_frame *frame, const jinja_node *n)
{
    jinja_value a = jinja_eval(r, frame, n->binary.left);
    jinja_value b = jinja_eval(r, frame, n->binary.right);
    r->line = n->line;
    return jinja_binary(r, n->binary.op, a, b);
}

static jinja_value eval_name(jinja_run *r, jinja_frame *frame, const jinja_node *n)
{
    for (int i = 0; i < n->name.ref.hops; i++)
        frame = frame->outer;
    jinja_value v = frame->slots[n->name.ref.slot];
    return v.type == JINJA_MISSING ? jinja_undefined_name(r, n->name.name) : v;
}

static jinja_value eval_items(jinja_run *r, jinja_frame *frame, const jinja_node *n)
{
    size_t count = n->items.count;
    jinja_list_builder b = {jinja_alloc(r, count, sizeof *b.items), count, count};
    for (size_t i = 0; i < count; i++)
        b.items[i] = jinja_eval(r, frame, n->items.items[i]);
    return n->kind == JINJA_N_LIST ? jinja_build_list(r, &b) : jinja_build_tuple(r, &b);
}

static jinja_value eval_dict(jinja_run *r, jinja_frame *frame, const jinja_node *n)
{
    jinja_dict *d = jinja_dict_new(r);
    for (size_t i = 0; i < n->items.count; i += 2) {
        jinja_value key = jinja_eval(r, frame, n->items.items[i]);
        jinja_value value = jinja_eval(r, frame, n->items.items[i + 1]);
        jinja_dict_set(r, d, key, value);
    }
    return jinja_of_dict(d);
}

static jinja_value eval_concat(jinja_run *r, jinja_frame *frame, const jinja_node *n)
{
    jinja_value whole = jinja_str(r, jinja_eval(r, frame, n->items.items[0]));
    for (size_t i = 1; i < n->items.count; i++)
        whole = jinja_join_two(r, whole, jinja_str(r, jinja_eval(r, frame, n->items.items[i])));
    return whole;
}

static jinja_value eval_compare(jinja_run *r, jinja_frame *frame, const jinja_node *n)
{
    jinja_value left = jinja_eval(r, frame, n->compare.operands.items[0]);
    for (size_t i = 1; i < n->compare.operands.count; i++) {
        jinja_value right = jinja_eval(r, frame, n->compare.operands.items[i]);
        r->line = n->line;
        if (!jinja_compare(r, n->compare.ops[i - 1], left, right))
            return jinja_bool(false);
        left = right;
    }
    return jinja_bool(true);
}

static jinja_value eval_condition(jinja_run *r, jinja_frame *frame, const jinja_node *n)
{
    if (jinja_truth(jinja_eval(r, frame, n->condition.test)))
        return jinja_eval(r, frame, n->condition.yes);
    if (n->condition.no)
        return jinja_eval(r, frame, n->condition.no);
    return jinja_undefined_hint(
        r, "the inline if-expression evaluated to false and no else section was defined.");
}

static jinja_value eval_getitem(jinja_run *r, jinja_frame *frame, const jinja_node *n)
{
    jinja_value object = jinja_eval(r, frame, n->getitem.object);
    const jinja_node *index = n->getitem.index;
    if (index->kind != JINJA_N_SLICE) {
        jinja_value i = jinja_eval(r, frame, index);
        r->line = n->line;
        return jinja_getitem(r, object, i);
    }
    jinja_value part[3];
    const jinja_node *nodes[3] = {index->slice.start, index->slice.stop, index->slice.step};
    for (int i = 0; i < 3; i++)
        part[i] = nodes[i] ? jinja_eval(r, frame, nodes[i]) : jinja_missing();
    r->line = n->line;
    return jinja_slice(r, object, part[0], part[1], part[2]);
}

static jinja_value eval_node(jinja_run *r, jinja_frame *frame, const jinja_node *n)
{
    jinja_value v;
    switch (n->kind) {
    case JINJA_N_CONST:
        return n->value;
    case JINJA_N_NAME:
        return eval_name(r, frame, n);
    case JINJA_N_TUPLE:
    case JINJA_N_LIST:
        return eval_items(r, frame, n);
    case JINJA_N_DICT:
        return eval_dict(r, frame, n);
    case JINJA_N_BINARY:
        return eval_binary(r, frame, n);
    case JINJA_N_AND:
        v = jinja_eval(r, frame, n->binary.left);
        return jinja_truth(v) ? jinja_eval(r, frame, n->binary.right) : v;
    case JINJA_N_OR:
        v = jinja_eval(r, frame, n->binary.left);
        return jinja_truth(v) ? v : jinja_eval(r, frame, n->binary.right);
    case JINJA_N_NOT:
        return jinja_bool(!jinja_truth(jinja_eval(r, frame, n->operand)));
    case JINJA_N_NEGATIVE:
    case JINJA_N_POSITIVE:
        return jinja_negate(r, jinja_eval(r, frame, n->operand), n->kind == JINJA_N_NEGATIVE);
    case JINJA_N_CONCAT:
        return eval_concat(r, frame, n);
    case JINJA_N_COMPARE:
        return eval_compare(r, frame, n);
    case JINJA_N_CONDITION:
        return eval_condition(r, frame, n);
    case JINJA_N_GETATTR:
        v = jinja_eval(r, frame, n->getattr.object);
        r->line = n->line;
        return jinja_getattr(r, v, n->getattr.name);
    case JINJA_N_GETITEM:
        return eval_getitem(r, frame, n);
    case JINJA_N_FILTER:
    case JINJA_N_TEST:
        return jinja_apply_filter(r, frame, n, jinja_eval(r, frame, n->apply.operand));
    case JINJA_N_CALL:
        return jinja_call_node(r, frame, n, jinja_missing(), jinja_missing());
    default:
        jinja_fail(r, JINJA_UNSUPPORTED, "this expression");
    }
}

jinja_value jinja_eval(jinja_run *r, jinja_frame *frame, const jinja_node *n)
{
    r->line = n->line;
    jinja_charge(r, 1);
    jinja_deepen(r);
    jinja_value v = eval_node(r, frame, n);
    r->depth--;
    return v;
}
