/* Keys and values of all layers, in blocks of 16 positions with reference counts. A sequence owns a
 * table of block numbers; a forked sequence shares the full blocks of its prompt and gets its own
 * copy of the last, partly filled one. */
#ifndef MODEL_KV_STORE_H
#define MODEL_KV_STORE_H

#include "base/mem.h"
#include "model/config.h"

typedef struct kv_store {
    mem_arena arena;
    size_t block_stride; /* floats of one block in one layer */
    size_t layer_stride; /* floats of one layer */
    int layers, blocks;
    int32_t *free_blocks; /* a stack */
    int n_free;
    int32_t *references; /* [blocks] */
} kv_store;

typedef struct kv_sequence {
    int32_t *blocks; /* owned table, room for `capacity` blocks */
    int count, capacity;
    int length; /* positions stored */
} kv_sequence;

/* Room for `blocks` blocks; address space only, pages are taken when written. */
grpo_status kv_store_init(kv_store *s, const model_config *c, int blocks, grpo_error *err);
void kv_store_deinit(kv_store *s);
int kv_blocks_for(int positions);
/* Bytes that one block takes over all layers. */
size_t kv_block_bytes(const model_config *c);
/* One layer as the attention operations want it. */
ops_kv kv_layer(const kv_store *s, const model_config *c, int layer);

/* The table has room for max_positions from the start, so its address never changes. */
grpo_status kv_sequence_init(kv_sequence *q, int max_positions, grpo_error *err);
void kv_sequence_deinit(kv_store *s, kv_sequence *q); /* releases its blocks too */

/* Makes positions [0, length + extra) writable; does not move length. Fails when the store is full. */
grpo_status kv_sequence_extend(kv_store *s, kv_sequence *q, int extra, grpo_error *err);

/* child (initialised, empty) continues parent: shares full blocks, copies a partial last one. */
grpo_status kv_sequence_fork(kv_store *s, kv_sequence *child, const kv_sequence *parent, grpo_error *err);

/* After parent's positions were computed anew: refreshes the child's own copy of a partial block. */
void kv_sequence_refresh(kv_store *s, kv_sequence *child, const kv_sequence *parent);

#endif
