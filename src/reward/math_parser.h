/* Shared by the parser's two files: math_parse.c (lists to factors) and math_primary.c (what a factor is
 * made of). Every function returns NULL after tree->problem was set. */
#ifndef REWARD_MATH_PARSER_H
#define REWARD_MATH_PARSER_H

#include "reward/math_lex.h"

typedef struct math_parser {
    math_tree *tree;
    const math_token *at; /* the next token */
    unsigned flags;
    int depth;
    int bars;    /* open |...| at this nesting level */
    int builder; /* inside \{ \}: a bar or colon ends the elements */
    char bracket; /* innermost open bracket, 0 outside */
    int integral; /* inside an integral: dx ends the body */
} math_parser;

math_node *parser_fail(math_parser *p, const char *problem);
int parser_enter(math_parser *p); /* counts nesting; 0 when too deep */

math_node *parse_list(math_parser *p);
math_node *parse_relation(math_parser *p);
math_node *parse_sum(math_parser *p);
math_node *parse_term(math_parser *p);
math_node *parse_power(math_parser *p);

math_node *parse_primary(math_parser *p);
/* Argument of a command (\frac12): a group, or one token, of a number one digit. */
math_node *parse_argument(math_parser *p, int whole_number);
/* Whether the next token can begin a factor that is multiplied without a sign. */
int parser_at_factor(const math_parser *p);
/* Reads "cm^2", "square metres", "km/h" ... after a value; NULL text when there is none. */
const char *parse_unit(math_parser *p);
int parser_at_unit(const math_parser *p);

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
