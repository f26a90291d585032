/* Lists, tuples and ordered dicts. */
#include <string.h>

#include "text/jinja_ops.h"

#define SMALL_DICT 8 /* up to here looked up by scanning */

void jinja_push(jinja_run *r, jinja_list_builder *b, jinja_value v)
{
    b->items = jinja_grow(r, b->items, b->count, &b->capacity, sizeof *b->items);
    b->items[b->count++] = v;
}

static jinja_list *new_list(jinja_run *r, jinja_value *items, size_t n)
{
    jinja_list *l = jinja_alloc(r, 1, sizeof *l);
    *l = (jinja_list){.items = items, .count = n};
    return l;
}

jinja_value jinja_build_list(jinja_run *r, const jinja_list_builder *b)
{
    return jinja_of_list(new_list(r, b->items, b->count));
}

jinja_value jinja_build_tuple(jinja_run *r, const jinja_list_builder *b)
{
    return jinja_of_tuple(new_list(r, b->items, b->count));
}

static jinja_value *copy_items(jinja_run *r, const jinja_value *items, size_t n)
{
    jinja_value *copy = jinja_alloc(r, n, sizeof *copy);
    if (n)
        memcpy(copy, items, n * sizeof *copy);
    jinja_charge(r, 1 + n / 8);
    return copy;
}

jinja_value jinja_tuple_of(jinja_run *r, const jinja_value *items, size_t n)
{
    return jinja_of_tuple(new_list(r, copy_items(r, items, n), n));
}

jinja_value jinja_list_of(jinja_run *r, const jinja_value *items, size_t n)
{
    return jinja_of_list(new_list(r, copy_items(r, items, n), n));
}

/* ---- dicts -------------------------------------------------------------------------------- */

jinja_dict *jinja_dict_new(jinja_run *r)
{
    return jinja_zalloc(r, 1, sizeof(jinja_dict));
}

static void index_pair(jinja_run *r, jinja_dict *d, size_t position)
{
    size_t mask = d->index_size - 1, i = jinja_hash(r, d->pairs[position].key) & mask;
    while (d->index[i])
        i = (i + 1) & mask;
    d->index[i] = (uint32_t)position + 1;
}

static void build_index(jinja_run *r, jinja_dict *d)
{
    size_t size = 32;
    while (size < d->count * 4)
        size *= 2;
    d->index = jinja_zalloc(r, size, sizeof *d->index);
    d->index_size = size;
    for (size_t i = 0; i < d->count; i++)
        index_pair(r, d, i);
}

static jinja_pair *find_pair(jinja_run *r, const jinja_dict *d, jinja_value key)
{
    uint64_t hash = jinja_hash(r, key); /* also refuses what cannot be a key */
    if (!d->index) {
        for (size_t i = 0; i < d->count; i++)
            if (jinja_same(d->pairs[i].key, key) || jinja_equal(r, d->pairs[i].key, key))
                return &d->pairs[i];
        return NULL;
    }
    size_t mask = d->index_size - 1;
    for (size_t i = hash & mask; d->index[i]; i = (i + 1) & mask) {
        jinja_pair *p = &d->pairs[d->index[i] - 1];
        jinja_charge(r, 1);
        if (jinja_same(p->key, key) || jinja_equal(r, p->key, key))
            return p;
    }
    return NULL;
}

void jinja_dict_set(jinja_run *r, jinja_dict *d, jinja_value key, jinja_value value)
{
    jinja_pair *p = find_pair(r, d, key);
    if (p) {
        p->value = value;
        return;
    }
    d->pairs = jinja_grow(r, d->pairs, d->count, &d->capacity, sizeof *d->pairs);
    d->pairs[d->count++] = (jinja_pair){key, value};
    if (d->index && d->count * 2 <= d->index_size)
        index_pair(r, d, d->count - 1);
    else if (d->count > SMALL_DICT)
        build_index(r, d);
}

jinja_value *jinja_dict_get(jinja_run *r, const jinja_dict *d, jinja_value key)
{
    jinja_pair *p = find_pair(r, d, key);
    return p ? &p->value : NULL;
}

jinja_dict *jinja_dict_copy(jinja_run *r, const jinja_dict *d)
{
    jinja_dict *copy = jinja_dict_new(r);
    for (size_t i = 0; i < d->count; i++)
        jinja_dict_set(r, copy, d->pairs[i].key, d->pairs[i].value);
    return copy;
}
