/* All kernels for plain C. */
#define SIMD_PORTABLE
#define KERNELS_TABLE kernels_portable
#define KERNELS_NAME "portable"
#include "backend/cpu/kernels_all.h"
