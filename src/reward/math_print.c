/* Readable form of a tree, for explanations. */
#include <stdio.h>
#include <string.h>

#include "reward/math_tree.h"

typedef struct printer {
    char *out;
    size_t size, used;
    int depth;
} printer;

static void put(printer *p, const char *text)
{
    size_t n = strlen(text), room = p->size - p->used - 1;
    if (n > room) { /* cut at a character's start */
        n = room;
        while (n && ((unsigned char)text[n] & 0xC0) == 0x80)
            n--;
    }
    memcpy(p->out + p->used, text, n);
    p->used += n;
    p->out[p->used] = 0;
}

static void print(printer *p, const math_node *node);

static void print_args(printer *p, const math_node *node, const char *between)
{
    for (unsigned i = 0; i < node->count; i++) {
        if (i)
            put(p, between);
        if (node->args[i])
            print(p, node->args[i]);
    }
}

static void print_number(printer *p, const math_node *node)
{
    if (fmpz_sizeinbase(fmpq_numref(node->value), 10) + fmpz_sizeinbase(fmpq_denref(node->value), 10) > 200) {
        char text[64];
        snprintf(text, sizeof text, "(a number of %zu digits)", (size_t)fmpz_sizeinbase(fmpq_numref(node->value), 10));
        put(p, text);
        return;
    }
    char text[256];
    fmpq_get_str(text, 10, node->value);
    put(p, text);
}

static void print_wrapped(printer *p, const char *head, const math_node *node, const char *between, const char *tail)
{
    put(p, head);
    print_args(p, node, between);
    put(p, tail);
}

static void print_relation(printer *p, const math_node *node)
{
    static const char *const signs[] = {" = ", " != ", " < ", " <= ", " > ", " >= ", " ~ ", " in ", " not in ",
                                        " subset ", " equiv ", " rel "};
    for (unsigned i = 0; i < node->count; i++) {
        if (i)
            put(p, signs[node->relations[i - 1]]);
        print(p, node->args[i]);
    }
}

static void print_structure(printer *p, const math_node *node)
{
    static const char *const joins[] = {", ", " and ", " or "};
    static const char *const bigs[] = {"sum(", "product(", "integral(", "limit(", "big("};
    char bracket[2] = {0}, text[3] = {0};
    switch (node->kind) {
    case MATH_LIST: print_args(p, node, joins[node->op]); break;
    case MATH_TUPLE:
        bracket[0] = (char)node->op;
        put(p, bracket);
        print_args(p, node, ", ");
        bracket[0] = (char)node->op2;
        put(p, bracket);
        break;
    case MATH_SET: print_wrapped(p, "{", node, ", ", "}"); break;
    case MATH_BUILDER: print_wrapped(p, "{", node, " | ", "}"); break;
    case MATH_SETOP: print_wrapped(p, "(", node, node->op == 'u' ? " union " : node->op == 'n' ? " intersect " : " minus ", ")"); break;
    case MATH_NAMED_SET:
        text[0] = (char)node->op;
        text[1] = (char)node->op2;
        put(p, node->op == '0' ? "{}" : text);
        break;
    case MATH_MATRIX: print_wrapped(p, "matrix[", node, ", ", "]"); break;
    case MATH_RELATION: print_relation(p, node); break;
    case MATH_RATIO: print_args(p, node, " : "); break;
    case MATH_BIG: print_wrapped(p, bigs[node->op], node, "; ", ")"); break;
    default: break;
    }
}

static void print(printer *p, const math_node *node)
{
    static const char *const constants[] = {"pi", "e", "i", "infinity"};
    if (p->used + 1 >= p->size || p->depth > 200)
        return;
    p->depth++;
    switch (node->kind) {
    case MATH_NUMBER: print_number(p, node); break;
    case MATH_SYMBOL:
        put(p, node->name);
        if (node->count)
            print_wrapped(p, "_{", node, ",", "}");
        break;
    case MATH_CONSTANT: put(p, constants[node->op]); break;
    case MATH_ADD: print_wrapped(p, "(", node, " + ", ")"); break;
    case MATH_MUL: print_args(p, node, "*"); break;
    case MATH_POW: print_wrapped(p, "(", node, ")^(", ")"); break;
    case MATH_CALL: put(p, math_function_name(node->op)); print_wrapped(p, "(", node, ", ", ")"); break;
    case MATH_APPLY: put(p, node->name); print_wrapped(p, "(", node, ", ", ")"); break;
    case MATH_SIGN: put(p, node->op == '+' ? "+-" : "-+"); print_args(p, node, ""); break;
    case MATH_DEGREES: print_args(p, node, ""); put(p, " degrees"); break;
    case MATH_PERCENT: print_args(p, node, ""); put(p, "%"); break;
    case MATH_QUANTITY: print_args(p, node, ""); put(p, " ["); put(p, node->name); put(p, "]"); break;
    case MATH_TEXT: put(p, "\""); put(p, node->name); put(p, "\""); break;
    default: print_structure(p, node); break;
    }
    p->depth--;
}

void math_node_print(const math_node *node, char *out, size_t size)
{
    printer p = {out, size, 0, 0};
    if (!size)
        return;
    out[0] = 0;
    print(&p, node);
}
