/* Allocation, arenas, and the allocation-failure test hook. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"

static long fail_countdown;

static int injected_failure(void)
{
    if (fail_countdown == 0)
        return 0;
    if (fail_countdown > 1) {
        fail_countdown--;
        return 0;
    }
    return 1;
}

void mem_fail_after(long n)
{
    fail_countdown = n;
}

static int checked_bytes(size_t count, size_t size, size_t *bytes)
{
    return __builtin_mul_overflow(count, size, bytes) || *bytes > SIZE_MAX / 2;
}

void *mem_calloc(size_t count, size_t size)
{
    size_t bytes;
    if (checked_bytes(count, size, &bytes) || injected_failure())
        return NULL;
    void *p = NULL;
    if (posix_memalign(&p, MEM_ALIGN, bytes ? bytes : 1) != 0)
        return NULL;
    memset(p, 0, bytes ? bytes : 1);
    return p;
}

void *mem_realloc(void *old, size_t count, size_t size)
{
    size_t bytes;
    if (checked_bytes(count, size, &bytes) || injected_failure())
        return NULL;
    return realloc(old, bytes ? bytes : 1);
}

void mem_free(void *p)
{
    free(p);
}

void *mem_dup(const void *p, size_t bytes)
{
    void *copy = mem_realloc(NULL, bytes, 1);
    if (copy && bytes)
        memcpy(copy, p, bytes);
    return copy;
}

char *mem_strndup(const char *s, size_t n)
{
    char *copy = mem_realloc(NULL, n + 1, 1);
    if (copy) {
        memcpy(copy, s, n);
        copy[n] = 0;
    }
    return copy;
}

char *mem_strdup(const char *s)
{
    return mem_strndup(s, strlen(s));
}

int mem_reserve(void **items, size_t *capacity, size_t need, size_t size)
{
    if (need <= *capacity)
        return 0;
    size_t grown = *capacity ? *capacity : 8;
    while (grown < need) {
        if (grown > SIZE_MAX / 2)
            return -1;
        grown *= 2;
    }
    void *p = mem_realloc(*items, grown, size);
    if (!p)
        return -1;
    *items = p;
    *capacity = grown;
    return 0;
}

grpo_status mem_fail(grpo_error *err, const char *what, size_t bytes)
{
    return grpo_fail(err, GRPO_ERR_MEMORY, "out of memory for %s (%zu bytes)", what, bytes);
}

grpo_status mem_arena_init(mem_arena *arena, size_t capacity, const char *what, grpo_error *err)
{
    memset(arena, 0, sizeof *arena);
    size_t page = 2u << 20; /* a huge page, so that the kernel can use whole ones */
    if (capacity > SIZE_MAX / 4 || injected_failure())
        return mem_fail(err, what, capacity);
    capacity = (capacity + page - 1) / page * page;
    if (capacity == 0)
        capacity = page;
    /* Over-reserve by one huge page and start at a huge-page boundary. */
    unsigned char *raw = mmap(NULL, capacity + page, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED)
        return mem_fail(err, what, capacity);
    size_t lead = (page - (uintptr_t)raw % page) % page;
    if (lead)
        munmap(raw, lead);
    if (page - lead)
        munmap(raw + lead + capacity, page - lead);
    arena->base = raw + lead;
    arena->capacity = capacity;
    madvise(arena->base, capacity, MADV_HUGEPAGE); /* a wish; failure costs speed only */
    return GRPO_OK;
}

void mem_arena_deinit(mem_arena *arena)
{
    if (arena->base)
        munmap(arena->base, arena->capacity);
    memset(arena, 0, sizeof *arena);
}

void mem_arena_commit(mem_arena *arena, size_t begin, size_t end)
{
#ifdef MADV_POPULATE_WRITE /* Linux 5.14 */
    if (madvise(arena->base + begin, end - begin, MADV_POPULATE_WRITE) == 0)
        return;
#endif
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (volatile unsigned char *p = arena->base + begin; p < arena->base + end; p += page)
        *p = *p;
}

size_t mem_arena_size(size_t count, size_t size)
{
    size_t bytes;
    if (checked_bytes(count, size, &bytes))
        return SIZE_MAX;
    return (bytes + MEM_ALIGN - 1) / MEM_ALIGN * MEM_ALIGN;
}

void *mem_arena_alloc(mem_arena *arena, size_t count, size_t size)
{
    size_t bytes = mem_arena_size(count, size);
    if (bytes > arena->capacity - arena->used)
        return NULL;
    void *p = arena->base + arena->used;
    arena->used += bytes;
    return p;
}
