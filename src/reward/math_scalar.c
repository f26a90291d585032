/* Equality and order of numbers and of expressions in variables.
 *
 * In this order: exact rationals; residues at two random points (equal residues prove equality up to a
 * chance of about 2^-60 that depends on no input alone; different ones prove difference when both are
 * rational functions); balls. For numbers, balls that do not meet prove difference; balls that meet
 * prove equality below the separation bound of algebraic numbers, and count as equality at
 * SURE_PRECISION bits otherwise. */
#include <string.h>

#include "reward/math_compare.h"

enum { FIRST_PRECISION = 96, SURE_PRECISION = 512, MOST_PRECISION = 6000 };

static const math_node *strip(const math_node *node)
{
    while (node->kind == MATH_QUANTITY || node->kind == MATH_DEGREES)
        node = node->args[0];
    return node;
}

static void make_fields(math_context *ctx)
{
    if (ctx->fields_ready)
        return;
    math_field_init(&ctx->fields[0], ctx->seed, &ctx->budget);
    ctx->fields[1] = ctx->fields[0];
    ctx->fields[1].seed ^= 0xA5A5A5A5F00DF00Du;
    ctx->fields_ready = 1;
}

int math_same_residue(math_context *ctx, const math_node *a, const math_node *b)
{
    make_fields(ctx);
    for (int i = 0; i < 2; i++) {
        math_field *f = &ctx->fields[i];
        f->opaque = f->undefined = 0;
        if (math_residue(f, a) != math_residue(f, b) || f->undefined)
            return 0;
    }
    return ctx->budget.left > 0;
}

int math_is_infinity(const math_node *node, int *sign)
{
    *sign = 1;
    while (node->kind == MATH_QUANTITY)
        node = node->args[0];
    if (node->kind == MATH_MUL && node->count == 2 && node->args[0]->kind == MATH_NUMBER &&
        fmpq_equal_si(node->args[0]->value, -1)) {
        *sign = -1;
        node = node->args[1];
    }
    return node->kind == MATH_CONSTANT && node->op == MATH_INFINITY;
}

static int has_constant(const math_node *node, int constant)
{
    if (node->kind == MATH_CONSTANT && node->op == constant)
        return 1;
    for (unsigned i = 0; i < node->count; i++)
        if (node->args[i] && has_constant(node->args[i], constant))
            return 1;
    return 0;
}

/* A logarithm whose base is not written. */
static int has_bare_log(const math_node *node)
{
    if (node->kind == MATH_CALL && node->op == MATH_F_LOG && node->count == 1)
        return 1;
    for (unsigned i = 0; i < node->count; i++)
        if (node->args[i] && has_bare_log(node->args[i]))
            return 1;
    return 0;
}

/* ---- balls ------------------------------------------------------------------------- */

static void point_init(math_context *ctx, math_point *point, mp_limb_t number, slong precision)
{
    make_fields(ctx);
    memset(point, 0, sizeof *point);
    point->field = ctx->fields[0];
    point->field.seed += number * 0x9E3779B97F4A7C15u;
    point->budget = &ctx->budget;
    point->precision = precision;
}

/* a - b at a point; *scale_exponent gets the binary exponent of the larger operand. */
static math_ball_status difference(math_point *point, const math_node *a, const math_node *b, acb_t out, slong *scale)
{
    acb_t x, y;
    acb_init(x);
    acb_init(y);
    math_ball_status status = math_ball(point, a, x);
    if (status == MATH_BALL_OK)
        status = math_ball(point, b, y);
    if (status == MATH_BALL_OK) {
        mag_t m, n;
        mag_init(m);
        mag_init(n);
        acb_get_mag(m, x);
        acb_get_mag(n, y);
        mag_max(m, m, n);
        *scale = mag_is_zero(m) ? 0 : fmpz_get_si(MAG_EXPREF(m));
        mag_clear(m);
        mag_clear(n);
        acb_sub(out, x, y, point->precision);
    }
    acb_clear(x);
    acb_clear(y);
    return status;
}

/* Whether |z| is surely below 2^exponent. */
static int below(const acb_t z, slong exponent)
{
    mag_t m;
    mag_init(m);
    acb_get_mag(m, z);
    int result = mag_cmp_2exp_si(m, exponent) < 0;
    mag_clear(m);
    return result;
}

/* Two numbers without variables. */
static math_answer numbers_equal(math_context *ctx, math_node *a, math_node *b)
{
    static const slong ladder[] = {FIRST_PRECISION, SURE_PRECISION};
    math_answer answer = MATH_UNKNOWN;
    math_point point;
    slong scale = 0;
    acb_t d;
    acb_init(d);
    for (int i = 0; i < 2 && answer == MATH_UNKNOWN; i++) {
        point_init(ctx, &point, 1, ladder[i]);
        math_ball_status status = difference(&point, a, b, d, &scale);
        if (status == MATH_BALL_UNKNOWN || status == MATH_BALL_BUDGET)
            break;
        if (status == MATH_BALL_UNDEFINED)
            continue;
        if (!acb_contains_zero(d)) {
            answer = MATH_NO;
            ctx->reason = "the values differ (proved by ball arithmetic)";
        } else if (i == 1 && below(d, (scale > -100 ? scale : -100) - SURE_PRECISION * 3 / 4)) {
            math_node *node = math_node_subtract(ctx->tree, a, b);
            double bits = node ? math_separation_bits(node, MOST_PRECISION) : -1;
            answer = MATH_YES;
            ctx->reason = "equal to more than 380 bits";
            if (bits > 0) {
                point_init(ctx, &point, 1, (slong)bits + scale + 64);
                status = difference(&point, a, b, d, &scale);
                if (status == MATH_BALL_OK && !acb_contains_zero(d))
                    answer = MATH_NO, ctx->reason = "the values differ (proved by ball arithmetic)";
                else if (status == MATH_BALL_OK && below(d, -(slong)bits))
                    ctx->reason = "equal (proved by a separation bound for algebraic numbers)";
            }
        }
    }
    acb_clear(d);
    return answer;
}

/* Expressions in variables: values at random points, first positive ones, then of either sign. A point
 * counts only where both sides are defined; for points with negative coordinates only where both are
 * real, so that ln x^2 and 2 ln x agree but sqrt(x^2) and x do not. */
static math_answer functions_equal(math_context *ctx, math_node *a, math_node *b)
{
    math_answer answer = MATH_UNKNOWN;
    int agreed = 0;
    acb_t x, y;
    acb_init(x);
    acb_init(y);
    for (mp_limb_t i = 0; i < 6 && answer == MATH_UNKNOWN; i++) {
        math_point point;
        point_init(ctx, &point, i + 1, 160);
        point.negative = i >= 3;
        if (math_ball(&point, a, x) != MATH_BALL_OK || math_ball(&point, b, y) != MATH_BALL_OK)
            continue;
        if (point.negative && !(acb_is_real(x) && acb_is_real(y)))
            continue;
        acb_sub(x, x, y, point.precision);
        if (!acb_contains_zero(x))
            answer = MATH_NO;
        else
            agreed += below(x, -60);
    }
    acb_clear(x);
    acb_clear(y);
    if (answer == MATH_NO)
        ctx->reason = "the expressions differ at a random point (proved by ball arithmetic)";
    else if (agreed >= 2) {
        answer = MATH_YES;
        ctx->reason = "the expressions agree at random points";
    }
    return answer;
}

/* ---- decimals ---------------------------------------------------------------------- */

static int is_literal_decimal(const math_node *node)
{
    node = strip(node);
    if (node->kind == MATH_PERCENT)
        node = node->args[0];
    return node->kind == MATH_NUMBER && (node->flags & MATH_DECIMAL) && !(node->flags & MATH_REPEATING);
}

static int places_of(const math_node *node)
{
    node = strip(node);
    return node->kind == MATH_PERCENT ? node->args[0]->places + 2 : node->places;
}

static int significant_of(const math_node *node)
{
    node = strip(node);
    return (node->kind == MATH_PERCENT ? node->args[0] : node)->significant;
}

static int has_dots(const math_node *node)
{
    node = strip(node);
    return node->kind == MATH_NUMBER && (node->flags & MATH_DOTS) != 0;
}

/* Whether the denominator has no primes but 2 and 5. */
static int is_finite_decimal(const fmpq_t q)
{
    fmpz_t d, g;
    fmpz_init_set(d, fmpq_denref(q));
    fmpz_init(g);
    if (fmpz_bits(d) > 4096)
        fmpz_zero(d);
    while (fmpz_cmp_ui(d, 1) > 0) {
        fmpz_set_ui(g, 10);
        fmpz_gcd(g, g, d);
        if (fmpz_is_one(g))
            break;
        fmpz_divexact(d, d, g);
    }
    int result = fmpz_is_one(d);
    fmpz_clear(d);
    fmpz_clear(g);
    return result;
}

int math_is_rounding(math_context *ctx, math_node *decimal, math_node *value, int least_places)
{
    if (!is_literal_decimal(decimal))
        return 0;
    int places = places_of(decimal);
    if (places > 1000 || places < least_places || significant_of(decimal) < least_places)
        return 0;
    math_point point;
    point_init(ctx, &point, 1, 128 + places * 4);
    acb_t d, v;
    arb_t unit;
    acb_init(d);
    acb_init(v);
    arb_init(unit);
    int answer = 0;
    if (math_ball(&point, decimal, d) == MATH_BALL_OK && math_ball(&point, value, v) == MATH_BALL_OK && acb_is_real(v)) {
        int negative = arb_is_negative(acb_realref(v));
        arb_set_ui(unit, 10);
        arb_pow_ui(unit, unit, (ulong)places, point.precision);
        arb_inv(unit, unit, point.precision);
        acb_sub(v, v, d, point.precision); /* value - decimal */
        if (negative)
            acb_neg(v, v);
        int cut = arb_lt(acb_realref(v), unit) && !arb_is_negative(acb_realref(v));
        arb_abs(acb_realref(v), acb_realref(v));
        arb_mul_2exp_si(acb_realref(v), acb_realref(v), 1);
        int rounded = arb_le(acb_realref(v), unit);
        answer = cut || rounded;
    }
    acb_clear(d);
    acb_clear(v);
    arb_clear(unit);
    if (answer)
        ctx->reason = "the decimal is the value rounded to its last place";
    return answer;
}

/* A decimal against a number that has no finite decimal form, or against a longer decimal. */
static math_answer decimals_equal(math_context *ctx, math_node *a, math_node *b)
{
    fmpq_t q;
    math_budget small = {100000};
    for (int turn = 0; turn < 2; turn++) {
        math_node *decimal = turn ? b : a, *value = turn ? a : b;
        if (!is_literal_decimal(decimal) || math_node_has_symbols(value))
            continue;
        fmpq_init(q);
        int finite = math_exact(value, q, &small) == MATH_EXACT && is_finite_decimal(q);
        fmpq_clear(q);
        int longer = is_literal_decimal(value) && places_of(value) > places_of(decimal);
        int dots = has_dots(decimal);
        if ((!finite || longer || dots) && math_is_rounding(ctx, decimal, value, dots ? 3 : ctx->options->decimal_places))
            return MATH_YES;
    }
    return MATH_NO;
}

/* ---- the decision ------------------------------------------------------------------ */

/* 1 when both are rational numbers and the verdict is in *answer. */
static int decide_exactly(math_context *ctx, math_node *gold, math_node *answer, math_answer *verdict)
{
    fmpq_t a, b;
    math_budget limit = {ctx->budget.left};
    int decided = 0;
    fmpq_init(a);
    fmpq_init(b);
    math_exactness first = math_exact(gold, a, &limit), second = math_exact(answer, b, &limit);
    ctx->budget = limit;
    if (second == MATH_UNDEFINED) {
        decided = 1;
        *verdict = MATH_NO;
        ctx->reason = "the answer has no value (division by zero)";
    } else if (first == MATH_EXACT && second == MATH_EXACT) {
        decided = 1;
        *verdict = fmpq_equal(a, b) ? MATH_YES : MATH_NO;
        ctx->reason = *verdict == MATH_YES ? "equal as rational numbers" : "different rational numbers";
    } else if ((first == MATH_EXACT && second == MATH_TOO_BIG) || (first == MATH_TOO_BIG && second == MATH_EXACT)) {
        decided = -1; /* balls may still tell them apart */
    }
    fmpq_clear(a);
    fmpq_clear(b);
    return decided;
}

static math_answer decide(math_context *ctx, math_node *gold, math_node *answer)
{
    int sign;
    if (math_same_residue(ctx, gold, answer)) {
        ctx->reason = "equal as expressions";
        return MATH_YES;
    }
    int undefined = ctx->fields[0].undefined, opaque = ctx->fields[0].opaque;
    make_fields(ctx);
    ctx->fields[1].opaque = 0;
    math_residue(&ctx->fields[1], gold);
    math_residue(&ctx->fields[1], answer);
    opaque |= ctx->fields[1].opaque;
    if (ctx->budget.left <= 0)
        return MATH_UNKNOWN;
    if (undefined) {
        ctx->reason = "an expression has no value (division by zero)";
        return MATH_NO;
    }
    if (math_is_infinity(gold, &sign) || math_is_infinity(answer, &sign)) {
        ctx->reason = "one of the two is infinite";
        return MATH_NO;
    }
    if (!opaque) {
        ctx->reason = "different rational functions";
        return MATH_NO;
    }
    int symbols = math_node_has_symbols(gold) || math_node_has_symbols(answer);
    return symbols ? functions_equal(ctx, gold, answer) : numbers_equal(ctx, gold, answer);
}

math_answer math_scalar_equal(math_context *ctx, math_node *gold, math_node *answer)
{
    math_answer verdict = MATH_UNKNOWN;
    int sign;
    if ((has_constant(answer, MATH_INFINITY) && !math_is_infinity(answer, &sign)) ||
        (has_constant(gold, MATH_INFINITY) && !math_is_infinity(gold, &sign))) {
        ctx->reason = "arithmetic with infinity has no value";
        return MATH_NO;
    }
    if (decide_exactly(ctx, gold, answer, &verdict) <= 0) {
        verdict = decide(ctx, gold, answer);
        if (verdict != MATH_YES && (has_bare_log(gold) || has_bare_log(answer))) { /* log may mean ln */
            ctx->fields[0].natural_log = ctx->fields[1].natural_log = 1;
            math_answer second = decide(ctx, gold, answer);
            ctx->fields[0].natural_log = ctx->fields[1].natural_log = 0;
            if (second == MATH_YES)
                verdict = MATH_YES;
        }
    }
    if (verdict != MATH_YES && !(has_constant(gold, MATH_INFINITY) || has_constant(answer, MATH_INFINITY)) &&
        decimals_equal(ctx, gold, answer) == MATH_YES)
        return MATH_YES;
    if (verdict == MATH_UNKNOWN && ctx->budget.left <= 0)
        ctx->reason = "the work budget ran out";
    else if (verdict == MATH_UNKNOWN)
        ctx->reason = "the two could not be told apart nor proved equal";
    return verdict;
}

int math_scalar_order(math_context *ctx, math_node *a, math_node *b)
{
    int sign_a, sign_b, infinite_a = math_is_infinity(a, &sign_a), infinite_b = math_is_infinity(b, &sign_b);
    if (infinite_a || infinite_b) {
        int x = infinite_a ? sign_a : 0, y = infinite_b ? sign_b : 0;
        return (x > y) - (x < y);
    }
    if (math_node_has_symbols(a) || math_node_has_symbols(b))
        return 2;
    math_answer equal = math_scalar_equal(ctx, a, b);
    if (equal == MATH_YES)
        return 0;
    math_point point;
    slong scale = 0;
    int order = 2;
    acb_t d;
    acb_init(d);
    point_init(ctx, &point, 1, SURE_PRECISION);
    if (equal == MATH_NO && difference(&point, a, b, d, &scale) == MATH_BALL_OK && acb_is_real(d))
        order = arb_is_positive(acb_realref(d)) ? 1 : arb_is_negative(acb_realref(d)) ? -1 : 2;
    acb_clear(d);
    return order;
}

/* ---- proportional expressions ------------------------------------------------------- */

/* Sign of the real ratio a/b at one point: 1, -1, or 0 when it is not known. */
static int ratio_sign(math_context *ctx, math_node *a, math_node *b)
{
    math_point point;
    acb_t x, y;
    int sign = 0;
    acb_init(x);
    acb_init(y);
    for (mp_limb_t i = 0; i < 3 && !sign; i++) {
        point_init(ctx, &point, i + 1, 160);
        if (math_ball(&point, a, x) != MATH_BALL_OK || math_ball(&point, b, y) != MATH_BALL_OK || acb_contains_zero(y))
            continue;
        acb_div(x, x, y, point.precision);
        if (arb_is_positive(acb_realref(x)))
            sign = 1;
        else if (arb_is_negative(acb_realref(x)))
            sign = -1;
    }
    acb_clear(x);
    acb_clear(y);
    return sign;
}

static int proportional_residues(math_context *ctx, const math_node *a, const math_node *b, int *opaque)
{
    make_fields(ctx);
    mp_limb_t x[2], y[2];
    *opaque = 0;
    for (int i = 0; i < 2; i++) {
        math_field *f = &ctx->fields[i];
        f->opaque = f->undefined = 0;
        x[i] = math_residue(f, a);
        y[i] = math_residue(f, b);
        *opaque |= f->opaque;
        if (f->undefined)
            return 0;
    }
    nmod_t mod = ctx->fields[0].mod;
    return x[0] && x[1] && y[0] && y[1] && nmod_mul(x[0], y[1], mod) == nmod_mul(x[1], y[0], mod);
}

/* The ratio of the two is the same ball at several points. */
static int proportional_balls(math_context *ctx, math_node *a, math_node *b)
{
    acb_t x, y, first;
    int agreed = 0, result = 2;
    acb_init(x);
    acb_init(y);
    acb_init(first);
    for (mp_limb_t i = 0; i < 4; i++) {
        math_point point;
        point_init(ctx, &point, i + 1, 160);
        if (math_ball(&point, a, x) != MATH_BALL_OK || math_ball(&point, b, y) != MATH_BALL_OK || acb_contains_zero(y))
            continue;
        acb_div(x, x, y, point.precision);
        if (!agreed)
            acb_set(first, x);
        else if (!acb_overlaps(first, x)) {
            result = 0;
            break;
        }
        agreed++;
    }
    if (result == 2 && agreed >= 3 && !acb_contains_zero(first))
        result = arb_is_positive(acb_realref(first)) ? 1 : -1;
    acb_clear(x);
    acb_clear(y);
    acb_clear(first);
    return result;
}

int math_proportional(math_context *ctx, math_node *a, math_node *b)
{
    int opaque;
    if (proportional_residues(ctx, a, b, &opaque)) {
        int sign = ratio_sign(ctx, a, b);
        return sign ? sign : 2;
    }
    return opaque ? proportional_balls(ctx, a, b) : 0;
}

int math_same_zeros(math_context *ctx, const math_node *a, const math_node *b)
{
    make_fields(ctx);
    mp_limb_t x[2], y[2];
    for (int i = 0; i < 2; i++) {
        math_field *f = &ctx->fields[i];
        f->undefined = 0;
        x[i] = math_residue_fraction(f, a).numerator;
        y[i] = math_residue_fraction(f, b).numerator;
        if (f->undefined)
            return 0;
    }
    nmod_t mod = ctx->fields[0].mod;
    return ctx->budget.left > 0 && x[0] && y[0] && nmod_mul(x[0], y[1], mod) == nmod_mul(x[1], y[0], mod);
}
