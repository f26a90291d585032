/* Drawing one token from a row of logits. */
#include "backend/ops.h"

typedef struct vocab_block {
    int first, count;
    ops_softmax_row stats;
} vocab_block;

static int block_of(vocab_block *b, const float *z, int vocab, const uint32_t *allowed, int first)
{
    b->first = first;
    b->count = vocab - first < OPS_VOCAB_BLOCK ? vocab - first : OPS_VOCAB_BLOCK;
    const uint32_t *bits = allowed ? allowed + first / 32 : NULL;
    uint32_t any = !bits;
    for (int i = 0; bits && i < (b->count + 31) / 32; i++)
        any |= bits[i];
    if (any)
        ops_softmax_stats(NULL, z + first, b->count, b->count, bits ? &bits : NULL, &b->stats, 0, 1);
    return any != 0;
}

static double block_mass(const vocab_block *b, float max)
{
    return (double)(b->stats.sum * ops_exp(b->stats.max - max));
}

/* The entry of the block where the running sum passes `rest`; the last one with any mass when rounding
 * left a remainder. */
static int32_t draw_in_block(const vocab_block *b, const float *z, const uint32_t *allowed, float max, double rest)
{
    int32_t last = -1;
    double sum = 0;
    for (int v = b->first; v < b->first + b->count; v++) {
        if (allowed && !(allowed[v / 32] >> (v % 32) & 1))
            continue;
        double e = ops_exp(z[v] - max);
        if (e > 0)
            last = v;
        sum += e;
        if (sum > rest)
            return v;
    }
    return last;
}

int32_t ops_softmax_draw(const float *z, int vocab, const uint32_t *allowed, ops_softmax_row stats, double uniform)
{
    double total = 0, before = 0;
    vocab_block b, chosen = {0};
    for (int first = 0; first < vocab; first += OPS_VOCAB_BLOCK)
        if (block_of(&b, z, vocab, allowed, first))
            total += block_mass(&b, stats.max);
    double target = uniform * total, sum = 0;
    for (int first = 0; first < vocab && sum <= target; first += OPS_VOCAB_BLOCK) {
        if (!block_of(&b, z, vocab, allowed, first))
            continue;
        double mass = block_mass(&b, stats.max);
        if (mass <= 0)
            continue;
        chosen = b;
        before = sum;
        sum += mass;
    }
    return draw_in_block(&chosen, z, allowed, stats.max, target - before);
}
