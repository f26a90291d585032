/* Included once by each kernels_<isa>.c: every kernel body, then the table that names them. */
#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/cpu/kernels.h"
#include "backend/cpu/job_attention.h"
#include "backend/cpu/job_elementwise.h"
#include "backend/cpu/job_experts.h"
#include "backend/cpu/job_gemm.h"
#include "backend/cpu/job_head.h"
#include "backend/cpu/job_rows.h"
#include "backend/cpu/simd.h"

#include "backend/cpu/body_math.h"
#include "backend/cpu/body_pack.h"
#include "backend/cpu/body_gemm.h"
#include "backend/cpu/body_dw.h"
#if defined(SIMD_AMX)
#include "backend/cpu/body_amx.h"
#endif
#include "backend/cpu/body_head.h"
#include "backend/cpu/body_draw.h"
#include "backend/cpu/body_elementwise.h"
#include "backend/cpu/body_norm.h"
#include "backend/cpu/body_rope.h"
#include "backend/cpu/body_glu.h"
#include "backend/cpu/body_experts.h"
#include "backend/cpu/body_kv.h"
#include "backend/cpu/body_attention_tiles.h"
#include "backend/cpu/body_attention.h"
#include "backend/cpu/body_attention_grad.h"

const kernels KERNELS_TABLE = {
    .name = KERNELS_NAME,
#define X(op) .op = kernel_##op,
    KERNELS(X)
#undef X
};
