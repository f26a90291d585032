/* What a grpo_tokenizer is made of, for the files tokenizer*.c only. */
#ifndef TEXT_TOKENIZER_IMPL_H
#define TEXT_TOKENIZER_IMPL_H

#include <jansson.h>

#include "grpo/tokenizer.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/detokenize.h"
#include "text/normalize.h"
#include "text/pretokenize.h"

/* Decoders that grpo_stream knows how to run token by token. */
typedef enum stream_shape {
    STREAM_BYTES, /* byte level alone */
    STREAM_TOKENS, /* steps on single tokens, then maybe byte fallback, fuse, strip at the start */
    STREAM_AT_END,
} stream_shape;

typedef struct named_text {
    char *name, *text;
} named_text;

typedef struct special_token {
    char *name, *content;
    int32_t id;
} special_token;

struct grpo_tokenizer {
    vocab strings; /* the model's tokens as the file spells them */
    vocab bytes;   /* byte-level models: the same as raw bytes (size 0 otherwise) */
    bpe_model model;

    added_token *added; /* sorted by id */
    size_t added_count, added_capacity;
    added_set raw_set, normalized_set;
    unsigned char *flags; /* [size], TOKEN_… */
    uint32_t size;

    normalize_step *normalizers;
    size_t normalizer_count, normalizer_capacity;
    pretokenize_step *pretokenizers;
    size_t pretokenizer_count, pretokenizer_capacity;
    detokenize_step *decoders;
    size_t decoder_count, decoder_capacity;
    int has_decoder; /* without one, tokens are joined by spaces */
    stream_shape shape;
    size_t token_steps; /* STREAM_TOKENS: decoders that work on single tokens */

    int32_t *before, *after; /* what the post-processor adds */
    size_t before_count, before_capacity, after_count, after_capacity;

    special_token *specials;
    size_t special_count, special_capacity;
    named_text *templates;
    size_t template_count, template_capacity;
    int32_t *eos_ids;
    size_t eos_count, eos_capacity;

    int64_t context_length; /* from a GGUF; -1 unknown */
    char *folder;           /* of the files it was loaded from, NULL for parts */
    char *file;             /* the tokenizer.json itself */
};

enum { TOKEN_ADDED = 1, TOKEN_SPECIAL = 2 };

/* ---- tokenizer_build.c: putting one together ------------------------------------------------------ */

grpo_tokenizer *tokenizer_create(void);

/* A merge of two tokens given by their strings; all must be in the vocabulary. */
grpo_status tokenizer_add_merge(grpo_tokenizer *t, const char *left, size_t left_length,
                                const char *right, size_t right_length, uint32_t rank,
                                grpo_error *err);

/* After t->strings and the pre-tokenizers and normalisers are there, and before merges are added: makes
 * t->model ready. `wanted` has the model's options; its prefix and suffix pass to the tokenizer. */
grpo_status tokenizer_start_model(grpo_tokenizer *t, const bpe_model *wanted, size_t merges,
                                  grpo_error *err);

/* Takes over *token's content, also on failure. */
grpo_status tokenizer_add_token(grpo_tokenizer *t, added_token *token, grpo_error *err);

/* After everything is there: sorts, indexes and checks. */
grpo_status tokenizer_finish(grpo_tokenizer *t, grpo_error *err);

/* Lists grow by one zeroed element; NULL when out of memory or over `limit`. */
normalize_step *tokenizer_new_normalizer(grpo_tokenizer *t);
pretokenize_step *tokenizer_new_pretokenizer(grpo_tokenizer *t);
detokenize_step *tokenizer_new_decoder(grpo_tokenizer *t);

grpo_status tokenizer_add_special(grpo_tokenizer *t, const char *name, const char *content,
                                  grpo_error *err);
grpo_status tokenizer_add_template(grpo_tokenizer *t, const char *name, const char *text,
                                   size_t length, grpo_error *err);
grpo_status tokenizer_add_eos(grpo_tokenizer *t, int64_t id, grpo_error *err);

/* The string that decoding starts from. */
const char *tokenizer_text(const grpo_tokenizer *t, uint32_t id, size_t *length);

/* Byte-level models (STREAM_BYTES): what the token adds to the bytes of the text. */
void tokenizer_append_bytes(const grpo_tokenizer *t, uint32_t id, strbuf *out);

const added_token *tokenizer_added(const grpo_tokenizer *t, uint32_t id);

/* ---- tokenizer_pipeline.c: the parts of tokenizer.json around the model ----------------------------- */

grpo_status tokenizer_read_normalizer(grpo_tokenizer *t, const json_t *json, grpo_error *err);
grpo_status tokenizer_read_pretokenizer(grpo_tokenizer *t, const json_t *json,
                                        grpo_error *err);
grpo_status tokenizer_read_decoder(grpo_tokenizer *t, const json_t *json, grpo_error *err);
/* After the model and the added tokens. */
grpo_status tokenizer_read_postprocessor(grpo_tokenizer *t, const json_t *json,
                                         grpo_error *err);

/* What byte-level tokenizers are made of; also used for GGUF parts. */
grpo_status tokenizer_add_scan(grpo_tokenizer *t, scan_kind scan, grpo_error *err);
grpo_status tokenizer_add_regex(grpo_tokenizer *t, const char *regex, size_t length,
                                const char *where, grpo_error *err);
grpo_status tokenizer_add_bytes(grpo_tokenizer *t, grpo_error *err);

/* ---- tokenizer_config.c ---------------------------------------------------------------------------- */

/* Reads what lies beside tokenizer.json in t->folder. */
grpo_status tokenizer_read_config(grpo_tokenizer *t, grpo_error *err);

#endif
