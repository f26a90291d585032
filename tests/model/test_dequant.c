/* Decoding of every type against the gguf package, bit for bit: data/quants.bin, made by data/make_quants.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "model/dequant.h"
#include "support.h"

typedef struct record {
    char name[16];
    uint32_t blocks, bytes, elements; /* little-endian, as all machines that this runs on */
} record;

/* One type; gives where its values end. */
static const char *check_type(const char *at, char names[256])
{
    record r;
    memcpy(&r, at, sizeof r);
    const tensor_type *type = tensor_type_named(r.name);
    assert_non_null(type);
    assert_int_equal(type->bytes, r.bytes);
    assert_int_equal(type->elements, r.elements);
    size_t n = (size_t)r.blocks * r.elements;
    const char *blocks = at + sizeof r, *expected = blocks + (size_t)r.blocks * r.bytes;
    float *got = mem_calloc(n, sizeof *got);
    type->decode(got, (const unsigned char *)blocks, r.blocks);
    for (size_t i = 0; i < n; i++) {
        float want;
        memcpy(&want, expected + i * sizeof want, sizeof want);
        if (memcmp(&got[i], &want, sizeof want) != 0)
            fail_msg("%s element %zu: %a, expected %a", r.name, i, (double)got[i], (double)want);
    }
    mem_free(got);
    snprintf(names + strlen(names), 256 - strlen(names), "%s%s", names[0] ? ", " : "", r.name);
    return expected + n * sizeof(float);
}

static int listed(const char *list, const char *name)
{
    const char *at = strstr(list, name);
    size_t n = strlen(name);
    return at && (at[n] == ',' || at[n] == 0);
}

static void every_type_decodes_to_the_expected_bits(void **state)
{
    (void)state;
    grpo_error err;
    char path[4096], names[256] = "", *bytes;
    const char *source = getenv("GRPO_SOURCE_DIR");
    size_t size;
    snprintf(path, sizeof path, "%s/tests/model/data/quants.bin", source ? source : ".");
    assert_ok(file_read(&bytes, &size, path, 1 << 20, &err), err);
    for (const char *at = bytes; at < bytes + size;)
        at = check_type(at, names);
    for (uint32_t ggml = 0; ggml < 64; ggml++) {
        const tensor_type *type = tensor_type_of_ggml(ggml);
        if (type && type->decode && !listed(names, type->name))
            fail_msg("%s has no expected values", type->name);
        if (type && (type->decode == NULL) == listed(tensor_type_list(), type->name))
            fail_msg("%s is wrong in the list of types", type->name);
    }
    mem_free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_decodes_to_the_expected_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
