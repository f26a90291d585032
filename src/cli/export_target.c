/* Where an export may be written. */
#define _GNU_SOURCE
#include <dirent.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/export_target.h"

typedef struct folder_content {
    int entries, folders, model;
} folder_content;

static folder_content look_into(const char *path)
{
    folder_content c = {0};
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char *child = file_join(path, entry->d_name);
        c.entries++;
        c.folders += !child || file_is_folder(child);
        c.model |= strcmp(entry->d_name, "config.json") == 0 || strcmp(entry->d_name, "adapter_config.json") == 0;
        mem_free(child);
    }
    if (dir)
        closedir(dir);
    return c;
}

grpo_status export_check_folder(const char *path, int overwrite, grpo_error *err)
{
    if (!*path)
        return grpo_fail(err, GRPO_ERR_USAGE, "--out is empty; it names the folder or the file to write");
    if (!file_exists(path))
        return GRPO_OK;
    if (!file_is_folder(path))
        return grpo_fail(err, GRPO_ERR_USAGE, "%s is a file, and a folder is to be written; choose another name", path);
    folder_content c = look_into(path);
    if (c.entries == 0)
        return GRPO_OK;
    if (!overwrite)
        return grpo_fail(err, GRPO_ERR_USAGE, "%s exists and is not empty; --overwrite replaces it", path);
    if (!c.model || c.folders)
        return grpo_fail(err, GRPO_ERR_USAGE,
                         "%s %s: it is no exported model, and --overwrite does not remove it; choose another name", path,
                         c.folders ? "has folders in it" : "has neither config.json nor adapter_config.json");
    return GRPO_OK;
}

grpo_status export_check_file(const char *path, int overwrite, grpo_error *err)
{
    if (!*path)
        return export_check_folder(path, overwrite, err);
    if (file_is_folder(path))
        return grpo_fail(err, GRPO_ERR_USAGE, "%s is a folder; a GGUF model is one file", path);
    if (file_exists(path) && !overwrite)
        return grpo_fail(err, GRPO_ERR_USAGE, "%s exists already; --overwrite replaces it", path);
    const char *slash = strrchr(path, '/');
    char *folder = slash && slash > path ? mem_strndup(path, (size_t)(slash - path)) : NULL;
    grpo_status status = folder && !file_exists(folder) ? file_make_folder(folder, err) : GRPO_OK;
    mem_free(folder);
    return status;
}
