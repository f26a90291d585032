/* Findings and helpers of the doctor. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/doctor.h"

extern char **environ;

doctor_finding *doctor_add(doctor_report *r, const char *section, const char *name, doctor_state state,
                           const char *format, ...)
{
    static doctor_finding overflow;
    doctor_finding *f = r->count < DOCTOR_MOST ? &r->findings[r->count++] : &overflow;
    *f = (doctor_finding){.section = section, .name = name, .state = state};
    va_list args;
    va_start(args, format);
    vsnprintf(f->value, sizeof f->value, format, args);
    va_end(args);
    return f;
}

void doctor_remedy(doctor_finding *f, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(f->remedy, sizeof f->remedy, format, args);
    va_end(args);
}

int doctor_read_line(const char *path, char *line, size_t size)
{
    FILE *f = fopen(path, "re");
    line[0] = 0;
    if (!f)
        return 0;
    int got = fgets(line, (int)size, f) != NULL;
    fclose(f);
    line[strcspn(line, "\n")] = 0;
    return got;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Collects what comes until the end or the time is up; returns 0 or -2. */
static int collect(int fd, double until, char *text, size_t size)
{
    size_t used = 0;
    for (;;) {
        double left = until - now();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int ready = left > 0 ? poll(&p, 1, (int)(left * 1000) + 1) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return -2;
        char chunk[512];
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n <= 0)
            break;
        for (ssize_t i = 0; i < n && used + 1 < size; i++)
            text[used++] = chunk[i];
    }
    text[used] = 0;
    return 0;
}

int doctor_run(const char *const *argv, int seconds, char *line, size_t size)
{
    int ends[2];
    pid_t child;
    line[0] = 0;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    int failed = posix_spawnp(&child, argv[0], &actions, &attributes, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    close(ends[1]);
    if (failed) {
        close(ends[0]);
        return -1;
    }
    int result = collect(ends[0], now() + seconds, line, size), status = 0;
    close(ends[0]);
    if (result == -2)
        kill(-child, SIGKILL); /* its own process group */
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    line[strcspn(line, "\n")] = 0;
    if (result == -2)
        return -2;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
