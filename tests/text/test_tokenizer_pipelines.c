/* Small tokenizers with every part that is supported, against Hugging Face tokenizers 0.23.3
 * (data/tokenizer_pipelines.jsonl, made by data/make-tokenizer-pipelines.py); and streams of random ids,
 * whose pieces never end inside a character. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "grpo/tokenizer.h"
#include "support.h"
#include "text/unicode.h"

typedef struct pipeline {
    char name[128];
    grpo_tokenizer *tokenizer;
    const json_t *cases;
} pipeline;

/* The tokenizer.json of a line, with the vocabulary that it names, by way of a file. */
static grpo_tokenizer *load(const json_t *line, const json_t *vocabularies, const char *name)
{
    char path[4096];
    grpo_error err;
    grpo_tokenizer *t;
    json_t *whole = json_object_get(line, "tokenizer"), *model = json_object_get(whole, "model");
    const char *kind = json_string_value(json_object_get(line, "vocabulary"));
    assert_int_equal(json_object_update_missing(model, json_object_get(vocabularies, kind)), 0);
    snprintf(path, sizeof path, "%s/tokenizer.json", test_folder());
    assert_int_equal(json_dump_file(whole, path, 0), 0);
    if (grpo_tokenizer_load(&t, path, &err) != GRPO_OK)
        fail_msg("%s: %s", name, err.message);
    return t;
}

static void for_each_pipeline(void (*use)(const pipeline *p))
{
    char path[4096];
    grpo_error err;
    const char *source = getenv("GRPO_SOURCE_DIR");
    snprintf(path, sizeof path, "%s/tests/text/data/tokenizer_pipelines.jsonl", source ? source : ".");
    file_lines lines = {.stream = fopen(path, "r"), .name = path};
    assert_non_null(lines.stream);
    json_t *vocabularies = json_object();
    long more, count = 0;
    while ((more = file_next_line(&lines, &err)) > 0) {
        json_t *line;
        pipeline p;
        assert_ok(json_parse(&line, lines.line, lines.length, path, &err), err);
        snprintf(p.name, sizeof p.name, "%s", json_string_value(json_object_get(line, "name")));
        p.cases = json_object_get(line, "cases");
        if (p.cases) {
            p.tokenizer = load(line, vocabularies, p.name);
            use(&p);
            grpo_tokenizer_destroy(p.tokenizer);
            count++;
        } else {
            json_object_set(vocabularies, p.name, json_object_get(line, "model"));
        }
        json_decref(line);
    }
    if (more < 0)
        fail_msg("%s", err.message);
    assert_true(count > 40);
    json_decref(vocabularies);
    file_lines_deinit(&lines);
    fclose(lines.stream);
}

/* ---- against Hugging Face --------------------------------------------------------------------------- */

static void expect_ids(const pipeline *p, const json_t *text, unsigned flags, const json_t *expected)
{
    grpo_error err;
    int32_t *ids;
    size_t count;
    assert_ok(grpo_tokenizer_encode(p->tokenizer, json_string_value(text), json_string_length(text), flags, &ids,
                                    &count, &err), err);
    json_t *got = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(got, json_integer(ids[i]));
    grpo_tokenizer_free_ids(ids);
    if (!json_equal(got, expected))
        fail_msg("%s, flags %u, '%s': %s instead of %s", p->name, flags, json_string_value(text), json_text(got),
                 json_text(expected));
    json_decref(got);
}

static void expect_text(const pipeline *p, const json_t *list, int skip, const json_t *expected)
{
    grpo_error err;
    size_t count = json_array_size(list), length;
    char *text;
    int32_t *ids = mem_calloc(count + 1, sizeof *ids);
    for (size_t i = 0; i < count; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    assert_ok(grpo_tokenizer_decode(p->tokenizer, ids, count, skip, &text, &length, &err), err);
    if (length != json_string_length(expected) || memcmp(text, json_string_value(expected), length) != 0)
        fail_msg("%s, skipping %d: '%s' instead of '%s'", p->name, skip, text, json_string_value(expected));
    grpo_tokenizer_free_text(text);
    mem_free(ids);
}

static const json_t *either(const json_t *object, const char *key, const json_t *otherwise)
{
    const json_t *value = json_object_get(object, key);
    return value ? value : otherwise;
}

static void agrees_with_hugging_face(const pipeline *p)
{
    size_t i;
    json_t *line;
    json_array_foreach((json_t *)p->cases, i, line) {
        const json_t *text = json_object_get(line, "text"), *ids = json_object_get(line, "ids");
        const json_t *bare = either(line, "ids_without_added", ids), *decoded = json_object_get(line, "decoded");
        expect_ids(p, text, GRPO_ENCODE_ADDED, ids);
        expect_ids(p, text, 0, bare);
        expect_ids(p, text, GRPO_ENCODE_SPECIALS_AS_TEXT, either(line, "ids_specials_as_text", bare));
        expect_text(p, ids, 0, decoded);
        expect_text(p, ids, 1, either(line, "decoded_skip_special", decoded));
    }
}

static void test_pipelines(void **state)
{
    (void)state;
    for_each_pipeline(agrees_with_hugging_face);
}

/* ---- streams of random ids ---------------------------------------------------------------------------- */

enum { STREAMS = 40, LONGEST = 60 };

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void stream_once(const pipeline *p, const int32_t *ids, size_t count, int skip)
{
    grpo_error err;
    grpo_stream *stream;
    strbuf streamed = STRBUF_INIT;
    assert_ok(grpo_stream_create(&stream, p->tokenizer, skip, &err), err);
    for (size_t i = 0; i <= count; i++) {
        const char *piece;
        size_t length;
        assert_ok(i < count ? grpo_stream_push(stream, ids[i], &piece, &length, &err)
                            : grpo_stream_finish(stream, &piece, &length, &err), err);
        if (utf8_valid_prefix(piece, length) != length)
            fail_msg("%s: half a character after token %zu", p->name, i);
        strbuf_append(&streamed, piece, length);
    }
    grpo_stream_destroy(stream);
    char *whole;
    size_t length;
    assert_ok(grpo_tokenizer_decode(p->tokenizer, ids, count, skip, &whole, &length, &err), err);
    if (streamed.length != length || memcmp(strbuf_text(&streamed), whole, length) != 0)
        fail_msg("%s: streaming gives '%s' and decoding '%s'", p->name, strbuf_text(&streamed), whole);
    grpo_tokenizer_free_text(whole);
    strbuf_deinit(&streamed);
}

static void streams_whole_characters(const pipeline *p)
{
    uint32_t random = 1, size = (uint32_t)grpo_tokenizer_size(p->tokenizer);
    for (int s = 0; s < STREAMS; s++) {
        int32_t ids[LONGEST];
        size_t count = next_random(&random) % (LONGEST + 1);
        for (size_t i = 0; i < count; i++)
            ids[i] = (int32_t)(next_random(&random) % (size + 2)); /* two ids that no token has */
        stream_once(p, ids, count, s & 1);
    }
}

static void test_streams(void **state)
{
    (void)state;
    for_each_pipeline(streams_whole_characters);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pipelines), cmocka_unit_test(test_streams)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
