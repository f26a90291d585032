/* Reading golden cases: lists of token ids and of numbers, and messages that name the file and the field. */
#ifndef TRAIN_CASE_READER_H
#define TRAIN_CASE_READER_H

#include <stdint.h>

#include "base/json.h"

typedef struct case_reader {
    const char *where; /* the file */
    const char *part;  /* of the file, put before a field's name: "grpo.", or "" */
    int vocab;
    grpo_error *err;
} case_reader;

/* "FILE: PART.FIELD: WHAT"; returns GRPO_ERR_FORMAT. */
grpo_status case_complain(const case_reader *r, const char *field, const char *what);

/* All elements of a list of token ids into out. */
grpo_status case_read_ids(const case_reader *r, int32_t *out, const json_t *list, const char *field);

/* A list of `count` numbers into out; `length` is what to say of a list of another length. */
grpo_status case_read_numbers(const case_reader *r, double *out, const json_t *list, size_t count, const char *field,
                              const char *length);

#endif
