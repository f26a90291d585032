/* Finding added tokens in a text. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/added_tokens.h"
#include "text/unicode.h"

static int compare(const void *a, const void *b)
{
    const added_pattern *x = a, *y = b;
    size_t shorter = x->length < y->length ? x->length : y->length;
    int order = memcmp(x->text, y->text, shorter);
    return order ? order : (x->length > y->length) - (x->length < y->length);
}

grpo_status added_set_index(added_set *set, grpo_error *err)
{
    if (set->count)
        qsort(set->patterns, set->count, sizeof *set->patterns, compare);
    for (size_t i = 0; i < set->count; i++) {
        const added_pattern *p = &set->patterns[i];
        if (p->length == 0)
            return grpo_fail(err, GRPO_ERR_FORMAT, "the added token '%s' (id %u) is empty once normalised",
                             p->token->content, p->token->id);
        if (i && compare(p - 1, p) == 0)
            return grpo_fail(err, GRPO_ERR_FORMAT,
                             "the added tokens '%s' (id %u) and '%s' (id %u) are the same text",
                             p[-1].token->content, p[-1].token->id, p->token->content, p->token->id);
        set->first[(unsigned char)p->text[0] + 1]++;
    }
    for (int b = 0; b < 256; b++)
        set->first[b + 1] += set->first[b];
    return GRPO_OK;
}

/* The longest pattern that the text begins with. The candidates are narrowed byte by byte; the
 * shortest of those that share a prefix comes first. */
static const added_pattern *longest_at(const added_set *set, const char *text, size_t length)
{
    size_t low = set->first[(unsigned char)text[0]], high = set->first[(unsigned char)text[0] + 1];
    const added_pattern *found = NULL;
    for (size_t depth = 1; low < high; depth++) {
        if (set->patterns[low].length == depth)
            found = &set->patterns[low++];
        if (depth == length || low == high)
            break;
        unsigned char wanted = (unsigned char)text[depth];
        size_t a = low, b = high;
        while (a < b) { /* the first candidate whose byte is not below */
            size_t middle = (a + b) / 2;
            if ((unsigned char)set->patterns[middle].text[depth] < wanted)
                a = middle + 1;
            else
                b = middle;
        }
        low = a;
        for (b = high; a < b;) { /* the first whose byte is above */
            size_t middle = (a + b) / 2;
            if ((unsigned char)set->patterns[middle].text[depth] <= wanted)
                a = middle + 1;
            else
                b = middle;
        }
        high = a;
    }
    return found;
}

static int word_before(const char *text, size_t at)
{
    size_t size;
    return at > 0 && unicode_is_rust_word(utf8_decode(utf8_previous(text + at), &size));
}

static int word_after(const char *text, size_t length, size_t at)
{
    size_t size;
    return at < length && unicode_is_rust_word(utf8_decode(text + at, &size));
}

static size_t strip_left(const char *text, size_t at)
{
    size_t size;
    while (at > 0) {
        const char *before = utf8_previous(text + at);
        if (!unicode_is_space(utf8_decode(before, &size)))
            break;
        at = (size_t)(before - text);
    }
    return at;
}

static size_t strip_right(const char *text, size_t length, size_t at)
{
    for (size_t size; at < length && unicode_is_space(utf8_decode(text + at, &size));)
        at += size;
    return at;
}

added_match added_set_next(const added_set *set, const char *text, size_t length, size_t *at,
                           size_t done, int specials_as_text)
{
    if (set->count == 0)
        return (added_match){0};
    for (size_t i = *at; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (set->first[byte] == set->first[byte + 1])
            continue;
        const added_pattern *p = longest_at(set, text + i, length - i);
        if (!p)
            continue;
        size_t start = i, end = i + p->length;
        i = end - 1;
        if (specials_as_text && p->token->special)
            continue;
        if (p->token->single_word && (word_before(text, start) || word_after(text, length, end)))
            continue;
        *at = end;
        if (p->token->lstrip) {
            start = strip_left(text, start);
            if (start < done)
                start = done;
        }
        if (p->token->rstrip)
            end = strip_right(text, length, end);
        return (added_match){p->token, start, end};
    }
    return (added_match){0};
}
