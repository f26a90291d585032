/* Drawing one entry of a row of logits by inverse transform: the block of the vocabulary first, then the entry. */

/* Sum of exp(z - max) over a block's allowed entries. */
static double draw_block_mass(const draw_job *job, int block)
{
    const int v0 = block * OPS_VOCAB_BLOCK, n = job->vocab - v0 < OPS_VOCAB_BLOCK ? job->vocab - v0 : OPS_VOCAB_BLOCK;
    const head_stat stat = head_block_stat(job->z + v0, job->allowed ? job->allowed + v0 / 32 : NULL, n, 0);
    return stat.max == -__builtin_inff() ? 0 : (double)(stat.sum * exp_scalar(stat.max - job->max));
}

/* The entry of the block where the running sum passes `rest`; the last one with any mass when rounding
 * left a remainder. */
static int32_t draw_in_block(const draw_job *job, int block, double rest)
{
    const int v0 = block * OPS_VOCAB_BLOCK, end = v0 + OPS_VOCAB_BLOCK < job->vocab ? v0 + OPS_VOCAB_BLOCK : job->vocab;
    const uint32_t *allowed = job->allowed ? job->allowed + v0 / 32 : NULL;
    int32_t last = -1;
    double sum = 0;
    for (int v = v0; v < end; v += 16) {
        float e[16];
        v16_store(e, v16_exp(v16_sub(head_entries(job->z + v0, allowed, v - v0, end - v0), v16_set1(job->max))));
        for (int i = 0; i < 16; i++) { /* 0 where there is no entry or it is not allowed */
            if (e[i] > 0)
                last = v + i;
            sum += e[i];
            if (sum > rest)
                return v + i;
        }
    }
    return last;
}

static void kernel_softmax_draw(void *context, int begin, int end, int thread)
{
    draw_job *job = context;
    const int blocks = (job->vocab + OPS_VOCAB_BLOCK - 1) / OPS_VOCAB_BLOCK;
    double mass[blocks], total = 0, before = 0, sum = 0;
    int chosen = -1;
    (void)begin, (void)end, (void)thread;
    for (int b = 0; b < blocks; b++)
        total += mass[b] = draw_block_mass(job, b);
    const double target = job->uniform * total;
    for (int b = 0; b < blocks && sum <= target; b++) {
        if (mass[b] <= 0)
            continue;
        chosen = b;
        before = sum;
        sum += mass[b];
    }
    job->token = chosen < 0 ? -1 : draw_in_block(job, chosen, target - before);
}
