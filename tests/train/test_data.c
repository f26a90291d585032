/* Data sets: forms of records, files and compressions, templates, splits, epochs, bad input. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "train/data.h"
#include "support.h"

static const char *write_file(const char *name, const char *text, size_t length)
{
    static char path[8][512];
    static int next;
    char *p = path[next++ % 8];
    snprintf(p, sizeof path[0], "%s/%s", test_folder(), name);
    grpo_error err;
    assert_ok(file_write_all(p, text, length ? length : strlen(text), &err), err);
    return p;
}

static data_set *open_text(const char *name, const char *text, const data_options *o)
{
    data_set *d;
    grpo_error err;
    assert_ok(data_open(&d, write_file(name, text, 0), o, &err), err);
    return d;
}

static void refuses(const char *name, const char *text, const data_options *o, const char *message)
{
    data_set *d;
    grpo_error err = {0};
    assert_int_not_equal(data_open(&d, write_file(name, text, 0), o, &err), GRPO_OK);
    assert_null(d);
    if (!strstr(err.message, message))
        fail_msg("%s: got '%s', wanted '%s'", text, err.message, message);
}

static const char *content(const data_record *r, size_t i)
{
    return json_string_value(json_object_get(json_array_get(r->messages, i), "content"));
}

static const char *role(const data_record *r, size_t i)
{
    return json_string_value(json_object_get(json_array_get(r->messages, i), "role"));
}

static void test_forms(void **state)
{
    (void)state;
    data_options o = {.system_prompt = "Be brief."};
    data_set *d = open_text("forms.jsonl",
                            "\xEF\xBB\xBF{\"question\":\"1+1?\",\"answer\":\"so\\n#### 2\"}\n"
                            "\n"
                            "{\"prompt\":\"2+2?\",\"answer\":4,\"extra\":[1]}\r\n"
                            "{\"data_source\":\"x\",\"prompt\":[{\"role\":\"user\",\"content\":\"3+3?\"}],"
                            "\"reward_model\":{\"style\":\"rule\",\"ground_truth\":\"6\"},\"extra_info\":{}}\n"
                            "{\"prompt\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":"
                            "[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]}],\"solution\":\"7\"}",
                            &o);
    assert_int_equal(data_count(d), 4);
    const data_record *r = data_get(d, 0);
    assert_string_equal(r->text, "1+1?");
    assert_string_equal(r->answer, "so\n#### 2");
    assert_string_equal(role(r, 0), "system");
    assert_string_equal(content(r, 0), "Be brief.");
    assert_string_equal(content(r, 1), "1+1?");
    r = data_get(d, 1);
    assert_string_equal(r->answer, "4");
    assert_int_equal(r->line, 3);
    assert_int_equal(json_array_size(json_object_get(r->fields, "extra")), 1);
    r = data_get(d, 2);
    assert_null(r->text);
    assert_string_equal(r->answer, "6");
    assert_string_equal(content(r, 1), "3+3?");
    r = data_get(d, 3);
    assert_int_equal(json_array_size(r->messages), 2);
    assert_string_equal(content(r, 0), "S"); /* the record's own system prompt stays */
    assert_string_equal(content(r, 1), "ab");
    assert_string_equal(r->answer, "7");
    data_close(d);
}

static void test_fields_and_template(void **state)
{
    (void)state;
    data_options o = {.template = "{q} has {n} {{parts}}: {meta.kind}", .answer_field = "meta.answer"};
    const char *text = "{\"q\":\"x\",\"n\":[1,2.5],\"meta\":{\"kind\":\"k\",\"answer\":true}}";
    data_set *d = open_text("t.jsonl", text, &o);
    assert_string_equal(data_get(d, 0)->text, "x has [1,2.5] {parts}: k");
    assert_string_equal(data_get(d, 0)->answer, "true");
    data_close(d);
    o.template = "{q} {absent}";
    refuses("t.jsonl", text, &o, "t.jsonl line 1: there is no field 'absent', which the prompt template uses");
    const char *const wrong[] = {"{q", "q}", "{}", "{a{b}}", "}{"};
    for (int i = 0; i < 5; i++) {
        o.template = wrong[i];
        refuses("t.jsonl", text, &o, "the prompt template has a lone");
    }
    o = (data_options){.prompt_field = "q", .answer_field = "nope"};
    refuses("t.jsonl", text, &o, "line 1: there is no field 'nope' (data.answer_field)");
}

static void test_bad_records(void **state)
{
    (void)state;
    refuses("b.jsonl", "{\"prompt\":\"a\"}\n{\"prompt\":\n", NULL, "b.jsonl line 2: not JSON");
    refuses("b.jsonl", "{\"prompt\":\"a\"}\n[1]\n", NULL, "b.jsonl line 2: not a JSON object");
    refuses("b.jsonl", "{\"text\":\"a\",\"label\":1}\n", NULL,
            "line 1: there is no field 'prompt' (the fields are: text, label); set data.prompt_field");
    refuses("b.jsonl", "{\"prompt\":5}\n", NULL, "line 1: neither text nor messages in field 'prompt'");
    refuses("b.jsonl", "{\"prompt\":[]}\n", NULL, "line 1: neither text nor messages");
    refuses("b.jsonl", "{\"prompt\":[{\"content\":\"a\"}]}\n", NULL, "has no \"role\"");
    refuses("b.jsonl", "{\"prompt\":[\"a\"]}\n", NULL, "has no \"role\"");
    refuses("b.jsonl", "{\"prompt\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\"}]}]}\n", NULL, "is not text");
    refuses("b.jsonl", "{\"prompt\":[{\"role\":\"assistant\",\"content\":\"a\"}]}\n", NULL, "ends with a message of the assistant");
    refuses("b.jsonl", "{\"prompt\":\"a\\u0000b\"}\n", NULL, "a NUL character");
    refuses("b.jsonl", "\n\n", NULL, "has no records");
    refuses("b.jsonl", "{\"prompt\":\"\xFF\"}\n", NULL, "line 1: not JSON");
    refuses("b.parquet", "PAR1xxxx", NULL, "parquet");
    data_set *d;
    grpo_error err;
    assert_int_equal(data_open(&d, "/nonexistent.jsonl", NULL, &err), GRPO_ERR_IO);
    assert_int_equal(data_open(&d, "/tmp", NULL, &err), GRPO_ERR_IO);
    assert_non_null(strstr(err.message, "is a folder"));
}

static void test_csv(void **state)
{
    (void)state;
    data_set *d = open_text("a.csv",
                            "\xEF\xBB\xBFquestion,answer,\"no,te\"\r\n"
                            "plain,1,x\r\n"
                            "\"two\nlines, \"\"quoted\"\"\",2,\r\n"
                            "\n"
                            "last,\"3\",y",
                            NULL);
    assert_int_equal(data_count(d), 3);
    assert_string_equal(data_get(d, 1)->text, "two\nlines, \"quoted\"");
    assert_int_equal(data_get(d, 1)->line, 3);
    assert_int_equal(data_get(d, 2)->line, 6);
    assert_string_equal(data_get(d, 2)->answer, "3");
    assert_string_equal(json_string_value(json_object_get(data_get(d, 0)->fields, "no,te")), "x");
    data_close(d);
    refuses("b.csv", "prompt,answer\na,1\nb\n", NULL, "b.csv line 3: 1 fields, but the header has 2");
    refuses("b.csv", "prompt,answer\na,\"1\n2\n", NULL, "b.csv line 2: a quoted field does not end");
    refuses("b.csv", "prompt\na\"b\n", NULL, "b.csv line 2: a quote inside a field");
    refuses("b.csv", "prompt\n\"a\"b\n", NULL, "line 2: text after a closing quote");
    refuses("b.csv", "prompt\n\xFF\n", NULL, "line 2: not UTF-8");
    refuses("b.csv", "", NULL, ""); /* write_file of no text: an empty file */
}

static void test_json_array(void **state)
{
    (void)state;
    data_set *d = open_text("a.json", "[{\"prompt\":\"a\"},\n{\"prompt\":\"b\"}]", NULL);
    assert_int_equal(data_count(d), 2);
    data_close(d);
    refuses("a.json", "[{\"prompt\":\"a\"}, 3]", NULL, "line 2: not a JSON object");
    refuses("a.json", "[{\"prompt\":\"a\"}", NULL, "not JSON");
}

/* Compresses by the command line tool; 0 when there is none. */
static int pack(const char *tool, const char *path, const char *packed)
{
    char command[1200];
    snprintf(command, sizeof command, "command -v %s >/dev/null && %s -c '%s' > '%s'", tool, tool, path, packed);
    return system(command) == 0;
}

static void test_compressed(void **state)
{
    (void)state;
    strbuf text = STRBUF_INIT;
    for (int i = 0; i < 20000; i++)
        strbuf_printf(&text, "{\"prompt\":\"p%d\",\"answer\":\"%d\"}\n", i, i * 7919);
    const char *path = write_file("c.jsonl", strbuf_text(&text), text.length);
    const char *const tools[] = {"gzip", "zstd"}, *const endings[] = {"gz", "zst"};
    for (int k = 0; k < 2; k++) {
        char packed[600];
        snprintf(packed, sizeof packed, "%s.%s", path, endings[k]);
        if (!pack(tools[k], path, packed)) {
            print_message("SKIPPED: no %s command here\n", tools[k]);
            continue;
        }
        data_set *d;
        grpo_error err;
        assert_ok(data_open(&d, packed, NULL, &err), err);
        assert_int_equal(data_count(d), 20000);
        assert_string_equal(data_get(d, 19999)->text, "p19999");
        data_close(d);
        char *bytes;
        size_t n;
        assert_ok(file_read(&bytes, &n, packed, 1 << 24, &err), err);
        for (size_t cut = 3; cut <= 4; cut++) { /* a file that breaks off */
            const char *broken = write_file("broken.jsonl", bytes, n * cut / 5);
            assert_int_not_equal(data_open(&d, broken, NULL, &err), GRPO_OK);
            if (!strstr(err.message, "damaged or breaks off"))
                fail_msg("%s", err.message);
        }
        mem_free(bytes);
    }
    strbuf_deinit(&text);
}

static data_set *numbered(int n, int distinct)
{
    strbuf text = STRBUF_INIT;
    for (int i = 0; i < n; i++)
        strbuf_printf(&text, "{\"prompt\":\"p%d\",\"answer\":\"%d\"}\n", i % distinct, i);
    data_set *d = open_text("n.jsonl", strbuf_text(&text), NULL);
    strbuf_deinit(&text);
    return d;
}

static void test_split(void **state)
{
    (void)state;
    grpo_error err;
    data_set *d = numbered(100, 80);
    assert_int_equal(data_duplicates(d), 20);
    assert_int_equal(data_overlap(d, d), 100);
    data_view train, held, again, other;
    assert_ok(data_view_split(&train, &held, d, 30, 7, &err), err);
    assert_int_equal(held.count, 30);
    for (size_t i = 0; i < held.count; i++)
        for (size_t j = 0; j < train.count; j++)
            assert_string_not_equal(data_get(d, held.index[i])->text, data_get(d, train.index[j])->text);
    size_t twice = 0; /* held-out prompts that stand in the file twice: both are kept from training */
    for (size_t i = 0; i < held.count; i++)
        twice += atoi(data_get(d, held.index[i])->text + 1) < 20;
    assert_int_equal(train.count, 100 - 30 - twice);
    data_view_deinit(&train);
    assert_ok(data_view_split(&train, &again, d, 30, 7, &err), err);
    assert_memory_equal(held.index, again.index, 30 * sizeof(size_t));
    data_view_deinit(&train);
    assert_ok(data_view_split(&train, &other, d, 30, 8, &err), err);
    assert_true(memcmp(held.index, other.index, 30 * sizeof(size_t)) != 0);
    data_view_deinit(&train);
    data_view_deinit(&held);
    data_view_deinit(&again);
    data_view_deinit(&other);
    assert_int_equal(data_view_split(&train, &held, d, 80, 7, &err), GRPO_ERR_CONFIG);
    data_close(d);
}

static bool is_even(void *context, size_t index, const data_record *r)
{
    (void)context;
    (void)r;
    return index % 2 == 0;
}

static void test_stream(void **state)
{
    (void)state;
    grpo_error err;
    data_set *d = numbered(50, 50);
    data_view all;
    assert_ok(data_view_all(&all, d, &err), err);
    assert_int_equal(data_view_filter(&all, is_even, NULL), 25);
    data_stream s, t;
    assert_ok(data_stream_init(&s, &all, 3, true, &err), err);
    assert_ok(data_stream_init(&t, &all, 3, true, &err), err);
    size_t order[3][25];
    for (uint64_t i = 0; i < 75; i++)
        order[i / 25][i % 25] = data_stream_at(&s, i);
    for (int e = 0; e < 3; e++) {
        unsigned char seen[50] = {0};
        for (int i = 0; i < 25; i++)
            seen[order[e][i]]++;
        for (int i = 0; i < 50; i++)
            assert_int_equal(seen[i], i % 2 == 0);
    }
    assert_true(memcmp(order[0], order[1], sizeof order[0]) != 0);
    assert_int_equal(data_stream_at(&t, 60), order[2][10]); /* a position can be found again alone */
    assert_int_equal(data_stream_at(&t, 3), order[0][3]);
    data_stream_deinit(&s);
    data_stream_deinit(&t);
    assert_ok(data_stream_init(&s, &all, 3, false, &err), err);
    for (uint64_t i = 0; i < 50; i++)
        assert_int_equal(data_stream_at(&s, i), i % 25 * 2);
    data_stream_deinit(&s);
    data_view_deinit(&all);
    data_close(d);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    const char *path = write_file("m.jsonl", "{\"prompt\":\"a\",\"answer\":1}\n{\"prompt\":[{\"role\":\"user\",\"content\":\"b\"}]}\n", 0);
    int failed = 0;
    for (long n = 1; n < 100; n++) {
        data_set *d;
        grpo_error err = {0};
        mem_fail_after(n);
        grpo_status status = data_open(&d, path, NULL, &err);
        mem_fail_after(0);
        failed += status != GRPO_OK;
        assert_true(status == GRPO_OK || err.message[0]);
        data_close(d);
    }
    assert_in_range(failed, 5, 98);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),       cmocka_unit_test(test_fields_and_template),
        cmocka_unit_test(test_bad_records), cmocka_unit_test(test_csv),
        cmocka_unit_test(test_json_array),  cmocka_unit_test(test_compressed),
        cmocka_unit_test(test_split),       cmocka_unit_test(test_stream),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
