/* Growable byte string. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"

static int reserve(strbuf *s, size_t extra)
{
    if (s->failed)
        return -1;
    if (extra >= (size_t)-1 - s->length - 1 ||
        mem_reserve((void **)&s->data, &s->capacity, s->length + extra + 1, 1) != 0) {
        s->failed = 1;
        return -1;
    }
    return 0;
}

void strbuf_append(strbuf *s, const void *bytes, size_t n)
{
    if (reserve(s, n) != 0)
        return;
    if (n)
        memcpy(s->data + s->length, bytes, n);
    s->length += n;
    s->data[s->length] = 0;
}

void strbuf_puts(strbuf *s, const char *text)
{
    strbuf_append(s, text, strlen(text));
}

void strbuf_putc(strbuf *s, char c)
{
    strbuf_append(s, &c, 1);
}

void strbuf_vprintf(strbuf *s, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    if (n >= 0 && reserve(s, (size_t)n) == 0) {
        vsnprintf(s->data + s->length, (size_t)n + 1, format, again);
        s->length += (size_t)n;
    } else if (n < 0) {
        s->failed = 1;
    }
    va_end(again);
}

void strbuf_printf(strbuf *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    strbuf_vprintf(s, format, args);
    va_end(args);
}

void strbuf_put_utf8(strbuf *s, unsigned c)
{
    char b[4];
    if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        c = 0xFFFD;
    if (c < 0x80) {
        b[0] = (char)c;
        strbuf_append(s, b, 1);
    } else if (c < 0x800) {
        b[0] = (char)(0xC0 | c >> 6);
        b[1] = (char)(0x80 | (c & 0x3F));
        strbuf_append(s, b, 2);
    } else if (c < 0x10000) {
        b[0] = (char)(0xE0 | c >> 12);
        b[1] = (char)(0x80 | (c >> 6 & 0x3F));
        b[2] = (char)(0x80 | (c & 0x3F));
        strbuf_append(s, b, 3);
    } else {
        b[0] = (char)(0xF0 | c >> 18);
        b[1] = (char)(0x80 | (c >> 12 & 0x3F));
        b[2] = (char)(0x80 | (c >> 6 & 0x3F));
        b[3] = (char)(0x80 | (c & 0x3F));
        strbuf_append(s, b, 4);
    }
}

void strbuf_clear(strbuf *s)
{
    s->length = 0;
    s->failed = 0;
    if (s->data)
        s->data[0] = 0;
}

void strbuf_deinit(strbuf *s)
{
    mem_free(s->data);
    memset(s, 0, sizeof *s);
}

const char *strbuf_text(const strbuf *s)
{
    return s->data ? s->data : "";
}

char *strbuf_detach(strbuf *s)
{
    if (!s->data)
        strbuf_append(s, "", 0);
    char *data = s->failed ? NULL : s->data;
    if (s->failed)
        mem_free(s->data);
    memset(s, 0, sizeof *s);
    return data;
}
