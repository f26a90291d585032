/* All kernels for AVX-512 with BF16, and AMX. */
#define SIMD_AVX512
#define SIMD_AMX
#define KERNELS_TABLE kernels_amx
#define KERNELS_NAME "amx"
#include "backend/cpu/kernels_all.h"
