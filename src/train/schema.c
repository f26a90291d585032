/* From a tree of texts to the fields of a struct: types, ranges, unknown keys. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "train/schema_tree.h"

/* ---- names -------------------------------------------------------------------------------- */

static bool has_value(const schema_row *row)
{
    return row->type != SCHEMA_SECTION && row->type != SCHEMA_HEADING;
}

const schema_row *schema_find(const schema *s, const char *key)
{
    for (size_t i = 0; i < s->count; i++)
        if (has_value(&s->rows[i]) && strcmp(s->rows[i].key, key) == 0)
            return &s->rows[i];
    return NULL;
}

/* Edit distance with swaps of neighbours (optimal string alignment); at most 63 characters count. */
static size_t distance(const char *a, const char *b)
{
    enum { MOST = 63 };
    size_t n = strlen(a), m = strlen(b), row[3][MOST + 1];
    n = n < MOST ? n : MOST;
    m = m < MOST ? m : MOST;
    for (size_t j = 0; j <= m; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *now = row[i % 3], *up = row[(i + 2) % 3], *upper = row[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = up[j - 1] + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
            best = up[j] + 1 < best ? up[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && upper[j - 2] + 1 < best)
                best = upper[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[n % 3][m];
}

const char *schema_nearest(const char *const *names, size_t count, const char *word)
{
    const char *best = NULL;
    size_t best_distance = (strlen(word) + 2) / 3 + 1;
    for (size_t i = 0; i < count; i++) {
        size_t d = distance(names[i], word);
        if (d < best_distance) {
            best = names[i];
            best_distance = d;
        }
    }
    return best;
}

static const char *last_part(const char *key)
{
    const char *dot = strrchr(key, '.');
    return dot ? dot + 1 : key;
}

/* Appends 'a.name' (or 'b.name', …), the keys of this name in their sections. Where the mistyped key has a section too, the
 * nearest to the whole of it comes first, else the first of the table. */
static void put_keys_named(strbuf *out, const schema *s, const char *name, const char *key)
{
    const schema_row *first = NULL;
    size_t least = 0, others = 0;
    for (size_t i = 0; i < s->count; i++) {
        const schema_row *row = &s->rows[i];
        if (!has_value(row) || strcmp(last_part(row->key), name) != 0)
            continue;
        size_t d = strchr(key, '.') ? distance(row->key, key) : 0;
        if (!first || d < least) {
            first = row;
            least = d;
        }
    }
    strbuf_printf(out, "'%s'", first->key);
    for (size_t i = 0; i < s->count; i++) {
        const schema_row *row = &s->rows[i];
        if (row != first && has_value(row) && strcmp(last_part(row->key), name) == 0)
            strbuf_printf(out, "%s'%s'", others++ ? ", " : " (or ", row->key);
    }
    strbuf_puts(out, others ? ")" : "");
}

/* Appends the known keys nearest to a mistyped one, if any: those of the same name, then by the whole path, then by the name
 * without its section. */
static void put_nearest_keys(strbuf *out, const schema *s, const char *key)
{
    const char **names = mem_calloc(s->count ? s->count : 1, sizeof *names);
    size_t n = 0;
    for (size_t i = 0; names && i < s->count; i++)
        if (has_value(&s->rows[i]))
            names[n++] = s->rows[i].key;
    const char *whole = schema_nearest(names, n, key);
    for (size_t i = 0; i < n; i++)
        names[i] = last_part(names[i]);
    const char *name = schema_nearest(names, n, last_part(key));
    if (name && (!whole || strcmp(name, last_part(key)) == 0))
        put_keys_named(out, s, name, key);
    else if (whole)
        strbuf_printf(out, "'%s'", whole);
    mem_free(names);
}

static grpo_status fail_unknown(grpo_error *err, const schema *s, const schema_node *node, const char *key)
{
    for (const schema_foreign *f = s->foreign; f && f->system; f++)
        if (strcmp(f->name, last_part(key)) == 0 || strcmp(f->name, key) == 0) {
            if (f->key)
                return schema_fail_at(err, node, "unknown key '%s': what %s calls %s is %s here", key, f->system,
                                      f->name, f->key);
            return schema_fail_at(err, node, "unknown key '%s', a setting of %s: %s", key, f->system, f->note);
        }
    if (node->kind == SCHEMA_MAP && node->first) { /* an unknown section: advise on what stands in it */
        strbuf inner = STRBUF_INIT;
        strbuf_printf(&inner, "%s.%s", key, node->first->key);
        grpo_status status = fail_unknown(err, s, node->first, strbuf_text(&inner));
        strbuf_deinit(&inner);
        return status;
    }
    strbuf near = STRBUF_INIT;
    put_nearest_keys(&near, s, key);
    grpo_status status = near.length ? schema_fail_at(err, node, "unknown key '%s'; did you mean %s?", key, strbuf_text(&near))
                                     : schema_fail_at(err, node, "unknown key '%s'; `grpo config` lists the keys", key);
    strbuf_deinit(&near);
    return status;
}

/* ---- scalars ------------------------------------------------------------------------------- */

static void *field_of(void *target, const schema_row *row)
{
    return (char *)target + row->offset;
}

static locale_t c_locale;

static void make_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* strtod as in C whatever the process's locale; plain decimal or scientific notation alone. */
static bool parse_double(const char *text, double *x)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_locale);
    if (!*text || text[strspn(text, "+-.0123456789eE")] || !strpbrk(text, "0123456789"))
        return false;
    char *end;
    *x = c_locale ? strtod_l(text, &end, c_locale) : strtod(text, &end);
    return *end == 0 && isfinite(*x);
}

static bool is_infinity(const char *text, int sign)
{
    if (sign < 0 && *text++ != '-')
        return false;
    return strcasecmp(text, "inf") == 0 || strcasecmp(text, ".inf") == 0 || strcasecmp(text, "infinity") == 0;
}

static bool parse_long(const char *text, int64_t *x)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (*text && end != text && *end == 0 && errno == 0 && !isspace((unsigned char)*text)) {
        *x = value;
        return true;
    }
    double d; /* 1e6 */
    if (!parse_double(text, &d) || d != floor(d) || fabs(d) > 9007199254740992.0)
        return false;
    *x = (int64_t)d;
    return true;
}

bool schema_parse_bytes(const char *text, int64_t *x)
{
    static const char units[] = "KMGT";
    char number[64];
    size_t n = strspn(text, "+.0123456789eE");
    if (n == 0 || n >= sizeof number)
        return false;
    memcpy(number, text, n);
    number[n] = 0;
    const char *unit = text + n;
    while (*unit == ' ')
        unit++;
    double value, scale = 1;
    if (*unit && *unit != 'B') {
        const char *u = strchr(units, toupper((unsigned char)*unit));
        if (!u)
            return false;
        scale = ldexp(1.0, 10 * (int)(u - units + 1));
        unit++;
        if (*unit == 'i')
            unit++;
    }
    if (*unit == 'B')
        unit++;
    if (*unit || !parse_double(number, &value) || value * scale >= 9e18)
        return false;
    *x = (int64_t)(value * scale);
    return true;
}

static int parse_bool(const char *text)
{
    static const char *const yes[] = {"true", "yes", "on"}, *const no[] = {"false", "no", "off"};
    for (int i = 0; i < 3; i++) {
        if (strcasecmp(text, yes[i]) == 0)
            return 1;
        if (strcasecmp(text, no[i]) == 0)
            return 0;
    }
    return -1;
}

static bool in_range(const schema_row *row, double x)
{
    if (row->min == 0 && row->max == 0)
        return true;
    return (row->flags & SCHEMA_OPEN_MIN ? x > row->min : x >= row->min) &&
           (row->flags & SCHEMA_OPEN_MAX ? x < row->max : x <= row->max);
}

static grpo_status fail_range(grpo_error *err, const schema_node *node, const schema_row *row)
{
    strbuf range = STRBUF_INIT;
    schema_put_range(&range, row);
    grpo_status status = schema_fail_at(err, node, "%s must be %s, got %s", row->key, strbuf_text(&range), node->text);
    strbuf_deinit(&range);
    return status;
}

static grpo_status fail_type(grpo_error *err, const schema_node *node, const schema_row *row, const char *wanted)
{
    if (node->kind != SCHEMA_SCALAR)
        return schema_fail_at(err, node, "%s must be %s, got a %s", row->key, wanted,
                              node->kind == SCHEMA_MAP ? "map" : "list");
    if (schema_node_is_null(node))
        return schema_fail_at(err, node, "%s must be %s, got nothing", row->key, wanted);
    return schema_fail_at(err, node, "%s must be %s, got '%.100s'", row->key, wanted, node->text);
}

static grpo_status apply_enum(int *field, const schema_row *row, const schema_node *node, grpo_error *err)
{
    const char *names[64];
    size_t n = 0;
    strbuf list = STRBUF_INIT;
    for (const schema_choice *c = row->choices; c->name; c++) {
        if (node->kind == SCHEMA_SCALAR && strcmp(c->name, node->text) == 0) {
            *field = c->value;
            strbuf_deinit(&list);
            return GRPO_OK;
        }
        if (n < 64)
            names[n++] = c->name;
        strbuf_printf(&list, "%s%s", c == row->choices ? "" : ", ", c->name);
    }
    grpo_status status;
    const char *near = node->kind == SCHEMA_SCALAR ? schema_nearest(names, n, node->text) : NULL;
    if (near)
        status = schema_fail_at(err, node, "%s: '%.100s' is not one of %s; did you mean '%s'?", row->key, node->text,
                                strbuf_text(&list), near);
    else {
        strbuf wanted = STRBUF_INIT;
        strbuf_printf(&wanted, "one of %s", strbuf_text(&list));
        status = fail_type(err, node, row, strbuf_text(&wanted));
        strbuf_deinit(&wanted);
    }
    strbuf_deinit(&list);
    return status;
}

static grpo_status apply_whole(void *field, const schema_row *row, const schema_node *node, grpo_error *err)
{
    int64_t x;
    bool bytes = row->type == SCHEMA_BYTES;
    if (node->kind != SCHEMA_SCALAR || !(bytes ? schema_parse_bytes(node->text, &x) : parse_long(node->text, &x)))
        return fail_type(err, node, row, bytes ? "a size like 512M or 4G" : "a whole number");
    if (!in_range(row, (double)x) || (row->type == SCHEMA_INT && (x > INT32_MAX || x < INT32_MIN)))
        return fail_range(err, node, row);
    if (row->type == SCHEMA_INT)
        *(int *)field = (int)x;
    else
        *(int64_t *)field = x;
    return GRPO_OK;
}

static grpo_status apply_float(double *field, const schema_row *row, const schema_node *node, grpo_error *err)
{
    double x;
    bool optional = row->flags & SCHEMA_OPTIONAL, scalar = node->kind == SCHEMA_SCALAR;
    if (optional && scalar && (schema_node_is_null(node) || strcmp(node->text, "none") == 0)) {
        *field = NAN;
        return GRPO_OK;
    }
    for (int sign = -1; scalar && sign <= 1; sign += 2) /* infinity where the range is open */
        if ((sign < 0 ? row->min == -INFINITY : row->max == INFINITY) && is_infinity(node->text, sign)) {
            *field = sign * INFINITY;
            return GRPO_OK;
        }
    if (node->kind != SCHEMA_SCALAR || !parse_double(node->text, &x))
        return fail_type(err, node, row, optional ? "a number or null" : "a number");
    if (!in_range(row, x))
        return fail_range(err, node, row);
    *field = x;
    return GRPO_OK;
}

static grpo_status apply_string(char **field, const schema_row *row, const schema_node *node, grpo_error *err)
{
    if (node->kind != SCHEMA_SCALAR)
        return fail_type(err, node, row, "a text");
    char *text = NULL;
    if (schema_node_is_null(node)) {
        if (!(row->flags & SCHEMA_OPTIONAL))
            return fail_type(err, node, row, "a text");
    } else {
        const char *home = getenv("HOME");
        strbuf s = STRBUF_INIT;
        if (row->type == SCHEMA_PATH && strncmp(node->text, "~/", 2) == 0 && home)
            strbuf_printf(&s, "%s%s", home, node->text + 1);
        else
            strbuf_puts(&s, node->text);
        text = strbuf_detach(&s);
        if (!text)
            return mem_fail(err, "the configuration", 0);
    }
    mem_free(*field);
    *field = text;
    return GRPO_OK;
}

/* ---- lists ---------------------------------------------------------------------------------- */

static void free_strings(schema_strings *list)
{
    for (size_t i = 0; i < list->count; i++)
        mem_free(list->items[i]);
    mem_free(list->items);
    *list = (schema_strings){0};
}

static size_t child_count(const schema_node *node)
{
    size_t n = 0;
    for (const schema_node *c = node->first; c; c = c->next)
        n++;
    return n;
}

static grpo_status apply_strings(schema_strings *field, const schema_row *row, const schema_node *node,
                                 grpo_error *err)
{
    schema_strings list = {0};
    const schema_node *first = node->kind == SCHEMA_LIST ? node->first : node;
    size_t n = node->kind == SCHEMA_LIST ? child_count(node) : !schema_node_is_null(node);
    if (node->kind == SCHEMA_MAP)
        return fail_type(err, node, row, "a list of texts");
    list.items = mem_calloc(n ? n : 1, sizeof *list.items);
    if (!list.items)
        return mem_fail(err, "the configuration", 0);
    grpo_status status = GRPO_OK;
    for (const schema_node *c = first; status == GRPO_OK && list.count < n; c = c->next) {
        schema_row item = *row;
        item.flags = 0;
        status = apply_string(&list.items[list.count], &item, c, err);
        list.count += status == GRPO_OK;
    }
    if (status != GRPO_OK) {
        free_strings(&list);
        return status;
    }
    free_strings(field);
    *field = list;
    return GRPO_OK;
}

static void free_records(schema_records *list, const schema *fields)
{
    for (size_t i = 0; i < list->count; i++)
        schema_deinit((char *)list->items + i * fields->size, fields);
    mem_free(list->items);
    *list = (schema_records){0};
}

void schema_free_records(schema_records *list, const schema_row *row)
{
    free_records(list, row->fields);
}

static grpo_status apply_map(void *target, const schema *s, const schema_node *map, grpo_error *err);

static grpo_status apply_records(schema_records *field, const schema_row *row, const schema_node *node,
                                 grpo_error *err)
{
    const schema *fields = row->fields;
    bool none = schema_node_is_null(node);
    if (node->kind != SCHEMA_LIST && !none)
        return fail_type(err, node, row, "a list");
    schema_records list = {.items = mem_calloc(child_count(node) + 1, fields->size)};
    if (!list.items)
        return mem_fail(err, "the configuration", 0);
    grpo_status status = GRPO_OK;
    for (const schema_node *c = node->first; status == GRPO_OK && c; c = c->next) {
        void *item = (char *)list.items + list.count * fields->size;
        if (c->kind != SCHEMA_MAP)
            status = schema_fail_at(err, c, "%s: element %zu must be a map", row->key, list.count + 1);
        else
            status = schema_defaults(item, fields, err);
        list.count += c->kind == SCHEMA_MAP;
        if (status == GRPO_OK)
            status = apply_map(item, fields, c, err);
        if (status == GRPO_OK && (status = schema_check_required(item, fields, err)) != GRPO_OK)
            grpo_error_prefix(err, status, "%s, element %zu", row->key, list.count);
    }
    if (status != GRPO_OK) {
        free_records(&list, fields);
        return status;
    }
    free_records(field, fields);
    *field = list;
    return GRPO_OK;
}

/* ---- whole structs --------------------------------------------------------------------------- */

static grpo_status apply_row(void *target, const schema_row *row, const schema_node *node, grpo_error *err)
{
    void *field = field_of(target, row);
    switch (row->type) {
    case SCHEMA_BOOL: {
        int x = node->kind == SCHEMA_SCALAR ? parse_bool(node->text) : -1;
        if (x < 0)
            return fail_type(err, node, row, "true or false");
        if (row->flags & SCHEMA_INT_SIZED)
            *(int *)field = x;
        else
            *(bool *)field = x;
        return GRPO_OK;
    }
    case SCHEMA_INT:
    case SCHEMA_LONG:
    case SCHEMA_BYTES:
        return apply_whole(field, row, node, err);
    case SCHEMA_FLOAT:
        return apply_float(field, row, node, err);
    case SCHEMA_STRING:
    case SCHEMA_PATH:
        return apply_string(field, row, node, err);
    case SCHEMA_ENUM:
        return apply_enum(field, row, node, err);
    case SCHEMA_STRINGS:
        return apply_strings(field, row, node, err);
    case SCHEMA_RECORDS:
        return apply_records(field, row, node, err);
    case SCHEMA_SECTION:
    case SCHEMA_HEADING:
        break;
    }
    return grpo_fail(err, GRPO_ERR_INTERNAL, "%s has no value", row->key);
}

static const schema_row *find_section(const schema *s, const char *key)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->rows[i].type == SCHEMA_SECTION && strcmp(s->rows[i].key, key) == 0)
            return &s->rows[i];
    return NULL;
}

static grpo_status apply_key(void *target, const schema *s, const char *key, const schema_node *node,
                             bool *seen, grpo_error *err)
{
    const schema_row *row = schema_find(s, key);
    if (!row)
        return fail_unknown(err, s, node, key);
    if (seen[row - s->rows])
        return schema_fail_at(err, node, "'%s' is given twice", key);
    seen[row - s->rows] = true;
    return apply_row(target, row, node, err);
}

static grpo_status apply_section(void *target, const schema *s, const schema_row *row, const schema_node *section, bool *seen,
                                 grpo_error *err)
{
    if (schema_node_is_null(section)) /* "train:" with nothing below */
        return GRPO_OK;
    if (section->kind != SCHEMA_MAP && row->instead)
        return schema_fail_at(err, section, "'%s' is a section: its keys stand below it, indented; did you mean '%s'?",
                              section->key, row->instead);
    if (section->kind != SCHEMA_MAP)
        return schema_fail_at(err, section, "'%s' is a section: its keys stand below it, indented", section->key);
    grpo_status status = GRPO_OK;
    for (const schema_node *n = section->first; status == GRPO_OK && n; n = n->next) {
        strbuf key = STRBUF_INIT;
        strbuf_printf(&key, "%s.%s", section->key, n->key);
        status = key.failed ? mem_fail(err, "the configuration", 0)
                            : apply_key(target, s, strbuf_text(&key), n, seen, err);
        strbuf_deinit(&key);
    }
    return status;
}

static grpo_status apply_map(void *target, const schema *s, const schema_node *map, grpo_error *err)
{
    bool *seen = mem_calloc(s->count ? s->count : 1, sizeof *seen);
    if (!seen)
        return mem_fail(err, "the configuration", 0);
    grpo_status status = GRPO_OK;
    for (const schema_node *n = map->first; status == GRPO_OK && n; n = n->next) {
        const schema_row *section = find_section(s, n->key);
        status = section ? apply_section(target, s, section, n, seen, err) : apply_key(target, s, n->key, n, seen, err);
    }
    mem_free(seen);
    return status;
}

grpo_status schema_apply(void *target, const schema *s, const schema_tree *tree, grpo_error *err)
{
    return apply_map(target, s, tree->top, err);
}

grpo_status schema_defaults(void *target, const schema *s, grpo_error *err)
{
    memset(target, 0, s->size);
    for (size_t i = 0; i < s->count; i++) {
        const schema_row *row = &s->rows[i];
        if (row->type == SCHEMA_FLOAT)
            *(double *)field_of(target, row) = NAN;
        if (!row->initial || !has_value(row))
            continue;
        schema_node node = {.kind = SCHEMA_SCALAR, .text = (char *)row->initial, .quoted = true};
        grpo_status status = apply_row(target, row, &node, err);
        if (status != GRPO_OK) {
            grpo_error_prefix(err, status, "default");
            schema_deinit(target, s);
            return status;
        }
    }
    return GRPO_OK;
}

grpo_status schema_check_required(const void *target, const schema *s, grpo_error *err)
{
    for (size_t i = 0; i < s->count; i++) {
        const schema_row *row = &s->rows[i];
        if (!(row->flags & SCHEMA_REQUIRED))
            continue;
        const void *field = (const char *)target + row->offset;
        bool missing = row->type == SCHEMA_FLOAT ? isnan(*(const double *)field) : !*(char *const *)field;
        if (missing)
            return grpo_fail(err, GRPO_ERR_CONFIG, "%s is missing: %s", row->key, row->help);
    }
    return GRPO_OK;
}

void schema_deinit(void *target, const schema *s)
{
    for (size_t i = 0; i < s->count; i++) {
        const schema_row *row = &s->rows[i];
        if (row->type == SCHEMA_STRING || row->type == SCHEMA_PATH)
            mem_free(*(char **)field_of(target, row));
        else if (row->type == SCHEMA_STRINGS)
            free_strings(field_of(target, row));
        else if (row->type == SCHEMA_RECORDS)
            free_records(field_of(target, row), row->fields);
    }
    memset(target, 0, s->size);
}
