/* Writing LoRA adapters as PEFT loads them. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "model/adapter_files.h"

static const char *last_part(const char *module)
{
    const char *dot = strrchr(module, '.');
    return dot ? dot + 1 : module;
}

/* target_modules: "q_proj" when every layer has it, else the modules' full names. */
static json_t *targets_json(const adapter_module *modules, int count, int layers)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++) {
        const char *part = last_part(modules[i].name);
        int same = 0, earlier = 0;
        for (int k = 0; k < count; k++) {
            int equal = strcmp(last_part(modules[k].name), part) == 0;
            same += equal;
            earlier += equal && k < i;
        }
        if (same != layers)
            json_array_append_new(list, json_string(modules[i].name));
        else if (!earlier)
            json_array_append_new(list, json_string(part));
    }
    return list;
}

/* Module name -> value, for the modules that differ from the adapter's own value. */
static json_t *rank_pattern(const adapter_settings *s, const adapter_module *modules, int count)
{
    json_t *pattern = json_object();
    for (int i = 0; i < count; i++)
        if (modules[i].rank != s->rank)
            json_object_set_new(pattern, modules[i].name, json_integer(modules[i].rank));
    return pattern;
}

static json_t *alpha_pattern(const adapter_settings *s, const adapter_module *modules, int count)
{
    json_t *pattern = json_object();
    for (int i = 0; i < count; i++)
        if (modules[i].alpha != s->alpha)
            json_object_set_new(pattern, modules[i].name, json_real(modules[i].alpha));
    return pattern;
}

static json_t *config_json(const adapter_settings *s, const adapter_module *modules, int count)
{
    static const char *const tasks[] = {[MODEL_HEAD_LM] = "CAUSAL_LM", [MODEL_HEAD_SEQUENCE] = "SEQ_CLS",
                                        [MODEL_HEAD_TOKEN] = "TOKEN_CLS"};
    json_t *alpha = s->alpha == (double)(int)s->alpha ? json_integer((int)s->alpha) : json_real(s->alpha);
    return json_pack("{s:s,s:s?,s:s,s:i,s:o,s:f,s:s,s:b,s:b,s:b,s:b,s:b,s:o,s:n,s:n,s:n,s:n,s:o,s:o}", "peft_type", "LORA",
                     "base_model_name_or_path", s->base, "task_type", tasks[s->config->head], "r", s->rank, "lora_alpha",
                     alpha, "lora_dropout", 0.0, "bias", "none", "use_rslora", s->rslora, "use_dora", 0, "fan_in_fan_out",
                     0, "inference_mode", 1, "init_lora_weights", 1, "target_modules",
                     targets_json(modules, count, s->config->layers), "modules_to_save", "layers_to_transform",
                     "layers_pattern", "revision", "rank_pattern", rank_pattern(s, modules, count),
                     "alpha_pattern", alpha_pattern(s, modules, count));
}

typedef struct part {
    char name[MODEL_TENSOR_NAME + 40];
} part;

static grpo_status write_tensors(const char *path, const adapter_module *modules, int count, adapter_read *read,
                                 void *context, grpo_error *err)
{
    size_t n = (size_t)count * 2, largest = 1;
    safetensors_entry *entries = mem_calloc(n, sizeof *entries);
    part *names = mem_calloc(n, sizeof *names);
    grpo_status status = entries && names ? GRPO_OK : mem_fail(err, "the adapter", n * sizeof *names);
    for (int i = 0; i < count && status == GRPO_OK; i++) {
        const adapter_module *m = &modules[i];
        size_t wide = (size_t)m->rank * (size_t)(m->in > m->out ? m->in : m->out);
        largest = wide > largest ? wide : largest;
        for (int b = 0; b < 2; b++) {
            snprintf(names[2 * i + b].name, sizeof names->name, "base_model.model.%s.lora_%c.weight", m->name, "AB"[b]);
            entries[2 * i + b] = (safetensors_entry){.name = names[2 * i + b].name, .dtype = SAFETENSORS_F32, .rank = 2,
                                                     .shape = {b ? m->out : m->rank, b ? m->rank : m->in}};
        }
    }
    float *a = mem_calloc(largest, sizeof *a), *b = mem_calloc(largest, sizeof *b);
    if (status == GRPO_OK && (!a || !b))
        status = mem_fail(err, "the adapter", largest * sizeof *a);
    safetensors_writer w = {0};
    int open = 0;
    if (status == GRPO_OK) {
        status = safetensors_create(&w, path, entries, n, NULL, err);
        open = status == GRPO_OK;
    }
    for (int i = 0; i < count && status == GRPO_OK; i++) {
        const adapter_module *m = &modules[i];
        status = read(context, i, a, b, err);
        if (status == GRPO_OK)
            status = safetensors_append(&w, a, (uint64_t)m->rank * (uint64_t)m->in, err);
        if (status == GRPO_OK)
            status = safetensors_append(&w, b, (uint64_t)m->rank * (uint64_t)m->out, err);
    }
    if (open && status == GRPO_OK)
        status = safetensors_commit(&w, err);
    else if (open)
        safetensors_abandon(&w);
    mem_free(entries);
    mem_free(names);
    mem_free(a);
    mem_free(b);
    return status;
}

grpo_status adapter_write_config(const char *folder, const adapter_settings *settings, const adapter_module *modules,
                                 int count, grpo_error *err)
{
    char *path = file_join(folder, "adapter_config.json");
    json_t *json = config_json(settings, modules, count);
    grpo_status status =
        path && json ? json_write_file(path, json, err) : mem_fail(err, "the adapter's configuration", 0);
    json_decref(json);
    mem_free(path);
    return status;
}

grpo_status adapter_write(const char *folder, const adapter_settings *settings, const adapter_module *modules,
                          int count, adapter_read *read, void *context, grpo_error *err)
{
    char *tensors = file_join(folder, "adapter_model.safetensors");
    grpo_status status = tensors ? write_tensors(tensors, modules, count, read, context, err)
                                 : mem_fail(err, "a file name", strlen(folder));
    if (status == GRPO_OK)
        status = adapter_write_config(folder, settings, modules, count, err);
    mem_free(tensors);
    return status;
}
