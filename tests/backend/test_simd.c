/* exp and log: accuracy against libm, special values, the same bits on every instruction set. */
#define _GNU_SOURCE /* setenv */
#include "kernels.h"

static double ulps(float got, double want)
{
    int e;
    frexp(want, &e);
    return fabs((double)got - want) / ldexp(1.0, e - 24);
}

static float from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint32_t to_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static void exp_is_accurate(void **state)
{
    (void)state;
    double worst = 0;
    uint64_t fp = pool_fp_enter();
    for (uint32_t i = 0; i < 4000000; i++) {
        float x = -87.33654f + (float)i * (175.0f / 4000000);
        float got = ref_exp(x);
        if (x < 88.72f)
            worst = fmax(worst, ulps(got, exp((double)x)));
    }
    for (uint32_t b = 0; b < 0x3f800000u; b += 997) /* small arguments of both signs */
        for (int s = 0; s < 2; s++) {
            float x = from_bits(b | (uint32_t)s << 31);
            worst = fmax(worst, ulps(ref_exp(x), exp((double)x)));
        }
    pool_fp_leave(fp);
    print_message("exp: at most %.3f ulp\n", worst);
    assert_true(worst < 1.1);
}

static void log_is_accurate(void **state)
{
    (void)state;
    double worst = 0;
    uint64_t fp = pool_fp_enter();
    for (uint32_t b = 0x00800000u; b < 0x7f800000u; b += 499) {
        float x = from_bits(b);
        worst = fmax(worst, ulps(ref_log(x), log((double)x)));
    }
    for (uint32_t b = 0x3f000000u; b < 0x40000000u; b += 7) {
        float x = from_bits(b);
        if (x != 1.0f)
            worst = fmax(worst, ulps(ref_log(x), log((double)x)));
    }
    pool_fp_leave(fp);
    print_message("log: at most %.3f ulp\n", worst);
    assert_true(worst < 1.5);
}

static void special_values(void **state)
{
    (void)state;
    for_each_isa(isa) {
        assert_int_equal(to_bits(ops_exp(-INFINITY)), 0);
        assert_int_equal(to_bits(ops_exp(-87.4f)), 0);
        assert_int_equal(to_bits(ops_exp(-1e30f)), 0);
        assert_true(ops_exp(-87.33f) >= 0x1p-126f);
        assert_true(ops_exp(0.0f) == 1.0f && ops_exp(-0.0f) == 1.0f);
        assert_true(ops_exp(INFINITY) == INFINITY && ops_exp(89.5f) == INFINITY);
        assert_true(isfinite(ops_exp(88.7f)));
        assert_true(isnan(ops_exp(NAN)));
        assert_true(ops_log(0.0f) == -INFINITY && ops_log(-0.0f) == -INFINITY);
        assert_true(ops_log(1e-40f) == -INFINITY); /* denormals count as zero */
        assert_true(ops_log(INFINITY) == INFINITY);
        assert_true(isnan(ops_log(-1.0f)) && isnan(ops_log(-INFINITY)) && isnan(ops_log(NAN)));
        assert_int_equal(to_bits(ops_log(1.0f)), 0);
    }
}

static void same_bits_everywhere(void **state)
{
    (void)state;
    uint32_t seed = 7;
    for (int i = 0; i < 20000; i++) {
        uint32_t bits = kernels_next(&seed);
        float x = i % 2 ? from_bits(bits) : ((float)(int32_t)bits) * 0x1p-24f;
        if (isnan(x))
            continue;
        uint64_t fp = pool_fp_enter();
        float e = ref_exp(x), l = ref_log(x);
        pool_fp_leave(fp);
        for_each_isa(isa) {
            float ge = ops_exp(x), gl = ops_log(x);
            if (to_bits(ge) != to_bits(e))
                fail_msg("exp(%a) is %a, should be %a, %s", (double)x, (double)ge, (double)e, isa);
            if (to_bits(gl) != to_bits(l) && !(isnan(gl) && isnan(l)))
                fail_msg("log(%a) is %a, should be %a, %s", (double)x, (double)gl, (double)l, isa);
        }
    }
}

static void unknown_sets_are_refused(void **state)
{
    (void)state;
    const char *before = ops_isa();
    assert_int_equal(ops_select_isa("sse"), -1);
    assert_string_equal(ops_isa(), before);
    grpo_error err;
    setenv("GRPO_ISA", "sse", 1);
    assert_int_equal(ops_check(&err), GRPO_ERR_CONFIG);
    assert_non_null(strstr(err.message, "portable"));
    setenv("GRPO_ISA", "portable", 1);
    assert_int_equal(ops_check(&err), GRPO_OK);
    unsetenv("GRPO_ISA");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_accurate),      cmocka_unit_test(log_is_accurate),
        cmocka_unit_test(special_values),       cmocka_unit_test(same_bits_everywhere),
        cmocka_unit_test(unknown_sets_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
