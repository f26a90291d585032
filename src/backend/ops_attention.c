/* The key/value store and attention, forward: how the work is cut. */
#include <assert.h>

#include "backend/cpu/job_attention.h"
#include "backend/cpu/kernels.h"
#include "backend/ops.h"

/* ---- store -------------------------------------------------------------------------------- */

enum { KV_PIECES = 256, KV_PIECE_ROWS = 64 };

static void kv_each_piece(pool *p, kv_job *job, int count, pool_fn *fn)
{
    kv_piece pieces[KV_PIECES];
    int n = 0;
    job->pieces = pieces;
    for (int s = 0; s < count; s++)
        for (int r = 0, rows; r < job->spans[s].rows; r += rows) {
            /* Pieces end at block boundaries, so that whole blocks stay whole. */
            rows = KV_PIECE_ROWS - (job->spans[s].first_pos + r) % OPS_KV_BLOCK;
            rows = job->spans[s].rows - r < rows ? job->spans[s].rows - r : rows;
            pieces[n++] = (kv_piece){s, r, rows};
            if (n == KV_PIECES) {
                pool_run(p, n, 4, fn, job);
                n = 0;
            }
        }
    pool_run(p, n, n > 1 && pieces[0].rows == 1 ? 16 : 1, fn, job);
}

void ops_kv_write(pool *p, ops_kv kv, const ops_span *spans, int count, const float *k, int ldk,
                  const float *v, int ldv)
{
    kv_job job = {.kv = kv, .spans = spans, .k = (float *)k, .v = (float *)v, .ldk = ldk, .ldv = ldv};
    kv_each_piece(p, &job, count, ops_kernels()->kv_write);
}

void ops_kv_read(pool *p, ops_kv kv, const ops_span *spans, int count, float *k, int ldk, float *v,
                 int ldv)
{
    kv_job job = {.kv = kv, .spans = spans, .k = k, .v = v, .ldk = ldk, .ldv = ldv};
    kv_each_piece(p, &job, count, ops_kernels()->kv_read);
}

/* ---- attention ------------------------------------------------------------------------------ */

/* Queries of a tile: few enough to leave several tiles for each thread and, for all but very long
 * contexts, room for every score of the tile in a thread's scratch. */
static int tile_queries(const pool *p, ops_kv kv, const ops_span *spans, int count)
{
    enum { ITEMS_PER_THREAD = 3, FEWEST = 6, COLUMNS = 512 };
    const size_t floats = p ? POOL_SCRATCH / sizeof(float) : ATTN_LOCAL;
    int64_t queries = 0;
    int longest = 0;
    for (int s = 0; s < count; s++) {
        const int end = spans[s].first_pos + spans[s].rows;
        const int from = attn_first_visible(kv, spans[s].first_pos) / OPS_KV_BLOCK * OPS_KV_BLOCK;
        queries += (int64_t)spans[s].rows * (kv.heads / kv.kv_heads);
        longest = end - from > longest ? end - from : longest;
    }
    int n = ATTN_QUERIES;
    while (n > FEWEST && (queries + n - 1) / n * kv.kv_heads < (int64_t)ITEMS_PER_THREAD * pool_threads(p))
        n /= 2;
    int roomy = n;
    while (roomy > FEWEST && attn_columns(floats, kv.head_dim, roomy) < longest)
        roomy /= 2;
    if (attn_columns(floats, kv.head_dim, roomy) >= longest)
        return roomy;
    while (n > 1 && attn_columns(floats, kv.head_dim, n) < COLUMNS)
        n /= 2;
    return n;
}

/* Whether two spans begin with the same block of keys. */
static int same_start(ops_kv kv, const ops_span *a, const ops_span *b)
{
    const int first = attn_first_visible(kv, a->first_pos) / OPS_KV_BLOCK;
    return first == attn_first_visible(kv, b->first_pos) / OPS_KV_BLOCK &&
           a->blocks[first] == b->blocks[first];
}

static void run_tiles(attn_job *job, int n)
{
    job->n_tiles = n;
    pool_run(job->pool, n * job->kv.kv_heads, 1, ops_kernels()->attention, job);
}

void ops_attention(pool *p, ops_kv kv, const ops_span *spans, int count, const float *q, int ldq,
                   float *out, int ldo)
{
    assert(kv.heads % kv.kv_heads == 0);
    attn_tile tiles[ATTN_TILES];
    attn_job job = {.pool = p, .kv = kv, .spans = spans, .q = q, .ldq = ldq, .out = out, .ldo = ldo,
                    .tiles = tiles};
    const int most = tile_queries(p, kv, spans, count), per = kv.heads / kv.kv_heads;
    int n = 0;
    for (int s = 0; s < count; s++) {
        int t = 0;
        const int total = spans[s].rows * per;
        attn_tile *open = n > 0 ? &tiles[n - 1] : NULL; /* takes what shares its first block */
        if (open && open->count < most && total > 0 && same_start(kv, &spans[open->span], &spans[s])) {
            t = total < most - open->count ? total : most - open->count;
            open->count += t;
        }
        while (t < total) {
            if (n == ATTN_TILES) {
                run_tiles(&job, n);
                n = 0;
            }
            const int take = total - t < most ? total - t : most;
            tiles[n++] = (attn_tile){s, t, take};
            t += take;
        }
    }
    run_tiles(&job, n);
}
