/* grpo doctor: what this machine offers, what is missing, and how to get it. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/doctor.h"

static const char usage[] = "usage: grpo doctor [--json]\n\n"
                            "Looks at the processor, memory, libraries, tools, sandbox, GPU and model cache. Exit code 0 when nothing is\n"
                            "missing, 1 when something will not work; notes do not count.\n";

static const char *const states[] = {"fine", "note", "missing"};

static void print_text(const doctor_report *r)
{
    static const char *const marks[2][3] = {{"ok", "note", "MISSING"}, {"\033[32mok\033[0m", "\033[33mnote\033[0m", "\033[31mMISSING\033[0m"}};
    int colour = isatty(1);
    const char *section = "";
    for (size_t i = 0; i < r->count; i++) {
        const doctor_finding *f = &r->findings[i];
        if (strcmp(section, f->section) != 0)
            printf("%s%s\n", i ? "\n" : "", f->section);
        section = f->section;
        printf("  %-20s %s%s%s\n", f->name, f->value, f->state == DOCTOR_FINE ? "" : "  ", f->state == DOCTOR_FINE ? "" : marks[colour][f->state]);
        if (f->remedy[0])
            printf("  %20s -> %s\n", "", f->remedy);
    }
}

static int print_json(const doctor_report *r)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->count; i++) {
        const doctor_finding *f = &r->findings[i];
        json_t *item = json_pack("{s:s, s:s, s:s}", "section", f->section, "name", f->name, "state", states[f->state]);
        json_object_set_new(item, "value", json_string_lossy(f->value, strlen(f->value)));
        if (f->remedy[0])
            json_object_set_new(item, "remedy", json_string_lossy(f->remedy, strlen(f->remedy)));
        json_array_append_new(list, item);
    }
    char *text = json_text(list);
    int failed = !text || puts(text) == EOF;
    mem_free(text);
    json_decref(list);
    return failed;
}

int cmd_doctor(int argc, char **argv)
{
    static doctor_report r;
    int json = argc == 2 && strcmp(argv[1], "--json") == 0;
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(usage, stdout);
        return 0;
    }
    if (argc > 1 && !json) {
        fputs(usage, stderr);
        return 2;
    }
    doctor_processor(&r);
    doctor_memory(&r);
    doctor_libraries(&r);
    doctor_tools(&r);
    doctor_sandbox(&r);
    doctor_gpu(&r);
    doctor_model(&r);
    int missing = 0, notes = 0;
    for (size_t i = 0; i < r.count; i++) {
        missing += r.findings[i].state == DOCTOR_MISSING;
        notes += r.findings[i].state == DOCTOR_NOTE;
    }
    if (json) {
        if (print_json(&r))
            return 1;
    } else {
        print_text(&r);
        printf("\n%d missing, %d notes\n", missing, notes);
    }
    return missing > 0 || fflush(stdout) != 0;
}
