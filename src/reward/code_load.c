/* Loading a program into a sandbox, and how processes of a program ended. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/machine.h"
#include "base/strbuf.h"
#include "reward/code_frame.h"
#include "reward/code_run.h"

enum { BUILD_SECONDS = 30 };

void code_escape(char *out, size_t size, const char *text, size_t length)
{
    size_t used = 0;
    for (size_t i = 0; i < length && used + 5 < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\n' || c == '\t' || (c >= ' ' && c < 127))
            out[used++] = (char)c;
        else
            used += (size_t)snprintf(out + used, size - used, "\\x%02x", c);
    }
    out[used] = 0;
}

void code_describe_status(char *text, size_t size, int status)
{
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
        snprintf(text, size, "timeout: the limit of processor time is reached");
    else if (WIFSIGNALED(status))
        snprintf(text, size, "the program was ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(text, size, "the program exited with status %d", WEXITSTATUS(status));
}

/* The number after "oom_kill " in a file of counts. */
static unsigned long kills_in(int fd)
{
    char text[16384]; /* vmstat is long */
    ssize_t n = fd >= 0 ? pread(fd, text, sizeof text - 1, 0) : 0;
    text[n > 0 ? n : 0] = 0;
    const char *p = strstr(text, "oom_kill ");
    return p ? strtoul(p + strlen("oom_kill "), NULL, 10) : 0;
}

unsigned long code_kernel_kills(const code_host *host)
{
    int fd = open("/proc/vmstat", O_RDONLY | O_CLOEXEC);
    unsigned long all = kills_in(fd);
    if (fd >= 0)
        close(fd);
    return all - kills_in(host->kills);
}

void code_take_status(code_runner *r, const char *data, size_t length, code_outcome *o)
{
    unsigned char bytes[5] = {0, 0, 0, 0, 1};
    if (length >= sizeof bytes)
        memcpy(bytes, data, sizeof bytes);
    int status = (int)(bytes[0] | (unsigned)bytes[1] << 8 | (unsigned)bytes[2] << 16 | (unsigned)bytes[3] << 24);
    if (!o->ok && !o->why[0])
        code_describe_status(o->why, sizeof o->why, status);
    if (bytes[4])
        code_sandbox_stop(&r->box);
}

/* The first frame after R: what became of the program's top level. */
static void wait_loaded(code_runner *r, const code_limits *limits, code_outcome *o)
{
    code_frame frame = {0};
    code_watch watch;
    int readable = 0;
    code_watch_begin(&watch, &r->box, NULL, limits, &r->patience);
    while (!readable && !code_watch_exceeded(&watch, o->why, sizeof o->why)) {
        struct pollfd fd = {r->box.control, POLLIN, 0};
        readable = poll(&fd, 1, frame_wait(watch.deadline, 50)) > 0;
    }
    frame_result result = readable ? frame_receive(r->box.control, &frame, 8192, machine_seconds() + 1) : FRAME_LATE;
    if (result == FRAME_OK && frame.letter == 'L' && frame.data.length == 0)
        o->ok = 1;
    else if (result == FRAME_OK && frame.letter == 'L')
        code_escape(o->why, sizeof o->why, frame.data.data, frame.data.length);
    else if (!o->why[0]) {
        o->killed = code_sandbox_was_killed(&r->box);
        snprintf(o->why, sizeof o->why, "the program ended while it was being loaded");
    }
    frame_deinit(&frame);
    if (!o->ok)
        code_sandbox_stop(&r->box);
}

/* Takes the sandbox that was begun meanwhile, or starts one, and begins the next. */
static grpo_status take_sandbox(code_runner *r, grpo_error *err)
{
    grpo_status status = GRPO_ERR_SANDBOX;
    if (r->spare.launcher > 0) {
        r->box = r->spare;
        status = code_sandbox_finish(&r->box, r->host, err);
    }
    if (status != GRPO_OK)
        status = code_sandbox_start(&r->box, r->host, &r->limits, r->compiled, r->compiled_length, 1, err);
    r->spare = (code_sandbox){.control = -1, .errors = -1};
    if (status == GRPO_OK)
        code_sandbox_begin(&r->spare, r->host, &r->limits, r->compiled, r->compiled_length, 1, NULL);
    return status;
}

void code_load(code_runner *r, const json_t *job, char mode, code_outcome *o)
{
    grpo_error err;
    *o = (code_outcome){0};
    if (r->box.launcher > 0) {
        o->ok = 1;
        return;
    }
    unsigned long kills = code_kernel_kills(r->host);
    if (take_sandbox(r, &err) != GRPO_OK) {
        snprintf(o->problem, sizeof o->problem, "%.390s", err.message);
        return;
    }
    code_limits limits = r->limits;
    if (mode == 'C')
        limits.seconds = BUILD_SECONDS;
    const json_t *program = json_object_get(job, "program");
    strbuf text = STRBUF_INIT;
    if (mode == 'C')
        strbuf_printf(&text, "%s\n", r->host->compiler);
    strbuf_append(&text, json_string_value(program), json_string_length(program));
    if (text.failed)
        snprintf(o->problem, sizeof o->problem, "out of memory for a program");
    else
        frame_send(r->box.control, mode, strbuf_text(&text), text.length, NULL, 0); /* a failure shows as no answer */
    strbuf_deinit(&text);
    if (!o->problem[0])
        wait_loaded(r, &limits, o);
    o->starved = !o->ok && code_kernel_kills(r->host) != kills;
}
