/* GGUF files as whole models: metadata against tensors, the rows of every tensor, and the tokenizer. */
#include "base/mem.h"
#include "fuzz.h"
#include "model/files.h"
#include "scratch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    model_files *f;
    grpo_error err;
    scratch_write("m.gguf", data, size);
    if (model_files_open(&f, scratch_path("m.gguf"), &err) != GRPO_OK)
        return 0;
    for (int i = 0; i < model_files_count(f); i++) {
        model_tensor_info t = model_files_tensor(f, i);
        int64_t rows = t.rank == 1 ? 1 : t.shape[0], columns = t.rank == 1 ? t.shape[0] : t.shape[1];
        float *x = mem_calloc((size_t)rows * (size_t)columns, sizeof *x);
        if (x)
            model_files_read(f, i, 0, rows, x, &err);
        mem_free(x);
    }
    model_files_close(f);
    return 0;
}
