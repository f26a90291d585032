/* One test of a program that reads standard input: what it prints is compared here, outside of any sandbox. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/machine.h"
#include "base/strbuf.h"
#include "reward/code_frame.h"
#include "reward/code_run.h"

enum { KEPT_ERRORS = 2000 };

/* ---- comparing ----------------------------------------------------------------------------------- */

static int is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

typedef struct piece {
    const char *text;
    size_t length;
} piece;

/* The next line without white space at its end; of lines without any, those at the end of the text are left out. */
static int next_line(piece *rest, piece *line)
{
    while (rest->length && is_space(rest->text[rest->length - 1]))
        rest->length--;
    if (!rest->length)
        return 0;
    const char *end = memchr(rest->text, '\n', rest->length);
    size_t whole = end ? (size_t)(end - rest->text) : rest->length;
    *line = (piece){rest->text, whole};
    while (line->length && is_space(line->text[line->length - 1]))
        line->length--;
    whole += end != NULL;
    rest->text += whole;
    rest->length -= whole;
    return 1;
}

static int next_token(piece *rest, piece *token)
{
    while (rest->length && is_space(*rest->text))
        rest->text++, rest->length--;
    *token = (piece){rest->text, 0};
    while (rest->length && !is_space(*rest->text))
        rest->text++, rest->length--, token->length++;
    return token->length > 0;
}

static int same_number(const piece *a, const piece *b)
{
    char text[2][64], *end[2];
    double value[2];
    if (a->length >= sizeof text[0] || b->length >= sizeof text[1])
        return 0;
    for (int i = 0; i < 2; i++) {
        const piece *p = i ? b : a;
        memcpy(text[i], p->text, p->length);
        text[i][p->length] = 0;
        value[i] = strtod(text[i], &end[i]);
        if (*end[i] || !isfinite(value[i]))
            return 0;
    }
    return fabs(value[0] - value[1]) <= 1e-6 * fmax(1, fabs(value[1]));
}

int code_outputs_equal(const char *got, size_t got_length, const char *want, size_t want_length, const char *compare)
{
    int tokens = strcmp(compare, "lines") != 0, numbers = strcmp(compare, "numbers") == 0;
    int (*next)(piece *, piece *) = tokens ? next_token : next_line;
    piece rest[2] = {{got, got_length}, {want, want_length}}, part[2];
    for (;;) {
        int more[2] = {next(&rest[0], &part[0]), next(&rest[1], &part[1])};
        if (!more[0] || !more[1])
            return more[0] == more[1];
        int same = part[0].length == part[1].length && memcmp(part[0].text, part[1].text, part[0].length) == 0;
        if (!same && !(numbers && same_number(&part[0], &part[1])))
            return 0;
    }
}

/* ---- running ------------------------------------------------------------------------------------------ */

typedef struct run {
    code_watch limit;
    int out, err;       /* read ends; -1 when closed */
    strbuf output, errors;
    int ended, killed;
    char status[8];
    size_t status_length;
} run;

static int make_input(const json_t *text)
{
    int fd = memfd_create("input", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    const char *p = json_string_value(text);
    size_t left = json_string_length(text);
    while (fd >= 0 && left) {
        ssize_t n = write(fd, p, left);
        if (n <= 0 && errno != EINTR) {
            close(fd);
            return -1;
        }
        if (n > 0)
            p += n, left -= (size_t)n;
    }
    if (fd >= 0) {
        lseek(fd, 0, SEEK_SET);
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK);
    }
    return fd;
}

static int begin(code_runner *r, const json_t *test, run *x)
{
    int out[2] = {-1, -1}, err[2] = {-1, -1}, in = make_input(json_object_get(test, "input"));
    int made = in >= 0 && pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0;
    if (made) {
        fcntl(out[0], F_SETFL, O_NONBLOCK);
        fcntl(err[0], F_SETFL, O_NONBLOCK);
        fcntl(out[0], F_SETPIPE_SZ, 1 << 20);
        frame_send(r->box.control, 'T', "", 0, (const int[]){in, out[1], err[1]}, 3);
    }
    if (in >= 0)
        close(in);
    if (out[1] >= 0)
        close(out[1]);
    if (err[1] >= 0)
        close(err[1]);
    x->out = out[0];
    x->err = err[0];
    return made;
}

/* Reads what is there. Returns 0 when the text grew over its limit. */
static int drain(int *fd, strbuf *text, size_t limit, int keep_all)
{
    char block[65536];
    for (ssize_t n; *fd >= 0;) {
        n = read(*fd, block, sizeof block);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return 1;
        if (n <= 0) {
            close(*fd);
            *fd = -1;
            return 1;
        }
        size_t room = limit > text->length ? limit - text->length : 0;
        strbuf_append(text, block, (size_t)n < room ? (size_t)n : room);
        if (keep_all && (size_t)n > room)
            return 0;
    }
    return 1;
}

static void read_status(code_runner *r, run *x)
{
    code_frame frame = {0};
    if (frame_receive(r->box.control, &frame, 8192, machine_seconds() + 1) == FRAME_OK && frame.letter == 'D') {
        x->status_length = frame.data.length < sizeof x->status ? frame.data.length : sizeof x->status;
        memcpy(x->status, strbuf_text(&frame.data), x->status_length);
        x->ended = 1;
    } else {
        x->killed = code_sandbox_was_killed(&r->box);
        code_sandbox_stop(&r->box);
    }
    frame_deinit(&frame);
}

/* Until the program's process has ended or is ended. */
static void wait_end(code_runner *r, run *x, code_outcome *o)
{
    while (r->box.launcher > 0 && !x->ended) {
        struct pollfd fds[3] = {{r->box.control, POLLIN, 0}, {x->out, POLLIN, 0}, {x->err, POLLIN, 0}};
        poll(fds, 3, frame_wait(x->limit.deadline, 50));
        if (fds[0].revents)
            read_status(r, x);
        drain(&x->err, &x->errors, KEPT_ERRORS, 0);
        if (!drain(&x->out, &x->output, r->limits.output, 1))
            snprintf(o->why, sizeof o->why, "the program prints more than %zu bytes", r->limits.output);
        else if (!x->ended)
            code_watch_exceeded(&x->limit, o->why, sizeof o->why);
        if (o->why[0])
            code_sandbox_stop(&r->box);
    }
}

/* The last line of standard error, for people. */
static void add_errors(const run *x, code_outcome *o)
{
    const char *text = strbuf_text(&x->errors);
    size_t end = x->errors.length;
    while (end && is_space(text[end - 1]))
        end--;
    size_t begin = end;
    while (begin && text[begin - 1] != '\n')
        begin--;
    size_t used = strlen(o->why);
    if (end > begin && used + 8 < sizeof o->why) {
        memcpy(o->why + used, ": ", 3);
        code_escape(o->why + used + 2, sizeof o->why - used - 2, text + begin, end - begin);
    }
}

static void explain_difference(const run *x, const json_t *want, code_outcome *o)
{
    char got[300], expected[300];
    size_t length = json_string_length(want);
    code_escape(got, sizeof got, strbuf_text(&x->output), x->output.length < 250 ? x->output.length : 250);
    code_escape(expected, sizeof expected, json_string_value(want), length < 250 ? length : 250);
    snprintf(o->why, sizeof o->why, "wrong output: %s\nexpected: %s", got, expected);
}

void code_test_script(code_runner *r, const json_t *test, const char *compare, code_outcome *o)
{
    run x = {.out = -1, .err = -1};
    const json_t *want = json_object_get(test, "output");
    unsigned long kills = code_kernel_kills(r->host);
    *o = (code_outcome){0};
    code_watch_begin(&x.limit, &r->box, NULL, &r->limits, &r->patience);
    if (!begin(r, test, &x)) {
        snprintf(o->problem, sizeof o->problem, "a test could not be started: %s", strerror(errno));
    } else {
        wait_end(r, &x, o);
        int clean = x.ended && x.status_length >= 4 && memcmp(x.status, "\0\0\0\0", 4) == 0;
        if (!o->why[0] && x.output.failed)
            snprintf(o->problem, sizeof o->problem, "out of memory for a program's output");
        else if (!o->why[0] && !x.ended)
            snprintf(o->why, sizeof o->why, "the sandbox ended with the program");
        else if (!o->why[0] && clean)
            o->ok = code_outputs_equal(strbuf_text(&x.output), x.output.length, json_string_value(want), json_string_length(want), compare);
        if (!o->ok && !o->why[0] && clean)
            explain_difference(&x, want, o);
        if (x.ended && r->box.launcher > 0)
            code_take_status(r, x.status, x.status_length, o);
        if (!clean && x.ended)
            add_errors(&x, o);
    }
    o->killed = !o->ok && x.killed;
    o->starved = !o->ok && code_kernel_kills(r->host) != kills;
    if (x.out >= 0)
        close(x.out);
    if (x.err >= 0)
        close(x.err);
    strbuf_deinit(&x.output);
    strbuf_deinit(&x.errors);
}
