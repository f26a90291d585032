/* f32 to the element types that weights are written in. The bits are those of the `gguf` package
 * (and of ggml's reference quantisers). */
#ifndef MODEL_ENCODE_H
#define MODEL_ENCODE_H

#include <stddef.h>
#include <stdint.h>

/* Round to nearest, ties to even; NaN stays NaN. */
uint16_t encode_half(float x);
uint16_t encode_bfloat(float x);

/* n elements (a whole number of blocks of the type) to dst, which need not be aligned.
 * type: a ggml number; F32, F16, BF16 and Q8_0 are known: returns 0, or -1 for others. */
int encode_elements(uint32_t ggml_type, unsigned char *dst, const float *src, size_t n);

#endif
