/* Compiling and matching patterns. PCRE2 is used here only. */
#define _GNU_SOURCE
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/mem.h"
#include "text/pattern.h"
#include "text/unicode.h"

struct pattern {
    char *source;
    size_t length;
    pcre2_code *code; /* NULL: the source is a literal */
};

#define MATCH_LIMIT 50000000u /* steps for one match; what needs more is a runaway expression */
#define HEAP_LIMIT_KIB (256u * 1024)
#define JIT_STACK_BYTES ((size_t)64 << 20) /* taken from the system as it is touched */

grpo_status pattern_create_literal(pattern **out, const char *text, size_t length, grpo_error *err)
{
    pattern *p = mem_calloc(1, sizeof *p);
    if (!p || !(p->source = mem_strndup(text, length))) {
        mem_free(p);
        return mem_fail(err, "a pattern", length);
    }
    p->length = length;
    *out = p;
    return GRPO_OK;
}

const char *pattern_source(const pattern *p, size_t *length, int *regex)
{
    *length = p->length;
    *regex = p->code != NULL;
    return p->source;
}

static grpo_status compile(pattern *p, const char *translated, size_t length, const char *where,
                           grpo_error *err)
{
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context)
        return mem_fail(err, "a regular expression", length);
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_set_parens_nest_limit(context, 100);
    int code;
    PCRE2_SIZE offset;
    p->code = pcre2_compile((PCRE2_SPTR)translated, length,
                            PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &code,
                            &offset, context);
    pcre2_compile_context_free(context);
    if (!p->code) {
        PCRE2_UCHAR message[160] = "unknown error";
        pcre2_get_error_message(code, message, sizeof message);
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: the regular expression does not compile: %s",
                         where, (const char *)message);
    }
    pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE); /* a wish; the interpreter gives the same */
    return GRPO_OK;
}

grpo_status pattern_create_regex(pattern **out, const char *source, size_t length,
                                 const char *where, grpo_error *err)
{
    unicode_init();
    strbuf translated = STRBUF_INIT;
    pattern *p = NULL;
    grpo_status status = pattern_create_literal(&p, source, length, err);
    if (status == GRPO_OK)
        status = ruby_regex_translate(&translated, source, length, where, err);
    if (status == GRPO_OK)
        status = compile(p, strbuf_text(&translated), translated.length, where, err);
    strbuf_deinit(&translated);
    if (status == GRPO_OK)
        *out = p;
    else
        pattern_destroy(p);
    return status;
}

void pattern_destroy(pattern *p)
{
    if (!p)
        return;
    pcre2_code_free(p->code);
    mem_free(p->source);
    mem_free(p);
}

void pattern_scratch_deinit(pattern_scratch *s)
{
    pcre2_match_data_free(s->match_data);
    pcre2_match_context_free(s->context);
    pcre2_jit_stack_free(s->stack);
    strbuf_deinit(&s->masked);
    memset(s, 0, sizeof *s);
}

static pcre2_jit_stack *jit_stack(void *scratch)
{
    return ((pattern_scratch *)scratch)->stack;
}

static grpo_status prepare_scratch(pattern_scratch *s, grpo_error *err)
{
    if (s->match_data)
        return GRPO_OK;
    s->match_data = pcre2_match_data_create(1, NULL);
    s->context = pcre2_match_context_create(NULL);
    s->stack = pcre2_jit_stack_create(64 << 10, JIT_STACK_BYTES, NULL);
    if (!s->match_data || !s->context) {
        pattern_scratch_deinit(s);
        return mem_fail(err, "matching a regular expression", JIT_STACK_BYTES);
    }
    pcre2_set_match_limit(s->context, MATCH_LIMIT);
    pcre2_set_heap_limit(s->context, HEAP_LIMIT_KIB);
    pcre2_jit_stack_assign(s->context, jit_stack, s); /* NULL (none to be had): the machine stack */
    return GRPO_OK;
}

/* A character of the same category and the same number of bytes that Unicode 14.0 knew, for one
 * that came later; for one that Unicode 16.0 does not assign, one that never will be. 0: none. */
static unsigned stand_in(unsigned c)
{
    static const struct {
        unsigned char category;
        unsigned two, three, four;
    } known[] = {
        {UNICODE_LO, 0x5D0, 0x4E00, 0x10000},  {UNICODE_ND, 0x660, 0x966, 0x104A0},
        {UNICODE_NL, 0, 0x2160, 0x10140},      {UNICODE_NO, 0xB9, 0x9F4, 0x10107},
        {UNICODE_LU, 0xC0, 0x1E00, 0x10400},   {UNICODE_LL, 0xE0, 0x1E01, 0x10428},
        {UNICODE_LM, 0x2B0, 0x1D2C, 0x16B40},  {UNICODE_MN, 0x300, 0x93C, 0x10A01},
        {UNICODE_MC, 0, 0x903, 0x11000},       {UNICODE_PO, 0xA7, 0x2016, 0x10100},
        {UNICODE_PD, 0x58A, 0x2013, 0x10EAD},  {UNICODE_SO, 0xA6, 0x2195, 0x1F300},
        {UNICODE_SM, 0xAC, 0x2200, 0x1D6C1},   {UNICODE_SC, 0xA2, 0x20A0, 0x1E2FF},
        {UNICODE_SK, 0xA8, 0x1FBD, 0x1F3FB},   {UNICODE_CF, 0xAD, 0x200B, 0x110BD},
    };
    if ((unicode_property[c] & UNICODE_CATEGORY) == UNICODE_CN)
        return c < 0x800 ? 0 : c < 0x10000 ? 0xFFFF : 0x1FFFF;
    if (c >= 0x2E000 && c < 0x40000)
        return 0x20000; /* an ideograph stays one */
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].category == (unicode_property[c] & UNICODE_CATEGORY))
            return c < 0x800 ? known[i].two : c < 0x10000 ? known[i].three : known[i].four;
    return 0;
}

/* PCRE2's tables may be older or newer than Unicode 16.0. Characters that versions could disagree
 * about are shown to it as others that they agree about. */
static grpo_status mask_subject(pattern_walk *w, grpo_error *err)
{
    const char *text = w->subject;
    strbuf *masked = &w->scratch->masked;
    size_t copied = 0;
    strbuf_clear(masked);
    for (size_t i = 0, size; i < w->length; i += size) {
        if ((unsigned char)text[i] < 0x80) {
            size = 1;
            continue;
        }
        unsigned c = utf8_decode(text + i, &size);
        int unassigned = (unicode_property[c] & UNICODE_CATEGORY) == UNICODE_CN;
        unsigned other = unassigned || unicode_is_recent(c) ? stand_in(c) : 0;
        if (other) {
            strbuf_append(masked, text + copied, i - copied);
            strbuf_put_utf8(masked, other);
            copied = i + size;
        }
    }
    if (copied) {
        strbuf_append(masked, text + copied, w->length - copied);
        if (masked->failed)
            return mem_fail(err, "a text", w->length);
        w->subject = strbuf_text(masked);
    }
    return GRPO_OK;
}

grpo_status pattern_begin(pattern_walk *w, const pattern *p, pattern_scratch *s, const char *text,
                          size_t length, grpo_error *err)
{
    *w = (pattern_walk){.pattern = p, .scratch = s, .subject = text, .length = length};
    if (!p->code)
        return GRPO_OK;
    grpo_status status = prepare_scratch(s, err);
    return status == GRPO_OK ? mask_subject(w, err) : status;
}

static int next_literal(pattern_walk *w, size_t *start, size_t *end)
{
    const pattern *p = w->pattern;
    if (p->length == 0 || p->length > w->length - w->at)
        return 0;
    const char *found = p->length == 1
                            ? memchr(w->subject + w->at, p->source[0], w->length - w->at)
                            : memmem(w->subject + w->at, w->length - w->at, p->source, p->length);
    if (!found)
        return 0;
    *start = (size_t)(found - w->subject);
    *end = w->at = *start + p->length;
    return 1;
}

int pattern_next(pattern_walk *w, size_t *start, size_t *end, grpo_error *err)
{
    if (!w->pattern->code)
        return next_literal(w, start, end);
    while (w->at <= w->length) {
        int found = pcre2_match(w->pattern->code, (PCRE2_SPTR)w->subject, w->length, w->at,
                                PCRE2_NO_UTF_CHECK, w->scratch->match_data, w->scratch->context);
        if (found == PCRE2_ERROR_NOMATCH)
            return 0;
        if (found < 0) {
            PCRE2_UCHAR message[160] = "unknown error";
            pcre2_get_error_message(found, message, sizeof message);
            grpo_fail(err, GRPO_ERR_UNSUPPORTED,
                      "the tokenizer's regular expression gave up on a text of %zu bytes: %s",
                      w->length, (const char *)message);
            return -1;
        }
        const PCRE2_SIZE *bounds = pcre2_get_ovector_pointer(w->scratch->match_data);
        *start = bounds[0];
        *end = bounds[1];
        if (*start == *end && w->matched && w->last_end == *end) {
            w->at += w->at < w->length ? utf8_size((unsigned char)w->subject[w->at]) : 1;
            continue;
        }
        w->at = w->last_end = *end;
        w->matched = 1;
        return 1;
    }
    return 0;
}
