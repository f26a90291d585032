/* LoRA adapters in the transformer.
 *   - logits, gradients and an AdamW step against ../shared/models/lora, which PEFT computed in float64
 *   - on every family, the adapter's gradient against that of the merged model by the chain rule:
 *     W' = W + s B A, so dB = s dW' A^T and dA = s B^T dW'
 *   - a fresh adapter changes no logit, and is a function of its seed
 *   - what cannot be adapted is refused by name */
#include "golden.h"

static grpo_error err;

static const char *const ADAPTERS[] = {"lora/llama-tied-r4", "lora/qwen2-rslora-r4"};

static void logits_are_pefts(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++)
        golden_check_logits(ADAPTERS[k], 5e-6);
}

static void gradients_and_step_are_pefts(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        golden_model s;
        golden_case g;
        gradient_result result = {0};
        optimizer o;
        double norm;
        golden_open(&s, ADAPTERS[k], 2);
        golden_case_open(&g, &s);
        model_trainable trained = model_trained(s.m);
        assert_int_equal(trained.layout->count, 28); /* 2 layers x 7 modules x (A, B) */
        uint64_t base = model_fingerprint(s.m);
        assert_ok(gradient_case_run(&g.w, s.m, &g.c, "tok_seq_mean", &result, &err), err);
        golden_check_params(&s, g.w.grad, "grad_tok_seq_mean.safetensors", 1e-5);
        memset(g.w.grad, 0, trained.layout->total * sizeof *g.w.grad);
        assert_ok(gradient_case_run(&g.w, s.m, &g.c, "seq", &result, &err), err);
        golden_check_params(&s, g.w.grad, "grad_seq.safetensors", 1e-5);
        assert_true(model_fingerprint(s.m) == base);
        optimizer_options options = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01};
        assert_ok(optimizer_init(&o, trained.layout->total, options, &err), err);
        assert_ok(optimizer_step(&o, s.threads, trained.params, g.w.grad, 1e-3, &norm, &err), err);
        golden_check_params(&s, trained.params, "adamw_step1.safetensors", 1e-6);
        assert_true(model_fingerprint(s.m) != base);
        optimizer_deinit(&o);
        golden_case_close(&g);
        golden_close(&s);
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
        float *b = golden_param(p, a->params);
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
        float *w = golden_param(p, m->params), *a = golden_param(&adapter->layout.params[2 * i], adapter->params),
              *b = golden_param(&adapter->layout.params[2 * i + 1], adapter->params);
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
        float *dw = golden_param(weight_of(merged, m), full), *a = golden_param(pa, adapter->params), *b = golden_param(pb, adapter->params);
        float *da = mem_calloc(na, sizeof *da), *db = mem_calloc(nb, sizeof *db), *ga = golden_param(pa, got), *gb = golden_param(pb, got);
        chain_rule(m, dw, a, b, da, db);
        if (!(golden_error(ga, da, na) < 5e-5 && golden_error(gb, db, nb) < 5e-5))
            fail_msg("%s: dA is off by %g, dB by %g", m->name, golden_error(ga, da, na), golden_error(gb, db, nb));
        float *all[] = {dw, a, b, da, db, ga, gb};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            mem_free(all[k]);
    }
}

static void check_family(const char *name, const char *const *targets, size_t n)
{
    golden_model plain, adapted;
    golden_case p, q;
    gradient_result x = {0}, y = {0};
    golden_open(&plain, name, 2);
    golden_open(&adapted, name, 2);
    model_adapter *a = some_adapter(&adapted.m->config, targets, n);
    merge_into(plain.m, a);
    model_attach_adapter(adapted.m, a);
    golden_case_open(&p, &plain);
    golden_case_open(&q, &adapted);
    assert_ok(gradient_case_run(&p.w, plain.m, &p.c, "tok_seq_mean", &x, &err), err);
    assert_ok(gradient_case_run(&q.w, adapted.m, &q.c, "tok_seq_mean", &y, &err), err);
    assert_close(y.loss, x.loss, 1e-4);
    assert_true(ops_sum_squares(NULL, q.w.grad, a->layout.total) > 0);
    check_chain_rule(plain.m, p.w.grad, a, q.w.grad);
    golden_case_close(&p);
    golden_case_close(&q);
    golden_close(&plain);
    golden_close(&adapted);
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
    golden_model s;
    golden_open(&s, "gemma3", 2);
    float *before = golden_logits(&s, token, 8);
    model_attach_adapter(s.m, fresh(&s.m->config, 1));
    float *after = golden_logits(&s, token, 8);
    size_t n = 8 * (size_t)s.m->config.vocab;
    for (size_t i = 0; i < n; i++)
        assert_true(before[i] == after[i]);
    mem_free(before);
    mem_free(after);
    golden_close(&s);
}

/* Uniform in +-1/sqrt(in): every value inside, the spread that of the distribution; B zero. */
static void fresh_matrices_are_pefts(void **state)
{
    (void)state;
    golden_model s;
    golden_open(&s, "llama-tied", 2);
    model_adapter *a = fresh(&s.m->config, 1), *same = fresh(&s.m->config, 1), *other = fresh(&s.m->config, 2);
    assert_memory_equal(a->params, same->params, a->layout.total * sizeof(float));
    assert_memory_not_equal(a->params, other->params, a->layout.total * sizeof(float));
    double sum = 0, squares = 0;
    size_t count = 0;
    for (int i = 0; i < a->layout.count; i++) {
        const model_param *p = &a->layout.params[i];
        size_t n = (size_t)p->n * (size_t)p->k;
        float *x = golden_param(p, a->params);
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
    golden_close(&s);
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
