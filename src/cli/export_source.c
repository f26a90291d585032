/* Opening what is to be exported. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/folder.h"
#include "base/mem.h"
#include "cli/export_source.h"
#include "cli/export_target.h"
#include "cli/session.h"
#include "train/checkpoint.h"

static grpo_status open_adapter(export_source *s, const char *folder, grpo_error *err)
{
    grpo_status status = adapter_files_open(&s->adapter, folder, model_files_config(s->files), model_files_path(s->files), err);
    if (status != GRPO_OK)
        return status;
    s->adapted = 1;
    if (s->adapter.other_base)
        session_warn_other_base(s->adapter.base, model_files_path(s->files));
    status = adapter_merge_init(&s->merge, s->files, &s->adapter, err);
    s->e.read = adapter_merge_read;
    s->e.context = &s->merge;
    return status;
}

grpo_status export_source_open(export_source *s, const char *path, const char *adapter, grpo_error *err)
{
    char *source = NULL, *beside = NULL, *base = NULL;
    const char *folder = NULL;
    memset(s, 0, sizeof *s);
    grpo_status status = checkpoint_resolve(&source, path, err);
    if (status == GRPO_OK && adapter) {
        status = checkpoint_resolve(&beside, adapter, err);
        folder = beside;
    }
    if (status == GRPO_OK)
        status = adapter_resolve(&base, &folder, source, err);
    if (status == GRPO_OK)
        status = model_files_open(&s->files, base, err);
    if (status == GRPO_OK)
        s->e = (model_export){.config = model_files_config(s->files),
                              .config_json = model_files_config_json(s->files),
                              .generation_json = model_files_generation_json(s->files),
                              .read = model_export_read_files,
                              .context = s->files};
    if (status == GRPO_OK && folder)
        status = open_adapter(s, folder, err);
    mem_free(source);
    mem_free(beside);
    mem_free(base);
    if (status != GRPO_OK)
        export_source_close(s);
    return status;
}

void export_source_close(export_source *s)
{
    if (s->adapted) {
        adapter_merge_deinit(&s->merge);
        adapter_files_close(&s->adapter);
    }
    model_files_close(s->files);
    memset(s, 0, sizeof *s);
}

static grpo_status read_module(void *context, int module, float *a, float *b, grpo_error *err)
{
    return adapter_files_read(context, module, a, b, err);
}

/* The adapter's base, absolute where it is on this machine (what is relative to the old folder means nothing in the
 * new one); a hub's name stays. mem_free it. */
static char *base_for_elsewhere(const export_source *s)
{
    const adapter_files *f = &s->adapter;
    char *beside = f->base ? file_join(f->path, f->base) : NULL;
    const char *base = !f->base ? model_files_path(s->files) : beside && file_exists(beside) ? beside : f->base;
    char *absolute = realpath(base, NULL);
    char *copy = mem_strdup(absolute ? absolute : base);
    free(absolute);
    mem_free(beside);
    return copy;
}

grpo_status export_adapter(export_source *s, const char *out, int overwrite, grpo_error *err)
{
    folder_writer folder;
    if (!s->adapted)
        return grpo_fail(err, GRPO_ERR_USAGE, "%s is a whole model: there is no adapter to export alone",
                         model_files_path(s->files));
    const adapter_files *f = &s->adapter;
    char *base = base_for_elsewhere(s);
    if (!base)
        return mem_fail(err, "a file name", 0);
    adapter_settings settings = {.base = base,
                                 .rank = f->rank,
                                 .alpha = f->alpha,
                                 .rslora = f->rslora,
                                 .config = model_files_config(s->files)};
    grpo_status status = export_check_folder(out, overwrite, err);
    if (status == GRPO_OK)
        status = folder_create(&folder, out, overwrite, err);
    if (status == GRPO_OK) {
        status = adapter_write(folder.temporary, &settings, f->modules, f->count, read_module, &s->adapter, err);
        if (status == GRPO_OK)
            status = folder_commit(&folder, err);
        else
            folder_abandon(&folder);
    }
    mem_free(base);
    return status;
}
