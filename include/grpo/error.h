/* Errors: every public function that can fail returns a grpo_status and, when the
 * caller passes a grpo_error, leaves one sentence there that says what went wrong,
 * where, and what to do. Nothing is printed and nothing is global. */
#ifndef GRPO_ERROR_H
#define GRPO_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

#define GRPO_STATUS_TABLE(X)                                                                       \
    X(GRPO_OK, "ok")                                                                               \
    X(GRPO_ERR_USAGE, "wrong use")                                                                 \
    X(GRPO_ERR_CONFIG, "configuration error")                                                      \
    X(GRPO_ERR_IO, "input/output error")                                                           \
    X(GRPO_ERR_FORMAT, "malformed input")                                                          \
    X(GRPO_ERR_UNSUPPORTED, "not supported")                                                       \
    X(GRPO_ERR_MEMORY, "out of memory")                                                            \
    X(GRPO_ERR_NUMERIC, "numerical error")                                                         \
    X(GRPO_ERR_REWARD, "reward error")                                                             \
    X(GRPO_ERR_SANDBOX, "sandbox error")                                                           \
    X(GRPO_ERR_NETWORK, "network error")                                                           \
    X(GRPO_ERR_INTERRUPTED, "interrupted")                                                         \
    X(GRPO_ERR_INTERNAL, "internal error")

typedef enum grpo_status {
#define X(name, text) name,
    GRPO_STATUS_TABLE(X)
#undef X
} grpo_status;

/* Caller-owned; may be passed as NULL when the message is not wanted. */
typedef struct grpo_error {
    grpo_status status;
    char message[1024];
} grpo_error;

/* Short English name of a status, never NULL. */
const char *grpo_status_text(grpo_status status);

/* Fills err (when not NULL) and returns status, so that a caller can write
 * `return grpo_fail(err, GRPO_ERR_IO, "cannot read %s: %s", path, strerror(errno));`. */
grpo_status grpo_fail(grpo_error *err, grpo_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the message already in err (where there is one: status is not GRPO_OK and err not NULL) and
 * returns status, so that a caller can write `return grpo_error_prefix(err, status, "%s", path);`. */
grpo_status grpo_error_prefix(grpo_error *err, grpo_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#ifdef __cplusplus
}
#endif
#endif
