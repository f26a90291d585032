/* What the machine has: memory, the process's peak, clocks. */
#ifndef BASE_MACHINE_H
#define BASE_MACHINE_H

#include <stddef.h>

/* The least that a cgroup on the way up from the process's own allows, versions 1 and 2. */
typedef struct machine_limits {
    size_t memory;      /* bytes; SIZE_MAX: no limit */
    size_t memory_left; /* bytes below such a limit that are not in use; SIZE_MAX: no limit */
    int cores;          /* rounded up; INT_MAX: no limit */
} machine_limits;

/* NULL: the process's membership (/proc/self/cgroup) and the system's mount (/sys/fs/cgroup). */
void machine_cgroup_limits(machine_limits *limits, const char *membership, const char *mount);

size_t machine_memory_available(void); /* bytes this process may still take (system and cgroup) */
size_t machine_rss(void);              /* bytes, this process now */
size_t machine_peak_rss(void);         /* bytes, this process so far */
void machine_reset_peak_rss(void);     /* the peak counts from now on (where the system allows it) */
double machine_seconds(void);          /* monotonic clock */

/* "512 B", "3.4 MiB", "2.01 GiB" into text. */
void machine_format_bytes(char text[32], size_t bytes);
/* "42 s", "3 min 20 s", "2 h 05 min", "3 d 04 h"; "?" of what is no time. */
void machine_format_seconds(char text[32], double seconds);

#endif
