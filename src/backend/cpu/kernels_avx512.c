/* All kernels for AVX-512. */
#define SIMD_AVX512
#define KERNELS_TABLE kernels_avx512
#define KERNELS_NAME "avx512"
#include "backend/cpu/kernels_all.h"
