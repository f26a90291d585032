/* Every case of ../shared/golden through the command: all agree, and what a case expects changes
 * no number of the answer. */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/file.h"
#include "support.h"

static char *run(const char *arguments, const char *file)
{
    char command[8192];
    snprintf(command, sizeof command, "'%s' algo %s '%s' 2>&1", test_binary(), arguments, file);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t used = 0, room = 1 << 22;
    char *text = malloc(room);
    assert_non_null(text);
    used = fread(text, 1, room - 1, pipe);
    text[used] = 0;
    pclose(pipe);
    return text;
}

static const char *last_line(char *text)
{
    size_t length = strlen(text);
    while (length && text[length - 1] == '\n')
        text[--length] = 0;
    char *line = strrchr(text, '\n');
    return line ? line + 1 : text;
}

static void each_file(void (*check)(const char *path))
{
    const char *folder = test_shared_path("golden");
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    size_t files = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        size_t length = strlen(entry->d_name);
        if (length < 6 || strcmp(entry->d_name + length - 5, ".json"))
            continue;
        char *path = file_join(folder, entry->d_name);
        check(path);
        free(path);
        files++;
    }
    closedir(dir);
    assert_true(files >= 13);
}

static void compare(const char *path)
{
    json_t *root = json_load_file(path, 0, NULL);
    char expected[64];
    snprintf(expected, sizeof expected, "%zu passed, 0 failed",
             json_array_size(json_object_get(root, "cases")));
    char *text = run("--compare", path), *copy = strdup(text);
    if (strcmp(last_line(copy), expected))
        fail_msg("%s: %s", path, text);
    free(copy);
    free(text);
    json_decref(root);
}

static void every_case_agrees(void **state)
{
    (void)state;
    each_file(compare);
}

/* Everything the answer holds with `expected` present, it holds without. */
static void contains(const json_t *all, const json_t *some)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)some, key, value)
    {
        json_t *other = json_object_get(all, key);
        assert_non_null(other);
        if (json_is_object(value))
            contains(other, value);
        else
            assert_true(json_equal(other, value));
    }
}

static void strip(const char *path)
{
    json_t *root = json_load_file(path, 0, NULL), *cases = json_object_get(root, "cases"), *test;
    char stripped[256];
    snprintf(stripped, sizeof stripped, "%s/stripped.json", test_folder());
    size_t i;
    json_array_foreach(cases, i, test)
    {
        json_object_del(test, "expected");
        json_object_del(test, "tolerance");
        json_object_del(test, "quirk");
    }
    assert_int_equal(json_dump_file(root, stripped, JSON_REAL_PRECISION(17)), 0);
    char *with = run("", path), *without = run("", stripped), *a = with, *b = without;
    size_t lines = 0;
    for (char *line, *other; (line = strsep(&a, "\n")) && *line && (other = strsep(&b, "\n"));) {
        json_t *x = json_loads(line, 0, NULL), *y = json_loads(other, 0, NULL);
        assert_non_null(x);
        assert_non_null(y);
        assert_true(json_equal(json_object_get(x, "name"), json_object_get(y, "name")));
        contains(json_object_get(y, "got"), json_object_get(x, "got"));
        json_decref(x);
        json_decref(y);
        lines++;
    }
    assert_int_equal(lines, json_array_size(cases));
    free(with);
    free(without);
    json_decref(root);
}

static void expectations_change_nothing(void **state)
{
    (void)state;
    each_file(strip);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_agrees),
        cmocka_unit_test(expectations_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
