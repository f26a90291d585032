/* Files: whole reads with a size limit, read-only mappings, and writes that are atomic
 * (temporary file beside the target, fsync, rename, fsync of the folder). */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "grpo/error.h"

/* Reads a whole file into NUL-terminated memory (mem_free it). Files over `limit` bytes are
 * refused. length may be NULL. */
grpo_status file_read(char **data, size_t *length, const char *path, size_t limit, grpo_error *err);

typedef struct file_map {
    const unsigned char *data; /* read-only, page-aligned */
    size_t size;
} file_map;

/* Maps a regular file for reading. An empty file gives size 0. */
grpo_status file_map_open(file_map *map, const char *path, grpo_error *err);
void file_map_close(file_map *map);
/* Takes the pages read so far out of the process's memory; they come back when they are read again. */
void file_map_forget(const file_map *map);

/* A file being written; nothing is visible at `path` until file_commit, unless a device or a pipe stands there: that is
 * written itself. A symbolic link stays, its target is replaced. Errors are sticky: writes may go unchecked, file_commit reports the first failure. */
typedef struct file_writer {
    FILE *stream;
    char *path, *temporary; /* temporary NULL: a device or a pipe */
    uint64_t written;
    int error; /* errno of the first failed write, 0 if none */
} file_writer;

grpo_status file_create(file_writer *w, const char *path, grpo_error *err);
void file_write(file_writer *w, const void *bytes, size_t n);
grpo_status file_commit(file_writer *w, grpo_error *err); /* also frees w, on failure too */
void file_abandon(file_writer *w);                        /* removes the temporary file */

/* file_create + file_write + file_commit. */
grpo_status file_write_all(const char *path, const void *bytes, size_t n, grpo_error *err);

/* fsync of a folder, so that names made or changed in it last; _parent: of the one that holds `path`. Some file systems
 * refuse, which is no error: a rename is atomic all the same. */
void file_sync_folder(const char *folder);
void file_sync_parent(const char *path);

/* Like `mkdir -p`. */
grpo_status file_make_folder(const char *path, grpo_error *err);

int file_exists(const char *path);
int file_is_folder(const char *path);

/* "folder/name", mem_free it; NULL when out of memory. */
char *file_join(const char *folder, const char *name);

/* Removes a folder and what is in it (no symbolic links are followed). */
grpo_status file_remove_tree(const char *path, grpo_error *err);

/* ---- lines -------------------------------------------------------------------- */

/* Reads a stream line by line. The line is without its newline (and without a carriage
 * return before it, or a byte order mark before the first); valid until the next call. Returns 1, 0 at the end, -1 on failure
 * (read error, out of memory, or a line over `limit` bytes; err says which and where). */
typedef struct file_lines {
    FILE *stream;
    const char *name; /* for messages, borrowed */
    size_t limit;     /* bytes a line may have; 0 = 64 MiB */
    long number;      /* of the current line, from 1 */
    char *line;
    size_t length, capacity;
} file_lines;

int file_next_line(file_lines *lines, grpo_error *err);
void file_lines_deinit(file_lines *lines); /* does not close the stream */

#endif
