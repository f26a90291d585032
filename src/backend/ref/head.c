/* The head as plain loops over whole rows of logits. */
#include <math.h>

#include "backend/ref/ref.h"

/* A logit, -inf where it is not allowed. */
static float entry(const float *z, const uint32_t *allowed, int v)
{
    return !allowed || allowed[v / 32] >> v % 32 & 1 ? z[v] : -INFINITY;
}

static const uint32_t *bitmap(const uint32_t *const *allowed, int r)
{
    return allowed ? allowed[r] : NULL;
}

static void logits(ops_matrix w, const float *h, int ldh, float inv_temperature, float *z, int ldz, int m)
{
    ref_gemm(&(ops_product){.w = w, .y = z, .ldy = ldz}, 1, h, ldh, m);
    for (int r = 0; r < m; r++)
        for (int v = 0; v < w.n; v++)
            z[(size_t)r * ldz + v] = z[(size_t)r * ldz + v] * inv_temperature;
}

static ops_softmax_row stats(const float *z, const uint32_t *allowed, int vocab)
{
    float max = -INFINITY, sum = 0.0f, tilt = 0.0f;
    for (int v = 0; v < vocab; v++)
        max = entry(z, allowed, v) > max ? entry(z, allowed, v) : max;
    for (int v0 = 0; v0 < vocab; v0 += OPS_VOCAB_BLOCK) {
        const int v1 = v0 + OPS_VOCAB_BLOCK < vocab ? v0 + OPS_VOCAB_BLOCK : vocab;
        float block_max = -INFINITY, s[OPS_LANES] = {0}, u[OPS_LANES] = {0};
        for (int v = v0; v < v1; v++)
            block_max = entry(z, allowed, v) > block_max ? entry(z, allowed, v) : block_max;
        if (block_max == -INFINITY)
            continue;
        for (int v = v0; v < v1; v++) {
            float d = entry(z, allowed, v) - block_max, e = ref_exp(d);
            s[v % OPS_LANES] = s[v % OPS_LANES] + e;
            if (e != 0.0f)
                u[v % OPS_LANES] = fmaf(e, d, u[v % OPS_LANES]);
        }
        float d = block_max - max, weight = ref_exp(d), block_sum = ref_lanes_sum(s);
        sum = fmaf(block_sum, weight, sum);
        if (weight != 0.0f)
            tilt = fmaf(fmaf(block_sum, d, ref_lanes_sum(u)), weight, tilt);
    }
    return (ops_softmax_row){max, sum, ref_log(sum) - tilt / sum};
}

void ref_softmax_stats(const float *z, int ldz, int vocab, const uint32_t *const *allowed,
                       ops_softmax_row *rows, int m)
{
    for (int r = 0; r < m; r++)
        rows[r] = stats(z + (size_t)r * ldz, bitmap(allowed, r), vocab);
}

int32_t ref_softmax_draw(const float *z, int vocab, const uint32_t *allowed, ops_softmax_row row, double uniform)
{
    double total = 0, sum = 0, before = 0;
    int chosen = -1;
    for (int pass = 0; pass < 2; pass++) /* what the blocks weigh together, then the block */
        for (int v0 = 0; v0 < vocab; v0 += OPS_VOCAB_BLOCK) {
            const int n = vocab - v0 < OPS_VOCAB_BLOCK ? vocab - v0 : OPS_VOCAB_BLOCK;
            const ops_softmax_row block = stats(z + v0, allowed ? allowed + v0 / 32 : NULL, n);
            const double mass = block.max > -INFINITY ? (double)(block.sum * ref_exp(block.max - row.max)) : 0;
            if (pass == 0) {
                total += mass;
            } else if (mass > 0 && sum <= uniform * total) {
                chosen = v0;
                before = sum;
                sum += mass;
            }
        }
    int32_t last = -1;
    sum = 0;
    for (int v = chosen; chosen >= 0 && v < chosen + OPS_VOCAB_BLOCK && v < vocab; v++) {
        const float e = ref_exp(entry(z, allowed, v) - row.max);
        last = e > 0 ? v : last;
        sum += e;
        if (sum > uniform * total - before)
            return v;
    }
    return last;
}

void ref_head_logits(ops_matrix w, const float *h, int ldh, float inv_temperature, float *z, int ldz,
                     ops_softmax_row *rows, int m)
{
    logits(w, h, ldh, inv_temperature, z, ldz, m);
    ref_softmax_stats(z, ldz, w.n, NULL, rows, m);
}

void ref_head_logprob(ops_matrix w, const float *h, int ldh, float inv_temperature, const int32_t *target,
                      const uint32_t *const *allowed, float *logprob, ops_softmax_row *rows, int m, float *z)
{
    logits(w, h, ldh, inv_temperature, z, w.n, m);
    ref_softmax_stats(z, w.n, w.n, allowed, rows, m);
    for (int r = 0; r < m; r++)
        logprob[r] = (entry(z + (size_t)r * w.n, bitmap(allowed, r), target[r]) - rows[r].max) -
                     ref_log(rows[r].sum);
}

/* Row r of logits becomes the gradient with respect to h . W_v. */
static void logits_grad(float *z, int vocab, const uint32_t *allowed, ops_softmax_row row, int target,
                        float inv_temperature, float coef, const float *entropy_coef)
{
    const float log_sum = ref_log(row.sum);
    for (int v = 0; v < vocab; v++) {
        const float masked = entry(z, allowed, v), lp = (masked - row.max) - log_sum;
        float slope = coef;
        if (entropy_coef)
            slope = fmaf(*entropy_coef, (lp > -100.0f ? lp : -100.0f) + row.entropy, slope);
        float g = -(ref_exp(lp) * slope);
        if (v == target && masked > -INFINITY)
            g = g + coef;
        z[v] = g * inv_temperature;
    }
}

void ref_head_grad(ops_matrix w, ops_matrix dw, const float *h, int ldh, float inv_temperature,
                   const int32_t *target, const uint32_t *const *allowed, const ops_softmax_row *rows,
                   const float *coef, const float *entropy_coef, float *dh, int lddh, int m, float *z)
{
    int active = 0; /* rows that count: their z and h lie side by side */
    float *kept = z + (size_t)m * w.n;
    for (int r = 0; r < m; r++) {
        for (int j = 0; j < w.k; j++)
            dh[(size_t)r * lddh + j] = 0.0f;
        if (coef[r] == 0.0f && (!entropy_coef || entropy_coef[r] == 0.0f))
            continue;
        float *dz = z + (size_t)active * w.n;
        for (int j = 0; j < w.k; j++)
            kept[(size_t)active * w.k + j] = h[(size_t)r * ldh + j];
        logits(w, h + (size_t)r * ldh, ldh, inv_temperature, dz, w.n, 1);
        logits_grad(dz, w.n, bitmap(allowed, r), rows[r], target[r], inv_temperature, coef[r],
                    entropy_coef ? &entropy_coef[r] : NULL);
        for (int j = 0; j < w.k; j++)
            for (int v0 = 0; v0 < w.n; v0 += OPS_VOCAB_BLOCK) {
                const int entries = w.n - v0 < OPS_VOCAB_BLOCK ? w.n - v0 : OPS_VOCAB_BLOCK;
                float column[OPS_VOCAB_BLOCK];
                for (int v = 0; v < entries; v++)
                    column[v] = ref_element(w, v0 + v, j);
                const float acc = ref_chain(w.type, dz + v0, 1, column, 1, entries);
                float *out = &dh[(size_t)r * lddh + j];
                *out = v0 == 0 ? acc : acc + *out;
            }
        active++;
    }
    if (dw.data)
        ref_gemm_dw(w.type, dw, z, w.n, kept, w.k, active);
}
