/* Merging an adapter into the tensors of its base model, row by row. */
#include <string.h>

#include "base/mem.h"
#include "model/adapter_merge.h"

grpo_status adapter_merge_init(adapter_merge *m, const model_files *files, const adapter_files *adapter, grpo_error *err)
{
    *m = (adapter_merge){.files = files, .adapter = adapter, .module = -1};
    size_t a = 1, b = 1, widest = 1;
    for (int i = 0; i < adapter->count; i++) {
        const adapter_module *module = &adapter->modules[i];
        size_t rank = (size_t)module->rank, in = (size_t)module->in, out = (size_t)module->out;
        a = rank * in > a ? rank * in : a;
        b = rank * out > b ? rank * out : b;
        widest = in > widest ? in : widest;
    }
    m->a = mem_calloc(a, sizeof *m->a);
    m->b = mem_calloc(b, sizeof *m->b);
    m->row = mem_calloc(widest, sizeof *m->row);
    if (m->a && m->b && m->row)
        return GRPO_OK;
    adapter_merge_deinit(m);
    return mem_fail(err, "merging the adapter", (a + b) * sizeof(float));
}

void adapter_merge_deinit(adapter_merge *m)
{
    mem_free(m->a);
    mem_free(m->b);
    mem_free(m->row);
    *m = (adapter_merge){0};
}

/* The module whose weight has this name, -1 when the adapter leaves the tensor alone. */
static int module_of(const adapter_files *f, const char *name)
{
    for (int i = 0; i < f->count; i++) {
        size_t n = strlen(f->modules[i].name);
        if (strncmp(f->modules[i].name, name, n) == 0 && strcmp(name + n, ".weight") == 0)
            return i;
    }
    return -1;
}

static void add_row(const adapter_merge *m, const adapter_module *module, int64_t out, float *w)
{
    const float *b = m->b + (size_t)out * (size_t)module->rank;
    for (int i = 0; i < module->in; i++)
        m->row[i] = 0;
    for (int r = 0; r < module->rank; r++) {
        const float *a = m->a + (size_t)r * (size_t)module->in;
        for (int i = 0; i < module->in; i++)
            m->row[i] += (double)b[r] * (double)a[i];
    }
    for (int i = 0; i < module->in; i++)
        w[i] = (float)((double)w[i] + (double)module->scale * m->row[i]);
}

grpo_status adapter_merge_read(void *context, const char *name, int64_t first, int64_t count, float *dst,
                               grpo_error *err)
{
    adapter_merge *m = context;
    int tensor = model_files_find(m->files, name), module = module_of(m->adapter, name);
    if (tensor < 0)
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: tensor %s is missing", model_files_path(m->files), name);
    grpo_status status = model_files_read(m->files, tensor, first, count, dst, err);
    if (status != GRPO_OK || module < 0)
        return status;
    const adapter_module *changed = &m->adapter->modules[module];
    if (module != m->module) {
        m->module = -1;
        status = adapter_files_read(m->adapter, module, m->a, m->b, err);
        if (status != GRPO_OK)
            return status;
        m->module = module;
    }
    for (int64_t i = 0; i < count; i++)
        add_row(m, changed, first + i, dst + (size_t)i * (size_t)changed->in);
    return GRPO_OK;
}
