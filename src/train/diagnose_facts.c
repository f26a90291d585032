/* What the diagnoses need to know of a configuration. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "reward/reward.h"
#include "train/diagnose.h"

/* Estimators whose advantages compare the completions of a group. */
static bool compares_group(const grpo_algo *a)
{
    return a->advantage != GRPO_ADV_GAE && a->advantage != GRPO_ADV_REMAX && a->advantage != GRPO_ADV_REINFORCE_PP;
}

static bool divides_by_std(const grpo_algo *a)
{
    bool scales = a->advantage == GRPO_ADV_GRPO || a->advantage == GRPO_ADV_PASSK;
    return (scales && a->scale_rewards != GRPO_SCALE_NONE) || a->advantage == GRPO_ADV_GDPO;
}

/* The ratio leaves 1 with the second update of a rollout, or at once where it is to another engine's log-probs. */
static const char *why_no_clip(const train_config *c)
{
    bool clips = c->algo.loss == GRPO_LOSS_CLIP || c->algo.loss == GRPO_LOSS_CLIP_COV || c->algo.loss == GRPO_LOSS_GMPO;
    bool moves = c->train.updates_per_rollout * c->train.mini_batches > 1 || c->rollout.old_logprobs == TRAIN_OLD_SAMPLER;
    if (!clips)
        return "this loss does not clip";
    return moves ? NULL : "with one update of a rollout the ratio is exactly 1";
}

static bool divides_by_length(const grpo_algo *a)
{
    return a->loss_aggregation == GRPO_AGG_SEQ_MEAN_TOKEN_MEAN ||
           (a->loss_aggregation == GRPO_AGG_ROW_MEAN && a->importance_sampling_level == GRPO_RATIO_SEQUENCE_MEAN);
}

static double larger_finite(double a, double b)
{
    return isinf(a) ? b : isinf(b) ? a : fmax(a, b);
}

/* ---- the command that scores the last answers again ------------------------------------------------------------- */

static void put_quoted(strbuf *out, const char *text)
{
    strbuf_putc(out, '\'');
    for (; *text; text++)
        if (*text == '\'')
            strbuf_puts(out, "'\\''");
        else
            strbuf_putc(out, *text);
    strbuf_putc(out, '\'');
}

static void put_reward(strbuf *out, const train_reward *r)
{
    strbuf_puts(out, " --reward ");
    put_quoted(out, r->spec);
    if (r->weight != 1)
        strbuf_printf(out, " --weight %g", r->weight);
    if (r->when) {
        strbuf_puts(out, " --when ");
        put_quoted(out, r->when);
    }
    if (!isnan(r->gate))
        strbuf_printf(out, " --gate %g", r->gate);
}

/* Programs are taken out of answers as in training, and run as there. */
static void put_code_options(strbuf *out, const train_config *c)
{
    strbuf_printf(out, " --field completion --test-timeout %g --memory %lldK%s", c->code.test_timeout,
                  (long long)(c->code.memory / 1024), c->code.unsafe ? " --unsafe" : "");
}

static void write_look(char *out, size_t size, const train_config *c)
{
    train_reward single;
    size_t count;
    const train_reward *rewards = train_config_rewards(c, &single, &count);
    bool code = false;
    char kind[32];
    strbuf text = STRBUF_INIT;
    if (c->log.samples) {
        strbuf_printf(&text, "tail -n %d ", c->group_size);
        put_quoted(&text, c->output_dir);
        strbuf_puts(&text, "/samples.jsonl | ");
    }
    strbuf_puts(&text, "grpo score");
    for (size_t i = 0; i < count; i++) {
        put_reward(&text, &rewards[i]);
        reward_kind_of(kind, rewards[i].spec);
        code |= strcmp(kind, "code") == 0;
    }
    if (code)
        put_code_options(&text, c);
    strbuf_puts(&text, " --explain");
    bool fits = !text.failed && text.length < size;
    snprintf(out, size, "%s", fits ? strbuf_text(&text) : "grpo score --reward SPEC --explain");
    strbuf_deinit(&text);
}

/* ---- all ---------------------------------------------------------------------------------------------------------- */

void diagnose_facts_init(diagnose_facts *facts, const train_config *c, bool has_chat_template, bool has_end_token)
{
    const grpo_algo *a = &c->algo;
    *facts = (diagnose_facts){
        .group_size = c->group_size,
        .group_baseline = compares_group(a),
        .normalises_parts = a->advantage == GRPO_ADV_GDPO,
        .divides_by_std = divides_by_std(a),
        .no_clip = why_no_clip(c),
        .clip_epsilon = larger_finite(a->clip_epsilon_low, a->clip_epsilon_high),
        .clip_epsilon_high = a->clip_epsilon_high,
        .kl_coef = a->kl_coef,
        .kl_adapts = a->kl_control == GRPO_KL_ADAPTIVE,
        .token_ratio = a->importance_sampling_level == GRPO_RATIO_TOKEN,
        .divides_by_length = divides_by_length(a),
        .punishes_length = a->overlong_buffer > 0,
        .max_new_tokens = c->rollout.max_new_tokens,
        .updates_per_rollout = c->train.updates_per_rollout * c->train.mini_batches,
        .masks_truncated = a->mask_truncated,
        .samples_here = c->rollout.source == TRAIN_SOURCE_SAMPLE,
        .can_resample = c->rollout.source == TRAIN_SOURCE_SAMPLE && compares_group(a) && !a->dynamic_sampling,
        .has_chat_template = has_chat_template || c->data.chat == TRAIN_CHAT_NEVER,
        .has_end_token = has_end_token,
    };
    write_look(facts->look, sizeof facts->look, c);
}
