/* Libraries, tools, and which layers of the sandbox for code rewards work here. */
#define _GNU_SOURCE
#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utf8proc.h>
#include <xxhash.h>
#include <yaml.h>
#include <zlib.h>

#include "cli/doctor.h"
#include "reward/code_sandbox.h"
#include "reward/flint.h"
#include "train/data.h"

void doctor_libraries(doctor_report *r)
{
    char pcre[64] = "";
    pcre2_config(PCRE2_CONFIG_VERSION, pcre);
    unsigned xx = XXH_versionNumber();
    const struct scmp_version *seccomp = seccomp_version();
    doctor_add(r, "libraries", "Jansson", DOCTOR_FINE, "%s", jansson_version_str());
    doctor_add(r, "libraries", "libyaml", DOCTOR_FINE, "%s", yaml_get_version_string());
    doctor_add(r, "libraries", "PCRE2", DOCTOR_FINE, "%s", pcre);
    doctor_add(r, "libraries", "utf8proc", DOCTOR_FINE, "%s", utf8proc_version());
    doctor_add(r, "libraries", "FLINT", DOCTOR_FINE, "%s", FLINT_VERSION);
    doctor_add(r, "libraries", "libcurl", DOCTOR_FINE, "%s", curl_version_info(CURLVERSION_NOW)->version);
    doctor_add(r, "libraries", "xxHash", DOCTOR_FINE, "%u.%u.%u", xx / 10000, xx / 100 % 100, xx % 100);
    doctor_add(r, "libraries", "zlib", DOCTOR_FINE, "%s", zlibVersion());
    doctor_add(r, "libraries", "libseccomp", DOCTOR_FINE, "%u.%u.%u", seccomp->major, seccomp->minor, seccomp->micro);
    const char *zstd = data_zstd_version();
    if (zstd)
        doctor_add(r, "libraries", "zstd", DOCTOR_FINE, "%s", zstd);
    else
        doctor_remedy(doctor_add(r, "libraries", "zstd", DOCTOR_NOTE, "not in this build"),
                      "for .zst data sets: apt-get install libzstd-dev, then build again");
}

static void tool(doctor_report *r, const char *name, const char *purpose, const char *package)
{
    char line[200];
    const char *const argv[] = {name, "--version", NULL};
    if (doctor_run(argv, 5, line, sizeof line) == 0)
        doctor_add(r, "tools", name, DOCTOR_FINE, "%.120s", line);
    else
        doctor_remedy(doctor_add(r, "tools", name, DOCTOR_NOTE, "not found"), "%s: apt-get install %s", purpose, package);
}

void doctor_tools(doctor_report *r)
{
    tool(r, "python3", "code rewards run Python programs with it", "python3");
    tool(r, "cc", "code rewards build C programs with it", "gcc");
    tool(r, "curl", "scripts/fetch-model.sh uses it", "curl");
}

/* ---- sandbox -------------------------------------------------------------------------------------- */

/* Whether an ordinary process may make a user namespace: tried in a child. 0 or an errno. */
static int try_user_namespace(void)
{
    pid_t child = fork();
    if (child == 0)
        _exit(unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWNS) == 0 ? 0 : errno < 255 ? errno : 255);
    int status = 0;
    if (child < 0)
        return errno;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EPERM;
}

static int setting(const char *path)
{
    char line[32];
    int value = -1;
    if (doctor_read_line(path, line, sizeof line))
        sscanf(line, "%d", &value);
    return value;
}

static void user_namespaces(doctor_report *r)
{
    int error = try_user_namespace();
    if (error == 0) {
        doctor_add(r, "sandbox", "user namespaces", DOCTOR_FINE, "allowed");
        return;
    }
    doctor_finding *f = doctor_add(r, "sandbox", "user namespaces", DOCTOR_MISSING, "refused: %s", strerror(error));
    if (setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1)
        doctor_remedy(f, "Ubuntu lets only programs with an AppArmor profile make them. Give bwrap one: write \"abi <abi/4.0>, include "
                         "<tunables/global> profile bwrap /usr/bin/bwrap flags=(unconfined) { userns, }\" into "
                         "/etc/apparmor.d/bwrap, then sudo apparmor_parser -r /etc/apparmor.d/bwrap");
    else if (setting("/proc/sys/kernel/unprivileged_userns_clone") == 0)
        doctor_remedy(f, "sudo sysctl -w kernel.unprivileged_userns_clone=1");
    else if (setting("/proc/sys/user/max_user_namespaces") == 0)
        doctor_remedy(f, "sudo sysctl -w user.max_user_namespaces=10000");
    else
        doctor_remedy(f, "inside a container, start it so that namespaces are allowed (docker run --security-opt seccomp=unconfined, or "
                         "--privileged)");
}

static void bubblewrap(doctor_report *r)
{
    char line[200];
    const char *const version[] = {"bwrap", "--version", NULL};
    const char *const trial[] = {"bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib",
                                 "--symlink", "usr/lib64", "/lib64", "--symlink", "usr/bin", "/bin", "--proc", "/proc", "--dev",
                                 "/dev", "--tmpfs", "/tmp", "--", "/usr/bin/true", NULL};
    if (doctor_run(version, 5, line, sizeof line) != 0) {
        doctor_remedy(doctor_add(r, "sandbox", "bubblewrap", DOCTOR_MISSING, "not found"),
                      "code rewards refuse to run without it: apt-get install bubblewrap");
        return;
    }
    char said[200];
    int code = doctor_run(trial, 10, said, sizeof said);
    if (code == 0) {
        doctor_add(r, "sandbox", "bubblewrap", DOCTOR_FINE, "%.60s, a trial run works", line);
        return;
    }
    doctor_finding *f = doctor_add(r, "sandbox", "bubblewrap", DOCTOR_MISSING, "%.60s, but a trial run fails: %.120s", line,
                                   code == -2 ? "it hangs" : said);
    doctor_remedy(f, "code rewards refuse to run until user namespaces work (see above)");
}

static void kernel_filters(doctor_report *r)
{
    int seccomp = prctl(PR_GET_SECCOMP, 0, 0, 0, 0);
    doctor_add(r, "sandbox", "seccomp", seccomp >= 0 ? DOCTOR_FINE : DOCTOR_MISSING, "%s",
               seccomp >= 0 ? "offered by the kernel" : "not offered by this kernel");
#ifdef SYS_landlock_create_ruleset
    long landlock = syscall(SYS_landlock_create_ruleset, NULL, 0, 1u /* version */);
    if (landlock > 0)
        doctor_add(r, "sandbox", "landlock", DOCTOR_FINE, "version %ld", landlock);
    else
        doctor_add(r, "sandbox", "landlock", DOCTOR_FINE, "not offered; not needed");
#endif
    if (access("/sys/fs/cgroup/cgroup.controllers", R_OK) != 0)
        doctor_add(r, "sandbox", "cgroups", DOCTOR_NOTE, "version 2 is not mounted; resource limits (rlimits) are used alone");
    else if (access("/sys/fs/cgroup/cgroup.subtree_control", W_OK) == 0)
        doctor_add(r, "sandbox", "cgroups", DOCTOR_FINE, "version 2, writable");
    else
        doctor_remedy(doctor_add(r, "sandbox", "cgroups", DOCTOR_NOTE, "version 2, not writable: resource limits (rlimits) are used alone"),
                      "start the run with systemd-run --user --scope -p Delegate=yes to have memory limits for whole programs");
}

/* The executor's own sandbox, with every layer. */
static void code_executor(doctor_report *r)
{
    const code_limits limits = {.seconds = 5, .memory = (size_t)1 << 30, .files = (size_t)64 << 20, .processes = 64};
    code_host host;
    grpo_error err;
    if (code_host_probe(&host, 0, &limits, &err) == GRPO_OK) {
        char user[40] = "this user";
        if (host.user)
            snprintf(user, sizeof user, "user %u", host.user);
        doctor_add(r, "sandbox", "code executor", DOCTOR_FINE, "works: namespaces, system call filter, resource limits%s, as %s; %s; C %s",
                   host.has_cgroups ? ", control groups" : "", user, host.python, host.compiler[0] ? host.compiler : "not (no compiler)");
    } else {
        doctor_remedy(doctor_add(r, "sandbox", "code executor", DOCTOR_MISSING, "%.*s", (int)strcspn(err.message, "("), err.message),
                      "see above; code rewards refuse to run until then, unless the configuration says code.unsafe: true");
    }
    code_host_deinit(&host);
}

void doctor_sandbox(doctor_report *r)
{
    user_namespaces(r);
    bubblewrap(r);
    kernel_filters(r);
    code_executor(r);
}
