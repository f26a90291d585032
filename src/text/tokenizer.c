/* Encoding, decoding, and looking things up. */
#include <string.h>

#include "base/mem.h"
#include "text/byte_level.h"
#include "text/tokenizer_impl.h"
#include "text/unicode.h"

/* ---- encoding --------------------------------------------------------------------------------- */

typedef struct encoder {
    const grpo_tokenizer *t;
    int specials_as_text;
    bpe_scratch words;
    normalize_scratch normalize;
    pretokenize_scratch pretokenize;
    bpe_ids out;
} encoder;

static void encoder_deinit(encoder *e)
{
    bpe_scratch_deinit(&e->words);
    normalize_scratch_deinit(&e->normalize);
    pretokenize_scratch_deinit(&e->pretokenize);
}

static grpo_status push(encoder *e, const int32_t *ids, size_t count, grpo_error *err)
{
    bpe_ids *out = &e->out;
    if (mem_reserve((void **)&out->data, &out->capacity, out->count + count, sizeof *ids) != 0)
        return mem_fail(err, "token ids", out->count);
    if (count)
        memcpy(out->data + out->count, ids, count * sizeof *ids);
    out->count += count;
    return GRPO_OK;
}

static grpo_status encode_word(void *context, const char *word, size_t length, grpo_error *err)
{
    encoder *e = context;
    return bpe_encode_word(&e->t->model, word, length, &e->words, &e->out, err);
}

/* How much of the head (see normalize_text) lies in [start, end). */
static size_t head_at(size_t head, size_t start, size_t end)
{
    return head <= start ? 0 : head < end ? head - start : end - start;
}

typedef grpo_status piece_fn(encoder *e, const char *text, size_t length, size_t head,
                             grpo_error *err);

/* Cuts the tokens of a set out of a text; what lies between them goes to `piece`. */
static grpo_status cut_added(encoder *e, const added_set *set, const char *text, size_t length,
                             size_t head, piece_fn *piece, grpo_error *err)
{
    size_t at = 0, done = 0;
    for (;;) {
        added_match m = added_set_next(set, text, length, &at, done, e->specials_as_text);
        size_t end = m.token ? m.start : length;
        grpo_status status = GRPO_OK;
        if (done < end)
            status = piece(e, text + done, end - done, head_at(head, done, end), err);
        if (status != GRPO_OK || !m.token)
            return status;
        int32_t id = (int32_t)m.token->id;
        if (m.end > m.start) /* not when the match before it took all of it as white space */
            status = push(e, &id, 1, err);
        if (status != GRPO_OK)
            return status;
        done = m.end;
    }
}

static grpo_status encode_normalized(encoder *e, const char *text, size_t length, size_t head,
                                     grpo_error *err)
{
    return pretokenize_apply(e->t->pretokenizers, e->t->pretokenizer_count, &e->pretokenize, text,
                             length, head, encode_word, e, err);
}

static grpo_status encode_raw(encoder *e, const char *text, size_t length, size_t head,
                              grpo_error *err)
{
    normalize_text normalized = {text, length, head};
    grpo_status status = normalize_apply(e->t->normalizers, e->t->normalizer_count, &e->normalize,
                                         &normalized, err);
    if (status != GRPO_OK)
        return status;
    return cut_added(e, &e->t->normalized_set, normalized.data, normalized.length,
                     normalized.head, encode_normalized, err);
}

static grpo_status encode_all(encoder *e, const char *text, size_t length, unsigned flags,
                              grpo_error *err)
{
    const grpo_tokenizer *t = e->t;
    int added = (flags & GRPO_ENCODE_ADDED) != 0;
    if (mem_reserve((void **)&e->out.data, &e->out.capacity, length / 4 + 16,
                    sizeof *e->out.data) != 0)
        return mem_fail(err, "token ids", length);
    grpo_status status = push(e, t->before, added ? t->before_count : 0, err);
    if (status == GRPO_OK)
        status = cut_added(e, &t->raw_set, text, length, length ? utf8_size((unsigned char)text[0]) : 0,
                           encode_raw, err);
    return status == GRPO_OK ? push(e, t->after, added ? t->after_count : 0, err) : status;
}

grpo_status grpo_tokenizer_encode(const grpo_tokenizer *t, const char *text, size_t length,
                                  unsigned flags, int32_t **ids, size_t *count, grpo_error *err)
{
    encoder e = {.t = t, .specials_as_text = (flags & GRPO_ENCODE_SPECIALS_AS_TEXT) != 0};
    strbuf repaired = STRBUF_INIT;
    *ids = NULL;
    *count = 0;
    if (utf8_valid_prefix(text, length) != length) {
        utf8_append_lossy(&repaired, text, length);
        text = strbuf_text(&repaired);
        length = repaired.length;
    }
    grpo_status status = repaired.failed ? mem_fail(err, "a text", length)
                                         : encode_all(&e, text, length, flags, err);
    encoder_deinit(&e);
    strbuf_deinit(&repaired);
    if (status != GRPO_OK) {
        mem_free(e.out.data);
        return status;
    }
    *ids = e.out.data;
    *count = e.out.count;
    return GRPO_OK;
}

void grpo_tokenizer_free_ids(int32_t *ids)
{
    mem_free(ids);
}

/* ---- decoding --------------------------------------------------------------------------------- */

static grpo_status check_id(int32_t id, grpo_error *err)
{
    return id >= 0 ? GRPO_OK
                   : grpo_fail(err, GRPO_ERR_USAGE, "a token id cannot be negative (%d)", (int)id);
}

void tokenizer_append_bytes(const grpo_tokenizer *t, uint32_t id, strbuf *out)
{
    size_t length;
    const char *text;
    if (id < t->size && !(t->flags[id] & TOKEN_ADDED)) {
        text = vocab_text(&t->bytes, id, &length);
        if (text)
            strbuf_append(out, text, length);
    } else if ((text = tokenizer_text(t, id, &length)) != NULL &&
               !byte_level_decode(out, text, length)) {
        strbuf_append(out, text, length);
    }
}

static grpo_status decode_bytes(const grpo_tokenizer *t, const int32_t *ids, size_t count,
                                int skip_special, strbuf *out, grpo_error *err)
{
    strbuf bytes = STRBUF_INIT;
    grpo_status status = GRPO_OK;
    for (size_t i = 0; i < count && status == GRPO_OK; i++) {
        status = check_id(ids[i], err);
        if (status == GRPO_OK && !(skip_special && grpo_tokenizer_is_special(t, ids[i])))
            tokenizer_append_bytes(t, (uint32_t)ids[i], &bytes);
    }
    utf8_append_lossy(out, strbuf_text(&bytes), bytes.length);
    out->failed |= bytes.failed;
    strbuf_deinit(&bytes);
    return status;
}

static grpo_status list_tokens(const grpo_tokenizer *t, const int32_t *ids, size_t count,
                               int skip_special, token_list *list, grpo_error *err)
{
    for (size_t i = 0; i < count; i++) {
        size_t length;
        grpo_status status = check_id(ids[i], err);
        if (status != GRPO_OK)
            return status;
        const char *text = tokenizer_text(t, (uint32_t)ids[i], &length);
        if (!text || (skip_special && grpo_tokenizer_is_special(t, ids[i])))
            continue;
        if (!t->has_decoder && list->count)
            strbuf_putc(&list->text, ' ');
        if (token_list_add(list, text, length) != 0)
            return mem_fail(err, "decoding", count);
    }
    return GRPO_OK;
}

static grpo_status decode_steps(const grpo_tokenizer *t, const int32_t *ids, size_t count,
                                int skip_special, strbuf *out, grpo_error *err)
{
    token_list tokens = {0}, spare = {0};
    pattern_scratch scratch = {0};
    grpo_status status = list_tokens(t, ids, count, skip_special, &tokens, err);
    if (status == GRPO_OK)
        status = detokenize_apply(t->decoders, t->decoder_count, &tokens, &spare, &scratch, 0, err);
    strbuf_append(out, strbuf_text(&tokens.text), tokens.text.length);
    token_list_deinit(&tokens);
    token_list_deinit(&spare);
    pattern_scratch_deinit(&scratch);
    return status;
}

grpo_status grpo_tokenizer_decode(const grpo_tokenizer *t, const int32_t *ids, size_t count,
                                  int skip_special, char **text, size_t *length, grpo_error *err)
{
    strbuf out = STRBUF_INIT;
    *text = NULL;
    *length = 0;
    grpo_status status = t->shape == STREAM_BYTES
                             ? decode_bytes(t, ids, count, skip_special, &out, err)
                             : decode_steps(t, ids, count, skip_special, &out, err);
    size_t n = out.length;
    char *result = status == GRPO_OK ? strbuf_detach(&out) : NULL;
    if (status == GRPO_OK && !result)
        status = mem_fail(err, "a decoded text", n);
    strbuf_deinit(&out);
    if (status == GRPO_OK) {
        *text = result;
        *length = n;
    }
    return status;
}

void grpo_tokenizer_free_text(char *text)
{
    mem_free(text);
}

/* ---- looking things up -------------------------------------------------------------------------- */

size_t grpo_tokenizer_size(const grpo_tokenizer *t)
{
    return t->size;
}

int32_t grpo_tokenizer_id(const grpo_tokenizer *t, const char *token, size_t length)
{
    for (size_t i = 0; i < t->added_count; i++)
        if (t->added[i].length == length && memcmp(t->added[i].content, token, length) == 0)
            return (int32_t)t->added[i].id;
    uint32_t id = vocab_find(&t->strings, token, length);
    return id == VOCAB_NONE ? -1 : (int32_t)id;
}

const char *grpo_tokenizer_token(const grpo_tokenizer *t, int32_t id, size_t *length)
{
    const added_token *a = id >= 0 ? tokenizer_added(t, (uint32_t)id) : NULL;
    if (a) {
        *length = a->length;
        return a->content;
    }
    return id >= 0 ? vocab_text(&t->strings, (uint32_t)id, length) : NULL;
}

size_t grpo_tokenizer_token_bytes(const grpo_tokenizer *t, int32_t id, char *bytes, size_t capacity)
{
    token_list tokens = {0}, spare = {0};
    pattern_scratch scratch = {0};
    size_t length;
    const char *text = id >= 0 ? tokenizer_text(t, (uint32_t)id, &length) : NULL;
    if (!text)
        return 0;
    if (t->shape == STREAM_BYTES) {
        tokenizer_append_bytes(t, (uint32_t)id, &tokens.text);
    } else if (token_list_add(&tokens, text, length) == 0) {
        int byte = detokenize_fallback_byte(text, length);
        if (byte >= 0 && t->model.byte_fallback) {
            strbuf_clear(&tokens.text);
            strbuf_putc(&tokens.text, (char)byte);
        } else {
            size_t steps = t->shape == STREAM_TOKENS ? t->token_steps : t->decoder_count;
            detokenize_apply(t->decoders, steps, &tokens, &spare, &scratch, 1, NULL);
        }
    }
    size_t n = tokens.text.length;
    if (n)
        memcpy(bytes, tokens.text.data, n < capacity ? n : capacity);
    token_list_deinit(&tokens);
    token_list_deinit(&spare);
    pattern_scratch_deinit(&scratch);
    return n;
}

int grpo_tokenizer_is_special(const grpo_tokenizer *t, int32_t id)
{
    return id >= 0 && (uint32_t)id < t->size && (t->flags[id] & TOKEN_SPECIAL) != 0;
}

static const special_token *find_special(const grpo_tokenizer *t, const char *name)
{
    for (size_t i = 0; i < t->special_count; i++)
        if (strcmp(t->specials[i].name, name) == 0)
            return &t->specials[i];
    return NULL;
}

const char *grpo_tokenizer_special(const grpo_tokenizer *t, const char *name)
{
    const special_token *s = find_special(t, name);
    return s ? s->content : NULL;
}

int32_t grpo_tokenizer_special_id(const grpo_tokenizer *t, const char *name)
{
    const special_token *s = find_special(t, name);
    return s ? s->id : -1;
}

const int32_t *grpo_tokenizer_eos_ids(const grpo_tokenizer *t, size_t *count)
{
    *count = t->eos_count;
    return t->eos_ids;
}

const char *grpo_tokenizer_chat_template(const grpo_tokenizer *t, const char *name)
{
    for (size_t i = 0; i < t->template_count; i++)
        if (strcmp(t->templates[i].name, name ? name : "default") == 0)
            return t->templates[i].text;
    return NULL;
}
