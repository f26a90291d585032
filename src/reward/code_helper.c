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
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "base/machine.h"
#include "base/mem.h"
#include "reward/code_frame.h"
#include "reward/code_pool.h"
#include "reward/code_run.h"

enum { END_SECONDS = 3 };
static const double FOREVER = 1e12;

static void work(int channel, const code_host *host, const code_limits *limits)
{
    code_runner runner = {.host = host, .limits = *limits, .judge = {.box = {.control = -1, .errors = -1}, .job = -1},
                          .box = {.control = -1, .errors = -1}};
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

static void start_worker(int control, const code_host *host, const code_limits *limits)
{
    int ends[2];
    pid_t parent = getpid();
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        frame_send(control, 'W', "", 0, NULL, 0);
        return;
    }
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        close(ends[0]);
        close(control);
        work(ends[1], host, limits);
    }
    close(ends[1]);
    frame_send(control, 'W', &child, sizeof child, &ends[0], child > 0);
    close(ends[0]);
}

/* Workers end when their sockets close; those that do not are ended. */
static void end_workers(void)
{
    double deadline = machine_seconds() + END_SECONDS;
    pid_t child;
    while ((child = waitpid(-1, NULL, WNOHANG)) >= 0 || errno == EINTR) {
        if (child == 0 && machine_seconds() > deadline)
            _exit(0); /* they have PR_SET_PDEATHSIG, and so have their sandboxes */
        if (child == 0)
            usleep(2000);
    }
}

/* A process of its own: no terminal's signals, no descriptor but the socket and standard error. */
static void detach(int control)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int s = 1; s < 32; s++)
        if (s != SIGKILL && s != SIGSTOP)
            signal(s, SIG_DFL);
    setsid();
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
    code_host host;
    grpo_error err;
    code_frame frame = {0};
    detach(control);
    control = 3;
    if (code_host_probe(&host, unsafe, limits, &err) != GRPO_OK) {
        frame_send(control, 'E', err.message, strlen(err.message), NULL, 0);
        _exit(1);
    }
    const char *how = host.unsafe ? "unsafe" : "";
    frame_send(control, 'R', how, strlen(how), NULL, 0);
    while (frame_receive(control, &frame, 0, FOREVER) == FRAME_OK) {
        while (waitpid(-1, NULL, WNOHANG) > 0)
            continue;
        start_worker(control, &host, limits);
    }
    close(control);
    end_workers();
    code_host_deinit(&host);
    _exit(0);
}
