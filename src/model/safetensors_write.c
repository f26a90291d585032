/* The safetensors writer: the header first, then the tensors as they come. */
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "model/encode.h"
#include "model/safetensors.h"

enum { CHUNK = 16384 }; /* elements converted at a time */

static uint64_t elements_of(const safetensors_entry *e)
{
    uint64_t n = 1;
    for (int i = 0; i < e->rank; i++)
        n *= (uint64_t)e->shape[i];
    return n;
}

static void append_text(strbuf *s, const char *text)
{
    json_t *value = json_string(text);
    char *quoted = value ? json_text(value) : NULL;
    if (quoted)
        strbuf_puts(s, quoted);
    else
        s->failed = 1; /* not UTF-8, or out of memory */
    mem_free(quoted);
    json_decref(value);
}

static void append_metadata(strbuf *s, const char *const *metadata)
{
    strbuf_puts(s, "{\"__metadata__\":{\"format\":\"pt\"");
    for (; metadata && metadata[0]; metadata += 2) {
        strbuf_putc(s, ',');
        append_text(s, metadata[0]);
        strbuf_putc(s, ':');
        append_text(s, metadata[1]);
    }
    strbuf_putc(s, '}');
}

static void build_header(strbuf *s, const safetensors_entry *entries, size_t count, const char *const *metadata)
{
    uint64_t at = 0;
    append_metadata(s, metadata);
    for (size_t i = 0; i < count; i++) {
        const safetensors_entry *e = &entries[i];
        uint64_t end = at + elements_of(e) * safetensors_dtype_bytes(e->dtype);
        strbuf_putc(s, ',');
        append_text(s, e->name);
        strbuf_printf(s, ":{\"dtype\":\"%s\",\"shape\":[", safetensors_dtype_name(e->dtype));
        for (int d = 0; d < e->rank; d++)
            strbuf_printf(s, "%s%lld", d ? "," : "", (long long)e->shape[d]);
        strbuf_printf(s, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at, (unsigned long long)end);
        at = end;
    }
    strbuf_putc(s, '}');
    while (!s->failed && s->length % 8 != 0) /* the data begins aligned */
        strbuf_putc(s, ' ');
}

grpo_status safetensors_create(safetensors_writer *w, const char *path, const safetensors_entry *entries, size_t count,
                               const char *const *metadata, grpo_error *err)
{
    strbuf header = STRBUF_INIT;
    *w = (safetensors_writer){.entries = entries, .n_entries = count};
    build_header(&header, entries, count, metadata);
    w->scratch = mem_calloc(CHUNK, sizeof(float));
    grpo_status status = GRPO_OK;
    if (header.failed || !w->scratch)
        status = mem_fail(err, "a safetensors header", header.length);
    if (status == GRPO_OK)
        status = file_create(&w->file, path, err);
    if (status == GRPO_OK) {
        unsigned char length[8];
        for (int i = 0; i < 8; i++)
            length[i] = (unsigned char)((uint64_t)header.length >> 8 * i);
        file_write(&w->file, length, sizeof length);
        file_write(&w->file, header.data, header.length);
    } else {
        mem_free(w->scratch);
        *w = (safetensors_writer){0};
    }
    strbuf_deinit(&header);
    return status;
}

grpo_status safetensors_append(safetensors_writer *w, const float *values, uint64_t count, grpo_error *err)
{
    static const uint32_t ggml[] = {[SAFETENSORS_F32] = 0, [SAFETENSORS_F16] = 1, [SAFETENSORS_BF16] = 30};
    if (count == 0)
        return GRPO_OK;
    while (w->missing == 0 && w->next < w->n_entries)
        w->missing = elements_of(&w->entries[w->next++]);
    if (count > w->missing)
        return grpo_fail(err, GRPO_ERR_INTERNAL, "%s: more values than tensor %s has", w->file.path,
                         w->next ? w->entries[w->next - 1].name : "?");
    const safetensors_entry *e = &w->entries[w->next - 1];
    w->missing -= count;
    for (uint64_t done = 0; done < count; done += CHUNK) {
        size_t n = (size_t)(count - done < CHUNK ? count - done : CHUNK);
        encode_elements(ggml[e->dtype], w->scratch, values + done, n);
        file_write(&w->file, w->scratch, n * safetensors_dtype_bytes(e->dtype));
    }
    return GRPO_OK;
}

grpo_status safetensors_commit(safetensors_writer *w, grpo_error *err)
{
    uint64_t missing = w->missing;
    for (size_t i = w->next; i < w->n_entries; i++)
        missing += elements_of(&w->entries[i]);
    if (missing) {
        grpo_status status = grpo_fail(err, GRPO_ERR_INTERNAL, "%s: %llu values were not written", w->file.path,
                                       (unsigned long long)missing);
        safetensors_abandon(w);
        return status;
    }
    mem_free(w->scratch);
    w->scratch = NULL;
    return file_commit(&w->file, err);
}

void safetensors_abandon(safetensors_writer *w)
{
    file_abandon(&w->file);
    mem_free(w->scratch);
    *w = (safetensors_writer){0};
}
