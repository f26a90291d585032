/* The tokenizer in a GGUF file's metadata (tokenizer.ggml.*, tokenizer.chat_template). */
#ifndef MODEL_TOKENIZER_H
#define MODEL_TOKENIZER_H

#include "grpo/tokenizer.h"
#include "model/gguf.h"

/* Nothing of the file is kept. */
grpo_status model_tokenizer_from_gguf(grpo_tokenizer **out, const gguf_file *f, grpo_error *err);

#endif
