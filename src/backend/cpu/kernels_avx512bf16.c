/* All kernels for AVX-512 with BF16. */
#define SIMD_AVX512
#define KERNELS_TABLE kernels_avx512bf16
#define KERNELS_NAME "avx512bf16"
#include "backend/cpu/kernels_all.h"
