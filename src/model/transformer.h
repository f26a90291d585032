/* The transformer: one forward pass for sampling, scoring and training, and its backward pass.
 *
 * A model is immutable but for its weights; a workspace is the scratch of one caller. The forward
 * pass takes packed rows (no padding): any mix of prompts being read, answers being continued and
 * whole sequences. By the row law the result of a row does not depend on the mix. */
#ifndef MODEL_TRANSFORMER_H
#define MODEL_TRANSFORMER_H

#include "model/adapter.h"
#include "model/kv_store.h"
#include "model/moe.h"
#include "model/precision.h"
#include "model/rope.h"
#include "model/tape.h"
#include "model/weights.h"

typedef struct model {
    model_config config; /* shallow copy; owned by the files */
    model_layout layout;
    model_precision precision; /* never AUTO */
    ops_type type;             /* of the store */
    mem_arena store, master;
    float *params; /* [layout.total] f32: what an optimiser changes. The store itself in f32; NULL when only
                    * rounded weights are held */
    model_weights weights; /* of the store, and of the adapter */
    model_adapter *adapter; /* NULL: none; owned */
    rope_table rope[MODEL_MAX_ROPES];
    int max_context; /* positions that the rotary tables cover */
} model;

typedef struct model_load_options {
    int max_context; /* <= 0: the model's own maximum */
    model_precision precision;
    int trainable; /* 1: keep an f32 master (params) beside rounded weights */
} model_load_options;

/* Loads a model. config stays owned by `files`, which must outlive the model. model_load: in f32. */
grpo_status model_load_as(model **out, const model_files *files, model_load_options options, pool *threads,
                          grpo_error *err);
grpo_status model_load(model **out, const model_files *files, int max_context, pool *threads, grpo_error *err);
/* A model in f32 with source's trunk and another head: the weights that both have are copied, the others (a new head)
 * are zero. The files of `source` must outlive it, source itself need not. */
grpo_status model_with_head(model **out, const model *source, model_head head, grpo_error *err);
void model_destroy(model *m);

/* Call after params were changed: rounds them into the store where it is not params itself. */
void model_refresh(model *m, pool *threads);

/* Bytes of store and master together. */
size_t model_bytes(const model *m);

/* Puts an adapter beside the weights, which from now on belongs to the model; workspaces are made afterwards. */
void model_attach_adapter(model *m, model_adapter *a);

/* What training changes: the adapter where there is one (the base is frozen then), else every parameter. */
typedef struct model_trainable {
    const model_layout *layout;
    float *params; /* [layout->total] */
} model_trainable;
model_trainable model_trained(const model *m);

/* A view of gradients in base [model_trained(m).layout->total]: what is frozen is absent. */
grpo_status model_gradient_view(model_weights *grad, const model *m, float *base, grpo_error *err);

/* A hash of the store, with the adapter's parameters or of the base alone: tells whether two sets of weights are the same. */
uint64_t model_fingerprint(const model *m);
uint64_t model_base_fingerprint(const model *m);

/* ---- forward ------------------------------------------------------------------------------ */

typedef struct workspace {
    mem_arena arena;
    int max_rows;
    float *x, *x_mid, *h, *q, *k, *v, *attn, *gate, *up, *low; /* [max_rows][...] */
    moe_scratch moe;
} workspace;

grpo_status workspace_init(workspace *ws, const model *m, int max_rows, grpo_error *err);
void workspace_deinit(workspace *ws);
size_t workspace_bytes(const model *m, int max_rows);

/* Columns of the scratch that products with an adapter need; 0 without. */
size_t model_low_width(const model *m);

typedef struct model_rows {
    int m;                /* rows, at most the workspace's max_rows */
    const int32_t *token; /* [m] */
    const int32_t *pos;   /* [m] */
    const ops_span *spans;
    int n_spans;
} model_rows;

/* Runs all layers, writes keys and values of the rows into kv, and leaves the residual stream after
 * the last layer (the input of the final norm) in *out [m][hidden], which points into the workspace
 * or the tape. With a tape the rows are appended to it (t->rows grows by m; capacity is the caller's
 * duty). w is the model's weights or another set of the same layout (a frozen reference). */
void model_forward(const model *m, const model_weights *w, pool *threads, workspace *ws, kv_store *kv,
                   const model_rows *rows, tape *t, float **out);

/* h = final norm of x; x and h may be the same. */
void model_final_norm(const model *m, const model_weights *w, pool *threads, float *h, const float *x, int rows);

/* ---- backward ------------------------------------------------------------------------------- */

/* The head's rows: each asks for the log-prob of one target at one trunk row. */
typedef struct head_rows {
    int m;
    const int32_t *row;    /* [m] canonical row of the group whose residual stream it reads */
    const int32_t *target; /* [m] */
    const uint32_t *const *allowed; /* [m] or NULL, see ops_head_logprob */
    const ops_softmax_row *stats;   /* [m] from the forward pass */
    const float *coef;              /* [m] d loss / d logprob */
    const float *entropy_coef;      /* [m] d loss / d entropy, or NULL */
    float inv_temperature;
} head_rows;

/* One prompt and its trained answers. Canonical row order: the answers' rows, prompt rows last. */
typedef struct backward_group {
    int rows, prompt;          /* all rows; positions of the prompt */
    const int32_t *token, *pos; /* [rows] */
    const int32_t *tape_row;   /* [rows] where the tape holds each row */
    const ops_span *spans;     /* [n_spans] answers in order, the prompt last; rows are canonical */
    int n_spans;
    head_rows head;
    const float *dvalue; /* of a value or score head, alone or beside the rows of head: [rows] d loss / d output, or NULL */
} backward_group;

typedef struct backward_workspace {
    mem_arena arena;
    int max_rows; /* rows of all groups of one call */
    float *dx, *q, *attn, *dattn, *dq, *dkv;                              /* [max_rows][...] */
    float *x, *h, *x_mid, *gate, *up, *act, *dact, *dh, *tmp_q, *tmp_kv; /* [rows of a unit][...] */
    moe_scratch moe;
    float *low, *dlow; /* the same, of the adapter */
    float *transposed, *head_scratch, *attention_scratch;
    size_t attention_scratch_each;
    /* Gradients of the embedding lookups, kept until model_backward_finish: [max_batch_rows][hidden]. */
    float *embed_dx;
    int32_t *embed_token;
    int embed_rows, max_batch_rows;
} backward_workspace;

enum { MODEL_UNIT_ROWS = 1024 }; /* rows whose weight gradient is one addend, see docs/architecture.md */

/* max_rows: rows of the groups of one model_backward call; max_batch_rows: of all calls between two
 * model_backward_finish; max_positions: longest sequence. */
grpo_status backward_workspace_init(backward_workspace *ws, const model *m, pool *threads, int max_rows,
                                    int max_batch_rows, int max_positions, grpo_error *err);
void backward_workspace_deinit(backward_workspace *ws);
size_t backward_workspace_bytes(const model *m, pool *threads, int max_rows, int max_batch_rows, int max_positions);

/* Adds the gradient of the groups' losses to `grad` (a view with the model's layout; parts with NULL
 * data are frozen and skipped). May be called several times with parts of one list of groups: every
 * weight's gradient is summed in list order, so that how the list is split changes no bit. Loss values
 * are the caller's. */
void model_backward(const model *m, const model_weights *w, model_weights *grad, pool *threads,
                    backward_workspace *ws, const tape *t, const kv_store *kv, const backward_group *groups,
                    int n_groups);

/* Adds the embedding lookups' gradients of all calls since the last one. They come last because a tied
 * embedding gets the head's gradient too, and the order of all addends must not depend on the split. */
void model_backward_finish(const model *m, model_weights *grad, pool *threads, backward_workspace *ws);

#endif
