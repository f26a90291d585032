/* Runs one program against its tests. */
#ifndef REWARD_CODE_RUN_H
#define REWARD_CODE_RUN_H

#include <jansson.h>

#include "reward/code_sandbox.h"

/* The interpreters' sources, embedded at build time (src/reward/python). */
extern const char code_python_judge[], code_python_program[];
extern const size_t code_python_judge_length, code_python_program_length;

/* A job, as JSON:
 *   {"language": "python" or "c", "program": text, "kind": "calls" or "script",
 *    "prompt": text, "setup": text, "entry": name or "",          calls
 *    "tests": [{"code": text} or {"function", "arguments", "expected"}]   calls
 *             [{"input": text, "output": text}]                           script
 *    "compare": "lines" or "tokens"}                                      script
 * and its result:
 *   {"passed": N, "total": N, "problem": text or absent, "tests": [{"ok": bool, "why": text, "seconds": X}]}
 * A problem is a failure of the executor's or of the tests, not of the program: nothing can be said of it. */

typedef struct code_judge {
    code_sandbox box;
    int job; /* socket of the job in hand, -1 */
} code_judge;

/* What a worker keeps from job to job. */
typedef struct code_runner {
    const code_host *host;
    code_limits limits;
    code_judge judge;
    code_sandbox box; /* of the program in hand */
    code_sandbox spare; /* the next one, being started; no program was ever in it */
    double patience;  /* left for it */
    char *compiled;   /* marshalled code of the program's interpreter */
    size_t compiled_length;
} code_runner;

/* NULL only when out of memory. */
json_t *code_run(code_runner *r, const json_t *job);
void code_runner_deinit(code_runner *r);

/* ---- parts ------------------------------------------------------------------------------------- */

/* Starts the judge if there is none, and compiles the program's interpreter the first time. */
grpo_status code_judge_ready(code_runner *r, grpo_error *err);
void code_judge_stop(code_judge *j);
grpo_status code_judge_open_job(code_runner *r, const json_t *job, grpo_error *err);
void code_judge_close_job(code_judge *j);

/* How the last test of the program in hand, or its loading, ended. */
typedef struct code_outcome {
    int ok;
    int starved;     /* the machine ran out of memory meanwhile: nothing is known */
    int killed;      /* somebody killed the sandbox, it seems: worth another try */
    char why[1200];  /* of a failure; printable */
    char problem[400]; /* not "": the executor's own failure */
} code_outcome;

/* Starts a sandbox, if there is none, and loads the program. mode: F, S or C as program.py knows them. A program that
 * cannot be loaded is an outcome with `why`. */
void code_load(code_runner *r, const json_t *job, char mode, code_outcome *o);

void code_test_calls(code_runner *r, const json_t *test, code_outcome *o);
void code_test_script(code_runner *r, const json_t *test, const char *compare, code_outcome *o);

/* The frame D of a test whose process has ended; stops the sandbox unless it is as clean as before the test. */
void code_take_status(code_runner *r, const char *data, size_t length, code_outcome *o);

/* "was ended by signal 11 (Segmentation fault)", "exited with status 3". */
void code_describe_status(char *text, size_t size, int status);

/* Kills of processes for want of memory of the whole machine, as the kernel counts them: those in the program's own
 * control group, which are its fault, are left out. */
unsigned long code_kernel_kills(const code_host *host);

/* Appends at most `most` bytes of untrusted text, control characters and ill-formed UTF-8 escaped. */
void code_escape(char *out, size_t size, const char *text, size_t length);

int code_outputs_equal(const char *got, size_t got_length, const char *want, size_t want_length, const char *compare);

#endif
