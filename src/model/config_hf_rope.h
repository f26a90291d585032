/* The rotary embedding in config.json: rope_theta and rope_scaling (transformers 4), rope_parameters (5). */
#ifndef MODEL_CONFIG_HF_ROPE_H
#define MODEL_CONFIG_HF_ROPE_H

#include "model/config_reader.h"
#include "model/family.h"

/* Fills ropes and n_ropes; sizes must have been read. */
void config_read_ropes(config_reader *r, const model_family *family, model_config *c);

#endif
