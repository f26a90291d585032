/* Models of ../shared/models, adapters among them, beside what transformers and PEFT computed from them in float64. */
#ifndef TESTS_MODEL_GOLDEN_H
#define TESTS_MODEL_GOLDEN_H

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "model/adapter_files.h"
#include "model/safetensors.h"
#include "support.h"
#include "train/gradient_case.h"

typedef struct golden_model {
    model_files *files;
    model *m; /* with its adapter attached, where the folder is an adapter's */
    pool *threads;
    json_t *golden; /* golden/golden.json */
    char folder[4096];
} golden_model;

/* name: a folder below models, "qwen2" or "lora/qwen2-rslora-r4". */
static inline void golden_open(golden_model *g, const char *name, int threads)
{
    grpo_error err;
    char path[5000], *base;
    const char *folder = NULL;
    model_adapter *a;
    snprintf(path, sizeof path, "models/%s", name);
    snprintf(g->folder, sizeof g->folder, "%s", test_shared_path(path));
    assert_ok(adapter_resolve(&base, &folder, g->folder, &err), err);
    assert_ok(pool_create(&g->threads, threads, &err), err);
    assert_ok(model_files_open(&g->files, base, &err), err);
    assert_ok(model_load(&g->m, g->files, 0, g->threads, &err), err);
    if (folder) {
        assert_ok(adapter_open(&a, folder, &g->m->config, NULL, &err), err);
        model_attach_adapter(g->m, a);
    }
    snprintf(path, sizeof path, "%s/golden/golden.json", g->folder);
    assert_ok(json_parse_file(&g->golden, path, 1 << 26, &err), err);
    mem_free(base);
}

static inline void golden_close(golden_model *g)
{
    json_decref(g->golden);
    model_destroy(g->m);
    model_files_close(g->files);
    pool_destroy(g->threads);
}

/* The n numbers of a tensor of golden/FILE; the caller's. */
static inline float *golden_tensor(const golden_model *g, const char *file, const char *name, size_t n)
{
    grpo_error err;
    char path[5000];
    safetensors_file f;
    snprintf(path, sizeof path, "%s/golden/%s", g->folder, file);
    assert_ok(safetensors_open(&f, path, &err), err);
    const safetensors_tensor *t = safetensors_find(&f, name);
    assert_non_null(t);
    size_t count = 1;
    for (int i = 0; i < t->rank; i++)
        count *= (size_t)t->shape[i];
    assert_int_equal(count, n);
    float *x = mem_calloc(n, sizeof *x);
    safetensors_decode(t, 0, n, x);
    safetensors_close(&f);
    return x;
}

/* Norm of the difference over the norm of what is expected. */
static inline double golden_error(const float *got, const float *expected, size_t n)
{
    double difference = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)got[i] - expected[i];
        difference += d * d;
        norm += (double)expected[i] * expected[i];
    }
    return norm > 0 ? sqrt(difference / norm) : sqrt(difference);
}

/* ---- logits ------------------------------------------------------------------------------------------------- */

/* Prompt and completion of one of golden.json's "sequences": at most 256 tokens. */
static inline int golden_tokens(int32_t *out, const json_t *sequence)
{
    static const char *const parts[] = {"prompt", "completion"};
    int n = 0;
    for (int p = 0; p < 2; p++) {
        const json_t *list = json_object_get(sequence, parts[p]);
        for (size_t i = 0; i < json_array_size(list); i++)
            out[n++] = (int32_t)json_integer_value(json_array_get(list, i));
    }
    return n;
}

/* [n][vocab] of at most 256 tokens; the caller's. */
static inline float *golden_logits(const golden_model *g, const int32_t *token, int n)
{
    const model *m = g->m;
    const size_t vocab = (size_t)m->config.vocab;
    int32_t pos[256];
    for (int t = 0; t < n; t++)
        pos[t] = t;
    grpo_error err;
    engine e;
    kv_sequence kv;
    assert_ok(engine_init(&e, m, g->threads, (engine_plan){n, n, 64}, &err), err);
    assert_ok(kv_sequence_init(&kv, n, &err), err);
    assert_ok(kv_sequence_extend(&e.kv, &kv, n, &err), err);
    ops_span span = {kv.blocks, 0, n, 0};
    model_rows rows = {n, token, pos, &span, 1};
    float *x, *z = mem_calloc((size_t)n * vocab, sizeof *z);
    ops_softmax_row *stats = mem_calloc((size_t)n, sizeof *stats);
    model_forward(m, &m->weights, g->threads, &e.ws, &e.kv, &rows, NULL, &x);
    model_final_norm(m, &m->weights, g->threads, e.h, x, n);
    ops_head_logits(g->threads, m->weights.head, e.h, m->config.hidden, 1, e.z, e.ldz, stats, 0, n, e.head_scratch);
    for (int t = 0; t < n; t++)
        memcpy(z + (size_t)t * vocab, e.z + (size_t)t * (size_t)e.ldz, vocab * sizeof *z);
    mem_free(stats);
    kv_sequence_deinit(&e.kv, &kv);
    engine_deinit(&e);
    return z;
}

/* Every row of logits of every sequence, against golden/forward.safetensors. */
static inline void golden_check_logits(const char *name, double tolerance)
{
    golden_model g;
    golden_open(&g, name, 2);
    const size_t vocab = (size_t)g.m->config.vocab;
    const json_t *sequences = json_object_get(g.golden, "sequences");
    assert_true(json_array_size(sequences) > 0);
    for (size_t i = 0; i < json_array_size(sequences); i++) {
        int32_t token[256];
        char tensor[32];
        int n = golden_tokens(token, json_array_get(sequences, i));
        snprintf(tensor, sizeof tensor, "logits.%zu", i);
        float *got = golden_logits(&g, token, n), *want = golden_tensor(&g, "forward.safetensors", tensor, (size_t)n * vocab);
        for (size_t t = 0; t < (size_t)n; t++) {
            double error = golden_error(got + t * vocab, want + t * vocab, vocab);
            if (!(error < tolerance))
                fail_msg("%s sequence %zu token %zu: relative error of logits %g", name, i, t, error);
        }
        mem_free(got);
        mem_free(want);
    }
    golden_close(&g);
}

/* ---- parameters and their gradients ------------------------------------------------------------------------- */

/* A parameter out of a flat array of the layout, row-major; the caller's. */
static inline float *golden_param(const model_param *p, const float *flat)
{
    float *x = mem_calloc((size_t)p->n * (size_t)p->k, sizeof *x);
    model_param_export(p, flat, x);
    return x;
}

/* The gradient case of golden.json, with room for it. */
typedef struct golden_case {
    gradient_case c;
    gradient_workspace w;
} golden_case;

static inline void golden_case_open(golden_case *k, const golden_model *g)
{
    grpo_error err;
    assert_ok(gradient_case_init(&k->c, g->golden, g->folder, g->m->config.vocab, &err), err);
    assert_ok(gradient_workspace_init(&k->w, g->m, g->threads, &k->c, &err), err);
}

static inline void golden_case_close(golden_case *k)
{
    gradient_case_deinit(&k->c, &k->w.e);
    gradient_workspace_deinit(&k->w);
}

/* Every trained parameter of a flat array against the tensor of its name in golden/FILE. */
static inline void golden_check_params(const golden_model *g, const float *flat, const char *file, double tolerance)
{
    const model_layout *layout = model_trained(g->m).layout;
    for (int i = 0; i < layout->count; i++) {
        const model_param *p = &layout->params[i];
        size_t n = (size_t)p->n * (size_t)p->k;
        float *got = golden_param(p, flat), *want = golden_tensor(g, file, p->name, n);
        double error = golden_error(got, want, n);
        if (!(error < tolerance))
            fail_msg("%s %s: %s is off by %g", g->folder, file, p->name, error);
        mem_free(got);
        mem_free(want);
    }
}

#endif
