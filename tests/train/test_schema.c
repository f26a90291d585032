/* The table-driven configuration: values, ranges, advice, hostile YAML, writing and reading back. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "train/schema.h"
#include "support.h"

typedef enum colour { RED = 3, GREEN = 5 } colour;

typedef struct part {
    char *name;
    double weight;
} part;

typedef struct thing {
    char *title, *path;
    int count, flag;
    int64_t seed, budget;
    double rate, share, limit, slow_rate;
    bool on;
    colour paint;
    schema_strings words;
    schema_records parts;
} thing;

static const schema_choice colours[] = {{"red", RED, "warm"}, {"green", GREEN, NULL}, {NULL, 0, NULL}};

#define P(field) offsetof(part, field)
static const schema_row part_rows[] = {
    {.key = "name", .type = SCHEMA_STRING, .offset = P(name), .flags = SCHEMA_REQUIRED | SCHEMA_OPTIONAL, .help = "n"},
    {.key = "weight", .type = SCHEMA_FLOAT, .offset = P(weight), .initial = "1", .help = "w"},
};
static const schema part_schema = {.rows = part_rows, .count = 2, .size = sizeof(part)};

#define T(field) offsetof(thing, field)
static const schema_row rows[] = {
    {.key = "title", .type = SCHEMA_STRING, .offset = T(title), .flags = SCHEMA_OPTIONAL | SCHEMA_REQUIRED, .help = "the title"},
    {.key = "path", .type = SCHEMA_PATH, .offset = T(path), .flags = SCHEMA_OPTIONAL, .help = "a path"},
    {.key = "count", .type = SCHEMA_INT, .offset = T(count), .initial = "8", .min = 1, .max = 100, .help = "a count"},
    {.key = "seed", .type = SCHEMA_LONG, .offset = T(seed), .initial = "0", .help = "a seed"},
    {.key = "flag", .type = SCHEMA_BOOL, .offset = T(flag), .initial = "false", .flags = SCHEMA_INT_SIZED, .help = "f"},
    {.key = "train", .type = SCHEMA_SECTION, .instead = "train.rate", .help = "a section"},
    {.key = "train.rate", .type = SCHEMA_FLOAT, .offset = T(rate), .initial = "1e-6", .max = 1, .flags = SCHEMA_OPEN_MIN, .help = "a rate"},
    {.key = "train.share", .type = SCHEMA_FLOAT, .offset = T(share), .flags = SCHEMA_OPTIONAL, .min = -1, .max = 1, .help = "s"},
    {.key = "train.limit", .type = SCHEMA_FLOAT, .offset = T(limit), .initial = "inf", .min = 0, .max = INFINITY, .help = "l"},
    {.key = "train.budget", .type = SCHEMA_BYTES, .offset = T(budget), .initial = "0", .help = "b"},
    {.key = "train.on", .type = SCHEMA_BOOL, .offset = T(on), .initial = "true", .help = "o"},
    {.key = "train.paint", .type = SCHEMA_ENUM, .offset = T(paint), .initial = "green", .choices = colours, .help = "p"},
    {.key = "train.words", .type = SCHEMA_STRINGS, .offset = T(words), .help = "w"},
    {.key = "train.parts", .type = SCHEMA_RECORDS, .offset = T(parts), .fields = &part_schema, .help = "x"},
    {.key = "slow", .type = SCHEMA_SECTION, .help = "another section"},
    {.key = "slow.rate", .type = SCHEMA_FLOAT, .offset = T(slow_rate), .initial = "1", .follows = "train.rate", .help = "r"},
};
static const schema_foreign foreign[] = {
    {"TRL", "num_things", "count", NULL}, {"verl", "nnodes", NULL, "one machine is used"}, {0}};
static const schema table = {.rows = rows, .count = sizeof rows / sizeof *rows, .size = sizeof(thing), .foreign = foreign};

/* Defaults, then `yaml`, then overrides up to NULL. */
static grpo_status load(thing *t, const char *yaml, const char *const *overrides, grpo_error *err)
{
    schema_tree *tree;
    grpo_status status = schema_defaults(t, &table, err);
    if (status != GRPO_OK)
        return status;
    status = schema_tree_parse(&tree, yaml, strlen(yaml), "f.yaml", err);
    for (; status == GRPO_OK && overrides && *overrides; overrides++)
        status = schema_tree_override(tree, &table, *overrides, "command line", err);
    if (status == GRPO_OK)
        status = schema_apply(t, &table, tree, err);
    if (status == GRPO_OK)
        status = schema_check_required(t, &table, err);
    schema_tree_destroy(tree);
    if (status != GRPO_OK)
        schema_deinit(t, &table);
    return status;
}

static void refuses(const char *yaml, const char *override, const char *message)
{
    thing t;
    grpo_error err = {0};
    const char *overrides[] = {override, NULL};
    assert_int_equal(load(&t, yaml, override ? overrides : NULL, &err), GRPO_ERR_CONFIG);
    if (!strstr(err.message, message))
        fail_msg("%s: got '%s', wanted '%s'", yaml, err.message, message);
}

static void test_values(void **state)
{
    (void)state;
    thing t;
    grpo_error err;
    assert_ok(load(&t, "title: x", NULL, &err), err);
    assert_int_equal(t.count, 8);
    assert_true(t.rate == 1e-6 && isnan(t.share) && t.limit == INFINITY && t.on && t.paint == GREEN && !t.flag);
    assert_null(t.path);
    assert_int_equal(t.words.count, 0);
    schema_deinit(&t, &table);

    const char *overrides[] = {"train.rate=2.5e-4", "title=a: b", "train.budget=1.5GiB", "train.words=[\"</s>\", b]",
                               "flag=true", "count=1e1", NULL};
    assert_ok(load(&t,
                   "# a comment\ntitle: first\nseed: -9223372036854775807\ntrain:\n  rate: 0.5\n  share: 0.25\n"
                   "  paint: red\n  on: No\n  limit: 4\n  parts:\n    - name: one\n    - {weight: -2, name: two}\n",
                   overrides, &err),
              err);
    assert_string_equal(t.title, "a: b");
    assert_true(t.rate == 2.5e-4 && t.share == 0.25 && t.limit == 4 && t.paint == RED && !t.on && t.flag == 1);
    assert_int_equal(t.count, 10);
    assert_true(t.seed == -9223372036854775807 && t.budget == 1610612736);
    assert_int_equal(t.words.count, 2);
    assert_string_equal(t.words.items[0], "</s>");
    assert_int_equal(t.parts.count, 2);
    const part *parts = t.parts.items;
    assert_string_equal(parts[0].name, "one");
    assert_true(parts[0].weight == 1 && parts[1].weight == -2);
    schema_deinit(&t, &table);
}

static void test_advice(void **state)
{
    (void)state;
    refuses("title: x\ntrain:\n  raet: 1\n", NULL, "f.yaml line 3: unknown key 'train.raet'; did you mean 'train.rate'?");
    refuses("title: x\nrate: 1\n", NULL, "did you mean 'train.rate' (or 'slow.rate')?");
    refuses("title: x\nslo: {rate: 1}\n", NULL, "did you mean 'slow.rate' (or 'train.rate')?");
    refuses("title: x\nraet: 1\n", NULL, "did you mean 'train.rate' (or 'slow.rate')?");
    refuses("title: x\nconut: 1\n", NULL, "did you mean 'count'?");
    refuses("title: x\nwonderful: 1\n", NULL, "unknown key 'wonderful'; `grpo config` lists");
    refuses("title: x\nnum_things: 1\n", NULL, "what TRL calls num_things is count here");
    refuses("title: x\nnnodes: 1\n", NULL, "a setting of verl: one machine is used");
    refuses("title: x", "train.paint=gren", "command line: train.paint: 'gren' is not one of red, green; did you mean 'green'?");
    refuses("title: x", "train.paint=mauve", "train.paint must be one of red, green, got 'mauve'");
    refuses("title: x", "train.parts=[{name: a, wieght: 2}]", "did you mean 'weight'?");
    refuses("title: x", "train.parts=[{weight: 2}]", "train.parts, element 1: name is missing");
    refuses("count: 3", NULL, "title is missing: the title");
    refuses("title: x", "nonsense", "not of the form key=value");
}

static void test_ranges_and_types(void **state)
{
    (void)state;
    refuses("title: x\ncount: 0", NULL, "line 2: count must be from 1 to 100, got 0");
    refuses("title: x\ncount: 101", NULL, "count must be from 1 to 100");
    refuses("title: x\ncount: 2.5", NULL, "count must be a whole number, got '2.5'");
    refuses("title: x\ncount: 12abc", NULL, "count must be a whole number");
    refuses("title: x\ncount: 99999999999999999999", NULL, "count must be");
    refuses("title: x\ncount:", NULL, "count must be a whole number, got nothing");
    refuses("title: x\ncount: [1]", NULL, "got a list");
    refuses("title: x", "train.rate=0", "train.rate must be above 0 and at most 1, got 0");
    refuses("title: x", "train.rate=nan", "train.rate must be a number, got 'nan'");
    refuses("title: x", "train.rate=inf", "train.rate must be a number");
    refuses("title: x", "train.rate=0x1p-3", "train.rate must be a number");
    refuses("title: x", "train.limit=-inf", "train.limit must be");
    refuses("title: x", "train.on=maybe", "train.on must be true or false, got 'maybe'");
    refuses("title: x", "train.budget=4Q", "train.budget must be a size like 512M or 4G");
    refuses("title: x\ntrain: 5", NULL, "'train' is a section: its keys stand below it, indented; did you mean 'train.rate'?");
    refuses("title: x\nslow: 5", NULL, "'slow' is a section: its keys stand below it, indented");
    refuses("title: [x]", NULL, "title must be a text, got a list");
    refuses("title: x", "train.words={a: 1}", "must be a list of texts, got a map");
}

static void test_hostile_yaml(void **state)
{
    (void)state;
    refuses("title: &a x\n", NULL, "line 1: anchors");
    refuses("title: *a\n", NULL, "line 1: aliases");
    refuses("title: !!python/object x\n", NULL, "tags");
    refuses("title: x\ntitle: y\n", NULL, "line 2: 'title' is given twice (first on line 1)");
    refuses("title: x\ntrain.rate: 0.1\ntrain:\n  rate: 0.2\n", NULL, "'train.rate' is given twice");
    refuses("title: x\n---\ntitle: y\n", NULL, "a second document");
    refuses("- a\n- b\n", NULL, "`key: value` lines");
    refuses("title: x\n\tcount: 3\n", NULL, "line 2: not YAML");
    refuses("title: \"x\\0y\"\n", NULL, "a NUL character");
    refuses("? [a, b]\n: c\n", NULL, "a key must be a plain word");
    refuses("title: {\n", NULL, "not YAML");
    char deep[4000] = "title: ";
    memset(deep + 7, '[', 2000);
    deep[2007] = 0;
    refuses(deep, NULL, "nested too deep");
    size_t n = 200000;
    char *wide = mem_calloc(n + 100, 1);
    strcpy(wide, "title: [");
    for (size_t i = 8; i < n; i += 2)
        memcpy(wide + i, "a,", 2);
    memcpy(wide + n, "]", 2);
    refuses(wide, NULL, "too many values");
    mem_free(wide);
    for (int c = 1; c < 256; c++) { /* no byte may crash the reader */
        char text[] = {(char)c, ':', ' ', (char)c, '\n', 0};
        schema_tree *tree;
        schema_tree_parse(&tree, text, 5, "f", NULL);
        schema_tree_destroy(tree);
    }
}

static void test_round_trip(void **state)
{
    (void)state;
    thing t, again;
    grpo_error err;
    const char *overrides[] = {"title=a \"quoted\"\n\x01 \\ \xC2\x85\xE2\x80\xA8 \xF0\x9F\x98\x80 # no", "train.rate=0.1",
                               "train.words=['', 'null', '- x', 'a: b', '12', 'true']", "path=/a/b",
                               "train.parts=[{name: '#1', weight: 0.3333333333333333}]", "train.budget=3M",
                               "train.share=-1", NULL};
    assert_ok(load(&t, "", overrides, &err), err);
    strbuf text = STRBUF_INIT, second = STRBUF_INIT;
    schema_put_yaml(&text, &t, &table);
    assert_ok(load(&again, strbuf_text(&text), NULL, &err), err);
    schema_put_yaml(&second, &again, &table);
    assert_string_equal(strbuf_text(&text), strbuf_text(&second));
    assert_string_equal(t.title, again.title);
    assert_int_equal(again.words.count, 6);
    for (int i = 0; i < 6; i++)
        assert_string_equal(again.words.items[i], t.words.items[i]);
    assert_true(((part *)again.parts.items)->weight == 0.3333333333333333 && again.budget == 3145728);
    schema_deinit(&again, &table);
    assert_ok(load(&again, "title: b", NULL, &err), err);
    strbuf changed = STRBUF_INIT;
    again.count = 9;
    thing base;
    assert_ok(load(&base, "title: b", NULL, &err), err);
    schema_put_changed(&changed, &again, &base, &table);
    assert_string_equal(strbuf_text(&changed), "count: 9\n");
    strbuf_deinit(&text);
    strbuf_deinit(&second);
    strbuf_deinit(&changed);
    schema_deinit(&t, &table);
    schema_deinit(&again, &table);
    schema_deinit(&base, &table);
}

static void test_help(void **state)
{
    (void)state;
    strbuf text = STRBUF_INIT;
    schema_put_help(&text, &table);
    assert_non_null(strstr(strbuf_text(&text), "count = 8  (whole number, from 1 to 100)"));
    assert_non_null(strstr(strbuf_text(&text), "train.paint = green  (one of red, green)"));
    assert_non_null(strstr(strbuf_text(&text), "slow.rate = train.rate  (number)"));
    strbuf_clear(&text);
    schema_put_markdown(&text, &table);
    assert_non_null(strstr(strbuf_text(&text), "| `train.rate` | `1e-6` | number, above 0 and at most 1 | a rate |"));
    assert_non_null(strstr(strbuf_text(&text), "| TRL | `num_things` | `count` |"));
    strbuf_deinit(&text);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    const char *overrides[] = {"title=x", "train.words=[a, b]", "train.parts=[{name: c}]", "train.raet=1", NULL};
    for (long n = 1; n < 60; n++) {
        thing t;
        grpo_error err = {0};
        mem_fail_after(n);
        grpo_status status = load(&t, "count: 5\n", overrides, &err);
        mem_fail_after(0);
        assert_true(status == GRPO_ERR_MEMORY || status == GRPO_ERR_CONFIG);
        assert_true(err.message[0] != 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),       cmocka_unit_test(test_advice),
        cmocka_unit_test(test_ranges_and_types), cmocka_unit_test(test_hostile_yaml),
        cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_help),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
