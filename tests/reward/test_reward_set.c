/* Sets of rewards: weights, conditions, gates, missing scores; the rewards on form and length. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "grpo/reward.h"
#include "reward/reward.h"
#include "support.h"

static grpo_reward_record record_of(const char *completion, const char *answer)
{
    grpo_reward_record r = {.completion = completion, .completion_length = strlen(completion), .answer = answer,
                            .answer_length = answer ? strlen(answer) : 0};
    return r;
}

static double score_one(const char *spec, grpo_reward_record record)
{
    grpo_reward_item item = {.spec = spec, .weight = 1};
    grpo_reward_set *set;
    grpo_error err;
    double total;
    assert_ok(grpo_reward_set_create(&set, &item, 1, NULL, &err), err);
    assert_ok(grpo_reward_set_score(set, &record, 1, NULL, &total, &err), err);
    grpo_reward_set_destroy(set);
    return total;
}

static void assert_near(double got, double wanted)
{
    if (!(fabs(got - wanted) < 1e-12))
        fail_msg("%g is not %g", got, wanted);
}

static double score_text(const char *spec, const char *completion)
{
    return score_one(spec, record_of(completion, NULL));
}

static void formats(void **state)
{
    (void)state;
    assert_near(score_text("format:^a+b$", "aaab"), 1);
    assert_near(score_text("format:^a+b$", "aaabc"), 0);
    assert_near(score_text("format:(?s)<think>.*</think>", "<think>x\ny</think>"), 1);
    assert_near(score_text("format:\\p{Greek}", "\xce\xb1"), 1);
    assert_near(score_text("format:x", "\xff\xfe x"), 1);
    /* a catastrophic expression gives up and is not scored 0 */
    char text[64] = {0};
    memset(text, 'a', 60);
    text[60] = '!';
    assert_true(isnan(score_text("format:^(a+)+$", text)));
}

static void tags(void **state)
{
    (void)state;
    assert_near(score_text("tags:strict", "<think>a</think>\n<answer>b</answer>\n"), 1);
    assert_near(score_text("tags:strict", "<answer>b</answer><think>a</think>"), 0);
    assert_near(score_text("tags:strict", "<think>a</think> so <answer>b</answer>"), 0);
    assert_near(score_text("tags:strict", "<think>a<think></think><answer>b</answer>"), 0);
    assert_near(score_text("tags:soft", "<think>a</think> so <answer>b"), 0.75);
    assert_near(score_text("tags:soft", "nothing"), 0);
    assert_near(score_text("tags:soft,names=code", "<code>x</code>"), 1);
}

static void lengths(void **state)
{
    (void)state;
    assert_near(score_text("length:min=2,max=3,unit=words", "a b c"), 1);
    assert_near(score_text("length:min=2,max=3,unit=words", "a b c d"), 0);
    assert_near(score_text("length:max=2,ramp=4,unit=characters", "\xc3\xa9\xc3\xa9\xc3\xa9"), 0.75);
    int32_t tokens[90] = {0};
    grpo_reward_record r = record_of("x", NULL);
    r.tokens = tokens;
    r.token_count = 90;
    assert_near(score_one("overlong:max=100,buffer=20", r), -0.5);
    assert_near(score_one("length:max=89", r), 0);
    assert_true(isnan(score_text("overlong:max=100,buffer=20", "tokens are not known")));
    assert_near(score_text("repetition:n=1,max=-1,unit=words", "No no NO nO"), -0.75); /* words whatever their case */
    int32_t fours[6] = {4, 4, 4, 4, 4, 4};
    r.tokens = fours;
    r.token_count = 6;
    assert_near(score_one("repetition:n=3,max=-1", r), -0.75);
    assert_near(score_text("repetition:n=2,max=-1,unit=words", "to be or not to be"), -0.2);
}

static void languages(void **state)
{
    (void)state;
    assert_near(score_text("language:en", "The sum of the two numbers is 5, and $\\alpha$ is not."), 1);
    assert_near(score_text("language:en", "Die Summe der Zahlen ist nicht 5 und das ist falsch."), 0);
    assert_near(score_text("language:de", "Die Summe der Zahlen ist nicht 5 und das ist falsch."), 1);
    assert_near(score_text("language:zh", "\xe5\x92\x8c\xe6\x98\xaf 5"), 1);
    assert_near(score_text("language:ru", "\xd0\xb4\xd0\xb0 ok"), 0.5);
    assert_near(score_text("language:en", "42"), 1);
}

static void composition(void **state)
{
    (void)state;
    const grpo_reward_item items[] = {
        {.spec = "tags:soft", .weight = 0.5, .is_gate = 1, .gate = 1},
        {.spec = "math", .weight = 2, .when = "kind.name=sum"},
        {.spec = "format:right", .weight = 3, .name = "word"},
    };
    json_t *sum = json_pack("{s:{s:s}}", "kind", "name", "sum"), *other = json_pack("{s:s}", "kind", "other");
    grpo_reward_record records[] = {
        record_of("<think></think><answer>7</answer> right", "7"), record_of("<answer>7</answer> right", "7"),
        record_of("<think></think><answer>8</answer>", "7"), record_of("<think></think><answer>8</answer> right", "7"),
        record_of("<think></think><answer>8</answer> right", NULL)};
    for (int i = 0; i < 3; i++)
        records[i].fields = sum;
    records[3].fields = other;
    records[4].fields = sum;
    grpo_reward_set *set;
    grpo_error err;
    double parts[15], total[5];
    assert_ok(grpo_reward_set_create(&set, items, 3, NULL, &err), err);
    assert_int_equal(grpo_reward_set_count(set), 3);
    assert_string_equal(grpo_reward_set_name(set, 1), "math");
    assert_string_equal(grpo_reward_set_name(set, 2), "word");
    assert_ok(grpo_reward_set_score(set, records, 5, parts, total, &err), err);
    assert_near(total[0], 0.5 + 2 + 3);
    assert_near(total[1], 0.25);                                   /* the gate is shut */
    assert_near(parts[3 + 1], 1);                                  /* but every part is known */
    assert_near(total[2], 0.5);
    assert_true(isnan(parts[9 + 1]));                              /* does not apply */
    assert_near(total[3], 0.5 + 3);
    assert_true(isnan(parts[12 + 1]) && isnan(total[4]));          /* no reference: not scored, not 0 */
    grpo_reward_set_destroy(set);
    json_decref(sum);
    json_decref(other);
}

/* What enters the sum is told apart from what was scored; a reward that fails behind a shut gate does not matter. */
static void counted_parts(void **state)
{
    (void)state;
    const grpo_reward_item items[] = {
        {.spec = "format:^ok", .weight = 1, .is_gate = 1, .gate = 1},
        {.spec = "math", .weight = 2},
        {.spec = "length:min=1,unit=words", .weight = 4, .when = "kind=long"},
    };
    json_t *fields = json_pack("{s:s}", "kind", "long");
    grpo_reward_record records[] = {record_of("ok, so the answer is 7", "7"), record_of("7", NULL), record_of("ok", NULL)};
    records[1].fields = fields;
    grpo_reward_set *set;
    grpo_error err;
    reward_score scores[9];
    double total[3];
    assert_ok(grpo_reward_set_create(&set, items, 3, NULL, &err), err);
    assert_int_equal(grpo_reward_set_ways(set), 1);
    assert_ok(reward_set_score_details(set, records, 3, scores, total, REWARD_SCORES, &err), err);
    assert_near(total[0], 3);
    assert_true(scores[0].counted == 1 && scores[1].counted == 1 && isnan(scores[2].counted));
    assert_near(total[1], 0);
    assert_true(isnan(scores[3 + 1].value) && scores[3 + 1].counted == 0 && scores[3 + 2].value == 1 && scores[3 + 2].counted == 0);
    assert_true(isnan(total[2]) && strstr(scores[6 + 1].problem, "reference"));
    grpo_reward_set_destroy(set);
    json_decref(fields);
}

/* Undecided answers score as configured and are marked. */
static void unverifiable_answers(void **state)
{
    (void)state;
    const grpo_reward_item item = {.spec = "math_verifier:unverifiable=0.25", .weight = 1};
    grpo_reward_record records[] = {record_of("\\boxed{7}", "7"), record_of("\\boxed{8}", "7"), record_of("\\boxed{7}", "\\frac{")};
    grpo_reward_set *set;
    grpo_error err;
    reward_score scores[3];
    double total[3];
    assert_ok(grpo_reward_set_create(&set, &item, 1, NULL, &err), err);
    assert_string_equal(grpo_reward_set_name(set, 0), "math");
    assert_ok(reward_set_score_details(set, records, 3, scores, total, REWARD_SCORES, &err), err);
    assert_true(total[0] == 1 && total[1] == 0 && total[2] == 0.25);
    assert_true(!scores[0].unverifiable && !scores[1].unverifiable && scores[2].unverifiable);
    grpo_reward_set_destroy(set);
}

static void refused(const char *spec, const char *word)
{
    grpo_reward_item item = {.spec = spec, .weight = 1};
    grpo_reward_set *set;
    grpo_error err;
    assert_int_equal(grpo_reward_set_create(&set, &item, 1, NULL, &err), GRPO_ERR_CONFIG);
    if (!strstr(err.message, word))
        fail_msg("'%s' does not name '%s'", err.message, word);
}

static void bad_specs(void **state)
{
    (void)state;
    refused("maths", "format");
    refused("format:", "missing");
    refused("format:(", "parenthesis");
    refused("math:form=box", "from=");
    refused("math:from=bax", "bax");
    refused("math:places=x", "places");
    refused("tags:loose", "loose");
    refused("overlong:max=5", "buffer");
    refused("length:unit=lines", "lines");
    refused("language:klingon", "klingon");
    const grpo_reward_item twins[] = {{.spec = "math", .weight = 1}, {.spec = "math:partial=1", .weight = 1}};
    grpo_reward_set *set;
    grpo_error err;
    assert_int_equal(grpo_reward_set_create(&set, twins, 2, NULL, &err), GRPO_ERR_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats),   cmocka_unit_test(tags),        cmocka_unit_test(lengths),
        cmocka_unit_test(languages), cmocka_unit_test(composition), cmocka_unit_test(bad_specs),
        cmocka_unit_test(counted_parts), cmocka_unit_test(unverifiable_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
