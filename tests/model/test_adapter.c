/* LoRA adapters of ../shared/models/lora: read, merged, written, read again. */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "model/adapter_merge.h"
#include "model/files.h"
#include "support.h"

static grpo_error err;

static adapter_files open_adapter(const char *folder, model_files **base)
{
    char *path;
    adapter_files f;
    assert_ok(adapter_base_path(&path, folder, &err), err);
    assert_ok(model_files_open(base, path, &err), err);
    mem_free(path);
    assert_ok(adapter_files_open(&f, folder, model_files_config(*base), NULL, &err), err);
    return f;
}

/* W + scale B A against merged.safetensors, to the bit; what has no adapter stays as it was. */
static void check_merged(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "models/lora/%s", name);
    model_files *base;
    safetensors_file merged;
    adapter_files f = open_adapter(test_shared_path(path), &base);
    snprintf(path, sizeof path, "models/lora/%s/golden/merged.safetensors", name);
    assert_ok(safetensors_open(&merged, test_shared_path(path), &err), err);
    assert_int_equal((size_t)f.count, merged.n_tensors);
    adapter_merge merge;
    assert_ok(adapter_merge_init(&merge, base, &f, &err), err);
    for (int i = 0; i < model_files_count(base); i++) {
        model_tensor_info info = model_files_tensor(base, i);
        int64_t rows = info.rank == 2 ? info.shape[0] : 1, columns = info.rank == 2 ? info.shape[1] : info.shape[0];
        size_t n = (size_t)(rows * columns);
        float *got = mem_calloc(n, sizeof *got), *want = mem_calloc(n, sizeof *want);
        for (int64_t row = 0, some; row < rows; row += some) { /* in pieces, as a writer asks */
            some = rows - row < 5 ? rows - row : 5;
            assert_ok(adapter_merge_read(&merge, info.name, row, some, got + row * columns, &err), err);
        }
        const safetensors_tensor *t = safetensors_find(&merged, info.name);
        if (t)
            safetensors_decode(t, 0, n, want);
        else
            assert_ok(model_files_read(base, i, 0, rows, want, &err), err);
        assert_memory_equal(got, want, n * sizeof *got);
        mem_free(got);
        mem_free(want);
    }
    adapter_merge_deinit(&merge);
    safetensors_close(&merged);
    adapter_files_close(&f);
    model_files_close(base);
}

static void merged_weights_are_pefts(void **state)
{
    (void)state;
    check_merged("llama-tied-r4");
    check_merged("qwen2-rslora-r4");
}

static grpo_status copy(void *context, int module, float *a, float *b, grpo_error *e)
{
    return adapter_files_read(context, module, a, b, e);
}

static void written_adapters_are_read_back(void **state)
{
    (void)state;
    model_files *base;
    adapter_files f = open_adapter(test_shared_path("models/lora/qwen2-rslora-r4"), &base), g;
    char folder[300];
    snprintf(folder, sizeof folder, "%s/adapter", test_folder());
    assert_ok(file_make_folder(folder, &err), err);
    adapter_settings s = {model_files_path(base), f.rank, f.alpha, f.rslora, model_files_config(base)};
    assert_ok(adapter_write(folder, &s, f.modules, f.count, copy, &f, &err), err);
    model_files_close(base);
    g = open_adapter(folder, &base);
    assert_true(g.count == f.count && g.rank == f.rank && g.alpha == f.alpha && g.rslora == f.rslora);
    for (int i = 0; i < f.count; i++) {
        float a[4 * 64], b[4 * 64], c[4 * 64], d[4 * 64];
        assert_string_equal(f.modules[i].name, g.modules[i].name);
        assert_true(f.modules[i].scale == g.modules[i].scale && f.modules[i].scale == 4);
        assert_ok(adapter_files_read(&f, i, a, b, &err), err);
        assert_ok(adapter_files_read(&g, i, c, d, &err), err);
        assert_memory_equal(a, c, (size_t)f.modules[i].in * 4 * sizeof *a);
        assert_memory_equal(b, d, (size_t)f.modules[i].out * 4 * sizeof *b);
    }
    char path[320];
    json_t *config;
    snprintf(path, sizeof path, "%s/adapter_config.json", folder);
    assert_ok(json_parse_file(&config, path, 1 << 20, &err), err);
    assert_int_equal(json_array_size(json_object_get(config, "target_modules")), 7);
    json_decref(config);
    adapter_files_close(&f);
    adapter_files_close(&g);
    model_files_close(base);
}

static void an_adapter_of_another_model_is_refused(void **state)
{
    (void)state;
    model_files *other;
    adapter_files f;
    assert_ok(model_files_open(&other, test_shared_path("models/qwen2"), &err), err);
    assert_int_equal(adapter_files_open(&f, test_shared_path("models/lora/llama-tied-r4"), model_files_config(other),
                                        "/models/other", &err),
                     GRPO_ERR_FORMAT);
    assert_non_null(strstr(err.message, "must be ["));
    assert_non_null(strstr(err.message, "made for \"../../llama-tied\", the model is /models/other"));
    model_files_close(other);
}

static void bases_are_compared_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *base, *model;
        int same;
    } cases[] = {
        {"HuggingFaceTB/SmolLM2-135M", "/models/SmolLM2-135M", 1},
        {"HuggingFaceTB/SmolLM2-135M", "SmolLM2-135M//", 1},
        {"/a/run/", "../b/run", 1},
        {"Qwen/Qwen3-0.6B", "/hub/models--Qwen--Qwen3-0.6B/snapshots/c1899de289a04d12100db370d81485cdf75e47ca", 1},
        {"Qwen/Qwen3-0.6B", "/hub/models--Qwen--Qwen3-0.6B-Base/snapshots/da87bfb608c14b7cf20ba1ce41287e8de496c0cd/", 0},
        {"/hub/models--gpt2/snapshots/607a30d783dfa663caf39e06633721c8d4cfcd7e", "gpt2", 1},
        {"HuggingFaceTB/SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct.Q4_1.gguf", 1},
        {"HuggingFaceTB/SmolLM2-135M-Instruct", "/m/smollm2-135m-instruct-bf16.gguf", 1},
        {"HuggingFaceTB/SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct.gguf", 1},
        {"HuggingFaceTB/SmolLM2-135M", "SmolLM2-135M-Instruct.Q4_1.gguf", 0},
        {"HuggingFaceTB/SmolLM2-135M", "SmolLM2-135M-Instruct", 0},
        {"HuggingFaceTB/SmolLM2-135M", "SmolLM2-360M", 0},
        {"a", "/", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (adapter_same_base(cases[i].base, cases[i].model) != cases[i].same)
            fail_msg("%s and %s", cases[i].base, cases[i].model);
}

/* Rewrites one key of adapter_config.json and expects a refusal that names it. */
static void what_is_not_plain_lora_is_refused(void **state)
{
    static const char *const cases[][2] = {
        {"use_dora", "true"}, {"bias", "\"all\""}, {"modules_to_save", "[\"lm_head\"]"}, {"peft_type", "\"LOHA\""},
        {"fan_in_fan_out", "true"}, {"init_lora_weights", "\"pissa\""}, {"r", "0"}, {"r", "1.5"}, {"lora_alpha", "\"x\""},
        {"rank_pattern", "{\"^q\":2}"}, {"trainable_token_indices", "[1]"}, {"lora_bias", "true"}, {"a_new_key", "1"},
        {"layer_replication", "[[0,1]]"}};
    (void)state;
    model_files *base;
    adapter_files f = open_adapter(test_shared_path("models/lora/llama-tied-r4"), &base), g;
    char folder[300], path[320];
    snprintf(folder, sizeof folder, "%s/odd", test_folder());
    snprintf(path, sizeof path, "%s/adapter_config.json", folder);
    assert_ok(file_make_folder(folder, &err), err);
    adapter_settings s = {"base", f.rank, f.alpha, f.rslora, model_files_config(base)};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *config;
        assert_ok(adapter_write(folder, &s, f.modules, f.count, copy, &f, &err), err);
        assert_ok(json_parse_file(&config, path, 1 << 20, &err), err);
        json_object_set_new(config, cases[i][0], json_loads(cases[i][1], JSON_DECODE_ANY, NULL));
        assert_ok(json_write_file(path, config, &err), err);
        json_decref(config);
        if (adapter_files_open(&g, folder, model_files_config(base), NULL, &err) == GRPO_OK)
            fail_msg("%s = %s was accepted", cases[i][0], cases[i][1]);
        if (!strstr(err.message, cases[i][0]) && !strstr(err.message, "pattern"))
            fail_msg("\"%s\" does not mention %s", err.message, cases[i][0]);
    }
    adapter_files_close(&f);
    model_files_close(base);
}

static void ranks_and_alphas_may_differ_by_module(void **state)
{
    (void)state;
    model_files *base;
    adapter_files f = open_adapter(test_shared_path("models/lora/llama-tied-r4"), &base), g;
    char folder[300], path[320];
    snprintf(folder, sizeof folder, "%s/patterns", test_folder());
    snprintf(path, sizeof path, "%s/adapter_config.json", folder);
    assert_ok(file_make_folder(folder, &err), err);
    adapter_settings s = {"base", f.rank, f.alpha, f.rslora, model_files_config(base)};
    assert_ok(adapter_write(folder, &s, f.modules, f.count, copy, &f, &err), err);
    json_t *config;
    assert_ok(json_parse_file(&config, path, 1 << 20, &err), err);
    json_object_set_new(config, "r", json_integer(99));
    json_object_set_new(config, "rank_pattern", json_pack("{s:i,s:i,s:i,s:i,s:i,s:i,s:i}", "q_proj", 4, "k_proj", 4, "v_proj", 4, "o_proj", 4,
                                                          "gate_proj", 4, "up_proj", 4, "down_proj", 4));
    json_object_set_new(config, "alpha_pattern", json_pack("{s:i}", "layers.1.self_attn.q_proj", 40));
    assert_ok(json_write_file(path, config, &err), err);
    json_decref(config);
    assert_ok(adapter_files_open(&g, folder, model_files_config(base), NULL, &err), err);
    for (int i = 0; i < g.count; i++)
        assert_true(g.modules[i].scale == (g.modules[i].layer == 1 && g.modules[i].role == MODEL_T_Q ? 10 : 2));
    adapter_files_close(&f);
    adapter_files_close(&g);
    model_files_close(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merged_weights_are_pefts),
        cmocka_unit_test(written_adapters_are_read_back),
        cmocka_unit_test(an_adapter_of_another_model_is_refused),
        cmocka_unit_test(bases_are_compared_by_name),
        cmocka_unit_test(what_is_not_plain_lora_is_refused),
        cmocka_unit_test(ranks_and_alphas_may_differ_by_module),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
