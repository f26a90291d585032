/* Option values and messages about wrong use. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "train/schema.h"

int args_usage(const char *command, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fprintf(stderr, "grpo %s: ", command);
    vfprintf(stderr, format, list);
    fprintf(stderr, "; `grpo %s --help` explains\n", command);
    va_end(list);
    return 2;
}

long args_whole(args_check *check, const char *option, const char *text, long min, long max)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (end != text && !*end && !errno && value >= min && value <= max)
        return value;
    if (!check->code)
        check->code = args_usage(check->command, "%s must be a whole number from %ld to %ld, got '%s'", option, min, max, text);
    return 0;
}

double args_real(args_check *check, const char *option, const char *text, double min, double max)
{
    char *end;
    double value = strtod(text, &end);
    if (end != text && !*end && value >= min && value <= max)
        return value;
    if (!check->code)
        check->code = args_usage(check->command, "%s must be a number from %g to %g, got '%s'", option, min, max, text);
    return 0;
}

size_t args_bytes(args_check *check, const char *option, const char *text)
{
    int64_t value;
    if (schema_parse_bytes(text, &value) && value > 0)
        return (size_t)value;
    if (!check->code)
        check->code = args_usage(check->command, "%s must be a size such as 512M or 2G, got '%s'", option, text);
    return 0;
}

uint64_t args_seed(args_check *check, const char *text)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (end != text && !*end && !errno && !strchr(text, '-'))
        return value;
    if (!check->code)
        check->code = args_usage(check->command, "--seed must be a whole number of at most 64 bits, got '%s'", text);
    return 0;
}
