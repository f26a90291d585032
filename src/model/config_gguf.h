/* GGUF metadata -> model_config, with what llama.cpp assumes where the file says nothing. A key of
 * the architecture that is not understood is refused. */
#ifndef MODEL_CONFIG_GGUF_H
#define MODEL_CONFIG_GGUF_H

#include "model/config.h"
#include "model/gguf.h"

/* The config is checked, and its tensors' names are not. */
grpo_status model_config_from_gguf(model_config *c, const gguf_file *f, grpo_error *err);

#endif
