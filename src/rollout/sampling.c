/* Token choice. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "rollout/sampling.h"

typedef struct draw_candidate {
    float z;
    int32_t id;
} draw_candidate;

int sampling_truncates(const sampling *s)
{
    return s->temperature > 0 && (s->top_k > 0 || s->top_p < 1 || s->min_p > 0 || s->min_new_tokens > 0);
}

float sampling_inverse_temperature(const sampling *s)
{
    return s->temperature > 0 ? (float)(1.0 / s->temperature) : 1.0f;
}

double sampling_uniform(uint64_t seed, uint64_t step, uint64_t group, uint32_t sample, uint32_t token)
{
    uint32_t outer[4] = {(uint32_t)step, (uint32_t)(step >> 32), 0, 0x67727065u /* this use of the generator */};
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)}, inner_key[4], out[4];
    rng_philox4x32(inner_key, outer, key);
    uint32_t counter[4] = {(uint32_t)group, (uint32_t)(group >> 32), sample, token};
    rng_philox4x32(out, counter, inner_key);
    return rng_unit(out[0], out[1]);
}

/* ---- sets ----------------------------------------------------------------------------------- */

void token_set_deinit(token_set *set)
{
    mem_free(set->data);
    memset(set, 0, sizeof *set);
}

void token_set_bitmap(const token_set *set, uint32_t *bitmap, int words)
{
    if (set->n == 0) {
        memset(bitmap, 0xFF, (size_t)words * sizeof *bitmap);
    } else if (set->is_bitmap) {
        memcpy(bitmap, set->data, (size_t)words * sizeof *bitmap);
    } else {
        memset(bitmap, 0, (size_t)words * sizeof *bitmap);
        for (int i = 0; i < set->n; i++)
            bitmap[set->data[i] / 32] |= 1u << (set->data[i] % 32);
    }
}

static grpo_status token_set_from_bitmap(token_set *set, const uint32_t *bitmap, int vocab, grpo_error *err)
{
    int words = (vocab + 31) / 32, n = 0;
    for (int i = 0; i < words; i++)
        n += __builtin_popcount(bitmap[i]);
    set->n = n;
    set->is_bitmap = n > words;
    if (set->is_bitmap) {
        set->data = mem_dup(bitmap, (size_t)words * sizeof *bitmap);
    } else if ((set->data = mem_calloc((size_t)n, sizeof *set->data))) {
        int at = 0;
        for (int i = 0; i < words; i++)
            for (uint32_t bits = bitmap[i]; bits; bits &= bits - 1)
                set->data[at++] = (uint32_t)(i * 32 + __builtin_ctz(bits));
    }
    return set->data ? GRPO_OK : mem_fail(err, "a set of tokens", (size_t)n * sizeof *set->data);
}

/* ---- truncation ---------------------------------------------------------------------------------- */

static int is_allowed(const uint32_t *bitmap, int id)
{
    return bitmap[id / 32] >> (id % 32) & 1;
}

static int by_probability(const void *a, const void *b)
{
    const draw_candidate *x = a, *y = b;
    if (x->z != y->z)
        return x->z > y->z ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Candidates with z >= floor among the allowed; returns how many. */
static int collect(draw_candidate *out, const float *z, int vocab, const uint32_t *bitmap, float floor_z)
{
    int n = 0;
    for (int i = 0; i < vocab; i++)
        if (z[i] >= floor_z && is_allowed(bitmap, i))
            out[n++] = (draw_candidate){z[i], i};
    return n;
}

static double mass_of(const draw_candidate *c, int n, float max)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += ops_exp(c[i].z - max);
    return sum;
}

static void keep_only(uint32_t *bitmap, int vocab, const draw_candidate *c, int n)
{
    memset(bitmap, 0, (size_t)((vocab + 31) / 32) * sizeof *bitmap);
    for (int i = 0; i < n; i++)
        bitmap[c[i].id / 32] |= 1u << (c[i].id % 32);
}

/* Sorted candidates that surely contain the k largest: a generous floor first, everything if need be. */
static int sorted_top(draw_candidate *c, const float *z, int vocab, const uint32_t *bitmap, float max, int need)
{
    static const float margins[] = {6, 12, 24, INFINITY};
    int n = 0;
    for (size_t i = 0; i < sizeof margins / sizeof *margins; i++) {
        n = collect(c, z, vocab, bitmap, max - margins[i]);
        if (n >= need)
            break;
    }
    qsort(c, (size_t)n, sizeof *c, by_probability);
    return n;
}

static void apply_top_k(uint32_t *bitmap, draw_candidate *c, const float *z, int vocab, float max, int k)
{
    int n = sorted_top(c, z, vocab, bitmap, max, k);
    if (n <= k)
        return;
    int kept = k;
    while (kept < n && c[kept].z == c[k - 1].z)
        kept++;
    keep_only(bitmap, vocab, c, kept);
}

static void apply_top_p(uint32_t *bitmap, draw_candidate *c, const float *z, int vocab, float max, double p)
{
    static const float margins[] = {6, 12, 24, INFINITY};
    int n = collect(c, z, vocab, bitmap, -INFINITY);
    double want = p * mass_of(c, n, max);
    for (size_t i = 0; i < sizeof margins / sizeof *margins; i++) {
        n = collect(c, z, vocab, bitmap, max - margins[i]);
        if (mass_of(c, n, max) >= want)
            break;
    }
    qsort(c, (size_t)n, sizeof *c, by_probability);
    double sum = 0;
    int kept = 0;
    while (kept < n && (kept == 0 || sum < want))
        sum += ops_exp(c[kept++].z - max);
    keep_only(bitmap, vocab, c, kept);
}

static void apply_min_p(uint32_t *bitmap, const float *z, int vocab, float max, double min_p)
{
    for (int i = 0; i < vocab; i++)
        if (ops_exp(z[i] - max) < (float)min_p)
            bitmap[i / 32] &= ~(1u << (i % 32));
}

static void truncate_row(uint32_t *bitmap, draw_candidate *c, const sampling *s, const float *z, int vocab,
                         const int32_t *forbidden, int n_forbidden)
{
    token_set_bitmap(&(token_set){0}, bitmap, (vocab + 31) / 32);
    if (vocab % 32)
        bitmap[vocab / 32] &= (1u << (vocab % 32)) - 1;
    for (int i = 0; i < n_forbidden; i++)
        if (forbidden[i] >= 0 && forbidden[i] < vocab)
            bitmap[forbidden[i] / 32] &= ~(1u << (forbidden[i] % 32));
    float max = -INFINITY;
    for (int i = 0; i < vocab; i++)
        if (z[i] > max && is_allowed(bitmap, i))
            max = z[i];
    if (s->top_k > 0)
        apply_top_k(bitmap, c, z, vocab, max, s->top_k);
    if (s->top_p < 1)
        apply_top_p(bitmap, c, z, vocab, max, s->top_p);
    if (s->min_p > 0)
        apply_min_p(bitmap, z, vocab, max, s->min_p);
}

/* ---- drawing ------------------------------------------------------------------------------------------ */

static int32_t largest(const float *z, int vocab, const uint32_t *bitmap)
{
    int32_t best = -1;
    for (int i = 0; i < vocab; i++)
        if ((!bitmap || is_allowed(bitmap, i)) && (best < 0 || z[i] > z[best]))
            best = i;
    return best;
}

grpo_status draw_scratch_init(draw_scratch *s, int vocab, grpo_error *err)
{
    s->bitmap = mem_calloc((size_t)(vocab + 31) / 32, sizeof *s->bitmap);
    s->candidates = mem_calloc((size_t)vocab, sizeof *s->candidates);
    if (s->bitmap && s->candidates)
        return GRPO_OK;
    draw_scratch_deinit(s);
    return mem_fail(err, "token choice", (size_t)vocab * sizeof *s->candidates);
}

void draw_scratch_deinit(draw_scratch *s)
{
    mem_free(s->bitmap);
    mem_free(s->candidates);
    memset(s, 0, sizeof *s);
}

grpo_status sampling_draw(drawn_token *out, const sampling *s, const float *z, int vocab, ops_softmax_row stats,
                          double uniform, const int32_t *forbidden, int n_forbidden, int want_entropy,
                          draw_scratch *scratch, grpo_error *err)
{
    memset(out, 0, sizeof *out);
    const uint32_t *bitmap = NULL;
    if (sampling_truncates(s) || n_forbidden > 0) {
        truncate_row(scratch->bitmap, scratch->candidates, s, z, vocab, forbidden, n_forbidden);
        bitmap = scratch->bitmap;
        ops_softmax_stats(NULL, z, vocab, vocab, &bitmap, &stats, want_entropy, 1);
        grpo_status status = token_set_from_bitmap(&out->allowed, bitmap, vocab, err);
        if (status != GRPO_OK)
            return status;
    }
    out->stats = stats;
    out->token = s->temperature > 0 ? ops_softmax_draw(z, vocab, bitmap, stats, uniform) : largest(z, vocab, bitmap);
    out->logprob = (z[out->token] - stats.max) - ops_log(stats.sum);
    return GRPO_OK;
}
