/* One test that calls the program: the judge runs it, the program answers from its sandbox. */
#define _GNU_SOURCE
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/json.h"
#include "base/machine.h"
#include "base/mem.h"
#include "reward/code_frame.h"
#include "reward/code_run.h"

/* After the program's end the judge only has to notice it; after a verdict the program only has to end. */
static const double JUDGE_GRACE = 2, END_GRACE = 0.5;

typedef struct watch {
    code_watch limit;
    int ended;         /* 1: the frame D came */
    int killed;        /* 1: the sandbox was killed, and not from here */
    char status[8];    /* its bytes */
    size_t status_length;
} watch;

/* Connects judge and program for one test. */
static int begin(code_runner *r, const json_t *test)
{
    int ends[2];
    char *text = json_text(test);
    if (!text || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        mem_free(text);
        return 0;
    }
    frame_send(r->box.control, 'T', "", 0, &ends[0], 1); /* if the program's end is gone the judge sees it */
    int sent = frame_send(r->judge.job, 'T', text, strlen(text), &ends[1], 1);
    close(ends[0]);
    close(ends[1]);
    mem_free(text);
    return sent;
}

static void read_status(code_runner *r, watch *w)
{
    code_frame frame = {0};
    if (frame_receive(r->box.control, &frame, 8192, machine_seconds() + END_GRACE) == FRAME_OK && frame.letter == 'D') {
        w->ended = 1;
        w->status_length = frame.data.length < sizeof w->status ? frame.data.length : sizeof w->status;
        memcpy(w->status, strbuf_text(&frame.data), w->status_length);
    } else {
        w->killed = code_sandbox_was_killed(&r->box);
        code_sandbox_stop(&r->box);
    }
    frame_deinit(&frame);
}

static void read_verdict(code_runner *r, code_outcome *o)
{
    code_frame frame = {0};
    json_t *verdict = NULL;
    if (frame_receive(r->judge.job, &frame, 1 << 20, machine_seconds() + JUDGE_GRACE) == FRAME_OK && frame.letter == 'V')
        json_parse(&verdict, frame.data.data, frame.data.length, "the judge", NULL);
    const char *why = json_string_value(json_object_get(verdict, "why"));
    if (!json_is_object(verdict)) {
        snprintf(o->problem, sizeof o->problem, "the judge's interpreter ended during a test");
    } else if (json_is_true(json_object_get(verdict, "bad"))) {
        snprintf(o->problem, sizeof o->problem, "%.390s", why ? why : "");
    } else {
        o->ok = json_is_true(json_object_get(verdict, "ok")) && !o->why[0];
        if (!o->ok && !o->why[0] && why && !json_is_true(json_object_get(verdict, "gone")))
            code_escape(o->why, sizeof o->why, why, strlen(why));
    }
    json_decref(verdict);
    frame_deinit(&frame);
}

/* Until the judge has spoken. */
static void wait_verdict(code_runner *r, watch *w, code_outcome *o)
{
    for (;;) {
        int alive = r->box.launcher > 0;
        struct pollfd fds[2] = {{r->judge.job, POLLIN, 0}, {alive && !w->ended ? r->box.control : -1, POLLIN, 0}};
        int ready = poll(fds, 2, frame_wait(w->limit.deadline, 50));
        if (ready > 0 && fds[0].revents) {
            read_verdict(r, o);
            return;
        }
        if (ready > 0 && fds[1].revents)
            read_status(r, w);
        if (alive && r->box.launcher > 0) {
            if (code_watch_exceeded(&w->limit, o->why, sizeof o->why)) {
                code_sandbox_stop(&r->box);
                w->limit.deadline = machine_seconds() + JUDGE_GRACE;
            }
        } else if (machine_seconds() >= w->limit.deadline) { /* the judge itself does not end: a test without an end */
            code_judge_stop(&r->judge);
            if (!o->why[0])
                snprintf(o->why, sizeof o->why, "timeout: the test itself does not end");
            return;
        }
    }
}

void code_test_calls(code_runner *r, const json_t *test, code_outcome *o)
{
    watch w = {0};
    unsigned long kills = code_kernel_kills(r->host);
    *o = (code_outcome){0};
    code_watch_begin(&w.limit, &r->box, &r->judge.box, &r->limits, &r->patience);
    if (!begin(r, test)) {
        snprintf(o->problem, sizeof o->problem, "a test could not be started: the judge's interpreter has ended");
        return;
    }
    wait_verdict(r, &w, o);
    if (r->box.launcher > 0 && !w.ended)
        read_status(r, &w);
    if (w.ended && r->box.launcher > 0)
        code_take_status(r, w.status, w.status_length, o);
    if (!o->ok && !o->why[0] && !o->problem[0])
        snprintf(o->why, sizeof o->why, "the program ended during the test");
    o->killed = !o->ok && w.killed;
    o->starved = !o->ok && code_kernel_kills(r->host) != kills;
}
