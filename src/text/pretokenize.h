/* Pre-tokenizers: a list of steps that cut a text into the words that BPE works on. */
#ifndef TEXT_PRETOKENIZE_H
#define TEXT_PRETOKENIZE_H

#include "text/pattern.h"
#include "text/scan.h"

typedef enum pretokenize_kind {
    PRETOKENIZE_SCAN,        /* one of the usual expressions, pieces isolated */
    PRETOKENIZE_SPLIT,       /* at a pattern */
    PRETOKENIZE_DIGITS,      /* at numeric characters */
    PRETOKENIZE_PUNCTUATION, /* at punctuation */
    PRETOKENIZE_SPACE,       /* at white space */
    PRETOKENIZE_WORDS,       /* \w+|[^\w\s]+ ("Whitespace") */
    PRETOKENIZE_LENGTH,      /* every `count` characters */
    PRETOKENIZE_PREFIX,      /* puts `content` in front unless it is there */
    PRETOKENIZE_METASPACE,   /* spaces to `content`, one in front by `scheme` */
    PRETOKENIZE_BYTES,       /* bytes to their printable characters */
} pretokenize_kind;

/* What becomes of the stretches that match (are delimiters). */
typedef enum split_behavior {
    SPLIT_REMOVED,
    SPLIT_ISOLATED,
    SPLIT_MERGED_WITH_PREVIOUS,
    SPLIT_MERGED_WITH_NEXT,
    SPLIT_CONTIGUOUS,
} split_behavior;

typedef enum metaspace_scheme { METASPACE_ALWAYS, METASPACE_FIRST, METASPACE_NEVER } metaspace_scheme;

typedef struct pretokenize_step {
    pretokenize_kind kind;
    scan_kind scan;
    pattern *pattern; /* SPLIT, owned */
    split_behavior behavior;
    int invert;        /* SPLIT: what does not match is the delimiter */
    char content[8];   /* PREFIX, METASPACE: one character */
    metaspace_scheme scheme;
    size_t count;
} pretokenize_step;

void pretokenize_step_deinit(pretokenize_step *step);

#define PRETOKENIZE_MAX_STEPS 32

/* Buffers of one thread. Zero-initialise. */
typedef struct pretokenize_scratch {
    struct {
        strbuf text;
        pattern_scratch pattern;
    } steps[PRETOKENIZE_MAX_STEPS];
} pretokenize_scratch;

void pretokenize_scratch_deinit(pretokenize_scratch *s);

/* Called for each word, in order; never with an empty one. */
typedef grpo_status pretokenize_word(void *context, const char *word, size_t length,
                                     grpo_error *err);

/* `head`: as in normalize_text. */
grpo_status pretokenize_apply(const pretokenize_step *steps, size_t count, pretokenize_scratch *s,
                              const char *text, size_t length, size_t head,
                              pretokenize_word *word, void *context, grpo_error *err);

#endif
