/* GGUF files: what is written is read, and files that lie are refused. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "model/gguf_write.h"
#include "support.h"

static const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", test_folder(), name);
    return path;
}

/* A file with every kind of value and two tensors. */
static void write_sample(const char *path)
{
    gguf_meta m = {0};
    gguf_writer w;
    grpo_error err;
    gguf_entry entries[2] = {{.name = "matrix", .type = tensor_type_named("Q8_0"), .rank = 2, .ne = {32, 3}},
                             {.name = "vector", .type = tensor_type_named("F32"), .rank = 1, .ne = {5}}};
    float values[96];
    gguf_put_string(&m, "general.architecture", "test", 4);
    gguf_put_u32(&m, "a.number", 4000000000u);
    gguf_put_f32(&m, "a.real", 0.1f);
    gguf_put_bool(&m, "a.truth", 1);
    gguf_put_array(&m, "words", GGUF_STRING, 3);
    gguf_put_item_string(&m, "one", 3);
    gguf_put_item_string(&m, "", 0);
    gguf_put_item_string(&m, "th\0ee", 5);
    gguf_put_array(&m, "numbers", GGUF_I32, 2);
    gguf_put_item_i32(&m, -7);
    gguf_put_item_i32(&m, 8);
    gguf_put_array(&m, "reals", GGUF_F32, 1);
    gguf_put_item_f32(&m, -0.5f);
    for (int i = 0; i < 96; i++)
        values[i] = (float)(i - 48) / 48;
    assert_ok(gguf_create(&w, path, &m, entries, 2, &err), err);
    assert_ok(gguf_append(&w, values, 64, &err), err);
    assert_ok(gguf_append(&w, values + 64, 32, &err), err);
    assert_ok(gguf_append(&w, values, 5, &err), err);
    assert_ok(gguf_commit(&w, &err), err);
    gguf_meta_deinit(&m);
}

static void written_files_are_read_back(void **state)
{
    (void)state;
    gguf_file f;
    grpo_error err;
    int64_t n;
    double x;
    const char *bytes;
    size_t length;
    write_sample(path_of("x.gguf"));
    assert_ok(gguf_open(&f, path_of("x.gguf"), &err), err);
    assert_int_equal(f.n_pairs, 7);
    assert_true(gguf_as_int(gguf_find(&f, "a.number"), &n) && n == 4000000000);
    assert_true(gguf_as_double(gguf_find(&f, "a.real"), &x) && x == (double)0.1f);
    assert_false(gguf_as_int(gguf_find(&f, "a.real"), &n));
    assert_true(gguf_as_int(gguf_find(&f, "a.truth"), &n) && n == 1);
    assert_false(gguf_as_int(gguf_find(&f, "general.architecture"), &n));
    assert_true(gguf_item_int(gguf_find(&f, "numbers"), 0, &n) && n == -7);
    assert_false(gguf_item_int(gguf_find(&f, "numbers"), 2, &n));
    assert_true(gguf_item_double(gguf_find(&f, "reals"), 0, &x) && x == -0.5);
    gguf_strings words = {.array = gguf_find(&f, "words")};
    assert_true(gguf_next_string(&words, &bytes, &length) && length == 3 && memcmp(bytes, "one", 3) == 0);
    assert_true(gguf_next_string(&words, &bytes, &length) && length == 0);
    assert_true(gguf_next_string(&words, &bytes, &length) && length == 5 && memcmp(bytes, "th\0ee", 5) == 0);
    assert_false(gguf_next_string(&words, &bytes, &length));
    assert_null(gguf_find(&f, "a.missing"));
    const gguf_tensor *matrix = gguf_find_tensor(&f, "matrix"), *vector = gguf_find_tensor(&f, "vector");
    assert_true(matrix && vector && !gguf_find_tensor(&f, "none"));
    assert_true(matrix->rank == 2 && matrix->ne[0] == 32 && matrix->ne[1] == 3 && matrix->bytes == 3 * 34);
    float got[96];
    matrix->type->decode(got, matrix->data, 3);
    for (int i = 0; i < 96; i++)
        assert_true(fabsf(got[i] - (float)(i - 48) / 48) < 0.005f);
    vector->type->decode(got, vector->data, 5);
    for (int i = 0; i < 5; i++)
        assert_true(got[i] == (float)(i - 48) / 48);
    gguf_close(&f);
}

static void pairs_can_be_copied(void **state)
{
    (void)state;
    gguf_file f, g;
    gguf_meta m = {0};
    gguf_writer w;
    grpo_error err;
    write_sample(path_of("x.gguf"));
    assert_ok(gguf_open(&f, path_of("x.gguf"), &err), err);
    for (size_t i = 0; i < f.n_pairs; i++)
        gguf_put_copy(&m, &f.pairs[i]);
    assert_ok(gguf_create(&w, path_of("copy.gguf"), &m, NULL, 0, &err), err);
    assert_ok(gguf_commit(&w, &err), err);
    assert_ok(gguf_open(&g, path_of("copy.gguf"), &err), err);
    assert_int_equal(g.n_pairs, f.n_pairs);
    for (size_t i = 0; i < f.n_pairs; i++) {
        const gguf_value *a = &f.pairs[i].value, *b = gguf_find(&g, f.pairs[i].key);
        assert_true(a->type == b->type && a->item == b->item && a->count == b->count && a->bytes == b->bytes);
        assert_memory_equal(a->data, b->data, (size_t)a->bytes);
    }
    gguf_close(&f);
    gguf_close(&g);
    gguf_meta_deinit(&m);
}

static void incomplete_writes_fail(void **state)
{
    (void)state;
    gguf_meta m = {0};
    gguf_writer w;
    grpo_error err;
    const float values[8] = {0};
    const gguf_entry entry = {.name = "v", .type = tensor_type_named("F32"), .rank = 1, .ne = {5}};
    assert_ok(gguf_create(&w, path_of("y.gguf"), &m, &entry, 1, &err), err);
    assert_ok(gguf_append(&w, values, 3, &err), err);
    assert_int_equal(gguf_append(&w, values, 3, &err), GRPO_ERR_INTERNAL);
    assert_int_equal(gguf_commit(&w, &err), GRPO_ERR_INTERNAL);
    assert_false(file_exists(path_of("y.gguf")));
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    char *bytes;
    size_t size;
    grpo_error err;
    write_sample(path_of("x.gguf"));
    assert_ok(file_read(&bytes, &size, path_of("x.gguf"), 1 << 20, &err), err);
    size_t end = size - 12; /* the last tensor's 20 bytes are padded to 32 */
    for (size_t n = 0; n < end; n++) {
        gguf_file f;
        unsigned char *part = mem_dup(bytes, n); /* its own allocation: reading past it shows */
        assert_int_equal(gguf_open_memory(&f, part, n, "cut", &err), GRPO_ERR_FORMAT);
        mem_free(part);
    }
    mem_free(bytes);
}

/* ---- hostile files, built byte by byte -------------------------------------------------------- */

static void put(strbuf *s, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        strbuf_putc(s, (char)(v >> 8 * i));
}

static void put_name(strbuf *s, const char *name)
{
    put(s, strlen(name), 8);
    strbuf_puts(s, name);
}

static strbuf start(uint64_t version, uint64_t tensors, uint64_t pairs)
{
    strbuf s = STRBUF_INIT;
    strbuf_append(&s, "GGUF", 4);
    put(&s, version, 4);
    put(&s, tensors, 8);
    put(&s, pairs, 8);
    return s;
}

static void put_tensor(strbuf *s, const char *name, uint64_t rank, const uint64_t *ne, uint64_t type, uint64_t offset)
{
    put_name(s, name);
    put(s, rank, 4);
    for (uint64_t i = 0; i < rank; i++)
        put(s, ne[i], 8);
    put(s, type, 4);
    put(s, offset, 8);
}

static void fill(strbuf *s, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        strbuf_putc(s, 0);
}

/* Opens and expects the failure; frees s. */
static void refused(strbuf *s, grpo_status status, const char *mentions)
{
    gguf_file f;
    grpo_error err;
    unsigned char *bytes = mem_dup(s->data, s->length);
    grpo_status got = gguf_open_memory(&f, bytes, s->length, "evil.gguf", &err);
    if (got == GRPO_OK)
        fail_msg("accepted, expected \"%s\"", mentions);
    if (got != status || !strstr(err.message, mentions) || !strstr(err.message, "evil.gguf"))
        fail_msg("status %d, \"%s\" does not mention \"%s\"", (int)got, err.message, mentions);
    mem_free(bytes);
    strbuf_deinit(s);
}

static void headers_that_lie_are_refused(void **state)
{
    (void)state;
    strbuf s = STRBUF_INIT;
    strbuf_append(&s, "NOPE\3\0\0\0", 8);
    refused(&s, GRPO_ERR_FORMAT, "not a GGUF file");
    s = start(1, 0, 0);
    refused(&s, GRPO_ERR_UNSUPPORTED, "version 1");
    s = start(0x03000000, 0, 0);
    refused(&s, GRPO_ERR_UNSUPPORTED, "big-endian");
    s = start(3, UINT64_MAX, 0);
    refused(&s, GRPO_ERR_FORMAT, "announces");
    s = start(3, 0, UINT64_MAX / 13);
    refused(&s, GRPO_ERR_FORMAT, "announces");
}

static void metadata_that_lies_is_refused(void **state)
{
    (void)state;
    strbuf s = start(3, 0, 1); /* a key longer than the file */
    put(&s, 60000, 8);
    fill(&s, 100);
    refused(&s, GRPO_ERR_FORMAT, "ends inside");
    s = start(3, 0, 1); /* a key longer than the format allows */
    put(&s, UINT64_MAX, 8);
    fill(&s, 100);
    refused(&s, GRPO_ERR_FORMAT, "name of");
    s = start(3, 0, 1);
    put(&s, 3, 8);
    strbuf_append(&s, "a\0b", 3);
    fill(&s, 100);
    refused(&s, GRPO_ERR_FORMAT, "zero byte");
    s = start(3, 0, 1); /* unknown type */
    put_name(&s, "key");
    put(&s, 13, 4);
    fill(&s, 100);
    refused(&s, GRPO_ERR_FORMAT, "unknown type 13");
    s = start(3, 0, 1); /* a string longer than the file */
    put_name(&s, "key");
    put(&s, GGUF_STRING, 4);
    put(&s, UINT64_MAX, 8);
    fill(&s, 100);
    refused(&s, GRPO_ERR_FORMAT, "ends inside key");
    s = start(3, 0, 1); /* an array whose bytes overflow */
    put_name(&s, "key");
    put(&s, GGUF_ARRAY, 4);
    put(&s, GGUF_U64, 4);
    put(&s, UINT64_MAX / 8 + 2, 8);
    fill(&s, 100);
    refused(&s, GRPO_ERR_FORMAT, "ends inside key");
    s = start(3, 0, 1); /* an array of strings that ends early */
    put_name(&s, "key");
    put(&s, GGUF_ARRAY, 4);
    put(&s, GGUF_STRING, 4);
    put(&s, UINT64_MAX, 8);
    fill(&s, 100);
    refused(&s, GRPO_ERR_FORMAT, "ends inside key");
    s = start(3, 0, 1); /* arrays in arrays in arrays … */
    put_name(&s, "key");
    put(&s, GGUF_ARRAY, 4);
    for (int i = 0; i < 1000; i++) {
        put(&s, GGUF_ARRAY, 4);
        put(&s, 1, 8);
    }
    refused(&s, GRPO_ERR_FORMAT, "nested");
    s = start(3, 0, 2);
    for (int i = 0; i < 2; i++) {
        put_name(&s, "twin");
        put(&s, GGUF_U8, 4);
        put(&s, 1, 1);
    }
    refused(&s, GRPO_ERR_FORMAT, "twice");
    for (int alignment = 0; alignment < 4; alignment += 3) {
        s = start(3, 0, 1);
        put_name(&s, "general.alignment");
        put(&s, GGUF_U32, 4);
        put(&s, (uint64_t)alignment, 4);
        refused(&s, GRPO_ERR_FORMAT, "power of two");
    }
}

static void tensors_that_lie_are_refused(void **state)
{
    static const struct {
        uint64_t rank, ne[4], type, offset;
        grpo_status status;
        const char *mentions;
    } cases[] = {
        {0, {0}, 0, 0, GRPO_ERR_FORMAT, "0 dimensions"},
        {5, {1, 1, 1, 1}, 0, 0, GRPO_ERR_FORMAT, "5 dimensions"},
        {1, {0}, 0, 0, GRPO_ERR_FORMAT, "impossible size"},
        {2, {4, UINT64_MAX}, 0, 0, GRPO_ERR_FORMAT, "impossible size"},
        {2, {1ull << 50, 4}, 0, 0, GRPO_ERR_FORMAT, "past the end"},
        {3, {1ull << 40, 1ull << 40, 2}, 0, 0, GRPO_ERR_FORMAT, "impossible size"},
        {1, {1ull << 62}, 0, 0, GRPO_ERR_FORMAT, "impossibly large"},
        {1, {33}, 3, 0, GRPO_ERR_FORMAT, "multiple of 32"},
        {1, {4}, 5, 0, GRPO_ERR_UNSUPPORTED, "unknown type 5"},
        {1, {4}, 4000000000, 0, GRPO_ERR_UNSUPPORTED, "unknown type"},
        {1, {4}, 0, 8, GRPO_ERR_FORMAT, "not a multiple"},
        {1, {4}, 0, 1 << 20, GRPO_ERR_FORMAT, "past the end"},
        {1, {4}, 0, UINT64_MAX - 31, GRPO_ERR_FORMAT, "past the end"},
        {1, {4000}, 0, 0, GRPO_ERR_FORMAT, "past the end"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        strbuf s = start(3, 1, 0);
        put_name(&s, "liar");
        put(&s, cases[i].rank, 4);
        for (uint64_t d = 0; d < cases[i].rank && d < 4; d++)
            put(&s, cases[i].ne[d], 8);
        put(&s, cases[i].type, 4);
        put(&s, cases[i].offset, 8);
        fill(&s, 256);
        refused(&s, cases[i].status, cases[i].mentions);
    }
    const uint64_t ne[1] = {16};
    strbuf s = start(3, 2, 0); /* 64 bytes each, 32 apart */
    put_tensor(&s, "a", 1, ne, 0, 0);
    put_tensor(&s, "b", 1, ne, 0, 32);
    fill(&s, 256);
    refused(&s, GRPO_ERR_FORMAT, "overlap");
    s = start(3, 2, 0);
    put_tensor(&s, "a", 1, ne, 0, 0);
    put_tensor(&s, "a", 1, ne, 0, 64);
    fill(&s, 256);
    refused(&s, GRPO_ERR_FORMAT, "twice");
}

static void any_alignment_and_version_two_are_read(void **state)
{
    (void)state;
    for (uint64_t alignment = 1; alignment <= 4096; alignment *= 2) {
        const uint64_t ne[1] = {2};
        strbuf s = start(alignment % 3 == 1 ? 2 : 3, 2, 1);
        gguf_file f;
        grpo_error err;
        uint64_t second = (8 + alignment - 1) / alignment * alignment;
        put_name(&s, "general.alignment");
        put(&s, GGUF_U32, 4);
        put(&s, alignment, 4);
        put_tensor(&s, "a", 1, ne, 0, 0);
        put_tensor(&s, "b", 1, ne, 0, second);
        fill(&s, (size_t)((alignment - s.length % alignment) % alignment));
        fill(&s, (size_t)second);
        const float values[2] = {1.5f, -3};
        strbuf_append(&s, values, sizeof values);
        assert_ok(gguf_open_memory(&f, s.data, s.length, "m", &err), err);
        float got[2];
        const gguf_tensor *b = gguf_find_tensor(&f, "b");
        b->type->decode(got, b->data, 2);
        assert_memory_equal(got, values, sizeof got);
        gguf_close(&f);
        strbuf_deinit(&s);
    }
}

static void failed_allocations_are_reported(void **state)
{
    (void)state;
    grpo_error err;
    write_sample(path_of("x.gguf"));
    for (long n = 1; n < 100; n++) {
        gguf_file f;
        mem_fail_after(n);
        grpo_status status = gguf_open(&f, path_of("x.gguf"), &err);
        mem_fail_after(0);
        if (status == GRPO_OK) {
            gguf_close(&f);
            assert_true(n > 10);
            return;
        }
        assert_int_equal(status, GRPO_ERR_MEMORY);
    }
    fail_msg("never succeeded");
}

/* Enough names that the header does not fit into what was allocated before it. */
static void a_writer_without_memory_stops(void **state)
{
    (void)state;
    grpo_error err;
    gguf_entry entries[30];
    for (int i = 0; i < 30; i++)
        entries[i] = (gguf_entry){.name = "tensor", .type = tensor_type_named("F32"), .rank = 1, .ne = {1}};
    for (long n = 1; n < 100; n++) {
        gguf_meta m = {0};
        gguf_writer w;
        mem_fail_after(n);
        grpo_status status = gguf_create(&w, path_of("short.gguf"), &m, entries, 30, &err);
        mem_fail_after(0);
        if (status == GRPO_OK) {
            gguf_abandon(&w);
            assert_true(n > 5);
            return;
        }
        assert_int_equal(status, GRPO_ERR_MEMORY);
    }
    fail_msg("never succeeded");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_files_are_read_back),
        cmocka_unit_test(pairs_can_be_copied),
        cmocka_unit_test(incomplete_writes_fail),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(headers_that_lie_are_refused),
        cmocka_unit_test(metadata_that_lies_is_refused),
        cmocka_unit_test(tensors_that_lie_are_refused),
        cmocka_unit_test(any_alignment_and_version_two_are_read),
        cmocka_unit_test(failed_allocations_are_reported),
        cmocka_unit_test(a_writer_without_memory_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
