/* The tokenizer in a GGUF file's metadata. */
#include "fuzz.h"
#include "model/tokenizer.h"
#include "tokenizer_round.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gguf_file f;
    grpo_tokenizer *t;
    grpo_error err;
    if (gguf_open_memory(&f, data, size, "fuzz", &err) != GRPO_OK)
        return 0;
    if (model_tokenizer_from_gguf(&t, &f, &err) == GRPO_OK) {
        tokenizer_round(t);
        grpo_tokenizer_destroy(t);
    }
    gguf_close(&f);
    return 0;
}
