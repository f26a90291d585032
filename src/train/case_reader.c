/* Lists of golden cases. */
#include "train/case_reader.h"

grpo_status case_complain(const case_reader *r, const char *field, const char *what)
{
    return grpo_fail(r->err, GRPO_ERR_FORMAT, "%s: %s%s: %s", r->where, r->part, field, what);
}

grpo_status case_read_ids(const case_reader *r, int32_t *out, const json_t *list, const char *field)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *x = json_array_get(list, i);
        if (!json_is_integer(x) || json_integer_value(x) < 0 || json_integer_value(x) >= r->vocab)
            return case_complain(r, field, "token ids must be integers inside the vocabulary");
        out[i] = (int32_t)json_integer_value(x);
    }
    return GRPO_OK;
}

grpo_status case_read_numbers(const case_reader *r, double *out, const json_t *list, size_t count, const char *field,
                              const char *length)
{
    if (json_array_size(list) != count)
        return case_complain(r, field, length);
    for (size_t i = 0; i < count; i++) {
        if (!json_is_number(json_array_get(list, i)))
            return case_complain(r, field, "numbers are needed");
        out[i] = json_number_value(json_array_get(list, i));
    }
    return GRPO_OK;
}
