/* Records from a file, one JSON object at a time, whatever its form and compression: inner header
 * of data*.c. */
#ifndef TRAIN_DATA_FILE_H
#define TRAIN_DATA_FILE_H

#include <stdbool.h>
#include <stdio.h>

#include "base/file.h"
#include "base/json.h"
#include "base/strbuf.h"

typedef enum data_form { DATA_LINES, DATA_ARRAY, DATA_CSV } data_form;

typedef struct data_file {
    const char *path; /* borrowed */
    FILE *stream;     /* decompressed */
    data_form form;
    file_lines lines; /* DATA_LINES */
    json_t *array;    /* DATA_ARRAY */
    size_t next;      /* DATA_ARRAY */
    json_t *header;   /* DATA_CSV: array of names */
    long line;        /* of the record that was read last; of an array: its number */
    long here;        /* DATA_CSV: the line that is read next */
} data_file;

grpo_status data_file_open(data_file *f, const char *path, grpo_error *err);
/* *record is an object to be released with json_decref, or NULL at the end. Empty lines are passed over. */
grpo_status data_file_next(data_file *f, json_t **record, grpo_error *err);
void data_file_close(data_file *f);

/* Opens a file for reading, decompressing gzip and zstd on the fly; fclose it. */
grpo_status data_stream_open(FILE **out, const char *path, grpo_error *err);

#endif
