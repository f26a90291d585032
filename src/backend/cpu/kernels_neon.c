/* All kernels for NEON. */
#define SIMD_NEON
#define KERNELS_TABLE kernels_neon
#define KERNELS_NAME "neon"
#include "backend/cpu/kernels_all.h"
