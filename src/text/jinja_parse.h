/* Tokens to nodes. jinja_parse.c has the statements, jinja_parse_expr.c the expressions. */
#ifndef TEXT_JINJA_PARSE_H
#define TEXT_JINJA_PARSE_H

#include "text/jinja_ast.h"
#include "text/jinja_lex.h"

typedef struct jinja_parser {
    jinja_run *r;
    const jinja_token *at; /* the current token */
    jinja_string **names;  /* interned, open addressing */
    size_t name_count, name_capacity;
    int depth;
} jinja_parser;

/* A whole template; variables are not bound yet. */
jinja_program *jinja_parse(jinja_run *r, const char *source, size_t length);

/* ---- between the two files ---------------------------------------------------------- */

jinja_node *jinja_new_node(jinja_parser *p, jinja_kind kind, int line);
void jinja_add_node(jinja_parser *p, jinja_nodes *nodes, jinja_node *node);
/* The same name gives the same string. */
jinja_value jinja_intern(jinja_parser *p, const char *text, size_t length);
void jinja_enter(jinja_parser *p); /* one level deeper; leaves when too deep */

bool jinja_at_op(const jinja_parser *p, const char *op);
bool jinja_at_name(const jinja_parser *p, const char *name);
bool jinja_skip_op(jinja_parser *p, const char *op);
bool jinja_skip_name(jinja_parser *p, const char *name);
void jinja_expect_op(jinja_parser *p, const char *op);
const jinja_token *jinja_expect_name(jinja_parser *p);
_Noreturn void jinja_syntax(jinja_parser *p, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
const char *jinja_describe(const jinja_token *t, char room[64]);

jinja_node *jinja_parse_expression(jinja_parser *p);
jinja_node *jinja_parse_primary(jinja_parser *p, bool targets);

/* How jinja_parse_tuple reads: one expression, or several with commas as a tuple. */
typedef struct jinja_tuple_mode {
    bool simple;       /* names and literals only */
    bool no_condition; /* no `a if b else c` */
    bool parentheses;  /* an empty tuple is fine */
    bool attributes;   /* with simple: `ns.attr` too */
    const char *end;   /* a name that ends it, or NULL */
} jinja_tuple_mode;

jinja_node *jinja_parse_tuple(jinja_parser *p, jinja_tuple_mode mode);
/* A filter chain after `|` (or at its first name when inline_start) on operand. */
jinja_node *jinja_parse_filters(jinja_parser *p, jinja_node *operand, bool inline_start);

#endif
