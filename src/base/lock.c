/* Locks on folders. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/mem.h"

enum { HOLDER = 320 }; /* bytes of "process PID on HOST" */

/* What the holder wrote; it may not have come to it yet. */
static void read_holder(char text[HOLDER], int fd)
{
    ssize_t n = pread(fd, text, HOLDER - 1, 0);
    text[n > 0 ? n : 0] = 0;
    text[strcspn(text, "\n")] = 0;
    if (strncmp(text, "process ", 8) != 0)
        snprintf(text, HOLDER, "another process");
}

/* Who holds the lock, for the message that others get. A failure does not weaken the lock. */
static void write_holder(int fd)
{
    char host[256] = "", text[HOLDER];
    if (gethostname(host, sizeof host - 1) != 0 || !host[0])
        snprintf(host, sizeof host, "this machine");
    int n = snprintf(text, sizeof text, "process %ld on %s\n", (long)getpid(), host);
    ssize_t ignored = ftruncate(fd, 0) == 0 ? pwrite(fd, text, (size_t)n, 0) : 0;
    (void)ignored;
}

static int take(int fd)
{
    int result;
    while ((result = flock(fd, LOCK_EX | LOCK_NB)) != 0 && errno == EINTR)
        continue;
    return result;
}

grpo_status folder_lock_take(folder_lock *lock, bool *refused, const char *folder, grpo_error *err)
{
    char *path = file_join(folder, "lock"), holder[HOLDER];
    *refused = false;
    lock->fd = -1;
    if (!path)
        return mem_fail(err, "a file name", strlen(folder));
    grpo_status status = GRPO_OK;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) {
        status = grpo_fail(err, GRPO_ERR_IO, "cannot write %s: %s (is the folder writable?)", path, strerror(errno));
    } else if (take(fd) == 0) {
        write_holder(fd);
        lock->fd = fd;
    } else if (errno == EWOULDBLOCK) {
        read_holder(holder, fd);
        status = grpo_fail(err, GRPO_ERR_CONFIG, "%s is in use by %s", folder, holder);
    } else {
        *refused = true;
        grpo_fail(err, GRPO_OK, "%s: %s", path, strerror(errno));
    }
    if (fd >= 0 && lock->fd < 0)
        close(fd);
    mem_free(path);
    return status;
}

void folder_lock_release(folder_lock *lock)
{
    if (lock->fd >= 0)
        close(lock->fd);
    lock->fd = -1;
}
