/* A small thread pool. Work is a range of items, cut into a run for each thread, which takes its run in
 * chunks and then helps with the others': neighbouring items meet the same caches, and a thread whose core
 * was taken away delays only the chunk it holds. The result of an item must not depend on which thread
 * computes it: that is what makes results independent of the number of threads.
 *
 * Workers spin for a bounded time between jobs and then sleep. Every computing thread, the caller
 * inside pool_run included, runs with denormals flushed to zero and rounding to nearest; the
 * caller's control word is restored afterwards. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stdint.h>

#include "base/mem.h"
#include "grpo/error.h"

typedef struct pool pool;

/* Items [begin, end); `thread` in [0, pool_threads) indexes per-thread scratch. */
typedef void pool_fn(void *context, int begin, int end, int thread);

/* threads <= 0: one for each core available to the process (affinity and cgroup respected). */
grpo_status pool_create(pool **out, int threads, grpo_error *err);
void pool_destroy(pool *p);

/* Threads that compute, the caller of pool_run included. */
int pool_threads(const pool *p);

/* Calls fn over [0, items) in chunks of at most `chunk` items and returns when all are done.
 * p may be NULL: runs in the calling thread. Not reentrant; one caller at a time. */
void pool_run(pool *p, int items, int chunk, pool_fn *fn, void *context);

/* Scratch memory of one thread, for use inside a pool_fn: POOL_SCRATCH bytes, 64-byte aligned, contents
 * undefined at the start of each chunk. NULL when p is NULL. */
enum { POOL_SCRATCH = 1 << 20 };
void *pool_scratch(const pool *p, int thread);

/* mem_arena_commit of the whole arena by all threads at once: a fresh page costs its zeroing, and in a virtual
 * machine much more, of the core that asks for it. */
void pool_commit(pool *p, mem_arena *arena);

/* The floating-point environment of a computing thread (denormals flushed, round to nearest): enter
 * returns what leave restores. pool_run does this itself; for code that must match it outside. */
uint64_t pool_fp_enter(void);
void pool_fp_leave(uint64_t old);

/* Cores available to this process. */
int pool_cores(void);

#endif
