/* The promises of exactness, on the tiny reference models with batches that change while decoding: answers
 * end at different lengths, slots are refilled, nuclei are truncated.
 *   - log-probs recorded while sampling are bitwise those of the training pass
 *   - answers and their log-probs do not depend on threads, slots, or company, and one can be drawn alone
 *   - gradients do not depend on threads or micro-batches, and agree with unshared prompts to 1e-5
 *   - all instruction sets give the same bits */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "rollout/group_sample.h"
#include "support.h"
#include "train/policy_pass.h"

enum { GROUPS = 5, SAMPLES = 6, LONGEST = 40, POSITIONS = 128 };

typedef struct subject_kind {
    const char *name; /* of a reference model; "+lora" behind it adds an adapter */
    model_precision precision;
    int always; /* also where GRPO_TEST_SIZE=small: each precision, scaled rope, experts, windows, an adapter */
} subject_kind;

static const subject_kind MODELS[] = {
    {"llama-tied", MODEL_F32, 0},        {"llama3-rope", MODEL_F32, 1},     {"qwen3", MODEL_F32, 0},
    {"gemma3", MODEL_F32, 0},            {"qwen3-moe", MODEL_F32, 0},       {"llama-tied", MODEL_BF16_WEIGHTS, 0},
    {"qwen3", MODEL_BF16_WEIGHTS, 0},    {"gemma3", MODEL_BF16_WEIGHTS, 0}, {"qwen3-moe", MODEL_BF16_WEIGHTS, 1},
    {"llama-tied+lora", MODEL_F32, 0},   {"gemma3+lora", MODEL_F32, 1},     {"qwen3-moe+lora", MODEL_F32, 0},
    {"llama-tied+lora", MODEL_BF16_WEIGHTS, 0}, {"llama-tied", MODEL_BF16, 0}, {"qwen3", MODEL_BF16, 1},
    {"gemma3", MODEL_BF16, 0},           {"qwen3-moe", MODEL_BF16, 0},      {"llama-tied+lora", MODEL_BF16, 0},
    {"llama-tied", MODEL_BF16_AMX, 0},   {"qwen3", MODEL_BF16_AMX, 0},      {"gemma3", MODEL_BF16_AMX, 0},
    {"qwen3-moe", MODEL_BF16_AMX, 1},    {"llama-tied+lora", MODEL_BF16_AMX, 0},
};
enum { N_MODELS = sizeof MODELS / sizeof *MODELS };

/* for_each_model(k): all of them, or the few of a small test. */
#define for_each_model(k)              \
    for (int k = 0; k < N_MODELS; k++) \
        if (MODELS[k].always || !test_small())

typedef struct subject {
    model_files *files;
    model *m;
} subject;

/* An adapter of odd rank beside every linear layer that can have one, no part of it zero. */
static void add_adapter(model *m)
{
    static const char *const all[] = {"all-linear"}, *const attention[] = {"q_proj", "k_proj", "v_proj", "o_proj"};
    grpo_error err;
    model_adapter *a;
    adapter_request r = {.rank = 5, .alpha = 7, .seed = 21};
    r.targets = m->config.experts > 0 ? attention : all;
    r.n_targets = m->config.experts > 0 ? 4 : 1;
    assert_ok(adapter_create(&a, &m->config, &r, &err), err);
    for (int i = 1; i < a->layout.count; i += 2) {
        const model_param *p = &a->layout.params[i];
        float *b = mem_calloc((size_t)p->n * (size_t)p->k, sizeof *b);
        for (int k = 0; k < p->n * p->k; k++)
            b[k] = (float)sin(0.37 * k + i) / 4;
        model_param_import(p, a->params, b);
        mem_free(b);
    }
    model_attach_adapter(m, a);
}

static void open_subject(subject *s, subject_kind kind)
{
    grpo_error err;
    char relative[256];
    const char *plus = strstr(kind.name, "+lora");
    model_load_options how = {.max_context = POSITIONS, .precision = kind.precision};
    snprintf(relative, sizeof relative, "models/%.*s", (int)(plus ? (size_t)(plus - kind.name) : strlen(kind.name)), kind.name);
    assert_ok(model_files_open(&s->files, test_shared_path(relative), &err), err);
    assert_ok(model_load_as(&s->m, s->files, how, NULL, &err), err);
    if (plus)
        add_adapter(s->m);
}

static void close_subject(subject *s)
{
    model_destroy(s->m);
    model_files_close(s->files);
}

/* Everything a rollout and its gradient need. */
typedef struct bench {
    subject *s;
    pool *threads;
    engine e;
    tape t;
    rollout_group groups[GROUPS];
    int32_t prompt[GROUPS][LONGEST];
    sampling sampling;
    int slots;
} bench;

static void bench_init(bench *b, subject *s, int threads, int slots, sampling how, int kept_layers)
{
    grpo_error err;
    memset(b, 0, sizeof *b);
    b->s = s;
    b->slots = slots;
    b->sampling = how;
    assert_ok(pool_create(&b->threads, threads, &err), err);
    assert_ok(engine_init(&b->e, s->m, b->threads, (engine_plan){.rows = 37, .head_rows = 16, .kv_blocks = 600}, &err),
              err);
    assert_ok(tape_init(&b->t, &s->m->config, 3000, kept_layers, &err), err);
    for (int g = 0; g < GROUPS; g++) {
        int n = 3 + (g * 17) % (LONGEST - 3);
        for (int i = 0; i < n; i++)
            b->prompt[g][i] = (i * 31 + g * 7 + 3) % s->m->config.vocab;
        b->groups[g] = (rollout_group){
            .prompt = b->prompt[g], .prompt_length = n, .id = 100 + (uint64_t)g, .n_samples = SAMPLES};
    }
}

static void bench_sample(bench *b, int n_groups)
{
    grpo_error err;
    static const int32_t eos[] = {2, 7, 11, 13, 17, 19, 23}; /* so that answers end early and unevenly */
    rollout_options o = {.sampling = b->sampling,
                         .step = 3,
                         .eos = eos,
                         .n_eos = 7,
                         .slots = b->slots,
                         .want_entropy = 1,
                         .tape = &b->t,
                         .keep_kv = 1};
    rollout_counts counts;
    assert_ok(group_sample(&b->e, &b->s->m->weights, b->groups, n_groups, &o, &counts, &err), err);
}

static void bench_deinit(bench *b)
{
    rollout_release(&b->e, b->groups, GROUPS);
    tape_deinit(&b->t);
    engine_deinit(&b->e);
    pool_destroy(b->threads);
}

static const sampling PLAIN = {.temperature = 1, .top_p = 1, .max_new_tokens = 50, .seed = 9};
static const sampling NUCLEUS = {.temperature = 0.8, .top_p = 0.7, .top_k = 40, .min_p = 0.01, .max_new_tokens = 50, .seed = 9};

static void assert_same_samples(const rollout_sample *a, const rollout_sample *b)
{
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->finish, b->finish);
    assert_memory_equal(a->token, b->token, (size_t)a->n * sizeof *a->token);
    assert_memory_equal(a->logprob, b->logprob, (size_t)a->n * sizeof *a->logprob);
    assert_memory_equal(a->stats, b->stats, (size_t)a->n * sizeof *a->stats);
}

/* ---- sampling ------------------------------------------------------------------------------------------------ */

static void sampled_logprobs_are_the_training_forward(void **state)
{
    (void)state;
    for_each_model(k)
        for (int truncated = 0; truncated < 2; truncated++) {
            grpo_error err;
            subject s;
            bench b;
            open_subject(&s, MODELS[k]);
            bench_init(&b, &s, 2, 7, truncated ? NUCLEUS : PLAIN, 1);
            bench_sample(&b, GROUPS);
            size_t n = policy_token_count(b.groups, GROUPS), at = 0;
            float *logp = mem_calloc(n, sizeof *logp);
            ops_softmax_row *stats = mem_calloc(n, sizeof *stats);
            policy_run_options o = {
                .inv_temperature = sampling_inverse_temperature(&b.sampling), .want_entropy = 1, .private_kv = 1};
            assert_ok(policy_run(&b.e, &s.m->weights, b.groups, GROUPS, &o, (policy_tokens){logp, stats}, &err), err);
            int longest = 0, shortest = 1000;
            for (int g = 0; g < GROUPS; g++)
                for (int i = 0; i < SAMPLES; i++) {
                    const rollout_sample *a = &b.groups[g].samples[i];
                    assert_memory_equal(a->logprob, logp + at, (size_t)a->n * sizeof *logp);
                    assert_memory_equal(a->stats, stats + at, (size_t)a->n * sizeof *stats);
                    for (int t = 0; t < a->n; t++)
                        assert_true(exp((double)a->logprob[t] - (double)logp[at + (size_t)t]) == 1.0);
                    at += (size_t)a->n;
                    longest = a->n > longest ? a->n : longest;
                    shortest = a->n < shortest ? a->n : shortest;
                }
            assert_true(longest > shortest + 5); /* the batch did change */
            mem_free(logp);
            mem_free(stats);
            bench_deinit(&b);
            close_subject(&s);
        }
}

static void answers_do_not_depend_on_company(void **state)
{
    (void)state;
    static const int threads[] = {1, 2, 3, 2}, slots[] = {16, 3, 1, 5};
    for (int truncated = 0; truncated < 2; truncated++) {
        subject s;
        bench first;
        open_subject(&s, (subject_kind){truncated ? "llama-tied" : "llama-tied+lora", MODEL_F32, 1});
        bench_init(&first, &s, threads[0], slots[0], truncated ? NUCLEUS : PLAIN, 0);
        bench_sample(&first, GROUPS);
        for (int v = 1; v < 4; v++) {
            bench other;
            bench_init(&other, &s, threads[v], slots[v], truncated ? NUCLEUS : PLAIN, 0);
            bench_sample(&other, GROUPS);
            for (int g = 0; g < GROUPS; g++)
                for (int i = 0; i < SAMPLES; i++)
                    assert_same_samples(&first.groups[g].samples[i], &other.groups[g].samples[i]);
            bench_deinit(&other);
        }
        bench_deinit(&first);
        close_subject(&s);
    }
}

static void one_sample_can_be_drawn_alone(void **state)
{
    (void)state;
    subject s;
    bench all, one;
    open_subject(&s, (subject_kind){"llama3-rope", MODEL_F32, 1});
    bench_init(&all, &s, 2, 9, NUCLEUS, 0);
    bench_sample(&all, GROUPS);
    bench_init(&one, &s, 1, 1, NUCLEUS, 0);
    one.groups[0] = all.groups[3];
    one.groups[0].samples = NULL;
    one.groups[0].tape_row = NULL;
    memset(&one.groups[0].kv, 0, sizeof one.groups[0].kv);
    one.groups[0].first_sample = 4;
    one.groups[0].n_samples = 1;
    bench_sample(&one, 1);
    assert_same_samples(&one.groups[0].samples[0], &all.groups[3].samples[4]);
    bench_deinit(&one);
    bench_deinit(&all);
    close_subject(&s);
}

static void check_instruction_sets(model_precision precision)
{
    static const char *const sets[] = {"amx", "avx512bf16", "avx512", "avx2", "neon", "portable"};
    char best[16];
    snprintf(best, sizeof best, "%s", ops_isa());
    subject s;
    bench first;
    open_subject(&s, (subject_kind){"llama-tied+lora", precision, 1});
    bench_init(&first, &s, 2, 6, NUCLEUS, 1);
    bench_sample(&first, GROUPS);
    int compared = 0;
    for (int v = 0; v < 6; v++) {
        if (ops_select_isa(sets[v]) != 0)
            continue;
        compared++;
        bench other;
        bench_init(&other, &s, 2, 6, NUCLEUS, 1);
        bench_sample(&other, GROUPS);
        for (int g = 0; g < GROUPS; g++)
            for (int i = 0; i < SAMPLES; i++)
                assert_same_samples(&first.groups[g].samples[i], &other.groups[g].samples[i]);
        bench_deinit(&other);
    }
    ops_select_isa(best);
    printf("           compared %d instruction sets\n", compared);
    assert_true(compared >= 1);
    bench_deinit(&first);
    close_subject(&s);
}

static void instruction_sets_agree(void **state)
{
    (void)state;
    check_instruction_sets(MODEL_F32);
    check_instruction_sets(MODEL_BF16);
    check_instruction_sets(MODEL_BF16_AMX);
}

/* ---- gradients ------------------------------------------------------------------------------------------------- */

/* A made-up loss that touches every token; the last answer of each group has no part in it. */
static void make_coefficients(const bench *b, int n_groups, double *grad_logp, double *grad_entropy, ops_softmax_row *stats)
{
    size_t at = 0;
    for (int g = 0; g < n_groups; g++)
        for (int i = 0; i < b->groups[g].n_samples; i++)
            for (int t = 0; t < b->groups[g].samples[i].n; t++, at++) {
                stats[at] = b->groups[g].samples[i].stats[t];
                grad_logp[at] = i == SAMPLES - 1 ? 0 : sin(1.0 + (double)(g * 100 + i * 10 + t)) / 50;
                grad_entropy[at] = i == SAMPLES - 1 ? 0 : 0.001 * cos((double)(g + i + t));
            }
}

/* The gradient of bench b's rollout; the caller frees it. */
static float *gradient(bench *b, int micro_batch_rows, int recompute)
{
    grpo_error err;
    const model *m = b->s->m;
    size_t n = policy_token_count(b->groups, GROUPS);
    double *grad_logp = mem_calloc(n, sizeof *grad_logp), *grad_entropy = mem_calloc(n, sizeof *grad_entropy);
    ops_softmax_row *stats = mem_calloc(n, sizeof *stats);
    float *grad = mem_calloc(model_trained(m).layout->total, sizeof *grad);
    backward_workspace ws;
    model_weights view;
    make_coefficients(b, GROUPS, grad_logp, grad_entropy, stats);
    assert_ok(backward_workspace_init(&ws, m, b->threads, 3000, 3000, POSITIONS, &err), err);
    assert_ok(model_gradient_view(&view, m, grad, &err), err);
    policy_gradient g = {.grad_logp = grad_logp,
                         .grad_entropy = grad_entropy,
                         .stats = stats,
                         .inv_temperature = sampling_inverse_temperature(&b->sampling),
                         .micro_batch_rows = micro_batch_rows,
                         .recompute = recompute};
    policy_backward_counts counts;
    assert_ok(policy_backward(&b->e, &m->weights, &view, &ws, &b->t, b->groups, GROUPS, &g, &counts, &err), err);
    model_backward_finish(m, &view, b->threads, &ws);
    assert_int_equal(counts.skipped_samples, GROUPS);
    model_weights_deinit(&view);
    backward_workspace_deinit(&ws);
    mem_free(grad_logp);
    mem_free(grad_entropy);
    mem_free(stats);
    return grad;
}

static void gradients_do_not_depend_on_batching(void **state)
{
    (void)state;
    static const struct {
        int threads, slots, kept, micro_batch_rows, recompute;
    } ways[] = {
        {1, 16, 2, 1, 0}, {2, 5, 0, 100000, 0}, {3, 7, 1, 150, 0}, {2, 3, 2, 300, 1}, {1, 16, 0, 1, 1},
    };
    for_each_model(k) {
        subject s;
        open_subject(&s, MODELS[k]);
        float *first = NULL;
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
            bench b;
            bench_init(&b, &s, ways[w].threads, ways[w].slots, NUCLEUS, ways[w].kept);
            bench_sample(&b, GROUPS);
            if (ways[w].recompute) /* what a run without a tape has: nothing */
                for (int g = 0; g < GROUPS; g++) {
                    for (int i = 0; i < SAMPLES; i++)
                        kv_sequence_deinit(&b.e.kv, &b.groups[g].samples[i].kv);
                    kv_sequence_deinit(&b.e.kv, &b.groups[g].kv);
                }
            float *grad = gradient(&b, ways[w].micro_batch_rows, ways[w].recompute);
            if (first)
                assert_memory_equal(grad, first, model_trained(s.m).layout->total * sizeof *grad);
            else
                first = grad;
            if (first != grad)
                mem_free(grad);
            bench_deinit(&b);
        }
        mem_free(first);
        close_subject(&s);
    }
}

/* Every answer as a group of its own: the prompt's rows are then computed for each. */
static void sharing_prompts_changes_rounding_only(void **state)
{
    (void)state;
    subject s;
    bench b;
    grpo_error err;
    open_subject(&s, (subject_kind){"llama-tied", MODEL_F32, 1});
    bench_init(&b, &s, 2, 16, PLAIN, 1);
    bench_sample(&b, GROUPS);
    float *shared = gradient(&b, 1000, 0);
    const model *m = s.m;
    float *alone = mem_calloc(m->layout.total, sizeof *alone);
    model_weights view;
    backward_workspace ws;
    assert_ok(model_weights_view(&view, &m->config, alone, &err), err);
    assert_ok(backward_workspace_init(&ws, m, b.threads, 3000, 3000, POSITIONS, &err), err);
    size_t n = policy_token_count(b.groups, GROUPS), at = 0;
    double *grad_logp = mem_calloc(n, sizeof *grad_logp), *grad_entropy = mem_calloc(n, sizeof *grad_entropy);
    ops_softmax_row *stats = mem_calloc(n, sizeof *stats);
    make_coefficients(&b, GROUPS, grad_logp, grad_entropy, stats);
    for (int g = 0; g < GROUPS; g++)
        for (int i = 0; i < SAMPLES; i++) {
            rollout_group single = b.groups[g];
            single.samples = &b.groups[g].samples[i];
            single.n_samples = 1;
            policy_gradient how = {.grad_logp = grad_logp + at,
                                   .grad_entropy = grad_entropy + at,
                                   .stats = stats + at,
                                   .inv_temperature = 1,
                                   .micro_batch_rows = 1};
            policy_backward_counts counts;
            assert_ok(policy_backward(&b.e, &m->weights, &view, &ws, &b.t, &single, 1, &how, &counts, &err), err);
            at += (size_t)single.samples->n;
        }
    model_backward_finish(m, &view, b.threads, &ws);
    double difference = 0, norm = 0;
    for (size_t i = 0; i < m->layout.total; i++) {
        difference += ((double)shared[i] - alone[i]) * ((double)shared[i] - alone[i]);
        norm += (double)alone[i] * alone[i];
    }
    assert_true(norm > 0);
    assert_true(sqrt(difference / norm) < 1e-5);
    assert_memory_not_equal(shared, alone, m->layout.total * sizeof *alone); /* else nothing was shared */
    mem_free(shared);
    mem_free(alone);
    mem_free(grad_logp);
    mem_free(grad_entropy);
    mem_free(stats);
    model_weights_deinit(&view);
    backward_workspace_deinit(&ws);
    bench_deinit(&b);
    close_subject(&s);
}

/* min_new_tokens holds end tokens back; the sanitizers see whether the sets of what was left are freed. */
static void answers_end_no_earlier_than_they_may(void **state)
{
    (void)state;
    enum { LEAST = 12 };
    subject s;
    open_subject(&s, (subject_kind){"llama-tied", MODEL_F32, 1});
    for (int greedy = 0; greedy < 2; greedy++) {
        bench b;
        sampling how = {.temperature = !greedy, .top_p = 1, .max_new_tokens = 20, .min_new_tokens = LEAST, .seed = 9};
        bench_init(&b, &s, 2, 7, how, 0);
        bench_sample(&b, GROUPS);
        for (int g = 0; g < GROUPS; g++)
            for (int i = 0; i < SAMPLES; i++) {
                const rollout_sample *a = &b.groups[g].samples[i];
                assert_true(a->n > LEAST);
                assert_true((a->allowed != NULL) == !greedy);
            }
        bench_deinit(&b);
    }
    close_subject(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sampled_logprobs_are_the_training_forward),
        cmocka_unit_test(answers_do_not_depend_on_company),
        cmocka_unit_test(one_sample_can_be_drawn_alone),
        cmocka_unit_test(answers_end_no_earlier_than_they_may),
        cmocka_unit_test(instruction_sets_agree),
        cmocka_unit_test(gradients_do_not_depend_on_batching),
        cmocka_unit_test(sharing_prompts_changes_rounding_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
