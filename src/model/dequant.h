/* The element types of weight files: their block layouts and their decoding to f32. Decoding is
 * f32 arithmetic without fused multiply-add, in the order of the `gguf` package (0.19), which it
 * meets bit for bit. Layouts: ggml's block structures. */
#ifndef MODEL_DEQUANT_H
#define MODEL_DEQUANT_H

#include <stddef.h>
#include <stdint.h>

typedef struct tensor_type {
    const char *name;   /* "F32", "Q4_1", … */
    uint32_t ggml;      /* number in GGUF files */
    unsigned elements;  /* in a block; a row is a whole number of blocks */
    unsigned bytes;     /* of a block */
    /* Decodes whole blocks; src need not be aligned. NULL: the type is known, not supported. */
    void (*decode)(float *dst, const unsigned char *src, size_t blocks);
} tensor_type;

/* NULL when there is no such type. */
const tensor_type *tensor_type_of_ggml(uint32_t ggml);
const tensor_type *tensor_type_named(const char *name);

/* "F32, F16, BF16, …": the types that decode, for messages. */
const char *tensor_type_list(void);

/* IEEE binary16 to f32 (exact). */
float dequant_half(uint16_t h);

#endif
