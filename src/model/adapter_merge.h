/* A model's tensors with an adapter folded in: W' = W + scale B A. */
#ifndef MODEL_ADAPTER_MERGE_H
#define MODEL_ADAPTER_MERGE_H

#include "model/adapter_files.h"
#include "model/files.h"

typedef struct adapter_merge {
    const model_files *files; /* borrowed, like the adapter */
    const adapter_files *adapter;
    float *a, *b; /* of `module` */
    double *row;  /* [in] of the widest module */
    int module;   /* -1: none read yet */
} adapter_merge;

grpo_status adapter_merge_init(adapter_merge *m, const model_files *files, const adapter_files *adapter, grpo_error *err);
void adapter_merge_deinit(adapter_merge *m);

/* A model_export_read (context: an adapter_merge *). Sums are formed in double, over the rank in order, and rounded
 * to f32 once. Not thread-safe: it keeps the matrices of the module read last. */
grpo_status adapter_merge_read(void *context, const char *name, int64_t first, int64_t count, float *dst,
                               grpo_error *err);

#endif
