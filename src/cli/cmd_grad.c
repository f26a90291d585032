/* grpo grad: losses, gradients and optimiser steps of a golden case. */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/jsonl.h"
#include "cli/session.h"
#include "model/safetensors.h"
#include "train/checkpoint.h"
#include "train/gradient_case.h"
#include "train/head_case.h"

static const char HELP[] =
    "usage: grpo grad --model M [--adapter DIR] --case golden.json [--loss NAME] [--adamw [RUN]] [--out FILE]\n\n"
    "Computes the losses of a case of the form of ../shared/models/*/golden/golden.json (its `grpo` part)\n"
    "with the functions that training uses, and prints one JSON line for each loss: loss, grad_norm, ratio.\n\n"
    "  --adapter DIR a LoRA adapter beside the model: gradients and steps are the adapter's, the model is frozen\n"
    "  --loss NAME   only this one (seq, seq_length_normalised, tok_seq_mean, tok_token_mean, tok_seq_sum,\n"
    "                tok_fixed_length, tok_seq_mean_kl); a model with a score head has the loss pairwise, one with a\n"
    "                value head value_clipped\n"
    "  --out FILE    safetensors with the parameters' names: the gradient of --loss (default seq); with --adamw\n"
    "                the parameters after the steps\n"
    "  --adamw       one step of AdamW as the case's `adamw` part says; or RUN: one_step, one_step_clipped,\n"
    "                three_steps, three_steps_clipped (--adamw=RUN)\n"
    "  --precision P f32 (default), bf16_weights (gradients at weights rounded to bf16), bf16 (products too), bf16_amx\n"
    "                (in AMX's order) or auto (as the file stores them)\n"
    "  --threads N   default: all cores\n";

typedef struct options {
    const char *model, *adapter, *file, *loss, *adamw, *out;
    int threads;
    model_precision precision;
} options;

/* ---- output -------------------------------------------------------------------------------------------------- */

static grpo_status write_array(const char *path, const model_layout *layout, const float *array, grpo_error *err)
{
    size_t count = (size_t)layout->count, largest = 1;
    safetensors_entry *entries = mem_calloc(count, sizeof *entries);
    for (size_t i = 0; entries && i < count; i++) {
        const model_param *p = &layout->params[i];
        entries[i] = (safetensors_entry){.name = p->name,
                                         .dtype = SAFETENSORS_F32,
                                         .rank = p->is_matrix ? 2 : 1,
                                         .shape = {p->n, p->k}};
        size_t n = (size_t)p->n * (size_t)p->k;
        largest = n > largest ? n : largest;
    }
    float *plain = mem_calloc(largest, sizeof *plain);
    safetensors_writer w;
    grpo_status status = entries && plain ? safetensors_create(&w, path, entries, count, NULL, err)
                                          : mem_fail(err, "the output", largest * sizeof *plain);
    if (status == GRPO_OK) {
        for (size_t i = 0; status == GRPO_OK && i < count; i++) {
            const model_param *p = &layout->params[i];
            model_param_export(p, array, plain);
            status = safetensors_append(&w, plain, (uint64_t)p->n * (uint64_t)p->k, err);
        }
        if (status == GRPO_OK)
            status = safetensors_commit(&w, err);
        else
            safetensors_abandon(&w);
    }
    mem_free(entries);
    mem_free(plain);
    return status;
}

/* Takes the reference. */
static void print_line(json_t *line)
{
    char *text = json_text(line);
    puts(text ? text : "{}");
    mem_free(text);
    json_decref(line);
}

static void print_result(const char *name, int step, const gradient_case *c, const gradient_result *r, double norm)
{
    json_t *ratio = json_array();
    for (int b = 0; b < c->group.n_samples; b++) {
        json_t *row = json_array();
        for (size_t t = c->offset[b]; t < c->offset[b + 1]; t++)
            json_array_append_new(row, json_double(r->ratio[t]));
        json_array_append_new(ratio, row);
    }
    json_t *line = json_pack("{s:s,s:f,s:f,s:o}", "loss_name", name, "loss", r->loss, "grad_norm", norm, "ratio", ratio);
    if (step > 0)
        json_object_set_new(line, "step", json_integer(step));
    print_line(line);
}

/* ---- work -------------------------------------------------------------------------------------------------------- */

static int is_loss(const char *name)
{
    int i = 0;
    while (gradient_case_losses[i] && strcmp(gradient_case_losses[i], name) != 0)
        i++;
    return gradient_case_losses[i] != NULL;
}

static grpo_status run_losses(gradient_workspace *w, model *m, gradient_case *c, const options *o,
                              gradient_result *r, grpo_error *err)
{
    const char *wanted = o->loss ? o->loss : "seq";
    const model_layout *layout = model_trained(m).layout;
    grpo_status status = GRPO_OK;
    if (!is_loss(wanted))
        return grpo_fail(err, GRPO_ERR_USAGE, "there is no loss '%s'; `grpo grad --help` lists them", wanted);
    for (int i = 0; gradient_case_losses[i] && status == GRPO_OK; i++) {
        const char *name = gradient_case_losses[i];
        if (o->loss && strcmp(o->loss, name) != 0)
            continue;
        if (strcmp(name, "tok_seq_mean_kl") == 0 && !c->ref_logp)
            continue;
        memset(w->grad, 0, layout->total * sizeof *w->grad);
        status = gradient_case_run(w, m, c, name, r, err);
        if (status == GRPO_OK)
            print_result(name, 0, c, r, sqrt(ops_sum_squares(w->e.threads, w->grad, layout->total)));
        if (status == GRPO_OK && o->out && strcmp(name, wanted) == 0)
            status = write_array(o->out, layout, w->grad, err);
    }
    return status;
}

static grpo_status run_adamw(gradient_workspace *w, model *m, gradient_case *c, const options *o, const json_t *root,
                             gradient_result *r, grpo_error *err)
{
    const json_t *adamw = json_object_get(root, "adamw"), *run = json_object_get(adamw, o->adamw);
    if (!json_is_object(adamw) || !run)
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: there is no adamw.%s", o->file, o->adamw);
    const json_t *betas = json_object_get(adamw, "betas"), *lr = json_object_get(run, "lr");
    const char *loss = json_string_value(json_object_get(adamw, "loss"));
    optimizer_options adam = {
        .beta1 = json_number_value(json_array_get(betas, 0)),
        .beta2 = json_number_value(json_array_get(betas, 1)),
        .eps = json_number_value(json_object_get(adamw, "eps")),
        .weight_decay = json_number_value(json_object_get(adamw, "weight_decay")),
        .max_grad_norm =
            strstr(o->adamw, "clipped") ? json_number_value(json_object_get(adamw, "max_norm")) : 0,
    };
    optimizer opt;
    model_trainable trained = model_trained(m);
    grpo_status status = optimizer_init(&opt, trained.layout->total, adam, err);
    int steps = strncmp(o->adamw, "three", 5) == 0 ? 3 : 1;
    for (int i = 1; i <= steps && status == GRPO_OK; i++) {
        double norm = 0;
        status = gradient_case_run(w, m, c, loss ? loss : "seq", r, err);
        if (status == GRPO_OK)
            status = optimizer_step(&opt, w->e.threads, trained.params, w->grad,
                                    json_number_value(lr ? lr : json_object_get(adamw, "lr")), &norm, err);
        if (status == GRPO_OK)
            model_refresh(m, w->e.threads);
        if (status == GRPO_OK)
            print_result(loss ? loss : "seq", i, c, r, norm);
    }
    optimizer_deinit(&opt);
    if (status == GRPO_OK && o->out)
        status = write_array(o->out, trained.layout, trained.params, err);
    return status;
}

/* The model with its adapter; what `model` and `adapter` name is resolved as everywhere. */
static grpo_status open_model(model **m, model_files **files, pool *threads, const options *o, grpo_error *err)
{
    char *path = NULL, *base = NULL, *beside = NULL;
    const char *folder = NULL;
    model_adapter *a = NULL;
    grpo_status status = checkpoint_resolve(&path, o->model, err);
    if (status == GRPO_OK && o->adapter) {
        status = checkpoint_resolve(&beside, o->adapter, err);
        folder = beside;
    }
    if (status == GRPO_OK)
        status = adapter_resolve(&base, &folder, path, err);
    if (status == GRPO_OK)
        status = model_files_open(files, base, err);
    if (status == GRPO_OK)
        status = model_load_as(m, *files, (model_load_options){.precision = o->precision, .trainable = !folder}, threads, err);
    if (status == GRPO_OK && folder)
        status = adapter_open(&a, folder, &(*m)->config, base, err);
    if (status == GRPO_OK && folder)
        model_attach_adapter(*m, a);
    if (status == GRPO_OK && folder && a->other_base)
        session_warn_other_base(a->other_base, base);
    mem_free(path);
    mem_free(base);
    mem_free(beside);
    return status;
}

static grpo_status run_policy(model *m, pool *threads, const options *o, const json_t *root, grpo_error *err)
{
    gradient_case c = {0};
    gradient_workspace w = {0};
    gradient_result result = {0};
    grpo_status status = gradient_case_init(&c, root, o->file, m->config.vocab, err);
    if (status == GRPO_OK)
        status = gradient_workspace_init(&w, m, threads, &c, err);
    if (status == GRPO_OK && !(result.ratio = mem_calloc(c.tokens, sizeof *result.ratio)))
        status = mem_fail(err, "the ratios", c.tokens * sizeof *result.ratio);
    if (status == GRPO_OK)
        status = o->adamw ? run_adamw(&w, m, &c, o, root, &result, err) : run_losses(&w, m, &c, o, &result, err);
    mem_free(result.ratio);
    gradient_case_deinit(&c, &w.e);
    gradient_workspace_deinit(&w);
    return status;
}

/* Models with a score or value head have one loss. */
static grpo_status run_head(model *m, pool *threads, const options *o, const json_t *root, grpo_error *err)
{
    const char *name = head_case_loss(&m->config);
    head_case c = {0};
    gradient_workspace w = {0};
    double loss = 0;
    if (o->adamw || (o->loss && strcmp(o->loss, name) != 0))
        return grpo_fail(err, GRPO_ERR_USAGE, "%s: this model's head has the loss %s alone, and no --adamw", o->model, name);
    grpo_status status = head_case_init(&c, root, o->file, &m->config, err);
    if (status == GRPO_OK)
        status = gradient_workspace_sized(&w, m, threads, c.tokens, c.longest, c.sequences * kv_blocks_for(c.longest), err);
    if (status == GRPO_OK)
        status = head_case_run(&w, m, &c, &loss, err);
    if (status == GRPO_OK) {
        json_t *line = json_pack("{s:s,s:f,s:f}", "loss_name", name, "loss", loss, "grad_norm",
                                 sqrt(ops_sum_squares(threads, w.grad, model_trained(m).layout->total)));
        print_line(line);
    }
    if (status == GRPO_OK && o->out)
        status = write_array(o->out, model_trained(m).layout, w.grad, err);
    gradient_workspace_deinit(&w);
    head_case_deinit(&c);
    return status;
}

static grpo_status run(const options *o, grpo_error *err)
{
    model_files *files = NULL;
    model *m = NULL;
    pool *threads = NULL;
    json_t *root = NULL;
    grpo_status status = pool_create(&threads, o->threads, err);
    if (status == GRPO_OK)
        status = open_model(&m, &files, threads, o, err);
    if (status == GRPO_OK)
        status = json_parse_file(&root, o->file, (size_t)256 << 20, err);
    if (status == GRPO_OK)
        status = m->config.head == MODEL_HEAD_LM ? run_policy(m, threads, o, root, err) : run_head(m, threads, o, root, err);
    json_decref(root);
    model_destroy(m);
    model_files_close(files);
    pool_destroy(threads);
    return status;
}

int cmd_grad(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"model", required_argument, NULL, 'm'}, {"adapter", required_argument, NULL, 'A'}, {"case", required_argument, NULL, 'c'},
        {"loss", required_argument, NULL, 'l'},  {"adamw", optional_argument, NULL, 'a'},
        {"out", required_argument, NULL, 'o'},   {"threads", required_argument, NULL, 't'},
        {"precision", required_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0},
    };
    options o = {.precision = MODEL_F32};
    args_check check = {.command = "grad"};
    for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        switch (option) {
        case 'm': o.model = optarg; break;
        case 'A': o.adapter = optarg; break;
        case 'c': o.file = optarg; break;
        case 'l': o.loss = optarg; break;
        case 'a': o.adamw = optarg ? optarg : "one_step"; break;
        case 'o': o.out = optarg; break;
        case 't': o.threads = (int)args_whole(&check, "--threads", optarg, 0, ARGS_MOST_THREADS); break;
        case 'p':
            if (session_parse_precision(&o.precision, "grad", optarg) != 0)
                return 2;
            break;
        case 'h': fputs(HELP, stdout); return 0;
        default: return 2;
        }
    }
    if (check.code)
        return check.code;
    if (!o.model || !o.file)
        return args_usage("grad", "%s is missing", o.model ? "--case" : "--model");
    if (optind < argc)
        return args_usage("grad", "'%s' is no option", argv[optind]);
    grpo_error err = {0};
    return run(&o, &err) == GRPO_OK ? 0 : jsonl_fail("grad", &err);
}
