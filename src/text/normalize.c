/* Normalisation steps. Canonical and compatibility forms are utf8proc's, except that characters
 * unknown to the crate's older tables are left alone. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/mem.h"
#include "text/byte_level.h"
#include "text/normalize.h"
#include "text/unicode.h"

void normalize_step_deinit(normalize_step *step)
{
    pattern_destroy(step->pattern);
    mem_free(step->content);
    memset(step, 0, sizeof *step);
}

void normalize_scratch_deinit(normalize_scratch *s)
{
    strbuf_deinit(&s->buffers[0]);
    strbuf_deinit(&s->buffers[1]);
    pattern_scratch_deinit(&s->pattern);
}

/* ---- Unicode forms ------------------------------------------------------------------------- */

static int form_may_change(normalize_kind kind, const char *text, size_t length)
{
    for (size_t i = 0, size; i < length; i += size) {
        if ((unsigned char)text[i] < 0x80) {
            size = 1;
            continue;
        }
        unsigned c = utf8_decode(text + i, &size);
        if (kind != NORMALIZE_NFC || unicode_property[c] & UNICODE_COMPOSES)
            return 1;
    }
    return 0;
}

static grpo_status append_form(strbuf *out, const char *text, size_t length, int options,
                               grpo_error *err)
{
    utf8proc_uint8_t *result = NULL;
    if (length == 0)
        return GRPO_OK;
    utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)length,
                                      &result, (utf8proc_option_t)(options | UTF8PROC_STABLE));
    if (n < 0)
        return grpo_fail(err, n == UTF8PROC_ERROR_NOMEM ? GRPO_ERR_MEMORY : GRPO_ERR_INTERNAL,
                         "normalising a text of %zu bytes: %s", length, utf8proc_errmsg(n));
    strbuf_append(out, result, (size_t)n);
    free(result);
    return GRPO_OK;
}

/* A character that the crate does not know is to it a starter that combines with nothing, so the
 * stretches between such characters can be normalised one by one. */
static grpo_status unicode_form(strbuf *out, normalize_kind kind, const char *text, size_t length,
                                grpo_error *err)
{
    int options = kind == NORMALIZE_NFC || kind == NORMALIZE_NFKC ? UTF8PROC_COMPOSE
                                                                  : UTF8PROC_DECOMPOSE;
    if (kind == NORMALIZE_NFKC || kind == NORMALIZE_NFKD)
        options |= UTF8PROC_COMPAT;
    size_t done = 0;
    grpo_status status = GRPO_OK;
    for (size_t i = 0, size; i < length && status == GRPO_OK; i += size) {
        if ((unsigned char)text[i] < 0x80) {
            size = 1;
            continue;
        }
        if (unicode_is_inert(utf8_decode(text + i, &size))) {
            status = append_form(out, text + done, i - done, options, err);
            strbuf_append(out, text + i, size);
            done = i + size;
        }
    }
    return status == GRPO_OK ? append_form(out, text + done, length - done, options, err) : status;
}

/* ---- the other steps ----------------------------------------------------------------------- */

static void lowercase(strbuf *out, const char *text, size_t length)
{
    for (size_t i = 0, size; i < length; i += size) {
        unsigned c = utf8_decode(text + i, &size);
        strbuf_put_utf8(out, unicode_to_lower(c));
        if (c == 0x130)
            strbuf_put_utf8(out, 0x307);
    }
}

static void strip(const normalize_step *step, normalize_text *text)
{
    size_t size;
    const char *start = text->data, *end = text->data + text->length;
    while (step->left && start < end && unicode_is_space(utf8_decode(start, &size)))
        start += size;
    while (step->right && start < end && unicode_is_space(utf8_decode(utf8_previous(end), &size)))
        end -= size;
    size_t gone = (size_t)(start - text->data);
    text->head = text->head > gone ? text->head - gone : 0;
    text->data = start;
    text->length = (size_t)(end - start);
}

static void strip_accents(strbuf *out, const char *text, size_t length)
{
    for (size_t i = 0, size; i < length; i += size)
        if (!unicode_is_accent(utf8_decode(text + i, &size)))
            strbuf_append(out, text + i, size);
}

static int nmt_removed(unsigned c)
{
    return (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F ||
           c == 0x9F;
}

static int nmt_space(unsigned c)
{
    return c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
           (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
           c == 0xFEFF || c == 0xFFFD;
}

static void nmt(strbuf *out, const char *text, size_t length)
{
    for (size_t i = 0, size; i < length; i += size) {
        unsigned c = utf8_decode(text + i, &size);
        if (!nmt_removed(c))
            strbuf_put_utf8(out, nmt_space(c) ? ' ' : c);
    }
}

/* Appends [start, end) of a text whose first `from` bytes are its head; returns the head of the output
 * so far, which was `head` before. */
static size_t append_kept(strbuf *out, const char *text, size_t start, size_t end, size_t from,
                          size_t head)
{
    if (from > start && end > start)
        head = out->length + (from < end ? from : end) - start;
    strbuf_append(out, text + start, end - start);
    return head;
}

/* A replacement counts as coming from where the last character that it replaces came from. */
static grpo_status replace(const normalize_step *step, normalize_scratch *s, strbuf *out,
                           normalize_text *text, grpo_error *err)
{
    pattern_walk walk;
    grpo_status status =
        pattern_begin(&walk, step->pattern, &s->pattern, text->data, text->length, err);
    if (status != GRPO_OK)
        return status;
    size_t done = 0, head = 0, start, end;
    int found;
    while ((found = pattern_next(&walk, &start, &end, err)) > 0) {
        head = append_kept(out, text->data, done, start, text->head, head);
        strbuf_append(out, step->content, step->content_length);
        if (end <= text->head)
            head = out->length;
        done = end;
    }
    text->head = append_kept(out, text->data, done, text->length, text->head, head);
    return found < 0 ? err ? err->status : GRPO_ERR_UNSUPPORTED : GRPO_OK;
}

/* The steps that treat every stretch of a text alike. */
static grpo_status map_text(const normalize_step *step, strbuf *out, const char *text, size_t length,
                            grpo_error *err)
{
    switch (step->kind) {
    case NORMALIZE_LOWERCASE:
        lowercase(out, text, length);
        return GRPO_OK;
    case NORMALIZE_STRIP_ACCENTS:
        strip_accents(out, text, length);
        return GRPO_OK;
    case NORMALIZE_NMT:
        nmt(out, text, length);
        return GRPO_OK;
    case NORMALIZE_BYTE_LEVEL:
        byte_level_encode(out, text, length);
        return GRPO_OK;
    default:
        return unicode_form(out, step->kind, text, length, err);
    }
}

static grpo_status apply_step(const normalize_step *step, normalize_scratch *s, strbuf *out,
                              normalize_text *text, grpo_error *err)
{
    if (step->kind == NORMALIZE_REPLACE)
        return replace(step, s, out, text, err);
    if (step->kind == NORMALIZE_PREPEND) {
        strbuf_append(out, step->content, step->content_length);
        strbuf_append(out, text->data, text->length);
        text->head += text->head ? step->content_length : 0;
        return GRPO_OK;
    }
    grpo_status status = map_text(step, out, text->data, text->head, err);
    text->head = out->length;
    strbuf_clear(out);
    if (status == GRPO_OK)
        status = map_text(step, out, text->data, text->length, err);
    if (text->head > out->length)
        text->head = out->length;
    while (text->head && text->head < out->length && (out->data[text->head] & 0xC0) == 0x80)
        text->head--; /* characters changed places */
    return status;
}

grpo_status normalize_apply(const normalize_step *steps, size_t count, normalize_scratch *s,
                            normalize_text *text, grpo_error *err)
{
    for (size_t i = 0; i < count; i++) {
        const normalize_step *step = &steps[i];
        if (text->length == 0)
            return GRPO_OK; /* no step makes something out of nothing */
        if (step->kind == NORMALIZE_STRIP) {
            strip(step, text);
            continue;
        }
        if (step->kind <= NORMALIZE_NFKD && !form_may_change(step->kind, text->data, text->length))
            continue;
        strbuf *out = &s->buffers[text->data >= strbuf_text(&s->buffers[0]) &&
                                  text->data < strbuf_text(&s->buffers[0]) + s->buffers[0].capacity];
        strbuf_clear(out);
        grpo_status status = apply_step(step, s, out, text, err);
        if (status != GRPO_OK)
            return status;
        if (out->failed)
            return mem_fail(err, "a normalised text", text->length);
        text->data = strbuf_text(out);
        text->length = out->length;
    }
    return GRPO_OK;
}
