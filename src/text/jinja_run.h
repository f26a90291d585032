/* One compile or one render of a template: its memory, limits and the way out.
 *
 * Everything that a compile or a render makes lives in one arena and is freed with it. A failure
 * (an error in the template, a Python exception it would have ended in, a limit, no memory) leaves
 * through jinja_fail, which jumps back to the entry point in template.c; nothing in between holds
 * anything that needs releasing, and no frame of a foreign library is crossed. */
#ifndef TEXT_JINJA_RUN_H
#define TEXT_JINJA_RUN_H

#include <setjmp.h>
#include <time.h>

#include "text/jinja_value.h"

/* Limits, so that a hostile template can neither hang nor eat memory. */
#define JINJA_MAX_SOURCE ((size_t)4 << 20)   /* bytes of template text */
#define JINJA_MAX_STEPS 50000000             /* evaluated nodes; long strings count by length */
#define JINJA_MAX_OUTPUT ((size_t)64 << 20)  /* bytes of one piece of text */
#define JINJA_MAX_MEMORY ((size_t)512 << 20) /* bytes of one render */
#define JINJA_MAX_DEPTH 1600                 /* nested evaluations (a macro call takes about six) */
#define JINJA_MAX_NESTING 200                /* nested expressions or statements in the source */

/* Why a compile or a render ended. Names are Python's where it has one. */
#define JINJA_ERROR_TABLE(X)                                                                       \
    X(JINJA_RAISED, "raised_by_template")                                                          \
    X(JINJA_SYNTAX_ERROR, "TemplateSyntaxError")                                                   \
    X(JINJA_RUNTIME_ERROR, "TemplateRuntimeError")                                                 \
    X(JINJA_FILTER_ERROR, "FilterArgumentError")                                                   \
    X(JINJA_UNDEFINED_ERROR, "UndefinedError")                                                     \
    X(JINJA_SECURITY_ERROR, "SecurityError")                                                       \
    X(JINJA_TYPE_ERROR, "TypeError")                                                               \
    X(JINJA_VALUE_ERROR, "ValueError")                                                             \
    X(JINJA_KEY_ERROR, "KeyError")                                                                 \
    X(JINJA_INDEX_ERROR, "IndexError")                                                             \
    X(JINJA_ZERO_DIVISION_ERROR, "ZeroDivisionError")                                              \
    X(JINJA_OVERFLOW_ERROR, "OverflowError")                                                       \
    X(JINJA_ASSERTION_ERROR, "AssertionError")                                                     \
    X(JINJA_LIMIT, "limit")                                                                        \
    X(JINJA_UNSUPPORTED, "unsupported")                                                            \
    X(JINJA_NO_MEMORY, "out of memory")

typedef enum jinja_error {
    JINJA_NO_ERROR,
#define X(name, text) name,
    JINJA_ERROR_TABLE(X)
#undef X
} jinja_error;

const char *jinja_error_name(jinja_error e);

typedef struct jinja_chunk jinja_chunk;

typedef struct jinja_arena {
    jinja_chunk *chunks;
    size_t total, limit;
} jinja_arena;

/* Text being written. Buffers belong to the run and are reused. */
typedef struct jinja_buffer {
    char *data;
    size_t length, capacity;
    struct jinja_buffer *next_free, *next_all;
} jinja_buffer;

typedef struct jinja_run {
    jinja_arena arena;
    jmp_buf exit;
    jinja_error error;
    char *message; /* mem_free it; NULL when there was no memory for it */
    size_t message_length;
    int line;      /* of what is being compiled or evaluated */
    size_t steps; /* that are left */
    int depth;
    jinja_buffer *free_buffers, *all_buffers;
    const struct jinja_program *program;
    struct jinja_frame **free_frames; /* [functions of the program] */
    jinja_dict *variables;            /* what the template is given */
    bool sort_dicts;                  /* dicts are printed in the order of their keys */
    const struct tm *now;             /* NULL = the clock */
} jinja_run;

/* Leaves the compile or render. */
_Noreturn void jinja_fail(jinja_run *r, jinja_error e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with a message of any length and content. */
_Noreturn void jinja_fail_text(jinja_run *r, jinja_error e, const char *text, size_t length);

/* Counts work; leaves when there was too much. */
void jinja_charge(jinja_run *r, size_t steps);
static inline void jinja_charge_bytes(jinja_run *r, size_t bytes)
{
    jinja_charge(r, 1 + bytes / 16);
}

void *jinja_alloc(jinja_run *r, size_t count, size_t size); /* not initialised */
void *jinja_zalloc(jinja_run *r, size_t count, size_t size);
void jinja_arena_free(jinja_arena *arena);

/* Makes *items (arena memory of count elements in use) hold one more element; doubles. */
void *jinja_grow(jinja_run *r, void *items, size_t count, size_t *capacity, size_t size);

jinja_buffer *jinja_buffer_open(jinja_run *r);
void jinja_buffer_close(jinja_run *r, jinja_buffer *b); /* contents are lost */
jinja_value jinja_buffer_finish(jinja_run *r, jinja_buffer *b); /* contents as a string; closes */
void jinja_put(jinja_run *r, jinja_buffer *b, const char *bytes, size_t n);
void jinja_put_fill(jinja_run *r, jinja_buffer *b, uint32_t code_point, int64_t times);
void jinja_puts(jinja_run *r, jinja_buffer *b, const char *text);
void jinja_put_point(jinja_run *r, jinja_buffer *b, uint32_t code_point);
void jinja_printf(jinja_run *r, jinja_buffer *b, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void jinja_buffers_free(jinja_run *r);

#endif
