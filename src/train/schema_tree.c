/* YAML into a tree of keys and texts, by libyaml's event parser. Only maps, lists and scalars are
 * taken: what could make a small file mean a large thing (aliases, merges, tags) is refused. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "base/file.h"
#include "base/mem.h"
#include "train/schema_tree.h"

enum { FILE_LIMIT = 1 << 20, NODE_LIMIT = 20000, DEPTH_LIMIT = 8 };

grpo_status schema_fail_at(grpo_error *err, const schema_node *at, const char *format, ...)
{
    char message[900], place[200] = "";
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (at && at->line > 0)
        snprintf(place, sizeof place, "%.150s line %ld: ", at->origin, at->line);
    else if (at && at->origin)
        snprintf(place, sizeof place, "%.150s: ", at->origin);
    return grpo_fail(err, GRPO_ERR_CONFIG, "%s%s", place, message);
}

schema_node *schema_node_child(const schema_node *map, const char *key, size_t key_length)
{
    for (schema_node *n = map->first; n; n = n->next)
        if (n->key && strlen(n->key) == key_length && memcmp(n->key, key, key_length) == 0)
            return n;
    return NULL;
}

void schema_node_destroy(schema_node *node)
{
    if (!node)
        return;
    for (schema_node *child = node->first, *next; child; child = next) { /* depth <= DEPTH_LIMIT */
        next = child->next;
        schema_node_destroy(child);
    }
    mem_free(node->key);
    mem_free(node->text);
    mem_free(node);
}

void schema_node_append(schema_node *parent, schema_node *child)
{
    if (parent->last)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
}

schema_node *schema_node_create(schema_tree *tree, schema_kind kind, const char *key, const char *text,
                                const char *origin, long line)
{
    schema_node *node = mem_calloc(1, sizeof *node);
    if (!node)
        return NULL;
    node->kind = kind;
    node->origin = origin;
    node->line = line;
    node->key = key ? mem_strdup(key) : NULL;
    node->text = text ? mem_strdup(text) : NULL;
    if ((key && !node->key) || (text && !node->text)) {
        schema_node_destroy(node);
        return NULL;
    }
    tree->nodes++;
    return node;
}

bool schema_node_is_null(const schema_node *node)
{
    if (node->kind != SCHEMA_SCALAR || node->quoted)
        return false;
    const char *t = node->text;
    return !*t || strcmp(t, "~") == 0 || strcmp(t, "null") == 0 || strcmp(t, "Null") == 0 ||
           strcmp(t, "NULL") == 0;
}

/* ---- parsing ------------------------------------------------------------------------------ */

typedef struct reader {
    yaml_parser_t parser;
    schema_tree *tree;
    const char *origin;
    bool with_lines;
    grpo_error *err;
} reader;

static grpo_status fail_line(reader *r, long line, const char *message)
{
    schema_node at = {.origin = r->origin, .line = r->with_lines ? line : 0};
    return schema_fail_at(r->err, &at, "%s", message);
}

static long event_line(const yaml_event_t *e)
{
    return (long)e->start_mark.line + 1;
}

/* The next event; aliases, anchors and tags never come through. */
static grpo_status next_event(reader *r, yaml_event_t *e)
{
    if (!yaml_parser_parse(&r->parser, e)) {
        char message[300];
        const char *problem = r->parser.problem ? r->parser.problem : "unreadable";
        if (r->parser.error == YAML_MEMORY_ERROR)
            return mem_fail(r->err, "the configuration", 0);
        snprintf(message, sizeof message, "not YAML: %.200s%s", problem,
                 strstr(problem, "cannot start any token") ? " (a tab, or a stray character)" : "");
        return fail_line(r, (long)r->parser.problem_mark.line + 1, message);
    }
    const char *refused = NULL;
    if (e->type == YAML_ALIAS_EVENT)
        refused = "aliases (*name) are not supported; write the value out";
    else if ((e->type == YAML_SCALAR_EVENT && e->data.scalar.anchor) ||
             (e->type == YAML_MAPPING_START_EVENT && e->data.mapping_start.anchor) ||
             (e->type == YAML_SEQUENCE_START_EVENT && e->data.sequence_start.anchor))
        refused = "anchors (&name) are not supported; write the value out";
    else if ((e->type == YAML_SCALAR_EVENT && e->data.scalar.tag) ||
             (e->type == YAML_MAPPING_START_EVENT && e->data.mapping_start.tag) ||
             (e->type == YAML_SEQUENCE_START_EVENT && e->data.sequence_start.tag))
        refused = "tags (!name) are not supported; put a text that starts with ! in quotes";
    if (!refused)
        return GRPO_OK;
    grpo_status status = fail_line(r, event_line(e), refused);
    yaml_event_delete(e);
    return status;
}

static grpo_status read_value(reader *r, yaml_event_t *e, schema_node **out, int depth);

static grpo_status check_key(reader *r, const schema_node *map, const yaml_event_t *e)
{
    char message[300];
    if (e->type != YAML_SCALAR_EVENT)
        return fail_line(r, event_line(e), "a key must be a plain word");
    const char *key = (const char *)e->data.scalar.value;
    if (e->data.scalar.length == 0 || strlen(key) != e->data.scalar.length)
        return fail_line(r, event_line(e), "a key must be a plain word");
    const schema_node *before = schema_node_child(map, key, strlen(key));
    if (!before)
        return GRPO_OK;
    if (before->line && r->with_lines)
        snprintf(message, sizeof message, "'%.200s' is given twice (first on line %ld)", key, before->line);
    else
        snprintf(message, sizeof message, "'%.200s' is given twice", key);
    return fail_line(r, event_line(e), message);
}

static grpo_status read_map(reader *r, schema_node *map, int depth)
{
    for (;;) {
        yaml_event_t e;
        grpo_status status = next_event(r, &e);
        if (status != GRPO_OK)
            return status;
        if (e.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&e);
            return GRPO_OK;
        }
        status = check_key(r, map, &e);
        char *key = status == GRPO_OK ? mem_strdup((const char *)e.data.scalar.value) : NULL;
        long line = event_line(&e);
        yaml_event_delete(&e);
        if (status == GRPO_OK && !key)
            status = mem_fail(r->err, "the configuration", 0);
        schema_node *child = NULL;
        if (status == GRPO_OK && (status = next_event(r, &e)) == GRPO_OK)
            status = read_value(r, &e, &child, depth + 1);
        if (status != GRPO_OK) {
            mem_free(key);
            return status;
        }
        child->key = key;
        child->line = r->with_lines ? line : 0;
        schema_node_append(map, child);
    }
}

static grpo_status read_list(reader *r, schema_node *list, int depth)
{
    for (;;) {
        yaml_event_t e;
        grpo_status status = next_event(r, &e);
        if (status != GRPO_OK)
            return status;
        if (e.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&e);
            return GRPO_OK;
        }
        schema_node *child;
        status = read_value(r, &e, &child, depth + 1);
        if (status != GRPO_OK)
            return status;
        schema_node_append(list, child);
    }
}

/* Consumes e. *out is a whole subtree, or nothing on failure. */
static grpo_status read_value(reader *r, yaml_event_t *e, schema_node **out, int depth)
{
    schema_kind kind = e->type == YAML_MAPPING_START_EVENT    ? SCHEMA_MAP
                       : e->type == YAML_SEQUENCE_START_EVENT ? SCHEMA_LIST
                                                              : SCHEMA_SCALAR;
    const char *text = kind == SCHEMA_SCALAR ? (const char *)e->data.scalar.value : NULL;
    long line = event_line(e);
    grpo_status status = GRPO_OK;
    *out = NULL;
    if (depth > DEPTH_LIMIT)
        status = fail_line(r, line, "nested too deep");
    else if (r->tree->nodes >= NODE_LIMIT)
        status = fail_line(r, line, "too many values for a configuration");
    else if (text && strlen(text) != e->data.scalar.length)
        status = fail_line(r, line, "a NUL character in a value");
    if (status == GRPO_OK) {
        *out = schema_node_create(r->tree, kind, NULL, text, r->origin, r->with_lines ? line : 0);
        if (!*out)
            status = mem_fail(r->err, "the configuration", 0);
        else
            (*out)->quoted = text && e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    }
    yaml_event_delete(e);
    if (status == GRPO_OK && kind == SCHEMA_MAP)
        status = read_map(r, *out, depth);
    else if (status == GRPO_OK && kind == SCHEMA_LIST)
        status = read_list(r, *out, depth);
    if (status != GRPO_OK) {
        schema_node_destroy(*out);
        *out = NULL;
    }
    return status;
}

/* stream start, document start, one value, document end, stream end */
static grpo_status read_stream(reader *r, schema_node **out)
{
    yaml_event_t e;
    grpo_status status;
    bool done = false;
    while (!done) {
        if ((status = next_event(r, &e)) != GRPO_OK)
            return status;
        switch (e.type) {
        case YAML_STREAM_START_EVENT:
        case YAML_DOCUMENT_END_EVENT:
            break;
        case YAML_STREAM_END_EVENT:
            done = true;
            break;
        case YAML_DOCUMENT_START_EVENT:
            if (*out) {
                status = fail_line(r, event_line(&e), "a second document (---); put everything in one");
                yaml_event_delete(&e);
                return status;
            }
            break;
        default:
            status = read_value(r, &e, out, 0);
            if (status != GRPO_OK)
                return status;
            continue; /* read_value consumed the event */
        }
        yaml_event_delete(&e);
    }
    return GRPO_OK;
}

grpo_status schema_node_parse(schema_node **out, schema_tree *tree, const char *text, size_t length,
                              const char *origin, bool with_lines, grpo_error *err)
{
    reader r = {.tree = tree, .origin = origin, .with_lines = with_lines, .err = err};
    *out = NULL;
    if (!yaml_parser_initialize(&r.parser))
        return mem_fail(err, "the YAML parser", 0);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, length);
    grpo_status status = read_stream(&r, out);
    yaml_parser_delete(&r.parser);
    if (status != GRPO_OK) {
        schema_node_destroy(*out);
        *out = NULL;
    } else if (!*out) {
        *out = schema_node_create(tree, SCHEMA_SCALAR, NULL, "", origin, 0);
        if (!*out)
            return mem_fail(err, "the configuration", 0);
    }
    return status;
}

/* ---- trees ---------------------------------------------------------------------------------- */

grpo_status schema_tree_parse(schema_tree **out, const char *text, size_t length, const char *name,
                              grpo_error *err)
{
    *out = NULL;
    schema_tree *tree = mem_calloc(1, sizeof *tree);
    if (!tree || !(tree->origins[0] = mem_strdup(name))) {
        schema_tree_destroy(tree);
        return mem_fail(err, "the configuration", 0);
    }
    grpo_status status = schema_node_parse(&tree->top, tree, text, length, tree->origins[0], true, err);
    if (status == GRPO_OK && schema_node_is_null(tree->top)) { /* an empty file */
        schema_node_destroy(tree->top);
        tree->top = schema_node_create(tree, SCHEMA_MAP, NULL, NULL, tree->origins[0], 0);
        if (!tree->top)
            status = mem_fail(err, "the configuration", 0);
    }
    if (status == GRPO_OK && tree->top->kind != SCHEMA_MAP)
        status = schema_fail_at(err, tree->top, "a configuration is a list of `key: value` lines");
    if (status != GRPO_OK) {
        schema_tree_destroy(tree);
        return status;
    }
    *out = tree;
    return GRPO_OK;
}

grpo_status schema_tree_read(schema_tree **out, const char *path, grpo_error *err)
{
    char *text;
    size_t length;
    *out = NULL;
    grpo_status status = file_read(&text, &length, path, FILE_LIMIT, err);
    if (status != GRPO_OK)
        return status;
    status = schema_tree_parse(out, text, length, path, err);
    mem_free(text);
    return status;
}

void schema_tree_destroy(schema_tree *tree)
{
    if (!tree)
        return;
    schema_node_destroy(tree->top);
    mem_free(tree->origins[0]);
    mem_free(tree->origins[1]);
    mem_free(tree);
}

/* The node of "a.b" below the tree's top; both `a: {b: …}` and a literal "a.b:" are found. */
static schema_node *find_path(const schema_tree *tree, const char *key, schema_node **parent)
{
    *parent = tree->top;
    schema_node *node = schema_node_child(tree->top, key, strlen(key));
    const char *dot = strchr(key, '.');
    if (node || !dot)
        return node;
    schema_node *section = schema_node_child(tree->top, key, (size_t)(dot - key));
    if (!section || section->kind != SCHEMA_MAP)
        return NULL;
    *parent = section;
    return schema_node_child(section, dot + 1, strlen(dot + 1));
}

const char *schema_tree_text(const schema_tree *tree, const char *key)
{
    schema_node *parent, *node = find_path(tree, key, &parent);
    return node && node->kind == SCHEMA_SCALAR && !schema_node_is_null(node) ? node->text : NULL;
}

bool schema_tree_has(const schema_tree *tree, const char *key)
{
    schema_node *parent;
    return find_path(tree, key, &parent) != NULL;
}

/* Puts `value` (consumed) at "a.b" in the tree, replacing what is there. */
static grpo_status put_path(schema_tree *tree, const char *key, schema_node *value, grpo_error *err)
{
    schema_node *parent, *old = find_path(tree, key, &parent);
    if (old) { /* keep the place in the list, swap the contents */
        schema_node swapped = *old;
        old->kind = value->kind;
        old->text = value->text;
        old->quoted = value->quoted;
        old->origin = value->origin;
        old->line = value->line;
        old->first = value->first;
        old->last = value->last;
        value->text = swapped.text;
        value->first = swapped.first;
        schema_node_destroy(value);
        return GRPO_OK;
    }
    const char *dot = strchr(key, '.');
    schema_node *section = tree->top;
    if (dot) {
        section = schema_node_child(tree->top, key, (size_t)(dot - key));
        if (!section || section->kind != SCHEMA_MAP) {
            char *name = mem_strndup(key, (size_t)(dot - key));
            section = name ? schema_node_create(tree, SCHEMA_MAP, name, NULL, value->origin, 0) : NULL;
            mem_free(name);
            if (section)
                schema_node_append(tree->top, section);
        }
        key = dot + 1;
    }
    mem_free(value->key);
    value->key = mem_strdup(key);
    if (!section || !value->key) {
        schema_node_destroy(value);
        return mem_fail(err, "the configuration", 0);
    }
    schema_node_append(section, value);
    return GRPO_OK;
}

static bool takes_raw_text(const schema_row *row)
{
    return row && (row->type == SCHEMA_STRING || row->type == SCHEMA_PATH);
}

grpo_status schema_tree_override(schema_tree *tree, const schema *s, const char *assignment,
                                 const char *origin, grpo_error *err)
{
    const char *equals = strchr(assignment, '=');
    if (!equals || equals == assignment)
        return grpo_fail(err, GRPO_ERR_CONFIG, "%s: '%s' is not of the form key=value", origin, assignment);
    if (!tree->origins[1] && !(tree->origins[1] = mem_strdup(origin)))
        return mem_fail(err, "the configuration", 0);
    char *key = mem_strndup(assignment, (size_t)(equals - assignment));
    if (!key)
        return mem_fail(err, "the configuration", 0);
    const char *text = equals + 1;
    schema_node *value = NULL;
    grpo_status status = GRPO_OK;
    if (takes_raw_text(schema_find(s, key))) {
        value = schema_node_create(tree, SCHEMA_SCALAR, NULL, text, tree->origins[1], 0);
        if (!value)
            status = mem_fail(err, "the configuration", 0);
    } else {
        status = schema_node_parse(&value, tree, text, strlen(text), tree->origins[1], false, err);
        if (status == GRPO_ERR_CONFIG)
            grpo_error_prefix(err, status, "%s", assignment);
    }
    if (status == GRPO_OK)
        status = put_path(tree, key, value, err);
    mem_free(key);
    return status;
}
