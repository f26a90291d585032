/* Rewards: from a model's answer to a number.
 *
 * math_verifier: decides whether a response states the same mathematical object as a reference
 * answer. Numbers are compared exactly (rationals, algebraic numbers by a separation bound) or by
 * ball arithmetic at rising precision; symbolic expressions by identity testing at random points.
 * Work and memory are bounded whatever the input. docs/math-verifier.md holds the rules. */
#ifndef GRPO_REWARD_H
#define GRPO_REWARD_H

#include <stddef.h>
#include <stdint.h>

#include "grpo/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the math verifier ------------------------------------------------------------- */

typedef enum grpo_math_verdict {
    GRPO_MATH_WRONG,       /* another value, or the response gives no answer */
    GRPO_MATH_RIGHT,       /* the same mathematical object */
    GRPO_MATH_UNVERIFIABLE /* not decided: the reference cannot be read, or a budget ran out */
} grpo_math_verdict;

/* Where an answer may be taken from; see docs/math-verifier.md for the order. */
enum {
    GRPO_MATH_FROM_BOX = 1,     /* \boxed{...}, \fbox{...} */
    GRPO_MATH_FROM_TAG = 2,     /* <answer>...</answer> */
    GRPO_MATH_FROM_MARKER = 4,  /* #### ... (GSM8K) */
    GRPO_MATH_FROM_FINAL = 8,   /* "final answer is ..." */
    GRPO_MATH_FROM_PHRASE = 16, /* "the answer is ...", "Answer: ...", "A: ..." */
    GRPO_MATH_FROM_WHOLE = 32,  /* a short response that is nothing but an answer */
    GRPO_MATH_FROM_LAST = 64,   /* the last formula or number of the response */
    GRPO_MATH_FROM_ALL = 127
};

typedef struct grpo_math_options {
    unsigned from;            /* GRPO_MATH_FROM_*; 0 = all */
    int decimal_places;       /* places that a decimal needs to stand for a number that has no finite
                                 decimal form (1/3, sqrt 2); default 7 */
    int percent_is_number;    /* 1 (default): the response 50% also answers the reference 50 */
    int relations_are_sets;   /* 1 (default): 1 < x < 2 also answers the reference (1,2) and back */
    int partial;              /* 1: `score` is the share of right elements for lists, sets, tuples */
    double work;              /* arithmetic budget of one verification; default 1 = about 20 ms */
} grpo_math_options;

#define GRPO_MATH_OPTIONS_DEFAULT {GRPO_MATH_FROM_ALL, 7, 1, 1, 0, 1.0}

enum { GRPO_MATH_TEXT = 400 };

/* Texts are UTF-8, NUL-terminated, cut to fit; "" where there is nothing to say. */
typedef struct grpo_math_result {
    grpo_math_verdict verdict;
    double score;         /* 1 or 0; between with `partial`; 0 when unverifiable */
    const char *source;   /* static: "box", "tag", "marker", "final", "phrase", "whole", "last", "none" */
    char extracted[GRPO_MATH_TEXT];     /* the part of the response that was judged */
    char gold_parsed[GRPO_MATH_TEXT];   /* how the reference was read */
    char answer_parsed[GRPO_MATH_TEXT]; /* how the answer was read */
    char reason[GRPO_MATH_TEXT];        /* why it was judged so */
} grpo_math_result;

/* gold: the reference (bare, LaTeX, or a whole solution); response: the model's whole answer.
 * options may be NULL. Thread-safe; caches of the arithmetic libraries are freed when the calling
 * thread ends. Fails only when out of memory or on wrong use; whatever the texts hold is a verdict. */
grpo_status grpo_math_verify(const grpo_math_options *options, const char *gold, size_t gold_length,
                             const char *response, size_t response_length,
                             grpo_math_result *result, grpo_error *err);

/* "wrong", "right", "unverifiable". */
const char *grpo_math_verdict_text(grpo_math_verdict verdict);

/* ---- sets of rewards ---------------------------------------------------------------- */

struct json_t; /* Jansson */

/* One answer to be scored. Everything is borrowed; what is not known is NULL or 0. */
typedef struct grpo_reward_record {
    const char *prompt;
    size_t prompt_length;
    const struct json_t *messages; /* the prompt as [{"role", "content"}], system prompt included */
    const char *completion;
    size_t completion_length;
    const char *answer; /* the reference */
    size_t answer_length;
    const int32_t *tokens; /* of the completion */
    size_t token_count;
    const struct json_t *fields; /* the data set's whole record */
} grpo_reward_record;

/* One reward of a set. Zero-initialise, then fill in. */
typedef struct grpo_reward_item {
    const char *spec;   /* KIND[:ARGUMENT], as `grpo score --reward` takes it */
    double weight;      /* of its score in the total */
    const char *name;   /* NULL: the kind */
    const char *when;   /* NULL, or FIELD=VALUE: counts only for records with that value (a.b leads into objects) */
    int is_gate;        /* 1: where its score is below `gate`, the other rewards count 0 */
    double gate;
    /* Of rewards that run outside; 0: as the options say. */
    double timeout; /* seconds for one answer (command) or one request (http); default 30 */
    int workers;    /* programs kept running (command, default 1), requests at once (http, default 4) */
    int at_once;    /* records that a program is sent before it answers (1), or that a request holds (64) */
    int attempts;   /* of a request that fails (http, default 4) */
} grpo_reward_item;

/* What some kinds of rewards need from outside. */
typedef struct grpo_reward_options {
    const char *base;     /* folder that file names in records are relative to; NULL: the current one */
    double test_timeout;  /* seconds a test of a program may run; 0: the kind's default */
    size_t memory;        /* bytes a program may use; 0: the kind's default */
    int unsafe;           /* 1: run programs even where no sandbox can be had */
    int threads;          /* of rewards that compute in parallel; 0: all cores */
    const char *field;    /* field of the record that holds the model's text; NULL: completion */
    int programs_in_records; /* 1: code takes programs from `file`, `program`, or, where the completion has no fenced block,
                                `prompt` and `completion` joined; 0: from the model's text, where a chat model fences it */
    double timeout;       /* these four as in grpo_reward_item; 0: the kind's default */
    int workers, at_once, attempts;
} grpo_reward_options;

typedef struct grpo_reward_set grpo_reward_set;

/* options may be NULL. */
grpo_status grpo_reward_set_create(grpo_reward_set **out, const grpo_reward_item *items, size_t count,
                                   const grpo_reward_options *options, grpo_error *err);
void grpo_reward_set_destroy(grpo_reward_set *set);

size_t grpo_reward_set_count(const grpo_reward_set *set);
const char *grpo_reward_set_name(const grpo_reward_set *set, size_t item);

/* What a user must be told before anything is scored (programs run without a sandbox); NULL: nothing. */
const char *grpo_reward_set_warning(const grpo_reward_set *set);
/* How many batches it makes sense to score at once, from as many threads: more than 1 where rewards wait for
 * programs or servers. */
int grpo_reward_set_ways(const grpo_reward_set *set);

/* parts[n][count]: each reward's score, NaN where it could not be scored; a reward whose `when` does not
 * hold has NaN too and is left out. total[n]: the weighted sum; NaN where a reward that counts has no
 * score, or none counts. parts may be NULL. Thread-safe. */
grpo_status grpo_reward_set_score(grpo_reward_set *set, const grpo_reward_record *records, size_t n, double *parts,
                                  double *total, grpo_error *err);

#ifdef __cplusplus
}
#endif
#endif
