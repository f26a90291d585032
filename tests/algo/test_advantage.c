/* Advantage estimators: values worked out by hand, invariances, groups of one, equal and missing
 * rewards. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "grpo/algo.h"
#include "support.h"

#define ROWS 8

typedef struct fixture {
    grpo_algo algo;
    grpo_advantage_batch in;
    grpo_advantages out;
    grpo_error err;
    double row[ROWS], token[64], returns[64], reward[ROWS];
    double scratch[512];
} fixture;

static void setup(fixture *f, grpo_estimator estimator, const double *reward, size_t rows,
                  size_t group_size)
{
    memset(f, 0, sizeof *f);
    assert_ok(grpo_algo_preset(&f->algo, NULL, &f->err), f->err);
    f->algo.advantage = estimator;
    f->in = (grpo_advantage_batch){.rows = rows, .reward = reward, .group_size = group_size};
    f->out = (grpo_advantages){.row = f->row,
                               .token = f->token,
                               .returns = f->returns,
                               .reward = f->reward,
                               .scratch = f->scratch};
    assert_true(grpo_advantage_scratch(ROWS, 64) <= sizeof f->scratch);
}

static void run(fixture *f)
{
    assert_ok(compute_advantages(&f->algo, &f->in, &f->out, &f->err), f->err);
}

static void assert_row(const fixture *f, const double *expected, size_t count, double tolerance)
{
    for (size_t i = 0; i < count; i++)
        if (!(fabs(f->row[i] - expected[i]) <= tolerance))
            fail_msg("advantage %zu is %.17g, expected %.17g", i, f->row[i], expected[i]);
}

/* ---- by hand ---------------------------------------------------------------------------- */

static void specification_formula(void **state)
{
    (void)state;
    double rewards[] = {1, 0, 0, 0, 1, 1, 0, 0}, advantages[8];
    double expected[] = {0.75, -0.25, -0.25, -0.25, 0.5, 0.5, -0.5, -0.5};
    grpo_error err;
    assert_ok(compute_grpo_advantages(advantages, rewards, 8, 4, &err), err);
    assert_memory_equal(advantages, expected, sizeof expected);
    assert_ok(grpo_advantage(advantages, rewards, 8, 1, &err), err);
    for (int i = 0; i < 8; i++)
        assert_true(advantages[i] == 0);
    assert_int_equal(compute_grpo_advantages(advantages, rewards, 8, 3, &err), GRPO_ERR_USAGE);
    rewards[2] = NAN;
    assert_int_equal(compute_grpo_advantages(advantages, rewards, 8, 4, &err), GRPO_ERR_NUMERIC);
    fixture f; /* the trainer's default is the same formula */
    rewards[2] = 0;
    setup(&f, GRPO_ADV_DRGRPO, rewards, 8, 4);
    run(&f);
    assert_row(&f, expected, 8, 0);
}

static void divided_by_std(void **state)
{
    (void)state;
    double rewards[] = {1, 2, 3, 6};
    fixture f;
    setup(&f, GRPO_ADV_GRPO, rewards, 4, 4);
    f.algo.advantage_epsilon = 0.5;
    run(&f);
    double unbiased = sqrt(14.0 / 3), biased = sqrt(14.0 / 4);
    assert_row(&f, (double[]){-2 / (unbiased + 0.5), -1 / (unbiased + 0.5), 0,
                              3 / (unbiased + 0.5)}, 4, 1e-15);
    f.algo.std_unbiased = 0;
    run(&f);
    assert_row(&f, (double[]){-2 / (biased + 0.5), -1 / (biased + 0.5), 0, 3 / (biased + 0.5)}, 4,
               1e-15);
}

static void batch_std_and_interleaved_groups(void **state)
{
    (void)state;
    double rewards[] = {1, 10, 3, 14};
    int64_t group[] = {7, -3, 7, -3};
    fixture f;
    setup(&f, GRPO_ADV_GRPO, rewards, 4, 0);
    f.in.group = group;
    f.algo.scale_rewards = GRPO_SCALE_BATCH;
    f.algo.advantage_epsilon = 0;
    run(&f);
    double std = sqrt((36.0 + 9 + 16 + 49) / 3); /* around 7 */
    assert_row(&f, (double[]){-1 / std, -2 / std, 1 / std, 2 / std}, 4, 1e-15);
    assert_int_equal(f.out.groups, 2);
}

static void leave_one_out(void **state)
{
    (void)state;
    double rewards[] = {1, 2, 6};
    fixture f;
    setup(&f, GRPO_ADV_RLOO, rewards, 3, 3);
    run(&f);
    assert_row(&f, (double[]){1 - 4, 2 - 3.5, 6 - 1.5}, 3, 1e-15);
    f.algo.reward_clip_max = 4;
    run(&f);
    assert_row(&f, (double[]){1 - 3, 2 - 2.5, 4 - 1.5}, 3, 1e-15);
}

static void scaled_by_non_zero_rewards(void **state)
{
    (void)state;
    double rewards[] = {0, 2, 0, 4};
    fixture f;
    setup(&f, GRPO_ADV_GPG, rewards, 4, 2);
    f.algo.gpg_norm = 4; /* 4 rows / 2 non-zero / 4 */
    run(&f);
    assert_row(&f, (double[]){-0.5, 0.5, -1, 1}, 4, 1e-15);
}

/* -1 on one token and 1 on three: mean 1/2, variance 1. */
static void whitened_by_tokens(void **state)
{
    (void)state;
    double rewards[] = {1, 3};
    size_t offset[] = {0, 1, 4};
    fixture f;
    setup(&f, GRPO_ADV_REINFORCE_PP_BASELINE, rewards, 2, 2);
    f.in.tokens = (grpo_rows){2, offset, NULL};
    run(&f);
    assert_row(&f, (double[]){-1.5, 0.5}, 2, 1e-7);
    rewards[0] = 0; /* variance 1e-8, to which 1e-8 is added */
    rewards[1] = 2e-4;
    run(&f);
    assert_row(&f, (double[]){-1.5 / sqrt(2), 0.5 / sqrt(2)}, 2, 1e-7);
}

static void length_weighted_baseline(void **state)
{
    (void)state;
    double rewards[] = {1, 4};
    size_t offset[] = {0, 1, 4};
    fixture f;
    setup(&f, GRPO_ADV_OPO, rewards, 2, 2);
    f.in.tokens = (grpo_rows){2, offset, NULL};
    run(&f);
    assert_row(&f, (double[]){1 - 13.0 / 4, 4 - 13.0 / 4}, 2, 1e-15);
}

static void best_answer_only(void **state)
{
    (void)state;
    double rewards[] = {1, 5, 3};
    fixture f;
    setup(&f, GRPO_ADV_PASSK, rewards, 3, 3);
    f.algo.scale_rewards = GRPO_SCALE_NONE;
    run(&f);
    assert_row(&f, (double[]){0, 2, 0}, 3, 0);
    f.in.group_size = 1;
    assert_int_equal(compute_advantages(&f.algo, &f.in, &f.out, &f.err), GRPO_ERR_CONFIG);
}

static void reward_functions_normalised_alone(void **state)
{
    (void)state;
    /* the second function is a hundred times larger and must not drown the first */
    double part[] = {1, 0, 0, 100, 1, 0, 0, 0};
    fixture f;
    setup(&f, GRPO_ADV_GDPO, NULL, 4, 4);
    f.in.part = part;
    f.in.parts = 2;
    f.algo.advantage_epsilon = 0;
    run(&f);
    double a = 0.5 / sqrt(1.0 / 3), b = 25 / sqrt((3 * 625.0 + 5625) / 3);
    double sum[] = {a - b, -a + 3 * b, a - b, -a - b}, squares = 0;
    for (int i = 0; i < 4; i++)
        squares += sum[i] * sum[i];
    double std = sqrt(squares / 3);
    assert_row(&f, (double[]){sum[0] / std, sum[1] / std, sum[2] / std, sum[3] / std}, 4, 1e-14);
}

static void group_of_one(void **state)
{
    (void)state;
    double reward[] = {3};
    static const grpo_estimator estimators[] = {GRPO_ADV_DRGRPO, GRPO_ADV_GRPO, GRPO_ADV_RLOO,
                                                GRPO_ADV_GPG};
    for (size_t i = 0; i < 4; i++) {
        fixture f;
        setup(&f, estimators[i], reward, 1, 1);
        f.algo.advantage_epsilon = 0;
        run(&f);
        assert_true(f.row[0] == 0);
        f.algo.group_of_one = GRPO_SINGLE_RAW;
        run(&f);
        assert_true(f.row[0] == 3);
    }
}

/* ---- missing and equal rewards ----------------------------------------------------------- */

static void missing_rewards_are_left_out(void **state)
{
    (void)state;
    double rewards[] = {1, NAN, 3, NAN, NAN, 5};
    static const grpo_estimator estimators[] = {GRPO_ADV_DRGRPO, GRPO_ADV_GRPO, GRPO_ADV_RLOO};
    static const double expected[3][3] = {{-1, 0, 1}, {-0.5, 0, 0.5}, {-2, 0, 2}};
    for (size_t i = 0; i < 3; i++) {
        fixture f;
        setup(&f, estimators[i], rewards, 6, 3);
        f.algo.advantage_epsilon = 2 - sqrt(2); /* std is sqrt 2 */
        run(&f);
        assert_row(&f, expected[i], 3, 1e-15);
        assert_row(&f, (double[]){expected[i][0], 0, expected[i][2], 0, 0, 0}, 6, 1e-15);
        assert_int_equal(f.out.missing, 3);
        assert_close(f.out.reward_mean, 3, 0);
    }
}

static void missing_rewards_in_token_estimators(void **state)
{
    (void)state;
    double rewards[] = {1, NAN, 3};
    size_t offset[] = {0, 2, 4, 6};
    fixture f;
    setup(&f, GRPO_ADV_REINFORCE_PP, rewards, 3, 1);
    f.in.tokens = (grpo_rows){3, offset, NULL};
    f.algo.whiten_advantages = 0;
    run(&f);
    double expected[] = {1, 1, 0, 0, 3, 3};
    assert_memory_equal(f.token, expected, sizeof expected);
}

static void noise_is_not_signal(void **state)
{
    (void)state;
    double noisy[] = {0.3, 0.1 + 0.2, 0.3, 0.1f + 0.2f};
    static const grpo_estimator estimators[] = {GRPO_ADV_GRPO, GRPO_ADV_PASSK, GRPO_ADV_GDPO};
    for (size_t i = 0; i < 3; i++) {
        fixture f;
        setup(&f, estimators[i], noisy, 4, 4);
        f.algo.advantage_epsilon = 0;
        run(&f);
        assert_row(&f, (double[]){0, 0, 0, 0}, 4, 0);
        assert_close(f.out.flat_groups, 1, 0);
    }
    /* a real difference of the same size relative to another magnitude is kept */
    double small[] = {1e-8, 3e-8};
    fixture f;
    setup(&f, GRPO_ADV_GRPO, small, 2, 2);
    f.algo.advantage_epsilon = 0;
    run(&f);
    assert_row(&f, (double[]){-sqrt(0.5), sqrt(0.5)}, 2, 1e-12);
}

/* Without a division no difference is too small. */
static void small_differences_count(void **state)
{
    (void)state;
    double rewards[] = {1, 1 + 1e-7};
    fixture f;
    setup(&f, GRPO_ADV_DRGRPO, rewards, 2, 2);
    run(&f);
    assert_close(f.row[1], 5e-8, 1e-15);
}

static void no_reward_at_all(void **state)
{
    (void)state;
    double rewards[] = {0, 0, 0, 0};
    fixture f;
    setup(&f, GRPO_ADV_GPG, rewards, 4, 2);
    f.in.reward = (double[]){0, 0, NAN, NAN};
    f.algo.gpg_norm = 1;
    run(&f);
    assert_row(&f, rewards, 4, 0);
    f.algo.group_of_one = GRPO_SINGLE_RAW; /* 0 * rows / 0 rows must stay 0 */
    f.in.group_size = 1;
    run(&f);
    assert_row(&f, rewards, 4, 0);
}

/* A completion that is alone because the others have no reward stays out of the batch's mean. */
static void normalised_over_comparable_rows(void **state)
{
    (void)state;
    double rewards[] = {1, 3, 7, NAN};
    fixture f;
    setup(&f, GRPO_ADV_RLOO, rewards, 4, 2);
    f.algo.normalize_advantages = 1;
    f.algo.advantage_epsilon = 0;
    run(&f);
    assert_row(&f, (double[]){-sqrt(0.5), sqrt(0.5), 0, 0}, 4, 1e-15);
}

/* ---- invariances ------------------------------------------------------------------------- */

static const double sample[ROWS] = {0.3, -1.25, 2.5, 0.75, 1.5, 1.5, -3, 0.125};

static void shift_and_scale(void **state)
{
    (void)state;
    static const grpo_estimator estimators[] = {GRPO_ADV_DRGRPO, GRPO_ADV_GRPO, GRPO_ADV_RLOO,
                                                GRPO_ADV_PASSK};
    for (size_t e = 0; e < 4; e++) {
        double moved[ROWS], scaled[ROWS];
        for (size_t i = 0; i < ROWS; i++) {
            moved[i] = sample[i] + 1e6;
            scaled[i] = sample[i] * 64;
        }
        fixture a, b, c;
        setup(&a, estimators[e], sample, ROWS, 4);
        setup(&b, estimators[e], moved, ROWS, 4);
        setup(&c, estimators[e], scaled, ROWS, 4);
        a.algo.advantage_epsilon = b.algo.advantage_epsilon = c.algo.advantage_epsilon = 0;
        run(&a);
        run(&b);
        run(&c);
        assert_row(&b, a.row, ROWS, 1e-8);
        int divides = estimators[e] == GRPO_ADV_GRPO || estimators[e] == GRPO_ADV_PASSK;
        for (size_t i = 0; i < ROWS; i++)
            assert_close(c.row[i], divides ? a.row[i] : 64 * a.row[i], 1e-12);
    }
}

/* Groups in another order, and rows in another order inside them, move the advantages along. */
static void permutation(void **state)
{
    (void)state;
    static const size_t order[ROWS] = {6, 1, 4, 0, 7, 3, 5, 2};
    for (int e = GRPO_ADV_DRGRPO; e <= GRPO_ADV_GPG; e++) {
        double shuffled[ROWS];
        int64_t group[ROWS];
        size_t straight[ROWS + 1] = {0, 1, 3, 6, 10, 11, 13, 16, 20}, moved[ROWS + 1] = {0};
        for (size_t i = 0; i < ROWS; i++) {
            shuffled[i] = sample[order[i]];
            group[i] = order[i] < 4 ? 50 : 20;
            moved[i + 1] = moved[i] + straight[order[i] + 1] - straight[order[i]];
        }
        fixture a, b;
        setup(&a, (grpo_estimator)e, sample, ROWS, 4);
        a.in.tokens = (grpo_rows){ROWS, straight, NULL};
        setup(&b, (grpo_estimator)e, shuffled, ROWS, 0);
        b.in.group = group;
        b.in.tokens = (grpo_rows){ROWS, moved, NULL};
        run(&a);
        run(&b);
        for (size_t i = 0; i < ROWS; i++)
            assert_close(b.row[i], a.row[order[i]], 1e-14);
    }
}

static void advantages_of_a_group_cancel(void **state)
{
    (void)state;
    for (int e = GRPO_ADV_DRGRPO; e <= GRPO_ADV_RLOO; e++) {
        fixture f;
        setup(&f, (grpo_estimator)e, sample, ROWS, 4);
        run(&f);
        for (size_t g = 0; g < ROWS; g += 4)
            assert_close(f.row[g] + f.row[g + 1] + f.row[g + 2] + f.row[g + 3], 0, 1e-13);
    }
}

/* ---- PPO --------------------------------------------------------------------------------- */

/* A_t = sum_k (gamma lambda)^k delta_{t+k}, and lambda 1 is return minus value. */
static void generalised_advantages(void **state)
{
    (void)state;
    double rewards[] = {0.5, -1, 2}, values[] = {0.25, 1, -0.5, 3}, a[3], gamma = 0.9, lambda = 0.8;
    ppo_advantage(a, rewards, values, 3, gamma, lambda);
    double d0 = 0.5 + 0.9 - 0.25, d1 = -1 - 0.45 - 1, d2 = 2 + 2.7 + 0.5;
    assert_close(a[0], d0 + 0.72 * (d1 + 0.72 * d2), 1e-14);
    assert_close(a[2], d2, 1e-14);
    size_t offset[] = {0, 3};
    double again[3], returns[3], bootstrap = 3;
    grpo_rows rows = {1, offset, NULL};
    compute_gae(again, returns, &rows, rewards, values, &bootstrap, gamma, lambda);
    for (int t = 0; t < 3; t++) {
        assert_close(again[t], a[t], 1e-14);
        assert_close(returns[t], a[t] + values[t], 1e-14);
    }
    compute_gae(again, returns, &rows, rewards, values, &bootstrap, 1, 1);
    assert_close(returns[0], 0.5 - 1 + 2 + 3, 1e-14);
}

static void gae_passes_over_masked_tokens(void **state)
{
    (void)state;
    double rewards[] = {1, 50, 2}, values[] = {0.5, 70, 0.25}, a[3], b[2];
    size_t offset[] = {0, 3}, dense[] = {0, 2};
    unsigned char mask[] = {1, 0, 1};
    compute_gae(a, NULL, &(grpo_rows){1, offset, mask}, rewards, values, NULL, 0.9, 0.7);
    compute_gae(b, NULL, &(grpo_rows){1, dense, NULL}, (double[]){1, 2}, (double[]){0.5, 0.25},
                NULL, 0.9, 0.7);
    assert_true(a[0] == b[0] && a[2] == b[1]);
}

static void kl_in_the_reward(void **state)
{
    (void)state;
    double rewards[] = {1, 3}, old[] = {-1, -2, -0.5}, ref[] = {-1.5, -2.5, -0.25};
    size_t offset[] = {0, 2, 3};
    fixture f;
    setup(&f, GRPO_ADV_DRGRPO, rewards, 2, 2);
    f.algo.kl_place = GRPO_KL_IN_REWARD;
    f.algo.kl_coef = 0.5;
    f.algo.kl_estimator = GRPO_KL_K1;
    assert_int_equal(compute_advantages(&f.algo, &f.in, &f.out, &f.err), GRPO_ERR_USAGE);
    f.in.tokens = (grpo_rows){2, offset, NULL};
    f.in.old_logp = old;
    f.in.ref_logp = ref;
    run(&f);
    assert_close(f.reward[0], 1 - 0.5 * 1.0, 1e-15);
    assert_close(f.reward[1], 3 + 0.5 * 0.25, 1e-15);
    assert_close(f.row[1], (3.125 - 0.5) / 2, 1e-15);
    assert_close(f.out.reward_kl, (0.5 - 0.25) / 2, 1e-15);
    f.algo.advantage = GRPO_ADV_REINFORCE_PP; /* token by token, then summed from the right */
    f.algo.whiten_advantages = 0;
    run(&f);
    assert_close(f.token[1], 1 - 0.25, 1e-15);
    assert_close(f.token[0], 1 - 0.5, 1e-15);
}

/* ---- token estimators ------------------------------------------------------------------- */

static void discounted_rewards_to_go(void **state)
{
    (void)state;
    double rewards[] = {13}, token_reward[] = {1, 10, 2};
    size_t offset[] = {0, 3};
    unsigned char mask[] = {1, 0, 1};
    fixture f;
    setup(&f, GRPO_ADV_REINFORCE_PP, rewards, 1, 1);
    f.in.tokens = (grpo_rows){1, offset, mask};
    f.in.token_reward = token_reward;
    f.algo.whiten_advantages = 0;
    f.algo.gamma = 0.5;
    run(&f);
    assert_memory_equal(f.returns, ((double[]){1, 11, 2}), 3 * sizeof(double));
    assert_memory_equal(f.token, ((double[]){1, 0, 2}), 3 * sizeof(double));
    mask[1] = 1;
    run(&f);
    assert_memory_equal(f.token, ((double[]){6.5, 11, 2}), 3 * sizeof(double));
}

/* p = 1/2, so that a token's share of W is sum_pi_squared times its weight squared. The longer
 * row has a masked token in front, which only the plain form counts as a column. */
static void optimal_baseline_of_tokens(void **state)
{
    (void)state;
    const double half = log(0.5);
    double rewards[] = {3, 1}, old[] = {half, half, half, half}, squares[] = {9, 0.5, 0.25, 1},
           weight[] = {1, 2, 1, 1};
    size_t offset[] = {0, 3, 4};
    unsigned char mask[] = {0, 1, 1, 1};
    fixture f;
    setup(&f, GRPO_ADV_TURN_TOKEN_BASELINE, rewards, 2, 2);
    f.in.tokens = (grpo_rows){2, offset, mask};
    f.in.old_logp = old;
    f.in.sum_pi_squared = squares;
    f.in.is_weight = weight;
    run(&f); /* W = 2, 2.25 and 1: baselines 7/3 and 3 */
    const double squeezed[] = {0, 3 - 7.0 / 3, 0, 1 - 7.0 / 3};
    for (int t = 0; t < 4; t++)
        assert_close(f.token[t], squeezed[t], 1e-7);
    f.algo.zero_tail = 1;
    run(&f);
    assert_true(f.token[2] == 3);
    f.algo.zero_tail = 0;
    f.algo.advantage = GRPO_ADV_TOKEN_BASELINE;
    run(&f); /* alone in each of its columns */
    const double plain[] = {0, 0, 0, 0};
    for (int t = 0; t < 4; t++)
        assert_close(f.token[t], plain[t], 1e-7);
    mask[3] = 0; /* nothing to compare with, unless an empty row is something */
    f.algo.advantage = GRPO_ADV_TURN_TOKEN_BASELINE;
    run(&f);
    assert_true(f.token[1] == 3 && f.token[2] == 3);
}

static void shapes_are_checked(void **state)
{
    (void)state;
    fixture f;
    setup(&f, GRPO_ADV_OPO, sample, ROWS, 4);
    assert_int_equal(compute_advantages(&f.algo, &f.in, &f.out, &f.err), GRPO_ERR_USAGE);
    setup(&f, GRPO_ADV_GRPO, sample, ROWS, 3);
    assert_int_equal(compute_advantages(&f.algo, &f.in, &f.out, &f.err), GRPO_ERR_USAGE);
    double infinite[] = {1, INFINITY};
    setup(&f, GRPO_ADV_GRPO, infinite, 2, 2);
    assert_int_equal(compute_advantages(&f.algo, &f.in, &f.out, &f.err), GRPO_ERR_NUMERIC);
    setup(&f, GRPO_ADV_GRPO, sample, 0, 4);
    run(&f);
    assert_int_equal(f.out.groups, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(specification_formula),
        cmocka_unit_test(divided_by_std),
        cmocka_unit_test(batch_std_and_interleaved_groups),
        cmocka_unit_test(leave_one_out),
        cmocka_unit_test(scaled_by_non_zero_rewards),
        cmocka_unit_test(whitened_by_tokens),
        cmocka_unit_test(length_weighted_baseline),
        cmocka_unit_test(best_answer_only),
        cmocka_unit_test(reward_functions_normalised_alone),
        cmocka_unit_test(group_of_one),
        cmocka_unit_test(missing_rewards_are_left_out),
        cmocka_unit_test(missing_rewards_in_token_estimators),
        cmocka_unit_test(noise_is_not_signal),
        cmocka_unit_test(small_differences_count),
        cmocka_unit_test(no_reward_at_all),
        cmocka_unit_test(normalised_over_comparable_rows),
        cmocka_unit_test(shift_and_scale),
        cmocka_unit_test(permutation),
        cmocka_unit_test(advantages_of_a_group_cancel),
        cmocka_unit_test(generalised_advantages),
        cmocka_unit_test(gae_passes_over_masked_tokens),
        cmocka_unit_test(kl_in_the_reward),
        cmocka_unit_test(discounted_rewards_to_go),
        cmocka_unit_test(optimal_baseline_of_tokens),
        cmocka_unit_test(shapes_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
