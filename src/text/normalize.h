/* Normalisers of a tokenizer: a list of steps from text to text. */
#ifndef TEXT_NORMALIZE_H
#define TEXT_NORMALIZE_H

#include "text/pattern.h"

typedef enum normalize_kind {
    NORMALIZE_NFC,
    NORMALIZE_NFD,
    NORMALIZE_NFKC,
    NORMALIZE_NFKD,
    NORMALIZE_LOWERCASE,
    NORMALIZE_STRIP,         /* white space, left and/or right */
    NORMALIZE_STRIP_ACCENTS, /* removes combining marks */
    NORMALIZE_REPLACE,       /* every match of a pattern */
    NORMALIZE_PREPEND,       /* before texts that are not empty */
    NORMALIZE_NMT,           /* control characters out, all white space to spaces */
    NORMALIZE_BYTE_LEVEL,    /* each byte to its printable character */
} normalize_kind;

typedef struct normalize_step {
    normalize_kind kind;
    int left, right;  /* STRIP */
    pattern *pattern; /* REPLACE, owned */
    char *content;    /* REPLACE, PREPEND, owned */
    size_t content_length;
} normalize_step;

void normalize_step_deinit(normalize_step *step);

/* Two buffers between which steps alternate. Zero-initialise. */
typedef struct normalize_scratch {
    strbuf buffers[2];
    pattern_scratch pattern;
} normalize_scratch;

void normalize_scratch_deinit(normalize_scratch *s);

/* A text under way. `head`: how many of its first bytes come from the input's very first character
 * (the Metaspace pre-tokenizer's prepend_scheme "first" asks, for every piece that begins there). */
typedef struct normalize_text {
    const char *data;
    size_t length, head;
} normalize_text;

/* Applies the steps to *text; the result lies in the scratch, or is the input when nothing changed
 * it. */
grpo_status normalize_apply(const normalize_step *steps, size_t count, normalize_scratch *s,
                            normalize_text *text, grpo_error *err);

#endif
