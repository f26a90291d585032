/* The loop over steps. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/machine.h"
#include "train/trainer_impl.h"

static int interrupted(const trainer *t)
{
    return t->options.interrupt && *t->options.interrupt;
}

/* ---- evaluation ----------------------------------------------------------------------------------------------- */

static void show_evaluation(void *context, long finished, long of)
{
    trainer *t = context;
    progress_phase(&t->progress, "evaluating", finished, of, machine_seconds());
}

/* Held-out prompts share nothing, so fewer of their answers fit into the key/value store at once. */
static int evaluation_slots(const memory_plan *p)
{
    int fit = (p->kv_blocks - kv_blocks_for(p->max_positions)) / (kv_blocks_for(p->max_positions) + 1);
    return fit < 1 ? 1 : fit < p->slots ? fit : p->slots;
}

/* Without a reward that judges there is no accuracy to tell. */
static void say_evaluation(trainer *t, const evaluation *e)
{
    char accuracy[40] = "";
    if (e->judged)
        snprintf(accuracy, sizeof accuracy, "accuracy %.1f%%, ", 100 * e->accuracy);
    trainer_say(t, "step %llu: held-out %sreward %.3f, %.0f tokens an answer (%zu greedy answers, %.0f s)",
                (unsigned long long)t->step, accuracy, e->reward, e->length, e->answers, e->seconds);
}

static grpo_status run_evaluation(trainer *t, train_metrics *m, grpo_error *err)
{
    const train_config *c = t->config;
    evaluation result;
    evaluate_options o = {
        .sampling = {.temperature = 0, .top_p = 1, .max_new_tokens = c->rollout.max_new_tokens, .seed = (uint64_t)c->seed},
        .samples = 1,
        .limit = (size_t)c->eval.count,
        .slots = evaluation_slots(&t->plan),
        .stop = &t->stop,
        .progress = show_evaluation,
        .context = t,
    };
    const prompt_table *prompts = t->eval_prompts.prompt ? &t->eval_prompts : &t->prompts;
    t->e.interrupt = t->options.interrupt;
    grpo_status status = evaluate(&result, &t->e, &t->lm, &t->eval_view, prompts, t->scoring, &o, err);
    t->e.interrupt = NULL;
    if (status != GRPO_OK)
        return status;
    m->eval_accuracy = result.accuracy;
    m->eval_reward = result.reward;
    m->eval_completion_length = result.length;
    m->time_eval = result.seconds;
    if (isnan(t->first_eval_accuracy))
        t->first_eval_accuracy = result.accuracy;
    t->last_eval_accuracy = result.accuracy;
    t->evaluations++;
    say_evaluation(t, &result);
    if (result.unscored)
        trainer_say(t, "%zu of %zu held-out answers could not be scored", result.unscored, result.answers);
    return GRPO_OK;
}

static int evaluation_due(const trainer *t)
{
    int every = t->config->eval.every;
    if (t->eval_view.count == 0)
        return 0;
    return t->step == t->steps || (every > 0 && t->step % (uint64_t)every == 0);
}

/* ---- one step ---------------------------------------------------------------------------------------------------- */

static grpo_status run_step(trainer *t, grpo_error *err)
{
    train_metrics m;
    step_batch b;
    metrics_init(&m);
    double began = machine_seconds();
    grpo_status status = trainer_sample(t, &b, &m, err);
    if (status == GRPO_OK)
        trainer_commit_memory(t);
    double trained_from = machine_seconds();
    if (status == GRPO_OK)
        status = trainer_advantages(t, &b, &m, err);
    if (status == GRPO_OK) {
        status = trainer_update(t, &b, &m, err);
        if (status == GRPO_ERR_NUMERIC && t->config->log.samples) /* for whoever looks for the cause, which is what err says */
            trainer_write_samples(t, &b, t->step + 1, NULL);
    }
    if (status == GRPO_OK) {
        m.time_train = machine_seconds() - trained_from;
        m.time_step = machine_seconds() - began;
        t->step++;
        t->saved = false;
        t->data_position += b.taken;
        t->tokens_seen += (double)(b.counts.prompt_tokens + b.counts.completion_tokens);
        trainer_measure(t, &b, &m);
        if (t->reference.layer && !isnan(m.kl)) /* NaN: nothing measured it: every token masked, or values alone trained */
            t->kl_coef = grpo_kl_controller(t->config->algo.kl_control, t->kl_coef, m.kl, t->config->algo.kl_target,
                                            t->config->algo.kl_horizon, (double)b.answers);
        trainer_reference_follow(t);
        if (t->config->log.samples)
            status = trainer_write_samples(t, &b, t->step, err);
        rollout_release(&t->e, b.groups, b.n_groups); /* an evaluation needs the key/value store */
    }
    grpo_status evaluated = GRPO_OK;
    grpo_error eval_error;
    if (status == GRPO_OK && evaluation_due(t))
        evaluated = run_evaluation(t, &m, &eval_error);
    if (status == GRPO_OK)
        status = trainer_write_step(t, &b, &m, err);
    step_batch_deinit(t, &b);
    if (status == GRPO_OK && evaluated != GRPO_OK) {
        if (err)
            *err = eval_error;
        status = evaluated;
    }
    return status;
}

/* ---- evaluations between steps --------------------------------------------------------------------------------------- */

/* Whether metrics.jsonl has an evaluation of the present weights. An interrupted one leaves the step's line without it. */
static grpo_status evaluation_made(int *made, const trainer *t, grpo_error *err)
{
    train_metrics *line;
    size_t count;
    *made = 0;
    grpo_status status = metrics_file_read(&line, &count, t->metrics.path, err);
    if (status != GRPO_OK)
        return status;
    for (size_t i = 0; i < count && !*made; i++)
        *made = line[i].step == (double)t->step && !isnan(line[i].time_eval);
    mem_free(line);
    return GRPO_OK;
}

/* Before the first step where that is wanted, and what a run that goes on was interrupted in. */
static grpo_status evaluate_first(trainer *t, grpo_error *err)
{
    train_metrics m;
    int made = 0;
    grpo_status status = GRPO_OK;
    if (t->step == 0 ? t->eval_view.count == 0 || !t->config->eval.at_start : !evaluation_due(t))
        return GRPO_OK;
    if (t->step > 0)
        status = evaluation_made(&made, t, err);
    if (status != GRPO_OK || made)
        return status;
    metrics_init(&m);
    status = run_evaluation(t, &m, err);
    if (status != GRPO_OK)
        return status;
    t->saved = false; /* a checkpoint says what the first evaluation gave */
    m.step = (double)t->step;
    json_t *line = metrics_to_json(&m, NULL);
    status = line ? metrics_file_write(&t->metrics, line, err) : mem_fail(err, "metrics", 0);
    json_decref(line);
    return status;
}

/* ---- the run ---------------------------------------------------------------------------------------------------------- */

/* Where the step's checkpoint is there already, only the message is left to do. */
static grpo_status stop_by_interrupt(trainer *t, grpo_error *err)
{
    grpo_error problem;
    if (!t->saved && trainer_checkpoint(t, &problem) != GRPO_OK) {
        if (err)
            *err = problem;
        return problem.status;
    }
    return grpo_fail(err, GRPO_ERR_INTERRUPTED,
                     "stopped after step %llu of %llu; a checkpoint was written. Go on with --resume",
                     (unsigned long long)t->step, (unsigned long long)t->steps);
}

static int checkpoint_due(const trainer *t)
{
    int every = t->config->checkpoint.every;
    return t->step == t->steps || (every > 0 && t->step % (uint64_t)every == 0);
}

grpo_status trainer_run(trainer *t, grpo_error *err)
{
    t->began = machine_seconds();
    grpo_status status = evaluate_first(t, err);
    while (status == GRPO_OK && t->step < t->steps && !interrupted(t)) {
        status = run_step(t, err);
        if (status == GRPO_OK && checkpoint_due(t))
            status = trainer_checkpoint(t, err);
    }
    if (status == GRPO_ERR_INTERRUPTED || (status == GRPO_OK && t->step < t->steps))
        return stop_by_interrupt(t, err);
    if (status == GRPO_OK)
        trainer_say_end(t);
    return status;
}
