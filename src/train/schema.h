/* A configuration described once, as a table of rows: key, type, default, range, help. From the
 * table come parsing (YAML files and `key.sub=value` overrides), checks, the help text, the
 * reference page and the writer of the effective configuration, so that they cannot disagree.
 * Knows no option by name; the tables live with their structs (train/config).
 *
 *   schema_tree what the user wrote: keys and texts with file and line, not yet understood
 *   schema      the table; schema_apply fills a struct from defaults or from a tree
 *
 * YAML is taken as a plain data format: anchors, aliases, tags, several documents, duplicate keys
 * and deep nesting are refused with their line. */
#ifndef TRAIN_SCHEMA_H
#define TRAIN_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"
#include "grpo/error.h"

typedef enum schema_type {
    SCHEMA_SECTION, /* no value: heading and help of the keys "NAME.…" that follow */
    SCHEMA_HEADING, /* no value: heading and help of the keys of the top level that follow */
    SCHEMA_BOOL,    /* bool; int where SCHEMA_INT_SIZED */
    SCHEMA_INT,     /* int */
    SCHEMA_LONG,    /* int64_t */
    SCHEMA_BYTES,   /* int64_t; "512M", "4G", "1.5GiB" (powers of 1024) */
    SCHEMA_FLOAT,   /* double; NAN = not set where SCHEMA_OPTIONAL; "inf" where max is INFINITY */
    SCHEMA_STRING,  /* char *, NULL = not set, where SCHEMA_OPTIONAL */
    SCHEMA_PATH,    /* the same; a leading "~/" becomes $HOME/ */
    SCHEMA_ENUM,    /* an enum (int-sized), names in `choices` */
    SCHEMA_STRINGS, /* schema_strings: a list of strings; one string alone is a list of one */
    SCHEMA_RECORDS, /* schema_records: a list of maps described by `fields` */
} schema_type;

enum {
    SCHEMA_OPTIONAL = 1, /* may be null: NAN or NULL in the struct */
    SCHEMA_REQUIRED = 2, /* has no default: schema_check_required complains when it is missing */
    SCHEMA_OPEN_MIN = 4, /* the minimum itself is not allowed */
    SCHEMA_OPEN_MAX = 8,
    SCHEMA_INT_SIZED = 16, /* a bool kept as int */
    SCHEMA_SHORTHAND = 32, /* stands for other keys, which say more: never among what was changed */
};

typedef struct schema_strings {
    char **items;
    size_t count;
} schema_strings;

typedef struct schema_records {
    void *items; /* array of the struct that `fields` describes */
    size_t count;
} schema_records;

typedef struct schema_choice {
    const char *name;
    int value;
    const char *help; /* may be NULL; a choices array ends with name == NULL */
} schema_choice;

typedef struct schema schema;

typedef struct schema_row {
    const char *key; /* "group_size" or "train.learning_rate" */
    schema_type type;
    size_t offset;       /* in the target struct */
    const char *initial; /* the default as a user would write it; NULL for null, "" or an empty list */
    const char *follows; /* the key whose value is the default where this one is not given: what help shows; or NULL */
    const char *instead; /* SCHEMA_SECTION: the key that is meant by whoever gives the section a value; or NULL */
    double min, max;     /* numbers: the range; min == max == 0 means any finite one */
    int flags;
    const schema_choice *choices; /* SCHEMA_ENUM */
    const schema *fields;         /* SCHEMA_RECORDS */
    const char *unit;             /* "tokens", "seconds", … or NULL */
    const char *help;
} schema_row;

/* What other systems call a key of ours: for "unknown key" advice and for the reference page. */
typedef struct schema_foreign {
    const char *system; /* "TRL", "verl", "the specification"; NULL ends the table */
    const char *name;
    const char *key;  /* ours, NULL when there is no counterpart and `note` says why */
    const char *note; /* what differs, or NULL */
} schema_foreign;

struct schema {
    const schema_row *rows;
    size_t count;
    size_t size; /* of the target struct */
    const schema_foreign *foreign;
};

/* ---- what the user wrote ---------------------------------------------------------------- */

typedef struct schema_tree schema_tree;

/* Reads a YAML file of at most 1 MiB whose top level is a map (or empty). */
grpo_status schema_tree_read(schema_tree **out, const char *path, grpo_error *err);
/* The same from memory; `name` stands for the file in messages. */
grpo_status schema_tree_parse(schema_tree **out, const char *text, size_t length, const char *name,
                              grpo_error *err);
/* Merges "key.sub=value" into the tree, replacing what was there. The value is taken as it is for
 * strings and as YAML for everything else. `origin` names it in messages ("command line"). */
grpo_status schema_tree_override(schema_tree *tree, const schema *s, const char *assignment,
                                 const char *origin, grpo_error *err);
/* Text of a scalar key ("algorithm"), or NULL when it is not in the tree; valid until it changes. */
const char *schema_tree_text(const schema_tree *tree, const char *key);
/* True when the key is in the tree, whatever its value. */
bool schema_tree_has(const schema_tree *tree, const char *key);
void schema_tree_destroy(schema_tree *tree);

/* ---- tree -> struct ----------------------------------------------------------------------- */

/* Fills a zeroed struct with the defaults. */
grpo_status schema_defaults(void *target, const schema *s, grpo_error *err);
/* Sets the keys of the tree in an initialised struct; other fields stay. Unknown keys, wrong types
 * and values out of range are refused, with file, line and the nearest known key. On failure the
 * struct is still valid (schema_deinit it). */
grpo_status schema_apply(void *target, const schema *s, const schema_tree *tree, grpo_error *err);
/* Complains about the first SCHEMA_REQUIRED key that is not set. */
grpo_status schema_check_required(const void *target, const schema *s, grpo_error *err);
/* Frees strings and lists and zeroes the struct. */
void schema_deinit(void *target, const schema *s);
/* Empties the list of a SCHEMA_RECORDS row. */
void schema_free_records(schema_records *list, const schema_row *row);

const schema_row *schema_find(const schema *s, const char *key);

/* A size as SCHEMA_BYTES reads it: a number with K, M, G or T behind it, powers of 1,024, with or without iB or B. */
bool schema_parse_bytes(const char *text, int64_t *bytes);

/* The nearest of `count` names by edit distance, or NULL when none is near. */
const char *schema_nearest(const char *const *names, size_t count, const char *word);

/* ---- struct -> text ------------------------------------------------------------------------- */

/* Appends one value as it would stand in YAML. */
void schema_put_value(strbuf *out, const void *target, const schema_row *row);
/* Appends the whole configuration as YAML; reading it back gives the same struct. */
void schema_put_yaml(strbuf *out, const void *target, const schema *s);
/* Appends one line "key: value" for each key whose value differs between two structs (of `a`). */
void schema_put_changed(strbuf *out, const void *a, const void *b, const schema *s);
/* Appends the help for a terminal (all keys), and the reference page in Markdown. */
void schema_put_help(strbuf *out, const schema *s);
void schema_put_markdown(strbuf *out, const schema *s);

#endif
