/* Reproducible numbers and tolerances for the tests of the operations. */
#ifndef TESTS_BACKEND_RANDOM_H
#define TESTS_BACKEND_RANDOM_H

#include <math.h>
#include <stdlib.h>

#include "support.h"

static inline float random_in(float lo, float hi)
{
    static uint32_t state = 12345;
    state = state * 1664525u + 1013904223u;
    return lo + (hi - lo) * (float)(state >> 8) / 16777216.0f;
}

static inline void random_fill(float *x, long n, float lo, float hi)
{
    for (long i = 0; i < n; i++)
        x[i] = random_in(lo, hi);
}

/* n floats, 64-byte aligned; free with test_free_floats. */
static inline float *random_floats(long n, float lo, float hi)
{
    float *x = aligned_alloc(64, ((size_t)n * sizeof(float) + 127) / 64 * 64);
    assert_non_null(x);
    random_fill(x, n, lo, hi);
    return x;
}

#define assert_near(got_, want_, tolerance_)                                                       \
    do {                                                                                           \
        double g_ = (got_), w_ = (want_);                                                          \
        if (!(fabs(g_ - w_) <= (tolerance_) * (1 + fabs(w_))))                                     \
            fail_msg("got %.9g, want %.9g", g_, w_);                                               \
    } while (0)

#endif
