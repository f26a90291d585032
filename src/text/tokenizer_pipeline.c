/* Reading the normaliser, pre-tokenizer, decoder and post-processor of a tokenizer.json. Sequences are
 * flattened. Every key of every part is known or refused. */
#include <string.h>

#include "base/mem.h"
#include "text/json_read.h"
#include "text/tokenizer_impl.h"
#include "text/unicode.h"

#define MAX_DEPTH 16

#define KEYS(...) ((const char *const[]){"type", __VA_ARGS__, NULL})

static grpo_status too_many(const char *where, grpo_error *err)
{
    return grpo_fail(err, GRPO_ERR_UNSUPPORTED, "%s: more than %d steps, or out of memory", where,
                     PRETOKENIZE_MAX_STEPS);
}

static grpo_status unknown_type(const char *where, const char *type, grpo_error *err)
{
    return grpo_fail(err, GRPO_ERR_UNSUPPORTED, "%s: the type \"%.60s\" is not supported", where, type);
}

typedef grpo_status read_part(grpo_tokenizer *t, const json_t *json, const char *type, grpo_error *err);

/* Reads one part, or all of a Sequence, whose members stand under `list`. */
static grpo_status read_sequence(grpo_tokenizer *t, const json_t *json, const char *where,
                                 const char *list, read_part *part, int depth, grpo_error *err)
{
    const char *type;
    if (!json_is_object(json))
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: an object with a \"type\" is expected", where);
    grpo_status status = json_read_string(json, "type", 1, &type, NULL, where, err);
    if (status != GRPO_OK)
        return status;
    if (strcmp(type, "Sequence") != 0)
        return part(t, json, type, err);
    if (depth == MAX_DEPTH)
        return grpo_fail(err, GRPO_ERR_UNSUPPORTED, "%s: sequences are nested too deeply", where);
    json_t *items;
    status = json_only_keys(json, where, KEYS(list), err);
    if (status == GRPO_OK)
        status = json_read_array(json, list, 1, &items, where, err);
    for (size_t i = 0; status == GRPO_OK && i < json_array_size(items); i++)
        status = read_sequence(t, json_array_get(items, i), where, list, part, depth + 1, err);
    return status;
}

/* {"String": "…"} or {"Regex": "…"}. */
static grpo_status read_pattern(pattern **out, const json_t *json, const char *where, grpo_error *err)
{
    const json_t *p = json_object_get(json, "pattern");
    const json_t *literal = json_object_get(p, "String"), *regex = json_object_get(p, "Regex");
    if (json_object_size(p) != 1 || !(json_is_string(literal) || json_is_string(regex)))
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: \"pattern\" must be {\"String\": …} or {\"Regex\": …}",
                         where);
    if (regex)
        return pattern_create_regex(out, json_string_value(regex), json_string_length(regex), where, err);
    return pattern_create_literal(out, json_string_value(literal), json_string_length(literal), err);
}

static grpo_status copy_string(char **out, size_t *out_length, const json_t *json, const char *key,
                               const char *where, grpo_error *err)
{
    const char *text;
    size_t length;
    grpo_status status = json_read_string(json, key, 1, &text, &length, where, err);
    if (status != GRPO_OK)
        return status;
    *out = mem_strndup(text, length);
    *out_length = length;
    return *out ? GRPO_OK : mem_fail(err, where, length);
}

/* A string of exactly one character into a small buffer. */
static grpo_status read_character(char out[8], const json_t *json, const char *key, const char *where,
                                  grpo_error *err)
{
    const char *text;
    grpo_status status = json_read_string(json, key, 1, &text, NULL, where, err);
    if (status != GRPO_OK)
        return status;
    if (!*text || strlen(text) != utf8_size((unsigned char)*text))
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: \"%s\" must be one character", where, key);
    memset(out, 0, 8);
    memcpy(out, text, strlen(text));
    return GRPO_OK;
}

/* ---- normaliser --------------------------------------------------------------------------------- */

static grpo_status normalizer_part(grpo_tokenizer *t, const json_t *json, const char *type,
                                   grpo_error *err)
{
    static const struct {
        const char *type;
        normalize_kind kind;
        const char *keys[4];
    } known[] = {
        {"NFC", NORMALIZE_NFC, {"type"}},
        {"NFD", NORMALIZE_NFD, {"type"}},
        {"NFKC", NORMALIZE_NFKC, {"type"}},
        {"NFKD", NORMALIZE_NFKD, {"type"}},
        {"Lowercase", NORMALIZE_LOWERCASE, {"type"}},
        {"Strip", NORMALIZE_STRIP, {"type", "strip_left", "strip_right"}},
        {"StripAccents", NORMALIZE_STRIP_ACCENTS, {"type"}},
        {"Replace", NORMALIZE_REPLACE, {"type", "pattern", "content"}},
        {"Prepend", NORMALIZE_PREPEND, {"type", "prepend"}},
        {"Nmt", NORMALIZE_NMT, {"type"}},
        {"ByteLevel", NORMALIZE_BYTE_LEVEL, {"type"}},
    };
    const char *where = "normalizer";
    size_t i = 0;
    while (i < sizeof known / sizeof *known && strcmp(known[i].type, type) != 0)
        i++;
    if (i == sizeof known / sizeof *known)
        return unknown_type(where, type, err);
    normalize_step *step = tokenizer_new_normalizer(t);
    if (!step)
        return too_many(where, err);
    step->kind = known[i].kind;
    grpo_status status = json_only_keys(json, where, known[i].keys, err);
    if (status == GRPO_OK && step->kind == NORMALIZE_STRIP) {
        status = json_read_bool(json, "strip_left", 1, &step->left, where, err);
        if (status == GRPO_OK)
            status = json_read_bool(json, "strip_right", 1, &step->right, where, err);
    }
    if (status == GRPO_OK && step->kind == NORMALIZE_REPLACE)
        status = read_pattern(&step->pattern, json, where, err);
    if (status == GRPO_OK && (step->kind == NORMALIZE_REPLACE || step->kind == NORMALIZE_PREPEND))
        status = copy_string(&step->content, &step->content_length, json,
                             step->kind == NORMALIZE_REPLACE ? "content" : "prepend", where, err);
    return status;
}

grpo_status tokenizer_read_normalizer(grpo_tokenizer *t, const json_t *json, grpo_error *err)
{
    return read_sequence(t, json, "normalizer", "normalizers", normalizer_part, 0, err);
}

/* ---- pre-tokenizer ------------------------------------------------------------------------------ */

static const char pre_where[] = "pre_tokenizer";

static pretokenize_step *new_step(grpo_tokenizer *t, pretokenize_kind kind, grpo_error *err)
{
    pretokenize_step *step = tokenizer_new_pretokenizer(t);
    if (step)
        *step = (pretokenize_step){.kind = kind, .behavior = SPLIT_ISOLATED};
    else
        too_many(pre_where, err);
    return step;
}

grpo_status tokenizer_add_scan(grpo_tokenizer *t, scan_kind scan, grpo_error *err)
{
    pretokenize_step *step = new_step(t, PRETOKENIZE_SCAN, err);
    if (step)
        step->scan = scan;
    return step ? GRPO_OK : GRPO_ERR_UNSUPPORTED;
}

grpo_status tokenizer_add_regex(grpo_tokenizer *t, const char *regex, size_t length,
                                const char *where, grpo_error *err)
{
    scan_kind scan = scan_find(regex, length);
    if (scan != SCAN_NONE)
        return tokenizer_add_scan(t, scan, err);
    pretokenize_step *step = new_step(t, PRETOKENIZE_SPLIT, err);
    return step ? pattern_create_regex(&step->pattern, regex, length, where, err)
                : GRPO_ERR_UNSUPPORTED;
}

grpo_status tokenizer_add_bytes(grpo_tokenizer *t, grpo_error *err)
{
    return new_step(t, PRETOKENIZE_BYTES, err) ? GRPO_OK : GRPO_ERR_UNSUPPORTED;
}

static grpo_status read_behavior(split_behavior *out, const json_t *json, int required, grpo_error *err)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext",
                                        "Contiguous"};
    const char *name = NULL;
    grpo_status status = json_read_string(json, "behavior", required, &name, NULL, pre_where, err);
    if (status != GRPO_OK || !name)
        return status;
    for (int i = 0; i < 5; i++)
        if (strcmp(names[i], name) == 0) {
            *out = (split_behavior)i;
            return GRPO_OK;
        }
    return grpo_fail(err, GRPO_ERR_FORMAT, "%s: there is no behavior \"%.60s\"", pre_where, name);
}

static grpo_status byte_level_part(grpo_tokenizer *t, const json_t *json, grpo_error *err)
{
    int prefix = 1, trim = 1, regex = 1;
    grpo_status status = json_only_keys(json, pre_where,
                                        KEYS("add_prefix_space", "trim_offsets", "use_regex"), err);
    if (status == GRPO_OK)
        status = json_read_bool(json, "add_prefix_space", 1, &prefix, pre_where, err);
    if (status == GRPO_OK)
        status = json_read_bool(json, "trim_offsets", 0, &trim, pre_where, err);
    if (status == GRPO_OK)
        status = json_read_bool(json, "use_regex", 0, &regex, pre_where, err);
    if (status == GRPO_OK && prefix) {
        pretokenize_step *step = new_step(t, PRETOKENIZE_PREFIX, err);
        if (!step)
            return GRPO_ERR_UNSUPPORTED;
        step->content[0] = ' ';
    }
    if (status == GRPO_OK && regex)
        status = tokenizer_add_scan(t, SCAN_GPT2, err);
    return status == GRPO_OK ? tokenizer_add_bytes(t, err) : status;
}

/* The usual expressions tile a text, so for them "isolated" and "keep the matches" are the same. */
static grpo_status split_part(grpo_tokenizer *t, const json_t *json, grpo_error *err)
{
    split_behavior behavior = SPLIT_ISOLATED;
    int invert = 0;
    grpo_status status = json_only_keys(json, pre_where, KEYS("pattern", "behavior", "invert"), err);
    if (status == GRPO_OK)
        status = read_behavior(&behavior, json, 1, err);
    if (status == GRPO_OK)
        status = json_read_bool(json, "invert", 1, &invert, pre_where, err);
    if (status != GRPO_OK)
        return status;
    const json_t *regex = json_object_get(json_object_get(json, "pattern"), "Regex");
    scan_kind scan = json_is_string(regex)
                         ? scan_find(json_string_value(regex), json_string_length(regex))
                         : SCAN_NONE;
    if (scan != SCAN_NONE &&
        ((behavior == SPLIT_ISOLATED && !invert) || (behavior == SPLIT_REMOVED && invert)))
        return tokenizer_add_scan(t, scan, err);
    pretokenize_step *step = new_step(t, PRETOKENIZE_SPLIT, err);
    if (!step)
        return GRPO_ERR_UNSUPPORTED;
    step->behavior = behavior;
    step->invert = invert;
    return read_pattern(&step->pattern, json, pre_where, err);
}

static grpo_status metaspace_part(grpo_tokenizer *t, const json_t *json, grpo_error *err)
{
    static const char *const schemes[] = {"always", "first", "never"};
    pretokenize_step *step = new_step(t, PRETOKENIZE_METASPACE, err);
    if (!step)
        return GRPO_ERR_UNSUPPORTED;
    const char *scheme = "always";
    int prefix = 1, split = 1;
    grpo_status status = json_only_keys(
        json, pre_where, KEYS("replacement", "prepend_scheme", "add_prefix_space", "split", "str_rep"),
        err);
    if (status == GRPO_OK)
        status = read_character(step->content, json, "replacement", pre_where, err);
    if (status == GRPO_OK)
        status = json_read_string(json, "prepend_scheme", 0, &scheme, NULL, pre_where, err);
    if (status == GRPO_OK)
        status = json_read_bool(json, "add_prefix_space", 0, &prefix, pre_where, err);
    if (status == GRPO_OK)
        status = json_read_bool(json, "split", 0, &split, pre_where, err);
    if (status != GRPO_OK)
        return status;
    int i = 0;
    while (i < 3 && strcmp(schemes[i], scheme) != 0)
        i++;
    if (i == 3 || (!prefix && i != METASPACE_NEVER && json_object_get(json, "prepend_scheme")))
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: Metaspace with the prepend_scheme \"%.60s\" and "
                         "add_prefix_space %s", pre_where, scheme, prefix ? "true" : "false");
    step->scheme = prefix ? (metaspace_scheme)i : METASPACE_NEVER;
    if (!split)
        return GRPO_OK;
    const char *content = step->content;
    pattern *replacement;
    status = pattern_create_literal(&replacement, content, strlen(content), err);
    if (status != GRPO_OK)
        return status;
    step = new_step(t, PRETOKENIZE_SPLIT, err);
    if (!step) {
        pattern_destroy(replacement);
        return GRPO_ERR_UNSUPPORTED;
    }
    step->behavior = SPLIT_MERGED_WITH_NEXT;
    step->pattern = replacement;
    return GRPO_OK;
}

static grpo_status other_part(grpo_tokenizer *t, const json_t *json, const char *type,
                              grpo_error *err)
{
    static const struct {
        const char *type;
        pretokenize_kind kind;
        const char *key;
    } known[] = {
        {"Digits", PRETOKENIZE_DIGITS, "individual_digits"},
        {"Punctuation", PRETOKENIZE_PUNCTUATION, "behavior"},
        {"WhitespaceSplit", PRETOKENIZE_SPACE, NULL},
        {"Whitespace", PRETOKENIZE_WORDS, NULL},
        {"FixedLength", PRETOKENIZE_LENGTH, "length"},
    };
    size_t i = 0;
    while (i < sizeof known / sizeof *known && strcmp(known[i].type, type) != 0)
        i++;
    if (i == sizeof known / sizeof *known)
        return unknown_type(pre_where, type, err);
    pretokenize_step *step = new_step(t, known[i].kind, err);
    if (!step)
        return GRPO_ERR_UNSUPPORTED;
    int single = 0;
    uint64_t length = 5;
    grpo_status status = json_only_keys(json, pre_where, KEYS(known[i].key), err);
    if (status == GRPO_OK && step->kind == PRETOKENIZE_DIGITS) {
        status = json_read_bool(json, "individual_digits", 1, &single, pre_where, err);
        step->behavior = single ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS;
    }
    if (status == GRPO_OK && step->kind == PRETOKENIZE_PUNCTUATION)
        status = read_behavior(&step->behavior, json, 0, err);
    if (step->kind == PRETOKENIZE_SPACE)
        step->behavior = SPLIT_REMOVED;
    if (status == GRPO_OK && step->kind == PRETOKENIZE_LENGTH) {
        status = json_read_count(json, "length", 0, UINT32_MAX, &length, pre_where, err);
        step->count = (size_t)length;
        if (status == GRPO_OK && length == 0)
            status = grpo_fail(err, GRPO_ERR_FORMAT, "%s: FixedLength of 0", pre_where);
    }
    return status;
}

static grpo_status pretokenizer_part(grpo_tokenizer *t, const json_t *json, const char *type,
                                     grpo_error *err)
{
    if (strcmp(type, "ByteLevel") == 0)
        return byte_level_part(t, json, err);
    if (strcmp(type, "Split") == 0)
        return split_part(t, json, err);
    if (strcmp(type, "Metaspace") == 0)
        return metaspace_part(t, json, err);
    return other_part(t, json, type, err);
}

grpo_status tokenizer_read_pretokenizer(grpo_tokenizer *t, const json_t *json, grpo_error *err)
{
    return read_sequence(t, json, pre_where, "pretokenizers", pretokenizer_part, 0, err);
}

/* ---- decoder ------------------------------------------------------------------------------------ */

static const char decoder_where[] = "decoder";

/* The keys of one kind of decoder step. */
static grpo_status decoder_details(detokenize_step *step, const json_t *json, grpo_error *err)
{
    grpo_status status = GRPO_OK;
    uint64_t start = 0, stop = 0;
    char character[8] = "";
    const char *scheme = "always", *content_key = NULL;
    switch (step->kind) {
    case DETOKENIZE_REPLACE:
        status = read_pattern(&step->pattern, json, decoder_where, err);
        content_key = "content";
        break;
    case DETOKENIZE_STRIP:
        status = read_character(character, json, "content", decoder_where, err);
        if (status == GRPO_OK)
            status = json_read_count(json, "start", 1, UINT32_MAX, &start, decoder_where, err);
        if (status == GRPO_OK)
            status = json_read_count(json, "stop", 1, UINT32_MAX, &stop, decoder_where, err);
        content_key = "content";
        break;
    case DETOKENIZE_METASPACE:
        step->prefixed = 1;
        status = read_character(character, json, "replacement", decoder_where, err);
        if (status == GRPO_OK)
            status = json_read_string(json, "prepend_scheme", 0, &scheme, NULL, decoder_where, err);
        if (status == GRPO_OK)
            status = json_read_bool(json, "add_prefix_space", 0, &step->prefixed, decoder_where, err);
        step->prefixed = step->prefixed && strcmp(scheme, "never") != 0;
        content_key = "replacement";
        break;
    case DETOKENIZE_SUFFIX:
        content_key = "suffix";
        break;
    default:
        break;
    }
    step->start = (size_t)start;
    step->stop = (size_t)stop;
    if (status == GRPO_OK && content_key)
        status = copy_string(&step->content, &step->content_length, json, content_key, decoder_where,
                             err);
    return status;
}

static grpo_status decoder_part(grpo_tokenizer *t, const json_t *json, const char *type,
                                grpo_error *err)
{
    static const struct {
        const char *type;
        detokenize_kind kind;
        const char *keys[7];
    } known[] = {
        {"ByteLevel", DETOKENIZE_BYTE_LEVEL, {"type", "add_prefix_space", "trim_offsets", "use_regex"}},
        {"ByteFallback", DETOKENIZE_BYTE_FALLBACK, {"type"}},
        {"Fuse", DETOKENIZE_FUSE, {"type"}},
        {"Replace", DETOKENIZE_REPLACE, {"type", "pattern", "content"}},
        {"Strip", DETOKENIZE_STRIP, {"type", "content", "start", "stop"}},
        {"Metaspace", DETOKENIZE_METASPACE,
         {"type", "replacement", "prepend_scheme", "add_prefix_space", "split", "str_rep"}},
        {"BPEDecoder", DETOKENIZE_SUFFIX, {"type", "suffix"}},
    };
    size_t i = 0;
    while (i < sizeof known / sizeof *known && strcmp(known[i].type, type) != 0)
        i++;
    if (i == sizeof known / sizeof *known)
        return unknown_type(decoder_where, type, err);
    detokenize_step *step = tokenizer_new_decoder(t);
    if (!step)
        return too_many(decoder_where, err);
    step->kind = known[i].kind;
    grpo_status status = json_only_keys(json, decoder_where, known[i].keys, err);
    return status == GRPO_OK ? decoder_details(step, json, err) : status;
}

grpo_status tokenizer_read_decoder(grpo_tokenizer *t, const json_t *json, grpo_error *err)
{
    t->has_decoder = 1;
    return read_sequence(t, json, decoder_where, "decoders", decoder_part, 0, err);
}

/* ---- post-processor ----------------------------------------------------------------------------- */

static const char post_where[] = "post_processor";

static grpo_status add_post_id(grpo_tokenizer *t, const json_t *id, int behind, grpo_error *err)
{
    int32_t **ids = behind ? &t->after : &t->before;
    size_t *count = behind ? &t->after_count : &t->before_count;
    size_t *capacity = behind ? &t->after_capacity : &t->before_capacity;
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX)
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: a token id is expected", post_where);
    if (mem_reserve((void **)ids, capacity, *count + 1, sizeof **ids) != 0)
        return mem_fail(err, post_where, *count);
    (*ids)[(*count)++] = (int32_t)json_integer_value(id);
    return GRPO_OK;
}

/* {"Sequence": {"id": "A", …}} or {"SpecialToken": {"id": "<s>", …}} of a template. */
static grpo_status template_piece(grpo_tokenizer *t, const json_t *piece, const json_t *specials,
                                  int *seen, grpo_error *err)
{
    const json_t *sequence = json_object_get(piece, "Sequence");
    const json_t *special = json_object_get(piece, "SpecialToken");
    const char *id = json_string_value(json_object_get(sequence ? sequence : special, "id"));
    if (json_object_size(piece) != 1 || !id)
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: a piece of the template \"single\" is neither a Sequence "
                         "nor a SpecialToken", post_where);
    if (sequence) {
        if (strcmp(id, "A") != 0 || *seen)
            return grpo_fail(err, GRPO_ERR_UNSUPPORTED, "%s: the template \"single\" must hold the sequence A "
                             "once and no other", post_where);
        *seen = 1;
        return GRPO_OK;
    }
    const json_t *ids = json_object_get(json_object_get(specials, id), "ids");
    if (!json_is_array(ids))
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: the special token \"%.60s\" has no ids", post_where, id);
    grpo_status status = GRPO_OK;
    for (size_t i = 0; i < json_array_size(ids) && status == GRPO_OK; i++)
        status = add_post_id(t, json_array_get(ids, i), *seen, err);
    return status;
}

static grpo_status template_part(grpo_tokenizer *t, const json_t *json, grpo_error *err)
{
    json_t *single;
    int seen = 0;
    grpo_status status = json_only_keys(json, post_where, KEYS("single", "pair", "special_tokens"), err);
    if (status == GRPO_OK)
        status = json_read_array(json, "single", 1, &single, post_where, err);
    for (size_t i = 0; status == GRPO_OK && i < json_array_size(single); i++)
        status = template_piece(t, json_array_get(single, i), json_object_get(json, "special_tokens"),
                                &seen, err);
    if (status == GRPO_OK && !seen)
        status = grpo_fail(err, GRPO_ERR_UNSUPPORTED, "%s: the template \"single\" leaves the text out", post_where);
    return status;
}

/* "cls": ["<s>", 0] in front, "sep": ["</s>", 2] behind. */
static grpo_status bracket_part(grpo_tokenizer *t, const json_t *json, grpo_error *err)
{
    grpo_status status = json_only_keys(
        json, post_where, KEYS("sep", "cls", "trim_offsets", "add_prefix_space"), err);
    if (status == GRPO_OK)
        status = add_post_id(t, json_array_get(json_object_get(json, "cls"), 1), 0, err);
    if (status == GRPO_OK)
        status = add_post_id(t, json_array_get(json_object_get(json, "sep"), 1), 1, err);
    return status;
}

static grpo_status postprocessor_part(grpo_tokenizer *t, const json_t *json, const char *type,
                                      grpo_error *err)
{
    if (strcmp(type, "ByteLevel") == 0) /* trims offsets, which nobody asks for here */
        return json_only_keys(json, post_where, KEYS("add_prefix_space", "trim_offsets", "use_regex"),
                              err);
    if (t->before_count || t->after_count)
        return grpo_fail(err, GRPO_ERR_UNSUPPORTED, "%s: more than one processor that adds tokens", post_where);
    if (strcmp(type, "TemplateProcessing") == 0)
        return template_part(t, json, err);
    if (strcmp(type, "RobertaProcessing") == 0 || strcmp(type, "BertProcessing") == 0)
        return bracket_part(t, json, err);
    return unknown_type(post_where, type, err);
}

grpo_status tokenizer_read_postprocessor(grpo_tokenizer *t, const json_t *json, grpo_error *err)
{
    return read_sequence(t, json, post_where, "processors", postprocessor_part, 0, err);
}
