/* Score and value heads against ../shared/models/llama-reward and llama-value: numbers and gradients computed in float64
 * by transformers. */
#include "golden.h"
#include "model/scalar_head.h"
#include "train/head_case.h"

typedef struct subject {
    golden_model g;
    head_case c;
    gradient_workspace w;
} subject;

static void open_subject(subject *s, const char *name, int threads)
{
    grpo_error err;
    memset(s, 0, sizeof *s);
    golden_open(&s->g, name, threads);
    assert_ok(head_case_init(&s->c, s->g.golden, name, &s->g.m->config, &err), err);
    assert_ok(gradient_workspace_sized(&s->w, s->g.m, s->g.threads, s->c.tokens, s->c.longest,
                                       s->c.sequences * kv_blocks_for(s->c.longest), &err), err);
}

static void close_subject(subject *s)
{
    gradient_workspace_deinit(&s->w);
    head_case_deinit(&s->c);
    golden_close(&s->g);
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
    assert_ok(scalar_head_run(&s->w.e, &s->g.m->weights, &known, &value, 1, &s->w.t, &err), err);
    kv_sequence_deinit(&s->w.e.kv, &kv);
    return n;
}

static void scores_agree(void **state)
{
    (void)state;
    subject s;
    open_subject(&s, "llama-reward", 2);
    for (int i = 0; i < s.c.sequences; i++) {
        const json_t *want = json_array_get(json_object_get(s.g.golden, "sequences"), (size_t)i),
                     *each = json_object_get(want, "score_at_every_position");
        float value[256];
        int n = run_head(&s, i, value), at = scalar_head_position(&s.g.m->config, s.c.token + s.c.offset[i], n);
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
        const json_t *want = json_object_get(json_array_get(json_object_get(s.g.golden, "sequences"), (size_t)i), "values");
        float value[256];
        int n = run_head(&s, i, value);
        for (int t = 0; t < n; t++)
            assert_close((double)value[t], json_number_value(json_array_get(want, (size_t)t)), 2e-5);
    }
    close_subject(&s);
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
            assert_ok(head_case_run(&s.w, s.g.m, &s.c, &loss, &err), err);
            const json_t *want = json_object_get(s.g.golden, head_case_loss(&s.g.m->config));
            assert_close(loss, json_number_value(json_object_get(want, "loss")), 1e-5);
            golden_check_params(&s.g, s.w.grad, cases[i][1], 1e-4);
            close_subject(&s);
        }
}

/* ---- a value head beside the logits --------------------------------------------------------------------------------- */

/* A language model with the value model's trunk, whose value head stands beside its logits. */
typedef struct twin {
    model *m;
    gradient_workspace w;
    model_layout layout; /* of the head */
    float *params, *grad;
} twin;

static void open_twin(twin *t, subject *s)
{
    grpo_error err;
    memset(t, 0, sizeof *t);
    assert_ok(model_with_head(&t->m, s->g.m, MODEL_HEAD_LM, &err), err);
    assert_ok(gradient_workspace_sized(&t->w, t->m, s->g.threads, s->c.tokens, s->c.longest,
                                       s->c.sequences * kv_blocks_for(s->c.longest), &err), err);
    assert_ok(value_head_layout_init(&t->layout, &t->m->config, &err), err);
    t->params = mem_calloc(t->layout.total, sizeof *t->params);
    t->grad = mem_calloc(t->layout.total, sizeof *t->grad);
    for (int i = 0; i < t->layout.count; i++) {
        const model_param *p = &t->layout.params[i],
                          *of = &s->g.m->layout.params[model_layout_find(&s->g.m->layout, p->name)];
        float plain[1024];
        assert_true(p->n * p->k <= 1024);
        model_param_export(of, s->g.m->params, plain);
        model_param_import(p, t->params, plain);
    }
    value_head_view(&t->m->weights, &t->m->config, t->params);
    value_head_view(&t->w.grad_view, &t->m->config, t->grad);
}

static void close_twin(twin *t)
{
    gradient_workspace_deinit(&t->w);
    model_layout_deinit(&t->layout);
    model_destroy(t->m);
    mem_free(t->params);
    mem_free(t->grad);
}

static void expect_same(const model_layout *layout, const float *array, const model_layout *of, const float *want)
{
    for (int i = 0; i < layout->count; i++) {
        const model_param *p = &layout->params[i];
        int other = model_layout_find(of, p->name);
        size_t n = (size_t)p->n * (size_t)p->k;
        if (other < 0)
            continue; /* lm_head */
        float *x = mem_calloc(n, sizeof *x), *y = mem_calloc(n, sizeof *y);
        model_param_export(p, array, x);
        model_param_export(&of->params[other], want, y);
        if (memcmp(x, y, n * sizeof *x) != 0)
            fail_msg("the gradient of %s differs", p->name);
        mem_free(x);
        mem_free(y);
    }
}

static void a_head_beside_the_logits_gives_the_value_models_bits(void **state)
{
    (void)state;
    subject s;
    twin t;
    grpo_error err;
    double loss = 0, twins = 0;
    open_subject(&s, "llama-value", 2);
    open_twin(&t, &s);
    assert_ok(head_case_run(&s.w, s.g.m, &s.c, &loss, &err), err);
    assert_ok(head_case_run(&t.w, t.m, &s.c, &twins, &err), err);
    assert_true(loss == twins);
    expect_same(&t.m->layout, t.w.grad, &s.g.m->layout, s.w.grad);
    expect_same(&t.layout, t.grad, &s.g.m->layout, s.w.grad);

    /* of the head alone: nothing below it is touched */
    model_weights alone;
    assert_ok(model_weights_view(&alone, &t.m->config, NULL, &err), err);
    model_weights all = t.w.grad_view;
    t.w.grad_view = alone;
    value_head_view(&t.w.grad_view, &t.m->config, t.grad);
    memset(t.grad, 0, t.layout.total * sizeof *t.grad);
    assert_ok(head_case_run(&t.w, t.m, &s.c, &twins, &err), err);
    expect_same(&t.layout, t.grad, &s.g.m->layout, s.w.grad);
    model_weights_deinit(&t.w.grad_view);
    t.w.grad_view = all;
    close_twin(&t);
    close_subject(&s);
}

/* One group of two answers: the gradient of both heads in one backward pass is the sum of their gradients. */
static void both_heads_add_their_gradients(void **state)
{
    enum { PROMPT = 5, TOKENS = 7 };
    static int32_t prompt[PROMPT] = {1, 9, 4, 7, 12}, answer[TOKENS] = {5, 6, 7, 8, 3, 11, 2};
    static const double through_logp[TOKENS] = {0.3, -0.2, 0, 0.5, 0.1, -0.4, 0.2}, through_value[TOKENS] = {1, 0, -2, 0.5, 0.25, 3, -1};
    (void)state;
    subject s;
    twin t;
    grpo_error err;
    open_subject(&s, "llama-value", 2);
    open_twin(&t, &s);
    size_t total = t.m->layout.total;
    float *sum = mem_calloc(total, sizeof *sum), *both = mem_calloc(total, sizeof *both);
    const model_param *head = &t.m->layout.params[model_layout_find(&t.m->layout, "lm_head.weight")];
    for (size_t i = 0; i < head->elements; i++) /* it is new, so zero */
        t.m->params[head->offset + i] = (float)((int)(i * 7919 % 201) - 100) * 1e-3f;
    for (int k = 0; k < 3; k++) {
        int32_t prompt_row[PROMPT], row[TOKENS];
        rollout_sample samples[2] = {{.token = answer, .n = 4, .tape_row = row}, {.token = answer + 4, .n = 3, .tape_row = row + 4}};
        rollout_group group = {.prompt = prompt, .prompt_length = PROMPT, .samples = samples, .n_samples = 2, .tape_row = prompt_row};
        ops_softmax_row stats[TOKENS];
        float logp[TOKENS], value[TOKENS];
        policy_run_options run = {.inv_temperature = 1, .tape = &t.w.t};
        policy_gradient g = {.grad_logp = k != 1 ? through_logp : NULL, .grad_value = k != 0 ? through_value : NULL,
                             .stats = stats, .inv_temperature = 1};
        policy_backward_counts counts;
        tape_reset(&t.w.t);
        memset(t.w.grad, 0, total * sizeof *t.w.grad);
        assert_ok(policy_run(&t.w.e, &t.m->weights, &group, 1, &run, (policy_tokens){logp, stats}, &err), err);
        assert_ok(policy_tape_values(&t.w.e, &t.m->weights, &t.w.t, &group, 1, value, &err), err);
        assert_ok(policy_backward(&t.w.e, &t.m->weights, &t.w.grad_view, &t.w.backward, &t.w.t, &group, 1, &g, &counts, &err), err);
        model_backward_finish(t.m, &t.w.grad_view, s.g.threads, &t.w.backward);
        for (size_t i = 0; i < total; i++) {
            sum[i] += k < 2 ? t.w.grad[i] : 0;
            both[i] = t.w.grad[i];
        }
        policy_release_kv(&t.w.e, &group, 1);
    }
    assert_true(ops_sum_squares(NULL, sum, total) > 0 && golden_error(both, sum, total) < 1e-5);
    mem_free(sum);
    mem_free(both);
    close_twin(&t);
    close_subject(&s);
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
        assert_int_equal(head_case_init(&c, root, "case", &s.g.m->config, &err), GRPO_ERR_FORMAT);
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
        cmocka_unit_test(a_head_beside_the_logits_gives_the_value_models_bits),
        cmocka_unit_test(both_heads_add_their_gradients),
        cmocka_unit_test(cases_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
