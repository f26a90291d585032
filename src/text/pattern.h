/* Patterns of pre-tokenizers, normalisers and decoders: a literal string, or a regular expression in
 * the syntax that tokenizer.json uses (Oniguruma with Ruby syntax), run through PCRE2 with the
 * character classes of Unicode 16.0 whatever version PCRE2 itself was built with. */
#ifndef TEXT_PATTERN_H
#define TEXT_PATTERN_H

#include <stddef.h>

#include "base/strbuf.h"
#include "grpo/error.h"

typedef struct pattern pattern;

/* `where` names the place in the file for messages. */
grpo_status pattern_create_literal(pattern **out, const char *text, size_t length, grpo_error *err);
grpo_status pattern_create_regex(pattern **out, const char *source, size_t length,
                                 const char *where, grpo_error *err);
void pattern_destroy(pattern *p);

/* What it was made from; *regex tells of which kind. */
const char *pattern_source(const pattern *p, size_t *length, int *regex);

/* What matching needs besides the pattern; one per thread. Zero-initialise. */
typedef struct pattern_scratch {
    void *match_data, *context, *stack; /* of PCRE2 */
    strbuf masked;
} pattern_scratch;

void pattern_scratch_deinit(pattern_scratch *s);

/* Walks over the matches in a text (valid UTF-8) from left to right. An empty match right behind
 * the match before it is passed over, as Oniguruma's iterator in the crate does. The text must stay
 * until the end; the scratch belongs to this walk until the next pattern_begin. */
typedef struct pattern_walk {
    const pattern *pattern;
    pattern_scratch *scratch;
    const char *subject; /* the text, or a copy with the same character boundaries */
    size_t length, at, last_end;
    int matched;
} pattern_walk;

grpo_status pattern_begin(pattern_walk *w, const pattern *p, pattern_scratch *s, const char *text,
                          size_t length, grpo_error *err);
/* 1 and the match's bounds, 0 at the end, -1 on failure. */
int pattern_next(pattern_walk *w, size_t *start, size_t *end, grpo_error *err);

/* ruby_regex.c: the same expression in PCRE2's syntax (with PCRE2_UTF, PCRE2_UCP, PCRE2_MULTILINE
 * and newlines LF), or a refusal that names the construct. */
grpo_status ruby_regex_translate(strbuf *out, const char *source, size_t length, const char *where,
                                 grpo_error *err);

#endif
