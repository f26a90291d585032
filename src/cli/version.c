/* The version of this build. */
#include <stdio.h>

#include "backend/ops.h"
#include "cli/version.h"
#include "grpo_commit.h" /* made by cmake/version.cmake */

#if defined __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

int version_print(void)
{
    grpo_error err;
    printf("grpo %s%s%s%s\n", GRPO_VERSION, GRPO_COMMIT[0] ? " (commit " : "", GRPO_COMMIT, GRPO_COMMIT[0] ? ")" : "");
    printf("compiler  %s%s%s\n", COMPILER, GRPO_BUILD_TYPE[0] ? ", " : "", GRPO_BUILD_TYPE);
    if (ops_check(&err) != GRPO_OK) {
        fprintf(stderr, "grpo: %s\n", err.message);
        return 1;
    }
    printf("kernels   %s\n", ops_isa());
    return 0;
}
