/* The memory plan's counts. */
#include <stdint.h>
#include <string.h>

#include "model/files.h"
#include "support.h"
#include "train/plan.h"

static grpo_error err;

static grpo_status plan(memory_plan *p, plan_request r)
{
    model_files *files;
    model *m;
    r.budget = SIZE_MAX;
    r.policy = ACTIVATIONS_KEEP;
    assert_ok(model_files_open(&files, test_shared_path("models/llama-tied"), &err), err);
    assert_ok(model_load(&m, files, 0, NULL, &err), err);
    grpo_status status = memory_plan_make(p, m, NULL, &r, &err);
    model_destroy(m);
    model_files_close(files);
    return status;
}

static void a_step_has_a_row_for_every_token(void **state)
{
    (void)state;
    memory_plan p;
    plan_request r = {.prompts = 3, .group_size = 5, .longest_prompt = 40, .max_new_tokens = 100, .prompt_tokens = 90};
    assert_ok(plan(&p, r), err);
    assert_int_equal(p.tape_rows, 90 + 3 * 5 * 100);
    assert_int_equal(p.max_positions, 140);
    assert_int_equal(p.slots, 15);
    assert_true(p.kv_blocks * 16 >= p.tape_rows);
}

/* 16,384 answers of 131,072 tokens are 2^31 rows: as an int, none. */
static void more_rows_than_an_int_counts_are_refused(void **state)
{
    (void)state;
    memory_plan p;
    plan_request r = {.prompts = 1024, .group_size = 16, .longest_prompt = 1, .max_new_tokens = 131072, .prompt_tokens = 1024};
    assert_int_equal(plan(&p, r), GRPO_ERR_CONFIG);
    assert_non_null(strstr(err.message, "2147484672 rows"));
    assert_non_null(strstr(err.message, "max_new_tokens"));
    r.max_new_tokens = 65535;
    assert_ok(plan(&p, r), err);
    assert_int_equal(p.tape_rows, 1024 + 16384 * 65535);
    r = (plan_request){.prompts = 4, .group_size = 8, .longest_prompt = 1 << 30, .max_new_tokens = 128,
                       .prompt_tokens = 4L << 30}; /* of grpo bench --prompt-length */
    assert_int_equal(plan(&p, r), GRPO_ERR_CONFIG);
}

/* Few rows, but each of 65,536 slots may hold a prompt of its own. */
static void more_blocks_than_an_int_counts_are_refused(void **state)
{
    (void)state;
    memory_plan p;
    plan_request r = {.prompts = 64, .group_size = 4096, .longest_prompt = 1 << 20, .max_new_tokens = 1,
                      .prompt_tokens = 64L << 20, .slots = 65536};
    assert_int_equal(plan(&p, r), GRPO_ERR_CONFIG);
    assert_non_null(strstr(err.message, "rollout.slots"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_has_a_row_for_every_token),
        cmocka_unit_test(more_rows_than_an_int_counts_are_refused),
        cmocka_unit_test(more_blocks_than_an_int_counts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
