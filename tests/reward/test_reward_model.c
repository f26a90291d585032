/* The reward model against transformers' scores (../shared/models/llama-reward), alone and in batches that share
 * prompts; shaping of scores; records that it cannot read. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "grpo/reward.h"
#include "reward/reward.h"
#include "support.h"

static const char *spec_with(const char *arguments)
{
    static char spec[4200];
    snprintf(spec, sizeof spec, "model:%s%s", test_shared_path("models/llama-reward"), arguments);
    return spec;
}

static grpo_reward_set *open_set(const char *arguments)
{
    grpo_reward_set *set;
    grpo_error err;
    grpo_reward_item item = {.spec = spec_with(arguments), .weight = 1};
    grpo_reward_options options = {.threads = 2};
    assert_ok(grpo_reward_set_create(&set, &item, 1, &options, &err), err);
    return set;
}

enum { MOST = 64 };

/* Scores of token sequences [n], arrays of ids. */
static void score_ids(grpo_reward_set *set, json_t *const *ids, size_t n, reward_score *scores)
{
    grpo_reward_record records[MOST] = {{0}};
    json_t *fields[MOST];
    double total[MOST];
    grpo_error err;
    for (size_t i = 0; i < n; i++) {
        fields[i] = json_pack("{s:O}", "ids", ids[i]);
        records[i].fields = fields[i];
    }
    assert_ok(reward_set_score_details(set, records, n, scores, total, REWARD_SCORES, &err), err);
    for (size_t i = 0; i < n; i++)
        json_decref(fields[i]);
}

static void golden_scores(void **state)
{
    json_t *golden = json_load_file(test_shared_path("models/llama-reward/golden/golden.json"), 0, NULL), *ids[MOST];
    json_t *sequences = json_object_get(golden, "sequences");
    size_t n = json_array_size(sequences);
    reward_score scores[MOST];
    (void)state;
    assert_true(n > 2 && n <= MOST);
    grpo_reward_set *set = open_set(""), *shaped = open_set(",scale=2,mean=0.5,min=-1,max=1"), *squashed = open_set(",squash=sigmoid");
    for (size_t i = 0; i < n; i++)
        ids[i] = json_object_get(json_array_get(sequences, i), "tokens");
    for (int form = 0; form < 3; form++) {
        score_ids(form == 0 ? set : form == 1 ? shaped : squashed, ids, n, scores);
        for (size_t i = 0; i < n; i++) {
            double x = json_number_value(json_object_get(json_array_get(sequences, i), "score"));
            double wanted = form == 0 ? x : form == 1 ? fmin(fmax(2 * (x - 0.5), -1), 1) : 1 / (1 + exp(-x));
            assert_close(scores[i].value, wanted, 1e-5);
        }
    }
    grpo_reward_set_destroy(set);
    grpo_reward_set_destroy(shaped);
    grpo_reward_set_destroy(squashed);
    json_decref(golden);
}

/* Groups of sequences with a common beginning, some equal to it, in no order: each has the bits of being alone. */
static void shared_prompts_change_no_bit(void **state)
{
    enum { N = 40 };
    json_t *ids[N];
    reward_score together[N], alone;
    (void)state;
    grpo_reward_set *set = open_set("");
    for (int i = 0; i < N; i++) {
        int group = i % 3, length = 45 + group * 7 + (i * 5) % 17 - (i % 7 == 0 ? 10 : 0);
        ids[i] = json_array();
        for (int k = 0; k < length; k++)
            json_array_append_new(ids[i], json_integer(3 + (k < 40 ? k * 7 + group * (k > 20) : k * 11 + i) % 98));
    }
    score_ids(set, ids, N, together);
    for (int i = 0; i < N; i++) {
        score_ids(set, &ids[i], 1, &alone);
        assert_true(isfinite(alone.value));
        assert_memory_equal(&alone.value, &together[i].value, sizeof alone.value);
        json_decref(ids[i]);
    }
    grpo_reward_set_destroy(set);
}

static void unreadable_records(void **state)
{
    (void)state;
    grpo_reward_set *set = open_set(",context=8");
    json_t *ids[] = {json_pack("[i,i]", 5, 101), json_array(), json_pack("[iiiiiiiii]", 3, 3, 3, 3, 3, 3, 3, 3, 3),
                     json_pack("[i,i]", 5, 6), json_pack("[s]", "x")};
    static const char *const wanted[] = {"outside", "no token", "reads 8", "", "outside"};
    reward_score scores[5];
    score_ids(set, ids, 5, scores);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(isnan(scores[i].value), i != 3);
        assert_non_null(strstr(scores[i].problem, wanted[i]));
        json_decref(ids[i]);
    }
    grpo_reward_record text = {.prompt = "a", .prompt_length = 1, .completion = "b", .completion_length = 1};
    double total;
    grpo_error err;
    assert_ok(reward_set_score_details(set, &text, 1, scores, &total, REWARD_SCORES, &err), err);
    assert_true(isnan(total) && strstr(scores[0].problem, "tokenizer"));
    grpo_reward_set_destroy(set);
    grpo_reward_item item = {.spec = "model:", .weight = 1};
    assert_int_equal(grpo_reward_set_create(&set, &item, 1, NULL, &err), GRPO_ERR_CONFIG);
    char path[4200];
    snprintf(path, sizeof path, "model:%s", test_shared_path("models/llama-tied"));
    item.spec = path;
    assert_int_equal(grpo_reward_set_create(&set, &item, 1, NULL, &err), GRPO_ERR_CONFIG);
    assert_non_null(strstr(err.message, "head"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_scores),
        cmocka_unit_test(shared_prompts_change_no_bit),
        cmocka_unit_test(unreadable_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
