/* What this machine offers for sandboxes: programs, users, and whether one can be started. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reward/code_cgroup.h"
#include "reward/code_sandbox.h"

/* Of sandboxes, when this process is root: a number that no system gives to anybody, so that the limit on the number
 * of processes holds (root is exempt) and nothing outside could be signalled or written even without namespaces. */
enum { SANDBOX_USER = 1900000000, NOBODY = 65534 };

/* The first of `names` in the folders of system programs; those of users are not there inside a sandbox. */
static void find_program(char *path, size_t size, const char *const *names)
{
    static const char *const folders[] = {"/usr/bin", "/usr/local/bin", "/bin"};
    path[0] = 0;
    for (; *names; names++)
        for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
            snprintf(path, size, "%s/%s", folders[i], *names);
            if (access(path, X_OK) == 0)
                return;
            path[0] = 0;
        }
}

/* cc is a link by way of /etc/alternatives, which the sandbox has not. */
static void find_compiler(char *path, size_t size)
{
    char found[64], real[PATH_MAX];
    find_program(found, sizeof found, (const char *const[]){"cc", "gcc", "clang", NULL});
    path[0] = 0;
    if (found[0] && realpath(found, real) && strncmp(real, "/usr/", 5) == 0)
        memcpy(path, real, strlen(real) < size ? strlen(real) + 1 : 0);
}

static grpo_status try_sandbox(const code_host *host, const code_limits *limits, grpo_error *err)
{
    static const char hello[] = "posix.write(3,b'\\1\\0\\0\\0R')\nposix.read(3,1)\n";
    code_sandbox s;
    grpo_status status = code_sandbox_start(&s, host, limits, hello, sizeof hello - 1, 0, err);
    code_sandbox_stop(&s);
    return status;
}

static grpo_status probe(code_host *host, const code_limits *limits, grpo_error *err)
{
    static const unsigned users[] = {SANDBOX_USER, NOBODY, 0};
    if (!host->bwrap[0])
        return grpo_fail(err, GRPO_ERR_SANDBOX, "bubblewrap is not installed; apt-get install bubblewrap");
    if ((host->seccomp = code_seccomp_filter()) < 0)
        return grpo_fail(err, GRPO_ERR_SANDBOX, "the system call filter cannot be made; is libseccomp whole?");
    grpo_status status = GRPO_ERR_SANDBOX;
    for (size_t i = geteuid() == 0 ? 0 : 2; i < sizeof users / sizeof *users && status != GRPO_OK; i++) {
        host->user = users[i];
        status = try_sandbox(host, limits, err);
    }
    return status;
}

/* Makes a group, and starts a sandbox in it. */
static int try_cgroup(code_host *host, const code_limits *limits)
{
    char name[40];
    code_cgroup group;
    snprintf(name, sizeof name, "grpo-%d-trial", (int)getpid());
    int works = code_cgroup_make(&group, host, name, limits) && try_sandbox(host, limits, NULL) == GRPO_OK;
    code_cgroup_sweep(&group);
    code_cgroup_remove(&group, host);
    return works;
}

grpo_status code_host_probe(code_host *host, int unsafe, const code_limits *limits, grpo_error *err)
{
    *host = (code_host){.seccomp = -1, .groups = {-1, -1}, .kills = -1};
    find_program(host->bwrap, sizeof host->bwrap, (const char *const[]){"bwrap", NULL});
    find_program(host->python, sizeof host->python, (const char *const[]){"python3", NULL});
    find_compiler(host->compiler, sizeof host->compiler);
    if (!host->python[0])
        return grpo_fail(err, GRPO_ERR_SANDBOX, "there is no /usr/bin/python3, which runs programs; apt-get install python3");
    grpo_status status = probe(host, limits, err);
    if (status == GRPO_OK) {
        host->has_cgroups = try_cgroup(host, limits);
        return status;
    }
    if (unsafe) {
        host->unsafe = 1;
        host->user = 0;
        return try_sandbox(host, limits, err);
    }
    grpo_error_prefix(err, status, "programs of a model run in a sandbox only, and none can be had here");
    size_t used = err ? strlen(err->message) : 0;
    if (err)
        snprintf(err->message + used, sizeof err->message - used, " (`grpo doctor` says what to do; code.unsafe: true or --unsafe runs them without)");
    return status;
}

void code_host_deinit(code_host *host)
{
    if (host->seccomp >= 0)
        close(host->seccomp);
    *host = (code_host){.seccomp = -1, .groups = {-1, -1}, .kills = -1};
}
