/* Adapters in memory: made fresh or loaded. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "model/adapter.h"

/* ---- which modules ---------------------------------------------------------------------------- */

static int target_matches(const char *target, const char *module)
{
    size_t n = strlen(target), m = strlen(module);
    if (strcmp(target, "all-linear") == 0)
        return 1;
    return n > 0 && n <= m && strcmp(module + m - n, target) == 0 && (n == m || module[m - n - 1] == '.');
}

/* The module that a matrix belongs to: its name without ".weight". */
static void module_name(char name[MODEL_TENSOR_NAME], const model_tensor *t)
{
    snprintf(name, MODEL_TENSOR_NAME, "%.*s", (int)(strlen(t->name) - strlen(".weight")), t->name);
}

static int is_expert_part(const model_tensor *t)
{
    return t->role == MODEL_T_ROUTER || t->role >= MODEL_T_EXPERT_GATE;
}

static grpo_status refuse_target(const char *target, const model_config *c, grpo_error *err)
{
    int experts = 0;
    for (int i = 0; i < c->layers; i++)
        experts |= c->layer[i].moe;
    return grpo_fail(err, GRPO_ERR_CONFIG,
                     "lora.targets: no linear layer of the model's blocks is called '%.80s'; there are q_proj, k_proj, "
                     "v_proj, o_proj%s, or all-linear",
                     target, experts ? "" : ", gate_proj, up_proj, down_proj");
}

static grpo_status check_target(const char *target, const model_config *c, grpo_error *err)
{
    model_tensor_walk w = {.config = c};
    char name[MODEL_TENSOR_NAME];
    int found = 0;
    while (model_tensor_next(&w)) {
        if (w.tensor.rank != 2)
            continue;
        module_name(name, &w.tensor);
        if (is_expert_part(&w.tensor) && target_matches(target, name))
            return grpo_fail(err, GRPO_ERR_UNSUPPORTED,
                             "lora.targets: '%.80s' means experts of a mixture too (%s), beside which no adapter can stand: "
                             "name q_proj, k_proj, v_proj, o_proj",
                             target, name);
        found |= adapter_role_is_linear(w.tensor.role) && target_matches(target, name);
    }
    return found ? GRPO_OK : refuse_target(target, c, err);
}

static int wanted(const adapter_request *r, const char *module)
{
    for (size_t i = 0; i < r->n_targets; i++)
        if (target_matches(r->targets[i], module))
            return 1;
    return 0;
}

static grpo_status choose_modules(model_adapter *a, const model_config *c, const adapter_request *r, grpo_error *err)
{
    if (r->n_targets == 0)
        return grpo_fail(err, GRPO_ERR_CONFIG, "lora.targets is empty; all-linear takes every linear layer");
    for (size_t i = 0; i < r->n_targets; i++) {
        grpo_status status = check_target(r->targets[i], c, err);
        if (status != GRPO_OK)
            return status;
    }
    size_t most = (size_t)model_tensor_count(c);
    a->modules = mem_calloc(most, sizeof *a->modules);
    if (!a->modules)
        return mem_fail(err, "the adapter's modules", most * sizeof *a->modules);
    model_tensor_walk w = {.config = c};
    while (model_tensor_next(&w)) {
        adapter_module m = {.role = w.tensor.role, .layer = w.tensor.layer, .rank = r->rank, .alpha = r->alpha,
                            .in = w.tensor.columns, .out = w.tensor.rows};
        if (!adapter_role_is_linear(m.role))
            continue;
        module_name(m.name, &w.tensor);
        m.scale = adapter_scale(r->alpha, r->rank, r->rslora);
        if (wanted(r, m.name))
            a->modules[a->count++] = m;
    }
    return GRPO_OK;
}

/* ---- the flat array ------------------------------------------------------------------------------ */

static void place(model_layout *layout, const char *module, char which, int n, int k)
{
    model_param *p = &layout->params[layout->count++];
    size_t elements = ops_matrix_elements(n, k);
    *p = (model_param){.is_matrix = 1, .n = n, .k = k, .offset = layout->total, .elements = elements};
    int length = snprintf(p->name, sizeof p->name, "base_model.model.%s.lora_%c.weight", module, which);
    assert(length > 0 && (size_t)length < sizeof p->name);
    (void)length;
    layout->total += elements;
    layout->parameters += (uint64_t)n * (uint64_t)k;
}

static grpo_status lay_out(model_adapter *a, grpo_error *err)
{
    model_layout *layout = &a->layout;
    layout->capacity = 2 * (size_t)a->count;
    layout->params = mem_calloc(layout->capacity, sizeof *layout->params);
    if (!layout->params)
        return mem_fail(err, "the adapter's table", layout->capacity * sizeof *layout->params);
    a->lowest_layer = a->modules[0].layer;
    for (int i = 0; i < a->count; i++) {
        const adapter_module *m = &a->modules[i];
        place(layout, m->name, 'A', m->rank, m->in);
        place(layout, m->name, 'B', m->out, m->rank);
        a->largest_rank = m->rank > a->largest_rank ? m->rank : a->largest_rank;
    }
    grpo_status status = mem_arena_init(&a->arena, layout->total * sizeof(float), "the adapter", err);
    a->params = (float *)a->arena.base;
    return status;
}

static model_low_rank *find_place(model_layer *l, model_tensor_role role)
{
    switch (role) {
    case MODEL_T_Q: return &l->lora.q;
    case MODEL_T_K: return &l->lora.k;
    case MODEL_T_V: return &l->lora.v;
    case MODEL_T_O: return &l->lora.o;
    case MODEL_T_GATE: return &l->lora.gate;
    case MODEL_T_UP: return &l->lora.up;
    default: assert(role == MODEL_T_DOWN); return &l->lora.down;
    }
}

void adapter_view(const model_adapter *a, model_weights *w, float *base)
{
    for (int i = 0; i < a->count; i++) {
        const adapter_module *m = &a->modules[i];
        const model_param *p = &a->layout.params[2 * i];
        *find_place(&w->layer[m->layer], m->role) = (model_low_rank){
            .a = ops_matrix_f32(p[0].n, p[0].k, base + p[0].offset),
            .b = ops_matrix_f32(p[1].n, p[1].k, base + p[1].offset),
            .scale = m->scale};
    }
    if (a->lowest_layer < w->lowest_layer)
        w->lowest_layer = a->lowest_layer;
}

/* ---- made fresh ------------------------------------------------------------------------------------ */

/* Streams of the run's seed that belong to adapters: "LoRA" in the upper half, the module below. */
static const uint64_t STREAM = (uint64_t)0x4c6f5241 << 32;

static grpo_status draw(model_adapter *a, uint64_t seed, grpo_error *err)
{
    size_t largest = 1;
    for (int i = 0; i < a->count; i++) {
        size_t n = (size_t)a->modules[i].rank * (size_t)a->modules[i].in;
        largest = n > largest ? n : largest;
    }
    float *plain = mem_calloc(largest, sizeof *plain);
    if (!plain)
        return mem_fail(err, "the adapter", largest * sizeof *plain);
    for (int i = 0; i < a->count; i++) {
        const model_param *p = &a->layout.params[2 * i];
        double bound = 1 / sqrt((double)p->k);
        for (size_t k = 0; k < (size_t)p->n * (size_t)p->k; k++) {
            uint64_t bits = rng_u64(seed, STREAM + (uint64_t)i, k);
            plain[k] = (float)((2 * rng_unit((uint32_t)(bits >> 32), (uint32_t)bits) - 1) * bound);
        }
        model_param_import(p, a->params, plain);
    }
    mem_free(plain);
    return GRPO_OK;
}

grpo_status adapter_create(model_adapter **out, const model_config *config, const adapter_request *r, grpo_error *err)
{
    *out = NULL;
    model_adapter *a = mem_calloc(1, sizeof *a);
    if (!a)
        return mem_fail(err, "the adapter", sizeof *a);
    a->rank = r->rank;
    a->alpha = r->alpha;
    a->rslora = r->rslora;
    grpo_status status = choose_modules(a, config, r, err);
    if (status == GRPO_OK)
        status = lay_out(a, err);
    if (status == GRPO_OK)
        status = draw(a, r->seed, err);
    if (status != GRPO_OK) {
        adapter_destroy(a);
        return status;
    }
    *out = a;
    return GRPO_OK;
}

/* ---- loaded ------------------------------------------------------------------------------------------ */

static grpo_status load(model_adapter *a, const adapter_files *f, grpo_error *err)
{
    size_t largest = 1;
    for (int i = 0; i < a->layout.count; i++) {
        size_t n = (size_t)a->layout.params[i].n * (size_t)a->layout.params[i].k;
        largest = n > largest ? n : largest;
    }
    float *plain_a = mem_calloc(largest, sizeof *plain_a), *plain_b = mem_calloc(largest, sizeof *plain_b);
    grpo_status status = plain_a && plain_b ? GRPO_OK : mem_fail(err, "the adapter", largest * sizeof *plain_a);
    for (int i = 0; i < a->count && status == GRPO_OK; i++) {
        status = adapter_files_read(f, i, plain_a, plain_b, err);
        if (status == GRPO_OK) {
            model_param_import(&a->layout.params[2 * i], a->params, plain_a);
            model_param_import(&a->layout.params[2 * i + 1], a->params, plain_b);
        }
    }
    mem_free(plain_a);
    mem_free(plain_b);
    return status;
}

grpo_status adapter_open(model_adapter **out, const char *folder, const model_config *config, const char *model, grpo_error *err)
{
    adapter_files f;
    *out = NULL;
    grpo_status status = adapter_files_open(&f, folder, config, model, err);
    if (status != GRPO_OK)
        return status;
    model_adapter *a = mem_calloc(1, sizeof *a);
    if (a) {
        *a = (model_adapter){.count = f.count, .rank = f.rank, .alpha = f.alpha, .rslora = f.rslora};
        a->modules = mem_dup(f.modules, (size_t)f.count * sizeof *f.modules);
    }
    status = a && a->modules ? lay_out(a, err) : mem_fail(err, "the adapter", sizeof *a);
    if (status == GRPO_OK)
        status = load(a, &f, err);
    if (status == GRPO_OK && f.other_base && !(a->other_base = mem_strdup(f.base)))
        status = mem_fail(err, "a file name", strlen(f.base));
    adapter_files_close(&f);
    if (status == GRPO_OK)
        *out = a;
    else
        adapter_destroy(a);
    return status;
}

void adapter_destroy(model_adapter *a)
{
    if (!a)
        return;
    model_layout_deinit(&a->layout);
    mem_arena_deinit(&a->arena);
    mem_free(a->modules);
    mem_free(a->other_base);
    mem_free(a);
}

grpo_status adapter_write_settings(const model_adapter *a, const char *folder, const char *base, const model_config *config,
                                   grpo_error *err)
{
    adapter_settings s = {.base = base, .rank = a->rank, .alpha = a->alpha, .rslora = a->rslora, .config = config};
    return adapter_write_config(folder, &s, a->modules, a->count, err);
}
