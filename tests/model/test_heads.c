/* Score and value heads against ../shared/models/llama-reward and llama-value: numbers and gradients computed in float64
 * by transformers. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "model/safetensors.h"
#include "model/scalar_head.h"
#include "support.h"
#include "train/head_case.h"

typedef struct subject {
    model_files *files;
    model *m;
    pool *threads;
    json_t *golden;
    head_case c;
    gradient_workspace w;
} subject;

static void open_subject(subject *s, const char *name, int threads)
{
    grpo_error err;
    char relative[256];
    memset(s, 0, sizeof *s);
    assert_ok(pool_create(&s->threads, threads, &err), err);
    snprintf(relative, sizeof relative, "models/%s", name);
    assert_ok(model_files_open(&s->files, test_shared_path(relative), &err), err);
    assert_ok(model_load(&s->m, s->files, 0, s->threads, &err), err);
    snprintf(relative, sizeof relative, "models/%s/golden/golden.json", name);
    assert_ok(json_parse_file(&s->golden, test_shared_path(relative), 1 << 26, &err), err);
    assert_ok(head_case_init(&s->c, s->golden, name, &s->m->config, &err), err);
    assert_ok(gradient_workspace_sized(&s->w, s->m, s->threads, s->c.tokens, s->c.longest,
                                       s->c.sequences * kv_blocks_for(s->c.longest), &err), err);
}

static void close_subject(subject *s)
{
    gradient_workspace_deinit(&s->w);
    head_case_deinit(&s->c);
    json_decref(s->golden);
    model_destroy(s->m);
    model_files_close(s->files);
    pool_destroy(s->threads);
}

/* What the head says of sequence i, in value[256]. */
static int run_head(subject *s, int i, float *value)
{
    grpo_error err;
    kv_sequence kv;
    int32_t row[256];
    int first = s->c.offset[i], n = s->c.offset[i + 1] - first;
    assert_ok(kv_sequence_init(&kv, n, &err), err);
    known_sequence known = {.token = s->c.token + first, .n = n, .run = n, .kv = &kv, .tape_row = row, .score_from = n};
    tape_reset(&s->w.t);
    assert_ok(scalar_head_run(&s->w.e, &s->m->weights, &known, &value, 1, &s->w.t, &err), err);
    kv_sequence_deinit(&s->w.e.kv, &kv);
    return n;
}

static void scores_agree(void **state)
{
    (void)state;
    subject s;
    open_subject(&s, "llama-reward", 2);
    for (int i = 0; i < s.c.sequences; i++) {
        const json_t *want = json_array_get(json_object_get(s.golden, "sequences"), (size_t)i),
                     *each = json_object_get(want, "score_at_every_position");
        float value[256];
        int n = run_head(&s, i, value), at = scalar_head_position(&s.m->config, s.c.token + s.c.offset[i], n);
        assert_int_equal(at, json_integer_value(json_object_get(want, "scored_position")));
        assert_close((double)value[at], json_number_value(json_object_get(want, "score")), 2e-5);
        for (int t = 0; t < n; t++)
            assert_close((double)value[t], json_number_value(json_array_get(each, (size_t)t)), 2e-5);
    }
    close_subject(&s);
}

static void values_agree(void **state)
{
    (void)state;
    subject s;
    open_subject(&s, "llama-value", 2);
    for (int i = 0; i < s.c.sequences; i++) {
        const json_t *want = json_object_get(json_array_get(json_object_get(s.golden, "sequences"), (size_t)i), "values");
        float value[256];
        int n = run_head(&s, i, value);
        for (int t = 0; t < n; t++)
            assert_close((double)value[t], json_number_value(json_array_get(want, (size_t)t)), 2e-5);
    }
    close_subject(&s);
}

static void check_gradient(const subject *s, const char *name, const char *file)
{
    safetensors_file f;
    grpo_error err;
    char relative[256];
    snprintf(relative, sizeof relative, "models/%s/golden/%s", name, file);
    assert_ok(safetensors_open(&f, test_shared_path(relative), &err), err);
    for (int i = 0; i < s->m->layout.count; i++) {
        const model_param *p = &s->m->layout.params[i];
        const safetensors_tensor *t = safetensors_find(&f, p->name);
        size_t n = (size_t)p->n * (size_t)p->k;
        float *want = mem_calloc(n, sizeof *want), *got = mem_calloc(n, sizeof *got);
        assert_non_null(t);
        safetensors_decode(t, 0, n, want);
        model_param_export(p, s->w.grad, got);
        double difference = 0, norm = 0;
        for (size_t k = 0; k < n; k++) {
            difference += ((double)got[k] - want[k]) * ((double)got[k] - want[k]);
            norm += (double)want[k] * want[k];
        }
        if (!(sqrt(difference) < 1e-4 * sqrt(norm)))
            fail_msg("%s: gradient of %s is off by %g of %g", name, p->name, sqrt(difference), sqrt(norm));
        mem_free(want);
        mem_free(got);
    }
    safetensors_close(&f);
}

/* Token 0 is the value model's padding token and stands in a prompt: its embedding gets no gradient. */
static void gradients_agree(void **state)
{
    static const char *const cases[][2] = {{"llama-reward", "grad_pairwise.safetensors"}, {"llama-value", "grad_value_clipped.safetensors"}};
    (void)state;
    for (int i = 0; i < 2; i++)
        for (int threads = 1; threads <= 3; threads += 2) {
            subject s;
            grpo_error err;
            double loss = 0;
            open_subject(&s, cases[i][0], threads);
            assert_ok(head_case_run(&s.w, s.m, &s.c, &loss, &err), err);
            const json_t *want = json_object_get(s.golden, head_case_loss(&s.m->config));
            assert_close(loss, json_number_value(json_object_get(want, "loss")), 1e-5);
            check_gradient(&s, cases[i][0], cases[i][1]);
            close_subject(&s);
        }
}

static void cases_that_make_no_sense_are_refused(void **state)
{
    static const char *const cases[][2] = {
        {"{}", "value_clipped"},
        {"{\"value_clipped\":{\"clip\":1},\"sequences\":[]}", "sequences"},
        {"{\"value_clipped\":{},\"sequences\":[{\"prompt\":[],\"completion\":[1],\"returns\":[1],\"old_values\":[1]}]}", "empty"},
        {"{\"value_clipped\":{},\"sequences\":[{\"prompt\":[1],\"completion\":[1,2],\"returns\":[1],\"old_values\":[1,1]}]}", "returns"},
        {"{\"value_clipped\":{},\"sequences\":[{\"prompt\":[1],\"completion\":[1000],\"returns\":[1],\"old_values\":[1]}]}", "vocabulary"},
    };
    (void)state;
    subject s;
    open_subject(&s, "llama-value", 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        head_case c;
        grpo_error err;
        json_t *root;
        assert_ok(json_parse(&root, cases[i][0], strlen(cases[i][0]), "case", &err), err);
        assert_int_equal(head_case_init(&c, root, "case", &s.m->config, &err), GRPO_ERR_FORMAT);
        if (!strstr(err.message, cases[i][1]))
            fail_msg("\"%s\" does not mention %s", err.message, cases[i][1]);
        head_case_deinit(&c);
        json_decref(root);
    }
    close_subject(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_agree),
        cmocka_unit_test(values_agree),
        cmocka_unit_test(gradients_agree),
        cmocka_unit_test(cases_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
