/* Records and responses for the code executor: JSON records with tests in any form, and any bytes as a response. No
 * program is run. */
#include <string.h>

#include "base/json.h"
#include "fuzz.h"
#include "reward/code_record.h"
#include "reward/code_run.h"

static void check_job(const grpo_reward_record *record, int programs_in_records)
{
    char problem[256];
    const code_settings settings = {.compare = "lines", .programs_in_records = programs_in_records};
    json_t *job = code_job(record, &settings, problem);
    if (!job && !problem[0])
        __builtin_trap(); /* what is not judged has a reason */
    if (job && (json_array_size(json_object_get(job, "tests")) == 0 || !json_is_string(json_object_get(job, "program"))))
        __builtin_trap();
    json_decref(job);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    char escaped[300];
    json_t *fields = NULL;
    code_program p = code_extract(text, size, CODE_UNKNOWN);
    if (p.text < text || p.text + p.length > text + size)
        __builtin_trap();
    code_escape(escaped, sizeof escaped, text, size);
    if (!code_outputs_equal(text, size, text, size, "lines") || !code_outputs_equal(text, size, text, size, "numbers"))
        __builtin_trap();
    if (json_parse(&fields, text, size, "record", NULL) != GRPO_OK)
        return 0;
    grpo_reward_record record = {.fields = fields, .completion = text, .completion_length = size, .answer = text, .answer_length = size};
    json_object_del(fields, "file"); /* any file could be named */
    check_job(&record, 0);
    check_job(&record, 1);
    json_decref(fields);
    return 0;
}
