/* Mixture-of-experts models made by data/make-moe-cases.py: what transformers computes from them in float64, the row
 * law, equal gradient bits by every way of keeping activations, and their files in every layout. */
#include <stdlib.h>

#include "base/file.h"
#include "golden.h"
#include "model/export_gguf.h"

static const char *const CASES[] = {"moe-plain", "moe-step", "moe-all"};
enum { N_CASES = sizeof CASES / sizeof *CASES, SEQUENCES = 4, LONGEST = 32, VOCAB = 23 };

typedef struct subject {
    const char *folder;
    model_files *files;
    model *m;
    json_t *golden;
    safetensors_file expected;
} subject;

static const char *data_path(const char *folder, const char *file)
{
    static char paths[4][4096];
    static int next;
    const char *source = getenv("GRPO_SOURCE_DIR");
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/tests/model/data/%s%s", source ? source : ".", folder, file);
    return path;
}

static void open_subject(subject *s, const char *folder)
{
    grpo_error err;
    s->folder = folder;
    assert_ok(model_files_open(&s->files, data_path(folder, ""), &err), err);
    assert_ok(model_load(&s->m, s->files, 0, NULL, &err), err);
    assert_ok(json_parse_file(&s->golden, data_path(folder, "/golden.json"), 1 << 20, &err), err);
    assert_ok(safetensors_open(&s->expected, data_path(folder, "/golden.safetensors"), &err), err);
    assert_int_equal(s->m->config.vocab, VOCAB);
}

static void close_subject(subject *s)
{
    safetensors_close(&s->expected);
    json_decref(s->golden);
    model_destroy(s->m);
    model_files_close(s->files);
}

static float *expected_values(const subject *s, const char *name, size_t count)
{
    const safetensors_tensor *t = safetensors_find(&s->expected, name);
    assert_non_null(t);
    assert_int_equal((t->end - t->begin) / sizeof(float), count);
    float *x = mem_calloc(count, sizeof *x);
    safetensors_decode(t, 0, count, x);
    return x;
}

/* ---- forward ------------------------------------------------------------------------------------------ */

typedef struct sequence {
    int32_t token[LONGEST];
    int n;
    kv_sequence kv;
    float logits[LONGEST][VOCAB];
} sequence;

static void read_sequences(sequence list[SEQUENCES], const subject *s)
{
    const json_t *part = json_object_get(s->golden, "grpo"), *prompt = json_object_get(part, "prompt");
    memset(list, 0, SEQUENCES * sizeof *list);
    for (size_t q = 0; q < SEQUENCES; q++) {
        const json_t *lists[2] = {prompt, json_array_get(json_object_get(part, "completions"), q)};
        for (int half = 0; half < 2; half++)
            for (size_t i = 0; i < json_array_size(lists[half]); i++)
                list[q].token[list[q].n++] = (int32_t)json_integer_value(json_array_get(lists[half], i));
    }
}

/* One call: `rows` next positions (at most) of sequences [first, first + count). Returns how many were run. */
static int forward_call(engine *e, sequence *list, int first, int count, int rows)
{
    int32_t token[SEQUENCES * LONGEST], pos[SEQUENCES * LONGEST];
    ops_span spans[SEQUENCES];
    sequence *of[SEQUENCES];
    model_rows call = {.token = token, .pos = pos, .spans = spans};
    for (int q = first; q < first + count; q++) {
        sequence *s = &list[q];
        int n = s->n - s->kv.length < rows ? s->n - s->kv.length : rows;
        if (n == 0)
            continue;
        of[call.n_spans] = s;
        spans[call.n_spans++] = (ops_span){s->kv.blocks, call.m, n, s->kv.length};
        for (int i = 0; i < n; i++, call.m++) {
            token[call.m] = s->token[s->kv.length + i];
            pos[call.m] = s->kv.length + i;
        }
    }
    if (call.m == 0)
        return 0;
    float *x;
    ops_softmax_row stats[SEQUENCES * LONGEST];
    model_forward(e->m, &e->m->weights, e->threads, &e->ws, &e->kv, &call, NULL, &x);
    model_final_norm(e->m, &e->m->weights, e->threads, e->h, x, call.m);
    ops_head_logits(e->threads, e->m->weights.head, e->h, e->m->config.hidden, 1, e->z, e->ldz, stats, 0, call.m,
                    e->head_scratch);
    for (int i = 0; i < call.n_spans; i++)
        for (int r = 0; r < spans[i].rows; r++)
            memcpy(of[i]->logits[of[i]->kv.length++], e->z + (size_t)(spans[i].first_row + r) * (size_t)e->ldz,
                   sizeof of[i]->logits[0]);
    return call.m;
}

/* Logits of all sequences: `together` of them in one call, `rows` of each. */
static void forward(sequence list[SEQUENCES], const subject *s, int threads, int together, int rows)
{
    grpo_error err;
    pool *p;
    engine e;
    read_sequences(list, s);
    assert_ok(pool_create(&p, threads, &err), err);
    int most = together * rows; /* no room to spare: an expert of moe-all fills the scratch exactly */
    assert_ok(engine_init(&e, s->m, p, (engine_plan){most, most, 40}, &err), err);
    for (int q = 0; q < SEQUENCES; q++) {
        assert_ok(kv_sequence_init(&list[q].kv, LONGEST, &err), err);
        assert_ok(kv_sequence_extend(&e.kv, &list[q].kv, LONGEST, &err), err);
    }
    for (int q = 0; q < SEQUENCES; q += together)
        while (forward_call(&e, list, q, together, rows) > 0)
            ;
    for (int q = 0; q < SEQUENCES; q++)
        kv_sequence_deinit(&e.kv, &list[q].kv);
    engine_deinit(&e);
    pool_destroy(p);
}

static void logits_agree(void **state)
{
    (void)state;
    for (int k = 0; k < N_CASES; k++) {
        subject s;
        static sequence list[SEQUENCES];
        open_subject(&s, CASES[k]);
        forward(list, &s, 2, SEQUENCES, LONGEST);
        for (int q = 0; q < SEQUENCES; q++) {
            char name[32];
            snprintf(name, sizeof name, "logits.%d", q);
            float *want = expected_values(&s, name, (size_t)list[q].n * VOCAB);
            for (int t = 0; t < list[q].n; t++) {
                double error = golden_error(list[q].logits[t], want + t * VOCAB, VOCAB);
                if (!(error < 2e-5))
                    fail_msg("%s, sequence %d, row %d: relative error %g", CASES[k], q, t, error);
            }
            mem_free(want);
        }
        close_subject(&s);
    }
}

static void a_row_does_not_depend_on_its_company(void **state)
{
    (void)state;
    static const int ways[][3] = {{1, 1, LONGEST}, {2, SEQUENCES, 1}, {3, SEQUENCES, 3}, {3, 2, 5}, {1, 1, 1}};
    for (int k = 0; k < N_CASES; k++) {
        subject s;
        static sequence first[SEQUENCES], other[SEQUENCES];
        open_subject(&s, CASES[k]);
        forward(first, &s, 2, SEQUENCES, LONGEST);
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
            forward(other, &s, ways[w][0], ways[w][1], ways[w][2]);
            for (int q = 0; q < SEQUENCES; q++)
                assert_memory_equal(other[q].logits, first[q].logits, sizeof first[q].logits);
        }
        close_subject(&s);
    }
}

/* ---- backward -------------------------------------------------------------------------------------------- */

/* The gradient of tok_seq_mean with `kept` layers' activations on the tape; the caller frees it. */
static float *gradient(const subject *s, int threads, int kept, double *loss)
{
    grpo_error err;
    pool *p;
    gradient_case c;
    gradient_workspace w;
    gradient_result result = {0};
    assert_ok(pool_create(&p, threads, &err), err);
    assert_ok(gradient_case_init(&c, s->golden, s->folder, VOCAB, &err), err);
    assert_ok(gradient_workspace_init(&w, s->m, p, &c, &err), err);
    int rows = w.t.capacity;
    tape_deinit(&w.t);
    assert_ok(tape_init(&w.t, &s->m->config, rows, kept, &err), err);
    result.ratio = mem_calloc(c.tokens, sizeof *result.ratio);
    assert_ok(gradient_case_run(&w, s->m, &c, "tok_seq_mean", &result, &err), err);
    float *copy = mem_dup(w.grad, s->m->layout.total * sizeof *copy);
    *loss = result.loss;
    mem_free(result.ratio);
    gradient_case_deinit(&c, &w.e);
    gradient_workspace_deinit(&w);
    pool_destroy(p);
    return copy;
}

static int all_zero(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (x[i] != 0)
            return 0;
    return 1;
}

static void gradients_agree(void **state)
{
    (void)state;
    int unchosen = 0;
    for (int k = 0; k < N_CASES; k++) {
        subject s;
        double loss, norm = 0;
        open_subject(&s, CASES[k]);
        const json_t *part = json_object_get(s.golden, "grpo");
        float *grad = gradient(&s, 2, s.m->config.layers / 2, &loss);
        assert_close(loss, json_number_value(json_object_get(part, "loss")), 1e-6);
        for (int i = 0; i < s.m->layout.count; i++) {
            const model_param *p = &s.m->layout.params[i];
            size_t n = (size_t)p->n * (size_t)p->k;
            char name[128];
            snprintf(name, sizeof name, "grad.%s", p->name);
            float *want = expected_values(&s, name, n), *got = mem_calloc(n, sizeof *got);
            model_param_export(p, grad, got);
            double error = golden_error(got, want, n);
            if (!(error < 1e-4))
                fail_msg("%s: gradient of %s is off by %g", CASES[k], p->name, error);
            if (strstr(p->name, "mlp.experts.") && all_zero(want, n)) {
                unchosen++;
                assert_true(all_zero(got, n));
            }
            for (size_t j = 0; j < n; j++)
                norm += (double)got[j] * got[j];
            mem_free(want);
            mem_free(got);
        }
        norm = sqrt(norm);
        assert_close(norm / json_number_value(json_object_get(part, "grad_norm")), 1, 2e-5);
        mem_free(grad);
        close_subject(&s);
    }
    assert_true(unchosen > 0); /* some expert was chosen by no token */
}

static void gradient_bits_depend_on_nothing_else(void **state)
{
    (void)state;
    static const char *const sets[] = {"avx512bf16", "avx512", "avx2", "neon", "portable"};
    char best[16];
    snprintf(best, sizeof best, "%s", ops_isa());
    for (int k = 0; k < N_CASES; k++) {
        subject s;
        double loss;
        open_subject(&s, CASES[k]);
        size_t bytes = s.m->layout.total * sizeof(float);
        float *first = gradient(&s, 1, 0, &loss);
        for (int kept = 0; kept <= s.m->config.layers; kept++) {
            float *other = gradient(&s, 1 + kept % 3, kept, &loss);
            assert_memory_equal(other, first, bytes);
            mem_free(other);
        }
        for (int i = 0; i < 5; i++) {
            if (ops_select_isa(sets[i]) != 0)
                continue;
            float *other = gradient(&s, 2, 1, &loss);
            assert_memory_equal(other, first, bytes);
            mem_free(other);
        }
        ops_select_isa(best);
        mem_free(first);
        close_subject(&s);
    }
}

/* ---- files --------------------------------------------------------------------------------------------------- */

/* The files at `path` hold the subject's weights. */
static void check_same_weights(const subject *s, const char *path)
{
    grpo_error err;
    model_files *files;
    model *m;
    assert_ok(model_files_open(&files, path, &err), err);
    assert_ok(model_load(&m, files, 0, NULL, &err), err);
    assert_int_equal(m->layout.total, s->m->layout.total);
    assert_memory_equal(m->params, s->m->params, m->layout.total * sizeof *m->params);
    model_destroy(m);
    model_files_close(files);
}

static void a_gguf_file_of_the_gguf_package_is_read(void **state)
{
    (void)state;
    subject s;
    open_subject(&s, "moe-all");
    check_same_weights(&s, data_path("moe-all", "/model.gguf"));
    close_subject(&s);
}

static void exported_models_come_back(void **state)
{
    (void)state;
    for (int k = 0; k < N_CASES; k++) {
        subject s;
        grpo_error err;
        char path[512];
        open_subject(&s, CASES[k]);
        model_export e = {.config = &s.m->config, .config_json = model_files_config_json(s.files),
                          .read = model_export_read_files, .context = s.files};
        snprintf(path, sizeof path, "%s/%s", test_folder(), CASES[k]);
        assert_ok(file_make_folder(path, &err), err);
        assert_ok(model_export_hf(&e, path, SAFETENSORS_F32, 0, &err), err);
        check_same_weights(&s, path);
        snprintf(path, sizeof path, "%s/%s.gguf", test_folder(), CASES[k]);
        model_export_gguf_options o = {.type = "F32"};
        grpo_status status = model_export_gguf(&e, &o, path, &err);
        if (k == 2) { /* the others are nothing that llama.cpp computes */
            assert_ok(status, err);
            check_same_weights(&s, path);
        } else
            assert_int_equal(status, GRPO_ERR_UNSUPPORTED);
        close_subject(&s);
    }
}

/* The files of moe-plain with one number of config.json changed. */
static void expect_refusal(const char *key, int value, const char *message)
{
    static const char *const names[] = {"/config.json", "/model.safetensors"};
    grpo_error err;
    model_files *f;
    char folder[512], path[600], *bytes;
    size_t size;
    snprintf(folder, sizeof folder, "%s/changed", test_folder());
    assert_ok(file_make_folder(folder, &err), err);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s%s", folder, names[i]);
        assert_ok(file_read(&bytes, &size, data_path("moe-plain", names[i]), 1 << 20, &err), err);
        char *at = i == 0 ? strstr(bytes, key) : NULL;
        if (at)
            at[strlen(key) + 3] = (char)('0' + value); /* "key": 7, */
        else
            assert_int_equal(i, 1);
        assert_ok(file_write_all(path, bytes, size, &err), err);
        mem_free(bytes);
    }
    assert_int_equal(model_files_open(&f, folder, &err), GRPO_ERR_FORMAT);
    if (!strstr(err.message, message))
        fail_msg("%s", err.message);
}

static void fused_tensors_of_another_shape_are_refused(void **state)
{
    (void)state;
    expect_refusal("moe_intermediate_size", 8, "gate_up_proj has shape [5, 14, 12], config.json asks for [5, 16, 12]");
    expect_refusal("num_local_experts", 4, "mlp.gate.weight has shape [5, 12], config.json asks for [4, 12]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_agree),
        cmocka_unit_test(a_row_does_not_depend_on_its_company),
        cmocka_unit_test(gradients_agree),
        cmocka_unit_test(gradient_bits_depend_on_nothing_else),
        cmocka_unit_test(a_gguf_file_of_the_gguf_package_is_read),
        cmocka_unit_test(exported_models_come_back),
        cmocka_unit_test(fused_tensors_of_another_shape_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
