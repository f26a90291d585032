/* JSON lines, JSON arrays and CSV as a sequence of JSON objects. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "train/data_file.h"

enum { ARRAY_LIMIT = 1 << 30, FIELD_LIMIT = 64 << 20, MOST_COLUMNS = 10000 };

static grpo_status fail_line(grpo_error *err, const data_file *f, long line, const char *message)
{
    return grpo_fail(err, GRPO_ERR_FORMAT, "%s line %ld: %s", f->path, line, message);
}

static grpo_status fail_read(grpo_error *err, const data_file *f)
{
    return grpo_fail(err, GRPO_ERR_IO, "cannot read %s: %s", f->path,
                     errno == EBADMSG ? "the compressed data is damaged or breaks off" : strerror(errno));
}

/* ---- CSV (RFC 4180) --------------------------------------------------------------------------- */

static grpo_status csv_quoted(data_file *f, strbuf *field, int *end, grpo_error *err)
{
    long first = f->here;
    for (;;) {
        int c = getc_unlocked(f->stream);
        if (c == EOF)
            return ferror(f->stream) ? fail_read(err, f) : fail_line(err, f, first, "a quoted field does not end");
        if (c == '"' && (c = getc_unlocked(f->stream)) != '"') {
            if (c == '\r')
                c = getc_unlocked(f->stream);
            *end = c;
            if (c != ',' && c != '\n' && c != EOF)
                return fail_line(err, f, f->here, "text after a closing quote (a quote inside a field is written twice)");
            return GRPO_OK;
        }
        f->here += c == '\n';
        strbuf_putc(field, (char)c);
        if (field->length > FIELD_LIMIT)
            return fail_line(err, f, first, "a field of more than 64 MiB");
    }
}

static grpo_status csv_plain(data_file *f, strbuf *field, int c, int *end, grpo_error *err)
{
    for (; c != ',' && c != '\n' && c != EOF; c = getc_unlocked(f->stream)) {
        if (c == '"')
            return fail_line(err, f, f->here, "a quote inside a field that does not begin with one");
        strbuf_putc(field, (char)c);
        if (field->length > FIELD_LIMIT)
            return fail_line(err, f, f->here, "a field of more than 64 MiB");
    }
    if (c != ',' && field->length && field->data[field->length - 1] == '\r')
        field->data[--field->length] = 0;
    *end = c;
    return GRPO_OK;
}

/* Reads one field; *end becomes ',' when another follows, '\n' after the last, EOF at the end. */
static grpo_status csv_field(data_file *f, strbuf *field, int *end, grpo_error *err)
{
    strbuf_clear(field);
    int c = getc_unlocked(f->stream);
    grpo_status status = c == '"' ? csv_quoted(f, field, end, err) : csv_plain(f, field, c, end, err);
    if (status == GRPO_OK && *end == EOF && ferror(f->stream))
        status = fail_read(err, f);
    if (status == GRPO_OK && field->failed)
        status = mem_fail(err, f->path, field->length);
    return status;
}

/* One line of fields as an array of strings; NULL at the end of the file. f->line becomes its first line. */
static grpo_status csv_row(data_file *f, json_t **row, grpo_error *err)
{
    strbuf field = STRBUF_INIT;
    int end = ',';
    f->line = f->here;
    *row = NULL;
    json_t *list = json_array();
    grpo_status status = list ? GRPO_OK : mem_fail(err, f->path, 0);
    while (status == GRPO_OK && end == ',') {
        status = csv_field(f, &field, &end, err);
        if (status != GRPO_OK)
            break;
        if (json_array_size(list) >= MOST_COLUMNS)
            status = fail_line(err, f, f->line, "too many columns");
        else if (json_array_append_new(list, json_stringn(strbuf_text(&field), field.length)) != 0)
            status = fail_line(err, f, f->line, "not UTF-8");
    }
    bool empty = json_array_size(list) == 1 && field.length == 0;
    f->here += end == '\n';
    strbuf_deinit(&field);
    if (status != GRPO_OK || (empty && end == EOF))
        json_decref(list);
    else
        *row = list;
    return status;
}

static bool is_empty_row(const json_t *row)
{
    return json_array_size(row) == 1 && json_string_length(json_array_get(row, 0)) == 0;
}

static grpo_status csv_next(data_file *f, json_t **record, grpo_error *err)
{
    json_t *row;
    grpo_status status = csv_row(f, &row, err);
    while (status == GRPO_OK && row && is_empty_row(row)) {
        json_decref(row);
        status = csv_row(f, &row, err);
    }
    if (status != GRPO_OK || !row)
        return status;
    size_t columns = json_array_size(f->header);
    if (json_array_size(row) != columns) {
        status = grpo_fail(err, GRPO_ERR_FORMAT, "%s line %ld: %zu fields, but the header has %zu", f->path, f->line,
                           json_array_size(row), columns);
    } else {
        *record = json_object();
        for (size_t i = 0; i < columns && *record; i++)
            json_object_set(*record, json_string_value(json_array_get(f->header, i)), json_array_get(row, i));
        if (!*record)
            status = mem_fail(err, f->path, 0);
    }
    json_decref(row);
    return status;
}

static void skip_byte_order_mark(FILE *stream)
{
    static const int mark[] = {0xEF, 0xBB, 0xBF};
    int c[3], n = 0;
    while (n < 3 && (c[n] = getc(stream)) == mark[n])
        n++;
    for (int i = n; n < 3 && i >= 0; i--) /* not one: put everything back (glibc takes three) */
        if (c[i] != EOF)
            ungetc(c[i], stream);
}

static grpo_status csv_open(data_file *f, grpo_error *err)
{
    f->here = 1;
    skip_byte_order_mark(f->stream);
    grpo_status status = csv_row(f, &f->header, err);
    if (status == GRPO_OK && !f->header)
        status = grpo_fail(err, GRPO_ERR_FORMAT, "%s is empty; a CSV file begins with a line of column names", f->path);
    return status;
}

/* ---- any form ----------------------------------------------------------------------------------- */

static bool ends_with(const char *path, const char *ending)
{
    size_t n = strlen(path), m = strlen(ending);
    return n >= m && strcasecmp(path + n - m, ending) == 0;
}

static bool named(const char *path, const char *ending)
{
    static const char *const packed[] = {"", ".gz", ".zst"};
    char whole[32];
    for (int i = 0; i < 3; i++) {
        snprintf(whole, sizeof whole, "%s%s", ending, packed[i]);
        if (ends_with(path, whole))
            return true;
    }
    return false;
}

static grpo_status read_array(data_file *f, grpo_error *err)
{
    strbuf text = STRBUF_INIT;
    char chunk[65536];
    size_t n;
    grpo_status status = GRPO_OK;
    while (status == GRPO_OK && (n = fread(chunk, 1, sizeof chunk, f->stream)) > 0) {
        strbuf_append(&text, chunk, n);
        if (text.length > ARRAY_LIMIT)
            status = grpo_fail(err, GRPO_ERR_FORMAT, "%s: a JSON array of more than 1 GiB; use JSON lines", f->path);
    }
    if (status == GRPO_OK && ferror(f->stream))
        status = fail_read(err, f);
    if (status == GRPO_OK && text.failed)
        status = mem_fail(err, f->path, text.length);
    if (status == GRPO_OK)
        status = json_parse(&f->array, strbuf_text(&text), text.length, f->path, err);
    if (status == GRPO_OK && !json_is_array(f->array))
        status = grpo_fail(err, GRPO_ERR_FORMAT, "%s is not a JSON array", f->path);
    strbuf_deinit(&text);
    return status;
}

static int peek(FILE *stream)
{
    int c = getc(stream);
    if (c != EOF)
        ungetc(c, stream);
    return c;
}

grpo_status data_file_open(data_file *f, const char *path, grpo_error *err)
{
    memset(f, 0, sizeof *f);
    f->path = path;
    grpo_status status = data_stream_open(&f->stream, path, err);
    if (status != GRPO_OK)
        return status;
    if (named(path, ".csv")) {
        f->form = DATA_CSV;
        status = csv_open(f, err);
    } else if (named(path, ".json") && peek(f->stream) == '[') {
        f->form = DATA_ARRAY;
        status = read_array(f, err);
    } else {
        f->lines = (file_lines){.stream = f->stream, .name = path};
    }
    if (status != GRPO_OK)
        data_file_close(f);
    return status;
}

static grpo_status lines_next(data_file *f, json_t **record, grpo_error *err)
{
    char where[4200];
    int got;
    do {
        errno = 0;
        got = file_next_line(&f->lines, err);
        if (got < 0)
            return ferror(f->stream) && errno == EBADMSG ? fail_read(err, f) : err ? err->status : GRPO_ERR_IO;
    } while (got && f->lines.line[strspn(f->lines.line, " \t")] == 0 && f->lines.length == strlen(f->lines.line));
    if (!got)
        return GRPO_OK;
    f->line = f->lines.number;
    snprintf(where, sizeof where, "%s line %ld", f->path, f->line);
    return json_parse(record, f->lines.line, f->lines.length, where, err);
}

grpo_status data_file_next(data_file *f, json_t **record, grpo_error *err)
{
    grpo_status status = GRPO_OK;
    *record = NULL;
    switch (f->form) {
    case DATA_LINES:
        status = lines_next(f, record, err);
        break;
    case DATA_CSV:
        status = csv_next(f, record, err);
        break;
    case DATA_ARRAY:
        if (f->next < json_array_size(f->array))
            *record = json_incref(json_array_get(f->array, f->next++));
        f->line = (long)f->next;
        break;
    }
    if (status == GRPO_OK && *record && !json_is_object(*record)) {
        json_decref(*record);
        *record = NULL;
        return fail_line(err, f, f->line, "not a JSON object");
    }
    return status;
}

void data_file_close(data_file *f)
{
    if (f->form == DATA_LINES)
        file_lines_deinit(&f->lines);
    if (f->stream)
        fclose(f->stream);
    json_decref(f->array);
    json_decref(f->header);
    memset(f, 0, sizeof *f);
}
