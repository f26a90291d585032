/* The program in a model's response. */
#ifndef REWARD_CODE_EXTRACT_H
#define REWARD_CODE_EXTRACT_H

#include <stddef.h>

typedef enum code_language { CODE_UNKNOWN, CODE_PYTHON, CODE_C, CODE_OTHER } code_language;

typedef struct code_program {
    const char *text; /* within the response */
    size_t length;
    size_t indent;          /* white space before each line that belongs to the fence, as in a list */
    code_language language; /* as its fence says; CODE_UNKNOWN without a fence or a tag */
    int fenced;
} code_program;

/* The last block that is fenced as `want` (CODE_UNKNOWN: as Python or C); else the last block without a tag; else,
 * without any fence, the whole response (what follows </think>, if that is there). A block that is not closed ends
 * with the response. */
code_program code_extract(const char *response, size_t length, code_language want);

/* "python", "py", "c", … in any case; CODE_UNKNOWN for "", CODE_OTHER for what is not run here. */
code_language code_language_of(const char *name, size_t length);

#endif
