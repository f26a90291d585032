/* Scanners for the usual pre-tokenizer expressions. */
#include <string.h>

#include "text/scan.h"
#include "text/unicode.h"

#define CONTRACTIONS_ANY_CASE "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPACES "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const char *const expressions[SCAN_KINDS] = {
    [SCAN_GPT2] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
    [SCAN_LLAMA3] = CONTRACTIONS_ANY_CASE
    "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES,
    [SCAN_QWEN2] = CONTRACTIONS_ANY_CASE
    "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES,
    [SCAN_QWEN35] = CONTRACTIONS_ANY_CASE
    "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" SPACES,
};

const char *scan_expression(scan_kind kind)
{
    return expressions[kind];
}

scan_kind scan_find(const char *expression, size_t length)
{
    for (int kind = SCAN_NONE + 1; kind < SCAN_KINDS; kind++)
        if (strlen(expressions[kind]) == length && memcmp(expressions[kind], expression, length) == 0)
            return (scan_kind)kind;
    return SCAN_NONE;
}

typedef enum { LETTER, NUMBER, SPACE, OTHER } class;

/* The class of the character at p; marks count as letters when `marks`. */
static inline class classify(const char *p, int marks, size_t *size)
{
    unsigned c = utf8_decode(p, size);
    unsigned bit = unicode_category_bit(c);
    if (bit & (UNICODE_LETTER_MASK | (marks ? UNICODE_MARK_MASK : 0)))
        return LETTER;
    if (bit & UNICODE_NUMBER_MASK)
        return NUMBER;
    return unicode_is_space(c) ? SPACE : OTHER;
}

/* The end of the run of one class from `at`, of at most `most` characters. */
static inline size_t run(const char *text, size_t length, size_t at, class wanted, int marks,
                         size_t most)
{
    for (size_t size; most > 0 && at < length; at += size, most--)
        if (classify(text + at, marks, &size) != wanted)
            break;
    return at;
}

/* 's 't 're 've 'm 'll 'd at an apostrophe; `at` itself when it is none. With `fold`, in any case,
 * where U+017F (long s) is an s too. */
static inline size_t contraction(const char *text, size_t length, size_t at, int fold)
{
    if (length - at < 2)
        return at;
    int lower = fold ? 32 : 0;
    char a = (char)(text[at + 1] | lower), b = length - at > 2 ? (char)(text[at + 2] | lower) : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return at + 2;
    if ((b == 'e' && (a == 'r' || a == 'v')) || (a == 'l' && b == 'l'))
        return at + 3;
    if (fold && length - at > 2 && text[at + 1] == '\xC5' && text[at + 2] == '\xBF')
        return at + 3;
    return at;
}

/* `\s+(?!\S)|\s+`: a run of white space without its last character when a word follows. */
static inline size_t spaces(const char *text, size_t length, size_t at)
{
    size_t end = run(text, length, at, SPACE, 0, length);
    if (end == length)
        return end;
    size_t last = (size_t)(utf8_previous(text + end) - text);
    return last > at ? last : end;
}

/* `\s*[\r\n]+|\s+(?!\S)|\s+`: up to the last line break of the run when there is one. */
static inline size_t spaces_and_breaks(const char *text, size_t length, size_t at)
{
    size_t end = run(text, length, at, SPACE, 0, length);
    for (size_t i = end; i > at; i--)
        if (text[i - 1] == '\n' || text[i - 1] == '\r')
            return i;
    if (end == length)
        return end;
    size_t last = (size_t)(utf8_previous(text + end) - text);
    return last > at ? last : end;
}

static inline size_t gpt2(const char *text, size_t length, size_t at)
{
    if (text[at] == '\'') {
        size_t end = contraction(text, length, at, 0);
        if (end > at)
            return end;
    }
    size_t start = at, size;
    if (text[at] == ' ' && at + 1 < length)
        start++;
    class first = classify(text + start, 0, &size);
    if (first == SPACE)
        return spaces(text, length, at);
    return run(text, length, start + size, first, 0, length);
}

static inline size_t modern(const char *text, size_t length, size_t at, int marks, size_t digits)
{
    size_t size, next_size;
    if (text[at] == '\'') {
        size_t end = contraction(text, length, at, 1);
        if (end > at)
            return end;
    }
    class first = classify(text + at, marks, &size);
    if (first == LETTER)
        return run(text, length, at + size, LETTER, marks, length);
    if (first == NUMBER)
        return run(text, length, at, NUMBER, marks, digits);
    class next = at + size < length ? classify(text + at + size, marks, &next_size) : SPACE;
    if (next == LETTER && text[at] != '\r' && text[at] != '\n')
        return run(text, length, at + size, LETTER, marks, length);
    if (first == OTHER || (text[at] == ' ' && next == OTHER)) {
        size_t end = run(text, length, at + size, OTHER, marks, length);
        while (end < length && (text[end] == '\r' || text[end] == '\n'))
            end++;
        return end;
    }
    return spaces_and_breaks(text, length, at);
}

size_t scan_piece(scan_kind kind, const char *text, size_t length, size_t at)
{
    switch (kind) {
    case SCAN_GPT2:
        return gpt2(text, length, at);
    case SCAN_LLAMA3:
        return modern(text, length, at, 0, 3);
    case SCAN_QWEN2:
        return modern(text, length, at, 0, 1);
    case SCAN_QWEN35:
        return modern(text, length, at, 1, 1);
    default:
        return length;
    }
}
