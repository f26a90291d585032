/* grpo bench: what this machine reaches. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/machine.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/jsonl.h"
#include "cli/session.h"
#include "train/benchmark.h"

static const char HELP[] =
    "usage: grpo bench --model M [options]\n\n"
    "Measures this machine with a model: the ceiling of matrix products and of memory, prefill, decoding at batch\n"
    "1, 8, 32 and 64, and the training step \"32 x 128\" (4 prompts x 8 answers of exactly 128 tokens, one update,\n"
    "no KL), each with its share of the ceiling; in f32, with weights stored as bf16, with products of bf16, and on\n"
    "a processor with AMX with products on it.\n\n"
    "  --json             one JSON object: the figures in f32, and under the other precisions' names theirs\n"
    "  --precision P      only f32, bf16_weights, bf16 or bf16_amx\n"
    "  --steps N          training steps timed, the fastest counts (default 2; 0: none)\n"
    "  --memory-budget X  bytes (5G) for the step; default: what the machine has\n"
    "  --activations P    auto, keep, checkpoint, recompute\n"
    "  --prompt-length N  default 96\n"
    "  --threads N        default: all cores\n";

static void say(void *context, const char *what)
{
    (void)context;
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K%s", what);
}

static void print_table(const benchmark_result *r, model_precision precision)
{
    char planned[32], peak[32];
    machine_format_bytes(planned, r->planned_bytes);
    machine_format_bytes(peak, r->peak_bytes);
    printf("precision: %s\n", model_precision_name(precision));
    printf("matrix products    %8.1f GFLOP/s   (f32, %s, the model's shapes, 1,024 rows)\n", r->gemm_gflops, ops_isa());
    printf("memory             %8.1f GB/s\n", r->memory_gbps);
    printf("prefill            %8.0f tokens/s  %3.0f%% of the ceiling\n", r->prefill_tps, 100 * r->prefill_share);
    for (int i = 0; i < BENCHMARK_BATCHES; i++)
        printf("decode, batch %2d   %8.1f tokens/s  %3.0f%%\n", r->batch[i], r->decode_tps[i], 100 * r->decode_share[i]);
    if (r->step_seconds == 0)
        return;
    printf("train step 32x128  %8.2f s         %.2f x the limit of %.2f s\n", r->step_seconds,
           r->step_seconds / r->step_limit_seconds, r->step_limit_seconds);
    for (int i = 0; i < BENCHMARK_PHASES; i++)
        printf("  %-16s %8.2f s         %3.0f%%\n", benchmark_phase[i], r->phase_seconds[i],
               100 * r->phase_limit_seconds[i] / r->phase_seconds[i]);
    printf("  activations: %s, %d layers kept\n", activation_policy_name(r->plan.policy), r->plan.kept_layers);
    printf("  memory: planned %s, peak %s\n", planned, peak);
}

static json_t *by_phase(const double seconds[BENCHMARK_PHASES])
{
    json_t *o = json_object();
    for (int i = 0; i < BENCHMARK_PHASES; i++)
        json_object_set_new(o, benchmark_phase[i], json_real(seconds[i]));
    return o;
}

static json_t *by_batch(const benchmark_result *r, const double value[BENCHMARK_BATCHES])
{
    json_t *o = json_object();
    for (int i = 0; i < BENCHMARK_BATCHES; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", r->batch[i]);
        json_object_set_new(o, key, json_real(value[i]));
    }
    return o;
}

/* Shares are of the ceilings; a step's share is its limit by its time. Keys of the step are absent when none was timed. */
static json_t *result_json(const benchmark_result *r)
{
    json_t *line = json_pack("{s:f,s:f,s:f,s:f,s:o,s:o}", "gemm_gflops", r->gemm_gflops, "memory_gbps", r->memory_gbps,
                             "prefill_tps", r->prefill_tps, "prefill_share", r->prefill_share, "decode_tps",
                             by_batch(r, r->decode_tps), "decode_share", by_batch(r, r->decode_share));
    if (r->step_seconds == 0)
        return line;
    json_t *step = json_pack("{s:f,s:f,s:o,s:o,s:I,s:I}", "step_seconds", r->step_seconds, "step_limit_seconds",
                             r->step_limit_seconds, "step_phases", by_phase(r->phase_seconds), "step_phase_limits",
                             by_phase(r->phase_limit_seconds), "peak_bytes", (json_int_t)r->peak_bytes, "planned_bytes",
                             (json_int_t)r->planned_bytes);
    json_object_update(line, step);
    json_decref(step);
    return line;
}

/* The first precision's figures at the top, those of the others under their names. */
static void print_json(const benchmark_result *results, const model_precision *precision, int count)
{
    json_t *line = result_json(&results[0]);
    json_object_set_new(line, "precision", json_string(model_precision_name(precision[0])));
    for (int i = 1; i < count; i++)
        json_object_set_new(line, model_precision_name(precision[i]), result_json(&results[i]));
    char *text = json_text(line);
    puts(text ? text : "{}");
    mem_free(text);
    json_decref(line);
}

static int parse_policy(activation_policy *policy, const char *text)
{
    for (int p = ACTIVATIONS_AUTO; p <= ACTIVATIONS_RECOMPUTE; p++)
        if (strcmp(text, activation_policy_name((activation_policy)p)) == 0) {
            *policy = (activation_policy)p;
            return 0;
        }
    return -1;
}

static grpo_status measure(benchmark_result *result, const model_files *files, model_precision precision, pool *threads,
                           const benchmark_options *o, grpo_error *err)
{
    model *m;
    model_load_options how = {.max_context = 2048, .precision = precision, .trainable = 1};
    grpo_status status = model_load_as(&m, files, how, threads, err);
    if (status == GRPO_OK)
        status = benchmark_run(result, m, threads, o, err);
    model_destroy(m);
    say(NULL, "");
    return status;
}

/* precision auto: each of them in turn. */
static grpo_status run(const char *path, int n_threads, model_precision precision, const benchmark_options *o, int json,
                       grpo_error *err)
{
    pool *threads = NULL;
    model_files *files = NULL;
    const model_precision all[] = {MODEL_F32, MODEL_BF16_WEIGHTS, MODEL_BF16, MODEL_BF16_AMX};
    const model_precision *list = precision == MODEL_AUTO ? all : &precision;
    const int count = precision == MODEL_AUTO ? 3 + ops_is_fast(OPS_BF16_TILE) : 1;
    benchmark_result results[sizeof all / sizeof *all];
    grpo_status status = pool_create(&threads, n_threads, err);
    if (status == GRPO_OK)
        status = model_files_open(&files, path, err);
    for (int i = 0; i < count && status == GRPO_OK; i++) {
        status = measure(&results[i], files, list[i], threads, o, err);
        if (status == GRPO_OK && !json) {
            print_table(&results[i], list[i]);
            fflush(stdout); /* the next one takes a minute */
        }
    }
    if (status == GRPO_OK && json)
        print_json(results, list, count);
    model_files_close(files);
    pool_destroy(threads);
    return status;
}

int cmd_bench(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"model", 1, NULL, 'm'},       {"json", 0, NULL, 'j'},          {"steps", 1, NULL, 's'},
        {"memory-budget", 1, NULL, 'b'}, {"activations", 1, NULL, 'a'}, {"prompt-length", 1, NULL, 'p'},
        {"threads", 1, NULL, 't'},     {"precision", 1, NULL, 'r'},     {"help", 0, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    benchmark_options o = {
        .prompts = 4, .group_size = 8, .completion_length = 128, .prompt_length = 96, .steps = 2, .say = say};
    const char *path = NULL;
    int json = 0, threads = 0;
    model_precision precision = MODEL_AUTO;
    args_check check = {.command = "bench"};
    for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        switch (option) {
        case 'm': path = optarg; break;
        case 'j': json = 1; break;
        case 's': o.steps = (int)args_whole(&check, "--steps", optarg, 0, ARGS_MOST); break;
        case 'b': o.memory_budget = args_bytes(&check, "--memory-budget", optarg); break;
        case 'a':
            if (parse_policy(&o.policy, optarg) == 0)
                break;
            fprintf(stderr, "grpo bench: --activations is auto, keep, checkpoint or recompute\n");
            return 2;
        case 'p': o.prompt_length = (int)args_whole(&check, "--prompt-length", optarg, 1, ARGS_MOST); break;
        case 't': threads = (int)args_whole(&check, "--threads", optarg, 0, ARGS_MOST_THREADS); break;
        case 'r':
            if (session_parse_precision(&precision, "bench", optarg) == 0)
                break;
            return 2;
        case 'h': fputs(HELP, stdout); return 0;
        default: return 2;
        }
    }
    if (check.code)
        return check.code;
    if (!path)
        return args_usage("bench", "--model is missing");
    if (optind < argc)
        return args_usage("bench", "'%s' is no option", argv[optind]);
    grpo_error err = {0};
    return run(path, threads, precision, &o, json, &err) == GRPO_OK ? 0 : jsonl_fail("bench", &err);
}
