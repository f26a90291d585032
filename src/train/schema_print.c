/* The configuration as text: values, YAML, help, the reference page. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "train/schema_tree.h"

/* ---- values ---------------------------------------------------------------------------------- */

/* The shortest decimal form that reads back as x, with a point whatever the locale. */
static void put_double(strbuf *out, double x)
{
    char text[40];
    if (isinf(x)) {
        strbuf_puts(out, x < 0 ? "-inf" : "inf");
        return;
    }
    for (int precision = 6; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*g", precision, x);
        if (strtod(text, NULL) == x)
            break;
    }
    for (char *p = text; *p; p++)
        if (!strchr("+-0123456789e", *p))
            *p = '.';
    strbuf_puts(out, text);
}

static void put_bytes(strbuf *out, int64_t x)
{
    static const char units[] = {'K', 'M', 'G', 'T'};
    int unit = -1;
    while (x != 0 && unit < 3 && x % 1024 == 0) {
        x /= 1024;
        unit++;
    }
    strbuf_printf(out, "%lld", (long long)x);
    if (unit >= 0)
        strbuf_putc(out, units[unit]);
}

/* True when YAML reads the plain text back as this same string. */
static bool is_plain(const char *text)
{
    static const char *const words[] = {"true", "false", "yes", "no", "on", "off", "null", "none", "y", "n"};
    if (!((*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') || *text == '/' || *text == '_'))
        return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const char *w = words[i], *t = text;
        while (*w && (*t | 32) == *w) {
            w++;
            t++;
        }
        if (!*w && !*t)
            return false;
    }
    return text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+@")] == 0;
}

static unsigned decode_utf8(const unsigned char *p, size_t *length)
{
    *length = *p < 0x80 ? 1 : *p < 0xE0 ? 2 : *p < 0xF0 ? 3 : 4;
    unsigned c = *length == 1 ? *p : *p & (0x7Fu >> *length);
    for (size_t i = 1; i < *length; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            *length = i;
            return 0xFFFD;
        }
        c = c << 6 | (p[i] & 0x3F);
    }
    return c;
}

static void put_string(strbuf *out, const char *text)
{
    if (is_plain(text)) {
        strbuf_puts(out, text);
        return;
    }
    strbuf_putc(out, '"');
    size_t n;
    for (const unsigned char *p = (const unsigned char *)text; *p; p += n) {
        unsigned c = decode_utf8(p, &n);
        if (c == '"' || c == '\\')
            strbuf_printf(out, "\\%c", (char)c);
        else if (c == '\n')
            strbuf_puts(out, "\\n");
        else if (c < 0x20 || (c >= 0x7F && c <= 0xA0) || c == 0x2028 || c == 0x2029 || c == 0xFEFF || c == 0xFFFE ||
                 c == 0xFFFF)
            strbuf_printf(out, "\\u%04X", c); /* YAML's reader refuses or folds these */
        else
            strbuf_append(out, p, n);
    }
    strbuf_putc(out, '"');
}

static const char *choice_name(const schema_row *row, int value)
{
    for (const schema_choice *c = row->choices; c->name; c++)
        if (c->value == value)
            return c->name;
    return "?";
}

static void put_records(strbuf *out, const schema_records *list, const schema *fields)
{
    strbuf_putc(out, '[');
    for (size_t i = 0; i < list->count; i++) {
        const char *item = (const char *)list->items + i * fields->size;
        strbuf_puts(out, i ? ", {" : "{");
        for (size_t j = 0; j < fields->count; j++) {
            strbuf_printf(out, "%s%s: ", j ? ", " : "", fields->rows[j].key);
            schema_put_value(out, item, &fields->rows[j]);
        }
        strbuf_putc(out, '}');
    }
    strbuf_putc(out, ']');
}

void schema_put_value(strbuf *out, const void *target, const schema_row *row)
{
    const void *field = (const char *)target + row->offset;
    switch (row->type) {
    case SCHEMA_BOOL:
        strbuf_puts(out, (row->flags & SCHEMA_INT_SIZED ? *(const int *)field : *(const bool *)field) ? "true" : "false");
        break;
    case SCHEMA_INT:
        strbuf_printf(out, "%d", *(const int *)field);
        break;
    case SCHEMA_LONG:
        strbuf_printf(out, "%lld", (long long)*(const int64_t *)field);
        break;
    case SCHEMA_BYTES:
        put_bytes(out, *(const int64_t *)field);
        break;
    case SCHEMA_FLOAT:
        if (isnan(*(const double *)field))
            strbuf_puts(out, "null");
        else
            put_double(out, *(const double *)field);
        break;
    case SCHEMA_STRING:
    case SCHEMA_PATH: {
        const char *text = *(char *const *)field;
        if (text)
            put_string(out, text);
        else
            strbuf_puts(out, "null");
        break;
    }
    case SCHEMA_ENUM:
        strbuf_puts(out, choice_name(row, *(const int *)field));
        break;
    case SCHEMA_STRINGS: {
        const schema_strings *list = field;
        strbuf_putc(out, '[');
        for (size_t i = 0; i < list->count; i++) {
            strbuf_puts(out, i ? ", " : "");
            put_string(out, list->items[i]);
        }
        strbuf_putc(out, ']');
        break;
    }
    case SCHEMA_RECORDS:
        put_records(out, field, row->fields);
        break;
    case SCHEMA_SECTION:
    case SCHEMA_HEADING:
        break;
    }
}

void schema_put_yaml(strbuf *out, const void *target, const schema *s)
{
    for (size_t i = 0; i < s->count; i++) {
        const schema_row *row = &s->rows[i];
        const char *dot = strchr(row->key, '.');
        if (row->type == SCHEMA_HEADING)
            continue;
        if (row->type == SCHEMA_SECTION) {
            strbuf_printf(out, "%s:\n", row->key);
            continue;
        }
        strbuf_printf(out, "%s%s: ", dot ? "  " : "", dot ? dot + 1 : row->key);
        schema_put_value(out, target, row);
        strbuf_putc(out, '\n');
    }
}

void schema_put_changed(strbuf *out, const void *a, const void *b, const schema *s)
{
    for (size_t i = 0; i < s->count; i++) {
        const schema_row *row = &s->rows[i];
        if (row->flags & SCHEMA_SHORTHAND)
            continue;
        strbuf x = STRBUF_INIT, y = STRBUF_INIT;
        schema_put_value(&x, a, row);
        schema_put_value(&y, b, row);
        if (strcmp(strbuf_text(&x), strbuf_text(&y)) != 0)
            strbuf_printf(out, "%s: %s\n", row->key, strbuf_text(&x));
        strbuf_deinit(&x);
        strbuf_deinit(&y);
    }
}

/* ---- help -------------------------------------------------------------------------------------- */

void schema_put_range(strbuf *out, const schema_row *row)
{
    bool low = isfinite(row->min), high = isfinite(row->max);
    if (row->min == 0 && row->max == 0)
        return;
    if (low && high && !(row->flags & (SCHEMA_OPEN_MIN | SCHEMA_OPEN_MAX))) {
        strbuf_puts(out, "from ");
        put_double(out, row->min);
        strbuf_puts(out, " to ");
        put_double(out, row->max);
        return;
    }
    if (low) {
        strbuf_puts(out, row->flags & SCHEMA_OPEN_MIN ? "above " : "at least ");
        put_double(out, row->min);
    }
    if (high) {
        strbuf_puts(out, low ? " and " : "");
        strbuf_puts(out, row->flags & SCHEMA_OPEN_MAX ? "below " : "at most ");
        put_double(out, row->max);
    }
}

static const char *type_name(const schema_row *row)
{
    switch (row->type) {
    case SCHEMA_BOOL:
        return "true or false";
    case SCHEMA_INT:
    case SCHEMA_LONG:
        return "whole number";
    case SCHEMA_BYTES:
        return "size";
    case SCHEMA_FLOAT:
        return "number";
    case SCHEMA_STRING:
        return "text";
    case SCHEMA_PATH:
        return "path";
    case SCHEMA_ENUM:
        return "one of";
    case SCHEMA_STRINGS:
        return "list of texts";
    case SCHEMA_RECORDS:
        return "list of maps";
    case SCHEMA_SECTION:
    case SCHEMA_HEADING:
        break;
    }
    return "";
}

static void put_kind(strbuf *out, const schema_row *row)
{
    strbuf_puts(out, type_name(row));
    if (row->type == SCHEMA_ENUM)
        for (const schema_choice *c = row->choices; c->name; c++)
            strbuf_printf(out, "%s %s", c == row->choices ? "" : ",", c->name);
    if (row->unit)
        strbuf_printf(out, ", in %s", row->unit);
    strbuf range = STRBUF_INIT;
    schema_put_range(&range, row);
    if (range.length)
        strbuf_printf(out, ", %s", strbuf_text(&range));
    strbuf_deinit(&range);
}

static void put_default(strbuf *out, const schema_row *row)
{
    if (row->flags & SCHEMA_REQUIRED)
        strbuf_puts(out, "required");
    else if (row->follows)
        strbuf_puts(out, row->follows);
    else if (row->initial)
        strbuf_puts(out, *row->initial ? row->initial : "\"\"");
    else if (row->type == SCHEMA_STRINGS || row->type == SCHEMA_RECORDS)
        strbuf_puts(out, "[]");
    else
        strbuf_puts(out, "null");
}

/* Wraps text at 96 columns, each line behind `indent` spaces. */
static void put_wrapped(strbuf *out, const char *text, int indent)
{
    size_t column = 0;
    while (*text) {
        size_t word = strcspn(text, " ");
        if (column == 0 || column + 1 + word > 96) {
            strbuf_printf(out, "%s%*s", column ? "\n" : "", indent, "");
            column = (size_t)indent;
        } else {
            strbuf_putc(out, ' ');
            column++;
        }
        strbuf_append(out, text, word);
        column += word;
        text += word;
        text += *text == ' ';
    }
    strbuf_putc(out, '\n');
}

static void put_row_help(strbuf *out, const schema_row *row, int indent)
{
    strbuf_printf(out, "%*s%s = ", indent, "", row->key);
    put_default(out, row);
    strbuf_puts(out, "  (");
    put_kind(out, row);
    strbuf_puts(out, ")\n");
    put_wrapped(out, row->help, indent + 4);
    if (row->type == SCHEMA_ENUM)
        for (const schema_choice *c = row->choices; c->name; c++)
            if (c->help) {
                strbuf line = STRBUF_INIT;
                strbuf_printf(&line, "%s: %s", c->name, c->help);
                put_wrapped(out, strbuf_text(&line), indent + 6);
                strbuf_deinit(&line);
            }
    for (size_t i = 0; row->fields && i < row->fields->count; i++)
        put_row_help(out, &row->fields->rows[i], indent + 4);
}

void schema_put_help(strbuf *out, const schema *s)
{
    for (size_t i = 0; i < s->count; i++) {
        const schema_row *row = &s->rows[i];
        if (row->type == SCHEMA_SECTION || row->type == SCHEMA_HEADING) {
            strbuf_printf(out, "\n%s:\n", row->key);
            put_wrapped(out, row->help, 4);
            strbuf_putc(out, '\n');
        } else {
            put_row_help(out, row, strchr(row->key, '.') ? 2 : 0);
        }
    }
}

/* ---- reference page ------------------------------------------------------------------------------ */

/* Text inside a table cell. */
static void put_cell(strbuf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            strbuf_putc(out, '\\');
        if (*text == '<')
            strbuf_puts(out, "&lt;");
        else
            strbuf_putc(out, *text);
    }
}

static void put_row_markdown(strbuf *out, const schema_row *row, const char *prefix)
{
    strbuf text = STRBUF_INIT;
    strbuf_printf(out, "| `%s%s` | ", prefix, row->key);
    put_default(&text, row);
    strbuf_puts(out, row->flags & SCHEMA_REQUIRED ? "" : "`");
    put_cell(out, strbuf_text(&text));
    strbuf_puts(out, row->flags & SCHEMA_REQUIRED ? " | " : "` | ");
    strbuf_clear(&text);
    put_kind(&text, row);
    put_cell(out, strbuf_text(&text));
    strbuf_puts(out, " | ");
    put_cell(out, row->help);
    if (row->type == SCHEMA_ENUM)
        for (const schema_choice *c = row->choices; c->name; c++)
            if (c->help) {
                strbuf_printf(out, "<br>`%s`: ", c->name);
                put_cell(out, c->help);
            }
    strbuf_puts(out, " |\n");
    strbuf_deinit(&text);
    for (size_t i = 0; row->fields && i < row->fields->count; i++) {
        strbuf inner = STRBUF_INIT;
        strbuf_printf(&inner, "%s[].", row->key);
        put_row_markdown(out, &row->fields->rows[i], strbuf_text(&inner));
        strbuf_deinit(&inner);
    }
}

static void put_foreign(strbuf *out, const schema_foreign *table)
{
    strbuf_puts(out, "\n## Names in TRL, PEFT, verl and the specification\n\n| system | its name | here | difference |\n| --- | --- | --- | --- |\n");
    for (const schema_foreign *f = table; f->system; f++) {
        strbuf_printf(out, "| %s | `%s` | ", f->system, f->name);
        if (f->key)
            strbuf_printf(out, "`%s`", f->key);
        else
            strbuf_puts(out, "none");
        strbuf_puts(out, " | ");
        put_cell(out, f->note ? f->note : "");
        strbuf_puts(out, " |\n");
    }
}

void schema_put_markdown(strbuf *out, const schema *s)
{
    static const char head[] = "| key | default | value | meaning |\n| --- | --- | --- | --- |\n";
    if (s->count && s->rows[0].type != SCHEMA_HEADING)
        strbuf_puts(out, head);
    for (size_t i = 0; i < s->count; i++) {
        const schema_row *row = &s->rows[i];
        if (row->type == SCHEMA_SECTION || row->type == SCHEMA_HEADING)
            strbuf_printf(out, "\n## %s\n\n%s\n\n%s", row->key, row->help, head);
        else
            put_row_markdown(out, row, "");
    }
    if (s->foreign)
        put_foreign(out, s->foreign);
}
