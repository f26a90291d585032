/* Forward and backward pass against ../shared/models: values computed in float64 by transformers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "model/safetensors.h"
#include "support.h"
#include "train/gradient_case.h"

static const char *const MODELS[] = {"llama-tied", "llama3-rope", "qwen2", "qwen3", "gemma3", "qwen3-moe"};
static const char *const FORWARD_ONLY[] = {"llama-bf16", "qwen2-sharded"};
enum { N_MODELS = sizeof MODELS / sizeof *MODELS, N_FORWARD_ONLY = sizeof FORWARD_ONLY / sizeof *FORWARD_ONLY };

typedef struct subject {
    model_files *files;
    model *m;
    pool *threads;
    json_t *golden;
    char folder[4096];
} subject;

static void open_subject(subject *s, const char *name)
{
    grpo_error err;
    char relative[256];
    snprintf(relative, sizeof relative, "models/%s", name);
    snprintf(s->folder, sizeof s->folder, "%s", test_shared_path(relative));
    assert_ok(pool_create(&s->threads, 2, &err), err);
    assert_ok(model_files_open(&s->files, s->folder, &err), err);
    assert_ok(model_load(&s->m, s->files, 0, s->threads, &err), err);
    char path[5000];
    snprintf(path, sizeof path, "%s/golden/golden.json", s->folder);
    assert_ok(json_parse_file(&s->golden, path, 1 << 26, &err), err);
}

static void close_subject(subject *s)
{
    json_decref(s->golden);
    model_destroy(s->m);
    model_files_close(s->files);
    pool_destroy(s->threads);
}

static void open_expected(safetensors_file *f, const subject *s, const char *name)
{
    grpo_error err;
    char path[5000];
    snprintf(path, sizeof path, "%s/golden/%s", s->folder, name);
    assert_ok(safetensors_open(f, path, &err), err);
}

static float *decode_expected(const safetensors_file *f, const char *name, size_t *count)
{
    const safetensors_tensor *t = safetensors_find(f, name);
    assert_non_null(t);
    *count = 1;
    for (int i = 0; i < t->rank; i++)
        *count *= (size_t)t->shape[i];
    float *x = mem_calloc(*count, sizeof *x);
    safetensors_decode(t, 0, *count, x);
    return x;
}

/* Norm of the difference over the norm of what is expected. */
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

/* ---- forward ------------------------------------------------------------------------------------------------ */

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

static void check_logits(const char *name)
{
    subject s;
    safetensors_file expected;
    grpo_error err;
    open_subject(&s, name);
    open_expected(&expected, &s, "forward.safetensors");
    const model_config *c = &s.m->config;
    const json_t *sequences = json_object_get(s.golden, "sequences");
    for (size_t i = 0; i < json_array_size(sequences); i++) {
        int32_t token[256], pos[256];
        int n = read_tokens(token, json_array_get(sequences, i));
        for (int t = 0; t < n; t++)
            pos[t] = t;
        engine e;
        assert_ok(engine_init(&e, s.m, s.threads, (engine_plan){n, n, 64}, &err), err);
        kv_sequence kv;
        assert_ok(kv_sequence_init(&kv, n, &err), err);
        assert_ok(kv_sequence_extend(&e.kv, &kv, n, &err), err);
        ops_span span = {kv.blocks, 0, n, 0};
        model_rows rows = {n, token, pos, &span, 1};
        float *x;
        ops_softmax_row *stats = mem_calloc((size_t)n, sizeof *stats);
        model_forward(s.m, &s.m->weights, s.threads, &e.ws, &e.kv, &rows, NULL, &x);
        model_final_norm(s.m, &s.m->weights, s.threads, e.h, x, n);
        ops_head_logits(s.threads, s.m->weights.head, e.h, c->hidden, 1, e.z, e.ldz, stats, 0, n, e.head_scratch);
        char tensor[32];
        snprintf(tensor, sizeof tensor, "logits.%zu", i);
        size_t count;
        float *want = decode_expected(&expected, tensor, &count);
        assert_int_equal(count, (size_t)n * (size_t)c->vocab);
        double worst = 0;
        for (int t = 0; t < n; t++) {
            const float *row = e.z + (size_t)t * (size_t)e.ldz, *right = want + (size_t)t * (size_t)c->vocab;
            double error = relative_error(row, right, (size_t)c->vocab);
            worst = error > worst ? error : worst;
        }
        if (!(worst < 2e-5))
            fail_msg("%s sequence %zu: relative error of logits %g", name, i, worst);
        mem_free(want);
        mem_free(stats);
        kv_sequence_deinit(&e.kv, &kv);
        engine_deinit(&e);
    }
    safetensors_close(&expected);
    close_subject(&s);
}

static void logits_agree(void **state)
{
    (void)state;
    for (int i = 0; i < N_MODELS; i++)
        check_logits(MODELS[i]);
    for (int i = 0; i < N_FORWARD_ONLY; i++)
        check_logits(FORWARD_ONLY[i]);
}

/* Log-probs of completions at two temperatures, and the entropy, through the training path. */
static void check_logprobs(const char *name)
{
    subject s;
    grpo_error err;
    open_subject(&s, name);
    static const struct {
        const char *key;
        float inv_temperature;
    } cases[] = {{"logprobs_t1.0", 1.0f}, {"logprobs_t0.7", 1 / 0.7f}};
    const json_t *sequences = json_object_get(s.golden, "sequences");
    for (size_t i = 0; i < json_array_size(sequences); i++) {
        const json_t *sequence = json_array_get(sequences, i);
        int32_t token[256];
        int n = read_tokens(token, sequence), prompt = (int)json_array_size(json_object_get(sequence, "prompt"));
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
    close_subject(&s);
}

static void logprobs_agree(void **state)
{
    (void)state;
    for (int i = 0; i < N_MODELS; i++)
        check_logprobs(MODELS[i]);
}

/* ---- backward ------------------------------------------------------------------------------------------------- */

static void check_gradient(const subject *s, gradient_workspace *w, gradient_case *c, const char *loss,
                           const char *file)
{
    grpo_error err;
    gradient_result result = {.ratio = mem_calloc(c->tokens, sizeof(double))};
    memset(w->grad, 0, s->m->layout.total * sizeof *w->grad);
    assert_ok(gradient_case_run(w, s->m, c, loss, &result, &err), err);
    const json_t *expected = json_object_get(json_object_get(json_object_get(s->golden, "grpo"), "losses"), loss);
    double want = json_number_value(json_object_get(expected, "loss"));
    double norm = sqrt(ops_sum_squares(s->threads, w->grad, s->m->layout.total));
    double want_norm = json_number_value(json_object_get(expected, "grad_norm"));
    if (fabs(result.loss - want) > 1e-5 * fmax(fabs(want), 1) || fabs(norm - want_norm) > 2e-5 * want_norm)
        fail_msg("%s %s: loss %.9g, expected %.9g; gradient norm %.9g, expected %.9g", s->folder, loss, result.loss,
                 want, norm, want_norm);
    mem_free(result.ratio);
    if (!file)
        return;
    safetensors_file f;
    open_expected(&f, s, file);
    for (int i = 0; i < s->m->layout.count; i++) {
        const model_param *p = &s->m->layout.params[i];
        size_t count;
        float *right = decode_expected(&f, p->name, &count), *got = mem_calloc(count, sizeof *got);
        assert_int_equal(count, (size_t)p->n * (size_t)p->k);
        model_param_export(p, w->grad, got);
        double error = relative_error(got, right, count);
        if (!(error < 1e-4))
            fail_msg("%s %s: gradient of %s is off by %g", s->folder, loss, p->name, error);
        mem_free(right);
        mem_free(got);
    }
    safetensors_close(&f);
}

static void gradients_agree(void **state)
{
    (void)state;
    grpo_error err;
    for (int i = 0; i < N_MODELS; i++) {
        subject s;
        gradient_case c;
        gradient_workspace w;
        open_subject(&s, MODELS[i]);
        assert_ok(gradient_case_init(&c, s.golden, MODELS[i], s.m->config.vocab, &err), err);
        assert_ok(gradient_workspace_init(&w, s.m, s.threads, &c, &err), err);
        check_gradient(&s, &w, &c, "seq", "grad_seq.safetensors");
        check_gradient(&s, &w, &c, "tok_seq_mean", "grad_tok_seq_mean.safetensors");
        for (int l = 0; gradient_case_losses[l]; l++)
            check_gradient(&s, &w, &c, gradient_case_losses[l], NULL);
        gradient_case_deinit(&c, &w.e);
        gradient_workspace_deinit(&w);
        close_subject(&s);
    }
}

/* One step of AdamW from the model's own gradients; parameters with a tiny gradient are left out, because the
 * first step divides a gradient by its own size. */
static void adamw_step_agrees(void **state)
{
    (void)state;
    grpo_error err;
    for (int i = 0; i < N_MODELS; i++) {
        subject s;
        gradient_case c;
        gradient_workspace w;
        optimizer o;
        double norm;
        open_subject(&s, MODELS[i]);
        assert_ok(gradient_case_init(&c, s.golden, MODELS[i], s.m->config.vocab, &err), err);
        assert_ok(gradient_workspace_init(&w, s.m, s.threads, &c, &err), err);
        gradient_result result = {0};
        assert_ok(gradient_case_run(&w, s.m, &c, "seq", &result, &err), err);
        optimizer_options options = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01};
        assert_ok(optimizer_init(&o, s.m->layout.total, options, &err), err);
        assert_ok(optimizer_step(&o, s.threads, s.m->params, w.grad, 1e-3, &norm, &err), err);
        safetensors_file f, g;
        open_expected(&f, &s, "adamw_step1.safetensors");
        open_expected(&g, &s, "grad_seq.safetensors");
        for (int k = 0; k < s.m->layout.count; k++) {
            const model_param *p = &s.m->layout.params[k];
            size_t count;
            float *right = decode_expected(&f, p->name, &count), *grad = decode_expected(&g, p->name, &count),
                  *got = mem_calloc(count, sizeof *got);
            model_param_export(p, s.m->params, got);
            for (size_t j = 0; j < count; j++)
                if (fabs(grad[j]) > 1e-6 && fabs(got[j] - right[j]) > 1e-5 + 1e-6 * fabs(right[j]))
                    fail_msg("%s: %s[%zu] is %.9g after the step, expected %.9g (gradient %g)", MODELS[i], p->name, j,
                             got[j], right[j], grad[j]);
            mem_free(right);
            mem_free(grad);
            mem_free(got);
        }
        safetensors_close(&f);
        safetensors_close(&g);
        optimizer_deinit(&o);
        gradient_case_deinit(&c, &w.e);
        gradient_workspace_deinit(&w);
        close_subject(&s);
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
