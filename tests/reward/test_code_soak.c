/* The executor's soak, in short; slow_code_soak has the long one. */
#define _GNU_SOURCE
#include "code_soak.h"

static void test_soak(void **state)
{
    (void)state;
    soak(200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_soak)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
