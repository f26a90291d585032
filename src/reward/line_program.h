/* A program that is kept running and answers lines with lines.
 *
 * It is started by `/bin/sh -c` in a process group of its own, so that Ctrl-C reaches the run and not its
 * helpers, by posix_spawn: no copy of this process's memory map is made, however large it has grown. Its
 * stdin closes when this process ends, in whatever way; a program that reads to the end of its input ends
 * with it. Not thread-safe: one thread at a time uses a program. */
#ifndef REWARD_LINE_PROGRAM_H
#define REWARD_LINE_PROGRAM_H

#include <sys/types.h>

#include "base/strbuf.h"
#include "grpo/error.h"

enum { LINE_PROGRAM_TAIL = 600, LINE_PROGRAM_LIMIT = 16 << 20 };

typedef struct line_program {
    pid_t pid;              /* 0: not running */
    int in, out, err;       /* our ends of its pipes, not blocking; -1: closed */
    strbuf unsent;
    size_t sent;            /* bytes of unsent that were written */
    strbuf received;
    size_t taken;           /* bytes of received that were handed out as lines */
    char tail[LINE_PROGRAM_TAIL + 1]; /* the end of what it wrote to stderr since its start */
    size_t tail_length;
    char ending[LINE_PROGRAM_TAIL + 100]; /* after it ended: how, and the tail; for messages */
} line_program;

void line_program_init(line_program *p);
grpo_status line_program_start(line_program *p, const char *command, grpo_error *err);

/* Closes its input, so that it may end by itself. */
void line_program_close_input(line_program *p);
/* Ends it and all that it started, by force once `patience` seconds have passed, and fills `ending`. */
void line_program_end(line_program *p, double patience);
void line_program_deinit(line_program *p); /* ends it at once */

/* Adds a line to what is to be written. */
void line_program_send(line_program *p, const char *line);

/* Writes what can be written without waiting. */
void line_program_flush(line_program *p);

/* Reads what has come, without waiting. 0 when the program has closed its output, or wrote a line
 * of more than LINE_PROGRAM_LIMIT bytes, or memory ran out: time for line_program_end. */
int line_program_pump(line_program *p);

/* The next whole line, NUL-terminated without its newline, valid until the next call; NULL: none yet. */
char *line_program_line(line_program *p, size_t *length);

#endif
