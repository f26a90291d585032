/* grpo config: the keys of a training configuration, and what a file comes to. */
#include <stdio.h>
#include <string.h>

#include "base/strbuf.h"
#include "cli/cli.h"
#include "train/config.h"
#include "train/diagnose.h"
#include "train/metrics.h"

static const char usage[] =
    "usage: grpo config                           every key with its default, range and meaning\n"
    "       grpo config CONFIG.yaml [key=value …] the effective configuration of a file\n"
    "       grpo config --changed CONFIG.yaml …   only what differs from the defaults\n"
    "       grpo config --markdown                the reference page (docs/config.md)\n"
    "       grpo config --metrics                 the reference page of metrics.jsonl (docs/metrics.md)\n"
    "       grpo config --diagnoses               the reference page of what a run is diagnosed with (docs/diagnoses.md)\n";

static int print(strbuf *text)
{
    int failed = text->failed || fputs(strbuf_text(text), stdout) == EOF || fflush(stdout) != 0;
    strbuf_deinit(text);
    if (failed)
        fputs("grpo config: cannot write the output\n", stderr);
    return failed;
}

static int print_effective(const char *path, const char *const *overrides, size_t count, int changed)
{
    train_config c;
    grpo_error err;
    strbuf text = STRBUF_INIT;
    grpo_status status = train_config_load(&c, path, overrides, count, &err);
    if (status != GRPO_OK) {
        fprintf(stderr, "grpo config: %s\n", err.message);
        return 2;
    }
    if (changed)
        status = train_config_put_changed(&text, &c, &err);
    else
        schema_put_yaml(&text, &c, train_schema());
    train_config_deinit(&c);
    return print(&text) || status != GRPO_OK;
}

int cmd_config(int argc, char **argv)
{
    strbuf text = STRBUF_INIT;
    int changed = 0, first = 1;
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(usage, stdout);
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "--markdown") == 0) {
        train_config_put_reference(&text);
        return print(&text);
    }
    if (argc > 1 && strcmp(argv[1], "--metrics") == 0) {
        metrics_put_reference(&text);
        return print(&text);
    }
    if (argc > 1 && strcmp(argv[1], "--diagnoses") == 0) {
        diagnose_put_reference(&text);
        return print(&text);
    }
    if (argc > 1 && strcmp(argv[1], "--changed") == 0) {
        changed = 1;
        first = 2;
    }
    if (argc <= first && !changed) {
        schema_put_help(&text, train_schema());
        return print(&text);
    }
    if (argc <= first || argv[first][0] == '-') {
        fputs(usage, stderr);
        return 2;
    }
    const char *path = strchr(argv[first], '=') ? NULL : argv[first];
    return print_effective(path, (const char *const *)argv + first + (path != NULL), (size_t)(argc - first - (path != NULL)),
                           changed);
}
