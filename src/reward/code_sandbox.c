/* Starting and stopping sandboxes. */
#define _GNU_SOURCE
#include "reward/code_sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/machine.h"
#include "reward/code_frame.h"

enum { ARGUMENTS = 96, START_SECONDS = 30, CONTROL_FD = 3, FILTER_FD = 4 };

/* ---- the command line of bubblewrap ---------------------------------------------------------- */

typedef struct command {
    const char *argv[ARGUMENTS];
    int count;
    char text[8][PATH_MAX]; /* of links and numbers */
    int texts;
} command;

static void put(command *c, const char *const *words)
{
    while (*words && c->count < ARGUMENTS - 1)
        c->argv[c->count++] = *words++;
}
#define PUT(c, ...) put(c, (const char *const[]){__VA_ARGS__, NULL})

/* /lib and the like are links into /usr on most systems, folders on some. */
static void put_root_folder(command *c, const char *path)
{
    struct stat info;
    if (lstat(path, &info) != 0)
        return;
    if (!S_ISLNK(info.st_mode)) {
        PUT(c, "--ro-bind", path, path);
        return;
    }
    char *target = c->text[c->texts++];
    ssize_t n = readlink(path, target, PATH_MAX - 1);
    if (n > 0) {
        target[n] = 0;
        PUT(c, "--symlink", target, path);
    }
}

static void make_command(command *c, const code_host *host, size_t files, const char *bootstrap)
{
    memset(c, 0, sizeof *c);
    if (!host->unsafe) {
        char *size = c->text[c->texts++];
        snprintf(size, PATH_MAX, "%zu", files);
        PUT(c, host->bwrap, "--unshare-all", "--die-with-parent", "--as-pid-1", "--clearenv", "--cap-drop", "ALL",
            "--hostname", "sandbox", "--ro-bind", "/usr", "/usr");
        static const char *const roots[] = {"/bin", "/sbin", "/lib", "/lib32", "/lib64"};
        for (size_t i = 0; i < sizeof roots / sizeof *roots; i++)
            put_root_folder(c, roots[i]);
        PUT(c, "--proc", "/proc", "--dev", "/dev", "--size", size, "--tmpfs", "/dev/shm", "--size", size, "--tmpfs", "/tmp",
            "--dir", "/tmp/work", "--chdir", "/tmp/work", "--remount-ro", "/dev", "--remount-ro", "/");
        PUT(c, "--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin", "--setenv", "HOME", "/tmp", "--setenv", "LANG", "C.UTF-8");
        if (strncmp(host->python, "/usr/local/", 11) == 0) /* no ld.so.cache in there */
            PUT(c, "--setenv", "LD_LIBRARY_PATH", "/usr/local/lib");
        if (host->seccomp >= 0)
            PUT(c, "--seccomp", "4");
        PUT(c, "--");
    }
    PUT(c, host->python, "-I", "-S", "-E", "-B", "-X", "utf8", "-c", bootstrap);
}

/* What runs first. Limits are set inside: from outside another user would have to be allowed to, and the number of
 * processes is counted for each user namespace, so it must not be limited before there is one. */
static void make_bootstrap(char *text, size_t size, const code_limits *l, size_t length, int marshalled)
{
    snprintf(text, size,
             "import marshal,posix,resource as r\n"
             "for k,v in (('AS',%zu),('FSIZE',%zu),('NPROC',%d),('NOFILE',256),('CORE',0),('MEMLOCK',1<<20),('STACK',64<<20)):\n"
             " h=r.getrlimit(getattr(r,'RLIMIT_'+k))[1]\n"
             " v=v if h<0 else min(v,h)\n"
             " r.setrlimit(getattr(r,'RLIMIT_'+k),(v,v))\n"
             "b=b''\nSECONDS=%.17g\n"
             "while len(b)<%zu:\n p=posix.read(3,%zu-len(b))\n if not p: posix._exit(1)\n b+=p\n"
             "posix.dup2(0,2)\nexec(%s)",
             l->memory, l->files, l->processes, l->seconds, length, length, marshalled ? "marshal.loads(b)" : "compile(b,'sandbox','exec')");
}

/* ---- the child between fork and exec ----------------------------------------------------------- */

static void join_groups(const code_host *host)
{
    for (int i = 0; i < 2; i++)
        if (host->groups[i] >= 0 && write(host->groups[i], "0", 1) != 1)
            _exit(126);
}

static void close_from(int first)
{
#ifdef SYS_close_range
    if (syscall(SYS_close_range, first, ~0u, 0) == 0)
        return;
#endif
    for (int fd = first, end = (int)sysconf(_SC_OPEN_MAX); fd < end; fd++)
        close(fd);
}

/* A descriptor with a position of its own: workers share the file, and bubblewrap reads it to its end. */
static int open_again(int fd)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return fd >= 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
}

static void become_sandbox(const code_host *host, const command *c, const char *folder, int control, int errors)
{
    static char *const nothing[] = {NULL};
    int null = open("/dev/null", O_RDWR);
    /* Above all numbers that are used below, so that no dup2 overwrites what a later one needs. */
    int high_control = fcntl(control, F_DUPFD, 20), high_errors = fcntl(errors, F_DUPFD, 20);
    int filter = open_again(host->seccomp);
    int high_filter = filter >= 0 ? fcntl(filter, F_DUPFD, 20) : -1, high_null = fcntl(null, F_DUPFD, 20);
    if (null < 0 || high_control < 0 || high_errors < 0 || high_null < 0 || (host->seccomp >= 0 && high_filter < 0))
        _exit(126);
    join_groups(host);
    dup2(high_null, 0);
    dup2(high_null, 1);
    dup2(high_errors, 2);
    dup2(high_control, CONTROL_FD);
    if (high_filter >= 0)
        dup2(high_filter, FILTER_FD);
    close_from(high_filter >= 0 ? FILTER_FD + 1 : FILTER_FD);
    if (host->user && (setgroups(0, NULL) != 0 || setresgid(host->user, host->user, host->user) != 0 ||
                       setresuid(host->user, host->user, host->user) != 0))
        _exit(126);
    if (host->unsafe) {
        setsid();
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    }
    if (chdir(folder[0] ? folder : "/") != 0)
        _exit(126);
    execve(c->argv[0], (char *const *)c->argv, nothing);
    dprintf(2, "cannot run %s: %s", c->argv[0], strerror(errno));
    _exit(127);
}

/* ---- starting ------------------------------------------------------------------------------------ */

static pid_t first_child(pid_t parent)
{
    char path[64], line[64] = "";
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, line, sizeof line - 1);
    close(fd);
    return n > 0 ? (pid_t)atol(line) : 0;
}

/* What the launcher wrote to its standard error, on one line. */
static void read_complaint(int fd, char *text, size_t size)
{
    ssize_t n = read(fd, text, size - 1);
    text[n > 0 ? n : 0] = 0;
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < ' ')
            *p = ' ';
    for (size_t length = strlen(text); length && text[length - 1] == ' ';)
        text[--length] = 0;
}

static grpo_status wait_ready(code_sandbox *s, grpo_error *err)
{
    code_frame frame = {0};
    frame_result result = frame_receive(s->control, &frame, 0, machine_seconds() + START_SECONDS);
    int ready = result == FRAME_OK && frame.letter == 'R';
    frame_deinit(&frame);
    if (ready)
        return GRPO_OK;
    char said[300] = "";
    if (result == FRAME_LATE)
        return grpo_fail(err, GRPO_ERR_SANDBOX, "the sandbox did not start within %d s", START_SECONDS);
    read_complaint(s->errors, said, sizeof said);
    return grpo_fail(err, GRPO_ERR_SANDBOX, "the sandbox did not start: %s", said[0] ? said : "it ended without a message");
}

grpo_status code_sandbox_begin(code_sandbox *s, const code_host *host, const code_limits *limits, const char *code,
                               size_t length, int marshalled, grpo_error *err)
{
    char bootstrap[1000];
    command c;
    int control[2] = {-1, -1}, errors[2] = {-1, -1};
    make_bootstrap(bootstrap, sizeof bootstrap, limits, length, marshalled);
    *s = (code_sandbox){.control = -1, .errors = -1};
    make_command(&c, host, limits->files, bootstrap);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) != 0 || pipe2(errors, O_CLOEXEC) != 0) {
        if (control[0] >= 0)
            close(control[0]), close(control[1]);
        return grpo_fail(err, GRPO_ERR_SANDBOX, "cannot start a sandbox: %s", strerror(errno));
    }
    if (host->unsafe) {
        strcpy(s->folder, "/tmp/grpo-unsafe-XXXXXX");
        if (!mkdtemp(s->folder))
            s->folder[0] = 0;
    }
    s->launcher = fork();
    if (s->launcher == 0)
        become_sandbox(host, &c, s->folder, control[1], errors[1]);
    int error = errno;
    close(control[1]);
    close(errors[1]);
    s->control = control[0];
    s->errors = errors[0];
    fcntl(s->errors, F_SETFL, O_NONBLOCK);
    if (s->launcher < 0) {
        s->launcher = 0;
        code_sandbox_stop(s);
        return grpo_fail(err, GRPO_ERR_SANDBOX, "cannot start a sandbox: %s", strerror(error));
    }
    frame_send_raw(s->control, code, length); /* a failure shows as no R */
    return GRPO_OK;
}

grpo_status code_sandbox_finish(code_sandbox *s, const code_host *host, grpo_error *err)
{
    grpo_status status = wait_ready(s, err);
    if (status != GRPO_OK)
        code_sandbox_stop(s);
    else
        s->first = host->unsafe ? s->launcher : first_child(s->launcher);
    return status;
}

grpo_status code_sandbox_start(code_sandbox *s, const code_host *host, const code_limits *limits, const char *code,
                               size_t length, int marshalled, grpo_error *err)
{
    grpo_status status = code_sandbox_begin(s, host, limits, code, length, marshalled, err);
    return status == GRPO_OK ? code_sandbox_finish(s, host, err) : status;
}

/* ---- stopping ------------------------------------------------------------------------------------- */

int code_sandbox_was_killed(code_sandbox *s)
{
    int status = 0;
    pid_t ended = 0;
    for (int tries = 0; s->launcher > 0 && ended == 0 && tries < 500; tries++)
        if ((ended = waitpid(s->launcher, &status, WNOHANG)) == 0)
            usleep(2000);
    if (ended <= 0)
        return 0;
    s->launcher = 0;
    return WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 128 + SIGKILL;
}

void code_sandbox_stop(code_sandbox *s)
{
    if (s->launcher > 0) {
        /* Process 1 first: bubblewrap ends once the kernel has removed everything in the sandbox. */
        if (s->first > 0)
            kill(s->first, SIGKILL);
        if (s->first == s->launcher)
            kill(-s->first, SIGKILL);
        if (s->first <= 0)
            kill(s->launcher, SIGKILL); /* its death ends the sandbox */
        while (waitpid(s->launcher, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    if (s->control >= 0)
        close(s->control);
    if (s->errors >= 0)
        close(s->errors);
    if (s->folder[0])
        file_remove_tree(s->folder, NULL);
    *s = (code_sandbox){.control = -1, .errors = -1};
}
