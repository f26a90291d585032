/* Status names and error messages. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "grpo/error.h"

const char *grpo_status_text(grpo_status status)
{
    switch (status) {
#define X(name, text)                                                                              \
    case name:                                                                                     \
        return text;
        GRPO_STATUS_TABLE(X)
#undef X
    }
    return "unknown status";
}

grpo_status grpo_fail(grpo_error *err, grpo_status status, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        err->status = status;
        vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
    }
    return status;
}

grpo_status grpo_error_prefix(grpo_error *err, grpo_status status, const char *format, ...)
{
    if (!err || status == GRPO_OK)
        return status;
    char prefix[256];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    size_t n = strlen(prefix), rest = strlen(err->message), room = sizeof err->message - n - 3;
    if (rest > room)
        rest = room;
    memmove(err->message + n + 2, err->message, rest);
    memcpy(err->message, prefix, n);
    memcpy(err->message + n, ": ", 2);
    err->message[n + 2 + rest] = 0;
    return status;
}
