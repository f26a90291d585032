/* Measurements of this machine with a model: the ceiling of its products, memory bandwidth, prefill,
 * decoding, and one training step, each as a share of what the machine could do. */
#ifndef TRAIN_BENCHMARK_H
#define TRAIN_BENCHMARK_H

#include "train/plan.h"

enum { BENCHMARK_BATCHES = 4, BENCHMARK_PHASES = 3 };

/* "rollout", "backward", "optimizer" */
extern const char *const benchmark_phase[BENCHMARK_PHASES];

typedef struct benchmark_options {
    int prompts, group_size, completion_length, prompt_length; /* the training step's workload: 4 x 8 x 128 */
    size_t memory_budget;                                      /* of the step; 0: all there is */
    activation_policy policy;
    int steps; /* timed; the fastest counts */
    void (*say)(void *context, const char *what); /* progress; may be NULL */
    void *context;
} benchmark_options;

typedef struct benchmark_result {
    double gemm_gflops;  /* products of the model's shapes, 1,024 rows, all layers' weights one after another */
    double memory_gbps;  /* reading those weights as f32 */
    double prefill_tps;  /* prompt tokens per second, 1,024 rows at a time */
    double prefill_share; /* of the ceiling */
    int batch[BENCHMARK_BATCHES];
    double decode_tps[BENCHMARK_BATCHES];
    double decode_share[BENCHMARK_BATCHES]; /* of max(time of the products at the ceiling, of the bytes at the
                                             * bandwidth measured beside it) */
    /* The fastest of the training steps, 0 when none was timed; limits: the same work at the ceilings, see
     * docs/performance.md. */
    double step_seconds, step_limit_seconds, phase_seconds[BENCHMARK_PHASES], phase_limit_seconds[BENCHMARK_PHASES];
    size_t planned_bytes, peak_bytes;
    memory_plan plan;
} benchmark_result;

/* The model must be trainable. */
grpo_status benchmark_run(benchmark_result *out, model *m, pool *threads, const benchmark_options *options,
                          grpo_error *err);

#endif
