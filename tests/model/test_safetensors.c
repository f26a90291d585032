/* safetensors: what is written is read, and files that lie are refused. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "model/encode.h"
#include "model/safetensors.h"
#include "support.h"

static const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", test_folder(), name);
    return path;
}

static void written_files_are_read_back(void **state)
{
    (void)state;
    const safetensors_entry entries[] = {
        {"a", SAFETENSORS_F32, 2, {2, 3}}, {"empty", SAFETENSORS_F32, 1, {0}}, {"b \"quoted\" é", SAFETENSORS_BF16, 1, {4}},
        {"c", SAFETENSORS_F16, 3, {1, 2, 2}}, {"scalar", SAFETENSORS_F32, 0, {0}}};
    const float values[] = {1, -2.5f, 3e-41f, 4, 5, 1e30f, /* b */ 1, 2, 3.140625f, -0.0f, /* c */ 0.5f, 65504, 6e-8f, -1, 42};
    const char *const metadata[] = {"step", "7", NULL};
    safetensors_writer w;
    safetensors_file f;
    grpo_error err;
    assert_ok(safetensors_create(&w, path_of("x.safetensors"), entries, 5, metadata, &err), err);
    assert_ok(safetensors_append(&w, values, 4, &err), err);
    assert_ok(safetensors_append(&w, values + 4, 2, &err), err);
    assert_ok(safetensors_append(&w, values + 6, 4, &err), err);
    assert_ok(safetensors_append(&w, values + 10, 4, &err), err);
    assert_ok(safetensors_append(&w, values + 14, 1, &err), err);
    assert_false(file_exists(path_of("x.safetensors")));
    assert_ok(safetensors_commit(&w, &err), err);
    assert_ok(safetensors_open(&f, path_of("x.safetensors"), &err), err);
    assert_int_equal(f.n_tensors, 5);
    float got[8];
    const safetensors_tensor *a = safetensors_find(&f, "a"), *b = safetensors_find(&f, "b \"quoted\" é"), *c = safetensors_find(&f, "c");
    assert_true(a && b && c && safetensors_find(&f, "empty") && safetensors_find(&f, "scalar") && !safetensors_find(&f, "d"));
    assert_true(a->rank == 2 && a->shape[0] == 2 && a->shape[1] == 3 && c->rank == 3 && (uintptr_t)a->data % 8 == 0);
    safetensors_decode(a, 0, 6, got);
    assert_memory_equal(got, values, sizeof(float[6]));
    safetensors_decode(a, 2, 2, got);
    assert_memory_equal(got, values + 2, sizeof(float[2]));
    safetensors_decode(b, 0, 4, got);
    assert_memory_equal(got, values + 6, sizeof(float[4]));
    safetensors_decode(c, 0, 4, got);
    assert_true(got[0] == 0.5f && got[1] == 65504 && fabsf(got[2] - 6e-8f) < 1e-9f && got[3] == -1);
    safetensors_close(&f);
}

static void incomplete_and_overfull_writes_fail(void **state)
{
    (void)state;
    const safetensors_entry entries[] = {{"a", SAFETENSORS_F32, 1, {3}}};
    const float values[4] = {0};
    safetensors_writer w;
    grpo_error err;
    assert_ok(safetensors_create(&w, path_of("y.safetensors"), entries, 1, NULL, &err), err);
    assert_ok(safetensors_append(&w, values, 2, &err), err);
    assert_int_equal(safetensors_append(&w, values, 2, &err), GRPO_ERR_INTERNAL);
    assert_int_equal(safetensors_commit(&w, &err), GRPO_ERR_INTERNAL);
    assert_false(file_exists(path_of("y.safetensors")));
}

/* header + data as a file in memory; data_bytes zero bytes follow the header */
static grpo_status open_text(const char *header, size_t data_bytes, grpo_error *err)
{
    safetensors_file f;
    size_t n = strlen(header);
    unsigned char *bytes = mem_calloc(8 + n + data_bytes, 1);
    bytes[0] = (unsigned char)n;
    bytes[1] = (unsigned char)(n >> 8);
    memcpy(bytes + 8, header, n);
    grpo_status status = safetensors_open_memory(&f, bytes, 8 + n + data_bytes, "m.safetensors", err);
    if (status == GRPO_OK)
        safetensors_close(&f);
    mem_free(bytes);
    return status;
}

static void good_headers_are_accepted(void **state)
{
    static const struct {
        const char *header;
        size_t data;
    } cases[] = {
        {"{}", 0},
        {"{\"__metadata__\":{}}", 0},
        {" {\"a\"", 0}, /* replaced below: leading space is not allowed */
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}   ", 8},
        {"{ \"a\" : { \"shape\" : [ 1 , 2 ] , \"data_offsets\" : [ 0 , 4 ] , \"dtype\" : \"F16\" } }", 4},
        {"{\"\\u0061\\n\\ud83d\\ude00\":{\"dtype\":\"BOOL\",\"shape\":[],\"data_offsets\":[0,1]}}", 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        grpo_error err;
        grpo_status status = open_text(cases[i].header, cases[i].data, &err);
        if (i == 2)
            assert_int_equal(status, GRPO_ERR_FORMAT);
        else
            assert_ok(status, err);
    }
}

static void lying_headers_are_refused(void **state)
{
    static const struct {
        const char *header;
        size_t data;
        const char *mentions;
    } cases[] = {
        {"", 0, "'{' expected"},
        {"{", 0, "expected"},
        {"{}x", 0, "after the end"},
        {"[]", 0, "'{' expected"},
        {"{\"a\":{}}", 0, "expected"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "missing"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}}", 8, "unknown or repeated"},
        {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "unknown or repeated"},
        {"{\"a\":{\"dtype\":\"F99\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "F99"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "12 bytes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "8 to 0"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, "truncated"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 9, "9 bytes of data"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12, "hole"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12, "overlap"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}", 12, "twice"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0, "too large"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[18446744073709551615],\"data_offsets\":[0,0]}}", 0, "too large"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999999],\"data_offsets\":[0,0]}}", 0, "too large"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,0]}}", 0, "whole number"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4, "expected"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[01],\"data_offsets\":[0,4]}}", 4, "leading zero"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, "too many"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "two numbers"},
        {"{\"\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "without a name"},
        {"{\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "zero character"},
        {"{\"a\\q\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "escape"},
        {"{\"a\nb\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "control character"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "expected"},
        {"{\"a", 0, "unfinished"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        grpo_error err;
        if (open_text(cases[i].header, cases[i].data, &err) == GRPO_OK)
            fail_msg("accepted: %s", cases[i].header);
        if (!strstr(err.message, cases[i].mentions) || !strstr(err.message, "m.safetensors"))
            fail_msg("%s: \"%s\" does not mention \"%s\"", cases[i].header, err.message, cases[i].mentions);
    }
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    const safetensors_entry entries[] = {{"first", SAFETENSORS_F32, 2, {2, 3}}, {"second", SAFETENSORS_BF16, 1, {5}}};
    const float values[6] = {0};
    safetensors_writer w;
    grpo_error err;
    char *bytes;
    size_t size;
    assert_ok(safetensors_create(&w, path_of("t.safetensors"), entries, 2, NULL, &err), err);
    assert_ok(safetensors_append(&w, values, 6, &err), err);
    assert_ok(safetensors_append(&w, values, 5, &err), err);
    assert_ok(safetensors_commit(&w, &err), err);
    assert_ok(file_read(&bytes, &size, path_of("t.safetensors"), 1 << 20, &err), err);
    for (size_t n = 0; n < size; n++) {
        safetensors_file f;
        unsigned char *part = mem_dup(bytes, n); /* its own allocation: reading past it shows */
        assert_int_equal(safetensors_open_memory(&f, part, n, "cut", &err), GRPO_ERR_FORMAT);
        mem_free(part);
    }
    mem_free(bytes);
}

static void a_huge_header_length_takes_no_memory(void **state)
{
    (void)state;
    unsigned char bytes[16] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, '{', '}'};
    safetensors_file f;
    grpo_error err;
    assert_int_equal(safetensors_open_memory(&f, bytes, sizeof bytes, "huge", &err), GRPO_ERR_FORMAT);
    assert_non_null(strstr(err.message, "announced"));
}

static void failed_allocations_are_reported(void **state)
{
    (void)state;
    grpo_error err;
    for (long n = 1; n < 40; n++) {
        safetensors_file f;
        const char *header = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";
        unsigned char bytes[128] = {(unsigned char)strlen(header)};
        memcpy(bytes + 8, header, strlen(header));
        mem_fail_after(n);
        grpo_status status = safetensors_open_memory(&f, bytes, 16 + strlen(header), "m", &err);
        mem_fail_after(0);
        if (status == GRPO_OK) {
            safetensors_close(&f);
            assert_true(n > 2);
            return;
        }
        assert_int_equal(status, GRPO_ERR_MEMORY);
    }
    fail_msg("never succeeded");
}

static void halves_round_to_nearest_even(void **state)
{
    static const struct {
        float x;
        uint16_t half, bfloat;
    } cases[] = {
        {0, 0, 0}, {-0.0f, 0x8000, 0x8000}, {1, 0x3C00, 0x3F80}, {65504, 0x7BFF, 0x4780}, {65519.996f, 0x7BFF, 0x4780},
        {65520, 0x7C00, 0x4780}, {1e30f, 0x7C00, 0x714A}, {INFINITY, 0x7C00, 0x7F80}, {-INFINITY, 0xFC00, 0xFF80},
        {0x1p-14f, 0x0400, 0x3880}, {0x1p-24f, 0x0001, 0x3380}, {0x1p-25f, 0x0000, 0x3300}, {0x1.000002p-25f, 0x0001, 0x3300},
        {0x1.8p-24f, 0x0002, 0x33C0}, {0x1.ffcp-15f, 0x0400, 0x3880}, {1.00048828125f, 0x3C00, 0x3F80}, {1.0004884f, 0x3C01, 0x3F80},
        {1.00146484375f, 0x3C02, 0x3F80}, {3.3895314e38f, 0x7C00, 0x7F7F}, {3.4e38f, 0x7C00, 0x7F80}, {1.00390625f, 0x3C04, 0x3F80},
        {1.01171875f, 0x3C0C, 0x3F82},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (encode_half(cases[i].x) != cases[i].half || encode_bfloat(cases[i].x) != cases[i].bfloat)
            fail_msg("%a: half %04x, bfloat %04x", (double)cases[i].x, encode_half(cases[i].x), encode_bfloat(cases[i].x));
    }
    assert_true((encode_half(NAN) & 0x7FFF) > 0x7C00 && (encode_bfloat(NAN) & 0x7FFF) > 0x7F80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_files_are_read_back),
        cmocka_unit_test(incomplete_and_overfull_writes_fail),
        cmocka_unit_test(good_headers_are_accepted),
        cmocka_unit_test(lying_headers_are_refused),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(a_huge_header_length_takes_no_memory),
        cmocka_unit_test(failed_allocations_are_reported),
        cmocka_unit_test(halves_round_to_nearest_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
