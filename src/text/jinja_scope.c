/* Symbol tables of blocks: jinja2's idtracking (Symbols, FrameSymbolVisitor) and its
 * UndeclaredNameVisitor. */
#include <string.h>

#include "text/jinja_scope.h"

/* ---- tables --------------------------------------------------------------------------------- */

jinja_scope_function *jinja_scope_function_new(jinja_run *r, jinja_program *program,
                                               jinja_scope_function *parent)
{
    jinja_scope_function *f = jinja_zalloc(r, 1, sizeof *f);
    f->parent = parent;
    f->function = jinja_zalloc(r, 1, sizeof *f->function);
    f->function->id = program->functions++;
    return f;
}

jinja_scope *jinja_scope_new(jinja_run *r, jinja_scope *parent, jinja_scope_function *owner)
{
    jinja_scope *s = jinja_zalloc(r, 1, sizeof *s);
    s->parent = parent;
    s->owner = owner;
    s->level = parent ? parent->level + 1 : 0;
    return s;
}

static jinja_symbol *find_own(const jinja_scope *s, const jinja_string *name)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->items[i].name == name)
            return &s->items[i];
    return NULL;
}

jinja_place *jinja_scope_find(const jinja_scope *s, const jinja_string *name)
{
    for (; s; s = s->parent) {
        jinja_symbol *symbol = find_own(s, name);
        if (symbol)
            return symbol->place;
    }
    return NULL;
}

static jinja_place *place_of(jinja_run *r, jinja_scope *s, const jinja_string *name)
{
    jinja_scope_function *f = s->owner;
    for (jinja_place *p = f->places; p; p = p->next) {
        if (p->name == name && p->level == s->level)
            return p;
    }
    if (f->function->slots >= JINJA_NO_SLOT - 1)
        jinja_fail(r, JINJA_LIMIT, "more than %d variables", JINJA_NO_SLOT - 1);
    jinja_place *p = jinja_zalloc(r, 1, sizeof *p);
    p->name = name;
    p->level = s->level;
    p->slot = (uint16_t)f->function->slots++;
    p->owner = f;
    p->next = f->places;
    f->places = p;
    return p;
}

static jinja_symbol *define(jinja_run *r, jinja_scope *s, const jinja_string *name,
                            jinja_symbol_load load, jinja_place *alias)
{
    jinja_charge(r, 1 + s->count + s->owner->function->slots);
    jinja_symbol *symbol = find_own(s, name);
    if (!symbol) {
        s->items = jinja_grow(r, s->items, s->count, &s->capacity, sizeof *s->items);
        symbol = &s->items[s->count++];
        *symbol = (jinja_symbol){.name = name, .place = place_of(r, s, name)};
    }
    symbol->load = load;
    symbol->alias = alias;
    return symbol;
}

static jinja_place *find_outer(const jinja_scope *s, const jinja_string *name)
{
    return s->parent ? jinja_scope_find(s->parent, name) : NULL;
}

static void store(jinja_run *r, jinja_scope *s, const jinja_string *name)
{
    jinja_symbol *symbol = find_own(s, name);
    if (!symbol) {
        jinja_place *outer = find_outer(s, name);
        symbol = define(r, s, name, outer ? JINJA_SYMBOL_ALIAS : JINJA_SYMBOL_UNSET, outer);
    }
    symbol->stored = true;
}

static void load(jinja_run *r, jinja_scope *s, const jinja_string *name)
{
    for (const jinja_scope *outer = s; outer; outer = outer->parent)
        jinja_charge(r, 1 + outer->count / 4);
    if (!jinja_scope_find(s, name))
        define(r, s, name, JINJA_SYMBOL_RESOLVE, NULL);
}

jinja_place *jinja_scope_declare_parameter(jinja_run *r, jinja_scope *s, const jinja_string *name)
{
    jinja_symbol *symbol = define(r, s, name, JINJA_SYMBOL_PARAMETER, NULL);
    symbol->stored = true;
    return symbol->place;
}

static jinja_scope copy_scope(jinja_run *r, const jinja_scope *s)
{
    jinja_scope copy = *s;
    jinja_charge(r, s->count);
    copy.items = jinja_alloc(r, s->capacity, sizeof *s->items);
    if (s->count)
        memcpy(copy.items, s->items, s->count * sizeof *s->items);
    return copy;
}

/* What the branches of an `if` did to the names, taken over by the block around it. A name that a
 * branch assigned may afterwards be unset, so it starts as the outer or the given variable. */
static void merge_branch(jinja_run *r, jinja_scope *s, const jinja_scope *branch)
{
    for (size_t i = 0; i < branch->count; i++) {
        const jinja_symbol *b = &branch->items[i];
        jinja_symbol *own = find_own(s, b->name);
        jinja_charge(r, 1 + s->count / 4);
        if (!own)
            own = define(r, s, b->name, b->load, b->alias);
        own->stored |= b->stored;
    }
}

static void branch_update(jinja_run *r, jinja_scope *s, const jinja_scope *branches, size_t n)
{
    jinja_scope before = copy_scope(r, s);
    for (size_t k = 0; k < n; k++)
        merge_branch(r, s, &branches[k]);
    for (size_t i = 0; i < s->count; i++) {
        jinja_symbol *symbol = &s->items[i];
        if (!symbol->stored || (i < before.count && before.items[i].stored))
            continue;
        jinja_place *outer = find_outer(s, symbol->name);
        symbol->load = outer ? JINJA_SYMBOL_ALIAS : JINJA_SYMBOL_RESOLVE;
        symbol->alias = outer;
    }
}

/* ---- visiting ------------------------------------------------------------------------------- */

static void visit_all(jinja_run *r, jinja_scope *s, const jinja_nodes *nodes)
{
    for (size_t i = 0; i < nodes->count; i++)
        jinja_scope_expression(r, s, nodes->items[i]);
}

static void visit_arguments(jinja_run *r, jinja_scope *s, const jinja_arguments *a)
{
    visit_all(r, s, &a->positional);
    visit_all(r, s, &a->named);
    jinja_scope_expression(r, s, a->star);
    jinja_scope_expression(r, s, a->star_star);
}

static void visit_name(jinja_run *r, jinja_scope *s, const jinja_node *n)
{
    if (n->name.parameter)
        jinja_scope_declare_parameter(r, s, n->name.name.string);
    else if (n->name.store)
        store(r, s, n->name.name.string);
    else
        load(r, s, n->name.name.string);
}

void jinja_scope_expression(jinja_run *r, jinja_scope *s, const jinja_node *n)
{
    if (!n)
        return;
    switch (n->kind) {
    case JINJA_N_NAME:
        visit_name(r, s, n);
        break;
    case JINJA_N_ATTRIBUTE_TARGET:
        load(r, s, n->attribute_target.name.string);
        break;
    case JINJA_N_TUPLE:
    case JINJA_N_LIST:
    case JINJA_N_DICT:
    case JINJA_N_CONCAT:
        visit_all(r, s, &n->items);
        break;
    case JINJA_N_BINARY:
    case JINJA_N_AND:
    case JINJA_N_OR:
        jinja_scope_expression(r, s, n->binary.left);
        jinja_scope_expression(r, s, n->binary.right);
        break;
    case JINJA_N_NOT:
    case JINJA_N_NEGATIVE:
    case JINJA_N_POSITIVE:
    case JINJA_N_OUTPUT:
        jinja_scope_expression(r, s, n->operand);
        break;
    case JINJA_N_COMPARE:
        visit_all(r, s, &n->compare.operands);
        break;
    case JINJA_N_CONDITION:
        jinja_scope_expression(r, s, n->condition.test);
        jinja_scope_expression(r, s, n->condition.yes);
        jinja_scope_expression(r, s, n->condition.no);
        break;
    case JINJA_N_GETATTR:
        jinja_scope_expression(r, s, n->getattr.object);
        break;
    case JINJA_N_GETITEM:
        jinja_scope_expression(r, s, n->getitem.object);
        jinja_scope_expression(r, s, n->getitem.index);
        break;
    case JINJA_N_SLICE:
        jinja_scope_expression(r, s, n->slice.start);
        jinja_scope_expression(r, s, n->slice.stop);
        jinja_scope_expression(r, s, n->slice.step);
        break;
    case JINJA_N_FILTER:
    case JINJA_N_TEST:
        jinja_scope_expression(r, s, n->apply.operand);
        visit_arguments(r, s, &n->apply.arguments);
        break;
    case JINJA_N_CALL:
        jinja_scope_expression(r, s, n->call.callee);
        visit_arguments(r, s, &n->call.arguments);
        break;
    default:
        break;
    }
}

void jinja_scope_parameter_target(jinja_run *r, jinja_scope *s, const jinja_node *target)
{
    if (target->kind == JINJA_N_TUPLE) {
        for (size_t i = 0; i < target->items.count; i++)
            jinja_scope_parameter_target(r, s, target->items.items[i]);
    } else {
        jinja_scope_declare_parameter(r, s, target->name.name.string);
    }
}

static void visit_if(jinja_run *r, jinja_scope *s, const jinja_node *n)
{
    jinja_scope_expression(r, s, n->branch.test);
    jinja_scope branches[2] = {copy_scope(r, s), copy_scope(r, s)};
    jinja_scope_statements(r, &branches[0], &n->branch.body);
    jinja_scope_statements(r, &branches[1], &n->branch.otherwise);
    branch_update(r, s, branches, 2);
}

/* A nested block is a scope of its own; only what it evaluates in the outer one counts here. */
static void visit_statement(jinja_run *r, jinja_scope *s, const jinja_node *n)
{
    switch (n->kind) {
    case JINJA_N_IF:
        visit_if(r, s, n);
        break;
    case JINJA_N_FOR:
        jinja_scope_expression(r, s, n->loop->iterable);
        break;
    case JINJA_N_SET:
        jinja_scope_expression(r, s, n->set.value);
        jinja_scope_expression(r, s, n->set.target);
        break;
    case JINJA_N_SET_BLOCK:
        jinja_scope_expression(r, s, n->block.target);
        break;
    case JINJA_N_MACRO:
        store(r, s, n->macro->name.string);
        break;
    case JINJA_N_CALL_BLOCK:
        jinja_scope_expression(r, s, n->macro->call);
        break;
    case JINJA_N_FILTER_BLOCK:
        jinja_scope_expression(r, s, n->block.filter);
        break;
    case JINJA_N_WITH:
        visit_all(r, s, &n->with.values);
        break;
    default:
        jinja_scope_expression(r, s, n);
    }
}

void jinja_scope_statements(jinja_run *r, jinja_scope *s, const jinja_nodes *body)
{
    for (size_t i = 0; i < body->count; i++)
        visit_statement(r, s, body->items[i]);
}

/* ---- is a special name read? ----------------------------------------------------------------- */

typedef struct search {
    jinja_run *r;
    const char *name;
    bool found, hidden; /* hidden: assigned before it was read */
} search;

static void search_nodes(search *x, const jinja_nodes *nodes);

static void search_name(search *x, jinja_value name, bool reads)
{
    const jinja_string *s = name.string;
    if (s->length != strlen(x->name) || memcmp(s->data, x->name, s->length) != 0)
        return;
    if (reads && !x->hidden)
        x->found = true;
    else if (!reads)
        x->hidden = true;
}

static void search_node(search *x, const jinja_node *n);

static void search_arguments(search *x, const jinja_arguments *a)
{
    search_nodes(x, &a->positional);
    search_nodes(x, &a->named);
    search_node(x, a->star);
    search_node(x, a->star_star);
}

static void search_macro(search *x, const jinja_macro_node *m)
{
    search_node(x, m->call);
    search_nodes(x, &m->parameters);
    search_nodes(x, &m->defaults);
    search_nodes(x, &m->body);
}

static void search_for(search *x, const jinja_for_node *f)
{
    search_node(x, f->target);
    search_node(x, f->iterable);
    search_nodes(x, &f->body);
    search_nodes(x, &f->otherwise);
    search_node(x, f->test);
}

static void search_expression(search *x, const jinja_node *n)
{
    switch (n->kind) {
    case JINJA_N_NAME:
        search_name(x, n->name.name, !n->name.store);
        break;
    case JINJA_N_TUPLE:
    case JINJA_N_LIST:
    case JINJA_N_DICT:
    case JINJA_N_CONCAT:
        search_nodes(x, &n->items);
        break;
    case JINJA_N_BINARY:
    case JINJA_N_AND:
    case JINJA_N_OR:
        search_node(x, n->binary.left);
        search_node(x, n->binary.right);
        break;
    case JINJA_N_NOT:
    case JINJA_N_NEGATIVE:
    case JINJA_N_POSITIVE:
    case JINJA_N_OUTPUT:
        search_node(x, n->operand);
        break;
    case JINJA_N_COMPARE:
        search_nodes(x, &n->compare.operands);
        break;
    case JINJA_N_CONDITION:
        search_node(x, n->condition.test);
        search_node(x, n->condition.yes);
        search_node(x, n->condition.no);
        break;
    case JINJA_N_GETATTR:
        search_node(x, n->getattr.object);
        break;
    case JINJA_N_GETITEM:
        search_node(x, n->getitem.object);
        search_node(x, n->getitem.index);
        break;
    case JINJA_N_SLICE:
        search_node(x, n->slice.start);
        search_node(x, n->slice.stop);
        search_node(x, n->slice.step);
        break;
    case JINJA_N_FILTER:
    case JINJA_N_TEST:
        search_node(x, n->apply.operand);
        search_arguments(x, &n->apply.arguments);
        break;
    case JINJA_N_CALL:
        search_node(x, n->call.callee);
        search_arguments(x, &n->call.arguments);
        break;
    default:
        break;
    }
}

static void search_node(search *x, const jinja_node *n)
{
    if (!n || x->found)
        return;
    jinja_charge(x->r, 1);
    switch (n->kind) {
    case JINJA_N_IF:
        search_node(x, n->branch.test);
        search_nodes(x, &n->branch.body);
        search_nodes(x, &n->branch.otherwise);
        break;
    case JINJA_N_FOR:
        search_for(x, n->loop);
        break;
    case JINJA_N_SET:
        search_node(x, n->set.target);
        search_node(x, n->set.value);
        break;
    case JINJA_N_SET_BLOCK:
    case JINJA_N_FILTER_BLOCK:
        search_node(x, n->kind == JINJA_N_SET_BLOCK ? n->block.target : NULL);
        if (n->kind == JINJA_N_SET_BLOCK)
            search_node(x, n->block.filter);
        search_nodes(x, &n->block.body);
        if (n->kind == JINJA_N_FILTER_BLOCK)
            search_node(x, n->block.filter);
        break;
    case JINJA_N_MACRO:
    case JINJA_N_CALL_BLOCK:
    case JINJA_N_GENERATION:
        search_macro(x, n->macro);
        break;
    case JINJA_N_WITH:
        search_nodes(x, &n->with.targets);
        search_nodes(x, &n->with.values);
        search_nodes(x, &n->with.body);
        break;
    default:
        search_expression(x, n);
    }
}

static void search_nodes(search *x, const jinja_nodes *nodes)
{
    for (size_t i = 0; i < nodes->count && !x->found; i++)
        search_node(x, nodes->items[i]);
}

bool jinja_scope_reads(jinja_run *r, const jinja_nodes *body, const char *name)
{
    search x = {.r = r, .name = name};
    search_nodes(&x, body);
    return x.found;
}
