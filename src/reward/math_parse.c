/* Recursive-descent parser, upper half: lists, relations, set operations, ratios, sums, terms, powers. */
#include <string.h>

#include "reward/math_parse.h"
#include "reward/math_parser.h"

math_node *parser_fail(math_parser *p, const char *problem)
{
    if (!p->tree->problem)
        p->tree->problem = problem;
    return NULL;
}

int parser_enter(math_parser *p)
{
    if (++p->depth <= MATH_MAX_DEPTH)
        return 1;
    parser_fail(p, "the answer is nested too deeply");
    return 0;
}

int parser_push(math_parser *p, math_nodes *nodes, math_node *node)
{
    if (!node)
        return -1;
    if (nodes->count == nodes->capacity) {
        unsigned capacity = nodes->capacity ? nodes->capacity * 4 : 4;
        math_node **items = math_tree_alloc(p->tree, capacity * sizeof *items);
        if (!items)
            return -1;
        if (nodes->count)
            memcpy(items, nodes->items, nodes->count * sizeof *items);
        nodes->items = items;
        nodes->capacity = capacity;
    }
    nodes->items[nodes->count++] = node;
    return 0;
}

math_node *parser_collect(math_parser *p, math_kind kind, int op, const math_nodes *nodes)
{
    math_node *node = math_node_new(p->tree, kind, nodes->count);
    if (!node)
        return NULL;
    node->op = (unsigned char)op;
    if (nodes->count)
        memcpy(node->args, nodes->items, nodes->count * sizeof *nodes->items);
    return node;
}

static int is_set(const math_node *node)
{
    return node->kind == MATH_NAMED_SET || node->kind == MATH_SET || node->kind == MATH_BUILDER ||
           node->kind == MATH_SETOP || (node->kind == MATH_TUPLE && node->count == 2);
}

math_node *parser_spell(math_parser *p, math_node *node)
{
    return node ? math_node_spell(p->tree, node) : NULL;
}

/* ---- factors and terms ------------------------------------------------------------- */

static math_node *parse_exponent(math_parser *p)
{
    int minus = 0;
    while (p->at->kind == TOK_MINUS || p->at->kind == TOK_PLUS)
        minus ^= p->at++->kind == TOK_MINUS;
    math_node *e = parser_argument(p, 1);
    if (e && p->at->kind == TOK_CARET && p->at[1].kind != TOK_DEGREE) { /* 2^3^4 = 2^(3^4) */
        p->at++;
        if (!parser_enter(p))
            return NULL;
        e = math_node_binary(p->tree, MATH_POW, 0, e, parse_exponent(p));
        p->depth--;
    }
    return minus ? math_node_negate(p->tree, e) : e;
}

/* The marks that stand in an exponent's place: degrees, primes, a transposition, R^+. */
static int parse_mark(math_parser *p, math_node **base)
{
    const math_token *t = p->at;
    int braces = t->kind == TOK_LBRACE && t[1].kind != TOK_END && t[2].kind == TOK_RBRACE;
    const math_token *mark = t + braces;
    size_t used = braces ? 3 : 1;
    if (mark->kind == TOK_DEGREE) {
        *base = math_node_unary(p->tree, MATH_DEGREES, 0, *base);
        p->at += used;
        while (p->at->kind == TOK_TEXT && p->at->length == 1 && strchr("CFK", *p->at->text))
            p->at++; /* degrees Celsius */
        return 1;
    }
    if (mark->kind == TOK_PRIME) {
        p->at += used;
        return 1;
    }
    if ((*base)->kind == MATH_NAMED_SET && (mark->kind == TOK_PLUS || mark->kind == TOK_MINUS) &&
        (braces || !parser_at_factor(p))) {
        (*base)->op2 = mark->kind == TOK_PLUS ? '+' : '-';
        p->at += used;
        return 1;
    }
    int top = mark->kind == TOK_LETTER && mark->length == 1 && *mark->text == 'T';
    if (top && (*base)->kind == MATH_MATRIX) {
        *base = math_node_unary(p->tree, MATH_CALL, MATH_F_TRANSPOSE, *base);
        p->at += used;
        return 1;
    }
    return 0;
}

static math_node *parse_postfix(math_parser *p, math_node *node)
{
    while (node) {
        switch (p->at->kind) {
        case TOK_BANG:
            node = math_node_unary(p->tree, MATH_CALL, p->at->value == 2 ? MATH_F_DFACT : MATH_F_FACT,
                                   parser_spell(p, node));
            break;
        case TOK_PERCENT: node = math_node_unary(p->tree, MATH_PERCENT, 0, node); break;
        case TOK_DEGREE: node = math_node_unary(p->tree, MATH_DEGREES, 0, node); break;
        case TOK_PRIME: break; /* read and ignored: f' is a name like f */
        default: return node;
        }
        p->at++;
        if (!parser_enter(p))
            return NULL;
    }
    return NULL;
}

/* In "ab^2" the exponent belongs to the b. *front gets the letters before it, NULL when there are none. */
static math_node *last_letter(math_parser *p, math_node *base, math_node **front)
{
    size_t n = base->kind == MATH_TEXT && !base->flags ? strlen(base->name) : 0;
    *front = NULL;
    if (n < 2 || n > 6)
        return base;
    math_node *head = math_node_new(p->tree, MATH_TEXT, 0), *tail = math_node_new(p->tree, MATH_TEXT, 0);
    if (!head || !tail || !(head->name = math_tree_text(p->tree, base->name, n - 1)) ||
        !(tail->name = math_tree_text(p->tree, base->name + n - 1, 1)))
        return NULL;
    *front = parser_spell(p, head);
    return *front ? parser_spell(p, tail) : NULL;
}

math_node *parser_power(math_parser *p)
{
    int depth = p->depth;
    math_node *base = parse_postfix(p, parser_primary(p)), *front = NULL;
    if (base && p->at->kind == TOK_CARET)
        base = last_letter(p, base, &front);
    while (base && p->at->kind == TOK_CARET) {
        p->at++;
        if (!parser_enter(p))
            return NULL;
        if (!parse_mark(p, &base))
            base = math_node_binary(p->tree, MATH_POW, 0, parser_spell(p, base),
                                    parser_spell(p, parse_exponent(p)));
        base = parse_postfix(p, base);
    }
    p->depth = depth;
    return front ? math_node_binary(p->tree, MATH_MUL, 0, front, base) : base;
}

static math_node *parse_signed_power(math_parser *p)
{
    int minus = 0;
    while (p->at->kind == TOK_MINUS || p->at->kind == TOK_PLUS)
        minus ^= p->at++->kind == TOK_MINUS;
    math_node *node = parser_power(p);
    return minus ? math_node_negate(p->tree, parser_spell(p, node)) : node;
}

static math_node *quantity(math_parser *p, math_node *value)
{
    const char *unit = value ? parser_unit(p) : NULL;
    math_node *node = unit ? math_node_unary(p->tree, MATH_QUANTITY, 0, parser_spell(p, value)) : NULL;
    if (node)
        node->name = unit;
    return node;
}

static math_node *finish_term(math_parser *p, math_nodes *factors)
{
    if (factors->count == 1)
        return factors->items[0];
    for (unsigned i = 0; i < factors->count; i++)
        if (!(factors->items[i] = parser_spell(p, factors->items[i])))
            return NULL;
    return parser_collect(p, MATH_MUL, 0, factors);
}

/* Replaces the product so far by one node made of it. */
static int fold_term(math_parser *p, math_nodes *factors, math_node *node)
{
    factors->count = 0;
    return parser_push(p, factors, node);
}

static int at_integral_end(const math_parser *p)
{
    if (!p->integral)
        return 0;
    if (p->at->kind == TOK_WORD)
        return p->at->length == 2 && *p->at->text == 'd';
    return (p->at->kind == TOK_LETTER || p->at->kind == TOK_TEXT) && p->at->length == 1 && *p->at->text == 'd' &&
           p->at[1].kind == TOK_LETTER;
}

/* One step of a product; 1 when something was read, 0 at its end, -1 on failure. */
static int term_step(math_parser *p, math_nodes *factors)
{
    const math_token *t = p->at;
    if (at_integral_end(p))
        return 0;
    if (t->kind == TOK_TIMES) {
        p->at++;
        return parser_push(p, factors, parse_signed_power(p)) == 0 ? 1 : -1;
    }
    if (t->kind == TOK_DIVIDE && t->value == 0) {
        p->at++;
        math_node *d = parser_spell(p, parse_signed_power(p));
        d = d ? math_node_binary(p->tree, MATH_POW, 0, d, math_node_integer(p->tree, -1)) : NULL;
        return parser_push(p, factors, d) == 0 ? 1 : -1;
    }
    if (t->kind == TOK_MOD && t->value == 0) {
        p->at++;
        math_node *left = finish_term(p, factors);
        return fold_term(p, factors, math_node_binary(p->tree, MATH_CALL, MATH_F_MOD, left, parse_signed_power(p))) == 0 ? 1 : -1;
    }
    if (t->kind == TOK_MONEY && t[1].kind != TOK_NUMBER) { /* 18\$ */
        math_node *node = math_node_unary(p->tree, MATH_QUANTITY, 0, finish_term(p, factors));
        if (node)
            node->name = "dollars";
        p->at++;
        return fold_term(p, factors, node) == 0 ? 1 : -1;
    }
    if (parser_at_unit(p)) {
        math_node *value = finish_term(p, factors);
        return fold_term(p, factors, quantity(p, value)) == 0 ? 1 : -1;
    }
    if (!parser_at_factor(p))
        return 0;
    if (t->kind == TOK_NUMBER && t[-1].kind == TOK_NUMBER)
        return parser_fail(p, "two numbers side by side"), -1;
    return parser_push(p, factors, parser_power(p)) == 0 ? 1 : -1;
}

math_node *parser_term(math_parser *p)
{
    math_nodes factors = {0};
    if (parser_push(p, &factors, parser_power(p)) != 0)
        return NULL;
    int step;
    while ((step = term_step(p, &factors)) > 0)
        ;
    return step < 0 ? NULL : finish_term(p, &factors);
}

/* ---- sums -------------------------------------------------------------------------- */

static int is_sum_sign(const math_token *t)
{
    return t->kind == TOK_PLUS || t->kind == TOK_MINUS || t->kind == TOK_PLUSMINUS || t->kind == TOK_MINUSPLUS;
}

/* A term with the signs before it. */
static math_node *parse_signed_term(math_parser *p)
{
    int minus = 0, sign = 0;
    for (; is_sum_sign(p->at); p->at++) {
        minus ^= p->at->kind == TOK_MINUS;
        if (p->at->kind == TOK_PLUSMINUS)
            sign = '+';
        else if (p->at->kind == TOK_MINUSPLUS)
            sign = '-';
    }
    math_node *term = parser_term(p);
    if ((minus || sign) && term) {
        math_node *unit = term->kind == MATH_QUANTITY ? term : NULL;
        math_node *value = parser_spell(p, unit ? unit->args[0] : term);
        if (sign)
            value = math_node_unary(p->tree, MATH_SIGN, sign, value);
        if (minus)
            value = math_node_negate(p->tree, value);
        if (!value || !unit)
            return value;
        unit->args[0] = value;
    }
    return term;
}

math_node *parser_sum(math_parser *p)
{
    math_node *first = parse_signed_term(p);
    if (!first || !is_sum_sign(p->at))
        return first;
    if (is_set(first) && p->at->kind == TOK_MINUS) { /* R - {0} */
        p->at++;
        math_node *right = parse_signed_term(p);
        return math_node_binary(p->tree, MATH_SETOP, 'm', first, right);
    }
    math_nodes terms = {0};
    if (parser_push(p, &terms, parser_spell(p, first)) != 0)
        return NULL;
    while (is_sum_sign(p->at))
        if (parser_push(p, &terms, parser_spell(p, parse_signed_term(p))) != 0)
            return NULL;
    return parser_collect(p, MATH_ADD, 0, &terms);
}

/* ---- ratios, sets, relations, lists ------------------------------------------------ */

static math_node *parse_fraction_bar(math_parser *p) /* {a \over b}, {a \choose b} */
{
    math_node *left = parser_sum(p);
    if (left && p->at->kind == TOK_DIVIDE && p->at->value == 1) {
        p->at++;
        return math_node_divide(p->tree, parser_spell(p, left), parser_spell(p, parser_sum(p)));
    }
    if (left && p->at->kind == TOK_BINOM && p->at->value == 1) {
        p->at++;
        return math_node_binary(p->tree, MATH_CALL, MATH_F_BINOM, left, parser_sum(p));
    }
    return left;
}

static int at_ratio_sign(const math_parser *p)
{
    return (p->at->kind == TOK_COLON && !p->builder && p->at[1].kind != TOK_END) || p->at->kind == TOK_TO;
}

static math_node *parse_ratio(math_parser *p)
{
    math_node *first = parse_fraction_bar(p);
    if (!first || !at_ratio_sign(p))
        return first;
    math_nodes parts = {0};
    if (parser_push(p, &parts, first) != 0)
        return NULL;
    while (at_ratio_sign(p)) {
        p->at++;
        if (parser_push(p, &parts, parse_fraction_bar(p)) != 0)
            return NULL;
    }
    return parser_collect(p, MATH_RATIO, 0, &parts);
}

static math_node *parse_set_expression(math_parser *p)
{
    math_node *left = parse_ratio(p);
    int depth = p->depth;
    while (left && p->at->kind == TOK_SETOP) {
        int op = p->at++->value;
        if (!parser_enter(p))
            return NULL;
        left = math_node_binary(p->tree, MATH_SETOP, op, left, parse_ratio(p));
    }
    p->depth = depth;
    return left;
}

/* Skips row breaks and alignment marks when a relation sign follows them. */
static int at_relation(math_parser *p)
{
    const math_token *t = p->at;
    while (t->kind == TOK_ROW || t->kind == TOK_AMPERSAND)
        t++;
    if (t->kind != TOK_RELATION)
        return 0;
    p->at = t;
    return 1;
}

math_node *parser_relation(math_parser *p)
{
    math_nodes sides = {0};
    unsigned char *relations = NULL;
    unsigned capacity = 0;
    math_node *first = parse_set_expression(p);
    if (!first || !at_relation(p))
        return first;
    if (parser_push(p, &sides, first) != 0)
        return NULL;
    while (at_relation(p)) {
        int relation = p->at++->value;
        while (p->at->kind == TOK_AMPERSAND || (p->at->kind == TOK_RELATION && p->at->value == MATH_EQ))
            p->at++;
        if (sides.count > capacity) {
            unsigned char *more = math_tree_alloc(p->tree, capacity = capacity ? capacity * 4 : 8);
            if (!more)
                return NULL;
            if (relations)
                memcpy(more, relations, sides.count - 1);
            relations = more;
        }
        relations[sides.count - 1] = (unsigned char)relation;
        if (parser_push(p, &sides, parse_set_expression(p)) != 0)
            return NULL;
    }
    if (p->at->kind == TOK_MOD && p->at->value == 1) { /* x = 3 (mod 7) */
        p->at++;
        math_node *last = sides.items[sides.count - 1];
        last = math_node_binary(p->tree, MATH_CALL, MATH_F_MOD, last, parser_argument(p, 1));
        if (!last)
            return NULL;
        sides.items[sides.count - 1] = last;
    }
    math_node *node = parser_collect(p, MATH_RELATION, 0, &sides);
    if (node)
        node->relations = relations;
    return node;
}

/* Reads separators; -1 when there is none, else the strongest join among them. */
static int read_separator(math_parser *p)
{
    int join = -1;
    for (;; p->at++) {
        switch (p->at->kind) {
        case TOK_COMMA: case TOK_SEMICOLON: case TOK_QUAD: case TOK_ROW: case TOK_AMPERSAND:
            if (join < 0)
                join = MATH_COMMA;
            break;
        case TOK_AND: join = join == MATH_OR ? MATH_OR : MATH_AND; break;
        case TOK_OR: join = MATH_OR; break;
        default: return join;
        }
    }
}

static int at_list_end(const math_parser *p)
{
    return p->at->kind == TOK_END || p->at->kind == TOK_CLOSE || p->at->kind == TOK_RBRACE ||
           p->at->kind == TOK_FINISH || p->at->kind == TOK_BAR || (p->builder && p->at->kind == TOK_COLON);
}

math_node *parser_list(math_parser *p)
{
    math_nodes items = {0}, choices = {0};
    int join = MATH_COMMA;
    for (;;) {
        if (parser_push(p, &items, parser_relation(p)) != 0)
            return NULL;
        int separator = read_separator(p);
        if (separator < 0 || at_list_end(p))
            break;
        if (separator == MATH_OR) { /* "or" binds loosest */
            math_node *choice = items.count == 1 ? items.items[0] : parser_collect(p, MATH_LIST, join, &items);
            if (parser_push(p, &choices, choice) != 0)
                return NULL;
            memset(&items, 0, sizeof items);
            join = MATH_COMMA;
        } else if (separator == MATH_AND) {
            join = MATH_AND;
        }
    }
    math_node *last = items.count == 1 ? items.items[0] : parser_collect(p, MATH_LIST, join, &items);
    if (!choices.count)
        return last;
    return parser_push(p, &choices, last) == 0 ? parser_collect(p, MATH_LIST, MATH_OR, &choices) : NULL;
}

/* ---- entry ------------------------------------------------------------------------- */

/* Words that lead on to the answer: "The answer is", "Answer:". */
static int ends_open(const math_token *t)
{
    static const char *const ends[] = {":", " is", " are", "="};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t n = strlen(ends[i]);
        if (t->length > n && memcmp(t->text + t->length - n, ends[i], n) == 0)
            return 1;
    }
    return 0;
}

/* Drops what may stand before and after an answer, and all but the last step of a derivation. */
static void frame_tokens(math_tokens *tokens, const math_token **begin)
{
    size_t first = 0, n = tokens->count - 1, level = 0;
    for (size_t i = 0; i < n; i++) {
        int kind = tokens->items[i].kind;
        level += kind == TOK_LBRACE || kind == TOK_OPEN;
        level -= level && (kind == TOK_RBRACE || kind == TOK_CLOSE);
        if (kind == TOK_ARROW && level == 0 && i + 1 < n)
            first = i + 1;
    }
    while (n > first) {
        int kind = tokens->items[n - 1].kind;
        if (kind != TOK_DOT && kind != TOK_COMMA && kind != TOK_SEMICOLON && kind != TOK_COLON && kind != TOK_ROW &&
            kind != TOK_QUAD && kind != TOK_ARROW)
            break;
        n--;
    }
    tokens->items[n].kind = TOK_END;
    while (first < n) {
        const math_token *t = &tokens->items[first];
        int introduces = t->kind == TOK_TEXT && first + 1 < n && t[1].kind != TOK_RELATION && ends_open(t);
        int relation = t->kind == TOK_RELATION && (t->value == MATH_EQ || t->value == MATH_APPROX);
        if (!relation && !introduces && t->kind != TOK_COLON && t->kind != TOK_DOT && t->kind != TOK_COMMA && t->kind != TOK_QUAD &&
            t->kind != TOK_AMPERSAND && t->kind != TOK_ARROW)
            break;
        first++;
    }
    const math_token *t = tokens->items + first;
    int article = (t->kind == TOK_LETTER && (*t->text == 'a' || *t->text == 'A')) ||
                  (t->kind == TOK_WORD && (t->length == 2 || t->length == 3) &&
                   (memcmp(t->text, "an", t->length) == 0 || memcmp(t->text, "the", t->length) == 0 || memcmp(t->text, "The", t->length) == 0));
    if (article && (t[1].kind == TOK_WORD || t[1].kind == TOK_TEXT) && t[1].space && t[1].length > 2)
        first++;
    *begin = tokens->items + first;
}

math_node *math_parse(math_tree *tree, math_slice text, unsigned flags, int *grouped)
{
    math_tokens tokens;
    math_parser p = {.tree = tree, .flags = flags};
    tree->problem = NULL;
    if (grouped)
        *grouped = 0;
    if (math_lex(tree, &tokens, text.data, text.length, flags) != 0)
        return NULL;
    if (grouped)
        *grouped = tokens.grouped;
    frame_tokens(&tokens, &p.at);
    if (p.at->kind == TOK_END)
        return parser_fail(&p, "there is nothing to read");
    math_node *node = parser_list(&p);
    if (node && p.at->kind == TOK_TEXT && p.at[1].kind == TOK_END) /* a remark */
        p.at++;
    if (node && p.at->kind != TOK_END)
        return parser_fail(&p, "something follows the answer that cannot be read");
    return node;
}
