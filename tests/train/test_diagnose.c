/* Every diagnosis: a run that has the problem, and one beside it that has not. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "train/diagnose.h"
#include "support.h"

enum { N = 120 };

static diagnose_facts facts;
static train_metrics steps[N];

/* A healthy run of n steps: the reward rises with some noise. */
static void healthy(size_t n)
{
    facts = (diagnose_facts){.group_baseline = true, .group_size = 8, .clip_epsilon = 0.2, .clip_epsilon_high = 0.2,
                             .max_new_tokens = 128, .updates_per_rollout = 1, .has_chat_template = true, .has_end_token = true,
                             .samples_here = true, .can_resample = true, .look = "grpo score --reward 'math' --explain"};
    for (size_t i = 0; i < n; i++) {
        metrics_init(&steps[i]);
        double noise = 0.03 * sin((double)i * 2.3);
        steps[i].step = (double)i + 1;
        steps[i].reward = steps[i].accuracy = 0.2 + 0.01 * (double)i + noise;
        steps[i].frac_groups_flat = 0.3;
        steps[i].frac_groups_all_wrong = 0.2;
        steps[i].frac_groups_all_right = 0.1;
        steps[i].advantage_min = -0.5;
        steps[i].advantage_max = 0.5;
        steps[i].grad_norm = 1 + noise;
        steps[i].entropy = 0.8 - 0.01 * (double)i;
        steps[i].frac_truncated = 0.05;
        steps[i].frac_unscored = 0;
        steps[i].kl = 0.01;
        steps[i].clip_frac = 0.1;
        steps[i].completion_length = 80 + 20 * noise;
    }
}

static size_t diagnose_first(diagnosis out[DIAGNOSE_COUNT], size_t n)
{
    static diagnose_memory memory;
    memset(&memory, 0, sizeof memory);
    for (size_t i = 0; i < n; i++)
        diagnose_note(&memory, &steps[i]);
    return diagnose(out, &facts, &memory);
}

static const char *find(size_t n, diagnose_id id)
{
    static diagnosis found[DIAGNOSE_COUNT];
    size_t count = diagnose_first(found, n);
    for (size_t i = 0; i < count; i++)
        if (found[i].id == id)
            return found[i].message;
    return NULL;
}

static void says(size_t n, diagnose_id id, const char *part)
{
    const char *message = find(n, id);
    if (!message)
        fail_msg("%s was not found", diagnose_name(id));
    if (!strstr(message, part))
        fail_msg("%s says '%s', wanted '%s'", diagnose_name(id), message, part);
}

static void silent(size_t n)
{
    diagnosis found[DIAGNOSE_COUNT];
    for (size_t i = 1; i <= n; i++)
        if (diagnose_first(found, i))
            fail_msg("step %zu of a healthy run: %s", i, found[0].message);
}

static void test_healthy_runs(void **state)
{
    (void)state;
    healthy(40);
    silent(40);
    facts.group_size = 4; /* small groups that make progress */
    facts.divides_by_std = true;
    silent(40);
    for (int i = 0; i < 40; i++) /* noisy gradients are usual */
        steps[i].grad_norm = 1 + 0.9 * sin(i * 1.7);
    silent(40);
    healthy(40); /* PPO: groups of one are always flat, and mean nothing */
    facts.group_baseline = false;
    facts.group_size = 1;
    for (int i = 0; i < 40; i++)
        steps[i].frac_groups_flat = 1;
    silent(40);
}

static void test_all_advantages_zero(void **state)
{
    (void)state;
    healthy(1);
    steps[0].frac_groups_flat = steps[0].frac_groups_all_wrong = 1;
    says(1, DIAGNOSE_all_wrong, "every completion is wrong");
    says(1, DIAGNOSE_all_wrong, "Look at the reward function (`grpo score --reward 'math' --explain`)");
    assert_null(strstr(find(1, DIAGNOSE_all_wrong), "could not be verified"));
    steps[0].frac_unverifiable = 0.4;
    says(1, DIAGNOSE_all_wrong, "40% could not be verified, which counts as wrong: look at the references too (data.answer_field)");
    assert_null(find(1, DIAGNOSE_all_right));
    assert_null(find(1, DIAGNOSE_all_equal));
    steps[0].frac_groups_all_wrong = 0;
    steps[0].frac_groups_all_right = 1;
    says(1, DIAGNOSE_all_right, "every completion is right");
    says(1, DIAGNOSE_all_right, "look at the reward function");
    steps[0].frac_groups_all_right = 0.5;
    says(1, DIAGNOSE_all_equal, "Look at the reward function");
    steps[0].frac_groups_flat = 0.99;
    assert_null(find(1, DIAGNOSE_all_equal));
    healthy(12);
    for (int i = 0; i < 12; i++)
        steps[i].frac_groups_flat = 0.9;
    assert_null(strstr(find(12, DIAGNOSE_few_signals), "all wrong")); /* 20% are: the others are equal otherwise */
    for (int i = 0; i < 12; i++)
        steps[i].frac_groups_all_wrong = 0.8;
    says(12, DIAGNOSE_few_signals, "only 10% of the groups carry a signal, the rest are mostly all wrong: take easier data, a larger "
                                   "group_size (now 8), or dynamic_sampling: true");
    facts.can_resample = false;
    says(12, DIAGNOSE_few_signals, "take easier data or a larger group_size (now 8)");
    assert_null(strstr(find(12, DIAGNOSE_few_signals), "dynamic_sampling"));
}

/* No reward says right or wrong: nothing may be said of how many are. */
static void test_without_a_judge(void **state)
{
    (void)state;
    healthy(20);
    for (int i = 0; i < 20; i++) {
        steps[i].accuracy = steps[i].frac_groups_all_wrong = steps[i].frac_groups_all_right = NAN;
        steps[i].frac_groups_flat = 0.9;
        if (i >= 10)
            steps[i].entropy = 0.01;
    }
    says(20, DIAGNOSE_few_signals, "only 10% of the groups carry a signal, the rest have equal rewards inside: take other data");
    says(20, DIAGNOSE_entropy_collapse, "(entropy 0.01, 0.78 in the first steps): raise clip_epsilon_high");
    steps[19].frac_groups_flat = 1;
    says(20, DIAGNOSE_all_equal, "equal inside every group (mean 0.382). Look");
    diagnosis found[DIAGNOSE_COUNT];
    for (size_t i = 0, n = diagnose_first(found, 20); i < n; i++)
        if (strstr(found[i].message, "nan"))
            fail_msg("%s", found[i].message);
    assert_null(find(20, DIAGNOSE_all_wrong));
}

/* The KL in the reward is then all that advantages come from; gdpo's come from the parts, whose sums may be equal. */
static void test_flat_rewards_with_advantages(void **state)
{
    (void)state;
    healthy(1);
    steps[0].frac_groups_flat = 1;
    says(1, DIAGNOSE_all_equal, "no advantage comes from the rewards (only from the KL in them)");
    facts.normalises_parts = true;
    assert_null(find(1, DIAGNOSE_all_equal));
    steps[0].advantage_min = steps[0].advantage_max = 0;
    says(1, DIAGNOSE_all_equal, "every advantage is 0");
}

static void test_exploding_gradient(void **state)
{
    (void)state;
    healthy(12);
    steps[11].grad_norm = 25;
    says(12, DIAGNOSE_exploding_gradient, "lower clip_epsilon to 0.1 (now 0.2)");
    facts.clip_epsilon = 0.1;
    says(12, DIAGNOSE_exploding_gradient, "lower train.learning_rate or train.max_grad_norm (clip_epsilon is 0.1 already)");
    facts.clip_epsilon = 0.2;
    facts.no_clip = "with one update of a rollout the ratio is exactly 1";
    says(12, DIAGNOSE_exploding_gradient, "lower train.learning_rate or train.max_grad_norm (clip_epsilon does nothing here: with one "
                                          "update of a rollout the ratio is exactly 1)");
    steps[11].grad_norm = 5;
    assert_null(find(12, DIAGNOSE_exploding_gradient));
    steps[11].grad_norm = INFINITY;
    assert_non_null(find(12, DIAGNOSE_exploding_gradient));
}

static void test_instability(void **state)
{
    (void)state;
    healthy(30);
    for (int i = 20; i < 30; i++)
        steps[i].reward = 0.15 + 0.02 * sin(i);
    says(30, DIAGNOSE_unstable, "or hold the policy: set kl_coef: 0.01");
    facts.kl_coef = 0.05;
    says(30, DIAGNOSE_unstable, "or hold the policy: raise kl_coef (now 0.05)");
    facts.kl_adapts = true;
    says(30, DIAGNOSE_unstable, "or hold the policy: lower kl_target");
    assert_null(find(30, DIAGNOSE_unstable_std));
    facts.divides_by_std = true;
    says(30, DIAGNOSE_unstable_std, "the reward fell from 0.3");
    says(30, DIAGNOSE_unstable_std, "use Dr. GRPO");
    assert_null(find(30, DIAGNOSE_unstable));
    healthy(30);
    facts.divides_by_std = true;
    steps[25].grad_norm = 90;
    says(30, DIAGNOSE_unstable_std, "norm jumps");
}

static void test_slow_small_groups(void **state)
{
    (void)state;
    healthy(30);
    for (int i = 0; i < 30; i++)
        steps[i].reward = steps[i].accuracy = 0.3 + 0.03 * sin(i * 2.3);
    assert_null(find(30, DIAGNOSE_slow_small_groups));
    facts.group_size = 4;
    says(30, DIAGNOSE_slow_small_groups, "raise group_size to 8 to 16");
    says(30, DIAGNOSE_slow_small_groups, "a group of 4");
    assert_null(find(15, DIAGNOSE_slow_small_groups)); /* too early to tell */
}

static void lengths(size_t n, double first, double last, double wave)
{
    for (size_t i = 0; i < n; i++)
        steps[i].completion_length = first + (last - first) * (double)i / (double)(n - 1) + wave * sin((double)i * 2.3);
}

static void test_length(void **state)
{
    (void)state;
    healthy(20);
    lengths(20, 80, 300, 10);
    assert_null(find(20, DIAGNOSE_longer_answers)); /* the accuracy rises with it */
    for (int i = 0; i < 20; i++)
        steps[i].accuracy = 0.4 + 0.03 * sin(i * 2.3);
    says(20, DIAGNOSE_longer_answers, "answers grew from 104 to 276 tokens in 20 steps (the accuracy has not risen with it)");
    says(20, DIAGNOSE_longer_answers, "Take overlong_buffer: 0.2, or a reward {spec: \"length:max=...\"}");
    assert_null(find(19, DIAGNOSE_longer_answers));
    assert_null(find(20, DIAGNOSE_shorter_answers));
    facts.divides_by_length = facts.punishes_length = true;
    says(20, DIAGNOSE_longer_answers, "Take loss_aggregation: fixed_length, a larger overlong_buffer, or a reward {spec: \"length:max=...\"}");
    lengths(20, 80, 115, 5); /* by less than a half */
    assert_null(find(20, DIAGNOSE_longer_answers));
    for (int i = 0; i < 20; i++) /* longer at the end, but by leaps */
        steps[i].completion_length = i == 17 ? 900 : 100;
    assert_null(find(20, DIAGNOSE_longer_answers));
    lengths(20, 200, 60, 5);
    says(20, DIAGNOSE_shorter_answers, "answers shrank from 186 to 74 tokens in 20 steps (the accuracy has not risen with it)");
    says(20, DIAGNOSE_shorter_answers, "a reward {spec: \"length:min=...\"}, loss_aggregation: fixed_length, or set kl_coef: 0.01");
    for (int i = 0; i < 20; i++)
        steps[i].accuracy = NAN;
    says(20, DIAGNOSE_shorter_answers, "no reward says how many are right");
    for (int i = 0; i < 20; i++)
        steps[i].accuracy = 0.95 + 0.01 * sin(i * 2.3); /* what is solved may become short */
    assert_null(find(20, DIAGNOSE_shorter_answers));
}

static void test_completions(void **state)
{
    (void)state;
    healthy(3);
    for (int i = 0; i < 3; i++)
        steps[i].frac_truncated = 0.6;
    says(3, DIAGNOSE_truncated, "60% of the completions are cut at 128 tokens: raise rollout.max_new_tokens");
    says(3, DIAGNOSE_truncated, "mask_truncated: true");
    for (int i = 0; i < 3; i++)
        steps[i].frac_truncated = 1;
    says(3, DIAGNOSE_never_ends, "end token");
    assert_null(find(3, DIAGNOSE_truncated));
    facts.has_chat_template = false;
    says(3, DIAGNOSE_never_ends, "no chat template");
    facts.has_end_token = false;
    says(3, DIAGNOSE_never_ends, "the model names no end token: set rollout.stop");
    healthy(2);
    facts.has_chat_template = false;
    says(1, DIAGNOSE_no_chat_template, "data.chat: never");
    assert_null(find(2, DIAGNOSE_no_chat_template));
    steps[0].frac_unscored = 0.25;
    says(1, DIAGNOSE_unscored, "25.0% of the completions have no reward");
    says(1, DIAGNOSE_unscored, "`grpo score --reward 'math' --explain` says why");
}

static void test_policy(void **state)
{
    (void)state;
    healthy(20);
    for (int i = 10; i < 20; i++) {
        steps[i].entropy = 0.01;
        steps[i].clip_frac = 0.7;
        steps[i].kl = 3;
    }
    says(20, DIAGNOSE_entropy_collapse, "though 63% are wrong): raise clip_epsilon_high (now 0.2, in DAPO 0.28), rollout.temperature or");
    says(20, DIAGNOSE_far_from_reference, "set kl_coef: 0.01");
    facts.kl_coef = 0.02;
    says(20, DIAGNOSE_far_from_reference, "raise kl_coef (now 0.02)");
    facts.no_clip = "with one update of a rollout the ratio is exactly 1";
    assert_null(find(20, DIAGNOSE_clipped));
    says(20, DIAGNOSE_entropy_collapse, "raise rollout.temperature or entropy_coef");
    facts.samples_here = false;
    says(20, DIAGNOSE_entropy_collapse, "raise entropy_coef");
    facts.no_clip = NULL;
    facts.updates_per_rollout = 4;
    says(20, DIAGNOSE_clipped, "70% of the completions are clipped");
    says(20, DIAGNOSE_clipped, "importance_sampling_level: token");
    for (int i = 10; i < 20; i++)
        steps[i].accuracy = 0.95; /* a solved task is certain by right */
    assert_null(find(20, DIAGNOSE_entropy_collapse));
}

/* A collapse that takes longer than the memory of steps. */
static void test_slow_collapse(void **state)
{
    (void)state;
    healthy(N);
    for (int i = 0; i < N; i++) {
        steps[i].entropy = 0.9 * exp(-i / 20.0) + 0.008;
        steps[i].accuracy = 0.3;
    }
    assert_true(steps[N - 64].entropy < 5 * steps[N - 1].entropy + 0.02);
    says(N, DIAGNOSE_entropy_collapse, "in the first steps");
    assert_null(find(70, DIAGNOSE_entropy_collapse));
}

/* What a configuration says of itself. */
static diagnose_facts facts_of(const char *const *overrides)
{
    static const char *const needed[] = {"model=m", "data.path=d", "output_dir=run's"};
    const char *all[12];
    size_t n = 0;
    for (; n < 3; n++)
        all[n] = needed[n];
    while (*overrides)
        all[n++] = *overrides++;
    train_config c;
    diagnose_facts f;
    grpo_error err;
    assert_ok(train_config_load(&c, NULL, all, n, &err), err);
    diagnose_facts_init(&f, &c, false, true);
    train_config_deinit(&c);
    return f;
}
#define FACTS(...) facts_of((const char *const[]){__VA_ARGS__, NULL})

static void test_facts(void **state)
{
    (void)state;
    static const char *const plain[] = {"spec", "drgrpo", "rloo", "opo", "ppo", "reinforce_pp", "remax", "gpg"};
    static const char *const divided[] = {"grpo", "dapo", "gspo", "cispo", "bnpo"};
    char preset[40];
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        snprintf(preset, sizeof preset, "algorithm=%s", plain[i]);
        assert_false(FACTS(preset).divides_by_std);
    }
    for (size_t i = 0; i < sizeof divided / sizeof *divided; i++) {
        snprintf(preset, sizeof preset, "algorithm=%s", divided[i]);
        assert_true(FACTS(preset).divides_by_std);
    }
    assert_true(FACTS("advantage_estimator=gdpo").divides_by_std);
    assert_true(FACTS("advantage_estimator=grpo_passk").divides_by_std);
    assert_false(FACTS("algorithm=grpo", "scale_rewards=none").divides_by_std);

    assert_non_null(strstr(FACTS("algorithm=spec").no_clip, "exactly 1"));
    assert_null(FACTS("algorithm=spec", "train.mini_batches=2").no_clip);
    assert_null(FACTS("algorithm=gmpo", "train.updates_per_rollout=2").no_clip);
    assert_null(FACTS("algorithm=spec", "rollout.source=data", "rollout.old_logprobs=sampler").no_clip);
    assert_non_null(strstr(FACTS("algorithm=sapo", "train.mini_batches=2").no_clip, "does not clip"));
    assert_true(FACTS("algorithm=cispo").clip_epsilon == 4);

    assert_true(FACTS("algorithm=grpo").divides_by_length);
    assert_true(FACTS("algorithm=gspo").divides_by_length);
    assert_false(FACTS("algorithm=spec").divides_by_length);
    assert_false(FACTS("algorithm=luspo").divides_by_length);

    assert_true(FACTS("algorithm=grpo").can_resample);
    assert_false(FACTS("algorithm=dapo").can_resample);
    assert_false(FACTS("algorithm=grpo", "rollout.source=data").can_resample);
    assert_false(FACTS("algorithm=remax").can_resample);
    assert_true(FACTS("algorithm=rloo").kl_coef == 0.05);

    assert_string_equal(FACTS("reward_type=math_verifier", "group_size=4").look,
                        "tail -n 4 'run'\\''s'/samples.jsonl | grpo score --reward 'math_verifier' --explain");
    assert_string_equal(FACTS("log.samples=false").look, "grpo score --reward 'math_verifier' --explain");
    const char *several = "rewards=[{spec: 'command:python3 x.py', weight: 0.5}, {spec: code, when: kind=a, gate: 1}]";
    assert_string_equal(FACTS(several, "code.test_timeout=2").look,
                        "tail -n 8 'run'\\''s'/samples.jsonl | grpo score --reward 'command:python3 x.py' --weight 0.5 --reward 'code' "
                        "--when 'kind=a' --gate 1 --field completion --test-timeout 2 --memory 2097152K --explain");
}

static int said(diagnose_memory *memory, train_metrics step, long number, diagnose_id id)
{
    diagnosis out[DIAGNOSE_COUNT];
    step.step = (double)number;
    size_t n = diagnose_step(memory, out, &facts, &step);
    int times = 0;
    for (size_t k = 0; k < n; k++)
        times += out[k].id == id;
    return times;
}

/* Each thing is said once, and again when it comes back or stays for long. */
static void test_memory(void **state)
{
    (void)state;
    static diagnose_memory memory;
    healthy(1);
    train_metrics bad = steps[0], good = steps[0];
    bad.frac_groups_flat = bad.frac_groups_all_wrong = 1;
    good.step = 0; /* an evaluation before the first step is no step */
    diagnose_note(&memory, &good);
    assert_int_equal(memory.count, 0);
    int times = 0;
    for (long i = 1; i <= 10; i++)
        times += said(&memory, bad, i, DIAGNOSE_all_wrong);
    assert_int_equal(times, 1);
    assert_int_equal(said(&memory, good, 11, DIAGNOSE_all_wrong), 0);
    assert_int_equal(said(&memory, bad, 12, DIAGNOSE_all_wrong), 1);
    times = 0;
    for (long i = 13; i <= 130; i++)
        times += said(&memory, bad, i, DIAGNOSE_all_wrong);
    assert_int_equal(times, 2); /* at 62 and 112 */
    assert_int_equal(memory.count, 64);
    assert_string_equal(diagnose_name(DIAGNOSE_all_wrong), "all_wrong");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_healthy_runs),      cmocka_unit_test(test_all_advantages_zero),
        cmocka_unit_test(test_exploding_gradient), cmocka_unit_test(test_instability),
        cmocka_unit_test(test_slow_small_groups), cmocka_unit_test(test_completions),
        cmocka_unit_test(test_policy),            cmocka_unit_test(test_memory),
        cmocka_unit_test(test_without_a_judge),   cmocka_unit_test(test_flat_rewards_with_advantages),
        cmocka_unit_test(test_length),            cmocka_unit_test(test_slow_collapse),
        cmocka_unit_test(test_facts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
