/* Parser, brackets and environments: groups, tuples, intervals, sets, absolute values, matrices. */
#include <string.h>

#include "reward/math_parser.h"

int parser_enter_group(math_parser *p, parser_nesting *saved, char bracket)
{
    *saved = (parser_nesting){p->bars, p->builder, p->integral, p->depth, p->bracket};
    p->bars = p->builder = p->integral = 0;
    p->bracket = bracket;
    return parser_enter(p);
}

void parser_leave_group(math_parser *p, const parser_nesting *saved)
{
    p->bars = saved->bars;
    p->builder = saved->builder;
    p->integral = saved->integral;
    p->depth = saved->depth;
    p->bracket = saved->bracket;
}

math_node *parser_braces(math_parser *p)
{
    parser_nesting saved;
    p->at++;
    if (!parser_enter_group(p, &saved, 0))
        return NULL;
    if (p->at->kind == TOK_RBRACE)
        return parser_fail(p, "empty braces");
    while (p->at->kind == TOK_RELATION && p->at->value == MATH_APPROX)
        p->at++;
    math_node *node = parser_list(p);
    while (node && p->at->kind == TOK_DOT)
        p->at++;
    if (!node || p->at->kind != TOK_RBRACE)
        return parser_fail(p, "braces do not match");
    p->at++;
    parser_leave_group(p, &saved);
    return node;
}

static math_node *as_tuple(math_parser *p, math_node *content, int open, int close)
{
    int list = content->kind == MATH_LIST && content->op == MATH_COMMA;
    if (!list && !((open == '(' && close == ')') || (open == '[' && close == ']')))
        return parser_fail(p, "brackets do not match");
    if (!list)
        return content;
    math_node *node = math_node_new(p->tree, MATH_TUPLE, content->count);
    if (!node)
        return NULL;
    memcpy(node->args, content->args, content->count * sizeof *content->args);
    node->op = (unsigned char)open;
    node->op2 = (unsigned char)close;
    return node;
}

static math_node *parse_set(math_parser *p)
{
    if (p->at->kind == TOK_CLOSE && p->at->value == '}') {
        math_node *empty = math_node_new(p->tree, MATH_NAMED_SET, 0);
        if (empty)
            empty->op = '0';
        p->at++;
        return empty;
    }
    p->builder = 1;
    math_node *elements = parser_list(p), *node;
    if (!elements)
        return NULL;
    if (p->at->kind == TOK_BAR || p->at->kind == TOK_COLON) {
        p->at++;
        p->builder = 0;
        node = math_node_binary(p->tree, MATH_BUILDER, 0, elements, parser_list(p));
    } else if (elements->kind == MATH_LIST) {
        node = math_node_new(p->tree, MATH_SET, elements->count);
        if (node)
            memcpy(node->args, elements->args, elements->count * sizeof *elements->args);
    } else {
        node = math_node_unary(p->tree, MATH_SET, 0, elements);
    }
    if (!node || !(p->at->kind == TOK_CLOSE && p->at->value == '}'))
        return parser_fail(p, "a set is not closed");
    p->at++;
    return node;
}

/* ( and [ in all their combinations, ]a,b[ too. */
static math_node *parse_brackets(math_parser *p, int open)
{
    math_node *content = parser_list(p);
    if (!content)
        return NULL;
    int kind = p->at->kind, value = p->at->value;
    if ((kind != TOK_CLOSE && !(kind == TOK_OPEN && value == '[')) || value == '}' || value == 'F' || value == 'C')
        return parser_fail(p, "brackets do not match");
    p->at++;
    if (open == ']')
        open = '(';
    if (kind == TOK_OPEN)
        value = ')';
    else if (open == '<' && value == '<')
        open = '(', value = ')';
    return as_tuple(p, content, open, value);
}

math_node *parser_open(math_parser *p)
{
    parser_nesting saved;
    int open = p->at++->value;
    if (!parser_enter_group(p, &saved, (char)open))
        return NULL;
    math_node *node;
    if (open == '{') {
        node = parse_set(p);
    } else if (open == 'F' || open == 'C') {
        node = parser_list(p);
        if (!node || !(p->at->kind == TOK_CLOSE && p->at->value == open))
            return parser_fail(p, "brackets do not match");
        p->at++;
        node = math_node_unary(p->tree, MATH_CALL, open == 'F' ? MATH_F_FLOOR : MATH_F_CEIL, parser_spell(p, node));
    } else {
        node = parse_brackets(p, open);
    }
    parser_leave_group(p, &saved);
    return node;
}

math_node *parser_absolute(math_parser *p)
{
    parser_nesting saved;
    p->at++;
    if (!parser_enter_group(p, &saved, '|'))
        return NULL;
    p->bars = 1;
    math_node *node = parser_list(p);
    if (!node || p->at->kind != TOK_BAR)
        return parser_fail(p, "a bar is not closed");
    p->at++;
    parser_leave_group(p, &saved);
    if (node->kind == MATH_TEXT) /* |AB| */
        return math_node_symbol(p->tree, node->name, strlen(node->name));
    return math_node_unary(p->tree, MATH_CALL, MATH_F_ABS, parser_spell(p, node));
}

/* ---- environments ------------------------------------------------------------------ */

static int token_is(const math_token *t, const char *text)
{
    return t->length == strlen(text) && memcmp(t->text, text, t->length) == 0;
}

static math_node *parse_rows(math_parser *p, math_node **cells_out, unsigned *columns_out)
{
    math_nodes cells = {0};
    unsigned columns = 0, column = 0;
    while (p->at->kind != TOK_FINISH) {
        if (p->at->kind == TOK_ROW) {
            p->at++;
            continue;
        }
        if (parser_push(p, &cells, parser_spell(p, parser_relation(p))) != 0)
            return NULL;
        column++;
        while (p->at->kind == TOK_COMMA || p->at->kind == TOK_DOT)
            p->at++;
        if (p->at->kind == TOK_AMPERSAND) {
            p->at++;
            continue;
        }
        if (p->at->kind != TOK_ROW && p->at->kind != TOK_FINISH)
            return parser_fail(p, "a matrix cannot be read");
        if (columns && column != columns)
            return parser_fail(p, "a matrix has rows of different length");
        columns = column;
        column = 0;
    }
    if (!columns || cells.count > 65535)
        return parser_fail(p, "a matrix cannot be read");
    *columns_out = columns;
    return *cells_out = parser_collect(p, MATH_MATRIX, 0, &cells);
}

static math_node *parse_matrix(math_parser *p, const math_token *name)
{
    math_node *node = NULL;
    unsigned columns = 1;
    if (token_is(name, "array") && p->at->kind == TOK_LBRACE) { /* column layout */
        while (p->at->kind != TOK_RBRACE && p->at->kind != TOK_END)
            p->at++;
        if (p->at->kind == TOK_RBRACE)
            p->at++;
    }
    if (!parse_rows(p, &node, &columns))
        return NULL;
    node->columns = (unsigned short)columns;
    node->rows = (unsigned short)(node->count / columns);
    if (token_is(name, "cases") || token_is(name, "dcases"))
        node->op = 'c';
    if (token_is(name, "vmatrix"))
        return math_node_unary(p->tree, MATH_CALL, MATH_F_DET, node);
    return node;
}

math_node *parser_environment(math_parser *p)
{
    static const char *const matrices[] = {"matrix", "pmatrix", "bmatrix", "Bmatrix", "vmatrix", "Vmatrix",
                                           "smallmatrix", "array", "cases", "dcases"};
    static const char *const displays[] = {"align", "aligned", "gather", "gathered", "equation", "split", "eqnarray",
                                           "multline", "displaymath", "math", "alignedat", "center"};
    const math_token *name = p->at++;
    parser_nesting saved;
    math_node *node = NULL;
    int matrix = 0, display = 0;
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++)
        matrix |= token_is(name, matrices[i]);
    for (size_t i = 0; i < sizeof displays / sizeof *displays; i++)
        display |= token_is(name, displays[i]);
    if (!parser_enter_group(p, &saved, 0))
        return NULL;
    if (matrix) {
        node = parse_matrix(p, name);
    } else if (display) {
        while (p->at->kind == TOK_AMPERSAND || p->at->kind == TOK_ROW)
            p->at++;
        node = parser_list(p);
        while (node && p->at->kind == TOK_DOT)
            p->at++;
    } else {
        return parser_fail(p, "an environment is not known");
    }
    if (!node || p->at->kind != TOK_FINISH)
        return parser_fail(p, "an environment is not closed");
    p->at++;
    parser_leave_group(p, &saved);
    return node;
}
