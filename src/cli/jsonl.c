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

typedef struct batch {
    jsonl_batch_fn *fn;
    void *context;
    json_t **objects;
    long *numbers; /* of their lines */
    size_t count, capacity;
} batch;

static grpo_status read_object(batch *b, const file_lines *lines, grpo_error *err)
{
    json_t *object;
    char where[512];
    snprintf(where, sizeof where, "%s:%ld", lines->name, lines->number);
    grpo_status status = json_parse(&object, lines->line, lines->length, where, err);
    if (status != GRPO_OK)
        return status;
    if (!json_is_object(object)) {
        json_decref(object);
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: the line must hold a JSON object", where);
    }
    b->numbers[b->count] = lines->number;
    b->objects[b->count++] = object;
    return GRPO_OK;
}

static grpo_status write_object(const json_t *object, grpo_error *err)
{
    char *text = json_text(object);
    if (!text)
        return mem_fail(err, "a line of output", 0);
    fwrite(text, 1, strlen(text), stdout);
    putchar('\n');
    mem_free(text);
    return GRPO_OK;
}

/* Works on what was read, writes it and empties the batch. */
static grpo_status flush_batch(batch *b, const char *name, grpo_error *err)
{
    size_t bad = SIZE_MAX;
    grpo_status status = b->count ? b->fn(b->context, b->objects, b->count, &bad, err) : GRPO_OK;
    if (status != GRPO_OK && bad < b->count)
        grpo_error_prefix(err, status, "%s:%ld", name, b->numbers[bad]);
    for (size_t i = 0; i < b->count; i++) {
        if (status == GRPO_OK)
            status = write_object(b->objects[i], err);
        json_decref(b->objects[i]);
    }
    b->count = 0;
    return status;
}

static grpo_status run_lines(batch *b, file_lines *lines, grpo_error *err)
{
    int more = 1;
    grpo_status status = GRPO_OK;
    while (status == GRPO_OK && (more = file_next_line(lines, err)) > 0) {
        if (is_blank(lines->line, lines->length))
            continue;
        status = read_object(b, lines, err);
        if (status == GRPO_OK && b->count == b->capacity)
            status = flush_batch(b, lines->name, err);
    }
    if (status == GRPO_OK && more < 0)
        status = err->status;
    /* what stood before a bad line is still worth writing */
    grpo_error later;
    grpo_status last = flush_batch(b, lines->name, status == GRPO_OK ? err : &later);
    return status == GRPO_OK ? last : status;
}

int jsonl_run_batches(const char *command, const char *file, size_t size, jsonl_batch_fn *fn, void *context)
{
    grpo_error err = {0};
    int from_stdin = !file || strcmp(file, "-") == 0;
    file_lines lines = {.stream = from_stdin ? stdin : fopen(file, "r"), .name = from_stdin ? "stdin" : file};
    if (!lines.stream) {
        fprintf(stderr, "grpo %s: cannot open %s: %s\n", command, file, strerror(errno));
        return 1;
    }
    batch b = {fn, context, mem_calloc(size, sizeof(json_t *)), mem_calloc(size, sizeof(long)), 0, size};
    grpo_status status = b.objects && b.numbers ? run_lines(&b, &lines, &err)
                                                : mem_fail(&err, "a batch of lines", size * sizeof(json_t *));
    mem_free(b.objects);
    mem_free(b.numbers);
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

/* ---- one at a time ------------------------------------------------------------------------ */

typedef struct single {
    jsonl_fn *fn;
    void *context;
} single;

static grpo_status run_single(void *context, json_t **objects, size_t count, size_t *bad, grpo_error *err)
{
    const single *s = context;
    for (size_t i = 0; i < count; i++) {
        grpo_status status = s->fn(s->context, objects[i], err);
        if (status != GRPO_OK) {
            *bad = i;
            return status;
        }
    }
    return GRPO_OK;
}

int jsonl_run(const char *command, const char *file, jsonl_fn *fn, void *context)
{
    single s = {fn, context};
    return jsonl_run_batches(command, file, 1, run_single, &s);
}
