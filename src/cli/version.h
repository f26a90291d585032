/* What `grpo --version` says. */
#ifndef CLI_VERSION_H
#define CLI_VERSION_H

/* Prints version, commit (of a build from git), compiler, and the kernels that this processor gets. Returns the exit code:
 * 1 when the kernels that GRPO_ISA asks for cannot be had. */
int version_print(void);

#endif
