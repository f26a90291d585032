/* Exact rational values. */
#include "reward/math_value.h"

int math_spend(math_budget *budget, double work)
{
    budget->left -= work;
    return budget->left > 0;
}

static math_exactness exact_call(const math_node *node, fmpq_t out, math_budget *budget);

static int too_big(const fmpq_t q)
{
    return fmpz_bits(fmpq_numref(q)) > MATH_MAX_BITS || fmpz_bits(fmpq_denref(q)) > MATH_MAX_BITS;
}

static double size_of(const fmpq_t q)
{
    return (double)(fmpz_bits(fmpq_numref(q)) + fmpz_bits(fmpq_denref(q)));
}

/* a^(1/n) for a >= 0, or for a < 0 and odd n (the real root). */
static math_exactness exact_root(fmpq_t out, const fmpq_t a, const fmpz_t n)
{
    if (fmpz_sgn(n) <= 0 || fmpz_cmp_si(n, 64) > 0)
        return MATH_NOT_RATIONAL;
    slong k = fmpz_get_si(n);
    int negative = fmpq_sgn(a) < 0;
    if (negative && k % 2 == 0)
        return MATH_NOT_RATIONAL;
    fmpq_t b;
    fmpq_init(b);
    fmpq_abs(b, a);
    int ok = fmpz_root(fmpq_numref(b), fmpq_numref(b), k) && fmpz_root(fmpq_denref(b), fmpq_denref(b), k);
    if (ok && negative)
        fmpq_neg(out, b);
    else if (ok)
        fmpq_set(out, b);
    fmpq_clear(b);
    return ok ? MATH_EXACT : MATH_NOT_RATIONAL;
}

static math_exactness exact_power(fmpq_t out, const fmpq_t base, const fmpq_t exponent, math_budget *budget)
{
    if (fmpq_is_zero(exponent)) {
        fmpq_one(out);
        return MATH_EXACT;
    }
    if (fmpq_is_zero(base)) {
        fmpq_zero(out);
        return fmpq_sgn(exponent) < 0 ? MATH_UNDEFINED : MATH_EXACT;
    }
    if (fmpq_is_one(base)) {
        fmpq_one(out);
        return MATH_EXACT;
    }
    fmpq_t root;
    fmpq_init(root);
    fmpq_set(root, base);
    math_exactness status = MATH_EXACT;
    if (!fmpz_is_one(fmpq_denref(exponent)))
        status = fmpq_sgn(base) < 0 ? MATH_NOT_RATIONAL : exact_root(root, base, fmpq_denref(exponent));
    if (status == MATH_EXACT && !fmpz_fits_si(fmpq_numref(exponent)))
        status = fmpz_is_pm1(fmpq_numref(root)) && fmpz_is_one(fmpq_denref(root)) ? MATH_NOT_RATIONAL : MATH_TOO_BIG;
    if (status == MATH_EXACT) {
        slong e = fmpz_get_si(fmpq_numref(exponent));
        double bits = (double)fmpz_bits(fmpq_numref(root)) + (double)fmpz_bits(fmpq_denref(root)) - 1;
        double size = bits * (e < 0 ? -(double)e : (double)e);
        int unit = fmpz_is_pm1(fmpq_numref(root)) && fmpz_is_one(fmpq_denref(root));
        if (!unit && size > MATH_MAX_BITS)
            status = MATH_TOO_BIG;
        else if (unit)
            fmpq_set_si(out, fmpz_sgn(fmpq_numref(root)) < 0 && e % 2 ? -1 : 1, 1);
        else if (!math_spend(budget, size))
            status = MATH_TOO_BIG;
        else
            fmpq_pow_si(out, root, e);
    }
    fmpq_clear(root);
    return status;
}

static math_exactness exact_fold(const math_node *node, fmpq_t out, math_budget *budget)
{
    fmpq_t x;
    math_exactness status = MATH_EXACT;
    fmpq_init(x);
    if (node->kind == MATH_ADD)
        fmpq_zero(out);
    else
        fmpq_one(out);
    for (unsigned i = 0; i < node->count && status == MATH_EXACT; i++) {
        status = math_exact(node->args[i], x, budget);
        if (status != MATH_EXACT)
            break;
        if (node->kind == MATH_ADD)
            fmpq_add(out, out, x);
        else
            fmpq_mul(out, out, x);
        double size = size_of(out);
        if (!math_spend(budget, 20 + size * (1 + size / 20000)) || too_big(out))
            status = MATH_TOO_BIG;
    }
    fmpq_clear(x);
    return status;
}

math_exactness math_exact(const math_node *node, fmpq_t out, math_budget *budget)
{
    if (!math_spend(budget, 10))
        return MATH_TOO_BIG;
    switch (node->kind) {
    case MATH_NUMBER: fmpq_set(out, node->value); return MATH_EXACT;
    case MATH_ADD: case MATH_MUL: return exact_fold(node, out, budget);
    case MATH_DEGREES: case MATH_QUANTITY: return math_exact(node->args[0], out, budget);
    case MATH_PERCENT: {
        math_exactness status = math_exact(node->args[0], out, budget);
        if (status == MATH_EXACT)
            fmpq_div_fmpz(out, out, (fmpz[1]){100});
        return status;
    }
    case MATH_POW: {
        fmpq_t base, exponent;
        fmpq_init(base);
        fmpq_init(exponent);
        math_exactness status = math_exact(node->args[0], base, budget);
        if (status == MATH_EXACT)
            status = math_exact(node->args[1], exponent, budget);
        if (status == MATH_EXACT)
            status = exact_power(out, base, exponent, budget);
        fmpq_clear(base);
        fmpq_clear(exponent);
        return status;
    }
    case MATH_CALL: return exact_call(node, out, budget);
    default: return MATH_NOT_RATIONAL;
    }
}

/* ---- functions --------------------------------------------------------------------- */

static int is_integer(const fmpq_t q)
{
    return fmpz_is_one(fmpq_denref(q));
}

static void floor_of(fmpq_t out, const fmpq_t a)
{
    fmpz_fdiv_q(fmpq_numref(out), fmpq_numref(a), fmpq_denref(a));
    fmpz_one(fmpq_denref(out));
}

static math_exactness exact_factorial(fmpq_t out, const fmpq_t a, int twice, math_budget *budget)
{
    if (!is_integer(a) || fmpq_sgn(a) < 0)
        return is_integer(a) ? MATH_UNDEFINED : MATH_NOT_RATIONAL;
    if (fmpz_cmp_ui(fmpq_numref(a), 5000) > 0 || !math_spend(budget, 40000))
        return MATH_TOO_BIG;
    ulong n = fmpz_get_ui(fmpq_numref(a));
    if (!twice) {
        fmpz_fac_ui(fmpq_numref(out), n);
    } else {
        fmpz_one(fmpq_numref(out));
        for (ulong k = n; k > 1 && k <= n; k -= 2)
            fmpz_mul_ui(fmpq_numref(out), fmpq_numref(out), k);
    }
    fmpz_one(fmpq_denref(out));
    return MATH_EXACT;
}

/* n over k; with `ordered` the number of ordered choices. */
static math_exactness exact_binomial(fmpq_t out, const fmpq_t n, const fmpq_t k, int ordered, math_budget *budget)
{
    if (!is_integer(n) || !is_integer(k) || fmpq_sgn(n) < 0 || fmpq_sgn(k) < 0)
        return MATH_NOT_RATIONAL;
    if (fmpz_cmp_ui(fmpq_numref(n), 20000) > 0 || !math_spend(budget, 40000))
        return MATH_TOO_BIG;
    ulong m = fmpz_get_ui(fmpq_numref(n));
    if (fmpz_cmp_ui(fmpq_numref(k), m) > 0) {
        fmpq_zero(out);
        return MATH_EXACT;
    }
    ulong j = fmpz_get_ui(fmpq_numref(k));
    if (ordered && j > 5000)
        return MATH_TOO_BIG;
    fmpz_bin_uiui(fmpq_numref(out), m, j);
    fmpz_one(fmpq_denref(out));
    if (ordered) {
        fmpz_t f;
        fmpz_init(f);
        fmpz_fac_ui(f, j);
        fmpz_mul(fmpq_numref(out), fmpq_numref(out), f);
        fmpz_clear(f);
    }
    return MATH_EXACT;
}

static math_exactness exact_modulus(fmpq_t out, const fmpq_t a, const fmpq_t b)
{
    if (fmpq_is_zero(b))
        return MATH_UNDEFINED;
    fmpq_t q;
    fmpq_init(q);
    fmpq_div(q, a, b);
    floor_of(q, q);
    fmpq_mul(q, q, b);
    fmpq_sub(out, a, q);
    fmpq_clear(q);
    return MATH_EXACT;
}

/* log_b a when it is an integer. */
static math_exactness exact_log(fmpq_t out, const fmpq_t a, const fmpq_t b)
{
    if (fmpq_sgn(a) <= 0 || fmpq_sgn(b) <= 0 || fmpq_is_one(b))
        return MATH_UNDEFINED;
    fmpq_t x, base;
    slong sign = 1, n = 0;
    fmpq_init(x);
    fmpq_init(base);
    fmpq_set(x, a);
    fmpq_set(base, b);
    if (fmpz_cmp(fmpq_numref(base), fmpq_denref(base)) < 0) {
        fmpq_inv(base, base);
        sign = -sign;
    }
    if (fmpz_cmp(fmpq_numref(x), fmpq_denref(x)) < 0) {
        fmpq_inv(x, x);
        sign = -sign;
    }
    while (n < 400 && fmpz_cmp(fmpq_numref(x), fmpq_denref(x)) > 0) {
        fmpq_div(x, x, base);
        n++;
    }
    int exact = fmpq_is_one(x);
    if (exact)
        fmpq_set_si(out, sign * n, 1);
    fmpq_clear(x);
    fmpq_clear(base);
    return exact ? MATH_EXACT : MATH_NOT_RATIONAL;
}

/* Folds gcd, lcm, min, max: out = f(out, x). */
static math_exactness fold_call(math_function f, fmpq_t out, const fmpq_t x)
{
    if (f == MATH_F_MIN || f == MATH_F_MAX) {
        if ((fmpq_cmp(x, out) < 0) == (f == MATH_F_MIN))
            fmpq_set(out, x);
        return MATH_EXACT;
    }
    if (!is_integer(out) || !is_integer(x))
        return MATH_NOT_RATIONAL;
    if (f == MATH_F_GCD)
        fmpz_gcd(fmpq_numref(out), fmpq_numref(out), fmpq_numref(x));
    else
        fmpz_lcm(fmpq_numref(out), fmpq_numref(out), fmpq_numref(x));
    return MATH_EXACT;
}

static math_exactness exact_two(const math_node *node, fmpq_t out, const fmpq_t a, math_budget *budget)
{
    fmpq_t b;
    fmpq_init(b);
    math_exactness status = MATH_NOT_RATIONAL;
    if (node->count == 2)
        status = math_exact(node->args[1], b, budget);
    if (status == MATH_EXACT) {
        switch (node->op) {
        case MATH_F_ROOT: status = is_integer(b) ? exact_root(out, a, fmpq_numref(b)) : MATH_NOT_RATIONAL; break;
        case MATH_F_BINOM: status = exact_binomial(out, a, b, 0, budget); break;
        case MATH_F_PERM: status = exact_binomial(out, a, b, 1, budget); break;
        case MATH_F_MOD: status = exact_modulus(out, a, b); break;
        case MATH_F_LOG: status = exact_log(out, a, b); break;
        default: status = MATH_NOT_RATIONAL; break;
        }
    }
    fmpq_clear(b);
    return status;
}

static math_exactness exact_one(const math_node *node, fmpq_t out, const fmpq_t a, math_budget *budget)
{
    switch (node->op) {
    case MATH_F_ABS: fmpq_abs(out, a); return MATH_EXACT;
    case MATH_F_SGN: fmpq_set_si(out, fmpq_sgn(a), 1); return MATH_EXACT;
    case MATH_F_RE: case MATH_F_CONJ: fmpq_set(out, a); return MATH_EXACT;
    case MATH_F_IM: fmpq_zero(out); return MATH_EXACT;
    case MATH_F_FLOOR: floor_of(out, a); return MATH_EXACT;
    case MATH_F_CEIL:
        fmpz_cdiv_q(fmpq_numref(out), fmpq_numref(a), fmpq_denref(a));
        fmpz_one(fmpq_denref(out));
        return MATH_EXACT;
    case MATH_F_FACT: return exact_factorial(out, a, 0, budget);
    case MATH_F_DFACT: return exact_factorial(out, a, 1, budget);
    case MATH_F_SIN: case MATH_F_TAN: case MATH_F_ASIN: case MATH_F_ATAN: case MATH_F_SINH: case MATH_F_TANH:
        fmpq_zero(out);
        return fmpq_is_zero(a) ? MATH_EXACT : MATH_NOT_RATIONAL;
    case MATH_F_COS: case MATH_F_SEC: case MATH_F_COSH: case MATH_F_EXP:
        fmpq_one(out);
        return fmpq_is_zero(a) ? MATH_EXACT : MATH_NOT_RATIONAL;
    case MATH_F_LN: case MATH_F_LOG:
        fmpq_zero(out);
        return fmpq_is_zero(a) ? MATH_UNDEFINED : fmpq_is_one(a) ? MATH_EXACT : MATH_NOT_RATIONAL;
    default: return MATH_NOT_RATIONAL;
    }
}

static math_exactness exact_call(const math_node *node, fmpq_t out, math_budget *budget)
{
    fmpq_t a;
    fmpq_init(a);
    math_exactness status = math_exact(node->args[0], a, budget);
    int folds = node->op == MATH_F_GCD || node->op == MATH_F_LCM || node->op == MATH_F_MIN || node->op == MATH_F_MAX;
    if (status == MATH_EXACT && folds) {
        fmpq_set(out, a);
        for (unsigned i = 1; i < node->count && status == MATH_EXACT; i++) {
            status = math_exact(node->args[i], a, budget);
            if (status == MATH_EXACT)
                status = fold_call(node->op, out, a);
            if (too_big(out))
                status = MATH_TOO_BIG;
        }
    } else if (status == MATH_EXACT && node->count == 2) {
        status = exact_two(node, out, a, budget);
    } else if (status == MATH_EXACT && node->count == 1) {
        status = exact_one(node, out, a, budget);
    } else if (status == MATH_EXACT) {
        status = MATH_NOT_RATIONAL;
    }
    fmpq_clear(a);
    return status;
}
