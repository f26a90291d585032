/* grpo export: a model or a checkpoint as a Hugging Face folder or as a GGUF file. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/folder.h"
#include "base/mem.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/export_source.h"
#include "cli/export_target.h"
#include "cli/jsonl.h"
#include "grpo/tokenizer.h"
#include "model/export_gguf.h"

static const char HELP[] =
    "usage: grpo export --model M --out FOLDER [--dtype float32|bfloat16|float16] [--overwrite]\n"
    "       grpo export --model M --out FILE.gguf [--dtype float32|bfloat16|float16|q8_0] [--overwrite]\n"
    "       grpo export --model M [--adapter DIR] --adapter-only --out FOLDER\n\n"
    "Writes a model (Hugging Face folder, GGUF file, checkpoint of `grpo train`, or the run folder: then its\n"
    "newest intact checkpoint) for other programs. What is written appears at once, complete.\n\n"
    "A folder gets config.json, generation_config.json, model.safetensors (above 5 GB in shards with an index),\n"
    "tokenizer and chat template, as transformers and vLLM load them. A GGUF file holds all of that for llama.cpp;\n"
    "what llama.cpp would compute otherwise than the model says is refused.\n\n"
    "With a LoRA adapter the model is written merged, W + scale B A.\n\n"
    "  --adapter DIR a LoRA adapter beside the model; --model may itself be an adapter's folder, or a run of one\n"
    "  --adapter-only  writes the adapter alone, as PEFT has it, in float32\n"
    "  --dtype T     of the matrices (default float32; also f32, bf16, f16). Vectors stay float32 in GGUF;\n"
    "                q8_0 is for GGUF, where rows that are no multiple of 32 become float16\n"
    "  --gguf        a GGUF file whatever --out is called\n"
    "  --pre NAME    llama.cpp's name for the tokenizer's way of cutting texts, where it is not recognised\n"
    "  --overwrite   replaces the file, or the folder if it holds a model or an adapter and no folders\n";

typedef struct arguments {
    const char *model, *adapter, *out, *type, *pre;
    int gguf, overwrite, adapter_only;
} arguments;

static const struct {
    const char *name, *type;
} type_names[] = {{"float32", "F32"}, {"f32", "F32"}, {"bfloat16", "BF16"}, {"bf16", "BF16"},
                  {"float16", "F16"}, {"f16", "F16"}, {"q8_0", "Q8_0"}};

/* "F32", "BF16", … or NULL. */
static const char *type_named(const char *name)
{
    for (size_t i = 0; i < sizeof type_names / sizeof *type_names; i++)
        if (strcasecmp(type_names[i].name, name) == 0)
            return type_names[i].type;
    return NULL;
}

static safetensors_dtype folder_dtype(const char *type)
{
    return strcmp(type, "BF16") == 0 ? SAFETENSORS_BF16 : strcmp(type, "F16") == 0 ? SAFETENSORS_F16 : SAFETENSORS_F32;
}

/* Models made for tests may come without a tokenizer; so may their exports. */
static int has_tokenizer(const model_files *files)
{
    if (model_files_is_gguf(files))
        return gguf_find(model_files_gguf(files), "tokenizer.ggml.tokens") != NULL;
    char *path = file_join(model_files_path(files), "tokenizer.json");
    int there = path && file_exists(path);
    mem_free(path);
    if (!there)
        fprintf(stderr, "grpo export: %s has no tokenizer.json; the export has no tokenizer either\n", model_files_path(files));
    return there;
}

static grpo_status fill_folder(const char *folder, const model_export *e, const model_files *files, const char *type,
                               grpo_error *err)
{
    grpo_tokenizer *tokenizer = NULL;
    grpo_status status = model_export_hf(e, folder, folder_dtype(type), 0, err);
    if (status != GRPO_OK || !has_tokenizer(files))
        return status;
    status = grpo_tokenizer_open(&tokenizer, model_files_path(files), err);
    if (status == GRPO_OK)
        status = grpo_tokenizer_write_folder(tokenizer, folder, err);
    if (status == GRPO_ERR_UNSUPPORTED) { /* the weights are worth having without it */
        fprintf(stderr, "grpo export: the export has no tokenizer: %s\n", err->message);
        status = GRPO_OK;
    }
    grpo_tokenizer_destroy(tokenizer);
    return status;
}

static grpo_status write_folder(const arguments *a, const model_export *e, const model_files *files, grpo_error *err)
{
    folder_writer folder;
    grpo_status status = export_check_folder(a->out, a->overwrite, err);
    if (status == GRPO_OK)
        status = folder_create(&folder, a->out, a->overwrite, err);
    if (status != GRPO_OK)
        return status;
    status = fill_folder(folder.temporary, e, files, a->type, err);
    if (status == GRPO_OK)
        return folder_commit(&folder, err);
    folder_abandon(&folder);
    return status;
}

static grpo_status write_gguf(const arguments *a, const model_export *e, const model_files *files, grpo_error *err)
{
    int there = has_tokenizer(files), widened = 0;
    model_export_gguf_options o = {.type = a->type, .pre = a->pre, .widened = &widened};
    if (there && model_files_is_gguf(files))
        o.tokenizer_gguf = model_files_gguf(files);
    else if (there)
        o.tokenizer_folder = model_files_path(files);
    grpo_status status = export_check_file(a->out, a->overwrite, err);
    if (status == GRPO_OK)
        status = model_export_gguf(e, &o, a->out, err);
    if (status == GRPO_OK && widened)
        fprintf(stderr, "grpo export: %d matrices whose rows %s cannot hold (no multiple of 32) were written as F16\n",
                widened, a->type);
    return status;
}

static grpo_status run(const arguments *a, grpo_error *err)
{
    export_source source;
    grpo_status status = export_source_open(&source, a->model, a->adapter, err);
    if (status != GRPO_OK)
        return status;
    if (a->adapter_only)
        status = export_adapter(&source, a->out, a->overwrite, err);
    else
        status = a->gguf ? write_gguf(a, &source.e, source.files, err) : write_folder(a, &source.e, source.files, err);
    export_source_close(&source);
    return status;
}

static int parse(arguments *a, int argc, char **argv)
{
    static const struct option long_options[] = {
        {"model", 1, NULL, 'm'},     {"out", 1, NULL, 'o'}, {"dtype", 1, NULL, 'd'}, {"gguf", 2, NULL, 'g'},
        {"adapter", 1, NULL, 'a'},   {"adapter-only", 0, NULL, 'A'},
        {"pre", 1, NULL, 'p'},       {"overwrite", 0, NULL, 'w'}, {"help", 0, NULL, 'h'}, {NULL, 0, NULL, 0},
    };
    const char *type = NULL;
    for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        switch (option) {
        case 'm': a->model = optarg; break;
        case 'a': a->adapter = optarg; break;
        case 'A': a->adapter_only = 1; break;
        case 'o': a->out = optarg; break;
        case 'w': a->overwrite = 1; break;
        case 'd': type = optarg; break;
        case 'p': a->pre = optarg; break;
        case 'g':
            a->gguf = 1;
            type = optarg ? optarg : type;
            break;
        case 'h': fputs(HELP, stdout); return 0;
        default: return 2;
        }
    }
    if (a->gguf && argc - optind == 1 && type_named(argv[optind])) /* --gguf q8_0, as if it were --gguf=q8_0 */
        type = argv[optind++];
    if (!a->model || !a->out)
        return args_usage("export", "%s is missing", a->model ? "--out" : "--model");
    if (optind < argc)
        return args_usage("export", "'%s' is no option", argv[optind]);
    size_t length = strlen(a->out);
    a->gguf |= length > 5 && strcasecmp(a->out + length - 5, ".gguf") == 0;
    if (a->adapter_only && (a->gguf || type)) {
        fputs("grpo export: an adapter alone is a folder in float32: leave out --dtype and --gguf, and let --out name a folder\n",
              stderr);
        return 2;
    }
    type = type ? type : "float32";
    a->type = type_named(type);
    if (a->type && (a->gguf || strcmp(a->type, "Q8_0") != 0))
        return -1;
    fprintf(stderr, "grpo export: --dtype %s: float32, bfloat16 and float16 are possible, and q8_0 in a GGUF file\n", type);
    return 2;
}

int cmd_export(int argc, char **argv)
{
    arguments a = {0};
    int code = parse(&a, argc, argv);
    if (code >= 0)
        return code;
    grpo_error err = {0};
    if (run(&a, &err) != GRPO_OK)
        return jsonl_fail("export", &err);
    printf("%s\n", a.out);
    return 0;
}
