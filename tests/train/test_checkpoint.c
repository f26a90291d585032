/* A checkpoint's folder where something fails: what is written is whole or absent. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "model/files.h"
#include "support.h"
#include "train/checkpoint.h"

typedef struct fixture {
    model_files *files;
    model *m;
    optimizer o;
    checkpoint_state state;
    char root[256];
} fixture;

static grpo_error err;

static int open_fixture(void **state)
{
    static fixture f;
    assert_ok(model_files_open(&f.files, test_shared_path("models/llama-tied"), &err), err);
    assert_ok(model_load_as(&f.m, f.files, (model_load_options){.max_context = 64, .trainable = 1}, NULL, &err), err);
    assert_ok(optimizer_init(&f.o, model_trained(f.m).layout->total, (optimizer_options){.beta1 = 0.9}, &err), err);
    snprintf(f.root, sizeof f.root, "%s/checkpoints", test_folder());
    f.state = (checkpoint_state){.step = 3, .kl_coef = 0.5, .run_id = "test"};
    *state = &f;
    return 0;
}

static int close_fixture(void **state)
{
    fixture *f = *state;
    optimizer_deinit(&f->o);
    model_destroy(f->m);
    model_files_close(f->files);
    return 0;
}

static grpo_status save(fixture *f)
{
    return checkpoint_save(f->root, &f->state, f->m, &f->o, 1, NULL, NULL, &err);
}

static void check_found(const fixture *f, int any)
{
    char *path;
    int damaged;
    assert_ok(checkpoint_find(&path, &damaged, f->root, &err), err);
    assert_int_equal(damaged, 0);
    assert_int_equal(path != NULL, any);
    assert_int_equal(checkpoint_any(f->root), any);
    mem_free(path);
}

static void a_coefficient_that_is_no_number_is_refused_by_name(void **state)
{
    fixture *f = *state;
    f->state.kl_coef = NAN;
    assert_int_equal(save(f), GRPO_ERR_NUMERIC);
    assert_non_null(strstr(err.message, "step 3 not written"));
    assert_non_null(strstr(err.message, "kl_coef"));
    check_found(f, 0);
    f->state.kl_coef = 0.5;
}

static long allocations_left;

static void *failing_malloc(size_t n)
{
    return allocations_left-- > 0 ? malloc(n) : NULL;
}

/* Jansson's n-th allocation and all later ones fail, for every n up to the first that changes nothing. */
static void memory_may_end_anywhere_in_the_state(void **state)
{
    fixture *f = *state;
    grpo_status status = GRPO_ERR_MEMORY;
    long n = 0;
    for (; status != GRPO_OK && n < 10000; n++) {
        allocations_left = n;
        json_set_alloc_funcs(failing_malloc, free);
        status = save(f);
        json_set_alloc_funcs(malloc, free);
        if (status != GRPO_OK) {
            assert_int_equal(status, GRPO_ERR_MEMORY);
            check_found(f, 0);
        }
    }
    assert_true(n > 20 && status == GRPO_OK);
    check_found(f, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_coefficient_that_is_no_number_is_refused_by_name),
        cmocka_unit_test(memory_may_end_anywhere_in_the_state),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
