/* Which variable a name means. jinja2 compiles a template to Python functions and decides at compile
 * time, per block, whether a name is a local variable of that block, an outer one, or must be looked
 * up among the variables given to the template; the decision looks at the whole block, later lines
 * included. These rules (jinja2's idtracking) are followed exactly, because templates depend on
 * them: a `set` inside a loop is undone at its end, a macro sees the outer variables of the moment
 * it is called, a name that is assigned further down hides the given variable of that name. */
#ifndef TEXT_JINJA_SCOPE_H
#define TEXT_JINJA_SCOPE_H

#include "text/jinja_ast.h"
#include "text/jinja_run.h"

/* A function while it is being compiled. Blocks of one function that are equally deep share the
 * places of their variables, as the generated Python shares its local variables. */
typedef struct jinja_scope_function {
    struct jinja_scope_function *parent;
    jinja_function *function;
    struct jinja_place *places;
} jinja_scope_function;

/* A local variable of a function: a name at a level of block nesting. */
typedef struct jinja_place {
    const jinja_string *name;
    int level;
    uint16_t slot;
    jinja_scope_function *owner;
    struct jinja_place *next;
} jinja_place;

typedef enum jinja_symbol_load {
    JINJA_SYMBOL_PARAMETER,
    JINJA_SYMBOL_RESOLVE,
    JINJA_SYMBOL_ALIAS,
    JINJA_SYMBOL_UNSET
} jinja_symbol_load;

typedef struct jinja_symbol {
    const jinja_string *name;
    jinja_place *place;
    jinja_symbol_load load;
    jinja_place *alias;
    bool stored;
} jinja_symbol;

/* The names of one block. */
typedef struct jinja_scope {
    struct jinja_scope *parent;
    jinja_scope_function *owner;
    int level;
    jinja_symbol *items;
    size_t count, capacity;
} jinja_scope;

jinja_scope_function *jinja_scope_function_new(jinja_run *r, jinja_program *program,
                                               jinja_scope_function *parent);
jinja_scope *jinja_scope_new(jinja_run *r, jinja_scope *parent, jinja_scope_function *owner);

/* Each enters what it visits into the scope, in the order that jinja2 does. */
void jinja_scope_statements(jinja_run *r, jinja_scope *s, const jinja_nodes *body);
void jinja_scope_expression(jinja_run *r, jinja_scope *s, const jinja_node *n);
void jinja_scope_parameter_target(jinja_run *r, jinja_scope *s, const jinja_node *target);
jinja_place *jinja_scope_declare_parameter(jinja_run *r, jinja_scope *s, const jinja_string *name);

jinja_place *jinja_scope_find(const jinja_scope *s, const jinja_string *name); /* NULL if unknown */

/* Is the name read in the statements before anything assigns it? Nested bodies count. */
bool jinja_scope_reads(jinja_run *r, const jinja_nodes *body, const char *name);

/* Resolves every variable of a parsed template. */
void jinja_bind(jinja_run *r, jinja_program *program);

#endif
