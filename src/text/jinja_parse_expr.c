/* Expressions, by precedence: condition, or, and, not, comparison, + -, ~, * / // %, **, unary,
 * postfix, filters and tests. Oddities are jinja2's: ~ binds tighter than +, ** is left-associative,
 * a filter binds tighter than any operator but applies to the whole of -x. */
#include <string.h>

#include "text/jinja_builtins.h"
#include "text/jinja_parse.h"
#include "text/jinja_unicode.h"

static jinja_node *parse_unary(jinja_parser *p, bool with_filter);
static jinja_node *parse_postfix(jinja_parser *p, jinja_node *n);

/* Notes how high the tree below n is; the evaluator recurses over it. */
static void raise_height(jinja_parser *p, jinja_node *n, const jinja_node *below)
{
    if (below && below->height >= n->height)
        n->height = below->height + 1;
    if (n->height > JINJA_MAX_NESTING)
        jinja_syntax(p, n->line, "an expression nested more than %d deep", JINJA_MAX_NESTING);
}

static jinja_node *new_unary(jinja_parser *p, jinja_kind kind, int line, jinja_node *operand)
{
    jinja_node *n = jinja_new_node(p, kind, line);
    n->operand = operand;
    raise_height(p, n, operand);
    return n;
}

static jinja_node *new_binary(jinja_parser *p, jinja_kind kind, jinja_op op, int line,
                              jinja_node *left, jinja_node *right)
{
    jinja_node *n = jinja_new_node(p, kind, line);
    n->binary.op = op;
    n->binary.left = left;
    n->binary.right = right;
    raise_height(p, n, left);
    raise_height(p, n, right);
    return n;
}

static jinja_node *new_const(jinja_parser *p, int line, jinja_value v)
{
    jinja_node *n = jinja_new_node(p, JINJA_N_CONST, line);
    n->value = v;
    return n;
}

static void add_item(jinja_parser *p, jinja_node *n, jinja_nodes *list, jinja_node *item)
{
    jinja_add_node(p, list, item);
    raise_height(p, n, item);
}

/* ---- operators ---------------------------------------------------------------------------- */

static jinja_node *parse_pow(jinja_parser *p)
{
    jinja_node *left = parse_unary(p, true);
    while (jinja_at_op(p, "**")) {
        int line = p->at++->line;
        left = new_binary(p, JINJA_N_BINARY, JINJA_POW, line, left, parse_unary(p, true));
    }
    return left;
}

static jinja_node *parse_product(jinja_parser *p)
{
    jinja_node *left = parse_pow(p);
    for (;;) {
        jinja_op op;
        if (jinja_at_op(p, "*"))
            op = JINJA_MUL;
        else if (jinja_at_op(p, "/"))
            op = JINJA_DIV;
        else if (jinja_at_op(p, "//"))
            op = JINJA_FLOORDIV;
        else if (jinja_at_op(p, "%"))
            op = JINJA_MOD;
        else
            return left;
        int line = p->at++->line;
        left = new_binary(p, JINJA_N_BINARY, op, line, left, parse_pow(p));
    }
}

static jinja_node *parse_concat(jinja_parser *p)
{
    jinja_node *first = parse_product(p);
    if (!jinja_at_op(p, "~"))
        return first;
    jinja_node *n = jinja_new_node(p, JINJA_N_CONCAT, p->at->line);
    add_item(p, n, &n->items, first);
    while (jinja_skip_op(p, "~"))
        add_item(p, n, &n->items, parse_product(p));
    return n;
}

static jinja_node *parse_sum(jinja_parser *p)
{
    jinja_node *left = parse_concat(p);
    while (jinja_at_op(p, "+") || jinja_at_op(p, "-")) {
        jinja_op op = jinja_at_op(p, "+") ? JINJA_ADD : JINJA_SUB;
        int line = p->at++->line;
        left = new_binary(p, JINJA_N_BINARY, op, line, left, parse_concat(p));
    }
    return left;
}

static bool comparison_here(jinja_parser *p, jinja_op *op)
{
    static const struct {
        char text[3];
        jinja_op op;
    } table[] = {{"==", JINJA_EQ}, {"!=", JINJA_NE}, {"<", JINJA_LT},
                 {"<=", JINJA_LE}, {">", JINJA_GT},  {">=", JINJA_GE}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (jinja_skip_op(p, table[i].text)) {
            *op = table[i].op;
            return true;
        }
    if (jinja_skip_name(p, "in")) {
        *op = JINJA_IN;
        return true;
    }
    if (jinja_at_name(p, "not") && p->at[1].type == JINJA_T_NAME && p->at[1].length == 2 &&
        memcmp(p->at[1].text, "in", 2) == 0) {
        p->at += 2;
        *op = JINJA_NOT_IN;
        return true;
    }
    return false;
}

static jinja_node *parse_comparison(jinja_parser *p)
{
    int line = p->at->line;
    jinja_node *first = parse_sum(p), *n = NULL;
    jinja_op op;
    size_t capacity = 0;
    while (comparison_here(p, &op)) {
        if (!n) {
            n = jinja_new_node(p, JINJA_N_COMPARE, line);
            add_item(p, n, &n->compare.operands, first);
        }
        size_t count = n->compare.operands.count - 1;
        n->compare.ops = jinja_grow(p->r, n->compare.ops, count, &capacity, sizeof *n->compare.ops);
        n->compare.ops[count] = op;
        add_item(p, n, &n->compare.operands, parse_sum(p));
    }
    return n ? n : first;
}

static jinja_node *parse_not(jinja_parser *p)
{
    if (!jinja_at_name(p, "not"))
        return parse_comparison(p);
    int line = p->at++->line;
    jinja_enter(p);
    jinja_node *n = new_unary(p, JINJA_N_NOT, line, parse_not(p));
    p->depth--;
    return n;
}

static jinja_node *parse_and(jinja_parser *p)
{
    jinja_node *left = parse_not(p);
    while (jinja_at_name(p, "and")) {
        int line = p->at++->line;
        left = new_binary(p, JINJA_N_AND, 0, line, left, parse_not(p));
    }
    return left;
}

static jinja_node *parse_or(jinja_parser *p)
{
    jinja_node *left = parse_and(p);
    while (jinja_at_name(p, "or")) {
        int line = p->at++->line;
        left = new_binary(p, JINJA_N_OR, 0, line, left, parse_and(p));
    }
    return left;
}

jinja_node *jinja_parse_expression(jinja_parser *p)
{
    jinja_enter(p);
    jinja_node *left = parse_or(p);
    while (jinja_at_name(p, "if")) {
        jinja_node *n = jinja_new_node(p, JINJA_N_CONDITION, p->at++->line);
        n->condition.yes = left;
        n->condition.test = parse_or(p);
        if (jinja_skip_name(p, "else"))
            n->condition.no = jinja_parse_expression(p);
        raise_height(p, n, n->condition.yes);
        raise_height(p, n, n->condition.test);
        raise_height(p, n, n->condition.no);
        left = n;
    }
    p->depth--;
    return left;
}

/* ---- literals and names --------------------------------------------------------------------- */

static jinja_node *parse_text(jinja_parser *p)
{
    int line = p->at->line;
    size_t length = 0, used = 0;
    const jinja_token *t;
    for (t = p->at; t->type == JINJA_T_TEXT; t++)
        length += t->length;
    char *data = jinja_alloc(p->r, length + 1, 1);
    for (; p->at->type == JINJA_T_TEXT; p->at++) {
        if (p->at->length)
            memcpy(data + used, p->at->text, p->at->length);
        used += p->at->length;
    }
    jinja_string *s = jinja_zalloc(p->r, 1, sizeof *s);
    s->data = data;
    s->length = length;
    s->points = jinja_count_points(data, length);
    return new_const(p, line, jinja_of_string(s));
}

static jinja_node *parse_list(jinja_parser *p)
{
    jinja_node *n = jinja_new_node(p, JINJA_N_LIST, p->at++->line);
    while (!jinja_at_op(p, "]")) {
        if (n->items.count)
            jinja_expect_op(p, ",");
        if (jinja_at_op(p, "]"))
            break;
        add_item(p, n, &n->items, jinja_parse_expression(p));
    }
    p->at++;
    return n;
}

static jinja_node *parse_dict(jinja_parser *p)
{
    jinja_node *n = jinja_new_node(p, JINJA_N_DICT, p->at++->line);
    while (!jinja_at_op(p, "}")) {
        if (n->items.count)
            jinja_expect_op(p, ",");
        if (jinja_at_op(p, "}"))
            break;
        add_item(p, n, &n->items, jinja_parse_expression(p));
        jinja_expect_op(p, ":");
        add_item(p, n, &n->items, jinja_parse_expression(p));
    }
    p->at++;
    return n;
}

static jinja_node *parse_name(jinja_parser *p, bool targets)
{
    static const struct {
        const char *text;
        int value; /* -1 = none */
    } constants[] = {{"true", 1}, {"True", 1}, {"false", 0}, {"False", 0}, {"none", -1}, {"None", -1}};
    const jinja_token *t = p->at;
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (jinja_skip_name(p, constants[i].text))
            return new_const(p, t->line,
                             constants[i].value < 0 ? jinja_none() : jinja_bool(constants[i].value));
    p->at++;
    jinja_value name = jinja_intern(p, t->text, t->length);
    if (targets && jinja_skip_op(p, ".")) {
        const jinja_token *a = jinja_expect_name(p);
        jinja_node *n = jinja_new_node(p, JINJA_N_ATTRIBUTE_TARGET, t->line);
        n->attribute_target.name = name;
        n->attribute_target.attribute = jinja_intern(p, a->text, a->length);
        return n;
    }
    jinja_node *n = jinja_new_node(p, JINJA_N_NAME, t->line);
    n->name.name = name;
    return n;
}

jinja_node *jinja_parse_primary(jinja_parser *p, bool targets)
{
    const jinja_token *t = p->at;
    char room[64];
    jinja_node *n;
    switch (t->type) {
    case JINJA_T_NAME:
        return parse_name(p, targets);
    case JINJA_T_TEXT:
        return parse_text(p);
    case JINJA_T_INT:
        p->at++;
        return new_const(p, t->line, jinja_int(t->integer));
    case JINJA_T_FLOAT:
        p->at++;
        return new_const(p, t->line, jinja_float(t->number));
    default:
        break;
    }
    if (jinja_at_op(p, "[") || jinja_at_op(p, "{")) {
        jinja_enter(p);
        n = jinja_at_op(p, "[") ? parse_list(p) : parse_dict(p);
        p->depth--;
        return n;
    }
    if (!jinja_skip_op(p, "("))
        jinja_syntax(p, t->line, "unexpected %s", jinja_describe(t, room));
    jinja_enter(p);
    n = jinja_parse_tuple(p, (jinja_tuple_mode){.parentheses = true});
    p->depth--;
    jinja_expect_op(p, ")");
    return n;
}

static bool at_tuple_end(const jinja_parser *p, const char *end)
{
    return p->at->type == JINJA_T_VARIABLE_END || p->at->type == JINJA_T_BLOCK_END ||
           jinja_at_op(p, ")") || (end && jinja_at_name(p, end));
}

jinja_node *jinja_parse_tuple(jinja_parser *p, jinja_tuple_mode mode)
{
    int line = p->at->line;
    jinja_nodes items = {0};
    bool tuple = false;
    for (;;) {
        if (items.count)
            jinja_expect_op(p, ",");
        if (at_tuple_end(p, mode.end))
            break;
        jinja_add_node(p, &items,
                       mode.simple         ? jinja_parse_primary(p, mode.attributes)
                       : mode.no_condition ? parse_or(p)
                                           : jinja_parse_expression(p));
        if (!jinja_at_op(p, ","))
            break;
        tuple = true;
    }
    if (!tuple && items.count)
        return items.items[0];
    if (!tuple && !mode.parentheses) {
        char room[64];
        jinja_syntax(p, p->at->line, "expected an expression, got %s", jinja_describe(p->at, room));
    }
    jinja_node *n = jinja_new_node(p, JINJA_N_TUPLE, line);
    for (size_t i = 0; i < items.count; i++)
        add_item(p, n, &n->items, items.items[i]);
    return n;
}

/* ---- postfix ----------------------------------------------------------------------------------- */

static jinja_node *parse_slice_part(jinja_parser *p)
{
    if (jinja_at_op(p, ":") || jinja_at_op(p, "]") || jinja_at_op(p, ","))
        return NULL;
    return jinja_parse_expression(p);
}

static jinja_node *parse_subscribed(jinja_parser *p)
{
    int line = p->at->line;
    jinja_node *start = NULL;
    if (!jinja_at_op(p, ":")) {
        start = jinja_parse_expression(p);
        if (!jinja_at_op(p, ":"))
            return start;
    }
    p->at++;
    jinja_node *n = jinja_new_node(p, JINJA_N_SLICE, line);
    n->slice.start = start;
    n->slice.stop = parse_slice_part(p);
    if (jinja_skip_op(p, ":"))
        n->slice.step = parse_slice_part(p);
    raise_height(p, n, start);
    raise_height(p, n, n->slice.stop);
    raise_height(p, n, n->slice.step);
    return n;
}

static jinja_node *parse_index(jinja_parser *p, int line)
{
    jinja_nodes items = {0};
    while (!jinja_at_op(p, "]")) {
        if (items.count)
            jinja_expect_op(p, ",");
        jinja_add_node(p, &items, parse_subscribed(p));
    }
    p->at++;
    if (items.count == 1)
        return items.items[0];
    jinja_node *n = jinja_new_node(p, JINJA_N_TUPLE, line);
    for (size_t i = 0; i < items.count; i++) {
        if (items.items[i]->kind == JINJA_N_SLICE)
            jinja_syntax(p, line, "a slice among several subscripts");
        add_item(p, n, &n->items, items.items[i]);
    }
    return n;
}

static jinja_node *parse_subscript(jinja_parser *p, jinja_node *object)
{
    int line = p->at->line;
    jinja_node *index;
    if (jinja_skip_op(p, ".")) {
        const jinja_token *t = p->at++;
        if (t->type == JINJA_T_NAME) {
            jinja_node *n = jinja_new_node(p, JINJA_N_GETATTR, line);
            n->getattr.object = object;
            n->getattr.name = jinja_intern(p, t->text, t->length);
            raise_height(p, n, object);
            return n;
        }
        if (t->type != JINJA_T_INT)
            jinja_syntax(p, t->line, "expected a name or a number after the dot");
        index = new_const(p, line, jinja_int(t->integer));
    } else {
        p->at++;
        jinja_enter(p);
        index = parse_index(p, line);
        p->depth--;
    }
    jinja_node *n = jinja_new_node(p, JINJA_N_GETITEM, line);
    n->getitem.object = object;
    n->getitem.index = index;
    raise_height(p, n, object);
    raise_height(p, n, index);
    return n;
}

static void add_named(jinja_parser *p, jinja_node *n, jinja_arguments *a, size_t *capacity)
{
    int line = p->at->line;
    jinja_value name = jinja_intern(p, p->at->text, p->at->length);
    for (size_t i = 0; i < a->named.count; i++)
        if (a->names[i].string == name.string)
            jinja_syntax(p, line, "a keyword argument is given twice");
    p->at += 2;
    a->names = jinja_grow(p->r, a->names, a->named.count, capacity, sizeof *a->names);
    a->names[a->named.count] = name;
    add_item(p, n, &a->named, jinja_parse_expression(p));
}

/* "(…)" of a call, filter or test, belonging to node n. */
static void parse_arguments(jinja_parser *p, jinja_node *n, jinja_arguments *a)
{
    int line = p->at->line;
    size_t capacity = 0;
    jinja_expect_op(p, "(");
    jinja_enter(p);
    for (bool first = true; !jinja_at_op(p, ")"); first = false) {
        if (!first) {
            jinja_expect_op(p, ",");
            if (jinja_at_op(p, ")"))
                break;
        }
        bool named = p->at->type == JINJA_T_NAME && p->at[1].type == JINJA_T_OPERATOR &&
                     strcmp(p->at[1].op, "=") == 0;
        bool star = jinja_at_op(p, "*"), stars = jinja_at_op(p, "**");
        if (a->star_star || (a->star && !named && !stars) ||
            (a->named.count && !named && !star && !stars))
            jinja_syntax(p, line, "arguments in an order that is not allowed");
        if (named) {
            add_named(p, n, a, &capacity);
        } else if (star || stars) {
            p->at++;
            jinja_node *value = jinja_parse_expression(p);
            raise_height(p, n, value);
            *(star ? &a->star : &a->star_star) = value;
        } else {
            add_item(p, n, &a->positional, jinja_parse_expression(p));
        }
    }
    p->depth--;
    p->at++;
}

static jinja_node *parse_call(jinja_parser *p, jinja_node *callee)
{
    jinja_node *n = jinja_new_node(p, JINJA_N_CALL, p->at->line);
    n->call.callee = callee;
    raise_height(p, n, callee);
    parse_arguments(p, n, &n->call.arguments);
    return n;
}

static jinja_node *parse_postfix(jinja_parser *p, jinja_node *n)
{
    for (;;) {
        if (jinja_at_op(p, ".") || jinja_at_op(p, "["))
            n = parse_subscript(p, n);
        else if (jinja_at_op(p, "("))
            n = parse_call(p, n);
        else
            return n;
    }
}

/* "name" or "name.name" of a filter or test. */
static jinja_value parse_dotted(jinja_parser *p)
{
    const jinja_token *t = jinja_expect_name(p);
    if (!jinja_at_op(p, "."))
        return jinja_intern(p, t->text, t->length);
    jinja_buffer *b = jinja_buffer_open(p->r);
    jinja_put(p->r, b, t->text, t->length);
    while (jinja_skip_op(p, ".")) {
        t = jinja_expect_name(p);
        jinja_put(p->r, b, ".", 1);
        jinja_put(p->r, b, t->text, t->length);
    }
    char *copy = jinja_alloc(p->r, b->length, 1);
    memcpy(copy, b->data, b->length);
    size_t length = b->length;
    jinja_buffer_close(p->r, b);
    return jinja_intern(p, copy, length);
}

static void find_builtin(jinja_parser *p, jinja_node *n, bool filter)
{
    const jinja_string *name = n->apply.name.string;
    n->apply.builtin = filter ? jinja_find_filter(name->data, name->length)
                              : jinja_find_test(name->data, name->length);
    if (n->apply.builtin && (n->apply.builtin->flags & JINJA_REFUSED)) {
        p->r->line = n->line;
        jinja_fail(p->r, JINJA_UNSUPPORTED, "the filter '%s'", n->apply.builtin->name);
    }
}

jinja_node *jinja_parse_filters(jinja_parser *p, jinja_node *operand, bool inline_start)
{
    while (inline_start || jinja_skip_op(p, "|")) {
        inline_start = false;
        jinja_node *n = jinja_new_node(p, JINJA_N_FILTER, p->at->line);
        n->apply.operand = operand;
        n->apply.name = parse_dotted(p);
        raise_height(p, n, operand);
        find_builtin(p, n, true);
        if (jinja_at_op(p, "("))
            parse_arguments(p, n, &n->apply.arguments);
        operand = n;
    }
    return operand;
}

static bool test_argument_here(const jinja_parser *p)
{
    switch (p->at->type) {
    case JINJA_T_NAME:
        return !jinja_at_name(p, "else") && !jinja_at_name(p, "or") && !jinja_at_name(p, "and");
    case JINJA_T_TEXT:
    case JINJA_T_INT:
    case JINJA_T_FLOAT:
        return true;
    default:
        return jinja_at_op(p, "[") || jinja_at_op(p, "{");
    }
}

static jinja_node *parse_test(jinja_parser *p, jinja_node *operand)
{
    int line = p->at++->line;
    bool negated = jinja_skip_name(p, "not");
    jinja_node *n = jinja_new_node(p, JINJA_N_TEST, line);
    n->apply.operand = operand;
    n->apply.name = parse_dotted(p);
    raise_height(p, n, operand);
    find_builtin(p, n, false);
    if (jinja_at_op(p, "("))
        parse_arguments(p, n, &n->apply.arguments);
    else if (test_argument_here(p)) {
        if (jinja_at_name(p, "is"))
            jinja_syntax(p, p->at->line, "tests cannot be chained with `is`");
        add_item(p, n, &n->apply.arguments.positional, parse_postfix(p, jinja_parse_primary(p, false)));
    }
    return negated ? new_unary(p, JINJA_N_NOT, line, n) : n;
}

static jinja_node *parse_filter_or_test(jinja_parser *p, jinja_node *n)
{
    for (;;) {
        if (jinja_at_op(p, "|"))
            n = jinja_parse_filters(p, n, false);
        else if (jinja_at_name(p, "is"))
            n = parse_test(p, n);
        else if (jinja_at_op(p, "("))
            n = parse_call(p, n);
        else
            return n;
    }
}

static jinja_node *parse_unary(jinja_parser *p, bool with_filter)
{
    jinja_node *n;
    int line = p->at->line;
    if (jinja_at_op(p, "-") || jinja_at_op(p, "+")) {
        jinja_kind kind = jinja_at_op(p, "-") ? JINJA_N_NEGATIVE : JINJA_N_POSITIVE;
        p->at++;
        jinja_enter(p);
        n = new_unary(p, kind, line, parse_unary(p, false));
        p->depth--;
    } else {
        n = jinja_parse_primary(p, false);
    }
    n = parse_postfix(p, n);
    return with_filter ? parse_filter_or_test(p, n) : n;
}
