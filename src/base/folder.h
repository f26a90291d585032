/* A folder that appears at once, with everything in it: it is filled under a temporary name beside
 * its final one and renamed when complete. */
#ifndef BASE_FOLDER_H
#define BASE_FOLDER_H

#include "grpo/error.h"

typedef struct folder_writer {
    char *path;      /* final */
    char *temporary; /* write files here */
    int replace;
} folder_writer;

/* replace 0: a folder that exists and is not empty is refused. replace 1: it is exchanged for the
 * new one at the commit, and then removed. A file of that name is always refused. */
grpo_status folder_create(folder_writer *w, const char *path, int replace, grpo_error *err);
grpo_status folder_commit(folder_writer *w, grpo_error *err); /* also frees w, on failure too */
void folder_abandon(folder_writer *w);                        /* removes what was written */

/* Puts the finished folder `temporary` at `path` on the same file system, for good (fsync). replace as above: at each
 * moment one of the two is whole at `path`, where the file system can exchange names. On failure temporary stays. */
grpo_status folder_place(const char *temporary, const char *path, int replace, grpo_error *err);

#endif
