/* Folders that appear at once. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h> /* AT_FDCWD */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/folder.h"
#include "base/mem.h"
#include "base/strbuf.h"

static int is_empty_folder(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    int entries = 0;
    if (!dir)
        return 0;
    while ((entry = readdir(dir)))
        entries += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(dir);
    return entries == 0;
}

static void free_names(folder_writer *w)
{
    mem_free(w->path);
    mem_free(w->temporary);
    *w = (folder_writer){0};
}

/* The path without trailing slashes, so that names can be put beside it. */
static char *trimmed(const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    return mem_strndup(path, n);
}

grpo_status folder_create(folder_writer *w, const char *path, int replace, grpo_error *err)
{
    *w = (folder_writer){.path = trimmed(path), .replace = replace};
    strbuf name = STRBUF_INIT;
    strbuf_printf(&name, "%s.%ld.tmp", w->path ? w->path : "", (long)getpid());
    w->temporary = strbuf_detach(&name);
    grpo_status status = GRPO_OK;
    if (!w->path || !w->temporary)
        status = mem_fail(err, "a folder's name", strlen(path));
    else if (file_exists(w->path) && !file_is_folder(w->path))
        status = grpo_fail(err, GRPO_ERR_IO, "%s exists and is not a folder; choose another name", w->path);
    else if (!replace && file_exists(w->path) && !is_empty_folder(w->path))
        status = grpo_fail(err, GRPO_ERR_IO, "%s exists and is not empty; choose another name or remove it", w->path);
    if (status == GRPO_OK)
        status = file_remove_tree(w->temporary, err); /* left by a process of the same number that was killed */
    if (status == GRPO_OK)
        status = file_make_folder(w->temporary, err);
    if (status != GRPO_OK)
        free_names(w);
    return status;
}

grpo_status folder_place(const char *temporary, const char *path, int replace, grpo_error *err)
{
    file_sync_folder(temporary);
    int exchange = replace && file_exists(path);
    int failed = exchange ? renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_EXCHANGE) != 0
                          : rename(temporary, path) != 0;
    if (failed && exchange && (errno == EINVAL || errno == ENOSYS)) /* no exchange on this file system */
        failed = file_remove_tree(path, NULL) != GRPO_OK || rename(temporary, path) != 0;
    if (failed)
        return grpo_fail(err, GRPO_ERR_IO, "cannot put the finished folder at %s: %s", path, strerror(errno));
    file_sync_parent(path);
    if (exchange)
        file_remove_tree(temporary, NULL); /* the old one */
    return GRPO_OK;
}

grpo_status folder_commit(folder_writer *w, grpo_error *err)
{
    grpo_status status = folder_place(w->temporary, w->path, w->replace, err);
    if (status != GRPO_OK)
        folder_abandon(w);
    free_names(w);
    return status;
}

void folder_abandon(folder_writer *w)
{
    if (w->temporary)
        file_remove_tree(w->temporary, NULL);
    free_names(w);
}
