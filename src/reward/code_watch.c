/* What a sandbox uses, seen from outside where no program can deceive: the memory of all its processes together, as
 * limits of single processes say nothing of their sum; and whether a test that is late was kept from running. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/machine.h"
#include "reward/code_sandbox.h"

enum { MOST_PROCESSES = 1024 };
static const double LOOK_EVERY = 0.05, STEP = 0.1;

static size_t read_small(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, size - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    return n > 0 ? (size_t)n : 0;
}

static size_t kibibytes(const char *status, const char *key)
{
    const char *line = strstr(status, key);
    return line ? (size_t)strtoul(line + strlen(key), NULL, 10) << 10 : 0;
}

/* Adds the children of all threads of a process to the list. */
static void add_children(pid_t process, pid_t *list, size_t *count)
{
    char path[64], text[16384];
    snprintf(path, sizeof path, "/proc/%d/task", (int)process);
    DIR *threads = opendir(path);
    for (struct dirent *entry; threads && (entry = readdir(threads)) != NULL;) {
        char file[340];
        snprintf(file, sizeof file, "%s/%s/children", path, entry->d_name);
        if (entry->d_name[0] == '.' || !read_small(file, text, sizeof text))
            continue;
        for (char *p = text, *end; *count < MOST_PROCESSES; p = end) {
            pid_t child = (pid_t)strtol(p, &end, 10);
            if (end == p)
                break;
            list[(*count)++] = child;
        }
    }
    if (threads)
        closedir(threads);
}

/* Process 1 and everything below it. */
static size_t list_processes(const code_sandbox *s, pid_t *list)
{
    size_t count = 0;
    if (s->first > 0)
        list[count++] = s->first;
    for (size_t i = 0; i < count; i++)
        add_children(list[i], list, &count);
    return count;
}

size_t code_sandbox_memory(const code_sandbox *s)
{
    pid_t list[MOST_PROCESSES];
    size_t count = list_processes(s, list), total = 0;
    for (size_t i = 0; i < count; i++) {
        char path[64], status[4096];
        snprintf(path, sizeof path, "/proc/%d/status", (int)list[i]);
        if (read_small(path, status, sizeof status))
            total += kibibytes(status, "RssAnon:") + kibibytes(status, "RssShmem:");
    }
    return total;
}

double code_sandbox_cpu(const code_sandbox *s, int *running)
{
    pid_t list[MOST_PROCESSES];
    size_t count = list_processes(s, list);
    unsigned long ticks = 0;
    *running = 0;
    for (size_t i = 0; i < count; i++) {
        char path[64], stat[1024], state = 0;
        unsigned long own[2] = {0, 0};
        long children[2] = {0, 0};
        snprintf(path, sizeof path, "/proc/%d/stat", (int)list[i]);
        char *p = read_small(path, stat, sizeof stat) ? strrchr(stat, ')') : NULL; /* the name may hold anything */
        if (!p || sscanf(p, ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld", &state, &own[0], &own[1], &children[0], &children[1]) != 5)
            continue;
        ticks += own[0] + own[1] + (unsigned long)children[0] + (unsigned long)children[1];
        *running |= state == 'R';
    }
    return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

/* Seconds that all sandboxes of a test took together. */
static double used_by(const code_watch *w, int *running)
{
    double total = 0;
    *running = 0;
    for (int i = 0; i < 2; i++) {
        int any = 0;
        if (w->boxes[i])
            total += code_sandbox_cpu(w->boxes[i], &any);
        *running |= any;
    }
    return total;
}

void code_watch_begin(code_watch *w, const code_sandbox *program, const code_sandbox *judge, const code_limits *limits,
                      double *patience)
{
    int running;
    *w = (code_watch){.start = machine_seconds(), .patience = patience, .boxes = {program, judge}, .limits = limits};
    w->deadline = w->start + limits->seconds;
    w->looked = w->start;
    w->cpu = used_by(w, &running);
}

/* Wants to run, but other work has the processors: its time is not over. */
static int is_starved(const code_watch *w)
{
    int running;
    double used = used_by(w, &running) - w->cpu;
    return running && used < w->limits->seconds;
}

int code_watch_exceeded(code_watch *w, char *why, size_t size)
{
    double now = machine_seconds();
    if (now >= w->deadline) {
        if (*w->patience > 0 && is_starved(w)) {
            *w->patience -= now + STEP - w->deadline;
            w->deadline = now + STEP;
            return 0;
        }
        snprintf(why, size, "timeout: no end after %.2g s", now - w->start);
        return 1;
    }
    if (now - w->looked < LOOK_EVERY)
        return 0;
    w->looked = now;
    if (code_sandbox_memory(w->boxes[0]) <= w->limits->memory)
        return 0;
    snprintf(why, size, "the program uses more memory than it may");
    return 1;
}
