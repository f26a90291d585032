/* Block store of keys and values. */
#include <string.h>

#include "model/kv_store.h"

static size_t block_floats(const model_config *c)
{
    return (size_t)c->kv_heads * 2 * OPS_KV_BLOCK * (size_t)c->head_dim;
}

size_t kv_block_bytes(const model_config *c)
{
    return block_floats(c) * sizeof(float) * (size_t)c->layers;
}

int kv_blocks_for(int positions)
{
    return (positions + OPS_KV_BLOCK - 1) / OPS_KV_BLOCK;
}

grpo_status kv_store_init(kv_store *s, const model_config *c, int blocks, grpo_error *err)
{
    memset(s, 0, sizeof *s);
    s->block_stride = block_floats(c);
    s->layer_stride = s->block_stride * (size_t)blocks;
    s->layers = c->layers;
    s->blocks = s->n_free = blocks;
    size_t bytes = s->layer_stride * (size_t)c->layers * sizeof(float);
    s->free_blocks = mem_calloc((size_t)blocks, sizeof *s->free_blocks);
    s->references = mem_calloc((size_t)blocks, sizeof *s->references);
    if (!s->free_blocks || !s->references ||
        mem_arena_init(&s->arena, bytes, "keys and values", err) != GRPO_OK) {
        kv_store_deinit(s);
        return mem_fail(err, "keys and values", bytes);
    }
    for (int i = 0; i < blocks; i++)
        s->free_blocks[i] = blocks - 1 - i; /* low numbers are handed out first */
    return GRPO_OK;
}

void kv_store_deinit(kv_store *s)
{
    mem_arena_deinit(&s->arena);
    mem_free(s->free_blocks);
    mem_free(s->references);
    memset(s, 0, sizeof *s);
}

ops_kv kv_layer(const kv_store *s, const model_config *c, int layer)
{
    return (ops_kv){
        .base = s->arena.base ? (float *)s->arena.base + s->layer_stride * (size_t)layer : NULL,
        .block_stride = s->block_stride,
        .heads = c->heads,
        .kv_heads = c->kv_heads,
        .head_dim = c->head_dim,
        .window = c->layer[layer].window,
        .scale = c->attention_scale,
    };
}

grpo_status kv_sequence_init(kv_sequence *q, int max_positions, grpo_error *err)
{
    memset(q, 0, sizeof *q);
    q->capacity = kv_blocks_for(max_positions);
    q->blocks = mem_calloc((size_t)q->capacity, sizeof *q->blocks);
    return q->blocks ? GRPO_OK : mem_fail(err, "a block table", (size_t)q->capacity * sizeof *q->blocks);
}

static void release(kv_store *s, int32_t block)
{
    if (--s->references[block] == 0)
        s->free_blocks[s->n_free++] = block;
}

void kv_sequence_deinit(kv_store *s, kv_sequence *q)
{
    for (int i = 0; i < q->count; i++)
        release(s, q->blocks[i]);
    mem_free(q->blocks);
    memset(q, 0, sizeof *q);
}

static grpo_status take_block(kv_store *s, kv_sequence *q, grpo_error *err)
{
    if (q->count == q->capacity)
        return grpo_fail(err, GRPO_ERR_INTERNAL, "a sequence grew past its %d positions",
                         q->capacity * OPS_KV_BLOCK);
    if (s->n_free == 0)
        return grpo_fail(err, GRPO_ERR_MEMORY, "the key/value store of %d blocks is full", s->blocks);
    int32_t block = s->free_blocks[--s->n_free];
    s->references[block] = 1;
    q->blocks[q->count++] = block;
    return GRPO_OK;
}

grpo_status kv_sequence_extend(kv_store *s, kv_sequence *q, int extra, grpo_error *err)
{
    int need = kv_blocks_for(q->length + extra);
    grpo_status status = GRPO_OK;
    while (status == GRPO_OK && q->count < need)
        status = take_block(s, q, err);
    return status;
}

static void copy_block(kv_store *s, int32_t to, int32_t from)
{
    float *base = (float *)s->arena.base;
    for (int layer = 0; layer < s->layers; layer++, base += s->layer_stride)
        memcpy(base + (size_t)to * s->block_stride, base + (size_t)from * s->block_stride,
               s->block_stride * sizeof *base);
}

grpo_status kv_sequence_fork(kv_store *s, kv_sequence *child, const kv_sequence *parent, grpo_error *err)
{
    int full = parent->length / OPS_KV_BLOCK;
    for (int i = 0; i < full; i++) {
        child->blocks[i] = parent->blocks[i];
        s->references[parent->blocks[i]]++;
    }
    child->count = full;
    child->length = parent->length;
    if (parent->length % OPS_KV_BLOCK == 0)
        return GRPO_OK;
    grpo_status status = take_block(s, child, err);
    if (status == GRPO_OK)
        copy_block(s, child->blocks[full], parent->blocks[full]);
    return status;
}

void kv_sequence_refresh(kv_store *s, kv_sequence *child, const kv_sequence *parent)
{
    int full = parent->length / OPS_KV_BLOCK;
    if (parent->length % OPS_KV_BLOCK != 0 && child->blocks[full] != parent->blocks[full])
        copy_block(s, child->blocks[full], parent->blocks[full]);
}
