/* The grpo command: finds the subcommand and runs it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/version.h"

static const struct {
    const char *name;
    cli_command *run;
    const char *summary;
} commands[] = {
#define X(name, function, summary) {name, function, summary},
#include "cli/commands.def"
#undef X
    {NULL, NULL, NULL},
};

static void print_usage(FILE *out)
{
    fputs("usage: grpo COMMAND [arguments]\n\n", out);
    for (int i = 0; commands[i].name; i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fputs("\n`grpo COMMAND --help` explains a command; `grpo --version` says which build this is.\n", out);
}

/* What a command printed may still fail to reach its destination. */
static int check_output(int code)
{
    errno = 0;
    if (code != 0 || (fflush(stdout) == 0 && !ferror(stdout)))
        return code;
    fprintf(stderr, "grpo: cannot write the output: %s\n", strerror(errno ? errno : EIO));
    return 1;
}

/* argv[0] is the command's name. */
static int run_command(int argc, char **argv)
{
    for (int i = 0; commands[i].name; i++)
        if (strcmp(argv[0], commands[i].name) == 0) {
            char name[64]; /* what getopt's messages begin with */
            snprintf(name, sizeof name, "grpo %s", commands[i].name);
            argv[0] = name;
            return check_output(commands[i].run(argc, argv));
        }
    fprintf(stderr, "grpo: there is no command '%s'; `grpo --help` lists them\n", argv[0]);
    return 2;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return 2;
    }
    if (argc > 2 && strcmp(argv[1], "help") == 0) {
        char option[] = "--help", *asked[] = {argv[2], option, NULL};
        return run_command(2, asked);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_usage(stdout);
        return check_output(0);
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0)
        return check_output(version_print());
    return run_command(argc - 1, argv + 1);
}
