/* The kernels of one instruction set as a table of functions, and how the ops_... functions reach the
 * table in use. Each kernel is a pool_fn: it computes items [begin, end) of the job that `context`
 * points to. The public function (ops_*.c) fills in the job, decides what an item is and calls
 * pool_run; the body (body_*.h) is compiled once for each instruction set. To add a kernel: a job
 * struct in the header of its family (job_*.h), a line in KERNELS, a function kernel_NAME in a body. */
#ifndef BACKEND_CPU_KERNELS_H
#define BACKEND_CPU_KERNELS_H

#include "base/pool.h"

/* X(name): kernel_name in the bodies, kernels.name in the table. */
#define KERNELS(X)                                                                                 \
    X(exp_one)                                                                                     \
    X(log_one)                                                                                     \
    X(pack)                                                                                        \
    X(unpack)                                                                                      \
    X(pack_transposed)                                                                             \
    X(round)                                                                                       \
    X(gemm)                                                                                        \
    X(gemm_dw)                                                                                     \
    X(bias_grad)                                                                                   \
    X(embed)                                                                                       \
    X(embed_grad)                                                                                  \
    X(head_block)                                                                                  \
    X(head_combine)                                                                                \
    X(softmax_stats)                                                                               \
    X(softmax_draw)                                                                                \
    X(head_grad_logits)                                                                            \
    X(head_grad_products)                                                                          \
    X(adamw)                                                                                       \
    X(sum_squares)                                                                                 \
    X(add)                                                                                         \
    X(norm)                                                                                        \
    X(norm_grad)                                                                                   \
    X(rope)                                                                                        \
    X(glu)                                                                                         \
    X(glu_grad)                                                                                    \
    X(route)                                                                                       \
    X(route_grad)                                                                                  \
    X(combine)                                                                                     \
    X(scale_grad)                                                                                  \
    X(kv_write)                                                                                    \
    X(kv_read)                                                                                     \
    X(attention)                                                                                   \
    X(attention_grad_rows)                                                                         \
    X(attention_grad_keys)

typedef struct kernels {
    const char *name;
#define X(op) pool_fn *op;
    KERNELS(X)
#undef X
} kernels;

/* Defined by kernels_<isa>.c, where the machine's architecture has it. */
extern const kernels kernels_amx, kernels_avx512bf16, kernels_avx512, kernels_avx2, kernels_neon, kernels_portable;

/* The table in use (chosen at first use). */
const kernels *ops_kernels(void);

#endif
