/* The loss: small cases worked out by hand, exactness on-policy, finite differences. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grpo/algo.h"
#include "support.h"

/* Two completions of two tokens, the last one masked. */
typedef struct small {
    size_t offset[3];
    unsigned char mask[4];
    double logp[4], old[4], ref[4], entropy[4], advantage[2];
    double grad[4], grad_entropy[4], ratio[4], token_loss[4], row_ratio[2], scratch[32];
    grpo_algo algo;
    grpo_loss_batch in;
    grpo_loss out;
    grpo_error err;
} small;

static void setup(small *s, const char *preset)
{
    memset(s, 0, sizeof *s);
    s->offset[1] = 2;
    s->offset[2] = 4;
    memcpy(s->mask, (unsigned char[]){1, 1, 1, 0}, 4);
    memcpy(s->logp, (double[]){-1, -2, -0.5, NAN}, sizeof s->logp);
    memcpy(s->old, (double[]){-1.05, -2.02, -0.4, NAN}, sizeof s->old);
    memcpy(s->ref, (double[]){-1.5, -2.02, -0.4, NAN}, sizeof s->ref);
    memcpy(s->entropy, (double[]){0.3, 0.7, 0.5, NAN}, sizeof s->entropy);
    s->advantage[0] = 0.5;
    s->advantage[1] = -0.5;
    assert_ok(grpo_algo_preset(&s->algo, preset, &s->err), s->err);
    s->in = (grpo_loss_batch){.rows = {2, s->offset, s->mask},
                              .logp = s->logp,
                              .old_logp = s->old,
                              .ref_logp = s->ref,
                              .entropy = s->entropy,
                              .advantage = s->advantage};
    s->out = (grpo_loss){.grad_logp = s->grad,
                         .grad_entropy = s->grad_entropy,
                         .ratio = s->ratio,
                         .token_loss = s->token_loss,
                         .row_ratio = s->row_ratio,
                         .scratch = s->scratch};
    assert_true(grpo_loss_scratch(2, 4) <= sizeof s->scratch);
}

static void run(small *s)
{
    assert_ok(compute_grpo_loss(&s->algo, &s->in, &s->out, &s->err), s->err);
}

/* -mean(0.5 e^0.07, -0.5 e^-0.1); NaN under mask 0 reaches nothing. */
static void specification_formula(void **state)
{
    (void)state;
    small s;
    setup(&s, NULL);
    run(&s);
    double first = exp(0.07), second = exp(-0.1);
    assert_close(s.out.loss, -(0.5 * first - 0.5 * second) / 2, 1e-15);
    assert_close(s.grad[0], -0.25 * first, 1e-15);
    assert_close(s.grad[1], -0.25 * first, 1e-15);
    assert_close(s.grad[2], 0.25 * second, 1e-15);
    assert_true(s.grad[3] == 0);
    assert_close(s.row_ratio[0], first, 1e-15);
    double ratio[2];
    compute_sequence_ratios(ratio, &s.in.rows, s.logp, s.old);
    assert_true(ratio[0] == s.row_ratio[0] && ratio[1] == s.row_ratio[1]);
}

static void clipped_side_has_no_gradient(void **state)
{
    (void)state;
    small s;
    setup(&s, NULL);
    s.logp[0] = -0.5; /* ratio e^0.57 > 1.2, A > 0 */
    s.logp[2] = -0.1; /* ratio e^0.3 > 1.2, A < 0: min keeps the plain term */
    run(&s);
    assert_close(s.out.loss, -(0.5 * 1.2 - 0.5 * exp(0.3)) / 2, 1e-15);
    assert_true(s.grad[0] == 0 && s.grad[1] == 0);
    assert_close(s.grad[2], 0.25 * exp(0.3), 1e-15);
    assert_close(s.out.metrics.clip_high, 0.5, 0);
    assert_close(s.out.metrics.clip_low, 0, 0);
}

static void token_mean_by_hand(void **state)
{
    (void)state;
    small s;
    setup(&s, "dapo");
    run(&s);
    double expected = -(0.5 * exp(0.05) + 0.5 * exp(0.02) - 0.5 * exp(-0.1)) / 3;
    assert_close(s.out.loss, expected, 1e-12);
    assert_close(s.token_loss[1], -0.5 * exp(0.02), 1e-12);
}

static void kl_of_each_kind(void **state)
{
    (void)state;
    assert_true(compute_kl_penalty(GRPO_KL_K3, 0, 0, -1.25, -1.25).kl == 0);
    grpo_kl_value k3 = compute_kl_penalty(GRPO_KL_K3, 0, 0, -1, -1.5);
    assert_close(k3.kl, exp(-0.5) + 0.5 - 1, 1e-15);
    assert_close(k3.grad, 1 - exp(-0.5), 1e-15);
    grpo_kl_value far = compute_kl_penalty(GRPO_KL_K3, 0, 1, -30, -1);
    assert_true(far.kl == 10 && far.grad == 0);
    grpo_kl_value plus = compute_kl_penalty(GRPO_KL_K1, 1, 0, -1, -1.5);
    assert_true(plus.kl == 0.5 && plus.grad == 0.5);
}

/* With equal log-probs everything is exact and nothing is clipped, whatever the loss. */
static void on_policy_is_exact(void **state)
{
    (void)state;
    size_t count;
    const grpo_preset *presets = grpo_presets(&count);
    for (size_t i = 0; i < count; i++) {
        small s, without;
        setup(&s, presets[i].name);
        memcpy(s.old, s.logp, sizeof s.old);
        memcpy(s.ref, s.logp, sizeof s.ref);
        s.algo.kl_place = GRPO_KL_IN_LOSS;
        s.algo.kl_coef = 0.1;
        run(&s);
        for (int t = 0; t < 4; t++)
            assert_true(s.ratio[t] == 1);
        assert_true(s.out.metrics.ratio_min == 1 && s.out.metrics.ratio_max == 1);
        assert_true(s.out.kl_loss == 0 && s.out.metrics.kl == 0);
        assert_true(s.out.metrics.clip_low == 0 && s.out.metrics.clip_high == 0);
        /* the same gradient bits as without old log-probs */
        without = s;
        without.in.old_logp = NULL;
        without.in.rows = (grpo_rows){2, without.offset, without.mask};
        without.out.grad_logp = without.grad;
        run(&without);
        assert_memory_equal(s.grad, without.grad, sizeof s.grad);
        assert_true(s.grad[0] != 0);
    }
}

/* A part of the batch with the global counts gets the bits of the whole. */
static void micro_batches_change_no_bit(void **state)
{
    (void)state;
    size_t count;
    const grpo_preset *presets = grpo_presets(&count);
    for (size_t i = 0; i < count; i++) {
        small whole, part;
        setup(&whole, presets[i].name);
        whole.algo.kl_place = GRPO_KL_IN_LOSS;
        whole.algo.entropy_coef = 0.01;
        if (whole.algo.loss == GRPO_LOSS_CLIP_COV || whole.algo.loss == GRPO_LOSS_KL_COV)
            continue; /* they look at the whole batch */
        run(&whole);
        setup(&part, presets[i].name);
        part.algo = whole.algo;
        part.in.rows.count = 1;
        part.in.token_count = 3;
        part.in.sequence_count = 2;
        run(&part);
        assert_memory_equal(whole.grad, part.grad, 2 * sizeof(double));
        assert_memory_equal(whole.grad_entropy, part.grad_entropy, 2 * sizeof(double));
    }
}

static void report_failure(void *context, const char *name, double error, int passed)
{
    (void)context;
    if (!passed)
        print_error("%s: error %g\n", name, error);
}

static void finite_differences(void **state)
{
    (void)state;
    grpo_check check;
    grpo_check_gradients(&check, NULL, report_failure, NULL);
    assert_int_equal(check.failed, 0);
    assert_true(check.passed > 1000);
}

/* ---- values by hand: a gradient that agrees with a wrong value passes finite differences -- */

/* Preset dapo (token ratios, 1 / 3 a token) with another loss. */
static void setup_loss(small *s, grpo_loss_kind loss)
{
    setup(s, "dapo");
    s->algo.loss = loss;
}

static void sapo_temperatures(void **state)
{
    (void)state;
    small s;
    setup_loss(&s, GRPO_LOSS_SAPO);
    s.algo.sapo_temperature_pos = 2;
    s.algo.sapo_temperature_neg = 3;
    run(&s);
    double first = 1 / (1 + exp(-2 * (exp(0.05) - 1))), last = 1 / (1 + exp(-3 * (exp(-0.1) - 1)));
    assert_close(s.token_loss[0], -4.0 / 2 * first * 0.5, 1e-14);
    assert_close(s.token_loss[2], 4.0 / 3 * last * 0.5, 1e-14);
}

static void cispo_caps_the_weight(void **state)
{
    (void)state;
    small s;
    setup_loss(&s, GRPO_LOSS_CISPO);
    s.algo.clip_epsilon_low = 0.01;
    s.algo.clip_epsilon_high = 0.03;
    run(&s);
    assert_close(s.token_loss[0], -1.03 * 0.5 * -1, 1e-14);
    assert_close(s.token_loss[2], -0.99 * -0.5 * -0.5, 1e-14);
    assert_close(s.grad[0], -1.03 * 0.5 / 3, 1e-14);
}

static void dual_clip_bounds_the_loss(void **state)
{
    (void)state;
    small s;
    setup_loss(&s, GRPO_LOSS_CLIP);
    s.algo.dual_clip = 3;
    s.logp[2] = 1.1; /* ratio e^1.5, A < 0 */
    run(&s);
    assert_close(s.token_loss[2], 1.5, 1e-14);
    assert_true(s.grad[2] == 0);
    assert_close(s.out.metrics.dual_clip, 1.0 / 3, 1e-15);
}

static void chosen_by_covariance(void **state)
{
    (void)state;
    static const size_t order[] = {2, 0, 1};
    small s;
    setup_loss(&s, GRPO_LOSS_CLIP_COV); /* covariances 1/18, -5/18, -4/9 */
    s.algo.clip_cov_ratio = 0.4;        /* one of three tokens */
    s.algo.clip_cov_lb = -10;
    s.algo.clip_cov_ub = 10;
    run(&s);
    assert_true(s.token_loss[0] == 0 && s.grad[0] == 0 && s.grad[1] != 0 && s.grad[2] != 0);
    assert_close(s.out.metrics.dropped, 1.0 / 3, 1e-15);
    s.algo.clip_cov_ub = 0;
    s.algo.clip_cov_ratio = 0.01; /* at least one */
    run(&s);
    assert_true(s.grad[0] != 0 && s.grad[1] == 0 && s.grad[2] != 0);
    s.algo.clip_cov_ub = 10;
    s.in.permutation = order;
    s.in.permutation_count = 3;
    run(&s);
    assert_true(s.grad[0] != 0 && s.grad[2] == 0);
    setup_loss(&s, GRPO_LOSS_KL_COV);
    s.algo.kl_cov_ratio = 0.4;
    s.algo.kl_cov_coef = 0.7;
    run(&s);
    assert_close(s.token_loss[0], -0.5 * exp(0.05) + 0.7 * 0.05, 1e-14);
    assert_close(s.token_loss[1], -0.5 * exp(0.02), 1e-14);
    assert_close(s.grad[0], (-0.5 * exp(0.05) + 0.7) / 3, 1e-14);
}

/* The value of the whole completion, the gradient of each token's own advantage. */
static void sequence_token_ratio(void **state)
{
    (void)state;
    small s;
    double advantage[] = {0.5, 0.25, -0.5, NAN};
    setup(&s, "dapo");
    s.algo.importance_sampling_level = GRPO_RATIO_SEQUENCE_TOKEN;
    s.in.advantage = advantage;
    s.in.advantage_per_token = 1;
    run(&s);
    assert_close(s.token_loss[1], -0.25 * exp(0.035), 1e-14);
    assert_close(s.grad[1], -0.25 * exp(0.035) / 3, 1e-14);
    setup(&s, NULL); /* one action: the mean of its tokens' advantages */
    s.in.advantage = advantage;
    s.in.advantage_per_token = 1;
    run(&s);
    assert_close(s.out.loss, -(0.375 * exp(0.07) - 0.5 * exp(-0.1)) / 2, 1e-15);
}

static void denominators(void **state)
{
    (void)state;
    small s;
    double first = -0.5 * (exp(0.05) + exp(0.02)), last = 0.5 * exp(-0.1);
    setup(&s, "drgrpo");
    s.algo.fixed_length = 8;
    run(&s);
    assert_close(s.out.loss, (first + last) / (2 * 8), 1e-15);
    s.algo.loss_aggregation = GRPO_AGG_SEQ_MEAN_TOKEN_MEAN;
    s.algo.length_epsilon = 1;
    run(&s);
    assert_close(s.out.loss, (first / 3 + last / 2) / 2, 1e-15);
    s.algo.loss_aggregation = GRPO_AGG_SEQ_MEAN_TOKEN_SUM;
    s.mask[2] = 0;
    run(&s);
    assert_close(s.out.loss, first / 2, 1e-15);
    s.algo.count_empty_rows = 0;
    run(&s);
    s.in.scale = 0.25;
    run(&s);
    assert_close(s.out.loss, first / 4, 1e-15);
    setup(&s, NULL);
    s.algo.kl_coef = 0.1; /* of one action: the sum over its tokens */
    s.algo.kl_estimator = GRPO_KL_K1;
    s.in.scale = 0.25;
    run(&s);
    assert_close(s.out.kl_loss, (0.5 + 0.02 - 0.1) / 8, 1e-15);
    assert_close(s.out.policy_loss, -(0.5 * exp(0.07) - 0.5 * exp(-0.1)) / 8, 1e-15);
}

/* ---- corners ---------------------------------------------------------------------------- */

/* exp overflows: a clipped term stays finite and has gradient 0, not infinity times 0. */
static void overflowing_ratio(void **state)
{
    (void)state;
    static const char *const presets[] = {"spec", "grpo", "gmpo"};
    for (int i = 0; i < 3; i++) {
        small s;
        setup(&s, presets[i]);
        s.algo.kl_coef = 0;
        s.algo.clip_epsilon_high = 0.2;
        s.logp[0] = 900;
        s.logp[1] = 900;
        s.advantage[1] = 0;
        run(&s);
        assert_true(isfinite(s.out.loss) && s.out.loss < 0);
        assert_true(s.grad[0] == 0 && s.grad[1] == 0);
    }
}

/* A token that the sampler did not score is no evidence of drift. */
static void unscored_tokens_keep_a_row(void **state)
{
    (void)state;
    small s;
    double sampler[] = {-1, -2, -0.4, 0};
    setup(&s, "grpo");
    s.algo.kl_coef = 0;
    s.algo.off_policy_threshold = 0.05;
    s.in.sampler_logp = sampler; /* row 1, A < 0: drift -0.4 + 0.5 = 0.1 */
    run(&s);
    assert_true(s.grad[2] == 0);
    assert_close(s.out.metrics.kept_rows, 0.5, 0);
    s.algo.loss_aggregation = GRPO_AGG_ROW_MEAN;
    s.algo.importance_sampling_level = GRPO_RATIO_SEQUENCE;
    run(&s);
    assert_true(s.grad[0] != 0 && s.grad[2] == 0);
    s.advantage[1] = 0.5; /* whatever the drift */
    run(&s);
    assert_true(s.grad[2] != 0);
    s.advantage[1] = -0.5;
    sampler[2] = NAN;
    run(&s);
    assert_true(s.grad[2] != 0);
}

static void high_entropy_tokens(void **state)
{
    (void)state;
    small s;
    setup(&s, "dapo");
    s.algo.top_entropy_quantile = 0.5; /* threshold is the median, 0.5: tokens 1 and 2 */
    s.algo.entropy_coef = 0.1;
    s.algo.entropy_aggregation = GRPO_AGG_TOKEN_MEAN;
    run(&s);
    assert_true(s.grad[0] == 0 && s.grad[1] != 0 && s.grad[2] != 0);
    assert_close(s.out.entropy_bonus, 0.6, 1e-15);
    assert_close(s.grad_entropy[1], -0.05, 1e-15);
    assert_true(s.grad_entropy[0] == 0);
}

/* Token weights of a completion enter gmpo as their geometric mean. */
static void gmpo_weights(void **state)
{
    (void)state;
    small s;
    double weight[] = {0.5, 2, 3, 1};
    setup(&s, "gmpo");
    run(&s);
    double first = s.grad[0], second = s.grad[2];
    s.in.is_weight = weight;
    run(&s);
    assert_close(s.grad[0], first, 1e-10);
    assert_close(s.grad[2], 3 * second, 1e-9);
    weight[1] = 0; /* counts as 1e-10 */
    run(&s);
    assert_close(s.grad[0], sqrt(0.5e-10) * first, 1e-12);
}

static void vespo_weight(void **state)
{
    (void)state;
    small s;
    setup(&s, "vespo");
    s.algo.vespo_lambda_pos = 0; /* counts as 1e-4 */
    run(&s);
    double w = exp(0.07), phi = exp(1e-4 + 2 * 0.07 - 1e-4 * w);
    assert_close(s.grad[0], -phi * 0.5 / 3, 1e-14);
    double negative = exp(2 - 3 * 0.1 - 2 * exp(-0.1));
    assert_close(s.grad[2], negative * 0.5 / 3, 1e-14);
    assert_close(s.out.metrics.phi_mean, (phi + negative) / 2, 1e-14);
}

/* Log ratios are clamped to +-20 a token, their sum to [log 1e-8, 20]; weights of the sampler are
 * part of it. */
static void vespo_bounds(void **state)
{
    (void)state;
    small s;
    double weight[] = {2, 1};
    setup(&s, "vespo");
    s.algo.vespo_k_pos = 0.5;
    s.logp[0] = s.old[0] - 40;
    s.logp[1] = s.old[1] + 20; /* together 0: phi = 1 */
    run(&s);
    assert_close(s.grad[0], -0.5 / 3, 1e-14);
    s.in.is_weight = weight;
    s.in.is_weight_per_row = 1;
    run(&s);
    assert_close(s.grad[0], -0.5 / 3 * exp(3 + 0.5 * log(2) - 3 * 2), 1e-14);
    s.in.is_weight = NULL;
    s.logp[1] = s.old[1];
    run(&s);
    assert_close(s.grad[0], -0.5 / 3 * exp(3 + 0.5 * log(1e-8) - 3e-8), 1e-14);
    s.algo.vespo_k_pos = 1000; /* phi overflows: the completion is left out */
    s.algo.vespo_lambda_pos = 0;
    s.logp[0] = s.old[0] + 15;
    run(&s);
    assert_true(s.grad[0] == 0 && s.grad[1] == 0);
}

static void bad_input_is_an_error(void **state)
{
    (void)state;
    small s;
    setup(&s, NULL);
    s.logp[1] = NAN;
    assert_int_equal(compute_grpo_loss(&s.algo, &s.in, &s.out, &s.err), GRPO_ERR_NUMERIC);
    assert_non_null(strstr(s.err.message, "row 0, token 1"));
    setup(&s, NULL);
    s.algo.importance_sampling_level = GRPO_RATIO_TOKEN;
    assert_int_equal(compute_grpo_loss(&s.algo, &s.in, &s.out, &s.err), GRPO_ERR_CONFIG);
    setup(&s, "grpo");
    s.in.ref_logp = NULL;
    assert_int_equal(compute_grpo_loss(&s.algo, &s.in, &s.out, &s.err), GRPO_ERR_USAGE);
    setup(&s, NULL);
    s.mask[0] = 2;
    assert_int_equal(compute_grpo_loss(&s.algo, &s.in, &s.out, &s.err), GRPO_ERR_USAGE);
}

static void empty_batch(void **state)
{
    (void)state;
    small s;
    setup(&s, "dapo");
    memset(s.mask, 0, sizeof s.mask);
    run(&s);
    assert_true(s.out.loss == 0 && s.grad[0] == 0);
    s.in.rows.count = 0;
    run(&s);
    assert_true(s.out.loss == 0);
    setup(&s, "spec");
    memset(s.mask, 0, sizeof s.mask);
    s.algo.count_empty_rows = 0; /* the mean over no row at all */
    run(&s);
    assert_true(s.out.loss == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(specification_formula),
        cmocka_unit_test(clipped_side_has_no_gradient),
        cmocka_unit_test(token_mean_by_hand),
        cmocka_unit_test(kl_of_each_kind),
        cmocka_unit_test(on_policy_is_exact),
        cmocka_unit_test(micro_batches_change_no_bit),
        cmocka_unit_test(finite_differences),
        cmocka_unit_test(sapo_temperatures),
        cmocka_unit_test(cispo_caps_the_weight),
        cmocka_unit_test(dual_clip_bounds_the_loss),
        cmocka_unit_test(chosen_by_covariance),
        cmocka_unit_test(sequence_token_ratio),
        cmocka_unit_test(denominators),
        cmocka_unit_test(overflowing_ratio),
        cmocka_unit_test(unscored_tokens_keep_a_row),
        cmocka_unit_test(high_entropy_tokens),
        cmocka_unit_test(gmpo_weights),
        cmocka_unit_test(vespo_weight),
        cmocka_unit_test(vespo_bounds),
        cmocka_unit_test(bad_input_is_an_error),
        cmocka_unit_test(empty_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
