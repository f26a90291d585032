/* What a run says, and its metrics: start, every step, end. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/machine.h"
#include "train/plot.h"
#include "train/trainer_impl.h"

void trainer_say(trainer *t, const char *format, ...)
{
    strbuf s = STRBUF_INIT;
    va_list args;
    va_start(args, format);
    strbuf_vprintf(&s, format, args);
    va_end(args);
    progress_say(&t->progress, strbuf_text(&s));
    strbuf_deinit(&s);
}

/* ---- start ------------------------------------------------------------------------------------------------ */

/* "q_proj, v_proj": the kinds of modules that the adapter stands beside. */
static void put_targets(strbuf *out, const model_adapter *a)
{
    for (int i = 0; i < a->count; i++) {
        const char *name = strrchr(a->modules[i].name, '.') + 1;
        int earlier = 0;
        for (int k = 0; k < i && !earlier; k++)
            earlier = a->modules[k].role == a->modules[i].role;
        if (!earlier)
            strbuf_printf(out, "%s%s", i ? ", " : "", name);
    }
}

static void say_adapter(trainer *t, const model_adapter *a)
{
    strbuf targets = STRBUF_INIT;
    put_targets(&targets, a);
    uint64_t base = t->lm.m->layout.parameters, trained = a->layout.parameters;
    trainer_say(t, "adapter    LoRA rank %d, alpha %g, scale %g (alpha / %s) on %s%s: %.3f M parameters are trained, %.2f%% of %.1f M",
                a->rank, a->alpha, (double)adapter_scale(a->alpha, a->rank, a->rslora), a->rslora ? "sqrt(rank)" : "rank",
                strbuf_text(&targets), t->adapter_given ? ", going on from one" : "", (double)trained / 1e6,
                100.0 * (double)trained / (double)(base + trained), (double)(base + trained) / 1e6);
    strbuf_deinit(&targets);
}

/* What the preset, the file and the command line together come to, also where it is the default. */
static void say_algorithm(trainer *t)
{
    static const char *const said[] = {"advantage_estimator", "importance_sampling_level", "loss",
                                       "clip_epsilon_low",    "clip_epsilon_high",         "loss_aggregation",
                                       "kl_coef",             "kl_estimator",              "kl_place"};
    enum { KL_COEF = 6 }; /* what follows says nothing where it is 0 */
    size_t count, presets;
    const grpo_algo *algo = &t->config->algo;
    const grpo_option *option = grpo_algo_options(&count);
    strbuf text = STRBUF_INIT;
    strbuf_puts(&text, grpo_presets(&presets)[t->config->algorithm].name);
    for (size_t i = 0; i < sizeof said / sizeof *said; i++)
        for (size_t k = 0; k < count; k++) {
            char value[64];
            if (strcmp(option[k].key, said[i]) != 0 || (i > KL_COEF && algo->kl_coef == 0))
                continue;
            grpo_algo_get(algo, &option[k], value, sizeof value);
            strbuf_printf(&text, "%s %s %s", i ? "," : ":", said[i], value);
        }
    trainer_say(t, "algorithm  %s", strbuf_text(&text));
    strbuf_deinit(&text);
}

static const char *arithmetic(const model *m)
{
    switch (m->precision) {
    case MODEL_BF16_WEIGHTS:
        return "f32 arithmetic on weights rounded to bf16 (f32 master)";
    case MODEL_BF16:
        return ops_is_fast(OPS_BF16_DOT) ? "bf16 products with f32 sums (f32 master)"
                                  : "bf16 products with f32 sums (f32 master; on this processor "
                                          "bf16_weights would be as fast)";
    case MODEL_BF16_AMX:
        return ops_is_fast(OPS_BF16_TILE) ? "bf16 products on AMX with f32 sums (f32 master)"
                                          : "bf16 products in AMX's order with f32 sums (f32 master; this processor has "
                                            "no AMX: every other precision would be faster)";
    default:
        return "f32 arithmetic";
    }
}

void trainer_say_start(trainer *t)
{
    const train_config *c = t->config;
    const model_config *mc = &t->lm.m->config;
    strbuf changed = STRBUF_INIT;
    trainer_say(t, "model      %s: %s, %.1f M parameters, %d layers, context %d, %s on %s, %d threads",
                c->model, mc->family, (double)t->lm.m->layout.parameters / 1e6, mc->layers, t->lm.m->max_context,
                arithmetic(t->lm.m), ops_isa(), pool_threads(t->threads));
    if (t->lm.m->adapter)
        say_adapter(t, t->lm.m->adapter);
    trainer_say(t, "data       %s: %zu prompts to train on, %s", c->data.path, t->train_view.count,
                prompt_way(&t->lm, data_get(t->data, 0), c->data.chat));
    if (t->eval_view.count > 0)
        trainer_say(t, "held out   %zu prompts", t->eval_view.count);
    trainer_say(t, "run        %llu steps of %d prompts x %d answers of at most %d tokens, into %s",
                (unsigned long long)t->steps, c->rollout.prompts_per_step, c->group_size, c->rollout.max_new_tokens,
                c->output_dir);
    say_algorithm(t);
    if (!t->facts.has_end_token && t->stop.count == 0)
        trainer_say(t, "careful: the model names no end token, so that only rollout.max_new_tokens ends an answer: set rollout.stop to "
                       "a text that does");
    if (train_config_put_changed(&changed, c, NULL) == GRPO_OK)
        trainer_say(t, "settings that differ from the defaults (all of them: %s/config.yaml)\n%s", c->output_dir,
                    strbuf_text(&changed));
    trainer_say(t, "memory\n%s", t->plan_text);
    strbuf_deinit(&changed);
}

/* ---- a step ---------------------------------------------------------------------------------------------------- */

static json_t *parts_of(const trainer *t, const step_batch *b)
{
    json_t *extra = json_object();
    size_t parts = scoring_parts(t->scoring);
    if (!t->reference.layer)
        json_object_set_new(extra, "kl", json_null()); /* the key is always there; without a reference nothing measures it */
    for (size_t p = 0; p < parts; p++) {
        double sum = 0;
        size_t n = 0;
        for (size_t i = 0; i < b->answers; i++)
            if (!isnan(b->score[i].part[p])) {
                sum += b->score[i].part[p];
                n++;
            }
        char key[96];
        snprintf(key, sizeof key, "reward/%s", scoring_part_name(t->scoring, p));
        json_object_set_new(extra, key, n ? json_double(sum / (double)n) : json_null());
    }
    return extra;
}

static void diagnose_and_say(trainer *t, const train_metrics *m, json_t *extra)
{
    diagnosis found[DIAGNOSE_COUNT];
    size_t n = diagnose_step(&t->diagnoses, found, &t->facts, m);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        trainer_say(t, "look here: %s", found[i].message);
        json_array_append_new(list, json_pack("{s:s,s:s}", "id", diagnose_name(found[i].id), "message", found[i].message));
    }
    if (n > 0)
        json_object_set(extra, "diagnoses", list);
    json_decref(list);
}

const char *trainer_first_problem(const step_batch *b)
{
    for (size_t i = 0; i < b->answers; i++)
        if (isnan(b->reward[i]))
            return b->score[i].problem[0] ? b->score[i].problem : "its greedy baseline could not be scored";
    return "";
}

/* Rewards that failed, and answers that nobody could judge, are never passed over in silence. */
static void say_unscored(trainer *t, const step_batch *b)
{
    size_t unverifiable = 0;
    for (size_t i = 0; i < b->answers; i++)
        unverifiable += (size_t)b->score[i].unverifiable;
    if (b->unscored)
        trainer_say(t, "%zu of %zu answers could not be scored and were left out; the first: %s", b->unscored, b->answers,
                    trainer_first_problem(b));
    if (unverifiable)
        trainer_say(t, "%zu of %zu answers could not be verified (\"unverifiable\" in samples.jsonl)", unverifiable, b->answers);
}

grpo_status trainer_write_step(trainer *t, const step_batch *b, const train_metrics *m, grpo_error *err)
{
    json_t *extra = parts_of(t, b);
    diagnose_and_say(t, m, extra);
    json_t *line = metrics_to_json(m, extra);
    grpo_status status = line ? metrics_file_write(&t->metrics, line, err) : mem_fail(err, "metrics", 0);
    json_decref(line);
    json_decref(extra);
    progress_step(&t->progress, m, machine_seconds());
    say_unscored(t, b);
    return status;
}

/* ---- end ---------------------------------------------------------------------------------------------------------------- */

void trainer_draw_plot(trainer *t)
{
    grpo_error err;
    if (t->config->log.plot && plot_run_folder(t->config->output_dir, &err) != GRPO_OK)
        trainer_say(t, "no plot: %s", err.message);
}

void trainer_say_end(trainer *t)
{
    char took[32], peak[32];
    machine_format_seconds(took, machine_seconds() - t->began);
    machine_format_bytes(peak, machine_peak_rss());
    trainer_draw_plot(t);
    trainer_say(t, "done       %llu steps in %s, peak memory %s", (unsigned long long)t->step, took, peak);
    size_t limit = (size_t)t->config->eval.count, held_out = t->eval_view.count;
    if (t->evaluations > 1 && !isnan(t->last_eval_accuracy))
        trainer_say(t, "accuracy   %.1f%% -> %.1f%% on %zu held-out prompts", 100 * t->first_eval_accuracy,
                    100 * t->last_eval_accuracy, limit && limit < held_out ? limit : held_out);
    trainer_say(t, "run folder %s (config.yaml, metrics.jsonl, %s%scheckpoints/)", t->config->output_dir,
                t->config->log.samples ? "samples.jsonl, " : "", t->config->log.plot ? "plot.svg, " : "");
}
