/* The GGUF writer. */
#include <string.h>

#include "base/mem.h"
#include "model/encode.h"
#include "model/gguf_write.h"

enum { ALIGNMENT = 32, CHUNK = 16384 /* elements encoded at a time, whole blocks of every type */ };

static void put_unsigned(strbuf *s, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        strbuf_putc(s, (char)(v >> 8 * i));
}

static void put_text(strbuf *s, const char *bytes, size_t length)
{
    put_unsigned(s, length, 8);
    strbuf_append(s, bytes, length);
}

static void put_head(gguf_meta *m, const char *key, gguf_type type)
{
    put_text(&m->text, key, strlen(key));
    put_unsigned(&m->text, type, 4);
    m->pairs++;
}

static uint32_t bits_of(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

void gguf_put_u32(gguf_meta *m, const char *key, uint32_t v)
{
    put_head(m, key, GGUF_U32);
    put_unsigned(&m->text, v, 4);
}

void gguf_put_f32(gguf_meta *m, const char *key, float v)
{
    put_head(m, key, GGUF_F32);
    put_unsigned(&m->text, bits_of(v), 4);
}

void gguf_put_bool(gguf_meta *m, const char *key, int v)
{
    put_head(m, key, GGUF_BOOL);
    put_unsigned(&m->text, v != 0, 1);
}

void gguf_put_string(gguf_meta *m, const char *key, const char *bytes, size_t length)
{
    put_head(m, key, GGUF_STRING);
    put_text(&m->text, bytes, length);
}

void gguf_put_array(gguf_meta *m, const char *key, gguf_type item, uint64_t count)
{
    put_head(m, key, GGUF_ARRAY);
    put_unsigned(&m->text, item, 4);
    put_unsigned(&m->text, count, 8);
}

void gguf_put_item_string(gguf_meta *m, const char *bytes, size_t length)
{
    put_text(&m->text, bytes, length);
}

void gguf_put_item_i32(gguf_meta *m, int32_t v)
{
    put_unsigned(&m->text, (uint32_t)v, 4);
}

void gguf_put_item_f32(gguf_meta *m, float v)
{
    put_unsigned(&m->text, bits_of(v), 4);
}

void gguf_put_copy(gguf_meta *m, const gguf_pair *pair)
{
    const gguf_value *v = &pair->value;
    put_head(m, pair->key, v->type);
    if (v->type == GGUF_ARRAY) {
        put_unsigned(&m->text, v->item, 4);
        put_unsigned(&m->text, v->count, 8);
    } else if (v->type == GGUF_STRING)
        put_unsigned(&m->text, v->count, 8);
    strbuf_append(&m->text, v->data, (size_t)v->bytes);
}

void gguf_meta_deinit(gguf_meta *m)
{
    strbuf_deinit(&m->text);
    *m = (gguf_meta){0};
}

static uint64_t elements_of(const gguf_entry *e)
{
    uint64_t n = 1;
    for (int i = 0; i < e->rank; i++)
        n *= (uint64_t)e->ne[i];
    return n;
}

static uint64_t padded(uint64_t n)
{
    return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static void build_header(strbuf *s, const gguf_meta *meta, const gguf_entry *entries, size_t count)
{
    uint64_t at = 0;
    strbuf_append(s, "GGUF", 4);
    put_unsigned(s, 3, 4);
    put_unsigned(s, count, 8);
    put_unsigned(s, meta->pairs, 8);
    strbuf_append(s, strbuf_text(&meta->text), meta->text.length);
    s->failed |= meta->text.failed;
    for (size_t i = 0; i < count; i++) {
        const gguf_entry *e = &entries[i];
        put_text(s, e->name, strlen(e->name));
        put_unsigned(s, (uint64_t)e->rank, 4);
        for (int d = 0; d < e->rank; d++)
            put_unsigned(s, (uint64_t)e->ne[d], 8);
        put_unsigned(s, e->type->ggml, 4);
        put_unsigned(s, at, 8);
        at += padded(elements_of(e) / e->type->elements * e->type->bytes);
    }
    while (!s->failed && s->length % ALIGNMENT != 0)
        strbuf_putc(s, 0);
}

grpo_status gguf_create(gguf_writer *w, const char *path, const gguf_meta *meta, const gguf_entry *entries,
                        size_t count, grpo_error *err)
{
    strbuf header = STRBUF_INIT;
    *w = (gguf_writer){.entries = entries, .n_entries = count};
    build_header(&header, meta, entries, count);
    w->scratch = mem_calloc(CHUNK, sizeof(float));
    grpo_status status = header.failed || !w->scratch ? mem_fail(err, "a GGUF header", header.length) : GRPO_OK;
    if (status == GRPO_OK)
        status = file_create(&w->file, path, err);
    if (status == GRPO_OK)
        file_write(&w->file, header.data, header.length);
    else {
        mem_free(w->scratch);
        *w = (gguf_writer){0};
    }
    strbuf_deinit(&header);
    return status;
}

/* Zeros up to the next tensor's place. The header ends aligned, so positions in the file do. */
static void pad(gguf_writer *w)
{
    static const unsigned char zeros[ALIGNMENT];
    file_write(&w->file, zeros, (size_t)(padded(w->file.written) - w->file.written));
}

grpo_status gguf_append(gguf_writer *w, const float *values, uint64_t count, grpo_error *err)
{
    if (count == 0)
        return GRPO_OK;
    if (w->missing == 0 && w->next < w->n_entries)
        w->missing = elements_of(&w->entries[w->next++]);
    const gguf_entry *e = w->next ? &w->entries[w->next - 1] : NULL;
    if (count > w->missing || count % e->type->elements != 0)
        return grpo_fail(err, GRPO_ERR_INTERNAL, "%s: wrong number of values for tensor %s", w->file.path,
                         e ? e->name : "?");
    w->missing -= count;
    for (uint64_t done = 0; done < count; done += CHUNK) {
        size_t n = (size_t)(count - done < CHUNK ? count - done : CHUNK);
        if (encode_elements(e->type->ggml, w->scratch, values + done, n) != 0)
            return grpo_fail(err, GRPO_ERR_INTERNAL, "tensor type %s cannot be written", e->type->name);
        file_write(&w->file, w->scratch, n / e->type->elements * e->type->bytes);
    }
    if (w->missing == 0)
        pad(w);
    return GRPO_OK;
}

grpo_status gguf_commit(gguf_writer *w, grpo_error *err)
{
    if (w->missing || w->next < w->n_entries) {
        grpo_status status = grpo_fail(err, GRPO_ERR_INTERNAL, "%s: not all values were written", w->file.path);
        gguf_abandon(w);
        return status;
    }
    mem_free(w->scratch);
    w->scratch = NULL;
    return file_commit(&w->file, err);
}

void gguf_abandon(gguf_writer *w)
{
    file_abandon(&w->file);
    mem_free(w->scratch);
    *w = (gguf_writer){0};
}
