/* Writing GGUF files (version 3, little-endian, alignment 32): collect the metadata, list the
 * tensors, then stream their values. */
#ifndef MODEL_GGUF_WRITE_H
#define MODEL_GGUF_WRITE_H

#include "base/strbuf.h"
#include "model/gguf.h"

/* Metadata under construction. Out of memory is remembered in text.failed. */
typedef struct gguf_meta {
    strbuf text;
    uint64_t pairs;
} gguf_meta;

void gguf_put_u32(gguf_meta *m, const char *key, uint32_t v);
void gguf_put_f32(gguf_meta *m, const char *key, float v);
void gguf_put_bool(gguf_meta *m, const char *key, int v);
void gguf_put_string(gguf_meta *m, const char *key, const char *bytes, size_t length);
/* Arrays: the head, then `count` items of it. Items of numbers are appended raw, little-endian. */
void gguf_put_array(gguf_meta *m, const char *key, gguf_type item, uint64_t count);
void gguf_put_item_string(gguf_meta *m, const char *bytes, size_t length);
void gguf_put_item_i32(gguf_meta *m, int32_t v);
void gguf_put_item_f32(gguf_meta *m, float v);
/* A pair of another file, as it is. */
void gguf_put_copy(gguf_meta *m, const gguf_pair *pair);
void gguf_meta_deinit(gguf_meta *m);

typedef struct gguf_entry {
    char name[96];
    const tensor_type *type; /* one that encode_elements knows */
    int rank;
    int64_t ne[4]; /* ne[0] is the length of a row */
} gguf_entry;

typedef struct gguf_writer {
    file_writer file;
    const gguf_entry *entries; /* borrowed */
    size_t n_entries, next;
    uint64_t missing; /* elements still to come of the entry before `next` */
    unsigned char *scratch;
} gguf_writer;

/* Nothing is visible at path before the commit. */
grpo_status gguf_create(gguf_writer *w, const char *path, const gguf_meta *meta, const gguf_entry *entries,
                        size_t count, grpo_error *err);
/* Values of the entries in order, encoded to their types; whole blocks, not across entries. */
grpo_status gguf_append(gguf_writer *w, const float *values, uint64_t count, grpo_error *err);
grpo_status gguf_commit(gguf_writer *w, grpo_error *err); /* also frees w, on failure too */
void gguf_abandon(gguf_writer *w);

#endif
