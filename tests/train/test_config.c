/* The training configuration: presets, layers, what must fit together, writing and reading back. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "train/config.h"
#include "support.h"

static const char *config_file(const char *text)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/c.yaml", test_folder());
    grpo_error err;
    assert_ok(file_write_all(path, text, strlen(text), &err), err);
    return path;
}

#define BASE "model: m\ndata:\n  path: d.jsonl\n"

static void load(train_config *c, const char *yaml, const char *const *overrides, size_t n)
{
    grpo_error err;
    assert_ok(train_config_load(c, config_file(yaml), overrides, n, &err), err);
}

static void refuses(const char *yaml, const char *override, const char *message)
{
    train_config c;
    grpo_error err = {0};
    assert_int_equal(train_config_load(&c, config_file(yaml), &override, override != NULL, &err), GRPO_ERR_CONFIG);
    if (!strstr(err.message, message))
        fail_msg("got '%s', wanted '%s'", err.message, message);
}

static void test_defaults_are_the_specification(void **state)
{
    (void)state;
    train_config c;
    load(&c, BASE, NULL, 0);
    grpo_algo spec;
    grpo_algo_preset(&spec, NULL, NULL);
    spec.fixed_length = c.rollout.max_new_tokens;
    size_t n;
    const grpo_option *options = grpo_algo_options(&n);
    for (size_t i = 0; i < n; i++) { /* every option came through the table unchanged */
        char a[64], b[64];
        grpo_algo_get(&c.algo, &options[i], a, sizeof a);
        grpo_algo_get(&spec, &options[i], b, sizeof b);
        assert_string_equal(a, b);
        assert_non_null(schema_find(train_schema(), options[i].key));
    }
    assert_int_equal(c.group_size, 8);
    assert_true(c.clip_epsilon == 0.2 && c.algo.kl_coef == 0);
    size_t count;
    train_reward single;
    const train_reward *r = train_config_rewards(&c, &single, &count);
    assert_int_equal(count, 1);
    assert_string_equal(r->spec, "math_verifier");
    train_config_deinit(&c);
}

static void test_presets(void **state)
{
    (void)state;
    size_t n;
    const grpo_preset *presets = grpo_presets(&n);
    for (size_t i = 0; i < n; i++) { /* every preset is a valid configuration */
        char yaml[200];
        snprintf(yaml, sizeof yaml, BASE "algorithm: %s\n", presets[i].name);
        train_config c;
        load(&c, yaml, NULL, 0);
        assert_int_equal(c.algorithm, i);
        train_config_deinit(&c);
    }
    train_config c;
    const char *overrides[] = {"algorithm=dapo", "kl_coef=0.01"};
    load(&c, BASE "kl_coef: 0.5\nloss_aggregation: seq_mean_token_sum\n", overrides, 2);
    assert_true(c.algo.clip_epsilon_high == 0.28 && c.algo.clip_epsilon_low == 0.2 && isnan(c.clip_epsilon));
    assert_int_equal(c.algo.loss_aggregation, GRPO_AGG_SEQ_MEAN_TOKEN_SUM); /* the file wins over the preset */
    assert_true(c.algo.kl_coef == 0.01);                                    /* and the command line over the file */
    train_config_deinit(&c);
}

static void test_clip_epsilon(void **state)
{
    (void)state;
    train_config c;
    const char *overrides[] = {"clip_epsilon=0.1"};
    load(&c, BASE "clip_epsilon: 0.3\nclip_epsilon_high: 0.4\n", NULL, 0);
    assert_true(c.algo.clip_epsilon_low == 0.3 && c.algo.clip_epsilon_high == 0.4);
    train_config_deinit(&c);
    load(&c, BASE "clip_epsilon: 0.3\nclip_epsilon_high: 0.4\n", overrides, 1);
    assert_true(c.algo.clip_epsilon_low == 0.1 && c.algo.clip_epsilon_high == 0.1 && c.clip_epsilon == 0.1);
    train_config_deinit(&c);
}

static void test_rewards(void **state)
{
    (void)state;
    train_config c;
    size_t count;
    train_reward single;
    const char *override[] = {"reward_type=code_executor"};
    const char *yaml = BASE "rewards:\n  - {spec: math, weight: 0.9}\n  - {spec: 'format:^<a>.*</a>$', name: form}\n";
    load(&c, yaml, NULL, 0);
    const train_reward *r = train_config_rewards(&c, &single, &count);
    assert_int_equal(count, 2);
    assert_true(r[0].weight == 0.9 && r[1].weight == 1);
    assert_string_equal(r[1].spec, "format:^<a>.*</a>$");
    assert_null(c.reward_type);
    train_config_deinit(&c);
    load(&c, yaml, override, 1);
    assert_string_equal(train_config_rewards(&c, &single, &count)->spec, "code_executor");
    assert_int_equal(count, 1);
    train_config_deinit(&c);
    refuses(BASE "reward_type: math_verifier\nrewards: [{spec: math}]\n", NULL, "reward_type and rewards are both given");
    refuses(BASE "rewards: [{weight: 1}]\n", NULL, "rewards, element 1: spec is missing");
}

static void test_combinations(void **state)
{
    (void)state;
    refuses("data: {path: d}\n", NULL, "model is missing: The model to train");
    refuses("model: m\n", NULL, "data.path is missing");
    refuses(BASE, "group_size=1", "group_size is 1");
    refuses(BASE "train: {mini_batches: 3}\n", NULL, "train.mini_batches (3) must divide rollout.prompts_per_step (8)");
    refuses("model: m\ndata: {path: d, eval_path: e, held_out: 5}\n", NULL, "data.held_out and data.eval_path");
    refuses(BASE, "rollout.stop=['']", "rollout.stop has an empty text");
    refuses(BASE, "loss_aggregation=same", "loss_aggregation cannot be 'same'");
    refuses(BASE, "rollout.temperature=0", "rollout.temperature must be above 0 and at most 100");
    refuses(BASE, "num_generations=4", "what TRL calls num_generations is group_size here");
    refuses(BASE, "actor_rollout_ref.actor.clip_ratio=0.2", "what verl calls clip_ratio is clip_epsilon here");
    refuses(BASE, "do_sample=true", "do_sample', a setting of the specification: answers are always sampled");
    refuses(BASE, "reward=math", "did you mean 'reward_type'?");
    refuses(BASE, "learning_rate=1e-5", "did you mean 'train.learning_rate' (or 'value.learning_rate')?");
    refuses(BASE, "path=d", "did you mean 'data.path' (or 'lora.path')?");
    refuses(BASE, "data.shufle=true", "did you mean 'data.shuffle'?");
    refuses(BASE, "advantage_estimator=grop", "did you mean 'grpo'?");
}

static void test_foreign_names_lead_somewhere(void **state)
{
    (void)state;
    for (const schema_foreign *f = train_foreign_names; f->system; f++) {
        if (f->key && !schema_find(train_schema(), f->key))
            fail_msg("%s's %s leads to %s, which is no key", f->system, f->name, f->key);
        assert_true(f->key || f->note);
        assert_null(schema_find(train_schema(), f->name)); /* the same name needs no row */
    }
    const schema *s = train_schema();
    for (size_t i = 0; i < s->count; i++) {
        assert_true(!s->rows[i].instead || schema_find(s, s->rows[i].instead));
        assert_true(!s->rows[i].follows || schema_find(s, s->rows[i].follows));
    }
}

/* Dr. GRPO's constant is the longest completion unless given: that is no change of a setting. */
static void test_fixed_length(void **state)
{
    (void)state;
    train_config c;
    grpo_error err;
    strbuf text = STRBUF_INIT;
    const char *overrides[] = {"rollout.max_new_tokens=64", "fixed_length=100"};
    train_config_put_reference(&text);
    assert_non_null(strstr(strbuf_text(&text), "| `fixed_length` | `rollout.max_new_tokens` |"));
    for (size_t n = 1; n <= 2; n++) {
        load(&c, BASE, overrides, n);
        assert_true(c.algo.fixed_length == (n == 1 ? 64 : 100));
        strbuf_clear(&text);
        assert_ok(train_config_put_changed(&text, &c, &err), err);
        assert_int_equal(strstr(strbuf_text(&text), "fixed_length") != NULL, n == 2);
        train_config_deinit(&c);
    }
    strbuf_deinit(&text);
}

static void test_write_and_read(void **state)
{
    (void)state;
    train_config c, again;
    grpo_error err;
    char path[512];
    const char *overrides[] = {"rollout.stop=['</answer>']", "train.learning_rate=3.3e-6", "algorithm=cispo",
                               "data.template=Q: {question}\nA:", "train.memory_budget=3G"};
    load(&c, BASE, overrides, 5);
    snprintf(path, sizeof path, "%s/effective.yaml", test_folder());
    assert_ok(train_config_write(&c, path, &err), err);
    assert_ok(train_config_load(&again, path, NULL, 0, &err), err);
    strbuf a = STRBUF_INIT, b = STRBUF_INIT;
    schema_put_yaml(&a, &c, train_schema());
    schema_put_yaml(&b, &again, train_schema());
    assert_string_equal(strbuf_text(&a), strbuf_text(&b));
    assert_true(isinf(again.algo.clip_epsilon_low) && again.algo.clip_epsilon_high == 4);
    assert_string_equal(again.data.template, "Q: {question}\nA:");
    strbuf_clear(&a);
    assert_ok(train_config_put_changed(&a, &c, &err), err);
    assert_non_null(strstr(strbuf_text(&a), "train.learning_rate: 3.3e-06\n"));
    assert_null(strstr(strbuf_text(&a), "group_size"));
    strbuf_deinit(&a);
    strbuf_deinit(&b);
    train_config_deinit(&c);
    train_config_deinit(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_are_the_specification),
        cmocka_unit_test(test_presets),
        cmocka_unit_test(test_clip_epsilon),
        cmocka_unit_test(test_rewards),
        cmocka_unit_test(test_combinations),
        cmocka_unit_test(test_foreign_names_lead_somewhere),
        cmocka_unit_test(test_fixed_length),
        cmocka_unit_test(test_write_and_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
