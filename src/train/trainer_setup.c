/* Building a trainer: model, data, memory, run folder; resuming; checkpoints. */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/machine.h"
#include "model/export_hf.h"
#include "train/trainer_impl.h"

/* ---- data --------------------------------------------------------------------------------------------------- */

typedef struct length_limit {
    const prompt_table *prompts;
    size_t most;
} length_limit;

static bool short_enough(void *context, size_t index, const data_record *r)
{
    const length_limit *limit = context;
    (void)r;
    return limit->prompts->prompt[index].n <= limit->most;
}

static size_t longest_allowed(const trainer *t)
{
    const train_config *c = t->config;
    int room = t->lm.m->max_context - c->rollout.max_new_tokens;
    int limit = c->data.max_prompt_tokens > 0 ? c->data.max_prompt_tokens : room;
    return (size_t)(limit < room ? limit : room);
}

static grpo_status drop_overlong(trainer *t, data_view *view, const prompt_table *prompts, const char *what,
                                 grpo_error *err)
{
    if (t->config->rollout.max_new_tokens >= t->lm.m->max_context)
        return grpo_fail(err, GRPO_ERR_CONFIG,
                         "rollout.max_new_tokens=%d leaves no room for a prompt in the model's context of %d; lower it",
                         t->config->rollout.max_new_tokens, t->lm.m->max_context);
    length_limit limit = {prompts, longest_allowed(t)};
    size_t before = view->count, dropped = data_view_filter(view, short_enough, &limit);
    if (dropped > 0)
        trainer_say(t, "%zu of %zu %s prompts are longer than %zu tokens and were left out", dropped, before, what,
                    limit.most);
    if (view->count == 0 && before > 0)
        return grpo_fail(err, GRPO_ERR_CONFIG,
                         "every %s prompt is longer than %zu tokens (data.max_prompt_tokens, and the context of %d less "
                         "rollout.max_new_tokens=%d)",
                         what, limit.most, t->lm.m->max_context, t->config->rollout.max_new_tokens);
    return GRPO_OK;
}

static grpo_status open_eval_data(trainer *t, const data_options *options, grpo_error *err)
{
    const train_config *c = t->config;
    grpo_status status = data_open(&t->eval_data, c->data.eval_path, options, err);
    if (status == GRPO_OK)
        status = prompt_table_init(&t->eval_prompts, &t->lm, t->eval_data, c->data.chat, err);
    if (status == GRPO_OK)
        status = data_view_all(&t->eval_view, t->eval_data, err);
    size_t shared = status == GRPO_OK ? data_overlap(t->eval_data, t->data) : 0;
    if (shared > 0)
        trainer_say(t, "careful: %zu prompts of %s stand in the training data too", shared, c->data.eval_path);
    return status;
}

static grpo_status open_data(trainer *t, grpo_error *err)
{
    const train_config *c = t->config;
    data_options options = {.prompt_field = c->data.prompt_field,
                            .answer_field = c->data.answer_field,
                            .template = c->data.template,
                            .system_prompt = c->data.system_prompt,
                            .limit = (size_t)c->data.limit};
    grpo_status status = data_open(&t->data, c->data.path, &options, err);
    if (status == GRPO_OK)
        status = prompt_table_init(&t->prompts, &t->lm, t->data, c->data.chat, err);
    if (status == GRPO_OK && c->data.eval_path) {
        status = data_view_all(&t->train_view, t->data, err);
        options.limit = 0;
        if (status == GRPO_OK)
            status = open_eval_data(t, &options, err);
    } else if (status == GRPO_OK) {
        status = data_view_split(&t->train_view, &t->eval_view, t->data, (size_t)c->data.held_out, (uint64_t)c->seed, err);
    }
    if (status == GRPO_OK && data_duplicates(t->data) > 0)
        trainer_say(t, "%zu prompts of %s stand there more than once", data_duplicates(t->data), c->data.path);
    if (status == GRPO_OK)
        status = drop_overlong(t, &t->train_view, &t->prompts, "training", err);
    if (status == GRPO_OK)
        status = drop_overlong(t, &t->eval_view, t->eval_prompts.prompt ? &t->eval_prompts : &t->prompts, "held-out", err);
    if (status == GRPO_OK)
        status = data_stream_init(&t->stream, &t->train_view, (uint64_t)c->seed, c->data.shuffle, err);
    return status;
}

/* ---- memory --------------------------------------------------------------------------------------------------------- */

static int longest_prompt(const data_view *view, const prompt_table *prompts)
{
    size_t longest = 1;
    for (size_t i = 0; i < view->count; i++)
        if (prompts->prompt[view->index[i]].n > longest)
            longest = prompts->prompt[view->index[i]].n;
    return (int)longest;
}

static int longer_first(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x < y) - (x > y);
}

/* Tokens of the longest prompts that can come together in a step. Its prompts follow each other in the stream, so that
 * each of them stands there once for each epoch that the step touches; but dynamic sampling keeps any of them. */
static grpo_status most_prompt_tokens(long *most, const trainer *t, grpo_error *err)
{
    size_t count = t->train_view.count, n = (size_t)t->config->rollout.prompts_per_step, copies = (n - 1) / count + 2;
    size_t *length = mem_calloc(count, sizeof *length);
    if (!length)
        return mem_fail(err, "the memory plan", count * sizeof *length);
    for (size_t i = 0; i < count; i++)
        length[i] = t->prompts.prompt[t->train_view.index[i]].n;
    qsort(length, count, sizeof *length, longer_first);
    *most = 0;
    for (size_t i = 0; i < n; i++)
        *most += (long)length[i / copies];
    mem_free(length);
    return GRPO_OK;
}

static grpo_status plan_memory(trainer *t, grpo_error *err)
{
    const train_config *c = t->config;
    const prompt_table *eval_prompts = t->eval_prompts.prompt ? &t->eval_prompts : &t->prompts;
    int longest = longest_prompt(&t->train_view, &t->prompts), eval = longest_prompt(&t->eval_view, eval_prompts);
    if (eval > longest)
        longest = eval;
    size_t budget = (size_t)c->train.memory_budget;
    if (budget == 0) /* the weights are in memory already; leave a tenth to the rest of the machine */
        budget = (machine_memory_available() + model_bytes(t->lm.m)) / 10 * 9;
    long most_tokens = (long)longest * c->rollout.prompts_per_step;
    grpo_status status = c->algo.dynamic_sampling ? GRPO_OK : most_prompt_tokens(&most_tokens, t, err);
    if (status != GRPO_OK)
        return status;
    plan_request r = {
        .prompts = c->rollout.prompts_per_step,
        .group_size = c->group_size,
        .longest_prompt = longest,
        .max_new_tokens = c->rollout.max_new_tokens,
        .prompt_tokens = most_tokens,
        .slots = c->rollout.slots,
        .micro_batch_rows = c->train.micro_batch_rows,
        .reference = trainer_wants_reference(c),
        .reference_bytes = trainer_reference_bytes(t),
        .private_pass = c->rollout.source == TRAIN_SOURCE_DATA || trainer_needs_squares(t),
        .value = t->value.m,
        .policy = (activation_policy)c->train.activations,
        .program = memory_plan_program(t->lm.m, t->value.m),
        .budget = budget,
    };
    status = memory_plan_make(&t->plan, t->lm.m, t->threads, &r, err);
    if (status == GRPO_OK && !(t->plan_text = memory_plan_text(&t->plan)))
        status = mem_fail(err, "the memory plan", 0);
    return status;
}

static grpo_status take_memory(trainer *t, grpo_error *err)
{
    const train_config *c = t->config;
    const memory_plan *p = &t->plan;
    model *m = t->lm.m;
    size_t trained = model_trained(m).layout->total;
    grpo_status status =
        engine_init(&t->e, m, t->threads, (engine_plan){p->forward_rows, p->slots, p->kv_blocks}, err);
    if (status == GRPO_OK)
        status = tape_init(&t->tape, &m->config, p->tape_rows, p->kept_layers, err);
    if (status == GRPO_OK)
        status = backward_workspace_init(&t->backward, m, t->threads, p->backward_rows, p->batch_rows, p->max_positions,
                                         err);
    if (status == GRPO_OK)
        status = mem_arena_init(&t->grad_arena, trained * sizeof(float), "gradients", err);
    t->grad = (float *)t->grad_arena.base;
    if (status == GRPO_OK)
        status = model_gradient_view(&t->grad_view, m, t->grad, err);
    optimizer_options o = {.beta1 = c->train.beta1,
                           .beta2 = c->train.beta2,
                           .eps = c->train.adam_eps,
                           .weight_decay = c->train.weight_decay,
                           .max_grad_norm = c->train.max_grad_norm};
    if (status == GRPO_OK)
        status = optimizer_init(&t->optimizer, trained, o, err);
    if (status == GRPO_OK && t->value.m)
        status = value_network_start(&t->value, t->threads, p, o, err);
    else if (status == GRPO_OK && trainer_has_values(t))
        status = value_head_open(&t->value_head, m, &t->grad_view, o, err);
    if (status == GRPO_OK && trainer_wants_reference(c))
        status = trainer_reference_init(t, err); /* before a checkpoint is loaded: the reference is the starting model */
    return status;
}

static void commit_engine(engine *e, tape *kept, backward_workspace *backward)
{
    mem_arena *const arenas[] = {&e->ws.arena, &e->kv.arena, &kept->arena, &backward->arena};
    for (size_t i = 0; i < sizeof arenas / sizeof *arenas; i++)
        pool_commit(e->threads, arenas[i]);
}

void trainer_commit_memory(trainer *t)
{
    if (t->committed)
        return;
    t->committed = true;
    commit_engine(&t->e, &t->tape, &t->backward);
    if (t->value.m)
        commit_engine(&t->value.e, &t->value.tape, &t->value.backward);
}

/* ---- run folder --------------------------------------------------------------------------------------------------------- */

static void make_run_id(char id[40])
{
    unsigned char bytes[8];
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        memset(bytes, 0, sizeof bytes);
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    size_t n = strftime(id, 40, "%Y%m%dT%H%M%SZ-", &utc);
    for (size_t i = 0; i < sizeof bytes; i++)
        n += (size_t)snprintf(id + n, 40 - n, "%02x", bytes[i]);
}

static grpo_status open_log(metrics_file *f, const char *folder, const char *name, long last_step, grpo_error *err)
{
    char *path = file_join(folder, name);
    grpo_status status = path ? metrics_file_open(f, path, last_step, err) : mem_fail(err, "a file name", 0);
    mem_free(path);
    return status;
}

/* Two runs in one folder would mix their lines and remove each other's checkpoints. */
static grpo_status lock_run_folder(trainer *t, grpo_error *err)
{
    bool refused;
    grpo_error why = {0};
    grpo_status status = folder_lock_take(&t->lock, &refused, t->config->output_dir, &why);
    if (refused)
        trainer_say(t, "careful: this file system refuses locks (%s), so nothing keeps a second run out of output_dir",
                    why.message);
    if (status == GRPO_ERR_CONFIG)
        return grpo_fail(err, status, "%s: wait for it or stop it, or set output_dir to another folder", why.message);
    if (status != GRPO_OK && err)
        *err = why;
    return status;
}

static grpo_status refuse_earlier_run(trainer *t, grpo_error *err)
{
    const char *folder = t->config->output_dir;
    char *metrics = file_join(folder, "metrics.jsonl");
    if (!metrics)
        return mem_fail(err, "a file name", 0);
    int exists = file_exists(metrics) || checkpoint_any(t->checkpoints);
    mem_free(metrics);
    if (!exists || t->options.resume)
        return GRPO_OK;
    if (t->options.overwrite)
        return file_remove_tree(t->checkpoints, err);
    return grpo_fail(err, GRPO_ERR_CONFIG,
                     "%s holds a run already: go on with --resume, start anew over it with --overwrite, or set "
                     "output_dir to another folder",
                     folder);
}

/* What a checkpoint's state says of the run. */
static grpo_status take_state(trainer *t, const checkpoint_state *state, const char *path, grpo_error *err)
{
    if (state->seed != t->config->seed)
        return grpo_fail(err, GRPO_ERR_CONFIG, "%s was made with seed=%lld, the config says %lld", path,
                         (long long)state->seed, (long long)t->config->seed);
    t->step = state->step;
    t->data_position = state->data_position;
    t->kl_coef = state->kl_coef;
    snprintf(t->run_id, sizeof t->run_id, "%s", state->run_id);
    t->tokens_seen = json_number_value(json_object_get(state->extra, "tokens_seen"));
    const json_t *accuracy = json_object_get(state->extra, "first_eval_accuracy");
    t->first_eval_accuracy = json_is_number(accuracy) ? json_number_value(accuracy) : NAN;
    t->evaluations = json_is_number(accuracy);
    t->saved = true;
    return GRPO_OK;
}

static grpo_status resume_from(trainer *t, const char *path, grpo_error *err)
{
    checkpoint_state state;
    grpo_status status = checkpoint_load(&state, path, t->lm.m, &t->optimizer, t->threads, err);
    if (status != GRPO_OK)
        return status;
    status = trainer_reference_restore(t, path, err);
    if (status == GRPO_OK)
        status = trainer_values_restore(t, path, state.extra, err);
    if (status == GRPO_OK)
        status = take_state(t, &state, path, err);
    checkpoint_state_deinit(&state);
    if (status == GRPO_OK)
        trainer_say(t, "resuming   from %s: %llu of %llu steps done", path, (unsigned long long)t->step,
                    (unsigned long long)t->steps);
    return status;
}

static grpo_status resume(trainer *t, grpo_error *err)
{
    char *path;
    int damaged;
    grpo_error why = {0};
    grpo_status status = checkpoint_find(&path, &damaged, t->checkpoints, &why);
    if (status != GRPO_OK) {
        if (err)
            *err = why;
        return status;
    }
    if (damaged > 0)
        trainer_say(t, "%d damaged checkpoint%s passed over: %s", damaged, damaged > 1 ? "s were" : " was", why.message);
    if (path)
        status = resume_from(t, path, err);
    else
        trainer_say(t, "there is no intact checkpoint in %s: starting from the beginning", t->checkpoints);
    mem_free(path);
    return status;
}

/* A run that goes on is diagnosed by its earlier steps too. */
static grpo_status remember_steps(trainer *t, grpo_error *err)
{
    train_metrics *steps;
    size_t count;
    grpo_status status = metrics_file_read(&steps, &count, t->metrics.path, err);
    for (size_t i = 0; status == GRPO_OK && i < count; i++)
        diagnose_note(&t->diagnoses, &steps[i]);
    mem_free(steps);
    return status;
}

static grpo_status open_run_folder(trainer *t, grpo_error *err)
{
    const train_config *c = t->config;
    char *config_path = file_join(c->output_dir, "config.yaml");
    t->checkpoints = file_join(c->output_dir, "checkpoints");
    grpo_status status = config_path && t->checkpoints ? GRPO_OK : mem_fail(err, "a file name", 0);
    if (status == GRPO_OK)
        status = file_make_folder(c->output_dir, err);
    if (status == GRPO_OK)
        status = lock_run_folder(t, err);
    if (status == GRPO_OK)
        status = refuse_earlier_run(t, err);
    if (status == GRPO_OK && t->options.resume)
        status = resume(t, err);
    if (status == GRPO_OK)
        status = train_config_write(c, config_path, err);
    long last = t->step > 0 ? (long)t->step : -1;
    if (status == GRPO_OK)
        status = open_log(&t->metrics, c->output_dir, "metrics.jsonl", last, err);
    if (status == GRPO_OK && c->log.samples)
        status = open_log(&t->samples, c->output_dir, "samples.jsonl", last, err);
    if (status == GRPO_OK && t->step > 0)
        status = remember_steps(t, err);
    mem_free(config_path);
    return status;
}

/* ---- checkpoints ------------------------------------------------------------------------------------------------------------ */

static grpo_status write_json_file(const char *folder, const char *name, json_t *value, grpo_error *err)
{
    char *path = file_join(folder, name), *text = value ? json_text(value) : NULL;
    grpo_status status =
        path && text ? file_write_all(path, text, strlen(text), err) : mem_fail(err, "a checkpoint's files", 0);
    mem_free(path);
    mem_free(text);
    json_decref(value);
    return status;
}

static grpo_status write_model_settings(trainer *t, const char *folder, grpo_error *err)
{
    model_export e = {.config = &t->lm.m->config,
                      .config_json = model_files_config_json(t->lm.files),
                      .generation_json = model_files_generation_json(t->lm.files)};
    grpo_status status = write_json_file(folder, "config.json", model_export_config_json(&e, "float32"), err);
    if (status == GRPO_OK)
        status = write_json_file(folder, "generation_config.json", model_export_generation_json(&e), err);
    return status;
}

/* config.json and generation_config.json, or an adapter's settings, and the tokenizer: a checkpoint's folder is a
 * model. Then what else of the run is trained or follows. */
static grpo_status write_model_side(void *context, const char *folder, grpo_error *err)
{
    trainer *t = context;
    grpo_status status = t->lm.m->adapter ? trainer_write_adapter_settings(t, folder, err)
                                          : write_model_settings(t, folder, err);
    if (status == GRPO_OK)
        status = grpo_tokenizer_write_folder(t->lm.tokenizer, folder, err);
    if (status == GRPO_OK)
        status = trainer_reference_save(t, folder, err);
    if (status == GRPO_OK)
        status = trainer_values_save(t, folder, err);
    return status;
}

grpo_status trainer_checkpoint(trainer *t, grpo_error *err)
{
    checkpoint_state state = {.step = t->step,
                              .data_position = t->data_position,
                              .optimizer_steps = t->optimizer.steps,
                              .seed = t->config->seed,
                              .kl_coef = t->kl_coef};
    memcpy(state.run_id, t->run_id, sizeof state.run_id);
    state.extra = json_pack("{s:f}", "tokens_seen", t->tokens_seen);
    trainer_values_note(t, state.extra);
    if (!isnan(t->first_eval_accuracy))
        json_object_set_new(state.extra, "first_eval_accuracy", json_real(t->first_eval_accuracy));
    progress_phase(&t->progress, "writing a checkpoint", 0, 0, machine_seconds());
    grpo_status status = checkpoint_save(t->checkpoints, &state, t->lm.m, &t->optimizer, t->config->checkpoint.keep_last,
                                         write_model_side, t, err);
    json_decref(state.extra);
    t->saved = status == GRPO_OK;
    if (t->saved)
        trainer_draw_plot(t);
    return status;
}

/* ---- life -------------------------------------------------------------------------------------------------------------------- */

static grpo_status check_supported(const train_config *c, grpo_error *err)
{
    if (c->algo.advantage == GRPO_ADV_GDPO && c->algo.overlong_buffer > 0)
        return grpo_fail(err, GRPO_ERR_CONFIG,
                         "advantage_estimator=gdpo normalises each reward by itself and would pass overlong_buffer over: give the "
                         "punishment as one of the rewards, {spec: \"overlong:max=…,buffer=…\"}, and set overlong_buffer=0");
    if (c->train.reduction_shards != 1)
        return grpo_fail(err, GRPO_ERR_UNSUPPORTED, "train.reduction_shards=%d: only 1 is supported",
                         c->train.reduction_shards);
    return GRPO_OK;
}

static void plan_steps(trainer *t)
{
    const train_config *c = t->config;
    if (c->train.steps > 0)
        t->steps = (uint64_t)c->train.steps;
    else
        t->steps = (uint64_t)ceil(c->train.epochs * (double)t->train_view.count / c->rollout.prompts_per_step);
    if (t->steps == 0)
        t->steps = 1;
    t->optimizer_steps_planned = t->steps * (uint64_t)c->train.updates_per_rollout * (uint64_t)c->train.mini_batches;
}

static grpo_status setup(trainer *t, grpo_error *err)
{
    const train_config *c = t->config;
    train_reward single;
    size_t n_rewards;
    const train_reward *rewards = train_config_rewards(c, &single, &n_rewards);
    const grpo_reward_options options = {.test_timeout = c->code.test_timeout, .memory = (size_t)c->code.memory,
                                         .threads = c->code.workers, .unsafe = c->code.unsafe};
    grpo_status status = check_supported(c, err);
    if (status == GRPO_OK) /* helpers start before there are threads and memory is taken */
        status = scoring_create(&t->scoring, rewards, n_rewards, &options, err);
    if (status == GRPO_OK && scoring_warning(t->scoring))
        trainer_say(t, "WARNING: %s", scoring_warning(t->scoring));
    if (status == GRPO_OK)
        status = pool_create(&t->threads, c->threads, err);
    if (status == GRPO_OK)
        status = trainer_open_model(t, err);
    if (status != GRPO_OK)
        return status;
    if (c->algo.advantage == GRPO_ADV_GAE && c->value.trunk == TRAIN_TRUNK_OWN)
        status = value_network_open(&t->value, c->value.model, t->lm.m, t->threads, err);
    if (status != GRPO_OK)
        return status;
    stop_strings_init(&t->stop, &t->lm, (const char *const *)c->rollout.stop.items, c->rollout.stop.count);
    diagnose_facts_init(&t->facts, c, t->lm.chat != NULL, t->lm.n_eos > 0);
    status = open_data(t, err);
    if (status == GRPO_OK)
        status = plan_memory(t, err);
    if (status != GRPO_OK)
        return status;
    plan_steps(t);
    return GRPO_OK;
}

grpo_status trainer_create(trainer **out, const train_config *config, const trainer_options *options, grpo_error *err)
{
    *out = NULL;
    trainer *t = mem_calloc(1, sizeof *t);
    if (!t)
        return mem_fail(err, "the trainer", sizeof *t);
    t->config = config;
    t->options = *options;
    t->kl_coef = config->algo.kl_coef;
    t->first_eval_accuracy = t->last_eval_accuracy = NAN;
    t->metrics.fd = t->samples.fd = t->lock.fd = -1;
    make_run_id(t->run_id);
    progress_init(&t->progress, options->sink, options->context, options->terminal, 1, 0);
    grpo_status status = setup(t, err);
    if (status != GRPO_OK) {
        trainer_destroy(t);
        return status;
    }
    *out = t;
    return GRPO_OK;
}

grpo_status trainer_start(trainer *t, grpo_error *err)
{
    grpo_status status = take_memory(t, err);
    if (status == GRPO_OK)
        status = open_run_folder(t, err);
    if (status == GRPO_OK) {
        progress_init(&t->progress, t->options.sink, t->options.context, t->options.terminal, (long)t->step + 1,
                      (long)t->steps);
        trainer_say_start(t);
    }
    return status;
}

const char *trainer_plan_text(const trainer *t)
{
    return t->plan_text;
}

void trainer_destroy(trainer *t)
{
    if (!t)
        return;
    metrics_file_close(&t->metrics);
    metrics_file_close(&t->samples);
    value_network_close(&t->value);
    value_head_close(&t->value_head);
    optimizer_deinit(&t->optimizer);
    model_weights_deinit(&t->grad_view);
    model_weights_deinit(&t->reference);
    mem_arena_deinit(&t->grad_arena);
    mem_arena_deinit(&t->reference_arena);
    mem_arena_deinit(&t->reference_master);
    backward_workspace_deinit(&t->backward);
    tape_deinit(&t->tape);
    engine_deinit(&t->e);
    data_stream_deinit(&t->stream);
    data_view_deinit(&t->train_view);
    data_view_deinit(&t->eval_view);
    prompt_table_deinit(&t->prompts);
    prompt_table_deinit(&t->eval_prompts);
    data_close(t->data);
    data_close(t->eval_data);
    language_model_close(&t->lm);
    scoring_destroy(t->scoring);
    pool_destroy(t->threads);
    folder_lock_release(&t->lock);
    mem_free(t->checkpoints);
    mem_free(t->plan_text);
    mem_free(t);
}
