/* A model goes out and comes back: made from a configuration and a formula for every weight, written
 * in each format, read again. */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "model/config_hf.h"
#include "model/encode.h"
#include "model/dequant.h"
#include "model/export_gguf.h"
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

/* Parses a configuration completed with small sizes; the caller's references. */
static json_t *parse_config(const char *begin, model_config *c)
{
    char text[2048];
    grpo_error err;
    json_t *json;
    snprintf(text, sizeof text,
             "%s,\"hidden_size\":32,\"intermediate_size\":48,\"num_hidden_layers\":3,\"num_attention_heads\":4,"
             "\"num_key_value_heads\":2,\"vocab_size\":100,\"max_position_embeddings\":512}",
             begin);
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

/* Every tensor of the files has the formula's values, rounded to its type; Q8_0 within half a step and the scale's rounding. */
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
            if (strcmp(t.type, "Q8_0") == 0 ? fabsf(x[k] - weight(t.name, k / columns, k % columns)) > 0.0046f
                                            : x[k] != rounded(weight(t.name, k / columns, k % columns), t.type))
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
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", test_folder(), name);
    return path;
}

static void export_and_check(int family, int keep_json, safetensors_dtype dtype, uint64_t shard_bytes)
{
    model_config c;
    grpo_error err;
    model_files *f;
    json_t *json = parse_config(families[family], &c);
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
    json_t *json = parse_config(families[0], &c);
    model_export e = {.config = &c, .config_json = json, .read = read_nan, .context = &c};
    assert_ok(file_make_folder(path_of("nan"), &err), err);
    assert_int_equal(model_export_hf(&e, path_of("nan"), SAFETENSORS_F32, 0, &err), GRPO_ERR_NUMERIC);
    assert_non_null(strstr(err.message, "model.norm.weight"));
    assert_false(file_exists(path_of("nan/model.safetensors")));
    json_decref(json);
}

/* ---- GGUF ------------------------------------------------------------------------------------ */

/* Configurations as llama.cpp can hold them. */
static const char *const gguf_families[] = {
    "{\"model_type\":\"llama\",\"tie_word_embeddings\":true,\"eos_token_id\":[2,3],\"pad_token_id\":0",
    "{\"model_type\":\"llama\",\"attention_bias\":true,\"mlp_bias\":true,\"rope_scaling\":{\"rope_type\":\"longrope\","
    "\"short_factor\":[1,2,3,4],\"long_factor\":[1,2,3,4],\"attention_factor\":1.0}",
    "{\"model_type\":\"smollm3\",\"pad_token_id\":null,\"bos_token_id\":1",
    "{\"model_type\":\"qwen2\",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":64}",
    "{\"model_type\":\"qwen3\",\"head_dim\":16,\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":4}",
    "{\"model_type\":\"gemma3_text\",\"head_dim\":16,\"query_pre_attn_scalar\":16,\"sliding_window\":4,"
    "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8}",
    "{\"model_type\":\"olmo2\"",
    "{\"model_type\":\"qwen3_moe\",\"num_experts\":3,\"num_experts_per_tok\":2,\"moe_intermediate_size\":24,\"norm_topk_prob\":true",
};

static void every_family_survives_as_gguf(void **state)
{
    static const char *const types[] = {"F32", "F16", "BF16", "Q8_0"};
    (void)state;
    for (size_t i = 0; i < sizeof gguf_families / sizeof *gguf_families; i++)
        for (int t = 0; t < 4; t++) {
            model_config c;
            grpo_error err;
            model_files *f;
            json_t *json = parse_config(gguf_families[i], &c);
            model_export e = {.config = &c, .read = read_weight, .context = &c};
            model_export_gguf_options o = {.type = types[t]};
            assert_ok(model_export_gguf(&e, &o, path_of("m.gguf"), &err), err);
            assert_ok(model_files_open(&f, path_of("m.gguf"), &err), err);
            model_config got = *model_files_config(f); /* shares the factors with f */
            got.bos = c.bos; /* without a tokenizer there are no token ids */
            got.pad = c.pad;
            got.n_eos = c.n_eos;
            memcpy(got.eos, c.eos, sizeof c.eos);
            check_same(&c, &got);
            check_weights(f, &c);
            model_files_close(f);
            json_decref(json);
            model_config_deinit(&c);
        }
}

static void what_llama_cpp_computes_otherwise_is_not_written(void **state)
{
    static const char *const cases[][2] = {
        {"{\"model_type\":\"mistral\",\"sliding_window\":6", "sliding windows"},
        {"{\"model_type\":\"gemma3_text\",\"head_dim\":16,\"query_pre_attn_scalar\":10", "query_pre_attn_scalar"},
        {"{\"model_type\":\"gemma3_text\",\"head_dim\":16,\"query_pre_attn_scalar\":16,\"sliding_window_pattern\":2", "pattern"},
        {"{\"model_type\":\"gemma3_text\",\"head_dim\":16,\"query_pre_attn_scalar\":16,\"rope_local_base_freq\":2e4", "rotary base"},
        {"{\"model_type\":\"smollm3\",\"no_rope_layers\":[0,1,1]", "unrotated"},
        {"{\"model_type\":\"qwen3_moe\",\"num_experts\":3,\"num_experts_per_tok\":2,\"norm_topk_prob\":false", "norm_topk_prob"},
        {"{\"model_type\":\"qwen3_moe\",\"num_experts\":3,\"num_experts_per_tok\":2,\"norm_topk_prob\":true,\"mlp_only_layers\":[0]", "dense"},
        {"{\"model_type\":\"qwen2\",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4}", "frequencies"},
        {"{\"model_type\":\"qwen2\",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4,\"beta_fast\":16}", "YaRN"},
        {"{\"model_type\":\"qwen2\",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4,\"attention_factor\":1.0}", "YaRN"},
        {"{\"model_type\":\"llama\",\"architectures\":[\"LlamaForSequenceClassification\"],\"num_labels\":1", "heads"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        model_config c;
        grpo_error err;
        json_t *json = parse_config(cases[i][0], &c);
        model_export e = {.config = &c, .read = read_weight, .context = &c};
        model_export_gguf_options o = {.type = "F32"};
        if (model_export_gguf(&e, &o, path_of("no.gguf"), &err) == GRPO_OK)
            fail_msg("written: %s", cases[i][0]);
        if (err.status != GRPO_ERR_UNSUPPORTED || !strstr(err.message, cases[i][1]))
            fail_msg("\"%s\" does not mention \"%s\"", err.message, cases[i][1]);
        assert_false(file_exists(path_of("no.gguf")));
        json_decref(json);
        model_config_deinit(&c);
    }
}

static void llama3_scaling_becomes_divisors_and_back(void **state)
{
    (void)state;
    model_config c;
    grpo_error err;
    model_files *f;
    json_t *json = parse_config("{\"model_type\":\"llama\",\"rope_theta\":5e5,\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":32,"
                                "\"low_freq_factor\":1,\"high_freq_factor\":4,\"original_max_position_embeddings\":8192}", &c);
    model_export e = {.config = &c, .read = read_weight, .context = &c};
    model_export_gguf_options o = {.type = "F32"};
    assert_ok(model_export_gguf(&e, &o, path_of("l3.gguf"), &err), err);
    assert_ok(model_files_open(&f, path_of("l3.gguf"), &err), err);
    const model_rope *r = &model_files_config(f)->ropes[0];
    assert_int_equal(r->scaling, MODEL_ROPE_FACTORS);
    assert_true(r->factors[0] == 1 && r->factors[3] == 32);
    model_export again = {.config = model_files_config(f)};
    json_t *config = model_export_config_json(&again, "float32"), *scaling = json_object_get(config, "rope_scaling");
    assert_string_equal(json_string_value(json_object_get(scaling, "rope_type")), "llama3");
    assert_true(json_number_value(json_object_get(scaling, "factor")) == 32);
    json_decref(config);
    json_decref(json);
    model_files_close(f);
}

/* ---- a tokenizer.json in GGUF ------------------------------------------------------------------ */

static void write_text(const char *name, const char *text)
{
    grpo_error err;
    assert_ok(file_write_all(path_of(name), text, strlen(text), &err), err);
}

static void check_text(const gguf_file *f, const char *key, const char *want)
{
    const gguf_value *v = gguf_find(f, key);
    assert_non_null(v);
    assert_int_equal(v->count, strlen(want));
    assert_memory_equal(v->data, want, strlen(want));
}

static void check_number(const gguf_file *f, const char *key, int64_t want)
{
    const gguf_value *v = gguf_find(f, key);
    int64_t got;
    assert_true(v && gguf_as_int(v, &got) && got == want);
}

static void check_item(const gguf_file *f, const char *key, int index, const char *want)
{
    gguf_strings s = {.array = gguf_find(f, key)};
    const char *bytes;
    size_t length;
    for (int i = 0; i <= index; i++)
        assert_true(gguf_next_string(&s, &bytes, &length));
    assert_int_equal(length, strlen(want));
    assert_memory_equal(bytes, want, length);
}

static grpo_status put_tokenizer(gguf_file *f, grpo_error *err)
{
    gguf_meta m = {0};
    gguf_writer w;
    model_config c = {.vocab = 8, .bos = -1, .pad = -1, .eos = {2, 4}, .n_eos = 2};
    grpo_status status = model_gguf_put_tokenizer(&m, path_of("tok"), &c, NULL, err);
    if (status == GRPO_OK) {
        assert_ok(gguf_create(&w, path_of("tok.gguf"), &m, NULL, 0, err), *err);
        assert_ok(gguf_commit(&w, err), *err);
        assert_ok(gguf_open(f, path_of("tok.gguf"), err), *err);
    }
    gguf_meta_deinit(&m);
    return status;
}

static void byte_level_tokenizers_are_described(void **state)
{
    (void)state;
    gguf_file f;
    grpo_error err;
    assert_ok(file_make_folder(path_of("tok"), &err), err);
    write_text("tok/tokenizer.json",
               "{\"added_tokens\":[{\"id\":2,\"content\":\"<end>\",\"special\":true},{\"id\":6,\"content\":\"<tool>\",\"special\":false}],"
               "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":true},"
               "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}]},"
               "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<end>\",\"type_id\":0}},"
               "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}]},"
               "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":3,\"\u0120\":4},\"merges\":[[\"a\",\"b\"]]}}");
    write_text("tok/tokenizer_config.json", "{\"eos_token\":{\"content\":\"<end>\"},\"chat_template\":\"{{ x }}\"}");
    assert_ok(put_tokenizer(&f, &err), err);
    check_text(&f, "tokenizer.ggml.model", "gpt2");
    check_text(&f, "tokenizer.ggml.pre", "smollm");
    check_text(&f, "tokenizer.chat_template", "{{ x }}");
    check_item(&f, "tokenizer.ggml.tokens", 3, "ab");
    check_item(&f, "tokenizer.ggml.tokens", 5, "[PAD5]");
    check_item(&f, "tokenizer.ggml.merges", 0, "a b");
    check_number(&f, "tokenizer.ggml.eos_token_id", 2);
    check_number(&f, "tokenizer.ggml.eot_token_id", 4);
    check_number(&f, "tokenizer.ggml.add_bos_token", 1);
    check_number(&f, "tokenizer.ggml.add_eos_token", 0);
    static const int types[8] = {1, 1, 3, 1, 1, 5, 4, 5};
    for (uint64_t i = 0; i < 8; i++) {
        int64_t type;
        assert_true(gguf_item_int(gguf_find(&f, "tokenizer.ggml.token_type"), i, &type) && type == types[i]);
    }
    gguf_close(&f);
    write_text("tok/tokenizer.json", "{\"pre_tokenizer\":{\"type\":\"Whitespace\"},\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]}}");
    assert_int_equal(put_tokenizer(&f, &err), GRPO_ERR_UNSUPPORTED);
    write_text("tok/tokenizer.json", "{\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"vocab\":{\"x\":8},\"merges\":[]}}");
    assert_int_equal(put_tokenizer(&f, &err), GRPO_ERR_FORMAT);
}

static void byte_fallback_tokenizers_get_scores(void **state)
{
    (void)state;
    gguf_file f;
    grpo_error err;
    assert_ok(file_make_folder(path_of("tok"), &err), err);
    write_text("tok/tokenizer.json",
               "{\"added_tokens\":[{\"id\":0,\"content\":\"<unk>\",\"special\":true}],\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":"
               "[{\"type\":\"Prepend\",\"prepend\":\"_\"}]},\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"unk_token\":\"<unk>\","
               "\"vocab\":{\"<unk>\":0,\"<0x0A>\":1,\"a\":2,\"b\":3,\"ab\":4,\"abb\":5},\"merges\":[\"a b\",\"ab b\",\"a bb\"]}}");
    write_text("tok/tokenizer_config.json", "{\"unk_token\":\"<unk>\",\"add_bos_token\":true}");
    assert_ok(put_tokenizer(&f, &err), err);
    check_text(&f, "tokenizer.ggml.model", "llama");
    check_number(&f, "tokenizer.ggml.unknown_token_id", 0);
    check_number(&f, "tokenizer.ggml.add_space_prefix", 1);
    check_number(&f, "tokenizer.ggml.add_bos_token", 1);
    static const int types[8] = {2, 6, 1, 1, 1, 1, 5, 5}, scores[8] = {0, 0, 0, 0, -1, -2, 0, 0};
    for (uint64_t i = 0; i < 8; i++) {
        int64_t type;
        double score;
        assert_true(gguf_item_int(gguf_find(&f, "tokenizer.ggml.token_type"), i, &type) && type == types[i]);
        assert_true(gguf_item_double(gguf_find(&f, "tokenizer.ggml.scores"), i, &score) && score == scores[i]);
    }
    gguf_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family_survives_with_its_own_config_json),
        cmocka_unit_test(every_family_survives_with_a_config_json_made_anew),
        cmocka_unit_test(shards_are_indexed),
        cmocka_unit_test(every_family_survives_as_gguf),
        cmocka_unit_test(what_llama_cpp_computes_otherwise_is_not_written),
        cmocka_unit_test(llama3_scaling_becomes_divisors_and_back),
        cmocka_unit_test(byte_level_tokenizers_are_described),
        cmocka_unit_test(byte_fallback_tokenizers_get_scores),
        cmocka_unit_test(weights_that_are_not_finite_are_not_exported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
