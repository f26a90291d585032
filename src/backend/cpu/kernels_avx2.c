/* All kernels for AVX2 and FMA. */
#define SIMD_AVX2
#define KERNELS_TABLE kernels_avx2
#define KERNELS_NAME "avx2"
#include "backend/cpu/kernels_all.h"
