/* Complex balls (Arb): the value of an expression with a proven error. Symbols stand for random real
 * numbers; parts that cannot be evaluated (unknown functions, integrals) for random numbers that
 * depend on their structure. */
#include <math.h>
#include <string.h>

#include "reward/math_value.h"

static int spend(math_point *point, double operations)
{
    double limbs = (double)point->precision / 64 + 1;
    return math_spend(point->budget, operations * (60 + 10 * limbs * limbs));
}

/* A random number between 1/4 and 5/4 from a residue key; its sign too where the point has negatives. */
static void random_real(math_point *point, acb_t out, mp_limb_t key)
{
    slong n = (slong)(key % 1048573) + 262144;
    acb_set_si(out, point->negative && key & (UWORD(1) << 40) ? -n : n);
    acb_mul_2exp_si(out, out, -20);
}

static math_ball_status opaque(math_point *point, const math_node *node, acb_t out)
{
    random_real(point, out, math_residue(&point->field, node));
    return MATH_BALL_OK;
}

static math_ball_status ball_symbol(math_point *point, const math_node *node, acb_t out)
{
    const char *name = node->kind == MATH_CONSTANT ? (node->op == MATH_I ? "i" : "e") : node->name;
    for (int i = point->bound_count; i-- > 0;)
        if (strcmp(point->bound[i].name, name) == 0 && node->count == 0) {
            acb_set_si(out, point->bound[i].value);
            return MATH_BALL_OK;
        }
    if (node->kind == MATH_SYMBOL && strcmp(name, "...") != 0)
        return opaque(point, node, out);
    return MATH_BALL_UNKNOWN;
}

static math_ball_status ball_constant(math_point *point, const math_node *node, acb_t out)
{
    if (point->bound_count && (node->op == MATH_I || node->op == MATH_E) &&
        ball_symbol(point, node, out) == MATH_BALL_OK)
        return MATH_BALL_OK;
    switch (node->op) {
    case MATH_PI: acb_const_pi(out, point->precision); return MATH_BALL_OK;
    case MATH_E:
        acb_zero(out);
        arb_const_e(acb_realref(out), point->precision);
        return MATH_BALL_OK;
    case MATH_I: acb_onei(out); return MATH_BALL_OK;
    default: return MATH_BALL_UNKNOWN;
    }
}

/* Magnitudes beyond 2^(2^40) are refused before a function makes their exponents explode. */
static int too_large(const acb_t z)
{
    mag_t m;
    mag_init(m);
    acb_get_mag(m, z);
    int large = mag_is_inf(m) || fmpz_cmp_si(MAG_EXPREF(m), WORD(1) << 40) > 0;
    mag_clear(m);
    return large;
}

static math_ball_status check(const acb_t z)
{
    if (!acb_is_finite(z))
        return MATH_BALL_UNDEFINED;
    return too_large(z) ? MATH_BALL_BUDGET : MATH_BALL_OK;
}

static math_ball_status ball_fold(math_point *point, const math_node *node, acb_t out)
{
    acb_t x;
    math_ball_status status = MATH_BALL_OK;
    acb_init(x);
    acb_set_si(out, node->kind == MATH_ADD ? 0 : 1);
    for (unsigned i = 0; i < node->count && status == MATH_BALL_OK; i++) {
        status = math_ball(point, node->args[i], x);
        if (node->kind == MATH_ADD)
            acb_add(out, out, x, point->precision);
        else
            acb_mul(out, out, x, point->precision);
    }
    acb_clear(x);
    return status == MATH_BALL_OK ? check(out) : status;
}

/* |exponent * log base| must stay small enough for the power to be formed. */
static int power_is_feasible(const acb_t base, const acb_t exponent)
{
    mag_t b, e;
    mag_init(b);
    mag_init(e);
    acb_get_mag(b, base);
    acb_get_mag(e, exponent);
    int ok = !mag_is_inf(b) && !mag_is_inf(e) && mag_cmp_2exp_si(e, 32) < 0;
    mag_clear(b);
    mag_clear(e);
    return ok;
}

static math_ball_status ball_power(math_point *point, const math_node *node, acb_t out)
{
    acb_t base, exponent;
    fmpq_t e;
    acb_init(base);
    acb_init(exponent);
    fmpq_init(e);
    math_ball_status status = math_ball(point, node->args[0], base);
    math_budget small = {20000};
    int rational = status == MATH_BALL_OK && math_exact(node->args[1], e, &small) == MATH_EXACT;
    if (status == MATH_BALL_OK && rational && fmpz_is_one(fmpq_denref(e)) && fmpz_bits(fmpq_numref(e)) <= 32) {
        if (!spend(point, 60))
            status = MATH_BALL_BUDGET;
        else if (fmpz_sgn(fmpq_numref(e)) < 0 && acb_contains_zero(base))
            status = MATH_BALL_UNDEFINED;
        else
            acb_pow_fmpz(out, base, fmpq_numref(e), point->precision);
    } else if (status == MATH_BALL_OK) {
        status = math_ball(point, node->args[1], exponent);
        if (status == MATH_BALL_OK && acb_contains_zero(base) && !(acb_is_zero(base) && arb_is_positive(acb_realref(exponent))))
            status = MATH_BALL_UNDEFINED;
        if (status == MATH_BALL_OK && (!power_is_feasible(base, exponent) || !spend(point, 100)))
            status = MATH_BALL_BUDGET;
        if (status == MATH_BALL_OK)
            acb_pow(out, base, exponent, point->precision);
    }
    if (status == MATH_BALL_OK)
        status = check(out);
    fmpq_clear(e);
    acb_clear(base);
    acb_clear(exponent);
    return status;
}

/* The n-th root: real for real numbers where there is one, else the principal one. */
static math_ball_status ball_root(math_point *point, const acb_t a, const math_node *index, acb_t out)
{
    slong precision = point->precision;
    ulong n = 0;
    if (index->kind == MATH_NUMBER && fmpz_is_one(fmpq_denref(index->value)) && fmpz_sgn(fmpq_numref(index->value)) > 0 &&
        fmpz_cmp_si(fmpq_numref(index->value), 1000) < 0)
        n = fmpz_get_ui(fmpq_numref(index->value));
    if (n == 0) {
        acb_t e;
        acb_init(e);
        math_ball_status status = math_ball(point, index, e);
        if (status == MATH_BALL_OK && (acb_contains_zero(e) || acb_contains_zero(a)))
            status = MATH_BALL_UNDEFINED;
        if (status == MATH_BALL_OK) {
            acb_inv(e, e, precision);
            if (power_is_feasible(a, e))
                acb_pow(out, a, e, precision);
            else
                status = MATH_BALL_BUDGET;
        }
        acb_clear(e);
        return status;
    }
    if (acb_is_real(a) && n % 2 == 1 && arb_is_negative(acb_realref(a))) {
        acb_neg(out, a);
        arb_root_ui(acb_realref(out), acb_realref(out), n, precision);
        acb_neg(out, out);
    } else if (n == 2) {
        acb_sqrt(out, a, precision);
    } else {
        acb_root_ui(out, a, n, precision);
    }
    return MATH_BALL_OK;
}

/* floor and ceiling are known when no integer lies inside the ball. */
static math_ball_status ball_floor(math_point *point, const acb_t a, int up, acb_t out)
{
    if (!acb_is_real(a) || mag_cmp_2exp_si(arb_radref(acb_realref(a)), 0) >= 0)
        return MATH_BALL_UNKNOWN;
    if (up)
        arb_ceil(acb_realref(out), acb_realref(a), point->precision);
    else
        arb_floor(acb_realref(out), acb_realref(a), point->precision);
    arb_zero(acb_imagref(out));
    return acb_is_exact(out) ? MATH_BALL_OK : MATH_BALL_UNKNOWN;
}

static math_ball_status ball_abs(math_point *point, const acb_t a, acb_t out)
{
    arb_t r;
    arb_init(r);
    acb_abs(r, a, point->precision);
    acb_set_arb(out, r);
    arb_clear(r);
    return MATH_BALL_OK;
}

static math_ball_status ball_factorial(math_point *point, const acb_t a, acb_t out)
{
    if (!acb_is_real(a) || arf_cmpabs_2exp_si(arb_midref(acb_realref(a)), 16) > 0)
        return MATH_BALL_BUDGET;
    acb_add_ui(out, a, 1, point->precision);
    acb_gamma(out, out, point->precision);
    return MATH_BALL_OK;
}

static math_ball_status ball_part(math_function f, const acb_t a, slong precision, acb_t out)
{
    if (f == MATH_F_CONJ) {
        acb_conj(out, a);
        return MATH_BALL_OK;
    }
    arb_t r;
    arb_init(r);
    if (f == MATH_F_RE)
        arb_set(r, acb_realref(a));
    else if (f == MATH_F_IM)
        arb_set(r, acb_imagref(a));
    else
        acb_arg(r, a, precision);
    acb_set_arb(out, r);
    arb_clear(r);
    return MATH_BALL_OK;
}

static math_ball_status ball_trigonometric(math_function f, const acb_t a, slong precision, acb_t out)
{
    if (acb_is_real(a) && arf_cmpabs_2exp_si(arb_midref(acb_realref(a)), 100) > 0)
        return MATH_BALL_BUDGET;
    if (!acb_is_real(a) && (arf_cmpabs_2exp_si(arb_midref(acb_realref(a)), 30) > 0 || arf_cmpabs_2exp_si(arb_midref(acb_imagref(a)), 30) > 0))
        return MATH_BALL_BUDGET;
    switch (f) {
    case MATH_F_SIN: acb_sin(out, a, precision); break;
    case MATH_F_COS: acb_cos(out, a, precision); break;
    case MATH_F_TAN: acb_tan(out, a, precision); break;
    case MATH_F_COT: acb_cot(out, a, precision); break;
    case MATH_F_SEC: acb_sec(out, a, precision); break;
    case MATH_F_CSC: acb_csc(out, a, precision); break;
    default: return MATH_BALL_UNKNOWN;
    }
    return MATH_BALL_OK;
}

static math_ball_status ball_inverse(math_function f, const acb_t a, slong precision, acb_t out)
{
    acb_t b;
    acb_init(b);
    acb_set(b, a);
    if (f == MATH_F_ASEC || f == MATH_F_ACSC || f == MATH_F_ACOT) {
        if (acb_contains_zero(a) && f != MATH_F_ACOT) {
            acb_clear(b);
            return MATH_BALL_UNDEFINED;
        }
        if (f != MATH_F_ACOT)
            acb_inv(b, a, precision);
    }
    switch (f) {
    case MATH_F_ASIN: case MATH_F_ACSC: acb_asin(out, b, precision); break;
    case MATH_F_ACOS: case MATH_F_ASEC: acb_acos(out, b, precision); break;
    case MATH_F_ATAN: acb_atan(out, b, precision); break;
    default: /* arccot x = pi/2 - arctan x */
        acb_atan(b, b, precision);
        acb_const_pi(out, precision);
        acb_mul_2exp_si(out, out, -1);
        acb_sub(out, out, b, precision);
        break;
    }
    acb_clear(b);
    return MATH_BALL_OK;
}

static math_ball_status ball_hyperbolic(math_function f, const acb_t a, slong precision, acb_t out)
{
    mag_t m;
    mag_init(m);
    acb_get_mag(m, a);
    int large = mag_cmp_2exp_si(m, 32) >= 0;
    mag_clear(m);
    if (large)
        return MATH_BALL_BUDGET;
    switch (f) {
    case MATH_F_SINH: acb_sinh(out, a, precision); break;
    case MATH_F_COSH: acb_cosh(out, a, precision); break;
    case MATH_F_TANH: acb_tanh(out, a, precision); break;
    case MATH_F_COTH: acb_coth(out, a, precision); break;
    default: acb_exp(out, a, precision); break;
    }
    return MATH_BALL_OK;
}

static math_ball_status ball_log(math_point *point, const math_node *node, const acb_t a, acb_t out)
{
    acb_t b;
    math_ball_status status = MATH_BALL_OK;
    if (acb_contains_zero(a))
        return MATH_BALL_UNDEFINED;
    acb_log(out, a, point->precision);
    if (node->op == MATH_F_LN || (node->count == 1 && point->field.natural_log))
        return MATH_BALL_OK;
    acb_init(b);
    if (node->count == 2)
        status = math_ball(point, node->args[1], b);
    else
        acb_set_ui(b, 10);
    if (status == MATH_BALL_OK && acb_contains_zero(b))
        status = MATH_BALL_UNDEFINED;
    if (status == MATH_BALL_OK) {
        acb_log(b, b, point->precision);
        if (acb_contains_zero(b))
            status = MATH_BALL_UNDEFINED;
        else
            acb_div(out, out, b, point->precision);
    }
    acb_clear(b);
    return status;
}

/* min and max of real numbers, when the balls can be told apart. */
static math_ball_status ball_extremum(math_point *point, const math_node *node, const acb_t first, acb_t out)
{
    acb_t x;
    math_ball_status status = acb_is_real(first) ? MATH_BALL_OK : MATH_BALL_UNDEFINED;
    acb_init(x);
    acb_set(out, first);
    for (unsigned i = 1; i < node->count && status == MATH_BALL_OK; i++) {
        status = math_ball(point, node->args[i], x);
        if (status != MATH_BALL_OK || !acb_is_real(x))
            continue;
        if (node->op == MATH_F_MIN)
            arb_min(acb_realref(out), acb_realref(out), acb_realref(x), point->precision);
        else
            arb_max(acb_realref(out), acb_realref(out), acb_realref(x), point->precision);
    }
    acb_clear(x);
    return status;
}

static math_ball_status apply(math_point *point, const math_node *node, const acb_t a, acb_t out)
{
    math_function f = node->op;
    slong precision = point->precision;
    if (f <= MATH_F_CSC)
        return ball_trigonometric(f, a, precision, out);
    if (f <= MATH_F_ACSC)
        return ball_inverse(f, a, precision, out);
    if (f <= MATH_F_COTH || f == MATH_F_EXP)
        return ball_hyperbolic(f, a, precision, out);
    switch (f) {
    case MATH_F_LN: case MATH_F_LOG: return ball_log(point, node, a, out);
    case MATH_F_ROOT: return ball_root(point, a, node->args[1], out);
    case MATH_F_ABS: return ball_abs(point, a, out);
    case MATH_F_FLOOR: return ball_floor(point, a, 0, out);
    case MATH_F_CEIL: return ball_floor(point, a, 1, out);
    case MATH_F_FACT: return ball_factorial(point, a, out);
    case MATH_F_RE: case MATH_F_IM: case MATH_F_CONJ: case MATH_F_ARG: return ball_part(f, a, precision, out);
    case MATH_F_MIN: case MATH_F_MAX: return ball_extremum(point, node, a, out);
    default: return opaque(point, node, out);
    }
}

static math_ball_status ball_call(math_point *point, const math_node *node, acb_t out)
{
    acb_t a;
    int degrees = point->degrees;
    if (!spend(point, 100))
        return MATH_BALL_BUDGET;
    acb_init(a);
    point->degrees = degrees || node->op <= MATH_F_CSC;
    math_ball_status status = math_ball(point, node->args[0], a);
    point->degrees = degrees;
    if (status == MATH_BALL_OK)
        status = apply(point, node, a, out);
    if (status == MATH_BALL_OK)
        status = check(out);
    acb_clear(a);
    return status;
}

/* A finite sum or product over integers, term by term; anything else is a part of its own. */
static math_ball_status ball_big(math_point *point, const math_node *node, acb_t out)
{
    fmpq_t low, high;
    const math_node *variable = node->args[1];
    const char *name = !variable ? NULL : variable->kind == MATH_SYMBOL && !variable->count ? variable->name
                                        : variable->kind == MATH_CONSTANT && variable->op == MATH_I ? "i" : NULL;
    if ((node->op != MATH_SUM && node->op != MATH_PRODUCT) || !name || !node->args[2] || !node->args[3] ||
        point->bound_count >= 4)
        return opaque(point, node, out);
    fmpq_init(low);
    fmpq_init(high);
    math_budget small = {20000};
    int finite = math_exact(node->args[2], low, &small) == MATH_EXACT && math_exact(node->args[3], high, &small) == MATH_EXACT &&
                 fmpz_is_one(fmpq_denref(low)) && fmpz_is_one(fmpq_denref(high)) && fmpz_bits(fmpq_numref(low)) < 30 && fmpz_bits(fmpq_numref(high)) < 30;
    long first = finite ? fmpz_get_si(fmpq_numref(low)) : 0, last = finite ? fmpz_get_si(fmpq_numref(high)) : 0;
    fmpq_clear(low);
    fmpq_clear(high);
    if (!finite)
        return opaque(point, node, out);
    acb_t term;
    acb_init(term);
    acb_set_si(out, node->op == MATH_SUM ? 0 : 1);
    math_ball_status status = MATH_BALL_OK;
    int slot = point->bound_count++;
    for (long k = first; k <= last && status == MATH_BALL_OK; k++) {
        point->bound[slot].name = name;
        point->bound[slot].value = k;
        status = math_ball(point, node->args[0], term);
        if (node->op == MATH_SUM)
            acb_add(out, out, term, point->precision);
        else
            acb_mul(out, out, term, point->precision);
    }
    point->bound_count--;
    acb_clear(term);
    return status == MATH_BALL_OK ? check(out) : status;
}

static math_ball_status ball_degrees(math_point *point, const math_node *node, acb_t out)
{
    math_ball_status status = math_ball(point, node->args[0], out);
    if (status == MATH_BALL_OK && point->degrees) {
        arb_t unit;
        arb_init(unit);
        arb_const_pi(unit, point->precision);
        arb_div_ui(unit, unit, 180, point->precision);
        acb_mul_arb(out, out, unit, point->precision);
        arb_clear(unit);
    }
    return status;
}

math_ball_status math_ball(math_point *point, const math_node *node, acb_t out)
{
    if (!spend(point, 1))
        return MATH_BALL_BUDGET;
    switch (node->kind) {
    case MATH_NUMBER:
        arb_set_fmpq(acb_realref(out), node->value, point->precision);
        arb_zero(acb_imagref(out));
        return MATH_BALL_OK;
    case MATH_SYMBOL: return ball_symbol(point, node, out);
    case MATH_CONSTANT: return ball_constant(point, node, out);
    case MATH_ADD: case MATH_MUL: return ball_fold(point, node, out);
    case MATH_POW: return ball_power(point, node, out);
    case MATH_CALL: return ball_call(point, node, out);
    case MATH_APPLY: return opaque(point, node, out);
    case MATH_QUANTITY: return math_ball(point, node->args[0], out);
    case MATH_DEGREES: return ball_degrees(point, node, out);
    case MATH_PERCENT: {
        math_ball_status status = math_ball(point, node->args[0], out);
        if (status == MATH_BALL_OK)
            acb_div_ui(out, out, 100, point->precision);
        return status;
    }
    case MATH_BIG: return ball_big(point, node, out);
    default: return MATH_BALL_UNKNOWN;
    }
}
