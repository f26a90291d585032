/* A growable byte string. Out of memory is remembered (`failed`) and checked once at the
 * end, so that building text does not need a check after every append. */
#ifndef BASE_STRBUF_H
#define BASE_STRBUF_H

#include <stdarg.h>
#include <stddef.h>

typedef struct strbuf {
    char *data; /* always NUL-terminated once anything was appended; may hold NUL bytes */
    size_t length, capacity;
    int failed; /* sticky: an append ran out of memory */
} strbuf;

#define STRBUF_INIT {0}

void strbuf_append(strbuf *s, const void *bytes, size_t n);
void strbuf_puts(strbuf *s, const char *text);
void strbuf_putc(strbuf *s, char c);
void strbuf_printf(strbuf *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void strbuf_vprintf(strbuf *s, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
/* Appends the UTF-8 form of a code point (surrogates and > 10FFFF become U+FFFD). */
void strbuf_put_utf8(strbuf *s, unsigned code_point);
void strbuf_clear(strbuf *s);  /* length 0, memory kept */
void strbuf_deinit(strbuf *s); /* frees; s can be used again */
/* "" when empty, never NULL; valid until the next append. */
const char *strbuf_text(const strbuf *s);
/* Hands the memory to the caller (mem_free it); NULL when an append failed. */
char *strbuf_detach(strbuf *s);

#endif
