/* A model goes out and comes back: made from a configuration and a formula for every weight, written
 * in each format, read again. */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "model/config_hf.h"
#include "model/encode.h"
#include "model/dequant.h"
#include "model/export_hf.h"
#include "model/files.h"
#include "model/tensors.h"
#include "support.h"

static const char *const families[] = {
    "{\"model_type\":\"llama\",\"tie_word_embeddings\":true,\"eos_token_id\":[2,3],\"pad_token_id\":0,"
    "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4,"
    "\"original_max_position_embeddings\":128}",
    "{\"model_type\":\"llama\",\"attention_bias\":true,\"mlp_bias\":true,\"rope_scaling\":{\"rope_type\":\"longrope\","
    "\"short_factor\":[1,2,3,4],\"long_factor\":[1,2,3,4],\"attention_factor\":1.0}",
    "{\"model_type\":\"smollm3\",\"use_sliding_window\":true,\"sliding_window\":5,\"pad_token_id\":null,\"bos_token_id\":1",
    "{\"model_type\":\"mistral\",\"sliding_window\":6",
    "{\"model_type\":\"qwen2\",\"use_sliding_window\":true,\"sliding_window\":9,\"max_window_layers\":2,"
    "\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":64,\"beta_fast\":16}",
    "{\"model_type\":\"qwen3\",\"head_dim\":16",
    "{\"model_type\":\"gemma3_text\",\"head_dim\":16,\"query_pre_attn_scalar\":10,\"sliding_window\":4,\"sliding_window_pattern\":2,"
    "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8}",
    "{\"model_type\":\"olmo2\"",
    "{\"model_type\":\"qwen3_moe\",\"num_experts\":3,\"num_experts_per_tok\":2,\"moe_intermediate_size\":24,"
    "\"mlp_only_layers\":[1],\"norm_topk_prob\":true",
    "{\"model_type\":\"llama\",\"architectures\":[\"LlamaForSequenceClassification\"],\"num_labels\":1",
    "{\"model_type\":\"qwen2\",\"architectures\":[\"Qwen2ForTokenClassification\"],\"num_labels\":1",
};
enum { FAMILIES = sizeof families / sizeof *families };

/* Parses families[i] completed with small sizes; the caller's references. */
static json_t *make_config(int i, model_config *c)
{
    char text[2048];
    grpo_error err;
    json_t *json;
    snprintf(text, sizeof text,
             "%s,\"hidden_size\":32,\"intermediate_size\":48,\"num_hidden_layers\":3,\"num_attention_heads\":4,"
             "\"num_key_value_heads\":2,\"vocab_size\":100,\"max_position_embeddings\":512}",
             families[i]);
    assert_ok(json_parse(&json, text, strlen(text), "test", &err), err);
    assert_ok(model_config_from_json(c, json, NULL, "test", &err), err);
    return json;
}

static const model_tensor *tensor_named(const model_config *c, const char *name)
{
    static model_tensor_walk w;
    w = (model_tensor_walk){.config = c};
    while (model_tensor_next(&w))
        if (strcmp(w.tensor.name, name) == 0)
            return &w.tensor;
    fail_msg("no tensor %s", name);
    return NULL;
}

/* A weight that depends on everything: name, row, column. */
static float weight(const char *name, int64_t row, int64_t column)
{
    uint32_t h = 2166136261u;
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 16777619u;
    h = (h ^ (uint32_t)row) * 16777619u;
    h = (h ^ (uint32_t)column) * 16777619u;
    return (float)((double)(h >> 8) / 8388608.0 - 1.0);
}

static grpo_status read_weight(void *context, const char *name, int64_t first, int64_t count, float *dst, grpo_error *err)
{
    const model_config *c = context;
    const model_tensor *t = tensor_named(c, name);
    (void)err;
    assert_true(first >= 0 && count > 0 && first + count <= t->rows);
    for (int64_t r = 0; r < count; r++)
        for (int64_t k = 0; k < t->columns; k++)
            dst[r * t->columns + k] = weight(name, first + r, k);
    return GRPO_OK;
}

static float rounded(float x, const char *type)
{
    uint32_t bits;
    if (strcmp(type, "F16") == 0)
        return dequant_half(encode_half(x));
    if (strcmp(type, "F32") == 0)
        return x;
    bits = (uint32_t)encode_bfloat(x) << 16;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Every tensor of the files has the formula's values, rounded to `type`. */
static void check_weights(const model_files *f, const model_config *c)
{
    grpo_error err;
    assert_int_equal(model_files_count(f), model_tensor_count(c));
    for (int i = 0; i < model_files_count(f); i++) {
        model_tensor_info t = model_files_tensor(f, i);
        int64_t rows = t.rank == 2 ? t.shape[0] : 1, columns = t.shape[t.rank - 1];
        float *x = mem_calloc((size_t)(rows * columns), sizeof *x);
        assert_ok(model_files_read(f, i, 0, rows, x, &err), err);
        for (int64_t k = 0; k < rows * columns; k++)
            if (x[k] != rounded(weight(t.name, k / columns, k % columns), t.type))
                fail_msg("%s element %lld: %.9g", t.name, (long long)k, (double)x[k]);
        mem_free(x);
    }
}

/* Two configurations compute the same. */
static void check_same(const model_config *a, const model_config *b)
{
    model_config x = *a, y = *b;
    for (int i = 0; i < MODEL_MAX_ROPES; i++) {
        assert_int_equal(!x.ropes[i].factors, !y.ropes[i].factors);
        if (x.ropes[i].factors)
            assert_memory_equal(x.ropes[i].factors, y.ropes[i].factors, (size_t)x.rotary_dim / 2 * sizeof(float));
        x.ropes[i].factors = y.ropes[i].factors = NULL;
    }
    assert_memory_equal(x.layer, y.layer, sizeof x.layer);
    assert_memory_equal(x.ropes, y.ropes, sizeof x.ropes);
    assert_memory_equal(&x, &y, sizeof x);
}

static const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", test_folder(), name);
    return path;
}

static void export_and_check(int family, int keep_json, safetensors_dtype dtype, uint64_t shard_bytes)
{
    model_config c;
    grpo_error err;
    model_files *f;
    json_t *json = make_config(family, &c);
    char name[64];
    snprintf(name, sizeof name, "m-%d-%d-%d-%d", family, keep_json, (int)dtype, (int)shard_bytes);
    const char *folder = path_of(name);
    model_export e = {.config = &c, .config_json = keep_json ? json : NULL, .read = read_weight, .context = &c};
    assert_ok(file_make_folder(folder, &err), err);
    assert_ok(model_export_hf(&e, folder, dtype, shard_bytes, &err), err);
    assert_ok(model_files_open(&f, folder, &err), err);
    assert_string_equal(model_files_tensor(f, 0).type, safetensors_dtype_name(dtype));
    check_same(&c, model_files_config(f));
    check_weights(f, &c);
    model_files_close(f);
    json_decref(json);
    model_config_deinit(&c);
}

static void every_family_survives_with_its_own_config_json(void **state)
{
    (void)state;
    for (int i = 0; i < FAMILIES; i++)
        export_and_check(i, 1, SAFETENSORS_F32, 0);
}

static void every_family_survives_with_a_config_json_made_anew(void **state)
{
    (void)state;
    for (int i = 0; i < FAMILIES; i++)
        export_and_check(i, 0, SAFETENSORS_BF16, 0);
}

static void shards_are_indexed(void **state)
{
    (void)state;
    export_and_check(0, 1, SAFETENSORS_F32, 20000);
    char path[300];
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", path_of("m-0-1-0-20000"));
    assert_true(file_exists(path));
    export_and_check(8, 1, SAFETENSORS_F16, 1); /* every tensor alone */
}

static grpo_status read_nan(void *context, const char *name, int64_t first, int64_t count, float *dst, grpo_error *err)
{
    grpo_status status = read_weight(context, name, first, count, dst, err);
    if (strcmp(name, "model.norm.weight") == 0)
        dst[3] = NAN;
    return status;
}

static void weights_that_are_not_finite_are_not_exported(void **state)
{
    (void)state;
    model_config c;
    grpo_error err;
    json_t *json = make_config(0, &c);
    model_export e = {.config = &c, .config_json = json, .read = read_nan, .context = &c};
    assert_ok(file_make_folder(path_of("nan"), &err), err);
    assert_int_equal(model_export_hf(&e, path_of("nan"), SAFETENSORS_F32, 0, &err), GRPO_ERR_NUMERIC);
    assert_non_null(strstr(err.message, "model.norm.weight"));
    assert_false(file_exists(path_of("nan/model.safetensors")));
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family_survives_with_its_own_config_json),
        cmocka_unit_test(every_family_survives_with_a_config_json_made_anew),
        cmocka_unit_test(shards_are_indexed),
        cmocka_unit_test(weights_that_are_not_finite_are_not_exported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
