/* safetensors files: header, values. */
#include "base/mem.h"
#include "fuzz.h"
#include "model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    safetensors_file f;
    grpo_error err;
    if (safetensors_open_memory(&f, data, size, "fuzz", &err) != GRPO_OK)
        return 0;
    for (size_t i = 0; i < f.n_tensors; i++) {
        const safetensors_tensor *t = &f.tensors[i];
        size_t n = (size_t)(t->end - t->begin) / safetensors_dtype_bytes(t->dtype);
        float *x = t->dtype <= SAFETENSORS_BF16 ? mem_calloc(n, sizeof *x) : NULL;
        if (x)
            safetensors_decode(t, 0, n, x);
        mem_free(x);
        if (safetensors_find(&f, t->name) != t)
            __builtin_trap();
    }
    safetensors_close(&f);
    return 0;
}
