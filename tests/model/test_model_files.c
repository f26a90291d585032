/* Whole models of ../shared/models in both formats. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/files.h"
#include "support.h"

static model_files *open_model(const char *relative)
{
    grpo_error err;
    model_files *f;
    assert_ok(model_files_open(&f, test_shared_path(relative), &err), err);
    return f;
}

static float *read_tensor(const model_files *f, const char *name, size_t *n)
{
    grpo_error err;
    int index = model_files_find(f, name);
    if (index < 0)
        fail_msg("%s has no %s", model_files_path(f), name);
    model_tensor_info t = model_files_tensor(f, index);
    assert_string_equal(t.name, name);
    int64_t rows = t.rank == 2 ? t.shape[0] : 1, columns = t.shape[t.rank - 1];
    *n = (size_t)(rows * columns);
    float *x = mem_calloc(*n, sizeof *x);
    assert_non_null(x);
    assert_ok(model_files_read(f, index, 0, rows, x, &err), err);
    return x;
}

/* The same weights in both formats are the same bits under the same names. */
static void compare_formats(const char *gguf, const char *folder)
{
    model_files *a = open_model(gguf), *b = open_model(folder);
    assert_true(model_files_is_gguf(a) && !model_files_is_gguf(b));
    assert_int_equal(model_files_count(a), model_files_count(b));
    for (int i = 0; i < model_files_count(a); i++) {
        const char *name = model_files_tensor(a, i).name;
        size_t n, m;
        float *x = read_tensor(a, name, &n), *y = read_tensor(b, name, &m);
        assert_int_equal(n, m);
        for (size_t k = 0; k < n; k++)
            if (x[k] != y[k])
                fail_msg("%s element %zu: %.9g in the GGUF, %.9g in the folder", name, k, (double)x[k], (double)y[k]);
        mem_free(x);
        mem_free(y);
    }
    model_files_close(a);
    model_files_close(b);
}

static void llama_gguf_has_the_folders_weights(void **state)
{
    (void)state;
    compare_formats("models/gguf/llama-tied-f32.gguf", "models/llama-tied");
}

static void qwen2_gguf_has_the_folders_weights(void **state)
{
    (void)state;
    compare_formats("models/gguf/qwen2-f32.gguf", "models/qwen2");
}

/* Rows may be read in any split. */
static void check_row_ranges(const char *relative)
{
    grpo_error err;
    model_files *f = open_model(relative);
    for (int i = 0; i < model_files_count(f); i++) {
        model_tensor_info t = model_files_tensor(f, i);
        if (t.rank != 2)
            continue;
        size_t n, columns = (size_t)t.shape[1];
        float *whole = read_tensor(f, t.name, &n), *part = mem_calloc(3 * columns, sizeof *part);
        for (int64_t row = 0; row < t.shape[0]; row += 3) {
            int64_t count = t.shape[0] - row < 3 ? t.shape[0] - row : 3;
            assert_ok(model_files_read(f, i, row, count, part, &err), err);
            assert_memory_equal(part, whole + (size_t)row * columns, (size_t)count * columns * sizeof *part);
        }
        assert_int_equal(model_files_read(f, i, t.shape[0], 1, part, &err), GRPO_ERR_INTERNAL);
        mem_free(whole);
        mem_free(part);
    }
    model_files_close(f);
}

static void rows_can_be_read_in_any_split(void **state)
{
    (void)state;
    check_row_ranges("models/gguf/llama-mixed.gguf");
    check_row_ranges("models/gguf/llama-kquants.gguf");
    check_row_ranges("models/qwen3-moe");
}

static void gemma_norms_lose_their_stored_one(void **state)
{
    (void)state;
    model_files *f = open_model("models/gguf/gemma3-f16.gguf");
    size_t n;
    float *x = read_tensor(f, "model.layers.0.self_attn.q_norm.weight", &n);
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i];
    assert_true(fabs(sum / (double)n) < 0.5);
    mem_free(x);
    model_files_close(f);
}

static void every_reference_model_opens(void **state)
{
    static const char *const names[] = {
        "llama-tied", "llama3-rope", "qwen2", "qwen3", "gemma3", "qwen3-moe", "llama-bf16", "qwen2-sharded", "llama-reward",
        "llama-value", "gguf/llama-tied-f32.gguf", "gguf/qwen2-f32.gguf", "gguf/llama-mixed.gguf",
        "gguf/llama-kquants.gguf", "gguf/gemma3-f16.gguf"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[128];
        snprintf(path, sizeof path, "models/%s", names[i]);
        model_files *f = open_model(path);
        for (int t = 0; t < model_files_count(f); t++) {
            size_t n;
            mem_free(read_tensor(f, model_files_tensor(f, t).name, &n));
        }
        model_files_close(f);
    }
}

/* What the configurations say, by the README there. */
static void configurations_are_as_documented(void **state)
{
    (void)state;
    static const struct {
        const char *name, *family;
        int hidden, layers, heads, kv_heads, head_dim, ffn, vocab, tied, n_eos;
        double theta;
    } cases[] = {
        {"llama-tied", "llama", 36, 2, 6, 2, 6, 60, 101, 1, 1, 1e5},
        {"llama3-rope", "llama", 32, 2, 2, 1, 16, 56, 113, 0, 2, 5e5},
        {"qwen2", "qwen2", 40, 2, 5, 1, 8, 48, 97, 1, 1, 1e6},
        {"qwen2-sharded", "qwen2", 32, 3, 4, 2, 8, 40, 99, 0, 1, 1e4},
        {"qwen3", "qwen3", 32, 2, 4, 2, 16, 48, 103, 1, 1, 1e6},
        {"gemma3", "gemma3_text", 24, 4, 2, 1, 16, 40, 131, 1, 1, 1e6},
        {"qwen3-moe", "qwen3_moe", 24, 2, 2, 1, 16, 32, 97, 0, 1, 1e6},
        {"gguf/llama-tied-f32.gguf", "llama", 36, 2, 6, 2, 6, 60, 101, 1, 1, 1e5},
        {"gguf/qwen2-f32.gguf", "qwen2", 40, 2, 5, 1, 8, 48, 97, 1, 1, 1e6},
        {"gguf/llama-mixed.gguf", "llama", 64, 2, 4, 2, 16, 96, 96, 0, 1, 1e4},
        {"gguf/llama-kquants.gguf", "llama", 256, 1, 4, 2, 64, 256, 90, 1, 1, 1e4},
        {"gguf/gemma3-f16.gguf", "gemma3_text", 24, 7, 2, 1, 16, 32, 111, 1, 1, 1e6},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[128];
        snprintf(path, sizeof path, "models/%s", cases[i].name);
        model_files *f = open_model(path);
        const model_config *c = model_files_config(f);
        assert_string_equal(c->family, cases[i].family);
        const int got[] = {c->hidden, c->layers, c->heads, c->kv_heads, c->head_dim, c->ffn, c->vocab, c->tied_embeddings, c->n_eos};
        const int want[] = {cases[i].hidden, cases[i].layers, cases[i].heads, cases[i].kv_heads, cases[i].head_dim,
                            cases[i].ffn, cases[i].vocab, cases[i].tied, cases[i].n_eos};
        assert_memory_equal(got, want, sizeof got);
        assert_true(c->ropes[0].theta == cases[i].theta);
        model_files_close(f);
    }
}

static void the_fine_print_is_read(void **state)
{
    (void)state;
    model_files *f = open_model("models/qwen2"); /* sliding_window without use_sliding_window */
    assert_int_equal(model_files_config(f)->layer[1].window, 0);
    model_files_close(f);
    f = open_model("models/gemma3");
    const model_config *c = model_files_config(f);
    for (int i = 0; i < 4; i++)
        assert_true(c->layer[i].window == (i == 2 ? 0 : 6) && c->layer[i].rope == (i == 2 ? 0 : 1));
    assert_true(c->attention_scale == (float)(1 / sqrt(10.0)) && c->ropes[1].theta == 1e4);
    model_files_close(f);
    f = open_model("models/gguf/gemma3-f16.gguf");
    c = model_files_config(f);
    for (int i = 0; i < 7; i++)
        assert_true(c->layer[i].window == (i == 5 ? 0 : 6) && c->layer[i].rope == (i == 5 ? 0 : 1));
    assert_true(c->attention_scale == 0.25f && c->ropes[1].theta == 1e4 && c->norm_offset == 1 && c->norm_eps == 1e-6f);
    model_files_close(f);
    f = open_model("models/llama3-rope");
    c = model_files_config(f);
    assert_true(c->ropes[0].scaling == MODEL_ROPE_LLAMA3 && c->ropes[0].factor == 8 && c->ropes[0].original_positions == 512);
    model_files_close(f);
    f = open_model("models/llama-reward");
    assert_true(model_files_config(f)->head == MODEL_HEAD_SEQUENCE && model_files_config(f)->pad == 2);
    model_files_close(f);
    f = open_model("models/llama-value");
    assert_true(model_files_config(f)->head == MODEL_HEAD_TOKEN && model_files_find(f, "score.bias") >= 0);
    model_files_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_reference_model_opens),
        cmocka_unit_test(configurations_are_as_documented),
        cmocka_unit_test(the_fine_print_is_read),
        cmocka_unit_test(llama_gguf_has_the_folders_weights),
        cmocka_unit_test(qwen2_gguf_has_the_folders_weights),
        cmocka_unit_test(rows_can_be_read_in_any_split),
        cmocka_unit_test(gemma_norms_lose_their_stored_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
