/* Thread pool with bounded spinning.
 *
 * The items of a job are cut into one run of neighbours for each thread, so that a thread works on memory that
 * lies together, job after job; a thread that is done with its own run helps with the others'.
 *
 * A job is open from its publication until the caller finds no item left. Workers enter an open job by
 * adding themselves to `state` and leave it by taking themselves off; the caller closes the job and
 * waits for those inside alone. A worker whose core was taken away before it entered is not waited
 * for: on a busy machine the caller then does the work itself. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/machine.h"
#include "base/mem.h"
#include "base/pool.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define CPU_RELAX() _mm_pause()
#elif defined(__aarch64__)
#define CPU_RELAX() __asm__ volatile("yield")
#else
#define CPU_RELAX() ((void)0)
#endif

#define OPEN (1ull << 31)
#define INSIDE (OPEN - 1)

enum { SPIN_ROUNDS = 20000 }; /* some tens of microseconds, longer than any gap between kernels */

/* Items [next, end) of one thread's run wait to be taken. */
typedef struct item_run {
    _Alignas(64) atomic_int next;
    int end;
} item_run;

struct pool {
    int threads;
    pthread_t *workers; /* threads - 1 */
    mem_arena scratch;
    /* the current job, written by the caller while no worker is inside */
    pool_fn *fn;
    void *context;
    int chunk;
    item_run *runs; /* [threads] */
    _Alignas(64) atomic_ullong state; /* generation << 32 | OPEN | workers inside */
    _Alignas(64) atomic_int sleepers;
    atomic_int stop;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
};

typedef struct worker_arg {
    pool *p;
    int thread;
} worker_arg;

/* ---- floating-point environment ------------------------------------------------- */

uint64_t pool_fp_enter(void)
{
#if defined(__x86_64__)
    unsigned old = _mm_getcsr();
    _mm_setcsr((old | 0x8040u) & ~0x6000u); /* FTZ, DAZ, round to nearest */
    return old;
#elif defined(__aarch64__)
    uint64_t old;
    __asm__ volatile("mrs %0, fpcr" : "=r"(old));
    uint64_t now = (old | (1u << 24)) & ~(uint64_t)(3u << 22); /* FZ, round to nearest */
    __asm__ volatile("msr fpcr, %0" : : "r"(now));
    return old;
#else
    return 0;
#endif
}

void pool_fp_leave(uint64_t old)
{
#if defined(__x86_64__)
    _mm_setcsr((unsigned)old);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(old));
#else
    (void)old;
#endif
}

/* ---- work -------------------------------------------------------------------------- */

static void take_chunks_of(pool *p, item_run *run, int thread)
{
    while (atomic_load_explicit(&run->next, memory_order_relaxed) < run->end) {
        int begin = atomic_fetch_add_explicit(&run->next, p->chunk, memory_order_relaxed);
        if (begin >= run->end)
            return;
        int end = begin + p->chunk < run->end ? begin + p->chunk : run->end;
        p->fn(p->context, begin, end, thread);
    }
}

static void take_chunks(pool *p, int thread)
{
    for (int i = 0; i < p->threads; i++)
        take_chunks_of(p, &p->runs[(thread + i) % p->threads], thread);
}

/* Runs of nearly equal length, whole chunks but for the last. */
static void cut_into_runs(pool *p, int items)
{
    const int64_t chunks = ((int64_t)items + p->chunk - 1) / p->chunk;
    int64_t begin = 0;
    for (int t = 0; t < p->threads; t++) {
        const int64_t end = chunks * (t + 1) / p->threads * p->chunk;
        atomic_store_explicit(&p->runs[t].next, (int)begin, memory_order_relaxed);
        begin = end < items ? end : items;
        p->runs[t].end = (int)begin;
    }
}

static unsigned generation(unsigned long long state)
{
    return (unsigned)(state >> 32);
}

/* Waits for a generation other than `seen` and returns it. */
static unsigned wait_for_job(pool *p, unsigned seen)
{
    for (int i = 0; i < SPIN_ROUNDS; i++) {
        unsigned now = generation(atomic_load_explicit(&p->state, memory_order_acquire));
        if (now != seen)
            return now;
        CPU_RELAX();
    }
    pthread_mutex_lock(&p->mutex);
    atomic_fetch_add(&p->sleepers, 1);
    while (generation(atomic_load(&p->state)) == seen)
        pthread_cond_wait(&p->wake, &p->mutex);
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->mutex);
    return generation(atomic_load(&p->state));
}

/* 1: this worker is inside the job of that generation; 0: the job is over. */
static int enter(pool *p, unsigned wanted)
{
    unsigned long long s = atomic_load_explicit(&p->state, memory_order_acquire);
    while (generation(s) == wanted && (s & OPEN))
        if (atomic_compare_exchange_weak_explicit(&p->state, &s, s + 1, memory_order_acquire,
                                                  memory_order_acquire))
            return 1;
    return 0;
}

static void *worker_main(void *argument)
{
    worker_arg arg = *(worker_arg *)argument;
    mem_free(argument);
    pool *p = arg.p;
    pool_fp_enter();
    for (unsigned seen = 0;;) {
        seen = wait_for_job(p, seen);
        if (atomic_load(&p->stop))
            return NULL;
        if (enter(p, seen)) {
            take_chunks(p, arg.thread);
            atomic_fetch_sub_explicit(&p->state, 1, memory_order_release);
        }
    }
}

/* Opens a job, or tells the workers to look at `stop`. */
static void publish(pool *p, unsigned long long open)
{
    unsigned long long next = generation(atomic_load(&p->state)) + 1u;
    atomic_store(&p->state, next << 32 | open);
    if (atomic_load(&p->sleepers) > 0) {
        pthread_mutex_lock(&p->mutex);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->mutex);
    }
}

void pool_run(pool *p, int items, int chunk, pool_fn *fn, void *context)
{
    if (items <= 0)
        return;
    uint64_t fp = pool_fp_enter();
    if (chunk < 1)
        chunk = 1;
    if (!p || p->threads == 1 || items <= chunk) {
        for (int begin = 0; begin < items; begin += chunk)
            fn(context, begin, begin + chunk < items ? begin + chunk : items, 0);
        pool_fp_leave(fp);
        return;
    }
    p->fn = fn;
    p->context = context;
    p->chunk = chunk;
    cut_into_runs(p, items);
    publish(p, OPEN);
    take_chunks(p, 0);
    atomic_fetch_and_explicit(&p->state, ~OPEN, memory_order_relaxed);
    for (int spins = 0; atomic_load_explicit(&p->state, memory_order_acquire) & INSIDE; spins++) {
        if (spins < SPIN_ROUNDS)
            CPU_RELAX();
        else
            sched_yield(); /* more threads than cores: let the worker run */
    }
    pool_fp_leave(fp);
}

/* ---- taking memory ------------------------------------------------------------------ */

enum { COMMIT_BYTES = 8 << 20 }; /* some huge pages */

static void commit_pieces(void *context, int begin, int end, int thread)
{
    mem_arena *arena = context;
    const size_t last = (size_t)end * COMMIT_BYTES;
    (void)thread;
    mem_arena_commit(arena, (size_t)begin * COMMIT_BYTES, last < arena->capacity ? last : arena->capacity);
}

void pool_commit(pool *p, mem_arena *arena)
{
    pool_run(p, (int)((arena->capacity + COMMIT_BYTES - 1) / COMMIT_BYTES), 1, commit_pieces, arena);
}

/* ---- life ---------------------------------------------------------------------------- */

int pool_cores(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    machine_limits limits;
    machine_cgroup_limits(&limits, NULL, NULL);
    n = limits.cores < n ? limits.cores : n;
    return n > 0 ? n : 1;
}

void *pool_scratch(const pool *p, int thread)
{
    return p ? p->scratch.base + (size_t)thread * POOL_SCRATCH : NULL;
}

int pool_threads(const pool *p)
{
    return p ? p->threads : 1;
}

grpo_status pool_create(pool **out, int threads, grpo_error *err)
{
    *out = NULL;
    if (threads <= 0)
        threads = pool_cores();
    pool *p = mem_calloc(1, sizeof *p);
    if (!p)
        return mem_fail(err, "the thread pool", sizeof *p);
    p->workers = mem_calloc((size_t)threads, sizeof *p->workers);
    p->runs = mem_calloc((size_t)threads, sizeof *p->runs);
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->wake, NULL);
    p->threads = 1;
    /* Signals go to the caller's threads: Ctrl-C must not land in a kernel. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    grpo_status status = p->workers && p->runs ? GRPO_OK : mem_fail(err, "the thread pool", 0);
    if (status == GRPO_OK)
        status = mem_arena_init(&p->scratch, (size_t)threads * POOL_SCRATCH, "the scratch of threads", err);
    while (status == GRPO_OK && p->threads < threads) {
        worker_arg *arg = mem_calloc(1, sizeof *arg);
        if (!arg) {
            status = mem_fail(err, "a thread", sizeof *arg);
            break;
        }
        *arg = (worker_arg){p, p->threads};
        int rc = pthread_create(&p->workers[p->threads - 1], NULL, worker_main, arg);
        if (rc != 0) {
            mem_free(arg);
            status = grpo_fail(err, GRPO_ERR_MEMORY, "cannot start thread %d of %d: %s",
                               p->threads + 1, threads, strerror(rc));
            break;
        }
        p->threads++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status != GRPO_OK) {
        pool_destroy(p);
        return status;
    }
    *out = p;
    return GRPO_OK;
}

void pool_destroy(pool *p)
{
    if (!p)
        return;
    atomic_store(&p->stop, 1);
    publish(p, 0);
    /* A worker that is about to sleep re-checks the generation under the mutex. */
    for (int i = 0; i < p->threads - 1; i++)
        pthread_join(p->workers[i], NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->mutex);
    mem_arena_deinit(&p->scratch);
    mem_free(p->workers);
    mem_free(p->runs);
    mem_free(p);
}
