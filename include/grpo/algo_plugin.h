/* An advantage estimator or a loss of your own, from a shared library:
 *
 *     cc -shared -fPIC -I include -o mine.so mine.c
 *     algorithm_library: mine.so            (configuration)
 *     grpo algo --check --library mine.so   (gradient against finite differences)
 *
 * examples/algorithm_library.c is a complete one. The library exports one function that returns a
 * structure which stays valid; its version is checked when it is loaded, and later versions of
 * this header only add fields at the end. The functions must be pure: they are called from any
 * thread, in any order. */
#ifndef GRPO_ALGO_PLUGIN_H
#define GRPO_ALGO_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GRPO_ALGO_PLUGIN_VERSION 1

/* One token; under row_mean one completion, with sums for log_ratio and logp. */
typedef struct grpo_plugin_point {
    double ratio;       /* r, through which the gradient flows */
    double fixed_ratio; /* the same value, for terms without a gradient */
    double log_ratio;   /* logp - old_logp */
    double logp;
    double advantage;
} grpo_plugin_point;

typedef struct grpo_plugin_term {
    double x;        /* the loss */
    double by_ratio; /* dx/dr */
    double by_logp;  /* dx/dlogp beside what goes through r */
} grpo_plugin_term;

typedef struct grpo_algo_plugin {
    uint32_t version; /* GRPO_ALGO_PLUGIN_VERSION */
    uint32_t size;    /* sizeof(grpo_algo_plugin) */
    const char *name; /* for messages and the run folder */
    /* The advantages of one group's `count` completions that have a reward, in their order; never
     * called with count 0. length[count]: their valid tokens, or NULL when none are known. NULL:
     * the library has no estimator. */
    void (*advantages)(double *advantage, const double *reward, const size_t *length, size_t count);
    /* NULL: the library has no loss. */
    grpo_plugin_term (*loss)(const grpo_plugin_point *point);
} grpo_algo_plugin;

/* What the library exports. */
const grpo_algo_plugin *grpo_algo_plugin_entry(void);

#ifdef __cplusplus
}
#endif
#endif
