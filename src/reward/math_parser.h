/* Shared by the parser's files: math_parse.c (lists, relations, sums, terms, powers), math_primary.c (what a
 * factor begins with), math_parse_number.c, math_parse_group.c, math_parse_function.c, math_parse_unit.c.
 * Functions that give a node return NULL after tree->problem was set. */
#ifndef REWARD_MATH_PARSER_H
#define REWARD_MATH_PARSER_H

#include "reward/math_lex.h"

typedef struct math_parser {
    math_tree *tree;
    const math_token *at; /* the next token */
    unsigned flags;
    int depth;
    int bars;    /* open |...| at this parser_nesting level */
    int builder; /* inside \{ \}: a bar or colon ends the elements */
    char bracket; /* innermost open bracket, 0 outside */
    int integral; /* inside an integral: dx ends the body */
} math_parser;

math_node *parser_fail(math_parser *p, const char *problem);
int parser_enter(math_parser *p); /* counts parser_nesting; 0 when too deep */

/* A list with its separators, and its parts. */
math_node *parser_list(math_parser *p);
math_node *parser_relation(math_parser *p);
math_node *parser_sum(math_parser *p);
math_node *parser_term(math_parser *p);
math_node *parser_power(math_parser *p);

math_node *parser_primary(math_parser *p);
/* Whether the next token can begin a factor that is multiplied without a sign. */
int parser_at_factor(const math_parser *p);
/* Argument of a command (\frac12): a group, or one token; of a number one digit unless whole_number. */
math_node *parser_argument(math_parser *p, int whole_number);
math_node *parser_subscript(math_parser *p);
/* Words as one node. */
math_node *parser_text(math_parser *p);

/* Numbers: with what follows them (mixed numbers, bases), the literal alone, its first digit alone. */
math_node *parser_number(math_parser *p);
math_node *parser_literal(math_parser *p, const math_token *t);
math_node *parser_one_digit(math_parser *p);

/* Brackets. */
typedef struct parser_nesting {
    int bars, builder, integral, depth;
    char bracket;
} parser_nesting;
int parser_enter_group(math_parser *p, parser_nesting *saved, char bracket);
void parser_leave_group(math_parser *p, const parser_nesting *saved);
math_node *parser_braces(math_parser *p);
math_node *parser_open(math_parser *p);
math_node *parser_absolute(math_parser *p);
math_node *parser_environment(math_parser *p);

math_node *parser_function(math_parser *p);
math_node *parser_frac(math_parser *p);
math_node *parser_sqrt(math_parser *p);
math_node *parser_binom(math_parser *p);
math_node *parser_big(math_parser *p);

/* Reads "cm^2", "square metres", "km/h" ... after a value. */
int parser_at_unit(const math_parser *p);
const char *parser_unit(math_parser *p);

/* Names that stand for products (xy) become products of symbols. */
math_node *parser_spell(math_parser *p, math_node *node);

/* Growing array of nodes in the arena. */
typedef struct math_nodes {
    math_node **items;
    unsigned count, capacity;
} math_nodes;
int parser_push(math_parser *p, math_nodes *nodes, math_node *node); /* 0, or -1 */
math_node *parser_collect(math_parser *p, math_kind kind, int op, const math_nodes *nodes);

#endif
