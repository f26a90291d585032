/* The rewards `format` (a regular expression) and `tags`. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

#include "base/mem.h"
#include "reward/reward_kinds.h"

/* ---- format:REGEX ------------------------------------------------------------------------ */

enum { MATCH_LIMIT = 2000000, DEPTH_LIMIT = 20000, HEAP_LIMIT_KIB = 16384 };

typedef struct format_scorer {
    reward_scorer base;
    pcre2_code *code;
    pcre2_match_context *limits;
} format_scorer;

static grpo_status score_format(reward_scorer *base, const grpo_reward_record *records, size_t n, reward_score *scores,
                                reward_detail detail, grpo_error *err)
{
    format_scorer *self = (format_scorer *)base;
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    (void)detail;
    if (!match)
        return mem_fail(err, "a match", 0);
    for (size_t i = 0; i < n; i++) {
        const char *text = records[i].completion ? records[i].completion : "";
        int result = pcre2_match(self->code, (PCRE2_SPTR)text, records[i].completion_length, 0, 0, match, self->limits);
        if (result >= 0 || result == PCRE2_ERROR_NOMATCH) {
            scores[i].value = result >= 0;
            continue;
        }
        char message[128] = "";
        pcre2_get_error_message(result, (PCRE2_UCHAR *)message, sizeof message);
        reward_unscored(&scores[i], "the regular expression gave up: %s", message);
    }
    pcre2_match_data_free(match);
    return GRPO_OK;
}

static void destroy_format(reward_scorer *base)
{
    format_scorer *self = (format_scorer *)base;
    pcre2_code_free(self->code);
    pcre2_match_context_free(self->limits);
    mem_free(self);
}

grpo_status reward_format_create(reward_scorer **out, const char *argument, const grpo_reward_options *options,
                                 grpo_error *err)
{
    static const reward_class class = {score_format, destroy_format, 1, NULL};
    int code;
    PCRE2_SIZE at;
    (void)options;
    if (!*argument)
        return grpo_fail(err, GRPO_ERR_CONFIG, "reward format: the regular expression is missing (format:REGEX)");
    format_scorer *self = mem_calloc(1, sizeof *self);
    if (!self)
        return mem_fail(err, "a reward", sizeof *self);
    self->base.class = &class;
    self->code = pcre2_compile((PCRE2_SPTR)argument, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_MATCH_INVALID_UTF, &code, &at, NULL);
    self->limits = pcre2_match_context_create(NULL);
    if (!self->code || !self->limits) {
        char message[128] = "out of memory";
        if (!self->code)
            pcre2_get_error_message(code, (PCRE2_UCHAR *)message, sizeof message);
        destroy_format(&self->base);
        return grpo_fail(err, GRPO_ERR_CONFIG, "reward format: %s at character %zu of '%s'", message, (size_t)at, argument);
    }
    pcre2_jit_compile(self->code, PCRE2_JIT_COMPLETE); /* where it cannot, the interpreter runs */
    pcre2_set_match_limit(self->limits, MATCH_LIMIT);
    pcre2_set_depth_limit(self->limits, DEPTH_LIMIT);
    pcre2_set_heap_limit(self->limits, HEAP_LIMIT_KIB);
    *out = &self->base;
    return GRPO_OK;
}

/* ---- tags ----------------------------------------------------------------------------------- */

enum { MAX_TAGS = 8 };

typedef struct tags_scorer {
    reward_scorer base;
    int strict;
    char names[64]; /* NUL-separated */
    const char *name[MAX_TAGS];
    int count;
} tags_scorer;

typedef struct tag_use {
    size_t times, first, end; /* of the last one found */
} tag_use;

static tag_use find_tag(const char *text, size_t length, const char *name, int closing)
{
    char tag[72];
    tag_use use = {0, 0, 0};
    size_t n = strlen(name);
    tag[0] = '<';
    tag[1] = '/';
    memcpy(tag + 1 + closing, name, n);
    tag[1 + (size_t)closing + n] = '>';
    n += 2 + (size_t)closing;
    for (const char *p = text, *end = text + length; (size_t)(end - p) >= n && (p = memchr(p, '<', (size_t)(end - p))) != NULL; p++)
        if ((size_t)(end - p) >= n && memcmp(p, tag, n) == 0) {
            use.times++;
            use.first = (size_t)(p - text);
            use.end = use.first + n;
        }
    return use;
}

static int is_blank(const char *text, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++)
        if (!strchr(" \t\r\n", text[i]) || !text[i])
            return 0;
    return 1;
}

/* Exactly <a>…</a> <b>…</b>: every tag once, in order, nothing but white space around. */
static double score_strict(const tags_scorer *self, const char *text, size_t length)
{
    size_t at = 0;
    for (int i = 0; i < self->count; i++) {
        tag_use open = find_tag(text, length, self->name[i], 0), close = find_tag(text, length, self->name[i], 1);
        if (open.times != 1 || close.times != 1 || close.first < open.end || open.first < at || !is_blank(text, at, open.first))
            return 0;
        at = close.end;
    }
    return is_blank(text, at, length);
}

/* The share of the tags that occur exactly once. */
static double score_soft(const tags_scorer *self, const char *text, size_t length)
{
    int found = 0;
    for (int i = 0; i < self->count; i++)
        for (int closing = 0; closing < 2; closing++)
            found += find_tag(text, length, self->name[i], closing).times == 1;
    return found / (2.0 * self->count);
}

static grpo_status score_tags(reward_scorer *base, const grpo_reward_record *records, size_t n, reward_score *scores,
                              reward_detail detail, grpo_error *err)
{
    tags_scorer *self = (tags_scorer *)base;
    (void)detail;
    (void)err;
    for (size_t i = 0; i < n; i++) {
        const char *text = records[i].completion ? records[i].completion : "";
        scores[i].value = (self->strict ? score_strict : score_soft)(self, text, records[i].completion_length);
    }
    return GRPO_OK;
}

static void destroy_tags(reward_scorer *base)
{
    mem_free(base);
}

grpo_status reward_tags_create(reward_scorer **out, const char *argument, const grpo_reward_options *options, grpo_error *err)
{
    static const reward_class class = {score_tags, destroy_tags, 1, NULL};
    size_t word = strcspn(argument, ",");
    int strict = word == 0 || (word == 6 && memcmp(argument, "strict", 6) == 0);
    (void)options;
    if (!strict && !(word == 4 && memcmp(argument, "soft", 4) == 0))
        return grpo_fail(err, GRPO_ERR_CONFIG, "reward tags: 'strict' or 'soft' comes first, not '%.*s'", (int)word, argument);
    tags_scorer *self = mem_calloc(1, sizeof *self);
    if (!self)
        return mem_fail(err, "a reward", sizeof *self);
    self->base.class = &class;
    self->strict = strict;
    strcpy(self->names, "think+answer");
    const reward_argument arguments[] = {{"names", REWARD_TEXT, self->names, 0, 0}};
    grpo_status status = reward_read_arguments("tags", argument + word + (argument[word] == ','), arguments, 1, err);
    for (char *p = self->names; status == GRPO_OK && p; ) {
        char *plus = strchr(p, '+');
        if (plus)
            *plus = 0;
        if (!*p || self->count == MAX_TAGS)
            status = grpo_fail(err, GRPO_ERR_CONFIG, "reward tags: names= takes one to %d names joined by +", MAX_TAGS);
        else
            self->name[self->count++] = p;
        p = plus ? plus + 1 : NULL;
    }
    if (status != GRPO_OK) {
        destroy_tags(&self->base);
        return status;
    }
    *out = &self->base;
    return GRPO_OK;
}
