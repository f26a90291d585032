/* Option values and messages about wrong use, the same in every command. */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include <stddef.h>
#include <stdint.h>

/* Prints "grpo COMMAND: message; `grpo COMMAND --help` explains" to stderr. Returns 2, the exit code. */
int args_usage(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What stays 0 as long as every value was good, and becomes 2 with a message at the first that was not. */
typedef struct args_check {
    const char *command;
    int code;
} args_check;

/* The whole text as a number from min to max; 0 and a message when it is none. option is its name, "--top-k". */
long args_whole(args_check *check, const char *option, const char *text, long min, long max);
double args_real(args_check *check, const char *option, const char *text, double min, double max);
size_t args_bytes(args_check *check, const char *option, const char *text); /* as in a configuration: 3000000, 512M, 2GiB */
uint64_t args_seed(args_check *check, const char *text);

enum { ARGS_MOST_THREADS = 1024, ARGS_MOST = 1 << 30 };

#endif
