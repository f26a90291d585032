/* What all test programs share: where ../shared lies, and how a suite skips itself aloud. */
#ifndef TESTS_SUPPORT_H
#define TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "grpo/error.h"

/* The folder ../shared (environment GRPO_SHARED, else beside the checkout); NULL when absent. */
const char *test_shared(void);

/* Path below ../shared in one of a few rotating static buffers. Skips the whole program (exit 77,
 * with a line that says why) when the folder is absent. */
const char *test_shared_path(const char *relative);

/* The grpo binary under test (environment GRPO_BINARY). */
const char *test_binary(void);

/* The SmolLM2 checkpoint used by the slow suites (environment GRPO_SMOLLM2, else the cache of
 * scripts/fetch-model.sh); NULL when absent. */
const char *test_smollm2(void);

/* Whether GRPO_TEST_SIZE=small asks for fewer cases of each kind: for emulated processors, where all of them take hours. */
int test_small(void);

/* A fresh temporary folder, removed at exit. */
const char *test_folder(void);

/* Fails the test with err's message when status is not GRPO_OK. */
#define assert_ok(status_, err_)                                                                   \
    do {                                                                                           \
        if ((status_) != GRPO_OK)                                                                  \
            fail_msg("%s", (err_).message);                                                        \
    } while (0)

/* |got - expected| <= tolerance in double precision (cmocka's assert_float_equal rounds to float). */
#define assert_close(got_, expected_, tolerance_)                                                  \
    do {                                                                                           \
        double got__ = (got_), expected__ = (expected_);                                           \
        double error__ = got__ < expected__ ? expected__ - got__ : got__ - expected__;             \
        if (!(error__ <= (tolerance_)))                                                            \
            fail_msg("%s is %.17g, expected %.17g", #got_, got__, expected__);                     \
    } while (0)

#endif
