/* A folder that one process works in at a time: a lock (flock) on the file `lock` in it, held until it is released or
 * the process dies, however it dies. The file stays, because removing it could free a lock that another process holds. */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include <stdbool.h>

#include "grpo/error.h"

typedef struct folder_lock {
    int fd; /* -1: not held */
} folder_lock;

/* Takes the lock of an existing folder without waiting. Where another process has it, the error (GRPO_ERR_CONFIG) names
 * the folder, that process and its machine. Some network file systems know no locks: then the status is GRPO_OK, nothing
 * is held, and *refused is true with the reason in err, for a warning. Child processes do not inherit the lock unless
 * they are forked without exec. */
grpo_status folder_lock_take(folder_lock *lock, bool *refused, const char *folder, grpo_error *err);
void folder_lock_release(folder_lock *lock);

#endif
