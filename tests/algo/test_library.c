/* Estimators and losses from a shared library: the example is built, loaded and used; libraries
 * of another version, or without the entry, are refused. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "grpo/algo.h"
#include "support.h"

static const char *source_dir(void)
{
    const char *dir = getenv("GRPO_SOURCE_DIR");
    return dir ? dir : ".";
}

/* Compiles `source` into a shared library; its path, in a static buffer. */
static const char *build(const char *source, const char *name)
{
    static char path[512];
    char command[4096];
    const char *compiler = getenv("CC") ? getenv("CC") : "cc";
    snprintf(path, sizeof path, "%s/%s.so", test_folder(), name);
    snprintf(command, sizeof command, "%s -shared -fPIC -I '%s/include' -o '%s' '%s' -lm 2>&1",
             compiler, source_dir(), path, source);
    if (system(command) != 0) {
        fprintf(stderr, "SKIPPED: no C compiler to build a library with (%s)\n", compiler);
        exit(77);
    }
    return path;
}

static const char *example(void)
{
    char source[4096];
    snprintf(source, sizeof source, "%s/examples/algorithm_library.c", source_dir());
    return build(source, "example");
}

static const char *written(const char *name, const char *text)
{
    char source[512];
    grpo_error err;
    snprintf(source, sizeof source, "%s/%s.c", test_folder(), name);
    assert_ok(file_write_all(source, text, strlen(text), &err), err);
    return build(source, name);
}

static void estimator_of_the_library(void **state)
{
    (void)state;
    grpo_algo algo;
    grpo_error err;
    grpo_algo_preset(&algo, NULL, NULL);
    assert_ok(grpo_algo_load_library(&algo, example(), &err), err);
    assert_ok(grpo_algo_validate(&algo, &err), err);
    double rewards[] = {1, 2, 10, __builtin_nan(""), 4, 0, 6, 6}, row[8], used[8], scratch[64];
    grpo_advantage_batch in = {.rows = 8, .reward = rewards, .group_size = 4};
    grpo_advantages out = {.row = row, .reward = used, .scratch = scratch};
    assert_true(grpo_advantage_scratch(8, 0) <= sizeof scratch);
    assert_ok(compute_advantages(&algo, &in, &out, &err), err);
    double expected[] = {-1, 0, 8, 0, -1, -5, 1, 1};
    for (int i = 0; i < 8; i++)
        assert_close(row[i], expected[i], 0);
}

static void loss_of_the_library(void **state)
{
    (void)state;
    grpo_algo algo;
    grpo_error err;
    grpo_check check;
    grpo_algo_preset(&algo, NULL, NULL);
    assert_ok(grpo_algo_load_library(&algo, example(), &err), err);
    grpo_check_gradients(&check, &algo, NULL, NULL);
    assert_int_equal(check.failed, 0);
    assert_true(check.passed > 500);
}

static void wrong_gradient_is_found(void **state)
{
    (void)state;
    grpo_algo algo;
    grpo_error err;
    grpo_check check;
    grpo_algo_preset(&algo, NULL, NULL);
    const char *path = written(
        "wrong", "#include \"grpo/algo_plugin.h\"\n"
                 "static grpo_plugin_term loss(const grpo_plugin_point *p)\n"
                 "{ return (grpo_plugin_term){-p->advantage * p->ratio, p->advantage, 0}; }\n"
                 "const grpo_algo_plugin *grpo_algo_plugin_entry(void)\n"
                 "{ static const grpo_algo_plugin p = {1, sizeof p, \"wrong\", 0, loss};\n"
                 "  return &p; }\n");
    assert_ok(grpo_algo_load_library(&algo, path, &err), err);
    assert_int_equal(algo.advantage, GRPO_ADV_DRGRPO); /* it only has a loss */
    grpo_check_gradients(&check, &algo, NULL, NULL);
    assert_true(check.failed > 100);
}

static void bad_libraries_are_refused(void **state)
{
    (void)state;
    static const char *const sources[][3] = {
        {"version", "{99, sizeof p, \"x\", 0, 0}", "version 99"},
        {"short", "{1, 8, \"x\", 0, 0}", "compile it again"},
        {"hollow", "{1, sizeof p, \"x\", 0, 0}", "neither estimator nor loss"},
    };
    grpo_algo algo, before;
    grpo_error err;
    grpo_algo_preset(&algo, NULL, NULL);
    before = algo;
    for (size_t i = 0; i < 3; i++) {
        char text[512];
        snprintf(text, sizeof text,
                 "#include \"grpo/algo_plugin.h\"\n"
                 "const grpo_algo_plugin *grpo_algo_plugin_entry(void)\n"
                 "{ static const grpo_algo_plugin p = %s; return &p; }\n",
                 sources[i][1]);
        assert_int_equal(grpo_algo_load_library(&algo, written(sources[i][0], text), &err),
                         GRPO_ERR_CONFIG);
        if (!strstr(err.message, sources[i][2]))
            fail_msg("'%s' does not mention '%s'", err.message, sources[i][2]);
    }
    assert_int_equal(grpo_algo_load_library(&algo, written("none", "int nothing;\n"), &err),
                     GRPO_ERR_CONFIG);
    assert_non_null(strstr(err.message, "does not export"));
    assert_int_equal(grpo_algo_load_library(&algo, "/no/such/file.so", &err), GRPO_ERR_CONFIG);
    assert_memory_equal(&algo, &before, sizeof algo);
    grpo_advantage_batch in = {.rows = 0, .group_size = 1};
    algo.advantage = GRPO_ADV_LIBRARY; /* named, but not loaded */
    assert_int_equal(compute_advantages(&algo, &in, &(grpo_advantages){0}, &err), GRPO_ERR_USAGE);
    algo.loss = GRPO_LOSS_LIBRARY;
    assert_int_equal(grpo_algo_validate(&algo, &err), GRPO_ERR_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(estimator_of_the_library),
        cmocka_unit_test(loss_of_the_library),
        cmocka_unit_test(wrong_gradient_is_found),
        cmocka_unit_test(bad_libraries_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
