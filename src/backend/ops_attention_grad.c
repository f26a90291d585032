/* Attention, backward: how the work is cut. Tiles of rows are taken in order (group, key/value head, span,
 * row) into rounds that fill the scratch; each round computes its tiles in parallel, then gathers the
 * gradients of keys and values in parallel over keys. A key's gradient is one chain over rows in order,
 * so neither rounds nor threads change a bit. */
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

static void add_group(round *r, const ops_group *group, int index)
{
    const ops_kv kv = r->job.kv;
    for (int h = 0; h < kv.kv_heads; h++)
        for (int s = group->first; s < group->first + group->count; s++) {
            const int total = r->job.spans[s].span.rows * (kv.heads / kv.kv_heads);
            assert(r->job.spans[s].prefix == r->job.spans[group->first].prefix);
            for (int t = 0; t < total; t += ATTN_QUERIES)
                add_tile(r, (attn_grad_tile){.group = index, .span = s, .kv_head = h, .first = t,
                                             .count = total - t < ATTN_QUERIES ? total - t : ATTN_QUERIES});
        }
}

void ops_attention_grad(pool *p, ops_kv kv, const ops_span_grad *spans, const ops_group *groups,
                        int n_groups, const float *q, int ldq, const float *out, int ldo,
                        const float *dout, int lddo, float *dq, int lddq, int ldkv, float *scratch,
                        size_t scratch_per_thread)
{
    const size_t work = attn_grad_work(kv.head_dim), threads = (size_t)pool_threads(p);
    assert(scratch_per_thread > work);
    round r = {.job = {.kv = kv, .spans = spans, .q = q, .ldq = ldq, .out = out, .ldo = ldo, .dout = dout,
                       .lddo = lddo, .dq = dq, .lddq = lddq, .ldkv = ldkv, .work = scratch,
                       .work_per_thread = work},
               .pool = p, .arena = scratch + threads * work,
               .capacity = threads * (scratch_per_thread - work)};
    r.job.tiles = r.tiles;
    r.job.targets = r.targets;
    for (int g = 0; g < n_groups; g++)
        add_group(&r, &groups[g], g);
    run_round(&r);
}
