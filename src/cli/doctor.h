/* What a machine offers for this program, as a list of findings. */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

#include <stddef.h>

typedef enum doctor_state {
    DOCTOR_FINE,
    DOCTOR_NOTE,    /* works, but could be better; the remedy says how */
    DOCTOR_MISSING, /* something will not work */
} doctor_state;

typedef struct doctor_finding {
    const char *section; /* static: "processor", "memory", "libraries", "sandbox", "gpu", "model", "tools" */
    const char *name;    /* static */
    doctor_state state;
    char value[240];
    char remedy[400]; /* "" when there is nothing to do */
} doctor_finding;

enum { DOCTOR_MOST = 64 };

typedef struct doctor_report {
    doctor_finding findings[DOCTOR_MOST];
    size_t count;
} doctor_report;

doctor_finding *doctor_add(doctor_report *r, const char *section, const char *name, doctor_state state,
                           const char *format, ...) __attribute__((format(printf, 5, 6)));
void doctor_remedy(doctor_finding *f, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Each adds its section. */
void doctor_processor(doctor_report *r);
void doctor_memory(doctor_report *r);
void doctor_libraries(doctor_report *r);
void doctor_sandbox(doctor_report *r);
void doctor_tools(doctor_report *r);
void doctor_gpu(doctor_report *r);
void doctor_model(doctor_report *r);

/* Helpers for them. */

/* The first line of a file without its newline; 0 when there is none. */
int doctor_read_line(const char *path, char *line, size_t size);
/* Runs a program without input; its output's first line is in `line`. Returns the exit code, -1 when
 * it cannot be run, -2 when it was still running after `seconds` (it is killed). */
int doctor_run(const char *const *argv, int seconds, char *line, size_t size);

#endif
