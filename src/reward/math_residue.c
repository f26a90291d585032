/* Identity testing: the residue of an expression at a random point of a large prime field
 * (Schwartz 1980, Zippel 1979). The prime and the point are drawn from a seed that depends on both
 * texts, so that no fixed expression vanishes for all verifications. */
#include <string.h>

#include "reward/math_value.h"

static mp_limb_t mix(mp_limb_t h, mp_limb_t x) /* splitmix64's finaliser over a running state */
{
    h ^= x + 0x9E3779B97F4A7C15u + (h << 6) + (h >> 2);
    h ^= h >> 30;
    h *= 0xBF58476D1CE4E5B9u;
    h ^= h >> 27;
    h *= 0x94D049BB133111EBu;
    return h ^ (h >> 31);
}

static mp_limb_t mix_text(mp_limb_t h, const char *text)
{
    for (; *text; text++)
        h = mix(h, (unsigned char)*text);
    return h;
}

void math_field_init(math_field *field, mp_limb_t seed, math_budget *budget)
{
    memset(field, 0, sizeof *field);
    /* a prime of 62 bits that is 1 modulo 4, so that -1 has a square root */
    mp_limb_t p = (UWORD(1) << 61) + (mix(seed, 1) >> 4);
    do
        p = n_nextprime(p, 0);
    while (p % 4 != 1);
    nmod_init(&field->mod, p);
    field->seed = mix(seed, 2);
    field->budget = budget;
    mp_limb_t a = 1;
    do
        field->imaginary = n_powmod2_preinv(++a, (p - 1) / 4, p, field->mod.ninv);
    while (nmod_mul(field->imaginary, field->imaginary, field->mod) != p - 1);
}

/* A random residue that depends on an operation and its operands. */
static mp_limb_t opaque(math_field *field, mp_limb_t key)
{
    field->opaque = 1;
    return mix(field->seed, key) % field->mod.n;
}

static mp_limb_t inverse(math_field *field, mp_limb_t a)
{
    if (a == 0) {
        field->undefined = 1;
        return 0;
    }
    return n_invmod(a, field->mod.n);
}

static mp_limb_t residue_of_rational(math_field *field, const fmpq_t q)
{
    mp_limb_t a = fmpz_fdiv_ui(fmpq_numref(q), field->mod.n), b = fmpz_fdiv_ui(fmpq_denref(q), field->mod.n);
    return b == 1 ? a : nmod_mul(a, inverse(field, b), field->mod);
}

enum { KEY_SYMBOL = 1000, KEY_APPLY, KEY_POWER, KEY_EXP, KEY_LN, KEY_PRIME_LN, KEY_CONSTANT, KEY_BIG, KEY_TEXT,
       KEY_STRUCTURE, KEY_SIGN, KEY_ABS, KEY_BOUND };

static mp_limb_t residue_of_symbol(math_field *field, const math_node *node)
{
    for (int i = field->bound_count; i-- > 0;)
        if (strcmp(field->bound[i], node->name) == 0 && node->count == 0)
            return mix(field->seed, mix(KEY_BOUND, (mp_limb_t)i)) % field->mod.n;
    mp_limb_t key = mix_text(KEY_SYMBOL, node->name);
    if (node->count)
        key = mix(key, math_residue(field, node->args[0]));
    return mix(field->seed, key) % field->mod.n;
}

/* ln n = sum of e ln p over the small primes of n, so that logarithms of products agree. */
static mp_limb_t residue_of_ln_integer(math_field *field, const fmpz_t n)
{
    mp_limb_t sum = 0;
    fmpz_t rest;
    fmpz_init_set(rest, n);
    for (mp_limb_t p = 2; p < 200 && !fmpz_is_one(rest); p = n_nextprime(p, 0)) {
        mp_limb_t e = 0;
        while (fmpz_fdiv_ui(rest, p) == 0 && e < 20000) {
            fmpz_divexact_ui(rest, rest, p);
            e++;
        }
        if (e)
            sum = nmod_add(sum, nmod_mul(e, opaque(field, mix(KEY_PRIME_LN, p)), field->mod), field->mod);
    }
    if (!fmpz_is_one(rest))
        sum = nmod_add(sum, opaque(field, mix(KEY_LN, fmpz_fdiv_ui(rest, field->mod.n))), field->mod);
    fmpz_clear(rest);
    return sum;
}

static mp_limb_t residue_of_ln(math_field *field, const math_node *argument)
{
    if (argument->kind == MATH_CONSTANT && argument->op == MATH_E)
        return 1;
    if (argument->kind == MATH_POW && argument->args[0]->kind == MATH_CONSTANT && argument->args[0]->op == MATH_E &&
        !math_node_has_symbols(argument->args[1]))
        return math_residue(field, argument->args[1]);
    fmpq_t q;
    fmpq_init(q);
    mp_limb_t r;
    if (math_exact(argument, q, field->budget) == MATH_EXACT && fmpq_sgn(q) > 0 &&
        fmpz_bits(fmpq_numref(q)) < 20000 && math_spend(field->budget, 5000)) {
        r = nmod_sub(residue_of_ln_integer(field, fmpq_numref(q)), residue_of_ln_integer(field, fmpq_denref(q)), field->mod);
        field->opaque = 1;
    } else {
        r = opaque(field, mix(KEY_LN, math_residue(field, argument)));
    }
    fmpq_clear(q);
    return r;
}

static mp_limb_t power_of(math_field *field, mp_limb_t base, const fmpz_t e)
{
    mp_limb_t n = fmpz_abs_fits_ui(e) ? fmpz_get_ui(e) : 0; /* |e| */
    mp_limb_t r = n_powmod2_ui_preinv(base, n, field->mod.n, field->mod.ninv);
    return fmpz_sgn(e) < 0 ? inverse(field, r) : r;
}

static mp_limb_t residue_of_root(math_field *field, mp_limb_t base, const fmpz_t index)
{
    return opaque(field, mix(mix(KEY_POWER, base), fmpz_fdiv_ui(index, field->mod.n)));
}

static mp_limb_t residue_of_exp(math_field *field, mp_limb_t exponent)
{
    return exponent == 0 ? 1 : opaque(field, mix(KEY_EXP, exponent));
}

static mp_limb_t residue_of_power(math_field *field, const math_node *node)
{
    const math_node *base = node->args[0];
    fmpq_t e;
    fmpq_init(e);
    mp_limb_t r;
    int known = math_exact(node->args[1], e, field->budget) == MATH_EXACT && fmpz_bits(fmpq_numref(e)) <= 40;
    if (base->kind == MATH_CONSTANT && base->op == MATH_E && !(known && fmpz_is_one(fmpq_denref(e)))) {
        r = residue_of_exp(field, math_residue(field, node->args[1]));
    } else if (known) {
        r = math_residue(field, base);
        if (!fmpz_is_one(fmpq_denref(e)))
            r = residue_of_root(field, r, fmpq_denref(e));
        r = power_of(field, r, fmpq_numref(e));
    } else {
        r = math_residue(field, base);
        r = opaque(field, mix(mix(KEY_POWER, r), mix(7, math_residue(field, node->args[1]))));
    }
    fmpq_clear(e);
    return r;
}

static mp_limb_t residue_of_function(math_field *field, math_function f, mp_limb_t x)
{
    return opaque(field, mix(mix(KEY_APPLY, (mp_limb_t)f), x));
}

/* tan = sin/cos and so on, so that quotients of them agree as rational functions. */
static mp_limb_t residue_of_trigonometric(math_field *field, math_function f, mp_limb_t x)
{
    int hyperbolic = f >= MATH_F_SINH && f <= MATH_F_COTH;
    mp_limb_t s = residue_of_function(field, hyperbolic ? MATH_F_SINH : MATH_F_SIN, x);
    mp_limb_t c = residue_of_function(field, hyperbolic ? MATH_F_COSH : MATH_F_COS, x);
    switch (f) {
    case MATH_F_TAN: case MATH_F_TANH: return nmod_mul(s, inverse(field, c), field->mod);
    case MATH_F_COT: case MATH_F_COTH: return nmod_mul(c, inverse(field, s), field->mod);
    case MATH_F_SEC: return inverse(field, c);
    case MATH_F_CSC: return inverse(field, s);
    default: return f == MATH_F_COS || f == MATH_F_COSH ? c : s;
    }
}

/* Determinant by elimination, up to 24 rows. */
static mp_limb_t residue_of_determinant(math_field *field, const math_node *matrix)
{
    mp_limb_t a[24][24], det = 1;
    unsigned n = matrix->rows;
    for (unsigned i = 0; i < n * n; i++)
        a[i / n][i % n] = math_residue(field, matrix->args[i]);
    for (unsigned k = 0; k < n; k++) {
        unsigned pivot = k;
        while (pivot < n && a[pivot][k] == 0)
            pivot++;
        if (pivot == n || !math_spend(field->budget, 10.0 * n * n))
            return 0;
        for (unsigned j = 0; pivot != k && j < n; j++) {
            mp_limb_t x = a[k][j];
            a[k][j] = a[pivot][j];
            a[pivot][j] = x;
        }
        det = nmod_mul(pivot == k ? det : nmod_neg(det, field->mod), a[k][k], field->mod);
        mp_limb_t inv = inverse(field, a[k][k]);
        for (unsigned i = k + 1; i < n; i++) {
            mp_limb_t factor = nmod_mul(a[i][k], inv, field->mod);
            for (unsigned j = k; j < n; j++)
                a[i][j] = nmod_sub(a[i][j], nmod_mul(factor, a[k][j], field->mod), field->mod);
        }
    }
    return det;
}

/* n over k for a small whole k: n (n-1) ... (n-k+1) / k!. 0 when k is none. */
static int residue_of_binomial(math_field *field, const math_node *node, mp_limb_t *out)
{
    const math_node *k = node->args[1];
    if (k->kind != MATH_NUMBER || !fmpz_is_one(fmpq_denref(k->value)) || fmpz_sgn(fmpq_numref(k->value)) < 0 ||
        fmpz_cmp_si(fmpq_numref(k->value), 64) > 0)
        return 0;
    mp_limb_t n = math_residue(field, node->args[0]), product = 1, divisor = 1;
    for (ulong i = 0; i < fmpz_get_ui(fmpq_numref(k->value)); i++) {
        product = nmod_mul(product, nmod_sub(n, i, field->mod), field->mod);
        divisor = nmod_mul(divisor, i + 1, field->mod);
    }
    *out = node->op == MATH_F_BINOM ? nmod_mul(product, inverse(field, divisor), field->mod) : product;
    return 1;
}

static mp_limb_t residue_of_call(math_field *field, const math_node *node)
{
    math_function f = node->op;
    fmpq_t q;
    fmpq_init(q);
    math_budget small = {field->budget->left < 50000 ? field->budget->left : 50000};
    if (math_exact(node, q, &small) == MATH_EXACT) {
        mp_limb_t r = residue_of_rational(field, q);
        fmpq_clear(q);
        return r;
    }
    fmpq_clear(q);
    const math_node *first = node->args[0];
    if (f == MATH_F_DET && first->kind == MATH_MATRIX && first->rows == first->columns && first->rows <= 24)
        return residue_of_determinant(field, first);
    mp_limb_t binomial;
    if ((f == MATH_F_BINOM || f == MATH_F_PERM) && residue_of_binomial(field, node, &binomial))
        return binomial;
    if (f == MATH_F_LN)
        return residue_of_ln(field, node->args[0]);
    if (f == MATH_F_LOG) {
        mp_limb_t x = residue_of_ln(field, node->args[0]), base = 1;
        if (node->count == 2)
            base = residue_of_ln(field, node->args[1]);
        else if (!field->natural_log)
            base = residue_of_ln_integer(field, (fmpz[1]){10});
        return nmod_mul(x, inverse(field, base), field->mod);
    }
    int trigonometric = f <= MATH_F_CSC, degrees = field->degrees;
    field->degrees |= trigonometric;
    mp_limb_t x = math_residue(field, node->args[0]);
    field->degrees = degrees;
    if (f == MATH_F_EXP)
        return residue_of_exp(field, x);
    if (f == MATH_F_ROOT && node->args[1]->kind == MATH_NUMBER && fmpz_is_one(fmpq_denref(node->args[1]->value)))
        return residue_of_root(field, x, fmpq_numref(node->args[1]->value));
    if (trigonometric || (f >= MATH_F_SINH && f <= MATH_F_COTH))
        return residue_of_trigonometric(field, f, x);
    if (f == MATH_F_FACT || f == MATH_F_ABS)
        return opaque(field, mix(mix(KEY_APPLY, f), f == MATH_F_ABS ? nmod_mul(x, x, field->mod) : x));
    mp_limb_t key = mix(KEY_APPLY, f), sum = mix(key, x);
    int symmetric = f == MATH_F_GCD || f == MATH_F_LCM || f == MATH_F_MIN || f == MATH_F_MAX;
    for (unsigned i = 1; i < node->count; i++) {
        mp_limb_t y = math_residue(field, node->args[i]);
        sum = symmetric ? sum + mix(key, y) : mix(sum, y);
    }
    return opaque(field, sum);
}

static const char *bound_name(const math_node *variable)
{
    if (variable && variable->kind == MATH_SYMBOL && !variable->count)
        return variable->name;
    if (variable && variable->kind == MATH_CONSTANT)
        return variable->op == MATH_I ? "i" : "e";
    return NULL;
}

/* A sum or integral: its bounds, and its body with the variable renamed. */
static mp_limb_t residue_of_big(math_field *field, const math_node *node)
{
    mp_limb_t key = mix(KEY_BIG, node->op);
    for (unsigned i = 2; i < 4; i++)
        key = mix(key, node->args[i] ? math_residue(field, node->args[i]) : 0);
    const char *name = bound_name(node->args[1]);
    if (name && field->bound_count < 8) {
        field->bound[field->bound_count++] = name;
        key = mix(key, math_residue(field, node->args[0]));
        field->bound_count--;
    } else {
        key = mix(key, node->args[1] ? math_residue(field, node->args[1]) : 0);
        key = mix(key, math_residue(field, node->args[0]));
    }
    return opaque(field, key);
}

static mp_limb_t residue_of_constant(math_field *field, const math_node *node)
{
    const char *letter = node->op == MATH_I ? "i" : node->op == MATH_E ? "e" : NULL;
    for (int i = field->bound_count; letter && i-- > 0;)
        if (strcmp(field->bound[i], letter) == 0)
            return mix(field->seed, mix(KEY_BOUND, (mp_limb_t)i)) % field->mod.n;
    if (node->op == MATH_I)
        return field->imaginary;
    return opaque(field, mix(KEY_CONSTANT, node->op));
}

/* Anything that is no value (sets, lists, relations): a residue of its structure. */
static mp_limb_t residue_of_structure(math_field *field, const math_node *node)
{
    mp_limb_t key = mix(mix(mix(KEY_STRUCTURE, node->kind), node->op), node->op2), sum = 0;
    int unordered = node->kind == MATH_SET || node->kind == MATH_LIST;
    if (node->kind == MATH_MATRIX)
        key = mix(key, node->columns);
    for (unsigned i = 0; i < node->count; i++) {
        mp_limb_t x = node->args[i] ? math_residue(field, node->args[i]) : 0;
        if (node->relations && i)
            key = mix(key, node->relations[i - 1]);
        if (unordered)
            sum += mix(key, x);
        else
            key = mix(key, x);
    }
    return opaque(field, mix(key, sum));
}

static mp_limb_t residue_of_text(math_field *field, const math_node *node)
{
    mp_limb_t key = KEY_TEXT;
    for (const char *s = node->name; *s; s++)
        if (*s != ' ')
            key = mix(key, (unsigned char)(*s >= 'A' && *s <= 'Z' ? *s + 32 : *s));
    return opaque(field, key);
}

static mp_limb_t residue_of_fold(math_field *field, const math_node *node)
{
    mp_limb_t r = node->kind == MATH_ADD ? 0 : 1;
    for (unsigned i = 0; i < node->count; i++) {
        mp_limb_t x = math_residue(field, node->args[i]);
        r = node->kind == MATH_ADD ? nmod_add(r, x, field->mod) : nmod_mul(r, x, field->mod);
    }
    return r;
}

mp_limb_t math_residue(math_field *field, const math_node *node)
{
    if (!math_spend(field->budget, 30))
        return 0;
    switch (node->kind) {
    case MATH_NUMBER: return residue_of_rational(field, node->value);
    case MATH_SYMBOL: return residue_of_symbol(field, node);
    case MATH_CONSTANT: return residue_of_constant(field, node);
    case MATH_ADD: case MATH_MUL: return residue_of_fold(field, node);
    case MATH_POW: return residue_of_power(field, node);
    case MATH_CALL: return residue_of_call(field, node);
    case MATH_APPLY: {
        mp_limb_t key = mix_text(KEY_APPLY, node->name);
        for (unsigned i = 0; i < node->count; i++)
            key = mix(key, math_residue(field, node->args[i]));
        return opaque(field, key);
    }
    case MATH_QUANTITY: return math_residue(field, node->args[0]);
    case MATH_DEGREES: {
        mp_limb_t x = math_residue(field, node->args[0]);
        if (!field->degrees)
            return x;
        mp_limb_t unit = nmod_mul(opaque(field, mix(KEY_CONSTANT, MATH_PI)), n_invmod(180, field->mod.n), field->mod);
        return nmod_mul(x, unit, field->mod);
    }
    case MATH_PERCENT:
        return nmod_mul(math_residue(field, node->args[0]), n_invmod(100, field->mod.n), field->mod);
    case MATH_SIGN: return opaque(field, mix(mix(KEY_SIGN, node->op), math_residue(field, node->args[0])));
    case MATH_BIG: return residue_of_big(field, node);
    case MATH_TEXT: return residue_of_text(field, node);
    default: return residue_of_structure(field, node);
    }
}

/* ---- fractions ------------------------------------------------------------------------- */

static void multiply(math_field *field, math_fraction *a, math_fraction b)
{
    a->numerator = nmod_mul(a->numerator, b.numerator, field->mod);
    a->denominator = nmod_mul(a->denominator, b.denominator, field->mod);
}

static void add(math_field *field, math_fraction *a, math_fraction b)
{
    mp_limb_t x = nmod_mul(a->numerator, b.denominator, field->mod), y = nmod_mul(b.numerator, a->denominator, field->mod);
    a->numerator = nmod_add(x, y, field->mod);
    a->denominator = nmod_mul(a->denominator, b.denominator, field->mod);
}

math_fraction math_residue_fraction(math_field *field, const math_node *node)
{
    math_fraction r = {node->kind == MATH_ADD ? 0 : 1, 1};
    if (node->kind == MATH_ADD || node->kind == MATH_MUL) {
        for (unsigned i = 0; i < node->count; i++) {
            math_fraction x = math_residue_fraction(field, node->args[i]);
            if (node->kind == MATH_ADD)
                add(field, &r, x);
            else
                multiply(field, &r, x);
        }
        return r;
    }
    const math_node *e = node->kind == MATH_POW ? node->args[1] : NULL;
    if (e && e->kind == MATH_NUMBER && fmpz_is_one(fmpq_denref(e->value)) && fmpz_bits(fmpq_numref(e->value)) <= 40) {
        mp_limb_t n = fmpz_get_ui(fmpq_numref(e->value));
        r = math_residue_fraction(field, node->args[0]);
        r.numerator = n_powmod2_ui_preinv(r.numerator, n, field->mod.n, field->mod.ninv);
        r.denominator = n_powmod2_ui_preinv(r.denominator, n, field->mod.n, field->mod.ninv);
        if (fmpz_sgn(fmpq_numref(e->value)) < 0)
            r = (math_fraction){r.denominator, r.numerator};
        return r;
    }
    r.numerator = math_residue(field, node);
    return r;
}
