/* A model in memory: weights, rotary tables, scratch. */
#define XXH_INLINE_ALL
#include <string.h>
#include <xxhash.h>

#include "model/low_rank.h"
#include "model/transformer.h"

/* Memory for the weights. */
static grpo_status make_store(model *m, int trainable, grpo_error *err)
{
    grpo_status status = mem_arena_init(&m->store, model_store_bytes(&m->layout, m->type), "the weights", err);
    m->params = m->type == OPS_F32 ? (float *)m->store.base : NULL;
    if (status == GRPO_OK && m->type != OPS_F32 && trainable) {
        status = mem_arena_init(&m->master, m->layout.total * sizeof(float), "the f32 master of the weights", err);
        m->params = (float *)m->master.base;
    }
    return status == GRPO_OK ? model_store_view(&m->weights, &m->config, m->type, m->store.base, err) : status;
}

/* A model of this configuration whose weights are zero. */
static grpo_status model_create(model **out, const model_config *config, model_load_options options, grpo_error *err)
{
    *out = NULL;
    model *m = mem_calloc(1, sizeof *m);
    if (!m)
        return mem_fail(err, "the model", sizeof *m);
    m->config = *config;
    m->precision = options.precision;
    m->type = model_precision_type(m->precision);
    const model_config *c = &m->config;
    int max_context = options.max_context;
    if (max_context <= 0 || max_context > c->max_positions)
        max_context = c->max_positions;
    m->max_context = max_context;
    grpo_status status = model_config_check(c, err);
    if (status == GRPO_OK)
        status = model_layout_init(&m->layout, c, err);
    if (status == GRPO_OK)
        status = make_store(m, options.trainable, err);
    for (int i = 0; status == GRPO_OK && i < c->n_ropes; i++)
        status = rope_table_init(&m->rope[i], &c->ropes[i], c->rotary_dim, max_context, err);
    if (status != GRPO_OK) {
        model_destroy(m);
        return status;
    }
    *out = m;
    return GRPO_OK;
}

grpo_status model_load(model **out, const model_files *files, int max_context, pool *threads, grpo_error *err)
{
    model_load_options options = {.max_context = max_context, .precision = MODEL_F32};
    return model_load_as(out, files, options, threads, err);
}

grpo_status model_load_as(model **out, const model_files *files, model_load_options options, pool *threads,
                          grpo_error *err)
{
    options.precision = model_precision_choose(options.precision, files);
    grpo_status status = model_create(out, model_files_config(files), options, err);
    if (status != GRPO_OK)
        return status;
    model *m = *out;
    if (m->params)
        status = model_weights_load(m->params, OPS_F32, &m->layout, files, threads, err);
    else
        status = model_weights_load(m->store.base, m->type, &m->layout, files, threads, err);
    if (status == GRPO_OK) {
        model_refresh(m, threads);
        return GRPO_OK;
    }
    model_destroy(m);
    *out = NULL;
    return status;
}

grpo_status model_with_head(model **out, const model *source, model_head head, grpo_error *err)
{
    model_config config = source->config;
    config.head = head;
    *out = NULL;
    if (!source->params)
        return grpo_fail(err, GRPO_ERR_UNSUPPORTED, "another head needs f32 weights, and only rounded ones were loaded");
    model_load_options options = {.max_context = source->max_context, .precision = MODEL_F32};
    grpo_status status = model_create(out, &config, options, err);
    for (int i = 0; status == GRPO_OK && i < (*out)->layout.count; i++) {
        const model_param *to = &(*out)->layout.params[i];
        int from = model_layout_find(&source->layout, to->name);
        if (from >= 0 && source->layout.params[from].elements == to->elements)
            memcpy((*out)->params + to->offset, source->params + source->layout.params[from].offset,
                   to->elements * sizeof(float));
    }
    return status;
}

void model_destroy(model *m)
{
    if (!m)
        return;
    for (int i = 0; i < MODEL_MAX_ROPES; i++)
        rope_table_deinit(&m->rope[i]);
    model_weights_deinit(&m->weights);
    adapter_destroy(m->adapter);
    model_layout_deinit(&m->layout);
    mem_arena_deinit(&m->store);
    mem_arena_deinit(&m->master);
    mem_free(m);
}

void model_refresh(model *m, pool *threads)
{
    if (m->params && m->type != OPS_F32)
        model_store_round(m->store.base, m->params, &m->layout, threads);
}

size_t model_bytes(const model *m)
{
    return m->store.capacity + m->master.capacity;
}

uint64_t model_base_fingerprint(const model *m)
{
    return XXH3_64bits(m->store.base, model_store_bytes(&m->layout, m->type));
}

uint64_t model_fingerprint(const model *m)
{
    uint64_t base = model_base_fingerprint(m);
    const model_adapter *a = m->adapter;
    return a ? XXH3_64bits_withSeed(a->params, a->layout.total * sizeof *a->params, base) : base;
}

/* ---- adapter ------------------------------------------------------------------------------------ */

void model_attach_adapter(model *m, model_adapter *a)
{
    m->adapter = a;
    adapter_view(a, &m->weights, a->params);
}

model_trainable model_trained(const model *m)
{
    if (m->adapter)
        return (model_trainable){&m->adapter->layout, m->adapter->params};
    return (model_trainable){&m->layout, m->params};
}

grpo_status model_gradient_view(model_weights *grad, const model *m, float *base, grpo_error *err)
{
    grpo_status status = model_weights_view(grad, &m->config, m->adapter ? NULL : base, err);
    if (status == GRPO_OK && m->adapter)
        adapter_view(m->adapter, grad, base);
    return status;
}

/* ---- workspace --------------------------------------------------------------------------------- */

size_t model_low_width(const model *m)
{
    return m->adapter ? LOW_RANK_MOST * (size_t)m->adapter->largest_rank : 0;
}

static size_t row_floats(const model *m)
{
    const model_config *c = &m->config;
    size_t width = (size_t)(c->heads * c->head_dim), kv_width = (size_t)(c->kv_heads * c->head_dim);
    return 3 * (size_t)c->hidden + 2 * width + 2 * kv_width + 2 * (size_t)moe_dense_width(c) + model_low_width(m);
}

size_t workspace_bytes(const model *m, int max_rows)
{
    return (size_t)max_rows * row_floats(m) * sizeof(float) + 10 * MEM_ALIGN + moe_scratch_bytes(&m->config, max_rows, 0);
}

grpo_status workspace_init(workspace *ws, const model *m, int max_rows, grpo_error *err)
{
    const model_config *c = &m->config;
    memset(ws, 0, sizeof *ws);
    grpo_status status = mem_arena_init(&ws->arena, workspace_bytes(m, max_rows), "the forward pass", err);
    if (status != GRPO_OK)
        return status;
    ws->max_rows = max_rows;
    size_t width = (size_t)(c->heads * c->head_dim), kv_width = (size_t)(c->kv_heads * c->head_dim),
           ffn = (size_t)moe_dense_width(c);
    struct {
        float **field;
        size_t columns;
    } parts[] = {
        {&ws->x, (size_t)c->hidden}, {&ws->x_mid, (size_t)c->hidden}, {&ws->h, (size_t)c->hidden},
        {&ws->q, width},             {&ws->k, kv_width},              {&ws->v, kv_width},
        {&ws->attn, width},          {&ws->gate, ffn},                {&ws->up, ffn},
        {&ws->low, model_low_width(m)},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        *parts[i].field = mem_arena_alloc(&ws->arena, (size_t)max_rows * parts[i].columns, sizeof(float));
    moe_scratch_carve(&ws->moe, &ws->arena, c, max_rows, 0);
    return GRPO_OK;
}

void workspace_deinit(workspace *ws)
{
    mem_arena_deinit(&ws->arena);
    memset(ws, 0, sizeof *ws);
}
