/* What the suites of the code executor share. */
#ifndef TESTS_REWARD_CODE_SUPPORT_H
#define TESTS_REWARD_CODE_SUPPORT_H

#include <ctype.h>
#include <dirent.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "grpo/reward.h"

/* A set with one code reward; ends the program with 77, aloud, where no sandbox can be had. */
static inline grpo_reward_set *code_judge_in(const char *spec, const char *base, const char *field)
{
    grpo_reward_set *set = NULL;
    grpo_error err;
    const grpo_reward_item item = {.spec = spec, .weight = 1};
    const grpo_reward_options options = {.programs_in_records = 1, .threads = 2, .base = base, .field = field};
    grpo_status status = grpo_reward_set_create(&set, &item, 1, &options, &err);
    if (status == GRPO_ERR_SANDBOX) {
        printf("SKIPPED: %s\n", err.message);
        exit(77);
    }
    if (status != GRPO_OK) {
        printf("%s\n", err.message);
        exit(1);
    }
    return set;
}

static inline grpo_reward_set *code_judge_or_skip(const char *spec)
{
    return code_judge_in(spec, NULL, NULL);
}

static inline grpo_reward_record code_record(const json_t *fields)
{
    const json_t *prompt = json_object_get(fields, "prompt"), *completion = json_object_get(fields, "completion");
    return (grpo_reward_record){.fields = fields,
                                .prompt = json_string_value(prompt),
                                .prompt_length = json_string_length(prompt),
                                .completion = json_string_value(completion),
                                .completion_length = json_string_length(completion)};
}

/* ---- processes below this one, seen through /proc ------------------------------------------------- */

typedef struct code_process {
    pid_t id, parent;
    char name[32];
    char state;
} code_process;

static inline int code_read_process(const char *id, code_process *p)
{
    char path[300], text[512];
    snprintf(path, sizeof path, "/proc/%s/stat", id);
    FILE *f = isdigit((unsigned char)id[0]) ? fopen(path, "r") : NULL;
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    text[n] = 0;
    char *open = strchr(text, '('), *close = strrchr(text, ')');
    int parent = 0;
    if (!open || !close || sscanf(close + 1, " %c %d", &p->state, &parent) != 2)
        return 0;
    p->id = (pid_t)atol(id);
    p->parent = parent;
    snprintf(p->name, sizeof p->name, "%.*s", (int)(close - open - 1), open + 1);
    return 1;
}

enum { CODE_MOST = 2000 };

/* The descendants of this process, parents first. */
static inline size_t code_descendants(code_process *list)
{
    static code_process all[20000];
    size_t count = 0, found = 0;
    DIR *d = opendir("/proc");
    for (struct dirent *e; d && (e = readdir(d)) != NULL && count < sizeof all / sizeof *all;)
        count += (size_t)code_read_process(e->d_name, &all[count]);
    if (d)
        closedir(d);
    pid_t parent = getpid();
    for (size_t next = 0;; next++) {
        for (size_t i = 0; i < count && found < CODE_MOST; i++)
            if (all[i].parent == parent)
                list[found++] = all[i];
        if (next == found)
            return found;
        parent = list[next].id;
    }
}

static inline size_t code_processes(void)
{
    static code_process list[CODE_MOST];
    return code_descendants(list);
}

/* Sandboxes beyond those of judges and the ones kept ready: bubblewraps less two for each worker. Descendants are helper,
 * workers, bwrap, its first process. */
static inline size_t code_sandboxes_of_programs(void)
{
    static code_process list[CODE_MOST];
    size_t n = code_descendants(list), workers = 0, boxes = 0;
    for (size_t i = 0; i < n; i++)
        workers += list[i].parent == list[0].id;
    for (size_t i = 0; i < n; i++) /* its first process has its name too, for a moment */
        for (size_t k = 0; k < n; k++)
            boxes += strcmp(list[i].name, "bwrap") == 0 && list[k].id == list[i].parent && strcmp(list[k].name, "bwrap") != 0;
    return boxes > 2 * workers ? boxes - 2 * workers : 0;
}

/* Kills all workers (0), all bubblewraps (1), or all interpreters (2); returns how many. */
static inline size_t code_kill_tree(int what)
{
    static code_process list[CODE_MOST];
    size_t n = code_descendants(list), killed = 0;
    for (size_t i = 0; i < n; i++) {
        int is_worker = list[i].parent == list[0].id, is_box = strcmp(list[i].name, "bwrap") == 0;
        int is_python = strncmp(list[i].name, "python", 6) == 0;
        if (what == 0 ? is_worker : what == 1 ? is_box : is_python)
            killed += kill(list[i].id, SIGKILL) == 0;
    }
    return killed;
}

#endif
