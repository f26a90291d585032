/* Memory, limits and failure of one compile or render. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "text/jinja_run.h"

#define FIRST_CHUNK ((size_t)32 << 10)
#define LARGEST_CHUNK ((size_t)4 << 20)

struct jinja_chunk {
    jinja_chunk *next;
    size_t used, size;
    _Alignas(16) char data[];
};

const char *jinja_error_name(jinja_error e)
{
    static const char *const names[] = {
        "",
#define X(name, text) text,
        JINJA_ERROR_TABLE(X)
#undef X
    };
    return names[e];
}

void jinja_fail_text(jinja_run *r, jinja_error e, const char *text, size_t length)
{
    r->error = e;
    r->arena.limit = (size_t)-1; /* the message may pass the limit that is being reported */
    r->message = mem_realloc(NULL, length + 1, 1);
    if (r->message) {
        memcpy(r->message, text, length);
        r->message[length] = 0;
        r->message_length = length;
    }
    longjmp(r->exit, 1);
}

void jinja_fail(jinja_run *r, jinja_error e, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    jinja_fail_text(r, e, text, strlen(text));
}

void jinja_charge(jinja_run *r, size_t steps)
{
    if (steps >= r->steps)
        jinja_fail(r, JINJA_LIMIT, "the template takes too many steps");
    r->steps -= steps;
}

/* ---- arena ------------------------------------------------------------------------ */

static _Noreturn void no_memory(jinja_run *r, size_t bytes)
{
    jinja_fail(r, JINJA_NO_MEMORY, "out of memory (%zu bytes)", bytes);
}

static jinja_chunk *add_chunk(jinja_run *r, size_t need)
{
    jinja_arena *a = &r->arena;
    size_t size = a->chunks ? a->chunks->size * 2 : FIRST_CHUNK;
    if (size > LARGEST_CHUNK)
        size = LARGEST_CHUNK;
    if (size < need)
        size = need;
    if (need > a->limit || a->total > a->limit - need)
        jinja_fail(r, JINJA_LIMIT, "the template needs more than %zu MiB of memory", a->limit >> 20);
    jinja_chunk *c = mem_realloc(NULL, 1, sizeof *c + size);
    if (!c)
        no_memory(r, size);
    c->used = 0;
    c->size = size;
    a->total += size;
    /* A chunk made for one large block goes behind the one being filled. */
    if (a->chunks && need > LARGEST_CHUNK / 4) {
        c->next = a->chunks->next;
        a->chunks->next = c;
    } else {
        c->next = a->chunks;
        a->chunks = c;
    }
    return c;
}

void *jinja_alloc(jinja_run *r, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 4)
        jinja_fail(r, JINJA_LIMIT, "the template asks for %zu times %zu bytes", count, size);
    bytes = (bytes + 15) & ~(size_t)15;
    jinja_chunk *c = r->arena.chunks;
    if (!c || bytes > c->size - c->used)
        c = add_chunk(r, bytes);
    void *p = c->data + c->used;
    c->used += bytes;
    return p;
}

void *jinja_zalloc(jinja_run *r, size_t count, size_t size)
{
    void *p = jinja_alloc(r, count, size);
    memset(p, 0, count * size);
    return p;
}

void jinja_arena_free(jinja_arena *arena)
{
    for (jinja_chunk *c = arena->chunks, *next; c; c = next) {
        next = c->next;
        mem_free(c);
    }
    arena->chunks = NULL;
    arena->total = 0;
}

void *jinja_grow(jinja_run *r, void *items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return items;
    size_t larger = *capacity ? *capacity * 2 : 4;
    void *p = jinja_alloc(r, larger, size);
    if (count)
        memcpy(p, items, count * size);
    *capacity = larger;
    return p;
}

/* ---- buffers ---------------------------------------------------------------------- */

jinja_buffer *jinja_buffer_open(jinja_run *r)
{
    jinja_buffer *b = r->free_buffers;
    if (b) {
        r->free_buffers = b->next_free;
    } else {
        b = jinja_zalloc(r, 1, sizeof *b);
        b->next_all = r->all_buffers;
        r->all_buffers = b;
    }
    b->length = 0;
    return b;
}

void jinja_buffer_close(jinja_run *r, jinja_buffer *b)
{
    b->next_free = r->free_buffers;
    r->free_buffers = b;
}

void jinja_put(jinja_run *r, jinja_buffer *b, const char *bytes, size_t n)
{
    if (n > JINJA_MAX_OUTPUT - b->length)
        jinja_fail(r, JINJA_LIMIT, "the text is longer than %zu MiB", JINJA_MAX_OUTPUT >> 20);
    if (n > b->capacity - b->length) {
        size_t before = b->capacity;
        if (mem_reserve((void **)&b->data, &b->capacity, b->length + n, 1) != 0)
            no_memory(r, b->length + n);
        r->arena.total += b->capacity - before;
    }
    if (n)
        memcpy(b->data + b->length, bytes, n);
    b->length += n;
    jinja_charge(r, n / 64);
}

void jinja_puts(jinja_run *r, jinja_buffer *b, const char *text)
{
    jinja_put(r, b, text, strlen(text));
}

void jinja_put_point(jinja_run *r, jinja_buffer *b, uint32_t c)
{
    char s[4];
    size_t n = 1;
    if (c < 0x80) {
        s[0] = (char)c;
    } else if (c < 0x800) {
        s[0] = (char)(0xC0 | c >> 6);
        s[1] = (char)(0x80 | (c & 63));
        n = 2;
    } else if (c < 0x10000) {
        s[0] = (char)(0xE0 | c >> 12);
        s[1] = (char)(0x80 | (c >> 6 & 63));
        s[2] = (char)(0x80 | (c & 63));
        n = 3;
    } else {
        s[0] = (char)(0xF0 | c >> 18);
        s[1] = (char)(0x80 | (c >> 12 & 63));
        s[2] = (char)(0x80 | (c >> 6 & 63));
        s[3] = (char)(0x80 | (c & 63));
        n = 4;
    }
    jinja_put(r, b, s, n);
}

void jinja_put_fill(jinja_run *r, jinja_buffer *b, uint32_t c, int64_t times)
{
    char many[256];
    size_t from = b->length, width;
    if (times <= 0)
        return;
    jinja_put_point(r, b, c);
    width = b->length - from;
    size_t copies = sizeof many / width;
    for (size_t i = 0; i < copies; i++)
        memcpy(many + i * width, b->data + from, width);
    for (times--; times > 0; times -= (int64_t)copies)
        jinja_put(r, b, many, ((uint64_t)times < copies ? (size_t)times : copies) * width);
}

void jinja_printf(jinja_run *r, jinja_buffer *b, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    jinja_put(r, b, text, n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

void jinja_buffers_free(jinja_run *r)
{
    for (jinja_buffer *b = r->all_buffers; b; b = b->next_all)
        mem_free(b->data); /* the structs lie in the arena */
    r->all_buffers = r->free_buffers = NULL;
}
