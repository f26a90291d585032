/* Pools of 1, 2 and 3 threads for the tests of the operations: set up and torn down with a group of tests. */
#ifndef TESTS_BACKEND_POOLS_H
#define TESTS_BACKEND_POOLS_H

#include "base/pool.h"
#include "support.h"

static pool *pools_by_threads[4]; /* [n] has n threads; [0] is none */

static inline int pools_set_up(void **state)
{
    (void)state;
    grpo_error err;
    for (int i = 1; i < 4; i++)
        assert_ok(pool_create(&pools_by_threads[i], i, &err), err);
    return 0;
}

static inline int pools_tear_down(void **state)
{
    (void)state;
    for (int i = 1; i < 4; i++)
        pool_destroy(pools_by_threads[i]);
    return 0;
}

#endif
