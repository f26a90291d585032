/* safetensors files: https://huggingface.co/docs/safetensors (format), read over a mapping and
 * written as a stream.
 *
 *   u64 length of the header, header (JSON), data
 *   header: {"__metadata__": {string: string}, NAME: {"dtype": T, "shape": [..], "data_offsets": [begin, end]}, ..}
 *
 * As the reference library does, the reader demands that the tensors fill the data part without
 * overlap or hole and that dtype, shape and offsets agree. The header is scanned in one pass
 * without building a tree: memory is proportional to the tensors that really stand in it. */
#ifndef MODEL_SAFETENSORS_H
#define MODEL_SAFETENSORS_H

#include "base/file.h"

enum { SAFETENSORS_MAX_RANK = 8 };

typedef enum safetensors_dtype {
    SAFETENSORS_F32, SAFETENSORS_F16, SAFETENSORS_BF16, /* the ones that decode to f32 */
    SAFETENSORS_F64, SAFETENSORS_I64, SAFETENSORS_I32, SAFETENSORS_I16, SAFETENSORS_I8,
    SAFETENSORS_U64, SAFETENSORS_U32, SAFETENSORS_U16, SAFETENSORS_U8, SAFETENSORS_BOOL,
    SAFETENSORS_F8_E4M3, SAFETENSORS_F8_E5M2,
    SAFETENSORS_DTYPES
} safetensors_dtype;

const char *safetensors_dtype_name(safetensors_dtype t);
unsigned safetensors_dtype_bytes(safetensors_dtype t);

typedef struct safetensors_tensor {
    char *name;
    safetensors_dtype dtype;
    int rank; /* 0: a scalar, one element */
    int64_t shape[SAFETENSORS_MAX_RANK];
    uint64_t begin, end;       /* in the data part */
    const unsigned char *data; /* in the mapping, not aligned */
} safetensors_tensor;

typedef struct safetensors_file {
    char *path;
    file_map map;
    safetensors_tensor *tensors; /* sorted by name */
    size_t n_tensors;
} safetensors_file;

grpo_status safetensors_open(safetensors_file *f, const char *path, grpo_error *err);
/* The same from memory that outlives f; name is for messages. */
grpo_status safetensors_open_memory(safetensors_file *f, const void *bytes, size_t size,
                                    const char *name, grpo_error *err);
void safetensors_close(safetensors_file *f);

/* NULL when absent. */
const safetensors_tensor *safetensors_find(const safetensors_file *f, const char *name);

/* Decodes elements [first, first + count) of an F32, F16 or BF16 tensor. The caller checks the
 * range and the type. */
void safetensors_decode(const safetensors_tensor *t, uint64_t first, uint64_t count, float *dst);

/* ---- writing ----------------------------------------------------------------------- */

/* One tensor of a file to write. The file is written in the order given. */
typedef struct safetensors_entry {
    const char *name;
    safetensors_dtype dtype; /* F32, F16 or BF16 */
    int rank;
    int64_t shape[SAFETENSORS_MAX_RANK];
} safetensors_entry;

typedef struct safetensors_writer {
    file_writer file;
    const safetensors_entry *entries; /* borrowed */
    size_t n_entries, next;
    uint64_t missing; /* elements still to come of the entry before `next` */
    unsigned char *scratch;
} safetensors_writer;

/* Writes the header, with metadata {"format": "pt"} and the pairs given (may be NULL: key, value,
 * key, value, …, NULL). Names must be unique. Nothing is visible at path before the commit. */
grpo_status safetensors_create(safetensors_writer *w, const char *path, const safetensors_entry *entries,
                               size_t count, const char *const *metadata, grpo_error *err);
/* Appends values of the entries in order, converted from f32 to the entry's type (round to nearest
 * even). Any split into calls; a call must not cross from one entry into the next. */
grpo_status safetensors_append(safetensors_writer *w, const float *values, uint64_t count, grpo_error *err);
/* All entries must be complete. Also frees w, on failure too. */
grpo_status safetensors_commit(safetensors_writer *w, grpo_error *err);
void safetensors_abandon(safetensors_writer *w);

#endif
