/* Processor, memory, GPU, and the model cache. */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "backend/ops.h"
#include "base/machine.h"
#include "base/pool.h"
#include "cli/doctor.h"
#include "model/precision.h"

/* ---- processor ---------------------------------------------------------------------------------- */

/* The value of a key of /proc/cpuinfo, of the first processor. */
static int cpuinfo(const char *key, char *value, size_t size)
{
    char line[8192];
    FILE *f = fopen("/proc/cpuinfo", "re");
    int found = 0;
    value[0] = 0;
    while (f && !found && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (!colon || strncmp(line, key, strlen(key)) != 0)
            continue;
        colon += 1 + (colon[1] == ' ');
        snprintf(value, size, "%.*s", (int)strcspn(colon, "\n"), colon);
        found = 1;
    }
    if (f)
        fclose(f);
    return found;
}

static int has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; (p = strstr(p, word)); p += n)
        if ((p == list || p[-1] == ' ') && (p[n] == ' ' || p[n] == 0))
            return 1;
    return 0;
}

static void instruction_sets(doctor_report *r)
{
    static const char *const sets[] = {"avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "bf16", "sve"};
    char flags[8192], list[200] = "";
    if (!cpuinfo("flags", flags, sizeof flags))
        cpuinfo("Features", flags, sizeof flags);
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        if (has_word(flags, sets[i]))
            snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", list[0] ? ", " : "", sets[i]);
    doctor_add(r, "processor", "instruction sets", DOCTOR_FINE, "%s", list[0] ? list : "none of those looked for");
    grpo_error err;
    const char *used = ops_isa();
    if (ops_check(&err) != GRPO_OK)
        doctor_remedy(doctor_add(r, "processor", "kernels", DOCTOR_NOTE, "%s", used), "%s", err.message);
    else if (strcmp(used, "portable") == 0)
        doctor_remedy(doctor_add(r, "processor", "kernels", DOCTOR_NOTE, "portable"),
                      "this processor has neither AVX2 nor NEON: everything works, several times slower");
    else
        doctor_add(r, "processor", "kernels", DOCTOR_FINE, "%s%s", used,
                   getenv("GRPO_ISA") ? " (chosen by GRPO_ISA)" : "");
}

/* By the instructions that the kernels in use have; what it gains, `grpo bench` measures. */
static void fastest_precision(doctor_report *r)
{
    const model_precision fastest = ops_is_fast(OPS_BF16_TILE)  ? MODEL_BF16_AMX
                                    : ops_is_fast(OPS_BF16_DOT) ? MODEL_BF16
                                                                : MODEL_F32;
    doctor_add(r, "processor", "fastest precision", DOCTOR_FINE, "%s (%s)", model_precision_name(fastest),
               fastest == MODEL_BF16_AMX ? "AMX" : fastest == MODEL_BF16 ? "AVX512-BF16" : "bf16_weights to decode a few answers: half the bytes to read");
}

void doctor_processor(doctor_report *r)
{
    char model[200];
    if (!cpuinfo("model name", model, sizeof model))
        snprintf(model, sizeof model, "unknown");
    doctor_add(r, "processor", "model", DOCTOR_FINE, "%s", model);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    int cores = pool_cores();
    doctor_finding *f = doctor_add(r, "processor", "cores", DOCTOR_FINE, "%d of %ld can be used", cores, online);
    if (cores < online)
        doctor_remedy(f, "affinity or a cgroup's CPU limit holds the others back; that may be meant");
    instruction_sets(r);
    fastest_precision(r);
}

/* ---- memory -------------------------------------------------------------------------------------- */

static double meminfo(const char *key)
{
    char line[200];
    double kib = -1;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && kib < 0 && fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0)
            sscanf(line + strlen(key), ": %lf", &kib);
    if (f)
        fclose(f);
    return kib / (1 << 20);
}

static void huge_pages(doctor_report *r)
{
    char line[100];
    if (!doctor_read_line("/sys/kernel/mm/transparent_hugepage/enabled", line, sizeof line)) {
        doctor_add(r, "memory", "huge pages", DOCTOR_NOTE, "not offered by this kernel");
        return;
    }
    doctor_finding *f = doctor_add(r, "memory", "huge pages", DOCTOR_FINE, "%s", line);
    if (strstr(line, "[never]")) {
        f->state = DOCTOR_NOTE;
        doctor_remedy(f, "large arrays are faster with them: echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled");
    }
}

void doctor_memory(doctor_report *r)
{
    double total = meminfo("MemTotal"), available = meminfo("MemAvailable");
    double usable = (double)machine_memory_available() / (1 << 30);
    machine_limits limits;
    machine_cgroup_limits(&limits, NULL, NULL);
    doctor_finding *f = doctor_add(r, "memory", "main memory", DOCTOR_FINE, "%.1f GiB, %.1f GiB of it free", total, available);
    if (usable < 3) {
        f->state = DOCTOR_NOTE;
        doctor_remedy(f, "SmolLM2-135M needs about 3 GiB to train; close other programs or take a smaller model");
    }
    if ((double)limits.memory / (1 << 30) < total)
        doctor_add(r, "memory", "cgroup limit", DOCTOR_NOTE, "%.1f GiB, %.1f GiB of it free", (double)limits.memory / (1 << 30),
                   (double)limits.memory_left / (1 << 30));
    struct rlimit space;
    if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY)
        doctor_remedy(doctor_add(r, "memory", "address space limit", DOCTOR_NOTE, "%.1f GiB",
                                 (double)space.rlim_cur / (1 << 30)),
                      "memory is reserved before it is used: ulimit -v unlimited");
    huge_pages(r);
    struct statvfs disk;
    if (statvfs(".", &disk) == 0) {
        double gib = (double)disk.f_bavail * (double)disk.f_frsize / (1 << 30);
        f = doctor_add(r, "memory", "disk space here", gib < 4 ? DOCTOR_NOTE : DOCTOR_FINE, "%.1f GiB", gib);
        if (gib < 4)
            doctor_remedy(f, "a checkpoint of SmolLM2-135M takes 1.6 GB, and two are kept by default");
    }
}

/* ---- GPU -------------------------------------------------------------------------------------------- */

void doctor_gpu(doctor_report *r)
{
    char line[200];
    const char *const query[] = {"nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader", NULL};
    int code = access("/dev/nvidiactl", F_OK) == 0 ? doctor_run(query, 10, line, sizeof line) : -1;
    if (code == 0)
        doctor_remedy(doctor_add(r, "gpu", "device", DOCTOR_NOTE, "%.200s", line),
                      "this build computes on the processor alone");
    else if (access("/dev/nvidiactl", F_OK) == 0)
        doctor_remedy(doctor_add(r, "gpu", "device", DOCTOR_NOTE, "an NVIDIA driver, but nvidia-smi does not answer"),
                      "this build computes on the processor alone");
    else
        doctor_add(r, "gpu", "device", DOCTOR_FINE, "none, and none is needed");
}

/* ---- model --------------------------------------------------------------------------------------------- */

void doctor_model(doctor_report *r)
{
    static const char *const names[] = {"SmolLM2-135M-Instruct/model.safetensors", "SmolLM2-135M-Instruct.Q4_1.gguf"};
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char folder[300], path[400];
    int found = 0;
    if (cache && *cache)
        snprintf(folder, sizeof folder, "%.280s/grpo", cache);
    else
        snprintf(folder, sizeof folder, "%.270s/.cache/grpo", home ? home : "");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct stat info;
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        if (stat(path, &info) == 0) {
            doctor_add(r, "model", "cached", DOCTOR_FINE, "%.180s (%.0f MB)", path, (double)info.st_size / 1e6);
            found = 1;
        }
    }
    if (!found)
        doctor_remedy(doctor_add(r, "model", "cached", DOCTOR_NOTE, "nothing in %.200s", folder),
                      "scripts/fetch-model.sh fetches SmolLM2-135M-Instruct for the demo and the tests");
}
