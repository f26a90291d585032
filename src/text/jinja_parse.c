/* Statements. The grammar is jinja2's with the extensions that transformers loads (break, continue,
 * generation); what needs other templates or autoescaping is refused by name. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "text/jinja_parse.h"
#include "text/jinja_unicode.h"

#define MAX_BRANCHES 400 /* of one if: later passes recurse over them */

/* ---- shared helpers --------------------------------------------------------------------- */

void jinja_syntax(jinja_parser *p, int line, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    p->r->line = line;
    jinja_fail(p->r, JINJA_SYNTAX_ERROR, "%s", text);
}

const char *jinja_describe(const jinja_token *t, char room[64])
{
    switch (t->type) {
    case JINJA_T_DATA:
        return "template text";
    case JINJA_T_VARIABLE_BEGIN:
        return "{{";
    case JINJA_T_VARIABLE_END:
        return "}}";
    case JINJA_T_BLOCK_BEGIN:
        return "{%";
    case JINJA_T_BLOCK_END:
        return "%}";
    case JINJA_T_NAME:
        snprintf(room, 64, "%.*s", t->length > 60 ? 60 : (int)t->length, t->text);
        return room;
    case JINJA_T_TEXT:
        return "a string";
    case JINJA_T_INT:
    case JINJA_T_FLOAT:
        return "a number";
    case JINJA_T_OPERATOR:
        return t->op;
    default:
        return "the end of the template";
    }
}

jinja_node *jinja_new_node(jinja_parser *p, jinja_kind kind, int line)
{
    jinja_node *n = jinja_zalloc(p->r, 1, sizeof *n);
    n->kind = kind;
    n->line = line;
    jinja_charge(p->r, 1);
    return n;
}

void jinja_add_node(jinja_parser *p, jinja_nodes *nodes, jinja_node *node)
{
    nodes->items = jinja_grow(p->r, nodes->items, nodes->count, &nodes->capacity,
                              sizeof *nodes->items);
    nodes->items[nodes->count++] = node;
}

void jinja_enter(jinja_parser *p)
{
    if (++p->depth > JINJA_MAX_NESTING)
        jinja_syntax(p, p->at->line, "nested more than %d deep", JINJA_MAX_NESTING);
}

static size_t hash_bytes(const char *s, size_t n)
{
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)s[i]) * 1099511628211u;
    return (size_t)(h ^ h >> 32);
}

static jinja_string **name_place(jinja_string **table, size_t capacity, const char *s, size_t n)
{
    size_t i = hash_bytes(s, n) & (capacity - 1);
    while (table[i] && (table[i]->length != n || memcmp(table[i]->data, s, n) != 0))
        i = (i + 1) & (capacity - 1);
    return &table[i];
}

jinja_value jinja_intern(jinja_parser *p, const char *text, size_t length)
{
    if (p->name_count * 2 >= p->name_capacity) {
        size_t larger = p->name_capacity ? p->name_capacity * 2 : 64;
        jinja_string **table = jinja_zalloc(p->r, larger, sizeof *table);
        for (size_t i = 0; i < p->name_capacity; i++)
            if (p->names[i])
                *name_place(table, larger, p->names[i]->data, p->names[i]->length) = p->names[i];
        p->names = table;
        p->name_capacity = larger;
    }
    jinja_string **place = name_place(p->names, p->name_capacity, text, length);
    if (!*place) {
        jinja_string *s = jinja_zalloc(p->r, 1, sizeof *s);
        s->data = text;
        s->length = length;
        s->points = jinja_count_points(text, length);
        *place = s;
        p->name_count++;
    }
    return jinja_of_string(*place);
}

static bool token_is(const jinja_token *t, jinja_token_type type, const char *text)
{
    return t->type == type && strlen(text) == t->length && memcmp(t->text, text, t->length) == 0;
}

bool jinja_at_op(const jinja_parser *p, const char *op)
{
    return p->at->type == JINJA_T_OPERATOR && strcmp(p->at->op, op) == 0;
}

bool jinja_at_name(const jinja_parser *p, const char *name)
{
    return token_is(p->at, JINJA_T_NAME, name);
}

bool jinja_skip_op(jinja_parser *p, const char *op)
{
    bool there = jinja_at_op(p, op);
    p->at += there;
    return there;
}

bool jinja_skip_name(jinja_parser *p, const char *name)
{
    bool there = jinja_at_name(p, name);
    p->at += there;
    return there;
}

static _Noreturn void unexpected(jinja_parser *p, const char *wanted)
{
    char room[64];
    jinja_syntax(p, p->at->line, "expected %s, got %s", wanted, jinja_describe(p->at, room));
}

void jinja_expect_op(jinja_parser *p, const char *op)
{
    if (!jinja_skip_op(p, op))
        unexpected(p, op);
}

const jinja_token *jinja_expect_name(jinja_parser *p)
{
    if (p->at->type != JINJA_T_NAME)
        unexpected(p, "a name");
    return p->at++;
}

static void expect_type(jinja_parser *p, jinja_token_type type, const char *wanted)
{
    if (p->at->type != type)
        unexpected(p, wanted);
    p->at++;
}

/* ---- bodies ------------------------------------------------------------------------------ */

static void parse_statement(jinja_parser *p, jinja_nodes *into);

static jinja_value constant_text(jinja_parser *p, const char *text, size_t length)
{
    jinja_string *s = jinja_zalloc(p->r, 1, sizeof *s);
    s->data = text;
    s->length = length;
    s->points = jinja_count_points(text, length);
    return jinja_of_string(s);
}

static bool at_end_tag(const jinja_parser *p, const char *const *ends)
{
    for (; ends && *ends; ends++)
        if (jinja_at_name(p, *ends))
            return true;
    return false;
}

/* Statements up to a tag in `ends` (NULL: to the end of the template); that tag's name is then the
 * current token. `tag` and `line` say what is being closed. */
static jinja_nodes parse_body(jinja_parser *p, const char *const *ends, const char *tag, int line)
{
    jinja_nodes body = {0};
    for (;;) {
        const jinja_token *t = p->at;
        if (t->type == JINJA_T_END) {
            if (ends)
                jinja_syntax(p, t->line, "the template ends inside {%% %s %%} of line %d", tag, line);
            return body;
        }
        if (t->type == JINJA_T_DATA) {
            jinja_node *n = jinja_new_node(p, JINJA_N_DATA, t->line);
            n->value = constant_text(p, t->text, t->length);
            jinja_add_node(p, &body, n);
            p->at++;
        } else if (t->type == JINJA_T_VARIABLE_BEGIN) {
            p->at++;
            jinja_node *n = jinja_new_node(p, JINJA_N_OUTPUT, t->line);
            n->operand = jinja_parse_tuple(p, (jinja_tuple_mode){0});
            expect_type(p, JINJA_T_VARIABLE_END, "}}");
            jinja_add_node(p, &body, n);
        } else {
            expect_type(p, JINJA_T_BLOCK_BEGIN, "{%");
            if (at_end_tag(p, ends))
                return body;
            parse_statement(p, &body);
            expect_type(p, JINJA_T_BLOCK_END, "%}");
        }
    }
}

/* The body of a tag whose head has been read: `%}` statements `{% end`. */
static jinja_nodes parse_block(jinja_parser *p, const char *const *ends, const char *tag, int line)
{
    jinja_skip_op(p, ":");
    expect_type(p, JINJA_T_BLOCK_END, "%}");
    jinja_enter(p);
    jinja_nodes body = parse_body(p, ends, tag, line);
    p->depth--;
    return body;
}

/* The same, when there is one end tag, which is skipped. */
static jinja_nodes parse_closed(jinja_parser *p, const char *end, const char *tag, int line)
{
    jinja_nodes body = parse_block(p, (const char *const[]){end, NULL}, tag, line);
    p->at++;
    return body;
}

/* ---- targets of assignments -------------------------------------------------------------- */

static void mark_stored(jinja_parser *p, jinja_node *n, bool parameter)
{
    if (n->kind == JINJA_N_NAME) {
        n->name.store = true;
        n->name.parameter = parameter;
    } else if (n->kind == JINJA_N_TUPLE) {
        for (size_t i = 0; i < n->items.count; i++)
            mark_stored(p, n->items.items[i], parameter);
    } else if (n->kind != JINJA_N_ATTRIBUTE_TARGET) {
        jinja_syntax(p, n->line, "this cannot be assigned to");
    }
}

static jinja_node *parse_target(jinja_parser *p, jinja_tuple_mode mode, bool parameter)
{
    mode.simple = true;
    jinja_node *n = jinja_parse_tuple(p, mode);
    mark_stored(p, n, parameter);
    return n;
}

static jinja_node *parse_name_target(jinja_parser *p, bool parameter)
{
    static const char *const reserved[] = {"true", "false", "none", "True", "False", "None"};
    const jinja_token *t = jinja_expect_name(p);
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (token_is(t, JINJA_T_NAME, reserved[i]))
            jinja_syntax(p, t->line, "cannot assign to %s", reserved[i]);
    jinja_node *n = jinja_new_node(p, JINJA_N_NAME, t->line);
    n->name.name = jinja_intern(p, t->text, t->length);
    n->name.store = true;
    n->name.parameter = parameter;
    return n;
}

/* The loop's filter assigns the same target in a function of its own. */
static jinja_node *clone_target(jinja_parser *p, const jinja_node *n)
{
    jinja_node *copy = jinja_new_node(p, n->kind, n->line);
    *copy = *n;
    if (n->kind == JINJA_N_TUPLE) {
        copy->items = (jinja_nodes){0};
        for (size_t i = 0; i < n->items.count; i++)
            jinja_add_node(p, &copy->items, clone_target(p, n->items.items[i]));
    }
    return copy;
}

/* ---- statements --------------------------------------------------------------------------- */

static jinja_node *parse_for(jinja_parser *p, int line)
{
    jinja_node *n = jinja_new_node(p, JINJA_N_FOR, line);
    jinja_for_node *f = n->loop = jinja_zalloc(p->r, 1, sizeof *f);
    f->target = parse_target(p, (jinja_tuple_mode){.end = "in"}, false);
    if (!jinja_skip_name(p, "in"))
        unexpected(p, "in");
    f->iterable = jinja_parse_tuple(p, (jinja_tuple_mode){.no_condition = true, .end = "recursive"});
    if (jinja_skip_name(p, "if")) {
        f->test = jinja_parse_expression(p);
        f->filter_target = clone_target(p, f->target);
    }
    f->recursive = jinja_skip_name(p, "recursive");
    f->body = parse_block(p, (const char *const[]){"endfor", "else", NULL}, "for", line);
    if (jinja_skip_name(p, "endfor"))
        return n;
    p->at++;
    f->otherwise = parse_closed(p, "endfor", "for", line);
    return n;
}

static jinja_node *parse_if(jinja_parser *p, int line)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    jinja_node *first = jinja_new_node(p, JINJA_N_IF, line), *n = first;
    for (int branches = 1;; branches++) {
        if (branches > MAX_BRANCHES)
            jinja_syntax(p, line, "an if with more than %d branches", MAX_BRANCHES);
        n->branch.test = jinja_parse_tuple(p, (jinja_tuple_mode){.no_condition = true});
        n->branch.body = parse_block(p, ends, "if", line);
        if (!jinja_at_name(p, "elif"))
            break;
        p->at++;
        jinja_node *next = jinja_new_node(p, JINJA_N_IF, p->at->line);
        jinja_add_node(p, &n->branch.otherwise, next);
        n = next;
    }
    if (jinja_skip_name(p, "else"))
        n->branch.otherwise = parse_closed(p, "endif", "if", line);
    else
        p->at++;
    return first;
}

static jinja_node *parse_set(jinja_parser *p, int line)
{
    jinja_node *target = parse_target(p, (jinja_tuple_mode){.attributes = true}, false);
    if (jinja_skip_op(p, "=")) {
        jinja_node *n = jinja_new_node(p, JINJA_N_SET, line);
        n->set.target = target;
        n->set.value = jinja_parse_tuple(p, (jinja_tuple_mode){0});
        return n;
    }
    jinja_node *n = jinja_new_node(p, JINJA_N_SET_BLOCK, line);
    n->block.target = target;
    if (jinja_at_op(p, "|"))
        n->block.filter = jinja_parse_filters(p, NULL, false);
    n->block.body = parse_closed(p, "endset", "set", line);
    return n;
}

static void parse_signature(jinja_parser *p, jinja_macro_node *m)
{
    jinja_expect_op(p, "(");
    while (!jinja_at_op(p, ")")) {
        if (m->parameters.count)
            jinja_expect_op(p, ",");
        jinja_node *name = parse_name_target(p, true);
        for (size_t i = 0; i < m->parameters.count; i++)
            if (m->parameters.items[i]->name.name.string == name->name.name.string)
                jinja_syntax(p, name->line, "two parameters have the same name");
        if (jinja_skip_op(p, "="))
            jinja_add_node(p, &m->defaults, jinja_parse_expression(p));
        else if (m->defaults.count)
            jinja_syntax(p, name->line, "a parameter without default follows one with a default");
        jinja_add_node(p, &m->parameters, name);
    }
    p->at++;
}

static jinja_node *parse_macro(jinja_parser *p, int line)
{
    jinja_node *n = jinja_new_node(p, JINJA_N_MACRO, line);
    jinja_macro_node *m = n->macro = jinja_zalloc(p->r, 1, sizeof *m);
    m->name = parse_name_target(p, false)->name.name;
    parse_signature(p, m);
    m->body = parse_closed(p, "endmacro", "macro", line);
    return n;
}

static jinja_node *parse_call_block(jinja_parser *p, int line)
{
    jinja_node *n = jinja_new_node(p, JINJA_N_CALL_BLOCK, line);
    jinja_macro_node *m = n->macro = jinja_zalloc(p->r, 1, sizeof *m);
    if (jinja_at_op(p, "("))
        parse_signature(p, m);
    m->call = jinja_parse_expression(p);
    if (m->call->kind != JINJA_N_CALL)
        jinja_syntax(p, line, "{%% call %%} needs a call");
    m->body = parse_closed(p, "endcall", "call", line);
    return n;
}

static jinja_node *parse_generation(jinja_parser *p, int line)
{
    jinja_node *n = jinja_new_node(p, JINJA_N_GENERATION, line);
    n->macro = jinja_zalloc(p->r, 1, sizeof *n->macro);
    n->macro->body = parse_closed(p, "endgeneration", "generation", line);
    return n;
}

static jinja_node *parse_with(jinja_parser *p, int line)
{
    jinja_node *n = jinja_new_node(p, JINJA_N_WITH, line);
    while (p->at->type != JINJA_T_BLOCK_END) {
        if (n->with.targets.count)
            jinja_expect_op(p, ",");
        jinja_add_node(p, &n->with.targets, parse_target(p, (jinja_tuple_mode){0}, true));
        jinja_expect_op(p, "=");
        jinja_add_node(p, &n->with.values, jinja_parse_expression(p));
    }
    n->with.body = parse_closed(p, "endwith", "with", line);
    return n;
}

static jinja_node *parse_filter_block(jinja_parser *p, int line)
{
    jinja_node *n = jinja_new_node(p, JINJA_N_FILTER_BLOCK, line);
    n->block.filter = jinja_parse_filters(p, NULL, true);
    n->block.body = parse_closed(p, "endfilter", "filter", line);
    return n;
}

static void parse_print(jinja_parser *p, jinja_nodes *into, int line)
{
    for (bool first = true; p->at->type != JINJA_T_BLOCK_END; first = false) {
        if (!first)
            jinja_expect_op(p, ",");
        jinja_node *n = jinja_new_node(p, JINJA_N_OUTPUT, line);
        n->operand = jinja_parse_expression(p);
        jinja_add_node(p, into, n);
    }
}

static jinja_node *parse_jump(jinja_parser *p, jinja_kind kind, int line)
{
    return jinja_new_node(p, kind, line);
}

static _Noreturn void unknown_tag(jinja_parser *p, const jinja_token *t)
{
    static const char *const refused[] = {"block", "extends", "include", "import", "from", "autoescape"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (token_is(t, JINJA_T_NAME, refused[i])) {
            p->r->line = t->line;
            jinja_fail(p->r, JINJA_UNSUPPORTED, "the tag {%% %s %%}", refused[i]);
        }
    char room[64];
    jinja_syntax(p, t->line, "unknown or misplaced tag {%% %s %%}", jinja_describe(t, room));
}

static void parse_statement(jinja_parser *p, jinja_nodes *into)
{
    const jinja_token *t = p->at;
    int line = t->line;
    jinja_node *n = NULL;
    if (t->type != JINJA_T_NAME)
        unexpected(p, "the name of a tag");
    p->at++;
    if (token_is(t, JINJA_T_NAME, "for"))
        n = parse_for(p, line);
    else if (token_is(t, JINJA_T_NAME, "if"))
        n = parse_if(p, line);
    else if (token_is(t, JINJA_T_NAME, "set"))
        n = parse_set(p, line);
    else if (token_is(t, JINJA_T_NAME, "macro"))
        n = parse_macro(p, line);
    else if (token_is(t, JINJA_T_NAME, "call"))
        n = parse_call_block(p, line);
    else if (token_is(t, JINJA_T_NAME, "generation"))
        n = parse_generation(p, line);
    else if (token_is(t, JINJA_T_NAME, "with"))
        n = parse_with(p, line);
    else if (token_is(t, JINJA_T_NAME, "filter"))
        n = parse_filter_block(p, line);
    else if (token_is(t, JINJA_T_NAME, "break"))
        n = parse_jump(p, JINJA_N_BREAK, line);
    else if (token_is(t, JINJA_T_NAME, "continue"))
        n = parse_jump(p, JINJA_N_CONTINUE, line);
    else if (token_is(t, JINJA_T_NAME, "print")) {
        parse_print(p, into, line);
        return;
    } else {
        unknown_tag(p, t);
    }
    jinja_add_node(p, into, n);
}

jinja_program *jinja_parse(jinja_run *r, const char *source, size_t length)
{
    static const char *const special[JINJA_SPECIAL_COUNT] = {"caller", "kwargs", "varargs", "loop"};
    jinja_parser p = {.r = r};
    jinja_program *program = jinja_zalloc(r, 1, sizeof *program);
    for (int i = 0; i < JINJA_SPECIAL_COUNT; i++)
        program->special[i] = jinja_intern(&p, special[i], strlen(special[i]));
    p.at = jinja_tokenize(r, source, length);
    program->body = parse_body(&p, NULL, "", 0);
    return program;
}
