/* grpo export: a model or a checkpoint as a Hugging Face folder. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/folder.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/jsonl.h"
#include "grpo/tokenizer.h"
#include "model/export_hf.h"
#include "model/files.h"
#include "train/checkpoint.h"

static const char HELP[] =
    "usage: grpo export --model M --out FOLDER [--dtype float32|bfloat16|float16] [--overwrite]\n\n"
    "Writes a model (Hugging Face folder, GGUF file, checkpoint of `grpo train`, or the run folder: then its\n"
    "newest intact checkpoint) as a Hugging Face folder:\n"
    "config.json, generation_config.json, model.safetensors, tokenizer and chat template. The folder appears at\n"
    "once, complete. Default: float32.\n";

static int parse_dtype(safetensors_dtype *dtype, const char *name)
{
    static const struct {
        const char *name;
        safetensors_dtype dtype;
    } names[] = {{"float32", SAFETENSORS_F32},  {"f32", SAFETENSORS_F32},   {"bfloat16", SAFETENSORS_BF16},
                 {"bf16", SAFETENSORS_BF16},    {"float16", SAFETENSORS_F16}, {"f16", SAFETENSORS_F16}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i].name, name) == 0) {
            *dtype = names[i].dtype;
            return 0;
        }
    return -1;
}

static grpo_status write_model(const char *path, const model_files *files, const char *folder, safetensors_dtype dtype,
                               grpo_error *err)
{
    model_export e = {.config = model_files_config(files),
                      .config_json = model_files_config_json(files),
                      .generation_json = model_files_generation_json(files),
                      .read = model_export_read_files,
                      .context = (void *)files};
    grpo_tokenizer *tokenizer = NULL;
    grpo_status status = model_export_hf(&e, folder, dtype, 0, err);
    if (status == GRPO_OK)
        status = grpo_tokenizer_open(&tokenizer, path, err);
    if (status == GRPO_OK)
        status = grpo_tokenizer_write_folder(tokenizer, folder, err);
    grpo_tokenizer_destroy(tokenizer);
    return status;
}

static grpo_status run(const char *path, const char *out, safetensors_dtype dtype, int overwrite, grpo_error *err)
{
    model_files *files;
    folder_writer folder;
    grpo_status status = model_files_open(&files, path, err);
    if (status != GRPO_OK)
        return status;
    status = folder_create(&folder, out, overwrite, err);
    if (status == GRPO_OK) {
        status = write_model(path, files, folder.temporary, dtype, err);
        if (status == GRPO_OK)
            status = folder_commit(&folder, err);
        else
            folder_abandon(&folder);
    }
    model_files_close(files);
    return status;
}

int cmd_export(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"model", 1, NULL, 'm'},     {"out", 1, NULL, 'o'},  {"dtype", 1, NULL, 'd'},
        {"overwrite", 0, NULL, 'w'}, {"help", 0, NULL, 'h'}, {NULL, 0, NULL, 0},
    };
    const char *path = NULL, *out = NULL;
    safetensors_dtype dtype = SAFETENSORS_F32;
    int overwrite = 0;
    for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        switch (option) {
        case 'm': path = optarg; break;
        case 'o': out = optarg; break;
        case 'w': overwrite = 1; break;
        case 'd':
            if (parse_dtype(&dtype, optarg) == 0)
                break;
            fprintf(stderr, "grpo export: --dtype is float32, bfloat16 or float16\n");
            return 2;
        case 'h': fputs(HELP, stdout); return 0;
        default: return 2;
        }
    }
    if (!path || !out || optind < argc) {
        fputs(HELP, stderr);
        return 2;
    }
    grpo_error err = {0};
    char *source;
    grpo_status status = checkpoint_resolve(&source, path, &err);
    if (status == GRPO_OK)
        status = run(source, out, dtype, overwrite, &err);
    mem_free(source);
    if (status != GRPO_OK)
        return jsonl_fail("export", &err);
    printf("%s\n", out);
    return 0;
}
