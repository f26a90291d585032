/* The helper process and its workers.
 *
 * Frames on the helper's socket: out  R text   a sandbox can be had; text "unsafe" when it is done without
 *                                     E text   it cannot, and why
 *                                in   W        a worker is wanted
 *                                out  W pid    its process, with its socket attached; without one when it failed
 * On a worker's: in J json, out R json. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "base/machine.h"
#include "base/mem.h"
#include "reward/code_cgroup.h"
#include "reward/code_frame.h"
#include "reward/code_pool.h"
#include "reward/code_run.h"

enum { END_SECONDS = 3 };
static const double FOREVER = 1e12;

static void work(int channel, const code_host *host, const code_limits *limits)
{
    code_runner runner = {.host = host, .limits = *limits, .judge = {.box = {.control = -1, .errors = -1}, .job = -1},
                          .box = {.control = -1, .errors = -1}, .spare = {.control = -1, .errors = -1}};
    code_frame frame = {0};
    while (frame_receive(channel, &frame, FRAME_LIMIT, FOREVER) == FRAME_OK) {
        json_t *job = NULL;
        json_t *result = json_parse(&job, frame.data.data, frame.data.length, "job", NULL) == GRPO_OK ? code_run(&runner, job) : NULL;
        char *text = result ? json_text(result) : NULL;
        json_decref(result);
        json_decref(job);
        strbuf_deinit(&frame.data); /* a large job leaves nothing behind */
        int sent = text && frame_send(channel, 'R', text, strlen(text), NULL, 0);
        mem_free(text);
        if (!sent)
            break;
    }
    frame_deinit(&frame);
    code_runner_deinit(&runner);
    _exit(0);
}

/* A worker and the control group of its programs. */
typedef struct member {
    pid_t process;
    code_cgroup group;
} member;

typedef struct helper {
    int control;
    code_host host;
    code_limits limits;
    member *members;
    size_t count, capacity, made;
} helper;

static int is_member(const helper *h, pid_t process)
{
    size_t i = 0;
    while (i < h->count && h->members[i].process != process)
        i++;
    return i < h->count;
}

/* Sandboxes of a worker that was killed come to this process. One that was just starting does not end by itself. */
static void kill_orphans(const helper *h)
{
    char path[64], text[4096] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    for (char *p = text, *end;; p = end) {
        pid_t child = (pid_t)strtol(p, &end, 10);
        if (end == p)
            return;
        if (!is_member(h, child))
            kill(child, SIGKILL);
    }
}

/* Forgets workers that have ended, and their groups. */
static void reap(helper *h)
{
    pid_t child;
    kill_orphans(h);
    while ((child = waitpid(-1, NULL, WNOHANG)) > 0)
        for (size_t i = 0; i < h->count; i++)
            if (h->members[i].process == child) {
                code_host none = {.groups = {-1, -1}, .kills = -1};
                code_cgroup group = h->members[i].group;
                h->members[i--] = h->members[--h->count];
                kill_orphans(h);
                code_cgroup_remove(&group, &none);
            }
}

static void run_worker(helper *h, int channel, const int *other, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    close(*other);
    close(h->control);
    work(channel, &h->host, &h->limits);
}

static void start_worker(helper *h)
{
    int ends[2];
    pid_t parent = getpid();
    char name[40];
    member m = {0};
    snprintf(name, sizeof name, "grpo-%d-%zu", (int)parent, h->made++);
    if (mem_reserve((void **)&h->members, &h->capacity, h->count + 1, sizeof *h->members) != 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        frame_send(h->control, 'W', "", 0, NULL, 0);
        return;
    }
    if (h->host.has_cgroups)
        code_cgroup_make(&m.group, &h->host, name, &h->limits);
    m.process = fork();
    if (m.process == 0)
        run_worker(h, ends[1], &ends[0], parent);
    close(ends[1]);
    frame_send(h->control, 'W', &m.process, sizeof m.process, &ends[0], m.process > 0);
    close(ends[0]);
    int *inherited[] = {&h->host.groups[0], &h->host.groups[1], &h->host.kills};
    for (size_t i = 0; i < sizeof inherited / sizeof *inherited; i++) {
        if (*inherited[i] >= 0)
            close(*inherited[i]);
        *inherited[i] = -1;
    }
    h->members[h->count++] = m;
}

/* Workers end when their sockets close; those that do not are ended. */
static void end_workers(helper *h)
{
    double deadline = machine_seconds() + END_SECONDS;
    for (reap(h); h->count; reap(h)) {
        if (machine_seconds() > deadline)
            for (size_t i = 0; i < h->count; i++)
                kill(h->members[i].process, SIGKILL); /* sandboxes end with them */
        usleep(2000);
    }
    mem_free(h->members);
}

/* A process of its own: no terminal, no signals from one, no descriptor but the socket and standard error. The session
 * stays: a new one would be a scheduling group of its own, and programs would take cores from sampling. */
static void detach(int control)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int s = 1; s < 32; s++)
        if (s != SIGKILL && s != SIGSTOP)
            signal(s, SIG_DFL);
    setpgid(0, 0);
    int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC);
    if (terminal >= 0)
        ioctl(terminal, TIOCNOTTY); /* sandboxes inherit that there is none */
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(null, 1);
    dup2(control, 3);
    fcntl(3, F_SETFD, FD_CLOEXEC);
    for (int fd = 4, end = (int)sysconf(_SC_OPEN_MAX); fd < end && fd < 65536; fd++)
        close(fd);
}

void code_helper_main(int control, const code_limits *limits, int unsafe)
{
    helper h = {.control = 3, .limits = *limits};
    grpo_error err;
    code_frame frame = {0};
    detach(control);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (code_host_probe(&h.host, unsafe, limits, &err) != GRPO_OK) {
        frame_send(h.control, 'E', err.message, strlen(err.message), NULL, 0);
        _exit(1);
    }
    const char *how = h.host.unsafe ? "unsafe" : "";
    frame_send(h.control, 'R', how, strlen(how), NULL, 0);
    while (frame_receive(h.control, &frame, 0, FOREVER) == FRAME_OK) {
        reap(&h);
        start_worker(&h);
    }
    close(h.control);
    end_workers(&h);
    code_host_deinit(&h.host);
    _exit(0);
}
