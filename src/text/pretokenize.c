/* Pre-tokenizer steps. A piece runs through all remaining steps before the next one is cut, so one
 * buffer for each step is enough. */
#include <string.h>

#include "base/mem.h"
#include "text/byte_level.h"
#include "text/pretokenize.h"
#include "text/unicode.h"

typedef struct run {
    const pretokenize_step *steps;
    size_t count;
    pretokenize_scratch *scratch;
    pretokenize_word *word;
    void *context;
    grpo_error *err;
} run;

void pretokenize_step_deinit(pretokenize_step *step)
{
    pattern_destroy(step->pattern);
    memset(step, 0, sizeof *step);
}

void pretokenize_scratch_deinit(pretokenize_scratch *s)
{
    for (size_t i = 0; i < PRETOKENIZE_MAX_STEPS; i++) {
        strbuf_deinit(&s->steps[i].text);
        pattern_scratch_deinit(&s->steps[i].pattern);
    }
}

static grpo_status apply(const run *r, size_t step, const char *text, size_t length, size_t head);

/* ---- delimiters ---------------------------------------------------------------------------- */

/* Turns a text's tiling into matching and other stretches into pieces. One piece is held back,
 * because the next stretch may join it. */
typedef struct splitter {
    const run *run;
    size_t step; /* that the pieces go to */
    split_behavior behavior;
    const char *text;
    size_t head;
    size_t start, end; /* of the piece held */
    int held, held_is_match, last_was_match;
} splitter;

/* How much of the head (see normalize_text) a piece has. */
static size_t head_of(size_t head, size_t start, size_t end)
{
    return head <= start ? 0 : head < end ? head - start : end - start;
}

static grpo_status emit(const splitter *s, size_t start, size_t end)
{
    if (start == end)
        return GRPO_OK;
    return apply(s->run, s->step, s->text + start, end - start, head_of(s->head, start, end));
}

static grpo_status split_feed(splitter *s, size_t start, size_t end, int match)
{
    if (s->behavior == SPLIT_ISOLATED || (s->behavior == SPLIT_REMOVED && !match))
        return emit(s, start, end);
    if (s->behavior == SPLIT_REMOVED)
        return GRPO_OK;
    int joins = s->behavior == SPLIT_CONTIGUOUS             ? match == s->last_was_match
                : s->behavior == SPLIT_MERGED_WITH_PREVIOUS ? match && !s->last_was_match
                                                            : s->held_is_match && !match;
    s->last_was_match = match;
    if (joins && s->held) {
        s->end = end;
        s->held_is_match = 0;
        return GRPO_OK;
    }
    grpo_status status = s->held ? emit(s, s->start, s->end) : GRPO_OK;
    s->start = start;
    s->end = end;
    s->held = 1;
    s->held_is_match = match;
    return status;
}

static grpo_status split_finish(splitter *s)
{
    return s->held ? emit(s, s->start, s->end) : GRPO_OK;
}

static splitter splitter_for(const run *r, size_t step, const char *text, size_t head)
{
    return (splitter){.run = r, .step = step + 1, .behavior = r->steps[step].behavior, .text = text,
                      .head = head};
}

static grpo_status split_pattern(const run *r, size_t step, const char *text, size_t length,
                                 size_t head)
{
    const pretokenize_step *this = &r->steps[step];
    splitter s = splitter_for(r, step, text, head);
    pattern_walk walk;
    grpo_status status = pattern_begin(&walk, this->pattern, &r->scratch->steps[step].pattern, text,
                                       length, r->err);
    size_t done = 0, start, end;
    int found = 0;
    while (status == GRPO_OK && (found = pattern_next(&walk, &start, &end, r->err)) > 0) {
        if (start > done)
            status = split_feed(&s, done, start, this->invert);
        if (status == GRPO_OK)
            status = split_feed(&s, start, end, !this->invert);
        done = end;
    }
    if (found < 0)
        return r->err ? r->err->status : GRPO_ERR_UNSUPPORTED;
    if (status == GRPO_OK && done < length)
        status = split_feed(&s, done, length, this->invert);
    return status == GRPO_OK ? split_finish(&s) : status;
}

static int is_delimiter(const pretokenize_step *step, unsigned c)
{
    switch (step->kind) {
    case PRETOKENIZE_DIGITS:
        return (unicode_property[c] & UNICODE_NUMERIC) != 0;
    case PRETOKENIZE_PUNCTUATION:
        return unicode_is_punctuation(c);
    default:
        return unicode_is_space(c);
    }
}

static grpo_status split_characters(const run *r, size_t step, const char *text, size_t length,
                                    size_t head)
{
    splitter s = splitter_for(r, step, text, head);
    grpo_status status = GRPO_OK;
    size_t done = 0;
    for (size_t i = 0, size; i < length && status == GRPO_OK; i += size) {
        if (!is_delimiter(&r->steps[step], utf8_decode(text + i, &size)))
            continue;
        if (i > done)
            status = split_feed(&s, done, i, 0);
        if (status == GRPO_OK)
            status = split_feed(&s, i, i + size, 1);
        done = i + size;
    }
    if (status == GRPO_OK && done < length)
        status = split_feed(&s, done, length, 0);
    return status == GRPO_OK ? split_finish(&s) : status;
}

/* ---- pieces that tile the text --------------------------------------------------------------- */

/* 0: white space, 1: word characters, 2: the rest; stretches of equal class are pieces. */
static int word_class(unsigned c)
{
    return unicode_is_rust_word(c) ? 1 : unicode_is_space(c) ? 0 : 2;
}

static size_t word_end(const char *text, size_t length, size_t at, int *class)
{
    size_t size;
    *class = word_class(utf8_decode(text + at, &size));
    do
        at += size;
    while (at < length && word_class(utf8_decode(text + at, &size)) == *class);
    return at;
}

static size_t piece_end(const pretokenize_step *step, const char *text, size_t length, size_t at,
                        int *kept)
{
    *kept = 1;
    if (step->kind == PRETOKENIZE_SCAN)
        return scan_piece(step->scan, text, length, at);
    if (step->kind == PRETOKENIZE_WORDS)
        return word_end(text, length, at, kept);
    for (size_t i = 0; i < step->count && at < length; i++)
        at += utf8_size((unsigned char)text[at]);
    return at;
}

static grpo_status cut_pieces(const run *r, size_t step, const char *text, size_t length,
                              size_t head)
{
    int kept;
    for (size_t at = 0, end; at < length; at = end) {
        end = piece_end(&r->steps[step], text, length, at, &kept);
        grpo_status status =
            kept ? apply(r, step + 1, text + at, end - at, head_of(head, at, end)) : GRPO_OK;
        if (status != GRPO_OK)
            return status;
    }
    return GRPO_OK;
}

/* ---- changed texts ------------------------------------------------------------------------- */

static void append_with_spaces_as(strbuf *out, const char *text, size_t length, const char *content)
{
    const char *end = text + length, *space;
    while ((space = memchr(text, ' ', (size_t)(end - text))) != NULL) {
        strbuf_append(out, text, (size_t)(space - text));
        strbuf_puts(out, content);
        text = space + 1;
    }
    strbuf_append(out, text, (size_t)(end - text));
}

static int starts_with(const char *text, size_t length, const char *prefix)
{
    size_t n = strlen(prefix);
    return length >= n && memcmp(text, prefix, n) == 0;
}

/* Changes a text, and says how long its first `head` bytes became. */
static size_t change(const pretokenize_step *step, strbuf *out, const char *text, size_t length,
                     size_t head)
{
    size_t changed_head;
    if (step->kind == PRETOKENIZE_BYTES) {
        byte_level_encode(out, text, head);
        changed_head = out->length;
        byte_level_encode(out, text + head, length - head);
        return changed_head;
    }
    int spaces = step->kind == PRETOKENIZE_METASPACE;
    int there = starts_with(text, length, step->content) || (spaces && text[0] == ' ');
    int wanted = !spaces || step->scheme == METASPACE_ALWAYS || (step->scheme == METASPACE_FIRST && head);
    if (wanted && !there)
        strbuf_puts(out, step->content);
    if (!spaces) {
        strbuf_append(out, text, length);
        return head ? out->length - length + head : 0;
    }
    append_with_spaces_as(out, text, head, step->content);
    changed_head = head ? out->length : 0;
    append_with_spaces_as(out, text + head, length - head, step->content);
    return changed_head;
}

static grpo_status change_text(const run *r, size_t step, const char *text, size_t length, size_t head)
{
    strbuf *out = &r->scratch->steps[step].text;
    strbuf_clear(out);
    head = change(&r->steps[step], out, text, length, head);
    if (out->failed)
        return mem_fail(r->err, "a text", length);
    return apply(r, step + 1, strbuf_text(out), out->length, head);
}

static grpo_status apply(const run *r, size_t step, const char *text, size_t length, size_t head)
{
    if (step == r->count)
        return r->word(r->context, text, length, r->err);
    switch (r->steps[step].kind) {
    case PRETOKENIZE_SPLIT:
        return split_pattern(r, step, text, length, head);
    case PRETOKENIZE_DIGITS:
    case PRETOKENIZE_PUNCTUATION:
    case PRETOKENIZE_SPACE:
        return split_characters(r, step, text, length, head);
    case PRETOKENIZE_SCAN:
    case PRETOKENIZE_WORDS:
    case PRETOKENIZE_LENGTH:
        return cut_pieces(r, step, text, length, head);
    case PRETOKENIZE_PREFIX:
    case PRETOKENIZE_METASPACE:
    case PRETOKENIZE_BYTES:
        return change_text(r, step, text, length, head);
    }
    return grpo_fail(r->err, GRPO_ERR_INTERNAL, "pre-tokenizer step %d", (int)r->steps[step].kind);
}

grpo_status pretokenize_apply(const pretokenize_step *steps, size_t count, pretokenize_scratch *s,
                              const char *text, size_t length, size_t head,
                              pretokenize_word *word, void *context, grpo_error *err)
{
    run r = {steps, count, s, word, context, err};
    return length ? apply(&r, 0, text, length, head) : GRPO_OK;
}
