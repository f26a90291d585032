/* config.json of a Hugging Face folder -> model_config. Both spellings are understood (transformers
 * 4: rope_theta, rope_scaling; transformers 5: rope_parameters). Keys that are absent get the
 * family's defaults. A key that is neither understood nor known to be without effect is refused. */
#ifndef MODEL_CONFIG_HF_H
#define MODEL_CONFIG_HF_H

#include "base/json.h"
#include "model/config.h"

/* json: the parsed config.json. generation: the parsed generation_config.json, or NULL (its eos
 * ids win, as in transformers' generate). where: for messages. The config is checked. */
grpo_status model_config_from_json(model_config *c, const json_t *json, const json_t *generation,
                                   const char *where, grpo_error *err);

/* The part of config.json that describes the language model: the object itself, or for a
 * multimodal Gemma 3 its text_config completed with what a text-only config.json has. New reference. */
json_t *model_config_text_part(const json_t *json);

#endif
