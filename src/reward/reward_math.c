/* The reward `math`: 1 when the completion states the reference answer. */
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "reward/reward_kinds.h"

typedef struct math_scorer {
    reward_scorer base;
    grpo_math_options options;
    double unverifiable; /* score of what could not be decided */
} math_scorer;

static json_t *text_of(const char *text)
{
    return json_string_lossy(text, strlen(text));
}

static json_t *make_details(const grpo_math_result *r, reward_detail detail)
{
    json_t *verdict = r->verdict == GRPO_MATH_UNVERIFIABLE ? json_null() : json_boolean(r->verdict == GRPO_MATH_RIGHT);
    json_t *object = json_pack("{s:o}", "correct", verdict);
    if (detail == REWARD_EXPLAIN && object) {
        json_t *explain = json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "verdict", grpo_math_verdict_text(r->verdict),
                                    "source", r->source, "extracted", text_of(r->extracted), "answer_read",
                                    text_of(r->answer_parsed), "reference_read", text_of(r->gold_parsed), "reason",
                                    text_of(r->reason));
        json_object_set_new(object, "explain", explain);
    }
    return object;
}

static grpo_status score(reward_scorer *base, const grpo_reward_record *records, size_t n, reward_score *scores,
                         reward_detail detail, grpo_error *err)
{
    math_scorer *self = (math_scorer *)base;
    for (size_t i = 0; i < n; i++) {
        const grpo_reward_record *r = &records[i];
        grpo_math_result result;
        if (!r->answer) {
            reward_unscored(&scores[i], "the record has no reference answer");
            continue;
        }
        grpo_status status = grpo_math_verify(&self->options, r->answer, r->answer_length, r->completion ? r->completion : "",
                                              r->completion_length, &result, err);
        if (status != GRPO_OK)
            return status;
        scores[i].unverifiable = result.verdict == GRPO_MATH_UNVERIFIABLE;
        scores[i].value = scores[i].unverifiable ? self->unverifiable : result.score;
        if (detail != REWARD_SCORES && !(scores[i].details = make_details(&result, detail)))
            return mem_fail(err, "details of a reward", 0);
    }
    return GRPO_OK;
}

static void destroy(reward_scorer *base)
{
    mem_free(base);
}

/* from=box+tag: the places that an answer may be taken from. */
static grpo_status read_places(unsigned *from, const char *text, grpo_error *err)
{
    static const struct {
        const char *name;
        unsigned bit;
    } places[] = {{"box", GRPO_MATH_FROM_BOX}, {"tag", GRPO_MATH_FROM_TAG}, {"marker", GRPO_MATH_FROM_MARKER},
                  {"final", GRPO_MATH_FROM_FINAL}, {"phrase", GRPO_MATH_FROM_PHRASE}, {"whole", GRPO_MATH_FROM_WHOLE},
                  {"last", GRPO_MATH_FROM_LAST}, {"all", GRPO_MATH_FROM_ALL}};
    *from = 0;
    while (*text) {
        size_t n = strcspn(text, "+"), i = 0, count = sizeof places / sizeof *places;
        while (i < count && (strlen(places[i].name) != n || memcmp(places[i].name, text, n) != 0))
            i++;
        if (i == count)
            return grpo_fail(err, GRPO_ERR_CONFIG, "reward math: from= takes box, tag, marker, final, phrase, whole, last, all "
                             "joined by +, not '%s'", text);
        *from |= places[i].bit;
        text += n + (text[n] == '+');
    }
    return GRPO_OK;
}

grpo_status reward_math_create(reward_scorer **out, const char *argument, const grpo_reward_options *options,
                               grpo_error *err)
{
    static const reward_class class = {score, destroy, 1, NULL};
    grpo_math_options o = GRPO_MATH_OPTIONS_DEFAULT;
    char from[64] = "all";
    double unverifiable = 0;
    long places = o.decimal_places, percent = o.percent_is_number, relations = o.relations_are_sets, partial = 0;
    const reward_argument arguments[] = {
        {"from", REWARD_TEXT, from, 0, 0},          {"places", REWARD_INTEGER, &places, 1, 100},
        {"percent", REWARD_INTEGER, &percent, 0, 1}, {"relations", REWARD_INTEGER, &relations, 0, 1},
        {"partial", REWARD_INTEGER, &partial, 0, 1}, {"work", REWARD_NUMBER, &o.work, 0.001, 1000},
        {"unverifiable", REWARD_NUMBER, &unverifiable, -10, 10}};
    (void)options;
    grpo_status status = reward_read_arguments("math", argument, arguments, sizeof arguments / sizeof *arguments, err);
    if (status == GRPO_OK)
        status = read_places(&o.from, from, err);
    if (status != GRPO_OK)
        return status;
    math_scorer *self = mem_calloc(1, sizeof *self);
    if (!self)
        return mem_fail(err, "a reward", sizeof *self);
    o.decimal_places = (int)places;
    o.percent_is_number = (int)percent;
    o.relations_are_sets = (int)relations;
    o.partial = (int)partial;
    self->base.class = &class;
    self->options = o;
    self->unverifiable = unverifiable;
    *out = &self->base;
    return GRPO_OK;
}
