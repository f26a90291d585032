/* Gives every variable of a parsed template its place: walks the statements as jinja2's code
 * generator does, opening scopes, and writes into the nodes where each name lies and what each block
 * must set up when it is entered. Also checks what can be checked before running. */
#include "text/jinja_scope.h"

/* Where the walk is. */
typedef struct binder {
    jinja_run *r;
    jinja_program *program;
    jinja_scope *scope;
    jinja_scope_function *function;
    bool soft;    /* inside an if of this block: unknown filters fail only when they run */
    bool in_loop; /* break and continue are allowed */
} binder;

static void bind_body(binder *b, const jinja_nodes *body);
static void bind_expression(binder *b, jinja_node *n);

static _Noreturn void fail(binder *b, int line, jinja_error e, const char *what, jinja_value name)
{
    b->r->line = line;
    jinja_fail(b->r, e, what, (int)name.string->length, name.string->data);
}

static jinja_ref ref_to(binder *b, const jinja_place *place)
{
    jinja_ref ref = {0, place->slot};
    for (jinja_scope_function *f = b->function; f != place->owner; f = f->parent) {
        ref.hops++;
        f->parent->function->captured = true;
    }
    return ref;
}

static jinja_ref find(binder *b, jinja_value name, int line)
{
    jinja_charge(b->r, 1 + b->scope->count / 4);
    jinja_place *place = jinja_scope_find(b->scope, name.string);
    if (!place)
        fail(b, line, JINJA_SYNTAX_ERROR, "the name '%.*s' cannot be used here", name);
    return ref_to(b, place);
}

/* The setting up that entering the current scope takes. */
static jinja_loads scope_loads(binder *b)
{
    jinja_loads loads = {0};
    loads.items = jinja_zalloc(b->r, b->scope->count, sizeof *loads.items);
    for (size_t i = 0; i < b->scope->count; i++) {
        const jinja_symbol *s = &b->scope->items[i];
        if (s->load == JINJA_SYMBOL_PARAMETER)
            continue;
        jinja_load *l = &loads.items[loads.count++];
        l->slot = s->place->slot;
        l->name = jinja_of_string((jinja_string *)s->name);
        l->kind = s->load == JINJA_SYMBOL_RESOLVE ? JINJA_LOAD_RESOLVE
                  : s->load == JINJA_SYMBOL_ALIAS ? JINJA_LOAD_ALIAS
                                                  : JINJA_LOAD_UNSET;
        if (s->alias)
            l->alias = ref_to(b, s->alias);
    }
    return loads;
}

/* A block within the current function. */
static binder inner(const binder *b)
{
    binder in = *b;
    in.scope = jinja_scope_new(b->r, b->scope, b->function);
    in.soft = false;
    return in;
}

/* A block that is a function of its own. */
static binder inner_function(const binder *b)
{
    binder in = *b;
    in.function = jinja_scope_function_new(b->r, b->program, b->function);
    in.scope = jinja_scope_new(b->r, b->scope, in.function);
    in.soft = false;
    in.in_loop = false;
    b->function->function->captured = true;
    return in;
}

/* ---- expressions ------------------------------------------------------------------------------ */

static void bind_all(binder *b, const jinja_nodes *nodes)
{
    for (size_t i = 0; i < nodes->count; i++)
        bind_expression(b, nodes->items[i]);
}

static void bind_arguments(binder *b, jinja_arguments *a)
{
    bind_all(b, &a->positional);
    bind_all(b, &a->named);
    bind_expression(b, a->star);
    bind_expression(b, a->star_star);
}

static void bind_apply(binder *b, jinja_node *n)
{
    if (!n->apply.builtin && !b->soft)
        fail(b, n->line, JINJA_SYNTAX_ERROR,
             n->kind == JINJA_N_FILTER ? "no filter named '%.*s'" : "no test named '%.*s'",
             n->apply.name);
    bind_expression(b, n->apply.operand);
    bind_arguments(b, &n->apply.arguments);
}

static void bind_expression(binder *b, jinja_node *n)
{
    if (!n)
        return;
    switch (n->kind) {
    case JINJA_N_NAME:
        n->name.ref = find(b, n->name.name, n->line);
        break;
    case JINJA_N_ATTRIBUTE_TARGET:
        n->attribute_target.ref = find(b, n->attribute_target.name, n->line);
        break;
    case JINJA_N_TUPLE:
    case JINJA_N_LIST:
    case JINJA_N_DICT:
    case JINJA_N_CONCAT:
        bind_all(b, &n->items);
        break;
    case JINJA_N_BINARY:
    case JINJA_N_AND:
    case JINJA_N_OR:
        bind_expression(b, n->binary.left);
        bind_expression(b, n->binary.right);
        break;
    case JINJA_N_NOT:
    case JINJA_N_NEGATIVE:
    case JINJA_N_POSITIVE:
    case JINJA_N_OUTPUT:
        bind_expression(b, n->operand);
        break;
    case JINJA_N_COMPARE:
        bind_all(b, &n->compare.operands);
        break;
    case JINJA_N_CONDITION: {
        binder soft = *b;
        soft.soft = true;
        bind_expression(&soft, n->condition.test);
        bind_expression(&soft, n->condition.yes);
        bind_expression(&soft, n->condition.no);
        break;
    }
    case JINJA_N_GETATTR:
        bind_expression(b, n->getattr.object);
        break;
    case JINJA_N_GETITEM:
        bind_expression(b, n->getitem.object);
        bind_expression(b, n->getitem.index);
        break;
    case JINJA_N_SLICE:
        bind_expression(b, n->slice.start);
        bind_expression(b, n->slice.stop);
        bind_expression(b, n->slice.step);
        break;
    case JINJA_N_FILTER:
    case JINJA_N_TEST:
        bind_apply(b, n);
        break;
    case JINJA_N_CALL:
        bind_expression(b, n->call.callee);
        bind_arguments(b, &n->call.arguments);
        break;
    default:
        break;
    }
}

/* ---- macros and call blocks --------------------------------------------------------------------- */

static void scope_macro(binder *b, jinja_macro_node *m)
{
    for (size_t i = 0; i < m->parameters.count; i++)
        jinja_scope_expression(b->r, b->scope, m->parameters.items[i]);
    for (size_t i = 0; i < m->defaults.count; i++)
        jinja_scope_expression(b->r, b->scope, m->defaults.items[i]);
    jinja_scope_statements(b->r, b->scope, &m->body);
}

static bool same_name(jinja_value a, jinja_value b)
{
    return a.string == b.string; /* names are interned */
}

/* The slot of a parameter that a macro has because its body reads it: caller, kwargs, varargs. */
static uint16_t special_parameter(binder *b, jinja_macro_node *m, jinja_special which)
{
    jinja_value name = b->program->special[which];
    for (size_t i = 0; i < m->parameters.count; i++)
        if (same_name(m->parameters.items[i]->name.name, name))
            return JINJA_NO_SLOT;
    if (!jinja_scope_reads(b->r, &m->body, name.string->data))
        return JINJA_NO_SLOT;
    return jinja_scope_declare_parameter(b->r, b->scope, name.string)->slot;
}

static void bind_macro_body(binder *b, jinja_macro_node *m, int line)
{
    jinja_value caller = b->program->special[JINJA_CALLER];
    binder in = inner_function(b);
    m->function = in.function->function;
    scope_macro(&in, m);
    for (size_t i = 0; i < m->parameters.count; i++) {
        if (!same_name(m->parameters.items[i]->name.name, caller))
            continue;
        m->explicit_caller = true;
        if (i < m->parameters.count - m->defaults.count && jinja_scope_reads(b->r, &m->body, "caller"))
            fail(b, line, JINJA_SYNTAX_ERROR, "the parameter '%.*s' needs a default", caller);
    }
    m->caller = special_parameter(&in, m, JINJA_CALLER);
    m->kwargs = special_parameter(&in, m, JINJA_KWARGS);
    m->varargs = special_parameter(&in, m, JINJA_VARARGS);
    scope_macro(&in, m);
    m->loads = scope_loads(&in);
    bind_all(&in, &m->parameters);
    bind_all(&in, &m->defaults);
    bind_body(&in, &m->body);
}

/* ---- statements --------------------------------------------------------------------------------- */

static void check_loop_name(binder *b, const jinja_nodes *body);

static void check_loop_target(binder *b, const jinja_node *n)
{
    if (!n)
        return;
    if (n->kind == JINJA_N_TUPLE)
        for (size_t i = 0; i < n->items.count; i++)
            check_loop_target(b, n->items.items[i]);
    else if (n->kind == JINJA_N_NAME && same_name(n->name.name, b->program->special[JINJA_LOOP_NAME]))
        fail(b, n->line, JINJA_SYNTAX_ERROR, "'%.*s' cannot be assigned inside a loop", n->name.name);
}

static void check_loop_statement(binder *b, const jinja_node *n)
{
    jinja_charge(b->r, 1);
    switch (n->kind) {
    case JINJA_N_IF:
        check_loop_name(b, &n->branch.body);
        check_loop_name(b, &n->branch.otherwise);
        break;
    case JINJA_N_SET:
        check_loop_target(b, n->set.target);
        break;
    case JINJA_N_SET_BLOCK:
        check_loop_target(b, n->block.target);
        check_loop_name(b, &n->block.body);
        break;
    case JINJA_N_FILTER_BLOCK:
        check_loop_name(b, &n->block.body);
        break;
    case JINJA_N_MACRO:
    case JINJA_N_CALL_BLOCK:
    case JINJA_N_GENERATION:
        check_loop_name(b, &n->macro->body);
        break;
    case JINJA_N_WITH:
        check_loop_name(b, &n->with.body);
        break;
    case JINJA_N_FOR:
        check_loop_target(b, n->loop->target);
        check_loop_name(b, &n->loop->body);
        check_loop_name(b, &n->loop->otherwise);
        break;
    default:
        break;
    }
}

/* Nothing inside a loop may assign `loop`. */
static void check_loop_name(binder *b, const jinja_nodes *body)
{
    for (size_t i = 0; i < body->count; i++)
        check_loop_statement(b, body->items[i]);
}

/* The condition of a loop filters its items in a generator, which assigns the target for itself. */
static void bind_loop_filter(binder *b, jinja_for_node *f)
{
    binder in = inner_function(b);
    f->filter = in.function->function;
    jinja_scope_parameter_target(b->r, in.scope, f->filter_target);
    jinja_scope_expression(b->r, in.scope, f->test);
    f->filter_loads = scope_loads(&in);
    bind_expression(&in, f->filter_target);
    bind_expression(&in, f->test);
}

static void bind_for(binder *b, jinja_node *n)
{
    jinja_for_node *f = n->loop;
    check_loop_statement(b, n);
    if (f->test)
        bind_loop_filter(b, f);
    bind_expression(b, f->iterable);
    binder in = f->recursive ? inner_function(b) : inner(b);
    binder otherwise = in;
    otherwise.scope = jinja_scope_new(b->r, b->scope, in.function);
    f->function = f->recursive ? in.function->function : NULL;
    f->loop = JINJA_NO_SLOT;
    if (f->recursive || jinja_scope_reads(b->r, &f->body, "loop"))
        f->loop = jinja_scope_declare_parameter(b->r, in.scope, b->program->special[JINJA_LOOP_NAME].string)->slot;
    jinja_scope_parameter_target(b->r, in.scope, f->target);
    jinja_scope_statements(b->r, in.scope, &f->body);
    jinja_scope_statements(b->r, otherwise.scope, &f->otherwise);
    in.in_loop = true;
    bind_expression(&in, f->target);
    bind_body(&in, &f->body);
    f->body_loads = scope_loads(&in);
    bind_body(&otherwise, &f->otherwise);
    f->otherwise_loads = scope_loads(&otherwise);
}

static void bind_set_block(binder *b, jinja_node *n)
{
    binder in = inner(b);
    jinja_scope_statements(b->r, in.scope, &n->block.body);
    n->block.loads = scope_loads(&in);
    bind_body(&in, &n->block.body);
    bind_expression(b, n->block.target);
    bind_expression(&in, n->block.filter);
}

static void bind_filter_block(binder *b, jinja_node *n)
{
    binder in = inner(b);
    jinja_scope_statements(b->r, in.scope, &n->block.body);
    jinja_scope_expression(b->r, in.scope, n->block.filter);
    n->block.loads = scope_loads(&in);
    bind_body(&in, &n->block.body);
    bind_expression(&in, n->block.filter);
}

static void bind_with(binder *b, jinja_node *n)
{
    binder in = inner(b);
    for (size_t i = 0; i < n->with.targets.count; i++)
        jinja_scope_expression(b->r, in.scope, n->with.targets.items[i]);
    jinja_scope_statements(b->r, in.scope, &n->with.body);
    n->with.loads = scope_loads(&in);
    bind_all(&in, &n->with.targets);
    bind_all(b, &n->with.values);
    bind_body(&in, &n->with.body);
}

static void bind_if(binder *b, jinja_node *n)
{
    binder soft = *b;
    soft.soft = true;
    bind_expression(&soft, n->branch.test);
    bind_body(&soft, &n->branch.body);
    bind_body(&soft, &n->branch.otherwise);
}

static void bind_statement(binder *b, jinja_node *n)
{
    switch (n->kind) {
    case JINJA_N_IF:
        bind_if(b, n);
        break;
    case JINJA_N_FOR:
        bind_for(b, n);
        break;
    case JINJA_N_SET:
        bind_expression(b, n->set.target);
        bind_expression(b, n->set.value);
        break;
    case JINJA_N_SET_BLOCK:
        bind_set_block(b, n);
        break;
    case JINJA_N_FILTER_BLOCK:
        bind_filter_block(b, n);
        break;
    case JINJA_N_MACRO:
        bind_macro_body(b, n->macro, n->line);
        n->macro->target = find(b, n->macro->name, n->line);
        break;
    case JINJA_N_CALL_BLOCK:
        bind_macro_body(b, n->macro, n->line);
        bind_expression(b, n->macro->call);
        break;
    case JINJA_N_GENERATION:
        bind_macro_body(b, n->macro, n->line);
        break;
    case JINJA_N_WITH:
        bind_with(b, n);
        break;
    case JINJA_N_BREAK:
    case JINJA_N_CONTINUE:
        if (!b->in_loop) {
            b->r->line = n->line;
            jinja_fail(b->r, JINJA_SYNTAX_ERROR, "break or continue outside of a loop");
        }
        break;
    default:
        bind_expression(b, n);
    }
}

static void bind_body(binder *b, const jinja_nodes *body)
{
    for (size_t i = 0; i < body->count; i++)
        bind_statement(b, body->items[i]);
}

void jinja_bind(jinja_run *r, jinja_program *program)
{
    binder b = {.r = r, .program = program};
    b.function = jinja_scope_function_new(r, program, NULL);
    b.scope = jinja_scope_new(r, NULL, b.function);
    program->function = b.function->function;
    if (jinja_scope_reads(r, &program->body, "self"))
        jinja_fail(r, JINJA_UNSUPPORTED, "the variable 'self' (template inheritance)");
    jinja_scope_statements(r, b.scope, &program->body);
    program->loads = scope_loads(&b);
    bind_body(&b, &program->body);
}
