/* The system call filter of the sandbox, as a file that bubblewrap loads.
 *
 * Namespaces already hide the host; the filter takes away what programs never need and kernels have often had holes
 * in: other processes' memory, namespaces and mounts of one's own, kernel modules and keys, io_uring, bpf, sockets
 * other than local ones. Everything else stays, so that Python and compilers of any version run. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "reward/code_sandbox.h"

static const char *const refused[] = {
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_open", "pidfd_getfd", "pidfd_send_signal", "kcmp",
    "mount", "umount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount", "fspick",
    "mount_setattr", "setns", "unshare", "open_by_handle_at", "name_to_handle_at", "fanotify_init", "quotactl", "quotactl_fd",
    "swapon", "swapoff", "acct", "init_module", "finit_module", "delete_module", "create_module", "kexec_load", "kexec_file_load",
    "reboot", "sethostname", "setdomainname", "iopl", "ioperm", "modify_ldt", "vm86", "vm86old", "syslog", "settimeofday",
    "clock_settime", "clock_settime64", "adjtimex", "clock_adjtime", "clock_adjtime64", "stime", "add_key", "request_key", "keyctl",
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "lookup_dcookie", "nfsservctl",
    "vhangup", "personality", "move_pages", "migrate_pages", "mbind", "set_mempolicy", "mknod", "mknodat", "uselib", "ustat", "sysfs",
    "_sysctl", "memfd_secret", "landlock_create_ruleset", "seccomp"};

/* sched_setscheduler and the like stay: they only lower, as nobody has privileges here. */
static int add_rules(scmp_filter_ctx filter)
{
    const unsigned long long new_namespaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
    int failed = 0;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        int number = seccomp_syscall_resolve_name(refused[i]);
        if (number >= 0) /* this machine has it; libseccomp may be older than the list */
            failed |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 0) < 0;
    }
    for (unsigned bit = 0; bit < 32; bit++)
        if (new_namespaces >> bit & 1)
            failed |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, 1ull << bit, 1ull << bit)) < 0;
    /* Its flags are in memory, where a filter cannot look; the C library falls back to clone. */
    int clone3 = seccomp_syscall_resolve_name("clone3");
    if (clone3 >= 0)
        failed |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), clone3, 0) < 0;
    failed |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_NE, AF_UNIX)) < 0;
    failed |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu, TIOCSTI)) < 0;
    return failed;
}

int code_seccomp_filter(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int fd = filter ? memfd_create("seccomp", MFD_CLOEXEC) : -1;
    if (fd >= 0 && (add_rules(filter) || seccomp_export_bpf(filter, fd) < 0)) {
        close(fd);
        fd = -1;
    }
    if (filter)
        seccomp_release(filter);
    return fd;
}
