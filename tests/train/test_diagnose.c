/* Every diagnosis: a run that has the problem, and one beside it that has not. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "train/diagnose.h"
#include "support.h"

enum { N = 40 };

static diagnose_facts facts;
static train_metrics steps[N];

/* A healthy run of n steps: the reward rises with some noise. */
static void healthy(size_t n)
{
    facts = (diagnose_facts){.group_baseline = true, .group_size = 8, .clip_epsilon = 0.2, .max_new_tokens = 128,
                             .updates_per_rollout = 1, .has_chat_template = true, .reward = "math"};
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
    }
}

static const char *find(size_t n, diagnose_id id)
{
    static diagnosis found[DIAGNOSE_COUNT];
    size_t count = diagnose(found, &facts, steps, n);
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
        if (diagnose(found, &facts, steps, i))
            fail_msg("step %zu of a healthy run: %s", i, found[0].message);
}

static void test_healthy_runs(void **state)
{
    (void)state;
    healthy(N);
    silent(N);
    facts.group_size = 4; /* small groups that make progress */
    facts.divides_by_std = true;
    silent(N);
    for (int i = 0; i < N; i++) /* noisy gradients are usual */
        steps[i].grad_norm = 1 + 0.9 * sin(i * 1.7);
    silent(N);
    healthy(N); /* PPO: groups of one are always flat, and mean nothing */
    facts.group_baseline = false;
    facts.group_size = 1;
    for (int i = 0; i < N; i++)
        steps[i].frac_groups_flat = 1;
    silent(N);
}

static void test_all_advantages_zero(void **state)
{
    (void)state;
    healthy(1);
    steps[0].frac_groups_flat = steps[0].frac_groups_all_wrong = 1;
    says(1, DIAGNOSE_all_wrong, "every completion is wrong");
    says(1, DIAGNOSE_all_wrong, "Look at the reward function (`grpo score --reward math --explain`");
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
    says(12, DIAGNOSE_few_signals, "only 10% of the groups carry a signal, the rest are all wrong: take easier data");
}

static void test_exploding_gradient(void **state)
{
    (void)state;
    healthy(12);
    steps[11].grad_norm = 25;
    says(12, DIAGNOSE_exploding_gradient, "lower clip_epsilon to 0.1 (now 0.2)");
    facts.clip_epsilon = 0.1;
    says(12, DIAGNOSE_exploding_gradient, "lower train.learning_rate");
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
    assert_non_null(find(30, DIAGNOSE_unstable));
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
    healthy(2);
    facts.has_chat_template = false;
    says(1, DIAGNOSE_no_chat_template, "data.chat: never");
    assert_null(find(2, DIAGNOSE_no_chat_template));
    steps[0].frac_unscored = 0.25;
    says(1, DIAGNOSE_unscored, "25.0% of the completions have no reward");
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
    says(20, DIAGNOSE_entropy_collapse, "raise clip_epsilon_high");
    says(20, DIAGNOSE_far_from_reference, "raise kl_coef");
    assert_null(find(20, DIAGNOSE_clipped));
    facts.updates_per_rollout = 4;
    says(20, DIAGNOSE_clipped, "70% of the completions are clipped");
    says(20, DIAGNOSE_clipped, "importance_sampling_level: token");
    for (int i = 10; i < 20; i++)
        steps[i].accuracy = 0.95; /* a solved task is certain by right */
    assert_null(find(20, DIAGNOSE_entropy_collapse));
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
