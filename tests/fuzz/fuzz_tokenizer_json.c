/* tokenizer.json and tokenizer_config.json. */
#include "fuzz.h"
#include "scratch.h"
#include "tokenizer_round.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json"};
    grpo_tokenizer *t;
    grpo_error err;
    scratch_split(names, 2, data, size);
    if (grpo_tokenizer_load(&t, scratch_path(NULL), &err) != GRPO_OK)
        return 0;
    tokenizer_round(t);
    grpo_tokenizer_destroy(t);
    return 0;
}
