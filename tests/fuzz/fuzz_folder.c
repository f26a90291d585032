/* Hugging Face folders: config.json, the shard index and one shard that it may name ("a"); every tensor is read. */
#include "base/mem.h"
#include "fuzz.h"
#include "model/files.h"
#include "scratch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"config.json", "model.safetensors.index.json", "a"};
    model_files *f;
    grpo_error err;
    scratch_split(names, 3, data, size);
    if (model_files_open(&f, scratch_path(NULL), &err) != GRPO_OK)
        return 0;
    for (int i = 0; i < model_files_count(f); i++) {
        model_tensor_info t = model_files_tensor(f, i);
        int64_t rows = t.rank == 1 ? 1 : t.shape[0], columns = t.rank == 1 ? t.shape[0] : t.shape[1];
        float *x = mem_calloc((size_t)rows * (size_t)columns, sizeof *x);
        if (x)
            model_files_read(f, i, 0, rows, x, &err);
        mem_free(x);
        if (model_files_find(f, t.name) < 0)
            __builtin_trap();
    }
    model_files_close(f);
    return 0;
}
