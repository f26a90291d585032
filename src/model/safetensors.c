/* The safetensors reader: a strict scanner for the one shape that a header has. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "model/dequant.h"
#include "model/safetensors.h"

enum { MAX_HEADER = 100000000 }; /* as the reference library */

static const struct {
    const char *name;
    unsigned bytes;
} dtypes[SAFETENSORS_DTYPES] = {
    [SAFETENSORS_F32] = {"F32", 4},   [SAFETENSORS_F16] = {"F16", 2},
    [SAFETENSORS_BF16] = {"BF16", 2}, [SAFETENSORS_F64] = {"F64", 8},
    [SAFETENSORS_I64] = {"I64", 8},   [SAFETENSORS_I32] = {"I32", 4},
    [SAFETENSORS_I16] = {"I16", 2},   [SAFETENSORS_I8] = {"I8", 1},
    [SAFETENSORS_U64] = {"U64", 8},   [SAFETENSORS_U32] = {"U32", 4},
    [SAFETENSORS_U16] = {"U16", 2},   [SAFETENSORS_U8] = {"U8", 1},
    [SAFETENSORS_BOOL] = {"BOOL", 1}, [SAFETENSORS_F8_E4M3] = {"F8_E4M3", 1},
    [SAFETENSORS_F8_E5M2] = {"F8_E5M2", 1},
};

const char *safetensors_dtype_name(safetensors_dtype t)
{
    return dtypes[t].name;
}

unsigned safetensors_dtype_bytes(safetensors_dtype t)
{
    return dtypes[t].bytes;
}

typedef struct scanner {
    const char *path;
    const char *start, *p, *end;
    grpo_error *err;
    strbuf text; /* the string last read */
} scanner;

static int fail(scanner *s, const char *what)
{
    grpo_fail(s->err, GRPO_ERR_FORMAT, "%s: not a safetensors header: %s at byte %td", s->path, what,
              s->p - s->start + 8);
    return 0;
}

static char peek(scanner *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
        s->p++;
    return s->p < s->end ? *s->p : 0;
}

static int accept(scanner *s, char c)
{
    if (peek(s) != c)
        return 0;
    s->p++;
    return 1;
}

static int expect(scanner *s, char c)
{
    char what[] = "' ' expected";
    what[1] = c;
    return accept(s, c) ? 1 : fail(s, what);
}

static int scan_hex(scanner *s, unsigned *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++, s->p++) {
        char c = s->p < s->end ? *s->p : 0;
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0)
            return fail(s, "four hexadecimal digits expected");
        *out = *out << 4 | (unsigned)digit;
    }
    return 1;
}

static int scan_escape(scanner *s)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = s->p < s->end ? *s->p++ : 0;
    const char *at = c ? strchr(from, c) : NULL;
    if (at) {
        strbuf_putc(&s->text, to[at - from]);
        return 1;
    }
    unsigned code, low;
    if (c != 'u' || !scan_hex(s, &code))
        return fail(s, "unknown escape");
    if (code >= 0xD800 && code < 0xDC00 && s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u') {
        s->p += 2;
        if (!scan_hex(s, &low))
            return 0;
        if (low < 0xDC00 || low > 0xDFFF)
            return fail(s, "unpaired surrogate");
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    if (code == 0)
        return fail(s, "zero character in a string");
    strbuf_put_utf8(&s->text, code);
    return 1;
}

/* Reads a string into s->text. */
static int scan_string(scanner *s)
{
    if (!expect(s, '"'))
        return 0;
    strbuf_clear(&s->text);
    while (s->p < s->end && *s->p != '"') {
        const char *from = s->p;
        while (s->p < s->end && *s->p != '"' && *s->p != '\\' && (unsigned char)*s->p >= 0x20)
            s->p++;
        strbuf_append(&s->text, from, (size_t)(s->p - from));
        if (s->p < s->end && *s->p == '\\') {
            s->p++;
            if (!scan_escape(s))
                return 0;
        } else if (s->p < s->end && *s->p != '"')
            return fail(s, "control character in a string");
    }
    if (s->p == s->end)
        return fail(s, "unfinished string");
    s->p++;
    if (s->text.failed)
        return mem_fail(s->err, "a safetensors header", s->text.length), 0;
    return 1;
}

static int scan_count(scanner *s, uint64_t *out)
{
    char c = peek(s);
    if (c < '0' || c > '9')
        return fail(s, "a whole number expected");
    const char *first = s->p;
    *out = 0;
    for (; s->p < s->end && *s->p >= '0' && *s->p <= '9'; s->p++)
        if (__builtin_mul_overflow(*out, (uint64_t)10, out) ||
            __builtin_add_overflow(*out, (uint64_t)(*s->p - '0'), out))
            return fail(s, "a number too large");
    if (*first == '0' && s->p - first > 1)
        return fail(s, "a number with a leading zero");
    return 1;
}

/* A list of whole numbers, at most `limit`. */
static int scan_list(scanner *s, uint64_t *values, int limit, int *count)
{
    *count = 0;
    if (!expect(s, '['))
        return 0;
    if (accept(s, ']'))
        return 1;
    do {
        if (*count == limit)
            return fail(s, "too many numbers in a list");
        if (!scan_count(s, &values[(*count)++]))
            return 0;
    } while (accept(s, ','));
    return expect(s, ']');
}

static int scan_metadata(scanner *s)
{
    if (!expect(s, '{'))
        return 0;
    if (accept(s, '}'))
        return 1;
    do {
        if (!scan_string(s) || !expect(s, ':') || !scan_string(s))
            return 0;
    } while (accept(s, ','));
    return expect(s, '}');
}

static int scan_dtype(scanner *s, safetensors_tensor *t)
{
    if (!scan_string(s))
        return 0;
    for (int i = 0; i < SAFETENSORS_DTYPES; i++)
        if (strcmp(strbuf_text(&s->text), dtypes[i].name) == 0) {
            t->dtype = (safetensors_dtype)i;
            return 1;
        }
    grpo_fail(s->err, GRPO_ERR_UNSUPPORTED, "%s: tensor %s has unknown dtype \"%.40s\"", s->path, t->name,
              strbuf_text(&s->text));
    return 0;
}

/* One key and its value of a tensor's description; *seen collects what was there. */
static int scan_field(scanner *s, safetensors_tensor *t, unsigned *seen)
{
    static const char *const keys[] = {"dtype", "shape", "data_offsets"};
    uint64_t values[SAFETENSORS_MAX_RANK];
    unsigned key = 0;
    int count;
    if (!scan_string(s) || !expect(s, ':'))
        return 0;
    while (key < 3 && strcmp(strbuf_text(&s->text), keys[key]) != 0)
        key++;
    if (key == 3 || *seen & 1u << key)
        return fail(s, "unknown or repeated key in a tensor's description");
    *seen |= 1u << key;
    if (key == 0)
        return scan_dtype(s, t);
    if (!scan_list(s, values, key == 1 ? SAFETENSORS_MAX_RANK : 2, &count))
        return 0;
    if (key == 2) {
        if (count != 2)
            return fail(s, "data_offsets needs two numbers");
        t->begin = values[0];
        t->end = values[1];
        return 1;
    }
    t->rank = count;
    for (int i = 0; i < count; i++) {
        if (values[i] > INT64_MAX)
            return fail(s, "a dimension too large");
        t->shape[i] = (int64_t)values[i];
    }
    return 1;
}

static int scan_tensor(scanner *s, safetensors_tensor *t)
{
    unsigned seen = 0;
    if (!expect(s, '{'))
        return 0;
    do {
        if (!scan_field(s, t, &seen))
            return 0;
    } while (accept(s, ','));
    if (!expect(s, '}'))
        return 0;
    if (seen != 7)
        return fail(s, "dtype, shape or data_offsets is missing in the entry that ends");
    uint64_t bytes = dtypes[t->dtype].bytes;
    for (int i = 0; i < t->rank; i++)
        if (__builtin_mul_overflow(bytes, (uint64_t)t->shape[i], &bytes))
            return fail(s, "a shape too large in the entry that ends");
    if (t->begin > t->end || t->end - t->begin != bytes) {
        grpo_fail(s->err, GRPO_ERR_FORMAT, "%s: tensor %s takes %llu bytes by its shape and dtype, its offsets say %llu to %llu",
                  s->path, t->name, (unsigned long long)bytes, (unsigned long long)t->begin,
                  (unsigned long long)t->end);
        return 0;
    }
    return 1;
}

static int scan_entry(scanner *s, safetensors_file *f, size_t *capacity)
{
    if (!scan_string(s) || !expect(s, ':'))
        return 0;
    if (strcmp(strbuf_text(&s->text), "__metadata__") == 0)
        return scan_metadata(s);
    if (s->text.length == 0)
        return fail(s, "a tensor without a name");
    if (mem_reserve((void **)&f->tensors, capacity, f->n_tensors + 1, sizeof *f->tensors) != 0)
        return mem_fail(s->err, "a safetensors header", *capacity * sizeof *f->tensors), 0;
    safetensors_tensor *t = &f->tensors[f->n_tensors];
    *t = (safetensors_tensor){.name = mem_strdup(strbuf_text(&s->text))};
    if (!t->name)
        return mem_fail(s->err, "a tensor's name", s->text.length), 0;
    f->n_tensors++;
    return scan_tensor(s, t);
}

static int scan_header(scanner *s, safetensors_file *f)
{
    size_t capacity = 0;
    if (s->p == s->end || *s->p != '{')
        return fail(s, "'{' expected");
    s->p++;
    if (!accept(s, '}')) {
        do {
            if (!scan_entry(s, f, &capacity))
                return 0;
        } while (accept(s, ','));
        if (!expect(s, '}'))
            return 0;
    }
    peek(s);
    return s->p == s->end ? 1 : fail(s, "text after the end");
}

static int compare_begins(const void *a, const void *b)
{
    const safetensors_tensor *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin > y->begin ? 1 : -1;
    return (x->end > y->end) - (x->end < y->end);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const safetensors_tensor *)a)->name, ((const safetensors_tensor *)b)->name);
}

/* The tensors fill `room` bytes of data in order, and no name occurs twice; leaves them sorted by name. */
static grpo_status place(safetensors_file *f, const unsigned char *data, uint64_t room, grpo_error *err)
{
    uint64_t at = 0;
    if (f->n_tensors)
        qsort(f->tensors, f->n_tensors, sizeof *f->tensors, compare_begins);
    for (size_t i = 0; i < f->n_tensors; i++) {
        safetensors_tensor *t = &f->tensors[i];
        if (t->end > room)
            return grpo_fail(err, GRPO_ERR_FORMAT,
                             "%s: tensor %s reaches to byte %llu of the data, the file has %llu; it is "
                             "truncated or damaged, fetch it again",
                             f->path, t->name, (unsigned long long)t->end, (unsigned long long)room);
        if (t->begin != at)
            return grpo_fail(err, GRPO_ERR_FORMAT, "%s: tensor %s begins at byte %llu of the data where %llu is due (%s)",
                             f->path, t->name, (unsigned long long)t->begin, (unsigned long long)at,
                             t->begin < at ? "tensors overlap" : "there is a hole");
        at = t->end;
        t->data = data + t->begin;
    }
    if (at != room)
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: %llu bytes of data, the header describes %llu", f->path,
                         (unsigned long long)room, (unsigned long long)at);
    if (f->n_tensors)
        qsort(f->tensors, f->n_tensors, sizeof *f->tensors, compare_names);
    for (size_t i = 1; i < f->n_tensors; i++)
        if (strcmp(f->tensors[i - 1].name, f->tensors[i].name) == 0)
            return grpo_fail(err, GRPO_ERR_FORMAT, "%s: tensor %s occurs twice", f->path, f->tensors[i].name);
    return GRPO_OK;
}

static grpo_status read_header(safetensors_file *f, grpo_error *err)
{
    const unsigned char *bytes = f->map.data;
    uint64_t length = 0;
    if (f->map.size < 8)
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s is too short for a safetensors file (%zu bytes)", f->path,
                         f->map.size);
    for (unsigned i = 0; i < 8; i++)
        length |= (uint64_t)bytes[i] << 8 * i;
    if (length > MAX_HEADER || length > f->map.size - 8)
        return grpo_fail(err, GRPO_ERR_FORMAT,
                         "%s: a header of %llu bytes is announced in a file of %zu (at most %d are allowed); "
                         "not a safetensors file, or truncated",
                         f->path, (unsigned long long)length, f->map.size, (int)MAX_HEADER);
    scanner s = {.path = f->path, .start = (const char *)bytes + 8, .err = err};
    s.p = s.start;
    s.end = s.start + length;
    int good = scan_header(&s, f);
    strbuf_deinit(&s.text);
    return good ? place(f, bytes + 8 + length, f->map.size - 8 - length, err) : GRPO_ERR_FORMAT;
}

static grpo_status open_map(safetensors_file *f, const char *name, grpo_error *err)
{
    grpo_error local = {0};
    f->path = mem_strdup(name);
    if ((f->path ? read_header(f, &local) : mem_fail(&local, "a file name", strlen(name))) == GRPO_OK)
        return GRPO_OK;
    if (err)
        *err = local;
    return local.status; /* the precise one: the scanner's helpers only say that they failed */
}

grpo_status safetensors_open_memory(safetensors_file *f, const void *bytes, size_t size,
                                    const char *name, grpo_error *err)
{
    *f = (safetensors_file){.map = {bytes, size}};
    grpo_status status = open_map(f, name, err);
    f->map = (file_map){0}; /* not ours to unmap */
    if (status != GRPO_OK)
        safetensors_close(f);
    return status;
}

grpo_status safetensors_open(safetensors_file *f, const char *path, grpo_error *err)
{
    *f = (safetensors_file){0};
    grpo_status status = file_map_open(&f->map, path, err);
    if (status != GRPO_OK)
        return status;
    status = open_map(f, path, err);
    if (status != GRPO_OK)
        safetensors_close(f);
    return status;
}

void safetensors_close(safetensors_file *f)
{
    for (size_t i = 0; i < f->n_tensors; i++)
        mem_free(f->tensors[i].name);
    mem_free(f->tensors);
    mem_free(f->path);
    file_map_close(&f->map);
    *f = (safetensors_file){0};
}

const safetensors_tensor *safetensors_find(const safetensors_file *f, const char *name)
{
    safetensors_tensor wanted = {.name = (char *)name};
    if (f->n_tensors == 0)
        return NULL;
    return bsearch(&wanted, f->tensors, f->n_tensors, sizeof wanted, compare_names);
}

void safetensors_decode(const safetensors_tensor *t, uint64_t first, uint64_t count, float *dst)
{
    const tensor_type *type = tensor_type_named(dtypes[t->dtype].name);
    type->decode(dst, t->data + first * type->bytes, (size_t)count);
}
