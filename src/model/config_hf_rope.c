/* Reading rope_theta, rope_scaling and rope_parameters, with the priorities of transformers 5
 * (modeling_rope_utils.py): rope_scaling replaces rope_parameters, a theta beside them is the default of one inside. */
#include <string.h>

#include "base/mem.h"
#include "model/config_hf_rope.h"

/* finetuned is a note of the YaRN authors' own checkpoints. */
static int is_harmless(const char *key)
{
    return strcmp(key, "finetuned") == 0;
}

/* longrope with one list for all lengths is a plain list of divisors. */
static void read_factors(config_reader *r, const model_config *c, model_rope *rope)
{
    const json_t *shorter = config_get_array(r, "short_factor"), *longer = config_get_array(r, "long_factor");
    config_get_double(r, "factor", 0);
    rope->scaling = MODEL_ROPE_FACTORS;
    rope->original_positions = 0; /* decides between the lists only */
    if (!shorter || !longer || !json_equal(shorter, longer) || config_get_double(r, "attention_factor", 0) != 1) {
        config_wrong(r, "rope_type", "longrope is supported only with equal short_factor and long_factor and "
                                     "attention_factor 1");
        return;
    }
    size_t n = json_array_size(shorter);
    if (n != (size_t)c->rotary_dim / 2) {
        config_wrong(r, "short_factor", "must have one number for each rotated pair");
        return;
    }
    rope->factors = mem_calloc(n, sizeof *rope->factors);
    if (!rope->factors) {
        r->status = mem_fail(r->err, "rotary factors", n * sizeof *rope->factors);
        return;
    }
    for (size_t i = 0; i < n; i++)
        rope->factors[i] = (float)json_number_value(json_array_get(shorter, i));
}

static void read_yarn(config_reader *r, const model_config *c, model_rope *rope)
{
    rope->scaling = MODEL_ROPE_YARN;
    rope->factor = config_get_double(r, "factor", c->max_positions / rope->original_positions);
    rope->beta_fast = config_get_double(r, "beta_fast", 0);
    rope->beta_slow = config_get_double(r, "beta_slow", 0);
    rope->attention_factor = config_get_double(r, "attention_factor", 0);
    rope->mscale = config_get_double(r, "mscale", 0);
    rope->mscale_all_dim = config_get_double(r, "mscale_all_dim", 0);
    rope->truncate = config_get_bool(r, "truncate", 1);
    if (rope->attention_factor == 0 && config_get(r, "attention_factor"))
        config_wrong(r, "attention_factor", "must be positive");
    if (!rope->truncate && c->n_ropes > 1)
        config_wrong(r, "truncate", "false is not supported where layers have different rotary embeddings "
                                    "(transformers does not apply it there)");
}

/* outer_original: original_max_position_embeddings beside the object, which wins; 0 when absent. */
static void read_scaling(config_reader *r, const model_config *c, model_rope *rope, int outer_original)
{
    const char *old = config_get_string(r, "type", "default"), *type = config_get_string(r, "rope_type", old);
    int original = config_get_int(r, "original_max_position_embeddings", 0);
    if (config_get_double(r, "partial_rotary_factor", 1) != 1)
        config_wrong(r, "partial_rotary_factor", "other than 1 is not supported");
    if (strcmp(type, "default") == 0)
        return;
    if (outer_original)
        original = outer_original;
    rope->original_positions = original ? original : c->max_positions;
    if (strcmp(type, "linear") == 0) {
        rope->scaling = MODEL_ROPE_LINEAR;
        rope->factor = config_get_double(r, "factor", 0);
    } else if (strcmp(type, "dynamic") == 0) {
        /* Its frequencies change in sequences longer than max_position_embeddings, which are refused. */
        rope->original_positions = 0;
        config_get_double(r, "factor", 0);
    } else if (strcmp(type, "llama3") == 0) {
        rope->scaling = MODEL_ROPE_LLAMA3;
        rope->factor = config_get_double(r, "factor", 0);
        rope->low_freq_factor = config_get_double(r, "low_freq_factor", 0);
        rope->high_freq_factor = config_get_double(r, "high_freq_factor", 0);
    } else if (strcmp(type, "yarn") == 0) {
        read_yarn(r, c, rope);
    } else if (strcmp(type, "longrope") == 0) {
        read_factors(r, c, rope);
    } else if (r->status == GRPO_OK)
        r->status = grpo_fail(r->err, GRPO_ERR_UNSUPPORTED,
                              "%s: %srope_type \"%.40s\" is not supported (default, linear, dynamic, llama3 and yarn are)",
                              r->where, r->inside, type);
}

/* parameters: an object of rope settings, or NULL. */
static void read_rope(config_reader *outer, const json_t *parameters, const char *inside, const model_config *c,
                      model_rope *rope, int outer_original)
{
    config_reader r = {.object = parameters, .where = outer->where, .inside = inside, .err = outer->err};
    if (!parameters || outer->status != GRPO_OK)
        return;
    if (!json_is_object(parameters)) {
        config_wrong(outer, inside, "must be an object");
        return;
    }
    rope->theta = config_get_double(&r, "rope_theta", rope->theta);
    read_scaling(&r, c, rope, outer_original);
    config_refuse_leftovers(&r, is_harmless);
    outer->status = r.status;
}

/* Gemma 3: rope_theta and rope_scaling are the global layers'; transformers 5 nests one object for each kind. */
static void read_two_ropes(config_reader *r, const json_t *scaling, const json_t *parameters, model_config *c)
{
    c->n_ropes = 2;
    c->ropes[1].theta = config_get_double(r, "rope_local_base_freq", 1e4);
    if (parameters && !json_is_object(parameters)) {
        config_wrong(r, "rope_parameters", "must be an object");
    } else if (parameters) {
        config_reader nested = {.object = parameters, .where = r->where, .inside = "rope_parameters.", .err = r->err};
        read_rope(r, config_get(&nested, "full_attention"), "rope_parameters.full_attention.", c, &c->ropes[0], 0);
        read_rope(r, config_get(&nested, "sliding_attention"), "rope_parameters.sliding_attention.", c, &c->ropes[1], 0);
        if (r->status != GRPO_OK)
            return;
        config_refuse_leftovers(&nested, is_harmless);
        r->status = nested.status;
    }
    read_rope(r, scaling, "rope_scaling.", c, &c->ropes[0], 0);
}

void config_read_ropes(config_reader *r, const model_family *family, model_config *c)
{
    const json_t *scaling = config_get(r, "rope_scaling"), *parameters = config_get(r, "rope_parameters");
    int original = config_get_int(r, "original_max_position_embeddings", 0);
    c->n_ropes = 1;
    c->ropes[0].theta = config_get_double(r, "rope_theta", family->theta);
    if (config_get_double(r, "partial_rotary_factor", 1) != 1)
        config_wrong(r, "partial_rotary_factor", "other than 1 is not supported");
    if (json_is_object(scaling) && json_object_size(scaling) == 0)
        scaling = NULL;
    if (family->gemma)
        read_two_ropes(r, scaling, parameters, c);
    else if (scaling)
        read_rope(r, scaling, "rope_scaling.", c, &c->ropes[0], original);
    else
        read_rope(r, parameters, "rope_parameters.", c, &c->ropes[0], original);
}
