/* The reward `command`: a program of the user's, in any language, that is kept running.
 *
 * It reads one record a line (exchange.h, with a number under "request") and writes one answer a line, in the
 * same order; everything else belongs on stderr. Several copies share the work. A copy that dies or does not
 * answer in time is started again; the record it died at is tried once more, on a fresh copy, and is then left
 * unscored.
 *
 * A program that only ever dies is an error, and so is one that writes lines nobody asked for: its answers
 * cannot be told apart. Such lines are looked for after a copy's first answer, around every batch, and wherever
 * an answer names its "request". */
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/json.h"
#include "base/machine.h"
#include "base/mem.h"
#include "reward/exchange.h"
#include "reward/line_program.h"
#include "reward/reward_kinds.h"

enum { MOST_WORKERS = 256, TRIES = 2, DEATHS_PER_WORKER = 4 };

/* Seconds, beside the time limit, that a program has to start (load a model, import libraries). */
static const double START_TIME = 60;

/* Milliseconds that a copy's first answer is given to be followed by a line too many. */
enum { SETTLE_TIME = 50 };

typedef struct worker {
    line_program program;
    int busy;        /* belongs to a batch */
    int answered;    /* has answered since it was started */
    size_t *flight;  /* [at_once] records that it has and has not answered, oldest first */
    size_t in_flight;
    double deadline; /* of the oldest */
} worker;

typedef struct command_scorer {
    reward_scorer base;
    char *command;
    double timeout;
    size_t at_once;
    worker *workers;
    size_t count;
    atomic_long deaths; /* since a worker last answered */
    pthread_mutex_t lock;
    pthread_cond_t idle;
} command_scorer;

typedef struct batch {
    command_scorer *self;
    const grpo_reward_record *records;
    reward_score *scores;
    reward_detail detail;
    size_t n, left;
    size_t *order, next; /* [n] records to be sent from `next` on */
    unsigned char *tries; /* [n] programs that died at the record */
    worker *workers[MOST_WORKERS];
    size_t count;
} batch;

/* ---- life of a worker ------------------------------------------------------------------------ */

static grpo_status start(command_scorer *self, worker *w, grpo_error *err)
{
    w->answered = 0;
    return line_program_start(&w->program, self->command, err);
}

/* Ends a program and puts what it had not answered back. */
static void abandon(batch *b, worker *w)
{
    line_program_end(&w->program, 0);
    while (w->in_flight)
        b->order[--b->next] = w->flight[--w->in_flight];
}

static void drop_oldest(batch *b, worker *w)
{
    memmove(w->flight, w->flight + 1, --w->in_flight * sizeof *w->flight);
    b->left--;
    w->deadline = machine_seconds() + b->self->timeout;
}

static grpo_status count_death(batch *b, const worker *w, const char *what, grpo_error *err)
{
    long deaths = atomic_fetch_add(&b->self->deaths, 1) + 1;
    if (deaths < DEATHS_PER_WORKER * (long)b->self->count)
        return GRPO_OK;
    return grpo_fail(err, GRPO_ERR_REWARD, "'%.200s' %s, %ld times in a row: %s. Try it with `grpo score --reward`; it must write one "
                     "line for each line it reads, and flush it", b->self->command, what, deaths, w->program.ending);
}

static grpo_status note_death(batch *b, worker *w, grpo_error *err)
{
    line_program_end(&w->program, 0.1);
    if (w->in_flight) {
        size_t record = w->flight[0];
        if (++b->tries[record] >= TRIES) {
            reward_unscored(&b->scores[record], "the program died at it, twice: %s", w->program.ending);
            drop_oldest(b, w);
        }
    }
    abandon(b, w);
    return count_death(b, w, "died", err);
}

static grpo_status note_timeout(batch *b, worker *w, grpo_error *err)
{
    line_program_end(&w->program, 0);
    reward_unscored(&b->scores[w->flight[0]], "no answer within %g seconds (timeout): %s", b->self->timeout, w->program.ending);
    drop_oldest(b, w);
    abandon(b, w);
    return count_death(b, w, "did not answer in time", err);
}

/* A line that answers nothing: answers given before may have been other records'. */
static grpo_status fail_out_of_step(batch *b, worker *w, const char *line, grpo_error *err)
{
    grpo_status status = grpo_fail(err, GRPO_ERR_REWARD, "'%.200s' wrote a line that answers no record: '%.120s'. Its rewards cannot be trusted; it "
                     "must write one line for each line it reads, and everything else to stderr", b->self->command, line);
    abandon(b, w);
    return status;
}

/* ---- one turn ----------------------------------------------------------------------------------- */

static grpo_status send_record(batch *b, worker *w, size_t record, grpo_error *err)
{
    json_t *object = reward_record_json(&b->records[record]);
    int failed = !object || json_object_set_new(object, "request", json_integer((json_int_t)record)) != 0;
    char *line = failed ? NULL : json_text(object);
    json_decref(object);
    if (!line)
        return mem_fail(err, "a record for a reward's program", 0);
    line_program_send(&w->program, line);
    mem_free(line);
    if (w->in_flight == 0)
        w->deadline = machine_seconds() + b->self->timeout + (w->answered ? 0 : START_TIME);
    w->flight[w->in_flight++] = record;
    return GRPO_OK;
}

static grpo_status feed(batch *b, worker *w, grpo_error *err)
{
    grpo_status status = GRPO_OK;
    while (status == GRPO_OK && b->next < b->n && w->in_flight < b->self->at_once) {
        if (w->program.pid == 0)
            status = start(b->self, w, err);
        if (status == GRPO_OK)
            status = send_record(b, w, b->order[b->next], err);
        b->next += status == GRPO_OK;
    }
    return status;
}

/* Has it written more than it was asked for? */
static grpo_status check_silence(batch *b, worker *w, int milliseconds, grpo_error *err)
{
    size_t length;
    if (w->program.pid == 0 || w->in_flight)
        return GRPO_OK;
    if (milliseconds)
        poll(&(struct pollfd){.fd = w->program.out, .events = POLLIN}, 1, milliseconds);
    line_program_pump(&w->program);
    const char *line = line_program_line(&w->program, &length);
    return line ? fail_out_of_step(b, w, line, err) : GRPO_OK;
}

static grpo_status read_answer(batch *b, worker *w, const char *line, size_t length, grpo_error *err)
{
    size_t record = w->flight[0];
    reward_reply reply = reward_read_answer_text(&b->scores[record], line, length, (json_int_t)record, b->detail);
    if (reply == REWARD_REPLY_TO_OTHER)
        return fail_out_of_step(b, w, line, err);
    drop_oldest(b, w);
    if (reply == REWARD_NO_REPLY) {
        abandon(b, w);
        return count_death(b, w, "wrote what is no answer", err);
    }
    atomic_store(&b->self->deaths, 0);
    int first = !w->answered;
    w->answered = 1;
    return first ? check_silence(b, w, SETTLE_TIME, err) : GRPO_OK;
}

static grpo_status read_answers(batch *b, worker *w, grpo_error *err)
{
    size_t length;
    char *line;
    grpo_status status = GRPO_OK;
    while (status == GRPO_OK && (line = line_program_line(&w->program, &length)) != NULL)
        status = w->in_flight ? read_answer(b, w, line, length, err) : fail_out_of_step(b, w, line, err);
    return status;
}

static void wait_for_workers(const batch *b)
{
    struct pollfd fds[3 * MOST_WORKERS];
    nfds_t n = 0;
    double wait = 3600, now = machine_seconds();
    for (size_t i = 0; i < b->count; i++) {
        const worker *w = b->workers[i];
        if (w->in_flight == 0)
            continue;
        fds[n++] = (struct pollfd){.fd = w->program.out, .events = POLLIN};
        fds[n++] = (struct pollfd){.fd = w->program.err, .events = POLLIN};
        if (w->program.sent < w->program.unsent.length)
            fds[n++] = (struct pollfd){.fd = w->program.in, .events = POLLOUT};
        wait = fmin(wait, w->deadline - now);
    }
    if (n)
        poll(fds, n, wait > 0 ? (int)ceil(wait * 1000) : 0);
}

static grpo_status attend(batch *b, worker *w, grpo_error *err)
{
    if (w->program.pid == 0)
        return GRPO_OK;
    line_program_flush(&w->program);
    int alive = line_program_pump(&w->program);
    grpo_status status = read_answers(b, w, err);
    if (status != GRPO_OK || w->program.pid == 0)
        return status;
    if (!alive)
        return note_death(b, w, err);
    if (w->in_flight && machine_seconds() > w->deadline)
        return note_timeout(b, w, err);
    return GRPO_OK;
}

static grpo_status turn(batch *b, grpo_error *err)
{
    grpo_status status = GRPO_OK;
    for (size_t i = 0; i < b->count && status == GRPO_OK; i++) {
        status = feed(b, b->workers[i], err);
        if (status == GRPO_OK)
            line_program_flush(&b->workers[i]->program);
    }
    if (status == GRPO_OK)
        wait_for_workers(b);
    for (size_t i = 0; i < b->count && status == GRPO_OK; i++)
        status = attend(b, b->workers[i], err);
    return status;
}

/* ---- batches ---------------------------------------------------------------------------------------- */

static void take_workers(batch *b)
{
    command_scorer *self = b->self;
    pthread_mutex_lock(&self->lock);
    while (b->count == 0) {
        for (size_t i = 0; i < self->count && b->count < b->n; i++)
            if (!self->workers[i].busy) {
                self->workers[i].busy = 1;
                b->workers[b->count++] = &self->workers[i];
            }
        if (b->count == 0)
            pthread_cond_wait(&self->idle, &self->lock);
    }
    pthread_mutex_unlock(&self->lock);
}

static void give_back(batch *b)
{
    pthread_mutex_lock(&b->self->lock);
    for (size_t i = 0; i < b->count; i++) {
        if (b->workers[i]->in_flight) /* a failure: it owes answers that nobody will read */
            line_program_end(&b->workers[i]->program, 0);
        b->workers[i]->in_flight = 0;
        b->workers[i]->busy = 0;
    }
    pthread_cond_broadcast(&b->self->idle);
    pthread_mutex_unlock(&b->self->lock);
}

static grpo_status score(reward_scorer *base, const grpo_reward_record *records, size_t n, reward_score *scores,
                         reward_detail detail, grpo_error *err)
{
    batch b = {.self = (command_scorer *)base, .records = records, .scores = scores, .detail = detail, .n = n, .left = n};
    b.order = mem_calloc(n, sizeof *b.order);
    b.tries = mem_calloc(n, 1);
    grpo_status status = b.order && b.tries ? GRPO_OK : mem_fail(err, "a batch for a reward's program", n * sizeof *b.order);
    if (status == GRPO_OK) {
        for (size_t i = 0; i < n; i++)
            b.order[i] = i;
        take_workers(&b);
        for (size_t i = 0; i < b.count && status == GRPO_OK; i++)
            status = check_silence(&b, b.workers[i], 0, err);
        while (b.left && status == GRPO_OK)
            status = turn(&b, err);
        for (size_t i = 0; i < b.count && status == GRPO_OK; i++)
            status = check_silence(&b, b.workers[i], 0, err);
        give_back(&b);
    }
    mem_free(b.order);
    mem_free(b.tries);
    return status;
}

/* ---- making -------------------------------------------------------------------------------------------- */

static void destroy(reward_scorer *base)
{
    command_scorer *self = (command_scorer *)base;
    for (size_t i = 0; i < self->count; i++)
        line_program_close_input(&self->workers[i].program);
    for (size_t i = 0; i < self->count; i++) {
        line_program_end(&self->workers[i].program, 2);
        line_program_deinit(&self->workers[i].program);
        mem_free(self->workers[i].flight);
    }
    pthread_mutex_destroy(&self->lock);
    pthread_cond_destroy(&self->idle);
    mem_free(self->workers);
    mem_free(self->command);
    mem_free(self);
}

static grpo_status start_workers(command_scorer *self, size_t count, grpo_error *err)
{
    self->workers = mem_calloc(count, sizeof *self->workers);
    if (!self->workers || !self->command)
        return mem_fail(err, "a reward's programs", count * sizeof *self->workers);
    for (size_t i = 0; i < count; i++) {
        worker *w = &self->workers[self->count++];
        line_program_init(&w->program);
        if (!(w->flight = mem_calloc(self->at_once, sizeof *w->flight)))
            return mem_fail(err, "a reward's programs", self->at_once * sizeof *w->flight);
        grpo_status status = start(self, w, err);
        if (status != GRPO_OK)
            return status;
    }
    return GRPO_OK;
}

grpo_status reward_command_create(reward_scorer **out, const char *argument, const grpo_reward_options *options, grpo_error *err)
{
    static const reward_class class = {.score = score, .destroy = destroy, .thread_safe = 1};
    if (!argument[strspn(argument, " \t")])
        return grpo_fail(err, GRPO_ERR_CONFIG, "reward command: the program is missing (command:python3 my_reward.py)");
    if (options->workers > MOST_WORKERS)
        return grpo_fail(err, GRPO_ERR_CONFIG, "reward command: %d workers are more than %d", options->workers, MOST_WORKERS);
    command_scorer *self = mem_calloc(1, sizeof *self);
    if (!self)
        return mem_fail(err, "a reward", sizeof *self);
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->idle, NULL);
    self->base.class = &class;
    self->base.ways = options->workers > 0 ? options->workers : 1;
    self->timeout = options->timeout > 0 ? options->timeout : 30;
    self->at_once = options->at_once > 0 ? (size_t)options->at_once : 1;
    self->command = mem_strdup(argument);
    grpo_status status = start_workers(self, (size_t)self->base.ways, err);
    if (status != GRPO_OK) {
        destroy(&self->base);
        return status;
    }
    *out = &self->base;
    return GRPO_OK;
}
