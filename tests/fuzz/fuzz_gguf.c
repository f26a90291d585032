/* GGUF files: directory, configuration, tensors' values, strings. */
#include "base/mem.h"
#include "fuzz.h"
#include "model/config_gguf.h"
#include "model/tensors.h"

static void walk_strings(const gguf_value *v, volatile size_t *sum)
{
    gguf_strings s = {.array = v};
    const char *bytes;
    size_t length;
    while (gguf_next_string(&s, &bytes, &length))
        for (size_t i = 0; i < length; i++)
            *sum += (unsigned char)bytes[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gguf_file f;
    model_config c;
    grpo_error err;
    volatile size_t sum = 0;
    if (gguf_open_memory(&f, data, size, "fuzz", &err) != GRPO_OK)
        return 0;
    for (size_t i = 0; i < f.n_pairs; i++)
        walk_strings(&f.pairs[i].value, &sum);
    for (size_t i = 0; i < f.n_tensors; i++) {
        const gguf_tensor *t = &f.tensors[i];
        size_t blocks = (size_t)(t->bytes / t->type->bytes);
        float *x = t->type->decode ? mem_calloc(blocks * t->type->elements, sizeof *x) : NULL;
        if (x)
            t->type->decode(x, t->data, blocks);
        mem_free(x);
    }
    if (model_config_from_gguf(&c, &f, &err) == GRPO_OK) {
        sum += (size_t)model_tensor_count(&c);
        model_config_deinit(&c);
    }
    gguf_close(&f);
    return 0;
}
