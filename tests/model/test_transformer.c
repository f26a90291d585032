/* Forward and backward pass against ../shared/models: values computed in float64 by transformers. */
#include "golden.h"

static const char *const MODELS[] = {"llama-tied", "llama3-rope", "qwen2", "qwen3", "gemma3", "qwen3-moe"};
static const char *const FORWARD_ONLY[] = {"llama-bf16", "qwen2-sharded"};
enum { N_MODELS = sizeof MODELS / sizeof *MODELS, N_FORWARD_ONLY = sizeof FORWARD_ONLY / sizeof *FORWARD_ONLY };

/* ---- forward ------------------------------------------------------------------------------------------------ */

static void logits_agree(void **state)
{
    (void)state;
    for (int i = 0; i < N_MODELS; i++)
        golden_check_logits(MODELS[i], 2e-5);
    for (int i = 0; i < N_FORWARD_ONLY; i++)
        golden_check_logits(FORWARD_ONLY[i], 2e-5);
}

/* Log-probs of completions at two temperatures, and the entropy, through the training path. */
static void check_logprobs(const char *name)
{
    golden_model s;
    grpo_error err;
    golden_open(&s, name, 2);
    static const struct {
        const char *key;
        float inv_temperature;
    } cases[] = {{"logprobs_t1.0", 1.0f}, {"logprobs_t0.7", 1 / 0.7f}};
    const json_t *sequences = json_object_get(s.golden, "sequences");
    for (size_t i = 0; i < json_array_size(sequences); i++) {
        const json_t *sequence = json_array_get(sequences, i);
        int32_t token[256];
        int n = golden_tokens(token, sequence), prompt = (int)json_array_size(json_object_get(sequence, "prompt"));
        for (size_t k = 0; k < 2; k++) {
            engine e;
            kv_sequence kv;
            float logprob[256];
            ops_softmax_row stats[256];
            assert_ok(engine_init(&e, s.m, s.threads, (engine_plan){5, 1, 64}, &err), err); /* pieces of 5 rows */
            assert_ok(kv_sequence_init(&kv, n, &err), err);
            known_sequence known = {
                .token = token, .n = n, .run = n - 1, .kv = &kv, .score_from = prompt, .logprob = logprob, .stats = stats};
            assert_ok(engine_run(&e, &s.m->weights, &known, 1, cases[k].inv_temperature, 1, NULL, &err), err);
            const json_t *want = json_object_get(sequence, cases[k].key);
            const json_t *entropy = json_object_get(sequence, "entropy_t1.0");
            assert_int_equal(json_array_size(want), n - prompt);
            for (int t = 0; t < n - prompt; t++) {
                assert_true(fabs(logprob[t] - json_number_value(json_array_get(want, (size_t)t))) < 2e-5);
                if (k == 0)
                    assert_true(fabs(stats[t].entropy - json_number_value(json_array_get(entropy, (size_t)t))) < 2e-5);
            }
            kv_sequence_deinit(&e.kv, &kv);
            engine_deinit(&e);
        }
    }
    golden_close(&s);
}

static void logprobs_agree(void **state)
{
    (void)state;
    for (int i = 0; i < N_MODELS; i++)
        check_logprobs(MODELS[i]);
}

/* ---- backward ------------------------------------------------------------------------------------------------- */

static void check_gradient(const golden_model *s, golden_case *k, const char *loss, const char *file)
{
    grpo_error err;
    gradient_workspace *w = &k->w;
    gradient_result result = {.ratio = mem_calloc(k->c.tokens, sizeof(double))};
    memset(w->grad, 0, s->m->layout.total * sizeof *w->grad);
    assert_ok(gradient_case_run(w, s->m, &k->c, loss, &result, &err), err);
    const json_t *expected = json_object_get(json_object_get(json_object_get(s->golden, "grpo"), "losses"), loss);
    double want = json_number_value(json_object_get(expected, "loss"));
    double norm = sqrt(ops_sum_squares(s->threads, w->grad, s->m->layout.total));
    double want_norm = json_number_value(json_object_get(expected, "grad_norm"));
    if (fabs(result.loss - want) > 1e-5 * fmax(fabs(want), 1) || fabs(norm - want_norm) > 2e-5 * want_norm)
        fail_msg("%s %s: loss %.9g, expected %.9g; gradient norm %.9g, expected %.9g", s->folder, loss, result.loss,
                 want, norm, want_norm);
    mem_free(result.ratio);
    if (file)
        golden_check_params(s, w->grad, file, 1e-4);
}

static void gradients_agree(void **state)
{
    (void)state;
    for (int i = 0; i < N_MODELS; i++) {
        golden_model s;
        golden_case k;
        golden_open(&s, MODELS[i], 2);
        golden_case_open(&k, &s);
        check_gradient(&s, &k, "seq", "grad_seq.safetensors");
        check_gradient(&s, &k, "tok_seq_mean", "grad_tok_seq_mean.safetensors");
        for (int l = 0; gradient_case_losses[l]; l++)
            check_gradient(&s, &k, gradient_case_losses[l], NULL);
        golden_case_close(&k);
        golden_close(&s);
    }
}

/* One step of AdamW from the model's own gradients; parameters with a tiny gradient are left out, because the
 * first step divides a gradient by its own size. */
static void check_step(const golden_model *s)
{
    for (int k = 0; k < s->m->layout.count; k++) {
        const model_param *p = &s->m->layout.params[k];
        size_t n = (size_t)p->n * (size_t)p->k;
        float *right = golden_tensor(s, "adamw_step1.safetensors", p->name, n),
              *grad = golden_tensor(s, "grad_seq.safetensors", p->name, n), *got = golden_param(p, s->m->params);
        for (size_t j = 0; j < n; j++)
            if (fabs(grad[j]) > 1e-6 && fabs(got[j] - right[j]) > 1e-5 + 1e-6 * fabs(right[j]))
                fail_msg("%s: %s[%zu] is %.9g after the step, expected %.9g (gradient %g)", s->folder, p->name, j, got[j],
                         right[j], grad[j]);
        mem_free(right);
        mem_free(grad);
        mem_free(got);
    }
}

static void adamw_step_agrees(void **state)
{
    (void)state;
    grpo_error err;
    for (int i = 0; i < N_MODELS; i++) {
        golden_model s;
        golden_case k;
        optimizer o;
        double norm;
        golden_open(&s, MODELS[i], 2);
        golden_case_open(&k, &s);
        gradient_result result = {0};
        assert_ok(gradient_case_run(&k.w, s.m, &k.c, "seq", &result, &err), err);
        optimizer_options options = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01};
        assert_ok(optimizer_init(&o, s.m->layout.total, options, &err), err);
        assert_ok(optimizer_step(&o, s.threads, s.m->params, k.w.grad, 1e-3, &norm, &err), err);
        check_step(&s);
        optimizer_deinit(&o);
        golden_case_close(&k);
        golden_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_agree),
        cmocka_unit_test(logprobs_agree),
        cmocka_unit_test(gradients_agree),
        cmocka_unit_test(adamw_step_agrees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
