/* Rotary embedding tables. Sine and cosine are computed here rather than by the C library, whose
 * last bit differs between systems: the tables are part of the forward pass, which has one result. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "model/rope.h"

static const double PI = 3.14159265358979323846;

/* sin and cos for 0 <= x < 2^26, error below 1e-13: reduction by multiples of pi/2 split in three parts
 * (Cody and Waite), then the minimax polynomials of Sun's fdlibm on [-pi/4, pi/4]. */
static void sin_cos(double x, double *s, double *c)
{
    static const double HALF_PI_1 = 1.57079632673412561417e+00, HALF_PI_2 = 6.07710050630396597660e-11,
                        HALF_PI_3 = 2.02226624879595063154e-21;
    double n = floor(x * (2 / PI) + 0.5);
    double r = fma(-n, HALF_PI_3, fma(-n, HALF_PI_2, fma(-n, HALF_PI_1, x)));
    double z = r * r;
    double p = fma(z, 1.58969099521155010221e-10, -2.50507602534068634195e-08);
    p = fma(z, p, 2.75573137070700676789e-06);
    p = fma(z, p, -1.98412698298579493134e-04);
    p = fma(z, p, 8.33333333332248946124e-03);
    p = fma(z, p, -1.66666666666666324348e-01);
    double sine = fma(r * z, p, r);
    p = fma(z, -1.13596475577881948265e-11, 2.08757232129817482790e-09);
    p = fma(z, p, -2.75573143513906633035e-07);
    p = fma(z, p, 2.48015872894767294178e-05);
    p = fma(z, p, -1.38888888888741095749e-03);
    p = fma(z, p, 4.16666666666666019037e-02);
    double cosine = fma(z * z, p, fma(-0.5, z, 1.0));
    switch ((long)n & 3) {
    case 0: *s = sine; *c = cosine; break;
    case 1: *s = cosine; *c = -sine; break;
    case 2: *s = -sine; *c = -cosine; break;
    default: *s = -cosine; *c = sine; break;
    }
}

static void scale_llama3(double *f, int half, const model_rope *r)
{
    double low_wave = r->original_positions / r->low_freq_factor;
    double high_wave = r->original_positions / r->high_freq_factor;
    for (int i = 0; i < half; i++) {
        double wave = 2 * PI / f[i];
        if (wave < high_wave)
            continue;
        if (wave > low_wave) {
            f[i] /= r->factor;
        } else {
            double s = (r->original_positions / wave - r->low_freq_factor) /
                       (r->high_freq_factor - r->low_freq_factor);
            f[i] = (1 - s) * f[i] / r->factor + s * f[i];
        }
    }
}

static double yarn_mscale(double factor, double mscale)
{
    return factor <= 1 ? 1.0 : 0.1 * mscale * log(factor) + 1.0;
}

/* The dimension whose frequency makes `rotations` turns over the original context. */
static double yarn_dimension(double rotations, int dim, const model_rope *r)
{
    return dim * log(r->original_positions / (rotations * 2 * PI)) / (2 * log(r->theta));
}

/* YaRN (Peng et al. 2023, section 3): interpolate slow frequencies, keep fast ones, ramp between. */
static double scale_yarn(double *f, int dim, const model_rope *r)
{
    double fast = r->beta_fast > 0 ? r->beta_fast : 32, slow = r->beta_slow > 0 ? r->beta_slow : 1;
    double low = yarn_dimension(fast, dim, r), high = yarn_dimension(slow, dim, r);
    if (r->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, dim - 1);
    if (low == high)
        high += 0.001;
    for (int i = 0; i < dim / 2; i++) {
        double ramp = fmin(fmax((i - low) / (high - low), 0), 1);
        f[i] = f[i] / r->factor * ramp + f[i] * (1 - ramp);
    }
    if (r->attention_factor > 0)
        return r->attention_factor;
    if (r->mscale > 0 && r->mscale_all_dim > 0)
        return yarn_mscale(r->factor, r->mscale) / yarn_mscale(r->factor, r->mscale_all_dim);
    return yarn_mscale(r->factor, 1);
}

void rope_frequencies(double *f, double *attention_factor, const model_rope *r, int dim)
{
    *attention_factor = 1;
    for (int i = 0; i < dim / 2; i++)
        f[i] = pow(r->theta, -2.0 * i / dim);
    switch (r->scaling) {
    case MODEL_ROPE_PLAIN:
        break;
    case MODEL_ROPE_LINEAR:
        for (int i = 0; i < dim / 2; i++)
            f[i] /= r->factor;
        break;
    case MODEL_ROPE_LLAMA3:
        scale_llama3(f, dim / 2, r);
        break;
    case MODEL_ROPE_YARN:
        *attention_factor = scale_yarn(f, dim, r);
        break;
    case MODEL_ROPE_FACTORS:
        for (int i = 0; i < dim / 2; i++)
            f[i] /= r->factors[i];
        break;
    }
}

struct rope_rows {
    mem_arena arena; /* address space for all rows; pages are taken as rows are filled */
    double *frequency; /* [half] radians per position */
    double factor;     /* multiplies cos and sin */
    atomic_int ready;  /* rows [0, ready) are filled */
    pthread_mutex_t filling;
};

static grpo_status init_rows(rope_table *t, grpo_error *err)
{
    struct rope_rows *r = t->rows;
    size_t n = (size_t)t->positions * (size_t)t->half;
    pthread_mutex_init(&r->filling, NULL);
    if (!(r->frequency = mem_calloc((size_t)t->half, sizeof *r->frequency)))
        return mem_fail(err, "rotary tables", (size_t)t->half * sizeof *r->frequency);
    grpo_status status = mem_arena_init(&r->arena, 2 * mem_arena_size(n, sizeof *t->cos), "rotary tables", err);
    if (status != GRPO_OK)
        return status;
    t->cos = mem_arena_alloc(&r->arena, n, sizeof *t->cos);
    t->sin = mem_arena_alloc(&r->arena, n, sizeof *t->sin);
    return GRPO_OK;
}

grpo_status rope_table_init(rope_table *t, const model_rope *rope, int rotary_dim, int positions, grpo_error *err)
{
    *t = (rope_table){.half = rotary_dim / 2, .positions = positions, .rows = mem_calloc(1, sizeof *t->rows)};
    if (!t->rows)
        return mem_fail(err, "rotary tables", sizeof *t->rows);
    grpo_status status = init_rows(t, err);
    if (status == GRPO_OK)
        rope_frequencies(t->rows->frequency, &t->rows->factor, rope, rotary_dim);
    else
        rope_table_deinit(t);
    return status;
}

void rope_table_cover(const rope_table *t, int positions)
{
    enum { STEP = 256 }; /* rows at a time: decoding asks for one more in each step */
    struct rope_rows *r = t->rows;
    if (positions <= atomic_load_explicit(&r->ready, memory_order_acquire))
        return;
    pthread_mutex_lock(&r->filling);
    int first = atomic_load_explicit(&r->ready, memory_order_relaxed);
    int end = positions > t->positions - STEP ? t->positions : (positions + STEP - 1) / STEP * STEP;
    for (int pos = first; pos < end; pos++)
        for (int i = 0; i < t->half; i++) {
            double s, c;
            sin_cos(pos * r->frequency[i], &s, &c);
            t->cos[(size_t)pos * (size_t)t->half + (size_t)i] = (float)(c * r->factor);
            t->sin[(size_t)pos * (size_t)t->half + (size_t)i] = (float)(s * r->factor);
        }
    if (end > first)
        atomic_store_explicit(&r->ready, end, memory_order_release);
    pthread_mutex_unlock(&r->filling);
}

void rope_table_deinit(rope_table *t)
{
    if (t->rows) {
        pthread_mutex_destroy(&t->rows->filling);
        mem_arena_deinit(&t->rows->arena);
        mem_free(t->rows->frequency);
        mem_free(t->rows);
    }
    *t = (rope_table){0};
}
