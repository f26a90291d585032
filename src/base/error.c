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

grpo_status grpo_error_prefix(grpo_error *err, const char *format, ...)
{
    if (!err)
        return GRPO_ERR_INTERNAL;
    char prefix[sizeof err->message], whole[sizeof err->message];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    size_t n = strlen(prefix);
    if (n > sizeof whole - 3)
        n = sizeof whole - 3;
    memcpy(whole, prefix, n);
    snprintf(whole + n, sizeof whole - n, ": %s", err->message);
    memcpy(err->message, whole, sizeof whole);
    return err->status;
}
