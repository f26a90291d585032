/* Putting a tokenizer together from what the readers of tokenizer.json and of GGUF parts found. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/byte_level.h"
#include "text/tokenizer_impl.h"
#include "text/unicode.h"

#define MAX_DECODERS 32

grpo_tokenizer *tokenizer_create(void)
{
    unicode_init();
    grpo_tokenizer *t = mem_calloc(1, sizeof *t);
    if (t)
        t->context_length = -1;
    return t;
}

void grpo_tokenizer_destroy(grpo_tokenizer *t)
{
    if (!t)
        return;
    bpe_deinit(&t->model);
    vocab_deinit(&t->strings);
    vocab_deinit(&t->bytes);
    for (size_t i = 0; i < t->added_count; i++) {
        mem_free(t->added[i].content);
        mem_free(t->added[i].text);
    }
    for (size_t i = 0; i < t->normalizer_count; i++)
        normalize_step_deinit(&t->normalizers[i]);
    for (size_t i = 0; i < t->pretokenizer_count; i++)
        pretokenize_step_deinit(&t->pretokenizers[i]);
    for (size_t i = 0; i < t->decoder_count; i++)
        detokenize_step_deinit(&t->decoders[i]);
    for (size_t i = 0; i < t->special_count; i++) {
        mem_free(t->specials[i].name);
        mem_free(t->specials[i].content);
    }
    for (size_t i = 0; i < t->template_count; i++) {
        mem_free(t->templates[i].name);
        mem_free(t->templates[i].text);
    }
    void *const owned[] = {t->added, t->raw_set.patterns, t->normalized_set.patterns,
                           t->flags, t->normalizers, t->pretokenizers, t->decoders, t->before,
                           t->after, t->specials, t->templates, t->eos_ids, t->folder, t->file};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        mem_free(owned[i]);
    mem_free(t);
}

/* ---- lists ------------------------------------------------------------------------------------- */

static void *grow(void *list, size_t *count, size_t *capacity, size_t limit, size_t size)
{
    void **items = list;
    if (*count >= limit || mem_reserve(items, capacity, *count + 1, size) != 0)
        return NULL;
    void *item = (char *)*items + size * (*count)++;
    memset(item, 0, size);
    return item;
}

normalize_step *tokenizer_new_normalizer(grpo_tokenizer *t)
{
    return grow(&t->normalizers, &t->normalizer_count, &t->normalizer_capacity,
                PRETOKENIZE_MAX_STEPS, sizeof *t->normalizers);
}

pretokenize_step *tokenizer_new_pretokenizer(grpo_tokenizer *t)
{
    return grow(&t->pretokenizers, &t->pretokenizer_count, &t->pretokenizer_capacity,
                PRETOKENIZE_MAX_STEPS, sizeof *t->pretokenizers);
}

detokenize_step *tokenizer_new_decoder(grpo_tokenizer *t)
{
    return grow(&t->decoders, &t->decoder_count, &t->decoder_capacity, MAX_DECODERS,
                sizeof *t->decoders);
}

grpo_status tokenizer_add_special(grpo_tokenizer *t, const char *name, const char *content,
                                  grpo_error *err)
{
    special_token *s = grow(&t->specials, &t->special_count, &t->special_capacity, 1000,
                            sizeof *t->specials);
    if (!s || !(s->name = mem_strdup(name)) || !(s->content = mem_strdup(content)))
        return mem_fail(err, "a special token", strlen(content));
    s->id = grpo_tokenizer_id(t, content, strlen(content));
    return GRPO_OK;
}

grpo_status tokenizer_add_template(grpo_tokenizer *t, const char *name, const char *text,
                                   size_t length, grpo_error *err)
{
    named_text *n = grow(&t->templates, &t->template_count, &t->template_capacity, 1000,
                         sizeof *t->templates);
    if (!n || !(n->name = mem_strdup(name)) || !(n->text = mem_strndup(text, length)))
        return mem_fail(err, "a chat template", length);
    return GRPO_OK;
}

grpo_status tokenizer_add_eos(grpo_tokenizer *t, int64_t id, grpo_error *err)
{
    if (id < 0 || id > INT32_MAX)
        return GRPO_OK; /* -1 and the like: "none" */
    size_t at = 0;
    while (at < t->eos_count && t->eos_ids[at] < id)
        at++;
    if (at < t->eos_count && t->eos_ids[at] == id)
        return GRPO_OK;
    if (!grow(&t->eos_ids, &t->eos_count, &t->eos_capacity, 1000, sizeof *t->eos_ids))
        return mem_fail(err, "end tokens", t->eos_count);
    memmove(t->eos_ids + at + 1, t->eos_ids + at, (t->eos_count - 1 - at) * sizeof *t->eos_ids);
    t->eos_ids[at] = (int32_t)id;
    return GRPO_OK;
}

/* ---- the model ------------------------------------------------------------------------------------ */

/* Can BPE run on raw bytes? When the last thing before it turns bytes into printable characters and
 * nothing else looks at those, the detour can be left out. */
static int works_on_bytes(const grpo_tokenizer *t, const bpe_model *wanted)
{
    size_t n = t->pretokenizer_count;
    if (n == 0 || t->pretokenizers[n - 1].kind != PRETOKENIZE_BYTES || wanted->byte_fallback ||
        wanted->prefix || wanted->suffix)
        return 0;
    for (size_t i = 0; i + 1 < n; i++)
        if (t->pretokenizers[i].kind == PRETOKENIZE_BYTES)
            return 0;
    for (size_t i = 0; i < t->normalizer_count; i++)
        if (t->normalizers[i].kind == NORMALIZE_BYTE_LEVEL)
            return 0;
    return 1;
}

/* The tokens as raw bytes. One with a character that stands for no byte can never come out of
 * encoding; it is kept as it is spelt, for decoding. */
static grpo_status make_bytes(grpo_tokenizer *t, grpo_error *err)
{
    strbuf bytes = STRBUF_INIT;
    grpo_status status = vocab_init(&t->bytes, t->strings.size, err);
    for (uint32_t id = 0; id < t->strings.size && status == GRPO_OK; id++) {
        size_t length;
        const char *text = vocab_text(&t->strings, id, &length);
        if (!text)
            continue;
        strbuf_clear(&bytes);
        if (byte_level_decode(&bytes, text, length))
            status = vocab_set(&t->bytes, id, strbuf_text(&bytes), bytes.length, VOCAB_UNIQUE, err);
        else
            status = vocab_set(&t->bytes, id, text, length, VOCAB_HIDDEN, err);
        if (bytes.failed)
            status = mem_fail(err, "token bytes", length);
    }
    strbuf_deinit(&bytes);
    return status;
}

grpo_status tokenizer_start_model(grpo_tokenizer *t, const bpe_model *wanted, size_t merges,
                                  grpo_error *err)
{
    t->model = *wanted;
    t->model.keys = &t->strings;
    if (works_on_bytes(t, wanted)) {
        t->pretokenizer_count--;
        grpo_status status = make_bytes(t, err);
        if (status != GRPO_OK)
            return status;
        t->model.raw_bytes = 1;
        t->model.keys = &t->bytes;
    }
    return bpe_init(&t->model, merges, err);
}

static grpo_status no_token(const char *text, size_t length, uint32_t rank, grpo_error *err)
{
    return grpo_fail(err, GRPO_ERR_FORMAT, "merge %u needs the token '%.*s', which is not in the vocabulary",
                     rank, length > 60 ? 60 : (int)length, text);
}

grpo_status tokenizer_add_merge(grpo_tokenizer *t, const char *left, size_t left_length,
                                const char *right, size_t right_length, uint32_t rank,
                                grpo_error *err)
{
    char joined[512];
    const vocab *v = &t->strings;
    uint32_t a = vocab_find(v, left, left_length), b = vocab_find(v, right, right_length);
    if (a == VOCAB_NONE)
        return no_token(left, left_length, rank, err);
    if (b == VOCAB_NONE)
        return no_token(right, right_length, rank, err);
    size_t skipped = t->model.prefix ? strlen(t->model.prefix) : 0;
    if (right_length < skipped)
        return grpo_fail(err, GRPO_ERR_FORMAT, "merge %u: '%.*s' is shorter than the continuing_subword_prefix",
                         rank, (int)right_length, right);
    size_t length = left_length + right_length - skipped;
    char *text = length <= sizeof joined ? joined : mem_realloc(NULL, length, 1);
    if (!text)
        return mem_fail(err, "a merge", length);
    memcpy(text, left, left_length);
    memcpy(text + left_length, right + skipped, right_length - skipped);
    uint32_t result = vocab_find(v, text, length);
    grpo_status status = GRPO_OK;
    if (result == VOCAB_NONE)
        status = no_token(text, length, rank, err);
    else
        bpe_add_merge(&t->model, a, b, rank, result);
    if (text != joined)
        mem_free(text);
    return status;
}

/* ---- added tokens ------------------------------------------------------------------------------------ */

#define MAX_ADDED_LENGTH 4096

grpo_status tokenizer_add_token(grpo_tokenizer *t, added_token *token, grpo_error *err)
{
    grpo_status status = GRPO_OK;
    if (token->length == 0 || token->length > MAX_ADDED_LENGTH)
        status = grpo_fail(err, GRPO_ERR_FORMAT, "the added token with id %u has %zu bytes; 1 to %d are possible",
                           token->id, token->length, MAX_ADDED_LENGTH);
    added_token *slot = status == GRPO_OK ? grow(&t->added, &t->added_count, &t->added_capacity,
                                                 SIZE_MAX / 2, sizeof *t->added)
                                          : NULL;
    if (slot)
        *slot = *token;
    else {
        mem_free(token->content);
        if (status == GRPO_OK)
            status = mem_fail(err, "added tokens", t->added_count * sizeof *t->added);
    }
    token->content = NULL;
    return status;
}

static int by_id(const void *a, const void *b)
{
    uint32_t x = ((const added_token *)a)->id, y = ((const added_token *)b)->id;
    return (x > y) - (x < y);
}

const added_token *tokenizer_added(const grpo_tokenizer *t, uint32_t id)
{
    added_token wanted = {.id = id};
    if (t->added_count == 0)
        return NULL;
    return bsearch(&wanted, t->added, t->added_count, sizeof *t->added, by_id);
}

/* A normalised added token is looked for, and decoded from, in its normalised form. */
static grpo_status normalize_added(grpo_tokenizer *t, grpo_error *err)
{
    normalize_scratch scratch = {0};
    grpo_status status = GRPO_OK;
    for (size_t i = 0; i < t->added_count && status == GRPO_OK; i++) {
        added_token *a = &t->added[i];
        if (!a->normalized)
            continue;
        normalize_text text = {a->content, a->length, 0};
        status = normalize_apply(t->normalizers, t->normalizer_count, &scratch, &text, err);
        if (status != GRPO_OK ||
            (text.length == a->length && memcmp(text.data, a->content, a->length) == 0))
            continue;
        a->text = mem_strndup(text.data, text.length);
        a->text_length = text.length;
        if (!a->text)
            status = mem_fail(err, "added tokens", text.length);
    }
    normalize_scratch_deinit(&scratch);
    return status;
}

static const char *added_text(const added_token *a, size_t *length)
{
    *length = a->text ? a->text_length : a->length;
    return a->text ? a->text : a->content;
}

static grpo_status index_added(grpo_tokenizer *t, grpo_error *err)
{
    t->raw_set.patterns = mem_calloc(t->added_count, sizeof(added_pattern));
    t->normalized_set.patterns = mem_calloc(t->added_count, sizeof(added_pattern));
    if (!t->raw_set.patterns || !t->normalized_set.patterns)
        return mem_fail(err, "added tokens", t->added_count * sizeof(added_pattern));
    for (size_t i = 0; i < t->added_count; i++) {
        const added_token *a = &t->added[i];
        added_set *set = a->normalized ? &t->normalized_set : &t->raw_set;
        added_pattern *p = &set->patterns[set->count++];
        p->text = added_text(a, &p->length);
        p->token = a;
        t->flags[a->id] |= TOKEN_ADDED;
        if (a->special && !a->text)
            t->flags[a->id] |= TOKEN_SPECIAL;
    }
    grpo_status status = added_set_index(&t->raw_set, err);
    return status == GRPO_OK ? added_set_index(&t->normalized_set, err) : status;
}

const char *tokenizer_text(const grpo_tokenizer *t, uint32_t id, size_t *length)
{
    if (id >= t->size)
        return NULL;
    if (t->flags[id] & TOKEN_ADDED)
        return added_text(tokenizer_added(t, id), length);
    return vocab_text(&t->strings, id, length);
}

/* ---- finishing --------------------------------------------------------------------------------------- */

static int works_on_tokens(const detokenize_step *step)
{
    return step->kind == DETOKENIZE_REPLACE || step->kind == DETOKENIZE_STRIP ||
           step->kind == DETOKENIZE_METASPACE;
}

static void find_shape(grpo_tokenizer *t)
{
    const detokenize_step *d = t->decoders;
    size_t n = t->decoder_count, i = 0;
    t->shape = STREAM_AT_END;
    if (n == 1 && d[0].kind == DETOKENIZE_BYTE_LEVEL && t->model.raw_bytes) {
        t->shape = STREAM_BYTES;
        return;
    }
    while (i < n && works_on_tokens(&d[i]))
        i++;
    t->token_steps = i;
    if (i < n && d[i].kind == DETOKENIZE_BYTE_FALLBACK)
        i++;
    if (i < n && d[i].kind == DETOKENIZE_FUSE)
        i++;
    if (i && i < n && d[i - 1].kind == DETOKENIZE_FUSE && d[i].kind == DETOKENIZE_STRIP &&
        d[i].stop == 0)
        i++;
    if (t->has_decoder && i == n)
        t->shape = STREAM_TOKENS;
}

grpo_status tokenizer_finish(grpo_tokenizer *t, grpo_error *err)
{
    if (t->added_count)
        qsort(t->added, t->added_count, sizeof *t->added, by_id);
    for (size_t i = 1; i < t->added_count; i++)
        if (t->added[i].id == t->added[i - 1].id)
            return grpo_fail(err, GRPO_ERR_FORMAT, "the added tokens '%s' and '%s' have the same id %u",
                             t->added[i - 1].content, t->added[i].content, t->added[i].id);
    t->size = t->strings.size;
    if (t->added_count && t->added[t->added_count - 1].id >= t->size)
        t->size = t->added[t->added_count - 1].id + 1;
    t->flags = mem_calloc(t->size, 1);
    if (!t->flags)
        return mem_fail(err, "added tokens", t->size);
    grpo_status status = normalize_added(t, err);
    if (status == GRPO_OK)
        status = index_added(t, err);
    find_shape(t);
    return status;
}
