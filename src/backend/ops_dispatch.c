/* Which instruction set the kernels use. */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#if defined(GRPO_HAVE_AVX512)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "backend/cpu/job_gemm.h"
#include "backend/cpu/kernels.h"
#include "backend/ops.h"

static _Atomic(const kernels *) in_use;

#if defined(GRPO_HAVE_AVX512)
static int has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("fma");
}

static int has_avx512bf16(void)
{
    return has_avx512() && __builtin_cpu_supports("avx512bf16");
}

/* The processor has it, and the system lets this process use it: tiles make a thread's saved state larger by 8 KB,
 * so Linux wants to be asked once, before the first use (Documentation/arch/x86/xstate.rst). */
static int has_amx(void)
{
    enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    unsigned a, b, c, d = 0;
    return has_avx512bf16() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & AMX_BF16) && (d & AMX_TILE) &&
           syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

static int has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

static int always(void)
{
    return 1;
}

/* Best first. */
static const struct {
    const kernels *table;
    int (*available)(void);
} choices[] = {
#if defined(GRPO_HAVE_AVX512)
    {&kernels_amx, has_amx},
    {&kernels_avx512bf16, has_avx512bf16},
    {&kernels_avx512, has_avx512},
    {&kernels_avx2, has_avx2},
#endif
#if defined(GRPO_HAVE_NEON)
    {&kernels_neon, always},
#endif
    {&kernels_portable, always},
};

enum { CHOICES = sizeof choices / sizeof *choices };

/* NULL: unknown here, or not available on this machine. */
static const kernels *find(const char *name)
{
    for (int i = 0; i < CHOICES; i++)
        if (!strcmp(choices[i].table->name, name) && choices[i].available())
            return choices[i].table;
    return NULL;
}

static const char *wanted(void)
{
    const char *name = getenv("GRPO_ISA");
    return name && *name ? name : NULL;
}

const kernels *ops_kernels(void)
{
    const kernels *k = atomic_load_explicit(&in_use, memory_order_acquire);
    if (k)
        return k;
    k = wanted() ? find(wanted()) : NULL;
    for (int i = 0; !k; i++)
        if (choices[i].available())
            k = choices[i].table;
    const kernels *expected = NULL; /* a choice made meanwhile stays */
    return atomic_compare_exchange_strong(&in_use, &expected, k) ? k : expected;
}

grpo_status ops_check(grpo_error *err)
{
    const char *name = wanted();
    if (!name || find(name))
        return GRPO_OK;
    char list[64] = "";
    for (int i = 0; i < CHOICES; i++)
        if (choices[i].available()) {
            strcat(list, *list ? ", " : "");
            strcat(list, choices[i].table->name);
        }
    return grpo_fail(err, GRPO_ERR_CONFIG, "GRPO_ISA=%s cannot run on this machine; it has %s", name, list);
}

const char *ops_isa(void)
{
    return ops_kernels()->name;
}

int ops_select_isa(const char *name)
{
    const kernels *k = find(name);
    if (!k)
        return -1;
    atomic_store(&in_use, k);
    return 0;
}

int ops_is_fast(ops_type type)
{
    if (type == OPS_BF16_TILE)
        return strcmp(ops_isa(), "amx") == 0;
    if (type != OPS_BF16_DOT)
        return 1;
#if defined(GRPO_HAVE_AVX512)
    return strcmp(ops_isa(), "avx512bf16") == 0 && __builtin_cpu_is("amd");
#else
    return 0;
#endif
}

float ops_exp(float x)
{
    scalar_job job = {x, 0.0f};
    pool_run(NULL, 1, 1, ops_kernels()->exp_one, &job);
    return job.y;
}

float ops_log(float x)
{
    scalar_job job = {x, 0.0f};
    pool_run(NULL, 1, 1, ops_kernels()->log_one, &job);
    return job.y;
}
