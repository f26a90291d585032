/* Decoder steps on lists of token strings. */
#include <string.h>

#include "base/mem.h"
#include "text/byte_level.h"
#include "text/detokenize.h"
#include "text/unicode.h"

void detokenize_step_deinit(detokenize_step *step)
{
    pattern_destroy(step->pattern);
    mem_free(step->content);
    memset(step, 0, sizeof *step);
}

/* ---- lists ----------------------------------------------------------------------------------- */

int token_list_close(token_list *list)
{
    if (list->text.failed || mem_reserve((void **)&list->ends, &list->capacity, list->count + 1,
                                         sizeof *list->ends) != 0)
        return -1;
    list->ends[list->count++] = list->text.length;
    return 0;
}

int token_list_add(token_list *list, const char *text, size_t length)
{
    strbuf_append(&list->text, text, length);
    return token_list_close(list);
}

void token_list_clear(token_list *list)
{
    strbuf_clear(&list->text);
    list->count = 0;
}

void token_list_deinit(token_list *list)
{
    strbuf_deinit(&list->text);
    mem_free(list->ends);
    memset(list, 0, sizeof *list);
}

const char *token_list_get(const token_list *list, size_t i, size_t *length)
{
    size_t start = i ? list->ends[i - 1] : 0;
    *length = list->ends[i] - start;
    return strbuf_text(&list->text) + start;
}

/* ---- steps on one token ------------------------------------------------------------------------ */

static grpo_status replace(const detokenize_step *step, strbuf *out, const char *text, size_t length,
                           pattern_scratch *scratch, grpo_error *err)
{
    pattern_walk walk;
    grpo_status status = length ? pattern_begin(&walk, step->pattern, scratch, text, length, err)
                                : GRPO_OK;
    if (status != GRPO_OK || length == 0)
        return status;
    size_t done = 0, start, end;
    int found;
    while ((found = pattern_next(&walk, &start, &end, err)) > 0) {
        strbuf_append(out, text + done, start - done);
        strbuf_append(out, step->content, step->content_length);
        done = end;
    }
    strbuf_append(out, text + done, length - done);
    return found < 0 ? err ? err->status : GRPO_ERR_UNSUPPORTED : GRPO_OK;
}

static void strip(const detokenize_step *step, strbuf *out, const char *text, size_t length)
{
    size_t n = step->content_length, start = 0, end = length;
    for (size_t i = 0; i < step->start && end - start >= n; i++, start += n)
        if (memcmp(text + start, step->content, n) != 0)
            break;
    for (size_t i = 0; i < step->stop && end - start >= n; i++, end -= n)
        if (memcmp(text + end - n, step->content, n) != 0)
            break;
    strbuf_append(out, text + start, end - start);
}

/* Every `content` becomes `with`. */
static void substitute(const detokenize_step *step, strbuf *out, const char *text, size_t length,
                       const char *with)
{
    size_t n = step->content_length;
    for (size_t i = 0; i < length;) {
        if (n && length - i >= n && memcmp(text + i, step->content, n) == 0) {
            strbuf_puts(out, with);
            i += n;
        } else {
            strbuf_putc(out, text[i++]);
        }
    }
}

static grpo_status step_token(const detokenize_step *step, strbuf *out, const char *text,
                              size_t length, int first, int last, pattern_scratch *scratch,
                              grpo_error *err)
{
    if (step->kind == DETOKENIZE_REPLACE)
        return replace(step, out, text, length, scratch, err);
    if (step->kind == DETOKENIZE_STRIP)
        strip(step, out, text, length);
    else if (step->kind == DETOKENIZE_METASPACE)
        substitute(step, out, text, length, first && step->prefixed ? "" : " ");
    else
        substitute(step, out, text, length, last ? "" : " ");
    return GRPO_OK;
}

/* ---- steps on the list ------------------------------------------------------------------------- */

int detokenize_fallback_byte(const char *token, size_t length)
{
    if (length != 6 || memcmp(token, "<0x", 3) != 0 || token[5] != '>')
        return -1;
    int value = 0;
    for (int i = 3; i < 5; i++) {
        char c = token[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

int detokenize_end_run(token_list *out, strbuf *run)
{
    int failed = run->failed;
    if (run->length == 0)
        return failed ? -1 : 0;
    if (utf8_valid_prefix(run->data, run->length) == run->length)
        failed |= token_list_add(out, run->data, run->length);
    else
        for (size_t i = 0; i < run->length; i++)
            failed |= token_list_add(out, "\xEF\xBF\xBD", 3);
    strbuf_clear(run);
    return failed ? -1 : 0;
}

static int byte_fallback(const token_list *in, token_list *out)
{
    strbuf run = STRBUF_INIT;
    int failed = 0;
    for (size_t i = 0; i < in->count && !failed; i++) {
        size_t length;
        const char *text = token_list_get(in, i, &length);
        int byte = detokenize_fallback_byte(text, length);
        if (byte >= 0) {
            strbuf_putc(&run, (char)byte);
            continue;
        }
        failed = detokenize_end_run(out, &run) != 0 || token_list_add(out, text, length) != 0;
    }
    failed = failed || detokenize_end_run(out, &run) != 0;
    strbuf_deinit(&run);
    return failed ? -1 : 0;
}

static int byte_level(const token_list *in, token_list *out)
{
    strbuf bytes = STRBUF_INIT;
    for (size_t i = 0; i < in->count; i++) {
        size_t length;
        const char *text = token_list_get(in, i, &length);
        if (!byte_level_decode(&bytes, text, length))
            strbuf_append(&bytes, text, length);
    }
    utf8_append_lossy(&out->text, strbuf_text(&bytes), bytes.length);
    out->text.failed |= bytes.failed;
    strbuf_deinit(&bytes);
    return token_list_close(out);
}

static grpo_status each_token(const detokenize_step *step, const token_list *in, token_list *out,
                              pattern_scratch *scratch, size_t first_index, grpo_error *err)
{
    for (size_t i = 0; i < in->count; i++) {
        size_t length;
        const char *text = token_list_get(in, i, &length);
        grpo_status status = step_token(step, &out->text, text, length, i + first_index == 0,
                                        i + 1 == in->count, scratch, err);
        if (status != GRPO_OK)
            return status;
        if (token_list_close(out) != 0)
            return mem_fail(err, "decoding", in->text.length);
    }
    return GRPO_OK;
}

grpo_status detokenize_apply(const detokenize_step *steps, size_t count, token_list *tokens,
                             token_list *spare, pattern_scratch *scratch, size_t first_index,
                             grpo_error *err)
{
    for (size_t i = 0; i < count; i++) {
        grpo_status status = GRPO_OK;
        int failed = 0;
        token_list_clear(spare);
        switch (steps[i].kind) {
        case DETOKENIZE_BYTE_FALLBACK:
            failed = byte_fallback(tokens, spare);
            break;
        case DETOKENIZE_BYTE_LEVEL:
            failed = byte_level(tokens, spare);
            break;
        case DETOKENIZE_FUSE:
            failed = token_list_add(spare, strbuf_text(&tokens->text), tokens->text.length);
            break;
        default:
            status = each_token(&steps[i], tokens, spare, scratch, first_index, err);
        }
        if (failed)
            status = mem_fail(err, "decoding", tokens->text.length);
        if (status != GRPO_OK)
            return status;
        token_list swap = *tokens;
        *tokens = *spare;
        *spare = swap;
    }
    return GRPO_OK;
}
