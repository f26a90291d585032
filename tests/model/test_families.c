/* Every family and every feature of its configuration against transformers in float64: the cases of data/families, made by
 * data/make_families.py, and GGUF files of them (data/make_gguf.py). The command runs as a user would run it, on a folder with config.json and model.safetensors. */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "model/config_hf.h"
#include "model/safetensors.h"
#include "support.h"

static json_t *all;
static char data[4096], folder[4096]; /* the committed files; the case at hand */

static int load(void **state)
{
    (void)state;
    grpo_error err;
    const char *source = getenv("GRPO_SOURCE_DIR");
    char path[4200];
    snprintf(data, sizeof data, "%s/tests/model/data/families", source ? source : ".");
    snprintf(path, sizeof path, "%s/cases.json", data);
    assert_ok(json_parse_file(&all, path, 1 << 24, &err), err);
    return 0;
}

static int unload(void **state)
{
    (void)state;
    json_decref(all);
    return 0;
}

static const char *name_of(const json_t *c)
{
    return json_string_value(json_object_get(c, "name"));
}

static void write_json(const char *name, const json_t *value)
{
    grpo_error err;
    char path[4200], *text = json_text(value);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_ok(file_write_all(path, text, strlen(text), &err), err);
    mem_free(text);
}

static void make_folder(const json_t *c)
{
    char from[4200], to[4200];
    grpo_error err;
    snprintf(folder, sizeof folder, "%s/%s", test_folder(), name_of(c));
    snprintf(from, sizeof from, "%s/%s.safetensors", data, json_string_value(json_object_get(c, "weights")));
    snprintf(to, sizeof to, "%s/model.safetensors", folder);
    assert_ok(file_make_folder(folder, &err), err);
    char *real = realpath(from, NULL);
    assert_non_null(real);
    assert_int_equal(symlink(real, to), 0);
    free(real);
    write_json("config.json", json_object_get(c, "config"));
}

/* The lines that `grpo COMMAND --model FOLDER ARGUMENTS` prints, as a JSON list. */
static json_t *run(const json_t *c, const char *command, const char *arguments)
{
    char line[9000];
    snprintf(line, sizeof line, "cd '%s' && '%s' %s --model . --threads 1 %s 2>&1", folder, test_binary(), command, arguments);
    FILE *out = popen(line, "r");
    assert_non_null(out);
    json_t *lines = json_array();
    char *text = NULL;
    size_t room = 0;
    while (getline(&text, &room, out) >= 0) {
        json_t *value = json_loads(text, 0, NULL);
        if (!value)
            fail_msg("%s: %s", name_of(c), text);
        json_array_append_new(lines, value);
    }
    free(text);
    assert_int_equal(pclose(out), 0);
    return lines;
}

/* Norm of the difference over the norm of what is expected. */
static double distance(const json_t *got, const json_t *expected)
{
    double difference = 0, norm = 0;
    assert_int_equal(json_array_size(got), json_array_size(expected));
    for (size_t i = 0; i < json_array_size(expected); i++) {
        double want = json_number_value(json_array_get(expected, i)), d = json_number_value(json_array_get(got, i)) - want;
        difference += d * d;
        norm += want * want;
    }
    return sqrt(difference / norm);
}

static json_int_t most_probable(const json_t *row)
{
    size_t best = 0;
    for (size_t i = 1; i < json_array_size(row); i++)
        if (json_number_value(json_array_get(row, i)) > json_number_value(json_array_get(row, best)))
            best = i;
    return (json_int_t)best;
}

static void check_values(const json_t *c, const json_t *line)
{
    const json_t *logits = json_object_get(line, "logits");
    double logprobs = distance(json_object_get(line, "logprobs"), json_object_get(c, "logprobs"));
    double last = distance(json_array_get(logits, json_array_size(logits) - 1), json_object_get(c, "logits_last"));
    if (!(logprobs < 2e-5 && last < 2e-5))
        fail_msg("%s: log-probs are off by %g, the last logits by %g", name_of(c), logprobs, last);
}

/* After prompt and continuation so far, each token of the greedy continuation is the most probable one. */
static void check_greedy(const json_t *c, const json_t *line)
{
    const json_t *greedy = json_object_get(c, "greedy"), *tokens = json_object_get(greedy, "tokens");
    size_t first = json_array_size(json_object_get(greedy, "prompt")) - 1;
    for (size_t i = 0; i < json_array_size(tokens); i++) {
        json_int_t got = most_probable(json_array_get(json_object_get(line, "logits"), first + i));
        if (got != json_integer_value(json_array_get(tokens, i)))
            fail_msg("%s: greedy token %zu is %d", name_of(c), i, (int)got);
    }
}

static void write_sequences(const json_t *c)
{
    const json_t *greedy = json_object_get(c, "greedy");
    json_t *joined = json_copy(json_object_get(greedy, "prompt"));
    json_array_extend(joined, json_object_get(greedy, "tokens"));
    json_t *inputs[2] = {json_pack("{s:O}", "ids", json_object_get(c, "ids")), json_pack("{s:o}", "ids", joined)};
    char path[4200];
    snprintf(path, sizeof path, "%s/ids.jsonl", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < 2; i++) {
        char *text = json_text(inputs[i]);
        fprintf(f, "%s\n", text);
        mem_free(text);
        json_decref(inputs[i]);
    }
    fclose(f);
}

static void logits_and_greedy_tokens_agree(void **state)
{
    (void)state;
    const json_t *cases = json_object_get(all, "cases");
    assert_true(json_array_size(cases) > 60);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        make_folder(c);
        write_sequences(c);
        json_t *lines = run(c, "logprob", "--logits ids.jsonl");
        assert_int_equal(json_array_size(lines), 2);
        check_values(c, json_array_get(lines, 0));
        check_greedy(c, json_array_get(lines, 1));
        json_decref(lines);
    }
}

/* expected: sum, norm, first, second and last element. */
static void check_gradient(const json_t *c, const safetensors_file *f, const char *name, const json_t *expected)
{
    const safetensors_tensor *t = safetensors_find(f, name);
    if (!t)
        fail_msg("%s: no gradient of %s", name_of(c), name);
    size_t n = 1;
    for (int i = 0; i < t->rank; i++)
        n *= (size_t)t->shape[i];
    float *x = mem_calloc(n, sizeof *x);
    safetensors_decode(t, 0, n, x);
    double got[5] = {0, 0, x[0], x[1], x[n - 1]}, norm = json_number_value(json_array_get(expected, 1));
    for (size_t i = 0; i < n; i++) {
        got[0] += x[i];
        got[1] += (double)x[i] * x[i];
    }
    got[1] = sqrt(got[1]);
    for (size_t i = 0; i < 5; i++) {
        double error = fabs(got[i] - json_number_value(json_array_get(expected, i)));
        if (!(error <= 1e-4 * norm * (i == 0 ? sqrt((double)n) : 1)))
            fail_msg("%s: number %zu of the gradient of %s is %g, off by %g (norm %g)", name_of(c), i, name, got[i], error, norm);
    }
    mem_free(x);
}

static void gradients_agree(void **state)
{
    (void)state;
    size_t i, checked = 0;
    json_t *c, *expected;
    json_array_foreach(json_object_get(all, "cases"), i, c) {
        json_t *group = json_object_get(c, "grpo"), *loss = json_object_get(json_object_get(group, "losses"), "seq");
        if (!group)
            continue;
        snprintf(folder, sizeof folder, "%s/%s", test_folder(), name_of(c));
        json_t *golden = json_pack("{s:O}", "grpo", group);
        write_json("golden.json", golden);
        json_decref(golden);
        json_t *lines = run(c, "grad", "--case golden.json --loss seq --out grad.safetensors");
        assert_close(json_number_value(json_object_get(json_array_get(lines, 0), "loss")),
                     json_number_value(json_object_get(loss, "loss")), 2e-5);
        json_decref(lines);
        safetensors_file f;
        grpo_error err;
        char path[4200];
        const char *name;
        snprintf(path, sizeof path, "%s/grad.safetensors", folder);
        assert_ok(safetensors_open(&f, path, &err), err);
        json_object_foreach(json_object_get(loss, "grad"), name, expected)
            check_gradient(c, &f, name, expected);
        safetensors_close(&f);
        checked++;
    }
    assert_true(checked > 15);
}

/* ---- the same weights in other files ------------------------------------------------------------------------------------- */

static const json_t *case_named(const char *name)
{
    size_t i;
    json_t *c;
    json_array_foreach(json_object_get(all, "cases"), i, c)
        if (strcmp(name_of(c), name) == 0)
            return c;
    fail_msg("there is no case %s", name);
    return NULL;
}

/* Files as llama.cpp's converter writes them: rows of q and k permuted, Gemma's norms with 1 added, rope_freqs.weight. */
static void gguf_files_agree(void **state)
{
    (void)state;
    json_t *list, *item;
    grpo_error err;
    char path[4200], arguments[9000];
    size_t i;
    snprintf(path, sizeof path, "%s/gguf.json", data);
    assert_ok(json_parse_file(&list, path, 1 << 20, &err), err);
    assert_true(json_array_size(list) >= 7);
    json_array_foreach(list, i, item) {
        const json_t *c = case_named(json_string_value(json_object_get(item, "like")));
        snprintf(folder, sizeof folder, "%s/%s", test_folder(), name_of(c));
        char *file = file_join(data, json_string_value(json_object_get(item, "file"))), *real = realpath(file, NULL);
        assert_non_null(real);
        snprintf(arguments, sizeof arguments, "--model '%s' --logits ids.jsonl", real); /* the last --model counts */
        json_t *lines = run(c, "logprob", arguments);
        check_values(c, json_array_get(lines, 0));
        check_greedy(c, json_array_get(lines, 1));
        json_decref(lines);
        mem_free(file);
        free(real);
    }
    json_decref(list);
}

/* Writes the weights of a case into its folder with `prefix` for the first `cut` bytes of names that begin "model.". */
static void rename_weights(const json_t *c, const char *prefix, size_t cut)
{
    safetensors_file f;
    safetensors_writer w;
    safetensors_entry entries[64] = {{0}};
    grpo_error err;
    char path[4200], names[64][160];
    snprintf(path, sizeof path, "%s/%s.safetensors", data, json_string_value(json_object_get(c, "weights")));
    assert_ok(safetensors_open(&f, path, &err), err);
    assert_true(f.n_tensors <= 64);
    for (size_t i = 0; i < f.n_tensors; i++) {
        const safetensors_tensor *t = &f.tensors[i];
        int inside = strncmp(t->name, "model.", 6) == 0;
        snprintf(names[i], sizeof names[i], "%s%s", inside || cut == 0 ? prefix : "", t->name + (inside ? cut : 0));
        entries[i] = (safetensors_entry){.name = names[i], .dtype = t->dtype, .rank = t->rank};
        memcpy(entries[i].shape, t->shape, sizeof entries[i].shape);
    }
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    unlink(path); /* the link to the committed file */
    assert_ok(safetensors_create(&w, path, entries, f.n_tensors, NULL, &err), err);
    for (size_t i = 0; i < f.n_tensors; i++) {
        size_t n = (size_t)((f.tensors[i].end - f.tensors[i].begin) / safetensors_dtype_bytes(f.tensors[i].dtype));
        float *x = mem_calloc(n, sizeof *x);
        safetensors_decode(&f.tensors[i], 0, n, x);
        assert_ok(safetensors_append(&w, x, n, &err), err);
        mem_free(x);
    }
    assert_ok(safetensors_commit(&w, &err), err);
    safetensors_close(&f);
}

static void names_of_other_classes_are_understood(void **state)
{
    static const struct {
        const char *prefix;
        size_t cut;
    } forms[] = {{"language_model.", 0}, {"model.language_model.", 6}, {"", 6}};
    (void)state;
    const json_t *c = case_named("smollm3");
    snprintf(folder, sizeof folder, "%s/%s", test_folder(), name_of(c));
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        rename_weights(c, forms[i].prefix, forms[i].cut);
        json_t *lines = run(c, "logprob", "--logits ids.jsonl");
        check_values(c, json_array_get(lines, 0));
        json_decref(lines);
    }
}

/* ---- keys that are absent -------------------------------------------------------------------------------------------- */

static double number(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_true(v) ? 1 : json_is_number(v) ? json_number_value(v) : 0;
}

static void check_default(const char *family, const json_t *want, const char *key, double got)
{
    if (json_object_get(want, key) && fabs(got - number(want, key)) > 1e-7 * fabs(got))
        fail_msg("%s: the default of %s is %.9g, here %.9g", family, key, number(want, key), got);
}

static void check_token_default(const char *family, const json_t *want, const char *key, int vocab, int got)
{
    const json_t *v = json_object_get(want, key);
    json_int_t id = json_is_integer(v) && json_integer_value(v) < vocab ? json_integer_value(v) : -1;
    if (id != got)
        fail_msg("%s: the default of %s is %d, here %d", family, key, (int)id, got);
}

static void absent_keys_have_the_classes_defaults(void **state)
{
    (void)state;
    const char *family;
    json_t *want;
    json_object_foreach(json_object_get(all, "defaults"), family, want) {
        model_config c;
        grpo_error err;
        json_t *json = json_pack("{s:s}", "model_type", family);
        assert_ok(model_config_from_json(&c, json, NULL, family, &err), err);
        json_decref(json);
        const struct {
            const char *key;
            double got;
        } values[] = {
            {"hidden_size", c.hidden}, {"intermediate_size", c.ffn}, {"num_hidden_layers", c.layers},
            {"num_attention_heads", c.heads}, {"num_key_value_heads", c.kv_heads}, {"head_dim", c.head_dim},
            {"vocab_size", c.vocab}, {"max_position_embeddings", c.max_positions}, {"rms_norm_eps", (double)c.norm_eps},
            {"tie_word_embeddings", c.tied_embeddings}, {"rope_theta", c.ropes[0].theta},
            {"rope_local_base_freq", c.ropes[1].theta}, {"num_experts", c.experts}, {"num_experts_per_tok", c.experts_used},
            {"moe_intermediate_size", c.expert_ffn}, {"norm_topk_prob", c.norm_topk_prob},
            {"query_pre_attn_scalar", 1 / ((double)c.attention_scale * (double)c.attention_scale)},
            {"sliding_window", c.layer[0].window},
        };
        for (size_t i = 0; i < sizeof values / sizeof *values; i++)
            check_default(family, want, values[i].key, values[i].got);
        check_token_default(family, want, "bos_token_id", c.vocab, c.bos);
        check_token_default(family, want, "pad_token_id", c.vocab, c.pad);
        check_token_default(family, want, "eos_token_id", c.vocab, c.n_eos ? c.eos[0] : -1);
        model_config_deinit(&c);
    }
}

/* data/published_keys.json: written by hand after the files of widely used models (their keys and sizes, no copies); none may
 * be refused. */
static void published_configurations_are_read(void **state)
{
    (void)state;
    json_t *list, *item;
    grpo_error err;
    char path[4200];
    size_t i;
    snprintf(path, sizeof path, "%s/../published_keys.json", data);
    assert_ok(json_parse_file(&list, path, 1 << 20, &err), err);
    assert_true(json_array_size(list) > 15);
    json_array_foreach(list, i, item) {
        model_config c;
        const char *like = json_string_value(json_object_get(item, "like"));
        assert_ok(model_config_from_json(&c, json_object_get(item, "config"), NULL, like, &err), err);
        assert_true(c.layers >= 16 && c.n_ropes >= 1);
        model_config_deinit(&c);
    }
    json_decref(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_and_greedy_tokens_agree),
        cmocka_unit_test(gradients_agree),
        cmocka_unit_test(gguf_files_agree),
        cmocka_unit_test(names_of_other_classes_are_understood),
        cmocka_unit_test(absent_keys_have_the_classes_defaults),
        cmocka_unit_test(published_configurations_are_read),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
