/* What `grpo export` writes: a model, or a base model with a LoRA adapter folded in; or the adapter alone. */
#ifndef CLI_EXPORT_SOURCE_H
#define CLI_EXPORT_SOURCE_H

#include "model/adapter_merge.h"
#include "model/export_hf.h"

typedef struct export_source {
    model_files *files; /* of the model, the base where there is an adapter */
    int adapted;
    adapter_files adapter;
    adapter_merge merge;
    model_export e; /* reads the model, merged */
} export_source;

/* path: a model, an adapter's folder, or a run folder; adapter: the same kinds of folder for an adapter, or NULL. */
grpo_status export_source_open(export_source *s, const char *path, const char *adapter, grpo_error *err);
void export_source_close(export_source *s);

/* Writes the adapter alone, as PEFT has it. A source without one is refused. */
grpo_status export_adapter(export_source *s, const char *out, int overwrite, grpo_error *err);

#endif
