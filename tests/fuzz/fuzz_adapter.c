/* PEFT adapter folders for a small model: adapter_config.json and adapter_model.safetensors. */
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "fuzz.h"
#include "model/adapter_files.h"
#include "model/config_hf.h"
#include "scratch.h"

static const model_config *base_model(void)
{
    static const char text[] = "{\"model_type\":\"llama\",\"hidden_size\":8,\"intermediate_size\":12,\"num_hidden_layers\":2,"
                               "\"num_attention_heads\":2,\"num_key_value_heads\":1,\"vocab_size\":16}";
    static model_config c;
    grpo_error err;
    json_t *json;
    if (c.layers == 0 && json_parse(&json, text, sizeof text - 1, "base", &err) == GRPO_OK) {
        if (model_config_from_json(&c, json, NULL, "base", &err) != GRPO_OK)
            __builtin_trap();
        json_decref(json);
    }
    return &c;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"adapter_config.json", "adapter_model.safetensors"};
    adapter_files f;
    grpo_error err;
    scratch_split(names, 2, data, size);
    if (adapter_files_open(&f, scratch_path(NULL), base_model(), "model", &err) != GRPO_OK)
        return 0;
    for (int i = 0; i < f.count; i++) {
        const adapter_module *m = &f.modules[i];
        float *a = mem_calloc((size_t)m->rank * (size_t)m->in, sizeof *a);
        float *b = mem_calloc((size_t)m->rank * (size_t)m->out, sizeof *b);
        if (a && b)
            adapter_files_read(&f, i, a, b, &err);
        mem_free(a);
        mem_free(b);
    }
    adapter_files_close(&f);
    return 0;
}
