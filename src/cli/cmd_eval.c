/* grpo eval: accuracy of a model on a data set. */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/machine.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/jsonl.h"
#include "cli/session.h"
#include "train/evaluate.h"

static const char HELP[] =
    "usage: grpo eval --model M [--adapter DIR] --data FILE [options]\n\n"
    "Answers every prompt of a data set, scores the answers, and prints one JSON object: accuracy, reward,\n"
    "pass@k for k = 1, 2, 4, ... up to --n, length, truncated, unscored, seconds. Accuracy and pass@k count the answers\n"
    "that were judged right or wrong (judged); they are null where the reward is none that judges (math, code).\n\n"
    "  --adapter DIR        a LoRA adapter (PEFT folder, or run folder of `grpo train`) beside the model\n"
    "  --reward SPEC        as `grpo score` takes it (default math)\n"
    "  --n N                answers per prompt (default 1)\n"
    "  --temperature T      default 0 with --n 1 (greedy), else 1\n"
    "  --top-p P, --top-k K, --min-p P\n"
    "  --max-new-tokens N   default 256\n"
    "  --limit N            the first N records only\n"
    "  --seed S             default 0\n"
    "  --system TEXT        a system message\n"
    "  --template TEXT      the prompt, with {field} placeholders\n"
    "  --raw                no chat template\n"
    "  --out FILE           one JSON line for each answer: prompt, completion, answer, reward, correct; the file appears\n"
    "                       when it is complete\n"
    "  --slots N            answers decoded at once (default 64)\n"
    "  --precision P        f32, bf16_weights (half the memory), bf16 (products too), bf16_amx (in AMX's order), default\n"
    "                       auto: as the file stores them\n"
    "  --threads N          default: all cores\n"
    "  --quiet              no progress on stderr\n";

static volatile sig_atomic_t interrupt_flag;

static void on_signal(int number)
{
    interrupt_flag = 1;
    signal(number, SIG_DFL);
}

typedef struct arguments {
    session_options session;
    data_options data;
    const char *path, *reward, *out;
    sampling sampling;
    double temperature;
    int n, raw, quiet;
    size_t limit;
} arguments;

typedef struct output {
    file_writer file;
    int wanted; /* --out was given, and the file is open */
    int quiet;
    double shown;
} output;

static void write_answer(void *context, const data_record *record, int sample, const scoring_item *item,
                         const scored *score, const rollout_sample *drawn)
{
    output *out = context;
    if (!out->wanted)
        return;
    json_t *line = json_deep_copy(record->fields);
    json_object_set_new(line, "sample", json_integer(sample));
    json_object_set_new(line, "completion", json_string_lossy(item->text, item->length));
    json_object_set_new(line, "reward", json_double(score->reward));
    if (score->problem[0])
        json_object_set_new(line, "unscored", json_string_lossy(score->problem, strlen(score->problem)));
    json_object_set_new(line, "correct", score->correct < 0 ? json_null() : json_boolean(score->correct));
    json_object_set_new(line, "tokens", json_integer(item->tokens));
    json_object_set_new(line, "finish", json_string(finish_reason_name(drawn->finish)));
    char *text = json_text(line);
    if (text) {
        file_write(&out->file, text, strlen(text));
        file_write(&out->file, "\n", 1);
    } else if (!out->file.error) {
        out->file.error = ENOMEM;
    }
    mem_free(text);
    json_decref(line);
}

static void show_progress(void *context, long finished, long of)
{
    output *out = context;
    double now = machine_seconds();
    if (out->quiet || !isatty(STDERR_FILENO) || (now - out->shown < 0.2 && finished < of))
        return;
    out->shown = now;
    fprintf(stderr, "\r\033[K%ld of %ld answers%s", finished, of, finished == of ? "\r\033[K" : "");
}

static void print_result(const evaluation *e)
{
    json_t *pass = json_object();
    for (int i = 0; i < e->n_pass; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", 1 << i);
        json_object_set_new(pass, key, json_number_or_null(e->pass_at_k[i]));
    }
    json_t *line = json_pack("{s:o,s:o,s:I,s:I,s:I,s:I,s:f,s:f,s:I,s:f}", "accuracy", json_number_or_null(e->accuracy), "reward",
                             json_number_or_null(e->reward), "prompts", (json_int_t)e->prompts, "answers",
                             (json_int_t)e->answers, "judged", (json_int_t)e->judged, "correct", (json_int_t)e->correct,
                             "completion_length", e->length, "frac_truncated",
                             (double)e->truncated / (double)e->answers, "unscored", (json_int_t)e->unscored, "seconds",
                             e->seconds);
    json_object_set_new(line, "pass_at_k", pass);
    char *text = json_text(line);
    puts(text ? text : "{}");
    mem_free(text);
    json_decref(line);
}

/* Everything that is opened, closed together. */
typedef struct work {
    session s;
    data_set *data;
    data_view view;
    prompt_table prompts;
    scoring *scoring;
    output out;
} work;

static grpo_status open_work(work *w, const arguments *a, grpo_error *err)
{
    train_reward reward = TRAIN_REWARD_DEFAULT;
    reward.spec = (char *)a->reward;
    grpo_status status = scoring_create(&w->scoring, &reward, 1, NULL, err);
    if (status == GRPO_OK)
        status = session_open(&w->s, &a->session, err);
    if (status == GRPO_OK)
        status = language_model_need_text(&w->s.lm, err);
    if (status == GRPO_OK)
        status = data_open(&w->data, a->path, &a->data, err);
    if (status == GRPO_OK)
        status = data_view_all(&w->view, w->data, err);
    if (status == GRPO_OK)
        status = prompt_table_init(&w->prompts, &w->s.lm, w->data, a->raw ? TRAIN_CHAT_NEVER : TRAIN_CHAT_AUTO, err);
    if (status == GRPO_OK && a->out) {
        status = file_create(&w->out.file, a->out, err);
        w->out.wanted = status == GRPO_OK;
    }
    return status;
}

static grpo_status close_work(work *w, grpo_status status, grpo_error *err)
{
    if (w->out.wanted && status == GRPO_OK)
        status = file_commit(&w->out.file, err);
    else if (w->out.wanted)
        file_abandon(&w->out.file);
    prompt_table_deinit(&w->prompts);
    data_view_deinit(&w->view);
    data_close(w->data);
    session_close(&w->s);
    scoring_destroy(w->scoring);
    return status;
}

static grpo_status run(const arguments *a, grpo_error *err)
{
    work w = {.out = {.quiet = a->quiet}};
    evaluation result;
    grpo_status status = open_work(&w, a, err);
    if (status == GRPO_OK) {
        stop_strings stop;
        stop_strings_init(&stop, &w.s.lm, NULL, 0);
        evaluate_options o = {.sampling = a->sampling,
                              .samples = a->n,
                              .limit = a->limit,
                              .slots = a->session.slots,
                              .stop = &stop,
                              .answer = write_answer,
                              .progress = show_progress,
                              .context = &w.out};
        w.s.e.interrupt = &interrupt_flag;
        signal(SIGINT, on_signal);
        status = evaluate(&result, &w.s.e, &w.s.lm, &w.view, &w.prompts, w.scoring, &o, err);
    }
    if (status == GRPO_OK)
        print_result(&result);
    return close_work(&w, status, err);
}

static int parse(arguments *a, int argc, char **argv)
{
    enum { MODEL = 1, ADAPTER, DATA, REWARD, N, TEMPERATURE, TOP_P, TOP_K, MIN_P, MAX, LIMIT, SEED, SYSTEM, TEMPLATE, RAW, OUT,
           SLOTS, THREADS, PRECISION, QUIET, HELP_FLAG };
    static const struct option options[] = {
        {"model", 1, NULL, MODEL},       {"adapter", 1, NULL, ADAPTER},
        {"data", 1, NULL, DATA},
        {"reward", 1, NULL, REWARD},     {"n", 1, NULL, N},
        {"temperature", 1, NULL, TEMPERATURE}, {"top-p", 1, NULL, TOP_P},
        {"top-k", 1, NULL, TOP_K},       {"min-p", 1, NULL, MIN_P},
        {"max-new-tokens", 1, NULL, MAX}, {"limit", 1, NULL, LIMIT},
        {"seed", 1, NULL, SEED},         {"system", 1, NULL, SYSTEM},
        {"template", 1, NULL, TEMPLATE}, {"raw", 0, NULL, RAW},
        {"out", 1, NULL, OUT},           {"slots", 1, NULL, SLOTS},
        {"threads", 1, NULL, THREADS},   {"quiet", 0, NULL, QUIET},
        {"precision", 1, NULL, PRECISION}, {"help", 0, NULL, HELP_FLAG},
        {NULL, 0, NULL, 0},
    };
    args_check check = {.command = "eval"};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case MODEL: a->session.model = optarg; break;
        case ADAPTER: a->session.adapter = optarg; break;
        case DATA: a->path = optarg; break;
        case REWARD: a->reward = optarg; break;
        case N: a->n = (int)args_whole(&check, "--n", optarg, 1, ARGS_MOST); break;
        case TEMPERATURE: a->temperature = args_real(&check, "--temperature", optarg, 0, 1e6); break;
        case TOP_P: a->sampling.top_p = args_real(&check, "--top-p", optarg, 1e-9, 1); break;
        case TOP_K: a->sampling.top_k = (int)args_whole(&check, "--top-k", optarg, 0, ARGS_MOST); break;
        case MIN_P: a->sampling.min_p = args_real(&check, "--min-p", optarg, 0, 1); break;
        case MAX: a->sampling.max_new_tokens = (int)args_whole(&check, "--max-new-tokens", optarg, 1, ARGS_MOST); break;
        case LIMIT: a->limit = (size_t)args_whole(&check, "--limit", optarg, 1, ARGS_MOST); break;
        case SEED: a->sampling.seed = args_seed(&check, optarg); break;
        case SYSTEM: a->data.system_prompt = optarg; break;
        case TEMPLATE: a->data.template = optarg; break;
        case RAW: a->raw = 1; break;
        case OUT: a->out = optarg; break;
        case SLOTS: a->session.slots = (int)args_whole(&check, "--slots", optarg, 1, 1 << 16); break;
        case THREADS: a->session.threads = (int)args_whole(&check, "--threads", optarg, 0, ARGS_MOST_THREADS); break;
        case QUIET: a->quiet = 1; break;
        case PRECISION:
            if (session_parse_precision(&a->session.precision, "eval", optarg) != 0)
                return 2;
            break;
        case HELP_FLAG: fputs(HELP, stdout); return 0;
        default: return 2;
        }
    }
    return check.code ? check.code : -1;
}

int cmd_eval(int argc, char **argv)
{
    arguments a = {.session = {.slots = 64}, .reward = "math", .n = 1, .temperature = -1,
                   .sampling = {.top_p = 1, .max_new_tokens = 256}};
    int code = parse(&a, argc, argv);
    if (code >= 0)
        return code;
    a.sampling.temperature = a.temperature >= 0 ? a.temperature : a.n > 1;
    if (!a.session.model || !a.path)
        return args_usage("eval", "%s is missing", a.session.model ? "--data" : "--model");
    if (optind < argc)
        return args_usage("eval", "'%s' is no option; the data set is named with --data", argv[optind]);
    grpo_error err = {0};
    return run(&a, &err) == GRPO_OK ? 0 : jsonl_fail("eval", &err);
}
