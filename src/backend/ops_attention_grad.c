/* Attention, backward: how the work is cut. Tiles of rows are taken in order (group, key/value head, span,
 * row) into rounds that fill the scratch; each round computes its tiles, then gathers the gradients of keys
 * and values. A key's gradient is one chain over rows in order, so neither rounds nor threads change a bit.
 *
 * As many heads of a group as every thread can have one of are a thread's own: what its tiles leave, its
 * caches still have when the keys ask for it. The heads that are left over, all threads share, tiles and then
 * keys, and there half of what a thread reads another one has written. */
#include <assert.h>

#include "backend/cpu/job_attention.h"
#include "backend/cpu/kernels.h"
#include "backend/ops.h"

/* Floats of a tile: probabilities and score gradients. */
static size_t tile_floats(int queries, int stride)
{
    return (size_t)2 * (size_t)queries * (size_t)stride;
}

size_t ops_attention_grad_scratch(ops_kv kv, int max_positions)
{
    enum { TILES = 2, LEAST = 1 << 18 }; /* of a thread; short sequences get many tiles */
    const int stride = (max_positions + 2 * OPS_KV_BLOCK) / OPS_KV_BLOCK * OPS_KV_BLOCK + OPS_KV_BLOCK;
    const size_t tiles = TILES * tile_floats(ATTN_QUERIES, stride);
    return attn_grad_work(kv.head_dim) + (tiles > LEAST ? tiles : LEAST);
}

typedef struct round {
    attn_grad_job job;
    pool *pool;
    attn_grad_tile tiles[ATTN_TILES];
    attn_grad_target targets[2 * ATTN_TILES];
    int n;
    float *arena;
    size_t used, capacity;
} round;

/* ---- the keys that a round's tiles see ------------------------------------------------------- */

/* Adds the keys of tiles [t0, t1) that lie in [begin, end) as a target; rows of dk and dv start at
 * position `origin`. */
static void add_target(round *r, int t0, int t1, int begin, int end, const attn_grad_target *rows, int origin)
{
    int from = end, to = begin;
    for (int t = t0; t < t1; t++) {
        from = r->tiles[t].block0 * OPS_KV_BLOCK < from ? r->tiles[t].block0 * OPS_KV_BLOCK : from;
        to = r->tiles[t].block1 * OPS_KV_BLOCK > to ? r->tiles[t].block1 * OPS_KV_BLOCK : to;
    }
    from = from > begin ? from : begin;
    to = to < end ? to : end;
    if (from >= to)
        return;
    attn_grad_job *job = &r->job;
    int items = 0;
    if (job->n_targets > 0) {
        const attn_grad_target *last = &r->targets[job->n_targets - 1];
        items = last->first_item + (last->end - 1) / ATTN_GRAD_KEYS - last->begin / ATTN_GRAD_KEYS + 1;
    }
    const ptrdiff_t at = (ptrdiff_t)(from - origin) * job->ldkv +
                         (ptrdiff_t)r->tiles[t0].kv_head * job->kv.head_dim;
    r->targets[job->n_targets++] = (attn_grad_target){t0, t1, from, to, items, rows->dk + at, rows->dv + at};
}

static void find_targets(round *r)
{
    r->job.n_targets = 0;
    for (int t = 0, end; t < r->n; t = end) { /* the prompt: all tiles of a group and head */
        const attn_grad_tile *tile = &r->tiles[t];
        const ops_span_grad *s = &r->job.spans[tile->span];
        for (end = t + 1; end < r->n && r->tiles[end].group == tile->group &&
                          r->tiles[end].kv_head == tile->kv_head;)
            end++;
        add_target(r, t, end, 0, s->prefix, &(attn_grad_target){.dk = s->dk_prefix, .dv = s->dv_prefix}, 0);
    }
    for (int t = 0, end; t < r->n; t = end) { /* what follows it: the tiles of a span and head */
        const attn_grad_tile *tile = &r->tiles[t];
        const ops_span_grad *s = &r->job.spans[tile->span];
        for (end = t + 1; end < r->n && r->tiles[end].span == tile->span &&
                          r->tiles[end].kv_head == tile->kv_head;)
            end++;
        add_target(r, t, end, s->prefix, s->span.first_pos + s->span.rows,
                   &(attn_grad_target){.dk = s->dk_own, .dv = s->dv_own}, s->prefix);
    }
}

static void run_round(round *r)
{
    if (r->n == 0)
        return;
    pool_run(r->pool, r->n, 1, ops_kernels()->attention_grad_rows, &r->job);
    find_targets(r);
    const attn_grad_target *last = &r->targets[r->job.n_targets - 1];
    const int items = last->first_item + (last->end - 1) / ATTN_GRAD_KEYS - last->begin / ATTN_GRAD_KEYS + 1;
    pool_run(r->pool, items, 1, ops_kernels()->attention_grad_keys, &r->job);
    r->n = 0;
    r->used = 0;
}

/* ---- tiles ------------------------------------------------------------------------------------- */

static void add_tile(round *r, attn_grad_tile tile)
{
    const ops_kv kv = r->job.kv;
    const ops_span *span = &r->job.spans[tile.span].span;
    const int per = kv.heads / kv.kv_heads;
    const int last = span->first_pos + (tile.first + tile.count - 1) / per;
    tile.block0 = attn_first_visible(kv, span->first_pos + tile.first / per) / OPS_KV_BLOCK;
    tile.block1 = last / OPS_KV_BLOCK + 1;
    tile.stride = (tile.block1 - tile.block0 + 1) * OPS_KV_BLOCK; /* one more: no power of two */
    const size_t need = tile_floats(tile.count, tile.stride);
    if (r->n == ATTN_TILES || r->used + need > r->capacity)
        run_round(r);
    assert(need <= r->capacity);
    tile.p = r->arena + r->used;
    tile.ds = tile.p + need / 2;
    r->used += need;
    r->tiles[r->n++] = tile;
}

/* Key/value heads [head0, head1) of a group. */
static void add_heads(round *r, const ops_group *group, int index, int head0, int head1)
{
    const ops_kv kv = r->job.kv;
    for (int h = head0; h < head1; h++)
        for (int s = group->first; s < group->first + group->count; s++) {
            const int total = r->job.spans[s].span.rows * (kv.heads / kv.kv_heads);
            assert(r->job.spans[s].prefix == r->job.spans[group->first].prefix);
            for (int t = 0; t < total; t += ATTN_QUERIES)
                add_tile(r, (attn_grad_tile){.group = index, .span = s, .kv_head = h, .first = t,
                                             .count = total - t < ATTN_QUERIES ? total - t : ATTN_QUERIES});
        }
}

typedef struct head_work {
    attn_grad_job job; /* without work and tiles */
    const ops_group *groups;
    int n_groups;
    float *scratch;
    size_t per_thread; /* floats */
} head_work;

/* A round in `floats` of scratch, for the threads of p. */
static void round_init(round *r, const head_work *w, pool *p, float *scratch, size_t floats)
{
    const size_t work = w->job.work_per_thread * (size_t)pool_threads(p);
    r->job = w->job;
    r->job.work = scratch;
    r->job.tiles = r->tiles;
    r->job.targets = r->targets;
    r->pool = p;
    r->n = 0;
    r->arena = scratch + work;
    r->used = 0;
    r->capacity = floats - work;
}

/* An item is a head of a group, head by head, so that the threads' runs are alike. */
static void own_heads(void *context, int begin, int end, int thread)
{
    const head_work *w = context;
    for (int item = begin; item < end; item++) {
        const int head = item / w->n_groups, group = item % w->n_groups;
        round r;
        round_init(&r, w, NULL, w->scratch + (size_t)thread * w->per_thread, w->per_thread);
        add_heads(&r, &w->groups[group], group, head, head + 1);
        run_round(&r);
    }
}

void ops_attention_grad(pool *p, ops_kv kv, const ops_span_grad *spans, const ops_group *groups,
                        int n_groups, const float *q, int ldq, const float *out, int ldo,
                        const float *dout, int lddo, float *dq, int lddq, int ldkv, float *scratch,
                        size_t scratch_per_thread)
{
    const int threads = pool_threads(p), own = kv.kv_heads / threads * threads;
    head_work w = {.job = {.kv = kv, .spans = spans, .q = q, .ldq = ldq, .out = out, .ldo = ldo, .dout = dout,
                           .lddo = lddo, .dq = dq, .lddq = lddq, .ldkv = ldkv,
                           .work_per_thread = attn_grad_work(kv.head_dim)},
                   .groups = groups, .n_groups = n_groups, .scratch = scratch, .per_thread = scratch_per_thread};
    assert(scratch_per_thread > w.job.work_per_thread);
    pool_run(p, own * n_groups, 1, own_heads, &w);
    round r;
    round_init(&r, &w, p, scratch, (size_t)threads * scratch_per_thread);
    for (int g = 0; g < n_groups; g++)
        add_heads(&r, &groups[g], g, own, kv.kv_heads);
    run_round(&r);
}
