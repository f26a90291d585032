/* Decoders: from the strings of tokens to text, in the steps of tokenizer.json's "decoder". */
#ifndef TEXT_DETOKENIZE_H
#define TEXT_DETOKENIZE_H

#include "text/pattern.h"

typedef enum detokenize_kind {
    DETOKENIZE_REPLACE,       /* every match of a pattern, in each token */
    DETOKENIZE_STRIP,         /* up to `start` and `stop` characters `content` off a token's ends */
    DETOKENIZE_METASPACE,     /* `content` to a space; in the first token to nothing (if `prefixed`) */
    DETOKENIZE_SUFFIX,        /* `content` to a space; in the last token to nothing */
    DETOKENIZE_BYTE_FALLBACK, /* runs of <0xNN> tokens to characters */
    DETOKENIZE_BYTE_LEVEL,    /* printable characters to bytes, all in one token */
    DETOKENIZE_FUSE,          /* all in one token */
} detokenize_kind;

typedef struct detokenize_step {
    detokenize_kind kind;
    pattern *pattern; /* REPLACE, owned */
    char *content;    /* owned; STRIP, METASPACE: one character */
    size_t content_length;
    size_t start, stop;
    int prefixed;
} detokenize_step;

void detokenize_step_deinit(detokenize_step *step);

/* A list of token strings: token i is text[ends[i - 1] .. ends[i]). Zero-initialise. */
typedef struct token_list {
    strbuf text;
    size_t *ends;
    size_t count, capacity;
} token_list;

int token_list_add(token_list *list, const char *text, size_t length); /* 0, or -1: out of memory */
int token_list_close(token_list *list); /* ends a token appended to list->text by hand */
void token_list_clear(token_list *list);
void token_list_deinit(token_list *list);
const char *token_list_get(const token_list *list, size_t i, size_t *length);

/* Runs the steps over *tokens; `spare` is working space. first_index: the place of the first token in
 * the whole sequence. */
grpo_status detokenize_apply(const detokenize_step *steps, size_t count, token_list *tokens,
                             token_list *spare, pattern_scratch *scratch, size_t first_index,
                             grpo_error *err);

/* The byte that a token like "<0x0A>" stands for, or -1. */
int detokenize_fallback_byte(const char *token, size_t length);

/* Ends a run of fallback bytes: one token of the characters that they are, or a U+FFFD for each byte,
 * as the crate has it. 0, or -1: out of memory. Clears the run. */
int detokenize_end_run(token_list *out, strbuf *run);

#endif
