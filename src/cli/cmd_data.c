/* grpo data: procedural data sets with verifiable answers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/jsonl.h"
#include "train/tasks.h"

static const char usage[] =
    "usage: grpo data list\n"
    "       grpo data make TASK[,TASK…] --count N [--seed S] [parameter=value …] [options]\n\n"
    "Writes N records {\"prompt\", \"answer\", \"task\", \"verifier\", \"params\"} as JSON lines. The same command gives the\n"
    "same records everywhere. Several tasks are taken in turn; TASK.parameter=value sets a parameter of one of them.\n\n"
    "  --count N          records\n"
    "  --seed S           default 0\n"
    "  --split train      only problems of the training side, or\n"
    "  --split test       only of the test side: no problem is on both, whatever the seeds\n"
    "  --test-share X     share of the problems on the test side (default 0.2; the same in both commands)\n"
    "  --phrasing N       0: the usual wording (default), 1, 2: others, mixed: by chance\n"
    "  --messages         prompt as a list of messages\n"
    "  --system TEXT      a system message first (with --messages)\n"
    "  --out FILE         default: standard output\n";

typedef struct options {
    task_request request;
    const char *out;
    const char *settings[64];
} options;

typedef struct output {
    FILE *stream; /* standard output, or */
    file_writer *file;
} output;

static int list_tasks(void)
{
    size_t n;
    const task *all = tasks_all(&n);
    for (size_t i = 0; i < n; i++) {
        printf("%s: %s (reward: %s; %d phrasings)\n", all[i].name, all[i].summary, all[i].reward, all[i].phrasings);
        for (int k = 0; k < TASK_PARAMS && all[i].params[k].name; k++) {
            const task_param *p = &all[i].params[k];
            printf("    %s=%ld  %s (%ld to %ld)\n", p->name, p->initial, p->help, p->min, p->max);
        }
    }
    return 0;
}

/* ---- arguments ------------------------------------------------------------------------------------ */

static grpo_status whole_number(uint64_t *x, const char *name, const char *text, grpo_error *err)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (end == text || *end || *text == '-' || value > 1ull << 53)
        return grpo_fail(err, GRPO_ERR_USAGE, "%s must be a whole number, got '%s'", name, text);
    *x = value;
    return GRPO_OK;
}

static grpo_status set_option(options *o, const char *name, const char *value, grpo_error *err)
{
    uint64_t x = 0;
    grpo_status status = GRPO_OK;
    if (strcmp(name, "--count") == 0) {
        status = whole_number(&x, name, value, err);
        o->request.count = (size_t)x;
    } else if (strcmp(name, "--seed") == 0) {
        status = whole_number(&o->request.seed, name, value, err);
    } else if (strcmp(name, "--out") == 0) {
        o->out = value;
    } else if (strcmp(name, "--system") == 0) {
        o->request.system_prompt = value;
    } else if (strcmp(name, "--split") == 0) {
        o->request.split = strcmp(value, "train") == 0 ? TASK_TRAIN : strcmp(value, "test") == 0 ? TASK_TEST : TASK_ALL;
        if (o->request.split == TASK_ALL && strcmp(value, "all") != 0)
            return grpo_fail(err, GRPO_ERR_USAGE, "--split is train, test or all, not '%s'", value);
    } else if (strcmp(name, "--test-share") == 0) {
        char *end;
        o->request.test_share = strtod(value, &end);
        if (end == value || *end || !(o->request.test_share > 0 && o->request.test_share < 1))
            return grpo_fail(err, GRPO_ERR_USAGE, "--test-share must be above 0 and below 1, got '%s'", value);
    } else if (strcmp(name, "--phrasing") == 0) {
        if (strcmp(value, "mixed") == 0)
            o->request.phrasing = -1;
        else if ((status = whole_number(&x, name, value, err)) == GRPO_OK)
            o->request.phrasing = (int)(x % 1000);
    } else {
        return grpo_fail(err, GRPO_ERR_USAGE, "there is no option %s; see `grpo data --help`", name);
    }
    return status;
}

static grpo_status parse(options *o, int argc, char **argv, grpo_error *err)
{
    static const char *const valued[] = {"--count", "--seed", "--out", "--system", "--split", "--test-share", "--phrasing"};
    for (int i = 0; i < argc; i++) {
        const char *arg = argv[i];
        int takes_value = 0;
        for (size_t k = 0; k < sizeof valued / sizeof *valued; k++)
            takes_value |= strcmp(arg, valued[k]) == 0;
        grpo_status status = GRPO_OK;
        if (strcmp(arg, "--messages") == 0)
            o->request.messages = true;
        else if (takes_value && i + 1 == argc)
            return grpo_fail(err, GRPO_ERR_USAGE, "%s needs a value", arg);
        else if (arg[0] == '-')
            status = set_option(o, arg, takes_value ? argv[++i] : "", err);
        else if (strchr(arg, '=') && o->request.setting_count == sizeof o->settings / sizeof *o->settings)
            return grpo_fail(err, GRPO_ERR_USAGE, "too many parameters");
        else if (strchr(arg, '='))
            o->settings[o->request.setting_count++] = arg;
        else if (!o->request.tasks)
            o->request.tasks = arg;
        else
            return grpo_fail(err, GRPO_ERR_USAGE, "one list of tasks is expected, separated by commas; '%s' is too much", arg);
        if (status != GRPO_OK)
            return status;
    }
    o->request.settings = o->settings;
    if (!o->request.tasks)
        return grpo_fail(err, GRPO_ERR_USAGE, "which task? `grpo data list` shows them");
    if (o->request.count == 0)
        return grpo_fail(err, GRPO_ERR_USAGE, "how many records? --count N");
    if (o->request.system_prompt && !o->request.messages)
        return grpo_fail(err, GRPO_ERR_USAGE, "--system goes with --messages");
    return GRPO_OK;
}

/* ---- making ------------------------------------------------------------------------------------------ */

static grpo_status emit(void *context, json_t *record, grpo_error *err)
{
    output *out = context;
    char *text = json_text(record);
    if (!text)
        return mem_fail(err, "a record", 0);
    size_t n = strlen(text);
    text[n] = '\n';
    grpo_status status = GRPO_OK;
    if (out->file)
        file_write(out->file, text, n + 1);
    else if (fwrite(text, 1, n + 1, out->stream) != n + 1)
        status = grpo_fail(err, GRPO_ERR_IO, "cannot write the records");
    mem_free(text);
    return status;
}

static void report_on(const options *o, const task_report *report)
{
    if (report->repeats == 0)
        return;
    fprintf(stderr, "grpo data: there are only %zu different problems with these parameters%s; %zu of the %zu records repeat them\n",
            report->problems, o->request.split == TASK_ALL ? "" : " on this side of the split", report->repeats,
            report->problems + report->repeats);
}

static int make(int argc, char **argv)
{
    options o = {.request = {.test_share = 0.2}};
    grpo_error err;
    grpo_status status = parse(&o, argc, argv, &err);
    if (status != GRPO_OK)
        return jsonl_fail("data", &err);
    file_writer file;
    output out = {.stream = stdout};
    if (o.out) {
        if (file_create(&file, o.out, &err) != GRPO_OK)
            return jsonl_fail("data", &err);
        out.file = &file;
    }
    task_report report;
    status = tasks_make(&o.request, emit, &out, &report, &err);
    if (o.out && status == GRPO_OK)
        status = file_commit(&file, &err);
    else if (o.out)
        file_abandon(&file);
    else if (status == GRPO_OK && fflush(stdout) != 0)
        status = grpo_fail(&err, GRPO_ERR_IO, "cannot write the records");
    if (status != GRPO_OK)
        return jsonl_fail("data", &err);
    report_on(&o, &report);
    return 0;
}

int cmd_data(int argc, char **argv)
{
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(usage, stdout);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "list") == 0)
        return list_tasks();
    if (argc > 1 && strcmp(argv[1], "make") == 0) {
        for (int i = 2; i < argc; i++)
            if (strcmp(argv[i], "--help") == 0) {
                fputs(usage, stdout);
                return 0;
            }
        return make(argc - 2, argv + 2);
    }
    fputs(usage, stderr);
    return 2;
}
