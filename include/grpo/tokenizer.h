/* Tokenizers: text to token ids and back, exactly as Hugging Face `tokenizers` 0.23.3 does it.
 *
 * A tokenizer comes from a tokenizer.json (byte-level BPE, byte-fallback BPE) or from the parts that a
 * GGUF file holds. It never changes after it was made: any number of threads may use one at a time.
 * What a tokenizer.json asks for and this code does not do is refused by name.
 *
 * Texts are UTF-8 bytes with a length; they may hold NUL. Invalid UTF-8 is read as one U+FFFD for each
 * maximal ill-formed part. */
#ifndef GRPO_TOKENIZER_H
#define GRPO_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "grpo/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct grpo_tokenizer grpo_tokenizer;

/* Reads a tokenizer.json, or the one in a folder. Beside it, tokenizer_config.json (special tokens,
 * chat template), chat_template.jinja, generation_config.json and config.json (end tokens) are read
 * when they are there. The blocks `truncation` and `padding` have no effect, as in transformers. */
grpo_status grpo_tokenizer_load(grpo_tokenizer **out, const char *path, grpo_error *err);
void grpo_tokenizer_destroy(grpo_tokenizer *t);

/* The tokenizer of a model: its folder, its tokenizer.json, or its GGUF file. */
grpo_status grpo_tokenizer_open(grpo_tokenizer **out, const char *model, grpo_error *err);

/* ---- from the parts of a GGUF file ------------------------------------------------------------ */

typedef struct grpo_bytes {
    const char *data; /* not NUL-terminated */
    size_t length;
} grpo_bytes;

/* What the metadata tokenizer.ggml.* holds, each under its key's name. Borrowed during the call.
 * Pointers that are NULL and numbers that are negative stand for absent keys. */
typedef struct grpo_tokenizer_parts {
    grpo_bytes model;              /* "gpt2" (byte-level BPE with merges) or "llama" (scores) */
    grpo_bytes pre;                /* the pre-tokenizer's name, for "gpt2" */
    const grpo_bytes *tokens;      /* [token_count] */
    size_t token_count;
    const int32_t *token_types;    /* [token_count]: 1 normal, 2 unknown, 3 control, 4 user defined,
                                      5 unused, 6 byte; NULL: all normal */
    const float *scores;           /* [token_count], for "llama" */
    const grpo_bytes *merges;      /* [merge_count], each "left right", for "gpt2" */
    size_t merge_count;
    int64_t bos_token_id, eos_token_id, eot_token_id, eom_token_id;
    int64_t unknown_token_id, padding_token_id;
    int add_bos_token, add_eos_token, add_space_prefix; /* 0, 1, or -1 for absent */
    grpo_bytes chat_template;      /* tokenizer.chat_template */
    const grpo_bytes *template_names, *templates; /* [template_count]: tokenizer.chat_template.NAME */
    size_t template_count;
    int64_t context_length;        /* {architecture}.context_length, for model_max_length */
} grpo_tokenizer_parts;

/* All pointers NULL, all numbers absent. */
#define GRPO_TOKENIZER_PARTS_INIT                                                                  \
    {                                                                                              \
        .bos_token_id = -1, .eos_token_id = -1, .eot_token_id = -1, .eom_token_id = -1,            \
        .unknown_token_id = -1, .padding_token_id = -1, .add_bos_token = -1, .add_eos_token = -1,  \
        .add_space_prefix = -1, .context_length = -1                                               \
    }

grpo_status grpo_tokenizer_from_parts(grpo_tokenizer **out, const grpo_tokenizer_parts *parts,
                                      grpo_error *err);

/* ---- encoding and decoding ---------------------------------------------------------------------- */

enum {
    GRPO_ENCODE_ADDED = 1,            /* with the tokens that the post-processor adds (bos, …) */
    GRPO_ENCODE_SPECIALS_AS_TEXT = 2, /* special tokens in the text are ordinary text */
};

/* *ids is the caller's: free it with grpo_tokenizer_free_ids. An empty text gives a valid pointer. */
grpo_status grpo_tokenizer_encode(const grpo_tokenizer *t, const char *text, size_t length,
                                  unsigned flags, int32_t **ids, size_t *count, grpo_error *err);
void grpo_tokenizer_free_ids(int32_t *ids);

/* *text is the caller's (NUL-terminated besides): free it with grpo_tokenizer_free_text. Incomplete
 * characters come out as U+FFFD. Ids that no token has (padded rows of a vocabulary) give nothing;
 * negative ids are refused. */
grpo_status grpo_tokenizer_decode(const grpo_tokenizer *t, const int32_t *ids, size_t count,
                                  int skip_special, char **text, size_t *length, grpo_error *err);
void grpo_tokenizer_free_text(char *text);

/* Decoding token by token. The pieces, put together, are what grpo_tokenizer_decode gives; a piece
 * never ends inside a character. What cannot be decided yet is held back: the bytes of an incomplete
 * character; for byte-fallback tokenizers the whole run of byte tokens; for tokenizers with an unusual
 * decoder everything, until grpo_stream_finish. */
typedef struct grpo_stream grpo_stream;

grpo_status grpo_stream_create(grpo_stream **out, const grpo_tokenizer *t, int skip_special,
                               grpo_error *err);
void grpo_stream_destroy(grpo_stream *s);

/* *text (not NUL-terminated) is valid until the next call for this stream; *length may be 0. */
grpo_status grpo_stream_push(grpo_stream *s, int32_t id, const char **text, size_t *length,
                             grpo_error *err);
/* The rest; the stream then starts anew. */
grpo_status grpo_stream_finish(grpo_stream *s, const char **text, size_t *length, grpo_error *err);

/* ---- what is in it ------------------------------------------------------------------------------ */

/* Highest id + 1, added tokens included. */
size_t grpo_tokenizer_size(const grpo_tokenizer *t);

/* The id of a token as the vocabulary spells it, -1 when there is none. */
int32_t grpo_tokenizer_id(const grpo_tokenizer *t, const char *token, size_t length);

/* The token as the vocabulary spells it (not NUL-terminated), NULL when the id has none. */
const char *grpo_tokenizer_token(const grpo_tokenizer *t, int32_t id, size_t *length);

/* The bytes that a token stands for in the middle of a text. Writes at most `capacity` of them and
 * returns how many there are (0 for ids without a token). */
size_t grpo_tokenizer_token_bytes(const grpo_tokenizer *t, int32_t id, char *bytes, size_t capacity);

/* Is it skipped by skip_special? */
int grpo_tokenizer_is_special(const grpo_tokenizer *t, int32_t id);

/* By the names of tokenizer_config.json: "bos_token", "eos_token", "pad_token", "unk_token", … The
 * token's text (NUL-terminated) or NULL; its id or -1. */
const char *grpo_tokenizer_special(const grpo_tokenizer *t, const char *name);
int32_t grpo_tokenizer_special_id(const grpo_tokenizer *t, const char *name);

/* All tokens that end an answer: eos_token and those of generation_config.json and config.json, or of
 * the GGUF's eos, eot and eom keys. Sorted; valid as long as the tokenizer. */
const int32_t *grpo_tokenizer_eos_ids(const grpo_tokenizer *t, size_t *count);

/* The chat template's source: the default one for name NULL, else the one of that name ("tool_use");
 * NULL when there is none. */
const char *grpo_tokenizer_chat_template(const grpo_tokenizer *t, const char *name);

/* Writes tokenizer.json, tokenizer_config.json and special_tokens_map.json into an existing folder, for
 * transformers, vLLM and others to load. Files that the tokenizer was loaded from are copied. */
grpo_status grpo_tokenizer_write_folder(const grpo_tokenizer *t, const char *folder,
                                        grpo_error *err);

#ifdef __cplusplus
}
#endif
#endif
