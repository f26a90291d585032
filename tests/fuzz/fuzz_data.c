/* Data sets: JSON lines, a JSON array or CSV, as they are or compressed. The first byte says whether the file is
 * called .csv and whether a template is used. */
#include "fuzz.h"
#include "scratch.h"
#include "train/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    data_set *d;
    grpo_error err;
    if (size == 0)
        return 0;
    const char *name = data[0] & 1 ? "d.csv" : "d.jsonl";
    data_options options = {.system_prompt = data[0] & 4 ? "s" : NULL, .template = data[0] & 2 ? "{a} of {b.c}" : NULL,
                            .limit = 1000};
    scratch_write(name, data + 1, size - 1);
    if (data_open(&d, scratch_path(name), &options, &err) != GRPO_OK)
        return 0;
    if (data_count(d) == 0 || data_duplicates(d) >= data_count(d))
        __builtin_trap();
    data_close(d);
    return 0;
}
