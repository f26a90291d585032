/* Decoding of every block type that ../shared/models/gguf has, bit for bit. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "model/gguf.h"
#include "model/safetensors.h"
#include "support.h"

typedef struct quants {
    json_t *list;
    safetensors_file expected;
    gguf_file all;
} quants;

static int load(void **state)
{
    grpo_error err;
    static quants q;
    json_t *json;
    assert_ok(json_parse_file(&json, test_shared_path("models/gguf/quants.json"), 1 << 20, &err), err);
    q.list = json_incref(json_object_get(json, "tensors"));
    json_decref(json);
    assert_ok(safetensors_open(&q.expected, test_shared_path("models/gguf/quants_expected.safetensors"), &err), err);
    assert_ok(gguf_open(&q.all, test_shared_path("models/gguf/all-types.gguf"), &err), err);
    *state = &q;
    return 0;
}

static int unload(void **state)
{
    quants *q = *state;
    json_decref(q->list);
    safetensors_close(&q->expected);
    gguf_close(&q->all);
    return 0;
}

static void check_blocks(const tensor_type *type, const unsigned char *blocks, size_t bytes, const safetensors_tensor *want)
{
    size_t n = bytes / type->bytes * type->elements;
    float *got = mem_calloc(n, sizeof *got), *expected = mem_calloc(n, sizeof *expected);
    assert_int_equal(bytes % type->bytes, 0);
    assert_int_equal(n * sizeof *got, want->end - want->begin);
    type->decode(got, blocks, n / type->elements);
    safetensors_decode(want, 0, n, expected);
    for (size_t i = 0; i < n; i++)
        if (memcmp(&got[i], &expected[i], sizeof got[i]) != 0)
            fail_msg("%s element %zu: %.9g, expected %.9g", type->name, i, (double)got[i], (double)expected[i]);
    mem_free(got);
    mem_free(expected);
}

/* The expected tensor of a type; names in the GGUF file are in lower case. */
static const safetensors_tensor *expected_of(const quants *q, const char *name)
{
    for (size_t i = 0; i < q->expected.n_tensors; i++)
        if (strcasecmp(q->expected.tensors[i].name, name) == 0)
            return &q->expected.tensors[i];
    fail_msg("no expected values for %s", name);
    return NULL;
}

static void raw_blocks_decode_to_expected_bits(void **state)
{
    quants *q = *state;
    assert_true(json_array_size(q->list) >= 10);
    for (size_t i = 0; i < json_array_size(q->list); i++) {
        const json_t *item = json_array_get(q->list, i);
        const char *name = json_string_value(json_object_get(item, "type"));
        const tensor_type *type = tensor_type_named(name);
        char path[256], *blocks;
        size_t bytes;
        grpo_error err;
        assert_non_null(type);
        assert_int_equal(type->ggml, json_integer_value(json_object_get(item, "ggml_type")));
        assert_int_equal(type->elements, json_integer_value(json_object_get(item, "block_elements")));
        assert_int_equal(type->bytes, json_integer_value(json_object_get(item, "block_bytes")));
        snprintf(path, sizeof path, "models/gguf/%s", json_string_value(json_object_get(item, "file")));
        assert_ok(file_read(&blocks, &bytes, test_shared_path(path), 1 << 20, &err), err);
        check_blocks(type, (const unsigned char *)blocks, bytes, expected_of(q, name));
        mem_free(blocks);
    }
}

static void tensors_of_the_gguf_file_decode_to_expected_bits(void **state)
{
    quants *q = *state;
    assert_int_equal(q->all.n_tensors, json_array_size(q->list));
    for (size_t i = 0; i < q->all.n_tensors; i++) {
        const gguf_tensor *t = &q->all.tensors[i];
        check_blocks(t->type, t->data, (size_t)t->bytes, expected_of(q, t->name));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(raw_blocks_decode_to_expected_bits),
        cmocka_unit_test(tensors_of_the_gguf_file_decode_to_expected_bits),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
