/* Control groups of both versions. */
#define _GNU_SOURCE
#include "reward/code_cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLACK = 64 << 20, OWN_PROCESSES = 8 }; /* the interpreter itself, bubblewrap, and the next sandbox */

/* Whether a comma-separated list has a word. */
static int has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
        if (strncmp(p, word, n) == 0 && (p[n] == ',' || p[n] == 0))
            return 1;
    return 0;
}

/* Where the hierarchy of a controller is mounted ("" is version 2). */
static int find_mount(const char *controller, char *path, size_t size)
{
    char line[2000], mount[CGROUP_PATH], kind[32], options[400];
    int found = 0;
    FILE *f = fopen("/proc/self/mountinfo", "re");
    while (f && !found && fgets(line, sizeof line, f)) {
        const char *rest = strstr(line, " - ");
        if (sscanf(line, "%*d %*d %*s %*s %511s", mount) != 1 || !rest || sscanf(rest, " - %31s %*s %399s", kind, options) != 2)
            continue;
        found = *controller ? strcmp(kind, "cgroup") == 0 && has_word(options, controller) : strcmp(kind, "cgroup2") == 0;
    }
    if (f)
        fclose(f);
    if (found)
        snprintf(path, size, "%s", mount);
    return found;
}

/* This process's own group in that hierarchy, as a folder. */
static int find_own(const char *controller, char *path, size_t size)
{
    char line[1000], mount[CGROUP_PATH];
    int found = 0;
    FILE *f = find_mount(controller, mount, sizeof mount) ? fopen("/proc/self/cgroup", "re") : NULL;
    while (f && !found && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        char *list = strchr(line, ':'), *where = list ? strchr(list + 1, ':') : NULL;
        if (!where)
            continue;
        *list++ = *where++ = 0;
        found = *controller ? has_word(list, controller) : strcmp(line, "0") == 0;
        if (found)
            found = snprintf(path, size, "%s%s", mount, strcmp(where, "/") == 0 ? "" : where) < (int)size;
    }
    if (f)
        fclose(f);
    return found;
}

static int write_value(const char *folder, const char *file, size_t value)
{
    char path[CGROUP_PATH + 40], text[32];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int n = snprintf(text, sizeof text, "%zu", value);
    int fine = fd >= 0 && write(fd, text, (size_t)n) == n;
    if (fd >= 0)
        close(fd);
    return fine;
}

/* Makes parent/name with limits; 0 when that is not to be had. */
static int make_folder(char *folder, const char *parent, const char *name, int version, int memory, const code_limits *limits)
{
    int fits = snprintf(folder, CGROUP_PATH, "%s/%s", parent, name) < CGROUP_PATH;
    int made = fits && mkdir(folder, 0755) == 0, fine = made;
    size_t bytes = limits->memory + SLACK, processes = (size_t)limits->processes + OWN_PROCESSES;
    if (memory)
        fine = fine && write_value(folder, version == 2 ? "memory.max" : "memory.limit_in_bytes", bytes);
    if (fine && memory && version == 2)
        write_value(folder, "memory.swap.max", 0); /* not there without swap accounting */
    if (!memory || version == 2)
        fine = fine && write_value(folder, "pids.max", processes);
    if (made && !fine)
        rmdir(folder);
    if (!fine)
        folder[0] = 0;
    return fine;
}

static int open_in(const char *folder, const char *file, int how)
{
    char path[CGROUP_PATH + 40];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    return folder[0] ? open(path, how | O_CLOEXEC) : -1;
}

/* A group of version 2 with processes in it can have no groups with limits below it: the place is beside it. */
static void leave_own(char *own)
{
    char mount[CGROUP_PATH];
    if (find_mount("", mount, sizeof mount) && strlen(own) > strlen(mount))
        *strrchr(own, '/') = 0;
}

int code_cgroup_make(code_cgroup *g, code_host *host, const char *name, const code_limits *limits)
{
    char own[CGROUP_PATH];
    *g = (code_cgroup){0};
    if (find_own("", own, sizeof own)) {
        g->version = 2;
        leave_own(own);
        make_folder(g->folder[0], own, name, 2, 1, limits);
    }
    if (!g->folder[0][0]) {
        g->version = 1;
        if (find_own("memory", own, sizeof own))
            make_folder(g->folder[0], own, name, 1, 1, limits);
        if (find_own("pids", own, sizeof own))
            make_folder(g->folder[1], own, name, 1, 0, limits);
    }
    for (int i = 0; i < 2; i++)
        host->groups[i] = open_in(g->folder[i], "cgroup.procs", O_WRONLY);
    host->kills = open_in(g->folder[0], g->version == 2 ? "memory.events" : "memory.oom_control", O_RDONLY);
    return host->groups[0] >= 0;
}

void code_cgroup_remove(code_cgroup *g, code_host *host)
{
    int *fds[] = {&host->groups[0], &host->groups[1], &host->kills};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
    for (int i = 0; i < 2; i++) {
        for (int tries = 0; g->folder[i][0] && rmdir(g->folder[i]) != 0 && errno == EBUSY && tries < 200; tries++)
            usleep(5000); /* the kernel lets go of ended processes a moment later */
        g->folder[i][0] = 0;
    }
}

void code_cgroup_sweep(const code_cgroup *g)
{
    for (int i = 0; i < 2; i++) {
        char parent[CGROUP_PATH];
        const char *slash = strrchr(g->folder[i], '/');
        if (!slash)
            continue;
        snprintf(parent, sizeof parent, "%.*s", (int)(slash - g->folder[i]), g->folder[i]);
        DIR *d = opendir(parent);
        for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
            int helper = 0;
            if (sscanf(e->d_name, "grpo-%d-", &helper) == 1 && helper > 0 && kill(helper, 0) != 0 && errno == ESRCH)
                unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR);
        }
        if (d)
            closedir(d);
    }
}
