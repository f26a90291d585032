/* Helpers of the kernel tests: every instruction set of this machine, seeded numbers, bitwise
 * comparison, and buffers with guards. */
#ifndef TESTS_BACKEND_KERNELS_H
#define TESTS_BACKEND_KERNELS_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/ops.h"
#include "backend/ref/ref.h"
#include "base/mem.h"
#include "base/pool.h"
#include "support.h"

static const char *const kernels_isas[] = {"amx", "avx512bf16", "avx512", "avx2", "neon", "portable"};

/* for_each_isa(name): selects each available instruction set in turn. */
#define for_each_isa(name)                                                                         \
    for (const char *const *i_ = kernels_isas, *name = *i_; i_ < kernels_isas + 6;                 \
         name = ++i_ < kernels_isas + 6 ? *i_ : NULL)                                              \
        if (ops_select_isa(name) == 0)

/* Numbers in (-1, 1), a fixed sequence for each seed. */
static inline uint32_t kernels_next(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static inline void kernels_fill(float *p, size_t n, uint32_t seed)
{
    uint32_t state = seed * 2654435761u + 12345u;
    for (size_t i = 0; i < n; i++)
        p[i] = (float)((int32_t)kernels_next(&state) >> 8) * 0x1p-23f;
}

/* n floats between two guards; *whole (to be freed by kernels_free) checks them. */
enum { KERNELS_GUARD = 64 };
static inline float *kernels_alloc(size_t n)
{
    float *p = mem_calloc(n + 2 * KERNELS_GUARD + 16, sizeof *p);
    assert_non_null(p);
    memcpy(p, &n, sizeof n);
    for (int i = 16; i < KERNELS_GUARD; i++)
        p[i] = 12345.5f;
    for (int i = 0; i < KERNELS_GUARD; i++)
        p[KERNELS_GUARD + n + i] = 12345.5f;
    return p + KERNELS_GUARD;
}

static inline float *kernels_random(size_t n, uint32_t seed)
{
    float *p = kernels_alloc(n);
    kernels_fill(p, n, seed);
    return p;
}

static inline void kernels_free(float *p)
{
    float *whole = p - KERNELS_GUARD;
    size_t n;
    memcpy(&n, whole, sizeof n);
    for (int i = 16; i < KERNELS_GUARD; i++)
        if (whole[i] != 12345.5f)
            fail_msg("a kernel wrote %d floats before its buffer", KERNELS_GUARD - i);
    for (int i = 0; i < KERNELS_GUARD; i++)
        if (p[n + i] != 12345.5f)
            fail_msg("a kernel wrote %d floats behind its buffer of %zu", i, n);
    mem_free(whole);
}

/* Fails at the first element whose bits differ. */
#define assert_same_bits(got, want, n, ...)                                                        \
    do {                                                                                           \
        for (size_t e_ = 0; e_ < (size_t)(n); e_++)                                                \
            if (memcmp(&(got)[e_], &(want)[e_], sizeof *(got))) {                                  \
                char what_[256];                                                                   \
                snprintf(what_, sizeof what_, __VA_ARGS__);                                        \
                fail_msg("%s: element %zu is %.9g (%a), should be %.9g (%a)", what_, e_,           \
                         (double)(got)[e_], (double)(got)[e_], (double)(want)[e_],                 \
                         (double)(want)[e_]);                                                      \
            }                                                                                      \
    } while (0)

/* A packed matrix of random numbers (padding zero). */
static inline ops_matrix kernels_matrix(int n, int k, uint32_t seed)
{
    float *src = kernels_random((size_t)n * k, seed);
    ops_matrix w = ops_matrix_f32(n, k, kernels_alloc(ops_matrix_elements(n, k)));
    ref_pack(w, src, k);
    kernels_free(src);
    return w;
}

/* Outputs and terms of products: around panels of 32, pairs, and the chunks that sums are cut in. */
static const int kernels_shapes[][2] = {{70, 24}, {36, 24}, {1, 1}, {33, 17}, {64, 600}, {20, 1536}, {48, 1601}, {31, 2500}, {5, 2}};
enum { KERNELS_SHAPES = sizeof kernels_shapes / sizeof *kernels_shapes };

/* Each shape with rows up to 40: the first two with every number of them, the others with some. */
#define for_each_product(shape, rows)                                                              \
    for (int shape = 0; shape < KERNELS_SHAPES; shape++)                                           \
        for (int rows = 1; rows <= 40; rows += shape < 2 ? 1 : 1 + rows / 3)

/* w rounded to bf16 and stored so; w itself gets the rounded numbers too. */
static inline ops_matrix kernels_rounded(ops_matrix w)
{
    ops_matrix r = ops_matrix_bf16(w.n, w.k, (uint32_t *)kernels_alloc(ops_matrix_bytes(OPS_BF16, w.n, w.k) / 4));
    ref_round(r, w);
    for (size_t i = 0; i < ops_matrix_elements(w.n, w.k); i++)
        w.data[i] = ref_round_bf16(w.data[i]);
    return r;
}

#endif
