/* Byte-pair encoding of one word: from its bytes or characters to token ids by merges in order of
 * rank (Sennrich, Haddow, Birch 2016; the details are those of the `tokenizers` crate's BPE).
 *
 * A model works on raw bytes (byte-level BPE; its vocabulary `keys` holds the tokens' raw bytes) or
 * on characters (all others; `keys` holds the tokens as text). It is immutable once built, apart
 * from a relaxed atomic note per token, so any number of threads may encode with it. */
#ifndef TEXT_BPE_H
#define TEXT_BPE_H

#include <stdatomic.h>

#include "text/vocab.h"

typedef struct bpe_pair {
    uint64_t key; /* left << 32 | right; UINT64_MAX = free */
    uint32_t rank, result;
} bpe_pair;

typedef struct bpe_model {
    const vocab *keys;
    int raw_bytes;
    int ignore_merges;         /* a word that is a token is that token, whatever the merges say */
    int byte_fallback;         /* characters without a token become <0xNN> tokens */
    int fuse_unknown;          /* unknown characters in a row give one unknown token */
    uint32_t unknown;          /* VOCAB_NONE: unknown characters vanish */
    char *prefix, *suffix;     /* of characters inside and at the end of a word; NULL = none */
    uint32_t byte_ids[256];    /* raw_bytes: of each byte; else of each <0xNN> */
    uint32_t ascii_ids[128];   /* characters: of each ASCII character alone */
    bpe_pair *pairs;           /* open-addressing table of the merges */
    size_t pair_mask, pair_count;
    atomic_uchar *whole;       /* per token: does its own string encode to it alone? (0: not known) */
} bpe_model;

/* Takes the fields above `byte_ids` as they are set (prefix and suffix are then owned), fills the
 * rest. `merges` is how many bpe_add_merge calls will follow. */
grpo_status bpe_init(bpe_model *m, size_t merges, grpo_error *err);
void bpe_deinit(bpe_model *m);

/* A later merge of the same pair replaces an earlier one. Equal ranks are taken from the left. */
void bpe_add_merge(bpe_model *m, uint32_t left, uint32_t right, uint32_t rank, uint32_t result);

/* Buffers of one encoding thread, grown as needed. Zero-initialise. */
typedef struct bpe_scratch {
    uint32_t *ids;
    size_t capacity, count;
    uint32_t *previous, *next; /* of the long-word algorithm */
    size_t link_capacity;
    uint64_t *heap;
    size_t heap_capacity;
    char *piece; /* a character with prefix and suffix */
    size_t piece_capacity;
} bpe_scratch;

void bpe_scratch_deinit(bpe_scratch *s);

/* A growing list of ids. */
typedef struct bpe_ids {
    int32_t *data;
    size_t count, capacity;
} bpe_ids;

/* Appends the ids of a word (valid UTF-8 unless raw_bytes) of less than 2^31 bytes. */
grpo_status bpe_encode_word(const bpe_model *m, const char *word, size_t length, bpe_scratch *s,
                            bpe_ids *out, grpo_error *err);

#endif
