/* Byte-pair encoding of one word. Short words search the best pair linearly; long ones use a heap,
 * so that a megabyte without a boundary stays near O(n log n). */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "text/bpe.h"
#include "text/unicode.h"

#define NO_RANK UINT32_MAX
#define SHORT_WORD 40 /* symbols up to which the linear search is faster */

/* ---- merges --------------------------------------------------------------------------- */

static size_t pair_slot(const bpe_model *m, uint64_t key)
{
    uint64_t h = key * UINT64_C(0x9E3779B97F4A7C15);
    size_t i = (h ^ h >> 32) & m->pair_mask;
    while (m->pairs[i].key != key && m->pairs[i].key != UINT64_MAX)
        i = (i + 1) & m->pair_mask;
    return i;
}

static const bpe_pair *find_pair(const bpe_model *m, uint32_t left, uint32_t right)
{
    return &m->pairs[pair_slot(m, (uint64_t)left << 32 | right)];
}

void bpe_add_merge(bpe_model *m, uint32_t left, uint32_t right, uint32_t rank, uint32_t result)
{
    uint64_t key = (uint64_t)left << 32 | right;
    size_t slot = pair_slot(m, key);
    m->pair_count += m->pairs[slot].key == UINT64_MAX;
    m->pairs[slot] = (bpe_pair){key, rank, result};
}

static void fill_single_ids(bpe_model *m)
{
    for (int b = 0; b < 256; b++) {
        char name[8] = {(char)b};
        size_t length = 1;
        if (!m->raw_bytes)
            length = (size_t)snprintf(name, sizeof name, "<0x%02X>", b);
        m->byte_ids[b] = vocab_find(m->keys, name, length);
    }
    for (int c = 0; c < 128; c++) {
        char name = (char)c;
        m->ascii_ids[c] = vocab_find(m->keys, &name, 1);
    }
}

grpo_status bpe_init(bpe_model *m, size_t merges, grpo_error *err)
{
    size_t slots = 16;
    while (slots < merges * 2)
        slots *= 2;
    m->pairs = mem_realloc(NULL, slots, sizeof *m->pairs);
    m->whole = mem_calloc(m->keys->size, sizeof *m->whole);
    if (!m->pairs || !m->whole)
        return mem_fail(err, "the merges", slots * sizeof *m->pairs);
    m->pair_mask = slots - 1;
    for (size_t i = 0; i < slots; i++)
        m->pairs[i] = (bpe_pair){UINT64_MAX, NO_RANK, VOCAB_NONE};
    fill_single_ids(m);
    return GRPO_OK;
}

void bpe_deinit(bpe_model *m)
{
    mem_free(m->pairs);
    mem_free(m->whole);
    mem_free(m->prefix);
    mem_free(m->suffix);
    memset(m, 0, sizeof *m);
}

void bpe_scratch_deinit(bpe_scratch *s)
{
    mem_free(s->ids);
    mem_free(s->previous);
    mem_free(s->next);
    mem_free(s->heap);
    mem_free(s->piece);
    memset(s, 0, sizeof *s);
}

/* ---- symbols: what a word starts from ------------------------------------------------------ */

static int add_symbol(bpe_scratch *s, uint32_t id)
{
    if (mem_reserve((void **)&s->ids, &s->capacity, s->count + 1, sizeof *s->ids) != 0)
        return -1;
    s->ids[s->count++] = id;
    return 0;
}

static int byte_symbols(const bpe_model *m, const char *word, size_t length, bpe_scratch *s)
{
    if (mem_reserve((void **)&s->ids, &s->capacity, length, sizeof *s->ids) != 0)
        return -1;
    for (size_t i = 0; i < length; i++) {
        uint32_t id = m->byte_ids[(unsigned char)word[i]];
        if (id != VOCAB_NONE)
            s->ids[s->count++] = id;
        else if (m->unknown != VOCAB_NONE &&
                 !(m->fuse_unknown && s->count && s->ids[s->count - 1] == m->unknown))
            s->ids[s->count++] = m->unknown;
    }
    return 0;
}

/* The character with the prefix and suffix that its place in the word asks for. */
static int dress_piece(const bpe_model *m, bpe_scratch *s, const char *c, size_t size, int first,
                       int last, size_t *length)
{
    size_t before = m->prefix && !first ? strlen(m->prefix) : 0;
    size_t after = m->suffix && last ? strlen(m->suffix) : 0;
    *length = before + size + after;
    if (mem_reserve((void **)&s->piece, &s->piece_capacity, *length, 1) != 0)
        return -1;
    if (before)
        memcpy(s->piece, m->prefix, before);
    memcpy(s->piece + before, c, size);
    if (after)
        memcpy(s->piece + before + size, m->suffix, after);
    return 0;
}

/* <0xNN> tokens for all bytes of a piece: 1, 0 when one of them has no token, -1 on failure. */
static int fall_back(const bpe_model *m, const char *piece, size_t length, bpe_scratch *s)
{
    for (size_t i = 0; i < length; i++)
        if (m->byte_ids[(unsigned char)piece[i]] == VOCAB_NONE)
            return 0;
    for (size_t i = 0; i < length; i++)
        if (add_symbol(s, m->byte_ids[(unsigned char)piece[i]]) != 0)
            return -1;
    return 1;
}

/* Unknown characters are held back (`held`) until the next known one, so that they can be fused.
 * Byte-fallback tokens do not count as known there, as in the crate: they overtake a held one. */
static int character_symbols(const bpe_model *m, const char *word, size_t length, bpe_scratch *s)
{
    int plain = !m->prefix && !m->suffix, held = 0, result = 0;
    for (size_t i = 0, size; i < length; i += size) {
        size = utf8_size((unsigned char)word[i]);
        const char *piece = word + i;
        size_t piece_length = size;
        if (!plain) {
            if (dress_piece(m, s, word + i, size, i == 0, i + size == length, &piece_length) != 0)
                return -1;
            piece = s->piece;
        }
        uint32_t id = plain && size == 1 ? m->ascii_ids[(unsigned char)word[i]]
                                         : vocab_find(m->keys, piece, piece_length);
        if (id != VOCAB_NONE) {
            if (held && add_symbol(s, m->unknown) != 0)
                return -1;
            held = 0;
            if (add_symbol(s, id) != 0)
                return -1;
            continue;
        }
        if (m->byte_fallback && (result = fall_back(m, piece, piece_length, s)) != 0) {
            if (result < 0)
                return -1;
            continue;
        }
        if (m->unknown == VOCAB_NONE)
            continue;
        if (held && !m->fuse_unknown && add_symbol(s, m->unknown) != 0)
            return -1;
        held = 1;
    }
    return held ? add_symbol(s, m->unknown) : 0;
}

/* ---- merging ----------------------------------------------------------------------------- */

static size_t merge_short(const bpe_model *m, uint32_t *ids, size_t count)
{
    uint32_t rank[SHORT_WORD], result[SHORT_WORD];
    for (size_t i = 0; i + 1 < count; i++) {
        const bpe_pair *p = find_pair(m, ids[i], ids[i + 1]);
        rank[i] = p->rank;
        result[i] = p->result;
    }
    while (count > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < count; i++)
            if (rank[i] < rank[best])
                best = i;
        if (rank[best] == NO_RANK)
            break;
        ids[best] = result[best];
        count--;
        for (size_t i = best + 1; i < count; i++)
            ids[i] = ids[i + 1];
        for (size_t i = best; i + 1 < count; i++) {
            rank[i] = rank[i + 1];
            result[i] = result[i + 1];
        }
        for (size_t i = best ? best - 1 : 0; i <= best && i + 1 < count; i++) {
            const bpe_pair *p = find_pair(m, ids[i], ids[i + 1]);
            rank[i] = p->rank;
            result[i] = p->result;
        }
    }
    return count;
}

/* The heap holds rank << 32 | position: smallest rank first, then leftmost. An entry whose pair has
 * since changed is recognised when it is taken out, because the pair then has another rank. */
static void sift_down(uint64_t *heap, size_t count, size_t i)
{
    uint64_t item = heap[i];
    for (size_t child; (child = 2 * i + 1) < count; i = child) {
        if (child + 1 < count && heap[child + 1] < heap[child])
            child++;
        if (heap[child] >= item)
            break;
        heap[i] = heap[child];
    }
    heap[i] = item;
}

static void heap_push(uint64_t *heap, size_t *count, uint64_t item)
{
    size_t i = (*count)++;
    while (i > 0 && heap[(i - 1) / 2] > item) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = item;
}

static int reserve_long(bpe_scratch *s, size_t count)
{
    size_t capacity = s->link_capacity;
    if (mem_reserve((void **)&s->previous, &capacity, count, sizeof *s->previous) != 0 ||
        mem_reserve((void **)&s->next, &s->link_capacity, count, sizeof *s->next) != 0)
        return -1;
    /* At most one entry for each pair at the start and two for each merge, of which there are
     * fewer than symbols; every merge takes one out first. */
    return mem_reserve((void **)&s->heap, &s->heap_capacity, 2 * count, sizeof *s->heap);
}

static void push_pair(const bpe_model *m, bpe_scratch *s, size_t *heap_count, uint32_t left,
                      uint32_t right)
{
    uint32_t rank = find_pair(m, s->ids[left], s->ids[right])->rank;
    if (rank != NO_RANK)
        heap_push(s->heap, heap_count, (uint64_t)rank << 32 | left);
}

#define END UINT32_MAX

static int merge_long(const bpe_model *m, bpe_scratch *s)
{
    size_t count = s->count, heap_count = 0;
    if (reserve_long(s, count) != 0)
        return -1;
    for (uint32_t i = 0; i < count; i++) {
        s->previous[i] = i ? i - 1 : END;
        s->next[i] = i + 1 < count ? i + 1 : END;
        if (i + 1 < count) {
            uint32_t rank = find_pair(m, s->ids[i], s->ids[i + 1])->rank;
            if (rank != NO_RANK)
                s->heap[heap_count++] = (uint64_t)rank << 32 | i;
        }
    }
    for (size_t i = heap_count / 2; i-- > 0;)
        sift_down(s->heap, heap_count, i);
    while (heap_count > 0) {
        uint32_t rank = (uint32_t)(s->heap[0] >> 32), at = (uint32_t)s->heap[0];
        s->heap[0] = s->heap[--heap_count];
        if (heap_count)
            sift_down(s->heap, heap_count, 0);
        if (s->ids[at] == VOCAB_NONE || s->next[at] == END)
            continue;
        uint32_t right = s->next[at];
        const bpe_pair *p = find_pair(m, s->ids[at], s->ids[right]);
        if (p->rank != rank)
            continue;
        s->ids[at] = p->result;
        s->ids[right] = VOCAB_NONE;
        s->next[at] = s->next[right];
        if (s->next[at] != END) {
            s->previous[s->next[at]] = at;
            push_pair(m, s, &heap_count, at, s->next[at]);
        }
        if (s->previous[at] != END)
            push_pair(m, s, &heap_count, s->previous[at], at);
    }
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (s->ids[i] != VOCAB_NONE)
            s->ids[kept++] = s->ids[i];
    s->count = kept;
    return 0;
}

/* ---- words --------------------------------------------------------------------------------- */

static int push_ids(bpe_ids *out, const uint32_t *ids, size_t count)
{
    if (mem_reserve((void **)&out->data, &out->capacity, out->count + count, sizeof *out->data) != 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        out->data[out->count + i] = (int32_t)ids[i];
    out->count += count;
    return 0;
}

grpo_status bpe_encode_word(const bpe_model *m, const char *word, size_t length, bpe_scratch *s,
                            bpe_ids *out, grpo_error *err)
{
    enum { UNSEEN, YES, NO };
    if (length >= INT32_MAX)
        return grpo_fail(err, GRPO_ERR_UNSUPPORTED, "a text of more than 2 GiB cannot be tokenized");
    uint32_t token = vocab_find(m->keys, word, length);
    int seen = UNSEEN;
    if (token != VOCAB_NONE) {
        seen = m->ignore_merges ? YES : atomic_load_explicit(&m->whole[token], memory_order_relaxed);
        if (seen == YES)
            return push_ids(out, &token, 1) == 0 ? GRPO_OK : mem_fail(err, "token ids", out->count);
    }
    s->count = 0;
    int failed = m->raw_bytes ? byte_symbols(m, word, length, s) : character_symbols(m, word, length, s);
    if (!failed && s->count > SHORT_WORD)
        failed = merge_long(m, s);
    else if (!failed)
        s->count = merge_short(m, s->ids, s->count);
    if (failed || push_ids(out, s->ids, s->count) != 0)
        return mem_fail(err, "the tokens of a word", length);
    if (token != VOCAB_NONE && seen == UNSEEN)
        atomic_store_explicit(&m->whole[token], s->count == 1 && s->ids[0] == token ? YES : NO,
                              memory_order_relaxed);
    return GRPO_OK;
}
