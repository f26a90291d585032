/* Token strings and their hash table. */
#include <string.h>

#include "base/mem.h"
#include "text/vocab.h"

static uint64_t hash(const char *text, size_t length)
{
    uint64_t h = length * UINT64_C(0x9E3779B97F4A7C15);
    uint64_t word = 0;
    while (length >= 8) {
        memcpy(&word, text, 8);
        h = (h ^ word) * UINT64_C(0xD6E8FEB86659FD93);
        h ^= h >> 32;
        text += 8;
        length -= 8;
    }
    word = 0;
    for (size_t i = 0; i < length; i++)
        word = word << 8 | (unsigned char)text[i];
    h = (h ^ word) * UINT64_C(0xD6E8FEB86659FD93);
    return h ^ h >> 29;
}

grpo_status vocab_init(vocab *v, uint32_t size, grpo_error *err)
{
    memset(v, 0, sizeof *v);
    size_t slots = 16;
    while (slots < (size_t)size * 2)
        slots *= 2;
    v->entries = mem_realloc(NULL, size, sizeof *v->entries);
    v->slots = mem_realloc(NULL, slots, sizeof *v->slots);
    if (!v->entries || !v->slots) {
        vocab_deinit(v);
        return mem_fail(err, "a vocabulary", slots * sizeof *v->slots);
    }
    v->size = size;
    v->mask = slots - 1;
    memset(v->slots, 0xFF, slots * sizeof *v->slots);
    for (uint32_t i = 0; i < size; i++)
        v->entries[i] = (vocab_entry){0, VOCAB_NONE};
    return GRPO_OK;
}

void vocab_deinit(vocab *v)
{
    mem_free(v->text);
    mem_free(v->entries);
    mem_free(v->slots);
    memset(v, 0, sizeof *v);
}

/* The slot that holds this string, or the free one where it belongs. */
static size_t find_slot(const vocab *v, const char *text, size_t length)
{
    size_t i = hash(text, length) & v->mask;
    while (v->slots[i] != VOCAB_NONE) {
        const vocab_entry *e = &v->entries[v->slots[i]];
        if (e->length == length && memcmp(v->text + e->offset, text, length) == 0)
            break;
        i = (i + 1) & v->mask;
    }
    return i;
}

uint32_t vocab_find(const vocab *v, const char *text, size_t length)
{
    if (length > v->longest || v->count == 0)
        return VOCAB_NONE;
    return v->slots[find_slot(v, text, length)];
}

grpo_status vocab_set(vocab *v, uint32_t id, const char *text, size_t length, vocab_mode mode,
                      grpo_error *err)
{
    int shown = length > 60 ? 60 : (int)length;
    if (id >= v->size || v->entries[id].length != VOCAB_NONE)
        return grpo_fail(err, GRPO_ERR_FORMAT, "the id %u of token '%.*s' %s", id, shown, text,
                         id >= v->size ? "is out of range" : "belongs to another token already");
    if (length >= VOCAB_NONE ||
        mem_reserve((void **)&v->text, &v->text_capacity, v->text_length + length + 1, 1) != 0)
        return mem_fail(err, "token strings", v->text_length + length);
    if (mode == VOCAB_UNIQUE) {
        size_t slot = find_slot(v, text, length);
        if (v->slots[slot] != VOCAB_NONE)
            return grpo_fail(err, GRPO_ERR_FORMAT, "the token '%.*s' is there twice, with ids %u and %u",
                             shown, text, v->slots[slot], id);
        v->slots[slot] = id;
        if (length > v->longest)
            v->longest = length;
    }
    if (length)
        memcpy(v->text + v->text_length, text, length);
    v->entries[id] = (vocab_entry){v->text_length, (uint32_t)length};
    v->text_length += length;
    v->count++;
    return GRPO_OK;
}
