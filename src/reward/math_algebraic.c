/* Separation bounds of algebraic numbers: how precisely an expression must be known to be told from 0. */
#include <math.h>

#include "reward/math_value.h"

enum { MAX_RADICALS = 12, MAX_CYCLES = 8 };

/* E = U / L with algebraic integers U and L, all conjugates of which are at most 2^u and 2^l. */
typedef struct bound {
    double u, l;
} bound;

typedef struct radicals {
    math_field field; /* tells radicals apart by their residues */
    mp_limb_t keys[MAX_RADICALS];
    int count, failed;
    ulong cycles[MAX_CYCLES]; /* orders of the roots of unity behind sines and cosines */
    int cycle_count;
    double degree;
} radicals;

static bound visit(radicals *r, const math_node *node);

static bound failed(radicals *r)
{
    r->failed = 1;
    return (bound){0, 0};
}

static double log2_fmpz(const fmpz_t n)
{
    return fmpz_is_zero(n) ? 0 : (double)fmpz_bits(n);
}

static bound rational(const fmpq_t q)
{
    return (bound){log2_fmpz(fmpq_numref(q)), log2_fmpz(fmpq_denref(q))};
}

static bound product(bound a, bound b)
{
    return (bound){a.u + b.u, a.l + b.l};
}

static bound sum(bound a, bound b)
{
    double x = a.u + b.l, y = a.l + b.u;
    return (bound){(x > y ? x : y) + 1, a.l + b.l};
}

static bound integer_power(bound a, slong n)
{
    if (n < 0)
        return (bound){a.l * (double)-n, a.u * (double)-n};
    return (bound){a.u * (double)n, a.l * (double)n};
}

/* Counts a radical of degree k once. */
static void add_radical(radicals *r, mp_limb_t key, double k)
{
    for (int i = 0; i < r->count; i++)
        if (r->keys[i] == key)
            return;
    if (r->count == MAX_RADICALS) {
        r->failed = 1;
        return;
    }
    r->keys[r->count++] = key;
    r->degree *= k;
}

static bound root(radicals *r, const math_node *operand, slong k)
{
    bound a = visit(r, operand);
    if (r->failed || k < 1 || k > 64)
        return failed(r);
    add_radical(r, math_residue(&r->field, operand) * 67 + (mp_limb_t)k, (double)k);
    if (a.u >= a.l)
        return (bound){(a.u + (double)(k - 1) * a.l) / (double)k, a.l};
    return (bound){a.u, ((double)(k - 1) * a.u + a.l) / (double)k};
}

static int is_constant(const math_node *node, int constant)
{
    return node->kind == MATH_CONSTANT && node->op == constant;
}

/* q when the node is q * pi (q in degrees / 180), for angles; 0 when it is not of that form. */
static int multiple_of_pi(const math_node *node, fmpq_t q)
{
    math_budget small = {100000};
    if (is_constant(node, MATH_PI)) {
        fmpq_one(q);
        return 1;
    }
    if (node->kind == MATH_DEGREES) {
        if (math_exact(node->args[0], q, &small) != MATH_EXACT)
            return 0;
        fmpq_div_fmpz(q, q, (fmpz[1]){180});
        return 1;
    }
    if (node->kind != MATH_MUL)
        return math_exact(node, q, &small) == MATH_EXACT && fmpq_is_zero(q);
    fmpq_t x;
    int found = 0, ok = 1;
    fmpq_init(x);
    fmpq_one(q);
    for (unsigned i = 0; ok && i < node->count; i++) {
        const math_node *factor = node->args[i];
        if (factor->kind == MATH_MUL || is_constant(factor, MATH_PI) || factor->kind == MATH_DEGREES) {
            ok = math_exact(factor, x, &small) == MATH_EXACT || (!found++ && multiple_of_pi(factor, x));
        } else {
            ok = math_exact(factor, x, &small) == MATH_EXACT;
        }
        if (ok)
            fmpq_mul(q, q, x);
    }
    fmpq_clear(x);
    return ok && found;
}

/* The root of unity exp(2 pi i a/n) joins the field: its degree is phi(n), at most n. */
static int add_cycle(radicals *r, const fmpq_t half_turns)
{
    if (fmpz_cmp_si(fmpq_denref(half_turns), 200) > 0)
        return 0;
    ulong n = 2 * fmpz_get_ui(fmpq_denref(half_turns));
    for (int i = 0; i < r->cycle_count; i++)
        if (r->cycles[i] % n == 0)
            return 1;
    if (r->cycle_count == MAX_CYCLES)
        return 0;
    r->cycles[r->cycle_count++] = n;
    r->degree *= (double)n_euler_phi(n);
    return 1;
}

static bound trigonometric(radicals *r, const math_node *node)
{
    fmpq_t q;
    fmpq_init(q);
    int ok = multiple_of_pi(node->args[0], q) && add_cycle(r, q);
    fmpq_clear(q);
    if (!ok)
        return failed(r);
    /* cos = (z + 1/z)/2, sin = (z - 1/z)/(2i); i has norm 1 and its own degree */
    if (node->op != MATH_F_COS && node->op != MATH_F_SEC)
        add_radical(r, 4, 2);
    switch (node->op) {
    case MATH_F_SIN: case MATH_F_COS: return (bound){1, 1};
    case MATH_F_SEC: case MATH_F_CSC: return (bound){1, 1};
    default: return (bound){2, 2};
    }
}

static bound power(radicals *r, const math_node *node)
{
    fmpq_t e;
    math_budget small = {100000};
    bound result = {0, 0};
    fmpq_init(e);
    if (math_exact(node->args[1], e, &small) != MATH_EXACT || fmpz_bits(fmpq_numref(e)) > 20 || fmpz_bits(fmpq_denref(e)) > 6)
        r->failed = 1;
    else if (fmpz_is_one(fmpq_denref(e)))
        result = integer_power(visit(r, node->args[0]), fmpz_get_si(fmpq_numref(e)));
    else
        result = integer_power(root(r, node->args[0], fmpz_get_si(fmpq_denref(e))), fmpz_get_si(fmpq_numref(e)));
    fmpq_clear(e);
    return result;
}

/* exp(i pi q) is a root of unity. */
static bound exponential(radicals *r, const math_node *exponent)
{
    fmpq_t q;
    int ok = 0, found = 0;
    fmpq_init(q);
    if (exponent->kind == MATH_MUL) { /* the same product without i */
        math_node *rest[8], copy = *exponent;
        unsigned n = 0;
        for (unsigned i = 0; i < exponent->count && n < 8; i++) {
            if (is_constant(exponent->args[i], MATH_I) && !found)
                found = 1;
            else
                rest[n++] = exponent->args[i];
        }
        copy.args = rest;
        copy.count = n;
        ok = found && n < 8 && multiple_of_pi(&copy, q) && add_cycle(r, q);
    }
    fmpq_clear(q);
    return ok ? (bound){0, 0} : failed(r);
}

static bound call(radicals *r, const math_node *node)
{
    switch (node->op) {
    case MATH_F_ROOT:
        if (node->args[1]->kind == MATH_NUMBER && fmpz_is_one(fmpq_denref(node->args[1]->value)) &&
            fmpz_bits(fmpq_numref(node->args[1]->value)) <= 6)
            return root(r, node->args[0], fmpz_get_si(fmpq_numref(node->args[1]->value)));
        return failed(r);
    case MATH_F_SIN: case MATH_F_COS: case MATH_F_TAN: case MATH_F_COT: case MATH_F_SEC: case MATH_F_CSC:
        return trigonometric(r, node);
    default: {
        fmpq_t q;
        math_budget small = {100000};
        fmpq_init(q);
        bound b = math_exact(node, q, &small) == MATH_EXACT ? rational(q) : failed(r);
        fmpq_clear(q);
        return b;
    }
    }
}

static bound visit(radicals *r, const math_node *node)
{
    bound b = {0, 0};
    if (r->failed || !math_spend(r->field.budget, 50))
        return failed(r);
    switch (node->kind) {
    case MATH_NUMBER: return rational(node->value);
    case MATH_CONSTANT:
        if (node->op != MATH_I)
            return failed(r);
        add_radical(r, 4, 2);
        return b;
    case MATH_ADD:
        b = visit(r, node->args[0]);
        for (unsigned i = 1; i < node->count && !r->failed; i++)
            b = sum(b, visit(r, node->args[i]));
        return b;
    case MATH_MUL:
        for (unsigned i = 0; i < node->count && !r->failed; i++)
            b = product(b, visit(r, node->args[i]));
        return b;
    case MATH_POW:
        return is_constant(node->args[0], MATH_E) ? exponential(r, node->args[1]) : power(r, node);
    case MATH_CALL: return call(r, node);
    case MATH_QUANTITY: return visit(r, node->args[0]);
    case MATH_PERCENT: return product(visit(r, node->args[0]), (bound){0, 7});
    default: return failed(r);
    }
}

double math_separation_bits(const math_node *node, double limit)
{
    radicals r = {.degree = 1};
    math_budget budget = {1e6};
    math_field_init(&r.field, 12345, &budget);
    bound b = visit(&r, node);
    double bits = b.l + (r.degree - 1) * b.u + 8;
    return r.failed || !(bits <= limit) ? -1 : bits;
}
