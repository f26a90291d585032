/* Arena and constructors of the verifier's expression tree. */
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "reward/math_tree.h"

enum { CHUNK_BYTES = 8192 };

struct math_chunk {
    struct math_chunk *next;
    size_t used, capacity;
    unsigned char data[];
};

void math_tree_init(math_tree *tree)
{
    memset(tree, 0, sizeof *tree);
}

void math_tree_deinit(math_tree *tree)
{
    for (size_t i = 0; i < tree->number_count; i++)
        fmpq_clear(tree->numbers[i]->value);
    mem_free(tree->numbers);
    while (tree->chunks) {
        struct math_chunk *next = tree->chunks->next;
        mem_free(tree->chunks);
        tree->chunks = next;
    }
    memset(tree, 0, sizeof *tree);
}

static void *out_of_memory(math_tree *tree)
{
    tree->no_memory = 1;
    tree->problem = "out of memory";
    return NULL;
}

void *math_tree_alloc(math_tree *tree, size_t n)
{
    n = (n + 15) & ~(size_t)15;
    struct math_chunk *chunk = tree->chunks;
    if (!chunk || chunk->capacity - chunk->used < n) {
        size_t capacity = n > CHUNK_BYTES ? n : CHUNK_BYTES;
        chunk = mem_calloc(1, sizeof *chunk + capacity);
        if (!chunk)
            return out_of_memory(tree);
        chunk->capacity = capacity;
        chunk->next = tree->chunks;
        tree->chunks = chunk;
    }
    void *p = chunk->data + chunk->used;
    chunk->used += n;
    return p;
}

const char *math_tree_text(math_tree *tree, const char *s, size_t n)
{
    char *copy = math_tree_alloc(tree, n + 1);
    if (copy)
        memcpy(copy, s, n);
    return copy;
}

math_node *math_node_new(math_tree *tree, math_kind kind, unsigned count)
{
    if (++tree->nodes > MATH_MAX_NODES) {
        tree->problem = "the expression has too many parts";
        return NULL;
    }
    math_node *node = math_tree_alloc(tree, sizeof *node + count * sizeof(math_node *));
    if (!node)
        return NULL;
    node->kind = (unsigned char)kind;
    node->count = count;
    node->args = (math_node **)(node + 1);
    return node;
}

math_node *math_node_unary(math_tree *tree, math_kind kind, int op, math_node *a)
{
    math_node *node = a ? math_node_new(tree, kind, 1) : NULL;
    if (!node)
        return NULL;
    node->op = (unsigned char)op;
    node->args[0] = a;
    return node;
}

math_node *math_node_binary(math_tree *tree, math_kind kind, int op, math_node *a, math_node *b)
{
    math_node *node = a && b ? math_node_new(tree, kind, 2) : NULL;
    if (!node)
        return NULL;
    node->op = (unsigned char)op;
    node->args[0] = a;
    node->args[1] = b;
    return node;
}

math_node *math_node_rational(math_tree *tree, const fmpq_t value)
{
    math_node *node = math_node_new(tree, MATH_NUMBER, 0);
    if (!node)
        return NULL;
    if (mem_reserve((void **)&tree->numbers, &tree->number_capacity, tree->number_count + 1,
                    sizeof *tree->numbers) != 0)
        return out_of_memory(tree);
    node->value = math_tree_alloc(tree, sizeof(fmpq));
    if (!node->value)
        return NULL;
    fmpq_init(node->value);
    fmpq_set(node->value, value);
    tree->numbers[tree->number_count++] = node;
    return node;
}

math_node *math_node_integer(math_tree *tree, long value)
{
    fmpq_t q;
    fmpq_init(q);
    fmpq_set_si(q, value, 1);
    math_node *node = math_node_rational(tree, q);
    fmpq_clear(q);
    return node;
}

math_node *math_node_symbol(math_tree *tree, const char *name, size_t n)
{
    math_node *node = math_node_new(tree, MATH_SYMBOL, 0);
    if (node && !(node->name = math_tree_text(tree, name, n)))
        return NULL;
    return node;
}

math_node *math_node_negate(math_tree *tree, math_node *a)
{
    if (!a)
        return NULL;
    if (a->kind == MATH_NUMBER) {
        math_node *node = math_node_rational(tree, a->value);
        if (!node)
            return NULL;
        fmpq_neg(node->value, node->value);
        node->flags = a->flags;
        node->places = a->places;
        node->significant = a->significant;
        return node;
    }
    return math_node_binary(tree, MATH_MUL, 0, math_node_integer(tree, -1), a);
}

math_node *math_node_subtract(math_tree *tree, math_node *a, math_node *b)
{
    return math_node_binary(tree, MATH_ADD, 0, a, math_node_negate(tree, b));
}

math_node *math_node_divide(math_tree *tree, math_node *a, math_node *b)
{
    return math_node_binary(tree, MATH_MUL, 0, a,
                            math_node_binary(tree, MATH_POW, 0, b, math_node_integer(tree, -1)));
}

math_node *math_node_spell(math_tree *tree, math_node *node)
{
    size_t n = node->kind == MATH_TEXT ? strlen(node->name) : 0;
    if (node->kind != MATH_TEXT)
        return node;
    if (node->flags || n == 0 || n > 6) /* \text{...} and long words are one name */
        return math_node_symbol(tree, node->name, n);
    math_node *product = math_node_new(tree, MATH_MUL, (unsigned)n);
    for (size_t i = 0; product && i < n; i++) {
        char c = node->name[i];
        math_node *letter = c == 'i' || c == 'e' ? math_node_new(tree, MATH_CONSTANT, 0) : math_node_symbol(tree, &c, 1);
        if (letter && letter->kind == MATH_CONSTANT)
            letter->op = c == 'i' ? MATH_I : MATH_E;
        if (!(product->args[i] = letter))
            return NULL;
    }
    return product && n == 1 ? product->args[0] : product;
}

int math_node_has_symbols(const math_node *node)
{
    if (node->kind == MATH_SYMBOL || node->kind == MATH_APPLY || node->kind == MATH_TEXT)
        return 1;
    for (unsigned i = 0; i < node->count; i++)
        if (node->args[i] && math_node_has_symbols(node->args[i]))
            return 1;
    return 0;
}

const char *math_function_name(math_function f)
{
    static const char *const names[] = {
#define X(id, name, fewest, most) name,
        MATH_FUNCTION_TABLE(X)
#undef X
    };
    return names[f];
}
