/* Memory and clocks of the machine. */
#define _GNU_SOURCE
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/machine.h"

static size_t meminfo_available(void)
{
    FILE *f = fopen("/proc/meminfo", "r");
    size_t kib = 0;
    char line[256];
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %zu kB", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib * 1024;
}

/* ---- cgroups ------------------------------------------------------------------------------------------------ */

typedef enum cgroup_version { CGROUP_V1, CGROUP_V2 } cgroup_version;

static FILE *open_in(const char *folder, const char *name)
{
    char path[1400];
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    return n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;
}

/* 0 where the file or the number is missing: "max" is no number. */
static size_t read_number(const char *folder, const char *name)
{
    FILE *f = open_in(folder, name);
    size_t n = 0;
    if (f && fscanf(f, "%zu", &n) != 1)
        n = 0;
    if (f)
        fclose(f);
    return n;
}

/* A line "key number" of memory.stat. */
static size_t read_stat(const char *folder, const char *key)
{
    FILE *f = open_in(folder, "memory.stat");
    char name[64];
    size_t value, found = 0;
    while (f && fscanf(f, "%63s %zu", name, &value) == 2)
        if (strcmp(name, key) == 0)
            found = value;
    if (f)
        fclose(f);
    return found;
}

/* Pages of files that were read once and can be dropped count as used there; here they do not. */
static void note_memory(machine_limits *l, const char *folder, cgroup_version version)
{
    const size_t none = (size_t)1 << 50; /* version 1 writes a number near 2^63 */
    size_t limit = read_number(folder, version == CGROUP_V1 ? "memory.limit_in_bytes" : "memory.max");
    if (limit == 0 || limit >= none)
        return;
    size_t used = read_number(folder, version == CGROUP_V1 ? "memory.usage_in_bytes" : "memory.current");
    size_t files = read_stat(folder, version == CGROUP_V1 ? "total_inactive_file" : "inactive_file");
    used -= files < used ? files : used;
    size_t left = limit - (used < limit ? used : limit);
    if (limit < l->memory)
        l->memory = limit;
    if (left < l->memory_left)
        l->memory_left = left;
}

static void note_cores(machine_limits *l, const char *folder, cgroup_version version)
{
    size_t quota = 0, period = 0; /* microseconds; "max" or -1: no limit */
    FILE *f = open_in(folder, version == CGROUP_V1 ? "cpu.cfs_quota_us" : "cpu.max");
    if (f && fscanf(f, "%zu %zu", &quota, &period) < 1)
        quota = 0;
    if (f)
        fclose(f);
    if (version == CGROUP_V1)
        period = read_number(folder, "cpu.cfs_period_us");
    if (quota == 0 || period == 0 || quota >= (size_t)1 << 50)
        return;
    size_t cores = (quota + period - 1) / period;
    if (cores < (size_t)l->cores)
        l->cores = (int)cores;
}

typedef void note_limit(machine_limits *l, const char *folder, cgroup_version version);

/* From the process's own group up to the root. Seen from a container its path may be another machine's: then nothing is
 * found but the root, which is the container's. */
static void walk_up(machine_limits *l, note_limit *note, const char *mount, const char *path, cgroup_version version)
{
    char folder[1200];
    int n = snprintf(folder, sizeof folder, "%s%s", mount, strcmp(path, "/") == 0 ? "" : path);
    if (n < 0 || (size_t)n >= sizeof folder)
        return;
    char *slash;
    do {
        note(l, folder, version);
        slash = strrchr(folder + strlen(mount), '/');
        if (slash)
            *slash = 0;
    } while (slash);
}

/* Whether a list "cpu,cpuacct" has the word. */
static int lists(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at += n)
        if ((at == list || at[-1] == ',') && (at[n] == 0 || at[n] == ','))
            return 1;
    return 0;
}

void machine_cgroup_limits(machine_limits *l, const char *membership, const char *mount)
{
    char line[1024], below[256];
    *l = (machine_limits){SIZE_MAX, SIZE_MAX, INT_MAX};
    FILE *f = fopen(membership ? membership : "/proc/self/cgroup", "re");
    mount = mount ? mount : "/sys/fs/cgroup";
    while (f && fgets(line, sizeof line, f)) { /* "number:controllers:path", version 2 with no controllers */
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        controllers++;
        *path++ = 0;
        if (!*controllers) {
            walk_up(l, note_memory, mount, path, CGROUP_V2);
            walk_up(l, note_cores, mount, path, CGROUP_V2);
        }
        snprintf(below, sizeof below, "%s/memory", mount);
        if (lists(controllers, "memory"))
            walk_up(l, note_memory, below, path, CGROUP_V1);
        snprintf(below, sizeof below, "%s/cpu", mount);
        if (lists(controllers, "cpu"))
            walk_up(l, note_cores, below, path, CGROUP_V1);
    }
    if (f)
        fclose(f);
}

size_t machine_memory_available(void)
{
    machine_limits l;
    size_t available = meminfo_available();
    machine_cgroup_limits(&l, NULL, NULL);
    return l.memory_left < available ? l.memory_left : available;
}

/* ---- the process -------------------------------------------------------------------------------------------- */

void machine_reset_peak_rss(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "w");
    if (!f)
        return;
    fputs("5", f);
    fclose(f);
}

size_t machine_rss(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    size_t pages = 0;
    if (f && fscanf(f, "%*u %zu", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

size_t machine_peak_rss(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss * 1024;
}

double machine_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void machine_format_bytes(char text[32], size_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double x = (double)bytes;
    int unit = 0;
    while (x >= 1024 && unit < 4) {
        x /= 1024;
        unit++;
    }
    snprintf(text, 32, unit == 0 ? "%.0f %s" : x < 10 ? "%.2f %s" : "%.1f %s", x, units[unit]);
}

void machine_format_seconds(char text[32], double seconds)
{
    long s = seconds >= 0 && seconds < 1e9 ? (long)(seconds + 0.5) : -1;
    if (s < 0)
        snprintf(text, 32, "?");
    else if (s < 60)
        snprintf(text, 32, "%ld s", s);
    else if (s < 3600)
        snprintf(text, 32, "%ld min %02ld s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(text, 32, "%ld h %02ld min", s / 3600, s / 60 % 60);
    else
        snprintf(text, 32, "%ld d %02ld h", s / 86400, s / 3600 % 24);
}
