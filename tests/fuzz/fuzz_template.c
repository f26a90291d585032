/* Chat templates: a template and, after the separator, the messages. Work is bounded, so any template ends. */
#include "base/json.h"
#include "fuzz.h"
#include "grpo/template.h"
#include "scratch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char usual[] = "[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"u\"},"
                                "{\"role\":\"assistant\",\"content\":\"a\",\"n\":[1,2.5,null,{\"k\":true}]}]";
    const uint8_t *rest;
    size_t rest_size, length = scratch_cut(data, size, &rest, &rest_size);
    grpo_template *t;
    grpo_template_result result;
    grpo_error err;
    json_t *messages = NULL;
    if (grpo_template_create(&t, (const char *)data, length, &err) != GRPO_OK)
        return 0;
    if (!rest || json_parse(&messages, (const char *)rest, rest_size, "fuzz", &err) != GRPO_OK || !json_is_array(messages)) {
        json_decref(messages);
        json_parse(&messages, usual, sizeof usual - 1, "fuzz", &err);
    }
    grpo_template_input input = {.messages = messages, .add_generation_prompt = 1, .max_steps = 100000};
    grpo_template_render_messages(t, &input, &result, &err);
    grpo_template_result_deinit(&result);
    json_decref(messages);
    grpo_template_destroy(t);
    return 0;
}
