/* Hostile files from a user's side: the command ends soon with a message and an exit code, and takes little memory,
 * whatever a file claims about itself. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "support.h"

#if defined(__SANITIZE_ADDRESS__)
enum { MOST_MIB = 1 << 20, MOST_SECONDS = 60 }; /* the sanitizer's own memory counts */
#else
enum { MOST_MIB = 128, MOST_SECONDS = 10 };
#endif

/* ---- running the command ---------------------------------------------------------------------------- */

typedef struct outcome {
    int code; /* exit code, or minus the signal */
    long mib; /* peak */
    char message[2048];
} outcome;

static outcome run(const char *const *arguments, const char *input)
{
    outcome o = {0};
    const char *argv[16] = {test_binary()};
    int ends[2], n = 1;
    for (; arguments[n - 1]; n++)
        argv[n] = arguments[n - 1];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        int in = open(input ? input : "/dev/null", O_RDONLY), null = open("/dev/null", O_WRONLY);
        dup2(in, 0);
        dup2(null, 1);
        dup2(ends[1], 2);
        close(ends[0]);
        alarm(MOST_SECONDS);
        execv(argv[0], (char *const *)argv);
        _exit(127);
    }
    close(ends[1]);
    size_t length = 0;
    for (ssize_t got; length < sizeof o.message - 1 && (got = read(ends[0], o.message + length, sizeof o.message - 1 - length)) > 0;)
        length += (size_t)got;
    close(ends[0]);
    int status;
    struct rusage usage;
    assert_int_equal(wait4(child, &status, 0, &usage), child);
    o.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    o.mib = usage.ru_maxrss / 1024;
    return o;
}

static void expect(const char *what, const char *const *arguments, const char *input, const char *message)
{
    outcome o = run(arguments, input);
    if ((o.code != 1 && o.code != 2) || !strstr(o.message, message) || strncmp(o.message, "grpo ", 5) != 0)
        fail_msg("%s: exit code %d, \"%s\" where \"%s\" is expected", what, o.code, o.message, message);
    if (o.mib > MOST_MIB)
        fail_msg("%s: %ld MiB were taken", what, o.mib);
}

/* ---- making files -------------------------------------------------------------------------------------- */

static const char *path_of(const char *name)
{
    static char paths[8][300];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", test_folder(), name);
    return path;
}

static void write_file(const char *name, const void *bytes, size_t size)
{
    grpo_error err;
    assert_ok(file_write_all(path_of(name), bytes, size, &err), err);
}

static void write_text(const char *name, const char *text)
{
    write_file(name, text, strlen(text));
}

static void put_number(strbuf *s, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        strbuf_putc(s, (char)(v >> 8 * i));
}

static const char CONFIG[] =
    "{\"model_type\":\"llama\",\"hidden_size\":8,\"intermediate_size\":4,\"num_hidden_layers\":1,\"num_attention_heads\":2,"
    "\"num_key_value_heads\":1,\"vocab_size\":6,\"tie_word_embeddings\":true,\"max_position_embeddings\":32}";

static const struct {
    const char *name;
    int rows, columns; /* rows 0: a vector */
} tensors[] = {
    {"model.embed_tokens.weight", 6, 8},
    {"model.layers.0.input_layernorm.weight", 0, 8},
    {"model.layers.0.self_attn.q_proj.weight", 8, 8},
    {"model.layers.0.self_attn.k_proj.weight", 4, 8},
    {"model.layers.0.self_attn.v_proj.weight", 4, 8},
    {"model.layers.0.self_attn.o_proj.weight", 8, 8},
    {"model.layers.0.post_attention_layernorm.weight", 0, 8},
    {"model.layers.0.mlp.gate_proj.weight", 4, 8},
    {"model.layers.0.mlp.up_proj.weight", 4, 8},
    {"model.layers.0.mlp.down_proj.weight", 8, 4},
    {"model.norm.weight", 0, 8},
};
enum { TENSORS = sizeof tensors / sizeof *tensors, DAMAGED = 6 };

/* A safetensors file of the model above; the entry of the tensor DAMAGED is `entry` (printf's arguments are the
 * usual begin and end), and one value of it is `value`. */
static void write_weights(const char *name, const char *entry, float value)
{
    strbuf header = STRBUF_INIT, file = STRBUF_INIT, data = STRBUF_INIT;
    for (int i = 0; i < TENSORS; i++) {
        size_t begin = data.length;
        int rows = tensors[i].rows, n = (rows ? rows : 1) * tensors[i].columns;
        for (int k = 0; k < n; k++) {
            float x = i == DAMAGED && k == 1 ? value : 0.25f;
            strbuf_append(&data, &x, sizeof x);
        }
        strbuf_printf(&header, "%s\"%s\":", i ? "," : "{", tensors[i].name);
        if (i == DAMAGED && entry)
            strbuf_printf(&header, "%s", entry);
        else if (rows)
            strbuf_printf(&header, "{\"dtype\":\"F32\",\"shape\":[%d,%d],\"data_offsets\":[%zu,%zu]}", rows, tensors[i].columns, begin, data.length);
        else
            strbuf_printf(&header, "{\"dtype\":\"F32\",\"shape\":[%d],\"data_offsets\":[%zu,%zu]}", tensors[i].columns, begin, data.length);
    }
    strbuf_putc(&header, '}');
    put_number(&file, header.length, 8);
    strbuf_append(&file, header.data, header.length);
    strbuf_append(&file, data.data, data.length);
    write_file(name, file.data, file.length);
    strbuf_deinit(&header);
    strbuf_deinit(&file);
    strbuf_deinit(&data);
}

static void expect_model(const char *what, const char *message)
{
    const char *arguments[] = {"export", "--model", path_of("model"), "--out", path_of("out"), NULL};
    expect(what, arguments, NULL, message);
    const char *gguf[] = {"export", "--model", path_of("model"), "--out", path_of("out.gguf"), NULL};
    expect(what, gguf, NULL, message);
    const char *gradient[] = {"grad", "--model", path_of("model"), "--case", path_of("model/config.json"), NULL};
    expect(what, gradient, NULL, message);
    assert_false(file_exists(path_of("out")));
    assert_false(file_exists(path_of("out.gguf")));
}

/* `count` times `open`, nothing closed. */
static void write_nested(const char *name, const char *open, int count)
{
    strbuf s = STRBUF_INIT;
    for (int i = 0; i < count; i++)
        strbuf_puts(&s, open);
    write_file(name, s.data, s.length);
    strbuf_deinit(&s);
}

/* ---- tests ------------------------------------------------------------------------------------------------ */

static int make_model(void **state)
{
    grpo_error err;
    (void)state;
    if (file_make_folder(path_of("model"), &err) != GRPO_OK)
        return -1;
    write_text("model/config.json", CONFIG);
    write_weights("model/model.safetensors", NULL, 0.25f);
    return 0;
}

static void the_undamaged_model_is_fine(void **state)
{
    (void)state;
    const char *arguments[] = {"export", "--model", path_of("model"), "--out", path_of("fine"), NULL};
    outcome o = run(arguments, NULL);
    if (o.code != 0)
        fail_msg("exit code %d: %s", o.code, o.message);
}

static void tensors_that_lie(void **state)
{
    static const struct {
        const char *entry, *message;
    } cases[] = {
        {"{\"dtype\":\"F32\",\"shape\":[1152921504606846976],\"data_offsets\":[992,1024]}", "post_attention_layernorm"},
        {"{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[992,1024]}", "too large"},
        {"{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[992,18446744073709551615]}", "post_attention_layernorm"},
        {"{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[-32,0]}", "whole number"},
        {"{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[960,992]}", "overlap"},
        {"{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[1000000,1000032]}", "there is a hole"},
        {"{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[992,992]}", ""},
        {"{\"dtype\":\"F64\",\"shape\":[4],\"data_offsets\":[992,1024]}", "post_attention_layernorm"},
        {"{\"dtype\":\"F32\",\"shape\":[8]}", "data_offsets is missing"},
        {"7", "expected"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_weights("model/model.safetensors", cases[i].entry, 0.25f);
        expect_model(cases[i].entry, cases[i].message);
    }
}

static void weights_that_are_no_numbers_are_named(void **state)
{
    (void)state;
    static const float values[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        write_weights("model/model.safetensors", NULL, values[i]);
        expect_model("not finite", "model.layers.0.post_attention_layernorm.weight holds ");
    }
    write_weights("model/model.safetensors", NULL, 0.25f);
}

/* A hundred bytes, header included, that claim 2^60 numbers. */
static void a_hundred_bytes_that_claim_much(void **state)
{
    static const char header[] = "{\"model.norm.weight\":{\"dtype\":\"F32\",\"shape\":[1152921504606846976],"
                                 "\"data_offsets\":[0,4611686018427387904]}}";
    strbuf s = STRBUF_INIT;
    (void)state;
    put_number(&s, sizeof header - 1, 8);
    strbuf_puts(&s, header);
    write_file("model/model.safetensors", s.data, s.length);
    expect_model("2^60 elements", "model.norm.weight");
    strbuf_clear(&s);
    put_number(&s, UINT64_MAX - 7, 8);
    strbuf_puts(&s, header);
    write_file("model/model.safetensors", s.data, s.length);
    expect_model("header of 2^64 bytes", "model.safetensors");
    strbuf_deinit(&s);
    write_weights("model/model.safetensors", NULL, 0.25f);
}

static void truncated_weights(void **state)
{
    char *bytes;
    size_t size;
    grpo_error err;
    (void)state;
    assert_ok(file_read(&bytes, &size, path_of("model/model.safetensors"), 1 << 20, &err), err);
    for (size_t cut = 0; cut < size; cut += cut < 12 ? 3 : size / 7) {
        write_file("model/model.safetensors", bytes, cut);
        expect_model("truncated", "model.safetensors");
    }
    write_file("model/model.safetensors", bytes, size);
    mem_free(bytes);
}

static void configurations_that_claim_much(void **state)
{
    static const struct {
        const char *config, *message;
    } cases[] = {
        {"{\"model_type\":\"qwen3_moe\",\"num_hidden_layers\":16,\"num_experts\":4096,\"head_dim\":4,\"hidden_size\":8,\"num_attention_heads\":2,\"num_key_value_heads\":1,\"vocab_size\":6}", "missing"},
        {"{\"model_type\":\"llama\",\"hidden_size\":1000000000000}", "hidden_size"},
        {"{\"model_type\":\"llama\",\"num_hidden_layers\":1000000}", "num_hidden_layers"},
        {"{\"model_type\":\"llama\",\"head_dim\":4,\"vocab_size\":16777216,\"hidden_size\":1048576}", "vocab_size * hidden_size"},
        {"{\"model_type\":\"llama\",\"num_attention_heads\":0}", "num_attention_heads"},
        {"{\"model_type\":\"nonsense\"}", "nonsense"},
        {"[1]", "not a JSON object"},
        {"", "config.json"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text("model/config.json", cases[i].config);
        expect_model(cases[i].config, cases[i].message);
    }
    write_nested("model/config.json", "[", 3000000);
    expect_model("brackets", "config.json");
    write_nested("model/config.json", "{\"a\":", 500000);
    expect_model("braces", "config.json");
    write_text("model/config.json", CONFIG);
}

/* A context of 2^30 positions is fine as long as nobody uses them. */
static void a_long_context_costs_nothing(void **state)
{
    strbuf s = STRBUF_INIT;
    (void)state;
    strbuf_append(&s, CONFIG, strlen(CONFIG) - 3);
    strbuf_puts(&s, "1073741824}");
    write_file("model/config.json", s.data, s.length);
    write_text("case.json", "{}");
    const char *arguments[] = {"grad", "--model", path_of("model"), "--case", path_of("case.json"), NULL};
    expect("2^30 positions", arguments, NULL, "there is no object \"grpo\"");
    strbuf_deinit(&s);
    write_text("model/config.json", CONFIG);
}

static void shard_indexes_that_lie(void **state)
{
    static const struct {
        const char *index, *message;
    } cases[] = {
        {"{\"weight_map\":{\"model.norm.weight\":\"../../etc/passwd\"}}", "not a file of this folder"},
        {"{\"weight_map\":{\"model.norm.weight\":\"no-such-file\"}}", "no-such-file"},
        {"{\"weight_map\":{\"model.norm.weight\":7}}", "not a string"},
        {"{\"weight_map\":[]}", "weight_map"},
        {"{\"weight_map\":{}}", "missing"},
        {"{", "index.json"},
    };
    grpo_error err;
    (void)state;
    rename(path_of("model/model.safetensors"), path_of("aside"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text("model/model.safetensors.index.json", cases[i].index);
        expect_model(cases[i].index, cases[i].message);
    }
    unlink(path_of("model/model.safetensors.index.json"));
    assert_int_equal(rename(path_of("aside"), path_of("model/model.safetensors")), 0);
    (void)err;
}

/* ---- GGUF -------------------------------------------------------------------------------------------------- */

static void put_key(strbuf *s, const char *key, int type)
{
    put_number(s, strlen(key), 8);
    strbuf_puts(s, key);
    put_number(s, (uint64_t)type, 4);
}

static void start_gguf(strbuf *s, uint64_t n_tensors, uint64_t pairs)
{
    strbuf_clear(s);
    strbuf_puts(s, "GGUF");
    put_number(s, 3, 4);
    put_number(s, n_tensors, 8);
    put_number(s, pairs, 8);
}

static void expect_gguf(const char *what, const strbuf *s, const char *message)
{
    write_file("m.gguf", s->data, s->length);
    const char *arguments[] = {"export", "--model", path_of("m.gguf"), "--out", path_of("out"), NULL};
    expect(what, arguments, NULL, message);
    const char *tokenize[] = {"tokenize", "--model", path_of("m.gguf"), NULL};
    expect(what, tokenize, NULL, "m.gguf");
}

static void gguf_headers_that_lie(void **state)
{
    enum { U8 = 0, U32 = 4, STRING = 8, ARRAY = 9 };
    const uint64_t much = (uint64_t)1 << 60;
    strbuf s = STRBUF_INIT;
    (void)state;
    start_gguf(&s, much, 0);
    expect_gguf("2^60 tensors", &s, "m.gguf");
    start_gguf(&s, 0, much);
    expect_gguf("2^60 pairs", &s, "m.gguf");
    start_gguf(&s, 0, 1);
    put_number(&s, much, 8);
    expect_gguf("key of 2^60 bytes", &s, "m.gguf");
    start_gguf(&s, 0, 1);
    put_key(&s, "general.architecture", STRING);
    put_number(&s, UINT64_MAX, 8);
    expect_gguf("string of 2^64 bytes", &s, "m.gguf");
    start_gguf(&s, 0, 1);
    put_key(&s, "a", ARRAY);
    put_number(&s, STRING, 4);
    put_number(&s, much, 8);
    expect_gguf("2^60 strings", &s, "m.gguf");
    start_gguf(&s, 0, 1);
    put_key(&s, "a", ARRAY);
    for (int i = 0; i < 100000; i++) {
        put_number(&s, ARRAY, 4);
        put_number(&s, 1, 8);
    }
    expect_gguf("nested arrays", &s, "nested");
    start_gguf(&s, 1, 0);
    put_number(&s, 1, 8);
    strbuf_puts(&s, "t");
    put_number(&s, 2, 4);
    put_number(&s, (uint64_t)1 << 40, 8);
    put_number(&s, (uint64_t)1 << 40, 8);
    put_number(&s, 0, 4);
    put_number(&s, 0, 8);
    expect_gguf("2^80 elements", &s, "tensor t");
    start_gguf(&s, 1, 0);
    put_number(&s, 1, 8);
    strbuf_puts(&s, "t");
    put_number(&s, 1, 4);
    put_number(&s, much, 8);
    put_number(&s, 0, 4);
    put_number(&s, 0, 8);
    expect_gguf("2^60 elements", &s, "tensor t");
    start_gguf(&s, 0, 1);
    put_key(&s, "general.alignment", U32);
    put_number(&s, 3, 4);
    expect_gguf("alignment 3", &s, "general.alignment");
    strbuf_clear(&s);
    expect_gguf("empty", &s, "m.gguf");
    strbuf_deinit(&s);
}

/* ---- tokenizers, templates, data, configurations ------------------------------------------------------------ */

static void texts_that_are_nested_deeply(void **state)
{
    (void)state;
    write_nested("model/tokenizer.json", "{\"a\":[", 500000);
    const char *tokenize[] = {"tokenize", "--tokenizer", path_of("model"), NULL};
    expect("tokenizer.json", tokenize, NULL, "tokenizer.json");
    unlink(path_of("model/tokenizer.json"));
    write_nested("t.jinja", "{% if a %}", 500000);
    const char *render[] = {"template", "--template", path_of("t.jinja"), NULL};
    expect("template", render, NULL, "line 1");
    write_nested("t.jinja", "{{ ((((((((((", 300000);
    expect("parentheses", render, NULL, "line 1");
    write_nested("deep.jsonl", "[", 3000000);
    const char *score[] = {"score", "--reward", "math", NULL};
    expect("JSON lines", score, path_of("deep.jsonl"), ":1:");
    write_nested("c.yaml", "a: {", 100000);
    const char *config[] = {"config", path_of("c.yaml"), NULL};
    expect("YAML braces", config, NULL, "c.yaml");
    write_nested("c.yaml", "- ", 200000);
    expect("YAML lists", config, NULL, "c.yaml");
    write_text("c.yaml", "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b]\n");
    expect("YAML aliases", config, NULL, "c.yaml");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_undamaged_model_is_fine),
        cmocka_unit_test(tensors_that_lie),
        cmocka_unit_test(weights_that_are_no_numbers_are_named),
        cmocka_unit_test(a_hundred_bytes_that_claim_much),
        cmocka_unit_test(truncated_weights),
        cmocka_unit_test(configurations_that_claim_much),
        cmocka_unit_test(a_long_context_costs_nothing),
        cmocka_unit_test(shard_indexes_that_lie),
        cmocka_unit_test(gguf_headers_that_lie),
        cmocka_unit_test(texts_that_are_nested_deeply),
    };
    return cmocka_run_group_tests(tests, make_model, NULL);
}
