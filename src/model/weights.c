/* Parameter layout, views, loading. */
#include <math.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "model/weights.h"

/* ---- layout and view: one walk over the architecture serves both ---------------------- */

typedef struct walk {
    model_layout *layout; /* filled when not NULL */
    ops_type type;
    unsigned char *store; /* views point here; may be NULL */
    size_t offset, offset_bf16;
    int failed;
} walk;

/* Takes the next place in the store; NULL when there is no store. */
static void *place(walk *w, int is_matrix, int n, int k, const char *format, va_list args)
{
    size_t elements = is_matrix ? ops_matrix_elements(n, k) : (size_t)n;
    size_t bytes = is_matrix ? ops_matrix_bytes(OPS_BF16, n, k) : elements * sizeof(float);
    elements = (elements + 15) / 16 * 16;
    size_t offset = w->offset, offset_bf16 = w->offset_bf16;
    w->offset += elements;
    w->offset_bf16 += (bytes + MEM_ALIGN - 1) / MEM_ALIGN * MEM_ALIGN;
    model_layout *layout = w->layout;
    if (!layout)
        return w->store ? w->store + (w->type == OPS_F32 ? offset * sizeof(float) : offset_bf16) : NULL;
    if (mem_reserve((void **)&layout->params, &layout->capacity, (size_t)layout->count + 1,
                    sizeof *layout->params) != 0) {
        w->failed = 1;
        return NULL;
    }
    model_param *p = &layout->params[layout->count++];
    *p = (model_param){.is_matrix = is_matrix, .n = n, .k = k, .offset = offset, .elements = elements,
                       .offset_bf16 = offset_bf16};
    vsnprintf(p->name, sizeof p->name, format, args);
    layout->parameters += (uint64_t)n * (uint64_t)k;
    return NULL;
}

static ops_matrix matrix(walk *w, int n, int k, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    void *data = place(w, 1, n, k, format, args);
    va_end(args);
    return (ops_matrix){.n = n, .k = k, .data = data, .type = w->type};
}

static float *vector(walk *w, int present, int n, const char *format, ...)
{
    if (!present)
        return NULL;
    va_list args;
    va_start(args, format);
    float *data = place(w, 0, n, 1, format, args);
    va_end(args);
    return data;
}

/* l->expert may be NULL: then only the layout is wanted. */
static void walk_mlp(walk *w, const model_config *c, int i, model_layer *l)
{
#define NAME(part) "model.layers.%d.mlp." part, i
#define EXPERT(part) "model.layers.%d.mlp.experts.%d." part, i, e
    if (!c->layer[i].moe) {
        l->gate = matrix(w, c->ffn, c->hidden, NAME("gate_proj.weight"));
        l->up = matrix(w, c->ffn, c->hidden, NAME("up_proj.weight"));
        l->down = matrix(w, c->hidden, c->ffn, NAME("down_proj.weight"));
        l->gate_bias = vector(w, c->mlp_bias, c->ffn, NAME("gate_proj.bias"));
        l->up_bias = vector(w, c->mlp_bias, c->ffn, NAME("up_proj.bias"));
        l->down_bias = vector(w, c->mlp_bias, c->hidden, NAME("down_proj.bias"));
        return;
    }
    l->router = matrix(w, c->experts, c->hidden, NAME("gate.weight"));
    for (int e = 0; e < c->experts; e++) {
        model_expert x;
        x.gate = matrix(w, c->expert_ffn, c->hidden, EXPERT("gate_proj.weight"));
        x.up = matrix(w, c->expert_ffn, c->hidden, EXPERT("up_proj.weight"));
        x.down = matrix(w, c->hidden, c->expert_ffn, EXPERT("down_proj.weight"));
        if (l->expert)
            l->expert[e] = x;
    }
#undef NAME
#undef EXPERT
}

static void walk_layer(walk *w, const model_config *c, int i, model_layer *l)
{
    int q_width = c->heads * c->head_dim, kv_width = c->kv_heads * c->head_dim;
    int q_norm = c->qk_norm == 2 ? q_width : c->head_dim, k_norm = c->qk_norm == 2 ? kv_width : c->head_dim;
    const char *mlp_norm = c->post_norms ? "pre_feedforward_layernorm" : "post_attention_layernorm";
#define NAME(part) "model.layers.%d." part, i
    l->attn_norm = vector(w, c->pre_norms, c->hidden, NAME("input_layernorm.weight"));
    l->q = matrix(w, q_width, c->hidden, NAME("self_attn.q_proj.weight"));
    l->k = matrix(w, kv_width, c->hidden, NAME("self_attn.k_proj.weight"));
    l->v = matrix(w, kv_width, c->hidden, NAME("self_attn.v_proj.weight"));
    l->o = matrix(w, c->hidden, q_width, NAME("self_attn.o_proj.weight"));
    l->q_bias = vector(w, c->q_bias, q_width, NAME("self_attn.q_proj.bias"));
    l->k_bias = vector(w, c->k_bias, kv_width, NAME("self_attn.k_proj.bias"));
    l->v_bias = vector(w, c->v_bias, kv_width, NAME("self_attn.v_proj.bias"));
    l->o_bias = vector(w, c->o_bias, c->hidden, NAME("self_attn.o_proj.bias"));
    l->q_norm = vector(w, c->qk_norm, q_norm, NAME("self_attn.q_norm.weight"));
    l->k_norm = vector(w, c->qk_norm, k_norm, NAME("self_attn.k_norm.weight"));
    l->post_attn_norm = vector(w, c->post_norms, c->hidden, NAME("post_attention_layernorm.weight"));
    l->mlp_norm = vector(w, c->pre_norms, c->hidden, "model.layers.%d.%s.weight", i, mlp_norm);
    walk_mlp(w, c, i, l);
    l->post_mlp_norm = vector(w, c->post_norms, c->hidden, NAME("post_feedforward_layernorm.weight"));
#undef NAME
}

static void walk_scalar(walk *w, const model_config *c, model_head head, model_weights *out)
{
    out->scalar = matrix(w, 1, c->hidden, "score.weight");
    out->scalar_bias = vector(w, head == MODEL_HEAD_TOKEN, 1, "score.bias");
}

static void walk_model(walk *w, const model_config *c, model_weights *out)
{
    out->embed = matrix(w, c->vocab, c->hidden, "model.embed_tokens.weight");
    model_expert *experts = out->experts;
    for (int i = 0; i < c->layers; i++) {
        model_layer layer = {.expert = c->layer[i].moe ? experts : NULL};
        if (layer.expert)
            experts += c->experts;
        walk_layer(w, c, i, &layer);
        if (out->layer)
            out->layer[i] = layer;
    }
    out->final_norm = vector(w, 1, c->hidden, "model.norm.weight");
    if (c->head == MODEL_HEAD_LM)
        out->head = c->tied_embeddings ? out->embed : matrix(w, c->vocab, c->hidden, "lm_head.weight");
    else
        walk_scalar(w, c, c->head, out);
}

static grpo_status finish_layout(model_layout *layout, const walk *w, grpo_error *err)
{
    layout->total = w->offset;
    layout->bytes_bf16 = w->offset_bf16;
    if (!w->failed)
        return GRPO_OK;
    model_layout_deinit(layout);
    return mem_fail(err, "the parameter table", 0);
}

grpo_status model_layout_init(model_layout *layout, const model_config *c, grpo_error *err)
{
    memset(layout, 0, sizeof *layout);
    walk w = {.layout = layout};
    model_weights ignored = {0};
    walk_model(&w, c, &ignored);
    return finish_layout(layout, &w, err);
}

grpo_status value_head_layout_init(model_layout *layout, const model_config *c, grpo_error *err)
{
    memset(layout, 0, sizeof *layout);
    walk w = {.layout = layout};
    model_weights ignored = {0};
    walk_scalar(&w, c, MODEL_HEAD_TOKEN, &ignored);
    return finish_layout(layout, &w, err);
}

void value_head_view(model_weights *w, const model_config *c, float *base)
{
    walk at = {.type = OPS_F32, .store = (unsigned char *)base};
    walk_scalar(&at, c, MODEL_HEAD_TOKEN, w);
}

void model_layout_deinit(model_layout *layout)
{
    mem_free(layout->params);
    memset(layout, 0, sizeof *layout);
}

int model_layout_find(const model_layout *layout, const char *name)
{
    for (int i = 0; i < layout->count; i++)
        if (strcmp(layout->params[i].name, name) == 0)
            return i;
    return -1;
}

size_t model_store_bytes(const model_layout *layout, ops_type type)
{
    return type == OPS_F32 ? layout->total * sizeof(float) : layout->bytes_bf16;
}

grpo_status model_weights_view(model_weights *w, const model_config *c, float *base, grpo_error *err)
{
    return model_store_view(w, c, OPS_F32, base, err);
}

grpo_status model_store_view(model_weights *w, const model_config *c, ops_type type, void *store, grpo_error *err)
{
    memset(w, 0, sizeof *w);
    w->layer = mem_calloc((size_t)c->layers, sizeof *w->layer);
    if (c->experts > 0)
        w->experts = mem_calloc((size_t)c->layers * (size_t)c->experts, sizeof *w->experts);
    if (!w->layer || (c->experts > 0 && !w->experts)) {
        model_weights_deinit(w);
        return mem_fail(err, "layer views", (size_t)c->layers * sizeof *w->layer);
    }
    walk walker = {.type = type, .store = store};
    walk_model(&walker, c, w);
    w->lowest_layer = store ? 0 : c->layers;
    return GRPO_OK;
}

void model_weights_deinit(model_weights *w)
{
    mem_free(w->layer);
    mem_free(w->experts);
    memset(w, 0, sizeof *w);
}

/* ---- one parameter, plain ----------------------------------------------------------------- */

static ops_matrix param_rows(const model_param *p, const float *base, int first, int rows)
{
    return ops_matrix_rows(ops_matrix_f32(p->n, p->k, (float *)base + p->offset), first, rows);
}

void model_param_export_rows(const model_param *p, const float *base, int first, int rows, float *dst)
{
    if (p->is_matrix)
        ops_unpack(NULL, dst, p->k, param_rows(p, base, first, rows));
    else
        memcpy(dst, base + p->offset + first, (size_t)rows * sizeof *dst);
}

void model_param_import_rows(const model_param *p, float *base, int first, int rows, const float *src)
{
    if (p->is_matrix)
        ops_pack(NULL, param_rows(p, base, first, rows), src, p->k);
    else
        memcpy(base + p->offset + first, src, (size_t)rows * sizeof *src);
}

void model_param_export(const model_param *p, const float *base, float *dst)
{
    model_param_export_rows(p, base, 0, p->n, dst);
}

void model_param_import(const model_param *p, float *base, const float *src)
{
    model_param_import_rows(p, base, 0, p->n, src);
}

/* ---- stores ------------------------------------------------------------------------------------ */

/* Where a parameter lies; of a vector only .data counts. */
static ops_matrix param_at(const model_param *p, ops_type type, void *store)
{
    unsigned char *at = (unsigned char *)store + (type == OPS_F32 ? p->offset * sizeof(float) : p->offset_bf16);
    return (ops_matrix){.n = p->n, .k = p->k, .data = (float *)at, .type = type};
}

void model_store_round(void *store, const float *base, const model_layout *layout, pool *threads)
{
    for (int i = 0; i < layout->count; i++) {
        const model_param *p = &layout->params[i];
        const ops_matrix to = param_at(p, OPS_BF16, store), from = param_at(p, OPS_F32, (float *)base);
        if (p->is_matrix)
            ops_round(threads, to, from);
        else
            memcpy(to.data, from.data, (size_t)p->n * sizeof *to.data);
    }
}

/* ---- loading ---------------------------------------------------------------------------------- */

enum {
    LOAD_ROWS = 8 * OPS_PANEL, /* rows decoded at a time: whole panels */
    FORGET_PIECES = 64,        /* pieces after which the file's pages are given back: some 10 to 100 MB */
};

typedef struct load_piece {
    int param, tensor, first_row;
} load_piece;

typedef struct load_job {
    void *store;
    ops_type type;
    const model_layout *layout;
    const model_files *files;
    const load_piece *pieces;
    float **scratch; /* [threads] */
    atomic_int loaded, failed;
    grpo_error error; /* of the first failure */
} load_job;

static size_t count_not_finite(const float *x, size_t n)
{
    size_t bad = 0;
    for (size_t i = 0; i < n; i++)
        bad += !isfinite(x[i]);
    return bad;
}

static grpo_status load_one_piece(load_job *job, load_piece piece, float *scratch, grpo_error *err)
{
    const model_param *p = &job->layout->params[piece.param];
    ops_matrix target = param_at(p, job->type, job->store);
    int rows = p->is_matrix ? p->n - piece.first_row : 1;
    if (rows > LOAD_ROWS)
        rows = LOAD_ROWS;
    float *to = p->is_matrix ? scratch : target.data;
    grpo_status status = model_files_read(job->files, piece.tensor, piece.first_row, rows, to, err);
    if (status != GRPO_OK)
        return status;
    size_t n = p->is_matrix ? (size_t)rows * (size_t)p->k : (size_t)p->n;
    size_t bad = count_not_finite(to, n);
    if (bad)
        return grpo_fail(err, GRPO_ERR_NUMERIC,
                         "%s: tensor %s holds %zu numbers that are NaN or infinite; the file is damaged or the "
                         "training that wrote it diverged",
                         model_files_path(job->files), p->name, bad);
    if (p->is_matrix)
        ops_pack(NULL, ops_matrix_rows(target, piece.first_row, rows), scratch, p->k);
    return GRPO_OK;
}

static void load_pieces(void *context, int begin, int end, int thread)
{
    load_job *job = context;
    for (int i = begin; i < end; i++) {
        grpo_error error;
        if (load_one_piece(job, job->pieces[i], job->scratch[thread], &error) != GRPO_OK &&
            atomic_exchange(&job->failed, 1) == 0)
            job->error = error;
        if (atomic_fetch_add(&job->loaded, 1) % FORGET_PIECES == FORGET_PIECES - 1)
            model_files_forget(job->files);
    }
}

static grpo_status check_shape(const model_files *files, int tensor, const model_param *p, grpo_error *err)
{
    model_tensor_info t = model_files_tensor(files, tensor);
    int right = p->is_matrix ? t.rank == 2 && t.shape[0] == p->n && t.shape[1] == p->k
                             : t.rank == 1 && t.shape[0] == p->n;
    if (right)
        return GRPO_OK;
    char shape[80] = "";
    for (int i = 0, n = 0; i < t.rank && i < 4; i++)
        n += snprintf(shape + n, sizeof shape - (size_t)n, "%s%lld", i ? ", " : "", (long long)t.shape[i]);
    return grpo_fail(err, GRPO_ERR_FORMAT, "%s: tensor %s has shape [%s] where the configuration says [%d%s%.0d]",
                     model_files_path(files), p->name, shape, p->n, p->is_matrix ? ", " : "",
                     p->is_matrix ? p->k : 0);
}

static grpo_status list_pieces(load_piece **pieces, size_t *count, const model_layout *layout,
                               const model_files *files, grpo_error *err)
{
    size_t capacity = 0;
    *pieces = NULL;
    *count = 0;
    for (int i = 0; i < layout->count; i++) {
        const model_param *p = &layout->params[i];
        int tensor = model_files_find(files, p->name);
        if (tensor < 0)
            return grpo_fail(err, GRPO_ERR_FORMAT, "%s: tensor %s is missing", model_files_path(files), p->name);
        grpo_status status = check_shape(files, tensor, p, err);
        if (status != GRPO_OK)
            return status;
        for (int row = 0; row < (p->is_matrix ? p->n : 1); row += LOAD_ROWS) {
            if (mem_reserve((void **)pieces, &capacity, *count + 1, sizeof **pieces) != 0)
                return mem_fail(err, "the list of tensors", 0);
            (*pieces)[(*count)++] = (load_piece){i, tensor, row};
        }
    }
    return GRPO_OK;
}

grpo_status model_weights_load(void *store, ops_type type, const model_layout *layout, const model_files *files,
                               pool *threads, grpo_error *err)
{
    load_piece *pieces;
    size_t count;
    int n_threads = pool_threads(threads), widest = 1;
    float **scratch = NULL;
    grpo_status status = list_pieces(&pieces, &count, layout, files, err);
    if (status != GRPO_OK)
        goto done;
    for (int i = 0; i < layout->count; i++)
        if (layout->params[i].k > widest)
            widest = layout->params[i].k;
    scratch = mem_calloc((size_t)n_threads, sizeof *scratch);
    for (int i = 0; scratch && i < n_threads && status == GRPO_OK; i++) {
        scratch[i] = mem_calloc((size_t)LOAD_ROWS * (size_t)widest, sizeof **scratch);
        if (!scratch[i])
            status = mem_fail(err, "decoding tensors", (size_t)LOAD_ROWS * (size_t)widest * sizeof **scratch);
    }
    if (!scratch)
        status = mem_fail(err, "decoding tensors", 0);
    if (status != GRPO_OK)
        goto done;
    load_job job = {.store = store, .type = type, .layout = layout, .files = files, .pieces = pieces,
                    .scratch = scratch};
    pool_run(threads, (int)count, 1, load_pieces, &job);
    model_files_forget(files);
    if (atomic_load(&job.failed)) {
        status = job.error.status;
        if (err)
            *err = job.error;
    }
done:
    for (int i = 0; scratch && i < n_threads; i++)
        mem_free(scratch[i]);
    mem_free(scratch);
    mem_free(pieces);
    return status;
}
