/* The caller's side of the executor: workers, and jobs handed to them. */
#define _GNU_SOURCE
#include "reward/code_pool.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "base/machine.h"
#include "base/mem.h"
#include "base/pool.h"
#include "reward/code_frame.h"

enum { PROBE_SECONDS = 120, WORKER_SECONDS = 30, TRIES = 2, MOST_WORKERS = 256 };

typedef struct worker {
    int channel; /* -1: none yet, or it died */
    pid_t process;
    int busy;
} worker;

struct code_pool {
    code_limits limits;
    int helper; /* socket */
    pid_t process;
    int unsafe;
    worker *workers;
    int count;
    pthread_mutex_t lock, helper_lock;
    pthread_cond_t idle;
};

/* ---- making ----------------------------------------------------------------------------------------- */

/* What the helper found out about this machine. */
static grpo_status wait_helper(code_pool *p, grpo_error *err)
{
    code_frame frame = {0};
    frame_result result = frame_receive(p->helper, &frame, 4096, machine_seconds() + PROBE_SECONDS);
    grpo_status status = GRPO_OK;
    if (result != FRAME_OK)
        status = grpo_fail(err, GRPO_ERR_SANDBOX, "the helper process of the code executor did not start");
    else if (frame.letter != 'R')
        status = grpo_fail(err, GRPO_ERR_SANDBOX, "%s", strbuf_text(&frame.data));
    p->unsafe = strcmp(strbuf_text(&frame.data), "unsafe") == 0;
    frame_deinit(&frame);
    return status;
}

grpo_status code_pool_create(code_pool **out, const code_limits *limits, int workers, int unsafe, grpo_error *err)
{
    *out = NULL;
    int ends[2] = {-1, -1}, count = workers > 0 ? workers : pool_cores();
    code_pool *p = mem_calloc(1, sizeof *p);
    if (!p || !(p->workers = mem_calloc(MOST_WORKERS, sizeof *p->workers))) {
        mem_free(p);
        return mem_fail(err, "a pool of workers", sizeof *p);
    }
    p->limits = *limits;
    p->helper = -1;
    p->count = count < MOST_WORKERS ? count : MOST_WORKERS;
    for (int i = 0; i < p->count; i++)
        p->workers[i].channel = -1;
    pthread_mutex_init(&p->lock, NULL);
    pthread_mutex_init(&p->helper_lock, NULL);
    pthread_cond_init(&p->idle, NULL);
    grpo_status status = GRPO_OK;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0 || (p->process = fork()) < 0)
        status = grpo_fail(err, GRPO_ERR_SANDBOX, "cannot start the helper process of the code executor: %s", strerror(errno));
    else if (p->process == 0)
        code_helper_main(ends[1], &p->limits, unsafe);
    if (ends[1] >= 0)
        close(ends[1]);
    p->helper = ends[0];
    if (status == GRPO_OK)
        status = wait_helper(p, err);
    if (status != GRPO_OK) {
        code_pool_destroy(p);
        return status;
    }
    *out = p;
    return GRPO_OK;
}

void code_pool_destroy(code_pool *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->count; i++)
        if (p->workers[i].channel >= 0)
            close(p->workers[i].channel);
    if (p->helper >= 0)
        close(p->helper);
    while (p->process > 0 && waitpid(p->process, NULL, 0) < 0 && errno == EINTR)
        continue;
    pthread_cond_destroy(&p->idle);
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->helper_lock);
    mem_free(p->workers);
    mem_free(p);
}

int code_pool_is_unsafe(const code_pool *p)
{
    return p->unsafe;
}

/* ---- workers ------------------------------------------------------------------------------------------- */

static grpo_status start_worker(code_pool *p, worker *w, grpo_error *err)
{
    code_frame frame = {0};
    pthread_mutex_lock(&p->helper_lock);
    int fine = frame_send(p->helper, 'W', "", 0, NULL, 0) &&
               frame_receive(p->helper, &frame, 64, machine_seconds() + WORKER_SECONDS) == FRAME_OK;
    pthread_mutex_unlock(&p->helper_lock);
    if (fine && frame.fd_count == 1 && frame.data.length == sizeof w->process) {
        memcpy(&w->process, frame.data.data, sizeof w->process);
        w->channel = frame.fds[0];
        frame_deinit(&frame);
        return GRPO_OK;
    }
    frame_deinit(&frame);
    return grpo_fail(err, GRPO_ERR_SANDBOX, fine ? "no worker process of the code executor can be started: is the machine out of memory?"
                                                 : "the helper process of the code executor has ended");
}

/* An idle worker, marked busy; NULL when all are busy and `wait` is 0. */
static worker *take_worker(code_pool *p, int wait)
{
    worker *found = NULL;
    pthread_mutex_lock(&p->lock);
    while (!found) {
        for (int i = 0; i < p->count && !found; i++) /* those that run already first */
            if (!p->workers[i].busy && p->workers[i].channel >= 0)
                found = &p->workers[i];
        for (int i = 0; i < p->count && !found; i++)
            if (!p->workers[i].busy)
                found = &p->workers[i];
        if (found)
            found->busy = 1;
        else if (wait)
            pthread_cond_wait(&p->idle, &p->lock);
        else
            break;
    }
    pthread_mutex_unlock(&p->lock);
    return found;
}

static void release_worker(code_pool *p, worker *w)
{
    pthread_mutex_lock(&p->lock);
    w->busy = 0;
    pthread_cond_signal(&p->idle);
    pthread_mutex_unlock(&p->lock);
}

static void end_worker(worker *w)
{
    if (w->channel >= 0) {
        kill(w->process, SIGKILL); /* its sandboxes end with it */
        close(w->channel);
    }
    w->channel = -1;
}

/* ---- jobs ------------------------------------------------------------------------------------------------- */

typedef struct flight {
    worker *worker;
    size_t job;
    double deadline; /* when something must be wrong with the worker */
} flight;

typedef struct batch {
    code_pool *pool;
    json_t *const *jobs;
    json_t **results;
    unsigned char *tries;
    flight flights[MOST_WORKERS];
    int in_flight;
} batch;

static json_t *failed_result(const char *problem)
{
    return json_pack("{s:s, s:i, s:i, s:[]}", "problem", problem, "passed", 0, "total", 0, "tests");
}

/* Hands a job to a worker. 0: it could not be sent, and the worker is gone. */
static int send_job(batch *b, worker *w, size_t job)
{
    char *text = json_text(b->jobs[job]);
    int sent = text && frame_send(w->channel, 'J', text, strlen(text), NULL, 0);
    if (!text)
        b->results[job] = failed_result("out of memory for a job");
    mem_free(text);
    if (!sent)
        return 0;
    double tests = (double)json_array_size(json_object_get(b->jobs[job], "tests"));
    b->flights[b->in_flight++] = (flight){w, job, machine_seconds() + 120 + b->pool->limits.patience + (tests + 1) * (b->pool->limits.seconds + 30)};
    return 1;
}

/* The worker died or hangs: another one gets the job, once. */
static grpo_status lose_worker(batch *b, worker *w, size_t job, grpo_error *err)
{
    end_worker(w);
    if (b->results[job])
        return GRPO_OK;
    if (++b->tries[job] >= TRIES) {
        b->results[job] = failed_result("the executor's worker process ended twice; is the machine out of memory?");
        return GRPO_OK;
    }
    grpo_status status = start_worker(b->pool, w, err);
    if (status == GRPO_OK && !send_job(b, w, job)) {
        end_worker(w);
        if (!b->results[job])
            b->results[job] = failed_result("the executor's worker process ended");
    }
    return status;
}

static grpo_status start_job(batch *b, worker *w, size_t job, grpo_error *err)
{
    grpo_status status = w->channel >= 0 ? GRPO_OK : start_worker(b->pool, w, err);
    if (status == GRPO_OK && !send_job(b, w, job))
        status = lose_worker(b, w, job, err);
    int flying = b->in_flight && b->flights[b->in_flight - 1].worker == w;
    if (!flying)
        release_worker(b->pool, w);
    return status;
}

/* Takes the result of one flight, or notes that its worker is lost. */
static grpo_status finish_flight(batch *b, int index, grpo_error *err)
{
    flight f = b->flights[index];
    code_frame frame = {0};
    grpo_status status = GRPO_OK;
    b->flights[index] = b->flights[--b->in_flight];
    if (frame_receive(f.worker->channel, &frame, FRAME_LIMIT, machine_seconds() + WORKER_SECONDS) == FRAME_OK)
        json_parse(&b->results[f.job], frame.data.data, frame.data.length, "the executor", NULL);
    frame_deinit(&frame);
    if (!b->results[f.job])
        status = lose_worker(b, f.worker, f.job, err);
    int flying = b->in_flight && b->flights[b->in_flight - 1].worker == f.worker;
    if (!flying)
        release_worker(b->pool, f.worker);
    return status;
}

/* Waits for a result; for a short while only when there are jobs left that another worker might take. */
static grpo_status wait_flights(batch *b, int more, grpo_error *err)
{
    struct pollfd fds[MOST_WORKERS];
    grpo_status status = GRPO_OK;
    int n = b->in_flight;
    for (int i = 0; i < n; i++)
        fds[i] = (struct pollfd){b->flights[i].worker->channel, POLLIN, 0};
    poll(fds, (nfds_t)n, more ? 20 : 1000);
    for (int i = n; i-- > 0 && status == GRPO_OK;) {
        if (machine_seconds() > b->flights[i].deadline)
            kill(b->flights[i].worker->process, SIGKILL); /* its socket closes, which is seen next */
        if (fds[i].revents)
            status = finish_flight(b, i, err);
    }
    return status;
}

grpo_status code_pool_run(code_pool *p, json_t *const *jobs, json_t **results, size_t n, grpo_error *err)
{
    batch *b = mem_calloc(1, sizeof *b);
    grpo_status status = b && (b->tries = mem_calloc(n, 1)) ? GRPO_OK : mem_fail(err, "a batch of programs", n);
    size_t next = 0;
    while (status == GRPO_OK) {
        while (next < n && (!jobs[next] || results[next]))
            next++;
        if (next == n && b->in_flight == 0)
            break;
        b->pool = p;
        b->jobs = jobs;
        b->results = results;
        worker *w = next < n ? take_worker(p, b->in_flight == 0) : NULL;
        if (w)
            status = start_job(b, w, next++, err);
        else
            status = wait_flights(b, next < n, err);
    }
    for (int i = 0; b && i < b->in_flight; i++) { /* after a failure: what runs is given up */
        end_worker(b->flights[i].worker);
        release_worker(p, b->flights[i].worker);
    }
    if (b)
        mem_free(b->tries);
    mem_free(b);
    return status;
}
