/* Decoding token by token. */
#include <string.h>

#include "base/mem.h"
#include "text/tokenizer_impl.h"
#include "text/unicode.h"

struct grpo_stream {
    const grpo_tokenizer *t;
    int skip_special;
    strbuf out;              /* what the last call returned */
    strbuf pending;          /* STREAM_BYTES: an incomplete character; STREAM_TOKENS: a byte run */
    size_t tokens, stripped; /* seen; stripped off the start so far */
    int at_text;             /* something that is not stripped has come */
    bpe_ids ids;             /* STREAM_AT_END: all of them */
    token_list list, spare;
    pattern_scratch pattern;
};

grpo_status grpo_stream_create(grpo_stream **out, const grpo_tokenizer *t, int skip_special,
                               grpo_error *err)
{
    grpo_stream *s = mem_calloc(1, sizeof *s);
    if (!s)
        return mem_fail(err, "a stream of text", sizeof *s);
    s->t = t;
    s->skip_special = skip_special;
    *out = s;
    return GRPO_OK;
}

void grpo_stream_destroy(grpo_stream *s)
{
    if (!s)
        return;
    strbuf_deinit(&s->out);
    strbuf_deinit(&s->pending);
    mem_free(s->ids.data);
    token_list_deinit(&s->list);
    token_list_deinit(&s->spare);
    pattern_scratch_deinit(&s->pattern);
    mem_free(s);
}

/* Moves whole characters from pending to out, and bad parts as U+FFFD. An incomplete character stays
 * unless this is the end. */
static void release_characters(grpo_stream *s, int end)
{
    const char *p = strbuf_text(&s->pending);
    size_t left = s->pending.length;
    while (left > 0) {
        size_t valid = utf8_valid_prefix(p, left);
        strbuf_append(&s->out, p, valid);
        p += valid;
        left -= valid;
        size_t bad = left ? utf8_bad_part(p, left) : 0;
        if (bad == 0 && (left == 0 || !end))
            break;
        strbuf_puts(&s->out, "\xEF\xBF\xBD");
        bad = bad ? bad : left;
        p += bad;
        left -= bad;
    }
    if (s->pending.length && left != s->pending.length) {
        memmove(s->pending.data, p, left);
        s->pending.data[s->pending.length = left] = 0;
    }
}

static grpo_status push_bytes(grpo_stream *s, int32_t id)
{
    tokenizer_append_bytes(s->t, (uint32_t)id, &s->pending);
    release_characters(s, 0);
    return s->pending.failed ? GRPO_ERR_MEMORY : GRPO_OK;
}

/* Appends tokens to out, through the strip at the start of the text when there is one. */
static void release_tokens(grpo_stream *s, const token_list *list)
{
    const char *p = strbuf_text(&list->text), *end = p + list->text.length;
    const grpo_tokenizer *t = s->t;
    const detokenize_step *last = t->decoder_count > t->token_steps
                                      ? &t->decoders[t->decoder_count - 1]
                                      : NULL;
    if (last && last->kind == DETOKENIZE_STRIP) {
        size_t n = last->content_length;
        while (!s->at_text && p < end) {
            if (s->stripped < last->start && (size_t)(end - p) >= n &&
                memcmp(p, last->content, n) == 0) {
                p += n;
                s->stripped++;
            } else {
                s->at_text = 1;
            }
        }
    }
    strbuf_append(&s->out, p, (size_t)(end - p));
}

static int has_fallback(const grpo_tokenizer *t)
{
    return t->decoder_count > t->token_steps &&
           t->decoders[t->token_steps].kind == DETOKENIZE_BYTE_FALLBACK;
}

static grpo_status end_run(grpo_stream *s)
{
    token_list_clear(&s->spare);
    if (detokenize_end_run(&s->spare, &s->pending) != 0)
        return GRPO_ERR_MEMORY;
    release_tokens(s, &s->spare);
    return GRPO_OK;
}

static grpo_status push_token(grpo_stream *s, int32_t id, grpo_error *err)
{
    size_t length;
    const char *text = tokenizer_text(s->t, (uint32_t)id, &length);
    if (!text)
        return GRPO_OK;
    token_list_clear(&s->list);
    if (token_list_add(&s->list, text, length) != 0)
        return GRPO_ERR_MEMORY;
    grpo_status status = detokenize_apply(s->t->decoders, s->t->token_steps, &s->list, &s->spare,
                                          &s->pattern, s->tokens++, err);
    if (status != GRPO_OK)
        return status;
    int byte = has_fallback(s->t) ? detokenize_fallback_byte(strbuf_text(&s->list.text),
                                                             s->list.text.length)
                                  : -1;
    if (byte >= 0) {
        strbuf_putc(&s->pending, (char)byte);
        return s->pending.failed ? GRPO_ERR_MEMORY : GRPO_OK;
    }
    status = end_run(s);
    if (status == GRPO_OK)
        release_tokens(s, &s->list);
    return status;
}

static grpo_status keep_id(grpo_stream *s, int32_t id)
{
    if (mem_reserve((void **)&s->ids.data, &s->ids.capacity, s->ids.count + 1,
                    sizeof *s->ids.data) != 0)
        return GRPO_ERR_MEMORY;
    s->ids.data[s->ids.count++] = id;
    return GRPO_OK;
}

static grpo_status give(grpo_stream *s, grpo_status status, const char **text, size_t *length,
                        grpo_error *err)
{
    if (status == GRPO_ERR_MEMORY || s->out.failed)
        return mem_fail(err, "decoding", s->out.length);
    *text = strbuf_text(&s->out);
    *length = status == GRPO_OK ? s->out.length : 0;
    return status;
}

grpo_status grpo_stream_push(grpo_stream *s, int32_t id, const char **text, size_t *length,
                             grpo_error *err)
{
    grpo_status status = GRPO_OK;
    strbuf_clear(&s->out);
    *text = "";
    *length = 0;
    if (id < 0)
        return grpo_fail(err, GRPO_ERR_USAGE, "a token id cannot be negative (%d)", (int)id);
    if (s->skip_special && grpo_tokenizer_is_special(s->t, id))
        return GRPO_OK;
    if (s->t->shape == STREAM_BYTES)
        status = push_bytes(s, id);
    else if (s->t->shape == STREAM_TOKENS)
        status = push_token(s, id, err);
    else
        status = keep_id(s, id);
    return give(s, status, text, length, err);
}

static grpo_status decode_kept(grpo_stream *s, grpo_error *err)
{
    char *text;
    size_t length;
    grpo_status status = grpo_tokenizer_decode(s->t, s->ids.data, s->ids.count, s->skip_special,
                                               &text, &length, err);
    if (status == GRPO_OK)
        strbuf_append(&s->out, text, length);
    grpo_tokenizer_free_text(text);
    return status;
}

grpo_status grpo_stream_finish(grpo_stream *s, const char **text, size_t *length, grpo_error *err)
{
    grpo_status status = GRPO_OK;
    strbuf_clear(&s->out);
    *text = "";
    *length = 0;
    if (s->t->shape == STREAM_BYTES)
        release_characters(s, 1);
    else if (s->t->shape == STREAM_TOKENS)
        status = end_run(s);
    else
        status = decode_kept(s, err);
    strbuf_clear(&s->pending);
    s->ids.count = s->tokens = s->stripped = 0;
    s->at_text = 0;
    return give(s, status, text, length, err);
}
