/* Data sets of prompts with expected answers.
 *
 * Files: JSON lines, a JSON array, or CSV with a header; also compressed by gzip or zstd
 * (recognised by their first bytes). Forms of a record:
 *   TRL      {"prompt": text or messages, …}
 *   verl     {"data_source", "prompt": messages, "reward_model": {"ground_truth"}, "extra_info"}
 *   GSM8K    {"question", "answer"}
 * and any other with the field names given. A bad line is an error with file and line. */
#ifndef TRAIN_DATA_H
#define TRAIN_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "base/strbuf.h"

typedef struct data_options {
    const char *prompt_field;  /* NULL: prompt, question, problem, instruction */
    const char *answer_field;  /* NULL: answer, reward_model.ground_truth, solution, ground_truth, target */
    const char *template;      /* {field} placeholders; NULL: the prompt field */
    const char *system_prompt; /* NULL: none */
    size_t limit;              /* first records only, 0 = all */
} data_options;

/* Everything is borrowed from the data set. */
typedef struct data_record {
    json_t *fields;     /* the whole record, for rewards */
    json_t *messages;   /* [{"role", "content"}], the system prompt included */
    const char *text;   /* the prompt as text, system prompt not included; NULL when given as messages */
    const char *answer; /* NULL when the record has none; numbers and lists as JSON text */
    size_t answer_length;
    long line;
} data_record;

typedef struct data_set data_set;

/* options may be NULL. An empty data set is an error. */
grpo_status data_open(data_set **out, const char *path, const data_options *options, grpo_error *err);
void data_close(data_set *d);

/* Version of libzstd, NULL when this build cannot read .zst. */
const char *data_zstd_version(void);

size_t data_count(const data_set *d);
const data_record *data_get(const data_set *d, size_t index);
const char *data_path(const data_set *d);
/* Records whose prompt stood in an earlier record already. */
size_t data_duplicates(const data_set *d);
/* Records of `a` whose prompt stands in `b` too. */
size_t data_overlap(const data_set *a, const data_set *b);

/* ---- views: which records, in which order -------------------------------------------------- */

typedef struct data_view {
    const data_set *set;
    size_t *index;
    size_t count;
} data_view;

grpo_status data_view_all(data_view *v, const data_set *d, grpo_error *err);
/* Sets records with `held_out` different prompts aside, chosen by the seed; training gets the
 * records whose prompt is not among them. Each view keeps the file's order. */
grpo_status data_view_split(data_view *train, data_view *held, const data_set *d, size_t held_out, uint64_t seed,
                            grpo_error *err);
/* Drops the records for which keep returns false (overlong prompts); returns how many. */
size_t data_view_filter(data_view *v, bool (*keep)(void *context, size_t index, const data_record *r), void *context);
void data_view_deinit(data_view *v);

/* The endless stream of training prompts: position -> record of the view. Each epoch is a
 * permutation of its own given by the seed, so a position can be found again alone. */
typedef struct data_stream {
    const data_view *view;
    uint64_t seed;
    bool shuffle;
    size_t *order; /* of the epoch below */
    uint64_t epoch;
    bool ready;
} data_stream;

grpo_status data_stream_init(data_stream *s, const data_view *view, uint64_t seed, bool shuffle, grpo_error *err);
/* Index (into the data set) of the record at a position of the stream. */
size_t data_stream_at(data_stream *s, uint64_t position);
void data_stream_deinit(data_stream *s);

/* ---- fields and templates --------------------------------------------------------------------- */

/* "a.b" leads into objects; a key "a.b" itself comes first. NULL when absent. */
json_t *data_field(const json_t *record, const char *path);

/* Appends a template with {field} replaced. `where` begins the message on failure. record NULL only
 * checks the template's form. */
grpo_status data_fill_template(strbuf *out, const char *template, const json_t *record, const char *where,
                               grpo_error *err);

#endif
