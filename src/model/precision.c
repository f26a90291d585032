/* Choosing and naming precisions. */
#include <string.h>

#include "model/precision.h"

static const char *const names[] = {"auto", "f32", "bf16_weights", "bf16", "bf16_amx"};

model_precision model_precision_choose(model_precision wanted, const model_files *files)
{
    if (wanted != MODEL_AUTO)
        return wanted;
    for (int i = 0; i < model_files_count(files); i++) {
        const model_tensor_info t = model_files_tensor(files, i);
        if (t.rank == 2 && strcmp(t.type, "BF16") != 0)
            return MODEL_F32;
    }
    return MODEL_BF16_WEIGHTS;
}

ops_type model_precision_type(model_precision p)
{
    switch (p) {
    case MODEL_BF16_WEIGHTS:
        return OPS_BF16;
    case MODEL_BF16:
        return OPS_BF16_DOT;
    case MODEL_BF16_AMX:
        return OPS_BF16_TILE;
    default:
        return OPS_F32;
    }
}

const char *model_precision_name(model_precision p)
{
    return names[p];
}

int model_precision_parse(model_precision *p, const char *name)
{
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (strcmp(names[i], name) == 0) {
            *p = (model_precision)i;
            return 0;
        }
    return -1;
}
