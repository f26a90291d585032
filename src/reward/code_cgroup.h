/* Control groups: the kernel's own bound on the memory and the processes of a program and all that it starts. Used
 * where this process may make groups; without them, limits of single processes and code_watch remain. */
#ifndef REWARD_CODE_CGROUP_H
#define REWARD_CODE_CGROUP_H

#include "reward/code_sandbox.h"

enum { CGROUP_PATH = 512 };

/* Version 2: one folder. Version 1: one for memory, one for pids. */
typedef struct code_cgroup {
    char folder[2][CGROUP_PATH]; /* "" where there is none */
    int version;
} code_cgroup;

/* Makes a group below (version 1) or beside (version 2) this process's own, so that limits above it still hold, and opens
 * it for sandboxes: host->groups, host->kills. 1 when memory is bounded by it. */
int code_cgroup_make(code_cgroup *g, code_host *host, const char *name, const code_limits *limits);

/* Closes and removes it; nothing may run in it any more. */
void code_cgroup_remove(code_cgroup *g, code_host *host);

/* Removes groups that helpers left which were killed. */
void code_cgroup_sweep(const code_cgroup *g);

#endif
