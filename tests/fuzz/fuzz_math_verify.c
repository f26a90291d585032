/* The verifier on a reference and a response, separated by a NUL byte: whatever they hold, there is a verdict, the same
 * each time, in bounded time, with texts that are whole. */
#include <string.h>
#include <time.h>

#include "fuzz.h"
#include "grpo/reward.h"

static void check_text(const char text[GRPO_MATH_TEXT])
{
    if (!memchr(text, 0, GRPO_MATH_TEXT))
        __builtin_trap();
}

static void verify(const char *gold, size_t gold_length, const char *response, size_t response_length, grpo_math_result *r)
{
    grpo_error err;
    if (grpo_math_verify(NULL, gold, gold_length, response, response_length, r, &err) != GRPO_OK && err.status != GRPO_ERR_MEMORY)
        __builtin_trap();
    if (r->score < 0 || r->score > 1 || (r->verdict == GRPO_MATH_RIGHT) != (r->score == 1))
        __builtin_trap();
    check_text(r->extracted);
    check_text(r->gold_parsed);
    check_text(r->answer_parsed);
    check_text(r->reason);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *gold = (const char *)data, *zero = memchr(data, 0, size);
    size_t gold_length = zero ? (size_t)(zero - gold) : size;
    const char *response = zero ? zero + 1 : gold; /* without a NUL: the text against itself */
    size_t length = zero ? size - gold_length - 1 : size;
    grpo_math_result first, second;
    clock_t began = clock();
    verify(gold, gold_length, response, length, &first);
    if ((double)(clock() - began) / CLOCKS_PER_SEC > 2) /* with sanitizers; 50 ms without */
        __builtin_trap();
    verify(gold, gold_length, response, length, &second);
    if (first.verdict != second.verdict || strcmp(first.reason, second.reason) != 0)
        __builtin_trap();
    return 0;
}
