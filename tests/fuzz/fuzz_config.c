/* config.json: whatever is accepted passes its own check and goes out and in again unchanged. */
#include <string.h>

#include "base/json.h"
#include "fuzz.h"
#include "model/config_hf.h"
#include "model/export_hf.h"
#include "model/tensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *json;
    model_config c, again;
    grpo_error err;
    if (json_parse(&json, (const char *)data, size, "fuzz", &err) != GRPO_OK)
        return 0;
    if (model_config_from_json(&c, json, NULL, "fuzz", &err) == GRPO_OK) {
        model_export e = {.config = &c};
        json_t *out = model_export_config_json(&e, "float32");
        if (c.experts < 100) {
            model_tensor_walk w = {.config = &c};
            while (model_tensor_next(&w))
                if (w.tensor.rows < 1 || w.tensor.columns < 1)
                    __builtin_trap();
        }
        if (out && (model_config_from_json(&again, out, NULL, "fuzz", &err) != GRPO_OK || again.hidden != c.hidden))
            __builtin_trap();
        if (out)
            model_config_deinit(&again);
        json_decref(out);
        model_config_deinit(&c);
    }
    json_decref(json);
    return 0;
}
