/* Every tokenizer case of ../shared/tokenizer: ids, ids without what the post-processor adds, special
 * tokens as text, decoding with and without special tokens, invalid UTF-8, long texts, and the same
 * by way of streaming. What made the cases: see the README there (Hugging Face tokenizers 0.23.3). */
#define _GNU_SOURCE
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "grpo/tokenizer.h"
#include "support.h"

typedef void case_fn(const grpo_tokenizer *t, const json_t *line, const char *where);

static long for_each_line(const grpo_tokenizer *t, const char *relative, case_fn *fn)
{
    const char *path = test_shared_path(relative);
    grpo_error err;
    file_lines lines = {.stream = fopen(path, "r"), .name = path};
    assert_non_null(lines.stream);
    char where[512];
    long count = 0;
    while (file_next_line(&lines, &err) > 0) {
        json_t *line;
        snprintf(where, sizeof where, "%s:%ld", relative, lines.number);
        assert_ok(json_parse(&line, lines.line, lines.length, where, &err), err);
        fn(t, line, where);
        json_decref(line);
        count++;
    }
    file_lines_deinit(&lines);
    fclose(lines.stream);
    return count;
}

static grpo_tokenizer *load(const char *folder)
{
    grpo_error err;
    grpo_tokenizer *t;
    assert_ok(grpo_tokenizer_load(&t, test_shared_path(folder), &err), err);
    return t;
}

static void expect_ids(const grpo_tokenizer *t, const char *text, size_t length, unsigned flags,
                       const json_t *expected, const char *where)
{
    grpo_error err;
    int32_t *ids;
    size_t count;
    assert_true(json_is_array(expected));
    assert_ok(grpo_tokenizer_encode(t, text, length, flags, &ids, &count, &err), err);
    if (count != json_array_size(expected))
        fail_msg("%s: %zu ids instead of %zu", where, count, json_array_size(expected));
    for (size_t i = 0; i < count; i++)
        if (ids[i] != json_integer_value(json_array_get(expected, i)))
            fail_msg("%s: id %zu is %d", where, i, (int)ids[i]);
    grpo_tokenizer_free_ids(ids);
}

static int32_t *read_ids(const json_t *list, size_t *count)
{
    *count = json_array_size(list);
    int32_t *ids = mem_calloc(*count, sizeof *ids);
    for (size_t i = 0; i < *count; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    return ids;
}

static void expect_equal(const char *got, size_t length, const json_t *expected, const char *where,
                         const char *how)
{
    if (length != json_string_length(expected) ||
        memcmp(got, json_string_value(expected), length) != 0)
        fail_msg("%s: %s gives '%.*s'", where, how, (int)length, got);
}

static int ends_inside_a_character(const char *text, size_t length)
{
    json_t *probe = json_stringn(text, length); /* refuses what is not UTF-8 */
    json_decref(probe);
    return probe == NULL;
}

static void expect_text(const grpo_tokenizer *t, const json_t *list, int skip, const json_t *expected,
                        const char *where)
{
    grpo_error err;
    size_t count, length;
    char *text;
    int32_t *ids = read_ids(list, &count);
    assert_true(json_is_string(expected));
    assert_ok(grpo_tokenizer_decode(t, ids, count, skip, &text, &length, &err), err);
    expect_equal(text, length, expected, where, "decoding");
    grpo_tokenizer_free_text(text);

    grpo_stream *stream;
    strbuf streamed = STRBUF_INIT;
    assert_ok(grpo_stream_create(&stream, t, skip, &err), err);
    for (size_t i = 0; i <= count; i++) {
        const char *piece;
        assert_ok(i < count ? grpo_stream_push(stream, ids[i], &piece, &length, &err)
                            : grpo_stream_finish(stream, &piece, &length, &err), err);
        if (ends_inside_a_character(piece, length))
            fail_msg("%s: half a character after token %zu", where, i);
        strbuf_append(&streamed, piece, length);
    }
    expect_equal(strbuf_text(&streamed), streamed.length, expected, where, "streaming");
    strbuf_deinit(&streamed);
    grpo_stream_destroy(stream);
    mem_free(ids);
}

static const json_t *first_of(const json_t *line, const char *key, const char *other)
{
    const json_t *value = json_object_get(line, key);
    return value ? value : json_object_get(line, other);
}

static void golden_case(const grpo_tokenizer *t, const json_t *line, const char *where)
{
    const char *text = json_string_value(json_object_get(line, "text"));
    size_t length = json_string_length(json_object_get(line, "text"));
    const json_t *ids = json_object_get(line, "ids");
    expect_ids(t, text, length, GRPO_ENCODE_ADDED, ids, where);
    expect_ids(t, text, length, 0, first_of(line, "ids_without_added", "ids"), where);
    if (strstr(where, "smollm2"))
        expect_ids(t, text, length, GRPO_ENCODE_ADDED | GRPO_ENCODE_SPECIALS_AS_TEXT,
                   first_of(line, "ids_specials_as_text", "ids"), where);
    expect_text(t, ids, 0, json_object_get(line, "decoded"), where);
    expect_text(t, ids, 1, first_of(line, "decoded_skip_special", "decoded"), where);
}

static void decode_case(const grpo_tokenizer *t, const json_t *line, const char *where)
{
    const json_t *ids = json_object_get(line, "ids");
    expect_text(t, ids, 0, json_object_get(line, "decoded"), where);
    expect_text(t, ids, 1, json_object_get(line, "decoded_skip_special"), where);
}

static void long_case(const grpo_tokenizer *t, const json_t *line, const char *where)
{
    const json_t *text = json_object_get(line, "text"), *ids = json_object_get(line, "ids");
    expect_ids(t, json_string_value(text), json_string_length(text), GRPO_ENCODE_ADDED, ids, where);
    if (json_is_true(json_object_get(line, "decoded_equals_text")))
        expect_text(t, ids, 0, text, where);
}

static size_t from_base64(const char *text, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned bits = 0;
    int have = 0;
    size_t n = 0;
    for (; *text && *text != '='; text++) {
        bits = bits << 6 | (unsigned)(strchr(digits, *text) - digits);
        if ((have += 6) >= 8)
            out[n++] = (char)(bits >> (have -= 8));
    }
    return n;
}

static void invalid_case(const grpo_tokenizer *t, const json_t *line, const char *where)
{
    char bytes[65536];
    const json_t *coded = json_object_get(line, "bytes_base64");
    assert_true(json_string_length(coded) < sizeof bytes);
    size_t length = from_base64(json_string_value(coded), bytes);
    expect_ids(t, bytes, length, GRPO_ENCODE_ADDED, json_object_get(line, "ids"), where);
}

static void smollm2(void **state)
{
    (void)state;
    grpo_tokenizer *t = load("tokenizer/smollm2");
    assert_true(for_each_line(t, "tokenizer/smollm2/golden.jsonl", golden_case) > 1000);
    assert_true(for_each_line(t, "tokenizer/smollm2/invalid_utf8.jsonl", invalid_case) > 10);
    assert_true(for_each_line(t, "tokenizer/smollm2/decode.jsonl", decode_case) > 100);
    assert_true(for_each_line(t, "tokenizer/smollm2/long.jsonl", long_case) > 5);
    grpo_tokenizer_destroy(t);
}

static void small_pipelines(void **state)
{
    (void)state;
    static const char *const folders[] = {"qwen2_style", "llama3_style", "gpt2_style",
                                          "prefix_space_style", "llama2_style", "gemma_style"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char path[256], golden[256];
        snprintf(path, sizeof path, "tokenizer/%s", folders[i]);
        snprintf(golden, sizeof golden, "tokenizer/%s/golden.jsonl", folders[i]);
        grpo_tokenizer *t = load(path);
        assert_true(for_each_line(t, golden, golden_case) > 100);
        grpo_tokenizer_destroy(t);
    }
}

static void config_beside_it(void **state)
{
    (void)state;
    grpo_tokenizer *t = load("tokenizer/smollm2");
    size_t count;
    assert_string_equal(grpo_tokenizer_special(t, "bos_token"), "<|im_start|>");
    assert_int_equal(grpo_tokenizer_special_id(t, "bos_token"), 1);
    assert_int_equal(grpo_tokenizer_special_id(t, "eos_token"), 2);
    assert_null(grpo_tokenizer_special(t, "mask_token"));
    assert_int_equal(grpo_tokenizer_eos_ids(t, &count)[0], 2);
    assert_int_equal(count, 1);
    assert_non_null(strstr(grpo_tokenizer_chat_template(t, NULL), "add_generation_prompt"));
    assert_null(grpo_tokenizer_chat_template(t, "tool_use"));
    assert_int_equal(grpo_tokenizer_size(t), 49152);
    assert_int_equal(grpo_tokenizer_id(t, "<|im_end|>", 10), 2);
    assert_true(grpo_tokenizer_is_special(t, 2));
    assert_false(grpo_tokenizer_is_special(t, 100));
    grpo_tokenizer_destroy(t);
}

int main(void)
{
    test_shared_path("tokenizer");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smollm2),
        cmocka_unit_test(small_pipelines),
        cmocka_unit_test(config_beside_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
