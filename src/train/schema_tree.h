/* What a user wrote, before it is understood: inner header of schema*.c. */
#ifndef TRAIN_SCHEMA_TREE_H
#define TRAIN_SCHEMA_TREE_H

#include "train/schema.h"

typedef enum schema_kind { SCHEMA_SCALAR, SCHEMA_MAP, SCHEMA_LIST } schema_kind;

typedef struct schema_node schema_node;
struct schema_node {
    schema_kind kind;
    char *key;          /* inside a map; NULL in lists and at the top */
    char *text;         /* scalars */
    bool quoted;        /* scalars: written in quotes or as a block, so never null */
    const char *origin; /* file name or "command line"; owned by the tree */
    long line;          /* 0: no lines there */
    schema_node *first, *last, *next;
};

struct schema_tree {
    schema_node *top;
    char *origins[2];    /* the file's name, the overrides' origin */
    size_t nodes;        /* against bombs */
};

/* Fails with "ORIGIN line N: " before the message. */
grpo_status schema_fail_at(grpo_error *err, const schema_node *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

schema_node *schema_node_child(const schema_node *map, const char *key, size_t key_length);

/* Parses a YAML value into a node that belongs to the tree's budget. */
grpo_status schema_node_parse(schema_node **out, schema_tree *tree, const char *text, size_t length,
                              const char *origin, bool with_lines, grpo_error *err);
void schema_node_destroy(schema_node *node);
void schema_node_append(schema_node *parent, schema_node *child);

/* A scalar or an empty map with the given key and text (either may be NULL). */
schema_node *schema_node_create(schema_tree *tree, schema_kind kind, const char *key, const char *text,
                                const char *origin, long line);

bool schema_node_is_null(const schema_node *node);

/* "at least 1", "from 0 to 1", "above 0", … */
void schema_put_range(strbuf *out, const schema_row *row);

#endif
