/* One entry per subcommand; each lives in src/cli/cmd_NAME.c. argv[0] is the command's name.
 * Exit codes: 0 fine, 1 the work failed, 2 usage or configuration. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

typedef int cli_command(int argc, char **argv);

/* X(name, function, one-line summary), in the order that `grpo --help` shows. */
#define CLI_COMMAND_TABLE(X)                                                                       \
    X("tokenize", cmd_tokenize, "texts to token ids and back")                                     \
    X("grad", cmd_grad, "losses and gradients of a golden case, for comparison with other systems")

#define X(name, function, summary) cli_command function;
CLI_COMMAND_TABLE(X)
#undef X

#endif
