/* Many programs, good and bad, one after another: nothing grows and nothing stays. */
#ifndef TESTS_REWARD_CODE_SOAK_H
#define TESTS_REWARD_CODE_SOAK_H

#include "base/machine.h"
#include "code_support.h"
#include "support.h"

typedef struct soak_count {
    size_t processes, descriptors, files, mounts, kib;
} soak_count;

static inline size_t soak_entries(const char *path)
{
    size_t n = 0;
    DIR *d = opendir(path);
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

static inline size_t soak_lines(const char *path, const char *key)
{
    char line[1000];
    size_t n = 0, value = 0;
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f)) {
        n++;
        if (key && strncmp(line, key, strlen(key)) == 0)
            value = strtoul(line + strlen(key), NULL, 10);
    }
    if (f)
        fclose(f);
    return key ? value : n;
}

/* This process and all below it. */
static inline soak_count soak_measure(void)
{
    static code_process list[CODE_MOST];
    soak_count c = {.processes = code_descendants(list), .mounts = soak_lines("/proc/self/mounts", NULL), .files = soak_entries("/dev/shm")};
    list[c.processes].id = getpid();
    for (size_t i = 0; i <= c.processes; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/fd", (int)list[i].id);
        c.descriptors += soak_entries(path);
        snprintf(path, sizeof path, "/proc/%d/status", (int)list[i].id);
        c.kib += soak_lines(path, "VmRSS:");
    }
    return c;
}

/* Once what is just starting or ending has done so: the same twice in a row, as many processes as `expected` (0: any). */
static inline soak_count soak_settled(size_t expected)
{
    soak_count last = {0}, now = soak_measure();
    double deadline = machine_seconds() + 20;
    do {
        usleep(100000);
        last = now;
        now = soak_measure();
    } while (machine_seconds() < deadline && (now.processes != last.processes || now.descriptors != last.descriptors ||
                                              (expected && now.processes != expected)));
    return now;
}

/* Scores `n` programs in batches of 50 and compares the second half with the first 100. */
static inline void soak(size_t n)
{
    static const struct {
        const char *program;
        double share;
    } kinds[] = {
        {"def add(a, b):\n    return a + b\n", 1},
        {"def add(a, b):\n    return a - b\n", 0.5},
        {"def add(a, b):\n    raise ValueError\n", 0},
        {"def add(a, b):\n    open('left', 'w').write('x' * 100000)\n    return a + b\n", 1},
        {"import os\ndef add(a, b):\n    if os.fork() == 0:\n        os.setsid()\n        import time\n        time.sleep(60)\n    return a + b\n", 1},
        {"import os\ndef add(a, b):\n    os._exit(1)\n", 0},
        {"import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\ndef add(a, b):\n    os.abort()\n", 0},
        {"def add(a, b): return a + b +", 0},
        {"import json, collections\ndef add(a, b):\n    return json.loads(json.dumps(a + b))\n", 1},
        {"def add(a, b):\n    x = [bytearray(1 << 20) for _ in range(50)]\n    return a + b\n", 1},
    };
    enum { BATCH = 50, KINDS = sizeof kinds / sizeof *kinds };
    grpo_reward_set *set = code_judge_or_skip("code:timeout=5,patience=60");
    grpo_error err;
    soak_count first = {0}, last = {0};
    double start = machine_seconds();
    for (size_t done = 0; done < n; done += BATCH) {
        grpo_reward_record records[BATCH];
        json_t *fields[BATCH];
        double total[BATCH];
        for (size_t i = 0; i < BATCH; i++) {
            fields[i] = json_pack("{s:s, s:[s,s]}", "program", kinds[(done + i) % KINDS].program, "tests", "assert add(2, 3) == 5",
                                  "assert add(4, 0) == 4");
            records[i] = code_record(fields[i]);
        }
        assert_ok(grpo_reward_set_score(set, records, BATCH, NULL, total, &err), err);
        for (size_t i = 0; i < BATCH; i++) {
            assert_close(total[i], kinds[(done + i) % KINDS].share, 0);
            json_decref(fields[i]);
        }
        assert_int_equal(code_sandboxes_of_programs(), 0);
        if (done == 0 || done == BATCH)
            first = soak_settled(0);
    }
    last = soak_settled(first.processes);
    printf("%zu programs, %.1f a second; processes %zu -> %zu, descriptors %zu -> %zu, memory %zu -> %zu KiB\n", n,
           (double)n / (machine_seconds() - start), first.processes, last.processes, first.descriptors, last.descriptors, first.kib, last.kib);
    assert_int_equal(last.processes, first.processes);
    assert_int_equal(last.descriptors, first.descriptors);
    assert_int_equal(last.mounts, first.mounts);
    assert_true(last.files <= first.files);
    assert_true(last.kib < first.kib + first.kib / 10 + 8192);
    grpo_reward_set_destroy(set);
    assert_int_equal(code_processes(), 0);
}

#endif
