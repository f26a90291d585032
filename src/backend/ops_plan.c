/* How the matrix kernels' work is cut into items: sizes for the caches, enough items for the threads.
 * Nothing here changes a bit of any result. */
#include "backend/cpu/job_gemm.h"

enum {
    FEW_ROWS = 84,                /* six tiles: sampling, where the weights' way from memory counts */
    GROUP_WORDS = 96 * 1024,      /* weights of a group of panels: 384 KB of the second-level cache */
    BLOCK_ROWS = 14,              /* a tile's height where vectors are wide */
    TILE_BLOCK_ROWS = 128,        /* four of AMX */
    ITEMS_PER_THREAD = 4,
    ROUNDED_PANELS = 16,          /* panels that few rows, once rounded, are good for */
    DW_LEAST_COLUMNS = 112,       /* the copy of dy must serve several tiles */
};

static int ceil_div(int a, int b)
{
    return (a + b - 1) / b;
}

static int at_least_one(int a)
{
    return a < 1 ? 1 : a;
}

/* Few rows: single panels (one row: the pairs that its wide tile wants), each thread taking a run of
 * neighbours, so that the panel fetched ahead is its own; more of them where an item rounds its rows first.
 * Many: groups of panels that stay in the cache while the rows of a share pass over them, an item a tile's height of
 * rows, so that the threads end together. Each thread has a share of the rows, the same in every product: what one
 * product writes, the same core's caches still have for the norm or the product that follows. */
gemm_plan gemm_plan_for(int threads, ops_type type, int panels, size_t panel_words, int m)
{
    if (m <= FEW_ROWS) {
        const int share_few = ops_rounds_both(type) ? panels / (ITEMS_PER_THREAD * threads) : 0;
        const int least = m == 1 ? 2 : 1;
        const int group = share_few < least ? least : share_few < ROUNDED_PANELS ? share_few : ROUNDED_PANELS;
        return (gemm_plan){group, 1, 1};
    }
    const int tiles = type == OPS_BF16_TILE;
    const int blocks = ceil_div(m, tiles ? TILE_BLOCK_ROWS : BLOCK_ROWS);
    const int for_cache = at_least_one((int)((tiles ? 2 * GROUP_WORDS : GROUP_WORDS) / panel_words));
    const int for_threads = at_least_one(panels * blocks / (ITEMS_PER_THREAD * threads));
    return (gemm_plan){for_cache < for_threads ? for_cache : for_threads, blocks, blocks < threads ? blocks : threads};
}

/* The number of column blocks that leaves the threads idle least, at least so many items each. */
int dw_plan(dw_job *job, int threads)
{
    job->groups = gemm_groups(job->dw.n, dw_group(job->operands));
    const int most = at_least_one(job->dw.k / DW_LEAST_COLUMNS);
    int least = ceil_div(ITEMS_PER_THREAD * threads, job->groups), best = 0;
    least = least < most ? least : most;
    for (int b = least; b <= most && b < least + threads; b++) {
        const int items = job->groups * b;
        /* rounds * threads / items, compared as fractions */
        if (!best || (int64_t)ceil_div(items, threads) * job->groups * best <
                         (int64_t)ceil_div(job->groups * best, threads) * items)
            best = b;
    }
    job->column_blocks = best;
    return job->groups * best;
}
