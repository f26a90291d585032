/* One sandbox: bubblewrap with namespaces of its own around one Python interpreter.
 *
 * Inside are a read-only /usr (and the links into it), /proc of the sandbox's own processes, the harmless devices, and
 * bounded memory file systems at /tmp and /dev/shm. There is no network, no /etc, no home, no environment, and no
 * descriptor but the control socket (3). The interpreter is process 1 there: when it ends, everything in it ends. */
#ifndef REWARD_CODE_SANDBOX_H
#define REWARD_CODE_SANDBOX_H

#include <stddef.h>
#include <sys/types.h>

#include "grpo/error.h"

typedef struct code_limits {
    double seconds;      /* of processor time, and of wall-clock time, that a test may take */
    double patience;     /* more wall-clock seconds, for all tests of a program together, while other work keeps it from
                            running */
    size_t memory;       /* bytes of all processes together, and of address space of each */
    size_t files;        /* bytes of /tmp */
    size_t output;       /* bytes that a test may print */
    int processes;       /* and threads, at a time */
} code_limits;

/* What this machine offers; made once by code_host_probe. */
typedef struct code_host {
    char bwrap[64], python[64], compiler[256]; /* paths; "" where there is none */
    int unsafe;     /* run without a sandbox */
    int seccomp;    /* descriptor of the filter; -1: none */
    unsigned user;  /* of sandboxes, when this process is root and may change; 0: as it is */
    int has_cgroups; /* control groups can be made here */
    int groups[2];  /* descriptors of cgroup.procs files that sandboxes join, -1: none (code_cgroup.h) */
    int kills;      /* descriptor of the group's count of processes killed for want of memory, -1: none */
} code_host;

typedef struct code_sandbox {
    pid_t launcher; /* bubblewrap; 0: there is no sandbox */
    pid_t first;    /* process 1 of the sandbox, as seen from here; 0: not known yet */
    int control;    /* stream socket */
    int errors;     /* what bubblewrap says when it fails */
    char folder[40]; /* unsafe: where the program works; else "" */
} code_sandbox;

/* Finds the programs and tries a sandbox. GRPO_ERR_SANDBOX with a remedy when none can be had and unsafe is 0. */
grpo_status code_host_probe(code_host *host, int unsafe, const code_limits *limits, grpo_error *err);
void code_host_deinit(code_host *host);

/* Starts an interpreter that limits itself, then runs `code` (Python source, or marshalled code when `marshalled`), and
 * waits for its frame R. The limit of processor time is left to the code, which finds it as SECONDS. */
grpo_status code_sandbox_start(code_sandbox *s, const code_host *host, const code_limits *limits, const char *code,
                               size_t length, int marshalled, grpo_error *err);
/* The same in two steps: most of the time until R is the kernel's, in which something else can be done. */
grpo_status code_sandbox_begin(code_sandbox *s, const code_host *host, const code_limits *limits, const char *code,
                               size_t length, int marshalled, grpo_error *err);
grpo_status code_sandbox_finish(code_sandbox *s, const code_host *host, grpo_error *err);
/* Kills everything inside and waits until it is gone. Fine when there is none. */
void code_sandbox_stop(code_sandbox *s);

/* After its control socket was closed: 1 when somebody killed it (or process 1 exited with the same number, which cannot be
 * told apart), 0 when it ended by itself. */
int code_sandbox_was_killed(code_sandbox *s);

/* Bytes that the processes of the sandbox have in memory, all together. */
size_t code_sandbox_memory(const code_sandbox *s);
/* Seconds of processor time that they and their ended children took; running: one wants to run now. */
double code_sandbox_cpu(const code_sandbox *s, int *running);

/* The limits of one test that are enforced from outside. */
typedef struct code_watch {
    double start, deadline; /* machine_seconds */
    double looked, cpu;
    double *patience;       /* what is left of limits.patience */
    const code_sandbox *boxes[2]; /* the program's, and the judge's if it takes part; NULL */
    const code_limits *limits;
} code_watch;

void code_watch_begin(code_watch *w, const code_sandbox *program, const code_sandbox *judge, const code_limits *limits,
                      double *patience);
/* To be asked every 50 ms: 1 when the sandbox has to be stopped, with the reason. */
int code_watch_exceeded(code_watch *w, char *why, size_t size);

/* A file with the system call filter for bubblewrap; -1 when there is none to be had. */
int code_seccomp_filter(void);

#endif
