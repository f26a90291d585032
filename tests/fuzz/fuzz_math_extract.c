/* The answer extractor: what it finds lies inside the text, for every choice of places. */
#include <string.h>

#include "fuzz.h"
#include "grpo/reward.h"
#include "reward/math_extract.h"

static void check_slice(math_slice s, const char *text, size_t size)
{
    if (s.length && (s.data < text || s.length > size || s.data + s.length > text + size))
        __builtin_trap();
}

static void check(const math_extract *found, const char *text, size_t size)
{
    if (found->count < 0 || found->count > MATH_MAX_PIECES || !found->source || (found->count == 0 && !found->problem))
        __builtin_trap();
    for (int i = 0; i < found->count; i++)
        check_slice(found->pieces[i], text, size);
    check_slice(found->exact, text, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    math_extract found;
    for (unsigned from = 1; from <= GRPO_MATH_FROM_ALL; from = from * 2 + 1) {
        math_extract_answer(&found, (math_slice){text, size}, from);
        check(&found, text, size);
    }
    math_extract_gold(&found, (math_slice){text, size});
    check(&found, text, size);
    return 0;
}
