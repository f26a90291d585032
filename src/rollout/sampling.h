/* Choosing one token: temperature, top-k, top-p, min-p, and the log-prob of the distribution that the
 * token was really drawn from.
 *
 * Order (as in transformers): temperature, top-k, top-p, min-p; each acts on what the former left.
 *   top-k  keeps the k largest logits, ties with the k-th included
 *   top-p  keeps the most probable tokens until their sum reaches p (the one that crosses p included;
 *          equal probabilities in id order)
 *   min-p  keeps tokens with at least min_p times the largest probability
 * Temperature 0 is greedy: the largest logit, the lowest id among equals; its log-prob is the one at
 * temperature 1. */
#ifndef ROLLOUT_SAMPLING_H
#define ROLLOUT_SAMPLING_H

#include <stdint.h>

#include "backend/ops.h"
#include "grpo/error.h"

typedef struct sampling {
    double temperature;
    int top_k;         /* 0: off */
    double top_p;      /* 1: off */
    double min_p;      /* 0: off */
    int max_new_tokens;
    int min_new_tokens; /* end tokens cannot be drawn before this many; 0: off */
    uint64_t seed;
} sampling;

/* True when some tokens may be excluded, so that each position has its set of allowed tokens. */
int sampling_truncates(const sampling *s);
float sampling_inverse_temperature(const sampling *s);

/* The tokens that could be drawn at one position: a list when short, else a bitmap. n == 0: all. */
typedef struct token_set {
    int n;
    int is_bitmap;
    uint32_t *data; /* ids rising, or vocab / 32 words; owned */
} token_set;

void token_set_deinit(token_set *set);
/* Writes the set as a bitmap of `words` words (all ones when n == 0). */
void token_set_bitmap(const token_set *set, uint32_t *bitmap, int words);

/* Random number in [0, 1) for one token: a pure function of its coordinates. */
double sampling_uniform(uint64_t seed, uint64_t step, uint64_t group, uint32_t sample, uint32_t token);

typedef struct drawn_token {
    int32_t token;
    float logprob;
    ops_softmax_row stats; /* of the distribution drawn from; the training pass computes the same bits */
    token_set allowed;     /* n == 0 when nothing was excluded */
} drawn_token;

/* Scratch of one thread: */
typedef struct draw_scratch {
    uint32_t *bitmap; /* [(vocab + 31) / 32] */
    struct draw_candidate *candidates; /* [vocab] */
} draw_scratch;
grpo_status draw_scratch_init(draw_scratch *s, int vocab, grpo_error *err);
void draw_scratch_deinit(draw_scratch *s);

/* z: one row of logits times inverse temperature, stats: its softmax over all tokens. `forbidden` (n of
 * them) cannot be drawn. want_entropy fills stats.entropy. Out of memory only. */
grpo_status sampling_draw(drawn_token *out, const sampling *s, const float *z, int vocab, ops_softmax_row stats,
                          double uniform, const int32_t *forbidden, int n_forbidden, int want_entropy,
                          draw_scratch *scratch, grpo_error *err);

#endif
