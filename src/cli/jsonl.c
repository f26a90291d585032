/* JSON lines in, JSON lines out. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/jsonl.h"

int jsonl_fail(const char *command, const grpo_error *err)
{
    fprintf(stderr, "grpo %s: %s\n", command, err->message);
    return err->status == GRPO_ERR_USAGE || err->status == GRPO_ERR_CONFIG ? 2 : 1;
}

static int is_blank(const char *text, size_t length)
{
    return strspn(text, " \t\r") == length;
}

static grpo_status run_line(const file_lines *lines, jsonl_fn *fn, void *context, grpo_error *err)
{
    json_t *object;
    char where[512];
    snprintf(where, sizeof where, "%s:%ld", lines->name, lines->number);
    grpo_status status = json_parse(&object, lines->line, lines->length, where, err);
    if (status != GRPO_OK)
        return status;
    if (!json_is_object(object))
        status = grpo_fail(err, GRPO_ERR_FORMAT, "the line must hold a JSON object");
    if (status == GRPO_OK)
        status = fn(context, object, err);
    if (status != GRPO_OK)
        grpo_error_prefix(err, "%s", where);
    char *text = status == GRPO_OK ? json_text(object) : NULL;
    json_decref(object);
    if (status == GRPO_OK && !text)
        status = mem_fail(err, "a line of output", lines->length);
    if (status == GRPO_OK) {
        fwrite(text, 1, strlen(text), stdout);
        putchar('\n');
    }
    mem_free(text);
    return status;
}

int jsonl_run(const char *command, const char *file, jsonl_fn *fn, void *context)
{
    grpo_error err = {0};
    int from_stdin = !file || strcmp(file, "-") == 0;
    file_lines lines = {.stream = from_stdin ? stdin : fopen(file, "r"),
                        .name = from_stdin ? "stdin" : file};
    if (!lines.stream) {
        fprintf(stderr, "grpo %s: cannot open %s: %s\n", command, file, strerror(errno));
        return 1;
    }
    int more;
    grpo_status status = GRPO_OK;
    while (status == GRPO_OK && (more = file_next_line(&lines, &err)) > 0)
        if (!is_blank(lines.line, lines.length))
            status = run_line(&lines, fn, context, &err);
    if (status == GRPO_OK && more < 0)
        status = err.status;
    file_lines_deinit(&lines);
    if (!from_stdin)
        fclose(lines.stream);
    if (status == GRPO_OK && (fflush(stdout) != 0 || ferror(stdout)))
        status = grpo_fail(&err, GRPO_ERR_IO, "cannot write the output: %s", strerror(errno));
    if (status == GRPO_OK)
        return 0;
    fflush(stdout);
    jsonl_fail(command, &err);
    return 1;
}
