/* Specs of rewards: KIND[:ARGUMENT], and arguments of the form key=value,key=value. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "reward/reward.h"
#include "reward/reward_kinds.h"

static const struct {
    const char *name;
    reward_create_fn *create;
} kinds[] = {
#define X(name, create, summary) {name, create},
#include "reward/reward_kinds.def"
#undef X
};

/* The specification's names. */
static const char *const aliases[][2] = {{"math_verifier", "math"}, {"code_executor", "code"}, {"reward_model", "model"}};

void reward_kind_of(char kind[32], const char *spec)
{
    snprintf(kind, 32, "%.*s", (int)strcspn(spec, ":"), spec);
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (strcmp(kind, aliases[i][0]) == 0)
            strcpy(kind, aliases[i][1]);
}

static grpo_status unknown_kind(const char *spec, size_t length, grpo_error *err)
{
    strbuf known = STRBUF_INIT;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        strbuf_printf(&known, "%s%s", i ? ", " : "", kinds[i].name);
    grpo_status status = grpo_fail(err, GRPO_ERR_CONFIG, "there is no reward '%.*s'; known are: %s",
                                   (int)(length < 60 ? length : 60), spec, strbuf_text(&known));
    strbuf_deinit(&known);
    return status;
}

grpo_status reward_create(reward_scorer **out, const char *spec, const grpo_reward_options *options, grpo_error *err)
{
    static const grpo_reward_options none = {0};
    size_t length = strcspn(spec, ":");
    char kind[32];
    *out = NULL;
    reward_kind_of(kind, spec);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].name, kind) == 0)
            return kinds[i].create(out, spec[length] ? spec + length + 1 : "", options ? options : &none, err);
    return unknown_kind(spec, length, err);
}

void reward_destroy(reward_scorer *scorer)
{
    if (scorer)
        scorer->class->destroy(scorer);
}

void reward_unscored(reward_score *score, const char *format, ...)
{
    va_list args;
    score->value = NAN;
    va_start(args, format);
    vsnprintf(score->problem, sizeof score->problem, format, args);
    va_end(args);
}

static grpo_status set_argument(const char *kind, const reward_argument *a, const char *value, size_t length,
                                grpo_error *err)
{
    char text[64];
    if (length >= sizeof text)
        return grpo_fail(err, GRPO_ERR_CONFIG, "reward %s: the value of %s is too long", kind, a->key);
    memcpy(text, value, length);
    text[length] = 0;
    if (a->type == REWARD_TEXT) {
        memcpy(a->target, text, length + 1);
        return GRPO_OK;
    }
    char *end;
    double number = strtod(text, &end);
    if (length == 0 || *end || !isfinite(number) || number < a->low || number > a->high ||
        (a->type == REWARD_INTEGER && number != floor(number)))
        return grpo_fail(err, GRPO_ERR_CONFIG, "reward %s: %s must be a%s number from %g to %g, not '%s'", kind, a->key,
                         a->type == REWARD_INTEGER ? " whole" : "", a->low, a->high, text);
    if (a->type == REWARD_INTEGER)
        *(long *)a->target = (long)number;
    else
        *(double *)a->target = number;
    return GRPO_OK;
}

grpo_status reward_read_arguments(const char *kind, const char *text, const reward_argument *arguments, size_t count,
                                  grpo_error *err)
{
    while (*text) {
        size_t length = strcspn(text, ","), key = strcspn(text, "=,"), i = 0;
        while (i < count && (strlen(arguments[i].key) != key || memcmp(arguments[i].key, text, key) != 0))
            i++;
        if (i == count || key == length) {
            strbuf known = STRBUF_INIT;
            for (i = 0; i < count; i++)
                strbuf_printf(&known, "%s%s=", i ? ", " : "", arguments[i].key);
            grpo_status status = grpo_fail(err, GRPO_ERR_CONFIG, "reward %s: '%.*s' is no setting; known are: %s", kind,
                                           (int)(length < 60 ? length : 60), text, strbuf_text(&known));
            strbuf_deinit(&known);
            return status;
        }
        grpo_status status = set_argument(kind, &arguments[i], text + key + 1, length - key - 1, err);
        if (status != GRPO_OK)
            return status;
        text += length + (text[length] == ',');
    }
    return GRPO_OK;
}
