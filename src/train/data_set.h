/* The inside of a data set: inner header of data*.c. */
#ifndef TRAIN_DATA_SET_H
#define TRAIN_DATA_SET_H

#include <xxhash.h>

#include "train/data.h"

struct data_set {
    char *path;
    data_record *records;
    size_t count, capacity;
    XXH128_hash_t *hashes; /* of each record's prompt; equal hashes are taken as equal prompts */
    size_t hash_capacity;
    size_t *by_hash; /* record numbers sorted by (hash, number) */
    size_t duplicates;
};

/* Sorts by_hash and counts the duplicates. */
grpo_status data_index_prompts(data_set *d, grpo_error *err);

#endif
