/* What is asked of every tokenizer that was accepted, wherever it came from: encoding, decoding, streaming. */
#ifndef TESTS_FUZZ_TOKENIZER_ROUND_H
#define TESTS_FUZZ_TOKENIZER_ROUND_H

#include <string.h>

#include "grpo/tokenizer.h"

/* Pieces of a stream, put together, are what decoding at once gives. */
static void check_stream(const grpo_tokenizer *t, const int32_t *ids, size_t n, const char *whole, size_t length)
{
    grpo_stream *s;
    const char *piece;
    size_t piece_length, at = 0;
    if (grpo_stream_create(&s, t, 0, NULL) != GRPO_OK)
        return;
    for (size_t i = 0; i <= n; i++) {
        grpo_status status = i < n ? grpo_stream_push(s, ids[i], &piece, &piece_length, NULL)
                                   : grpo_stream_finish(s, &piece, &piece_length, NULL);
        if (status != GRPO_OK || piece_length > length - at || memcmp(whole + at, piece, piece_length) != 0)
            __builtin_trap();
        at += piece_length;
    }
    if (at != length)
        __builtin_trap();
    grpo_stream_destroy(s);
}

static void tokenizer_round(const grpo_tokenizer *t)
{
    static const char text[] = "Ab <s>a\xC3\xA9 b12, \xE4\xB8\xAD it's\n\n  \xFF x</s> \xF0\x9F\x98\x80";
    for (unsigned flags = 0; flags < 4; flags++) {
        int32_t *ids;
        size_t n, length;
        char *back;
        if (grpo_tokenizer_encode(t, text, sizeof text - 1, flags, &ids, &n, NULL) != GRPO_OK)
            continue;
        for (size_t i = 0; i < n; i++)
            if (ids[i] < 0)
                __builtin_trap();
        if (grpo_tokenizer_decode(t, ids, n, 0, &back, &length, NULL) == GRPO_OK) {
            check_stream(t, ids, n, back, length);
            grpo_tokenizer_free_text(back);
        }
        grpo_tokenizer_free_ids(ids);
    }
}

#endif
