/* grpo plot: draws the chart of a run again. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "train/plot.h"

static const char usage[] = "usage: grpo plot RUN…\n\n"
                            "Draws RUN/plot.svg from RUN/metrics.jsonl; also while the run goes on.\n";

int cmd_plot(int argc, char **argv)
{
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(usage, stdout);
        return 0;
    }
    if (argc < 2 || argv[1][0] == '-') {
        fputs(usage, stderr);
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        grpo_error err;
        if (plot_run_folder(argv[i], &err) != GRPO_OK) {
            fprintf(stderr, "grpo plot: %s\n", err.message);
            return 1;
        }
        printf("%s/plot.svg\n", argv[i]);
    }
    return 0;
}
