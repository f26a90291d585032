/* Which records, in which order: duplicates, held-out split, epochs. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "train/data_set.h"

/* Streams of random numbers (base/rng) that belong to this file. */
enum { STREAM_SPLIT = 0x5D17, STREAM_EPOCH = 0x5D18 };

/* ---- equal prompts ------------------------------------------------------------------------------ */

static int compare(const void *a, const void *b, void *set)
{
    const data_set *d = set;
    size_t i = *(const size_t *)a, j = *(const size_t *)b;
    int order = XXH128_cmp(&d->hashes[i], &d->hashes[j]);
    return order ? order : (i > j) - (i < j);
}

grpo_status data_index_prompts(data_set *d, grpo_error *err)
{
    d->by_hash = mem_calloc(d->count, sizeof *d->by_hash);
    if (!d->by_hash)
        return mem_fail(err, "the data index", d->count * sizeof *d->by_hash);
    for (size_t i = 0; i < d->count; i++)
        d->by_hash[i] = i;
    qsort_r(d->by_hash, d->count, sizeof *d->by_hash, compare, d);
    d->duplicates = 0;
    for (size_t i = 1; i < d->count; i++)
        d->duplicates += XXH128_isEqual(d->hashes[d->by_hash[i - 1]], d->hashes[d->by_hash[i]]) != 0;
    return GRPO_OK;
}

size_t data_overlap(const data_set *a, const data_set *b)
{
    size_t shared = 0, j = 0;
    for (size_t i = 0; i < a->count; i++) {
        const XXH128_hash_t *h = &a->hashes[a->by_hash[i]];
        while (j < b->count && XXH128_cmp(&b->hashes[b->by_hash[j]], h) < 0)
            j++;
        shared += j < b->count && XXH128_isEqual(b->hashes[b->by_hash[j]], *h);
    }
    return shared;
}

/* ---- views ----------------------------------------------------------------------------------------- */

grpo_status data_view_all(data_view *v, const data_set *d, grpo_error *err)
{
    *v = (data_view){.set = d, .index = mem_calloc(d->count, sizeof *v->index), .count = d->count};
    if (!v->index)
        return mem_fail(err, "the data index", d->count * sizeof *v->index);
    for (size_t i = 0; i < d->count; i++)
        v->index[i] = i;
    return GRPO_OK;
}

void data_view_deinit(data_view *v)
{
    mem_free(v->index);
    *v = (data_view){0};
}

static void shuffle(size_t *items, size_t n, uint64_t seed, uint64_t stream)
{
    uint64_t used = 0;
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)rng_below(seed, stream, &used, i), kept = items[i - 1];
        items[i - 1] = items[j];
        items[j] = kept;
    }
}

/* First records of the different prompts, in the file's order. */
static size_t distinct_prompts(size_t *out, const data_set *d)
{
    size_t n = 0;
    for (size_t i = 0; i < d->count; i++) {
        size_t r = d->by_hash[i];
        if (i == 0 || !XXH128_isEqual(d->hashes[d->by_hash[i - 1]], d->hashes[r]))
            out[n++] = r;
    }
    return n;
}

static int compare_numbers(const void *a, const void *b)
{
    size_t i = *(const size_t *)a, j = *(const size_t *)b;
    return (i > j) - (i < j);
}

/* held[r] = 1 for every record whose prompt is that of a chosen one. */
static void mark_held(unsigned char *held, const data_set *d, const size_t *chosen, size_t count)
{
    for (size_t i = 0; i < count; i++)
        held[chosen[i]] = 1;
    for (size_t i = 1; i < d->count; i++) /* the first of equal prompts leads the others */
        if (XXH128_isEqual(d->hashes[d->by_hash[i - 1]], d->hashes[d->by_hash[i]]))
            held[d->by_hash[i]] = held[d->by_hash[i - 1]];
}

grpo_status data_view_split(data_view *train, data_view *held, const data_set *d, size_t held_out, uint64_t seed,
                            grpo_error *err)
{
    grpo_status status = GRPO_OK;
    *train = (data_view){.set = d, .index = mem_calloc(d->count, sizeof(size_t))};
    *held = (data_view){.set = d, .index = mem_calloc(d->count, sizeof(size_t))};
    size_t *prompts = mem_calloc(d->count, sizeof *prompts);
    unsigned char *is_held = mem_calloc(d->count, 1);
    if (!train->index || !held->index || !prompts || !is_held) {
        status = mem_fail(err, "the data index", d->count * sizeof *prompts);
        goto done;
    }
    size_t distinct = distinct_prompts(prompts, d);
    if (held_out >= distinct) {
        status = grpo_fail(err, GRPO_ERR_CONFIG, "data.held_out is %zu, but %s has %zu different prompts", held_out, d->path,
                           distinct);
        goto done;
    }
    qsort(prompts, distinct, sizeof *prompts, compare_numbers);
    shuffle(prompts, distinct, seed, STREAM_SPLIT);
    mark_held(is_held, d, prompts, held_out);
    for (size_t i = 0; i < held_out; i++)
        held->index[held->count++] = prompts[i];
    qsort(held->index, held->count, sizeof *held->index, compare_numbers);
    for (size_t i = 0; i < d->count; i++)
        if (!is_held[i])
            train->index[train->count++] = i;
done:
    mem_free(prompts);
    mem_free(is_held);
    if (status != GRPO_OK) {
        data_view_deinit(train);
        data_view_deinit(held);
    }
    return status;
}

size_t data_view_filter(data_view *v, bool (*keep)(void *context, size_t index, const data_record *r), void *context)
{
    size_t kept = 0, before = v->count;
    for (size_t i = 0; i < before; i++)
        if (keep(context, v->index[i], data_get(v->set, v->index[i])))
            v->index[kept++] = v->index[i];
    v->count = kept;
    return before - kept;
}

/* ---- the stream of training prompts ------------------------------------------------------------------ */

grpo_status data_stream_init(data_stream *s, const data_view *view, uint64_t seed, bool shuffled, grpo_error *err)
{
    *s = (data_stream){.view = view, .seed = seed, .shuffle = shuffled};
    if (view->count == 0)
        return grpo_fail(err, GRPO_ERR_CONFIG, "no training records are left");
    s->order = mem_calloc(view->count, sizeof *s->order);
    return s->order ? GRPO_OK : mem_fail(err, "the data order", view->count * sizeof *s->order);
}

size_t data_stream_at(data_stream *s, uint64_t position)
{
    size_t n = s->view->count;
    uint64_t epoch = position / n;
    if (!s->ready || s->epoch != epoch) {
        memcpy(s->order, s->view->index, n * sizeof *s->order);
        if (s->shuffle)
            shuffle(s->order, n, s->seed, (uint64_t)STREAM_EPOCH << 32 | epoch);
        s->epoch = epoch;
        s->ready = true;
    }
    return s->order[position % n];
}

void data_stream_deinit(data_stream *s)
{
    mem_free(s->order);
    *s = (data_stream){0};
}
