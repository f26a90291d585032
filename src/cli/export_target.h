/* Where an export may be written. */
#ifndef CLI_EXPORT_TARGET_H
#define CLI_EXPORT_TARGET_H

#include "grpo/error.h"

/* A folder that is not there, or is empty; with overwrite also one that holds a model or an adapter and no
 * folders: what else stands in a folder that was named by mistake is not an export's to remove. */
grpo_status export_check_folder(const char *path, int overwrite, grpo_error *err);

/* A file that is not there, or with overwrite may be; makes the folder that it goes into. */
grpo_status export_check_file(const char *path, int overwrite, grpo_error *err);

#endif
