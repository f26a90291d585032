/* Writing a tokenizer as the files that transformers loads. What was read from files is copied; what
 * came from GGUF parts is spelt out as tokenizer.json, tokenizer_config.json and
 * special_tokens_map.json. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "text/scan.h"
#include "text/tokenizer_impl.h"

/* ---- copying ------------------------------------------------------------------------------------ */

static grpo_status copy_file(const char *from, const char *folder, const char *name, grpo_error *err)
{
    char *data, *to = file_join(folder, name);
    size_t length;
    if (!to)
        return mem_fail(err, "a path", strlen(name));
    grpo_status status = file_read(&data, &length, from, (size_t)256 << 20, err);
    if (status == GRPO_OK)
        status = file_write_all(to, data, length, err);
    mem_free(data);
    mem_free(to);
    return status;
}

static grpo_status copy_files(const grpo_tokenizer *t, const char *folder, grpo_error *err)
{
    static const char *const names[] = {
        "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
        "merges.txt", "tokenizer.model", "chat_template.jinja", "chat_template.json"};
    grpo_status status = copy_file(t->file, folder, "tokenizer.json", err);
    for (size_t i = 0; i < sizeof names / sizeof *names && status == GRPO_OK; i++) {
        char *from = file_join(t->folder, names[i]);
        if (!from)
            return mem_fail(err, "a path", strlen(names[i]));
        if (file_exists(from))
            status = copy_file(from, folder, names[i], err);
        mem_free(from);
    }
    return status;
}

/* ---- JSON ---------------------------------------------------------------------------------------- */

static void put_string(strbuf *out, const char *text, size_t length)
{
    strbuf_putc(out, '"');
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            strbuf_printf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7F)
            strbuf_printf(out, "\\u%04x", c);
        else
            strbuf_putc(out, text[i]);
    }
    strbuf_putc(out, '"');
}

static void put_token(strbuf *out, const grpo_tokenizer *t, uint32_t id)
{
    size_t length = 0;
    const char *text = grpo_tokenizer_token(t, (int32_t)id, &length);
    put_string(out, text ? text : "", length);
}

static const char *truth(int value)
{
    return value ? "true" : "false";
}

static void put_flags(strbuf *out, const added_token *a)
{
    strbuf_printf(out, "\"single_word\": %s, \"lstrip\": %s, \"rstrip\": %s, \"normalized\": %s, "
                       "\"special\": %s}",
                  truth(a->single_word), truth(a->lstrip), truth(a->rstrip), truth(a->normalized),
                  truth(a->special));
}

static void put_added(strbuf *out, const grpo_tokenizer *t)
{
    strbuf_puts(out, "  \"added_tokens\": [");
    for (size_t i = 0; i < t->added_count; i++) {
        strbuf_printf(out, "%s\n    {\"id\": %u, \"content\": ", i ? "," : "", t->added[i].id);
        put_string(out, t->added[i].content, t->added[i].length);
        strbuf_puts(out, ", ");
        put_flags(out, &t->added[i]);
    }
    strbuf_puts(out, "\n  ],\n");
}

/* ---- the pipeline, as far as GGUF parts make use of it ----------------------------------------------- */

static void put_pattern(strbuf *out, const pattern *p)
{
    size_t length;
    int regex;
    const char *source = pattern_source(p, &length, &regex);
    strbuf_printf(out, "\"pattern\": {\"%s\": ", regex ? "Regex" : "String");
    put_string(out, source, length);
    strbuf_putc(out, '}');
}

static grpo_status cannot(const char *what, grpo_error *err)
{
    return grpo_fail(err, GRPO_ERR_INTERNAL, "a %s of this tokenizer cannot be written", what);
}

static grpo_status put_normalizers(strbuf *out, const grpo_tokenizer *t, grpo_error *err)
{
    int several = t->normalizer_count > 1;
    strbuf_puts(out, "  \"normalizer\": ");
    strbuf_puts(out, several               ? "{\"type\": \"Sequence\", \"normalizers\": ["
                     : t->normalizer_count ? ""
                                           : "null");
    for (size_t i = 0; i < t->normalizer_count; i++) {
        const normalize_step *n = &t->normalizers[i];
        strbuf_puts(out, i ? ", " : "");
        if (n->kind == NORMALIZE_NFC) {
            strbuf_puts(out, "{\"type\": \"NFC\"}");
        } else if (n->kind == NORMALIZE_PREPEND) {
            strbuf_puts(out, "{\"type\": \"Prepend\", \"prepend\": ");
            put_string(out, n->content, n->content_length);
            strbuf_putc(out, '}');
        } else if (n->kind == NORMALIZE_REPLACE) {
            strbuf_puts(out, "{\"type\": \"Replace\", ");
            put_pattern(out, n->pattern);
            strbuf_puts(out, ", \"content\": ");
            put_string(out, n->content, n->content_length);
            strbuf_putc(out, '}');
        } else {
            return cannot("normaliser", err);
        }
    }
    strbuf_puts(out, several ? "]},\n" : ",\n");
    return GRPO_OK;
}

static void put_split(strbuf *out, const char *regex, size_t length)
{
    strbuf_puts(out, "{\"type\": \"Split\", \"pattern\": {\"Regex\": ");
    put_string(out, regex, length);
    strbuf_puts(out, "}, \"behavior\": \"Isolated\", \"invert\": false}");
}

/* The byte-level step at the end was left out of the list of a model that works on raw bytes; it takes
 * GPT-2's expression with it when that comes last. */
static grpo_status put_pretokenizers(strbuf *out, const grpo_tokenizer *t, grpo_error *err)
{
    size_t count = t->pretokenizer_count;
    int gpt2_last = 0;
    if (!t->model.raw_bytes && count == 0) {
        strbuf_puts(out, "  \"pre_tokenizer\": null,\n");
        return GRPO_OK;
    }
    if (!t->model.raw_bytes)
        return cannot("pre-tokenizer", err);
    if (count && t->pretokenizers[count - 1].kind == PRETOKENIZE_SCAN &&
        t->pretokenizers[count - 1].scan == SCAN_GPT2) {
        gpt2_last = 1;
        count--;
    }
    strbuf_puts(out, "  \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [");
    for (size_t i = 0; i < count; i++) {
        const pretokenize_step *p = &t->pretokenizers[i];
        size_t length;
        int regex;
        if (p->kind == PRETOKENIZE_SCAN) {
            put_split(out, scan_expression(p->scan), strlen(scan_expression(p->scan)));
        } else if (p->kind == PRETOKENIZE_DIGITS) {
            strbuf_printf(out, "{\"type\": \"Digits\", \"individual_digits\": %s}",
                          truth(p->behavior == SPLIT_ISOLATED));
        } else if (p->kind == PRETOKENIZE_SPLIT) {
            const char *source = pattern_source(p->pattern, &length, &regex);
            put_split(out, source, length);
        } else {
            return cannot("pre-tokenizer", err);
        }
        strbuf_puts(out, ", ");
    }
    strbuf_printf(out, "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, "
                       "\"use_regex\": %s}]},\n", truth(gpt2_last));
    return GRPO_OK;
}

static void put_template(strbuf *out, const grpo_tokenizer *t, char sequence, int type)
{
    for (size_t i = 0; i < t->before_count; i++) {
        strbuf_puts(out, "{\"SpecialToken\": {\"id\": ");
        put_token(out, t, (uint32_t)t->before[i]);
        strbuf_printf(out, ", \"type_id\": %d}}, ", type);
    }
    strbuf_printf(out, "{\"Sequence\": {\"id\": \"%c\", \"type_id\": %d}}", sequence, type);
    for (size_t i = 0; i < t->after_count; i++) {
        strbuf_puts(out, ", {\"SpecialToken\": {\"id\": ");
        put_token(out, t, (uint32_t)t->after[i]);
        strbuf_printf(out, ", \"type_id\": %d}}", type);
    }
}

static void put_template_special(strbuf *out, const grpo_tokenizer *t, int32_t id, int first)
{
    strbuf_puts(out, first ? "" : ", ");
    put_token(out, t, (uint32_t)id);
    strbuf_puts(out, ": {\"id\": ");
    put_token(out, t, (uint32_t)id);
    strbuf_printf(out, ", \"ids\": [%d], \"tokens\": [", (int)id);
    put_token(out, t, (uint32_t)id);
    strbuf_puts(out, "]}");
}

static void put_postprocessor(strbuf *out, const grpo_tokenizer *t)
{
    if (t->before_count == 0 && t->after_count == 0) {
        strbuf_puts(out, "  \"post_processor\": null,\n");
        return;
    }
    strbuf_puts(out, "  \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [");
    put_template(out, t, 'A', 0);
    strbuf_puts(out, "], \"pair\": [");
    put_template(out, t, 'A', 0);
    strbuf_puts(out, ", ");
    put_template(out, t, 'B', 1);
    strbuf_puts(out, "], \"special_tokens\": {");
    if (t->before_count)
        put_template_special(out, t, t->before[0], 1);
    if (t->after_count && (!t->before_count || t->after[0] != t->before[0]))
        put_template_special(out, t, t->after[0], t->before_count == 0);
    strbuf_puts(out, "}},\n");
}

static void put_decoders(strbuf *out, const grpo_tokenizer *t)
{
    int several = t->decoder_count > 1;
    strbuf_puts(out, "  \"decoder\": ");
    strbuf_puts(out, several ? "{\"type\": \"Sequence\", \"decoders\": [" : "");
    for (size_t i = 0; i < t->decoder_count; i++) {
        const detokenize_step *d = &t->decoders[i];
        strbuf_puts(out, i ? ", " : "");
        if (d->kind == DETOKENIZE_BYTE_LEVEL) {
            strbuf_puts(out, "{\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true, "
                             "\"use_regex\": true}");
        } else if (d->kind == DETOKENIZE_BYTE_FALLBACK || d->kind == DETOKENIZE_FUSE) {
            strbuf_printf(out, "{\"type\": \"%s\"}",
                          d->kind == DETOKENIZE_FUSE ? "Fuse" : "ByteFallback");
        } else if (d->kind == DETOKENIZE_STRIP) {
            strbuf_puts(out, "{\"type\": \"Strip\", \"content\": ");
            put_string(out, d->content, d->content_length);
            strbuf_printf(out, ", \"start\": %zu, \"stop\": %zu}", d->start, d->stop);
        } else {
            strbuf_puts(out, "{\"type\": \"Replace\", ");
            put_pattern(out, d->pattern);
            strbuf_puts(out, ", \"content\": ");
            put_string(out, d->content, d->content_length);
            strbuf_putc(out, '}');
        }
    }
    strbuf_puts(out, several ? "]},\n" : ",\n");
}

/* ---- the model ------------------------------------------------------------------------------------------ */

static int by_rank(const void *a, const void *b)
{
    const bpe_pair *x = a, *y = b;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

static grpo_status put_merges(strbuf *out, const grpo_tokenizer *t, grpo_error *err)
{
    const bpe_model *m = &t->model;
    bpe_pair *merges = mem_calloc(m->pair_count, sizeof *merges);
    size_t count = 0;
    if (!merges)
        return mem_fail(err, "the merges", m->pair_count * sizeof *merges);
    for (size_t i = 0; i <= m->pair_mask; i++)
        if (m->pairs[i].key != UINT64_MAX)
            merges[count++] = m->pairs[i];
    qsort(merges, count, sizeof *merges, by_rank);
    strbuf_puts(out, "    \"merges\": [");
    for (size_t i = 0; i < count; i++) {
        size_t length = 0;
        strbuf_puts(out, i ? ",\n      [" : "\n      [");
        const char *text = vocab_text(&t->strings, (uint32_t)(merges[i].key >> 32), &length);
        put_string(out, text, length);
        strbuf_puts(out, ", ");
        text = vocab_text(&t->strings, (uint32_t)merges[i].key, &length);
        put_string(out, text, length);
        strbuf_putc(out, ']');
    }
    strbuf_puts(out, "\n    ]\n");
    mem_free(merges);
    return GRPO_OK;
}

static grpo_status put_model(strbuf *out, const grpo_tokenizer *t, grpo_error *err)
{
    const bpe_model *m = &t->model;
    const char *text;
    size_t length;
    strbuf_puts(out, "  \"model\": {\n    \"type\": \"BPE\", \"dropout\": null, \"unk_token\": ");
    if (m->unknown == VOCAB_NONE)
        strbuf_puts(out, "null");
    else
        put_token(out, t, m->unknown);
    strbuf_printf(out, ", \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null,\n"
                       "    \"fuse_unk\": %s, \"byte_fallback\": %s, \"ignore_merges\": %s,\n"
                       "    \"vocab\": {",
                  truth(m->fuse_unknown), truth(m->byte_fallback), truth(m->ignore_merges));
    for (uint32_t id = 0, first = 1; id < t->strings.size; id++) {
        if (!(text = vocab_text(&t->strings, id, &length)))
            continue;
        strbuf_puts(out, first ? "\n      " : ",\n      ");
        put_string(out, text, length);
        strbuf_printf(out, ": %u", id);
        first = 0;
    }
    strbuf_puts(out, "\n    },\n");
    grpo_status status = put_merges(out, t, err);
    strbuf_puts(out, "  }\n");
    return status;
}

static grpo_status put_tokenizer(strbuf *out, const grpo_tokenizer *t, grpo_error *err)
{
    strbuf_puts(out, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n");
    put_added(out, t);
    grpo_status status = put_normalizers(out, t, err);
    if (status == GRPO_OK)
        status = put_pretokenizers(out, t, err);
    if (status == GRPO_OK) {
        put_postprocessor(out, t);
        put_decoders(out, t);
        status = put_model(out, t, err);
    }
    strbuf_puts(out, "}\n");
    return status;
}

/* ---- the files beside it ---------------------------------------------------------------------------------- */

static void put_specials(strbuf *out, const grpo_tokenizer *t)
{
    for (size_t i = 0; i < t->special_count; i++) {
        strbuf_printf(out, "%s\n  \"%s\": ", i ? "," : "", t->specials[i].name);
        put_string(out, t->specials[i].content, strlen(t->specials[i].content));
    }
}

static void put_templates(strbuf *out, const grpo_tokenizer *t)
{
    if (t->template_count == 0)
        return;
    strbuf_puts(out, ",\n  \"chat_template\": ");
    int named = t->template_count > 1 || strcmp(t->templates[0].name, "default") != 0;
    strbuf_puts(out, named ? "[" : "");
    for (size_t i = 0; i < t->template_count; i++) {
        const named_text *n = &t->templates[i];
        if (named) {
            strbuf_puts(out, i ? ", {\"name\": " : "{\"name\": ");
            put_string(out, n->name, strlen(n->name));
            strbuf_puts(out, ", \"template\": ");
        }
        put_string(out, n->text, strlen(n->text));
        strbuf_puts(out, named ? "}" : "");
    }
    strbuf_puts(out, named ? "]" : "");
}

static void put_config(strbuf *out, const grpo_tokenizer *t)
{
    strbuf_puts(out, "{");
    put_specials(out, t);
    strbuf_printf(out, "%s\n  \"added_tokens_decoder\": {", t->special_count ? "," : "");
    for (size_t i = 0; i < t->added_count; i++) {
        strbuf_printf(out, "%s\n    \"%u\": {\"content\": ", i ? "," : "", t->added[i].id);
        put_string(out, t->added[i].content, t->added[i].length);
        strbuf_puts(out, ", ");
        put_flags(out, &t->added[i]);
    }
    strbuf_puts(out, "\n  },\n  \"clean_up_tokenization_spaces\": false,\n");
    if (t->context_length > 0)
        strbuf_printf(out, "  \"model_max_length\": %lld,\n", (long long)t->context_length);
    strbuf_puts(out, "  \"tokenizer_class\": \"PreTrainedTokenizerFast\"");
    put_templates(out, t);
    strbuf_puts(out, "\n}\n");
}

static grpo_status write_file(const char *folder, const char *name, strbuf *text, grpo_error *err)
{
    char *path = file_join(folder, name);
    grpo_status status = path && !text->failed ? file_write_all(path, text->data, text->length, err)
                                               : mem_fail(err, name, text->length);
    mem_free(path);
    strbuf_clear(text);
    return status;
}

grpo_status grpo_tokenizer_write_folder(const grpo_tokenizer *t, const char *folder, grpo_error *err)
{
    if (t->file)
        return copy_files(t, folder, err);
    strbuf text = STRBUF_INIT;
    grpo_status status = put_tokenizer(&text, t, err);
    if (status == GRPO_OK)
        status = write_file(folder, "tokenizer.json", &text, err);
    if (status == GRPO_OK) {
        put_config(&text, t);
        status = write_file(folder, "tokenizer_config.json", &text, err);
    }
    if (status == GRPO_OK) {
        strbuf_putc(&text, '{');
        put_specials(&text, t);
        strbuf_puts(&text, "\n}\n");
        status = write_file(folder, "special_tokens_map.json", &text, err);
    }
    strbuf_deinit(&text);
    return status;
}
