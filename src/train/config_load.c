/* A training run's configuration, put together: defaults, the preset of `algorithm`, the file, the
 * command line; and what must fit together. */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "train/config.h"

/* ---- layers ------------------------------------------------------------------------------------ */

static grpo_status read_overrides(schema_tree **out, const char *const *overrides, size_t count, grpo_error *err)
{
    grpo_status status = schema_tree_parse(out, "", 0, "command line", err);
    for (size_t i = 0; status == GRPO_OK && i < count; i++)
        status = schema_tree_override(*out, train_schema(), overrides[i], "command line", err);
    return status;
}

/* Sets the preset that the layers name, the last one winning; a wrong name is left to schema_apply,
 * which says where it stands. */
static void apply_preset(train_config *c, const schema_tree *file, const schema_tree *overrides)
{
    const char *name = schema_tree_text(overrides, "algorithm");
    if (!name && file)
        name = schema_tree_text(file, "algorithm");
    grpo_algo preset;
    if (name && grpo_algo_preset(&preset, name, NULL) == GRPO_OK)
        c->algo = preset;
}

/* `clip_epsilon` stands for both sides, except those that the same layer names itself. */
static grpo_status apply_layer(train_config *c, const schema_tree *tree, grpo_error *err)
{
    grpo_status status = schema_apply(c, train_schema(), tree, err);
    if (status != GRPO_OK)
        return status;
    if (schema_tree_text(tree, "clip_epsilon") && !isnan(c->clip_epsilon)) {
        if (!schema_tree_text(tree, "clip_epsilon_low"))
            c->algo.clip_epsilon_low = c->clip_epsilon;
        if (!schema_tree_text(tree, "clip_epsilon_high"))
            c->algo.clip_epsilon_high = c->clip_epsilon;
    }
    if (schema_tree_text(tree, "reward_type") && schema_tree_has(tree, "rewards") && c->rewards.count > 0)
        return grpo_fail(err, GRPO_ERR_CONFIG, "reward_type and rewards are both given; keep one of them");
    if (schema_tree_text(tree, "reward_type")) { /* this layer's choice wins over an earlier list */
        schema_free_records(&c->rewards, schema_find(train_schema(), "rewards"));
    } else if (c->rewards.count > 0) {
        mem_free(c->reward_type);
        c->reward_type = NULL;
    }
    return GRPO_OK;
}

/* ---- what must fit together ---------------------------------------------------------------------- */

static grpo_status check_algorithm(train_config *c, grpo_error *err)
{
    grpo_status status = GRPO_OK;
    if (c->algorithm_library)
        status = grpo_algo_load_library(&c->algo, c->algorithm_library, err);
    if (status == GRPO_OK)
        status = grpo_algo_validate(&c->algo, err);
    if (status != GRPO_OK)
        return status;
    switch (c->algo.advantage) {
    case GRPO_ADV_GAE:
    case GRPO_ADV_REINFORCE_PP:
    case GRPO_ADV_REMAX:
    case GRPO_ADV_LIBRARY: /* it knows what it compares */
        break;
    default:
        if (c->group_size < 2)
            return grpo_fail(err, GRPO_ERR_CONFIG,
                             "group_size is 1, but the advantage compares the completions of a group; use 8 or more");
    }
    if (!c->reward_type && c->rewards.count == 0)
        return grpo_fail(err, GRPO_ERR_CONFIG, "there is no reward; set reward_type or rewards");
    return GRPO_OK;
}

static grpo_status check_lora(const train_config *c, grpo_error *err)
{
    if (c->lora.dropout != 0)
        return grpo_fail(err, GRPO_ERR_CONFIG,
                         "lora.dropout must be 0: with dropout, training would run another policy than the one that was sampled "
                         "from, and the on-policy ratio would not be 1");
    if (c->lora.path || c->lora.rank > 0)
        return GRPO_OK;
    const char *key = !isnan(c->lora.alpha) ? "alpha" : c->lora.targets.count > 0 ? "targets" : c->lora.rslora ? "rslora" : NULL;
    if (key)
        return grpo_fail(err, GRPO_ERR_CONFIG, "lora.%s is set but lora.rank is 0, which trains every weight; set lora.rank", key);
    return GRPO_OK;
}

static grpo_status check_sizes(const train_config *c, grpo_error *err)
{
    if (c->data.held_out > 0 && c->data.eval_path)
        return grpo_fail(err, GRPO_ERR_CONFIG, "data.held_out and data.eval_path are both given; keep one of them");
    if (c->rollout.prompts_per_step % c->train.mini_batches != 0)
        return grpo_fail(err, GRPO_ERR_CONFIG,
                         "train.mini_batches (%d) must divide rollout.prompts_per_step (%d): a part has whole groups",
                         c->train.mini_batches, c->rollout.prompts_per_step);
    if ((int64_t)c->rollout.prompts_per_step * c->group_size > 1 << 22)
        return grpo_fail(err, GRPO_ERR_CONFIG, "rollout.prompts_per_step times group_size is over %d completions a step",
                         1 << 22);
    for (size_t i = 0; i < c->rollout.stop.count; i++)
        if (!*c->rollout.stop.items[i])
            return grpo_fail(err, GRPO_ERR_CONFIG, "rollout.stop has an empty text, which would end every completion");
    return GRPO_OK;
}

static grpo_status check_source(const train_config *c, grpo_error *err)
{
    int stored = c->rollout.source == TRAIN_SOURCE_DATA;
    if (!stored && (c->algo.sampler_correction != GRPO_SAMPLER_NONE || c->rollout.reject ||
                    c->rollout.old_logprobs != TRAIN_OLD_ENGINE))
        return grpo_fail(err, GRPO_ERR_CONFIG,
                         "sampler_correction, rollout.reject and rollout.old_logprobs are for rollouts of another engine "
                         "(rollout.source=data); this engine's own samples need no correction");
    if (stored && (c->rollout.top_k > 0 || c->rollout.top_p < 1 || c->rollout.min_p > 0))
        return grpo_fail(err, GRPO_ERR_CONFIG,
                         "rollout.top_k, top_p and min_p with rollout.source=data: which tokens the other engine left out is "
                         "not known; the log-probabilities in the records must be those of the whole distribution");
    if (stored && c->algo.dynamic_sampling)
        return grpo_fail(err, GRPO_ERR_CONFIG,
                         "dynamic_sampling with rollout.source=data: nothing is sampled; set dynamic_sampling=false");
    if (c->algo.dynamic_sampling && (c->group_size < 2 || c->algo.advantage == GRPO_ADV_REMAX))
        return grpo_fail(err, GRPO_ERR_CONFIG,
                         "dynamic_sampling replaces groups whose completions are all right or all wrong: it needs a group_size of "
                         "2 or more and an advantage that compares them (not remax); set dynamic_sampling=false");
    if (stored && c->algo.advantage == GRPO_ADV_REMAX)
        return grpo_fail(err, GRPO_ERR_CONFIG, "remax needs greedy answers of the policy: not with rollout.source=data");
    if (!c->rollout.reject != !c->rollout.reject_threshold)
        return grpo_fail(err, GRPO_ERR_CONFIG, "rollout.reject and rollout.reject_threshold go together");
    return GRPO_OK;
}

static grpo_status check_value(const train_config *c, grpo_error *err)
{
    if (c->value.trunk == TRAIN_TRUNK_POLICY && c->value.model)
        return grpo_fail(err, GRPO_ERR_CONFIG,
                         "value.model names a network of its own, value.trunk=policy puts the head on the policy: keep one of them");
    return GRPO_OK;
}

/* ---- the whole ------------------------------------------------------------------------------------ */

static grpo_status load_layers(train_config *c, const schema_tree *file, const schema_tree *overrides, grpo_error *err)
{
    apply_preset(c, file, overrides);
    grpo_status status = file ? apply_layer(c, file, err) : GRPO_OK;
    if (status == GRPO_OK)
        status = apply_layer(c, overrides, err);
    if (!schema_tree_has(overrides, "fixed_length") && !(file && schema_tree_has(file, "fixed_length")))
        c->algo.fixed_length = c->rollout.max_new_tokens; /* Dr. GRPO's constant */
    if (status == GRPO_OK)
        status = schema_check_required(c, train_schema(), err);
    if (status == GRPO_OK)
        status = check_algorithm(c, err);
    if (status == GRPO_OK)
        status = check_sizes(c, err);
    if (status == GRPO_OK)
        status = check_source(c, err);
    if (status == GRPO_OK)
        status = check_lora(c, err);
    if (status == GRPO_OK)
        status = check_value(c, err);
    c->clip_epsilon = c->algo.clip_epsilon_low == c->algo.clip_epsilon_high ? c->algo.clip_epsilon_low : NAN;
    return status;
}

grpo_status train_config_load(train_config *c, const char *path, const char *const *overrides, size_t count,
                              grpo_error *err)
{
    schema_tree *file = NULL, *line = NULL;
    grpo_status status = schema_defaults(c, train_schema(), err);
    if (status != GRPO_OK)
        return status;
    if (path)
        status = schema_tree_read(&file, path, err);
    if (status == GRPO_OK)
        status = read_overrides(&line, overrides, count, err);
    if (status == GRPO_OK)
        status = load_layers(c, file, line, err);
    schema_tree_destroy(file);
    schema_tree_destroy(line);
    if (status != GRPO_OK)
        train_config_deinit(c);
    return status;
}

void train_config_deinit(train_config *c)
{
    schema_deinit(c, train_schema());
}

const train_reward *train_config_rewards(const train_config *c, train_reward *single, size_t *count)
{
    *count = c->rewards.count;
    if (c->rewards.count > 0)
        return c->rewards.items;
    *single = (train_reward)TRAIN_REWARD_DEFAULT;
    single->spec = c->reward_type;
    *count = 1;
    return single;
}

grpo_status train_config_write(const train_config *c, const char *path, grpo_error *err)
{
    strbuf text = STRBUF_INIT;
    strbuf_puts(&text, "# The effective configuration of this run: every key, after preset, file and command line.\n");
    schema_put_yaml(&text, c, train_schema());
    grpo_status status = text.failed ? mem_fail(err, "the configuration", text.length)
                                     : file_write_all(path, strbuf_text(&text), text.length, err);
    strbuf_deinit(&text);
    return status;
}

grpo_status train_config_put_changed(strbuf *out, const train_config *c, grpo_error *err)
{
    train_config initial;
    grpo_status status = schema_defaults(&initial, train_schema(), err);
    if (status != GRPO_OK)
        return status;
    initial.algo.fixed_length = c->rollout.max_new_tokens; /* as load_layers */
    schema_put_changed(out, c, &initial, train_schema());
    schema_deinit(&initial, train_schema());
    return GRPO_OK;
}

void train_config_put_reference(strbuf *out)
{
    strbuf_puts(out, "# Configuration\n\n"
                     "Made by `grpo config --markdown` from the table in `src/train/config.c`; a test compares.\n\n"
                     "A run is one YAML file, `grpo train CONFIG.yaml`; any key can be given on the command line too, as "
                     "`key=value` or `section.key=value`. What is not set follows the preset of `algorithm`, then the "
                     "default. Unknown keys and values out of range are refused. `grpo config CONFIG.yaml` prints the "
                     "effective configuration.\n");
    schema_put_markdown(out, train_schema());
}
