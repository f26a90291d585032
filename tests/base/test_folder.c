/* Folders that appear at once. */
#include <string.h>

#include "base/file.h"
#include "base/folder.h"
#include "support.h"

static const char *path_of(const char *name)
{
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", test_folder(), name);
    return path;
}

static void put(const folder_writer *w, const char *name, const char *text)
{
    char path[300];
    grpo_error err;
    snprintf(path, sizeof path, "%s/%s", w->temporary, name);
    assert_ok(file_write_all(path, text, strlen(text), &err), err);
}

static void a_folder_appears_with_its_files(void **state)
{
    (void)state;
    folder_writer w;
    grpo_error err;
    assert_ok(folder_create(&w, path_of("new/"), 0, &err), err);
    put(&w, "a", "1");
    assert_false(file_exists(path_of("new")));
    assert_ok(folder_commit(&w, &err), err);
    assert_true(file_exists(path_of("new/a")));
    assert_int_equal(folder_create(&w, path_of("new"), 0, &err), GRPO_ERR_IO);
    assert_non_null(strstr(err.message, "not empty"));
}

static void replacing_leaves_nothing_of_the_old_one(void **state)
{
    (void)state;
    folder_writer w;
    grpo_error err;
    for (int i = 0; i < 2; i++) {
        assert_ok(folder_create(&w, path_of("again"), 1, &err), err);
        put(&w, i ? "second" : "first", "x");
        assert_ok(folder_commit(&w, &err), err);
    }
    assert_true(file_exists(path_of("again/second")));
    assert_false(file_exists(path_of("again/first")));
}

static void an_empty_folder_is_filled(void **state)
{
    (void)state;
    folder_writer w;
    grpo_error err;
    assert_ok(file_make_folder(path_of("empty"), &err), err);
    assert_ok(folder_create(&w, path_of("empty"), 0, &err), err);
    put(&w, "a", "1");
    assert_ok(folder_commit(&w, &err), err);
    assert_true(file_exists(path_of("empty/a")));
}

static void abandoning_removes_everything(void **state)
{
    (void)state;
    folder_writer w;
    grpo_error err;
    char temporary[300];
    assert_ok(folder_create(&w, path_of("never"), 0, &err), err);
    put(&w, "a", "1");
    snprintf(temporary, sizeof temporary, "%s", w.temporary);
    folder_abandon(&w);
    assert_false(file_exists(temporary) || file_exists(path_of("never")));
}

static void a_finished_folder_takes_another_ones_place(void **state)
{
    (void)state;
    grpo_error err;
    const char *old = path_of("place/old"), *fresh = path_of("place/new");
    assert_ok(file_make_folder(path_of("place/old"), &err), err);
    assert_ok(file_make_folder(path_of("place/new"), &err), err);
    assert_ok(file_write_all(path_of("place/old/a"), "1", 1, &err), err);
    assert_int_equal(folder_place(fresh, old, 0, &err), GRPO_ERR_IO);
    assert_true(file_exists(path_of("place/old/a")) && file_exists(path_of("place/new")));
    assert_ok(folder_place(path_of("place/new"), path_of("place/old"), 1, &err), err);
    assert_false(file_exists(path_of("place/old/a")) || file_exists(path_of("place/new")));
    assert_true(file_is_folder(path_of("place/old")));
}

static void a_file_in_the_way_is_refused(void **state)
{
    (void)state;
    folder_writer w;
    grpo_error err;
    assert_ok(file_write_all(path_of("file"), "x", 1, &err), err);
    assert_int_equal(folder_create(&w, path_of("file"), 1, &err), GRPO_ERR_IO);
    assert_int_equal(folder_create(&w, path_of("file/sub"), 1, &err), GRPO_ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folder_appears_with_its_files),
        cmocka_unit_test(replacing_leaves_nothing_of_the_old_one),
        cmocka_unit_test(an_empty_folder_is_filled),
        cmocka_unit_test(abandoning_removes_everything),
        cmocka_unit_test(a_finished_folder_takes_another_ones_place),
        cmocka_unit_test(a_file_in_the_way_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
