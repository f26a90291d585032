/* The GGUF reader. A cursor walks the header; every step checks what is left of the file. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/gguf.h"

enum {
    MAX_KEY = 65535,  /* bytes, by the format */
    MAX_NAME = 1024,  /* bytes of a tensor's name (the format says 64) */
    MAX_NESTING = 4,  /* arrays of arrays */
};

typedef struct cursor {
    const gguf_file *file;
    size_t position;
    grpo_error *err;
    const char *what; /* being read, for messages */
} cursor;

static const unsigned char item_bytes[GGUF_TYPES] = {
    [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_U16] = 2,  [GGUF_I16] = 2, [GGUF_U32] = 4, [GGUF_I32] = 4,
    [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
};

static uint64_t load_unsigned(const unsigned char *p, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)p[i] << 8 * i;
    return v;
}

static size_t left(const cursor *c)
{
    return c->file->map.size - c->position;
}

static grpo_status truncated(const cursor *c)
{
    return grpo_fail(c->err, GRPO_ERR_FORMAT,
                     "%s: the file ends inside %s (at byte %zu of %zu); it is truncated or damaged, "
                     "fetch it again",
                     c->file->path, c->what, c->position, c->file->map.size);
}

/* Steps over n bytes and gives their address; NULL when they are not there. */
static const unsigned char *take(cursor *c, uint64_t n)
{
    if (n > left(c)) {
        truncated(c);
        return NULL;
    }
    const unsigned char *p = c->file->map.data + c->position;
    c->position += (size_t)n;
    return p;
}

static int take_number(cursor *c, unsigned bytes, uint64_t *out)
{
    const unsigned char *p = take(c, bytes);
    if (!p)
        return 0;
    *out = load_unsigned(p, bytes);
    return 1;
}

/* A string of at most `limit` bytes without NUL, copied. */
static char *take_name(cursor *c, size_t limit)
{
    uint64_t length;
    if (!take_number(c, 8, &length))
        return NULL;
    if (length == 0 || length > limit) {
        grpo_fail(c->err, GRPO_ERR_FORMAT, "%s: %s at byte %zu has a name of %llu bytes, 1 to %zu are allowed",
                  c->file->path, c->what, c->position, (unsigned long long)length, limit);
        return NULL;
    }
    const unsigned char *p = take(c, length);
    if (!p)
        return NULL;
    if (memchr(p, 0, (size_t)length)) {
        grpo_fail(c->err, GRPO_ERR_FORMAT, "%s: %s has a name with a zero byte in it", c->file->path,
                  c->what);
        return NULL;
    }
    char *name = mem_strndup((const char *)p, (size_t)length);
    if (!name)
        mem_fail(c->err, "a GGUF name", (size_t)length);
    return name;
}

static grpo_status take_value(cursor *c, gguf_type type, gguf_value *v, int depth);

static grpo_status take_array(cursor *c, gguf_value *v, int depth)
{
    uint64_t item;
    if (!take_number(c, 4, &item) || !take_number(c, 8, &v->count))
        return GRPO_ERR_FORMAT;
    if (item >= GGUF_TYPES)
        return grpo_fail(c->err, GRPO_ERR_FORMAT, "%s: %s is an array of unknown type %llu",
                         c->file->path, c->what, (unsigned long long)item);
    v->item = (gguf_type)item;
    v->data = c->file->map.data + c->position;
    if (item_bytes[item]) {
        if (v->count > left(c) / item_bytes[item])
            return truncated(c);
        v->bytes = v->count * item_bytes[item];
        c->position += (size_t)v->bytes;
        return GRPO_OK;
    }
    if (depth >= MAX_NESTING)
        return grpo_fail(c->err, GRPO_ERR_FORMAT, "%s: %s is nested more than %d deep", c->file->path,
                         c->what, MAX_NESTING);
    for (uint64_t i = 0; i < v->count; i++) { /* every item takes at least 8 bytes: bounded by the file */
        gguf_value nested;
        grpo_status status = take_value(c, v->item, &nested, depth + 1);
        if (status != GRPO_OK)
            return status;
    }
    v->bytes = (uint64_t)(c->file->map.data + c->position - v->data);
    return GRPO_OK;
}

static grpo_status take_value(cursor *c, gguf_type type, gguf_value *v, int depth)
{
    *v = (gguf_value){.type = type, .count = 1};
    if (type == GGUF_ARRAY)
        return take_array(c, v, depth);
    if (type == GGUF_STRING && !take_number(c, 8, &v->count))
        return GRPO_ERR_FORMAT;
    v->bytes = type == GGUF_STRING ? v->count : item_bytes[type];
    v->data = take(c, v->bytes);
    return v->data ? GRPO_OK : GRPO_ERR_FORMAT;
}

static grpo_status take_pair(cursor *c, gguf_pair *pair)
{
    uint64_t type;
    c->what = "a metadata key";
    pair->key = take_name(c, MAX_KEY);
    if (!pair->key)
        return GRPO_ERR_FORMAT;
    c->what = pair->key;
    if (!take_number(c, 4, &type))
        return GRPO_ERR_FORMAT;
    if (type >= GGUF_TYPES)
        return grpo_fail(c->err, GRPO_ERR_FORMAT, "%s: %s has unknown type %llu", c->file->path,
                         pair->key, (unsigned long long)type);
    return take_value(c, (gguf_type)type, &pair->value, 0);
}

/* Elements and bytes, with every product checked. */
static grpo_status measure_tensor(cursor *c, gguf_tensor *t)
{
    uint64_t elements = 1;
    for (int i = 0; i < t->rank; i++) {
        if (t->ne[i] <= 0 || __builtin_mul_overflow(elements, (uint64_t)t->ne[i], &elements))
            return grpo_fail(c->err, GRPO_ERR_FORMAT, "%s: tensor %s has an impossible size %lld in dimension %d",
                             c->file->path, t->name, (long long)t->ne[i], i);
    }
    if (t->ne[0] % t->type->elements != 0)
        return grpo_fail(c->err, GRPO_ERR_FORMAT,
                         "%s: tensor %s has rows of %lld elements, type %s needs a multiple of %u",
                         c->file->path, t->name, (long long)t->ne[0], t->type->name, t->type->elements);
    if (__builtin_mul_overflow(elements / t->type->elements, (uint64_t)t->type->bytes, &t->bytes))
        return grpo_fail(c->err, GRPO_ERR_FORMAT, "%s: tensor %s is impossibly large", c->file->path,
                         t->name);
    return GRPO_OK;
}

static grpo_status take_tensor(cursor *c, gguf_tensor *t)
{
    uint64_t rank, type;
    c->what = "the tensor directory";
    t->name = take_name(c, MAX_NAME);
    if (!t->name || !take_number(c, 4, &rank))
        return GRPO_ERR_FORMAT;
    if (rank < 1 || rank > 4)
        return grpo_fail(c->err, GRPO_ERR_FORMAT, "%s: tensor %s has %llu dimensions, 1 to 4 are allowed",
                         c->file->path, t->name, (unsigned long long)rank);
    t->rank = (int)rank;
    for (int i = 0; i < t->rank; i++) {
        uint64_t n;
        if (!take_number(c, 8, &n))
            return GRPO_ERR_FORMAT;
        t->ne[i] = n > INT64_MAX ? -1 : (int64_t)n;
    }
    if (!take_number(c, 4, &type) || !take_number(c, 8, &t->offset))
        return GRPO_ERR_FORMAT;
    t->type = tensor_type_of_ggml((uint32_t)type);
    if (!t->type)
        return grpo_fail(c->err, GRPO_ERR_UNSUPPORTED, "%s: tensor %s has unknown type %llu (supported: %s)",
                         c->file->path, t->name, (unsigned long long)type, tensor_type_list());
    return measure_tensor(c, t);
}

static int compare_pairs(const void *a, const void *b)
{
    return strcmp(((const gguf_pair *)a)->key, ((const gguf_pair *)b)->key);
}

typedef struct named { /* sorted together with its index: qsort has no context */
    const char *name;
    uint32_t index;
} named;

static int compare_named(const void *a, const void *b)
{
    return strcmp(((const named *)a)->name, ((const named *)b)->name);
}

static grpo_status index_pairs(gguf_file *f, grpo_error *err)
{
    if (f->n_pairs)
        qsort(f->pairs, f->n_pairs, sizeof *f->pairs, compare_pairs);
    for (size_t i = 1; i < f->n_pairs; i++)
        if (strcmp(f->pairs[i - 1].key, f->pairs[i].key) == 0)
            return grpo_fail(err, GRPO_ERR_FORMAT, "%s: the metadata key %s occurs twice", f->path,
                             f->pairs[i].key);
    return GRPO_OK;
}

static grpo_status index_tensors(gguf_file *f, grpo_error *err)
{
    named *names = mem_calloc(f->n_tensors, sizeof *names);
    f->by_name = mem_calloc(f->n_tensors, sizeof *f->by_name);
    if (!names || !f->by_name) {
        mem_free(names);
        return mem_fail(err, "the tensor directory", f->n_tensors * sizeof *names);
    }
    for (size_t i = 0; i < f->n_tensors; i++)
        names[i] = (named){f->tensors[i].name, (uint32_t)i};
    if (f->n_tensors)
        qsort(names, f->n_tensors, sizeof *names, compare_named);
    grpo_status status = GRPO_OK;
    for (size_t i = 0; i < f->n_tensors; i++) {
        f->by_name[i] = names[i].index;
        if (i > 0 && status == GRPO_OK && strcmp(names[i - 1].name, names[i].name) == 0)
            status = grpo_fail(err, GRPO_ERR_FORMAT, "%s: tensor %s occurs twice", f->path, names[i].name);
    }
    mem_free(names);
    return status;
}

static int compare_offsets(const void *a, const void *b)
{
    const gguf_tensor *x = *(const gguf_tensor *const *)a, *y = *(const gguf_tensor *const *)b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static grpo_status check_overlaps(gguf_file *f, grpo_error *err)
{
    const gguf_tensor **order = mem_calloc(f->n_tensors, sizeof *order);
    if (!order)
        return mem_fail(err, "the tensor directory", f->n_tensors * sizeof *order);
    for (size_t i = 0; i < f->n_tensors; i++)
        order[i] = &f->tensors[i];
    if (f->n_tensors)
        qsort(order, f->n_tensors, sizeof *order, compare_offsets);
    grpo_status status = GRPO_OK;
    for (size_t i = 1; i < f->n_tensors && status == GRPO_OK; i++)
        if (order[i - 1]->offset + order[i - 1]->bytes > order[i]->offset)
            status = grpo_fail(err, GRPO_ERR_FORMAT, "%s: tensors %s and %s overlap", f->path,
                               order[i - 1]->name, order[i]->name);
    mem_free(order);
    return status;
}

static grpo_status place_tensors(gguf_file *f, size_t header, grpo_error *err)
{
    const gguf_value *alignment = gguf_find(f, "general.alignment");
    int64_t n = 32;
    if (alignment && (alignment->type != GGUF_U32 || !gguf_as_int(alignment, &n) || n < 1 || (n & (n - 1))))
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: general.alignment must be a power of two", f->path);
    f->alignment = (uint64_t)n;
    uint64_t start = ((uint64_t)header + f->alignment - 1) / f->alignment * f->alignment;
    uint64_t room = f->map.size > start ? f->map.size - start : 0;
    for (size_t i = 0; i < f->n_tensors; i++) {
        gguf_tensor *t = &f->tensors[i];
        if (t->offset % f->alignment != 0)
            return grpo_fail(err, GRPO_ERR_FORMAT, "%s: tensor %s starts at offset %llu, not a multiple of %llu",
                             f->path, t->name, (unsigned long long)t->offset,
                             (unsigned long long)f->alignment);
        if (t->bytes > room || t->offset > room - t->bytes)
            return grpo_fail(err, GRPO_ERR_FORMAT,
                             "%s: tensor %s reaches past the end of the file (%llu bytes at offset %llu of %llu "
                             "bytes of data); it is truncated or damaged, fetch it again",
                             f->path, t->name, (unsigned long long)t->bytes,
                             (unsigned long long)t->offset, (unsigned long long)room);
        t->data = f->map.data + start + t->offset;
    }
    return check_overlaps(f, err);
}

static grpo_status read_start(cursor *c, uint64_t *tensors, uint64_t *pairs)
{
    gguf_file *f = (gguf_file *)c->file;
    uint64_t version;
    const unsigned char *magic = take(c, 4);
    if (!magic)
        return GRPO_ERR_FORMAT;
    if (memcmp(magic, "GGUF", 4) != 0)
        return grpo_fail(c->err, GRPO_ERR_FORMAT, "%s is not a GGUF file (it does not begin with \"GGUF\")",
                         f->path);
    if (!take_number(c, 4, &version))
        return GRPO_ERR_FORMAT;
    if ((version & 0xFFFF) == 0)
        return grpo_fail(c->err, GRPO_ERR_UNSUPPORTED, "%s is a big-endian GGUF file; convert it to little-endian",
                         f->path);
    if (version != 2 && version != 3)
        return grpo_fail(c->err, GRPO_ERR_UNSUPPORTED, "%s has GGUF version %llu; 2 and 3 are supported",
                         f->path, (unsigned long long)version);
    f->version = (uint32_t)version;
    if (!take_number(c, 8, tensors) || !take_number(c, 8, pairs))
        return GRPO_ERR_FORMAT;
    /* A pair takes 13 bytes at least and a directory entry 33: larger counts are lies. */
    if (*pairs > left(c) / 13 || *tensors > left(c) / 33 || *tensors > UINT32_MAX)
        return grpo_fail(c->err, GRPO_ERR_FORMAT,
                         "%s: the header announces %llu metadata keys and %llu tensors, more than fit "
                         "in the file; it is truncated or damaged",
                         f->path, (unsigned long long)*pairs, (unsigned long long)*tensors);
    return GRPO_OK;
}

static grpo_status read_header(gguf_file *f, grpo_error *err)
{
    cursor c = {f, 0, err, "the header"};
    uint64_t tensors = 0, pairs = 0;
    size_t capacity = 0;
    grpo_status status = read_start(&c, &tensors, &pairs);
    for (uint64_t i = 0; status == GRPO_OK && i < pairs; i++) {
        if (mem_reserve((void **)&f->pairs, &capacity, f->n_pairs + 1, sizeof *f->pairs) != 0)
            return mem_fail(err, "GGUF metadata", f->n_pairs * sizeof *f->pairs);
        f->pairs[f->n_pairs] = (gguf_pair){0};
        status = take_pair(&c, &f->pairs[f->n_pairs++]);
    }
    capacity = 0;
    for (uint64_t i = 0; status == GRPO_OK && i < tensors; i++) {
        if (mem_reserve((void **)&f->tensors, &capacity, f->n_tensors + 1, sizeof *f->tensors) != 0)
            return mem_fail(err, "the tensor directory", f->n_tensors * sizeof *f->tensors);
        f->tensors[f->n_tensors] = (gguf_tensor){0};
        status = take_tensor(&c, &f->tensors[f->n_tensors++]);
    }
    if (status == GRPO_OK)
        status = index_pairs(f, err);
    if (status == GRPO_OK)
        status = index_tensors(f, err);
    return status == GRPO_OK ? place_tensors(f, c.position, err) : status;
}

static grpo_status open_map(gguf_file *f, const char *name, grpo_error *err)
{
    f->path = mem_strdup(name);
    grpo_error local = {0};
    grpo_status status = f->path ? read_header(f, &local) : mem_fail(&local, "a file name", strlen(name));
    if (status == GRPO_OK)
        return GRPO_OK;
    if (err)
        *err = local;
    status = local.status; /* the precise one: helpers return FORMAT for everything */
    return status;
}

grpo_status gguf_open_memory(gguf_file *f, const void *bytes, size_t size, const char *name,
                             grpo_error *err)
{
    *f = (gguf_file){.map = {bytes, size}};
    grpo_status status = open_map(f, name, err);
    f->map = (file_map){0}; /* not ours to unmap */
    if (status != GRPO_OK)
        gguf_close(f);
    return status;
}

grpo_status gguf_open(gguf_file *f, const char *path, grpo_error *err)
{
    *f = (gguf_file){0};
    grpo_status status = file_map_open(&f->map, path, err);
    if (status != GRPO_OK)
        return status;
    status = open_map(f, path, err);
    if (status != GRPO_OK)
        gguf_close(f);
    return status;
}

void gguf_close(gguf_file *f)
{
    for (size_t i = 0; i < f->n_pairs; i++)
        mem_free(f->pairs[i].key);
    for (size_t i = 0; i < f->n_tensors; i++)
        mem_free(f->tensors[i].name);
    mem_free(f->pairs);
    mem_free(f->tensors);
    mem_free(f->by_name);
    mem_free(f->path);
    file_map_close(&f->map);
    *f = (gguf_file){0};
}

const gguf_value *gguf_find(const gguf_file *f, const char *key)
{
    gguf_pair wanted = {.key = (char *)key};
    if (f->n_pairs == 0)
        return NULL;
    const gguf_pair *pair = bsearch(&wanted, f->pairs, f->n_pairs, sizeof wanted, compare_pairs);
    return pair ? &pair->value : NULL;
}

const gguf_tensor *gguf_find_tensor(const gguf_file *f, const char *name)
{
    size_t low = 0, high = f->n_tensors;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const gguf_tensor *t = &f->tensors[f->by_name[middle]];
        int order = strcmp(name, t->name);
        if (order == 0)
            return t;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static int scalar_int(gguf_type type, const unsigned char *p, int64_t *out)
{
    uint64_t u = load_unsigned(p, item_bytes[type]);
    switch (type) {
    case GGUF_I8: *out = (int8_t)u; return 1;
    case GGUF_I16: *out = (int16_t)u; return 1;
    case GGUF_I32: *out = (int32_t)u; return 1;
    case GGUF_I64: *out = (int64_t)u; return 1;
    case GGUF_U8: case GGUF_U16: case GGUF_U32: case GGUF_BOOL: *out = (int64_t)u; return 1;
    case GGUF_U64: *out = (int64_t)u; return u <= INT64_MAX;
    default: return 0;
    }
}

static int scalar_double(gguf_type type, const unsigned char *p, double *out)
{
    int64_t integer;
    if (type == GGUF_F32) {
        uint32_t bits = (uint32_t)load_unsigned(p, 4);
        float f;
        memcpy(&f, &bits, sizeof f);
        *out = f;
        return 1;
    }
    if (type == GGUF_F64) {
        uint64_t bits = load_unsigned(p, 8);
        memcpy(out, &bits, sizeof *out);
        return 1;
    }
    if (!scalar_int(type, p, &integer))
        return 0;
    *out = (double)integer;
    return 1;
}

int gguf_as_int(const gguf_value *v, int64_t *out)
{
    return scalar_int(v->type, v->data, out);
}

int gguf_as_double(const gguf_value *v, double *out)
{
    return scalar_double(v->type, v->data, out);
}

int gguf_item_int(const gguf_value *v, uint64_t i, int64_t *out)
{
    return v->type == GGUF_ARRAY && i < v->count && scalar_int(v->item, v->data + i * item_bytes[v->item], out);
}

int gguf_item_double(const gguf_value *v, uint64_t i, double *out)
{
    return v->type == GGUF_ARRAY && i < v->count &&
           scalar_double(v->item, v->data + i * item_bytes[v->item], out);
}

int gguf_next_string(gguf_strings *s, const char **bytes, size_t *length)
{
    const gguf_value *v = s->array;
    if (v->type != GGUF_ARRAY || v->item != GGUF_STRING || s->index >= v->count)
        return 0;
    *length = (size_t)load_unsigned(v->data + s->position, 8);
    *bytes = (const char *)v->data + s->position + 8;
    s->position += 8 + *length;
    s->index++;
    return 1;
}
