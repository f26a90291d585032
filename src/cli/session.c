/* Opening a model for a command. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/machine.h"
#include "cli/session.h"
#include "train/checkpoint.h"

enum { FORWARD_ROWS = 1024 };

int session_parse_precision(model_precision *p, const char *command, const char *name)
{
    if (model_precision_parse(p, name) == 0)
        return 0;
    fprintf(stderr, "grpo %s: --precision is auto, f32, bf16_weights, bf16 or bf16_amx, not '%s'\n", command, name);
    return -1;
}

static void say_precision(const session *s, const session_options *o)
{
    const model *m = s->lm.m;
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "precision: %s%s\n", model_precision_name(m->precision), o->precision == MODEL_AUTO ? " (auto)" : "");
}

void session_warn_other_base(const char *made_for, const char *path)
{
    fprintf(stderr, "grpo: WARNING: the adapter was made for \"%s\", and the model is %s\n", made_for, path);
}

static void warn(const language_model *lm)
{
    char doubt[256];
    language_model_doubt(lm, doubt);
    if (doubt[0])
        fprintf(stderr, "grpo: WARNING: %s\n", doubt);
    if (lm->m->adapter && lm->m->adapter->other_base)
        session_warn_other_base(lm->m->adapter->other_base, model_files_path(lm->files));
}

grpo_status session_open(session *s, const session_options *o, grpo_error *err)
{
    memset(s, 0, sizeof *s);
    grpo_status status = pool_create(&s->threads, o->threads, err);
    char *path = NULL, *adapter = NULL;
    if (status == GRPO_OK)
        status = checkpoint_resolve(&path, o->model, err);
    if (status == GRPO_OK && o->adapter)
        status = checkpoint_resolve(&adapter, o->adapter, err);
    if (status == GRPO_OK) {
        model_load_options how = {.max_context = o->max_context, .precision = checkpoint_precision(path, o->precision)};
        status = language_model_open(&s->lm, path, adapter, how, s->threads, err);
    }
    mem_free(path);
    mem_free(adapter);
    if (status == GRPO_OK) {
        const model_config *c = &s->lm.m->config;
        long positions = o->positions > 0 ? o->positions : (long)(o->slots + 1) * s->lm.m->max_context;
        size_t affordable = machine_memory_available() / 4 / kv_block_bytes(c);
        long blocks = positions / OPS_KV_BLOCK + 2L * o->slots + 2;
        if ((size_t)blocks > affordable)
            blocks = (long)affordable;
        engine_plan plan = {.rows = o->slots > FORWARD_ROWS ? o->slots : FORWARD_ROWS,
                            .head_rows = o->slots,
                            .kv_blocks = (int)blocks};
        status = engine_init(&s->e, s->lm.m, s->threads, plan, err);
    }
    if (status != GRPO_OK) {
        session_close(s);
        return status;
    }
    warn(&s->lm);
    say_precision(s, o);
    return GRPO_OK;
}

void session_close(session *s)
{
    engine_deinit(&s->e);
    language_model_close(&s->lm);
    pool_destroy(s->threads);
    memset(s, 0, sizeof *s);
}
