/* Programs that answer lines with lines: pipes, life and death. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/machine.h"
#include "reward/line_program.h"

extern char **environ;

void line_program_init(line_program *p)
{
    memset(p, 0, sizeof *p);
    p->in = p->out = p->err = -1;
}

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* ---- starting ------------------------------------------------------------------------------ */

/* The far ends of the three pipes. */
typedef struct far_ends {
    int in, out, err;
} far_ends;

static int make_pipe(int *near, int *far, int near_writes)
{
    int fd[2];
    if (pipe2(fd, O_CLOEXEC) != 0)
        return -1;
    *near = fd[near_writes];
    *far = fd[!near_writes];
    return fcntl(*near, F_SETFL, O_NONBLOCK);
}

static int spawn(line_program *p, const far_ends *far, const char *command)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    if (posix_spawn_file_actions_init(&actions) != 0)
        return ENOMEM;
    if (posix_spawnattr_init(&attributes) != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return ENOMEM;
    }
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setsigmask(&attributes, &none);
    char *const arguments[] = {"sh", "-c", (char *)command, NULL};
    int failed = posix_spawn_file_actions_adddup2(&actions, far->in, STDIN_FILENO);
    failed = failed ? failed : posix_spawn_file_actions_adddup2(&actions, far->out, STDOUT_FILENO);
    failed = failed ? failed : posix_spawn_file_actions_adddup2(&actions, far->err, STDERR_FILENO);
    failed = failed ? failed : posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    failed = failed ? failed : posix_spawn(&p->pid, "/bin/sh", &actions, &attributes, arguments, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return failed;
}

grpo_status line_program_start(line_program *p, const char *command, grpo_error *err)
{
    far_ends far = {-1, -1, -1};
    line_program_deinit(p);
    p->ending[0] = 0;
    int failed = make_pipe(&p->in, &far.in, 1) != 0 || make_pipe(&p->out, &far.out, 0) != 0 ||
                         make_pipe(&p->err, &far.err, 0) != 0
                     ? errno
                     : spawn(p, &far, command);
    close_end(&far.in);
    close_end(&far.out);
    close_end(&far.err);
    if (!failed)
        return GRPO_OK;
    p->pid = 0;
    line_program_deinit(p);
    return grpo_fail(err, GRPO_ERR_REWARD, "cannot start '%s': %s", command, strerror(failed));
}

/* ---- ending ---------------------------------------------------------------------------------- */

void line_program_close_input(line_program *p)
{
    close_end(&p->in);
}

/* Keeps the end of what came on stderr. */
static void note_stderr(line_program *p, const char *bytes, size_t n)
{
    if (n > LINE_PROGRAM_TAIL) {
        bytes += n - LINE_PROGRAM_TAIL;
        n = LINE_PROGRAM_TAIL;
    }
    size_t kept = p->tail_length + n > LINE_PROGRAM_TAIL ? LINE_PROGRAM_TAIL - n : p->tail_length;
    memmove(p->tail, p->tail + p->tail_length - kept, kept);
    memcpy(p->tail + kept, bytes, n);
    p->tail_length = kept + n;
    p->tail[p->tail_length] = 0;
}

/* A program may write to stderr without end: a part of it at a time. */
static void read_stderr(line_program *p)
{
    enum { MOST_READS = 64 };
    char bytes[4096];
    for (int i = 0; i < MOST_READS && p->err >= 0; i++) {
        ssize_t n = read(p->err, bytes, sizeof bytes);
        if (n > 0)
            note_stderr(p, bytes, (size_t)n);
        else if (n == 0)
            close_end(&p->err);
        else if (errno != EINTR)
            return;
    }
}

static int has_ended(pid_t pid)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == pid;
}

static void describe_ending(line_program *p, int status, int by_force)
{
    char how[64];
    if (by_force)
        snprintf(how, sizeof how, "it was stopped");
    else if (WIFSIGNALED(status))
        snprintf(how, sizeof how, "it was killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(how, sizeof how, "it ended with status %d", WEXITSTATUS(status));
    while (p->tail_length && strchr(" \t\r\n", p->tail[p->tail_length - 1]))
        p->tail[--p->tail_length] = 0;
    snprintf(p->ending, sizeof p->ending, "%s%s%s", how, p->tail_length ? "; its stderr ends: " : ", and wrote nothing to stderr",
             p->tail);
}

void line_program_end(line_program *p, double patience)
{
    if (p->pid == 0)
        return;
    close_end(&p->in);
    double until = machine_seconds() + patience;
    while (!has_ended(p->pid) && machine_seconds() < until)
        nanosleep(&(struct timespec){0, 2000000}, NULL);
    int by_force = !has_ended(p->pid), status = 0;
    kill(-p->pid, SIGKILL); /* before it is waited for: the group's number is still its own */
    while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
        ;
    read_stderr(p);
    describe_ending(p, status, by_force);
    p->pid = 0;
}

void line_program_deinit(line_program *p)
{
    line_program_end(p, 0);
    close_end(&p->in);
    close_end(&p->out);
    close_end(&p->err);
    strbuf_deinit(&p->unsent);
    strbuf_deinit(&p->received);
    p->sent = p->taken = 0;
    p->tail_length = 0;
    p->tail[0] = 0;
}

/* ---- talking ---------------------------------------------------------------------------------- */

void line_program_send(line_program *p, const char *line)
{
    strbuf_puts(&p->unsent, line);
    strbuf_putc(&p->unsent, '\n');
}

/* write() to a pipe that may be broken, without the signal and without touching the process's handler. */
static ssize_t write_quietly(int fd, const void *bytes, size_t n)
{
    sigset_t pipe_signal, before, pending;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
    ssize_t written = write(fd, bytes, n);
    int error = errno;
    if (written < 0 && error == EPIPE && !sigismember(&pending, SIGPIPE))
        while (sigtimedwait(&pipe_signal, NULL, &(struct timespec){0, 0}) < 0 && errno == EINTR)
            ;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return written;
}

void line_program_flush(line_program *p)
{
    while (p->in >= 0 && p->sent < p->unsent.length) {
        ssize_t n = write_quietly(p->in, p->unsent.data + p->sent, p->unsent.length - p->sent);
        if (n > 0)
            p->sent += (size_t)n;
        else if (errno == EAGAIN)
            return;
        else if (errno != EINTR)
            close_end(&p->in); /* whether it has ended shows on its output */
    }
    strbuf_clear(&p->unsent);
    p->sent = 0;
}

int line_program_pump(line_program *p)
{
    char bytes[65536];
    read_stderr(p);
    for (;;) {
        ssize_t n = read(p->out, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN && !p->unsent.failed;
        if (n == 0)
            return 0;
        strbuf_append(&p->received, bytes, (size_t)n);
        if (p->received.failed || p->received.length - p->taken > LINE_PROGRAM_LIMIT)
            return 0;
    }
}

char *line_program_line(line_program *p, size_t *length)
{
    char *begin = p->received.data ? p->received.data + p->taken : NULL;
    char *end = begin ? memchr(begin, '\n', p->received.length - p->taken) : NULL;
    if (!end) {
        if (begin && p->taken) { /* what is left moves to the front */
            memmove(p->received.data, begin, p->received.length - p->taken);
            p->received.length -= p->taken;
            p->taken = 0;
        }
        return NULL;
    }
    p->taken = (size_t)(end - p->received.data) + 1;
    *length = (size_t)(end - begin);
    if (*length && begin[*length - 1] == '\r')
        --*length;
    begin[*length] = 0;
    return begin;
}
