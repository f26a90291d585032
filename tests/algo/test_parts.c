/* The smaller pieces: options and presets, sampler weights, rejection, value loss, logits,
 * penalties, schedules. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "grpo/algo.h"
#include "support.h"

/* ---- options ----------------------------------------------------------------------------- */

static void presets_are_valid(void **state)
{
    (void)state;
    size_t count;
    const grpo_preset *preset = grpo_presets(&count);
    assert_string_equal(preset[0].name, "spec");
    for (size_t i = 0; i < count; i++) {
        grpo_algo algo;
        grpo_error err;
        assert_ok(grpo_algo_preset(&algo, preset[i].name, &err), err);
        assert_ok(grpo_algo_validate(&algo, &err), err);
    }
    grpo_algo algo;
    grpo_error err;
    assert_int_equal(grpo_algo_preset(&algo, "grop", &err), GRPO_ERR_CONFIG);
}

static void default_is_the_specification(void **state)
{
    (void)state;
    grpo_algo algo;
    grpo_algo_preset(&algo, NULL, NULL);
    assert_int_equal(algo.advantage, GRPO_ADV_DRGRPO);
    assert_int_equal(algo.importance_sampling_level, GRPO_RATIO_SEQUENCE);
    assert_int_equal(algo.loss_aggregation, GRPO_AGG_ROW_MEAN);
    assert_true(algo.clip_epsilon_low == 0.2 && algo.clip_epsilon_high == 0.2 && algo.kl_coef == 0);
}

/* Every option of every preset survives printing and reading back. */
static void options_round_trip(void **state)
{
    (void)state;
    size_t presets, options;
    const grpo_preset *preset = grpo_presets(&presets);
    const grpo_option *option = grpo_algo_options(&options);
    for (size_t i = 0; i < presets; i++) {
        grpo_algo algo, copy;
        grpo_error err;
        grpo_algo_preset(&algo, preset[i].name, NULL);
        memset(&copy, 0, sizeof copy);
        for (size_t k = 0; k < options; k++) {
            char text[64], again[64];
            grpo_algo_get(&algo, &option[k], text, sizeof text);
            assert_ok(grpo_algo_set(&copy, option[k].key, text, &err), err);
            grpo_algo_get(&copy, &option[k], again, sizeof again);
            assert_string_equal(text, again);
        }
    }
}

/* The table covers the struct: no field can be added without a key. */
static void every_field_has_a_key(void **state)
{
    (void)state;
    size_t count, bytes = 0, end = 0;
    const grpo_option *option = grpo_algo_options(&count);
    for (size_t i = 0; i < count; i++) {
        size_t size = option[i].type == GRPO_OPTION_NUMBER ? sizeof(double) : sizeof(int);
        assert_true(option[i].offset >= end); /* in order, none twice */
        bytes += size;
        end = option[i].offset + size;
        assert_true(strlen(option[i].help) > 10);
    }
    size_t padding = sizeof(grpo_algo) - bytes;
    assert_true(padding <= 4 * count);
    for (size_t i = 1; i < count; i++) /* gaps only align doubles */
        assert_true(option[i].offset - option[i - 1].offset <= 8);
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[][3] = {
        {"kl_coeff", "0.1", "kl_coef"},        {"kl_coef", "-1", "outside"},
        {"kl_coef", "much", "not a number"},   {"kl_coef", "nan", "not a number"},
        {"kl_coef", "0.1x", "not a number"},   {"loss", "clipp", "not one of"},
        {"zero_tail", "maybe", "true or false"}, {"top_entropy_quantile", "1.5", "outside"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        grpo_algo algo;
        grpo_error err;
        grpo_algo_preset(&algo, NULL, NULL);
        assert_int_equal(grpo_algo_set(&algo, wrong[i][0], wrong[i][1], &err), GRPO_ERR_CONFIG);
        if (!strstr(err.message, wrong[i][2]))
            fail_msg("'%s' does not mention '%s'", err.message, wrong[i][2]);
    }
    grpo_algo algo;
    grpo_error err;
    grpo_algo_preset(&algo, NULL, NULL);
    assert_ok(grpo_algo_set(&algo, "clip_epsilon", "0.1", &err), err);
    assert_true(algo.clip_epsilon_low == 0.1 && algo.clip_epsilon_high == 0.1);
}

static void methods_are_in_order(void **state)
{
    (void)state;
#define X(symbol, text) assert_string_equal(grpo_estimator_info(symbol)->name, text);
    GRPO_ESTIMATOR_NAMES(X)
#undef X
#define X(symbol, text) assert_string_equal(grpo_loss_info(symbol)->name, text);
    GRPO_LOSS_NAMES(X)
#undef X
}

/* docs/algorithms.md names every preset, and every method with the formula of the table. */
static void assert_documented(const char *page, const grpo_method *method)
{
    char row[512];
    snprintf(row, sizeof row, "| `%s` | %s |", method->name, method->formula);
    if (strcmp(method->name, "library") && !strstr(page, row))
        fail_msg("docs/algorithms.md has no row '%s'", row);
}

static void everything_is_documented(void **state)
{
    (void)state;
    char path[4096], *page;
    grpo_error err;
    const char *source = getenv("GRPO_SOURCE_DIR");
    snprintf(path, sizeof path, "%s/docs/algorithms.md", source ? source : ".");
    assert_ok(file_read(&page, NULL, path, 1 << 20, &err), err);
    for (int i = 0; i < GRPO_ESTIMATOR_COUNT; i++)
        assert_documented(page, grpo_estimator_info((grpo_estimator)i));
    for (int i = 0; i < GRPO_LOSS_COUNT; i++)
        assert_documented(page, grpo_loss_info((grpo_loss_kind)i));
    size_t count;
    const grpo_preset *preset = grpo_presets(&count);
    for (size_t i = 0; i < count; i++) {
        char name[64];
        snprintf(name, sizeof name, "`%s`", preset[i].name);
        if (!strstr(page, name))
            fail_msg("docs/algorithms.md does not name the preset %s", name);
    }
    mem_free(page);
}

/* ---- other engines' samples ---------------------------------------------------------------- */

static void sampler_weights(void **state)
{
    (void)state;
    size_t offset[] = {0, 2, 4};
    unsigned char mask[] = {1, 1, 1, 0};
    grpo_rows rows = {2, offset, mask};
    double old[] = {-1, -2, -1, -9}, sampler[] = {-2, NAN, -0.5, -1}, w[4];
    grpo_error err;
    assert_ok(grpo_sampler_weights(w, GRPO_SAMPLER_TOKEN_TRUNCATE, 0.7, 2, &rows, old, sampler,
                                   &err), err);
    assert_true(w[0] == 2 && w[1] == 1 && w[2] == 0.7 && w[3] == 1);
    assert_ok(grpo_sampler_weights(w, GRPO_SAMPLER_TOKEN_MASK, 0.7, 2, &rows, old, sampler, &err),
              err);
    assert_true(w[0] == 0 && w[1] == 1 && w[2] == 0);
    assert_ok(grpo_sampler_weights(w, GRPO_SAMPLER_SEQUENCE_TRUNCATE, 0, 5, &rows, old, sampler,
                                   &err), err);
    assert_close(w[0], exp(1), 1e-15);
    assert_close(w[1], exp(-0.5), 1e-15);
    assert_int_equal(grpo_sampler_weights(w, GRPO_SAMPLER_TOKEN_MASK, 3, 2, &rows, old, sampler,
                                          &err), GRPO_ERR_CONFIG);
}

static void equal_policies_have_weight_one(void **state)
{
    (void)state;
    size_t offset[] = {0, 3};
    double logp[] = {-0.1, -5, -0.7}, zero[3] = {0, 0, 0}, w[3];
    grpo_rows rows = {1, offset, NULL};
    grpo_error err;
    grpo_weight_metrics m;
    for (int kind = GRPO_SAMPLER_TOKEN_TRUNCATE; kind <= GRPO_SAMPLER_SEQUENCE_MASK; kind++) {
        assert_ok(grpo_sampler_weights(w, (grpo_sampler_correction)kind, 0.9, 1.1, &rows, logp,
                                       logp, &err), err);
        assert_true(w[0] == 1);
    }
    assert_ok(grpo_rollout_weights(w, &rows, zero, 1, 2, 1, &m, &err), err);
    assert_true(w[0] == 1 && w[2] == 1 && m.min == 1 && m.max == 1);
    assert_close(m.effective_sample_size, 1, 1e-7);
}

static void rejection(void **state)
{
    (void)state;
    size_t offset[] = {0, 2, 4};
    double d[] = {0.1, 1, -0.2, 0.1};
    grpo_rows rows = {2, offset, NULL};
    unsigned char mask[4];
    grpo_rejection_metrics m;
    grpo_error err;
    assert_ok(grpo_rejection_mask(mask, &rows, d, "token_k1", "0.5_2", &m, &err), err);
    assert_memory_equal(mask, ((unsigned char[]){1, 0, 1, 1}), 4);
    assert_close(m.masked_fraction, 0.25, 0);
    assert_close(m.seq_masked_fraction, 0.5, 0);
    assert_ok(grpo_rejection_mask(mask, &rows, d, " seq_max_k2 , token_k1", "0.4, 1.15", &m, &err),
              err);
    assert_memory_equal(mask, ((unsigned char[]){0, 0, 0, 1}), 4);
    static const char *const wrong[][2] = {
        {"token_k4", "1"}, {"seq_max_k1", "1"}, {"", "1"}, {"token_k2", "0.1_1"},
        {"token_k2", "-1"}, {"token_k2,token_k3,seq_sum_k1", "1,2"}, {"token_k1", "a_b"},
        {"token_k1", ""}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(grpo_rejection_mask(mask, &rows, d, wrong[i][0], wrong[i][1], &m, &err),
                         GRPO_ERR_CONFIG);
}

/* ---- PPO, KL, logits ----------------------------------------------------------------------- */

static double value_loss(const grpo_algo *algo, double *value, double *grad)
{
    static const size_t offset[] = {0, 3, 5};
    static const unsigned char mask[] = {1, 1, 0, 1, 1};
    static const double old[] = {0.1, 1, 9, -1, 0.5}, returns[] = {0.4, 0.3, 9, -1.7, 2};
    double loss;
    grpo_error err;
    assert_ok(compute_value_loss(algo, &(grpo_rows){2, offset, mask}, value, old, returns, 0, 0,
                                 &loss, grad, NULL, &err), err);
    return loss;
}

static void value_gradient(void **state)
{
    (void)state;
    for (int mode = GRPO_AGG_ROW_MEAN; mode < GRPO_AGG_COUNT; mode++) {
        double value[] = {0.2, 1.6, 9, -1.1, 0.1}, grad[5], scrap[5];
        grpo_algo algo;
        grpo_algo_preset(&algo, "ppo", NULL);
        algo.loss_aggregation = (grpo_aggregation)mode;
        value_loss(&algo, value, grad);
        for (int t = 0; t < 5; t++) {
            double middle = value[t], above, below;
            value[t] = middle + 1e-6;
            above = value_loss(&algo, value, scrap);
            value[t] = middle - 1e-6;
            below = value_loss(&algo, value, scrap);
            value[t] = middle;
            assert_close((above - below) / 2e-6, grad[t], 1e-8);
        }
        assert_true(grad[2] == 0 && grad[0] != 0);
    }
}

static void value_loss_by_hand(void **state)
{
    (void)state;
    size_t offset[] = {0, 1};
    double value = 2, old = 0, target = 2.5, loss, grad, clipped;
    grpo_rows rows = {1, offset, NULL};
    grpo_algo algo;
    grpo_error err;
    grpo_algo_preset(&algo, "ppo", NULL);
    assert_ok(compute_value_loss(&algo, &rows, &value, &old, &target, 0, 0, &loss, &grad, &clipped,
                                 &err), err);
    assert_close(loss, 0.5 * (0.2 - 2.5) * (0.2 - 2.5), 1e-15);
    assert_true(grad == 0 && clipped == 1);
    value = 0.1; /* inside: both terms are equal, which is not clipped */
    assert_ok(compute_value_loss(&algo, &rows, &value, &old, &target, 0, 0, &loss, &grad, &clipped,
                                 &err), err);
    assert_close(grad, 0.1 - 2.5, 1e-15);
    assert_true(clipped == 0);
}

static void logits_gradient(void **state)
{
    (void)state;
    double logits[] = {1, -2, 0.5, 3, -INFINITY}, grad[5];
    const double temperature = 0.7, by_logp = 0.3, by_entropy = -1.1;
    grpo_logit_stats s = grpo_logits_stats(logits, 5, 2, temperature);
    grpo_logits_gradient(grad, logits, 5, 2, temperature, s, by_logp, by_entropy);
    double total = 0;
    for (int v = 0; v < 4; v++) {
        double middle = logits[v];
        logits[v] = middle + 1e-5;
        grpo_logit_stats above = grpo_logits_stats(logits, 5, 2, temperature);
        logits[v] = middle - 1e-5;
        grpo_logit_stats below = grpo_logits_stats(logits, 5, 2, temperature);
        logits[v] = middle;
        double slope = by_logp * (above.logp - below.logp) +
                       by_entropy * (above.entropy - below.entropy);
        assert_close(slope / 2e-5, grad[v], 1e-9);
        total += exp(logits[v] / temperature - s.log_z);
    }
    assert_close(total, 1, 1e-14);
    assert_true(grad[4] == 0);
    double flat[] = {5e4, 5e4};
    s = grpo_logits_stats(flat, 2, 0, 1); /* no overflow */
    assert_close(s.logp, -log(2), 1e-15);
    assert_close(s.entropy, log(2), 1e-15);
    assert_close(s.log_sum_sq, -log(2), 1e-15);
}

static void kl_controllers(void **state)
{
    (void)state;
    assert_true(grpo_kl_controller(GRPO_KL_FIXED, 0.3, 9, 1, 100, 8) == 0.3);
    assert_close(grpo_kl_controller(GRPO_KL_ADAPTIVE, 0.2, 9, 1, 100, 8),
                       0.2 * (1 + 0.2 * 0.08), 1e-15);
    assert_close(grpo_kl_controller(GRPO_KL_ADAPTIVE, 0.2, 1.1, 1, 100, 8),
                       0.2 * (1 + 0.1 * 0.08), 1e-15);
    assert_close(grpo_kl_controller(GRPO_KL_ADAPTIVE, 0.2, 0, 1, 100, 8),
                       0.2 * (1 - 0.2 * 0.08), 1e-15);
}

/* ---- rewards, schedules -------------------------------------------------------------------- */

static void overlong(void **state)
{
    (void)state;
    assert_true(grpo_overlong_penalty(80, 100, 20, 1, 0) == 0);
    assert_close(grpo_overlong_penalty(90, 100, 20, 1, 0), -0.5, 1e-15);
    assert_close(grpo_overlong_penalty(100, 100, 20, 2, 0), -2, 1e-15);
    assert_true(grpo_overlong_penalty(150, 100, 20, 2, 0) == -2);
    assert_close(grpo_overlong_penalty(120, 100, 20, 1, 1), -2, 1e-15);
    assert_true(grpo_overlong_penalty(100, 100, 0, 1, 0) == 0); /* no buffer: a cliff */
    assert_true(grpo_overlong_penalty(101, 100, 0, 1, 0) == -1);
}

static void repetition(void **state)
{
    (void)state;
    int64_t repeated[] = {5, 5, 5, 5, 5}, mixed[] = {1, 2, 1, 2, 1, 2, 3};
    size_t scratch[8];
    assert_close(grpo_repetition_penalty(repeated, 5, 2, -1, scratch), -0.75, 1e-15);
    assert_close(grpo_repetition_penalty(mixed, 7, 2, -1, scratch), -0.5, 1e-15);
    assert_true(grpo_repetition_penalty(mixed, 3, 2, -1, scratch) == 0);
    assert_true(grpo_repetition_penalty(mixed, 1, 2, -1, scratch) == 0);
    assert_true(grpo_repetition_penalty(mixed, 0, 2, -1, scratch) == 0);
}

static void group_verdicts(void **state)
{
    (void)state;
    assert_int_equal(grpo_judge_group((double[]){1, 0, 1}, 3, 0.5, 1e-9), GRPO_GROUP_MIXED);
    assert_int_equal(grpo_judge_group((double[]){1, NAN, 1}, 3, 0.5, 1e-9), GRPO_GROUP_ALL_RIGHT);
    assert_int_equal(grpo_judge_group((double[]){0, 0, -0.0}, 3, 0.5, 1e-9), GRPO_GROUP_ALL_WRONG);
    assert_int_equal(grpo_judge_group((double[]){0.3, 0.1 + 0.2}, 2, 0.5, 1e-9),
                     GRPO_GROUP_ALL_WRONG);
    assert_int_equal(grpo_judge_group((double[]){NAN, NAN}, 2, 0.5, 1e-9), GRPO_GROUP_UNSCORED);
    assert_int_equal(grpo_judge_group(NULL, 0, 0.5, 1e-9), GRPO_GROUP_UNSCORED);
}

static void schedules(void **state)
{
    (void)state;
    for (size_t step = 0; step < 4; step++)
        assert_close(grpo_learning_rate(GRPO_SCHEDULE_COSINE, 8, step, 4, 12, 0.1),
                           2.0 * (double)(step + 1), 1e-15);
    assert_close(grpo_learning_rate(GRPO_SCHEDULE_CONSTANT, 8, 11, 4, 12, 0), 8, 0);
    assert_close(grpo_learning_rate(GRPO_SCHEDULE_LINEAR, 8, 4, 4, 12, 0), 8, 0);
    assert_close(grpo_learning_rate(GRPO_SCHEDULE_LINEAR, 7, 5, 4, 12, 0), 6, 1e-15);
    assert_close(grpo_learning_rate(GRPO_SCHEDULE_LINEAR, 8, 11, 4, 12, 0.25), 2, 1e-15);
    assert_close(grpo_learning_rate(GRPO_SCHEDULE_COSINE, 8, 11, 4, 12, 0.25), 2, 1e-15);
    assert_close(grpo_learning_rate(GRPO_SCHEDULE_COSINE, 8, 2, 0, 5, 0), 4, 1e-15);
    assert_close(grpo_learning_rate(GRPO_SCHEDULE_LINEAR, 8, 99, 4, 12, 0.25), 2, 1e-15);
    assert_close(grpo_learning_rate(GRPO_SCHEDULE_LINEAR, 8, 0, 0, 1, 0), 8, 0);
}

static void whitening(void **state)
{
    (void)state;
    double x[] = {1, 2, 99, 4}, out[4], mean, variance;
    unsigned char mask[] = {1, 1, 0, 1};
    grpo_error err;
    assert_ok(grpo_masked_whiten(out, x, mask, 4, 0, &mean, &variance, &err), err);
    assert_close(mean, 7.0 / 3, 1e-7);
    assert_close(variance, 7.0 / 3, 1e-7);
    assert_close(out[0] + out[1] + out[3], 0, 1e-7);
    assert_close(out[0] * out[0] + out[1] * out[1] + out[3] * out[3], 2, 1e-6);
    mask[0] = mask[1] = 0;
    assert_int_equal(grpo_masked_whiten(out, x, mask, 4, 0, NULL, NULL, &err), GRPO_ERR_NUMERIC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(presets_are_valid),
        cmocka_unit_test(default_is_the_specification),
        cmocka_unit_test(options_round_trip),
        cmocka_unit_test(every_field_has_a_key),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(methods_are_in_order),
        cmocka_unit_test(everything_is_documented),
        cmocka_unit_test(sampler_weights),
        cmocka_unit_test(equal_policies_have_weight_one),
        cmocka_unit_test(rejection),
        cmocka_unit_test(value_gradient),
        cmocka_unit_test(value_loss_by_hand),
        cmocka_unit_test(logits_gradient),
        cmocka_unit_test(kl_controllers),
        cmocka_unit_test(overlong),
        cmocka_unit_test(repetition),
        cmocka_unit_test(group_verdicts),
        cmocka_unit_test(schedules),
        cmocka_unit_test(whitening),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
