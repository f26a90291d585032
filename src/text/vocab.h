/* A vocabulary: token strings by id and ids by string. Strings are any bytes; ids may have gaps. */
#ifndef TEXT_VOCAB_H
#define TEXT_VOCAB_H

#include <stddef.h>
#include <stdint.h>

#include "grpo/error.h"

#define VOCAB_NONE UINT32_MAX

typedef struct vocab_entry {
    size_t offset;   /* in text */
    uint32_t length; /* VOCAB_NONE: no token has this id */
} vocab_entry;

typedef struct vocab {
    char *text; /* all strings, one after another */
    size_t text_length, text_capacity;
    vocab_entry *entries; /* [size], by id */
    uint32_t size;        /* highest possible id + 1 */
    uint32_t count;       /* ids that have a token */
    uint32_t *slots;      /* open-addressing table of ids by string; VOCAB_NONE = free */
    size_t mask;
    size_t longest; /* bytes of the longest findable string */
} vocab;

/* Room for ids below `size`, all without a token. */
grpo_status vocab_init(vocab *v, uint32_t size, grpo_error *err);
void vocab_deinit(vocab *v);

/* Gives an id its string. An id below v->size may be set once; a string that another id has is
 * refused (VOCAB_UNIQUE) or kept as a string of this id that vocab_find does not return. */
typedef enum vocab_mode { VOCAB_UNIQUE, VOCAB_HIDDEN } vocab_mode;
grpo_status vocab_set(vocab *v, uint32_t id, const char *text, size_t length, vocab_mode mode,
                      grpo_error *err);

/* The id with this string, or VOCAB_NONE. */
uint32_t vocab_find(const vocab *v, const char *text, size_t length);

/* The string of an id (not NUL-terminated), NULL when it has none. */
static inline const char *vocab_text(const vocab *v, uint32_t id, size_t *length)
{
    if (id >= v->size || v->entries[id].length == VOCAB_NONE)
        return NULL;
    *length = v->entries[id].length;
    return v->text + v->entries[id].offset;
}

#endif
