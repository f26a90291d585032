/* LoRA adapters in the transformer.
 *   - logits, gradients and an AdamW step against ../shared/models/lora, which PEFT computed in float64
 *   - on every family, the adapter's gradient against that of the merged model by the chain rule:
 *     W' = W + s B A, so dB = s dW' A^T and dA = s B^T dW'
 *   - a fresh adapter changes no logit, and is a function of its seed
 *   - what cannot be adapted is refused by name */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "model/safetensors.h"
#include "support.h"
#include "train/gradient_case.h"

static grpo_error err;

typedef struct subject {
    model_files *files;
    model *m;
    pool *threads;
    json_t *golden;
    char folder[4096];
} subject;

static void open_base(subject *s, const char *name)
{
    char relative[256], path[5000];
    snprintf(relative, sizeof relative, "models/%s", name);
    snprintf(s->folder, sizeof s->folder, "%s", test_shared_path(relative));
    assert_ok(pool_create(&s->threads, 2, &err), err);
    assert_ok(model_files_open(&s->files, s->folder, &err), err);
    assert_ok(model_load(&s->m, s->files, 0, s->threads, &err), err);
    snprintf(path, sizeof path, "%s/golden/golden.json", s->folder);
    assert_ok(json_parse_file(&s->golden, path, 1 << 26, &err), err);
}

/* An adapter of ../shared with its base. */
static void open_adapted(subject *s, const char *name)
{
    char relative[256], path[5000], *base;
    const char *folder = NULL;
    model_adapter *a;
    snprintf(relative, sizeof relative, "models/lora/%s", name);
    snprintf(s->folder, sizeof s->folder, "%s", test_shared_path(relative));
    assert_ok(adapter_resolve(&base, &folder, s->folder, &err), err);
    assert_ptr_equal(folder, s->folder);
    assert_ok(pool_create(&s->threads, 2, &err), err);
    assert_ok(model_files_open(&s->files, base, &err), err);
    assert_ok(model_load(&s->m, s->files, 0, s->threads, &err), err);
    assert_ok(adapter_open(&a, folder, &s->m->config, NULL, &err), err);
    model_attach_adapter(s->m, a);
    snprintf(path, sizeof path, "%s/golden/golden.json", s->folder);
    assert_ok(json_parse_file(&s->golden, path, 1 << 26, &err), err);
    mem_free(base);
}

static void close_subject(subject *s)
{
    json_decref(s->golden);
    model_destroy(s->m);
    model_files_close(s->files);
    pool_destroy(s->threads);
}

static double relative_error(const float *got, const float *expected, size_t n)
{
    double difference = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)got[i] - expected[i];
        difference += d * d;
        norm += (double)expected[i] * expected[i];
    }
    return norm > 0 ? sqrt(difference / norm) : sqrt(difference);
}

static float *export(const model_param *p, const float *base)
{
    float *x = mem_calloc((size_t)p->n * (size_t)p->k, sizeof *x);
    model_param_export(p, base, x);
    return x;
}

static float *expected_tensor(const subject *s, const char *file, const char *name, size_t n)
{
    char path[5000];
    safetensors_file f;
    snprintf(path, sizeof path, "%s/golden/%s", s->folder, file);
    assert_ok(safetensors_open(&f, path, &err), err);
    const safetensors_tensor *t = safetensors_find(&f, name);
    assert_non_null(t);
    float *x = mem_calloc(n, sizeof *x);
    safetensors_decode(t, 0, n, x);
    safetensors_close(&f);
    return x;
}

/* ---- logits ----------------------------------------------------------------------------------------- */

static int read_tokens(int32_t *out, const json_t *sequence)
{
    static const char *const parts[] = {"prompt", "completion"};
    int n = 0;
    for (int p = 0; p < 2; p++) {
        const json_t *list = json_object_get(sequence, parts[p]);
        for (size_t i = 0; i < json_array_size(list); i++)
            out[n++] = (int32_t)json_integer_value(json_array_get(list, i));
    }
    return n;
}

/* [n][vocab], the caller's. */
static float *logits(const subject *s, const int32_t *token, int n)
{
    const model *m = s->m;
    const model_config *c = &m->config;
    int32_t pos[256];
    for (int t = 0; t < n; t++)
        pos[t] = t;
    engine e;
    kv_sequence kv;
    assert_ok(engine_init(&e, m, s->threads, (engine_plan){n, n, 64}, &err), err);
    assert_ok(kv_sequence_init(&kv, n, &err), err);
    assert_ok(kv_sequence_extend(&e.kv, &kv, n, &err), err);
    ops_span span = {kv.blocks, 0, n, 0};
    model_rows rows = {n, token, pos, &span, 1};
    float *x, *z = mem_calloc((size_t)n * (size_t)c->vocab, sizeof *z);
    ops_softmax_row *stats = mem_calloc((size_t)n, sizeof *stats);
    model_forward(m, &m->weights, s->threads, &e.ws, &e.kv, &rows, NULL, &x);
    model_final_norm(m, &m->weights, s->threads, e.h, x, n);
    ops_head_logits(s->threads, m->weights.head, e.h, c->hidden, 1, e.z, e.ldz, stats, 0, n, e.head_scratch);
    for (int t = 0; t < n; t++)
        memcpy(z + (size_t)t * (size_t)c->vocab, e.z + (size_t)t * (size_t)e.ldz, (size_t)c->vocab * sizeof *z);
    mem_free(stats);
    kv_sequence_deinit(&e.kv, &kv);
    engine_deinit(&e);
    return z;
}

static const char *const ADAPTERS[] = {"llama-tied-r4", "qwen2-rslora-r4"};

static void logits_are_pefts(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        subject s;
        open_adapted(&s, ADAPTERS[k]);
        const json_t *sequences = json_object_get(s.golden, "sequences");
        assert_true(json_array_size(sequences) > 0);
        for (size_t i = 0; i < json_array_size(sequences); i++) {
            int32_t token[256];
            char name[32];
            int n = read_tokens(token, json_array_get(sequences, i));
            size_t count = (size_t)n * (size_t)s.m->config.vocab;
            snprintf(name, sizeof name, "logits.%zu", i);
            float *got = logits(&s, token, n), *want = expected_tensor(&s, "forward.safetensors", name, count);
            assert_true(relative_error(got, want, count) < 5e-6);
            mem_free(got);
            mem_free(want);
        }
        close_subject(&s);
    }
}

/* ---- gradients ---------------------------------------------------------------------------------------- */

static void case_open(gradient_workspace *w, gradient_case *c, const subject *s)
{
    assert_ok(gradient_case_init(c, s->golden, s->folder, s->m->config.vocab, &err), err);
    assert_ok(gradient_workspace_init(w, s->m, s->threads, c, &err), err);
}

static void case_close(gradient_workspace *w, gradient_case *c)
{
    gradient_case_deinit(c, &w->e);
    gradient_workspace_deinit(w);
}

static void check_against(const subject *s, const float *got, const char *file, double tolerance)
{
    const model_layout *layout = model_trained(s->m).layout;
    for (int i = 0; i < layout->count; i++) {
        const model_param *p = &layout->params[i];
        size_t n = (size_t)p->n * (size_t)p->k;
        float *mine = export(p, got), *want = expected_tensor(s, file, p->name, n);
        double error = relative_error(mine, want, n);
        if (!(error < tolerance))
            fail_msg("%s %s: %s is off by %g", s->folder, file, p->name, error);
        mem_free(mine);
        mem_free(want);
    }
}

static void gradients_and_step_are_pefts(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        subject s;
        gradient_case c;
        gradient_workspace w;
        gradient_result result = {0};
        optimizer o;
        double norm;
        open_adapted(&s, ADAPTERS[k]);
        case_open(&w, &c, &s);
        model_trainable trained = model_trained(s.m);
        assert_int_equal(trained.layout->count, 28); /* 2 layers x 7 modules x (A, B) */
        uint64_t base = model_fingerprint(s.m);
        assert_ok(gradient_case_run(&w, s.m, &c, "tok_seq_mean", &result, &err), err);
        check_against(&s, w.grad, "grad_tok_seq_mean.safetensors", 1e-5);
        memset(w.grad, 0, trained.layout->total * sizeof *w.grad);
        assert_ok(gradient_case_run(&w, s.m, &c, "seq", &result, &err), err);
        check_against(&s, w.grad, "grad_seq.safetensors", 1e-5);
        assert_true(model_fingerprint(s.m) == base);
        optimizer_options options = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01};
        assert_ok(optimizer_init(&o, trained.layout->total, options, &err), err);
        assert_ok(optimizer_step(&o, s.threads, trained.params, w.grad, 1e-3, &norm, &err), err);
        check_against(&s, trained.params, "adamw_step1.safetensors", 1e-6);
        assert_true(model_fingerprint(s.m) != base);
        optimizer_deinit(&o);
        case_close(&w, &c);
        close_subject(&s);
    }
}

/* ---- the chain rule over the merged model ---------------------------------------------------------------- */

/* An adapter of rank 3 beside `targets` whose B is not zero. */
static model_adapter *some_adapter(const model_config *config, const char *const *targets, size_t n)
{
    adapter_request r = {.rank = 3, .alpha = 2, .rslora = 1, .targets = targets, .n_targets = n, .seed = 5};
    model_adapter *a;
    assert_ok(adapter_create(&a, config, &r, &err), err);
    for (int i = 1; i < a->layout.count; i += 2) {
        const model_param *p = &a->layout.params[i];
        float *b = export(p, a->params);
        for (int k = 0; k < p->n * p->k; k++)
            b[k] = (float)cos(1.3 * k + i) / 4;
        model_param_import(p, a->params, b);
        mem_free(b);
    }
    return a;
}

static const model_param *weight_of(const model *m, const adapter_module *module)
{
    char name[MODEL_TENSOR_NAME + 8];
    snprintf(name, sizeof name, "%s.weight", module->name);
    int i = model_layout_find(&m->layout, name);
    assert_true(i >= 0);
    return &m->layout.params[i];
}

static void merge_into(model *m, const model_adapter *adapter)
{
    for (int i = 0; i < adapter->count; i++) {
        const adapter_module *module = &adapter->modules[i];
        const model_param *p = weight_of(m, module);
        float *w = export(p, m->params), *a = export(&adapter->layout.params[2 * i], adapter->params),
              *b = export(&adapter->layout.params[2 * i + 1], adapter->params);
        for (int o = 0; o < p->n; o++)
            for (int c = 0; c < p->k; c++) {
                double sum = 0;
                for (int r = 0; r < module->rank; r++)
                    sum += (double)b[o * module->rank + r] * (double)a[r * p->k + c];
                w[o * p->k + c] = (float)((double)w[o * p->k + c] + (double)module->scale * sum);
            }
        model_param_import(p, m->params, w);
        mem_free(w);
        mem_free(a);
        mem_free(b);
    }
}

/* dA and dB of one module from the gradient of its merged weight. */
static void chain_rule(const adapter_module *m, const float *dw, const float *a, const float *b, float *da, float *db)
{
    for (int r = 0; r < m->rank; r++) {
        for (int c = 0; c < m->in; c++) {
            double sum = 0;
            for (int o = 0; o < m->out; o++)
                sum += (double)b[o * m->rank + r] * (double)dw[o * m->in + c];
            da[r * m->in + c] = (float)((double)m->scale * sum);
        }
        for (int o = 0; o < m->out; o++) {
            double sum = 0;
            for (int c = 0; c < m->in; c++)
                sum += (double)dw[o * m->in + c] * (double)a[r * m->in + c];
            db[o * m->rank + r] = (float)((double)m->scale * sum);
        }
    }
}

static void check_chain_rule(const model *merged, const float *full, const model_adapter *adapter, const float *got)
{
    for (int i = 0; i < adapter->count; i++) {
        const adapter_module *m = &adapter->modules[i];
        const model_param *pa = &adapter->layout.params[2 * i], *pb = pa + 1;
        size_t na = (size_t)m->rank * (size_t)m->in, nb = (size_t)m->rank * (size_t)m->out;
        float *dw = export(weight_of(merged, m), full), *a = export(pa, adapter->params), *b = export(pb, adapter->params);
        float *da = mem_calloc(na, sizeof *da), *db = mem_calloc(nb, sizeof *db), *ga = export(pa, got), *gb = export(pb, got);
        chain_rule(m, dw, a, b, da, db);
        if (!(relative_error(ga, da, na) < 5e-5 && relative_error(gb, db, nb) < 5e-5))
            fail_msg("%s: dA is off by %g, dB by %g", m->name, relative_error(ga, da, na), relative_error(gb, db, nb));
        float *all[] = {dw, a, b, da, db, ga, gb};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            mem_free(all[k]);
    }
}

static void check_family(const char *name, const char *const *targets, size_t n)
{
    subject plain, adapted;
    gradient_case c, d;
    gradient_workspace v, w;
    gradient_result x = {0}, y = {0};
    open_base(&plain, name);
    open_base(&adapted, name);
    model_adapter *a = some_adapter(&adapted.m->config, targets, n);
    merge_into(plain.m, a);
    model_attach_adapter(adapted.m, a);
    case_open(&v, &c, &plain);
    case_open(&w, &d, &adapted);
    assert_ok(gradient_case_run(&v, plain.m, &c, "tok_seq_mean", &x, &err), err);
    assert_ok(gradient_case_run(&w, adapted.m, &d, "tok_seq_mean", &y, &err), err);
    assert_close(y.loss, x.loss, 1e-4);
    assert_true(ops_sum_squares(NULL, w.grad, a->layout.total) > 0);
    check_chain_rule(plain.m, v.grad, a, w.grad);
    case_close(&v, &c);
    case_close(&w, &d);
    close_subject(&plain);
    close_subject(&adapted);
}

static void gradients_follow_the_merged_models(void **state)
{
    static const char *const families[] = {"llama-tied", "llama3-rope", "qwen2", "qwen3", "gemma3"};
    static const char *const all[] = {"all-linear"}, *const few[] = {"v_proj", "layers.1.mlp.down_proj"},
                      *const upper[] = {"layers.1.self_attn.q_proj"};
    (void)state;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        check_family(families[i], all, 1);
        check_family(families[i], few, 2);
        check_family(families[i], upper, 1); /* the backward pass ends above layer 0 */
    }
    static const char *const attention[] = {"q_proj", "k_proj", "v_proj", "o_proj"};
    check_family("qwen3-moe", attention, 4);
}

/* ---- fresh adapters --------------------------------------------------------------------------------------- */

static model_adapter *fresh(const model_config *config, uint64_t seed)
{
    static const char *const targets[] = {"all-linear"};
    adapter_request r = {.rank = 6, .alpha = 12, .targets = targets, .n_targets = 1, .seed = seed};
    model_adapter *a;
    assert_ok(adapter_create(&a, config, &r, &err), err);
    return a;
}

static void a_fresh_adapter_changes_nothing(void **state)
{
    (void)state;
    static const int32_t token[] = {3, 1, 4, 1, 5, 9, 2, 6};
    subject s;
    open_base(&s, "gemma3");
    float *before = logits(&s, token, 8);
    model_attach_adapter(s.m, fresh(&s.m->config, 1));
    float *after = logits(&s, token, 8);
    size_t n = 8 * (size_t)s.m->config.vocab;
    for (size_t i = 0; i < n; i++)
        assert_true(before[i] == after[i]);
    mem_free(before);
    mem_free(after);
    close_subject(&s);
}

/* Uniform in +-1/sqrt(in): every value inside, the spread that of the distribution; B zero. */
static void fresh_matrices_are_pefts(void **state)
{
    (void)state;
    subject s;
    open_base(&s, "llama-tied");
    model_adapter *a = fresh(&s.m->config, 1), *same = fresh(&s.m->config, 1), *other = fresh(&s.m->config, 2);
    assert_memory_equal(a->params, same->params, a->layout.total * sizeof(float));
    assert_memory_not_equal(a->params, other->params, a->layout.total * sizeof(float));
    double sum = 0, squares = 0;
    size_t count = 0;
    for (int i = 0; i < a->layout.count; i++) {
        const model_param *p = &a->layout.params[i];
        size_t n = (size_t)p->n * (size_t)p->k;
        float *x = export(p, a->params);
        for (size_t k = 0; k < n; k++) {
            double unit = (double)x[k] * sqrt((double)p->k);
            if (i % 2) {
                assert_true(x[k] == 0);
                continue;
            }
            assert_true(fabs(unit) <= 1);
            sum += unit;
            squares += unit * unit;
            count++;
        }
        mem_free(x);
    }
    double spread = 1 / sqrt(3.0 * (double)count); /* standard deviation of the mean */
    assert_true(fabs(sum / (double)count) < 4 * spread);
    assert_true(fabs(squares / (double)count - 1.0 / 3) < 4 * spread);
    adapter_destroy(a);
    adapter_destroy(same);
    adapter_destroy(other);
    close_subject(&s);
}

static void refuses(const model_config *config, const char *target, const char *words)
{
    adapter_request r = {.rank = 4, .alpha = 8, .targets = &target, .n_targets = 1};
    model_adapter *a;
    assert_true(adapter_create(&a, config, &r, &err) != GRPO_OK);
    assert_null(a);
    if (!strstr(err.message, words))
        fail_msg("'%s' does not say '%s'", err.message, words);
}

static void what_cannot_be_adapted_is_refused(void **state)
{
    (void)state;
    model_files *f;
    assert_ok(model_files_open(&f, test_shared_path("models/qwen2"), &err), err);
    refuses(model_files_config(f), "lm_head", "no linear layer of the model's blocks is called 'lm_head'");
    refuses(model_files_config(f), "embed_tokens", "'embed_tokens'");
    refuses(model_files_config(f), "proj", "all-linear");
    refuses(model_files_config(f), "", "''");
    model_files_close(f);
    assert_ok(model_files_open(&f, test_shared_path("models/qwen3-moe"), &err), err);
    refuses(model_files_config(f), "all-linear", "experts");
    refuses(model_files_config(f), "up_proj", "experts");
    model_adapter *a = NULL;
    const char *query = "q_proj";
    adapter_request r = {.rank = 4, .alpha = 8, .targets = &query, .n_targets = 1};
    assert_ok(adapter_create(&a, model_files_config(f), &r, &err), err);
    assert_int_equal(a->count, model_files_config(f)->layers);
    adapter_destroy(a);
    model_files_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_pefts),
        cmocka_unit_test(gradients_and_step_are_pefts),
        cmocka_unit_test(gradients_follow_the_merged_models),
        cmocka_unit_test(a_fresh_adapter_changes_nothing),
        cmocka_unit_test(fresh_matrices_are_pefts),
        cmocka_unit_test(what_cannot_be_adapted_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
