/* A model as a GGUF file that llama.cpp loads. */
#ifndef MODEL_EXPORT_GGUF_H
#define MODEL_EXPORT_GGUF_H

#include "model/export_hf.h"
#include "model/gguf_write.h"

typedef struct model_export_gguf_options {
    const char *type; /* "F32", "F16", "BF16", "Q8_0": of the matrices; vectors and routers stay F32. Rows that
                         Q8_0 cannot hold (no multiple of 32) become F16. */
    const char *name; /* general.name, or NULL */
    /* Where the tokenizer comes from: the metadata of a GGUF file (copied), else a folder with a
     * tokenizer.json. Both NULL: no tokenizer, and the file says so: llama.cpp then takes ids alone. */
    const gguf_file *tokenizer_gguf;
    const char *tokenizer_folder;
    const char *pre; /* llama.cpp's name of the pre-tokenizer, for a tokenizer.json with one that is not
                        recognised; NULL: recognise */
    int *widened;    /* counts the matrices that became F16 under Q8_0; may be NULL */
} model_export_gguf_options;

/* Writes the file, atomically. What llama.cpp would compute otherwise than the configuration says
 * (windows in families where it knows none, a score head, …) is refused. e->config_json and
 * e->generation_json are not used. */
grpo_status model_export_gguf(const model_export *e, const model_export_gguf_options *options, const char *path,
                              grpo_error *err);

/* The tokenizer.ggml.* metadata of a folder's tokenizer.json and tokenizer_config.json, for `vocab`
 * rows of embedding. */
grpo_status model_gguf_put_tokenizer(gguf_meta *m, const char *folder, const model_config *c, const char *pre,
                                     grpo_error *err);

#endif
