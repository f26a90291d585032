/* Calls: evaluating arguments, giving them to builtins and macros, and frames. */
#include <string.h>

#include "text/jinja_builtins.h"
#include "text/jinja_loop.h"

#define FEW 8 /* arguments that are evaluated on the C stack */

/* ---- frames ---------------------------------------------------------------------------------- */

void jinja_deepen(jinja_run *r)
{
    if (++r->depth > JINJA_MAX_DEPTH)
        jinja_fail(r, JINJA_LIMIT, "maximum recursion depth exceeded");
}

jinja_frame *jinja_frame_new(jinja_run *r, const jinja_function *f, jinja_frame *outer)
{
    jinja_frame *frame = r->free_frames[f->id];
    size_t bytes = f->slots * sizeof *frame->slots;
    if (frame)
        r->free_frames[f->id] = frame->outer;
    else
        frame = jinja_alloc(r, 1, sizeof *frame + bytes);
    frame->outer = outer;
    memset(frame->slots, 0, bytes); /* all missing */
    return frame;
}

void jinja_frame_done(jinja_run *r, const jinja_function *f, jinja_frame *frame)
{
    if (f->captured)
        return;
    frame->outer = r->free_frames[f->id];
    r->free_frames[f->id] = frame;
}

static jinja_value *slot_of(jinja_frame *frame, jinja_ref ref)
{
    for (int i = 0; i < ref.hops; i++)
        frame = frame->outer;
    return &frame->slots[ref.slot];
}

/* A variable that the template is given, or a global function; missing if there is neither. */
static jinja_value resolve(jinja_run *r, jinja_value name)
{
    jinja_value *given = jinja_dict_get(r, r->variables, name);
    if (given)
        return *given;
    const jinja_builtin *global = jinja_find_global(name.string->data, name.string->length);
    return global ? (jinja_value){.type = JINJA_FUNCTION, .function = global} : jinja_missing();
}

void jinja_enter_scope(jinja_run *r, jinja_frame *frame, const jinja_loads *loads)
{
    for (size_t i = 0; i < loads->count; i++) {
        const jinja_load *l = &loads->items[i];
        frame->slots[l->slot] = l->kind == JINJA_LOAD_RESOLVE ? resolve(r, l->name)
                                : l->kind == JINJA_LOAD_ALIAS ? *slot_of(frame, l->alias)
                                                              : jinja_missing();
    }
    jinja_charge(r, 1 + loads->count);
}

/* ---- builtins ----------------------------------------------------------------------------------- */

/* The position of a parameter in "first second third", or -1. */
static int find_parameter(const char *parameters, const jinja_string *name)
{
    const char *p = parameters;
    for (int i = 0; *p; i++) {
        size_t n = strcspn(p, " ");
        if (n == name->length && memcmp(p, name->data, n) == 0)
            return i;
        p += n;
        p += *p == ' ';
    }
    return -1;
}

static int count_parameters(const char *parameters)
{
    int n = *parameters != 0;
    for (const char *p = parameters; *p; p++)
        n += *p == ' ';
    return n;
}

static void bind_named(jinja_run *r, const jinja_builtin *b, const jinja_call *call, jinja_value *arg)
{
    for (size_t i = 0; i < call->named_count; i++) {
        const jinja_string *name = call->named[i].key.string;
        int at = b->flags & JINJA_POSITIONAL ? -1 : find_parameter(b->parameters, name);
        if (at < 0)
            jinja_fail(r, JINJA_TYPE_ERROR, "%s() got an unexpected keyword argument '%.*s'", b->name,
                       (int)name->length, name->data);
        if (arg[at].type != JINJA_MISSING)
            jinja_fail(r, JINJA_TYPE_ERROR, "%s() got multiple values for argument '%.*s'", b->name,
                       (int)name->length, name->data);
        arg[at] = call->named[i].value;
    }
}

jinja_value jinja_call_builtin(jinja_run *r, const jinja_builtin *b, jinja_value self, const jinja_call *call)
{
    jinja_value arg[JINJA_MAX_PARAMETERS] = {{.type = JINJA_MISSING}};
    jinja_charge(r, 1);
    if (b->flags & JINJA_REFUSED)
        jinja_fail(r, JINJA_UNSUPPORTED, "calling '%s'", b->name);
    if (b->flags & JINJA_RAW)
        return b->fn(r, self, arg, call);
    int most = count_parameters(b->parameters);
    if (call->count > (size_t)most)
        jinja_fail(r, JINJA_TYPE_ERROR, "%s() takes at most %d argument(s) (%zu given)", b->name, most,
                   call->count);
    for (size_t i = 0; i < call->count; i++)
        arg[i] = call->positional[i];
    bind_named(r, b, call, arg);
    for (int i = 0; i < b->required; i++)
        if (arg[i].type == JINJA_MISSING)
            jinja_fail(r, JINJA_TYPE_ERROR, "%s() needs %d argument(s)", b->name, b->required);
    return b->fn(r, self, arg, call);
}

/* ---- macros --------------------------------------------------------------------------------------- */

/* The position of a keyword argument, or count. */
static size_t find_named(const jinja_pair *named, size_t count, const jinja_string *name)
{
    size_t i = 0;
    while (i < count && !(named[i].key.type == JINJA_STRING && named[i].key.string->length == name->length &&
                          memcmp(named[i].key.string->data, name->data, name->length) == 0))
        i++;
    return i;
}

/* Takes a keyword argument out (its key becomes missing); missing when it was not given. */
static jinja_value take(jinja_pair *named, size_t count, const jinja_string *name)
{
    size_t i = find_named(named, count, name);
    if (i == count)
        return jinja_missing();
    named[i].key = jinja_missing();
    return named[i].value;
}

static void bind_rest(jinja_run *r, const jinja_macro_node *m, jinja_frame *frame, const jinja_call *call,
                      const jinja_pair *named)
{
    jinja_dict *rest = m->kwargs != JINJA_NO_SLOT ? jinja_dict_new(r) : NULL;
    for (size_t i = 0; i < call->named_count; i++) {
        if (named[i].key.type == JINJA_MISSING)
            continue;
        if (!rest)
            jinja_fail(r, JINJA_TYPE_ERROR, "the macro takes no keyword argument '%.*s'",
                       (int)named[i].key.string->length, named[i].key.string->data);
        jinja_dict_set(r, rest, named[i].key, named[i].value);
    }
    if (rest)
        frame->slots[m->kwargs] = jinja_of_dict(rest);
    size_t used = call->count < m->parameters.count ? call->count : m->parameters.count;
    if (m->varargs != JINJA_NO_SLOT)
        frame->slots[m->varargs] = jinja_tuple_of(r, call->positional + used, call->count - used);
    else if (call->count > used)
        jinja_fail(r, JINJA_TYPE_ERROR, "the macro takes not more than %zu argument(s)",
                   m->parameters.count);
}

/* Parameters that were not given take their defaults, which may refer to earlier ones. */
static void fill_defaults(jinja_run *r, const jinja_macro_node *m, jinja_frame *frame)
{
    size_t first = m->parameters.count - m->defaults.count;
    for (size_t i = 0; i < m->parameters.count; i++) {
        jinja_node *p = m->parameters.items[i];
        jinja_value *slot = &frame->slots[p->name.ref.slot];
        if (slot->type != JINJA_MISSING)
            continue;
        if (i >= first) {
            *slot = jinja_eval(r, frame, m->defaults.items[i - first]);
            continue;
        }
        jinja_buffer *b = jinja_buffer_open(r);
        jinja_puts(r, b, "parameter ");
        jinja_put_repr(r, b, p->name.name);
        jinja_puts(r, b, " was not provided");
        jinja_put(r, b, "", 1);
        *slot = jinja_undefined_hint(r, jinja_buffer_finish(r, b).string->data);
    }
}

static void bind_macro(jinja_run *r, const jinja_macro_node *m, jinja_frame *frame, const jinja_call *call)
{
    jinja_pair few[FEW], *named = few;
    if (call->named_count > FEW)
        named = jinja_alloc(r, call->named_count, sizeof *named);
    if (call->named_count)
        memcpy(named, call->named, call->named_count * sizeof *named);
    bool found_caller = m->explicit_caller;
    for (size_t i = 0; i < m->parameters.count; i++) {
        const jinja_node *p = m->parameters.items[i];
        frame->slots[p->name.ref.slot] = i < call->count
                                             ? call->positional[i]
                                             : take(named, call->named_count, p->name.name.string);
    }
    if (m->caller != JINJA_NO_SLOT && !found_caller) {
        jinja_value caller = take(named, call->named_count, r->program->special[JINJA_CALLER].string);
        if (caller.type == JINJA_MISSING || caller.type == JINJA_NONE)
            caller = jinja_undefined_hint(r, "No caller defined");
        frame->slots[m->caller] = caller;
    }
    bind_rest(r, m, frame, call, named);
}

jinja_value jinja_call_macro(jinja_run *r, const jinja_macro *macro, const jinja_call *call)
{
    const jinja_macro_node *m = macro->node->macro;
    jinja_frame *frame = jinja_frame_new(r, m->function, macro->closure);
    jinja_deepen(r);
    bind_macro(r, m, frame, call);
    jinja_enter_scope(r, frame, &m->loads);
    fill_defaults(r, m, frame);
    jinja_buffer *out = jinja_buffer_open(r);
    jinja_exec(r, frame, &m->body, out);
    jinja_value text = jinja_buffer_finish(r, out);
    jinja_frame_done(r, m->function, frame);
    r->depth--;
    return text;
}

/* ---- any callee ------------------------------------------------------------------------------------- */

jinja_value jinja_call_value(jinja_run *r, jinja_value callee, const jinja_call *call)
{
    switch ((jinja_type)callee.type) {
    case JINJA_UNDEFINED:
        jinja_fail_undefined(r, callee);
    case JINJA_MACRO:
        return jinja_call_macro(r, callee.macro, call);
    case JINJA_METHOD:
        return jinja_call_builtin(r, callee.method->builtin, callee.method->self, call);
    case JINJA_FUNCTION:
        return jinja_call_builtin(r, callee.function, callee, call);
    case JINJA_JOINER:
        if (call->count || call->named_count)
            jinja_fail(r, JINJA_TYPE_ERROR, "a joiner takes no arguments");
        if (callee.joiner->used)
            return callee.joiner->separator;
        callee.joiner->used = true;
        return jinja_text(r, "");
    case JINJA_LOOP:
        if (call->count != 1 || call->named_count)
            jinja_fail(r, JINJA_TYPE_ERROR, "loop() takes one argument");
        return jinja_loop_recurse(r, callee.loop, call->positional[0]);
    default:
        jinja_fail(r, JINJA_TYPE_ERROR, "'%s' object is not callable", jinja_type_name(callee));
    }
}

/* ---- arguments as written ------------------------------------------------------------------------------ */

typedef struct evaluated {
    jinja_value few_positional[FEW];
    jinja_pair few_named[FEW];
    jinja_value *positional;
    jinja_pair *named;
    jinja_call call;
} evaluated;

/* `first` (unless missing) is put before the written arguments, extra (unless its key is) after. */
static void eval_arguments(jinja_run *r, jinja_frame *frame, const jinja_arguments *a, jinja_value first,
                           jinja_pair extra, evaluated *e)
{
    jinja_list_builder star = {0};
    jinja_value stars = jinja_missing();
    size_t n = (first.type != JINJA_MISSING) + a->positional.count, k = a->named.count + 1, i = 0, j = 0;
    if (n > FEW || a->star) {
        e->positional = jinja_alloc(r, n, sizeof *e->positional);
    } else {
        e->positional = e->few_positional;
    }
    if (first.type != JINJA_MISSING)
        e->positional[i++] = first;
    for (size_t x = 0; x < a->positional.count; x++)
        e->positional[i++] = jinja_eval(r, frame, a->positional.items[x]);
    if (a->star) {
        star = jinja_collect(r, jinja_eval(r, frame, a->star));
        jinja_value *all = jinja_alloc(r, i + star.count, sizeof *all);
        memcpy(all, e->positional, i * sizeof *all);
        if (star.count)
            memcpy(all + i, star.items, star.count * sizeof *all);
        e->positional = all;
        i += star.count;
    }
    e->named = k > FEW ? jinja_alloc(r, k, sizeof *e->named) : e->few_named;
    for (; j < a->named.count; j++)
        e->named[j] = (jinja_pair){a->names[j], jinja_eval(r, frame, a->named.items[j])};
    if (extra.key.type != JINJA_MISSING)
        e->named[j++] = extra;
    if (a->star_star)
        stars = jinja_eval(r, frame, a->star_star);
    if (stars.type == JINJA_DICT) {
        jinja_pair *all = jinja_alloc(r, j + stars.dict->count, sizeof *all);
        memcpy(all, e->named, j * sizeof *all);
        for (size_t x = 0; x < stars.dict->count; x++) {
            const jinja_pair *p = &stars.dict->pairs[x];
            if (p->key.type != JINJA_STRING)
                jinja_fail(r, JINJA_TYPE_ERROR, "keywords must be strings");
            if (find_named(all, j, p->key.string) < j)
                jinja_fail(r, JINJA_TYPE_ERROR, "got multiple values for a keyword argument");
            all[j++] = *p;
        }
        e->named = all;
    } else if (stars.type != JINJA_MISSING) {
        jinja_fail(r, JINJA_TYPE_ERROR, "argument after ** must be a mapping, not %s",
                   jinja_type_name(stars));
    }
    e->call = (jinja_call){e->positional, i, e->named, j};
}

jinja_value jinja_call_node(jinja_run *r, jinja_frame *frame, const jinja_node *n, jinja_value extra_name,
                            jinja_value extra_value)
{
    evaluated e;
    jinja_value callee = jinja_eval(r, frame, n->call.callee);
    eval_arguments(r, frame, &n->call.arguments, jinja_missing(), (jinja_pair){extra_name, extra_value}, &e);
    r->line = n->line;
    return jinja_call_value(r, callee, &e.call);
}

jinja_value jinja_apply_filter(jinja_run *r, jinja_frame *frame, const jinja_node *n, jinja_value operand)
{
    evaluated e;
    r->line = n->line;
    if (!n->apply.builtin)
        jinja_fail(r, JINJA_RUNTIME_ERROR, "No %s named '%.*s' found.",
                   n->kind == JINJA_N_FILTER ? "filter" : "test", (int)n->apply.name.string->length,
                   n->apply.name.string->data);
    eval_arguments(r, frame, &n->apply.arguments, operand,
                   (jinja_pair){jinja_missing(), jinja_missing()}, &e);
    r->line = n->line;
    return jinja_call_builtin(r, n->apply.builtin, jinja_missing(), &e.call);
}

jinja_value jinja_eval_filters(jinja_run *r, jinja_frame *frame, const jinja_node *n, jinja_value text)
{
    if (n->apply.operand)
        text = jinja_eval_filters(r, frame, n->apply.operand, text);
    return jinja_apply_filter(r, frame, n, text);
}
