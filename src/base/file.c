/* Whole files, mappings, atomic writes, lines. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/strbuf.h"

static grpo_status io_error(grpo_error *err, const char *what, const char *path)
{
    return grpo_fail(err, GRPO_ERR_IO, "%s %s: %s", what, path, strerror(errno));
}

static grpo_status open_regular(int *fd, struct stat *info, const char *path, grpo_error *err)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0)
        return io_error(err, "cannot open", path);
    if (fstat(*fd, info) != 0) {
        io_error(err, "cannot inspect", path);
        close(*fd);
        return GRPO_ERR_IO;
    }
    if (S_ISDIR(info->st_mode)) {
        close(*fd);
        return grpo_fail(err, GRPO_ERR_IO, "%s is a folder, a file is needed", path);
    }
    return GRPO_OK;
}

grpo_status file_read(char **data, size_t *length, const char *path, size_t limit, grpo_error *err)
{
    int fd;
    struct stat info;
    *data = NULL;
    if (open_regular(&fd, &info, path, err) != GRPO_OK)
        return GRPO_ERR_IO;
    strbuf text = STRBUF_INIT;
    grpo_status status = GRPO_OK;
    char chunk[65536];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            status = io_error(err, "cannot read", path);
            break;
        }
        if (n == 0)
            break;
        if (text.length + (size_t)n > limit) {
            status = grpo_fail(err, GRPO_ERR_FORMAT, "%s is larger than the %zu bytes allowed here",
                               path, limit);
            break;
        }
        strbuf_append(&text, chunk, (size_t)n);
    }
    close(fd);
    if (status != GRPO_OK) {
        strbuf_deinit(&text);
        return status;
    }
    size_t n = text.length;
    *data = strbuf_detach(&text);
    if (!*data)
        return mem_fail(err, path, n);
    if (length)
        *length = n;
    return GRPO_OK;
}

grpo_status file_map_open(file_map *map, const char *path, grpo_error *err)
{
    int fd;
    struct stat info;
    memset(map, 0, sizeof *map);
    if (open_regular(&fd, &info, path, err) != GRPO_OK)
        return GRPO_ERR_IO;
    if (!S_ISREG(info.st_mode)) {
        close(fd);
        return grpo_fail(err, GRPO_ERR_IO, "%s is not a regular file", path);
    }
    if (info.st_size > 0) {
        void *p = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            io_error(err, "cannot map", path);
            close(fd);
            return GRPO_ERR_IO;
        }
        map->data = p;
        map->size = (size_t)info.st_size;
    }
    close(fd);
    return GRPO_OK;
}

void file_map_close(file_map *map)
{
    if (map->data)
        munmap((void *)map->data, map->size);
    memset(map, 0, sizeof *map);
}

void file_map_forget(const file_map *map)
{
    if (map->data)
        madvise((void *)map->data, map->size, MADV_DONTNEED); /* a read-only mapping: nothing is lost */
}

/* /dev/stdout and the like mean what the caller of the program opened, wherever that leads. */
static int means_open_file(const char *path)
{
    return strcmp(path, "/dev/stdout") == 0 || strcmp(path, "/dev/stderr") == 0 || strncmp(path, "/dev/fd/", 8) == 0 ||
           strncmp(path, "/proc/", 6) == 0;
}

/* Where to write: w->path behind symbolic links, which stay, and w->temporary beside it, or NULL where something stands
 * that no file may replace. */
static grpo_status choose_names(file_writer *w, const char *path, grpo_error *err)
{
    struct stat info, link;
    int exists = stat(path, &info) == 0;
    if (exists && S_ISDIR(info.st_mode))
        return grpo_fail(err, GRPO_ERR_IO, "cannot write %s: it is a folder", path);
    int direct = exists && (!S_ISREG(info.st_mode) || means_open_file(path));
    char *target = exists && !direct && lstat(path, &link) == 0 && S_ISLNK(link.st_mode) ? realpath(path, NULL) : NULL;
    w->path = mem_strdup(target ? target : path);
    free(target);
    if (w->path && !direct) {
        strbuf text = STRBUF_INIT;
        strbuf_printf(&text, "%s.%ld.tmp", w->path, (long)getpid());
        w->temporary = strbuf_detach(&text);
    }
    return w->path && (direct || w->temporary) ? GRPO_OK : mem_fail(err, "a file name", strlen(path));
}

grpo_status file_create(file_writer *w, const char *path, grpo_error *err)
{
    memset(w, 0, sizeof *w);
    grpo_status status = choose_names(w, path, err);
    if (status != GRPO_OK) {
        file_abandon(w);
        return status;
    }
    int fd = open(w->temporary ? w->temporary : path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    w->stream = fd < 0 ? NULL : fdopen(fd, "wb");
    if (!w->stream) {
        grpo_fail(err, GRPO_ERR_IO, "cannot write %s: %s (is the folder writable?)", path,
                  strerror(errno));
        if (fd >= 0)
            close(fd);
        file_abandon(w);
        return GRPO_ERR_IO;
    }
    return GRPO_OK;
}

void file_write(file_writer *w, const void *bytes, size_t n)
{
    if (w->error || n == 0)
        return;
    if (fwrite(bytes, 1, n, w->stream) != n)
        w->error = errno ? errno : EIO;
    w->written += n;
}

void file_sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

void file_sync_parent(const char *path)
{
    char *copy = mem_strdup(path);
    char *slash = copy ? strrchr(copy, '/') : NULL;
    if (slash)
        slash[slash == copy] = 0;
    file_sync_folder(slash ? copy : ".");
    mem_free(copy);
}

grpo_status file_commit(file_writer *w, grpo_error *err)
{
    int error = w->error;
    if (!error && fflush(w->stream) != 0)
        error = errno;
    if (!error && fsync(fileno(w->stream)) != 0 && errno != EINVAL && errno != EROFS)
        error = errno;
    if (fclose(w->stream) != 0 && !error)
        error = errno;
    w->stream = NULL;
    if (!error && w->temporary && rename(w->temporary, w->path) != 0)
        error = errno;
    if (error) {
        grpo_fail(err, GRPO_ERR_IO, "cannot write %s: %s%s", w->path, strerror(error),
                  error == ENOSPC ? " (free some space and run again)" : "");
        file_abandon(w);
        return GRPO_ERR_IO;
    }
    file_sync_parent(w->path);
    mem_free(w->temporary);
    w->temporary = NULL;
    file_abandon(w);
    return GRPO_OK;
}

void file_abandon(file_writer *w)
{
    if (w->stream)
        fclose(w->stream);
    if (w->temporary)
        unlink(w->temporary);
    mem_free(w->temporary);
    mem_free(w->path);
    memset(w, 0, sizeof *w);
}

grpo_status file_write_all(const char *path, const void *bytes, size_t n, grpo_error *err)
{
    file_writer w;
    grpo_status status = file_create(&w, path, err);
    if (status != GRPO_OK)
        return status;
    file_write(&w, bytes, n);
    return file_commit(&w, err);
}

grpo_status file_make_folder(const char *path, grpo_error *err)
{
    char *copy = mem_strdup(path);
    if (!copy)
        return mem_fail(err, "a file name", strlen(path));
    grpo_status status = GRPO_OK;
    for (char *p = copy + 1; status == GRPO_OK; p++) {
        if (*p != '/' && *p != 0)
            continue;
        char end = *p;
        *p = 0;
        if (mkdir(copy, 0777) != 0 && !(errno == EEXIST && file_is_folder(copy)))
            status = io_error(err, "cannot make the folder", copy);
        *p = end;
        if (end == 0)
            break;
    }
    mem_free(copy);
    return status;
}

int file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

int file_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

char *file_join(const char *folder, const char *name)
{
    strbuf s = STRBUF_INIT;
    size_t n = strlen(folder);
    strbuf_append(&s, folder, n);
    if (n > 0 && folder[n - 1] != '/')
        strbuf_putc(&s, '/');
    strbuf_puts(&s, name);
    return strbuf_detach(&s);
}

grpo_status file_remove_tree(const char *path, grpo_error *err)
{
    DIR *dir = opendir(path);
    if (!dir) {
        if (errno == ENOENT)
            return GRPO_OK;
        return unlink(path) == 0 ? GRPO_OK : io_error(err, "cannot remove", path);
    }
    grpo_status status = GRPO_OK;
    struct dirent *entry;
    while (status == GRPO_OK && (entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char *child = file_join(path, entry->d_name);
        struct stat info;
        if (!child)
            status = mem_fail(err, "a file name", strlen(path));
        else if (lstat(child, &info) == 0 && S_ISDIR(info.st_mode))
            status = file_remove_tree(child, err);
        else if (unlink(child) != 0)
            status = io_error(err, "cannot remove", child);
        mem_free(child);
    }
    closedir(dir);
    if (status == GRPO_OK && rmdir(path) != 0)
        status = io_error(err, "cannot remove the folder", path);
    return status;
}

static const char BYTE_ORDER_MARK[] = "\xef\xbb\xbf"; /* some editors put it before a file's first line */

/* Appends bytes up to and with the next newline: GRPO_OK also where the stream ends before one. */
static grpo_status read_line(file_lines *lines, size_t limit)
{
    size_t n = 0;
    for (int c; (c = getc_unlocked(lines->stream)) != EOF;) {
        if (n + 2 > lines->capacity && mem_reserve((void **)&lines->line, &lines->capacity, n + 2, 1) != 0)
            return GRPO_ERR_MEMORY;
        lines->line[n++] = (char)c;
        if (n == 3 && lines->number == 0 && memcmp(lines->line, BYTE_ORDER_MARK, 3) == 0)
            n = 0;
        if (n > limit)
            return GRPO_ERR_FORMAT;
        if (c == '\n')
            break;
    }
    lines->length = n;
    return ferror(lines->stream) ? GRPO_ERR_IO : GRPO_OK; /* an error may come with the beginning of a line */
}

static void fail_line(const file_lines *lines, grpo_status status, size_t limit, grpo_error *err)
{
    if (status == GRPO_ERR_IO)
        grpo_fail(err, status, "cannot read %s after line %ld: %s", lines->name, lines->number, strerror(errno));
    else if (status == GRPO_ERR_FORMAT)
        grpo_fail(err, status, "%s line %ld is over the limit of %zu bytes", lines->name, lines->number + 1, limit);
    else
        grpo_fail(err, status, "%s line %ld: out of memory behind %zu bytes", lines->name, lines->number + 1,
                  lines->capacity);
}

int file_next_line(file_lines *lines, grpo_error *err)
{
    size_t limit = lines->limit ? lines->limit : (size_t)64 << 20;
    grpo_status status = read_line(lines, limit);
    if (status != GRPO_OK) {
        fail_line(lines, status, limit, err);
        return -1;
    }
    size_t n = lines->length;
    if (n == 0)
        return 0;
    lines->number++;
    while (n > 0 && (lines->line[n - 1] == '\n' || lines->line[n - 1] == '\r'))
        n--;
    lines->line[n] = 0;
    lines->length = n;
    return 1;
}

void file_lines_deinit(file_lines *lines)
{
    mem_free(lines->line);
    lines->line = NULL;
    lines->capacity = 0;
}
