/* grpo train: the main job. */
#define _GNU_SOURCE
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/jsonl.h"
#include "train/trainer.h"

static const char HELP[] =
    "usage: grpo train CONFIG.yaml [key=value ...] [options]\n\n"
    "Trains a model by GRPO as CONFIG.yaml says; any key of it can be set on the command line, as in\n"
    "`train.learning_rate=1e-6`. Writes into output_dir: config.yaml (every value in force), metrics.jsonl,\n"
    "samples.jsonl, checkpoints/, plot.svg. Ctrl-C stops after a checkpoint.\n\n"
    "  --plan          print the memory plan and stop\n"
    "  --resume        go on from the newest intact checkpoint in output_dir\n"
    "  --overwrite     start anew in an output_dir that holds a run\n"
    "  --quiet         say nothing but errors\n"
    "  --help-config   every configuration key with its default and meaning\n";

static volatile sig_atomic_t interrupt_flag;

static void on_signal(int number)
{
    interrupt_flag = 1;
    signal(number, SIG_DFL); /* a second one ends at once */
}

static void print_text(void *context, const char *text, bool passing)
{
    (void)context;
    static int pending; /* a passing text stands on the terminal's last line */
    if (pending)
        fputs("\r\033[K", stderr);
    pending = 0;
    if (passing && *text) {
        fputs(text, stderr);
        pending = 1;
    } else if (!passing) {
        fprintf(stderr, "%s\n", text);
    }
    fflush(stderr);
}

typedef struct arguments {
    int plan, resume, overwrite, quiet;
    const char *config;
    const char *const *overrides;
    size_t n_overrides;
} arguments;

static int run(const arguments *a)
{
    grpo_error err = {0};
    train_config config;
    trainer *t = NULL;
    if (train_config_load(&config, a->config, a->overrides, a->n_overrides, &err) != GRPO_OK)
        return jsonl_fail("train", &err);
    trainer_options options = {.sink = a->quiet ? NULL : print_text,
                               .terminal = isatty(STDERR_FILENO),
                               .resume = a->resume,
                               .overwrite = a->overwrite,
                               .interrupt = &interrupt_flag};
    grpo_status status = trainer_create(&t, &config, &options, &err);
    if (status == GRPO_OK && a->plan) {
        fputs(trainer_plan_text(t), stdout);
    } else if (status == GRPO_OK) {
        signal(SIGINT, on_signal);
        signal(SIGTERM, on_signal);
        status = trainer_start(t, &err);
        if (status == GRPO_OK)
            status = trainer_run(t, &err);
        if (!a->quiet)
            print_text(NULL, "", true);
    }
    trainer_destroy(t);
    train_config_deinit(&config);
    return status == GRPO_OK ? 0 : jsonl_fail("train", &err);
}

static int help_config(void)
{
    strbuf text = STRBUF_INIT;
    schema_put_help(&text, train_schema());
    fputs(strbuf_text(&text), stdout);
    strbuf_deinit(&text);
    return 0;
}

int cmd_train(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"plan", no_argument, NULL, 'p'},      {"resume", no_argument, NULL, 'r'},
        {"overwrite", no_argument, NULL, 'o'}, {"quiet", no_argument, NULL, 'q'},
        {"help-config", no_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    arguments a = {0};
    for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        switch (option) {
        case 'p': a.plan = 1; break;
        case 'r': a.resume = 1; break;
        case 'o': a.overwrite = 1; break;
        case 'q': a.quiet = 1; break;
        case 'c': return help_config();
        case 'h': fputs(HELP, stdout); return 0;
        default: return 2;
        }
    }
    if (optind < argc && !strchr(argv[optind], '='))
        a.config = argv[optind++];
    a.overrides = (const char *const *)argv + optind;
    a.n_overrides = (size_t)(argc - optind);
    if (!a.config && a.n_overrides == 0)
        return args_usage("train", "CONFIG.yaml is missing");
    return run(&a);
}
