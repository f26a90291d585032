/* A tokenizer from the parts of a GGUF file. The file names its pre-tokenizer instead of describing it;
 * what the names mean is what the Hugging Face tokenizers of those models do, normaliser included. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/tokenizer_impl.h"
#include "text/unicode.h"

enum { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER_DEFINED, TYPE_UNUSED, TYPE_BYTE };

#define CASED_WORD                                                                                 \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
#define CASED_WORD_UPPER                                                                           \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*"
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
#define CASED_END " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

typedef struct pre_tokenizer {
    const char *name;
    int nfc, digits, ignore_merges, add_bos;
    scan_kind scan;
    const char *regexes[3];
} pre_tokenizer;

static const char gpt4o[] = CASED_WORD CONTRACTION "|" CASED_WORD_UPPER CONTRACTION
                                                   "|\\p{N}{1,3}|" CASED_END;

static const pre_tokenizer pre_tokenizers[] = {
    {.name = "gpt-2", .scan = SCAN_GPT2},
    {.name = "phi-2", .scan = SCAN_GPT2},
    {.name = "olmo", .nfc = 1, .scan = SCAN_GPT2},
    {.name = "mpt", .nfc = 1, .scan = SCAN_GPT2},
    {.name = "smollm", .digits = 1, .scan = SCAN_GPT2},
    {.name = "starcoder", .digits = 1, .scan = SCAN_GPT2},
    {.name = "refact", .digits = 1, .scan = SCAN_GPT2},
    {.name = "command-r", .nfc = 1, .digits = 1, .scan = SCAN_GPT2},
    {.name = "llama-bpe", .ignore_merges = 1, .add_bos = 1, .scan = SCAN_LLAMA3},
    {.name = "llama3", .ignore_merges = 1, .add_bos = 1, .scan = SCAN_LLAMA3},
    {.name = "llama-v3", .ignore_merges = 1, .add_bos = 1, .scan = SCAN_LLAMA3},
    {.name = "falcon3", .ignore_merges = 1, .add_bos = 1, .scan = SCAN_LLAMA3},
    {.name = "lfm2", .ignore_merges = 1, .add_bos = 1, .scan = SCAN_LLAMA3},
    {.name = "smaug-bpe", .scan = SCAN_LLAMA3}, /* SmolLM3 */
    {.name = "dbrx", .scan = SCAN_LLAMA3},      /* OLMo 2 */
    {.name = "qwen2", .nfc = 1, .scan = SCAN_QWEN2},
    {.name = "deepseek-r1-qwen", .nfc = 1, .scan = SCAN_QWEN2},
    {.name = "qwen35", .nfc = 1, .scan = SCAN_QWEN35},
    {.name = "gpt-4o", .regexes = {gpt4o}},
    {.name = "llama4", .regexes = {gpt4o}},
    {.name = "tekken", .ignore_merges = 1, .add_bos = 1,
     .regexes = {CASED_WORD "|" CASED_WORD_UPPER "|\\p{N}|" CASED_END}},
    {.name = "deepseek-v3",
     .regexes = {"\\p{N}{1,3}", "[\xE4\xB8\x80-\xE9\xBE\xA5\xE3\x81\x80-\xE3\x82\x9F\xE3\x82\xA0-\xE3\x83\xBF]+",
                 "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
                 "|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*"
                 "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
};

static int is(grpo_bytes text, const char *name)
{
    return text.data && text.length == strlen(name) && memcmp(text.data, name, text.length) == 0;
}

static const pre_tokenizer *find_pre(grpo_bytes name, grpo_error *err)
{
    const size_t count = sizeof pre_tokenizers / sizeof *pre_tokenizers;
    strbuf known = STRBUF_INIT;
    for (size_t i = 0; i < count; i++)
        if (is(name, pre_tokenizers[i].name))
            return &pre_tokenizers[i];
    for (size_t i = 0; i < count; i++)
        strbuf_printf(&known, "%s%s", i ? ", " : "", pre_tokenizers[i].name);
    if (name.data)
        grpo_fail(err, GRPO_ERR_UNSUPPORTED, "tokenizer.ggml.pre: the pre-tokenizer '%.*s' is not supported; "
                  "these are: %s", name.length > 60 ? 60 : (int)name.length, name.data, strbuf_text(&known));
    else
        grpo_fail(err, GRPO_ERR_UNSUPPORTED, "tokenizer.ggml.pre is missing, so it cannot be known how the model "
                  "wants its texts cut; convert the model again with a newer tool");
    strbuf_deinit(&known);
    return NULL;
}

/* ---- steps ------------------------------------------------------------------------------------------ */

static grpo_status no_room(grpo_error *err)
{
    return grpo_fail(err, GRPO_ERR_MEMORY, "out of memory for a tokenizer");
}

static grpo_status byte_level_steps(grpo_tokenizer *t, const pre_tokenizer *pre, grpo_error *err)
{
    if (pre->nfc) {
        normalize_step *nfc = tokenizer_new_normalizer(t);
        if (!nfc)
            return no_room(err);
        nfc->kind = NORMALIZE_NFC;
    }
    if (pre->digits) {
        pretokenize_step *digits = tokenizer_new_pretokenizer(t);
        if (!digits)
            return no_room(err);
        digits->kind = PRETOKENIZE_DIGITS;
        digits->behavior = SPLIT_ISOLATED;
    }
    grpo_status status = GRPO_OK;
    if (pre->scan)
        status = tokenizer_add_scan(t, pre->scan, err);
    for (size_t i = 0; i < 3 && pre->regexes[i] && status == GRPO_OK; i++)
        status = tokenizer_add_regex(t, pre->regexes[i], strlen(pre->regexes[i]), pre->name, err);
    if (status == GRPO_OK)
        status = tokenizer_add_bytes(t, err);
    detokenize_step *decoder = status == GRPO_OK ? tokenizer_new_decoder(t) : NULL;
    if (!decoder)
        return status == GRPO_OK ? no_room(err) : status;
    decoder->kind = DETOKENIZE_BYTE_LEVEL;
    t->has_decoder = 1;
    return GRPO_OK;
}

static grpo_status normalizer_text(normalize_step *step, normalize_kind kind, const char *content,
                                   grpo_error *err)
{
    if (!step || !(step->content = mem_strdup(content)))
        return no_room(err);
    step->kind = kind;
    step->content_length = strlen(content);
    return GRPO_OK;
}

static grpo_status decoder_text(detokenize_step *step, detokenize_kind kind, const char *content,
                                grpo_error *err)
{
    if (!step || !(step->content = mem_strdup(content)))
        return no_room(err);
    step->kind = kind;
    step->content_length = strlen(content);
    return GRPO_OK;
}

#define METASPACE "\xE2\x96\x81"

/* SentencePiece: spaces to U+2581, one in front; back again, runs of byte tokens to characters. */
static grpo_status sentencepiece_steps(grpo_tokenizer *t, int prefix, grpo_error *err)
{
    grpo_status status = GRPO_OK;
    if (prefix)
        status = normalizer_text(tokenizer_new_normalizer(t), NORMALIZE_PREPEND, METASPACE, err);
    if (status == GRPO_OK) {
        normalize_step *step = tokenizer_new_normalizer(t);
        status = normalizer_text(step, NORMALIZE_REPLACE, METASPACE, err);
        if (status == GRPO_OK)
            status = pattern_create_literal(&step->pattern, " ", 1, err);
    }
    if (status == GRPO_OK) {
        detokenize_step *step = tokenizer_new_decoder(t);
        status = decoder_text(step, DETOKENIZE_REPLACE, " ", err);
        if (status == GRPO_OK)
            status = pattern_create_literal(&step->pattern, METASPACE, strlen(METASPACE), err);
    }
    if (status == GRPO_OK)
        status = decoder_text(tokenizer_new_decoder(t), DETOKENIZE_BYTE_FALLBACK, "", err);
    if (status == GRPO_OK)
        status = decoder_text(tokenizer_new_decoder(t), DETOKENIZE_FUSE, "", err);
    if (status == GRPO_OK && prefix) {
        detokenize_step *step = tokenizer_new_decoder(t);
        status = decoder_text(step, DETOKENIZE_STRIP, " ", err);
        if (status == GRPO_OK)
            step->start = 1;
    }
    t->has_decoder = 1;
    return status;
}

/* ---- vocabulary -------------------------------------------------------------------------------------- */

static int token_type(const grpo_tokenizer_parts *parts, size_t id)
{
    return parts->token_types ? parts->token_types[id] : TYPE_NORMAL;
}

static grpo_status read_tokens(grpo_tokenizer *t, const grpo_tokenizer_parts *parts, grpo_error *err)
{
    if (!parts->tokens || parts->token_count == 0 || parts->token_count >= INT32_MAX)
        return grpo_fail(err, GRPO_ERR_FORMAT, "tokenizer.ggml.tokens is missing or empty");
    grpo_status status = vocab_init(&t->strings, (uint32_t)parts->token_count, err);
    for (size_t id = 0; id < parts->token_count && status == GRPO_OK; id++) {
        grpo_bytes token = parts->tokens[id];
        if (utf8_valid_prefix(token.data, token.length) != token.length)
            status = grpo_fail(err, GRPO_ERR_FORMAT, "tokenizer.ggml.tokens: token %zu is not UTF-8", id);
        if (status == GRPO_OK)
            status = vocab_set(&t->strings, (uint32_t)id, token.data, token.length, VOCAB_UNIQUE, err);
    }
    return status;
}

static grpo_status add_added(grpo_tokenizer *t, const grpo_tokenizer_parts *parts, grpo_error *err)
{
    grpo_status status = GRPO_OK;
    for (size_t id = 0; id < parts->token_count && status == GRPO_OK; id++) {
        int type = token_type(parts, id);
        int special = type == TYPE_CONTROL || type == TYPE_UNKNOWN;
        grpo_bytes text = parts->tokens[id];
        if ((!special && type != TYPE_USER_DEFINED) || text.length == 0)
            continue;
        added_token token = {.id = (uint32_t)id, .length = text.length, .special = special,
                             .content = mem_strndup(text.data, text.length)};
        status = token.content ? tokenizer_add_token(t, &token, err)
                               : mem_fail(err, "added tokens", text.length);
    }
    return status;
}

/* ---- merges -------------------------------------------------------------------------------------------- */

static grpo_status listed_merges(grpo_tokenizer *t, const grpo_tokenizer_parts *parts, grpo_error *err)
{
    grpo_status status = GRPO_OK;
    for (size_t i = 0; i < parts->merge_count && status == GRPO_OK; i++) {
        grpo_bytes merge = parts->merges[i];
        const char *end = merge.data + merge.length;
        const char *space = merge.length > 1 ? memchr(merge.data + 1, ' ', merge.length - 1) : NULL;
        if (!space || space + 1 == end)
            return grpo_fail(err, GRPO_ERR_FORMAT, "tokenizer.ggml.merges: merge %zu must be two tokens", i);
        status = tokenizer_add_merge(t, merge.data, (size_t)(space - merge.data), space + 1,
                                     (size_t)(end - space - 1), (uint32_t)i, err);
    }
    return grpo_error_prefix(err, status, "tokenizer.ggml.merges");
}

/* One way to cut a token into two others. */
typedef struct cut {
    float score; /* of the whole */
    uint32_t id, left, right;
    uint16_t left_characters, right_characters;
} cut;

/* The order in which Hugging Face's converter ranks the merges of a SentencePiece vocabulary: the
 * highest score first, then the longest left and right part, then ids. */
static int compare_cuts(const void *a, const void *b)
{
    const cut *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    if (x->left_characters != y->left_characters)
        return x->left_characters > y->left_characters ? -1 : 1;
    if (x->right_characters != y->right_characters)
        return x->right_characters > y->right_characters ? -1 : 1;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return (x->left > y->left) - (x->left < y->left);
}

typedef struct cut_list {
    cut *items;
    size_t count, capacity;
} cut_list;

#define MAX_CUT_BYTES 4096 /* longer tokens are not cut: no vocabulary has them */

static int cut_token(const grpo_tokenizer *t, uint32_t id, float score, cut_list *cuts)
{
    size_t length = 0, characters = 0, before = 0;
    const char *text = vocab_text(&t->strings, id, &length);
    if (length > MAX_CUT_BYTES)
        return 0;
    for (size_t i = 0; i < length; i += utf8_size((unsigned char)text[i]))
        characters++;
    for (size_t i = 0; i < length; i += utf8_size((unsigned char)text[i]), before++) {
        uint32_t left = i ? vocab_find(&t->strings, text, i) : VOCAB_NONE;
        uint32_t right = left != VOCAB_NONE ? vocab_find(&t->strings, text + i, length - i) : VOCAB_NONE;
        if (right == VOCAB_NONE)
            continue;
        if (mem_reserve((void **)&cuts->items, &cuts->capacity, cuts->count + 1, sizeof(cut)) != 0)
            return -1;
        cuts->items[cuts->count++] = (cut){score, id, left, right, (uint16_t)before,
                                           (uint16_t)(characters - before)};
    }
    return 0;
}

/* SentencePiece joins the neighbours whose union has the highest score: every cut of a token into two
 * others is a merge, ranked by score. */
static grpo_status scored_merges(grpo_tokenizer *t, const grpo_tokenizer_parts *parts,
                                 const bpe_model *wanted, grpo_error *err)
{
    if (!parts->scores)
        return grpo_fail(err, GRPO_ERR_FORMAT, "tokenizer.ggml.scores is missing");
    cut_list cuts = {0};
    grpo_status status = GRPO_OK;
    for (size_t id = 0; id < parts->token_count && status == GRPO_OK; id++) {
        if (isnan(parts->scores[id]))
            status = grpo_fail(err, GRPO_ERR_FORMAT, "tokenizer.ggml.scores: the score of token %zu is not a number", id);
        else if (token_type(parts, id) == TYPE_NORMAL &&
                 cut_token(t, (uint32_t)id, parts->scores[id], &cuts) != 0)
            status = no_room(err);
    }
    if (status == GRPO_OK)
        status = tokenizer_start_model(t, wanted, cuts.count, err);
    if (status == GRPO_OK && cuts.count)
        qsort(cuts.items, cuts.count, sizeof *cuts.items, compare_cuts);
    for (size_t i = 0; i < cuts.count && status == GRPO_OK; i++)
        bpe_add_merge(&t->model, cuts.items[i].left, cuts.items[i].right, (uint32_t)i, cuts.items[i].id);
    mem_free(cuts.items);
    return status;
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

static grpo_status special_id(grpo_tokenizer *t, const char *name, int64_t id, grpo_error *err)
{
    size_t length;
    if (id < 0)
        return GRPO_OK;
    const char *text = id < t->strings.size ? vocab_text(&t->strings, (uint32_t)id, &length) : NULL;
    if (!text)
        return grpo_fail(err, GRPO_ERR_FORMAT, "tokenizer.ggml: the %s has the id %lld, which no token has", name,
                         (long long)id);
    char *copy = mem_strndup(text, length);
    grpo_status status = copy ? tokenizer_add_special(t, name, copy, err) : no_room(err);
    mem_free(copy);
    return status;
}

static grpo_status add_names(grpo_tokenizer *t, const grpo_tokenizer_parts *parts, grpo_error *err)
{
    grpo_status status = special_id(t, "bos_token", parts->bos_token_id, err);
    if (status == GRPO_OK)
        status = special_id(t, "eos_token", parts->eos_token_id, err);
    if (status == GRPO_OK)
        status = special_id(t, "pad_token", parts->padding_token_id, err);
    if (status == GRPO_OK)
        status = special_id(t, "unk_token", parts->unknown_token_id, err);
    const int64_t ends[] = {parts->eos_token_id, parts->eot_token_id, parts->eom_token_id};
    for (int i = 0; i < 3 && status == GRPO_OK; i++)
        if (ends[i] < (int64_t)parts->token_count)
            status = tokenizer_add_eos(t, ends[i], err);
    if (status == GRPO_OK && parts->chat_template.data)
        status = tokenizer_add_template(t, "default", parts->chat_template.data,
                                        parts->chat_template.length, err);
    for (size_t i = 0; i < parts->template_count && status == GRPO_OK; i++) {
        char *name = mem_strndup(parts->template_names[i].data, parts->template_names[i].length);
        status = name ? tokenizer_add_template(t, name, parts->templates[i].data,
                                               parts->templates[i].length, err)
                      : no_room(err);
        mem_free(name);
    }
    t->context_length = parts->context_length;
    return status;
}

static grpo_status add_ends(grpo_tokenizer *t, const grpo_tokenizer_parts *parts, int default_bos,
                            grpo_error *err)
{
    int bos = parts->add_bos_token >= 0 ? parts->add_bos_token : default_bos;
    int eos = parts->add_eos_token > 0;
    if ((bos && parts->bos_token_id < 0) || (eos && parts->eos_token_id < 0))
        return grpo_fail(err, GRPO_ERR_FORMAT, "tokenizer.ggml: texts are to %s a token that the file does not name",
                         bos ? "begin with" : "end with");
    if ((bos && !(t->before = mem_calloc(1, sizeof *t->before))) ||
        (eos && !(t->after = mem_calloc(1, sizeof *t->after))))
        return no_room(err);
    if (bos)
        t->before[t->before_count++] = (int32_t)parts->bos_token_id;
    if (eos)
        t->after[t->after_count++] = (int32_t)parts->eos_token_id;
    return GRPO_OK;
}

static grpo_status byte_level_tokenizer(grpo_tokenizer *t, const grpo_tokenizer_parts *parts,
                                        grpo_error *err)
{
    const pre_tokenizer *pre = find_pre(parts->pre, err);
    if (!pre)
        return GRPO_ERR_UNSUPPORTED;
    bpe_model wanted = {.unknown = VOCAB_NONE, .ignore_merges = pre->ignore_merges};
    if (!parts->merges || parts->merge_count >= UINT32_MAX)
        return grpo_fail(err, GRPO_ERR_FORMAT, "tokenizer.ggml.merges is missing");
    grpo_status status = byte_level_steps(t, pre, err);
    if (status == GRPO_OK)
        status = tokenizer_start_model(t, &wanted, parts->merge_count, err);
    if (status == GRPO_OK)
        status = listed_merges(t, parts, err);
    return status == GRPO_OK ? add_ends(t, parts, pre->add_bos, err) : status;
}

static grpo_status sentencepiece_tokenizer(grpo_tokenizer *t, const grpo_tokenizer_parts *parts,
                                           grpo_error *err)
{
    bpe_model wanted = {.unknown = VOCAB_NONE, .byte_fallback = 1, .fuse_unknown = 1};
    if (parts->unknown_token_id >= 0 && (uint64_t)parts->unknown_token_id < parts->token_count)
        wanted.unknown = (uint32_t)parts->unknown_token_id;
    for (size_t id = 0; id < parts->token_count && wanted.unknown == VOCAB_NONE; id++)
        if (token_type(parts, id) == TYPE_UNKNOWN)
            wanted.unknown = (uint32_t)id;
    grpo_status status = sentencepiece_steps(t, parts->add_space_prefix != 0, err);
    if (status == GRPO_OK)
        status = scored_merges(t, parts, &wanted, err);
    return status == GRPO_OK ? add_ends(t, parts, 1, err) : status;
}

static grpo_status build(grpo_tokenizer *t, const grpo_tokenizer_parts *parts, grpo_error *err)
{
    grpo_status status = read_tokens(t, parts, err);
    if (status != GRPO_OK)
        return status;
    if (is(parts->model, "gpt2"))
        status = byte_level_tokenizer(t, parts, err);
    else if (is(parts->model, "llama"))
        status = sentencepiece_tokenizer(t, parts, err);
    else
        status = grpo_fail(err, GRPO_ERR_UNSUPPORTED, "tokenizer.ggml.model: '%.*s' is not supported; 'gpt2' and "
                           "'llama' are", parts->model.length > 60 ? 60 : (int)parts->model.length,
                           parts->model.data ? parts->model.data : "");
    if (status == GRPO_OK)
        status = add_added(t, parts, err);
    if (status == GRPO_OK)
        status = tokenizer_finish(t, err);
    return status == GRPO_OK ? add_names(t, parts, err) : status;
}

grpo_status grpo_tokenizer_from_parts(grpo_tokenizer **out, const grpo_tokenizer_parts *parts,
                                      grpo_error *err)
{
    grpo_tokenizer *t = tokenizer_create();
    *out = NULL;
    if (!t)
        return no_room(err);
    grpo_status status = build(t, parts, err);
    if (status == GRPO_OK)
        *out = t;
    else
        grpo_tokenizer_destroy(t);
    return status;
}
