/* GGUF files, version 2 and 3, little-endian: the metadata and the tensor directory, over a
 * read-only mapping. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
 *
 *   "GGUF" u32 version u64 tensors u64 pairs
 *   pairs x  { string key, u32 type, value }          string = u64 length, bytes
 *   tensors x { string name, u32 rank, u64 ne[rank], u32 type, u64 offset }
 *   padding to general.alignment (default 32), then the tensors' bytes
 *
 * Opening checks everything that can be checked without reading the tensors: every length and
 * offset against the file, alignment, names (unique), types, sizes, and that no two tensors
 * overlap. Memory taken is proportional to the number of pairs and tensors that really stand in
 * the file. Arrays and strings stay in the mapping. */
#ifndef MODEL_GGUF_H
#define MODEL_GGUF_H

#include "base/file.h"
#include "model/dequant.h"

typedef struct gguf_file gguf_file;

typedef enum gguf_type {
    GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL,
    GGUF_STRING, GGUF_ARRAY, GGUF_U64, GGUF_I64, GGUF_F64, GGUF_TYPES
} gguf_type;

typedef struct gguf_value {
    gguf_type type;
    gguf_type item;            /* of an array */
    uint64_t count;            /* items of an array, bytes of a string, else 1 */
    uint64_t bytes;            /* at data */
    const unsigned char *data; /* in the mapping, not aligned; of an array or string: behind its length */
} gguf_value;

typedef struct gguf_pair {
    char *key;
    gguf_value value;
} gguf_pair;

typedef struct gguf_tensor {
    char *name;
    const tensor_type *type;
    int rank;
    int64_t ne[4]; /* ne[0] is the length of a row (the last HF dimension) */
    uint64_t bytes;
    const unsigned char *data; /* in the mapping */
    uint64_t offset;           /* in the data section */
} gguf_tensor;

struct gguf_file {
    char *path;
    file_map map;
    uint32_t version;
    uint64_t alignment;
    gguf_pair *pairs; /* sorted by key */
    size_t n_pairs;
    gguf_tensor *tensors; /* in file order */
    size_t n_tensors;
    uint32_t *by_name; /* indices of tensors, sorted by name */
};

grpo_status gguf_open(gguf_file *f, const char *path, grpo_error *err);
/* The same from memory that outlives f (tests, fuzzing); name is for messages. */
grpo_status gguf_open_memory(gguf_file *f, const void *bytes, size_t size, const char *name,
                             grpo_error *err);
void gguf_close(gguf_file *f);

const gguf_value *gguf_find(const gguf_file *f, const char *key);       /* NULL when absent */
const gguf_tensor *gguf_find_tensor(const gguf_file *f, const char *name); /* NULL when absent */

/* Scalars of any integer (or bool) type, as long as they fit; any float type. 1 when converted,
 * 0 when the value has another type or does not fit. */
int gguf_as_int(const gguf_value *v, int64_t *out);
int gguf_as_double(const gguf_value *v, double *out); /* integers too */

/* Walks the strings of an array of strings: start with {.array = v}; 1 and the next string (not
 * NUL-terminated, in the mapping), 0 at the end or when it is no array of strings. */
typedef struct gguf_strings {
    const gguf_value *array;
    uint64_t index, position;
} gguf_strings;

int gguf_next_string(gguf_strings *s, const char **bytes, size_t *length);

/* Item i of an array of numbers. */
int gguf_item_int(const gguf_value *v, uint64_t i, int64_t *out);
int gguf_item_double(const gguf_value *v, uint64_t i, double *out);

#endif
