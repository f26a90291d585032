/* One entry per subcommand; each lives in src/cli/cmd_NAME.c and has its line in commands.def.
 * argv[0] is "grpo NAME". Exit codes: 0 fine, 1 the work failed, 2 usage or configuration. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

typedef int cli_command(int argc, char **argv);

#define X(name, function, summary) cli_command function;
#include "cli/commands.def"
#undef X

#endif
