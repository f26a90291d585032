/* All memory goes through here, so that a test can make the n-th allocation fail
 * and so that sizes are multiplied with overflow checks.
 *
 * Small memory: mem_calloc, mem_realloc. Large, long-lived memory (weights, gradients,
 * key/value store): an arena, reserved once, zero-filled, touched lazily, asked to be
 * backed by huge pages. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

#include "grpo/error.h"

#define MEM_ALIGN 64 /* one cache line, one 512-bit vector */

/* count * size bytes, zeroed, 64-byte aligned. NULL when out of memory or on overflow.
 * count * size == 0 gives a valid pointer. */
void *mem_calloc(size_t count, size_t size);

/* Grows or shrinks (contents kept, new part not initialised); old may be NULL.
 * On failure returns NULL and leaves old alone. */
void *mem_realloc(void *old, size_t count, size_t size);

void mem_free(void *p);

/* Copies; NULL when out of memory. */
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n);
void *mem_dup(const void *p, size_t bytes);

/* Makes *items hold at least `need` elements of `size` bytes by doubling *capacity.
 * Returns 0, or -1 (nothing changed) when out of memory. */
int mem_reserve(void **items, size_t *capacity, size_t need, size_t size);

/* The standard error for a failed allocation: "out of memory for WHAT (N bytes)". */
grpo_status mem_fail(grpo_error *err, const char *what, size_t bytes);

/* Test hook: the n-th allocation from now on (1 = the next) and all later ones fail;
 * 0 switches it off. Not thread-safe. */
void mem_fail_after(long n);

/* ---- arena: one mapping, bump allocation, freed as a whole --------------------- */

typedef struct mem_arena {
    unsigned char *base;
    size_t capacity, used;
} mem_arena;

/* Reserves address space for `capacity` bytes (pages are taken when first touched). */
grpo_status mem_arena_init(mem_arena *arena, size_t capacity, const char *what, grpo_error *err);
void mem_arena_deinit(mem_arena *arena);

/* Takes the pages of bytes [begin, end) now (multiples of the page size), contents kept, so that a later write
 * cannot find the machine full. pool_commit (pool.h) does it for a whole arena. */
void mem_arena_commit(mem_arena *arena, size_t begin, size_t end);

/* count * size zeroed bytes, 64-byte aligned; NULL when the arena is full. */
void *mem_arena_alloc(mem_arena *arena, size_t count, size_t size);

/* Bytes that an allocation of count * size takes in an arena (SIZE_MAX on overflow). */
size_t mem_arena_size(size_t count, size_t size);

#endif
