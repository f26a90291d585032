/* The rewards `length`, `overlong` and `repetition`: what the number of tokens and their repetition say. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/mem.h"
#include "grpo/algo.h"
#include "reward/reward_kinds.h"

typedef enum length_unit { UNIT_TOKENS, UNIT_WORDS, UNIT_CHARACTERS } length_unit;

typedef struct length_scorer length_scorer;

struct length_scorer {
    reward_scorer base;
    length_unit unit;
    double (*value)(const length_scorer *self, double length); /* length, overlong */
    double min, max, ramp;   /* length */
    double buffer, factor;   /* overlong, with max */
    long ngram;              /* repetition */
    double penalty;
};

static int is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

/* Of a word whatever its case, as open-r1 counts n-grams. Long words are told apart by their first letters. */
static int64_t hash_word(const char *word, size_t n)
{
    char lower[128];
    n = n < sizeof lower ? n : sizeof lower;
    for (size_t i = 0; i < n; i++)
        lower[i] = word[i] >= 'A' && word[i] <= 'Z' ? (char)(word[i] + 32) : word[i];
    return (int64_t)XXH3_64bits(lower, n);
}

/* The number of words, and their hashes where hashes is not NULL. */
static size_t each_word(const char *text, size_t length, int64_t *hashes)
{
    size_t count = 0, i = 0;
    for (;;) {
        while (i < length && is_space(text[i]))
            i++;
        size_t begin = i;
        while (i < length && !is_space(text[i]))
            i++;
        if (i == begin)
            return count;
        if (hashes)
            hashes[count] = hash_word(text + begin, i - begin);
        count++;
    }
}

static size_t count_characters(const char *text, size_t length)
{
    size_t count = 0;
    for (size_t i = 0; i < length; i++)
        count += ((unsigned char)text[i] & 0xC0) != 0x80;
    return count;
}

/* -1 when the unit is tokens and they are not known. */
static double measure(const length_scorer *self, const grpo_reward_record *r)
{
    const char *text = r->completion ? r->completion : "";
    if (self->unit == UNIT_WORDS)
        return (double)each_word(text, r->completion_length, NULL);
    if (self->unit == UNIT_CHARACTERS)
        return (double)count_characters(text, r->completion_length);
    return r->tokens || r->token_count || r->completion_length == 0 ? (double)r->token_count : -1;
}

static void destroy(reward_scorer *base)
{
    mem_free(base);
}

static const char NO_TOKENS[] = "the number of tokens is not known here; set unit=words or unit=characters";

static grpo_status read_unit(const char *kind, const char *text, length_unit *unit, grpo_error *err)
{
    static const char *const names[] = {"tokens", "words", "characters"};
    for (int i = 0; i < 3; i++)
        if (strcmp(names[i], text) == 0) {
            *unit = (length_unit)i;
            return GRPO_OK;
        }
    return grpo_fail(err, GRPO_ERR_CONFIG, "reward %s: unit= takes tokens, words or characters, not '%s'", kind, text);
}

static grpo_status make(reward_scorer **out, const reward_class *class, const length_scorer *settings, grpo_error *err)
{
    length_scorer *self = mem_dup(settings, sizeof *settings);
    if (!self)
        return mem_fail(err, "a reward", sizeof *self);
    self->base.class = class;
    *out = &self->base;
    return GRPO_OK;
}

/* ---- by length alone ---------------------------------------------------------------------------- */

static grpo_status score_by_length(reward_scorer *base, const grpo_reward_record *records, size_t n, reward_score *scores,
                                   reward_detail detail, grpo_error *err)
{
    length_scorer *self = (length_scorer *)base;
    (void)detail;
    (void)err;
    for (size_t i = 0; i < n; i++) {
        double length = measure(self, &records[i]);
        if (length < 0)
            reward_unscored(&scores[i], "%s", NO_TOKENS);
        else
            scores[i].value = self->value(self, length);
    }
    return GRPO_OK;
}

static const reward_class by_length = {score_by_length, destroy, 1, NULL};

/* ---- length ----------------------------------------------------------------------------------- */

/* 1 from min to max, falling to 0 over `ramp` on both sides. */
static double value_between(const length_scorer *self, double length)
{
    double outside = fmax(self->min - length, fmax(length - self->max, 0));
    return outside == 0 ? 1 : self->ramp > 0 ? fmax(0, 1 - outside / self->ramp) : 0;
}

grpo_status reward_length_create(reward_scorer **out, const char *argument, const grpo_reward_options *options, grpo_error *err)
{
    length_scorer s = {.value = value_between, .max = 1e15};
    char unit[64] = "tokens";
    const reward_argument arguments[] = {{"min", REWARD_NUMBER, &s.min, 0, 1e15}, {"max", REWARD_NUMBER, &s.max, 0, 1e15},
                                         {"ramp", REWARD_NUMBER, &s.ramp, 0, 1e15}, {"unit", REWARD_TEXT, unit, 0, 0}};
    (void)options;
    grpo_status status = reward_read_arguments("length", argument, arguments, 4, err);
    if (status == GRPO_OK)
        status = read_unit("length", unit, &s.unit, err);
    if (status == GRPO_OK && s.min > s.max)
        status = grpo_fail(err, GRPO_ERR_CONFIG, "reward length: min is larger than max");
    return status == GRPO_OK ? make(out, &by_length, &s, err) : status;
}

/* ---- overlong ----------------------------------------------------------------------------------- */

static double value_overlong(const length_scorer *self, double length)
{
    return grpo_overlong_penalty(length, self->max, self->buffer, self->factor, 0);
}

grpo_status reward_overlong_create(reward_scorer **out, const char *argument, const grpo_reward_options *options, grpo_error *err)
{
    length_scorer s = {.value = value_overlong, .factor = 1};
    char unit[64] = "tokens";
    const reward_argument arguments[] = {{"max", REWARD_NUMBER, &s.max, 1, 1e15}, {"buffer", REWARD_NUMBER, &s.buffer, 1, 1e15},
                                         {"factor", REWARD_NUMBER, &s.factor, 0, 1e6}, {"unit", REWARD_TEXT, unit, 0, 0}};
    (void)options;
    grpo_status status = reward_read_arguments("overlong", argument, arguments, 4, err);
    if (status == GRPO_OK)
        status = read_unit("overlong", unit, &s.unit, err);
    if (status == GRPO_OK && !(s.max > 0 && s.buffer > 0 && s.buffer <= s.max))
        status = grpo_fail(err, GRPO_ERR_CONFIG, "reward overlong: max= and buffer= are needed, buffer at most max");
    return status == GRPO_OK ? make(out, &by_length, &s, err) : status;
}

/* ---- repetition ------------------------------------------------------------------------------------ */

static grpo_status penalise(const length_scorer *self, const grpo_reward_record *r, double *value, grpo_error *err)
{
    const char *text = r->completion ? r->completion : "";
    size_t count = self->unit == UNIT_TOKENS ? r->token_count : each_word(text, r->completion_length, NULL);
    int64_t *ids = mem_calloc(count + 1, sizeof *ids);
    size_t *scratch = mem_calloc(count + 1, sizeof *scratch);
    grpo_status status = ids && scratch ? GRPO_OK : mem_fail(err, "n-grams", count * sizeof *ids);
    if (status == GRPO_OK && self->unit == UNIT_TOKENS)
        for (size_t i = 0; i < count; i++)
            ids[i] = r->tokens[i];
    else if (status == GRPO_OK)
        each_word(text, r->completion_length, ids);
    if (status == GRPO_OK)
        *value = grpo_repetition_penalty(ids, count, (size_t)self->ngram, self->penalty, scratch);
    mem_free(ids);
    mem_free(scratch);
    return status;
}

static grpo_status score_repetition(reward_scorer *base, const grpo_reward_record *records, size_t n, reward_score *scores,
                                    reward_detail detail, grpo_error *err)
{
    length_scorer *self = (length_scorer *)base;
    (void)detail;
    for (size_t i = 0; i < n; i++) {
        if (self->unit == UNIT_TOKENS && !records[i].tokens && records[i].completion_length) {
            reward_unscored(&scores[i], "%s", "the tokens are not known here; set unit=words");
            continue;
        }
        grpo_status status = penalise(self, &records[i], &scores[i].value, err);
        if (status != GRPO_OK)
            return status;
    }
    return GRPO_OK;
}

grpo_status reward_repetition_create(reward_scorer **out, const char *argument, const grpo_reward_options *options, grpo_error *err)
{
    static const reward_class class = {score_repetition, destroy, 1, NULL};
    length_scorer s = {.ngram = 3, .penalty = -1};
    char unit[64] = "tokens";
    const reward_argument arguments[] = {{"n", REWARD_INTEGER, &s.ngram, 1, 1000}, {"max", REWARD_NUMBER, &s.penalty, -1e6, 0},
                                         {"unit", REWARD_TEXT, unit, 0, 0}};
    (void)options;
    grpo_status status = reward_read_arguments("repetition", argument, arguments, 3, err);
    if (status == GRPO_OK)
        status = read_unit("repetition", unit, &s.unit, err);
    if (status == GRPO_OK && s.unit == UNIT_CHARACTERS)
        status = grpo_fail(err, GRPO_ERR_CONFIG, "reward repetition: unit= takes tokens or words");
    return status == GRPO_OK ? make(out, &class, &s, err) : status;
}
