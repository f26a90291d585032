/* 2,000 programs through the executor: no process, descriptor, file, mount or memory is left. */
#define _GNU_SOURCE
#include "code_soak.h"

static void test_soak(void **state)
{
    (void)state;
    soak(2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_soak)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
