/* JSON helpers over Jansson. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/strbuf.h"

grpo_status json_parse(json_t **out, const char *text, size_t length, const char *where, grpo_error *err)
{
    json_error_t reason;
    *out = json_loadb(text, length, JSON_DECODE_ANY | JSON_ALLOW_NUL, &reason);
    if (*out)
        return GRPO_OK;
    return grpo_fail(err, GRPO_ERR_FORMAT, "%s: not JSON: %s (line %d, column %d)", where, reason.text,
                     reason.line, reason.column);
}

grpo_status json_parse_file(json_t **out, const char *path, size_t limit, grpo_error *err)
{
    char *text;
    size_t length;
    *out = NULL;
    grpo_status status = file_read(&text, &length, path, limit, err);
    if (status != GRPO_OK)
        return status;
    status = json_parse(out, text, length, path, err);
    mem_free(text);
    return status;
}

static int append_chunk(const char *buffer, size_t size, void *data)
{
    strbuf_append(data, buffer, size);
    return 0;
}

char *json_text(const json_t *value)
{
    strbuf s = STRBUF_INIT;
    if (json_dump_callback(value, append_chunk, &s,
                           JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17)) != 0)
        s.failed = 1;
    return strbuf_detach(&s);
}

/* Significant digits, from 15 to 17, that keep every number in a value exact. */
static size_t digits_needed(const json_t *value)
{
    size_t most = 15, i;
    const char *key;
    json_t *item;
    if (json_is_real(value)) {
        char text[40];
        do
            snprintf(text, sizeof text, "%.*g", (int)most, json_real_value(value));
        while (strtod(text, NULL) != json_real_value(value) && ++most < 17);
    }
    json_object_foreach((json_t *)value, key, item) {
        size_t n = digits_needed(item);
        most = n > most ? n : most;
    }
    json_array_foreach(value, i, item) {
        size_t n = digits_needed(item);
        most = n > most ? n : most;
    }
    return most;
}

grpo_status json_write_file(const char *path, const json_t *value, grpo_error *err)
{
    strbuf s = STRBUF_INIT;
    size_t flags = JSON_INDENT(2) | JSON_SORT_KEYS | JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits_needed(value));
    if (json_dump_callback(value, append_chunk, &s, flags) != 0)
        s.failed = 1;
    strbuf_putc(&s, '\n');
    grpo_status status = s.failed ? mem_fail(err, path, s.length) : file_write_all(path, s.data, s.length, err);
    strbuf_deinit(&s);
    return status;
}

json_t *json_double(double x)
{
    if (isnan(x))
        return json_string("NaN");
    if (isinf(x))
        return json_string(x > 0 ? "Infinity" : "-Infinity");
    return json_real(x);
}

json_t *json_number_or_null(double x)
{
    return isnan(x) ? json_null() : json_double(x);
}

/* Length of the well-formed UTF-8 sequence at s, or 0; *bad gets the length of the maximal
 * ill-formed part (Unicode 15, table 3-7). */
static size_t utf8_sequence(const unsigned char *s, size_t n, size_t *bad)
{
    unsigned char c = s[0], low = 0x80, high = 0xBF;
    size_t need;
    *bad = 1;
    if (c < 0x80)
        return 1;
    if (c >= 0xC2 && c <= 0xDF)
        need = 1;
    else if (c >= 0xE0 && c <= 0xEF) {
        need = 2;
        low = c == 0xE0 ? 0xA0 : 0x80;
        high = c == 0xED ? 0x9F : 0xBF;
    } else if (c >= 0xF0 && c <= 0xF4) {
        need = 3;
        low = c == 0xF0 ? 0x90 : 0x80;
        high = c == 0xF4 ? 0x8F : 0xBF;
    } else
        return 0;
    for (size_t i = 1; i <= need; i++) {
        if (i >= n || s[i] < low || s[i] > high) {
            *bad = i;
            return 0;
        }
        low = 0x80;
        high = 0xBF;
    }
    return need + 1;
}

json_t *json_string_lossy(const char *bytes, size_t length)
{
    json_t *value = json_stringn(bytes, length);
    if (value)
        return value;
    strbuf s = STRBUF_INIT;
    const unsigned char *p = (const unsigned char *)bytes;
    for (size_t i = 0; i < length;) {
        size_t bad, n = utf8_sequence(p + i, length - i, &bad);
        if (n)
            strbuf_append(&s, p + i, n);
        else
            strbuf_puts(&s, "\xEF\xBF\xBD");
        i += n ? n : bad;
    }
    value = s.failed ? NULL : json_stringn(strbuf_text(&s), s.length);
    strbuf_deinit(&s);
    return value;
}
