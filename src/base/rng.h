/* Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random
 * numbers: as easy as 1, 2, 3", SC 2011). There is no generator state: a number is a pure
 * function of a key and a counter, so a sample can be drawn again alone, in any order, by any
 * thread, and nothing is lost at a restart. */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdint.h>

/* out = Philox4x32-10(counter, key). */
void rng_philox4x32(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

/* Uniform double in [0, 1) with 53 random bits from two 32-bit words. */
double rng_unit(uint32_t high, uint32_t low);

/* A convenience stream for shuffles and procedural data: the index-th 64-bit number of the
 * stream (seed, stream). */
uint64_t rng_u64(uint64_t seed, uint64_t stream, uint64_t index);

/* Unbiased integer in [0, n), n > 0, from a stream; *index is advanced past what was used. */
uint64_t rng_below(uint64_t seed, uint64_t stream, uint64_t *index, uint64_t n);

#endif
