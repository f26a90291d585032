/* Added tokens: strings that are cut out of a text before anything else happens to it. */
#ifndef TEXT_ADDED_TOKENS_H
#define TEXT_ADDED_TOKENS_H

#include <stddef.h>
#include <stdint.h>

#include "grpo/error.h"

typedef struct added_token {
    uint32_t id;
    char *content; /* owned */
    size_t length;
    char *text; /* owned: the normalised content where that differs, else NULL */
    size_t text_length;
    int single_word, lstrip, rstrip;
    int normalized; /* looked for in the normalised text, by its normalised content */
    int special;
} added_token;

/* One set of strings to look for. */
typedef struct added_pattern {
    const char *text; /* borrowed */
    size_t length;
    const added_token *token;
} added_pattern;

typedef struct added_set {
    added_pattern *patterns; /* sorted by text */
    size_t count;
    uint32_t first[257]; /* patterns[first[b] .. first[b + 1]) start with byte b */
} added_set;

/* Sorts and indexes set->patterns; equal or empty patterns are refused. */
grpo_status added_set_index(added_set *set, grpo_error *err);

/* A match: the token and the stretch that it takes (with stripped white space). */
typedef struct added_match {
    const added_token *token; /* NULL: none up to the end of the text */
    size_t start, end;
} added_match;

/* Walks over a text: the leftmost, then longest match from *at on; *at moves behind it. `done` is
 * where the match before it ended. With specials_as_text, special tokens are passed over. */
added_match added_set_next(const added_set *set, const char *text, size_t length, size_t *at,
                           size_t done, int specials_as_text);

#endif
