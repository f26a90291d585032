/* grpo compare: two evaluations of the same records, before and after. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "cli/args.h"
#include "cli/cli.h"

enum { COLUMN = 46, MOST_LINES = 8 };

static const char HELP[] =
    "usage: grpo compare BEFORE.jsonl AFTER.jsonl [--show N] [--brief]\n\n"
    "Both files hold the same records in the same order, with \"completion\" and \"correct\", or \"reward\" (right from 0.5\n"
    "on) where that is null or absent, as `grpo eval` writes them. Prints a table of right and wrong, and N answers side\n"
    "by side (default 3; those that changed first).\n"
    "--brief prints only: records, right before, right after.\n";

typedef struct pair {
    json_t *before, *after;
    int right_before, right_after;
} pair;

typedef struct pairs {
    pair *items;
    size_t count, capacity;
} pairs;

static int is_right(const json_t *record)
{
    const json_t *correct = json_object_get(record, "correct"), *reward = json_object_get(record, "reward");
    return json_is_boolean(correct) ? json_is_true(correct) : json_is_number(reward) && json_number_value(reward) >= 0.5;
}

/* ---- reading -------------------------------------------------------------------------------------- */

/* *record is NULL at the end of the file. */
static grpo_status next_record(file_lines *lines, json_t **record, grpo_error *err)
{
    char where[4200];
    *record = NULL;
    int got = file_next_line(lines, err);
    if (got <= 0)
        return got < 0 ? GRPO_ERR_IO : GRPO_OK;
    snprintf(where, sizeof where, "%s line %ld", lines->name, lines->number);
    grpo_status status = json_parse(record, lines->line, lines->length, where, err);
    if (status == GRPO_OK && (!json_is_object(*record) || !json_is_string(json_object_get(*record, "completion")))) {
        json_decref(*record);
        *record = NULL;
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: no \"completion\"; is this an output of grpo eval?", where);
    }
    return status;
}

static grpo_status add_pair(pairs *p, json_t *before, json_t *after, long line, grpo_error *err)
{
    if (!json_equal(json_object_get(before, "prompt"), json_object_get(after, "prompt")))
        return grpo_fail(err, GRPO_ERR_FORMAT, "line %ld: the prompts differ; the two files are not about the same records", line);
    if (mem_reserve((void **)&p->items, &p->capacity, p->count + 1, sizeof *p->items) != 0)
        return mem_fail(err, "the records", p->count * sizeof *p->items);
    p->items[p->count++] = (pair){json_incref(before), json_incref(after), is_right(before), is_right(after)};
    return GRPO_OK;
}

static grpo_status read_pairs(pairs *p, const char *const paths[2], grpo_error *err)
{
    file_lines lines[2] = {{.name = paths[0]}, {.name = paths[1]}};
    grpo_status status = GRPO_OK;
    for (int i = 0; status == GRPO_OK && i < 2; i++) {
        lines[i].stream = fopen(paths[i], "re");
        if (!lines[i].stream)
            status = grpo_fail(err, GRPO_ERR_IO, "cannot open %s: %s", paths[i], strerror(errno));
    }
    while (status == GRPO_OK) {
        json_t *before = NULL, *after = NULL;
        status = next_record(&lines[0], &before, err);
        if (status == GRPO_OK)
            status = next_record(&lines[1], &after, err);
        int end = !before && !after;
        if (status == GRPO_OK && !before != !after)
            status = grpo_fail(err, GRPO_ERR_FORMAT, "%s has more records than %s", before ? paths[0] : paths[1],
                               before ? paths[1] : paths[0]);
        if (status == GRPO_OK && !end)
            status = add_pair(p, before, after, lines[0].number, err);
        json_decref(before);
        json_decref(after);
        if (end)
            break;
    }
    for (int i = 0; i < 2; i++) {
        file_lines_deinit(&lines[i]);
        if (lines[i].stream)
            fclose(lines[i].stream);
    }
    if (status == GRPO_OK && p->count == 0)
        status = grpo_fail(err, GRPO_ERR_FORMAT, "%s has no records", paths[0]);
    return status;
}

/* ---- printing ---------------------------------------------------------------------------------------- */

/* Takes a line of at most COLUMN characters (code points) from *text, breaking at spaces. */
static void take_line(const char **text, strbuf *line)
{
    const char *p = *text, *stop = NULL;
    int width = 0;
    strbuf_clear(line);
    while (*p && *p != '\n' && width < COLUMN) {
        if (*p == ' ')
            stop = p;
        width += (*p & 0xC0) != 0x80;
        p++;
        while ((*p & 0xC0) == 0x80)
            p++;
    }
    if (*p && *p != '\n' && stop)
        p = stop;
    for (const char *c = *text; c < p; c++)
        strbuf_putc(line, (unsigned char)*c < 0x20 || *c == 0x7F ? ' ' : *c);
    *text = p + (*p == '\n' || *p == ' ');
}

static int width_of(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += (*text & 0xC0) != 0x80;
    return n;
}

static void print_columns(const char *left, const char *right)
{
    strbuf a = STRBUF_INIT, b = STRBUF_INIT;
    for (int i = 0; (*left || *right) && i < MOST_LINES; i++) {
        take_line(&left, &a);
        take_line(&right, &b);
        printf("  %s%*s | %s\n", strbuf_text(&a), COLUMN - width_of(strbuf_text(&a)), "", strbuf_text(&b));
    }
    if (*left || *right)
        printf("  %-*s | %s\n", COLUMN + 2 * (*left != 0), *left ? "…" : "", *right ? "…" : "");
    strbuf_deinit(&a);
    strbuf_deinit(&b);
}

static const char *prompt_text(const json_t *record)
{
    const json_t *prompt = json_object_get(record, "prompt");
    if (json_is_array(prompt) && json_array_size(prompt) > 0)
        prompt = json_object_get(json_array_get(prompt, json_array_size(prompt) - 1), "content");
    return json_is_string(prompt) ? json_string_value(prompt) : "";
}

/* One line, without the control characters that could move a terminal's cursor. */
static void print_clean(const char *text)
{
    for (; *text; text++)
        putchar((unsigned char)*text < 0x20 || *text == 0x7F ? ' ' : *text);
}

static void show(const pair *p)
{
    const char *answer = json_string_value(json_object_get(p->before, "answer"));
    const char *labels[2] = {"before (wrong)", "after (wrong)"};
    if (p->right_before)
        labels[0] = "before (right)";
    if (p->right_after)
        labels[1] = "after (right)";
    fputs("\n> ", stdout);
    print_clean(prompt_text(p->before));
    fputs(answer ? "   expected: " : "", stdout);
    print_clean(answer ? answer : "");
    putchar('\n');
    print_columns(labels[0], labels[1]);
    print_columns(json_string_value(json_object_get(p->before, "completion")),
                  json_string_value(json_object_get(p->after, "completion")));
}

static void print_table(const pairs *p, size_t right_before, size_t right_after)
{
    size_t won = 0, lost = 0;
    for (size_t i = 0; i < p->count; i++) {
        won += !p->items[i].right_before && p->items[i].right_after;
        lost += p->items[i].right_before && !p->items[i].right_after;
    }
    double n = (double)p->count;
    printf("              before    after\n");
    printf("right       %8zu %8zu   of %zu\n", right_before, right_after, p->count);
    printf("accuracy    %7.1f%% %7.1f%%\n", 100 * (double)right_before / n, 100 * (double)right_after / n);
    printf("wrong before, right after: %zu; right before, wrong after: %zu\n", won, lost);
}

static void print_examples(const pairs *p, size_t wanted)
{
    for (int changed = 1; changed >= 0; changed--)
        for (size_t i = 0; wanted > 0 && i < p->count; i++)
            if ((p->items[i].right_before != p->items[i].right_after) == changed) {
                show(&p->items[i]);
                wanted--;
            }
}

int cmd_compare(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"show", 1, NULL, 's'}, {"brief", 0, NULL, 'b'}, {"help", 0, NULL, 'h'}, {NULL, 0, NULL, 0}};
    int brief = 0;
    size_t wanted = 3;
    args_check check = {.command = "compare"};
    for (int option; (option = getopt_long(argc, argv, "h", long_options, NULL)) != -1;) {
        switch (option) {
        case 's': wanted = (size_t)args_whole(&check, "--show", optarg, 0, ARGS_MOST); break;
        case 'b': brief = 1; break;
        case 'h': fputs(HELP, stdout); return 0;
        default: return 2;
        }
    }
    if (check.code)
        return check.code;
    if (argc - optind != 2)
        return args_usage("compare", "two files are needed, BEFORE.jsonl and AFTER.jsonl; %d %s given", argc - optind,
                          argc - optind == 1 ? "is" : "are");
    const char *const paths[2] = {argv[optind], argv[optind + 1]};
    pairs p = {0};
    grpo_error err;
    grpo_status status = read_pairs(&p, paths, &err);
    size_t right_before = 0, right_after = 0;
    for (size_t i = 0; i < p.count; i++) {
        right_before += (size_t)p.items[i].right_before;
        right_after += (size_t)p.items[i].right_after;
    }
    if (status != GRPO_OK) {
        fprintf(stderr, "grpo compare: %s\n", err.message);
    } else if (brief) {
        printf("%zu %zu %zu\n", p.count, right_before, right_after);
    } else {
        print_table(&p, right_before, right_after);
        print_examples(&p, wanted);
    }
    for (size_t i = 0; i < p.count; i++) {
        json_decref(p.items[i].before);
        json_decref(p.items[i].after);
    }
    mem_free(p.items);
    return status == GRPO_OK && fflush(stdout) == 0 ? 0 : 1;
}
